"""What `parse` reads, what it refuses, and that it never falls over."""

import zlib
from base64 import b64encode
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from radloop.core.errors import (
    InvalidIdentity,
    InvalidInput,
    MissingAttribute,
    NotDicom,
    PixelDataMismatch,
    TruncatedFile,
)
from radloop.dicom import elements
from radloop.dicom.image import ImageDescription
from radloop.dicom.parse import Instance, parse
from tests.dicom.files import (
    DEFLATED_LE,
    EXPLICIT_BE,
    EXPLICIT_LE,
    IMPLICIT_LE,
    JPEG,
    RLE,
    SECRET,
    ct,
    encapsulated,
    real_files,
    swapped,
    written,
)

SYNTAXES = [IMPLICIT_LE, EXPLICIT_LE, EXPLICIT_BE, DEFLATED_LE]


def image_of(instance: Instance) -> ImageDescription:
    assert instance.image is not None
    return instance.image


def codes(instance: Instance) -> set[str]:
    return {notice.code for notice in instance.warnings}


# What is read


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_the_same_instance_reads_the_same_in_every_uncompressed_syntax(syntax: str) -> None:
    instance = parse(written(ct(), syntax))
    assert (instance.sop_uid, instance.study_uid, instance.series_uid) == ("1.2.3.4", "1.2.3", "1.2.3.1")
    assert instance.transfer_syntax == syntax
    assert instance.attributes["PatientID"] == SECRET
    assert instance.attributes["InstanceNumber"] == 7
    assert instance.attributes["ImageType"] == ["ORIGINAL", "PRIMARY", "AXIAL"]
    image = image_of(instance)
    assert (image.rows, image.columns, image.samples, image.frames, image.number) == (4, 6, 1, 1, 7)
    assert (image.bits_allocated, image.bits_stored, image.high_bit, image.signed) == (16, 16, 15, False)
    assert (image.position_mm, image.orientation) == ((-1.5, 2.0, 30.0), (1, 0, 0, 0, 1, 0))
    assert (image.spacing_mm, image.slice_thickness_mm) == ((0.5, 0.75), 2.0)
    assert (image.slope, image.intercept, image.window_center, image.window_width) == (1, -1024, 40, 400)
    assert (image.voi_function, image.sides, image.palette) == ("linear", None, None)
    assert not instance.lossy
    assert instance.warnings == ()


@pytest.mark.parametrize(
    ("written_as", "read_as"),
    [("SIGMOID", "sigmoid"), ("LINEAR_EXACT", "linear-exact"), ("LINEAR", "linear"), ("CUBIC", "linear")],
)
def test_the_function_of_a_window_is_read(written_as: str, read_as: str) -> None:
    assert image_of(parse(written(ct(VOILUTFunction=written_as)))).voi_function == read_as


@pytest.mark.parametrize(
    ("told", "sides"),
    [
        (["L", "F"], ("L", "F")),
        (["LA", "FR"], ("LA", "FR")),
        (["L", "R"], None),
        (["A", "PH"], None),
        (["LR", "F"], None),
        (["LL", "F"], None),
        (["X", "F"], None),
        (["L", "F", "A"], None),
        (["L"], None),
        ([""], None),
    ],
    ids=str,
)
def test_the_sides_of_a_radiograph_are_read_where_they_make_sense(
    told: list[str], sides: tuple[str, str] | None
) -> None:
    assert image_of(parse(written(ct(PatientOrientation=told)))).sides == sides


def test_a_palette_is_read_with_the_image_and_a_wrong_one_is_none() -> None:
    indices = np.array([[10, 11], [11, 10]], np.uint8)
    header = ct(indices, PhotometricInterpretation="PALETTE COLOR")
    assert image_of(parse(written(header))).palette is None
    for number, name in enumerate(("Red", "Green", "Blue"), start=1):
        header.add_new(f"{name}PaletteColorLookupTableDescriptor", "US", [2, 10, 8])
        header.add_new(f"{name}PaletteColorLookupTableData", "OW", bytes([number, 100 + number]))
    assert image_of(parse(written(header))).palette == (10, b64encode(bytes([1, 2, 3, 101, 102, 103])).decode())
    header.RedPaletteColorLookupTableDescriptor = [4000, 10, 8]
    assert image_of(parse(written(header))).palette is None


