"""What is on the screen is what the file says: every kind of pixel, every kind of window, both renderers.

A series holds one instance a case; `reference.picture` works out what must be seen. The stage is made as large as the
image, so that an image pixel is a screen pixel, and every pixel of the canvas is compared. `pytest -s` prints the
greatest difference of every case, in grey levels.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.reference import Picture, Window, picture
from tests.browser.screen import frame_now, go_to, opened, resize, screenshot, seen, to_first
from tests.browser.specimens import (
    COLUMNS,
    LAYOUTS,
    ROWS,
    Series,
    colour_cases,
    grey_case,
    grey_cases,
    palette_cases,
    stored,
)

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

RENDERERS = ("canvas2d", "webgl2")
PRESETS = {
    "soft-tissue": Window(40, 400),
    "lung": Window(-600, 1500),
    "liver": Window(90, 150),
    "bone": Window(480, 2500),
    "brain": Window(40, 80),
}
TURNS = {"r": lambda a: np.rot90(a, -1), "l": np.rot90, "h": np.fliplr, "v": np.flipud}


def at_one_to_one(page: Page, ratio: float = 1) -> None:
    resize(page, COLUMNS / ratio, ROWS / ratio)


def assert_true(title: str, series: Series, shown: Sequence[Picture], wanted: Sequence[Picture]) -> None:
    """Print the greatest difference of every case in grey levels, and fail with those that are too far off."""
    found = [int(np.abs(one.astype(int) - other).max()) for one, other in zip(shown, wanted, strict=True)]
    print(f"\n{title}: {len(found)} cases, greatest difference {max(found)}")
    for case, difference in zip(series.cases, found, strict=True):
        print(f"  {difference:3d}  {case.name}")
    wrong = [f"{case.name}: {off}" for case, off in zip(series.cases, found, strict=True) if off > case.tolerance]
    assert not wrong, f"{title}, {len(wrong)} of {len(found)}: " + "; ".join(wrong[:20])


@pytest.fixture(scope="module")
def few_greys(server: str) -> Series:
    """One of each layout, of values that the presets of CT cut in two."""
    cases = [grey_case(bits, "MONOCHROME2", "middle", (1.0, -300.0)) for bits in LAYOUTS]
    cases.append(grey_case(LAYOUTS[-2], "MONOCHROME1", "middle", (1.0, -300.0)))
    return stored(server, cases, description="Some greys")


@pytest.fixture(scope="module")
def colours(server: str) -> Series:
    return stored(server, colour_cases(), modality="OT", description="Every colour")


@pytest.fixture(scope="module")
def palettes(server: str) -> Series:
    return stored(server, palette_cases(), modality="OT", description="Palettes")


@pytest.mark.parametrize(("renderer", "turn"), [("canvas2d", 0), ("webgl2", 1)])
def test_every_grey_is_true_in_the_window_of_its_file(browser: Browser, server: str, renderer: str, turn: int) -> None:
    """The renderers take turns: each meets every layout and every window, both together each layout in each window."""
    greys = stored(server, grey_cases()[turn::2], description="Every grey")
    with opened(browser, server, greys.image_set, renderer=renderer) as page:
        at_one_to_one(page)
        shown = seen(page, len(greys.cases), "as-stored")
    assert_true(f"{renderer}, as stored", greys, shown, [picture(data) for data in greys.files])


@pytest.mark.parametrize("renderer", RENDERERS)
def test_presets_and_inversion_are_true(browser: Browser, server: str, few_greys: Series, renderer: str) -> None:
    files, count = few_greys.files, len(few_greys.files)
    with opened(browser, server, few_greys.image_set, renderer=renderer) as page:
        at_one_to_one(page)
        for preset, window in list(PRESETS.items())[RENDERERS.index(renderer) :: 2]:  # they take turns
            shown = seen(page, count, preset)
            to_first(page)
            assert_true(f"{renderer}, {preset}", few_greys, shown, [picture(data, window=window) for data in files])
        page.keyboard.press("i")
        shown = seen(page, count, "lung")
        wanted = [picture(data, window=PRESETS["lung"], is_inverted=True) for data in files]
        assert_true(f"{renderer}, inverted", few_greys, shown, wanted)


@pytest.mark.parametrize("renderer", RENDERERS)
def test_every_colour_is_true(browser: Browser, server: str, colours: Series, palettes: Series, renderer: str) -> None:
    with opened(browser, server, colours.image_set, renderer=renderer) as page:
        for title, series in (("colours", colours), ("palettes", palettes)):
            go_to(page, series.image_set)
            at_one_to_one(page)
            wanted = [picture(data) for data in series.files]
            assert_true(f"{renderer}, {title}", series, seen(page, len(series.cases)), wanted)
            page.keyboard.press("i")
            to_first(page)
            shown = seen(page, len(series.cases))
            inverted = [picture(data, is_inverted=True) for data in series.files]
            assert_true(f"{renderer}, {title} inverted", series, shown, inverted)


@pytest.mark.parametrize("renderer", RENDERERS)
def test_a_series_opens_as_its_file_says(browser: Browser, server: str, renderer: str) -> None:
    """No preset is touched: what a reader sees first is true as well."""
    bits = {(each.stored, each.signed): each for each in LAYOUTS}
    alone = [
        ("CT", grey_case(bits[12, False], "MONOCHROME2", "odd numbers", (1.0, -1024.0))),
        ("DX", grey_case(bits[12, False], "MONOCHROME1", "middle", (1.0, 0.0))),
        ("CR", grey_case(bits[10, False], "MONOCHROME1", "none", (1.0, 0.0))),
        ("MR", grey_case(bits[16, True], "MONOCHROME2", "none", (0.37, -12.25))),
        ("US", colour_cases()[8]),
        ("NM", palette_cases()[0]),
    ]
    series = [stored(server, [case], modality=modality, description="Alone") for modality, case in alone]
    shown = []
    with opened(browser, server, series[0].image_set, renderer=renderer) as page:
        for each in series:
            go_to(page, each.image_set)
            at_one_to_one(page)
            shown.append(frame_now(page))
    together = replace(series[0], cases=[case for _, case in alone])
    assert_true(f"{renderer}, opened", together, shown, [picture(each.files[0]) for each in series])


@pytest.mark.parametrize("renderer", RENDERERS)
def test_voi_functions_are_true(browser: Browser, server: str, renderer: str) -> None:
    cases = [
        grey_case(bits, photometric, "odd numbers", (1.0, -300.0), VOILUTFunction=function)
        for bits in (LAYOUTS[0], LAYOUTS[8], LAYOUTS[13])
        for photometric in ("MONOCHROME2", "MONOCHROME1")
        for function in ("LINEAR", "LINEAR_EXACT", "SIGMOID")
    ]
    named = [replace(case, name=f"{case.header.VOILUTFunction}: {case.name}") for case in cases]
    series = stored(server, named, modality="DX", description="Functions")
    with opened(browser, server, series.image_set, renderer=renderer) as page:
        at_one_to_one(page)
        shown = seen(page, len(cases))
    assert_true(f"{renderer}, functions", series, shown, [picture(data) for data in series.files])


@pytest.mark.parametrize("renderer", RENDERERS)
def test_the_screen_shows_what_the_canvas_holds(
    browser: Browser, server: str, colours: Series, few_greys: Series, renderer: str
) -> None:
    with opened(browser, server, colours.image_set, renderer=renderer) as page:
        for series in (colours, few_greys):
            go_to(page, series.image_set)
            at_one_to_one(page)
            held = frame_now(page)
            np.testing.assert_array_equal(screenshot(page), held)


@pytest.mark.parametrize(("renderer", "ratio"), [("canvas2d", 2), ("webgl2", 3)])
def test_device_pixels_of_a_phone_are_true(
    browser: Browser, server: str, few_greys: Series, renderer: str, ratio: int
) -> None:
    with opened(browser, server, few_greys.image_set, renderer=renderer, ratio=ratio) as page:
        at_one_to_one(page, ratio)
        shown = seen(page, len(few_greys.cases), "as-stored")
    wanted = [picture(data) for data in few_greys.files]
    assert_true(f"{renderer}, {ratio} device pixels", few_greys, shown, wanted)


@pytest.mark.parametrize("renderer", RENDERERS)
def test_turned_and_mirrored_pixels_are_true(browser: Browser, server: str, few_greys: Series, renderer: str) -> None:
    data = few_greys.files[10]
    with opened(browser, server, few_greys.image_set, renderer=renderer) as page:
        at_one_to_one(page)
        for _ in range(10):
            page.keyboard.press("ArrowDown")
        page.wait_for_selector('body[data-frame-shown="10"][data-quality^="loss"]')
        page.get_by_test_id("preset-as-stored").click()
        wanted, shown, done = picture(data), [], []
        for key in "rrhvllvrh":
            wanted = TURNS[key](wanted)
            page.keyboard.press(key)
            rows, columns = wanted.shape[:2]
            resize(page, columns, rows)
            shown.append(frame_now(page))
            done.append(wanted)
    turned = Series("", [replace(few_greys.cases[10], name=f"after {key}") for key in "rrhvllvrh"], [])
    assert_true(f"{renderer}, turned", turned, shown, done)


@pytest.mark.parametrize("renderer", RENDERERS)
def test_the_middles_of_enlarged_pixels_are_true(
    browser: Browser, server: str, few_greys: Series, renderer: str
) -> None:
    """Three screen pixels an image pixel: what lies between middles is mixed, the middles are not."""
    with opened(browser, server, few_greys.image_set, renderer=renderer) as page:
        resize(page, COLUMNS * 3, ROWS * 3)
        shown = [each[1::3, 1::3] for each in seen(page, len(few_greys.cases), "as-stored")]
    assert_true(f"{renderer}, enlarged", few_greys, shown, [picture(data) for data in few_greys.files])


def test_a_preview_is_called_one_as_long_as_it_is_shown(browser: Browser, server: str, few_greys: Series) -> None:
    """Full frames are held back: what is drawn then is a preview, says so, and is no more called lossless."""
    context = browser.new_context(viewport={"width": 900, "height": 700})
    page = context.new_page()
    hold_back_full_frames(page)
    page.goto(f"{server}/app/#/view/{few_greys.image_set}")
    page.wait_for_selector('body[data-quality="preview"][data-frame-shown]')
    expect(page.get_by_test_id("quality-badge")).to_contain_text("preview")
    expect(page.get_by_test_id("quality-badge")).not_to_contain_text("lossless")
    at_one_to_one(page)
    assert page.get_by_test_id("quality-badge").get_attribute("data-quality") == "preview"
    page.unroute_all(behavior="ignoreErrors")
    context.close()


def hold_back_full_frames(page: Page) -> None:
    """Let previews pass, by whichever protocol they travel, and nothing of a full frame."""
    page.route(re.compile(r"/api/v1/image-sets/\w+/frames/\d+$"), lambda route: None)

    def previews_alone(route) -> None:
        items = re.split(r"[,\n]", route.request.post_data or "")
        kept = [item for item in items if item.startswith("p")]
        if kept:
            route.continue_(post_data=",".join(kept))

    page.route(re.compile(r"/stream/v1/\w+/frames"), previews_alone)
