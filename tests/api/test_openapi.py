import json
import os
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from jsonschema import Draft202012Validator
from starlette.routing import Mount, Route

from radloop.api.app import create_app, operation_names
from radloop.api.openapi import OPERATIONS, document
from radloop.api.schemas import SCHEMAS
from radloop.core.datasets import Split, split_of
from radloop.core.events import ImageQuarantined
from radloop.core.ports import Change, Job
from radloop.core.tables import DEFAULT_DATASTORE, EXECUTIONS
from radloop.dicom.phantom import phantom_study
from radloop.functions import snapshots
from radloop.functions.incident_evidence import examine as examine_incident
from radloop.local.plans import FilePlans
from radloop.registry.evidence import examine
from tests.api.examples import Example, example, held_in, page_of
from tests.api.installation import OTHER, PHANTOM, Installation, TestClient, now
from tests.registry.plans import PLAN, SIGNERS, signed
from tests.serving.small_model import model_package

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples.md"
PREFIXES = ("/api/v1", "/stream/v1")
FINDING = {
    "version": 1, "finding": "present", "site": "LUL", "confidence": "low", "seen": {"frame": 0, "quality": "lossless"}
}  # fmt: skip


def routed(installation: Installation) -> set[tuple[str, str]]:
    """Method and address of every route the application really has."""
    app = create_app(installation.doors)
    assert not any(isinstance(route, Mount) and route.path.startswith(PREFIXES) for route in app.routes)
    return {
        (method.lower(), re.sub(r"{(\w+):\w+}", r"{\1}", route.path))
        for route in app.routes
        if isinstance(route, Route) and route.path.startswith(PREFIXES)
        for method in route.methods - ({"HEAD"} if "GET" in route.methods else set())
    }


def test_every_route_is_documented_and_every_documented_one_exists(installation: Installation) -> None:
    documented = {(method, path) for path, methods in document()["paths"].items() for method in methods}
    assert documented == routed(installation)
    assert len(documented) == len(OPERATIONS)


def test_operations_have_one_name_each() -> None:
    names = operation_names()
    assert len(set(names)) == len(names)


def test_every_schema_is_a_schema_and_every_reference_leads_somewhere() -> None:
    for schema in SCHEMAS.values():
        Draft202012Validator.check_schema(schema)
    text = str(document())
    for name in re.findall(r"#/components/schemas/(\w+)", text):
        assert name in SCHEMAS
    assert set(re.findall(r"#/components/schemas/(\w+)", text)) == set(SCHEMAS), "a schema nobody uses"


def test_parameters_in_the_path_are_those_that_are_described() -> None:
    for path, methods in document()["paths"].items():
        for described in methods.values():
            named = {each["name"] for each in described["parameters"] if each["in"] == "path"}
            assert named == set(re.findall(r"{(\w+)}", path))


class Holder:
    """Asks the application and holds every answer to what the document promises of it."""

    def __init__(self, client: TestClient) -> None:
        self.client = client
        self.asked: set[str] = set()
        self.examples: dict[str, Example] = {}

    def __call__(
        self,
        operation: str,
        status: int = 200,
        *,
        query: str = "",
        body: Any = None,
        headers: dict[str, str] | None = None,
        **path: Any,
    ) -> Any:
        (row,) = [each for each in OPERATIONS if each.id == operation]
        address = re.sub(r"{(\w+)(?::\w+)?}", lambda found: str(path[found[1]]), row.address) + query
        options: dict[str, Any] = {"files": body} if row.media else {} if body is None else {"json": body}
        if headers is not None:
            options = {"content": body, "headers": headers}
        answer = self.client.request(row.method, address, **options)
        assert answer.status_code == status, answer.text
        if status == row.status:
            self.examples.setdefault(operation, example(operation, address, options, answer))
        described = document()["paths"][re.sub(r":\w+}", "}", row.address)][row.method.lower()]["responses"]
        for name, header in described[str(status)].get("headers", {}).items():
            if "const" in header["schema"]:
                assert answer.headers[name] == header["schema"]["const"]
        if status == row.status and not row.gives:
            assert answer.content == b""
            assert set(described[str(status)].get("headers", {})) >= {"Tus-Resumable"}
            self.asked.add(operation)
            return answer.headers
        kind = answer.headers["content-type"].partition(";")[0]
        assert kind in described[str(status)]["content"]
        if status == 200:
            self.asked.add(operation)
        if kind != "application/json":
            return answer.content
        schema = described[str(status)]["content"][kind].get("schema", {})
        whole = {**schema, "components": document()["components"]}
        jsonschema.validate(answer.json(), whole, cls=Draft202012Validator)
        return answer.json()


