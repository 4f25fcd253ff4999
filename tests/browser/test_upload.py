"""Sending a folder from a phone and from a desk, over a link that breaks and through a reload."""

import os
import random
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, Route, expect

from radloop.dicom.phantom import phantom_study

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

PHONE = {"viewport": {"width": 412, "height": 915}, "is_mobile": True, "has_touch": True}
DESKTOP = {"viewport": {"width": 1280, "height": 800}}
WAIT_MS = 30_000
PATCHES = re.compile(r"/api/v1/resumable/[0-9a-z]{32}$")
PICTURES = os.environ.get("RADLOOP_PICTURES")
"""A folder to put screenshots into, for who wants to look at them."""


@pytest.fixture(params=[PHONE, DESKTOP], ids=["phone", "desktop"])
def page(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Page]:
    context = browser.new_context(**request.param)
    opened = context.new_page()
    opened.set_default_timeout(WAIT_MS)
    faults: list[str] = []
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on("dialog", lambda dialog: dialog.accept())
    yield opened
    context.close()
    assert faults == []


@pytest.fixture(scope="module")
def slices() -> tuple[bytes, ...]:
    return phantom_study(77, consolidated=False, slices=24, size=256).files


@pytest.fixture
def folder(tmp_path: Path, slices: tuple[bytes, ...]) -> Path:
    """Images of its own for every test, three megabytes of them, with things among them that are no images."""
    root = tmp_path / "DOE_JANE"
    (root / "series 1").mkdir(parents=True)
    for place, data in enumerate(slices):
        uid = re.search(rb"\x08\x00\x18\x00UI..([0-9.]+)", data, re.DOTALL)
        assert uid is not None
        other = uid[1][:-9] + str(random.SystemRandom().randrange(10**8, 10**9)).encode()
        (root / "series 1" / f"DOE_JANE_{place:03}.dcm").write_bytes(data.replace(uid[1], other))
    (root / "DICOMDIR").write_bytes(b"junk")
    (root / ".DS_Store").write_bytes(b"junk")
    (root / "readme.txt").write_text("hello")
    return root


def picture(page: Page, name: str) -> None:
    if PICTURES:
        page.screenshot(path=f"{PICTURES}/{name}-{page.viewport_size['width']}.png")


class Link:
    """What happens to the parts that the page sends."""

    def __init__(self, page: Page) -> None:
        self.passed = 0
        self.refused = 0
        self.left: int | None = None
        page.route(PATCHES, self._part)

    def _part(self, route: Route) -> None:
        if route.request.method == "PATCH" and self.left is not None:
            if self.left == 0:
                self.refused += 1
                route.abort("connectionreset")
                return
            self.left -= 1
        self.passed += route.request.method == "PATCH"
        route.continue_()


def choose(page: Page, folder: Path) -> None:
    page.get_by_test_id("upload-folder").set_input_files(folder)


def test_a_folder_goes_in_and_every_reason_is_told(page: Page, server: str, folder: Path) -> None:
    page.goto(f"{server}/app/")
    page.get_by_test_id("upload-open").click()
    picture(page, "upload-1-door")
    choose(page, folder)
    report = page.get_by_test_id("upload-report")
    expect(report).to_contain_text("24 images added")
    expect(report).to_contain_text("1 set aside")
    expect(report).to_contain_text("DOE_JANE/readme.txt")
    expect(report).to_contain_text("Part 10")
    picture(page, "upload-5-report")
    assert "DOE_JANE" not in page.evaluate("JSON.stringify(localStorage)")
    report.get_by_role("link", name="Go to the worklist").click()
    expect(page.get_by_test_id("worklist-row").first).to_be_visible()
    page.goto(f"{server}/app/#/upload")
    choose(page, folder)
    expect(report).to_contain_text("24 already here")


