"""A person signs in at the user pool's page in a real browser, and `radloop login` takes what it leads back with."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from radloop.loopback import NOT_SIGNED_IN, SIGNED_IN
from radloop.sign_ins import SignIns
from tests.test_login import ANNA, Site, site_at

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with site_at(tmp_path / "home") as made:
        yield made


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    yield context.new_page()
    context.close()


def walked(page: Page, site: Site, words: str) -> tuple[int, str]:
    """Sign in where `radloop login` says, and see these words in the end; its exit status and answer."""
    command = [sys.executable, "-m", "radloop.cli", "login", site.url, "--no-browser", "--yes", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = [process.stderr.readline() for _ in range(3)]
        page.goto(said[2].strip())
        page.get_by_label("User").fill(ANNA)
        page.get_by_role("button", name="Come in").click()
        expect(page.get_by_text(words)).to_be_visible(timeout=30_000)
        answer, _ = process.communicate(timeout=30)
    return process.returncode, answer


def test_a_browser_leads_back_to_the_command_and_shows_that_it_may_be_closed(page: Page, site: Site) -> None:
    faults: list[str] = []
    page.on(
        "console", lambda message: faults.append(message.text) if "favicon" not in message.location["url"] else None
    )
    page.on("pageerror", lambda error: faults.append(str(error)))
    status, answer = walked(page, site, SIGNED_IN)
    assert (status, faults) == (0, [])
    assert json.loads(answer)["roles"] == ["reader", "verifier"]
    assert page.url.startswith(site.app.redirects[0])
    assert page.title() == "radloop"
    assert SignIns().servers() == [site.url]


def test_a_browser_is_told_where_the_sign_in_does_not_count(page: Page, site: Site) -> None:
    site.door.refused = [("GET", "/api/v1/session")]
    status, _ = walked(page, site, NOT_SIGNED_IN)
    assert (status, SignIns().servers()) == (1, [])