def test_real_answers_are_what_the_document_says(installation: Installation, client: TestClient) -> None:  # noqa: PLR0915 — one walk past every operation
    hold = Holder(client)
    files = [("files", (f"f{number}", data)) for number, data in enumerate([*PHANTOM.files, b"junk"])]
    (identity,) = hold("uploadFiles", query="?complete=1", body=files)["image_sets"]
    opened = installation.land(OTHER, closed=False)
    installation.images.fold(identity)
    hold("getImageSet", id=opened)
    study = hold("completeImageSet", id=opened)["study"]
    assert not hold("getStudy", id=study)["complete"]
    assert hold("completeStudy", id=study)["complete"]
    for operation in ("getFrame", "getPreview"):
        hold(operation, id=identity, index=1)
    hold("getThumbnail", id=identity)
    stream(hold, identity)
    hold("listPriors", id=identity, query="?limit=3")
    hold("listPriors", 400, id=identity, query="?limit=201")
    hold("listPriors", 404, id="none")
    hold("exportImageSet", id=identity)
    hold("predict", 404, body={"image_set": identity})
    hold("getPredictionStatus", 404)
    hold("predictMany", 404, body={})
    hold("getDrift")
    installation.approve(bias=1.0, package=model_package(bias=1.0, temperature=1.5, has_maps=True))
    hold("getSaliency", 404, id=identity, frame=0)
    said = hold("predict", body={"image_set": identity})
    assert said["frames"]
    hold("getSaliency", id=identity, frame=said["frame"])
    hold("getSaliency", 404, id=identity, frame=4096)
    hold("predictMany", body={"image_sets": [identity]})
    hold("predictMany", 404, body={"image_sets": ["0" * 32]})
    hold("getPredictionStatus")
    hold("getComparison")
    hold("getDrift")
    hold("verifyImageSet", id=identity, body=FINDING)
    provenance(hold, identity)
    hold("getImageSet", id=identity)
    read(hold, identity, study)
    hold("listWorklist", query="?limit=1&state=VERIFIED")
    quarantine(hold)
    hold("getRetraining")
    hold("listAlarms")
    hold("getDashboards", query="?hours=1")
    hold("getDashboards", 400, query="?hours=25")
    hold("testNotifications")
    hold("startExecution", 409)
    execute(installation)
    hold("listExecutions")
    hold("getExecution", id="run1")
    hold("getExecution", 404, id="none")
    hold("listModels")
    hold("getModel", version=1)
    hold("decideOnModel", version=1, body={"approved": True})
    hold("decideOnModel", 409, version=1, body={"approved": False})
    hold("decideOnModel", 400, version=1, body={"approved": "yes"})
    report(hold, installation)
    release(hold, installation)
    data_sets(hold, installation)
    upload_resumably(hold)
    told = hold("listEvents")["items"]
    hold("replayEvent", id=told[0]["id"])
    hold("replayEvent", 404, id="none")
    dead_letters(hold, installation)
    administer(hold)
    go_through_an_incident(hold)
    hold("describe")
    unasked = {operation.id for operation in OPERATIONS} - hold.asked
    assert unasked <= {"startExecution"}, "an operation whose answer nobody has looked at"
    keep_to_the_page(hold.examples)


def keep_to_the_page(examples: dict[str, Example]) -> None:
    """docs/examples.md shows what was asked and answered; with RADLOOP_WRITE_EXAMPLES it is written instead."""
    if "RADLOOP_WRITE_EXAMPLES" in os.environ:
        EXAMPLES.write_text(page_of(examples.values()))
    shown = held_in(EXAMPLES.read_text())
    wanted = {name: each.held() for name, each in examples.items()}
    assert shown == wanted, f"RADLOOP_WRITE_EXAMPLES=1 pytest {Path(__file__).name} writes docs/examples.md anew"


