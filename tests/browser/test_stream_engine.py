"""The viewer over `/stream/v1`: few requests, every byte once, and a link that is gone for some seconds."""

import contextlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, Request

from radloop.dicom.phantom import phantom_study
from radloop.up import STATIC

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

SLICES = 120
WAIT_MS = 40_000
HEADER_BYTES = 12
MIB = 2**20
PHONE_BYTES = 210_000_000
PHONE = {"viewport": {"width": 412, "height": 915}, "is_mobile": True, "has_touch": True}


class Relay:
    """A TCP link to a server, with so many bytes a second down, that can be cut and mended."""

    def __init__(self, port: int, bytes_s: float) -> None:
        self._to = port
        self._bytes_s = bytes_s
        self._turn = threading.Lock()
        self._is_up = True
        self._open: set[socket.socket] = set()
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port = self._door.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def cut(self) -> None:
        """Break every connection, as a phone does that leaves its cell, and let no new one through."""
        self._is_up = False
        for end in list(self._open):
            self._drop(end)

    def mend(self) -> None:
        self._is_up = True

    def close(self) -> None:
        self.cut()
        self._door.close()

    def _serve(self) -> None:
        while True:
            try:
                near, _ = self._door.accept()
            except OSError:
                return
            if not self._is_up:
                near.close()
                continue
            far = socket.create_connection(("127.0.0.1", self._to))
            self._open |= {near, far}
            threading.Thread(target=self._pass_on, args=(near, far, None), daemon=True).start()
            threading.Thread(target=self._pass_on, args=(far, near, self._bytes_s), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, bytes_s: float | None) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(8192):
                if bytes_s:
                    with self._turn:
                        time.sleep(len(data) / bytes_s)
                target.sendall(data)
        self._drop(source)
        self._drop(target)

    def _drop(self, end: socket.socket) -> None:
        self._open.discard(end)
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()


