"""Files of a great many tiny things: counted, walked without keeping them, and refused only beyond all reason."""

import struct
import time
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from multiprocessing import get_context

import numpy as np
import pytest

from radloop.core.errors import NotDicom, TooManyElements, TruncatedFile
from radloop.dicom import document, elements, plain
from radloop.dicom.document import dicom_json
from radloop.dicom.elements import read_part10
from radloop.dicom.geometry import TOLD_LIMIT, volume_geometry
from radloop.dicom.image import FrameDescription, FrameTable, ImageDescription
from radloop.dicom.parse import parse
from radloop.dicom.plain import plain_values
from tests.dicom.files import EXPLICIT_LE, IMPLICIT_LE, ct, written

UNDEFINED = 0xFFFFFFFF
END_OF_ITEM = struct.pack("<HHL", 0xFFFE, 0xE00D, 0)
END_OF_SEQUENCE = struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
FRAMES = 2_000


def element(tag: int, vr: bytes, value: bytes = b"") -> bytes:
    if vr in {b"SQ", b"UN", b"OB"}:
        return struct.pack("<HH2sHL", tag >> 16, tag & 0xFFFF, vr, 0, len(value)) + value
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, len(value)) + value


def item(content: bytes) -> bytes:
    return struct.pack("<HHL", 0xFFFE, 0xE000, len(content)) + content


def open_item(content: bytes) -> bytes:
    return struct.pack("<HHL", 0xFFFE, 0xE000, UNDEFINED) + content + END_OF_ITEM


def open_sequence(tag: int, items: bytes) -> bytes:
    return struct.pack("<HH2sHL", tag >> 16, tag & 0xFFFF, b"SQ", 0, UNDEFINED) + items + END_OF_SEQUENCE


def tiny(count: int) -> bytes:
    return b"".join(element(0x00091000 + number, b"LO") for number in range(count))


def with_elements(content: bytes, frames: int = 1) -> bytes:
    """A CT of `frames` frames of one pixel, its own place left out, with these bytes before its pixel data."""
    data_set = ct(np.zeros((1, 1), np.uint8), ImagePositionPatient=None, ImageOrientationPatient=None)
    data_set.NumberOfFrames = frames
    data_set["PixelData"]._value = bytes(frames + frames % 2)
    file = written(data_set, EXPLICIT_LE)
    place = file.index(b"\xe0\x7f\x10\x00")
    return file[:place] + content + file[place:]


def group(tag: int, *content: bytes) -> bytes:
    return element(tag, b"SQ", item(b"".join(content)))


def enhanced(frames: int) -> bytes:
    """An enhanced image whose frames have a hundred elements each, as those of scanners do."""
    noise = [element(0x00189000 + number, b"FD", struct.pack("<d", number)) for number in range(26)]
    rest = b"".join(group(0x00189100 + number, *noise) for number in range(3))
    orientation = group(0x00209116, element(0x00200037, b"DS", b"1\\0\\0\\0\\1\\0 "))
    spacing = group(0x00289110, element(0x00280030, b"DS", b"0.5\\0.5 "))
    places = (f"0\\0\\{number * 0.5:06.1f} ".encode() for number in range(frames))
    groups = (
        item(rest + group(0x00209113, element(0x00200032, b"DS", place)) + orientation + spacing) for place in places
    )
    return with_elements(element(0x52009230, b"SQ", b"".join(groups)), frames)


def cpu_s(work: Callable[[], object]) -> float:
    """CPU seconds, the least of three."""
    spent = []
    for _ in range(3):
        begun = time.process_time()
        work()
        spent.append(time.process_time() - begun)
    return min(spent)


def test_too_many_elements_in_one_data_set_are_refused_with_what_was_found_and_expected() -> None:
    file = with_elements(tiny(1) * (elements.DATA_SET_LIMIT + 1))
    with pytest.raises(
        TooManyElements, match=r"one data set .* expected 65536 at most, found 65537 and more"
    ) as refusal:
        parse(file)
    assert refusal.value.code == "too-many-elements"


@pytest.mark.parametrize("wrap", [item, open_item])
def test_too_many_elements_in_one_item_are_refused(wrap: Callable[[bytes], bytes]) -> None:
    file = with_elements(open_sequence(0x00E11001, wrap(tiny(1) * (elements.DATA_SET_LIMIT + 1))))
    with pytest.raises(TooManyElements, match="one data set"):
        parse(file)


