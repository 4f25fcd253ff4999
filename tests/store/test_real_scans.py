"""Real scans through the store. Needs the images of RADLOOP_TEST_DATA; skips with a reason where they are missing."""

import os
from pathlib import Path

import pytest

from radloop.core.errors import UnsupportedPixels
from radloop.core.identity import OWNER
from radloop.core.tables import INSTANCES
from radloop.store.instances import instance_of
from tests.store.house import House

DATA = Path(os.environ.get("RADLOOP_TEST_DATA", "missing"))

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not DATA.is_dir(), reason="RADLOOP_TEST_DATA names no folder of real scans"),
]


def files_of(folder: str) -> list[bytes]:
    found = [path.read_bytes() for path in sorted((DATA / folder).iterdir()) if path.is_file()]
    assert found
    return found


def folded(house: House, files: list[bytes]) -> set[str]:
    landings = house.land(*files)
    assert {landing.outcome for landing in landings} == {"ingested"}
    names = {str(landing.image_set) for landing in landings}
    for name in names:
        house.images.complete(name, by=OWNER)
        house.images.fold(name)
    return names


@pytest.mark.parametrize(("folder", "frames", "most"), [("ct-chest-philips", 64, 0.55), ("ct-chest-siemens", 30, 0.55)])
def test_a_chest_ct_is_one_image_set_smaller_and_comes_back_byte_for_byte(
    house: House, folder: str, frames: int, most: float
) -> None:
    files = files_of(folder)
    (name,) = folded(house, files)
    image_set = house.images.get(name)
    assert (image_set.frames, image_set.storage, image_set.geometry["plane"]) == (frames, "folded", "axial")
    assert image_set.stored_bytes <= most * image_set.original_bytes
    on_disk = sum(path.stat().st_size for path in (house.root / "objects" / "image-sets" / name).iterdir())
    assert on_disk <= most * sum(map(len, files))
    assert sorted(house.images.export(instance) for instance in house.images.instances(name)) == sorted(files)


@pytest.mark.parametrize("folder", ["transfer-syntaxes", "ct-ge-signed"])
def test_every_transfer_syntax_comes_back_as_it_came_and_is_shown_where_it_can_be(house: House, folder: str) -> None:
    files = files_of(folder)
    exported: list[bytes] = []
    for name in folded(house, files):
        rows = house.records.find(INSTANCES, {"image_set": name})  # those behind a newer object of their UID too
        exported += [house.images.export(instance_of(row)) for row in rows]
        for index, address in enumerate(house.images.frames(name)):
            try:
                codestream, quality = house.images.frame(name, index)
            except UnsupportedPixels:
                assert address.instance.why_kept == "unsupported-pixels"
                continue
            assert codestream.startswith(b"\xff\x4f\xff\x51")
            assert quality == ("lossy-as-received" if address.instance.is_lossy else "lossless")
    assert sorted(exported) == sorted(files)
