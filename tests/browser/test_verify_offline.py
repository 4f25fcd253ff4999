"""A radiologist on the way: three taps to a finding, also where no server can be reached."""

import json
import re
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from radloop.dicom.phantom import phantom_study
from tests.browser.conftest import PASSWORD, Guarded

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
SLICES = 6
VERIFICATION = re.compile(r"/reads$")
STORED = """async () => {
  const request = indexedDB.open("radloop");
  const database = await new Promise((resolve) => { request.onsuccess = () => resolve(request.result); });
  const told = async (name) => {
    const store = database.transaction(name).objectStore(name);
    const all = (ask) => new Promise((resolve) => { ask.onsuccess = () => resolve(ask.result); });
    return [await all(store.getAllKeys()), await all(store.getAll())];
  };
  const [owners, keys] = await told("keys");
  const [names, values] = await told("waiting");
  database.close();
  const bytes = (buffer) => Array.from(new Uint8Array(buffer));
  return {
    owners, names,
    keys: await Promise.all(keys.map(async (key) => ({
      type: key.type, extractable: key.extractable, algorithm: key.algorithm.name,
      exported: await crypto.subtle.exportKey("raw", key).then(() => true, () => false),
    }))),
    values: values.map((value) => ({ fields: Object.keys(value), owner: value.owner, data: bytes(value.data) })),
  };
}"""


@pytest.fixture(scope="module")
def clinic(guarded: Guarded) -> Guarded:
    """The guarded server, with a second verifier."""
    guarded.radloop("users", "create", "vera", "--role", "verifier", "--stdin", stdin=PASSWORD + "\n")
    return guarded


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    opened = browser.new_context(ignore_https_errors=True, **PHONE)
    opened.set_default_timeout(30_000)
    yield opened
    opened.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    opened = context.new_page()
    faults: list[str] = []
    opened.on("pageerror", lambda error: faults.append(str(error)))
    yield opened
    assert faults == []


NUMBERS = iter(range(100, 1000))


@pytest.fixture
def study(clinic: Guarded, tmp_path: Path) -> Callable[[], str]:
    """One more study that nobody has verified; returns its image set."""

    def made() -> str:
        number = next(NUMBERS)
        folder = tmp_path / str(number)
        folder.mkdir()
        phantom = phantom_study(number, consolidated=True, slices=SLICES, size=128)
        for place, data in enumerate(phantom.files):
            (folder / f"{place}.dcm").write_bytes(data)
        clinic.radloop("ingest", str(folder))
        with Api(clinic) as api:
            (name,) = [item["id"] for item in api.worklist() if item["patient_id"] == phantom.patient_id]
            return str(name)

    return made


class Api:
    """The server as anybody's program sees it."""

    def __init__(self, clinic: Guarded, name: str = "vera") -> None:
        trust = ssl.create_default_context(cafile=clinic.home / "keys" / "ca.pem")
        self.client = httpx.Client(base_url=f"{clinic.url}/api/v1", verify=trust)
        self.client.post("/session", json={"name": name, "password": PASSWORD}).raise_for_status()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.delete("/session")
        self.client.close()

    def worklist(self) -> list[dict[str, Any]]:
        return self.client.get("/worklist?limit=500").json()["items"]

    def image_set(self, name: str) -> dict[str, Any]:
        return self.client.get(f"/image-sets/{name}").json()

    def verify(self, name: str) -> None:
        seen = {"frame": 0, "quality": "lossless"}
        body = {"version": 1, "finding": "absent", "confidence": "low", "seen": seen}
        self.client.post(f"/image-sets/{name}/verification", json=body).raise_for_status()


def told_of(clinic: Guarded, name: str) -> list[dict[str, Any]]:
    """The events that tell of a verification of `name`."""
    token = (clinic.home / "keys" / "owner-token").read_text()
    trust = ssl.create_default_context(cafile=clinic.home / "keys" / "ca.pem")
    answer = httpx.get(
        f"{clinic.url}/api/v1/events?limit=1000", headers={"Authorization": f"Bearer {token}"}, verify=trust
    )
    items = answer.json()["items"]
    return [
        one["detail"] for one in items if one["detail_type"] == "ImageVerified" and one["detail"]["image_set"] == name
    ]


