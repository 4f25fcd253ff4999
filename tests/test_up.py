"""`radloop up` as it is by default: TLS and sign-in, on a real server process."""

import json
import os
import pty
import re
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from radloop.cli import main
from radloop.dicom.phantom import phantom_study
from radloop.security.authority import LOOPBACK_NAMES

WAIT_S = 60


@dataclass(frozen=True)
class Up:
    """A running server, and what it told its terminal."""

    url: str
    home: Path
    told: str

    @property
    def authority(self) -> Path:
        return self.home / "keys" / "ca.pem"

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def client(self, **options: object) -> httpx.Client:
        context = ssl.create_default_context(cafile=self.authority)
        return httpx.Client(base_url=self.url, verify=context, timeout=20, **options)

    def owner(self) -> httpx.Client:
        token = (self.home / "keys" / "owner-token").read_text()
        return self.client(headers={"Authorization": f"Bearer {token}"})


def start(home: Path, *options: str, terminal: bool = False) -> tuple["subprocess.Popen[bytes]", str]:
    """Start it; returns the process and what it printed until it was up."""
    command = [sys.executable, "-m", "radloop.cli", "up", "--home", str(home), "--listen", "127.0.0.1:0", "--no-dimse"]
    ours, theirs = pty.openpty() if terminal else os.pipe()
    log = (home.parent / f"{home.name}.log").open("wb")
    process = subprocess.Popen([*command, *options], stdout=theirs, stderr=log)
    os.close(theirs)
    log.close()
    printed = b""
    deadline = time.monotonic() + WAIT_S
    while b"radloop is up" not in printed or not printed.endswith(b"\n"):
        assert time.monotonic() < deadline
        piece = os.read(ours, 4096)
        assert piece, (home.parent / f"{home.name}.log").read_text()
        printed += piece
    os.close(ours)
    return process, printed.decode()


def stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    process.wait(timeout=20)


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    home = tmp_path_factory.mktemp("up") / "home"
    home.mkdir()
    (home / "settings.toml").write_text('fold_threads = 1\nhosts = ["radiology.example"]\n')
    process, told = start(home, terminal=True)
    yield Up(json.loads((home / "server.json").read_text())["url"], home, told)
    stop(process)


def radloop(*arguments: str | Path, status: int = 0, stdin: str | None = None, **env: str) -> str:
    result = CliRunner().invoke(main, [str(each) for each in arguments], input=stdin, env=env, catch_exceptions=False)
    assert result.exit_code == status, result.output
    return result.stdout if status == 0 else result.stderr


