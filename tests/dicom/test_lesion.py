"""The mask of a phantom's consolidation: what it covers is what the consolidation changed."""

from io import BytesIO

import numpy as np
import pydicom
import pytest

from radloop.dicom.phantom import PhantomStudy, lesion_mask, phantom_study


def hu_of(study: PhantomStudy) -> np.ndarray:
    files = [pydicom.dcmread(BytesIO(data)) for data in study.files]
    return np.stack([file.pixel_array.astype(np.int32) + int(file.RescaleIntercept) for file in files])


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_the_mask_covers_what_the_consolidation_made_dense(number: int) -> None:
    with_one, without = (
        hu_of(phantom_study(number, consolidated=present, slices=12, size=96)) for present in (True, False)
    )
    mask = lesion_mask(number, slices=12, size=96)
    assert mask.shape == with_one.shape
    assert mask.any(axis=(1, 2)).sum() >= 2
    change = (with_one - without).astype(np.float64)
    wide = mask.copy()
    for axis in (1, 2):
        for step in range(-4, 5):
            wide |= np.roll(mask, step, axis)
    assert change[mask].mean() > 300
    assert 0.8 < change[wide].sum() / change.sum() < 1.2, "next to nothing changed elsewhere"


def test_the_mask_follows_the_order_of_the_files() -> None:
    heads = {
        phantom_number: phantom_study(phantom_number, consolidated=True, slices=8, size=64)
        for phantom_number in range(1, 9)
    }
    first_heights = {}
    for number, study in heads.items():
        heights = [float(pydicom.dcmread(BytesIO(data)).ImagePositionPatient[2]) for data in study.files]
        first_heights[number] = heights[0] > heights[-1]
        values = hu_of(study)
        mask = lesion_mask(number, slices=8, size=64)
        assert values[mask].mean() > values[mask[::-1]].mean() or (mask == mask[::-1]).all()
    assert set(first_heights.values()) == {True, False}, "both orders were looked at"
