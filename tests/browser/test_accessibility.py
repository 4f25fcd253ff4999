"""Everybody can read and reach every page: axe-core finds nothing serious, and every target is 44 px."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import PASSWORD, Guarded

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

AXE = Path(__file__).parents[2] / "viewer" / "node_modules" / "axe-core" / "axe.min.js"
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
DESKTOP = {"viewport": {"width": 1280, "height": 800}}
TARGET_PX = 44
TARGETS = """least => {
  const found = [];
  const wanted = 'a[href], button, input, select, textarea, summary, [role=button], [role=slider], [role=tab]';
  for (const element of document.querySelectorAll(wanted)) {
    if (!element.checkVisibility({ checkOpacity: false, checkVisibilityCSS: true })) continue;
    const box = element.getBoundingClientRect();
    if (box.width === 0 || box.height === 0) continue;
    const isCanvas = element.matches('canvas');
    if (!isCanvas && (box.width < least - 0.5 || box.height < least - 0.5)) {
      const name = element.dataset.testid || element.getAttribute('aria-label') || element.textContent.trim();
      found.push(`${element.tagName.toLowerCase()} "${name.slice(0, 40)}" ${box.width} x ${box.height}`);
    }
  }
  return found;
}"""


@dataclass(frozen=True)
class Place:
    """A page: whose it is, its address, what tells that it is all there, and what to do then."""

    who: str | None
    hash: str
    ready: str
    press: tuple[str, ...] = ()
    unfolds: bool = False
    sheet: str | None = None
    asks: str = ""


_FULL = 'body[data-quality="lossless"]'
PLACES = {
    "sign-in": Place(None, "", "#signin-name"),
    "worklist": Place("anna", "#/", "[data-testid=worklist-row]"),
    "stack": Place("anna", "#/view/{id}", _FULL),
    "verify": Place("anna", "#/view/{id}", _FULL, ("verify-open", "verify-finding-present")),
    "window sheet": Place("anna", "#/view/{id}", _FULL, sheet="window"),
    "view sheet": Place("anna", "#/view/{id}", _FULL, sheet="view"),
    "measure sheet": Place("anna", "#/view/{id}", _FULL, sheet="measure"),
    "waiting": Place("anna", "#/view/{id}", _FULL, ("verify-open", "verify-finding-absent"), asks="the list"),
    "question": Place("anna", "#/view/{id}", _FULL, ("verify-open", "verify-finding-absent"), asks="signing out"),
    "mpr": Place("anna", "#/mpr/{id}", "body[data-page=mpr] canvas"),
    "compare": Place("anna", "#/compare/{id}/{id}", "body[data-page=compare] canvas"),
    "report": Place("anna", "#/view/{report}", "[data-testid=report]"),
    "upload": Place("anna", "#/upload", "h1"),
    "loop": Place("anna", "#/loop", "[data-testid=loop-state]"),
    "models": Place("rolf", "#/models", "main summary", unfolds=True),
    "drift": Place("rolf", "#/drift", "[data-testid=drift-state]"),
    "audit": Place("aud", "#/audit", "h1"),
    "admin": Place("ada", "#/admin", "main summary", unfolds=True),
}


@pytest.fixture(scope="module")
def ids(guarded: Guarded, browser: Browser) -> dict[str, str]:
    """The image sets of the study and of the report."""
    context = browser.new_context(ignore_https_errors=True, **DESKTOP)
    page = context.new_page()
    page.goto(f"{guarded.url}/app/")
    sign_in(page, "anna")
    expect(page.get_by_test_id("worklist-row").first).to_be_visible()
    items = page.evaluate("fetch('/api/v1/worklist').then((answer) => answer.json())")["items"]
    context.close()
    return {"id" if item["frames"] else "report": item["id"] for item in items}


def sign_in(page: Page, who: str) -> None:
    page.get_by_label("Name").fill(who)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()


@pytest.fixture(params=[PHONE, DESKTOP], ids=["phone", "desktop"])
def page(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Page]:
    context = browser.new_context(ignore_https_errors=True, reduced_motion="reduce", **request.param)
    opened = context.new_page()
    opened.set_default_timeout(30_000)
    yield opened
    context.close()


def go(page: Page, guarded: Guarded, place: Place, ids: dict[str, str]) -> None:
    page.goto(f"{guarded.url}/app/{place.hash.format(**ids)}")
    if place.who is not None:
        sign_in(page, place.who)
    page.wait_for_selector(place.ready)
    for name in place.press:
        page.get_by_test_id(name).click()
    if place.sheet is not None:
        opener = page.get_by_test_id(f"open-{place.sheet}")
        expect(opener).to_be_attached()
        if opener.is_visible():  # a desk shows what is in it without
            opener.click()
    if place.asks:
        page.route("**/reads", lambda route: route.fulfill(status=503, body="gone"))
        page.get_by_test_id("verify-confidence-high").click()
        page.get_by_test_id("verify-submit").click()
        expect(page.get_by_test_id("verify-result")).to_contain_text("Waiting to be sent")
        page.goto(f"{guarded.url}/app/#/")
        expect(page.get_by_test_id("waiting-item")).to_be_visible()
        if place.asks == "signing out":
            page.get_by_test_id("signout").click()
            expect(page.get_by_role("dialog")).to_be_visible()
    if place.unfolds:
        for summary in page.locator("main summary").all():
            summary.click()
    page.wait_for_timeout(400)  # lists that are asked for come in


def faults(page: Page) -> list[str]:
    """What axe-core calls serious or critical: rule, and the elements it is about."""
    page.evaluate(AXE.read_text())
    found: dict[str, Any] = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    return [
        f"{rule['id']}: {', '.join(' '.join(node['target']) for node in rule['nodes'][:5])}"
        for rule in found["violations"]
        if rule["impact"] in {"serious", "critical"}
    ]


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed: make setup")
@pytest.mark.parametrize("name", PLACES)
def test_axe_finds_nothing_serious_and_a_thumb_hits_every_target(
    page: Page, guarded: Guarded, ids: dict[str, str], name: str
) -> None:
    go(page, guarded, PLACES[name], ids)
    assert faults(page) == []
    expect(page.locator("body")).to_contain_text("Not a medical device. Not for primary diagnosis.")
    if page.viewport_size == PHONE["viewport"]:
        assert page.evaluate(TARGETS, TARGET_PX) == []
    overflow = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    assert not page.evaluate(overflow), "the page scrolls sideways"


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed: make setup")
def test_axe_itself_finds_what_is_wrong(page: Page, guarded: Guarded) -> None:
    """A check that can fail: text in the colour of its ground, and a picture without words."""
    page.goto(f"{guarded.url}/app/")
    page.wait_for_selector("#signin-name")
    page.evaluate(
        "document.querySelector('main').insertAdjacentHTML('beforeend', "
        "'<p id=pale style=\"color:#223\">pale</p><img id=mute src=data:,>')"
    )
    found = " ".join(faults(page))
    assert "color-contrast: #pale" in found
    assert "image-alt: #mute" in found


def test_a_chosen_answer_and_a_state_are_told_without_colour(page: Page, guarded: Guarded, ids: dict[str, str]) -> None:
    go(page, guarded, PLACES["verify"], ids)
    mark = "(name) => getComputedStyle(document.querySelector(`[data-testid=${name}] ~ span`), '::before').content"
    assert "●" in page.evaluate(mark, "verify-finding-present")
    assert "●" not in page.evaluate(mark, "verify-finding-absent")
    assert page.get_by_test_id("quality-badge").inner_text().strip().endswith("lossless")


def test_nothing_moves_for_who_wants_no_motion(page: Page, guarded: Guarded, ids: dict[str, str]) -> None:
    go(page, guarded, PLACES["stack"], ids)
    moving = page.evaluate(
        """() => [...document.querySelectorAll('*')].filter((element) => {
          const style = getComputedStyle(element);
          return parseFloat(style.transitionDuration) > 0 || style.animationName !== 'none';
        }).map((element) => element.className)"""
    )
    assert moving == []
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"


def test_the_worklist_is_searched_and_filtered_under_the_thumb(
    browser: Browser, guarded: Guarded, ids: dict[str, str]
) -> None:
    context = browser.new_context(ignore_https_errors=True, **PHONE)
    page = context.new_page()
    go(page, guarded, PLACES["worklist"], ids)
    for control in (page.get_by_test_id("worklist-search"), page.get_by_role("button", name="To verify")):
        box = control.bounding_box()
        assert box is not None
        assert box["y"] > PHONE["viewport"]["height"] / 2
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url + (request.post_data or "")))
    page.get_by_test_id("worklist-search").fill("phantom 00001")
    expect(page.get_by_test_id("worklist-row").filter(visible=True)).to_have_count(1)
    page.get_by_test_id("worklist-search").fill("nobody")
    expect(page.get_by_role("status").filter(visible=True)).to_contain_text("None of the")
    expect(page.get_by_test_id("worklist-row").filter(visible=True)).to_have_count(0)
    page.get_by_role("button", name="Rejected 0").tap()
    expect(page.get_by_role("status").filter(visible=True)).to_contain_text("Nothing has been rejected")
    assert not any("nobody" in each or "phantom" in each for each in asked), "names stay out of addresses"
    context.close()