def handshake(up: Up, version: ssl.TLSVersion, name: str = "localhost") -> str | None:
    """The protocol that was agreed on with a client that speaks only `version`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(up.authority)
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    with (
        socket.create_connection(("127.0.0.1", up.port)) as plain,
        context.wrap_socket(plain, server_hostname=name) as sealed,
    ):
        return sealed.version()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_of_today_is_spoken(up: Up, version: ssl.TLSVersion) -> None:
    assert handshake(up, version) == {"TLSv1_2": "TLSv1.2", "TLSv1_3": "TLSv1.3"}[version.name]


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_tls_of_the_past_is_refused(up: Up, version: ssl.TLSVersion) -> None:
    with pytest.raises((ssl.SSLError, ConnectionError)):
        handshake(up, version)


@pytest.mark.parametrize("name", [*LOOPBACK_NAMES, "radiology.example", "runtime-radiology.example"])
def test_the_certificate_stands_for_every_name_we_answer_to(up: Up, name: str) -> None:
    assert handshake(up, ssl.TLSVersion.TLSv1_3, name) == "TLSv1.3"


def test_a_name_that_is_not_ours_is_not_vouched_for(up: Up) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(up, ssl.TLSVersion.TLSv1_3, "evil.example")


def test_only_who_trusts_the_authority_is_answered_and_plain_http_never(up: Up) -> None:
    with up.client() as client:
        answer = client.get("/healthz")
    assert answer.json() == {"status": "ok"}
    assert answer.headers["strict-transport-security"] == "max-age=31536000"
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(f"{up.url}/healthz")
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"http://127.0.0.1:{up.port}/healthz")


def test_nobody_gets_anything_but_the_way_in(up: Up) -> None:
    with up.client() as client:
        assert client.get("/app/").status_code == 200
        for path in ("/api/v1/worklist", "/metrics", "/dicomweb/studies", "/api/v1/openapi.json"):
            assert client.get(path).status_code == 401


def test_the_first_start_tells_a_terminal_the_first_password_once(up: Up) -> None:
    found = re.search(r"sign in as admin with the password ([a-z2-7-]{29})", up.told)
    assert found is not None, up.told
    with up.client() as client:
        answer = client.post("/api/v1/session", json={"name": "admin", "password": found[1]})
        assert answer.json()["roles"] == ["admin"]
        assert answer.headers["set-cookie"].startswith("__Host-radloop=")
        assert client.get("/api/v1/users").status_code == 200
    log = (up.home.parent / f"{up.home.name}.log").read_text()
    assert found[1] not in log


def test_commands_of_the_owner_reach_it_by_themselves(up: Up, tmp_path: Path) -> None:
    radloop("phantom", "--out", tmp_path / "in", "--slices", "4", "--size", "64")
    report = json.loads(radloop("ingest", tmp_path / "in", "--home", up.home, "--json"))
    assert report["ingested"] == 4
    assert json.loads(radloop("models", "--home", up.home, "--json")) == {"items": []}


def test_another_command_needs_a_token_and_the_authority(up: Up, tmp_path: Path) -> None:
    made = json.loads(radloop("credentials", "create", "--role", "ml", "--json", "--home", up.home))
    assert {"access_key_id", "secret_access_key", "token"} <= made.keys()
    ca = str(up.authority)
    listed = radloop("models", "--server", up.url, "--json", RADLOOP_TOKEN=made["token"], RADLOOP_CA=ca)
    assert json.loads(listed) == {"items": []}
    (tmp_path / "token").write_text(made["token"] + "\n")
    by_file = ("--server", up.url, "--token-file", tmp_path / "token", "--ca", ca)
    assert json.loads(radloop("models", *by_file, "--json")) == {"items": []}
    assert "[unauthenticated]" in radloop("models", "--server", up.url, status=1, RADLOOP_CA=ca)
    assert "[denied]" in radloop("users", "list", *by_file, status=1)
    assert "does not answer" in radloop("models", "--server", up.url, status=5, RADLOOP_TOKEN=made["token"])
    at_once = ("ingest", "--resume", tmp_path / "token", "--server", up.url)  # patience cannot mend a certificate
    assert "--ca or RADLOOP_CA" in radloop(*at_once, status=5, RADLOOP_TOKEN=made["token"])
    assert "names no file" in radloop("models", "--server", up.url, status=1, RADLOOP_CA="nowhere.pem")
    radloop("credentials", "revoke", made["access_key_id"], "--home", up.home)
    assert "[unauthenticated]" in radloop("models", *by_file, status=1)


def test_a_signed_request_of_the_aws_sdk_reads_the_raw_path(up: Up) -> None:
    """What the doors see of a path must be what stood on the wire, or no signature over odd characters would hold."""
    with up.owner() as client:
        answer = client.get("/api/v1/image-sets/a%2Fb%3Ac")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not-found")


def test_users_are_made_changed_and_disabled_by_command(up: Up) -> None:
    made = json.loads(radloop("users", "create", "Berta", "--role", "reader", "--home", up.home, "--json"))

    def status(password: str) -> int:
        with up.client() as client:
            return client.post("/api/v1/session", json={"name": "berta", "password": password}).status_code

    assert status(made["password"]) == 200
    radloop("users", "password", "berta", "--stdin", "--home", up.home, stdin="a password of her own\n")
    assert (status(made["password"]), status("a password of her own")) == (401, 200)
    radloop("users", "disable", "Berta", "--home", up.home)
    assert status("a password of her own") == 401
    radloop("users", "disable", "Berta", "--undo", "--home", up.home)
    assert status("a password of her own") == 200
    listed = json.loads(radloop("users", "list", "--home", up.home, "--json"))["items"]
    assert {user["name"] for user in listed} >= {"admin", "berta"}
    assert "[conflict]" in radloop("users", "create", "BERTA", "--role", "reader", "--home", up.home, status=4)
    assert "[not-found]" in radloop("users", "password", "nobody", "--home", up.home, status=1)


def test_users_and_credentials_are_made_on_a_home_that_nobody_serves(tmp_path: Path) -> None:
    home = tmp_path / "h"
    radloop("users", "create", "anna", "--role", "reader", "--patients", "A, B", "--home", home)
    (user,) = json.loads(radloop("users", "list", "--home", home, "--json"))["items"]
    assert (user["name"], user["patients"]) == ("anna", ["A", "B"])
    made = json.loads(radloop("credentials", "create", "--role", "reader", "--days", "3", "--home", home, "--json"))
    (kept,) = json.loads(radloop("credentials", "list", "--home", home, "--json"))["items"]
    assert kept["access_key_id"] == made["access_key_id"]
    assert "token" not in kept


def test_without_a_terminal_no_password_is_printed_and_one_can_be_set(tmp_path: Path) -> None:
    home = tmp_path / "h"
    process, told = start(home)
    try:
        assert "password admin" in told
        assert not re.search(r"[a-z2-7]{4}(-[a-z2-7]{4}){5}", told)
        made = json.loads(radloop("users", "password", "admin", "--home", home, "--json"))
        url = json.loads((home / "server.json").read_text())["url"]
        with Up(url, home, "").client() as client:
            answer = client.post("/api/v1/session", json={"name": "admin", "password": made["password"]})
        assert answer.status_code == 200
        token = (home / "keys" / "owner-token").read_text()
        assert (home / "keys" / "owner-token").stat().st_mode & 0o777 == 0o600
    finally:
        stop(process)
    process, told = start(home)
    try:
        assert "Nobody can sign in" not in told
        assert (home / "keys" / "owner-token").read_text() != token
        assert radloop("users", "list", "--home", home)
    finally:
        stop(process)


@pytest.mark.parametrize("options", [["--open"], ["--no-tls"]])
def test_either_guard_can_be_left_out_on_the_loopback_and_it_says_so(tmp_path: Path, options: list[str]) -> None:
    home = tmp_path / "h"
    process, _ = start(home, *options)
    try:
        url = json.loads((home / "server.json").read_text())["url"]
        log = (tmp_path / "h.log").read_text()
        if "--open" in options:
            assert "OPEN: no sign-in" in log
            with Up(url, home, "").client() as client:
                assert client.get("/api/v1/worklist").status_code == 200
            assert not (home / "keys" / "owner-token").exists()
        else:
            assert "NO TLS" in log
            assert url.startswith("http://")
            assert httpx.get(f"{url}/api/v1/worklist").status_code == 401
        assert json.loads(radloop("models", "--home", home, "--json")) == {"items": []}
    finally:
        stop(process)


@pytest.mark.parametrize("options", [["--open"], ["--no-tls"], ["--open", "--no-tls"]])
def test_no_guard_can_be_left_out_off_the_loopback(tmp_path: Path, options: list[str]) -> None:
    said = radloop("up", *options, "--listen", "0.0.0.0:0", "--home", tmp_path / "h", status=1)
    assert "loopback only" in said


@pytest.mark.parametrize("listen", ["localhost", "127.0.0.1:x", ":80", "nowhere.invalid:0"])
def test_an_address_that_is_none_is_refused(tmp_path: Path, listen: str) -> None:
    assert "--listen" in radloop("up", "--listen", listen, "--home", tmp_path / "h", status=1)


def test_studies_can_be_read_with_a_patient_scope_over_the_wire(up: Up) -> None:
    ours, theirs = (
        phantom_study(41, consolidated=False, slices=4, size=64),
        phantom_study(42, consolidated=False, slices=4, size=64),
    )
    with up.owner() as client:
        files = [("files", (f"{place}", data)) for place, data in enumerate([*ours.files, *theirs.files])]
        client.post("/api/v1/uploads?complete=1", files=files).raise_for_status()
    arguments = (
        "credentials",
        "create",
        "--role",
        "reader",
        "--patients",
        ours.patient_id,
        "--json",
        "--home",
        up.home,
    )
    made = json.loads(radloop(*arguments))
    with up.client(headers={"Authorization": f"Bearer {made['token']}"}) as client:
        seen = {item["patient_id"] for item in client.get("/api/v1/worklist").json()["items"]}
    assert seen == {ours.patient_id}
