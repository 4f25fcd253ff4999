"""The learning loop at the web page: two readers and an adjudicator, models and who decides, what a run said."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from radloop.core.ports import Change
from radloop.core.tables import DEFAULT_DATASTORE
from radloop.dicom.phantom import phantom_study
from radloop.local.home import Home
from radloop.pipeline.journal import Journal, opening
from radloop.wiring import open_local
from tests.browser.conftest import PASSWORD, Guarded, register, serving
from tests.browser.test_accessibility import AXE, DESKTOP, PHONE, TARGET_PX, TARGETS, faults

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

PEOPLE = {
    "anna": "verifier",
    "vera": "verifier",
    "alex": "adjudicator",
    "rolf": "release-approver",
    "mila": "ml",
    "ada": "admin",
}
REFUSED = {"name": "sensitivity", "value": 0.71, "limit": 0.8, "passed": False, "sentence": "Too many are missed."}
HELD = {"name": "accuracy", "value": 0.91, "limit": 0.85, "passed": True, "sentence": "Enough are right."}


def refused_run(installation: Any) -> None:
    """A run whose training went well and whose model the gate refused."""
    platform, at = installation.platform, installation.platform.clock()
    steps = (("Preprocess", "Processing"), ("Train", "Training"), ("Evaluate", "Processing"), ("Reject", "Fail"))
    writes = opening(
        "refused-run", parameters={"AccuracyThreshold": 0.85}, definition={}, steps=steps, at=at, trace="t"
    )
    platform.records.commit(Change(writes=writes))
    journal = Journal(platform.records, platform.clock, "refused-run")
    for name in ("Preprocess", "Train"):
        journal.begin(name)
        for epoch in (1, 2, 3, 4) if name == "Train" else ():
            losses = {"train_loss": 0.7 / epoch, "validation_loss": 0.8 / epoch}
            journal.progress(name, {"event": "epoch", "epoch": epoch, "epochs": 4, **losses})
        journal.succeed(name)
    journal.begin("Evaluate")
    metrics = {"accuracy": {"value": 0.91, "ci_low": 0.87, "ci_high": 0.94}}
    gate = {"approved": False, "rules": [HELD, REFUSED]}
    journal.succeed("Evaluate", evaluation={"metrics": metrics, "gate": gate})
    journal.begin("Reject")
    journal.fail("Reject", reason="The gate refused the model.", code="gate-refused")


@pytest.fixture(scope="module")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """A server where two readers look and an adjudicator decides; two undecided models and a refused run."""
    home: Path = tmp_path_factory.mktemp("clinic")
    with Home(home).owned(), open_local(home) as installation:
        for number in (1, 2):
            register(installation.platform, number, auc=0.9 + number / 100)
        refused_run(installation)
    with serving(home) as server:
        for name, role in PEOPLE.items():
            server.radloop("users", "create", name, "--role", role, "--stdin", stdin=PASSWORD + "\n")
        files = tmp_path_factory.mktemp("files")
        for number in (1, 2, 3):
            study = phantom_study(number, consolidated=number == 1, slices=4, size=128)
            for place, data in enumerate(study.files):
                (files / f"{number}-{place}.dcm").write_bytes(data)
        server.radloop("ingest", str(files))
        with api(server, "ada") as ada:
            ada.put(f"/projects/{DEFAULT_DATASTORE}", json={"policy": "double-adjudicated"}).raise_for_status()
        yield server


@contextmanager
def api(server: Guarded, name: str) -> Iterator[httpx.Client]:
    """The server as a program of this person sees it."""
    trust = ssl.create_default_context(cafile=server.home / "keys" / "ca.pem")
    with httpx.Client(base_url=f"{server.url}/api/v1", verify=trust) as client:
        client.post("/session", json={"name": name, "password": PASSWORD}).raise_for_status()
        yield client


def read(server: Guarded, name: str, image_set: str, finding: str) -> dict[str, Any]:
    """A read given by a program."""
    body = {"version": 1, "finding": finding, "confidence": "high", "seen": {"frame": 0, "quality": "lossless"}}
    with api(server, name) as client:
        answer = client.post(f"/image-sets/{image_set}/reads", json=body)
        answer.raise_for_status()
        return dict(answer.json())


def image_sets(server: Guarded) -> dict[int, str]:
    """Image sets by the number of their phantom."""
    with api(server, "ada") as ada:
        items = ada.get("/worklist?limit=50").json()["items"]
    return {int(item["patient_id"].rpartition("-")[2]): item["id"] for item in items if item["frames"]}


@contextmanager
def signed_in(browser: Browser, server: Guarded, name: str, place: str, **options: Any) -> Iterator[Page]:
    context = browser.new_context(ignore_https_errors=True, reduced_motion="reduce", **(options or PHONE))
    page = context.new_page()
    page.set_default_timeout(30_000)
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(f"{server.url}/app/#/{place}")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_test_id("who")).to_contain_text(name)
    yield page
    context.close()
    assert wrong == []


def give(page: Page, finding: str) -> None:
    """Three taps."""
    page.wait_for_selector('body[data-quality="lossless"]')
    for tapped in (f"verify-quick-{finding}", "verify-confidence-high", "verify-submit"):
        page.get_by_test_id(tapped).tap()


def looks_fine(page: Page) -> None:
    """Nothing serious, nothing too small for a thumb, nothing that scrolls sideways."""
    assert faults(page) == []
    if page.viewport_size == PHONE["viewport"]:
        assert page.evaluate(TARGETS, TARGET_PX) == []
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_two_readers_read_blinded_and_where_they_differ_an_adjudicator_decides(
    browser: Browser, clinic: Guarded
) -> None:
    name = image_sets(clinic)[1]
    panel = "#verify-panel"
    with signed_in(browser, clinic, "anna", f"view/{name}") as page:
        page.wait_for_selector('body[data-quality="lossless"]')
        expect(page.get_by_test_id("verify-open")).to_have_text("Read")
        page.get_by_test_id("verify-open").tap()
        expect(page.locator(panel)).to_contain_text("Read 1 of 2, blinded")
        expect(page.get_by_test_id("blinded")).to_be_visible()
        expect(page.get_by_test_id("opinion")).to_have_count(0)
        looks_fine(page)
        page.locator(panel).get_by_label("Close").tap()
        give(page, "present")
        expect(page.get_by_test_id("read-outcome")).to_contain_text("second reader")
        expect(page.get_by_test_id("opinion")).to_be_attached()

    with signed_in(browser, clinic, "vera", f"view/{name}") as page:
        asked: list[str] = []
        page.on("response", lambda got: asked.append(got.url))
        page.wait_for_selector('body[data-quality="lossless"]')
        page.get_by_test_id("verify-open").tap()
        expect(page.locator(panel)).to_contain_text("Read 2 of 2, blinded")
        page.wait_for_timeout(300)
        assert not any(url.endswith(("/reads", "/labels", "/predictions")) for url in asked)
        page.locator(panel).get_by_label("Close").tap()
        give(page, "absent")
        expect(page.get_by_test_id("read-outcome")).to_contain_text("adjudicator")

    with signed_in(browser, clinic, "alex", "adjudication") as page:
        dispute = page.locator(f'[data-testid="dispute"][data-id="{name}"]')
        expect(dispute.locator(".read")).to_have_count(2)
        expect(dispute).to_contain_text("Reader A")
        expect(dispute).not_to_contain_text("anna")
        looks_fine(page)
        dispute.get_by_test_id("dispute-open").tap()
        page.wait_for_selector('body[data-quality="lossless"]')
        page.get_by_test_id("verify-open").tap()
        expect(page.locator(panel).locator(".read")).to_have_count(2)
        looks_fine(page)
        page.get_by_test_id("verify-finding-present").tap()
        page.get_by_test_id("verify-confidence-medium").tap()
        expect(page.locator("#verify-reason")).to_contain_text("reason")
        page.get_by_test_id("verify-why").select_option("borderline")
        page.get_by_test_id("verify-site").select_option("LLL")
        expect(page.get_by_test_id("verify-side")).to_have_value("left")
        page.get_by_test_id("verify-submit").tap()
        expect(page.get_by_test_id("verify-result")).to_contain_text("Verified as ground truth")
        page.get_by_test_id("labels").locator("summary").tap()
        expect(page.get_by_test_id("label-row").first).to_contain_text("an adjudicator decided")
    with api(clinic, "alex") as alex:
        found = alex.get(f"/image-sets/{name}").json()
    assert (found["state"], found["finding"]["present"], found["finding"]["laterality"]) == ("VERIFIED", True, "left")


def test_a_read_given_offline_is_sent_once_and_the_worklist_offers_the_next_most_useful_one(
    browser: Browser, clinic: Guarded
) -> None:
    sets = image_sets(clinic)
    read(clinic, "vera", sets[3], "absent")
    with signed_in(browser, clinic, "anna", f"view/{sets[2]}") as page:
        page.wait_for_selector('body[data-quality="lossless"]')
        page.context.set_offline(True)
        give(page, "absent")
        expect(page.get_by_test_id("verify-result")).to_contain_text("Waiting to be sent")
        page.context.set_offline(False)
        expect(page.get_by_test_id("read-outcome")).to_contain_text("second reader")
        page.get_by_test_id("verify-next").tap()
        page.wait_for_url(f"**/#/view/{sets[3]}")  # not the one just read, which is still unverified
        page.goto(f"{clinic.url}/app/#/")
        page.get_by_role("button", name="For me").tap()
        rows = page.get_by_test_id("worklist-row")
        expect(rows).to_have_count(1)
        expect(rows.first).to_contain_text("second read")
        page.get_by_role("button", name="To verify").tap()
        expect(page.locator(f'[data-id="{sets[2]}"]')).to_contain_text("Your read is in")
        page.get_by_test_id("worklist-order").tap()
        expect(page.get_by_test_id("worklist-order")).to_contain_text("Most useful")
        expect(rows.first).to_contain_text("second read")
        looks_fine(page)
    with api(clinic, "ada") as ada:
        items = ada.get(f"/image-sets/{sets[2]}/reads").json()["items"]
    assert items == [], "an admin has not read it and is told nothing of it"


def test_a_refused_model_is_told_with_the_rule_and_its_figures(browser: Browser, clinic: Guarded) -> None:
    with signed_in(browser, clinic, "mila", "loop", **DESKTOP) as page:
        run = page.get_by_test_id("execution-row").filter(has=page.get_by_test_id("gate"))
        expect(run).to_contain_text("1 of 2 rules fails")
        failed = run.locator('[data-rule="sensitivity"]')
        expect(failed).to_contain_text("0.71, limit 0.8")
        expect(failed).to_contain_text("Too many are missed.")
        expect(run.get_by_test_id("loss-chart").locator("polyline")).to_have_count(2)
        looks_fine(page)


def test_a_model_is_approved_for_a_reason_and_taken_back_by_who_may(browser: Browser, clinic: Guarded) -> None:
    with signed_in(browser, clinic, "rolf", "models") as page:
        for version in (1, 2):
            row = page.locator(f'[data-testid="model-row"][data-version="{version}"]')
            expect(row).to_contain_text("0.860 to 0.940")
            row.get_by_test_id("approve").tap()
            row.get_by_test_id("decide-reason").select_option("evidence-reviewed")
            row.get_by_test_id("decide").tap()
            expect(row).to_have_attribute("data-status", "Approved")
        expect(row).to_contain_text("champion")
        looks_fine(page)
        row.get_by_test_id("rollback").tap()
        row.get_by_test_id("decide-reason").select_option("wrong-findings")
        row.get_by_test_id("decide").tap()
        expect(page.get_by_test_id("models-told")).to_contain_text("v1 gives its opinion again")
        expect(page.locator('[data-version="1"]')).to_contain_text("champion")
        expect(row).to_contain_text("taken out of use")
        page.get_by_role("button", name="Look it up").tap()
        expect(page.get_by_test_id("serving-answer")).to_contain_text("Model v2")
        expect(page.get_by_test_id("serving-answer")).to_contain_text("put back to work: wrong findings")
        page.goto(f"{clinic.url}/app/#/drift")
        expect(page.get_by_test_id("drift-state")).to_be_visible()
        looks_fine(page)


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed: make setup")
def test_every_page_of_the_loop_is_readable_at_a_desk(browser: Browser, clinic: Guarded) -> None:
    for name, place in (("alex", "adjudication"), ("rolf", "models"), ("mila", "drift")):
        with signed_in(browser, clinic, name, place, **DESKTOP) as page:
            expect(page.get_by_role("heading", level=1)).to_be_visible()
            page.wait_for_load_state("networkidle")
            looks_fine(page)
    with signed_in(browser, clinic, "ada", "admin") as page:
        page.get_by_test_id("admin-reading").tap()
        expect(page.get_by_test_id("policy-double-adjudicated")).to_be_checked()
        expect(page.get_by_test_id("policy-set")).to_be_disabled()
        page.get_by_test_id("policy-double").check(force=True)
        expect(page.get_by_test_id("policy")).to_contain_text("as many more as it takes")
        expect(page.get_by_test_id("policy-set")).to_be_enabled()
        looks_fine(page)
