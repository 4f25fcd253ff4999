"""The Pipelines port on one machine: runs the SageMaker definition itself, one process a step, and survives kill -9.

What lies below `scratch`, all of it private and none of it worth keeping once an execution has ended:

    <execution>/runner.lock         held by the one runner of the execution
    <execution>/job.lock            held by the runner and by the step it started, while either lives
    <execution>/<step>.partial/     the step's /opt/ml while it runs; checkpoints/ stays when it is run again
    <execution>/<step>/             the same, renamed, when the step is done: what later steps read
    logs/<execution>/<step>.log     the last lines a step wrote; the newest executions' logs are kept

A step is done when its folder has its name. Then its results are put where others look for them, then the journal
says so, in one commit with the event. A crash in between repeats what comes after the rename, never the step.
"""

import fcntl
import json
import os
import shutil
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from radloop.core.errors import Corrupt, InvalidInput, NotFound, Unavailable
from radloop.core.events import Event
from radloop.core.ports import Blobs, Clock, Execution, Materialise, Models, Records, Span
from radloop.core.tables import EXECUTIONS
from radloop.local import container
from radloop.local.container import Work
from radloop.pipeline.evaluation import hashes_of, metrics_of, origin_of
from radloop.pipeline.expressions import Scope, holds, resolve
from radloop.pipeline.journal import Journal, code_of, found, newest, start, steps_of

_LOGS: Final = "logs"
_LOGS_KEPT: Final = 20
_MANIFEST: Final = "manifest.jsonl"
_LOCK_WAIT_S: Final = 10.0
_CHUNK_BYTES: Final = 1 << 20


class LocalPipelines:
    """The Pipelines port on the journal in the records and on subprocesses; `run` is the work of its jobs."""

    def __init__(
        self,
        records: Records,
        blobs: Blobs,
        clock: Clock,
        *,
        scratch: Path,
        materialise: Materialise,
        models: Models,
        definition: Mapping[str, Any],
    ) -> None:
        self._records = records
        self._blobs = blobs
        self._clock = clock
        self._scratch = scratch.resolve()
        self._materialise = materialise
        self._models = models
        self._definition = definition
        self._scratch.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._scratch.chmod(0o700)

    def start(self, execution: str, parameters: Mapping[str, Any], *, events: Sequence[Event] = ()) -> bool:
        """See `Pipelines.start`. The job that runs it is asked for in the same commit.

        Raises:
            InvalidInput: The id is no plain name, or a parameter is unknown, missing or of the wrong type.
        """
        if execution == _LOGS:
            raise InvalidInput(f"the id of an execution is not {_LOGS}")
        return start(
            self._records, self._clock, self._definition, execution=execution, parameters=parameters, events=events
        )

    def get(self, execution: str) -> Execution:
        """See `Pipelines.get`."""
        return found(self._records, execution)

    def executions(self, *, limit: int = 50) -> list[Execution]:
        """See `Pipelines.executions`."""
        return newest(self._records, limit)

    def run(self, execution: str) -> None:
        """Run an execution to its end, from the first step that is not done. Running an ended one does nothing.

        Call it from a thread that lives until it returns: the kernel ends a step together with that thread.

        Raises:
            NotFound: There is no such execution.
            Unavailable: Something of ours failed, or another runner has the execution; worth another try.
        """
        folder = self._scratch / Journal(self._records, self._clock, execution).execution
        with _sole_runner(folder) as lock:
            journal = Journal(self._records, self._clock, execution)
            if not journal.is_ended:
                walk = _Walk(journal, self._blobs, self._materialise, self._models, folder=folder, lock=lock)
                walk.go()
            shutil.rmtree(folder)

    def give_up(self, execution: str, code: str) -> None:
        """End an execution that no runner will try again, such as when its job became a dead letter.

        Args:
            execution: Which; one that has ended is left as it is.
            code: A stable code, the reason of its end.

        Raises:
            NotFound: There is no such execution.
            Unavailable: A runner is at work on it.
        """
        folder = self._scratch / Journal(self._records, self._clock, execution).execution
        with _sole_runner(folder):
            journal = Journal(self._records, self._clock, execution)
            if not journal.is_ended:
                journal.give_up(code)
            shutil.rmtree(folder)

    def sweep(self) -> int:
        """Remove what executions that have ended left in scratch; returns how many folders. For start-up."""
        removed = 0
        for folder in sorted(self._scratch.iterdir()):
            row = None if folder.name == _LOGS else self._records.get(EXECUTIONS, folder.name)
            if folder.name == _LOGS or (row is not None and row.document["ended_at"] is None):
                continue
            container.end_survivors(folder)
            shutil.rmtree(folder)
            removed += 1
        kept = {row.key for row in self._records.find(EXECUTIONS, limit=_LOGS_KEPT, newest_first=True)}
        for logs in (self._scratch / _LOGS).glob("*"):
            if logs.name not in kept:
                shutil.rmtree(logs)
        return removed


