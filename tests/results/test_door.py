"""The doors: who gets an account, of whom, and what is noted of it."""

from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import orjson
import pydicom
import pytest
from click.testing import CliRunner

from radloop.api.openapi import PREFIX
from radloop.cli import main
from radloop.core.identity import OWNER, Principal
from radloop.core.images import State
from radloop.core.ports import Upload
from radloop.functions.image_ingestion import ingest
from radloop.reading.worklist import worklist
from radloop.results.writing import write_result
from radloop.wiring import open_local
from tests.api.installation import OTHER, PHANTOM, Installation, TestClient, open_installation
from tests.results.cases import (
    RESULT,
    bytes_of,
    every_instance,
    finding,
    key_slice,
    read,
    several_readers,
    verified,
)
from tests.results.test_fhir import check_bundle


@pytest.fixture
def client(installation: Installation) -> Iterator[TestClient]:
    closed = replace(installation, doors=replace(installation.doors, is_open=False))
    with closed.client() as opened:
        yield opened


def token_of(
    installation: Installation, *roles: str, patients: frozenset[str] | None = None, name: str = "somebody"
) -> dict[str, str]:
    """A header that makes the caller somebody with these roles."""
    token = f"token {name} {sorted(roles)} {patients}"
    assert installation.doors.identities is not None
    installation.doors.identities.trust(token, Principal(name, frozenset(roles), patients))
    return {"Authorization": f"Bearer {token}"}


def address(identity: str, query: str = "") -> str:
    return f"{PREFIX}/image-sets/{identity}/provenance{query}"


def exports(installation: Installation) -> list[tuple[str, str]]:
    noted = installation.platform.audit.entries(where={"action": "provenance.export"})
    return [(entry.principal, entry.subject) for entry in noted]


def test_a_report_and_a_bundle_go_to_who_may_export_and_each_is_audited(
    installation: Installation, client: TestClient
) -> None:
    identity = installation.land()
    verified(installation, identity)
    reader = token_of(installation, "reader")
    report = client.get(address(identity), headers=reader)
    assert report.headers["content-type"] == "application/dicom"
    assert pydicom.dcmread(BytesIO(report.content)).Modality == "SR"
    bundle = client.get(address(identity, "?format=fhir"), headers=reader)
    assert bundle.headers["content-type"] == "application/fhir+json; fhirVersion=4.0"
    check_bundle(orjson.loads(bundle.content))
    assert exports(installation) == [("somebody", identity)] * 2


@pytest.mark.parametrize("role", ["ml", "auditor", "admin", "release-approver"])
def test_who_may_not_export_images_gets_no_account_of_them(
    installation: Installation, client: TestClient, role: str
) -> None:
    identity = installation.land()
    verified(installation, identity)
    status = client.get(address(identity), headers=token_of(installation, role)).status_code
    assert status == (200 if role == "admin" else 403)
    assert len(exports(installation)) == (1 if role == "admin" else 0)


def test_a_patient_out_of_scope_is_answered_as_what_is_not_there(
    installation: Installation, client: TestClient
) -> None:
    identity = installation.land(OTHER)
    verified(installation, identity)
    scoped = token_of(installation, "reader", patients=frozenset({PHANTOM.patient_id}))
    for method in ("get", "post"):
        answer = client.request(method, address(identity), headers=scoped)
        absent = client.request(method, address("0" * 32), headers=scoped)
        assert answer.status_code == absent.status_code == 404
        assert answer.text.replace(identity, "") == absent.text.replace("0" * 32, "")
    assert exports(installation) == []


def test_keeping_a_report_puts_it_into_the_study_and_is_for_who_may_write(
    installation: Installation, client: TestClient
) -> None:
    identity = installation.land()
    verified(installation, identity)
    assert client.post(address(identity), headers=token_of(installation, "ml")).status_code == 403
    verifier = token_of(installation, "verifier")
    kept = client.post(address(identity), headers=verifier).json()["instance"]
    study = installation.images.get(identity).study_uid
    found = client.get(f"/dicomweb/studies/{study}/instances?SOPInstanceUID={kept}", headers=verifier).json()
    assert len(found) == 1
    assert client.post(address(identity), headers=verifier).json()["instance"] == kept


