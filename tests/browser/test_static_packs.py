"""The viewer with nothing but static files: ranges of packs from a plain web server, and the API where they fail."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.sync_api import Browser, Page, Request, Response

from radloop.dicom.phantom import phantom_study
from tests.browser.conftest import running
from tests.browser.fronts import Front, front, kinds
from tests.browser.screen import frame_now, opened, resize
from tests.browser.test_stream_engine import PHONE, WAIT_MS, Relay, Series, taken_in, until

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

SLICES = 80
LOOKED_AT = (0, 40, 62, 63, 64, 65, SLICES - 1)
SLOW_S = 500_000
"""Bytes a second of a link on which a series is not all there at once."""


@dataclass(frozen=True)
class Packed:
    """A server with one folded series, whose packs are written.

    Attributes:
        folder: In whose `packs/` they lie.
        place: Where there, such as `packs/abc/1/`.
    """

    url: str
    series: Series
    folder: Path
    place: str


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Packed]:
    home, folder = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("cdn")
    with running(home) as url:
        series = taken_in(url, phantom_study(1, consolidated=True, slices=SLICES, size=128).files)
        command = [sys.executable, "-m", "radloop.cli", "packs", "write", series.id, str(folder), "--home", str(home)]
        told = subprocess.run([*command, "--json"], check=True, capture_output=True, text=True).stdout
        yield Packed(url, series, folder, f"packs/{series.id}/{json.loads(told)['version']}/")


@pytest.fixture(scope="module", params=kinds())
def any_front(request: pytest.FixtureRequest, packed: Packed) -> Iterator[Front]:
    """Each web server that there is, one after the other."""
    with front(request.param, packed.folder, packed.url, packed.series.id, packed.place) as made:
        yield made


@pytest.fixture(scope="module")
def one_front(packed: Packed) -> Iterator[Front]:
    with front(kinds()[0], packed.folder, packed.url, packed.series.id, packed.place) as made:
        yield made


@pytest.fixture
def cdn(one_front: Front) -> Front:
    one_front.set_flags("one")
    return one_front


class Asked:
    """What a page asks for and is answered, told by the browser."""

    class Range(NamedTuple):
        file: str
        first: int
        last: int

    def __init__(self, page: Page) -> None:
        self.api: list[str] = []
        self.ranges: list[Asked.Range] = []
        self.statuses: list[int] = []
        self.console: list[str] = []
        page.on("request", self._begun)
        page.on("response", self._answered)
        page.on("console", lambda message: self.console.append(message.text))

    @property
    def frames(self) -> int:
        """How often the API was asked for frames."""
        return sum(path.endswith("/frames") for path in self.api)

    @property
    def indexes(self) -> int:
        return sum(path.endswith("/index") for path in self.api)

    def _begun(self, request: Request) -> None:
        path = request.url.partition("?")[0]
        if "/packs/" in path:
            first, _, last = request.headers["range"].removeprefix("bytes=").partition("-")
            self.ranges.append(Asked.Range("/".join(path.split("/")[-2:]), int(first), int(last)))
        elif "/app/" not in path:
            self.api.append(path)

    def _answered(self, response: Response) -> None:
        if "/packs/" in response.url:
            self.statuses.append(response.status)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(**PHONE)
    made = context.new_page()
    made.set_default_timeout(WAIT_MS)
    faults: list[str] = []
    made.on("pageerror", lambda error: faults.append(str(error)))
    yield made
    context.close()
    assert faults == []


def open_series(page: Page, url: str, packed: Packed) -> Asked:
    asked = Asked(page)
    page.goto(f"{url}/app/#/view/{packed.series.id}")
    page.wait_for_selector('body[data-quality="lossless"]')
    return asked


def slide_to(page: Page, index: int) -> None:
    page.evaluate(
        """(index) => {
          const slider = document.querySelector("input[type=range][aria-label=Slice]");
          slider.value = String(index + 1);
          slider.dispatchEvent(new Event("input", { bubbles: true }));
        }""",
        index,
    )


def go_to(page: Page, index: int) -> None:
    """Put the slider there and wait until that slice is on the screen as it was received."""
    slide_to(page, index)
    page.wait_for_selector(f'body[data-frame-shown="{index}"][data-quality="lossless"]')


def wait_whole(page: Page, packed: Packed) -> None:
    """Wait until every byte of every frame is held."""
    every = sum(packed.series.sizes.values())
    until(page, f"Math.min(radloopStats().heap.compressed, radloopStats().bytes) >= {every}")


def test_the_pictures_are_those_of_the_api_pixel_by_pixel(browser: Browser, packed: Packed, any_front: Front) -> None:
    def pictures(source: str, other: str) -> list[bytes]:
        with opened(browser, any_front.url, packed.series.id) as page:
            resize(page, 128, 128)  # what comes in late beside the stage would give it another size
            taken = []
            for index in LOOKED_AT:
                go_to(page, index)
                taken.append(frame_now(page).tobytes())
            names = page.evaluate("performance.getEntriesByType('resource').map(({ name }) => name)")
        assert any(source in name for name in names)
        assert not any(other in name for name in names)
        return taken

    any_front.set_flags("one")
    from_packs = pictures("/packs/", "/frames?v=")
    any_front.set_flags("one", "unnamed")
    from_api = pictures("/frames?v=", "/packs/")
    assert len(set(from_api)) == len(LOOKED_AT)
    assert from_packs == from_api


def test_a_whole_series_comes_by_ranges_alone_and_every_byte_once(page: Page, packed: Packed, any_front: Front) -> None:
    any_front.set_flags("one")
    asked = open_series(page, any_front.url, packed)
    for index in (0, SLICES - 1, 10, 60, 66):
        go_to(page, index)
    wait_whole(page, packed)
    assert asked.frames == 0
    assert asked.indexes == 1
    assert set(asked.statuses) == {206}
    spans: dict[str, list[tuple[int, int]]] = {}
    for told in asked.ranges:
        spans.setdefault(told.file, []).append((told.first, told.last + 1))
    for file, each in spans.items():
        ordered = sorted(each)
        assert ordered[0][0] == 0, file
        assert all(before[1] == after[0] for before, after in pairwise(ordered)), (file, ordered)
        assert ordered[-1][1] == (packed.folder / packed.place / file).stat().st_size, file
    assert page.evaluate("radloopStats().requests") == len(asked.ranges)
    print(f"{SLICES} slices by {len(asked.ranges)} ranges")


def test_a_link_that_is_over_is_renewed_once_and_stands_nowhere(page: Page, packed: Packed, cdn: Front) -> None:
    relay = Relay(int(cdn.url.rpartition(":")[2]), SLOW_S)
    try:
        asked = open_series(page, f"http://127.0.0.1:{relay.port}", packed)
        cdn.set_flags("two")
        go_to(page, SLICES - 1)
        wait_whole(page, packed)
    finally:
        relay.close()
    assert asked.frames == 0
    assert asked.indexes == 2
    assert 403 in asked.statuses
    assert set(asked.statuses) == {206, 403}
    assert asked.statuses[-1] == 206
    assert "Signature" not in page.url
    assert not [text for text in asked.console if "Signature" in text]


def test_a_server_that_knows_no_ranges_shows_the_same_slice(page: Page, packed: Packed, cdn: Front) -> None:
    cdn.set_flags("one", "whole")
    asked = open_series(page, cdn.url, packed)
    go_to(page, SLICES - 1)
    wait_whole(page, packed)
    assert set(asked.statuses) == {200}
    assert len(asked.ranges) < SLICES // 2  # it is let be after a few, for the API sends less


def test_packs_of_another_origin_are_taken_where_the_page_may_fetch_from_there(
    page: Page, packed: Packed, cdn: Front
) -> None:
    cdn.set_flags("one", "elsewhere", "policy")
    asked = open_series(page, cdn.url, packed)
    go_to(page, SLICES - 1)
    assert asked.frames == 0
    assert set(asked.statuses) <= {204, 206}
    assert any(asked.ranges)


def test_where_the_page_may_not_fetch_from_there_the_api_gives_the_frames(
    page: Page, packed: Packed, cdn: Front
) -> None:
    cdn.set_flags("one", "elsewhere")
    asked = open_series(page, cdn.url, packed)
    go_to(page, SLICES - 1)
    assert asked.frames > 0
    assert asked.statuses == []


def test_a_pack_that_is_not_there_is_asked_of_the_api(page: Page, packed: Packed, cdn: Front) -> None:
    lost = packed.folder / packed.place / "frames/1"
    aside = lost.with_name("1-aside")
    lost.rename(aside)
    try:
        asked = open_series(page, cdn.url, packed)
        wait_whole(page, packed)
    finally:
        aside.rename(lost)
    assert asked.frames > 0
    assert asked.statuses.count(404) <= 4  # as many as were under way
    assert 206 in asked.statuses


def test_a_link_that_is_gone_for_seconds_is_gone_on_with(page: Page, packed: Packed, cdn: Front) -> None:
    relay = Relay(int(cdn.url.rpartition(":")[2]), SLOW_S)
    try:
        asked = open_series(page, f"http://127.0.0.1:{relay.port}", packed)
        relay.cut()
        slide_to(page, SLICES - 1)
        page.get_by_text("No connection").wait_for()
        relay.mend()
        mended = len(asked.ranges)
        wait_whole(page, packed)
    finally:
        relay.close()
    assert len(asked.ranges) > mended  # the API gave what it could, the packs give the rest
