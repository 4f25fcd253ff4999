"""Streams as the network meets them: the page about them as it stands there, and a client that goes away."""

import json
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from radloop.dicom.phantom import phantom_study
from tests.test_up import Up, start, stop

PAGE = (Path(__file__).parents[2] / "docs" / "stream.md").read_text()
STUDY = phantom_study(5, consolidated=True, slices=3, size=512)


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    home = tmp_path_factory.mktemp("streams") / "radloop-home"
    home.mkdir()
    (home / "settings.toml").write_text("fold_threads = 1\ndoor_processes = 1\n")
    process, told = start(home)
    found = re.search(r"https://[\d.:]+", told)
    assert found is not None
    try:
        yield Up(found[0], home, told)
    finally:
        stop(process)


@pytest.fixture(scope="module")
def identity(up: Up) -> str:
    """An image set that is closed and folded."""
    files = [("files", (str(number), data)) for number, data in enumerate(STUDY.files)]
    with up.owner() as client:
        (name,) = client.post("/api/v1/uploads?complete=1", files=files).json()["image_sets"]
        deadline = time.monotonic() + 60
        while client.get(f"/api/v1/image-sets/{name}").json()["storage"] != "folded":
            assert time.monotonic() < deadline
            time.sleep(0.2)
    return str(name)


def example(kind: str) -> str:
    (found,) = re.findall(rf"^```{kind}\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    return str(found)


def test_the_example_runs_as_it_stands_on_its_page(up: Up, identity: str) -> None:
    if shutil.which("curl") is None:
        pytest.skip("there is no curl")
    script = example("bash").replace("https://127.0.0.1:8080", up.url)
    script = re.sub(r"^image_set=\w{32}$", f"image_set={identity}", script, flags=re.MULTILINE)
    assert identity in script
    folder = up.home.parent
    subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=folder, check=True, timeout=60)
    ran = subprocess.run(
        [sys.executable, "-c", example("python")], cwd=folder, check=True, timeout=60, capture_output=True, text=True
    )
    with up.owner() as client:
        told = client.get(f"/api/v1/image-sets/{identity}").json()
        preview = client.get(f"/api/v1/image-sets/{identity}/frames/0/preview").content
        whole = client.get(f"/api/v1/image-sets/{identity}/frames/2").content
    first = told["frame_list"][0]
    lines = ran.stdout.splitlines()
    assert lines[0] == "3 frames of CT, version 1, in 1 kinds"
    assert re.fullmatch(
        rf"frame 0 has {first['lossless_bytes']} bytes, its smallest picture \d+, its preview {len(preview)}", lines[1]
    )
    assert lines[2:] == [
        f"preview 0 {len(preview)} bytes from 0",
        f"frame 2 {len(whole)} bytes from 0",
        "frame 0 400 bytes from 0",
        "frame 99999 not-found",
    ]


@pytest.mark.parametrize("piece", ['"seconds": 600', "5:0:1484,p6:0:0", "0x80000000", "0xFFFFFFFF", "512 items"])
def test_what_the_page_says_of_the_form_is_what_is_tested(piece: str) -> None:
    assert piece in PAGE


def sent_bytes(client: httpx.Client) -> float:
    """Bytes of all answers with frames that are over, and how many those are."""
    samples = {
        sample.name: sample.value
        for family in text_string_to_metric_families(client.get("/metrics").text)
        for sample in family.samples
        if sample.labels.get("operation") == "getStreamFrames"
    }
    return samples.get("radloop_api_bytes_total", 0.0)


def test_a_client_that_goes_away_is_not_read_for_any_more(identity: str, up: Up) -> None:
    """Over TLS, with a window so small that the server has to wait; then the client hangs up."""
    import ssl

    context = ssl.create_default_context(cafile=up.authority)
    token = (up.home / "keys" / "owner-token").read_text()
    with up.owner() as client:
        size = client.get(f"/api/v1/image-sets/{identity}").json()["frame_list"][0]["lossless_bytes"]
        before = sent_bytes(client)
        asked = (8 << 20) // size
        body = ",".join(["0:0:0"] * asked)
        head = (
            f"POST /stream/v1/{identity}/frames HTTP/1.1\r\nHost: 127.0.0.1:{up.port}\r\n"
            f"Authorization: Bearer {token}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        with socket.socket() as line:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            line.connect(("127.0.0.1", up.port))
            with context.wrap_socket(line, server_hostname="127.0.0.1") as safe:
                safe.sendall((head + body).encode())
                assert safe.recv(15) == b"HTTP/1.1 200 OK"
                time.sleep(0.5)
        deadline = time.monotonic() + 20
        while (sent := sent_bytes(client) - before) == 0:
            assert time.monotonic() < deadline, "the answer never ended"
            time.sleep(0.1)
    assert 0 < sent < asked * size


def test_a_link_goes_with_the_home_and_not_with_the_process(up: Up, identity: str) -> None:
    """Links made by another process of the same home are good, as with several doors."""
    from radloop.core.identity import OWNER
    from radloop.local.keys import open_keyring
    from radloop.security.links import PURPOSE, Links
    from tests.api.installation import now

    link = Links(open_keyring(up.home / "keys" / "kek").derive(PURPOSE)).make(identity, OWNER, seconds=60, now=now())
    with up.client() as client:
        assert client.get(f"/stream/v1/{identity}/index").status_code == 401
        assert client.get(f"/stream/v1/{identity}/index?{link.query}").status_code == 200
        assert (
            json.loads(client.get(f"/stream/v1/{'0' * 32}/index?{link.query}").text)["error"]["code"] == "invalid-link"
        )
