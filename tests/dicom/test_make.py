"""Radiographs made of pictures."""

from io import BytesIO
from typing import Any

import numpy as np
import pydicom
import pytest

from radloop.core.errors import InvalidInput
from radloop.dicom.make import DIGITAL_X_RAY, SECONDARY_CAPTURE, xray_instance
from radloop.dicom.parse import parse
from radloop.dicom.pixels import native_array, stored_frame

PICTURE = np.arange(35, dtype=np.uint8).reshape(5, 7)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_pixels_of_a_picture_come_back(dtype: type) -> None:
    pixels = PICTURE.astype(dtype) * (1 if dtype is np.uint8 else 1000)
    data = xray_instance(pixels, patient_id="P-1", study_date="20200102")
    instance = parse(data)
    np.testing.assert_array_equal(native_array(stored_frame(data, instance, 0)[0], instance), pixels)
    np.testing.assert_array_equal(pydicom.dcmread(BytesIO(data)).pixel_array, pixels)
    assert instance.warnings == ()
    assert instance.attributes["PatientID"] == "P-1"
    assert instance.attributes["Modality"] == "DX"


def test_the_same_picture_twice_is_the_same_file() -> None:
    once, twice = (xray_instance(PICTURE, patient_id="P-1", study_date="20200102") for _ in range(2))
    assert once == twice


@pytest.mark.parametrize("changes", [{"patient_id": "P-2"}, {"study_date": "20200103"}, {"study_key": "b"}])
def test_another_patient_or_study_is_another_instance(changes: dict[str, Any]) -> None:
    arguments = {"patient_id": "P-1", "study_date": "20200102", "study_key": "a"}
    one, other = (parse(xray_instance(PICTURE, **given)) for given in (arguments, arguments | changes))
    assert one.sop_uid != other.sop_uid
    assert one.study_uid != other.study_uid
    assert one.series_uid != other.series_uid


def test_pictures_of_one_study_key_share_their_study_and_nothing_else() -> None:
    one, other = (parse(xray_instance(p, patient_id="P-1", study_key="s")) for p in (PICTURE, PICTURE[::-1]))
    assert one.study_uid == other.study_uid
    assert one.sop_uid != other.sop_uid


def test_pixels_of_another_shape_are_another_picture() -> None:
    one, other = (parse(xray_instance(p, patient_id="P-1")) for p in (PICTURE, PICTURE.reshape(7, 5)))
    assert one.sop_uid != other.sop_uid


def test_a_jpeg_stays_known_as_lossy() -> None:
    assert parse(xray_instance(PICTURE, patient_id="P", was_lossy=True)).lossy
    assert not parse(xray_instance(PICTURE, patient_id="P")).lossy


def test_a_picture_with_a_known_detector_is_a_digital_x_ray() -> None:
    instance = parse(xray_instance(PICTURE, patient_id="P", spacing_mm=(0.2, 0.3)))
    assert instance.sop_class == DIGITAL_X_RAY
    assert instance.image is not None
    assert (instance.image.spacing_mm, instance.image.spacing_at_detector) == ((0.2, 0.3), True)
    assert instance.warnings == ()
    assert parse(xray_instance(PICTURE, patient_id="P")).sop_class == SECONDARY_CAPTURE


@pytest.mark.parametrize(
    ("pixels", "changes"),
    [
        (PICTURE.astype(np.float32), {}),
        (PICTURE.astype(np.int16), {}),
        (np.zeros((2, 2, 3), np.uint8), {}),
        (np.zeros((0, 3), np.uint8), {}),
        (np.zeros((1, 70_000), np.uint8), {}),
        (PICTURE, {"patient_id": " "}),
        (PICTURE, {"patient_id": "a\\b"}),
        (PICTURE, {"patient_id": "x" * 65}),
        (PICTURE, {"study_date": "2020-1-2"}),
        (PICTURE, {"patient_birth_date": "1970"}),
        (PICTURE, {"bits_stored": 4}),
        (PICTURE, {"bits_stored": 9}),
    ],
)
def test_what_dicom_cannot_hold_is_refused(pixels: Any, changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        xray_instance(pixels, **({"patient_id": "P-1"} | changes))
