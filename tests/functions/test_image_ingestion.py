"""From the inbox into the store."""

from dataclasses import dataclass, replace

import pytest

from radloop.core.errors import InvalidInput, NotFound, Unavailable
from radloop.core.events import DicomUploaded, Event
from radloop.core.identity import OWNER, Principal
from radloop.core.ports import Landing, Upload
from radloop.functions.image_ingestion import UPLOADED, handle, ingest
from tests.functions.house import House

KEY = f"{UPLOADED}{'0' * 32}"


def uploaded(house: House, data: bytes) -> Event:
    house.platform.blobs.put(KEY, data)
    return DicomUploaded(key=KEY).told(at=house.clock())


def test_a_file_is_landed_as_it_is_and_leaves_the_inbox(house: House) -> None:
    handle(uploaded(house, b"DICM bytes"), house.platform)
    assert house.inbox.landed == [(b"DICM bytes", "radloop")]
    with pytest.raises(NotFound):
        house.platform.blobs.get(KEY)


def test_a_repeat_finds_no_file_and_does_nothing(house: House) -> None:
    event = uploaded(house, b"DICM bytes")
    handle(event, house.platform)
    handle(event, house.platform)
    assert len(house.inbox.landed) == 1


def test_a_file_that_is_quarantined_does_not_stay_in_the_inbox(house: House) -> None:
    handle(uploaded(house, b"a letter"), house.platform)
    assert not list(house.platform.blobs.keys(UPLOADED))


@dataclass
class Full:
    """A store whose disk is full."""

    def land(self, uploads: list[Upload], *, by: Principal, datastore: str = "") -> list[Landing]:
        raise Unavailable("no space left")


def test_a_file_that_could_not_be_landed_stays_for_the_next_try(house: House) -> None:
    event = uploaded(house, b"DICM bytes")
    with pytest.raises(Unavailable):
        handle(event, replace(house.platform, images=Full()))
    assert house.platform.blobs.get(KEY) == b"DICM bytes"
    handle(event, house.platform)
    assert len(house.inbox.landed) == 1


def test_an_event_that_points_outside_the_inbox_takes_nothing_away(house: House) -> None:
    house.platform.blobs.put("model-artifacts/model.tar.gz", b"precious")
    event = DicomUploaded(key="model-artifacts/model.tar.gz").told(at=house.clock())
    with pytest.raises(InvalidInput):
        handle(event, house.platform)
    assert house.platform.blobs.get("model-artifacts/model.tar.gz") == b"precious"


def test_every_door_lands_through_the_same_function(house: House) -> None:
    landings = ingest(iter([Upload(b"DICM 1"), Upload(b"2")]), house.platform, by=OWNER)
    assert [landing.outcome for landing in landings] == ["ingested", "quarantined"]
    assert house.inbox.landed == [(b"DICM 1", "owner"), (b"2", "owner")]
