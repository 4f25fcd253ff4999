"""The letters at the edges name the side of the patient that really lies there."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Browser, Page
from pydicom.dataset import Dataset

from tests.browser.reference import Picture
from tests.browser.screen import frame_now, go_to, opened, resize
from tests.browser.specimens import Case, image, stored

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

SIZE = 64
SPACING_MM = 4.0
Vector = NDArray[np.float64]

LEFT, POSTERIOR, HEAD = np.eye(3)
MARKER_MM = 70 * LEFT - 45 * POSTERIOR + 60 * HEAD
"""Where the bright disc is: to the left, in front, towards the head."""

LETTERS = {"L": LEFT, "R": -LEFT, "P": POSTERIOR, "A": -POSTERIOR, "H": HEAD, "F": -HEAD}
DOWN = {"S": POSTERIOR, "P": -POSTERIOR, "DR": -LEFT, "DL": LEFT}
"""What lies on the table: the back, the belly, the right or the left side (PS3.3 C.7.3.1.1.2)."""


def lying(position: str) -> tuple[Vector, Vector]:
    """Row and column directions of a slice as the scanner sees it from the foot of the table, gravity downwards.

    Head first, what is beyond the slice is the head, so row x column points there; feet first, it is the feet.
    """
    column = DOWN[position[2:]]
    beyond = HEAD if position.startswith("HF") else -HEAD
    return np.cross(column, beyond), column


def described(letters: str) -> Vector:
    """The direction that one letter names, or the sum of what several name."""
    return np.sum([LETTERS[letter] for letter in letters], axis=0)


@dataclass(frozen=True, slots=True)
class Plane:
    """A slice through the marker, and what must stand at the edges: left, right, top, bottom."""

    name: str
    row: Vector
    column: Vector
    edges: tuple[str, str, str, str]


PLANES = [
    Plane("HFS", *lying("HFS"), ("R", "L", "A", "P")),
    Plane("HFP", *lying("HFP"), ("L", "R", "P", "A")),
    Plane("HFDR", *lying("HFDR"), ("A", "P", "L", "R")),
    Plane("HFDL", *lying("HFDL"), ("P", "A", "R", "L")),
    Plane("FFS", *lying("FFS"), ("L", "R", "A", "P")),
    Plane("FFP", *lying("FFP"), ("R", "L", "P", "A")),
    Plane("FFDR", *lying("FFDR"), ("P", "A", "L", "R")),
    Plane("FFDL", *lying("FFDL"), ("A", "P", "R", "L")),
    Plane("coronal", LEFT, -HEAD, ("R", "L", "H", "F")),
    Plane("sagittal", POSTERIOR, -HEAD, ("A", "P", "H", "F")),
    Plane("tilted", LEFT, np.array([0.0, 0.8, -0.6]), ("R", "L", "AH", "PF")),
]
TURNS = ("", "r", "rr", "rrr", "h", "hr", "hrr", "v", "l", "vr")


def drawn(row: Vector, column: Vector) -> tuple[Vector, NDArray[np.uint16]]:
    """Where the first pixel is, and the slice through the marker: a body, and the marker in it."""
    offsets = (np.arange(SIZE) - (SIZE - 1) / 2) * SPACING_MM
    center = MARKER_MM - (MARKER_MM @ row) * row - (MARKER_MM @ column) * column
    places = center + offsets[None, :, None] * row + offsets[:, None, None] * column
    pixels = np.full((SIZE, SIZE), 100, np.uint16)
    pixels[np.linalg.norm(places - center, axis=-1) < 110] = 400
    pixels[np.linalg.norm(places - MARKER_MM, axis=-1) < 18] = 1000
    return places[0, 0], pixels


def slice_of(plane: Plane, **attributes: Any) -> Case:
    first, pixels = drawn(plane.row, plane.column)
    place = {
        "ImagePositionPatient": [f"{value:.6f}" for value in first],
        "ImageOrientationPatient": [f"{value:.6f}" for value in (*plane.row, *plane.column)],
        "PixelSpacing": [SPACING_MM, SPACING_MM],
    }
    return Case(plane.name, lit(pixels, **place, **attributes))


def lit(pixels: NDArray[np.uint16], **attributes: Any) -> Dataset:
    """In a window in which the marker alone is white."""
    window = {"RescaleIntercept": 0, "WindowCenter": 500, "WindowWidth": 1000}
    header = image(pixels, **window)
    for keyword, value in attributes.items():
        setattr(header, keyword, value)
    return header


@pytest.fixture(scope="module")
def page(browser: Browser, server: str) -> Iterator[Page]:
    """The first plane, on a stage four times its size."""
    series = stored(server, [slice_of(PLANES[0])], description="lies")
    with opened(browser, server, series.image_set) as opened_page:
        yield opened_page


def show(page: Page, server: str, *cases: Case, modality: str = "CT") -> None:
    go_to(page, stored(server, cases, modality=modality, description="lies").image_set)
    resize(page, SIZE * 4, SIZE * 4)


def edges(page: Page) -> tuple[str, ...]:
    return tuple(page.get_by_test_id(f"edge-{side}").inner_text() for side in ("left", "right", "top", "bottom"))


def marker(shown: Picture) -> Vector:
    """From the middle of the view to the marker: right, down."""
    rows, columns = np.nonzero(shown[..., 0] > 200)
    assert len(rows) > 100, "the marker is not in the picture"
    return np.array([columns.mean() - (shown.shape[1] - 1) / 2, rows.mean() - (shown.shape[0] - 1) / 2])


def assert_true(page: Page) -> None:
    """The marker lies on the side of the letters that name where it is in the patient, on both axes."""
    at = marker(frame_now(page))
    left, right, top, bottom = map(described, edges(page))
    assert np.allclose(left, -right)
    assert np.allclose(top, -bottom)
    for along, towards in ((at[0], right), (at[1], bottom)):
        assert abs(along) > 20
        assert np.sign(along) == np.sign(towards @ MARKER_MM)


@pytest.mark.parametrize("plane", PLANES, ids=lambda plane: plane.name)
def test_the_letters_are_those_of_the_sides_where_the_patient_lies(page: Page, server: str, plane: Plane) -> None:
    more = {} if len(plane.name) > 4 else {"PatientPosition": plane.name}
    show(page, server, slice_of(plane, **more))
    assert edges(page) == plane.edges
    assert_true(page)


@pytest.mark.parametrize("plane", [PLANES[0], PLANES[2], PLANES[8]], ids=lambda plane: plane.name)
def test_the_letters_turn_with_the_image(page: Page, server: str, plane: Plane) -> None:
    show(page, server, slice_of(plane))
    met = set()
    for turn in TURNS:
        page.keyboard.press(" ")
        for key in turn:
            page.keyboard.press(key)
        frame_now(page)
        met.add(edges(page))
        assert_true(page)
    assert len(met) == 8, "not all eight ways to lay down an image were met"


def test_a_localizer_among_axial_slices_has_letters_of_its_own(page: Page, server: str) -> None:
    axial, coronal = PLANES[0], PLANES[8]
    below = slice_of(axial)
    below.header.ImagePositionPatient = [*below.header.ImagePositionPatient[:2], 20]
    show(page, server, slice_of(axial), below, slice_of(coronal))
    met = set()
    for key in ("Home", "ArrowDown", "ArrowDown"):
        page.keyboard.press(key)
        page.wait_for_selector('body[data-quality^="loss"]')
        if "H" in edges(page):
            assert_true(page)
        met.add(edges(page))
    assert met == {axial.edges, coronal.edges}


def test_an_image_that_does_not_tell_how_it_lies_has_no_letters(page: Page, server: str) -> None:
    _, pixels = drawn(LEFT, POSTERIOR)
    show(page, server, Case("nowhere", lit(pixels)))
    assert edges(page) == ("", "", "", "")


def test_directions_that_are_no_two_directions_give_no_letters(page: Page, server: str) -> None:
    _, pixels = drawn(LEFT, POSTERIOR)
    for wrong in ([0, 0, 0, 0, 0, 0], [1, 0, 0, 1, 0, 0], [1, 0, 0, 0.7, 0.7, 0]):
        show(page, server, Case("wrong", lit(pixels, ImageOrientationPatient=wrong, ImagePositionPatient=[0, 0, 0])))
        assert edges(page) == ("", "", "", "")


@pytest.mark.parametrize(
    ("told", "wanted"),
    [
        (["L", "F"], ("R", "L", "H", "F")),
        (["R", "F"], ("L", "R", "H", "F")),
        (["P", "F"], ("A", "P", "H", "F")),
        (["A", "F"], ("P", "A", "H", "F")),
        (["LA", "F"], ("RP", "LA", "H", "F")),
        (["F", "R"], ("H", "F", "L", "R")),
    ],
    ids="".join,
)
def test_a_radiograph_has_the_letters_of_its_patient_orientation(
    page: Page, server: str, told: list[str], wanted: tuple[str, ...]
) -> None:
    _, pixels = drawn(LEFT, POSTERIOR)
    show(page, server, Case("radiograph", lit(pixels, PatientOrientation=told)), modality="DX")
    assert edges(page) == wanted
    page.keyboard.press("h")
    frame_now(page)
    assert edges(page) == (wanted[1], wanted[0], *wanted[2:])


@pytest.mark.parametrize("told", [["L", "R"], ["X", "F"], ["L"], [""], ["LR", "F"]], ids=str)
def test_a_patient_orientation_that_makes_no_sense_gives_no_letters(page: Page, server: str, told: list[str]) -> None:
    _, pixels = drawn(LEFT, POSTERIOR)
    show(page, server, Case("radiograph", lit(pixels, PatientOrientation=told)), modality="DX")
    assert edges(page) == ("", "", "", "")
