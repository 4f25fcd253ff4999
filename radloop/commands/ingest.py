"""`radloop ingest`: files and folders, also over a bad link."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from radloop.client import Client, batches, reach
from radloop.core.errors import InvalidInput
from radloop.core.ports import Upload
from radloop.options import home_option, json_option, server_option
from radloop.sending import Memory, Sender, names_of, parcels
from radloop.terminal import bar, print_facts

_COUNTS = ("ingested", "duplicates", "quarantined", "refused", "skipped")


@click.command(short_help="Take in DICOM files and folders.")
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
            print_report(send_in(client, found), as_json)
            return
        report = take_in(client, (Upload(file.read_bytes(), file.name) for file in found), _sizes(found))
    print_report(report, as_json)


def take_in(client: Client, uploads: Iterator[Upload], sizes: list[int]) -> dict[str, Any]:
    """Land everything in batches, then close what was touched and, without a server, fold it here.

    Args:
        client: Where to land.
        uploads: What to land.
        sizes: Bytes of each, in the same order.

    Returns:
        What came of it, as `print_report` tells it, and under `files` the entry of each, in order.

    Raises:
        Refused: The installation answered with an error.
    """
    files: list[dict[str, Any]] = []
    with bar("landing", sum(sizes), in_bytes=True) as advance:
        for batch in batches(uploads):
            files += client.upload(batch)
            advance(sum(sizes[len(files) - len(batch) : len(files)]))
    touched = list(dict.fromkeys(file["image_set"] for file in files if file["outcome"] == "ingested"))
    _close(client, touched)
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


def send_in(client: Client, files: Sequence[Path]) -> dict[str, Any]:
    """Send files so that a cut costs little, wait until they have landed, and close what they became.

    Raises:
        InvalidInput: No server holds the home; there is no link to break.
        Refused: The server does not want them.
        Unavailable: Nothing got through for too long; the next time goes on from there.
    """
    if client.http is None:
        raise InvalidInput("--resume talks to a server: say --server, or start radloop up")
    report: dict[str, Any] = dict.fromkeys(_COUNTS, 0) | {"image_sets": [], "reasons": []}
    sent = parcels(files)
    with bar("sending", sum(parcel.content.length for parcel in sent), in_bytes=True) as advance:
        sender = Sender(client.http, Memory(), told=advance)
        for parcel in sent:
            told = sender.finish(sender.send(parcel), parcel)
            for name in _COUNTS:
                report[name] += told[name]
            report["image_sets"] += [name for name in told["image_sets"] if name not in report["image_sets"]]
            report["reasons"] += names_of(parcel, told["reasons"])
            if told["state"] == "failed":
                report["refused"] += 1
    _close(client, report["image_sets"])
    tally = sender.tally
    return report | {"cuts": tally.cuts, "sent_bytes": tally.sent, "resent_bytes": tally.resent}


def print_report(report: dict[str, Any], as_json: bool) -> None:
    """Print what `take_in` or `send_in` tells; of single files only why they were put aside."""
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


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    else:
        yield from (file for file in sorted(path.rglob("*")) if file.is_file() and not file.name.startswith("."))


def _sizes(files: Iterable[Path]) -> list[int]:
    return [file.stat().st_size for file in files]


def _close(client: Client, image_sets: Sequence[str]) -> None:
    studies = [client.post(f"image-sets/{name}/complete")["study"] for name in image_sets]
    for study in dict.fromkeys(studies):
        client.post(f"studies/{study}/complete")


def _fold(client: Client, names: list[str]) -> None:
    """Do the folding jobs that closing asked for."""
    if client.installation is None or not names:
        return
    worker = client.installation.worker()
    with bar("folding", len(names)) as advance:
        worker.drain(("fold",), told=lambda: advance(1))


def _image_sets(count: int) -> str:
    return "1 image set" if count == 1 else f"{count} image sets"
