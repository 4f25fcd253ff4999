"""Somebody leaves a phone with a patient's image on it lying about."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from radloop.dicom.phantom import phantom_study
from tests.browser.conftest import PASSWORD, Guarded

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
IDLE_S = 12


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """A server that signs out after twelve seconds, warning for the last six."""
    home: Path = tmp_path_factory.mktemp("impatient")
    (home / "settings.toml").write_text(f"idle_sign_out_minutes = {IDLE_S / 60}\n")
    command = [sys.executable, "-m", "radloop.cli", "up", "--no-dimse", "--listen", "127.0.0.1:0", "--home", str(home)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    while "radloop is up" not in (line := process.stdout.readline()):
        assert line, "the server ended before it answered"
    url = json.loads((home / "server.json").read_text())["url"].replace("127.0.0.1", "localhost")
    server = Guarded(url, home)
    server.radloop("users", "create", "anna", "--role", "verifier", "--stdin", stdin=PASSWORD + "\n")
    files = tmp_path_factory.mktemp("files")
    for place, data in enumerate(phantom_study(1, consolidated=True, slices=4, size=128).files):
        (files / f"{place}.dcm").write_bytes(data)
    server.radloop("ingest", str(files))
    yield server
    process.terminate()
    process.wait(timeout=20)
    process.stdout.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    opened = browser.new_context(ignore_https_errors=True, **PHONE)
    opened.set_default_timeout(30_000)
    yield opened
    opened.close()


@pytest.fixture
def page(context: BrowserContext, impatient: Guarded) -> Page:
    opened = context.new_page()
    opened.goto(f"{impatient.url}/app/")
    sign_in(opened)
    opened.get_by_test_id("worklist-row").first.tap()
    opened.wait_for_selector('body[data-quality="lossless"]')
    return opened


def sign_in(page: Page) -> None:
    page.get_by_label("Name").fill("anna")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()


def test_the_image_is_gone_and_the_server_told_after_a_warning(page: Page, context: BrowserContext) -> None:
    warning = page.get_by_role("dialog")
    expect(warning).to_contain_text("Are you still there?", timeout=15_000)
    expect(page.get_by_test_id("idle-left")).to_contain_text("second")
    expect(page.get_by_label("Password")).to_be_visible(timeout=15_000)
    expect(warning).to_have_count(0)
    expect(page.locator("canvas")).to_have_count(0)
    expect(page.get_by_role("status")).to_contain_text("nothing was done here")
    page.wait_for_function("localStorage.getItem('radloop-locked') === null")
    assert context.cookies() == []
    sign_in(page)
    page.wait_for_selector('body[data-quality="lossless"]')  # where they were


def test_stay_is_an_answer_and_gives_the_whole_time_again(page: Page) -> None:
    page.get_by_test_id("idle-stay").tap(timeout=15_000)
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.wait_for_timeout(3000)
    expect(page.locator("canvas").first).to_be_visible()
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_a_key_is_an_answer_too(page: Page) -> None:
    expect(page.get_by_role("dialog")).to_be_visible(timeout=15_000)
    page.keyboard.press("Shift")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_whoever_works_in_one_tab_is_signed_out_in_none(
    page: Page, context: BrowserContext, impatient: Guarded
) -> None:
    other = context.new_page()
    other.goto(f"{impatient.url}/app/")
    for _ in range(16):
        other.keyboard.press("Shift")
        other.wait_for_timeout(1000)
    expect(page.locator("canvas").first).to_be_visible()
    expect(page.get_by_label("Password")).to_have_count(0)


def test_without_a_connection_the_image_goes_all_the_same_and_coming_back_does_not_bring_it_in(
    page: Page, context: BrowserContext
) -> None:
    context.set_offline(True)
    expect(page.get_by_label("Password")).to_be_visible(timeout=20_000)
    expect(page.locator("canvas")).to_have_count(0)
    assert context.cookies() != [], "the server could not be told yet"
    context.set_offline(False)
    page.reload()
    expect(page.get_by_label("Password")).to_be_visible()
    page.wait_for_function("localStorage.getItem('radloop-locked') === null")
    assert context.cookies() == []