@pytest.mark.parametrize(
    "content",
    [
        item(tiny(50)) * 20,
        open_item(tiny(50)) * 20,
        item(b"") * 1001,
        open_item(b"") * 1001,
        item(open_sequence(0x00E11001, b"")) * 600,
        item(open_sequence(0x00E11001, item(tiny(2)) * 400)),
    ],
)
def test_too_many_elements_in_a_file_are_refused_however_they_nest(
    content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(elements, "ELEMENT_LIMIT", 1000)
    for sequence in (element(0x00E11001, b"SQ", content), open_sequence(0x00E11001, content)):
        with pytest.raises(TooManyElements, match=r"the file .* expected 1000 at most"):
            parse(with_elements(sequence))


def test_fragments_are_counted_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elements, "ELEMENT_LIMIT", 1000)
    pixels = struct.pack("<HH2sHL", 0x0088, 0x0200, b"OB", 0, UNDEFINED) + item(b"") * 1001 + END_OF_SEQUENCE
    with pytest.raises(TooManyElements):
        parse(with_elements(pixels))


def test_a_file_of_as_many_elements_as_are_allowed_is_still_read_item_by_item(monkeypatch: pytest.MonkeyPatch) -> None:
    content = open_sequence(0x00E11001, item(tiny(50)) * 20)
    monkeypatch.setattr(elements, "ELEMENT_LIMIT", 20 * 51 + 60)
    items = read_part10(with_elements(content)).elements[0x00E11001].items
    assert items is not None
    assert [len(each) for each in items] == [50] * 20
    assert len(items[-1]) == 50


def test_what_is_inside_sequences_costs_no_more_than_the_elements_of_an_ordinary_file() -> None:
    ordinary, many = written(ct()), with_elements(open_sequence(0x00E11001, open_item(tiny(500)) * 600))
    count = len(read_part10(ordinary).elements)
    of_ordinary = cpu_s(lambda: [parse(ordinary) for _ in range(300)]) / (300 * count)
    assert cpu_s(lambda: parse(many)) / 300_000 < of_ordinary


def test_what_is_inside_sequences_takes_less_memory_than_the_file_has() -> None:
    files = [
        with_elements(open_sequence(0x00E11001, content))
        for content in (item(tiny(500)) * 200, open_item(b"") * 50_000)
    ]
    for file in [*files, enhanced(FRAMES)]:
        with ProcessPoolExecutor(1, get_context("fork")) as alone:  # other threads of a process are counted, too
            assert alone.submit(peak_of, file).result() < max(len(file), 1 << 20)


def peak_of(file: bytes) -> int:
    tracemalloc.start()
    parse(file)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


def test_an_enhanced_image_of_many_frames_with_a_hundred_elements_each_is_read() -> None:
    file, small = enhanced(FRAMES), written(ct())
    image = parse(file).image
    assert image is not None
    assert len(image.per_frame) == image.frames == FRAMES
    assert image.per_frame[FRAMES - 1] == FrameDescription(
        (0, 0, (FRAMES - 1) / 2), (1, 0, 0, 0, 1, 0), (0.5, 0.5), None, None, None
    )
    geometry = volume_geometry([image])
    assert (geometry.is_even, geometry.slice_spacing_mm) == (True, 0.5)
    assert cpu_s(lambda: parse(file)) < FRAMES * cpu_s(lambda: [parse(small) for _ in range(100)]) / 100
    assert FrameTable.from_plain(image.per_frame.plain()) == image.per_frame
    assert len(image.per_frame.plain()["columns"][1]) == 1, "what all frames share stands there once"


def test_frames_as_they_were_kept_before_there_were_tables_are_read() -> None:
    frames = [FrameDescription((0.0, 0.0, float(place)), None, (1.0, 1.0), 2.0, None, None) for place in range(3)]
    assert list(FrameTable.from_plain([list(frame) for frame in frames])) == frames
    assert list(FrameTable.from_plain([])) == []


def test_a_million_frames_cost_the_geometry_a_few_values_each() -> None:
    count = 1 << 18
    image = parse(with_elements(b"", count)).image
    assert image is not None
    frames = volume_geometry([image]).frames
    assert frames == tuple(zip(repeat(0, count), range(count), strict=True))
    nothing = FrameDescription(None, None, None, None, None, None)
    objects = cpu_s(lambda: [FrameDescription._make(nothing) for _ in range(count)])
    assert cpu_s(lambda: volume_geometry([image])) < 8 * objects


