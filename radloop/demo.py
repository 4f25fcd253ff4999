"""`radloop demo`: the whole loop on one machine, each hop printed with its time."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from radloop.change_plan import write_demo_plan
from radloop.client import Client, batches
from radloop.core.datasets import Split
from radloop.core.errors import Unavailable
from radloop.core.ports import Upload
from radloop.dicom.phantom import phantom_cohort, phantom_study
from radloop.evaluation import policy as policies
from radloop.local.processes import die_with_parent

Study = tuple[tuple[bytes, ...], bool, str | None]
"""Files, whether a consolidation is there, and its site."""

_PER_CLASS = {Split.TRAIN: 36, Split.VALIDATION: 16, Split.TEST: 16}
_QUICK = {Split.TRAIN: 4, Split.VALIDATION: 3, Split.TEST: 3}
_NEW_STUDY = 90_001
_DELAY_S = 5
_POLICY = "policy-demo.yaml"
_UP_S = 90.0
_SILENT_S = 1800.0


@dataclass(frozen=True, slots=True)
class _Show:
    """What the person at the terminal sees."""

    console: Console
    started: float

    def hop(self, name: str, sentence: str) -> None:
        """One hop of the loop, with the time since the start."""
        passed = time.monotonic() - self.started
        self.console.print(
            f"[dim]{int(passed // 60)}:{passed % 60:04.1f}[/dim]  [bold]{name:<11}[/bold] {sentence}",
            soft_wrap=True,
        )

    @contextmanager
    def bar(self, what: str, total: int | None) -> Iterator[tuple[Progress, TaskID]]:
        """A progress bar while the block lasts."""
        columns = TextColumn("             {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
        with Progress(*columns, console=self.console, transient=True) as progress:
            yield progress, progress.add_task(what, total=total)


def run(
    root: Path,
    listen: str,
    *,
    pictures: Iterator[tuple[bytes, bool]] | None,
    stays: bool,
    quick: bool,
) -> int:
    """Walk the loop in the home `root`.

    Args:
        root: Made if absent. A home that went through the demo before goes through it again without new work.
        listen: HOST:PORT to serve on; a taken port is replaced by a free one.
        pictures: DICOM files with their label, instead of phantoms.
        stays: Serve on at the end until interrupted.
        quick: Few patients and one epoch.

    Returns:
        Exit status: 0 when a model was registered or, honestly, refused by the gate; 1 when the loop broke.
    """
    show = _Show(Console(), time.monotonic())
    _configure(root, quick=quick)
    with _server(root, listen, show) as client:
        _tell_rules(root, client, show)
        studies = (((data,), label, None) for data, label in pictures) if pictures else _phantoms(quick=quick)
        total = None if pictures else 2 * sum((_QUICK if quick else _PER_CLASS).values())
        truth = _ingest(client, studies, total, show)
        _verify(client, truth, show)
        execution = _learn(client, show)
        ended = _verdict(root, client, execution, show)
        if ended and pictures is None:
            _predict_new(client, show)
        url = f"{client.url}/app/"
        if not stays:
            show.hop("done", f"look at it with: radloop up --open --no-tls --home {root}")
            return 0
        show.console.print(f"\nThe viewer is at [bold]{url}[/bold]  (Ctrl-C ends)")
        try:
            signal.pause()
        except KeyboardInterrupt:
            show.console.print("Stopped. Everything is kept.")
        return 0


def _phantoms(*, quick: bool) -> Iterator[Study]:
    for study in phantom_cohort(per_class=_QUICK if quick else _PER_CLASS):
        yield study.files, bool(study.label), study.site


def _configure(root: Path, *, quick: bool) -> None:
    """Short waits, the demo's policy and its plan; a home that has settings keeps all it has.

    The order matters: the plan names the hash of the policy that is in force.
    """
    path = root / "settings.toml"
    if path.exists():
        return
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    lines = [f"retrain_delay_s = {_DELAY_S}", "quiet_s = 10"]
    if quick:
        lines += ["", "[training]", 'epochs = "1"', 'image_size = "32"']
    path.write_text("\n".join(lines) + "\n")
    (root / policies.FILE).write_text(policies.shipped(_POLICY), encoding="utf-8")
    write_demo_plan(root)


@contextmanager
def _server(root: Path, listen: str, show: _Show) -> Iterator[Client]:
    """The server of this home as a child, on `listen` or on a free port."""
    address = root / "server.json"
    address.unlink(missing_ok=True)
    command = [
        sys.executable,
        "-m",
        "radloop.cli",
        "up",
        "--open",
        "--no-tls",
        "--no-dimse",
        "--home",
        str(root),
        "--listen",
    ]
    parent = os.getpid()
    child = subprocess.Popen(  # noqa: S603 — the command is ours
        [*command, _free(listen)],
        stdout=subprocess.DEVNULL,
        preexec_fn=lambda: die_with_parent(parent),  # noqa: PLW1509 — one thread so far
    )
    try:
        url = _wait_up(child, address)
        show.hop("up", f"serving {url}/app/")
        with closing(Client(url, None)) as client:
            yield client
    finally:
        child.terminate()
        try:
            child.wait(timeout=10)
        except subprocess.TimeoutExpired:
            child.kill()


def _free(listen: str) -> str:
    host, _, port = listen.rpartition(":")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(port)))
        except OSError:
            return f"{host}:0"
    return listen


def _wait_up(child: "subprocess.Popen[bytes]", address: Path) -> str:
    deadline = time.monotonic() + _UP_S
    while time.monotonic() < deadline:
        if child.poll() is not None:
            raise Unavailable("the server did not start; run `radloop up --open --no-tls` to see why")
        try:
            url = str(httpx.Response(200, content=address.read_bytes()).json()["url"])
            if httpx.get(f"{url}/healthz", timeout=2).is_success:
                return url
        except (OSError, ValueError, httpx.HTTPError):
            time.sleep(0.1)
    raise Unavailable(f"the server did not answer within {_UP_S:g} s")


def _ingest(
    client: Client, studies: Iterator[Study], total: int | None, show: _Show
) -> dict[str, tuple[bool, str | None]]:
    """Upload everything; returns what is known of each image set."""
    truth: dict[str, tuple[bool, str | None]] = {}
    count = size = 0
    begun = time.monotonic()
    with show.bar("studies", total) as (progress, task):
        for files, label, site in studies:
            for batch in batches(Upload(data) for data in files):
                landed = client.upload(batch)
                names = {entry["image_set"] for entry in landed if entry["image_set"]}
                truth.update(dict.fromkeys(names, (label, site)))
                count += len(landed)
                size += sum(len(upload.data) for upload in batch)
            progress.advance(task)
        for name in truth:
            client.post(f"image-sets/{name}/complete")
    rate = size / 1e6 / (time.monotonic() - begun)
    show.hop(
        "ingested", f"{count} files, {size / 1e6:.0f} MB, {len(truth)} image sets at {rate:.0f} MB/s, made while sent"
    )
    with show.bar("folding", len(truth)) as (progress, task):
        _until(lambda: _folded(client, progress, task, len(truth)))
    pages = client.get("worklist", limit=1)
    sample = pages["items"][0] if pages["items"] else None
    if sample is not None:
        ratio = sample["stored_bytes"] / max(1, sample["original_bytes"])
        show.hop(
            "folded", f"lossless HTJ2K, verified and rebuilt byte for byte; stored/original {ratio:.2f} on the newest"
        )
    return truth


def _folded(client: Client, progress: Progress, task: TaskID, total: int) -> bool:
    landed = int(client.get("worklist", limit=1)["landed"])
    progress.update(task, completed=total - landed)
    return landed == 0


def _verify(client: Client, truth: dict[str, tuple[bool, str | None]], show: _Show) -> None:
    done = 0
    with show.bar("verifying", len(truth)) as (progress, task):
        for name, (present, site) in truth.items():
            done += client.verify(name, present=present, site=site)
            progress.advance(task)
    show.hop("verified", f"{done} findings as ground truth, each with a frame seen at full quality")


def _learn(client: Client, show: _Show) -> dict[str, Any]:
    """Wait for the run that the verifications start; of a home that has nothing new, the last run."""
    with show.bar("waiting for the retraining to start", None):
        found = _until(lambda: _running(client))
    execution: dict[str, Any] = found
    show.hop("triggered", f"execution {execution['id'][:8]} on {execution['studies']} studies")
    told: set[str] = set()
    with show.bar("training", None) as (progress, task):

        def ended() -> dict[str, Any] | None:
            now: dict[str, Any] = client.get(f"executions/{execution['id']}")
            for step in now["steps"]:
                if step["state"] in {"Succeeded", "Failed"} and step["name"] not in told:
                    told.add(step["name"])
                    show.hop(step["name"].lower(), step["state"].lower())
            at = now["progress"] or {}
            if at.get("epoch") is not None:
                progress.update(
                    task,
                    description=f"epoch {at['epoch']}, validation loss {at['validation_loss']:.3f}",
                    completed=at["epoch"],
                    total=at["epochs"],
                )
            return None if now["state"] == "Executing" else now

        final: dict[str, Any] = _until(ended)
    return final


def _running(client: Client) -> dict[str, Any] | None:
    status = client.get("retraining")
    latest = client.get("executions", limit=1)["items"]
    if status["state"] == "running" or (latest and status["state"] == "idle"):
        found: dict[str, Any] | None = latest[0] if latest else None
        return found
    if status["state"] == "collecting" and status["missing"]:
        raise Unavailable(str(status["sentence"]))
    return None


def _tell_rules(root: Path, client: Client, show: _Show) -> None:
    """By what policy a model is judged here, and what the plan lets happen by itself."""
    policy = policies.of_home(root)
    least, minima = policy.roc_auc.lower_bound, policy.counts
    path = root / policies.FILE
    show.hop(
        "policy",
        f"{path if path.exists() else 'the default one'}: accuracy at least {policy.accuracy.least:.2f}, AUC above "
        f"{least} with 95 % confidence, {minima.positives} test patients with and {minima.negatives} without, and more",
    )
    plan = client.get("plan")
    show.hop("plan", f"{plan['state']}: {plan['sentence']}")


def _tell_gate(gate: dict[str, Any], show: _Show) -> None:
    """Every rule the gate applied, passed or not."""
    table = Table(box=None, padding=(0, 1), title="the gate", title_justify="left")
    for column in ("rule", "value", "limit", "", "in words"):
        table.add_column(column, overflow="fold")
    for rule in gate["rules"]:
        passed = "[green]passed[/green]" if rule["passed"] else "[red]refused[/red]"
        table.add_row(rule["name"], _figure(rule["value"]), _figure(rule["limit"]), passed, rule["sentence"])
    show.console.print(table)


def _figure(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value or "")


def _verdict(root: Path, client: Client, execution: dict[str, Any], show: _Show) -> bool:
    """Tell what became of the run; True when there is a model."""
    metrics = execution["metrics"] or {}
    if metrics:
        words = ", ".join(f"{name} {metrics[name]:.3f}" for name in ("accuracy", "roc_auc", "f1") if name in metrics)
        show.hop("evaluated", f"{words} on patients the model never saw")
    if execution["gate"] is not None:
        _tell_gate(execution["gate"], show)
    report = root / "objects" / "model-artifacts" / "models" / execution["id"] / "report.html"
    if report.exists():
        show.hop("report", f"{report.resolve()}")
    if execution["state"] != "Succeeded":
        if execution["gate"] is None or execution["gate"]["approved"]:
            raise Unavailable(f"the run failed: {execution['reason']}")
        broken = ", ".join(rule["name"] for rule in execution["gate"]["rules"] if not rule["passed"])
        show.hop("refused", f"by the gate, for {broken}: no model comes of this run")
        return False
    version = int(execution["model_version"])
    show.hop("registered", f"model version {version}")
    model = _until(lambda: _decided(client, version))
    if model["status"] == "PendingManualApproval":
        show.hop("held", f"version {version} waits for a person: {' '.join(one['sentence'] for one in model['held'])}")
        return False
    show.hop("serving", f"version {version} is {model['status']}, aliases: {', '.join(model['aliases']) or 'none'}")
    return True


def _decided(client: Client, version: int) -> dict[str, Any] | None:
    """The version once it was decided on, or once it is known why it waits for a person."""
    model: dict[str, Any] = client.get(f"models/{version}")
    return model if model["status"] != "PendingManualApproval" or model["held"] else None


def _predict_new(client: Client, show: _Show) -> None:
    study = phantom_study(_NEW_STUDY, consolidated=True)
    entries = client.upload([Upload(data) for data in study.files])
    name = entries[0]["image_set"]
    client.post(f"image-sets/{name}/complete")
    answer = client.post("predictions", {"image_set": name})
    words = answer["refused"] or f"consolidation {answer['finding']}, probability {answer['probability']:.2f}"
    show.hop(
        "predicted", f"a new study with a consolidation in {study.site}: {words} (version {answer['model_version']})"
    )


def _until(done: Callable[[], Any]) -> Any:
    """Ask twice a second until there is an answer.

    Raises:
        Unavailable: There was none for half an hour.
    """
    deadline = time.monotonic() + _SILENT_S
    while time.monotonic() < deadline:
        answer = done()
        if answer:
            return answer
        time.sleep(0.5)
    raise Unavailable("the loop stands still; see `radloop events` and the dead letters")
