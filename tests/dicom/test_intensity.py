"""Fifteen numbers that know no anatomy: each means what its name says."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from radloop.core.errors import InvalidInput
from radloop.dicom.intensity import STATISTICS, plane_statistics


def told(planes: np.ndarray) -> dict[str, float]:
    return dict(zip(STATISTICS, plane_statistics(planes).tolist(), strict=True))


def test_an_even_grey_has_its_level_and_no_edges() -> None:
    found = told(np.full((2, 8, 8), 51, np.uint8))
    assert found["mean"] == pytest.approx(0.2)
    assert {found[name] for name in STATISTICS if name.startswith("percentile")} == {found["mean"]}
    assert [found[name] for name in ("deviation", "gradient", "sharpness", "middle", "symmetry")] == [0] * 5


def test_half_black_and_half_white_is_told_as_such() -> None:
    planes = np.zeros((1, 10, 10), np.uint8)
    planes[:, :, 5:] = 255
    found = told(planes)
    assert (found["black"], found["white"], found["mean"]) == (0.5, 0.5, 0.5)
    assert found["symmetry"] == pytest.approx(-1, abs=1e-5)
    assert (found["percentile_25"], found["percentile_75"]) == (0, 1)


def test_a_bright_middle_and_a_mirror_image_are_seen() -> None:
    planes = np.zeros((1, 9, 9), np.uint8)
    planes[:, 3:6, 3:6] = 255
    assert told(planes)["middle"] == 1
    assert told(255 - planes)["middle"] == -1
    assert told(planes)["symmetry"] == pytest.approx(1, abs=1e-5)


def test_noise_is_sharper_than_a_slope() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (1, 64, 64)).astype(np.uint8)
    slope = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (1, 64, 1))
    assert told(noise)["sharpness"] == pytest.approx(1.75, abs=0.1)
    assert told(slope)["sharpness"] < 0.01


def test_the_order_of_planes_does_not_matter() -> None:
    planes = np.random.default_rng(2).integers(0, 256, (5, 16, 16)).astype(np.uint8)
    assert plane_statistics(planes) == pytest.approx(plane_statistics(planes[::-1]), abs=1e-6)


@given(arrays(np.uint8, st.tuples(st.integers(1, 3), st.integers(3, 9), st.integers(3, 9))))
def test_no_number_is_missing_and_shares_stay_shares(planes: np.ndarray) -> None:
    found = told(planes)
    assert np.isfinite(list(found.values())).all()
    assert all(-1.0001 <= found[name] <= 1.0001 for name in STATISTICS if name != "sharpness")


@pytest.mark.parametrize(
    "planes", [np.zeros((4, 4), np.uint8), np.zeros((1, 4, 4), np.float32), np.zeros((0, 4, 4), np.uint8),
               np.zeros((1, 2, 9), np.uint8)]
)  # fmt: skip
def test_anything_but_planes_is_refused(planes: np.ndarray) -> None:
    with pytest.raises(InvalidInput):
        plane_statistics(planes)
