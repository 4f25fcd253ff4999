"""Files written anew: what pydicom reads of them is what it read of the file they were made from."""

import io
import warnings
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from radloop.core.errors import UnsupportedPixels
from radloop.dicom.elements import read_part10
from radloop.dicom.named import named_instance
from radloop.dicom.palette import palette_of
from radloop.dicom.transcode import Pixels, rewritten
from tests.dicom.files import (
    DEFLATED_LE,
    EXPLICIT_BE,
    EXPLICIT_LE,
    IMPLICIT_LE,
    JPEG,
    ct,
    encapsulated,
    swapped,
    written,
)

PIXELS = np.arange(24, dtype=np.uint16).reshape(4, 6) * 2001


def rich() -> Dataset:
    """A data set with sequences, private elements, binary values and text of every kind."""
    inner = Dataset()
    inner.CodeValue, inner.CodeMeaning = "T-1", "Größe"
    outer = Dataset()
    outer.ConceptNameCodeSequence = Sequence([inner])
    data_set = ct(PIXELS, SpecificCharacterSet="ISO_IR 192", PatientName="Müller^Jürgen", PatientID="A" * 63)
    data_set.ProcedureCodeSequence = Sequence([inner, outer])
    data_set.ReferencedImageSequence = Sequence([])
    data_set.TextValue = "long " * 20000
    data_set.SmallestImagePixelValue = 3
    data_set.EventTimeOffset = 1.25
    data_set.FrameIncrementPointer = 0x00181063
    block = data_set.private_block(0x0009, "RADLOOP TEST", create=True)
    block.add_new(1, "OB", b"\1\2\3\4")
    block.add_new(2, "FL", [1.5, 2.5])
    return data_set


def read(data: bytes) -> Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pydicom.dcmread(io.BytesIO(data))


def same(found: Dataset, expected: Dataset, *, without: frozenset[str] = frozenset()) -> None:
    for element in expected:
        if element.keyword in without or element.tag.is_private:
            continue
        other = found[element.tag]
        if element.VR == "SQ":
            assert len(other.value) == len(element.value)
            for one, two in zip(other.value, element.value, strict=True):
                same(one, two)
        else:
            assert other.value == element.value, element.keyword


@pytest.mark.parametrize("before", [IMPLICIT_LE, EXPLICIT_LE, EXPLICIT_BE, DEFLATED_LE])
@pytest.mark.parametrize("after", [IMPLICIT_LE, EXPLICIT_LE])
def test_every_value_survives_every_change_of_encoding(before: str, after: str) -> None:
    data_set = rich()
    if before == EXPLICIT_BE:
        data_set["PixelData"]._value = swapped(PIXELS)
    data = written(data_set, before)
    result = rewritten(read_part10(data), after)
    found = read(result)
    assert found.file_meta.TransferSyntaxUID == after
    assert found.file_meta.MediaStorageSOPInstanceUID == data_set.SOPInstanceUID
    same(found, read(data), without=frozenset({"PixelData"}))
    assert found.PixelData == PIXELS.tobytes()
    assert str(found.PatientName) == "Müller^Jürgen"
    assert bytes(found[0x00091001].value) == b"\1\2\3\4"


def test_explicit_files_keep_the_representations_they_had() -> None:
    for syntax in (EXPLICIT_LE, DEFLATED_LE):
        data = written(rich(), syntax)
        found, expected = read(rewritten(read_part10(data), EXPLICIT_LE)), read(data)
        assert {element.tag: element.VR for element in found} == {element.tag: element.VR for element in expected}


def test_a_value_too_long_for_its_representation_becomes_unknown_instead_of_broken() -> None:
    data = written(ct(PIXELS, ImageComments="x" * 70000), IMPLICIT_LE)
    found = read(rewritten(read_part10(data), EXPLICIT_LE))
    assert found[0x00204000].VR == "UN" or len(found.ImageComments) == 70000
    assert found.PixelData == PIXELS.tobytes()


def test_what_is_no_number_or_date_goes_through_untouched() -> None:
    data = written(ct(PIXELS, SliceThickness="1.5"), IMPLICIT_LE).replace(b"1.5 ", b"abc!")
    result = rewritten(read_part10(data), EXPLICIT_LE)
    assert b"abc!" in result


