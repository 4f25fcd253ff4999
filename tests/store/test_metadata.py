"""What is told of frames of every kind, and what is given for them."""

import gzip
import io
import json
import zlib
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest

from radloop.codec.htj2k import decode
from radloop.codec.resolutions import resolutions
from radloop.core.errors import NotFound
from radloop.core.identity import OWNER
from radloop.healthimaging import Frame, metadata_of, pixels_of
from radloop.store.metadata import LOSSLESS, Metadata
from tests.dicom.files import ct, encapsulated, written
from tests.store.house import House, phantom

RNG = np.random.default_rng(5)
GREY = RNG.integers(0, 255, (40, 36), dtype=np.uint8)


@pytest.fixture
def metadata(house: House) -> Metadata:
    return Metadata(house.blobs, house.records, house.images._keys, house.images)


def landed(house: House, *files: bytes, folded: bool) -> str:
    identity = house.land_one_set(*files)
    house.images.complete(identity, by=OWNER)
    if folded:
        house.images.fold(identity)
    return identity


def told(metadata: Metadata, house: House, identity: str, **options: str) -> tuple[Any, list[Frame]]:
    """The document as the client reads it, and its frames as they are given."""
    image_set = house.images.get(identity)
    document = metadata_of(json.loads(gzip.decompress(metadata.document(image_set, **options))))
    given = [metadata.frame(image_set, frame.id, **options) for frame in document.frames]
    frames = [Frame(frame.id, each.data, each.content_type) for frame, each in zip(document.frames, given, strict=True)]
    return document, frames


def segmentation() -> bytes:
    bits = RNG.integers(0, 2, (40, 32), dtype=np.uint8)
    data_set = ct(np.zeros((40, 32), np.uint8))
    data_set.BitsAllocated = data_set.BitsStored = 1
    data_set.HighBit = 0
    data_set["PixelData"]._value = np.packbits(bits, bitorder="little").tobytes()
    return written(data_set)


def jpeg() -> bytes:
    return encapsulated(ct(GREY), [bytes(imagecodecs.jpeg8_encode(GREY, level=90))])


def video() -> bytes:
    return encapsulated(ct(GREY, NumberOfFrames=9), [b"\0\0\1\xb3" + bytes(96)], "1.2.840.10008.1.2.4.100")


KINDS = {
    "uint8": (lambda: written(ct(GREY)), "image/jph"),
    "int16": (lambda: written(ct(RNG.integers(-2000, 3000, (40, 36), dtype=np.int16))), "image/jph"),
    "uint16": (lambda: written(ct(RNG.integers(0, 65536, (40, 36), dtype=np.uint16))), "image/jph"),
    "colour": (lambda: written(ct(RNG.integers(0, 255, (40, 36, 3), dtype=np.uint8))), "image/jph"),
    "jpeg": (jpeg, "image/jpeg"),
    "segmentation": (segmentation, "application/octet-stream"),
}


@pytest.mark.parametrize("folded", [False, True], ids=["landed", "folded"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_frame_is_given_and_proven(house: House, metadata: Metadata, kind: str, folded: bool) -> None:
    make, content_type = KINDS[kind]
    file = make()
    document, (frame,) = told(metadata, house, landed(house, file, folded=folded))
    (instance,) = document.instances
    assert frame.content_type == content_type
    (facts,) = instance.frames
    assert facts.checksums
    pixels = pixels_of(frame, instance, facts)
    original = pydicom.dcmread(io.BytesIO(file))
    if kind == "segmentation":
        assert frame.data == original.PixelData
        assert (facts.least, facts.greatest) == (0, 1)
    elif kind == "jpeg":
        assert np.array_equal(pixels, imagecodecs.jpeg8_decode(frame.data))
    else:
        assert np.array_equal(pixels, original.pixel_array)
        assert facts.size_bytes == pixels.nbytes


def test_every_resolution_has_its_checksum(house: House, metadata: Metadata) -> None:
    document, frames = told(metadata, house, landed(house, *phantom(), folded=True))
    for facts, frame in zip(document.frames, frames, strict=True):
        pictures = resolutions(frame.data)
        assert facts.checksums == tuple((each.shape[1], each.shape[0], zlib.crc32(each.tobytes())) for each in pictures)
        assert facts.checksums[-1][2] == zlib.crc32(decode(frame.data).tobytes())


def test_the_document_is_the_same_before_and_after_folding(house: House, metadata: Metadata) -> None:
    identity = landed(house, *phantom(), folded=False)
    before = told(metadata, house, identity)
    house.images.fold(identity)
    assert told(metadata, house, identity) == before
    assert told(metadata, house, identity) == before, "as kept, too"


def test_a_store_of_jpeg_2000_gives_jpeg_2000(house: House, metadata: Metadata) -> None:
    identity = landed(house, *phantom(), folded=True)
    document, frames = told(metadata, house, identity, lossless=LOSSLESS["JPEG_2000_LOSSLESS"])
    originals = {str(each.SOPInstanceUID): each for each in (pydicom.dcmread(io.BytesIO(file)) for file in phantom())}
    for instance, frame in zip(document.instances, frames, strict=True):
        assert (instance.transfer_syntax, frame.content_type) == ("1.2.840.10008.1.2.4.90", "image/j2c")
        pixels = pixels_of(frame, instance, instance.frames[0])
        assert np.array_equal(pixels, originals[instance.sop_uid].pixel_array)


def test_a_video_is_one_stream(house: House, metadata: Metadata) -> None:
    document, (frame,) = told(metadata, house, landed(house, video(), folded=True))
    assert (frame.content_type, frame.data[:4]) == ("video/mpeg", b"\0\0\1\xb3")
    assert document.instances[0].transfer_syntax == "1.2.840.10008.1.2.4.100"


def test_frames_of_a_former_version_are_still_given(house: House, metadata: Metadata) -> None:
    identity = landed(house, *phantom()[:2], folded=True)
    before, _ = told(metadata, house, identity)
    again = phantom()[0].replace(b"Phantom chest", b"Other   chest")
    house.land_one_set(again)
    image_set = house.images.complete(identity, by=OWNER)
    after, _ = told(metadata, house, identity)
    assert {frame.id for frame in after.frames} != {frame.id for frame in before.frames}
    for frame in before.frames:
        assert metadata.frame(image_set, frame.id).content_type == "image/jph"
    with pytest.raises(NotFound):
        metadata.frame(image_set, "0" * 32)
    first = json.loads(gzip.decompress(metadata.document(image_set, 1)))
    assert [frame.id for frame in metadata_of(first).frames] == [frame.id for frame in before.frames]


def test_measuring_is_done_once(house: House, metadata: Metadata) -> None:
    image_set = house.images.get(landed(house, *phantom(), folded=True))
    assert metadata.measure(image_set) == 4
    assert metadata.measure(image_set) == 0
