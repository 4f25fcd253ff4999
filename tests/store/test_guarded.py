"""What one principal may see, and that every look is remembered."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from radloop.core.errors import Denied, NotFound
from radloop.core.identity import Principal
from radloop.core.tables import TABLES
from radloop.local.audit import SqliteAudit
from radloop.local.database import Database
from radloop.local.keys import open_keyring
from radloop.local.records import SqliteRecords
from radloop.security.access import RolePolicy
from radloop.store.guarded import GuardedImages
from radloop.store.images import ImageStore
from tests.store.house import House, open_house, phantom

ROLES = {
    "reader": frozenset({"image.search", "image.read", "image.export", "image.write"}),
    "ml": frozenset({"model.read"}),
}
OF_OTHERS = Principal("scoped", frozenset({"reader"}), frozenset({"ANOTHER"}))
OF_THIS = Principal("his", frozenset({"reader"}), frozenset({"PHANTOM-00001"}))
OF_EVERYBODY = Principal("all", frozenset({"reader"}))
ML = Principal("engineer", frozenset({"ml"}))

LOOKS: dict[str, Callable[[GuardedImages, str, Any], object]] = {
    "get": lambda images, name, _: images.get(name),
    "look": lambda images, name, _: images.look(name),
    "instances": lambda images, name, _: images.instances(name),
    "frames": lambda images, name, _: images.frames(name),
    "frame": lambda images, name, _: images.frame(name, 0),
    "frame_as": lambda images, name, _: images.frame_as(name, 0, "1.2.840.10008.1.2.1"),
    "preview": lambda images, name, _: images.preview(name, 0),
    "pixels": lambda images, name, _: images.pixels(name, 0),
    "thumbnail": lambda images, name, _: images.thumbnail(name),
    "volume": lambda images, name, _: images.volume(name),
    "export": lambda images, _, instance: images.export(instance),
    "document": lambda images, _, instance: images.document(instance),
    "documents": lambda images, name, _: images.documents(name, str),
    "headers": lambda images, name, instance: images.headers(name, [instance.id]),
    "complete": lambda images, name, _: images.complete(name),
    "exported": lambda images, name, _: images.exported(name),
    "reading": lambda images, name, _: images.reading(name),
    "reading_on": lambda images, name, _: images.reading_on(name),
}
READS = (
    "look",
    "frame",
    "frame_as",
    "preview",
    "pixels",
    "volume",
    "export",
    "document",
    "reading",
)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with open_house(tmp_path) as opened:
        yield opened


@pytest.fixture
def audit(tmp_path: Path) -> Iterator[SqliteAudit]:
    key = open_keyring(tmp_path / "keys" / "kek").derive("index")
    database = Database(tmp_path / "index.sqlite", key, TABLES)
    opened = SqliteAudit(database, SqliteRecords(database, _now), _now)
    yield opened
    opened.close()
    database.close()


def guarded(house: House, audit: SqliteAudit, principal: Principal) -> GuardedImages:
    return GuardedImages(house.images, RolePolicy(ROLES), audit, principal)


def folded(house: House) -> str:
    name = house.land_one_set(*phantom())
    house.images.complete(name, by=OF_THIS)
    house.images.fold(name)
    return name


def test_every_public_way_to_an_image_set_is_tried_here() -> None:
    ways = {name for name in vars(GuardedImages) if not name.startswith("_")}
    at_hand = {"glance", "glance_at", "looks_again", "reading_at_hand"}
    assert ways - {"patients", "may_search", "study", "complete_study"} - at_hand == set(LOOKS)
    assert set(READS) <= set(vars(ImageStore)) | {"look"}


@pytest.mark.parametrize("way", LOOKS)
def test_a_patient_out_of_scope_is_answered_as_what_does_not_exist(house: House, audit: SqliteAudit, way: str) -> None:
    name = folded(house)
    (instance, *_) = house.images.instances(name)
    with pytest.raises(NotFound) as hidden:
        LOOKS[way](guarded(house, audit, OF_OTHERS), name, instance)
    with pytest.raises(NotFound) as absent:
        house.images.get("0" * 32)
    assert str(hidden.value).replace(name, "") == str(absent.value).replace("0" * 32, "")
    assert audit.entries(where={"action": "read"}) == []


@pytest.mark.parametrize("way", LOOKS)
def test_who_has_no_role_for_it_is_denied_before_anything_is_looked_up(
    house: House, audit: SqliteAudit, way: str
) -> None:
    name = folded(house)
    (instance, *_) = house.images.instances(name)
    with pytest.raises(Denied):
        LOOKS[way](guarded(house, audit, ML), name, instance)
    if way not in {"export", "document"}:
        with pytest.raises(Denied):
            LOOKS[way](guarded(house, audit, ML), "0" * 32, instance)


@pytest.mark.parametrize("way", READS)
def test_the_first_look_is_in_the_audit_before_the_answer(house: House, audit: SqliteAudit, way: str) -> None:
    name = folded(house)
    (instance, *_) = house.images.instances(name)
    LOOKS[way](guarded(house, audit, OF_THIS), name, instance)
    assert [(e.principal, e.subject) for e in audit.entries(where={"action": "read"})] == [("his", name)]


def test_searching_is_counted_and_denied_where_no_role_allows_it(house: House, audit: SqliteAudit) -> None:
    guarded(house, audit, OF_THIS).may_search()
    audit.flush()
    assert [(e.principal, e.action) for e in audit.entries()] == [("his", "search")]
    with pytest.raises(Denied):
        guarded(house, audit, ML).may_search()


def test_studies_are_guarded_the_same_way(house: House, audit: SqliteAudit) -> None:
    folded(house)
    (key,) = house.images.studies.quiet(-1)
    assert guarded(house, audit, OF_THIS).complete_study(key).version == 1
    for way in ("study", "complete_study"):
        with pytest.raises(NotFound, match=f"no study {key}"):
            getattr(guarded(house, audit, OF_OTHERS), way)(key)
        with pytest.raises(Denied):
            getattr(guarded(house, audit, ML), way)(key)


def test_a_glance_shows_only_what_a_look_would(house: House, audit: SqliteAudit) -> None:
    name = folded(house)
    mine = guarded(house, audit, OF_THIS)
    assert not mine.looks_again(name)
    mine.frame(name, 0)
    assert mine.looks_again(name)
    assert mine.glance(name, 0) is not None
    for principal in (OF_OTHERS, ML):
        assert guarded(house, audit, principal).glance(name, 0) is None


def test_a_reading_at_hand_is_given_only_to_who_has_read_and_is_counted(house: House, audit: SqliteAudit) -> None:
    name = folded(house)
    mine = guarded(house, audit, OF_THIS)
    assert mine.reading_at_hand(name) is None, "nobody has read it lately"
    mine.reading(name)
    assert guarded(house, audit, OF_EVERYBODY).reading_at_hand(name) is None, "the first of a principal must be noted"
    assert mine.reading_at_hand(name) is not None
    audit.flush()
    assert sum(entry.count for entry in audit.entries(where={"action": "read"})) == 2
    for principal in (OF_OTHERS, ML):
        assert guarded(house, audit, principal).reading_at_hand(name) is None


def _now() -> datetime:
    return datetime.now(UTC)
