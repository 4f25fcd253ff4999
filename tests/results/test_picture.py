import numpy as np
import pytest

from radloop.core.errors import InvalidInput
from radloop.results.letters import HEIGHT, width_of, written
from radloop.results.picture import LONGEST_SIDE, WARNING, KeySlice, drawn
from tests.results.cases import key_slice

ALERT = (255, 196, 0)


def test_the_warning_is_part_of_the_pixels() -> None:
    page = drawn(key_slice(), ["one line"])
    mask = (page == np.array(ALERT, np.uint8)).all(axis=2)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    found = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    wanted = written(WARNING, 3)
    assert found.shape[1] == np.flatnonzero(wanted.any(axis=0))[-1] - np.flatnonzero(wanted.any(axis=0))[0] + 1
    assert found.sum() == wanted.sum(), "every pixel of every letter"


def test_where_the_model_did_not_look_the_grey_is_untouched() -> None:
    plane = np.full((64, 64), 120, dtype=np.uint8)
    heat = np.zeros((8, 8), dtype=np.float32)
    heat[6, 6] = 1.0
    page = drawn(KeySlice(0, plane, heat), [])
    grey = (page == 120).all(axis=2)
    assert grey.sum() > 0.85 * LONGEST_SIDE**2
    assert grey.sum() < 0.99 * LONGEST_SIDE**2


def test_colour_lies_where_the_heat_is() -> None:
    plane = np.full((64, 64), 100, dtype=np.uint8)
    heat = np.zeros((4, 4), dtype=np.float32)
    heat[0, 3] = 5.0  # the upper right corner
    page = drawn(KeySlice(0, plane, heat), []).astype(int)
    top, left = 75, (page.shape[1] - 120 - LONGEST_SIDE) // 2
    shown = page[top : top + LONGEST_SIDE, left : left + LONGEST_SIDE]
    redness = shown[..., 0] - shown[..., 2]
    middle = LONGEST_SIDE // 2
    assert redness[: middle // 2, -middle // 2 :].mean() > 50
    assert abs(redness[middle:, :middle]).max() == 0


def test_a_heat_map_of_nothing_colours_nothing() -> None:
    plane = np.full((32, 32), 90, dtype=np.uint8)
    page = drawn(KeySlice(0, plane, np.zeros((7, 7), np.float32)), [])
    assert (page == 90).all(axis=2).sum() == LONGEST_SIDE**2


@pytest.mark.parametrize("shape", [(512, 512), (3000, 2400), (40, 100), (1, 1)])
def test_pictures_of_every_shape_fit_and_keep_it(shape: tuple[int, int]) -> None:
    plane = np.full(shape, 200, dtype=np.uint8)
    page = drawn(KeySlice(0, plane, np.zeros((2, 2), np.float32)), [])
    lit = (page == 200).all(axis=2)
    rows, columns = lit.any(axis=1).sum(), lit.any(axis=0).sum()
    assert max(rows, columns) == LONGEST_SIDE
    assert rows / columns == pytest.approx(shape[0] / shape[1], rel=0.02)


def test_the_bar_runs_from_strong_to_weak() -> None:
    page = drawn(key_slice(), []).astype(int)
    columns = page.sum(axis=2)
    bar = page[:, page.shape[1] - (page.shape[1] - 120 - LONGEST_SIDE) // 2 - 120 + 24 + 12]
    brightness = bar.sum(axis=1)
    assert brightness.argmax() < brightness.shape[0] // 2
    assert columns.shape[0] > LONGEST_SIDE


@pytest.mark.parametrize(
    ("plane", "heat"),
    [
        (np.zeros((4, 4), np.uint16), np.zeros((2, 2), np.float32)),
        (np.zeros((4, 4, 3), np.uint8), np.zeros((2, 2), np.float32)),
        (np.zeros((4, 4), np.uint8), np.full((2, 2), np.nan, np.float32)),
        (np.zeros((4, 4), np.uint8), np.full((2, 2), -1, np.float32)),
        (np.zeros((4, 4), np.uint8), np.zeros(0, np.float32)),
    ],
    ids=["sixteen bits", "colour", "no number", "negative", "empty"],
)
def test_what_cannot_be_drawn_is_refused(plane: np.ndarray, heat: np.ndarray) -> None:
    with pytest.raises(InvalidInput):
        KeySlice(0, plane, heat)


def test_letters_are_as_wide_as_they_say_and_all_different() -> None:
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.,:()%+-=/?"
    assert written(letters, 2).shape == (2 * HEIGHT, width_of(letters, 2))
    assert len({written(each).tobytes() for each in letters}) == len(letters)
    assert written("").shape == (HEIGHT, 0)
    assert (written("\u00e9") == written("?")).all()
