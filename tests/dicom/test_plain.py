import io

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset

from radloop.core.errors import InvalidInput
from radloop.dicom.plain import dicom_entries, plain_values
from radloop.dicom.rebuild import part10_of
from tests.store.house import phantom


def file_of(data_set: Dataset, syntax: str = "1.2.840.10008.1.2.1") -> bytes:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    data_set.SOPClassUID = meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"
    data_set.SOPInstanceUID = meta.MediaStorageSOPInstanceUID = "1.2.3"
    data_set.file_meta = meta
    file = io.BytesIO()
    data_set.save_as(file, enforce_file_format=True)
    return file.getvalue()


@pytest.fixture
def rich() -> Dataset:
    data_set = Dataset()
    data_set.SpecificCharacterSet = "ISO_IR 100"
    data_set.PatientName = "Müller^Änne"
    data_set.SliceThickness = "2.50"
    data_set.WindowCenter = "40"
    data_set.ImageType = ["ORIGINAL", "PRIMARY"]
    data_set.AccessionNumber = ""
    data_set.Rows = 7
    data_set.FrameIncrementPointer = 0x00181063
    item = Dataset()
    item.CodeValue = "T-11300"
    data_set.AnatomicRegionSequence = [item]
    data_set.add_new(0x00091001, "OB", b"\1\2\3\4")
    data_set.add_new(0x00090010, "LO", "ACME")
    return data_set


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"])
def test_values_stand_as_healthimaging_tells_them(rich: Dataset, syntax: str) -> None:
    values, vrs = plain_values(file_of(rich, syntax))
    assert values["PatientName"] == "Müller^Änne"
    assert values["SliceThickness"] == "2.50", "a DS is text"
    assert values["WindowCenter"] == ["40"], "what may have several values is a list"
    assert values["ImageType"] == ["ORIGINAL", "PRIMARY"]
    assert values["AccessionNumber"] is None
    assert values["Rows"] == 7
    assert values["FrameIncrementPointer"] == ["00181063"]
    assert values["AnatomicRegionSequence"] == [{"CodeValue": "T-11300"}]
    assert values["00091001"] == "AQIDBA=="
    assert vrs == {"00090010": "LO", "00091001": "OB"}
    assert values["TransferSyntaxUID"] == syntax
    assert values["SpecificCharacterSet"] == ["ISO_IR 192"], "the document is in UTF-8"


def test_a_padded_number_keeps_its_blank(rich: Dataset) -> None:
    rich.SliceThickness = "2.5"
    assert plain_values(file_of(rich))[0]["SliceThickness"] == "2.5 "


def test_values_become_a_file_with_the_same_values(rich: Dataset) -> None:
    values, vrs = plain_values(file_of(rich))
    again, again_vrs = plain_values(part10_of(values, vrs, []))
    lengths = {"FileMetaInformationGroupLength"}
    assert {k: v for k, v in again.items() if k not in lengths} == {k: v for k, v in values.items() if k not in lengths}
    assert again_vrs == vrs
    assert pydicom.dcmread(io.BytesIO(part10_of(values, vrs, []))).PatientName == "Müller^Änne"


def test_a_ct_comes_back_with_its_pixels() -> None:
    original = pydicom.dcmread(io.BytesIO(phantom()[0]))
    values, vrs = plain_values(phantom()[0])
    rebuilt = pydicom.dcmread(io.BytesIO(part10_of(values, vrs, [original.PixelData])))
    assert np.array_equal(rebuilt.pixel_array, original.pixel_array)
    assert rebuilt == original


def test_plain_values_become_dicom_json() -> None:
    assert dicom_entries({"PatientName": "A^B=C", "WindowCenter": ["40 "], "StudyDate": None, "SeriesNumber": "3"}) == {
        "00080020": {"vr": "DA"},
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "A^B", "Ideographic": "C"}]},
        "00200011": {"vr": "IS", "Value": [3]},
        "00281050": {"vr": "DS", "Value": [40.0]},
    }


@pytest.mark.parametrize(
    "values",
    [
        {"NoSuchKeyword": "x"},
        {"StudyDate": "yesterday"},
        {"StudyInstanceUID": "1..2"},
        {"Rows": "7"},
        {"WindowCenter": "wide"},
        {"PatientName": {"a": 1}},
        {"AnatomicRegionSequence": ["x"]},
    ],
)
def test_a_value_that_is_none_is_refused_without_telling_it(values: dict[str, object]) -> None:
    with pytest.raises(InvalidInput) as caught:
        dicom_entries(values)
    assert "yesterday" not in str(caught.value)
    assert "wide" not in str(caught.value)
