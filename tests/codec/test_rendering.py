import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from radloop.codec.rendering import Viewport, Window, as_jpeg, as_png, colour, fitted, grey, painted
from radloop.core.errors import InvalidInput, UnsupportedPixels


def test_a_window_is_black_below_and_white_above_and_half_at_its_centre() -> None:
    values = np.array([[-100, 0, 39, 40, 240, 1000]], np.int16)
    shade = grey(values, Window(40, 400))
    assert list(shade[0, [0, 5]]) == [38, 255]
    assert shade[0, 3] == 128
    assert list(grey(np.array([[-161, 240]], np.int16), Window(40, 400))[0]) == [0, 255]


def test_a_window_one_wide_is_a_threshold() -> None:
    assert list(grey(np.array([[99, 100, 101]], np.int16), Window(100.5, 1))[0]) == [0, 0, 255]


def test_without_a_window_the_whole_range_is_shown() -> None:
    shade = grey(np.arange(10000, dtype=np.uint16).reshape(100, 100))
    assert (shade.min(), shade.max()) == (0, 255)
    assert grey(np.full((4, 4), 7, np.uint8)).shape == (4, 4), "one value has no range and is no error"


@given(st.floats(-1e6, 1e6), st.floats(1, 1e6), st.sampled_from(["linear", "linear-exact", "sigmoid"]))
def test_brighter_values_are_never_darker(center: float, width: float, function: str) -> None:
    shade = grey(np.linspace(-40000, 40000, 200, dtype=np.float32)[None], Window(center, width, function))
    assert (np.diff(shade[0].astype(int)) >= 0).all()


def test_values_that_are_no_numbers_are_black() -> None:
    assert grey(np.array([[np.nan, 1.0]], np.float32), Window(0.5, 1, "linear-exact"))[0, 0] == 0


def test_colour_of_more_bits_is_brought_to_eight() -> None:
    deep = np.array([[[0, 65535, 32768]]], np.uint16)
    assert colour(deep, 16).tolist() == [[[0, 255, 128]]]
    assert colour(np.array([[[1, 2, 3]]], np.uint8), 8).tolist() == [[[1, 2, 3]]]


def test_indices_outside_a_palette_take_its_ends() -> None:
    palette = np.array([[1, 2, 3], [4, 5, 6]], np.uint8)
    assert painted(np.array([[9, 10, 11, 99]]), palette, 10)[0].tolist() == [[1, 2, 3], [1, 2, 3], [4, 5, 6], [4, 5, 6]]


@given(
    st.tuples(st.integers(1, 60), st.integers(1, 60)),
    st.tuples(st.integers(1, 80), st.integers(1, 80)),
    st.sampled_from([(), (3,)]),
)
def test_any_picture_fits_any_viewport_and_stays_what_it_was(
    shape: tuple[int, int], size: tuple[int, int], samples: tuple[int, ...]
) -> None:
    picture = np.full((*shape, *samples), 200, np.uint8)
    found = fitted(picture, Viewport(*size))
    assert found.shape[0] <= size[1]
    assert found.shape[1] <= size[0]
    assert found.shape[0] == size[1] or found.shape[1] == size[0]
    assert (found == 200).all(), "an even picture stays even"
    assert found.shape[2:] == samples


def test_a_part_outside_the_picture_is_refused() -> None:
    for viewport in (Viewport(4, 4, 9, 0, 2, 2), Viewport(4, 4, -1, 0, 2, 2), Viewport(4, 4, 0, 8)):
        with pytest.raises(InvalidInput):
            fitted(np.zeros((8, 8), np.uint8), viewport)


def test_pictures_are_written_as_png_and_jpeg() -> None:
    picture = np.arange(64, dtype=np.uint8).reshape(8, 8)
    assert np.array_equal(imagecodecs.png_decode(as_png(picture)), picture)
    assert imagecodecs.jpeg8_decode(as_jpeg(picture, 90)).shape == (8, 8)
    assert as_jpeg(np.zeros((8, 8, 3), np.uint8), 50).startswith(b"\xff\xd8")
    with pytest.raises(UnsupportedPixels):
        as_jpeg(np.zeros((70000, 1), np.uint8), 90)