def until(happens: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.1)


def sign_in(page: Page, name: str = "anna") -> None:
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()


def open_series(page: Page, clinic: Guarded, name: str, who: str = "anna") -> None:
    page.goto(f"{clinic.url}/app/#/view/{name}")
    if page.get_by_label("Password").or_(page.get_by_test_id("stack-canvas")).first.get_attribute("type"):
        sign_in(page, who)
    page.wait_for_selector('body[data-quality="lossless"]')


def give(page: Page, finding: str = "present", confidence: str = "high") -> int:
    """Verify from the open series; returns how many taps it took."""
    taps = 0
    for tapped in (f"verify-quick-{finding}", f"verify-confidence-{confidence}", "verify-submit"):
        page.get_by_test_id(tapped).tap()
        taps += 1
    return taps


def test_a_finding_takes_three_taps_all_of_them_under_the_thumb(
    page: Page, clinic: Guarded, study: Callable[[], str]
) -> None:
    name, following = study(), study()
    open_series(page, clinic, name)
    height = PHONE["viewport"]["height"]
    taps = 0
    for tapped in ("verify-quick-absent", "verify-confidence-medium", "verify-submit"):
        control = page.get_by_test_id(tapped)
        box = control.bounding_box()
        assert box is not None
        assert box["y"] >= height / 2, f"{tapped} begins at {box['y']} of {height}"
        assert min(box["width"], box["height"]) >= 44
        control.tap()
        taps += 1
    assert taps <= 3
    onward = page.get_by_test_id("verify-next")
    box = onward.bounding_box()
    assert box is not None
    assert box["y"] >= height / 2
    with Api(clinic) as api:
        finding = api.image_set(name)["finding"]
    assert (finding["present"], finding["confidence"]) == (False, "medium"), "what was tapped, and nothing by default"
    onward.tap()
    page.wait_for_url(f"**/#/view/{following}")
    page.wait_for_selector('body[data-quality="lossless"]')


def test_a_finding_alone_is_not_sent_before_the_reader_says_how_sure_they_are(
    page: Page, clinic: Guarded, study: Callable[[], str]
) -> None:
    open_series(page, clinic, study())
    page.get_by_test_id("verify-quick-present").tap()
    expect(page.get_by_test_id("verify-finding-present")).to_be_checked()
    expect(page.get_by_test_id("verify-submit")).to_be_disabled()
    expect(page.locator("#verify-reason")).to_contain_text("how confident")


def test_what_the_reader_was_shown_of_each_slice_is_said_before_and_kept_with_the_finding(
    page: Page, clinic: Guarded, study: Callable[[], str]
) -> None:
    name = study()
    open_series(page, clinic, name)
    page.keyboard.press("Home")
    page.wait_for_selector('body[data-quality="lossless"][data-frame-shown="0"]')
    page.keyboard.press("ArrowDown")
    page.wait_for_selector('body[data-quality="lossless"][data-frame-shown="1"]')
    page.goto(f"{clinic.url}/app/#/")
    expect(page.get_by_test_id("worklist-row").first).to_be_visible()
    open_series(page, clinic, name)  # the page lives on, and what was seen with it
    page.get_by_test_id("verify-quick-present").tap()
    middle = (SLICES - 1) // 2
    expect(page.get_by_test_id("verify-seen")).to_contain_text(f"You saw 3 of {SLICES} slices at full quality")
    page.get_by_test_id("verify-confidence-low").tap()
    page.get_by_test_id("verify-submit").tap()
    expect(page.get_by_test_id("verified-seen")).to_contain_text("Shown at full quality: 3")
    with Api(clinic) as api:
        told = api.image_set(name)
    seen = told["finding"]["seen"]
    assert (seen["frame"], seen["quality"], seen["full"]) == (middle, "lossless", 3)
    assert seen["full"] + seen["preview"] + seen["never"] == SLICES
    frames = "".join(letter * int(times or 1) for letter, times in re.findall(r"([npf])(\d*)", told["seen_slices"]))
    assert [place for place, letter in enumerate(frames) if letter == "f"] == [0, 1, middle]
    assert seen["full_ms"] > 0
    (event,) = told_of(clinic, name)
    assert (event["frames_full"], event["frames_preview"]) == (3, seen["preview"])


