"""The servers that `orthanc.py` holds against each other, each in child processes that end with this one.

Everything runs in a network namespace of its own where there is nothing but loopback: Orthanc of Debian 12 has no
setting for the address it binds to, and so it cannot be reached from anywhere else. Whoever is measured goes through
the same kernel path.
"""

import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path

import orjson

from radloop.local.processes import die_with_parent

UP_S = 90.0
AE_TITLE = "RADLOOP"
_ALONE = "RADLOOP_BENCH_ALONE"
_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


def go_alone() -> bool:
    """Run this script again in a network namespace with nothing but loopback; False where that is not allowed."""
    if os.environ.get(_ALONE):
        return True
    enter = ["sh", "-c", 'ip link set lo up && exec "$@"', "sh", sys.executable, *sys.argv]
    for unshare in (["unshare", "-n"], ["unshare", "-rn"]):
        works = shutil.which("unshare") and shutil.which("ip")
        if works and subprocess.run([*unshare, "ip", "link", "set", "lo", "up"], check=False).returncode == 0:
            os.environ[_ALONE] = "1"
            os.execvp("unshare", [*unshare, *enter])
    return False


@dataclass(slots=True)
class Peer:
    """A running server.

    Attributes:
        address: Host and port of its HTTP door.
        root: Path of its DICOMweb service.
        processes: Whose memory counts, with all below them.
        dicom_port: Of its DIMSE door; None where it has none.
        title: Its application entity title.
        peak_mb: Greatest sum of proportional set sizes seen.
    """

    name: str
    address: str
    root: str
    processes: "list[subprocess.Popen[bytes]]"
    dicom_port: int | None = None
    title: str = AE_TITLE
    peak_mb: float = 0.0
    scheme: str = "http"
    _now_mb: dict[str, float] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Of its DICOMweb service."""
        return f"{self.scheme}://{self.address}{self.root}"

    def measure(self) -> float:
        """Its memory now, in MB; shared pages are divided among those that share them."""
        kb = sum(_pss_kb(pid) for process in self.processes for pid in family(process.pid))
        self.peak_mb = max(self.peak_mb, kb / 1000)
        return kb / 1000


@contextmanager
def memory_watched(peers: Sequence[Peer], every_s: float = 0.5) -> Iterator[None]:
    """Keep the peaks of `peers` up to date."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(every_s):
            for peer in peers:
                peer.measure()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def family(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            below = [int(each) for each in task.read_text().split()]
        except OSError:
            continue
        for each in below:
            found += family(each)
    return found


def _pss_kb(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


@contextmanager
def orthanc(folder: Path) -> Iterator[Peer | None]:
    """Orthanc as Debian ships it, with its DICOMweb plugin; None where it is not installed."""
    program = shutil.which("Orthanc")
    if program is None or not _PLUGIN.exists():
        yield None
        return
    folder.mkdir(parents=True)
    web, dicom = free_port(), free_port()
    settings = folder / "orthanc.json"
    settings.write_text(
        json.dumps(
            {
                "Name": "bench",
                "StorageDirectory": str(folder / "storage"),
                "IndexDirectory": str(folder / "index"),
                "HttpPort": web,
                "DicomPort": dicom,
                "DicomAet": "ORTHANC",
                "DicomAlwaysAllowStore": True,
                "RemoteAccessAllowed": True,
                "AuthenticationEnabled": False,
                "Plugins": [str(_PLUGIN)],
                "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
            }
        )
    )
    with child([program, str(settings)]) as process:
        address = f"127.0.0.1:{web}"
        wait_for(lambda: address, process, "/system")
        yield Peer("Orthanc", address, "/dicom-web", [process], dicom, "ORTHANC")


@contextmanager
def radloop(home: Path, *, has_tls: bool = False) -> Iterator[Peer]:
    """`radloop up` on a free port, with nothing that happens by itself while something else is measured."""
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    dicom = free_port()
    (home / "settings.toml").write_text("quiet_s = 3600.0\nstudy_quiet_s = 3600.0\n")
    command = [sys.executable, "-m", "radloop.cli", "up", "--open", "--listen", "127.0.0.1:0", "--home", str(home)]
    command += ["--no-dimse"] if has_tls else ["--no-tls", "--dimse-port", str(dicom)]
    with child(command) as process:
        url = wait_for(lambda: str(orjson.loads((home / "server.json").read_bytes())["url"]), process, "/healthz")
        scheme, _, address = url.partition("://")
        yield Peer("radloop", address, "/dicomweb", [process], None if has_tls else dicom, scheme=scheme)


@contextmanager
def bare(folder: Path) -> Iterator[Peer]:
    """The server of `bare.py`: the least that storing is."""
    folder.mkdir(parents=True)
    port = free_port()
    with child([sys.executable, str(Path(__file__).with_name("bare.py")), str(folder), str(port)]) as process:
        address = wait_for(lambda: f"127.0.0.1:{port}", process, "/")
        yield Peer("bare", address, "", [process])


@contextmanager
def nginx(folder: Path, tls: tuple[Path, Path] | None = None) -> Iterator[Peer | None]:
    """nginx with one worker over the plain files in `folder/files`, over TLS too where a certificate is given."""
    program = shutil.which("nginx")
    if program is None:
        yield None
        return
    port = free_port()
    listen = f"127.0.0.1:{port}" + (" ssl" if tls else "")
    keys = f"ssl_certificate {tls[0]}; ssl_certificate_key {tls[1]}; ssl_protocols TLSv1.3;" if tls else ""
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    temporary = " ".join(
        f"{name}_temp_path {folder}/logs/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    settings = folder / f"nginx-{port}.conf"
    settings.write_text(
        f"daemon off; worker_processes 1; pid {folder}/nginx-{port}.pid; error_log {folder}/logs/error.log;\n"
        f"{'user root;' if os.geteuid() == 0 else ''}\n"
        "events { worker_connections 512; }\n"
        f"http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000; {temporary}\n"
        f" server {{ listen {listen}; {keys} root {folder}/files; }} }}\n"
    )
    with child([program, "-c", str(settings), "-e", str(folder / "logs" / "error.log")]) as process:
        deadline = time.monotonic() + UP_S
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("nginx did not start")
            time.sleep(0.05)
        yield Peer("nginx", f"127.0.0.1:{port}", "", [process], scheme="https" if tls else "http")


@contextmanager
def child(command: list[str]) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that never outlives this one."""
    parent = os.getpid()
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=None if os.environ.get("RADLOOP_BENCH_LOUD") else subprocess.DEVNULL,
        preexec_fn=lambda: die_with_parent(parent),  # noqa: PLW1509 — one thread so far
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def wait_for(address: Callable[[], str], process: "subprocess.Popen[bytes]", path: str) -> str:
    """The address of a server once it answers."""
    deadline = time.monotonic() + UP_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            found = address()
            scheme, _, place = found.rpartition("://")
            connection = connected(place, is_secure=scheme == "https", timeout_s=2)
            connection.request("GET", path)
            if connection.getresponse().status == 200:
                return found
        except (OSError, ValueError, KeyError, HTTPException):
            pass
        time.sleep(0.1)
    raise SystemExit(f"{process.args} did not start")


def connected(address: str, *, is_secure: bool, timeout_s: float = 60) -> HTTPConnection:
    """A client of a server on loopback, whose certificate nobody checks."""
    if not is_secure:
        return HTTPConnection(address, timeout=timeout_s)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return HTTPSConnection(address, timeout=timeout_s, context=context)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
