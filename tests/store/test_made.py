"""Frames in another form are made once, kept sealed, and never shown for anything but what they were made of."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import radloop.store.images
from radloop.core.errors import Corrupt, NotFound
from radloop.core.identity import OWNER
from radloop.core.ports import Cipher
from radloop.local.shelf import FileShelf
from radloop.store.images import ImageStore
from radloop.store.made import _context as made_context
from radloop.store.revisions import Revisions
from tests.store.house import House, now, open_house, phantom

LE = "1.2.840.10008.1.2.1"
JPEG_LS = "1.2.840.10008.1.2.4.80"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with open_house(tmp_path) as opened:
        shelf = FileShelf(tmp_path / "kept", 1 << 30)
        opened.images = ImageStore(opened.blobs, opened.records, opened.keys, now, shelf)
        yield opened


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Transfer syntaxes that frames were made in."""
    syntaxes: list[str] = []
    real = radloop.store.images.frame_made

    def noted(pixels: object, instance: object, syntax: str) -> bytes:
        syntaxes.append(syntax)
        return real(pixels, instance, syntax)  # type: ignore[arg-type]

    monkeypatch.setattr(radloop.store.images, "frame_made", noted)
    return syntaxes


def folded(house: House) -> str:
    name = house.land_one_set(*phantom())
    house.images.complete(name, by=OWNER)
    house.images.fold(name)
    return name


def kept(house: House) -> list[Path]:
    return [path for path in (house.root / "kept").rglob("*") if path.is_file()]


@pytest.mark.parametrize("syntax", [LE, JPEG_LS])
def test_a_frame_is_made_once_in_each_form(house: House, made: list[str], syntax: str) -> None:
    name = folded(house)
    first = house.images.frame_as(name, 0, syntax)
    assert house.images.frame_as(name, 0, syntax) == first
    glance = house.images.glance(name, 0)
    assert glance is not None
    if (at_once := glance.made(syntax, b"<", b">")) is not None:  # not every file system can tell
        assert at_once == b"<" + first + b">"
    assert made == [syntax]
    assert house.images.frame_as(name, 1, syntax) != first
    assert made == [syntax, syntax]


def test_what_is_kept_is_the_frame_and_lies_sealed(house: House) -> None:
    name = folded(house)
    data = house.images.frame_as(name, 2, LE)
    assert data == house.images.pixels(name, 2).astype("<i2").tobytes()
    (path,) = kept(house)
    assert path.stat().st_size == len(data) + 28
    assert not any(data[place : place + 64] in path.read_bytes() for place in range(0, len(data) - 64, 4096))


def test_without_a_shelf_every_frame_is_made_anew(house: House, made: list[str]) -> None:
    name = folded(house)
    images = ImageStore(house.blobs, house.records, house.keys, now)
    assert images.frame_as(name, 0, LE) == images.frame_as(name, 0, LE)
    assert made == [LE, LE]
    assert kept(house) == []


def test_a_frame_that_is_only_landed_is_not_kept(house: House) -> None:
    name = house.land_one_set(*phantom())
    house.images.complete(name, by=OWNER)
    assert house.images.frame_as(name, 0, LE) == house.images.pixels(name, 0).tobytes()
    assert kept(house) == []


def test_what_lies_under_another_frame_s_name_is_not_shown(house: House, made: list[str]) -> None:
    name = folded(house)
    both = [house.images.frame_as(name, index, LE) for index in (0, 1)]
    first, second = kept(house)
    swapped = first.read_bytes(), second.read_bytes()
    first.write_bytes(swapped[1])
    second.write_bytes(swapped[0])
    assert [house.images.frame_as(name, index, LE) for index in (0, 1)] == both
    assert len(made) == 4


@pytest.mark.parametrize("damage", [b"", b"short", None])
def test_damage_costs_a_decoding_and_nothing_else(house: House, made: list[str], damage: bytes | None) -> None:
    name = folded(house)
    data = house.images.frame_as(name, 0, LE)
    (path,) = kept(house)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]) if damage is None else damage)
    glance = house.images.glance(name, 0)
    assert glance is not None
    assert glance.made(LE) is None
    assert house.images.frame_as(name, 0, LE) == house.images.frame_as(name, 0, LE) == data
    assert len(made) == 2


def test_what_is_kept_of_a_deleted_image_set_opens_for_nobody(house: House) -> None:
    name = folded(house)
    house.images.frame_as(name, 0, LE)
    (path,) = kept(house)
    glance = house.images.glance(name, 0)
    assert glance is not None
    Revisions(house.blobs, house.records, now, house.images).delete(name, by=OWNER)
    assert house.images.glance(name, 0) is None
    with pytest.raises(NotFound):
        house.images.frame_as(name, 0, LE)
    assert path in kept(house), "nobody has to find it: its key is gone"
    stranger: Cipher = house.keys.cipher(house.keys.create())
    with pytest.raises(Corrupt):
        stranger.open(path.read_bytes(), made_context(glance.address.instance, 0, LE))


def test_a_fresh_start_keeps_nothing(house: House) -> None:
    name = folded(house)
    house.images.frame_as(name, 0, LE)
    assert kept(house)
    house.images.sweep()
    assert kept(house) == []
    assert np.frombuffer(house.images.frame_as(name, 0, LE), "<i2").size == house.images.pixels(name, 0).size