def data_sets(hold: Holder, installation: Installation) -> None:
    """A snapshot of what is verified, and a test patient who is retired."""
    snapshot = snapshots.take(installation.platform)
    snapshots.keep(snapshot, installation.platform)
    assert snapshot.sha256 in [each["sha256"] for each in hold("listSnapshots")["items"]]
    found = hold("getSnapshot", id=snapshot.sha256, query=f"?against={snapshot.sha256}")
    assert found["difference"]["changed"] == []
    hold("getSnapshot", 404, id="none")
    number = next(each for each in range(100) if split_of(f"PHANTOM-{each:05d}") is Split.TEST)
    tested = installation.land(phantom_study(number, consolidated=False, slices=3, size=64))
    assert hold("retireTestPatients", body={"image_sets": [tested], "reason": "other"})["retired"] == 1
    hold("retireTestPatients", 400, body={"image_sets": [tested], "reason": "bored"})
    hold("retireTestPatients", 404, body={"image_sets": ["none"], "reason": "other"})


def read(hold: Holder, identity: str, study: str) -> None:
    """A verified image set that its reader thinks otherwise of, and one that waits for a read."""
    hold("verifyImageSet", 409, id=identity, body=FINDING)
    hold("verifyImageSet", 400, id=identity, body={})
    hold("listSites")
    other = {**FINDING, "version": 2, "finding": "absent", "site": None}
    assert hold("createRead", id=identity, body=other)["reading"]["state"] == "adjudication"
    hold("createRead", 400, id=identity, body={})
    hold("createRead", 404, id="none", body=other)
    hold("createRead", 409, id=identity, body={**other, "version": 9})
    assert len(hold("listReads", id=identity)["items"]) == 2
    assert len(hold("listAdjudication", query="?limit=3")["items"]) == 1
    hold("listAdjudication", 400, query="?after=x")
    decision = {**other, "reason": "borderline"}
    hold("createAdjudication", id=identity, body=decision)
    hold("createAdjudication", 409, id=identity, body={**decision, "finding": "present"})
    hold("createAdjudication", 400, id=identity, body=other)
    assert len(hold("listLabels", id=identity)["items"]) == 2
    hold("listLabels", 404, id="none")
    (waiting,) = hold("listWorklist", query="?order=value&mine=1")["items"]
    assert (waiting["study"], waiting["why"]) == (study, "waiting")
    hold("listWorklist", 400, query="?order=best")
    hold("getAgreement")
    hold("getAgreement", 404, query="?datastore=none")
    hold("getProject", id=DEFAULT_DATASTORE)
    assert hold("updateProject", id=DEFAULT_DATASTORE, body={"policy": "double"})["policy"] == "double"
    hold("updateProject", 400, id=DEFAULT_DATASTORE, body={"policy": "many"})
    hold("updateProject", 404, id="none", body={"policy": "single"})
    hold("updateProject", id=DEFAULT_DATASTORE, body={"policy": "single"})


def provenance(hold: Holder, identity: str) -> None:
    hold("getProvenance", id=identity)
    hold("getProvenance", id=identity, query="?format=fhir&fhir_version=5.0")
    hold("getProvenance", 400, id=identity, query="?format=hl7")
    hold("getProvenance", 404, id="none")
    hold("storeProvenance", id=identity)


def stream(hold: Holder, identity: str) -> None:
    """What a viewer asks of an image set, and what it may get wrong."""
    asked = {"body": b"0:0:0", "headers": {"Content-Type": "text/plain"}}
    assert hold("getStreamIndex", id=identity)[:4] == b"RLSI"
    hold("getStreamIndex", 404, id="none")
    hold("getStreamFrames", id=identity, **asked)
    hold("getStreamFrames", 400, id=identity, body=b"", headers=asked["headers"])
    hold("getStreamFrames", 409, id=identity, query="?v=9", **asked)
    hold("getStreamFrames", 415, id=identity, body=b"0:0:0", headers={"Content-Type": "text/html"})
    hold("getStreamPack", id=identity, pack=0, query="?v=1")
    hold("getStreamPack", 409, id=identity, pack=0, query="?v=2")
    hold("getStreamPack", 404, id=identity, pack=1, query="?v=1")
    link = hold("createStreamLink", id=identity, body={"seconds": 60})
    assert hold("getStreamIndex", id=identity, query=f"?{link['query']}")[:4] == b"RLSI"
    hold("getStreamIndex", 401, id=identity, query=f"?{link['query']}0")
    hold("createStreamLink", 400, id=identity, body={"seconds": 3601})