def test_a_finding_given_offline_waits_in_nobodys_clear_text_and_is_sent_once_when_back(
    page: Page, context: BrowserContext, clinic: Guarded, study: Callable[[], str]
) -> None:
    name = study()
    open_series(page, clinic, name)
    context.set_offline(True)
    give(page)
    expect(page.get_by_test_id("verify-result")).to_contain_text("Waiting to be sent")
    kept = page.evaluate(STORED)
    assert len(kept["values"]) == 1
    assert kept["keys"] == [{"type": "secret", "extractable": False, "algorithm": "AES-GCM", "exported": False}]
    data = bytes(kept["values"][0]["data"])
    plain = json.dumps([kept["names"], kept["owners"], kept["values"][0]["owner"]]).encode() + data
    for secret in (name, "present", "finding", "high", "version", "PHANTOM", "anna"):
        assert secret.encode() not in plain, f"{secret} is in clear"
    assert sorted(kept["values"][0]["fields"]) == ["data", "iv", "owner"]
    context.set_offline(False)
    expect(page.get_by_test_id("verify-result")).to_contain_text("Verified as ground truth")
    assert page.evaluate(STORED)["values"] == []
    with Api(clinic) as api:
        assert api.image_set(name)["state"] == "VERIFIED"
    assert len(told_of(clinic, name)) == 1


def test_a_waiting_finding_survives_a_reload_is_listed_and_then_sent(
    page: Page, clinic: Guarded, study: Callable[[], str]
) -> None:
    name = study()
    open_series(page, clinic, name)
    page.route(VERIFICATION, lambda route: route.fulfill(status=503, body="gone"))
    give(page, "absent", "low")
    expect(page.get_by_test_id("verify-result")).to_contain_text("Waiting to be sent")
    page.reload()
    expect(page.get_by_test_id("verify-open")).to_contain_text("Waiting to be sent")
    page.goto(f"{clinic.url}/app/#/")
    item = page.get_by_test_id("waiting-item")
    expect(item).to_contain_text("Finding absent, low confidence")
    expect(item).to_contain_text("Waiting to be sent")
    expect(page.locator(f'[data-id="{name}"]')).to_contain_text("Not yet sent")
    expect(page.get_by_role("link", name="Worklist, 1 finding not sent")).to_be_visible()
    page.unroute(VERIFICATION)
    item.get_by_test_id("waiting-send").tap()
    expect(page.get_by_test_id("waiting-item")).to_have_count(0)
    assert len(told_of(clinic, name)) == 1


def test_an_answer_that_gets_lost_makes_no_second_finding_and_no_conflict(
    page: Page, clinic: Guarded, study: Callable[[], str]
) -> None:
    name = study()
    open_series(page, clinic, name)

    def lose(route: Any) -> None:
        route.fetch()  # the server takes it, and nobody hears of it
        route.abort()

    page.route(VERIFICATION, lose, times=1)
    give(page)
    expect(page.get_by_test_id("verify-result")).to_contain_text("Verified as ground truth")
    assert len(told_of(clinic, name)) == 1
    assert page.evaluate(STORED)["values"] == []