@pytest.mark.parametrize("syntax", [IMPLICIT_LE, EXPLICIT_LE])
@pytest.mark.parametrize("shape", [(4, 6), (3, 5), (1, 1)])
def test_the_file_is_what_stands_before_the_pixels_the_pixels_and_what_stands_behind(
    syntax: str, shape: tuple[int, int]
) -> None:
    pixels = np.arange(shape[0] * shape[1], dtype=np.uint8).reshape(shape)
    data_set = ct(pixels)
    data_set.add_new(0xFFFCFFFC, "OB", b"\0" * 10)
    data = written(data_set, syntax)
    span = parse(data).pixel_span
    assert span is not None
    start, length = span
    assert data[start : start + length] == pixels.tobytes(), "the pad byte is no pixel"
    assert data[:start] + pixels.tobytes() + data[start + length :] == data


@pytest.mark.parametrize("syntax", [EXPLICIT_BE, DEFLATED_LE])
def test_pixels_that_do_not_lie_in_the_file_little_endian_have_no_span(syntax: str) -> None:
    assert parse(written(ct(), syntax)).pixel_span is None


def test_a_description_survives_being_plain_values() -> None:
    image = image_of(parse(written(enhanced())))
    assert ImageDescription.from_plain(image.plain()) == image


def test_an_attribute_that_is_there_and_empty_is_none_and_an_absent_one_is_missing() -> None:
    attributes = parse(written(ct(AccessionNumber="", StudyID=""))).attributes
    assert attributes["AccessionNumber"] is None
    assert "BodyPartExamined" not in attributes


