"""Thumbnails: small, upright, and grey where they should be."""

from typing import Any

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from radloop.codec.png import thumbnail_png
from radloop.core.errors import UnsupportedPixels


def picture(frame: NDArray[Any], **options: Any) -> NDArray[np.uint8]:
    found = np.asarray(imagecodecs.png_decode(thumbnail_png(frame, **options)))
    assert found.dtype == np.uint8
    return found


@settings(max_examples=100)
@given(
    frame=st.sampled_from(["uint8", "int16", "uint16"]).flatmap(
        lambda dtype: arrays(dtype, array_shapes(min_dims=2, max_dims=2, max_side=60))
    ),
    size=st.integers(1, 70),
)
def test_every_frame_fits_its_square_and_is_never_enlarged(frame: NDArray[Any], size: int) -> None:
    found = picture(frame, size=size)
    assert max(found.shape[:2]) <= size
    assert all(small <= large for small, large in zip(found.shape[:2], frame.shape, strict=True))


@pytest.mark.parametrize(
    ("shape", "wanted"), [((512, 512), (160, 160)), ((1760, 2140), (131, 160)), ((160, 80), (160, 80))]
)
def test_a_thumbnail_keeps_the_proportions(shape: tuple[int, int], wanted: tuple[int, int]) -> None:
    found = picture(np.zeros(shape, np.uint16)).shape
    assert found == pytest.approx(wanted, abs=2)


def test_a_window_maps_its_ends_to_black_and_white() -> None:
    frame = np.array([[-2000, -160, 40, 240, 3000]], np.int16)
    assert picture(frame, window=(40, 400)).ravel().tolist() == [0, 0, 128, 255, 255]


def test_without_a_window_a_few_bright_pixels_do_not_darken_the_rest() -> None:
    frame = np.tile(np.arange(100, dtype=np.int16), (100, 1))
    frame[0, 0] = 30_000
    found = picture(frame)
    assert found[50, 0] < 10
    assert found[50, 99] > 245


def test_up_stays_up() -> None:
    frame = np.zeros((400, 400), np.uint8)
    frame[:100, :200] = 200
    found = picture(frame, window=(100, 200))
    assert found[5, 5] > 250
    assert found[5, 155] == found[155, 5] == 0


def test_colour_stays_colour() -> None:
    frame = np.zeros((320, 320, 3), np.uint8)
    frame[..., 1] = 180
    assert picture(frame)[80, 80].tolist() == [0, 180, 0]
    assert picture(frame.astype(np.uint16) * 257)[80, 80].tolist() == [0, 180, 0]


def test_a_flat_frame_is_a_picture_too() -> None:
    assert picture(np.full((9, 9), 7, np.uint16)).shape == (9, 9)


@pytest.mark.parametrize("shape", [(4,), (0, 4), (4, 4, 2), (1, 4, 4, 3)])
def test_what_is_no_picture_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UnsupportedPixels):
        thumbnail_png(np.zeros(shape, np.uint8))
