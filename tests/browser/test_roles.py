"""Each role at the web page: what is offered is what is allowed, on a phone and at a desk."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import PASSWORD, PEOPLE, Guarded

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
DESKTOP = {"viewport": {"width": 1280, "height": 800}}
THUMB_PX = 44
SMALL = """() => [...document.querySelectorAll("a, button, input, select, summary")]
  .filter((one) => one.offsetParent)
  .map((one) => [one.textContent || one.id, one.getBoundingClientRect()])
  .filter(([, box]) => box.height < 44 || box.width < 44)
  .map(([name]) => name)"""


@pytest.fixture(params=[PHONE, DESKTOP], ids=["phone", "desktop"])
def page(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Page]:
    """A page on which nothing goes wrong: no error of a script, and nothing asked for that is refused."""
    context = browser.new_context(ignore_https_errors=True, **request.param)
    opened = context.new_page()
    opened.set_default_timeout(30_000)
    faults: list[str] = []
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on("response", lambda got: faults.append(got.url) if got.status in (403, 404, 500) else None)
    yield opened
    context.close()
    assert faults == []


def come_in(page: Page, guarded: Guarded, name: str, place: str = "") -> None:
    page.goto(f"{guarded.url}/app/#/{place}")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_test_id("who")).to_contain_text(PEOPLE[name])


def pages_of(page: Page) -> list[str]:
    return [link.inner_text() for link in page.get_by_role("navigation").get_by_role("link").all()]


@pytest.mark.parametrize(
    ("name", "pages", "begins"),
    [
        ("anna", ["Worklist", "Upload", "Retraining", "Models"], "Worklist"),
        ("rita", ["Worklist", "Upload", "Retraining", "Models"], "Worklist"),
        ("mila", ["Retraining", "Models"], "Retraining"),
        ("rolf", ["Retraining", "Models"], "Models"),
        ("aud", ["Retraining", "Models", "Audit"], "Audit"),
        ("ada", ["Worklist", "Upload", "Retraining", "Models", "Audit", "Admin"], "Worklist"),
    ],
)
def test_everybody_sees_their_pages_and_no_others_and_can_hit_them_with_a_thumb(
    page: Page, guarded: Guarded, name: str, pages: list[str], begins: str
) -> None:
    come_in(page, guarded, name)
    expect(page.get_by_role("heading", level=1)).to_have_text(begins)
    assert pages_of(page) == pages
    for label in pages:
        page.get_by_role("navigation").get_by_role("link", name=label).click()
        expect(page.get_by_role("heading", level=1)).to_have_text(label)
        page.wait_for_load_state("networkidle")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert page.evaluate("(nav => nav.scrollWidth <= nav.clientWidth)(document.querySelector('nav'))")
        assert page.evaluate(SMALL) == []


def test_on_a_phone_the_pages_lie_under_the_thumb(page: Page, guarded: Guarded) -> None:
    come_in(page, guarded, "anna")
    box = page.get_by_role("navigation").bounding_box()
    height = page.viewport_size["height"]
    assert box is not None
    is_phone = page.viewport_size["width"] < 800
    assert (box["y"] > height * 0.85) is is_phone
    assert box["height"] >= THUMB_PX


def test_a_reader_is_not_offered_what_only_a_verifier_may(page: Page, guarded: Guarded) -> None:
    come_in(page, guarded, "rita")
    row = page.get_by_test_id("worklist-row").filter(has_text="CT")
    expect(row).to_contain_text("Unverified")
    row.click()
    page.wait_for_selector('body[data-quality="lossless"]')
    expect(page.get_by_test_id("verify-open")).to_have_text("Model's opinion")
    page.keyboard.press("v")
    expect(page.locator("#verify-panel")).to_contain_text("takes the role verifier")
    expect(page.get_by_test_id("verify-submit")).to_have_count(0)


def test_a_verifier_is_offered_to_verify(page: Page, guarded: Guarded) -> None:
    come_in(page, guarded, "anna")
    page.get_by_test_id("worklist-row").filter(has_text="CT").click()
    page.wait_for_selector('body[data-quality="lossless"]')
    page.get_by_test_id("verify-open").click()
    expect(page.get_by_test_id("verify-submit")).to_be_visible()


COUNTED = """tab => {
  const rows = document.querySelectorAll('[data-testid="worklist-row"]').length;
  return rows > 0 && document.querySelector('.tab[aria-pressed="true"]').textContent === `${tab} ${rows}`;
}"""
"""Whether a tab tells how many rows are shown under it."""


def test_a_report_is_one_and_is_not_to_be_verified(page: Page, guarded: Guarded) -> None:
    come_in(page, guarded, "anna")
    row = page.get_by_test_id("worklist-row").filter(has_text="Words of nobody")
    expect(page.get_by_test_id("worklist-row").filter(has_text="CT")).to_be_visible()
    expect(row).to_have_count(0)
    for tab in ("To verify", "All"):
        page.get_by_role("button", name=re.compile(f"^{tab}")).click()
        expect(page.locator('.tab[aria-pressed="true"]')).to_contain_text(tab)
        page.wait_for_function(COUNTED, arg=tab)
    expect(row).to_contain_text("Report")
    expect(row).not_to_contain_text("To verify")
    row.click()
    expect(page.get_by_test_id("report")).to_contain_text("no images")
    expect(page.get_by_test_id("verify-open")).to_have_count(0)
    page.get_by_role("link", name="Back to the worklist").click()
    expect(row).to_be_visible()


def test_a_model_is_decided_about_after_a_second_look_by_whoever_may(page: Page, guarded: Guarded) -> None:
    version, button = (2, "reject") if page.viewport_size["width"] < 800 else (1, "approve")
    come_in(page, guarded, "mila", "models")
    expect(page.get_by_test_id("model-row").first).to_be_visible()
    expect(page.get_by_test_id("decision")).to_have_count(0)
    page.get_by_test_id("signout").click()
    come_in(page, guarded, "rolf", "models")
    row = page.locator(f'[data-testid="model-row"][data-version="{version}"]')
    row.get_by_test_id(button).click()
    expect(row).to_have_attribute("data-status", "PendingManualApproval")
    row.get_by_test_id("decide-not").click()
    row.get_by_test_id(button).click()
    expect(row.get_by_test_id("decide")).to_be_disabled()  # a decision has a reason
    row.get_by_test_id("decide-reason").select_option(index=1)
    row.get_by_test_id("decide").click()
    expect(row).to_have_attribute("data-status", "Approved" if button == "approve" else "Rejected")
    expect(row.get_by_test_id("decision")).to_have_count(0)
    assert ("champion" in row.inner_text()) is (button == "approve")


def test_an_auditor_sees_who_did_what_and_that_the_chain_is_whole(page: Page, guarded: Guarded) -> None:
    come_in(page, guarded, "aud")
    expect(page.get_by_test_id("audit-state")).to_contain_text("The chain is whole")
    expect(page.get_by_test_id("audit-head")).to_have_text(re.compile("^[0-9a-f]{64}$"))
    expect(page.get_by_test_id("audit-row").first).to_contain_text("session.create")
    before = int(page.get_by_test_id("audit-row").first.get_attribute("data-seq") or 0)
    guarded.radloop("users", "password", "mila", "--stdin", stdin=PASSWORD + "\n")
    page.get_by_test_id("audit-again").click()
    expect(page.locator(f'[data-testid="audit-row"][data-seq="{before + 1}"]')).to_be_visible()


def test_an_admin_sees_whose_entries_they_are(page: Page, guarded: Guarded) -> None:
    come_in(page, guarded, "ada", "audit")
    expect(page.get_by_test_id("audit-row").first).to_contain_text("by ada")
