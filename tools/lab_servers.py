# ruff: noqa: INP001 — programs that are run by themselves
"""The servers of the lab: MiniStack, moto, our own HealthImaging, and the shim, each a process on the loopback.

Whatever they write lies in one temporary folder, and every process that comes of them, the code of the functions too,
bears that folder's name in its environment, by which it is found and ended.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from lab_install import REPOSITORY, NotInstalled, install_all

REGION = "eu-west-1"
ACCOUNT = "123456789012"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}
ON_MOTO = ("ACCESSANALYZER", "GUARDDUTY", "MACIE2")
"""Services that MiniStack lacks and moto has, as the AWS SDKs spell them in AWS_ENDPOINT_URL_<SERVICE>."""

_RUNNING = REPOSITORY / "build" / "lab.json"
_MARK = "RADLOOP_LAB_FOLDER"
_STARTS_WITHIN_S = 120.0
_PATIENCE_S = 5.0


class LabFailed(Exception):
    """Something of the lab is not as it has to be; the message says what."""


@dataclass(frozen=True, slots=True)
class Lab:
    """A lab that is up.

    Attributes:
        folder: Where all of it lies.
        pids: Of the servers, by name.
        ministack: Address of MiniStack: S3, DynamoDB, SQS, EventBridge, Lambda and most else.
        moto: Address of moto: the model packages and pipelines of SageMaker, GuardDuty, Access Analyzer.
        imaging: Address of our own server, as HealthImaging.
        shim: Address of what stands in for SageMaker's runs, Cloud Control and what services tell; see `lab_shim`.
    """

    folder: Path
    pids: Mapping[str, int]
    ministack: str
    moto: str
    imaging: str
    shim: str

    @property
    def mark(self) -> str:
        """What every process that comes of it has in its environment."""
        return f"{_MARK}={self.folder}"

    def environment(self) -> dict[str, str]:
        """What a program needs in order to find all of it as AWS, and nothing else that is AWS."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "RADLOOP_"))}
        kept = {
            name: os.environ[name]
            for name in ("RADLOOP_LAB", "RADLOOP_TF_MIRROR", "RADLOOP_TEST_DATA")
            if name in os.environ
        }
        return {
            **inherited,
            **kept,
            **_addresses(self.ministack, self.moto, self.imaging, self.shim),
            _MARK: str(self.folder),
        }


