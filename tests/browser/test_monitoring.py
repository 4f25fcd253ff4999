"""Alarms and dashboards at the web page: on a phone and at a desk, by finger and by keyboard, for whose role it is."""

import math
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from radloop.core.ports import Change, Put
from radloop.core.tables import ALARMS
from radloop.local.home import Home
from radloop.monitoring.dashboards import MINUTES, put_minute
from radloop.wiring import dashboards, open_local
from tests.browser.conftest import PASSWORD, Guarded, serving
from tests.browser.test_accessibility import DESKTOP, PHONE
from tests.browser.test_learning import looks_fine, signed_in
from tests.monitoring.sinks import hook_server

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

PEOPLE = {"mila": "ml", "ada": "admin", "rita": "reader"}
OPERATIONS = ("getFrame", "getStreamFrames", "listWorklist")


def fill(installation: object, minute: int) -> None:
    """A day of minutes that goes up and down, and an alarm that is on."""
    widgets = [widget for dashboard in dashboards() for widget in dashboard.widgets]
    platform = installation.platform  # type: ignore[attr-defined]
    writes = []
    for ago in range(MINUTES):
        wave = 1.5 + math.sin(ago / 120)
        values = {
            widget.key: {
                name: round(wave * (place + 1) * (0.02 if widget.unit == "seconds" else 10), 4)
                for place, name in enumerate(
                    OPERATIONS if widget.question.by == "operation" else ("v1", "v2") if widget.question.by else ("",)
                )
            }
            for widget in widgets
            if widget.question.metric != "radloop_training_gpu_percent"  # as where there is none
        }
        writes.append(put_minute(minute - ago, values))
    on = {"is_on": True, "since": minute * 60 - 600, "value": 1.82, "wrong_since": None, "well_since": None}
    platform.records.commit(Change(writes=[*writes, Put(ALARMS, "training-failure", on)]))


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    home: Path = tmp_path_factory.mktemp("watched")
    with hook_server() as hook:
        (home / "settings.toml").write_text(f'notify = ["{hook.address}"]\n')
        with Home(home).owned(), open_local(home) as installation:
            fill(installation, int(installation.platform.clock().timestamp() // 60))
        with serving(home) as server:
            for name, role in PEOPLE.items():
                server.radloop("users", "create", name, "--role", role, "--stdin", stdin=PASSWORD + "\n")
            yield server
        assert [body["title"] for body in hook.bodies if "test" in body["title"]] == ["radloop: this is a test"]


def drawn(page: Page) -> None:
    """Every drawing that has something to draw is there, and the one that has nothing says so."""
    expect(page.get_by_test_id("widget")).to_have_count(25)
    expect(page.locator("[data-testid=widget] canvas")).to_have_count(25 - 1)
    gpu = page.locator('[data-metric="radloop_training_gpu_percent"]')
    expect(gpu).to_contain_text("Nothing measured yet.")


def kept(page: Page, name: str) -> None:
    """A picture of the page, where the environment names a folder for it."""
    folder = os.environ.get("RADLOOP_PICTURES")
    size = page.viewport_size
    if folder and size:
        page.set_viewport_size({"width": size["width"], "height": 3600})  # the page scrolls within itself
        page.wait_for_timeout(500)
        page.screenshot(path=Path(folder) / f"{name}.png")
        page.set_viewport_size(size)


@pytest.mark.parametrize("screen", ["phone", "desk"])
def test_whoever_may_see_metrics_sees_alarms_and_dashboards(browser: Browser, watched: Guarded, screen: str) -> None:
    with signed_in(browser, watched, "mila", "loop", **(PHONE if screen == "phone" else DESKTOP)) as page:
        page.get_by_role("link", name="Dashboards and alarms").click()
        drawn(page)
        expect(page.get_by_test_id("alarm-state")).to_contain_text("The latest training job failed.")
        calls = page.locator('[data-widget="M1.4"]')
        for name in OPERATIONS:
            expect(calls).to_contain_text(name)
        expect(page.locator('[data-widget="M1.1"] .plot')).to_have_attribute("aria-label", re.compile("ms"))
        page.locator("summary").click()
        expect(page.get_by_test_id("alarm")).to_have_count(9)  # the eight of the brief, and the one on dead letters
        looks_fine(page)
        kept(page, f"dashboards-{screen}")
        page.get_by_role("button", name="24 hours").click()
        expect(page.get_by_role("button", name="24 hours")).to_have_attribute("aria-pressed", "true")
        drawn(page)
        expect(page.get_by_test_id("notify-test")).to_have_count(0)


def test_an_administrator_asks_whether_messages_arrive(browser: Browser, watched: Guarded) -> None:
    with signed_in(browser, watched, "ada", "dashboards") as page:
        page.get_by_test_id("notify-test").tap()
        expect(page.get_by_test_id("notify-said")).to_contain_text("json took the message.", timeout=30_000)


def test_who_may_not_see_metrics_is_led_elsewhere(browser: Browser, watched: Guarded) -> None:
    with signed_in(browser, watched, "rita", "dashboards") as page:
        expect(page.get_by_role("heading", name="Worklist")).to_be_visible()
        page.goto(f"{watched.url}/app/#/loop")
        expect(page.get_by_role("heading", name="Retraining")).to_be_visible()
        expect(page.get_by_role("link", name="Dashboards and alarms")).to_have_count(0)
