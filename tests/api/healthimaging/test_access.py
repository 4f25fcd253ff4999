"""Who may call: signatures, roles, patients, and what is refused for our own reasons."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError

from radloop.core.identity import OWNER
from radloop.core.ports import Upload
from radloop.core.tables import DEFAULT_DATASTORE
from radloop.healthimaging import HealthImaging
from radloop.security.accounts import NewCredential
from radloop.store.datastores import MOST_DATASTORES, Datastores
from radloop.wiring import open_local
from tests.api.healthimaging.conftest import connect, serving
from tests.api.healthimaging.documents import frames_of, metadata_of
from tests.store.house import of_patient, phantom


@dataclass(frozen=True)
class Guarded:
    url: str
    home: Path
    keys: dict[str, NewCredential]
    image_sets: dict[str, str]

    def client(self, who: str) -> Any:
        key = self.keys[who]
        return connect(self.url, key=key.credential.id, secret=key.secret_access_key)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    home = tmp_path_factory.mktemp("guarded")
    with open_local(home) as installation:
        identities, images = installation.identities, installation.images
        keys = {
            role: identities.create_credential(roles=[role], patients=None, by=OWNER)
            for role in ("admin", "reader", "auditor")
        }
        keys["scoped"] = identities.create_credential(roles=["admin"], patients=["PHANTOM-00002"], by=OWNER)
        image_sets = {}
        for number in (1, 2):
            files = phantom() if number == 1 else of_patient(number)
            (identity,) = {each.image_set for each in images.land([Upload(file) for file in files], by=OWNER)}
            assert identity is not None
            images.complete(identity, by=OWNER)
            images.fold(identity)
            image_sets[f"PHANTOM-{number:05d}"] = identity
        stores = Datastores(installation.platform.records, installation.platform.clock)
        while len(stores.page(status="ACTIVE", after=0, limit=1000)[0]) < MOST_DATASTORES:
            stores.create(name=None, storage_format="HTJ2K", key_arn=None, authorizer_arn=None, tags={}, by=OWNER)
    with serving(home, "closed") as url:
        yield Guarded(url, home, keys, image_sets)


def refused(call: Any, **members: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**members)
    return str(caught.value.response["Error"]["Code"])


def test_a_signature_of_an_access_key_lets_in(guarded: Guarded) -> None:
    found = guarded.client("reader").search_image_sets(datastoreId=DEFAULT_DATASTORE)
    assert len(found["imageSetsMetadataSummaries"]) == 2


def test_a_wrong_secret_and_an_unknown_key_do_not(guarded: Guarded) -> None:
    key = guarded.keys["admin"].credential.id
    for client in (connect(guarded.url, key=key, secret="wrong"), connect(guarded.url, key="AKIAUNKNOWN0000")):
        with pytest.raises(ClientError) as caught:
            client.list_datastores()
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert httpx.get(f"{guarded.url}/datastore").status_code == 403


def test_a_bearer_token_works_too(guarded: Guarded) -> None:
    token = guarded.keys["reader"].token
    told = httpx.get(f"{guarded.url}/datastore?maxResults=1", headers={"Authorization": f"Bearer {token}"})
    assert [each["datastoreName"] for each in told.json()["datastoreSummaries"]] == ["radloop"]


def test_a_role_without_the_action_is_denied(guarded: Guarded) -> None:
    where = {"datastoreId": DEFAULT_DATASTORE, "imageSetId": guarded.image_sets["PHANTOM-00001"]}
    reader = guarded.client("reader")
    assert refused(reader.delete_image_set, **where) == "AccessDeniedException"
    assert refused(reader.create_datastore) == "AccessDeniedException"
    update = {"latestVersionId": "1", "updateImageSetMetadataUpdates": {"revertToVersionId": "1"}}
    assert refused(reader.update_image_set_metadata, **where, **update) == "AccessDeniedException"
    auditor = guarded.client("auditor")
    assert refused(auditor.get_image_set_metadata, **where) == "AccessDeniedException"
    assert refused(auditor.search_image_sets, datastoreId=DEFAULT_DATASTORE) == "AccessDeniedException"


def test_other_peoples_patients_are_not_there(guarded: Guarded) -> None:
    client = guarded.client("scoped")
    found = client.search_image_sets(datastoreId=DEFAULT_DATASTORE)["imageSetsMetadataSummaries"]
    assert [each["DICOMTags"]["DICOMPatientId"] for each in found] == ["PHANTOM-00002"]
    hidden = {"datastoreId": DEFAULT_DATASTORE, "imageSetId": guarded.image_sets["PHANTOM-00001"]}
    absent = {**hidden, "imageSetId": "0" * 32}
    for call in (client.get_image_set, client.get_image_set_metadata, client.delete_image_set):
        told = []
        for where in (hidden, absent):
            with pytest.raises(client.exceptions.ResourceNotFoundException) as caught:
                call(**where)
            told.append(caught.value.response["Error"]["Message"].replace(where["imageSetId"], "ID"))
        assert told[0] == told[1], "nothing tells one from the other"


def test_a_presigned_request_needs_no_key_and_is_good_for_nothing_else(guarded: Guarded) -> None:
    key = guarded.keys["reader"]
    client = HealthImaging(
        DEFAULT_DATASTORE, endpoint=guarded.url, access_key=key.credential.id, secret_key=key.secret_access_key
    )
    identity = guarded.image_sets["PHANTOM-00001"]
    first, second, *_ = client.metadata(identity).frames
    request = client.presigned_frame(identity, first.id)
    assert httpx.request(request.method, request.url, content=request.body).status_code == 200
    other = request.body.replace(first.id.encode(), second.id.encode())
    assert httpx.request(request.method, request.url, content=other).status_code == 403
    assert httpx.request("POST", request.url.replace("getImageFrame", "deleteImageSet")).status_code == 403


def test_a_frame_at_hand_is_guarded_like_any_other(guarded: Guarded) -> None:
    identity, reader = guarded.image_sets["PHANTOM-00001"], guarded.client("reader")
    where = {"datastoreId": DEFAULT_DATASTORE, "imageSetId": identity}
    first, second, *_ = (frame["ID"] for frame in frames_of(metadata_of(reader, DEFAULT_DATASTORE, identity)))

    def frame(client: Any, name: str) -> bytes:
        found: bytes = client.get_image_frame(**where, imageFrameInformation={"imageFrameId": name})[
            "imageFrameBlob"
        ].read()
        return found

    frames = [frame(reader, name) for name in (first, first, second, second)]
    assert frames[:2] == [frames[0]] * 2
    assert frames[2:] == [frames[2]] * 2 != frames[:2]
    for client in (
        connect(guarded.url, key=guarded.keys["reader"].credential.id, secret="wrong"),
        guarded.client("auditor"),
        guarded.client("scoped"),
    ):
        with pytest.raises(ClientError) as caught:
            frame(client, first)
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] in {403, 404}
    address = f"{guarded.url}/datastore/{DEFAULT_DATASTORE}/imageSet/{identity}/getImageFrame"
    token = {"Authorization": f"Bearer {guarded.keys['reader'].token}"}
    assert httpx.post(address, json={"imageFrameId": first}, headers=token).content == frames[0]
    assert httpx.post(address, json={"imageFrameId": first}).status_code == 403


def test_more_data_stores_than_there_may_be_exceed_a_quota(guarded: Guarded) -> None:
    client = guarded.client("admin")
    with pytest.raises(client.exceptions.ServiceQuotaExceededException) as caught:
        client.create_datastore()
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 402


def test_what_is_broken_here_is_an_internal_error_that_tells_nothing(guarded: Guarded) -> None:
    client = guarded.client("admin")
    identity = guarded.image_sets["PHANTOM-00002"]
    (frame, *_) = frames_of(metadata_of(client, DEFAULT_DATASTORE, identity))
    for pack in (guarded.home / "objects" / "image-sets" / identity).iterdir():
        data = bytearray(pack.read_bytes())
        data[8:] = bytes(len(data) - 8)
        pack.write_bytes(data)
    with pytest.raises(client.exceptions.InternalServerException) as caught:
        client.get_image_frame(
            datastoreId=DEFAULT_DATASTORE, imageSetId=identity, imageFrameInformation={"imageFrameId": frame["ID"]}
        )
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500
    assert "PHANTOM" not in str(caught.value)