def test_gaps_and_doubled_places_are_counted_all_and_listed_up_to_a_limit() -> None:
    count = 3 * TOLD_LIMIT
    base = parse(written(ct())).image
    assert base is not None
    table = FrameTable.of_columns(
        count, [[(0.0, 0.0, float(place // 2)) for place in range(count)], [(1, 0, 0, 0, 1, 0)], [(1, 1)], [], [], []]
    )
    values = {**base.plain(), "frames": count, "per_frame": table.plain()}
    geometry = volume_geometry([ImageDescription.from_plain(values)])
    assert len(geometry.doubled) == TOLD_LIMIT
    assert geometry.warnings[0].message == f"{count // 2} of {count} slices stand where another one stands"


# Behaviour of items that are read when they are asked for


@pytest.mark.parametrize("syntax", [IMPLICIT_LE, EXPLICIT_LE])
def test_items_can_be_counted_cut_and_read_in_any_order(syntax: str) -> None:
    data_set = ct()
    data_set.ReferencedImageSequence = [ct() for _ in range(5)]
    for number, one in enumerate(data_set.ReferencedImageSequence):
        one.InstanceNumber = number
        del one.PixelData
    part = read_part10(written(data_set, syntax))
    items = part.elements[0x00081140].items
    assert items is not None
    assert len(items) == 5
    numbers = [one["00200013"]["Value"] for one in dicom_json(part.data)["00081140"]["Value"]]
    assert numbers == [[0], [1], [2], [3], [4]]
    assert [one[0x00200013] for one in items[1:3]] == [items[1][0x00200013], items[-3][0x00200013]]


@pytest.mark.parametrize(
    "inner", [element(0x00100020, b"LO") * 2, element(0x00100021, b"LO") + element(0x00100020, b"LO")]
)
@pytest.mark.parametrize("wrap", [item, open_item])
def test_oddities_inside_items_are_told(inner: bytes, wrap: Callable[[bytes], bytes]) -> None:
    told = {notice.code for notice in parse(with_elements(open_sequence(0x00E11001, wrap(inner)))).warnings}
    assert told & {"duplicate-element", "element-order"} == (
        {"duplicate-element"} if inner[:8] == inner[8:] else {"element-order"}
    )


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (item(element(0x00100020, b"LO", b"abcd")[:-2]), TruncatedFile),
        (item(element(0x00100020, b"LO")[:-2]), TruncatedFile),
        (item(element(0x00E11001, b"SQ", item(b"abc"))), TruncatedFile),
        (element(0x00100020, b"LO"), NotDicom),
        (item(END_OF_ITEM), NotDicom),
        (item(item(b"")), NotDicom),
    ],
)
def test_lengths_that_contradict_each_other_inside_sequences_are_found(content: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        parse(with_elements(element(0x00E11001, b"SQ", content)))


# Documents of such files


def test_the_document_of_an_enhanced_image_tells_every_frame_and_keeps_what_repeats_once() -> None:
    file = enhanced(100)
    groups = dicom_json(file)["52009230"]["Value"]
    places = [one["00209113"]["Value"][0]["00200032"]["Value"] for one in groups]
    assert places == [[0, 0, number / 2] for number in range(100)]
    assert all(len(one["00189100"]["Value"][0]) == 26 for one in groups)
    assert groups[0]["00209116"]["Value"] is groups[99]["00209116"]["Value"]
    values, _ = plain_values(file)
    frames = values["PerFrameFunctionalGroupsSequence"]
    assert [one["PlanePositionSequence"][0]["ImagePositionPatient"][2].strip() for one in frames[:2]] == [
        "0000.0",
        "0000.5",
    ]


def test_bulk_values_inside_items_that_are_the_same_have_an_address_each() -> None:
    data = with_elements(open_sequence(0x00E11001, item(element(0x00E11002, b"OB", bytes(2000))) * 2))
    items = dicom_json(data, lambda path: path)["00E11001"]["Value"]
    assert [one["00E11002"]["BulkDataURI"] for one in items] == ["00E11001/0/00E11002", "00E11001/1/00E11002"]


def test_sequences_beyond_what_a_document_may_hold_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (document, plain):
        monkeypatch.setattr(module, "DOCUMENT_LIMIT", 100)
    few, many = element(0x00E11001, b"SQ", item(tiny(20))), element(0x00E11003, b"SQ", item(tiny(60)) * 20)
    file = with_elements(few + many)
    told, (values, _) = dicom_json(file), plain_values(file)
    assert len(told["00E11001"]["Value"][0]) == len(values["00E11001"][0]) == 20
    assert "00E11003" not in told
    assert "00E11003" not in values
    assert told["00280010"]["Value"] == [values["Rows"]] == [1]