@pytest.mark.parametrize("count", [1, 3])
def test_compressed_frames_stand_as_they_were_handed_in(count: int) -> None:
    from pydicom.encaps import generate_frames

    frames = [bytes([number]) * (11 + number) for number in range(count)]
    data_set = ct(PIXELS, NumberOfFrames=str(count))
    data_set.PixelData = PIXELS.tobytes() * count
    part = read_part10(written(data_set))
    attributes = {0x00280004: ("CS", b"RGB"), 0x00282110: ("CS", b"01")}
    found = read(rewritten(part, JPEG, Pixels(frames, True, attributes)))
    assert found.PhotometricInterpretation == "RGB"
    assert found.LossyImageCompression == "01"
    given = list(generate_frames(found.PixelData, number_of_frames=count))
    assert given == [frame + b"\0" * (len(frame) % 2) for frame in frames]


def test_frames_taken_out_of_their_compression_replace_the_fragments() -> None:
    data = encapsulated(ct(PIXELS), [b"\xff\xd8\xff\xd9"])
    found = read(rewritten(read_part10(data), EXPLICIT_LE, Pixels([PIXELS.tobytes()], False)))
    assert (found.PixelData, found["PixelData"].VR, found.file_meta.TransferSyntaxUID) == (
        PIXELS.tobytes(),
        "OW",
        EXPLICIT_LE,
    )


def test_what_cannot_be_copied_is_refused() -> None:
    compressed = read_part10(encapsulated(ct(PIXELS), [b"\xff\xd8\xff\xd9"]))
    plain = read_part10(written(ct(PIXELS)))
    for part, syntax in ((compressed, EXPLICIT_LE), (plain, JPEG), (plain, EXPLICIT_BE), (plain, DEFLATED_LE)):
        with pytest.raises(UnsupportedPixels):
            rewritten(part, syntax)


def test_a_damaged_file_is_still_named_where_it_says_who_it_is() -> None:
    data = written(ct(PIXELS))
    whole = named_instance(data)
    assert whole == (ct(PIXELS).SOPClassUID, ct(PIXELS).SOPInstanceUID)
    assert named_instance(data[:-10]) == whole
    assert named_instance(data[:400]) == whole
    for junk in (b"", b"junk", bytes(132), bytes(128) + b"DICM", data[:128]):
        assert named_instance(junk) is None


def palette_file(bits: int, words: bool, **attributes: Any) -> bytes:
    data_set = ct(np.zeros((2, 2), np.uint8), PhotometricInterpretation="PALETTE COLOR")
    for place, name in enumerate(("Red", "Green", "Blue")):
        values = np.arange(4) * 10 + place
        value = (
            (values << (8 if bits == 16 else 0)).astype("<u2").tobytes() if words else values.astype(np.uint8).tobytes()
        )
        setattr(data_set, f"{name}PaletteColorLookupTableDescriptor", [4, 7, bits])
        setattr(data_set, f"{name}PaletteColorLookupTableData", value)
    for keyword, value in attributes.items():
        setattr(data_set, keyword, value)
    return written(data_set)


@pytest.mark.parametrize(("bits", "words"), [(16, True), (8, True), (8, False)])
def test_palettes_are_read_in_bytes_and_in_words(bits: int, words: bool) -> None:
    palette = palette_of(palette_file(bits, words))
    assert palette.first == 7
    assert palette.colours.tolist() == [[0, 1, 2], [10, 11, 12], [20, 21, 22], [30, 31, 32]]


def test_what_is_no_palette_is_refused() -> None:
    for data in (
        written(ct(PIXELS)),
        palette_file(16, True, RedPaletteColorLookupTableData=b"\0\0"),
        palette_file(16, True, GreenPaletteColorLookupTableDescriptor=[2, 7, 16]),
        palette_file(16, True, SegmentedRedPaletteColorLookupTableData=b"\0\0"),
    ):
        with pytest.raises(UnsupportedPixels):
            palette_of(data)
