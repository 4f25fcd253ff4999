"""DELETE of studies, series and instances."""

from dataclasses import replace

import pytest

from radloop.core.identity import Principal
from radloop.core.tables import IMAGE_SETS, INSTANCES
from tests.api.dicomweb.asking import JSON, OTHER, PHANTOM, ROOT, SERIES, STUDY, UIDS, acting_as, rewritten, stow
from tests.api.installation import Installation, TestClient

OTHERS = f"{ROOT}/studies/{OTHER.study_uid}"
ADMIN = Principal("ada", frozenset({"admin"}))


def audited(installation: Installation, action: str) -> list[tuple[str, str]]:
    entries = installation.platform.audit.entries(before=0, limit=100, where={"action": action})
    return [(entry.principal, entry.subject) for entry in entries]


@pytest.mark.parametrize("address", [STUDY, SERIES])
def test_a_study_or_series_goes_for_good_and_nothing_else_does(
    installation: Installation, stored: TestClient, address: str
) -> None:
    (name,) = [row.key for row in installation.platform.records.find(IMAGE_SETS, {"study_uid": PHANTOM.study_uid})]
    with acting_as(ADMIN):
        answer = stored.delete(address)
    assert (answer.status_code, answer.content) == (204, b"")
    assert stored.get(address).status_code == 404
    assert stored.delete(address).status_code == 404, "a second time there is nothing"
    assert stored.get(f"{ROOT}/studies?StudyInstanceUID={PHANTOM.study_uid}", headers=JSON).status_code == 204
    assert stored.get(OTHERS).status_code == 200
    assert installation.platform.records.count(INSTANCES) == len(OTHER.files)
    assert not [key for key in installation.platform.blobs.keys("image-sets/") if name in key]
    assert audited(installation, "delete") == [("ada", name)]


def test_a_study_is_deleted_while_it_still_arrives(installation: Installation, client: TestClient) -> None:
    installation.land(closed=False)
    assert client.delete(STUDY).status_code == 204
    assert client.get(STUDY).status_code == 404


def test_what_was_deleted_can_be_sent_again(stored: TestClient) -> None:
    assert stored.delete(STUDY).status_code == 204
    assert stow(stored, list(PHANTOM.files)).status_code == 200
    assert len(stored.get(f"{STUDY}/instances", headers=JSON).json()) == len(UIDS)


@pytest.mark.parametrize("closed", [True, False])
def test_an_instance_is_taken_out_and_the_last_one_takes_its_series_with_it(
    installation: Installation, client: TestClient, closed: bool
) -> None:
    name = installation.land(closed=closed)
    for number, uid in enumerate(UIDS, 1):
        assert client.delete(f"{SERIES}/instances/{uid}").status_code == 204
        assert client.get(f"{SERIES}/instances/{uid}").status_code == 404
        assert client.delete(f"{SERIES}/instances/{uid}").status_code == 404
        found = client.get(f"{SERIES}/instances", headers=JSON)
        left = found.json() if found.status_code == 200 else []
        assert sorted(one["00080018"]["Value"][0] for one in left) == sorted(UIDS[number:])
    assert client.get(STUDY).status_code == 404
    assert installation.platform.records.get(IMAGE_SETS, name) is None
    assert len(audited(installation, "take-out")) == len(UIDS)


def test_an_instance_taken_out_is_in_the_version_before(installation: Installation, client: TestClient) -> None:
    name = installation.land()
    client.delete(f"{SERIES}/instances/{UIDS[0]}")
    after = installation.images.get(name)
    assert (after.version, after.instances) == (2, len(UIDS) - 1)


@pytest.mark.parametrize("address", [STUDY, SERIES, f"{SERIES}/instances/{UIDS[0]}"])
@pytest.mark.parametrize("role", ["reader", "verifier", "ml", "auditor"])
def test_who_may_not_delete_is_refused_and_nothing_happens(
    installation: Installation, stored: TestClient, address: str, role: str
) -> None:
    with acting_as(Principal("p", frozenset({role}))):
        assert stored.delete(address).status_code == 403
    assert installation.platform.records.count(INSTANCES) == len(OTHER.files) + len(PHANTOM.files)


def test_a_patient_out_of_scope_is_not_there(installation: Installation, stored: TestClient) -> None:
    limited = replace(ADMIN, patients=frozenset({OTHER.patient_id}))
    with acting_as(limited):
        told = stored.delete(STUDY)
        nothing = stored.delete(f"{ROOT}/studies/1.2.3")
        assert (told.status_code, told.text) == (nothing.status_code, nothing.text)
        assert told.status_code == 404
    assert stored.get(STUDY).status_code == 200


def test_the_same_series_of_another_patient_goes_too_for_whoever_may_know_of_both(
    installation: Installation, stored: TestClient
) -> None:
    assert stow(stored, [rewritten(PHANTOM.files[0], PatientID="ANOTHER")]).status_code == 200
    assert installation.platform.records.count(IMAGE_SETS, {"study_uid": PHANTOM.study_uid}) == 2
    assert stored.delete(SERIES).status_code == 204
    assert installation.platform.records.count(IMAGE_SETS, {"study_uid": PHANTOM.study_uid}) == 0


def test_the_image_set_that_is_named_goes_alone(installation: Installation, stored: TestClient) -> None:
    stow(stored, [rewritten(PHANTOM.files[0], PatientID="ANOTHER")])
    rows = installation.platform.records.find(IMAGE_SETS, {"patient_id": "ANOTHER"})
    assert stored.delete(f"{STUDY}?imageSetId={rows[0].key}").status_code == 204
    assert stored.delete(f"{STUDY}?imageSetId={rows[0].key}").status_code == 410
    assert stored.get(STUDY).status_code == 200


def test_an_address_that_is_none_is_refused(stored: TestClient) -> None:
    assert stored.delete(f"{ROOT}/studies/a.b").status_code == 400
    assert stored.delete(f"{STUDY}/series/1.2.3").status_code == 404
    assert stored.delete(f"{SERIES}/instances/1.2.3").status_code == 404
    assert stored.delete(f"{ROOT}/studies").status_code == 405
