"""Runs what a SageMaker container would run, without a container: the folders, the environment, the process.

SageMaker gives a job its files below /opt/ml; here they lie below a private folder that `RADLOOP_ML_ROOT` names.
"""

import gzip
import json
import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final

import radloop

_ML: Final = PurePosixPath("/opt/ml")
_GRACE_S: Final = 10.0
_TAIL_LINES: Final = 400
_LONGEST_LINE: Final = 4000
_READ_BYTES: Final = 1 << 16
_PATIENCE_S: Final = 0.1
_CLOSED_PATIENCE_S: Final = 0.01  # both streams are closed: the end is near
_HOST: Final = "algo-1"
_INHERITED: Final = re.compile(
    r"PATH|HOME|LANG|LC_\w+|TZ|LD_LIBRARY_PATH|(OMP|MKL|OPENBLAS|NUMEXPR)_NUM_THREADS|CUDA_\w+|NVIDIA_\w+|ROCR?_\w+"
)
"""What a job sees of our environment: nothing that could hold a secret."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A place in the object store and the folder of the job that stands for it.

    Attributes:
        name: Of the input, channel or output.
        uri: `s3://bucket/key`.
        folder: Relative to the root of the job.
    """

    name: str
    uri: str
    folder: Path


@dataclass(frozen=True, slots=True)
class Work:
    """What a Processing or Training step asks for.

    Attributes:
        type: Processing or Training.
        command: As the container would start it.
        config: Files of the contract, by path relative to the root.
        longest_s: Seconds after which it is stopped.
    """

    type: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    inputs: tuple[Mount, ...]
    outputs: tuple[Mount, ...]
    config: Mapping[str, Any]
    longest_s: float


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended.

    Attributes:
        code: None for success, else a stable code: `exit-status-1`, `killed-by-signal-9`, `timed-out`.
        tail: The last lines it wrote.
    """

    code: str | None
    tail: tuple[str, ...]


def work_of(step_type: str, arguments: Mapping[str, Any]) -> Work:
    """What the resolved arguments of a step ask for: a CreateProcessingJob or CreateTrainingJob request."""
    return _processing(arguments) if step_type == "Processing" else _training(arguments)


def _processing(arguments: Mapping[str, Any]) -> Work:
    application = arguments["AppSpecification"]
    resources = arguments.get("ProcessingResources", {})
    return Work(
        type="Processing",
        command=(*application["ContainerEntrypoint"], *application.get("ContainerArguments", ())),
        environment=dict(arguments.get("Environment", {})),
        inputs=tuple(
            Mount(one["InputName"], one["S3Input"]["S3Uri"], _relative(one["S3Input"]["LocalPath"]))
            for one in arguments.get("ProcessingInputs", ())
        ),
        outputs=tuple(
            Mount(one["OutputName"], one["S3Output"]["S3Uri"], _relative(one["S3Output"]["LocalPath"]))
            for one in arguments.get("ProcessingOutputConfig", {}).get("Outputs", ())
        ),
        config={
            "config/processingjobconfig.json": arguments,
            "config/resourceconfig.json": _resources(resources.get("ClusterConfig", {})),
        },
        longest_s=_longest_s(arguments),
    )


def _training(arguments: Mapping[str, Any]) -> Work:
    algorithm = arguments["AlgorithmSpecification"]
    channels = arguments.get("InputDataConfig", ())
    hyperparameters = {name: str(value) for name, value in arguments.get("HyperParameters", {}).items()}
    return Work(
        type="Training",
        command=(*algorithm["ContainerEntrypoint"], *algorithm.get("ContainerArguments", ())),
        environment=dict(arguments.get("Environment", {})),
        inputs=tuple(
            Mount(
                one["ChannelName"],
                one["DataSource"]["S3DataSource"]["S3Uri"],
                Path("input", "data", one["ChannelName"]),
            )
            for one in channels
        ),
        outputs=(Mount("model", artifact_uri(arguments), Path("model")),),
        config={
            "input/config/hyperparameters.json": hyperparameters,
            "input/config/inputdataconfig.json": {
                one["ChannelName"]: {"TrainingInputMode": "File"} for one in channels
            },
            "input/config/resourceconfig.json": _resources(arguments.get("ResourceConfig", {})),
        },
        longest_s=_longest_s(arguments),
    )


def artifact_uri(arguments: Mapping[str, Any]) -> str:
    """Where the model of a Training step goes; one job an execution writes there, so there is no job name in it."""
    return f"{arguments['OutputDataConfig']['S3OutputPath'].rstrip('/')}/model.tar.gz"


def prepare(work: Work, root: Path) -> None:
    """Lay out the folders and the configuration below `root`; what the inputs hold is the caller's business."""
    for folder in (*(mount.folder for mount in (*work.inputs, *work.outputs)), Path("output"), Path("tmp")):
        _make(root, folder)
    if work.type == "Training":
        _make(root, Path("checkpoints"))
    for name, value in work.config.items():
        path = root / name
        _make(root, path.parent.relative_to(root))
        path.write_text(json.dumps(value, indent=1), encoding="utf-8")