def up() -> Lab:
    """Start everything.

    Raises:
        LabFailed: A lab is up already, a program is missing, or a server does not answer.
    """
    if _RUNNING.exists():
        raise LabFailed("a lab is up already: `python tools/lab.py down` ends it")
    try:
        programs = install_all()
    except NotInstalled as error:
        raise LabFailed(str(error)) from error
    folder = Path(tempfile.mkdtemp(prefix="radloop-lab-"))
    ports = dict(zip(("ministack", "moto", "imaging", "shim"), _free_ports(4), strict=True))
    at = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
    lab = Lab(folder, {}, **at)
    environ = lab.environment()
    home = folder / "home"
    home.mkdir()
    (home / "settings.toml").write_text(f's3_endpoint = "{at["ministack"]}"\n')
    (folder / "ministack").mkdir()
    commands: dict[str, tuple[list[str], dict[str, str], str]] = {
        "moto": ([str(programs["moto"]), "-H", "127.0.0.1", "-p", str(ports["moto"])], {}, "/moto-api/"),
        "ministack": (
            [str(programs["ministack"])],
            {
                "BIND_HOST": "127.0.0.1",  # it runs uploaded code, and would listen everywhere
                "GATEWAY_PORT": str(ports["ministack"]),
                "MINISTACK_REGION": REGION,
                "MINISTACK_ACCOUNT_ID": ACCOUNT,
                "STATE_DIR": str(folder / "ministack"),
                "TMPDIR": str(folder / "ministack"),
                "OMP_NUM_THREADS": "1",
                "IOT_MTLS_ENABLED": "0",  # a port of its own, which nothing here asks
            },
            "/_ministack/health",
        ),
        "imaging": (
            [
                *(sys.executable, "-m", "radloop.cli", "up", "--home", str(home), "--open", "--no-tls", "--no-dimse"),
                *("--listen", f"127.0.0.1:{ports['imaging']}"),
            ],
            {},
            "/healthz",
        ),
        "shim": ([sys.executable, str(REPOSITORY / "tools" / "lab_shim.py"), str(ports["shim"]), str(folder)], {}, "/"),
    }
    started: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name, (command, more, _) in commands.items():
            with (folder / f"{name}.log").open("wb") as said:
                started[name] = subprocess.Popen(  # noqa: S603 — commands of ours
                    command,
                    cwd=REPOSITORY,
                    env={**environ, **more},
                    stdin=subprocess.DEVNULL,
                    stdout=said,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        lab = Lab(folder, {name: process.pid for name, process in started.items()}, **at)
        _RUNNING.parent.mkdir(exist_ok=True)
        _RUNNING.write_text(json.dumps({**asdict(lab), "folder": str(folder)}) + "\n")
        for name, (_, _, health) in commands.items():
            _wait(name, started[name], at[name] + health, folder)
        _without_docker(at["moto"])
    except BaseException:
        down()
        raise
    return lab


def running() -> Lab:
    """The lab that is up.

    Raises:
        LabFailed: None is.
    """
    if not _RUNNING.exists():
        raise LabFailed("no lab is up: `python tools/lab.py up` starts one")
    told = json.loads(_RUNNING.read_text())
    return Lab(**{**told, "folder": Path(told["folder"])})


def down() -> int:
    """End every process that came of the lab and remove what it wrote; how many were ended. Without one, nothing."""
    if not _RUNNING.exists():
        return 0
    folder = running().folder
    ended = 0
    for sign in (signal.SIGTERM, signal.SIGKILL):
        until = time.monotonic() + _PATIENCE_S
        found = list(_ours(folder))
        ended = max(ended, len(found))
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, sign)
        while list(_ours(folder)) and time.monotonic() < until:
            _reap()
            time.sleep(0.1)
    shutil.rmtree(folder, ignore_errors=True)
    _RUNNING.unlink(missing_ok=True)
    return ended


def _ours(folder: Path) -> Iterator[int]:
    """Processes that came of the lab in `folder`, but this one."""
    mark = Lab(folder, {}, "", "", "", "").mark.encode()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # gone meanwhile, or another user's
            if mark in (process / "environ").read_bytes().split(b"\0") and int(process.name) != os.getpid():
                yield int(process.name)


def _reap() -> None:
    """Let those of our own children go that have ended."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _addresses(ministack: str, moto: str, imaging: str, shim: str) -> dict[str, str]:
    return {
        **CREDENTIALS,
        "AWS_ENDPOINT_URL": ministack,
        **{f"AWS_ENDPOINT_URL_{service}": moto for service in ON_MOTO},
        "AWS_ENDPOINT_URL_SAGEMAKER": shim,
        "AWS_ENDPOINT_URL_CLOUDCONTROL": shim,
        "AWS_ENDPOINT_URL_MEDICAL_IMAGING": imaging,
        "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
        "RADLOOP_LAB_MOTO": moto,
    }


def _free_ports(count: int) -> list[int]:
    held = [socket.socket() for _ in range(count)]
    try:
        for each in held:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in held]
    finally:
        for each in held:
            each.close()


def _wait(name: str, process: "subprocess.Popen[bytes]", url: str, folder: Path) -> None:
    until = time.monotonic() + _STARTS_WITHIN_S
    while time.monotonic() < until and process.poll() is None:
        with suppress(OSError), urllib.request.urlopen(url, timeout=5):  # noqa: S310 — our own address
            return
        time.sleep(0.1)
    said = (folder / f"{name}.log").read_text(errors="replace")[-1500:]
    raise LabFailed(f"{name} does not answer: {said}")


def _without_docker(moto: str) -> None:
    body = json.dumps({"lambda": {"use_docker": False}, "batch": {"use_docker": False}}).encode()
    request = urllib.request.Request(  # noqa: S310 — our own address
        f"{moto}/moto-api/config", body, {"Content-Type": "application/json"}
    )
    try:
        urllib.request.urlopen(request, timeout=30).close()  # noqa: S310 — the same
    except urllib.error.URLError as error:
        raise LabFailed("moto takes no configuration") from error