@dataclass(frozen=True)
class Series:
    """A running server with one folded series.

    Attributes:
        sizes: Bytes of each layer of each frame: `p7` for a preview, `7` for the full frame.
    """

    port: int
    id: str
    sizes: dict[str, int]


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Series]:
    assert (STATIC / "index.html").exists(), "the web page is not built: make setup"
    home: Path = tmp_path_factory.mktemp("streamed")
    command = [sys.executable, "-m", "radloop.cli", "up", "--open", "--no-tls", "--no-dimse", "--listen", "127.0.0.1:0"]
    process = subprocess.Popen([*command, "--home", str(home)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    url = process.stdout.readline().split()[3].removesuffix("/app/")
    yield taken_in(url, phantom_study(1, consolidated=True, slices=SLICES, size=256).files)
    process.terminate()
    process.wait(timeout=20)
    process.stdout.close()


def taken_in(url: str, slices: Sequence[bytes]) -> Series:
    """The only series of a server, uploaded, once its frames have previews."""
    files = [("files", (f"{place}.dcm", data)) for place, data in enumerate(slices)]
    httpx.post(f"{url}/api/v1/uploads?complete=1", files=files, timeout=120).raise_for_status()
    until = time.monotonic() + 90
    while time.monotonic() < until:
        (item,) = httpx.get(f"{url}/api/v1/worklist").json()["items"]
        frames = httpx.get(f"{url}/api/v1/image-sets/{item['id']}").json()["frame_list"]
        if len(frames) == len(slices) and all(frame["preview_bytes"] for frame in frames):
            sizes = {f"p{frame['index']}": frame["preview_bytes"] for frame in frames}
            sizes |= {str(frame["index"]): frame["lossless_bytes"] for frame in frames}
            return Series(int(url.rsplit(":", 1)[1]), item["id"], sizes)
        time.sleep(0.5)
    raise AssertionError("the series was not folded")


class Asked:
    """What a page asks of the server, told by the browser."""

    def __init__(self, page: Page) -> None:
        self.paths: list[str] = []
        self.items: list[str] = []
        self.cut: list[list[str]] = []
        page.on("request", self._begun)
        page.on("requestfailed", self._failed)

    @property
    def batches(self) -> int:
        return sum("/stream/" in f"/{path}" and path.endswith("/frames") for path in self.paths)

    def _begun(self, request: Request) -> None:
        self.paths.append(request.url.split("/", 3)[3].partition("?")[0])
        if "/frames?" in request.url:
            self.items += (request.post_data or "").split(",")

    def _failed(self, request: Request) -> None:
        if "/frames?" in request.url:
            self.cut.append((request.post_data or "").split(","))


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(**PHONE)
    opened = context.new_page()
    opened.set_default_timeout(WAIT_MS)
    faults: list[str] = []
    opened.on("pageerror", lambda error: faults.append(str(error)))
    yield opened
    context.close()
    assert faults == []


def open_series(page: Page, port: int, series: Series) -> None:
    page.goto(f"http://127.0.0.1:{port}/app/#/view/{series.id}")


def wait_whole(page: Page, series: Series) -> dict:
    """Wait until every byte of every frame is held; returns what the page counted."""
    every = sum(series.sizes.values())
    until(page, f"Math.min(radloopStats().heap.compressed, radloopStats().bytes) >= {every}")
    return page.evaluate("radloopStats()")


def until(page: Page, expression: str) -> None:
    """Ask the page again and again; its security policy forbids a string that it would evaluate itself."""
    end = time.monotonic() + WAIT_MS / 1000
    while not page.evaluate(expression):
        if time.monotonic() > end:
            pytest.fail(f"never came true: {expression}; {page.evaluate('radloopStats()')}")
        page.wait_for_timeout(100)


def bytes_of(item: str, sizes: dict[str, int]) -> int:
    name, start, end = item.split(":")
    return (int(end) or sizes[name]) - int(start)


def test_the_preview_of_the_start_slice_is_the_second_thing_asked_of_a_series(page: Page, series: Series) -> None:
    asked = Asked(page)
    open_series(page, series.port, series)
    page.wait_for_selector('body[data-quality="lossless"]')
    of_series = [path for path in asked.paths if series.id in path and "/stream/" in f"/{path}"]
    assert of_series[0] == f"stream/v1/{series.id}/index"
    assert asked.items[0] == f"p{(SLICES - 1) // 2}:0:0"
    assert not [path for path in asked.paths if f"image-sets/{series.id}/frames" in path]


def test_every_byte_of_a_series_comes_once_and_many_frames_at_a_time(page: Page, series: Series) -> None:
    asked = Asked(page)
    open_series(page, series.port, series)
    counted = wait_whole(page, series)
    parts = sum(bytes_of(item, series.sizes) for item in asked.items)
    assert parts == sum(series.sizes.values())
    assert counted["bytes"] == parts + HEADER_BYTES * len(asked.items)
    assert counted["requests"] == asked.batches
    previews = [item for item in asked.items if item.startswith("p")]
    assert len(previews) == SLICES
    print(f"{SLICES} slices: {counted}, {asked.batches} requests, {len(asked.items)} records")


def test_a_phone_holds_no_more_than_it_may(page: Page, series: Series) -> None:
    open_series(page, series.port, series)
    heap = wait_whole(page, series)["heap"]
    assert 0 < heap["wasm"] < 120 * MIB
    assert heap["compressed"] + heap["decoded"] + heap["wasm"] < PHONE_BYTES


def test_a_link_that_is_gone_for_seconds_costs_only_the_records_it_was_cut_in(page: Page, series: Series) -> None:
    relay = Relay(series.port, 1_000_000)
    try:
        asked = Asked(page)
        open_series(page, relay.port, series)
        page.wait_for_selector('body[data-quality="lossless"]')
        until(page, "radloopStats().bytes > 600_000")
        relay.cut()
        page.wait_for_timeout(4000)  # events of the page are heard of meanwhile
        before = len(asked.items)
        relay.mend()
        counted = wait_whole(page, series)
        assert len(asked.items) > before, "the link was cut when everything was here"
        hear(page, asked, series)
        twice = asked_twice(asked, series.sizes)
        given = sum(series.sizes.values()) + HEADER_BYTES * len(asked.items)
        largest = max(bytes_of(item, series.sizes) for item in asked.items) + HEADER_BYTES
        cut = [items for items in asked.cut if any(item.partition(":")[0] in twice for item in items)]
        assert cut, "nothing was cut"
        assert counted["bytes"] - given <= largest * len(cut)
        page.wait_for_selector('body[data-quality="lossless"]')
    finally:
        relay.close()


def hear(page: Page, asked: Asked, series: Series) -> None:
    """Wait until the browser has told of the last requests, which on a busy machine comes after their answers."""
    wanted = {(name, size) for name, size in series.sizes.items()}
    for _ in range(100):
        parts = [item.split(":") for item in asked.items]
        if wanted <= {(name, int(end) or series.sizes[name]) for name, _, end in parts}:
            return
        page.wait_for_timeout(100)


def asked_twice(asked: Asked, sizes: dict[str, int]) -> set[str]:
    """Layers of which bytes were asked for more than once.

    Fails where a byte was never asked for, or once more than requests with it were cut. What is asked for again may be
    cut into other parts, as the link is thought to be slower after it was gone.
    """
    cut = [item for items in asked.cut for item in items]
    more: set[str] = set()
    for name, size in sizes.items():
        begun, lost = spans_of(asked.items, name, size), spans_of(cut, name, size)
        for at in {0, *(edge for span in begun for edge in span)} - {size}:
            times, cuts = (sum(start <= at < end for start, end in spans) for spans in (begun, lost))
            assert times, f"byte {at} of {name} was never asked for"
            assert times - cuts <= 1, (name, at, begun, lost)
            if times > 1:
                more.add(name)
    return more


def spans_of(items: Sequence[str], name: str, size: int) -> list[tuple[int, int]]:
    parts = [item.split(":") for item in items]
    return [(int(start), int(end) or size) for of, start, end in parts if of == name]


@pytest.mark.parametrize(
    ("missing", "words"),
    [("Worker", "has no workers"), ("WebAssembly", "cannot run the image decoder")],
)
def test_a_browser_that_lacks_something_is_told_so_in_a_sentence(
    page: Page, series: Series, missing: str, words: str
) -> None:
    page.add_init_script(f"delete window.{missing}")
    open_series(page, series.port, series)
    told = page.get_by_role("alert")
    told.wait_for()
    assert words in told.inner_text()
    assert words in page.locator(".notice").inner_text()


def test_one_worker_decodes_where_the_address_asks_for_one(page: Page, series: Series) -> None:
    page.goto(f"http://127.0.0.1:{series.port}/app/?workers=1#/view/{series.id}")
    page.wait_for_selector('body[data-quality="lossless"]')
    assert len(page.workers) == 1


def test_the_script_of_the_decoder_and_its_wasm_are_preloaded(page: Page, series: Series) -> None:
    asked = Asked(page)
    open_series(page, series.port, series)
    page.wait_for_selector('body[data-quality="lossless"]')
    files = [path for path in asked.paths if path.startswith("app/assets/")]
    wasm = [path for path in files if path.endswith(".wasm")]
    assert len(wasm) == 1, files
    links = page.eval_on_selector_all("link[href]", "links => links.map(({ href, rel }) => [rel, href])")
    assert [rel for rel, href in links if href.endswith(".wasm")] == ["preload"]
    assert [rel for rel, href in links if "decoder.worker" in href] == ["modulepreload"]
    answer = httpx.get(f"http://127.0.0.1:{series.port}/{wasm[0]}")
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["content-type"] == "application/wasm"
    plain = httpx.get(f"http://127.0.0.1:{series.port}/{wasm[0]}", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.content == answer.content