def release(hold: Holder, installation: Installation) -> None:
    """Models that are decided on and taken back, what served, the evidence, and the plan with its signatures."""
    hold("rollBackModel", 409, body={"reason": "drift"})
    installation.approve(bias=-1.0, execution="e2")
    hold("rollBackModel", 400, body={"reason": "because"})
    hold("rollBackModel", 400, body={"reason": "drift", "to": "first"})
    hold("rollBackModel", 409, body={"reason": "drift", "from": 1})
    hold("rollBackModel", 404, body={"reason": "drift", "to": 9})
    assert hold("rollBackModel", body={"reason": "drift", "from": 2})["version"] == 1
    assert hold("listModels")["items"][0]["rolled_back_by"] == "owner"
    assert {each["code"] for each in hold("listReasons")["rollback"]} >= {"drift", "incident"}
    assert hold("getServing")["version"] == 1
    day = hold("getServing", query=f"?at={now().date()}")
    assert [each["version"] for each in day["items"]] == [1, 2, 1]
    assert hold("getServing", query="?at=2020-01-01T00:00:00Z")["version"] is None
    for wrong in ("yesterday", "2020-01-01T00:00:00", "9999-01-01T00:00:00Z", "2020-13-01"):
        hold("getServing", 400, query=f"?at={wrong}")
    ledger = hold("getLedger", query="?limit=2")
    assert (ledger["whole"], [each["action"] for each in ledger["items"]]) == (True, ["alias", "rolledback"])
    key = hold("getEvidenceKey")["public_key"]
    assert examine(hold("getEvidence", version=2), key).holds
    assert examine(hold("getEvidence", version=1, query="?package=1"), key).holds
    hold("getEvidence", 400, version=1, query="?package=2")
    hold("getEvidence", 404, version=9)
    assert hold("getPlan")["state"] == "missing"
    plans = installation.platform.plans
    assert isinstance(plans, FilePlans)
    plans.replace_text(PLAN.encode())
    for signer in SIGNERS:
        plans.register(signer)
    signatures = [
        {name: getattr(each, name) for name in ("plan_sha256", "signer", "role", "signature")}
        for each in signed(PLAN, "ann", "bob", "eve")
    ]
    assert hold("signPlan", body=signatures[0])["missing"] == ["auditor"]
    assert hold("signPlan", body=signatures[1])["signatures"][1]["holds"]
    hold("signPlan", 403, body=signatures[2])
    hold("signPlan", 404, body={**signatures[0], "plan_sha256": "0" * 64})
    hold("signPlan", 400, body={**signatures[0], "signature": "no"})
    hold("signPlan", 400, body={"signer": "ann"})
    held = hold("getPlan", query="?version=1")
    assert {each["code"] for each in held["violations"]} >= {"recipe-unknown", "policy-outside-plan"}
    assert not held["is_inside"]
    hold("getPlan", query="?execution=run1")
    hold("getPlan", 404, query="?execution=none")
    hold("getPlan", 404, query="?version=9")


def upload_resumably(hold: Holder) -> None:
    """One upload that is begun, looked at and gone on with, and one that is forgotten."""
    tus = {"Tus-Resumable": "1.0.0"}
    chunk = {**tus, "Content-Type": "application/offset+octet-stream"}
    hold("describeResumable", 204)
    hold("createResumable", 400, headers=tus)
    place = hold("createResumable", 201, body=b"abc", headers={**chunk, "Upload-Length": "9"})["location"]
    identity = place.rpartition("/")[2]
    hold("describeResumableUpload", 204, id=identity)
    assert hold("getResumableOffset", headers=tus, id=identity)["upload-offset"] == "3"
    hold("storeResumablePart", 409, body=b"def", headers={**chunk, "Upload-Offset": "0"}, id=identity)
    hold("storeResumablePart", 204, body=b"def", headers={**chunk, "Upload-Offset": "3"}, id=identity)
    as_post = {**chunk, "Upload-Offset": "6", "X-HTTP-Method-Override": "PATCH"}
    hold("updateResumable", 204, body=b"g", headers=as_post, id=identity)
    assert hold("getResumable", id=identity)["offset"] == 7
    hold("deleteResumable", 204, headers=tus, id=identity)
    hold("getResumable", 404, id=identity)


