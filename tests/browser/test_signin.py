"""Somebody comes to the web page of a server with TLS and sign-in, and leaves it again."""

from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import PASSWORD, Guarded

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

PHONE = {"viewport": {"width": 412, "height": 915}, "is_mobile": True, "has_touch": True}
DESKTOP = {"viewport": {"width": 1280, "height": 800}}


@pytest.fixture(params=[PHONE, DESKTOP], ids=["phone", "desktop"])
def page(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Page]:
    context = browser.new_context(ignore_https_errors=True, **request.param)  # the authority is not in its store
    opened = context.new_page()
    opened.set_default_timeout(30_000)
    faults: list[str] = []
    opened.on("pageerror", lambda error: faults.append(str(error)))
    yield opened
    context.close()
    assert faults == []


def sign_in(page: Page, password: str = PASSWORD) -> None:
    page.get_by_label("Name").fill("anna")
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()


def test_nothing_is_shown_before_signing_in_and_everything_after(page: Page, guarded: Guarded) -> None:
    page.goto(f"{guarded.url}/app/")
    expect(page.get_by_role("heading", name="Sign in to radloop")).to_be_visible()
    expect(page.locator("nav")).to_be_hidden()
    expect(page.locator("body")).to_contain_text("Not a medical device")
    sign_in(page)
    expect(page.get_by_test_id("worklist-row").first).to_contain_text("CT")
    page.get_by_test_id("worklist-row").first.click()
    page.wait_for_selector('body[data-quality="lossless"]')


def test_the_cookie_is_out_of_reach_of_scripts_and_of_plain_http(page: Page, guarded: Guarded) -> None:
    page.goto(f"{guarded.url}/app/")
    sign_in(page)
    expect(page.get_by_test_id("worklist-row").first).to_be_visible()
    (cookie,) = page.context.cookies()
    assert cookie["name"] == "__Host-radloop"
    assert (cookie["httpOnly"], cookie["secure"], cookie["sameSite"], cookie["path"]) == (True, True, "Strict", "/")
    assert page.evaluate("document.cookie") == ""


def test_a_wrong_password_is_told_without_losing_the_page(page: Page, guarded: Guarded) -> None:
    page.goto(f"{guarded.url}/app/#/models")
    sign_in(page, "wrong")
    expect(page.get_by_role("alert")).to_contain_text("name or the password is wrong")
    expect(page.get_by_label("Password")).to_be_focused()
    sign_in(page)
    expect(page.get_by_role("heading", name="Models")).to_be_visible()


def test_every_target_of_the_sign_in_can_be_hit_by_a_thumb_and_has_a_label(page: Page, guarded: Guarded) -> None:
    page.goto(f"{guarded.url}/app/")
    for target in (
        page.get_by_label("Name"),
        page.get_by_label("Password"),
        page.get_by_role("button", name="Sign in"),
    ):
        box = target.bounding_box()
        assert box is not None
        assert box["height"] >= 44


def test_signing_out_leaves_nothing_behind(page: Page, guarded: Guarded) -> None:
    page.goto(f"{guarded.url}/app/")
    sign_in(page)
    expect(page.get_by_test_id("worklist-row").first).to_be_visible()
    page.get_by_test_id("signout").click()
    expect(page.get_by_label("Password")).to_be_visible()
    expect(page.get_by_test_id("worklist-row")).to_have_count(0)
    assert page.context.cookies() == []
    page.reload()
    expect(page.get_by_label("Password")).to_be_visible()


def test_a_session_that_ends_leads_back_to_the_sign_in_and_then_to_the_same_page(page: Page, guarded: Guarded) -> None:
    page.goto(f"{guarded.url}/app/")
    sign_in(page)
    expect(page.get_by_test_id("worklist-row").first).to_be_visible()
    guarded.radloop("users", "password", "anna", "--stdin", stdin=PASSWORD + "\n")  # ends every sign-in
    page.goto(f"{guarded.url}/app/#/loop")
    expect(page.get_by_label("Password")).to_be_visible()
    sign_in(page)
    expect(page.get_by_test_id("loop-state")).to_be_visible()
    expect(page.get_by_role("heading", name="Last events")).to_be_hidden()


def test_the_server_is_one_that_httpx_trusts_by_its_authority(guarded: Guarded) -> None:
    import ssl

    context = ssl.create_default_context(cafile=guarded.home / "keys" / "ca.pem")
    assert httpx.get(f"{guarded.url}/app/", verify=context).status_code == 200
