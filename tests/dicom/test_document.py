"""DICOM JSON, held against pydicom's own."""

import base64
import warnings
from io import BytesIO
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from radloop.core.errors import InvalidInput, NotFound
from radloop.dicom.document import bulk_value, dicom_json
from tests.dicom.files import (
    DEFLATED_LE,
    EXPLICIT_BE,
    EXPLICIT_LE,
    IMPLICIT_LE,
    JPEG,
    SECRET,
    ct,
    encapsulated,
    real_files,
    written,
)
from tests.dicom.test_parse import EDITS, SEEDS, enhanced


def rich() -> Dataset:
    """One of every kind of value, sequences, empties and private elements."""
    data_set = ct(SpecificCharacterSet="ISO_IR 192", PatientName="Müller^Jörg=山田=やまだ")
    data_set.AccessionNumber = ""
    data_set.PatientWeight = "70.5"
    data_set.PatientComments = "  line one\r\nline two  "
    data_set.FrameIncrementPointer = [0x00181063, 0x00181065]
    data_set.RecommendedDisplayFrameRate = 25
    data_set.OtherPatientNames = ["A^B", "C^D=E^F"]
    data_set.add_new("SelectorFLValue", "FL", [0.5, -1.25])
    data_set.add_new("SelectorFDValue", "FD", [0.1, 1e300])
    data_set.add_new("SelectorSLValue", "SL", [-5, 5])
    data_set.add_new("SelectorULValue", "UL", 4_000_000_000)
    data_set.add_new("SelectorSSValue", "SS", -3)
    data_set.add_new("SelectorSVValue", "SV", -(1 << 60))
    data_set.add_new("SmallestImagePixelValue", "US", 7)
    data_set.add_new("RedPaletteColorLookupTableData", "OW", b"\1\2\3\4")
    data_set.add_new("GreenPaletteColorLookupTableData", "OW", bytes(2000))
    data_set.add_new("RetrieveURL", "UR", "http://example.org/a?b")
    data_set.ReferencedImageSequence = []
    item, inner = Dataset(), Dataset()
    inner.CodeValue, inner.CodeMeaning = "T-1", "Thorax"
    item.AnatomicRegionSequence = [inner]
    item.ReferencedSOPInstanceUID = "1.2.3.77"
    data_set.SourceImageSequence = [item, Dataset()]
    block = data_set.private_block(0x0009, "GEMS_IDEN_01", create=True)
    block.add_new(0x01, "LO", "CT_LIGHTSPEED")
    own = data_set.private_block(0x0011, "SOMEONE", create=True)
    own.add_new(0x01, "SQ", [inner])
    own.add_new(0x02, "UN", b"\1\2\3\4")
    return data_set