def quarantine(hold: Holder) -> None:
    """One file that is no image: looked at, refused again, given up."""
    (entry,) = hold("listQuarantine", query="?code=not-dicom&limit=5")
    assert hold("listQuarantine", query="?code=truncated-file") == []
    assert hold("listQuarantine", query=f"?after={entry['id']}") == []
    hold("listQuarantine", 404, query="?after=none")
    assert hold("getQuarantined", id=entry["id"])["state"] == "kept"
    assert hold("getQuarantinedFile", id=entry["id"]) == b"junk"
    told = hold("releaseQuarantined", id=entry["id"])
    assert (told["outcome"], told["same_reason"], told["state"]) == ("quarantined", True, "kept")
    hold("releaseQuarantined", 404, id=entry["id"], query="?datastore=none")
    for _ in range(2):
        assert hold("deleteQuarantined", id=entry["id"])["left_by"] == "owner"
    assert hold("getQuarantined", id=entry["id"])["state"] == "discarded"
    for operation in ("getQuarantinedFile", "releaseQuarantined"):
        hold(operation, 409, id=entry["id"])
    for operation in ("getQuarantined", "getQuarantinedFile", "releaseQuarantined", "deleteQuarantined"):
        hold(operation, 404, id="none")


def dead_letters(hold: Holder, installation: Installation) -> None:
    """One that is tried again, and comes back to be forgotten."""
    give_up_on_a_job(installation)
    (letter,) = hold("listDeadLetters")["items"]
    assert hold("getDeadLetter", id=letter["id"])["payload"] == {"secret": "x"}
    hold("replayJob", id=letter["id"])
    hold("replayJob", 404, id=letter["id"])
    hold("getDeadLetter", 404, id=letter["id"])
    hold("deleteDeadLetter", 404, id=letter["id"])
    give_up_on_a_job(installation)
    for _ in range(2):
        hold("deleteDeadLetter", id=letter["id"])
    hold("replayJob", 404, id=letter["id"])
    assert hold("listDeadLetters")["items"] == []


def administer(hold: Holder) -> None:
    """Users, sessions, credentials and the audit."""
    wish = {"name": "anna", "password": "correct horse battery", "roles": ["reader"]}
    user = hold("createUser", body=wish)
    hold("createUser", 409, body=wish)
    hold("createUser", 400, body={})
    hold("updateUser", id=user["id"], body={"roles": ["reader", "verifier"]})
    hold("updateUser", 404, id="none", body={"disabled": True})
    hold("listUsers")
    hold("createSession", body={"name": "anna", "password": wish["password"]})
    hold("createSession", 401, body={"name": "anna", "password": "wrong"})
    hold("getSignIn")
    hold("getSession")
    hold("renewSession")
    hold("deleteSession")
    made = hold("createCredential", body={"roles": ["reader"], "patients": ["A"], "days": 3})
    hold("createCredential", 400, body={"roles": ["emperor"]})
    hold("listCredentials")
    hold("deleteCredential", id=made["access_key_id"])
    hold("deleteCredential", 404, id="none")
    hold("listAudit", query="?limit=3&action=user.create")
    hold("verifyAudit")


def go_through_an_incident(hold: Holder) -> None:
    """Somebody is kept out and let in again; both clocks are stopped, and it is closed."""
    wish = {"name": "eve", "password": "correct horse battery", "roles": ["reader"]}
    user = hold("createUser", body=wish)["id"]
    found = hold("createIsolation", body={"principal": user})
    assert hold("createIsolation", body={"principal": user}) == found
    hold("createIsolation", 400, body={})
    hold("createIsolation", 404, body={"principal": "none"})
    hold("createIsolation", 409, body={"principal": "owner"})
    hold("createSession", 401, body={"name": "eve", "password": wish["password"]})
    listed = hold("listIncidents")
    assert (listed["items"][0]["id"], listed["isolated"][0]["principal"]) == (found["id"], user)
    assert hold("getIncident", id=found["id"])["isolated_at"]
    hold("getIncident", 404, id="none")
    told = hold("getIncidentReport", id=found["id"])
    assert [each["action"] for each in told["acts"]] == ["incident.open", "principal.isolate"]
    hold("getIncidentReport", 400, id=found["id"], query="?since=yesterday")
    hold("getIncidentReport", 404, id="none")
    assert examine_incident(hold("getIncidentEvidence", id=found["id"])).holds
    hold("getIncidentEvidence", 404, id="none")
    assert hold("deleteIsolation", id=user)["released"]
    assert not hold("deleteIsolation", id=user)["released"]
    hold("createSession", body={"name": "eve", "password": wish["password"]})
    hold("completeIncident", 409, id=found["id"], body={"outcome": "handled"})
    for clock in ("internal", "legal"):
        hold("recordIncidentTold", id=found["id"], body={"clock": clock})
    hold("recordIncidentTold", 400, id=found["id"], body={"clock": "third"})
    hold("recordIncidentTold", 404, id="none", body={"clock": "legal"})
    assert hold("completeIncident", id=found["id"], body={"outcome": "handled"})["state"] == "closed"
    hold("completeIncident", 400, id=found["id"], body={"outcome": "forgotten"})
    hold("completeIncident", 404, id="none", body={"outcome": "handled"})
    assert hold("createIncident", body={"drill": True})["is_drill"]
    hold("createIncident", 400, body={"since": "2999-01-01T00:00:00Z"})