def test_a_reader_who_has_not_read_is_told_of_nobody_else(installation: Installation, client: TestClient) -> None:
    identity = installation.land()
    several_readers(installation, identity)
    read(installation, identity, "first", finding(True, "RLL"), minutes=0)
    other = token_of(installation, "verifier", name="second")
    for wanted in ("sr", "fhir"):
        assert client.get(address(identity, f"?format={wanted}"), headers=other).status_code == 404
    assert client.post(address(identity), headers=other).json()["error"]["code"] == "blinded"
    own = client.get(address(identity, "?format=fhir"), headers=token_of(installation, "verifier", name="first"))
    assert [e["resource"]["resourceType"] for e in own.json()["entry"]].count("Observation") == 1


@pytest.mark.parametrize("query", ["?format=hl7", "?format=fhir&fhir_version=3.0", "?fhir_version=x"])
def test_what_is_not_known_is_refused(installation: Installation, client: TestClient, query: str) -> None:
    identity = installation.land()
    assert client.get(address(identity, query), headers=token_of(installation, "reader")).status_code == 400


def test_the_command_writes_files_and_keeps_the_report(tmp_path: Path) -> None:
    home, out = tmp_path / "home", tmp_path / "out"
    with open_local(home) as opened:
        stand_in = type("Stand", (), {"platform": opened.platform, "images": opened.images})()
        identity = Installation.land(stand_in)
        verified(stand_in, identity)
    options = ["--home", str(home), "--out", str(out), "--json"]
    first = CliRunner().invoke(main, ["provenance", identity, "--keep", *options], catch_exceptions=False)
    assert first.exit_code == 0, first.output
    told = orjson.loads(first.stdout)
    assert told["kept"] == pydicom.dcmread(told["file"]).SOPInstanceUID
    second = CliRunner().invoke(main, ["provenance", identity, "--format", "fhir", *options], catch_exceptions=False)
    check_bundle(orjson.loads((out / f"{identity}-provenance.json").read_bytes()))
    assert orjson.loads(second.stdout)["kept"] is None


# What a model made, at the doors


def test_what_a_model_made_is_told_as_such_and_refused_as_work(installation: Installation, client: TestClient) -> None:
    identity = installation.land()
    installation.approve(bias=1.0)
    uids = write_result(installation.platform, installation.images.get(identity), RESULT, key_slice(), by=OWNER)
    made = {each.image_set for each in every_instance(installation) if each.sop_uid in uids}
    for each in made:
        installation.images.complete(each, by=OWNER)
    verifier = token_of(installation, "verifier")
    listed = client.get(f"{PREFIX}/worklist", headers=verifier).json()
    assert {item["id"]: item["made_by_ai"] for item in listed["items"]} == {
        identity: False,
        **dict.fromkeys(made, True),
    }
    assert listed["reports"] == 2
    with_images = client.get(f"{PREFIX}/worklist?state=INGESTED&images=1", headers=verifier).json()
    assert [item["id"] for item in with_images["items"]] == [identity]
    body = {"version": 1, "finding": "absent", "confidence": "low", "seen": {"frame": 0, "quality": "lossless"}}
    for each in made:
        verification = client.post(f"{PREFIX}/image-sets/{each}/verification", json=body, headers=verifier)
        prediction = client.post(f"{PREFIX}/predictions", json={"image_set": each}, headers=verifier)
        assert (verification.status_code, prediction.status_code) == (409, 409)


def test_what_a_model_made_is_known_as_such_in_another_house(
    installation: Installation, tmp_path_factory: pytest.TempPathFactory
) -> None:
    identity = installation.land()
    uids = write_result(installation.platform, installation.images.get(identity), RESULT, key_slice(), by=OWNER)
    with open_installation(tmp_path_factory.mktemp("other")) as other:
        landings = ingest([Upload(bytes_of(installation, uid)) for uid in uids], other.platform, by=OWNER)
        assert all(other.images.get(str(each.image_set)).made_by_ai for each in landings)
        page = worklist(other.platform.records, state=State.INGESTED, with_images=True)
        assert page.items == ()
