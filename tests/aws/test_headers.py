"""What reading the headers of a series from its originals holds at once, and whose they are while the series grows."""

import gc
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from radloop.aws.assembly import original_of
from radloop.aws.images import HealthImagingImages
from radloop.aws.served import HELD_AT_ONCE, HealthImagingStore
from radloop.core.identity import OWNER
from radloop.core.ports import Change, Span
from radloop.local.blobs import FileBlobs
from radloop.store.instances import supersede
from tests.dicom.files import ct, encapsulated, written
from tests.store.house import House, now, open_house, phantom

CLIPS, CLIP_BYTES, FRAME_BYTES = 10, 20 << 20, 1 << 16
BESIDE = 24 << 20
"""Bytes that are held beside originals, blocks on their way among them."""


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with open_house(tmp_path) as opened:
        yield opened


def clip(number: int, *, is_native: bool) -> bytes:
    """A file of 20 MiB; frames of an encapsulated one are shorter than what is fetched at once."""
    frames = CLIP_BYTES // FRAME_BYTES
    names: dict[str, Any] = {"SOPInstanceUID": f"1.2.3.{number}", "InstanceNumber": number}
    if not is_native:
        return encapsulated(ct(**names), [bytes([number]) * FRAME_BYTES] * frames)
    return written(ct(np.full((frames, FRAME_BYTES // 2), number, np.uint16), **names))


def kept_by_healthimaging(house: House, *files: bytes) -> tuple[HealthImagingStore, str]:
    """The series of these files as the archive of originals has it."""
    identity = house.land_one_set(*files)
    house.images.complete(identity, by=OWNER)
    for one in house.images.instances(identity):
        house.blobs.put(original_of(one.id), house.images.export(one))
    images = cast(HealthImagingImages, None)  # nothing arrives here
    store = HealthImagingStore(
        house.blobs,
        house.records,
        house.keys,
        now,
        images=images,
        frames=lambda *_: None,
        describe=lambda _: {},
    )
    return store, identity


@pytest.mark.parametrize("is_native", [False, True])
def test_headers_of_long_clips_never_hold_more_of_them_at_once_than_fits(
    house: House, monkeypatch: pytest.MonkeyPatch, is_native: bool
) -> None:
    store, identity = kept_by_healthimaging(house, *(clip(each, is_native=is_native) for each in range(1, CLIPS + 1)))
    get = FileBlobs.get

    def as_slow_as_a_network(blobs: FileBlobs, key: str, span: Span | None = None) -> bytes:
        data = get(blobs, key, span)
        time.sleep(0.01)
        return data

    monkeypatch.setattr(FileBlobs, "get", as_slow_as_a_network)
    gc.collect()
    tracemalloc.start()
    try:
        told = store.documents(identity, str)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(told) == CLIPS
    assert peak < HELD_AT_ONCE + BESIDE < CLIPS * CLIP_BYTES


def test_headers_of_a_series_are_told_while_an_import_replaces_some_of_its_instances(house: House) -> None:
    store, identity = kept_by_healthimaging(house, *phantom())
    first, *rest = before = store.instances(identity)
    house.records.commit(Change([supersede(first, "one that no version counts yet")]))
    assert len(store.documents(identity, str)) == len(before)
    assert set(store.headers(identity, {one.id for one in rest})) == {one.id for one in rest}