@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        ("ISO_IR 100", "Müller^Jörg"),
        ("ISO_IR 192", "Дмитрий^名前"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        (["ISO 2022 IR 6", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
    ],
)
def test_names_are_read_in_their_character_set(character_set: Any, name: str) -> None:
    instance = parse(written(ct(SpecificCharacterSet=character_set, PatientName=name)))
    assert instance.attributes["PatientName"] == name


def test_an_unknown_character_set_does_not_stop_anything() -> None:
    data = written(ct(SpecificCharacterSet="ISO_IR 100", PatientName="Müller")).replace(b"ISO_IR 100", b"ISO_IR 999")
    assert parse(data).attributes["PatientName"] == "Müller"


@pytest.mark.parametrize("value", ["1.2.3.4 ", "1.2.3.4\0"])
def test_padding_behind_a_uid_means_nothing(value: str) -> None:
    data = written(ct(SOPInstanceUID="1.2.3.44"))
    assert parse(data.replace(b"1.2.3.44", value.encode())).sop_uid == "1.2.3.4"


def test_a_radiograph_has_its_spacing_at_the_detector() -> None:
    image = image_of(parse(written(ct(PixelSpacing=None, ImagerPixelSpacing=[0.2, 0.3]))))
    assert (image.spacing_mm, image.spacing_at_detector) == ((0.2, 0.3), True)


@pytest.mark.parametrize("text", [b"nan ", b"inf ", b"1_0 ", b"abc "])
def test_what_python_takes_for_a_number_and_dicom_does_not_is_none(text: bytes) -> None:
    data = written(ct(SliceThickness="1234"))
    assert image_of(parse(data.replace(b"1234", text))).slice_thickness_mm is None


def test_a_report_has_no_image() -> None:
    data_set = ct(Modality="SR", SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11", Rows=None, Columns=None, PixelData=None)
    instance = parse(written(data_set))
    assert (instance.image, instance.pixel_span, instance.lossy) == (None, None, False)
    assert instance.warnings == ()


def test_single_bits_are_counted_over_all_frames() -> None:
    data_set = ct(BitsAllocated=1, BitsStored=1, HighBit=0, Rows=3, Columns=3, NumberOfFrames=3, PixelData=b"\1\2\3\0")
    instance = parse(written(data_set))
    assert instance.pixel_span is not None
    assert instance.pixel_span[1] == 4, "27 bits"


def test_float_pixels_are_told_apart() -> None:
    data_set = ct(PixelData=None, BitsAllocated=32, BitsStored=None, HighBit=None, PixelRepresentation=None)
    data_set.add_new("FloatPixelData", "OF", np.ones((4, 6), "<f4").tobytes())
    instance = parse(written(data_set))
    assert image_of(instance).is_float
    assert instance.pixel_span is not None
    assert instance.warnings == ()


def test_two_pixels_may_share_their_colour() -> None:
    data_set = ct(np.zeros((4, 6, 3), np.uint8), PhotometricInterpretation="YBR_FULL_422", PixelData=bytes(4 * 6 * 2))
    span = parse(written(data_set)).pixel_span
    assert span is not None
    assert span[1] == 48


def test_pixels_said_to_share_their_colour_that_do_not_are_found_out() -> None:
    data_set = ct(np.zeros((4, 6, 3), np.uint8), PhotometricInterpretation="YBR_FULL_422")
    instance = parse(written(data_set))
    assert image_of(instance).photometric == "YBR_FULL"
    assert codes(instance) == {"photometric"}


def enhanced(frames: int = 3) -> Dataset:
    data_set = ct(PixelSpacing=None, ImagePositionPatient=None, ImageOrientationPatient=None, RescaleSlope=None)
    del data_set.RescaleIntercept, data_set.WindowCenter, data_set.WindowWidth
    data_set.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
    data_set.NumberOfFrames = frames
    data_set.PixelData = data_set.PixelData * frames
    orientation, measures, voi, transformation, shared = (Dataset() for _ in range(5))
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
    measures.PixelSpacing = [0.25, 0.5]
    voi.WindowCenter, voi.WindowWidth = 40, 400
    transformation.RescaleSlope, transformation.RescaleIntercept, transformation.RescaleType = 1, -1024, "HU"
    shared.PlaneOrientationSequence = [orientation]
    shared.PixelMeasuresSequence = [measures]
    shared.FrameVOILUTSequence = [voi]
    shared.PixelValueTransformationSequence = [transformation]
    data_set.SharedFunctionalGroupsSequence = [shared]
    groups = []
    for frame in range(frames):
        position, group = Dataset(), Dataset()
        position.ImagePositionPatient = [0, 2.5 * frame, 0]
        group.PlanePositionSequence = [position]
        if frame == 1:
            other = Dataset()
            other.RescaleSlope, other.RescaleIntercept, other.RescaleType = 2, 0, "US"
            group.PixelValueTransformationSequence = [other]
        groups.append(group)
    data_set.PerFrameFunctionalGroupsSequence = groups
    return data_set


@pytest.mark.parametrize("syntax", [IMPLICIT_LE, EXPLICIT_LE])
def test_functional_groups_tell_each_frame_its_place_and_its_own_rescale(syntax: str) -> None:
    image = image_of(parse(written(enhanced(), syntax)))
    assert [frame.position_mm for frame in image.per_frame] == [(0, 0, 0), (0, 2.5, 0), (0, 5, 0)]
    assert {frame.orientation for frame in image.per_frame} == {(1, 0, 0, 0, 0, -1)}
    assert {frame.spacing_mm for frame in image.per_frame} == {(0.25, 0.5)}
    assert [(frame.slope, frame.intercept) for frame in image.per_frame] == [(1, -1024), (2, 0), (1, -1024)]
    assert {frame.window for frame in image.per_frame} == {(40, 400)}
    assert (image.spacing_mm, image.slope, image.window_width) == ((0.25, 0.5), 1, 400)


def test_functional_groups_of_another_number_than_frames_are_not_believed() -> None:
    data_set = enhanced()
    data_set.PerFrameFunctionalGroupsSequence = data_set.PerFrameFunctionalGroupsSequence[:2]
    instance = parse(written(data_set))
    assert image_of(instance).per_frame == ()
    assert "functional-groups" in codes(instance)


@pytest.mark.parametrize(
    ("syntax", "told", "lossy"),
    [
        ("1.2.840.10008.1.2.4.70", None, False),
        ("1.2.840.10008.1.2.4.70", "01", True),
        ("1.2.840.10008.1.2.4.50", "00", True),
        ("1.2.840.10008.1.2.4.91", None, True),
        ("1.2.840.10008.1.2.4.91", "00", False),
        ("1.2.840.10008.1.2.4.202", None, False),
        ("1.2.840.10008.1.2.4.203", None, True),
    ],
)
def test_what_was_lost_before_it_came_here_is_known(syntax: str, told: str | None, lossy: bool) -> None:
    data_set = ct() if told is None else ct(LossyImageCompression=told)
    assert parse(encapsulated(data_set, [b"\xff\xd8\xff\xd9"], syntax)).lossy is lossy


# What is told


def test_a_missing_patient_id_is_a_warning() -> None:
    assert codes(parse(written(ct(PatientID="")))) == {"missing-patient-id"}
    assert codes(parse(written(ct(PatientID=None)))) == {"missing-patient-id"}


@pytest.mark.parametrize(
    "keyword", ["Modality", "RescaleSlope", "PixelSpacing", "ImagePositionPatient", "PixelRepresentation", "BitsStored"]
)
def test_a_missing_type_1_attribute_is_told_by_its_keyword(keyword: str) -> None:
    (notice,) = parse(written(ct(**{keyword: None}))).warnings
    assert notice.code == "missing-type-1"
    assert keyword in notice.message


def test_an_image_without_pixels_is_refused_for_it_may_have_been_cut() -> None:
    with pytest.raises(PixelDataMismatch, match="without pixel data"):
        parse(written(ct(PixelData=None)))


def test_an_image_whose_pixels_are_to_be_fetched_from_elsewhere_is_kept() -> None:
    assert parse(written(ct(PixelData=None, PixelDataProviderURL="https://example.org/frames"))).image is None


def test_a_meta_information_of_another_instance_is_told() -> None:
    data = written(ct()).replace(b"1.2.3.4\0", b"1.2.3.5\0", 1)
    assert codes(parse(data)) == {"meta-differs"}


def test_an_element_that_stands_there_twice_is_told_and_the_last_one_counts() -> None:
    first = b"\x10\x00\x20\x00LO\x04\x00FIRS"
    data = written(ct(PatientID="LAST"))
    place = data.index(b"\x10\x00\x20\x00LO")
    instance = parse(data[:place] + first + data[place:])
    assert instance.attributes["PatientID"] == "LAST"
    assert codes(instance) == {"duplicate-element"}


def test_zeros_behind_the_data_set_are_told() -> None:
    data = written(ct())
    assert codes(parse(data + b"\0" * 512)) == {"trailing-zeros"}
    assert codes(parse(data + b"\0" * 3)) == {"trailing-zeros"}


def test_a_data_set_in_another_vr_encoding_than_announced_is_read_and_told() -> None:
    implicit, explicit = written(ct(), IMPLICIT_LE), written(ct(), EXPLICIT_LE)
    padded = b"1.2.840.10008.1.2\0"
    data = implicit[: implicit.index(padded)] + padded + implicit[implicit.index(padded) + len(padded) :]
    body = explicit[explicit.index(b"\x08\x00\x08\x00CS") :]
    head = data[: data.index(b"\x08\x00\x08\x00")]
    instance = parse(head + body)
    assert codes(instance) == {"vr-encoding"}
    assert instance.attributes["Modality"] == "CT"


def test_an_endless_attribute_is_cut_for_the_index() -> None:
    instance = parse(written(ct(StudyDescription="x" * 5000)))
    assert instance.attributes["StudyDescription"] == "x" * 1024
    assert codes(instance) == {"attribute-too-long"}


# What is refused


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x",
        b"a,b\n1,2\n" * 100,
        b"\x89PNG\r\n\x1a\n" + bytes(300),
        b"\xff\xd8\xff\xe0" + bytes(300),
        bytes(132),
        bytes(1000),
        b"PK\3\4" + b"\x55" * 500,
    ],
)
def test_what_is_not_dicom_is_said_to_be_not_dicom(data: bytes) -> None:
    with pytest.raises(NotDicom):
        parse(data)


