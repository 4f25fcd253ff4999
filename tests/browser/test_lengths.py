"""A known length is measured as what it is, by a real pointer from the one end that is seen to the other."""

import re
from collections.abc import Iterator

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.screen import frame_now, opened, resize
from tests.browser.specimens import Case, image, stored

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

ROWS, COLUMNS = 160, 140
ROW_MM, COLUMN_MM = 0.5, 0.625
HALF_A_PIXEL_MM = min(ROW_MM, COLUMN_MM) / 2
START = (30, 28)
ENDS = {"along a row": (30, 108), "along a column": (130, 28), "across": (110, 76)}
"""Row and column: 80 columns, 100 rows, and 48 columns by 80 rows are 50.0 mm each."""

LENGTH_MM = 50.0
VIEW = (640, 480)


@pytest.fixture(scope="module")
def pages(browser: Browser, server: str) -> Iterator[Page]:
    """One slice for each end: two dots of 3 x 3 pixels on black, their middles 50.0 mm apart."""
    cases = []
    for number, (name, end) in enumerate(ENDS.items()):
        pixels = np.zeros((ROWS, COLUMNS), np.uint16)
        for row, column in (START, end):
            pixels[row - 1 : row + 2, column - 1 : column + 2] = 1000
        header = image(pixels, RescaleIntercept=0, WindowCenter=500, WindowWidth=1000)
        header.PixelSpacing = [ROW_MM, COLUMN_MM]
        header.ImageOrientationPatient, header.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, 3.0 * number]
        cases.append(Case(name, header))
    with opened(browser, server, stored(server, cases, description="50 mm").image_set) as page:
        resize(page, *VIEW)
        yield page


@pytest.fixture
def page(pages: Page) -> Page:
    """Upright, whole, at the first slice."""
    for key in ("Escape", " ", "Home"):
        pages.keyboard.press(key)
    return pages


def dots(page: Page) -> list[tuple[float, float]]:
    """The middles of the dots on the page, in CSS pixels, from the canvas as it is drawn."""
    bright = frame_now(page)[..., 0].astype(float)
    rows, columns = np.nonzero(bright > 100)
    box = page.get_by_test_id("stack-canvas").bounding_box()
    assert box is not None
    points = np.stack((columns, rows), axis=1)
    far = np.linalg.norm(points - points[0], axis=1) > 40
    return [
        (box["x"] + part[:, 0].mean() + 0.5, box["y"] + part[:, 1].mean() + 0.5) for part in (points[~far], points[far])
    ]


def measured(page: Page) -> float:
    """The millimetres that a drag from dot to dot is said to have."""
    (left, top), (right, bottom) = dots(page)
    page.keyboard.press("d")
    page.mouse.move(left, top)
    page.mouse.down()
    page.mouse.move((left + right) / 2, (top + bottom) / 2)
    page.mouse.move(right, bottom)
    page.mouse.up()
    page.keyboard.press("Escape")
    said = page.locator("svg.marks text").last.text_content() or ""
    found = re.search(r"([\d.]+) mm", said)
    assert found, said
    page.keyboard.press("Control+z")  # or the next drag would take hold of its ends
    expect(page.locator("svg.marks text")).to_have_count(0)
    return float(found[1])


def scale_bar(page: Page) -> tuple[float, float]:
    """What the scale bar says in millimetres, and how many pixels long it is."""
    said = page.locator(".scale span").inner_text()
    value, unit = said.split()
    box = page.locator(".scale-line").bounding_box()
    assert box is not None
    return float(value) * {"mm": 1, "cm": 10}[unit], box["width"]


def go(page: Page, name: str) -> None:
    number = list(ENDS).index(name)
    for _ in range(number):
        page.keyboard.press("ArrowDown")
    page.wait_for_selector(f'body[data-frame-shown="{number}"][data-quality="lossless"]')


@pytest.mark.parametrize("turn", ["", "r", "h", "vl"], ids=lambda turn: turn or "upright")
@pytest.mark.parametrize("name", ENDS)
def test_fifty_millimetres_are_fifty_millimetres(page: Page, name: str, turn: str) -> None:
    go(page, name)
    for key in turn:
        page.keyboard.press(key)
    found = measured(page)
    print(f"{name}, {turn or 'upright'}: {found} mm of {LENGTH_MM}")
    assert found == pytest.approx(LENGTH_MM, abs=HALF_A_PIXEL_MM)


def test_a_length_is_as_right_from_close_by(page: Page) -> None:
    go(page, "across")
    page.keyboard.press("+")
    assert measured(page) == pytest.approx(LENGTH_MM, abs=HALF_A_PIXEL_MM)


@pytest.mark.parametrize("turn", ["", "r", "hl"], ids=lambda turn: turn or "upright")
@pytest.mark.parametrize("zoom", ["", "+", "---"], ids=lambda zoom: zoom or "whole")
def test_the_scale_bar_is_right_within_a_pixel(page: Page, turn: str, zoom: str) -> None:
    """Held against the two dots, whose distance is known, along a row and along a column."""
    found = []
    for name in ("along a row", "along a column"):
        page.keyboard.press("Home")
        go(page, name)
        for key in turn + zoom:
            page.keyboard.press(key)
        (left, top), (right, bottom) = dots(page)
        bar_mm, bar_px = scale_bar(page)
        true_px = np.hypot(right - left, bottom - top) * bar_mm / LENGTH_MM
        found.append(bar_px - true_px)
        page.keyboard.press(" ")
    print(f"turn {turn!r}, zoom {zoom!r}: off by {found[0]:+.2f} and {found[1]:+.2f} px")
    assert max(map(abs, found)) <= 1