def test_a_link_that_breaks_is_tried_until_it_is_back(page: Page, server: str, folder: Path) -> None:
    link = Link(page)
    link.left = 1
    page.goto(f"{server}/app/#/upload")
    choose(page, folder)
    expect(page.get_by_role("heading", name="No connection")).to_be_visible()
    picture(page, "upload-2-no-connection")
    page.get_by_test_id("upload-pause").click()
    expect(page.get_by_role("heading", name="Paused")).to_be_visible()
    page.wait_for_timeout(500)  # for a try that was on its way
    refused = link.refused
    page.wait_for_timeout(1500)
    assert link.refused == refused
    link.left = None
    page.get_by_test_id("upload-pause").click()
    expect(page.get_by_test_id("upload-report")).to_contain_text("24 images added")
    assert page.evaluate("localStorage.getItem('radloop.uploads')") == "[]"


def test_after_a_reload_it_goes_on_where_it_stopped(page: Page, server: str, folder: Path) -> None:
    link = Link(page)
    link.left = 1
    page.goto(f"{server}/app/#/upload")
    choose(page, folder)
    expect(page.get_by_role("heading", name="No connection")).to_be_visible()
    page.reload()
    card = page.get_by_test_id("upload-unfinished")
    expect(card).to_contain_text("unfinished")
    expect(card).to_contain_text(re.compile(r"[1-9]\d? % is here already"))
    picture(page, "upload-3-unfinished")
    (kept,) = page.evaluate("JSON.parse(localStorage.getItem('radloop.uploads'))")
    assert "DOE" not in str(kept)
    offset = int(
        httpx.head(f"{server}/api/v1/resumable/{kept['id']}", headers={"Tus-Resumable": "1.0.0"}).headers[
            "upload-offset"
        ]
    )
    link.left = None
    sent: list[int] = []
    page.on("request", lambda request: sent.append(int(request.headers.get("upload-offset", -1))))
    choose(page, folder)
    expect(page.get_by_test_id("upload-report")).to_contain_text("24 images added")
    assert min(one for one in sent if one >= 0) == offset > 0
    told = httpx.get(f"{server}/api/v1/resumable/{kept['id']}").json()
    assert (told["state"], told["ingested"], told["duplicates"]) == ("done", 24, 0)


def test_offline_is_told_and_the_pages_of_the_app_can_be_changed_meanwhile(
    page: Page, server: str, folder: Path
) -> None:
    link = Link(page)
    link.left = 1
    page.goto(f"{server}/app/#/upload")
    choose(page, folder)
    expect(page.get_by_role("heading", name="No connection")).to_be_visible()
    page.context.set_offline(True)
    page.get_by_role("link", name="Models").click()
    expect(page.get_by_role("link", name=re.compile(r"Upload \d+ %"))).to_be_visible()
    picture(page, "upload-4-elsewhere")
    link.left = None
    page.context.set_offline(False)
    page.get_by_role("link", name=re.compile("Upload")).click()
    expect(page.get_by_test_id("upload-report")).to_contain_text("24 images added")


def test_what_is_cancelled_leaves_nothing_behind(page: Page, server: str, folder: Path) -> None:
    link = Link(page)
    link.left = 1
    page.goto(f"{server}/app/#/upload")
    choose(page, folder)
    expect(page.get_by_role("heading", name="No connection")).to_be_visible()
    (kept,) = page.evaluate("JSON.parse(localStorage.getItem('radloop.uploads'))")
    page.get_by_test_id("upload-cancel").click()
    expect(page.get_by_test_id("upload-report")).to_contain_text("Cancelled")
    assert page.evaluate("localStorage.getItem('radloop.uploads')") == "[]"
    page.wait_for_timeout(300)
    assert httpx.get(f"{server}/api/v1/resumable/{kept['id']}").status_code == 404


def test_every_target_is_large_enough_for_a_thumb(page: Page, server: str) -> None:
    page.goto(f"{server}/app/#/upload")
    for name in ("Choose a folder", "Choose files"):
        box = page.get_by_text(name, exact=True).bounding_box()
        assert box is not None
        assert box["height"] >= 44
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= page.viewport_size["width"]
