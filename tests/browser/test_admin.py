"""The administrator's page: users, access keys, quarantine and jobs, on a phone and at a desk."""

import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from radloop.core.identity import Principal
from radloop.core.ports import Change, Job, Upload
from radloop.wiring import open_local
from tests.browser.conftest import Guarded
from tests.browser.test_roles import DESKTOP, PHONE, SMALL, come_in
from tests.dicom.files import ct, written

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

NOBODY_ELSE = Principal("limited", frozenset({"reader"}), frozenset({"SOMEBODY"}))


@pytest.fixture(params=[PHONE, DESKTOP], ids=["phone", "desktop"])
def page(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Page]:
    """A page on which no script fails."""
    context = browser.new_context(ignore_https_errors=True, **request.param)
    opened = context.new_page()
    opened.set_default_timeout(30_000)
    faults: list[str] = []
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on("response", lambda got: faults.append(got.url) if got.status >= 500 else None)
    yield opened
    context.close()
    assert faults == []


def open_tab(page: Page, guarded: Guarded, tab: str) -> None:
    come_in(page, guarded, "ada", "admin")
    page.get_by_test_id(f"admin-{tab}").click()
    expect(page.get_by_test_id(f"admin-{tab}")).to_have_attribute("aria-pressed", "true")


def is_fit_for_thumbs(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("(main => main.scrollWidth <= main.clientWidth)(document.querySelector('main'))")
    assert page.evaluate(SMALL) == []


def pictured(page: Page, name: str) -> None:
    """Keep a picture where the environment names a folder for it."""
    folder = os.environ.get("RADLOOP_PICTURES")
    if folder:
        size = "phone" if page.viewport_size["width"] < 800 else "desktop"
        page.screenshot(path=Path(folder) / f"{name}-{size}.png")


def sign_in(guarded: Guarded, name: str, password: str) -> int:
    with httpx.Client(verify=False) as client:
        body = {"name": name, "password": password}
        return client.post(f"{guarded.url}/api/v1/session", json=body).status_code


def row_of(page: Page, name: str) -> Locator:
    return page.locator(f'[data-testid="user-row"][data-name="{name}"]')


def test_a_user_is_added_changed_locked_and_let_in_again(page: Page, guarded: Guarded) -> None:
    name = f"new-{uuid4().hex[:8]}"
    open_tab(page, guarded, "users")
    page.get_by_test_id("user-add").locator("summary").click()
    page.get_by_test_id("user-create").click()
    expect(page.get_by_role("alert")).to_have_text("Enter a name.")
    page.get_by_test_id("user-name").fill(name)
    page.get_by_test_id("user-add").get_by_label("auditor").check()
    page.get_by_test_id("patients").fill("P-1, P-2")
    is_fit_for_thumbs(page)
    pictured(page, "add-user")
    page.get_by_test_id("user-create").click()
    password = page.get_by_test_id("secret-password").inner_text()
    expect(row_of(page, name)).to_contain_text("only 2 patients: P-1, P-2")
    expect(row_of(page, name)).to_contain_text("auditor")
    is_fit_for_thumbs(page)
    pictured(page, "users")
    assert sign_in(guarded, name, password) == 200
    page.get_by_test_id("secrets-done").click()
    expect(page.get_by_text(password)).to_have_count(0)

    row_of(page, name).locator("summary").click()
    row_of(page, name).get_by_label("auditor").uncheck()
    row_of(page, name).get_by_label("verifier").check()
    row_of(page, name).get_by_test_id("user-roles").click()
    is_fit_for_thumbs(page)
    row_of(page, name).get_by_test_id("user-roles-yes").click()
    expect(row_of(page, name).locator(".card-head")).to_contain_text("verifier")
    expect(row_of(page, name).locator(".card-head")).not_to_contain_text("auditor")

    row_of(page, name).locator("summary").click()
    row_of(page, name).get_by_test_id("user-reset").click()
    row_of(page, name).get_by_test_id("user-reset-no").click()
    row_of(page, name).get_by_test_id("user-reset").click()
    row_of(page, name).get_by_test_id("user-reset-yes").click()
    fresh = page.get_by_test_id("secret-password").inner_text()
    assert fresh != password
    assert (sign_in(guarded, name, password), sign_in(guarded, name, fresh)) == (401, 200)

    row_of(page, name).locator("summary").click()
    row_of(page, name).get_by_test_id("user-lock").click()
    row_of(page, name).get_by_test_id("user-lock-yes").click()
    expect(row_of(page, name)).to_have_attribute("data-locked", "")
    assert sign_in(guarded, name, fresh) == 401
    row_of(page, name).locator("summary").click()
    row_of(page, name).get_by_test_id("user-unlock").click()
    expect(row_of(page, name)).not_to_have_attribute("data-locked", "")


def test_a_password_that_was_typed_is_not_shown_again(page: Page, guarded: Guarded) -> None:
    name = f"typed-{uuid4().hex[:8]}"
    open_tab(page, guarded, "users")
    page.get_by_test_id("user-add").locator("summary").click()
    page.get_by_test_id("user-name").fill(name)
    page.get_by_test_id("user-password").fill("short")
    page.get_by_test_id("user-create").click()
    expect(page.get_by_role("alert")).to_contain_text("12 characters")
    page.get_by_test_id("user-password").fill("a password of mine")
    page.get_by_test_id("user-create").click()
    expect(row_of(page, name)).to_be_visible()
    expect(page.get_by_test_id("secrets")).to_have_count(0)
    assert sign_in(guarded, name, "a password of mine") == 200
    page.get_by_test_id("user-add").locator("summary").click()
    page.get_by_test_id("user-name").fill(name)
    page.get_by_test_id("user-create").click()
    expect(page.get_by_role("alert")).to_have_text("there is a user of this name")


def test_nobody_locks_themselves_out(page: Page, guarded: Guarded) -> None:
    open_tab(page, guarded, "users")
    mine = row_of(page, "ada")
    expect(mine).to_contain_text("you")
    mine.locator("summary").click()
    expect(mine.get_by_test_id("user-lock")).to_have_count(0)
    expect(mine.get_by_label("admin: ")).to_be_disabled()


def test_a_key_is_made_shown_once_used_and_revoked(page: Page, guarded: Guarded) -> None:
    note = f"gateway {uuid4().hex[:8]}"
    open_tab(page, guarded, "keys")
    page.get_by_test_id("key-add").locator("summary").click()
    page.get_by_test_id("key-note").fill(note)
    page.get_by_test_id("key-days").fill("soon")
    page.get_by_test_id("key-create").click()
    expect(page.get_by_role("alert")).to_contain_text("whole number")
    page.get_by_test_id("key-days").fill("90")
    page.get_by_test_id("key-create").click()
    token = page.get_by_test_id("secret-token").inner_text()
    is_fit_for_thumbs(page)
    pictured(page, "keys")
    page.get_by_test_id("secrets-done").click()
    expect(page.get_by_text(token)).to_have_count(0)

    def answered() -> int:
        with httpx.Client(verify=False, headers={"Authorization": f"Bearer {token}"}) as client:
            return client.get(f"{guarded.url}/api/v1/worklist").status_code

    assert answered() == 200
    row = page.get_by_test_id("key-row").filter(has_text=note)
    expect(row).to_contain_text("by ada")
    expect(row).to_contain_text("expires")
    row.get_by_test_id("key-revoke").click()
    row.get_by_test_id("key-revoke-yes").click()
    expect(page.locator('[data-testid="key-row"][data-live=""]').filter(has_text=note)).to_have_count(0)
    assert answered() == 401
    page.get_by_text("revoked or expired").click()
    expect(page.get_by_test_id("key-row").filter(has_text=note)).to_contain_text("revoked")


def test_what_could_not_be_accepted_is_released_or_discarded(page: Page, guarded: Guarded) -> None:
    mark = uuid4().int
    good = written(ct(PatientID="PHANTOM-ASIDE", StudyInstanceUID=f"2.25.{mark}", SeriesInstanceUID=f"2.25.{mark}.1"))
    with open_local(guarded.home) as installation:
        installation.images.land([Upload(good)], by=NOBODY_ELSE)
        installation.images.land([Upload(b"junk %d %d" % (mark, number)) for number in range(3)], by=NOBODY_ELSE)
    open_tab(page, guarded, "quarantine")
    expect(page.get_by_test_id("admin-quarantine")).to_have_text("Quarantine 4")
    scope = page.locator('[data-testid="quarantine-group"][data-code="out-of-scope"]')
    junk = page.locator('[data-testid="quarantine-group"][data-code="not-dicom"]')
    expect(junk).to_contain_text("3 files")
    junk.locator("summary").click()
    is_fit_for_thumbs(page)
    pictured(page, "quarantine")
    with page.expect_download() as download:
        junk.get_by_role("link", name="Download").first.click()
    assert download.value.path().read_bytes().startswith(b"junk")
    scope.get_by_test_id("release").click()
    expect(page.get_by_test_id("quarantine-told")).to_have_text("1 file landed.")
    expect(scope).to_have_count(0)
    junk.get_by_test_id("release").first.click()
    expect(page.get_by_test_id("quarantine-told")).to_have_text("3 files refused for the same reason, and kept.")
    junk.get_by_test_id("discard").first.click()
    junk.get_by_test_id("discard-yes").click()
    expect(page.get_by_test_id("quarantine-told")).to_have_text("3 files discarded.")
    expect(page.get_by_text("Everything that came could be accepted.")).to_be_visible()
    expect(page.get_by_test_id("admin-quarantine")).to_have_text("Quarantine")


def test_a_job_that_was_given_up_on_is_tried_again_or_forgotten(page: Page, guarded: Guarded) -> None:
    names = [f"fold-{uuid4().hex}-1" for _ in range(2)]
    with open_local(guarded.home) as installation:
        jobs = [Job(name, "fold", "fold", {"image_set": "none"}, delay_s=3600) for name in names]
        installation.platform.records.commit(Change(jobs=jobs))
        installation.database.write(
            lambda connection: (
                connection.execute(
                    "UPDATE jobs SET state = 'dead', error = 'corrupt', tries = 8 WHERE id IN (?, ?)", names
                )
                and None
            )
        )
    open_tab(page, guarded, "jobs")
    expect(page.get_by_test_id("admin-jobs")).to_have_text("Jobs 2")
    is_fit_for_thumbs(page)
    pictured(page, "jobs")
    row = page.locator(f'[data-testid="job-row"][data-id="{names[0]}"]')
    expect(row).to_contain_text("corrupt")
    row.get_by_test_id("job-retry").click()
    expect(row).to_have_count(0)
    expect(page.get_by_test_id("jobs-told")).to_contain_text("Tried again")
    row = page.locator(f'[data-testid="job-row"][data-id="{names[1]}"]')
    row.get_by_test_id("job-discard").click()
    row.get_by_test_id("job-discard-yes").click()
    expect(page.get_by_text("No job was given up on.")).to_be_visible()
    expect(page.get_by_test_id("admin-jobs")).to_have_text("Jobs")
    with open_local(guarded.home) as installation:
        installation.database.write(
            lambda connection: connection.execute("UPDATE jobs SET state = 'done' WHERE id = ?", names[:1]) and None
        )