def theirs(data: bytes) -> dict[str, Any]:
    """What pydicom says, in the few things where we differ by intent brought to our way."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data_set = pydicom.dcmread(BytesIO(data))
        document = data_set.to_json_dict(bulk_data_threshold=1368, bulk_data_element_handler=lambda _: "bulk")
    return in_our_way(document)


def in_our_way(document: dict[str, Any]) -> dict[str, Any]:
    changed = {}
    for tag, entry in document.items():
        if tag.endswith("0000"):
            continue
        if entry.get("Value") == [] or entry.get("InlineBinary") == "":
            changed[tag] = {"vr": entry["vr"]}
        elif entry["vr"] == "SQ":
            changed[tag] = {"vr": "SQ", "Value": [in_our_way(item) for item in entry["Value"]]}
        elif tag == "00080005":
            changed[tag] = {"vr": "CS", "Value": ["ISO_IR 192"]}
        elif tag in {"7FE00010", "7FE00008"}:
            changed[tag] = {"vr": entry["vr"], "BulkDataURI": "bulk"}
        elif "Value" in entry:
            values = [value.rstrip() if isinstance(value, str) else value for value in entry["Value"]]
            changed[tag] = {"vr": entry["vr"], "Value": [None if value in ("", {}) else value for value in values]}
        else:
            changed[tag] = entry
    return changed


@pytest.mark.parametrize("syntax", [IMPLICIT_LE, EXPLICIT_LE, DEFLATED_LE])
def test_the_document_is_the_one_pydicom_makes(syntax: str) -> None:
    data_set = rich()
    if syntax == IMPLICIT_LE:
        del data_set[0x0011, 0x1001]  # without its VR nobody knows a private sequence of defined length
    data = written(data_set, syntax)
    assert dicom_json(data, lambda _: "bulk") == theirs(data)


def test_an_enhanced_image_is_the_one_pydicom_makes() -> None:
    data = written(enhanced(), IMPLICIT_LE)
    assert dicom_json(data, lambda _: "bulk") == theirs(data)


def test_pydicom_reads_the_document_back() -> None:
    data = written(rich())
    document = dicom_json(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        back = Dataset.from_json(document)
    assert back.PatientName == "Müller^Jörg=山田=やまだ"
    assert back.SourceImageSequence[0].AnatomicRegionSequence[0].CodeMeaning == "Thorax"
    assert back[0x0011, 0x1002].value == b"\1\2\3\4"
    assert "PixelData" not in back


def test_names_are_told_by_their_groups() -> None:
    entry = dicom_json(written(rich()))["00100010"]
    assert entry["Value"] == [{"Alphabetic": "Müller^Jörg", "Ideographic": "山田", "Phonetic": "やまだ"}]


def test_an_empty_name_among_others_keeps_its_place() -> None:
    entry = dicom_json(written(ct(OtherPatientNames=["A^B", "", "C^D"])))["00101001"]
    assert entry["Value"] == [{"Alphabetic": "A^B"}, None, {"Alphabetic": "C^D"}]


def test_text_of_another_character_set_is_told_in_utf_8() -> None:
    data = written(ct(SpecificCharacterSet=["", "ISO 2022 IR 87"], PatientName="Yamada=山田"))
    document = dicom_json(data)
    assert document["00080005"]["Value"] == ["ISO_IR 192"]
    assert document["00100010"]["Value"] == [{"Alphabetic": "Yamada", "Ideographic": "山田"}]


def test_file_meta_information_and_group_lengths_stay_out() -> None:
    data = written(ct())
    place = data.index(b"\x08\x00\x08\x00CS")
    data = data[:place] + b"\x08\x00\x00\x00UL\x04\x00\x00\x01\x00\x00" + data[place:]
    document = dicom_json(data)
    assert not [tag for tag in document if tag.startswith("0002") or tag.endswith("0000")]
    assert list(document) == sorted(document)


def test_what_is_no_number_stands_there_as_text() -> None:
    data = written(ct(SliceThickness="1234")).replace(b"1234", b"abcd")
    assert dicom_json(data)["00180050"] == {"vr": "DS", "Value": ["abcd"]}


def test_numbers_json_has_not_are_null() -> None:
    data_set = ct()
    data_set.add_new("SelectorFDValue", "FD", [float("nan"), 2.0, float("inf")])
    assert dicom_json(written(data_set))["00720074"]["Value"] == [None, 2.0, None]


def test_bytes_over_a_kilobyte_are_left_out_or_pointed_to() -> None:
    data = written(rich())
    assert "00281202" not in dicom_json(data)
    assert "7FE00010" not in dicom_json(data)
    pointed = dicom_json(data, lambda path: f"/bulk/{path}")
    assert pointed["00281202"] == {"vr": "OW", "BulkDataURI": "/bulk/00281202"}
    assert pointed["7FE00010"]["BulkDataURI"] == "/bulk/7FE00010"
    assert pointed["00281201"] == {"vr": "OW", "InlineBinary": base64.b64encode(b"\1\2\3\4").decode()}


def nested_bulk() -> Dataset:
    data_set, item = ct(), Dataset()
    item.add_new("WaveformData", "OW", np.arange(1000, dtype="<u2").tobytes())
    data_set.WaveformSequence = [Dataset(), item]
    return data_set


def test_every_pointer_leads_to_its_bytes() -> None:
    data = written(nested_bulk())
    paths: list[str] = []
    dicom_json(data, lambda path: paths.append(path) or path)  # type: ignore[func-returns-value]
    assert paths == ["54000100/1/54001010", "7FE00010"]
    assert bulk_value(data, paths[0]) == np.arange(1000, dtype="<u2").tobytes()
    assert bulk_value(data, paths[1]) == np.arange(24, dtype="<u2").tobytes()


def test_bytes_of_a_big_endian_file_are_told_little_endian() -> None:
    data_set = ct()
    data_set.add_new("RedPaletteColorLookupTableData", "OW", np.array([1, 2], ">u2").tobytes())
    data_set.add_new("SelectorULValue", "UL", 7)
    data = written(data_set, EXPLICIT_BE)
    document = dicom_json(data)
    assert base64.b64decode(document["00281201"]["InlineBinary"]) == b"\1\0\2\0"
    assert document["00720078"]["Value"] == [7]
    assert bulk_value(data, "00281201") == b"\1\0\2\0"


def test_encapsulated_pixels_are_pointed_to() -> None:
    document = dicom_json(encapsulated(ct(), [b"\xff\xd8"], JPEG), lambda path: path)
    assert document["7FE00010"] == {"vr": "OB", "BulkDataURI": "7FE00010"}


@pytest.mark.parametrize(
    "path", ["", "x", "00281203", "54000100/9/54001010", "54000100/-1/54001010", "54000100/1", "00100010/0/00100010"]
)
def test_a_pointer_to_nothing_is_not_found(path: str) -> None:
    with pytest.raises(NotFound):
        bulk_value(written(nested_bulk()), path)


@settings(max_examples=600, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.sampled_from([*SEEDS, written(rich()), written(rich(), IMPLICIT_LE)]), edits=EDITS)
def test_no_bytes_whatever_raise_anything_but_invalid_input(seed: bytes, edits: list[tuple[float, bytes, int]]) -> None:
    data = seed
    for place, new, gone in edits:
        at = 132 + int(place * max(len(data) - 132, 1))
        data = data[:at] + new + data[at + gone :]
    told = ""
    try:
        dicom_json(data, lambda path: path)
    except InvalidInput as error:
        told = str(error)
    assert SECRET not in told


@pytest.mark.data
@pytest.mark.parametrize("folder", ["transfer-syntaxes", "ct-ge-signed", "ct-chest-philips"])
def test_real_documents_are_the_ones_pydicom_makes(folder: str) -> None:
    for path in list(real_files(folder))[::4]:
        data = path.read_bytes()
        assert dicom_json(data, lambda _: "bulk") == theirs(data), path.name