def test_what_somebody_else_decided_meanwhile_is_shown_and_the_finding_is_not_lost(
    page: Page, context: BrowserContext, clinic: Guarded, study: Callable[[], str]
) -> None:
    name = study()
    open_series(page, clinic, name)
    context.set_offline(True)
    give(page)
    expect(page.get_by_test_id("verify-result")).to_contain_text("Waiting to be sent")
    with Api(clinic) as api:
        api.verify(name)
    context.set_offline(False)
    page.goto(f"{clinic.url}/app/#/")
    item = page.get_by_test_id("waiting-item")
    expect(item).to_contain_text("Not accepted")
    page.reload()
    expect(item).to_contain_text("Finding present, high confidence")
    item.get_by_test_id("waiting-discard").tap()
    item.get_by_test_id("waiting-discard-yes").tap()
    expect(item).to_have_count(0)
    with Api(clinic) as api:
        assert api.image_set(name)["finding"]["present"] is False
    assert len(told_of(clinic, name)) == 1


def test_signing_out_warns_and_only_the_same_person_sends_what_waits(
    page: Page, clinic: Guarded, study: Callable[[], str]
) -> None:
    name = study()
    open_series(page, clinic, name)
    page.route(VERIFICATION, lambda route: route.fulfill(status=503, body="gone"))
    give(page)
    expect(page.get_by_test_id("verify-result")).to_contain_text("Waiting to be sent")
    page.goto(f"{clinic.url}/app/#/")
    page.get_by_test_id("signout").tap()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("1 finding could not be sent yet")
    page.get_by_test_id("signout-anyway").tap()
    expect(page.get_by_label("Password")).to_be_visible()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if VERIFICATION.search(request.url) else None)
    page.unroute(VERIFICATION)
    sign_in(page, "vera")
    expect(page.get_by_test_id("worklist-row").first).to_be_visible()
    expect(page.get_by_test_id("waiting-item")).to_have_count(0)
    expect(page.get_by_role("link", name="Worklist", exact=True)).to_be_visible()
    page.wait_for_timeout(1500)
    assert asked == []
    page.get_by_test_id("signout").tap()
    expect(page.get_by_label("Password")).to_be_visible()
    sign_in(page, "anna")
    until(lambda: len(told_of(clinic, name)) == 1)
    with Api(clinic) as api, Api(clinic, "anna") as anna:
        assert api.image_set(name)["finding"]["by"] == anna.client.get("/session").json()["id"]


def test_a_finding_given_after_the_sign_in_was_over_is_kept_and_sent_after_the_next(
    page: Page, clinic: Guarded, study: Callable[[], str]
) -> None:
    name = study()
    open_series(page, clinic, name)
    page.get_by_test_id("verify-quick-absent").tap()
    page.get_by_test_id("verify-confidence-high").tap()
    clinic.radloop("users", "password", "anna", "--stdin", stdin=PASSWORD + "\n")  # ends every sign-in
    page.get_by_test_id("verify-submit").tap()
    expect(page.get_by_label("Password")).to_be_visible()
    sign_in(page)
    until(lambda: len(told_of(clinic, name)) == 1)


def test_without_a_secure_page_it_is_said_that_verifying_offline_is_off(
    page: Page, context: BrowserContext, clinic: Guarded, study: Callable[[], str]
) -> None:
    page.add_init_script("Object.defineProperty(globalThis, 'isSecureContext', { value: false })")
    open_series(page, clinic, study())
    context.set_offline(True)
    give(page)
    expect(page.get_by_test_id("verify-result")).to_contain_text("Not saved")
    expect(page.get_by_test_id("verify-result")).to_contain_text("Verifying without a connection is off here")
    assert page.evaluate("indexedDB.databases()") == []


def test_plain_http_on_the_loopback_keeps_findings_too(page: Page, context: BrowserContext, server: str) -> None:
    page.goto(f"{server}/app/")
    row = page.get_by_test_id("worklist-row").filter(has_text="24 images").first
    name = row.get_attribute("data-id")
    row.tap()
    page.wait_for_selector('body[data-quality="lossless"]')
    context.set_offline(True)
    give(page, "absent", "high")
    expect(page.get_by_test_id("verify-result")).to_contain_text("Waiting to be sent")
    context.set_offline(False)
    expect(page.get_by_test_id("verify-result")).to_contain_text("Verified as ground truth")
    assert httpx.get(f"{server}/api/v1/image-sets/{name}").json()["state"] == "VERIFIED"