class _StepFailed(Exception):
    """A step cannot succeed; trying again will not help.

    Args:
        reason: For a person; from the definition or from our own training code, so that it holds nothing of a patient.
        code: What the execution's end is called in its event, where it is not simply that a step failed.
    """

    def __init__(self, reason: str, *, code: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code


class _Walk:
    """One walk through the steps of an execution, in the order they are written."""

    def __init__(
        self, journal: Journal, blobs: Blobs, materialise: Materialise, models: Models, *, folder: Path, lock: int
    ) -> None:
        self._journal = journal
        self._blobs = blobs
        self._materialise = materialise
        self._models = models
        self._folder = folder
        self._lock = lock
        self._described: dict[str, Any] = {}
        self._reports: dict[tuple[str, str], str] = {}
        self._places: dict[str, Path] = {}
        self._hyperparameters: dict[str, Any] = {}
        self._scope = Scope(
            parameters=journal.parameters,
            execution={"PipelineExecutionId": journal.execution, "StartDateTime": journal.started_at},
            steps=self._described,
            report=self._report,
        )

    def go(self) -> None:
        """Run what is not done, until the execution has ended."""
        waiting = deque(self._journal.definition["Steps"])
        while waiting:
            step = waiting.popleft()
            try:
                waiting.extendleft(reversed(self._take(step)))
            except _StepFailed as failed:
                self._journal.fail(step["Name"], reason=failed.reason, code=failed.code)
                return
            except (InvalidInput, NotFound, Corrupt) as error:
                self._journal.fail(step["Name"], reason=error.code)
                return
        self._journal.finish()

    def _take(self, step: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        """Do one step, unless it is done; returns the steps it calls for."""
        kind = step["Type"]
        if kind == "Condition":
            return self._condition(step)
        arguments = resolve(step["Arguments"], self._scope)
        if kind in {"Processing", "Training"}:
            self._job(step, arguments)
        elif kind == "RegisterModel":
            self._register(step, arguments)
        elif kind == "Fail":
            message = str(arguments.get("ErrorMessage", ""))
            raise _StepFailed(message, code=code_of(message))
        else:
            raise _StepFailed(f"unknown-step-type: {kind}")
        return ()

    # Condition, RegisterModel

    def _condition(self, step: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        arguments = step["Arguments"]
        is_true = all(holds(condition, self._scope) for condition in arguments["Conditions"])
        taken, left = arguments["IfSteps"], arguments["ElseSteps"]
        if not is_true:
            taken, left = left, taken
        if not self._journal.has_succeeded(step["Name"]):
            self._journal.begin(step["Name"])
            self._journal.succeed(step["Name"], skipped=[name for name, _ in steps_of(left)])
        return list(taken)

    def _register(self, step: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
        if self._journal.has_succeeded(step["Name"]):
            return
        self._journal.begin(step["Name"])
        artifact = arguments["InferenceSpecification"]["Containers"][0]["ModelDataUrl"]
        report = self._json(arguments["ModelMetrics"]["ModelQuality"]["Statistics"]["S3Uri"])
        self._models.register(
            execution=self._journal.execution,
            artifact=_key(artifact),
            metrics=metrics_of(report),
            lineage={
                **hashes_of(report),
                **origin_of(report),
                **arguments.get("CustomerMetadataProperties", {}),
                "hyperparameters": self._hyperparameters.get(artifact, {}),
                "execution": self._journal.execution,
            },
        )
        self._journal.succeed(step["Name"])

    # Processing, Training

    def _job(self, step: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
        name = step["Name"]
        work = container.work_of(step["Type"], arguments)
        done, partial = self._folder / name, self._folder / f"{name}.partial"
        self._describe(step, arguments, work, done)
        if self._journal.has_succeeded(name):
            return
        self._journal.begin(name)
        if not done.exists():
            self._stage(work, partial)
            self._execute(name, work, partial)
            _settle(work, partial, done)
        evaluation = self._publish(step, work, done)
        self._journal.succeed(name, evaluation=evaluation)

    def _describe(self, step: Mapping[str, Any], arguments: Mapping[str, Any], work: Work, done: Path) -> None:
        """Note what later steps may ask about this one, as SageMaker's Describe call would answer."""
        described = dict(arguments)
        if work.type == "Training":
            uri = container.artifact_uri(arguments)
            described["ModelArtifacts"] = {"S3ModelArtifacts": uri}
            self._places[uri] = done / "model.tar.gz"
            self._hyperparameters[uri] = work.config["input/config/hyperparameters.json"]
        else:
            self._places |= {mount.uri: done / mount.folder for mount in work.outputs}
        self._described[step["Name"]] = described
        outputs = {mount.name: mount.uri for mount in work.outputs}
        for report in step.get("PropertyFiles", ()):
            uri = f"{outputs[report['OutputName']]}/{report['FilePath']}"
            self._reports[step["Name"], report["PropertyFileName"]] = uri

    def _stage(self, work: Work, partial: Path) -> None:
        """Lay out a fresh job folder; of an earlier try only a training's checkpoints stay."""
        partial.mkdir(exist_ok=True, mode=0o700)
        for entry in partial.iterdir():
            if entry.name == "checkpoints" and work.type == "Training":
                continue
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        container.prepare(work, partial)
        for mount in work.inputs:
            self._fetch(mount.uri, partial / mount.folder)

    def _fetch(self, uri: str, folder: Path) -> None:
        """Fill an input: from the folder of the step that made it, else from the blobs."""
        local = self._local(uri)
        if local is not None and local.is_dir():
            for path in container.files_below(local):
                container.link(path, folder / path.relative_to(local))
        elif local is not None and local.is_file():
            container.link(local, folder / local.name)
        else:
            self._download(_key(uri), folder)

    def _download(self, key: str, folder: Path) -> None:
        """The blob of that name, or all below it. A manifest brings the pixels of its lines with it.

        Raises:
            _StepFailed: There is none.
        """
        below = f"{key.rstrip('/')}/"
        found = [one for one in self._blobs.keys(key.rstrip("/")) if one == key or one.startswith(below)]
        if not found:
            raise _StepFailed("input-missing")
        for one in found:
            name = one.removeprefix(below) if one != key else key.rpartition("/")[2]
            is_manifest = (one == key and name.endswith(".jsonl")) or name == _MANIFEST
            target = folder / (_MANIFEST if is_manifest else name)
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._bring(one, target)
            if is_manifest:
                self._materialise_lines(target)

    def _bring(self, key: str, target: Path) -> None:
        """Write a blob to a file, a piece at a time: a model does not fit into memory twice."""
        with target.open("wb") as file:
            while piece := self._blobs.get(key, Span(file.tell(), file.tell() + _CHUNK_BYTES)):
                file.write(piece)

    def _materialise_lines(self, manifest: Path) -> None:
        for number, line in enumerate(manifest.read_text(encoding="utf-8").split("\n"), start=1):
            if not line.strip():
                continue
            try:
                value = json.loads(line)
            except ValueError:
                raise _StepFailed(f"manifest-unreadable: line {number} is not JSON") from None
            self._materialise(value, manifest.parent)

    def _execute(self, name: str, work: Work, partial: Path) -> None:
        """Run the command.

        Raises:
            _StepFailed: It failed or took too long.
        """

        def told(line: str) -> None:
            if (values := _announced(line)) is not None:
                self._journal.progress(name, values)

        ended = container.run(work, partial, lock=self._lock, told=told)
        self._keep_log(name, ended.tail)
        if ended.code is not None:
            text = container.failure_text(partial)
            raise _StepFailed(f"{ended.code}: {text}" if text else ended.code)

    def _keep_log(self, name: str, lines: Sequence[str]) -> None:
        folder = self._folder.parent / _LOGS / self._journal.execution
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        (folder / f"{name}.log").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def _publish(self, step: Mapping[str, Any], work: Work, done: Path) -> Mapping[str, Any] | None:
        """Put what outlives the execution into the blobs: the model, and outputs that are reports.

        Returns:
            The content of the step's report, if it has one.

        Raises:
            _StepFailed: A report is not a JSON object.
        """
        if work.type == "Training":
            self._upload(done / "model.tar.gz", _key(work.outputs[0].uri))
            return None
        reported = {report["OutputName"] for report in step.get("PropertyFiles", ())}
        for mount in work.outputs:
            if mount.name in reported:
                for path in container.files_below(done / mount.folder):
                    self._upload(path, f"{_key(mount.uri)}/{path.relative_to(done / mount.folder).as_posix()}")
        content: Mapping[str, Any] | None = None
        for report in step.get("PropertyFiles", ()):
            content = self._report(step["Name"], report["PropertyFileName"])
        return content

    def _upload(self, path: Path, key: str) -> None:
        with path.open("rb") as file, self._blobs.writer(key) as writer:
            while data := file.read(_CHUNK_BYTES):
                writer.write(data)

    # What names mean

    def _local(self, uri: str) -> Path | None:
        """The path that stands for a place a step of this execution wrote to."""
        known = [place for place in self._places if uri == place or uri.startswith(f"{place}/")]
        if not known:
            return None
        place = max(known, key=len)
        return self._places[place] / uri.removeprefix(place).lstrip("/")

    def _report(self, step: str, name: str) -> Any:
        if (step, name) not in self._reports:
            raise NotFound(f"step {step} has no property file {name}")
        return self._json(self._reports[step, name])

    def _json(self, uri: str) -> Mapping[str, Any]:
        try:
            value = json.loads(self._blobs.get(_key(uri)))
        except NotFound:
            raise _StepFailed("report-missing") from None
        except ValueError:
            raise _StepFailed("report-unreadable") from None
        if not isinstance(value, dict):
            raise _StepFailed("report-unreadable")
        return value


def _settle(work: Work, partial: Path, done: Path) -> None:
    """Check that every output is there, drop the inputs, and give the folder its final name.

    Raises:
        _StepFailed: An output is empty.
    """
    for mount in work.outputs:
        if not container.files_below(partial / mount.folder):
            raise _StepFailed(f"output-missing: {mount.name}")
    for mount in work.inputs:
        shutil.rmtree(partial / mount.folder, ignore_errors=True)
    for left in ("tmp", "checkpoints"):
        shutil.rmtree(partial / left, ignore_errors=True)
    if work.type == "Training":
        container.pack(partial / "model", partial / "model.tar.gz")
        shutil.rmtree(partial / "model")
    container.flush(partial)
    partial.replace(done)
    container.sync(done.parent)


def _announced(line: str) -> dict[str, Any] | None:
    """The plain values of a line in which a job tells how far it is, or None for any other line."""
    if not line.startswith("{"):
        return None
    try:
        value = json.loads(line)
    except ValueError:
        return None
    if not isinstance(value, dict) or "event" not in value:
        return None
    return {key: part for key, part in value.items() if isinstance(part, int | float | str)}


def _key(uri: str) -> str:
    """The blob key of `s3://bucket/key`.

    Raises:
        _StepFailed: It is no such address.
    """
    if not uri.startswith("s3://") or uri == "s3://":
        raise _StepFailed("input-missing: not an s3:// address")
    return uri.removeprefix("s3://")


@contextmanager
def _sole_runner(folder: Path) -> Iterator[int]:
    """Be the one runner of an execution, and wait until no step of a dead one is alive.

    Yields:
        The descriptor of `job.lock`, locked, for steps to inherit.

    Raises:
        Unavailable: There is another runner, or a step of a dead one does not end.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _locked(folder / "runner.lock", wait_s=0.0):
        container.end_survivors(folder)
        with _locked(folder / "job.lock", wait_s=_LOCK_WAIT_S) as descriptor:
            yield descriptor


@contextmanager
def _locked(path: Path, *, wait_s: float) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + wait_s
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise Unavailable(f"{path.name} of the execution is held by another process") from None
                time.sleep(0.05)
        yield descriptor
    finally:
        os.close(descriptor)
