"""Frames of an image set that was read lately take a short way, which gives and refuses what the long one does."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from radloop.api.app import create_app
from radloop.api.healthimaging import routes
from radloop.api.healthimaging.call import Call, Members, Service
from radloop.api.healthimaging.image_sets import NotAcceptable, frame_at_hand, get_image_frame
from radloop.core.errors import NotFound
from radloop.core.identity import OWNER, Principal
from radloop.core.ports import Upload
from radloop.core.tables import DEFAULT_DATASTORE
from radloop.store.metadata import frame_id
from radloop.wiring import Installation, open_local
from tests.store.house import phantom


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    with open_local(tmp_path) as opened:
        yield opened


def call_of(installation: Installation, image_set: str, index: int) -> Call:
    """A call for a frame that has been made before, so that the short way is open."""
    instance = installation.images.instances(image_set)[index]
    members = {
        "datastoreId": DEFAULT_DATASTORE,
        "imageSetId": image_set,
        "imageFrameInformation": {"imageFrameId": frame_id(instance.id, 0)},
    }
    call = Call(Service.on(installation.doors(is_open=True)), OWNER, members)
    get_image_frame(call)
    return call


def landed(installation: Installation, *files: bytes) -> str:
    images = installation.images
    (identity,) = {each.image_set for each in images.land([Upload(file) for file in files], by=OWNER)}
    assert identity is not None
    images.complete(identity, by=OWNER)
    return identity


@pytest.fixture
def image_set(installation: Installation) -> str:
    identity = landed(installation, *phantom())
    installation.images.fold(identity)
    return identity


def name_of(call: Call) -> str:
    return str(call.members["imageFrameInformation"]["imageFrameId"])


def test_both_ways_give_the_same(installation: Installation, image_set: str) -> None:
    for index in range(4):
        call = call_of(installation, image_set, index)
        found = installation.images.get(image_set)
        long_way = call.service.metadata.frame(found, name_of(call))
        assert frame_at_hand(call, name_of(call)) == long_way.data
        assert get_image_frame(call) == {"imageFrameBlob": long_way.data, "contentType": long_way.content_type}


def test_what_is_not_folded_takes_the_long_way(installation: Installation) -> None:
    call = call_of(installation, landed(installation, *phantom()), 0)
    assert frame_at_hand(call, name_of(call)) is None
    assert get_image_frame(call)["contentType"] == "image/jph"


def test_the_short_way_refuses_what_the_long_one_does(installation: Installation, image_set: str) -> None:
    call = call_of(installation, image_set, 0)
    assert frame_at_hand(call, name_of(call)) is not None
    stranger = Principal("s", OWNER.roles, frozenset({"SOMEBODY-ELSE"}))
    for wrong in (
        replace(call, principal=stranger),
        replace(call, members={**call.members, "datastoreId": "z" * 32}),
    ):
        assert frame_at_hand(wrong, name_of(call)) is None
        with pytest.raises(NotFound):
            get_image_frame(wrong)
    with pytest.raises(NotAcceptable):
        get_image_frame(replace(call, accept="image/png"))


def test_frames_keep_their_names_when_others_come_before_them(installation: Installation) -> None:
    files = phantom()
    identity = landed(installation, *files[2:])
    installation.images.fold(identity)
    call = call_of(installation, identity, 0)
    before = get_image_frame(call)
    assert landed(installation, *files[:2]) == identity
    installation.images.fold(identity)
    assert get_image_frame(call) == before
    get_image_frame(call)
    assert frame_at_hand(call, name_of(call)) == before["imageFrameBlob"]


def test_a_deleted_image_set_is_gone_at_once(installation: Installation, image_set: str) -> None:
    call = call_of(installation, image_set, 0)
    assert frame_at_hand(call, name_of(call)) is not None
    call.service.revisions.delete(image_set, by=OWNER)
    assert frame_at_hand(call, name_of(call)) is None
    with pytest.raises(NotFound):
        get_image_frame(call)


# Over HTTP, before the framework


def test_the_framework_is_not_asked_for_a_frame_at_hand(
    installation: Installation, image_set: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached: list[str] = []
    real = routes.OPERATIONS["GetImageFrame"]

    def noted(call: Call) -> Members:
        reached.append(name_of(call))
        return real(call)

    monkeypatch.setitem(routes.OPERATIONS, "GetImageFrame", noted)  # type: ignore[index]
    first, second = (frame_id(each.id, 0) for each in installation.images.instances(image_set)[:2])
    with TestClient(create_app(installation.doors(is_open=True)), base_url="http://localhost") as client:
        address = f"/datastore/{DEFAULT_DATASTORE}/imageSet/{image_set}/getImageFrame"
        long_way = client.post(address, json={"imageFrameId": first})
        for name, is_at_hand in ((first, True), (second, True), ("0" * 32, False), ("x", False)):
            before = len(reached)
            told = client.post(address, json={"imageFrameId": name})
            assert (len(reached) == before) == (is_at_hand or name == "x"), "what is malformed is refused earlier"
            assert told.status_code == (200 if is_at_hand else 400 if name == "x" else 404)
            if name == first:
                assert told.content == long_way.content
                same = set(told.headers.items()) ^ set(long_way.headers.items())
                assert {header for header, _ in same} == {"x-amzn-requestid"}
        wrong = ({}, {"json": {"imageFrameId": first, "more": 1}}, {"content": b"{"}, {"content": b""})
        assert [client.post(address, **each).status_code for each in wrong] == [400, 200, 400, 400]
        assert client.post(address, json={"imageFrameId": first}, headers={"Accept": "image/png"}).status_code == 406
        assert client.post(f"{address}?x=1", json={"imageFrameId": first}).content == long_way.content
