"""A radiologist with a phone, and one with a desktop: worklist, scroll, verify."""

import re
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, Page, Route, expect

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

PHONE = {"viewport": {"width": 412, "height": 915}, "is_mobile": True, "has_touch": True}
DESKTOP = {"viewport": {"width": 1280, "height": 800}}
WAIT_MS = 30_000


@pytest.fixture(params=[PHONE, DESKTOP], ids=["phone", "desktop"])
def page(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Page]:
    context = browser.new_context(**request.param)
    opened = context.new_page()
    opened.set_default_timeout(WAIT_MS)
    faults: list[str] = []
    opened.on("pageerror", lambda error: faults.append(str(error)))
    yield opened
    context.close()
    assert faults == []


def open_first(page: Page, server: str) -> str:
    """Open the first study of the worklist; returns its image set."""
    page.goto(f"{server}/app/")
    row = page.get_by_test_id("worklist-row").filter(has_text="24 images").first  # not what other tests upload
    name = row.get_attribute("data-id")
    assert name is not None
    row.click()
    wait_shown(page, quality="lossless")
    return name


def wait_shown(page: Page, *, quality: str, frame: int | None = None) -> None:
    shown = "" if frame is None else f'[data-frame-shown="{frame}"]'
    page.wait_for_selector(f'body[data-quality="{quality}"]{shown}', timeout=WAIT_MS)


def state_of(server: str, name: str) -> dict:
    return httpx.get(f"{server}/api/v1/image-sets/{name}").json()


def test_the_worklist_shows_the_studies_and_the_notice(page: Page, server: str) -> None:
    page.goto(f"{server}/app/")
    expect(page.get_by_test_id("worklist-row").first).to_contain_text("CT")
    expect(page.locator("body")).to_contain_text("Not a medical device")
    assert "PHANTOM" not in page.url


def test_a_reader_scrolls_and_every_slice_comes_to_rest_lossless(page: Page, server: str) -> None:
    open_first(page, server)
    page.keyboard.press("Home")
    wait_shown(page, quality="lossless", frame=0)
    for _ in range(5):
        page.keyboard.press("ArrowDown")
    wait_shown(page, quality="lossless", frame=5)
    page.keyboard.press("End")
    wait_shown(page, quality="lossless", frame=23)
    expect(page.get_by_test_id("slice-number")).to_contain_text("24/24")
    expect(page.get_by_test_id("quality-badge")).to_contain_text("lossless")


def test_the_picture_on_screen_changes_with_the_window(page: Page, server: str) -> None:
    open_first(page, server)
    canvas = page.get_by_test_id("stack-canvas")
    lung_window = page.get_by_test_id("preset-lung")
    expect(lung_window).to_be_attached()
    if not lung_window.is_visible():
        page.get_by_test_id("open-window").click()  # a phone keeps the windows in a sheet
    lung_window.click()
    lung = canvas.screenshot()
    page.get_by_test_id("preset-bone").click()
    page.wait_for_timeout(300)
    assert canvas.screenshot() != lung


def test_a_finding_is_verified_and_the_study_leaves_the_list(page: Page, server: str) -> None:
    name = open_first(page, server)
    page.get_by_test_id("verify-open").click()
    page.get_by_test_id("verify-finding-present").click()
    page.get_by_test_id("verify-site").select_option("RLL")
    page.get_by_test_id("verify-confidence-high").click()
    page.get_by_test_id("verify-note").fill("seen on the phone")
    page.get_by_test_id("verify-submit").click()
    expect(page.get_by_test_id("verify-result")).to_be_visible()
    after = state_of(server, name)
    assert after["state"] == "VERIFIED"
    assert (after["finding"]["present"], after["finding"]["site"]) == (True, "RLL")
    told = httpx.get(f"{server}/api/v1/events").json()["items"]
    verified = [event for event in told if event["detail_type"] == "ImageVerified"]
    assert verified[0]["detail"]["image_set"] == name
    assert "seen on the phone" not in str(told)
    page.goto(f"{server}/app/")
    expect(page.get_by_test_id("worklist-row").first).not_to_have_attribute("data-id", name)


def previews_only(route: Route) -> None:
    """Hand on what is asked of the preview layer (`pframe:from:to`); what is asked in full never comes."""
    items = re.split(r"[,\n]", route.request.post_data or "")
    previews = [item for item in items if item.startswith("p")]
    if previews:
        route.continue_(post_data=",".join(previews))


def test_verifying_waits_until_the_slice_is_seen_lossless(page: Page, server: str) -> None:
    open_first(page, server)
    page.route(re.compile(r"/stream/v1/\w+/frames"), previews_only)
    page.keyboard.press("Home")
    page.reload()
    wait_shown(page, quality="preview")
    expect(page.get_by_test_id("quality-badge")).to_contain_text("preview")
    page.get_by_test_id("verify-open").click()
    page.get_by_test_id("verify-finding-absent").click()
    page.get_by_test_id("verify-confidence-high").click()
    expect(page.get_by_test_id("verify-submit")).to_be_disabled()


def test_the_state_of_the_retraining_is_told(page: Page, server: str) -> None:
    page.goto(f"{server}/app/#/loop")
    expect(page.get_by_test_id("loop-state")).to_be_visible()
    page.goto(f"{server}/app/#/models")
    expect(page.locator("body")).to_contain_text(re.compile("no model", re.IGNORECASE))
