"""The command `radloop`."""

import csv
import io
import random
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import httpx

from radloop import __version__, demo, up
from radloop.associations import DEFAULT_PORT
from radloop.client import Client, batches, reach, silence_of
from radloop.codec.pictures import grey_pixels, is_picture
from radloop.commands.audit import audit
from radloop.commands.conform import conform_command
from radloop.commands.credentials import credentials
from radloop.commands.fsck import fsck_command
from radloop.commands.ingest import send_in
from radloop.commands.jobs import jobs
from radloop.commands.quarantine import quarantine
from radloop.commands.users import users
from radloop.core.errors import Conflict, InvalidInput, RadloopError, Unavailable
from radloop.core.images import SITES, Confidence
from radloop.core.ports import Upload
from radloop.dicom.make import xray_instance
from radloop.dicom.phantom import phantom_study
from radloop.terminal import ERRORS, bar, home_option, json_option, print_facts, print_items, server_option

_EXIT = {Conflict.code: 4, Unavailable.code: 5}
_LABELS = {"0": False, "normal": False, "absent": False, "1": True, "pneumonia": True, "present": True}


class Commands(click.Group):
    """Turns our errors into one line and an exit status: 1 input or refusal, 4 conflict, 5 unavailable."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 — click's signature
        """The commands in the order of the loop, which is the order they are written in here."""
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        """See `click.Group.invoke`."""
        try:
            return super().invoke(ctx)
        except RadloopError as error:
            ERRORS.print(f"radloop: {error} [{error.code}]", style="red", markup=False, soft_wrap=True)
            ctx.exit(_EXIT.get(error.code, 1))
        except httpx.HTTPError as error:
            ERRORS.print(f"radloop: {silence_of(error)}", style="red", markup=False, soft_wrap=True)
            ctx.exit(5)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="radloop")
def main() -> None:
    """Scans in, kept losslessly, seen, verified, learned from, served. Not a medical device."""


@main.command("up", short_help="Run doors, viewer and worker.")
@home_option
@click.option("--listen", default="127.0.0.1:8080", show_default=True, metavar="HOST:PORT", help="Where to listen.")
@click.option("--open", "is_open", is_flag=True, help="No sign-in: every caller is the owner. Loopback only.")
@click.option("--no-tls", is_flag=True, help="Plain HTTP. Loopback only.")
@click.option("--dimse-port", default=DEFAULT_PORT, show_default=True, type=click.IntRange(0, 65535), help="Of DIMSE.")
@click.option("--no-dimse", is_flag=True, help="No C-STORE, C-FIND, C-MOVE, C-GET.")
@click.option("--ae-title", metavar="TITLE", help="Our AE title [setting ae_title].")
@click.option("--peer", "peers", multiple=True, metavar="AET@HOST:PORT", help="A DIMSE peer; may be repeated.")
def up_command(
    *,
    home: Path | None,
    listen: str,
    is_open: bool,
    no_tls: bool,
    dimse_port: int,
    no_dimse: bool,
    ae_title: str | None,
    peers: tuple[str, ...],
) -> None:
    """Run the doors, the viewer and the worker of a home, over TLS and with sign-in."""
    up.serve(
        (home or Path("radloop-home")),
        listen,
        ready=lambda started: _print_started(started, is_open=is_open, has_tls=not no_tls),
        is_open=is_open,
        has_tls=not no_tls,
        dimse=None if no_dimse else up.Dimse(dimse_port, ae_title, peers),
    )


@main.command(short_help="Take in DICOM files and folders.")
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--resume", is_flag=True, help="Over a bad link: goes on after cuts, and when it is run again.")
@home_option
@server_option
@json_option
def ingest(paths: Sequence[Path], *, resume: bool, home: Path | None, server: str | None, as_json: bool) -> None:
    """Take in DICOM files and folders; what cannot be accepted is quarantined with a reason."""
    found = [file for path in paths for file in _files(path)]
    if not found:
        raise InvalidInput("no files there")
    with reach(home, server) as client:
        if resume:
            _print_report(send_in(client, found), as_json)
            return
        report = _take_in(client, (Upload(file.read_bytes(), file.name) for file in found), _sizes(found))
    _print_report(report, as_json)


@main.command("import-images", short_help="Turn labelled PNG and JPEG X-rays into DICOM.")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--labels", required=True, type=click.Path(exists=True, path_type=Path), help="CSV: file,patient_id,label."
)
@click.option("--verified", is_flag=True, help="Make the labels verified ground truth.")
@click.option(
    "--shuffle-labels",
    type=int,
    metavar="SEED",
    help="A control the gate must refuse: labels dealt out anew. Use a home of its own.",
)
@home_option
@server_option
@json_option
def import_images(
    *,
    folder: Path,
    labels: Path,
    verified: bool,
    shuffle_labels: int | None,
    home: Path | None,
    server: str | None,
    as_json: bool,
) -> None:
    """Turn PNG and JPEG X-rays with labels into DICOM and, on request, into ground truth."""
    rows = _labelled(folder, labels, shuffle_labels)
    with reach(home, server) as client:
        uploads = (Upload(_as_dicom(path, patient), path.name) for path, patient, _ in rows)
        report = _take_in(client, uploads, [path.stat().st_size for path, _, _ in rows])
        if verified:
            findings = [(_set_of(entry), row[2]) for entry, row in zip(report["files"], rows, strict=True)]
            report["verified"] = _verify_all(client, [(name, label) for name, label in findings if name])
    _print_report(report, as_json)


@main.command(short_help="Write phantom chest CT studies as DICOM.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder to write to.")
@click.option("--studies", default=1, show_default=True, type=click.IntRange(1), help="How many patients.")
@click.option("--slices", default=16, show_default=True, type=click.IntRange(4), help="Slices of each study.")
@click.option("--size", default=256, show_default=True, type=click.IntRange(64), help="Rows and columns.")
@click.option("--seed", default=7, show_default=True, help="The same seed makes the same studies.")
def phantom(out: Path, studies: int, slices: int, size: int, seed: int) -> None:
    """Write phantom chest CT studies as DICOM, every other one with a lobar consolidation."""
    with bar("phantoms", studies) as advance:
        for number in range(1, studies + 1):
            study = phantom_study(number, consolidated=number % 2 == 0, seed=seed, slices=slices, size=size)
            folder = out / study.patient_id
            folder.mkdir(parents=True, exist_ok=True)
            for place, data in enumerate(study.files, 1):
                (folder / f"{place:04d}.dcm").write_bytes(data)
            advance(1)
    print(f"{studies} {'study' if studies == 1 else 'studies'} of {slices} slices in {out}")  # noqa: T201 — the answer


@main.command(short_help="Write image sets back as they came in.")
@click.argument("image_sets", nargs=-1)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder to write to.")
@home_option
@server_option
@json_option
def export(image_sets: Sequence[str], out: Path, home: Path | None, server: str | None, as_json: bool) -> None:
    """Write image sets (all, unless named) back as the very files that came in."""
    out.mkdir(parents=True, exist_ok=True)
    written = 0
    with reach(home, server) as client:
        names = list(image_sets) or [item["id"] for item in _all_image_sets(client)]
        with bar("image sets", len(names)) as advance:
            for name in names:
                written += _unzip(client.fetch(f"image-sets/{name}/export"), out / name)
                advance(1)
    print_facts({"image_sets": len(names), "files": written, "out": str(out)}, as_json)


@main.command()
@click.argument("image_set")
@click.option("--finding", required=True, type=click.Choice(["present", "absent"]), help="Pneumonia, yes or no.")
@click.option("--site", type=click.Choice(list(SITES)), help="Where, if present.")
@click.option("--confidence", default="high", show_default=True, type=click.Choice([str(c) for c in Confidence]))
@click.option("--note", default="", help="Stays with the image set.")
@click.option("--frame", required=True, type=click.IntRange(0), help="Frame that was seen at full quality, from 0.")
@home_option
@server_option
@json_option
def verify(
    *,
    image_set: str,
    finding: str,
    site: str | None,
    confidence: str,
    note: str,
    frame: int,
    home: Path | None,
    server: str | None,
    as_json: bool,
) -> None:
    """Make a finding ground truth."""
    with reach(home, server) as client:
        now = client.get(f"image-sets/{image_set}")
        body = {
            "version": now["version"],
            "finding": finding,
            "site": site,
            "confidence": confidence,
            "note": note,
            "seen": {"frame": frame, "quality": now["frame_list"][frame]["quality"]},
        }
        after = client.post(f"image-sets/{image_set}/verification", body)
    print_facts({"image_set": after["id"], "state": after["state"], "version": after["version"]}, as_json)


@main.command(short_help="Retrain now, and wait for the verdict.")
@home_option
@server_option
@json_option
def train(home: Path | None, server: str | None, as_json: bool) -> None:
    """Retrain now on everything verified, and wait for the verdict; exit status 3 when no model came of it."""
    with reach(home, server) as client:
        execution = _train_now(client)
    print_facts(execution, as_json)
    if execution["state"] != "Succeeded":
        sys.exit(3)


@main.command()
@home_option
@server_option
@json_option
def executions(home: Path | None, server: str | None, as_json: bool) -> None:
    """Runs of the training pipeline, newest first."""
    with reach(home, server) as client:
        print_items(client.get("executions"), ["id", "state", "started_at", "ended_at", "reason"], as_json)


@main.command()
@home_option
@server_option
@json_option
def models(home: Path | None, server: str | None, as_json: bool) -> None:
    """Registered model versions, newest first."""
    with reach(home, server) as client:
        print_items(client.get("models"), ["version", "status", "aliases", "metrics", "created_at"], as_json)


@main.command()
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 1000), help="At most so many.")
@home_option
@server_option
@json_option
def events(limit: int, home: Path | None, server: str | None, as_json: bool) -> None:
    """What happened, newest first."""
    with reach(home, server) as client:
        print_items(client.get("events", limit=limit), ["seq", "time", "detail_type", "detail"], as_json)


@main.command()
@click.argument("image_set")
@home_option
@server_option
@json_option
def predict(image_set: str, home: Path | None, server: str | None, as_json: bool) -> None:
    """Ask the champion model about an image set. An opinion of a model, not a reading."""
    with reach(home, server) as client:
        print_facts(client.post("predictions", {"image_set": image_set}), as_json)


@main.command("demo", short_help="Walk the whole loop on phantoms.")
@home_option
@click.option("--data", type=click.Path(exists=True, path_type=Path), help="Your own pictures instead of phantoms.")
@click.option("--labels", type=click.Path(exists=True, path_type=Path), help="CSV of --data: file,patient_id,label.")
@click.option("--listen", default="127.0.0.1:8080", show_default=True, metavar="HOST:PORT", help="Where to serve.")
@click.option("--serve/--no-serve", default=None, help="Keep serving at the end [yes at a terminal, else no].")
@click.option("--quick", is_flag=True, help="Few patients and one epoch: shows the path, and the gate may refuse.")
def demo_command(
    *, home: Path | None, data: Path | None, labels: Path | None, listen: str, serve: bool | None, quick: bool
) -> None:
    """Walk the whole loop: scans in, seen, verified, learned from, gated, registered, served."""
    if (data is None) != (labels is None):
        raise InvalidInput("--data and --labels go together")
    stays = sys.stdin.isatty() if serve is None else serve
    pictures = None if data is None or labels is None else _pictures(data, labels)
    sys.exit(demo.run((home or Path("radloop-home")), listen, pictures=pictures, stays=stays, quick=quick))


main.add_command(users)
main.add_command(audit)
main.add_command(credentials)
main.add_command(quarantine)
main.add_command(jobs)
main.add_command(fsck_command)
main.add_command(conform_command)


def _print_started(started: up.Started, *, is_open: bool, has_tls: bool) -> None:
    """Tell how to get in. A password is written to a terminal and nowhere else."""
    if is_open:
        ERRORS.print("OPEN: no sign-in. Every program on this machine is the owner of this home.", style="bold yellow")
    if not has_tls:
        ERRORS.print("NO TLS: plain HTTP. Passwords and images cross this machine in clear.", style="bold yellow")
    if started.password is not None and sys.stdout.isatty():
        print(f"First start: sign in as {started.first_user} with the password {started.password}")  # noqa: T201 — the answer
        print("It is shown this once. Another: radloop users password", started.first_user)  # noqa: T201 — the answer
    elif started.first_user is not None:
        print(f"Nobody can sign in yet: radloop users password {started.first_user}")  # noqa: T201 — the answer
    if started.authority is not None:
        print(f"Browsers and programs trust it by {started.authority}")  # noqa: T201 — the answer
    dimse = "" if started.dimse is None else f"\nDIMSE: {started.dimse}"
    print(f"radloop is up: {started.url}/app/  (Ctrl-C stops it){dimse}", flush=True)  # noqa: T201 — the answer


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    else:
        yield from (file for file in sorted(path.rglob("*")) if file.is_file() and not file.name.startswith("."))


def _sizes(files: Iterable[Path]) -> list[int]:
    return [file.stat().st_size for file in files]


def _take_in(client: Client, uploads: Iterator[Upload], sizes: list[int]) -> dict[str, Any]:
    """Land everything in batches, then close what was touched and, without a server, fold it here."""
    files: list[dict[str, Any]] = []
    with bar("landing", sum(sizes), in_bytes=True) as advance:
        for batch in batches(uploads):
            files += client.upload(batch)
            advance(sum(sizes[len(files) - len(batch) : len(files)]))
    touched = list(dict.fromkeys(file["image_set"] for file in files if file["outcome"] == "ingested"))
    studies = [client.post(f"image-sets/{name}/complete")["study"] for name in touched]
    for study in dict.fromkeys(studies):
        client.post(f"studies/{study}/complete")
    if client.installation is not None:
        _fold(client, touched)
    outcomes = Counter(file["outcome"] for file in files)
    reasons = Counter((file["code"], file["sentence"]) for file in files if file["outcome"] == "quarantined")
    return {
        "ingested": outcomes["ingested"],
        "duplicates": outcomes["duplicate"],
        "quarantined": outcomes["quarantined"],
        "image_sets": list(dict.fromkeys(file["image_set"] for file in files if file["image_set"])),
        "reasons": [{"code": code, "sentence": text, "count": n} for (code, text), n in reasons.items()],
        "files": files,
    }


def _fold(client: Client, names: list[str]) -> None:
    """Do the folding jobs that closing asked for."""
    if client.installation is None or not names:
        return
    worker = client.installation.worker()
    with bar("folding", len(names)) as advance:
        worker.drain(("fold",), told=lambda: advance(1))


def _labelled(folder: Path, labels: Path, seed: int | None) -> list[tuple[Path, str, bool]]:
    with labels.open(newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows or not {"file", "patient_id", "label"} <= set(rows[0]):
        raise InvalidInput("the labels file needs the columns file, patient_id and label")
    values = [_label(row["label"]) for row in rows]
    if seed is not None:
        values = _dealt_anew([row["patient_id"] for row in rows], values, seed)
    missing = [row["file"] for row in rows if not (folder / row["file"]).is_file()]
    if missing:
        raise InvalidInput(f"{len(missing)} files of the labels file are not in the folder")
    return [(folder / row["file"], row["patient_id"], value) for row, value in zip(rows, values, strict=True)]


def _dealt_anew(patients: Sequence[str], values: Sequence[bool], seed: int) -> list[bool]:
    """The labels dealt out at random, one a patient, so that nothing in the pictures can tell them."""
    first = dict(zip(reversed(patients), reversed(values), strict=True))
    names = list(dict.fromkeys(patients))
    deck = [first[name] for name in names]
    random.Random(seed).shuffle(deck)  # noqa: S311 — a control, not a secret
    dealt = dict(zip(names, deck, strict=True))
    return [dealt[patient] for patient in patients]


def _unzip(archive: bytes, folder: Path) -> int:
    """Write the files of a zip below `folder`; returns how many."""
    with zipfile.ZipFile(io.BytesIO(archive)) as files:
        files.extractall(folder)  # zipfile keeps every name below the folder
        return len(files.namelist())


def _train_now(client: Client) -> dict[str, Any]:
    """Start a retraining and wait for its end."""
    name = client.post("executions")["id"]
    while True:
        if client.installation is not None:
            client.installation.worker().drain()
        execution: dict[str, Any] = client.get(f"executions/{name}")
        if execution["state"] != "Executing":
            return execution
        time.sleep(0.5)


def _label(text: str) -> bool:
    if text.strip().lower() not in _LABELS:
        raise InvalidInput(f"a label is one of {', '.join(_LABELS)}")
    return _LABELS[text.strip().lower()]


def _pictures(folder: Path, labels: Path) -> Iterator[tuple[bytes, bool]]:
    return ((_as_dicom(path, patient), label) for path, patient, label in _labelled(folder, labels, None))


def _as_dicom(path: Path, patient: str) -> bytes:
    if not is_picture(path):
        raise InvalidInput("only PNG and JPEG pictures can be imported")
    pixels, is_lossy = grey_pixels(path.read_bytes())
    return xray_instance(pixels, patient_id=patient, was_lossy=is_lossy)


def _set_of(entry: dict[str, Any]) -> str | None:
    name = entry["image_set"]
    return None if name is None else str(name)


def _verify_all(client: Client, findings: list[tuple[str, bool]]) -> int:
    done = 0
    with bar("verifying", len(findings)) as advance:
        for name, present in findings:
            done += client.verify(name, present=present)
            advance(1)
    return done


def _all_image_sets(client: Client) -> Iterator[dict[str, Any]]:
    for state in ("INGESTED", "VERIFIED", "REJECTED"):
        after = ""
        while True:
            page = client.get("worklist", state=state, limit=200, **({"after": after} if after else {}))
            yield from page["items"]
            after = page["next"]
            if not after:
                break


def _image_sets(count: int) -> str:
    return "1 image set" if count == 1 else f"{count} image sets"


def _print_report(report: dict[str, Any], as_json: bool) -> None:
    facts = {key: value for key, value in report.items() if key != "files"}
    if as_json:
        print_facts(facts, as_json)
        return
    print(  # noqa: T201 — the answer
        f"{facts['ingested']} ingested, {facts['duplicates']} known already, {facts['quarantined']} quarantined,"
        f" {_image_sets(len(facts['image_sets']))}" + (f", {facts['verified']} verified" if "verified" in facts else "")
    )
    if "resent_bytes" in facts:
        print(  # noqa: T201 — the answer
            f"{facts['refused']} not to be taken out of an archive, {facts['skipped']} skipped,"
            f" {facts['cuts']} cuts, {facts['resent_bytes']} of {facts['sent_bytes']} bytes sent again"
        )
    for reason in facts["reasons"]:
        print(f"  {reason['count']} x {reason['code']}: {reason['sentence']}")  # noqa: T201 — the answer


if __name__ == "__main__":
    main()