def test_a_dicomdir_is_no_instance() -> None:
    with pytest.raises(NotDicom, match="DICOMDIR"):
        parse(written(ct(SOPClassUID="1.2.840.10008.1.3.10")))


def test_a_file_without_preamble_is_read() -> None:
    assert parse(written(ct())[132:]).sop_uid == "1.2.3.4"


def test_a_data_set_alone_is_not_a_file() -> None:
    data = written(ct())
    with pytest.raises(NotDicom):
        parse(data[data.index(b"\x08\x00\x08\x00CS") :])


@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID"])
@pytest.mark.parametrize("value", [None, ""])
def test_an_instance_without_identity_is_refused(keyword: str, value: str | None) -> None:
    with pytest.raises(MissingAttribute) as caught:
        parse(written(ct(**{keyword: value})))
    assert caught.value.keyword == keyword


def test_a_file_without_transfer_syntax_is_refused() -> None:
    data = written(ct())
    place = data.index(b"\x02\x00\x10\x00UI")
    with pytest.raises(MissingAttribute, match="TransferSyntaxUID"):
        parse(data[:place] + data[place + 8 + len(EXPLICIT_LE) + 1 :])


@pytest.mark.parametrize("uid", ["1.2.x", "1..2.3", ".1.2.3", "1.2.3.", "1.2 .3", "1." * 32 + "1234"])
def test_what_is_no_uid_is_no_identity(uid: str) -> None:
    placeholder = "9." * ((len(uid) + len(uid) % 2) // 2 - 1) + "99"
    data = written(ct(SeriesInstanceUID=placeholder)).replace(
        placeholder.encode(), uid.ljust(len(placeholder)).encode()
    )
    with pytest.raises(InvalidIdentity) as caught:
        parse(data)
    assert caught.value.keyword == "SeriesInstanceUID"


@pytest.mark.parametrize(
    "changes",
    [
        {"Rows": 0},
        {"Rows": None},
        {"Columns": 7},
        {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7},
        {"BitsAllocated": None},
        {"BitsStored": 17},
        {"HighBit": 16},
        {"BitsStored": 12, "HighBit": 3},
        {"SamplesPerPixel": 3},
        {"SamplesPerPixel": 0},
        {"NumberOfFrames": 2},
        {"NumberOfFrames": -1},
        {"PixelData": bytes(50)},
        {"PixelData": bytes(46)},
        {"PixelData": b""},
    ],
)
def test_pixels_that_contradict_their_description_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(PixelDataMismatch):
        parse(written(ct(**changes)))


def test_fewer_fragments_than_frames_are_refused() -> None:
    data = encapsulated(ct(), [b"\xff\xd8"] * 3)
    with pytest.raises(PixelDataMismatch, match="3 fragments cannot hold 4 frames"):
        parse(data.replace(b"IS\x02\x003 ", b"IS\x02\x004 "))


def test_an_rle_frame_has_one_fragment() -> None:
    with pytest.raises(PixelDataMismatch, match="each must have one"):
        parse(encapsulated(ct(), [b"x" * 100], RLE, fragments_per_frame=2))


def test_compressed_pixels_under_an_uncompressed_syntax_are_refused_and_the_reverse() -> None:
    data = encapsulated(ct(), [b"\xff\xd8"], "1.2.840.10008.1.2.4.50")
    with pytest.raises(PixelDataMismatch, match="encapsulated"):
        parse(data.replace(b"1.2.840.10008.1.2.4.50", b"1.2.840.10008.1.2.1\0\0\0"))
    native = written(ct()).replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5\0")
    with pytest.raises(PixelDataMismatch, match="not encapsulated"):
        parse(native)


@pytest.mark.parametrize("syntax", [IMPLICIT_LE, EXPLICIT_LE, EXPLICIT_BE, DEFLATED_LE, JPEG])
def test_a_file_cut_anywhere_is_refused(syntax: str) -> None:
    data_set = enhanced(2)
    if syntax == EXPLICIT_BE:
        data_set["PixelData"]._value = swapped(np.zeros((2, 4, 6), np.uint16))
    data = encapsulated(data_set, [b"\xff\xd8", b"\xff\xd8"]) if syntax == JPEG else written(data_set, syntax)
    assert parse(data).image is not None
    for length in range(len(data)):
        with pytest.raises(InvalidInput):
            parse(data[:length])


def test_a_length_inside_a_sequence_is_checked_too() -> None:
    data = written(enhanced(), IMPLICIT_LE)
    place = data.index(b"\x20\x00\x13\x91")
    with pytest.raises(TruncatedFile):
        parse(data[: place + 4] + b"\xff\xff\x00\x00" + data[place + 8 :])


def test_a_deflated_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elements, "INFLATED_LIMIT", 1 << 20)
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = squeeze.compress(bytes(8 << 20)) + squeeze.flush()
    data = written(ct(), DEFLATED_LE)
    with pytest.raises(InvalidInput, match="expands past 1 MiB"):
        parse(data[: data.index(b"1.2.3.99") + 8] + bomb)


