"""Frames of an image set that was read lately take a short way, which gives and refuses what the long one does."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from radloop.api.healthimaging.call import Call, Service
from radloop.api.healthimaging.image_sets import NotAcceptable, _frame_at_hand, get_image_frame
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
        assert _frame_at_hand(call, name_of(call)) == long_way.data
        assert get_image_frame(call) == {"imageFrameBlob": long_way.data, "contentType": long_way.content_type}


def test_what_is_not_folded_takes_the_long_way(installation: Installation) -> None:
    call = call_of(installation, landed(installation, *phantom()), 0)
    assert _frame_at_hand(call, name_of(call)) is None
    assert get_image_frame(call)["contentType"] == "image/jph"


def test_the_short_way_refuses_what_the_long_one_does(installation: Installation, image_set: str) -> None:
    call = call_of(installation, image_set, 0)
    assert _frame_at_hand(call, name_of(call)) is not None
    stranger = Principal("s", OWNER.roles, frozenset({"SOMEBODY-ELSE"}))
    for wrong in (
        replace(call, principal=stranger),
        replace(call, members={**call.members, "datastoreId": "z" * 32}),
    ):
        assert _frame_at_hand(wrong, name_of(call)) is None
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
    assert _frame_at_hand(call, name_of(call)) == before["imageFrameBlob"]


def test_a_deleted_image_set_is_gone_at_once(installation: Installation, image_set: str) -> None:
    call = call_of(installation, image_set, 0)
    assert _frame_at_hand(call, name_of(call)) is not None
    call.service.revisions.delete(image_set, by=OWNER)
    assert _frame_at_hand(call, name_of(call)) is None
    with pytest.raises(NotFound):
        get_image_frame(call)