def run(work: Work, root: Path, *, lock: int, told: Callable[[str], None], grace_s: float = _GRACE_S) -> Ended:
    """Run the command until it ends or its time is over. Nothing that it started is alive afterwards.

    The kernel kills it when the calling thread ends, so that thread must be the one that waits here.

    Args:
        work: What to run.
        root: The job's private folder, prepared.
        lock: Descriptor of a locked file; the command holds it while it lives. See `radloop.local.launch`.
        told: Called with every line of standard output.
        grace_s: Seconds between SIGTERM and SIGKILL when the time is over.
    """
    launcher = (sys.executable, "-m", "radloop.local.launch", str(os.getpid()), str(lock), "--")
    program, *rest = work.command
    command = (sys.executable if program in {"python", "python3"} else program, *rest)
    process = subprocess.Popen(  # noqa: S603 — the command is the definition's, without a shell
        (*launcher, *command),
        cwd=root,
        env=_environment(work, root),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=(lock,),
        start_new_session=True,
    )
    tail: deque[str] = deque(maxlen=_TAIL_LINES)
    try:
        is_late = _follow(process, tail, told, longest_s=work.longest_s, grace_s=grace_s)
    finally:
        _signal_group(process, signal.SIGKILL)
        process.wait()
        end_survivors(root)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
    return Ended("timed-out" if is_late else _code(process.returncode), tuple(tail))


def failure_text(root: Path) -> str:
    """What the job wrote to `output/failure`, on one line, cut to what fits a record."""
    try:
        text = (root / "output" / "failure").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return " ".join(text.split())[:500]


