"""Folding never costs a bit, and closing tells once."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from radloop.codec.htj2k import decode
from radloop.core.errors import Corrupt, NotFound
from radloop.core.identity import OWNER
from radloop.core.images import Storage
from radloop.core.tables import PACKS
from radloop.store import folding
from radloop.store.folding import fold_file
from tests.store.house import House, phantom


def folded(house: House, *files: bytes) -> str:
    name = house.land_one_set(*files)
    house.images.complete(name, by=OWNER)
    house.images.fold(name)
    return name


def test_what_was_folded_comes_back_byte_for_byte(house: House) -> None:
    files = phantom()
    name = folded(house, *files)
    instances = house.images.instances(name)
    assert {instance.storage for instance in instances} == {Storage.FOLDED}
    assert all(instance.original is None for instance in instances)
    assert sorted(house.images.export(instance) for instance in instances) == sorted(files)


def test_the_landed_pack_goes_only_after_the_folded_one_is_there(house: House) -> None:
    name = house.land_one_set(*phantom())
    before = set(house.blobs.keys(f"image-sets/{name}/"))
    house.images.complete(name, by=OWNER)
    house.images.fold(name)
    after = set(house.blobs.keys(f"image-sets/{name}/"))
    assert (len(before), len(after), before & after) == (1, 1, set())
    assert {f"image-sets/{row.key}.pack" for row in house.records.find(PACKS)} == after


def test_frames_and_previews_show_the_same_picture(house: House) -> None:
    name = folded(house, *phantom(1, slices=4, size=256))
    for index in range(4):
        codestream, quality = house.images.frame(name, index)
        full = decode(codestream)
        assert quality == "lossless"
        assert np.array_equal(full, house.images.pixels(name, index))
        preview = house.images.preview(name, index)
        assert len(preview) < len(codestream) / 4
        difference = decode(preview).astype(float) - full
        assert np.abs(difference).mean() < 0.05 * (int(full.max()) - int(full.min()))


def test_frames_stand_in_slice_order_whatever_order_they_came_in(house: House) -> None:
    files = list(phantom(2, slices=8))
    name = folded(house, *files[::3], *files[1::3], *files[2::3])
    places = [a.instance.image["position_mm"][2] for a in house.images.frames(name) if a.instance.image]
    assert places == sorted(places)


def test_folding_twice_is_folding_once(house: House) -> None:
    name = folded(house, *phantom())
    once = house.images.get(name)
    assert house.images.fold(name) == once
    assert house.told() == ["ImageIngested", "ImageFolded"]


def test_closing_twice_tells_once_and_asks_once_for_folding(house: House) -> None:
    name = house.land_one_set(*phantom())
    assert house.images.complete(name, by=OWNER) == house.images.complete(name, by=OWNER)
    assert house.told() == ["ImageIngested"]
    assert house.jobs.pending("fold") == 1


def test_an_image_set_closes_by_itself_after_a_quiet_time(house: House) -> None:
    name = house.land_one_set(*phantom())
    assert house.images.complete_quiet(60, by=OWNER) == []
    assert house.images.complete_quiet(0, by=OWNER) == [name]


def test_late_instances_are_folded_beside_the_earlier_ones(house: House) -> None:
    files = phantom(1, slices=6)
    name = folded(house, *files[:4])
    house.land(*files[4:])
    house.images.complete(name, by=OWNER)
    assert house.images.fold(name).storage is Storage.FOLDED
    assert sorted(house.images.export(i) for i in house.images.instances(name)) == sorted(files)


def test_a_codec_that_lies_costs_nothing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = folding.encode_lossless

    def lying(pixels: np.ndarray) -> bytes:
        wrong = pixels.copy()
        wrong[0, 0] ^= 1
        return honest(wrong)

    files = phantom()
    name = house.land_one_set(*files)
    house.images.complete(name, by=OWNER)
    monkeypatch.setattr(folding, "encode_lossless", lying)
    after = house.images.fold(name)
    assert (after.storage, after.kept) == (Storage.KEPT, 4)
    assert {instance.why_kept for instance in house.images.instances(name)} == {"does-not-decode"}
    monkeypatch.undo()
    assert sorted(house.images.export(i) for i in house.images.instances(name)) == sorted(files)


def test_a_disk_that_lies_keeps_the_original(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    files = phantom()
    name = house.land_one_set(*files)
    house.images.complete(name, by=OWNER)
    honest = folding.read_record

    def damaged(*arguments: object) -> bytes:
        ref = arguments[-1]
        if getattr(ref, "kind", "") == "preview":
            raise Corrupt("a bit has flipped")
        return honest(*arguments)

    monkeypatch.setattr(folding, "read_record", damaged)
    with pytest.raises(Corrupt):
        house.images.fold(name)
    monkeypatch.undo()
    assert house.images.get(name).storage is Storage.LANDED
    assert sorted(house.images.export(i) for i in house.images.instances(name)) == sorted(files)


def test_a_flipped_bit_in_a_pack_is_found_and_named_corrupt(house: House) -> None:
    house.is_damaged = True
    name = folded(house, *phantom())
    (key,) = house.blobs.keys(f"image-sets/{name}/")
    path: Path = house.blobs.path(key)
    data = bytearray(path.read_bytes())
    data[200] ^= 1
    path.write_bytes(data)
    with pytest.raises(Corrupt):
        house.images.frame(name, 0)


def test_bits_beyond_bits_stored_are_not_lost() -> None:
    file = bytearray(phantom()[0])
    file[-2:] = b"\xff\xff"  # an overlay in the unused bits, or rubbish
    import hashlib

    result = fold_file(bytes(file), hashlib.sha256(file).hexdigest())
    assert result.why_kept in {None, "does-not-rebuild"}
    if result.why_kept is None:
        rebuilt = result.head + b"".join(decode(f.full).astype("<i2").tobytes() for f in result.frames) + result.tail
        assert rebuilt == bytes(file)


def test_folding_in_several_threads_gives_the_same_in_the_same_order(house: House) -> None:
    files = phantom(1, slices=8)
    name = house.land_one_set(*files)
    house.images.complete(name, by=OWNER)
    told: list[int] = []
    with ThreadPoolExecutor(2) as pool:
        house.images.fold(name, executor=pool, told=told.append)
    assert told == list(range(1, 9))
    assert sorted(house.images.export(i) for i in house.images.instances(name)) == sorted(files)


def test_a_volume_is_in_hounsfield_units_and_slice_order(house: House) -> None:
    name = folded(house, *phantom(1, slices=6))
    volume = house.images.volume(name)
    assert (volume.shape, volume.dtype) == ((6, 64, 64), np.int16)
    image = house.images.frames(name)[2].instance.image
    assert image is not None
    expected = house.images.pixels(name, 2).astype(float) * image["slope"] + image["intercept"]
    assert np.array_equal(volume[2], expected)


def test_a_header_is_told_as_dicom_json_landed_and_folded_alike(house: House) -> None:
    name = house.land_one_set(*phantom())
    landed = [house.images.document(instance) for instance in house.images.instances(name)]
    house.images.complete(name, by=OWNER)
    house.images.fold(name)
    told = [house.images.document(instance) for instance in house.images.instances(name)]
    key = "00080018"
    assert sorted(landed, key=lambda d: d[key]["Value"]) == sorted(told, key=lambda d: d[key]["Value"])
    assert told[0]["00280010"] == {"vr": "US", "Value": [64]}


def test_what_is_not_there_is_not_found(house: House) -> None:
    name = folded(house, *phantom())
    for read in (
        lambda: house.images.get("0" * 32),
        lambda: house.images.frame(name, 4),
        lambda: house.images.frame(name, -1),
        lambda: house.images.preview("0" * 32, 0),
    ):
        with pytest.raises(NotFound):
            read()