def test_a_damaged_deflated_data_set_is_refused() -> None:
    data = written(ct(), DEFLATED_LE)
    place = data.index(b"1.2.3.99") + 8
    with pytest.raises(InvalidInput, match="damaged"):
        parse(data[:place] + b"\xff" * 50)
    with pytest.raises(TruncatedFile, match="no end"):
        parse(data[:-20])


def test_sequences_without_bottom_are_refused() -> None:
    item: Any = Dataset()
    for _ in range(60):
        outer = Dataset()
        outer.ContentSequence = Sequence([item])
        item = outer
    data_set = ct()
    data_set.ContentSequence = item.ContentSequence
    with pytest.raises(NotDicom, match="deeper"):
        parse(written(data_set))


def test_elements_without_number_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elements, "ELEMENT_LIMIT", 1000)
    tiny = b"\x09\x00\x01\x00LO\x00\x00"
    with pytest.raises(InvalidInput, match="more than 1000 elements"):
        parse(written(ct()) + tiny * 2000)


def test_a_long_run_of_zero_elements_costs_no_more_than_its_length() -> None:
    zeros = bytes(8) * 50_000
    with pytest.raises(InvalidInput):
        parse(written(ct()) + zeros + b"\xff" * 9)


@pytest.mark.parametrize(
    "changes",
    [
        {"SOPInstanceUID": f"{SECRET}.1"},
        {"StudyInstanceUID": SECRET},
        {"Rows": 9},
        {"NumberOfFrames": 3},
        {"PatientID": SECRET, "Modality": None, "InstanceNumber": 5},
        {"StudyDescription": SECRET * 300},
    ],
)
def test_no_message_carries_a_value(changes: dict[str, Any]) -> None:
    if "SOPInstanceUID" in changes or "StudyInstanceUID" in changes:
        keyword = next(iter(changes))
        data = written(ct(**{keyword: "77.88.99.11"[: len(changes[keyword])].ljust(len(changes[keyword]), "1")}))
        data = data.replace(b"77.88.99.11"[: len(changes[keyword])], changes[keyword].encode())
    else:
        data = written(ct(**changes))
    try:
        told = " ".join(notice.message for notice in parse(data).warnings)
    except InvalidInput as error:
        told = str(error)
    assert told
    assert SECRET not in told