def report(hold: Holder, installation: Installation) -> None:
    """The evaluation beside the package of version 1, and that of a run."""
    rule = {"name": "accuracy", "value": None, "limit": 0.85, "passed": False, "sentence": "Too low."}
    item = {"number": "1", "asks": "What is it", "status": "open", "need": "Say it."}
    files = {
        "report.html": b"<!doctype html><style>p {}</style>",
        "model_card.md": b"# Card",
        "evaluation.json": json.dumps({"metrics": {}, "gate": {"approved": False, "rules": [rule]}}).encode(),
        "checklists.json": json.dumps({"CLAIM 2024": {"answered": 0, "items": [item]}}).encode(),
    }
    hold("getModelReport", 404, version=1)
    for name, data in files.items():
        for folder in ("e1", "models/run1"):
            installation.platform.blobs.put(f"model-artifacts/{folder}/{name}", data)
    for noun in ("Report", "Card", "Evaluation", "Checklists"):
        hold(f"getModel{noun}", version=1)
        hold(f"getModel{noun}", 404, version=99)
        hold(f"getExecution{noun}", id="run1")
        hold(f"getExecution{noun}", 404, id="none")


def execute(installation: Installation) -> None:
    """A run of the pipeline that has been started and has not got far."""
    platform = installation.platform
    platform.blobs.put("training-data/snapshots/abc/manifest.jsonl", b"{}\n{}\n")
    platform.pipelines.start(
        "run1", {"DatasetUri": "s3://training-data/snapshots/abc", "Snapshot": "abc", "ContextUri": "s3://context"}
    )
    assert platform.records.count(EXECUTIONS) == 1


def give_up_on_a_job(installation: Installation) -> None:
    jobs = installation.platform.jobs
    installation.platform.records.commit(Change(jobs=[Job("j1", "pipeline", "run", {"secret": "x"}, trace="t")]))
    while claim := jobs.claim("pipeline"):
        jobs.failed(claim, "unavailable")
    for letter in jobs.dead_letters():
        if letter.job.id != "j1":
            jobs.replay(letter.job.id)


def test_events_are_read_forwards_from_a_place_or_backwards_from_the_end(
    installation: Installation, client: TestClient
) -> None:
    happenings = [
        ImageQuarantined(quarantine_id=f"q{number}", reason="not-dicom").told(at=now()) for number in range(5)
    ]
    installation.platform.records.commit(Change(events=happenings))
    assert [one["seq"] for one in client.get("/api/v1/events?limit=2").json()["items"]] == [5, 4]
    assert [one["seq"] for one in client.get("/api/v1/events?after=2&limit=2").json()["items"]] == [3, 4]
    assert [one["seq"] for one in client.get("/api/v1/events?after=0&limit=1").json()["items"]] == [1]
    assert client.get("/api/v1/events?after=5").json()["items"] == []


def test_an_execution_tells_how_much_it_was_started_on(installation: Installation, client: TestClient) -> None:
    execute(installation)
    told = client.get("/api/v1/executions/run1").json()
    assert (told["studies"], told["state"], told["model_version"]) == (2, "Executing", None)
    assert [step["state"] for step in told["steps"]]


@pytest.mark.parametrize("limit", ["0", "x", "501", "-1", "1.5", "9" * 40])
def test_a_limit_out_of_range_is_refused(client: TestClient, limit: str) -> None:
    assert client.get(f"/api/v1/executions?limit={limit}").status_code == 400
