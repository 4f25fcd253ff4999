import pytest

from radloop.core.identity import OWNER
from radloop.core.tables import DEFAULT_DATASTORE
from radloop.store.datastores import Datastores
from radloop.store.revisions import Revisions
from tests.api.dicomweb.asking import BASE, PHANTOM, ROOT, UIDS, address_of, parts, rewritten, sops, stow, values
from tests.api.installation import Installation, TestClient


@pytest.fixture
def second(installation: Installation) -> str:
    """Another data store than the one every home has."""
    stores = Datastores(installation.platform.records, installation.platform.clock)
    made = stores.create(name="second", storage_format="HTJ2K", key_arn=None, authorizer_arn=None, tags={}, by=OWNER)
    return made.id


def test_the_same_service_stands_below_every_data_store(client: TestClient, second: str) -> None:
    root = f"/datastore/{second}"
    answer = stow(client, list(PHANTOM.files), f"{root}/studies")
    assert (answer.status_code, sops(answer, "00081199")) == (200, UIDS)
    (study,) = client.get(f"{root}/studies").json()
    url = values(study, "00081190")[0]
    assert url == f"{BASE}{root}/studies/{PHANTOM.study_uid}"
    path = url.removeprefix(BASE)
    (series,) = client.get(f"{path}/series").json()
    below = values(series, "00081190")[0].removeprefix(BASE)
    documents = client.get(f"{below}/metadata").json()
    assert documents[0]["7FE00010"]["BulkDataURI"].startswith(f"{BASE}{root}/studies/")
    assert client.get(documents[0]["7FE00010"]["BulkDataURI"].removeprefix(BASE)).status_code == 200
    assert {body for _, body in parts(client.get(below))} == set(PHANTOM.files)
    assert client.get(f"{below}/instances/{UIDS[0]}/frames/1").status_code == 200
    assert client.get(f"{below}/thumbnail").status_code == 200


def test_data_stores_know_nothing_of_each_other(client: TestClient, second: str) -> None:
    stow(client, [PHANTOM.files[0]], f"/datastore/{second}/studies")
    assert client.get(f"{ROOT}/studies").status_code == 204
    assert client.get(f"{ROOT}/studies/{PHANTOM.study_uid}/metadata").status_code == 404
    stow(client, list(PHANTOM.files))
    assert len(client.get(f"{ROOT}/instances").json()) == len(UIDS)
    assert len(client.get(f"/datastore/{second}/instances").json()) == 1
    assert len(client.get(f"/datastore/{second}/studies/{PHANTOM.study_uid}/metadata").json()) == 1


def test_the_first_data_store_is_the_one_below_dicomweb(client: TestClient) -> None:
    stow(client, [PHANTOM.files[0]])
    assert len(client.get(f"/datastore/{DEFAULT_DATASTORE}/studies").json()) == 1


@pytest.mark.parametrize("name", ["0" * 32, "nothing", "%2e%2e"])
def test_a_data_store_that_is_not_there_is_404(client: TestClient, name: str) -> None:
    for path in ("studies", "instances", f"studies/{PHANTOM.study_uid}/metadata"):
        assert client.get(f"/datastore/{name}/{path}").status_code == 404
    assert stow(client, [PHANTOM.files[0]], f"/datastore/{name}/studies").status_code == 404
    assert client.get(f"{ROOT}/studies").status_code == 204


def test_an_image_set_that_is_not_the_primary_one_is_reached_by_its_id(client: TestClient) -> None:
    """The same series under another patient: the first to come is meant, the other must be named."""
    first = PHANTOM.files[0]
    other = rewritten(first, PatientID="SOMEONE-ELSE", PatientName="Else^Someone")
    stow(client, [first])
    stow(client, [other])
    series = address_of(first).rpartition("/instances/")[0]
    items = client.get("/api/v1/worklist").json()["items"]
    by_patient = {item["patient_id"]: item["id"] for item in items}
    assert [body for _, body in parts(client.get(series))] == [first]
    for patient, data in ((PHANTOM.patient_id, first), ("SOMEONE-ELSE", other)):
        query = f"?imageSetId={by_patient[patient]}"
        assert [body for _, body in parts(client.get(series + query))] == [data]
        (document,) = client.get(f"{series}/metadata{query}").json()
        assert values(document, "00100020") == [patient]
        assert client.get(f"{series}/rendered{query}").status_code == 200
    assert client.get(f"{series}?imageSetId={'0' * 32}").status_code == 404


def test_an_image_set_that_was_deleted_is_gone(installation: Installation, client: TestClient) -> None:
    stow(client, [PHANTOM.files[0]])
    series = address_of(PHANTOM.files[0]).rpartition("/instances/")[0]
    (identity,) = [item["id"] for item in client.get("/api/v1/worklist").json()["items"]]
    installation.images.complete(identity, by=OWNER)
    platform = installation.platform
    revisions = Revisions(platform.blobs, platform.records, platform.clock, installation.images)
    revisions.delete(identity, by=OWNER)
    assert client.get(f"{series}/metadata").status_code == 404
    assert client.get(f"{series}/metadata?imageSetId={identity}").status_code == 410
    assert client.get(f"{series}/metadata?imageSetId={'0' * 32}").status_code == 404
    assert client.get(f"{ROOT}/studies").status_code == 204