# What never happens


SEEDS = [
    written(ct(), IMPLICIT_LE),
    written(ct()),
    written(ct(), EXPLICIT_BE),
    written(ct(), DEFLATED_LE),
    written(enhanced()),
    written(enhanced(), IMPLICIT_LE),
    encapsulated(ct(), [b"\xff\xd8\xff\xd9", b"\xff\xd8\xff\xd9"], has_bot=True),
    encapsulated(ct(SpecificCharacterSet=["", "ISO 2022 IR 87"], PatientName="Yamada=山田"), [b"\xff\xd8"]),
]
EDITS = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=0, max_size=12), st.integers(0, 12)), max_size=8
)


@settings(max_examples=1500, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.sampled_from(SEEDS), edits=EDITS, keep=st.floats(0, 1))
def test_no_bytes_whatever_raise_anything_but_invalid_input(
    seed: bytes, edits: list[tuple[float, bytes, int]], keep: float
) -> None:
    data = seed
    for place, new, gone in edits:
        at = 132 + int(place * max(len(data) - 132, 1))
        data = data[:at] + new + data[at + gone :]
    if keep > 0.5:
        data = data[: int(len(data) * keep)]
    told = ""
    try:
        parse(data)
    except InvalidInput as error:
        told = str(error)
    assert SECRET not in told


@given(st.binary(max_size=400))
def test_no_rubbish_behind_a_prefix_raises_anything_but_invalid_input(rubbish: bytes) -> None:
    with pytest.raises(InvalidInput):
        parse(bytes(128) + b"DICM" + rubbish)


# Real files


@pytest.mark.data
def test_real_files_of_every_transfer_syntax_parse() -> None:
    syntaxes = {parse(path.read_bytes()).transfer_syntax for path in real_files("transfer-syntaxes")}
    assert len(syntaxes) >= 14


@pytest.mark.data
@pytest.mark.parametrize("folder", ["ct-chest-philips", "ct-chest-siemens", "ct-ge-signed"])
def test_real_ct_series_parse_without_a_warning(folder: str) -> None:
    for path in real_files(folder):
        data = path.read_bytes()
        instance = parse(data)
        assert instance.warnings == (), path.name
        assert instance.pixel_span is not None
        assert instance.pixel_span[1] == image_of(instance).rows * image_of(instance).columns * 2
        assert image_of(instance).signed is (folder == "ct-ge-signed")
        assert image_of(instance).position_mm is not None