def pack(folder: Path, archive: Path) -> None:
    """Pack the files below `folder` into a gzipped tar; the same files give the same bytes.

    Level 1: weights hardly compress, and level 9 takes ten times as long for it.
    """
    with (
        archive.open("wb") as file,
        gzip.GzipFile(filename="", fileobj=file, mode="wb", compresslevel=1, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w|") as tar,
    ):
        for path in files_below(folder):
            entry = tarfile.TarInfo(path.relative_to(folder).as_posix())
            entry.size, entry.mode = path.stat().st_size, 0o644
            with path.open("rb") as content:
                tar.addfile(entry, content)


def link(source: Path, target: Path) -> None:
    """Give a file a second name, or copy it where the file system has no second names."""
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def flush(folder: Path) -> None:
    """Bring `folder` and all below it to the disk, so that a rename never outlives what it names."""
    for path in (*files_below(folder), *(path for path in folder.rglob("*") if path.is_dir()), folder):
        sync(path)


def sync(path: Path) -> None:
    """Bring one file, or the names in one folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def files_below(folder: Path) -> list[Path]:
    """Regular files below a folder, in order of their names; links are passed over."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def end_survivors(folder: Path) -> int:
    """Kill what still runs with its root at or below `folder`; returns how many. For when nobody runs it any more.

    PR_SET_PDEATHSIG reaches the command but not the processes it started itself, and those may have left its group.
    They are known by the root in their environment. Only Linux tells it; elsewhere the lock alone keeps the next
    runner waiting.
    """
    mark = f"RADLOOP_ML_ROOT={folder}".encode()
    ended = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment = (process / "environ").read_bytes().split(b"\0")
            if any(entry == mark or entry.startswith(mark + b"/") for entry in environment):
                os.kill(int(process.name), signal.SIGKILL)
                ended += 1
        except OSError:  # gone meanwhile, or another user's
            continue
    return ended


def _follow(
    process: subprocess.Popen[bytes],
    tail: deque[str],
    told: Callable[[str], None],
    *,
    longest_s: float,
    grace_s: float,
) -> bool:
    """Read both streams until the process ends; whether its time ran out.

    A grandchild that keeps a stream open is not waited for.
    """
    deadline = time.monotonic() + longest_s
    is_late = False
    with selectors.DefaultSelector() as selector:
        for stream, listener in ((process.stdout, told), (process.stderr, None)):
            if stream is not None:
                os.set_blocking(stream.fileno(), False)
                selector.register(stream, selectors.EVENT_READ, _Lines(tail, listener))
        while not _has_ended(process):
            _read(selector, timeout_s=_PATIENCE_S if selector.get_map() else _CLOSED_PATIENCE_S)
            if time.monotonic() >= deadline:
                _signal_group(process, signal.SIGKILL if is_late else signal.SIGTERM)
                is_late, deadline = True, time.monotonic() + grace_s
        while _read(selector, timeout_s=0.0):
            pass
        for key in selector.get_map().values():
            key.data.end()
    return is_late


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether the process is over; it is not waited for, so that its group's id stays its own."""
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


class _Lines:
    """Cuts what comes from a stream into lines; keeps the last ones."""

    def __init__(self, tail: deque[str], listener: Callable[[str], None] | None) -> None:
        self._tail, self._listener, self._rest = tail, listener, b""

    def feed(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._take(line)
        if len(self._rest) > _READ_BYTES:  # no line of ours is so long
            self._take(self._rest)
            self._rest = b""

    def end(self) -> None:
        if self._rest:
            self._take(self._rest)
        self._rest = b""

    def _take(self, line: bytes) -> None:
        text = line.decode("utf-8", errors="replace").rstrip()[:_LONGEST_LINE]
        self._tail.append(text)
        if self._listener is not None:
            self._listener(text)


def _read(selector: selectors.BaseSelector, *, timeout_s: float) -> bool:
    """Read once from each stream that has something; whether there was any."""
    got = False
    for key, _ in selector.select(timeout_s):
        stream: IO[bytes] = key.fileobj  # type: ignore[assignment]
        try:
            data = os.read(stream.fileno(), _READ_BYTES)
        except BlockingIOError:
            continue
        if data:
            key.data.feed(data)
            got = True
        else:
            key.data.end()
            selector.unregister(stream)
    return got


def _code(status: int) -> str | None:
    if status == 0:
        return None
    return f"killed-by-signal-{-status}" if status < 0 else f"exit-status-{status}"


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Signal the command and what it started, unless all of it is gone."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _environment(work: Work, root: Path) -> dict[str, str]:
    ours = str(Path(radloop.__file__).resolve().parents[1])
    values = {name: value for name, value in os.environ.items() if _INHERITED.fullmatch(name)}
    paths = [ours, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    values |= {
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONUNBUFFERED": "1",
        "TMPDIR": str(root / "tmp"),
        "RADLOOP_ML_ROOT": str(root),
    }
    if work.type == "Training":
        values |= _training_environment(work, root)
    return {**values, **work.environment}


def _training_environment(work: Work, root: Path) -> dict[str, str]:
    """The variables SageMaker's training toolkit sets."""
    names = [mount.name for mount in work.inputs]
    return {
        "SM_MODEL_DIR": str(root / "model"),
        "SM_OUTPUT_DATA_DIR": str(root / "output" / "data"),
        "SM_CHANNELS": json.dumps(names),
        "SM_HPS": json.dumps(work.config["input/config/hyperparameters.json"]),
        "SM_HOSTS": json.dumps([_HOST]),
        "SM_CURRENT_HOST": _HOST,
    } | {f"SM_CHANNEL_{mount.name.upper()}": str(root / mount.folder) for mount in work.inputs}


def _resources(cluster: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "current_host": _HOST,
        "hosts": [_HOST],
        "current_instance_type": cluster.get("InstanceType", "local"),
        "network_interface_name": "lo",
    }


def _longest_s(arguments: Mapping[str, Any]) -> float:
    return float(arguments.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", 24 * 3600))


def _relative(path: str) -> Path:
    return Path(PurePosixPath(path).relative_to(_ML))


def _make(root: Path, folder: Path) -> None:
    (root / folder).mkdir(parents=True, exist_ok=True, mode=0o700)
