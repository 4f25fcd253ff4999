"""The stack view in the hands of a radiologist: every gesture with real touches, every key, and what is measured."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import running
from tests.browser.test_web import previews_only
from tests.dicom.files import ct, written

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

PHONE = {"viewport": {"width": 412, "height": 915}, "is_mobile": True, "has_touch": True}
DESKTOP = {"viewport": {"width": 1280, "height": 800}}
WAIT_MS = 30_000
SLICES = 12
ROWS, COLUMNS = 200, 160
ROW_MM, COLUMN_MM = 0.5, 0.75
BLOCK = (slice(50, 90), slice(40, 100))  # rows, columns: one value all over
BLOCK_HU = 100
Spot = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Shelf:
    """The image sets these tests look at."""

    chest: str
    second: str
    radiograph: str
    film: str


def _pixels(number: int) -> Any:
    rows, columns = np.mgrid[0:ROWS, 0:COLUMNS]
    pixels = (1024 + rows + columns + number).astype(np.uint16)
    pixels[BLOCK] = 1024 + BLOCK_HU
    return pixels


def _chest(series: int) -> list[bytes]:
    return [
        written(
            ct(
                _pixels(number),
                SOPInstanceUID=f"1.2.77.{series}.{number}",
                SeriesInstanceUID=f"1.2.77.{series}",
                StudyInstanceUID="1.2.77",
                SeriesNumber=series,
                InstanceNumber=number + 1,
                ImagePositionPatient=[0, 0, 3.0 * number],
                PixelSpacing=[ROW_MM, COLUMN_MM],
                PatientID="STACK",
                PatientName="Stack^Of",
                SeriesDescription=f"Measured {series}",
                WindowCenter=100,
                WindowWidth=600,
            )
        )
        for number in range(SLICES)
    ]


_NOWHERE = dict.fromkeys(("PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "FrameOfReferenceUID"))


def _radiograph() -> bytes:
    rows, columns = np.mgrid[0:2000, 0:1600]
    return written(
        ct(
            ((rows + columns) % 4096).astype(np.uint16),
            **_NOWHERE,
            SOPClassUID="1.2.840.10008.5.1.4.1.1.1.1",
            Modality="DX",
            SOPInstanceUID="1.2.78.1",
            SeriesInstanceUID="1.2.78.2",
            StudyInstanceUID="1.2.78",
            PatientID="RADIOGRAPH",
            ImagerPixelSpacing=[0.2, 0.2],
            PatientOrientation=["L", "F"],
            PhotometricInterpretation="MONOCHROME1",
            BitsStored=12,
            HighBit=11,
            RescaleIntercept=0,
            WindowCenter=None,
            WindowWidth=None,
        )
    )


def _film() -> bytes:
    frames = np.zeros((16, 64, 96, 3), np.uint8)
    for number, frame in enumerate(frames):
        frame[:, number * 4 : number * 4 + 20, 1] = 200
    described = dict.fromkeys(("RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth"))
    return written(
        ct(
            frames[0],
            **_NOWHERE,
            **described,
            SOPClassUID="1.2.840.10008.5.1.4.1.1.3.1",
            Modality="US",
            SOPInstanceUID="1.2.79.1",
            SeriesInstanceUID="1.2.79.2",
            StudyInstanceUID="1.2.79",
            PatientID="FILM",
            NumberOfFrames=len(frames),
            PixelData=frames.tobytes(),
        )
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of its own: other tests look at what came last, and that is not to be ours."""
    with running(tmp_path_factory.mktemp("stack")) as url:
        yield url


@pytest.fixture(scope="module")
def shelf(server: str) -> Shelf:
    def sent(files: Sequence[bytes]) -> str:
        parts = [("files", (f"{place}.dcm", data)) for place, data in enumerate(files)]
        answer = httpx.post(f"{server}/api/v1/uploads?complete=1", files=parts, timeout=60).raise_for_status()
        name = answer.json()["image_sets"][0]
        assert isinstance(name, str)
        return name

    return Shelf(sent(_chest(1)), sent(_chest(2)), sent([_radiograph()]), sent([_film()]))


def _opened(browser: Browser, **options: Any) -> Iterator[Page]:
    context = browser.new_context(**options)
    page = context.new_page()
    page.set_default_timeout(WAIT_MS)
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    yield page
    context.close()
    assert faults == []


@pytest.fixture(params=[PHONE, DESKTOP], ids=["phone", "desktop"])
def page(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Page]:
    yield from _opened(browser, **request.param)


@pytest.fixture
def phone(browser: Browser) -> Iterator[Page]:
    yield from _opened(browser, **PHONE)


@pytest.fixture
def desktop(browser: Browser) -> Iterator[Page]:
    yield from _opened(browser, **DESKTOP)


def show(page: Page, server: str, name: str, *, frame: int | None = None) -> None:
    page.goto(f"{server}/app/#/view/{name}")
    rest(page, frame=frame)
    page.get_by_test_id("tool-invert").wait_for(state="attached")


def rest(page: Page, *, frame: int | None = None) -> None:
    """Wait until a slice is drawn at full quality."""
    shown = "" if frame is None else f'[data-frame-shown="{frame}"][data-frame-wanted="{frame}"]'
    page.wait_for_selector(f'body[data-quality^="loss"]{shown}', timeout=WAIT_MS)


def wanted(page: Page) -> int:
    return int(page.evaluate("document.body.dataset.frameWanted"))


def spot(page: Page, across: float, down: float) -> Spot:
    """A point of the stage by its shares of width and height."""
    box = page.get_by_test_id("stack-canvas").bounding_box()
    assert box is not None
    return box["x"] + box["width"] * across, box["y"] + box["height"] * down


def pixel(page: Page, column: float, row: float) -> Spot:
    """Where a point of the chest is on the page while the image is fitted and upright."""
    box = page.get_by_test_id("stack-canvas").bounding_box()
    assert box is not None
    scale = min(box["width"] / COLUMNS, box["height"] / (ROWS * ROW_MM / COLUMN_MM))
    down = scale * ROW_MM / COLUMN_MM
    left = box["x"] + (box["width"] - COLUMNS * scale) / 2
    top = box["y"] + (box["height"] - ROWS * down) / 2
    return left + column * scale, top + row * down


class Fingers:
    """Touches as the browser gets them from a screen, not as scripts make them."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._session = page.context.new_cdp_session(page)

    def send(self, kind: str, *spots: Spot) -> None:
        points = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(spots)]
        self._session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    def drag(self, *ways: tuple[Spot, Spot], steps: int = 8, hold_ms: int = 0, rest_ms: int = 120) -> None:
        """Every finger along its way, all at once; `rest_ms` before they leave, 0 for a flick."""
        self.send("touchStart", *(start for start, _ in ways))
        self._page.wait_for_timeout(hold_ms)
        for step in range(1, steps + 1):
            part = step / steps
            self.send("touchMove", *((a[0] + (b[0] - a[0]) * part, a[1] + (b[1] - a[1]) * part) for a, b in ways))
            self._page.wait_for_timeout(8)
        self._page.wait_for_timeout(rest_ms)
        self.send("touchEnd")

    def tap(self, where: Spot) -> None:
        self.send("touchStart", where)
        self.send("touchEnd")


def look(page: Page) -> bytes:
    page.wait_for_timeout(80)
    return page.get_by_test_id("stack-canvas").screenshot()


def letters(page: Page) -> str:
    return "".join(page.get_by_test_id(f"edge-{side}").inner_text() for side in ("left", "right", "top", "bottom"))


def window_of(page: Page) -> str:
    page.wait_for_timeout(100)  # it is written with the next frame of the screen
    found = re.search(r"W \S+ L \S+", page.locator(".corner.bottom-left").inner_text())
    assert found is not None
    return found[0]


def marks(page: Page) -> list[str]:
    """What is written beside the measurements of the slice in view."""
    page.wait_for_timeout(100)  # they are drawn with the next frame of the screen
    texts = "nodes => nodes.map((node) => [...node.children].map((line) => line.textContent).join('\\n'))"
    found = page.locator(".marks text").evaluate_all(texts)
    assert isinstance(found, list)
    return found


# --- fingers ---------------------------------------------------------------------------------------------------------


@pytest.mark.alone
def test_one_finger_scrolls_and_a_flick_glides_on(phone: Page, server: str, shelf: Shelf) -> None:
    show(phone, server, shelf.chest)
    fingers = Fingers(phone)
    phone.keyboard.press("Home")
    rest(phone, frame=0)
    fingers.drag((spot(phone, 0.5, 0.4), spot(phone, 0.5, 0.5)))
    slow = wanted(phone)
    assert 2 <= slow <= 6
    phone.keyboard.press("Home")
    fingers.drag((spot(phone, 0.5, 0.4), spot(phone, 0.5, 0.5)), steps=4, rest_ms=0)
    phone.wait_for_timeout(900)
    assert wanted(phone) > slow


def test_reduced_motion_stops_where_the_finger_leaves(browser: Browser, server: str, shelf: Shelf) -> None:
    for page in _opened(browser, **PHONE, reduced_motion="reduce"):
        show(page, server, shelf.chest)
        page.keyboard.press("Home")
        Fingers(page).drag((spot(page, 0.5, 0.4), spot(page, 0.5, 0.5)), steps=4, rest_ms=0)
        left = wanted(page)
        page.wait_for_timeout(600)
        assert wanted(page) == left


def test_two_fingers_zoom_and_move_and_a_double_tap_fits(phone: Page, server: str, shelf: Shelf) -> None:
    show(phone, server, shelf.chest)
    fingers = Fingers(phone)
    before, bar = look(phone), phone.locator(".scale span").inner_text()
    fingers.drag((spot(phone, 0.4, 0.5), spot(phone, 0.15, 0.5)), (spot(phone, 0.6, 0.5), spot(phone, 0.85, 0.5)))
    closer = look(phone)
    assert closer != before
    assert phone.locator(".scale span").inner_text() != bar
    fingers.drag((spot(phone, 0.3, 0.5), spot(phone, 0.3, 0.62)), (spot(phone, 0.6, 0.5), spot(phone, 0.6, 0.62)))
    assert look(phone) not in (before, closer)
    assert wanted(phone) == (SLICES - 1) // 2  # nothing has scrolled
    fingers.tap(spot(phone, 0.5, 0.5))
    fingers.tap(spot(phone, 0.5, 0.5))
    assert look(phone) == before


def test_a_long_press_sets_the_window_for_one_drag(phone: Page, server: str, shelf: Shelf) -> None:
    show(phone, server, shelf.chest)
    fingers = Fingers(phone)
    assert window_of(phone) == "W 600 L 100"
    fingers.drag((spot(phone, 0.4, 0.5), spot(phone, 0.7, 0.6)), hold_ms=550)
    changed = window_of(phone)
    assert changed != "W 600 L 100"
    assert wanted(phone) == (SLICES - 1) // 2
    fingers.drag((spot(phone, 0.5, 0.4), spot(phone, 0.5, 0.5)))
    assert window_of(phone) == changed
    assert wanted(phone) != (SLICES - 1) // 2


def test_window_mode_lasts_until_it_is_left(phone: Page, server: str, shelf: Shelf) -> None:
    show(phone, server, shelf.chest)
    phone.get_by_test_id("open-window").tap()
    phone.get_by_test_id("tool-window-mode").tap()
    phone.get_by_test_id("open-window").tap()
    Fingers(phone).drag((spot(phone, 0.4, 0.4), spot(phone, 0.6, 0.5)))
    assert window_of(phone) != "W 600 L 100"
    assert wanted(phone) == (SLICES - 1) // 2


def test_the_edge_slider_jumps_and_tells_the_slice_in_a_bubble(phone: Page, server: str, shelf: Shelf) -> None:
    show(phone, server, shelf.chest)
    box = phone.locator(".slider").bounding_box()
    assert box is not None
    assert box["width"] >= 44
    middle, bottom = box["x"] + box["width"] / 2, box["y"] + box["height"] - 14
    fingers = Fingers(phone)
    fingers.send("touchStart", (middle, box["y"] + box["height"] * 0.5))
    fingers.send("touchMove", (middle, bottom))
    expect(phone.locator(".bubble")).to_have_text(str(SLICES))
    fingers.send("touchEnd")
    rest(phone, frame=SLICES - 1)
    expect(phone.locator(".bubble")).to_be_hidden()


def test_every_tool_is_a_target_for_a_thumb_in_the_lower_half(phone: Page, server: str, shelf: Shelf) -> None:
    show(phone, server, shelf.chest)
    for group in ("window", "measure", "view", "series"):
        phone.get_by_test_id(f"open-{group}").tap()
        for target in phone.locator(".sheet.open button, .sheet.open a, .opener").all():
            box = target.bounding_box()
            assert box is not None
            assert min(box["width"], box["height"]) >= 44, target.get_attribute("data-testid")
            assert box["y"] > 915 * 0.4
            assert box["y"] + box["height"] <= 915
    phone.keyboard.press("Escape")
    expect(phone.locator(".sheet.open")).to_have_count(0)


# --- the mouse -------------------------------------------------------------------------------------------------------


def _pull(page: Page, start: Spot, end: Spot, button: Any) -> None:
    page.mouse.move(*start)
    page.mouse.down(button=button)
    page.mouse.move(*end, steps=5)
    page.mouse.up(button=button)


def test_the_mouse_sets_the_window_scrolls_zooms_and_pans(desktop: Page, server: str, shelf: Shelf) -> None:
    show(desktop, server, shelf.chest)
    middle = wanted(desktop)
    whole = look(desktop)
    _pull(desktop, spot(desktop, 0.5, 0.5), spot(desktop, 0.6, 0.6), "left")
    assert window_of(desktop) != "W 600 L 100"
    desktop.keyboard.press("6")
    assert window_of(desktop) == "W 600 L 100"
    desktop.mouse.wheel(0, 120)
    rest(desktop, frame=middle + 1)
    desktop.mouse.wheel(0, -120)
    rest(desktop, frame=middle)
    bar = desktop.locator(".scale span").inner_text()
    _pull(desktop, spot(desktop, 0.5, 0.7), spot(desktop, 0.5, 0.3), "right")
    assert desktop.locator(".scale span").inner_text() != bar
    closer = look(desktop)
    _pull(desktop, spot(desktop, 0.5, 0.5), spot(desktop, 0.6, 0.55), "middle")
    assert look(desktop) not in (closer, whole)
    assert (wanted(desktop), window_of(desktop)) == (middle, "W 600 L 100")
    desktop.mouse.dblclick(*spot(desktop, 0.5, 0.5))
    assert look(desktop) == whole


# --- keys ------------------------------------------------------------------------------------------------------------


def test_the_keys_of_ohif_move_through_the_series(page: Page, server: str, shelf: Shelf) -> None:
    show(page, server, shelf.chest)
    for key, frame in [
        ("Home", 0),
        ("ArrowDown", 1),
        ("ArrowRight", 2),
        ("ArrowUp", 1),
        ("Shift+ArrowDown", 11),
        ("Shift+ArrowUp", 1),
        ("End", SLICES - 1),
        ("ArrowDown", SLICES - 1),
    ]:
        page.keyboard.press(key)
        rest(page, frame=frame)
    expect(page.get_by_test_id("slice-number")).to_contain_text(f"{SLICES}/{SLICES}")


def test_the_image_turns_and_its_letters_turn_with_it(page: Page, server: str, shelf: Shelf) -> None:
    show(page, server, shelf.chest)
    upright = look(page)
    assert letters(page) == "RLAP"
    for key, expected in [("r", "PARL"), ("l", "RLAP"), ("l", "APLR"), ("r", "RLAP"), ("h", "LRAP"), ("v", "LRPA")]:
        page.keyboard.press(key)
        for side, letter in zip(("left", "right", "top", "bottom"), expected, strict=True):
            expect(page.get_by_test_id(f"edge-{side}")).to_have_text(letter)
    assert look(page) != upright
    page.keyboard.press("Space")
    assert look(page) == upright
    assert letters(page) == "RLAP"


def test_the_picture_is_the_same_with_and_without_a_gpu_however_it_is_turned(
    desktop: Page, server: str, shelf: Shelf
) -> None:
    """WebGL in software draws what the 2D canvas draws: the same turns, the same greys."""
    seen: dict[str, list[Any]] = {}
    for address in ("/app/", "/app/?renderer=webgl2"):
        desktop.goto("about:blank")
        desktop.goto(f"{server}{address}#/view/{shelf.chest}")
        rest(desktop)
        desktop.get_by_test_id("tool-invert").wait_for(state="attached")
        kind = desktop.evaluate("document.body.dataset.renderer")
        for keys in ("", "r", "h", "v", "i"):
            for key in keys:
                desktop.keyboard.press(key)
            seen.setdefault(kind, []).append(_greys(look(desktop)))
    assert set(seen) == {"canvas2d", "webgl2"}
    for one, other in zip(seen["canvas2d"], seen["webgl2"], strict=True):
        apart = np.abs(one - other)
        assert np.percentile(apart, 99) <= 2
        assert one.std() > 10


def _greys(picture: bytes) -> Any:
    from io import BytesIO

    from PIL import Image

    return np.asarray(Image.open(BytesIO(picture)).convert("L"), dtype=np.int16)[80:-80, 240:-240]


def test_keys_zoom_fit_invert_and_choose_windows(page: Page, server: str, shelf: Shelf) -> None:
    show(page, server, shelf.chest)
    first = look(page)
    page.keyboard.press("+")
    closer = look(page)
    assert closer != first
    page.keyboard.press("-")
    assert look(page) != closer
    page.keyboard.press("=")
    assert look(page) == first
    page.keyboard.press("i")
    assert look(page) != first
    page.keyboard.press("i")
    assert look(page) == first
    for key, window in [
        ("1", "W 400 L 40"),
        ("2", "W 1500 L -600"),
        ("3", "W 150 L 90"),
        ("4", "W 2500 L 480"),
        ("5", "W 80 L 40"),
        ("6", "W 600 L 100"),
    ]:
        page.keyboard.press(key)
        expect(page.locator(".corner.bottom-left")).to_contain_text(window)
    page.keyboard.press("o")
    expect(page.get_by_test_id("slice-number")).to_be_hidden()
    page.keyboard.press("o")
    expect(page.get_by_test_id("slice-number")).to_be_visible()


def test_the_help_tells_every_key_and_closes_with_escape(page: Page, server: str, shelf: Shelf) -> None:
    show(page, server, shelf.chest)
    page.keyboard.press("?")
    help_sheet = page.get_by_test_id("help")
    expect(help_sheet).to_be_visible()
    for words in ("Rotate right", "Long press", "Ctrl + z", "Page down", "Give a finding"):
        expect(help_sheet).to_contain_text(words)
    page.keyboard.press("r")
    page.keyboard.press("Escape")
    expect(help_sheet).to_be_hidden()
    assert letters(page) == "RLAP"  # the key went nowhere while the sheet lay over the image


def test_f_opens_the_finding_and_v_flips(page: Page, server: str, shelf: Shelf) -> None:
    show(page, server, shelf.chest)
    page.keyboard.press("v")
    expect(page.get_by_test_id("edge-top")).to_have_text("P")
    expect(page.locator("#verify-panel")).to_be_hidden()
    page.keyboard.press("f")
    expect(page.locator("#verify-panel")).to_be_visible()


def test_keys_typed_into_a_note_stay_in_the_note(desktop: Page, server: str, shelf: Shelf) -> None:
    show(desktop, server, shelf.chest)
    desktop.keyboard.press("f")
    desktop.get_by_test_id("verify-note").fill("")
    desktop.get_by_test_id("verify-note").press_sequentially("rhv 2c")
    assert letters(desktop) == "RLAP"
    assert window_of(desktop) == "W 600 L 100"


# --- film ------------------------------------------------------------------------------------------------------------


def test_cine_plays_at_its_rate_and_stops_when_the_image_is_touched(page: Page, server: str, shelf: Shelf) -> None:
    show(page, server, shelf.chest)
    page.keyboard.press("c")
    expect(page.get_by_test_id("tool-cine")).to_have_attribute("aria-pressed", "true")
    page.wait_for_function("start => Number(document.body.dataset.frameWanted) !== start", arg=wanted(page))
    where = spot(page, 0.5, 0.5)
    if page.evaluate("matchMedia('(pointer: coarse)').matches"):
        Fingers(page).tap(where)
    else:
        page.mouse.click(*where)
    expect(page.get_by_test_id("tool-cine")).to_have_attribute("aria-pressed", "false")
    stopped = wanted(page)
    page.wait_for_timeout(400)
    assert wanted(page) == stopped
    page.keyboard.press(".")
    expect(page.locator(".rate")).to_have_text("20/s")
    page.keyboard.press(",")
    expect(page.locator(".rate")).to_have_text("15/s")


def test_a_film_plays_itself_but_not_for_who_wants_stillness(browser: Browser, server: str, shelf: Shelf) -> None:
    for motion, plays in (("no-preference", "true"), ("reduce", "false")):
        for page in _opened(browser, **PHONE, reduced_motion=motion):
            page.goto(f"{server}/app/#/view/{shelf.film}")
            tool = page.get_by_test_id("tool-cine")
            tool.wait_for(state="attached")
            expect(tool).to_have_attribute("aria-pressed", plays)


# --- measuring -------------------------------------------------------------------------------------------------------


def test_a_length_is_drawn_with_one_drag_and_is_right_to_half_a_pixel(desktop: Page, server: str, shelf: Shelf) -> None:
    show(desktop, server, shelf.chest)
    for (start, end), true_mm in [
        (((20, 20), (120, 20)), 100 * COLUMN_MM),
        (((20, 30), (20, 130)), 100 * ROW_MM),
        (((20, 150), (100, 190)), np.hypot(80 * COLUMN_MM, 40 * ROW_MM)),
    ]:
        desktop.keyboard.press("d")
        _pull(desktop, pixel(desktop, *start), pixel(desktop, *end), "left")
        desktop.keyboard.press("Escape")
        said = marks(desktop)[-1]
        assert float(said.removesuffix(" mm")) == pytest.approx(true_mm, abs=ROW_MM / 2 + 0.05), said
    assert len(marks(desktop)) == 3
    assert window_of(desktop) == "W 600 L 100"  # the drag measured and did nothing else


def test_a_length_stays_what_it_is_when_the_image_is_turned_and_zoomed(
    desktop: Page, server: str, shelf: Shelf
) -> None:
    show(desktop, server, shelf.chest)
    desktop.keyboard.press("d")
    _pull(desktop, pixel(desktop, 20, 20), pixel(desktop, 120, 20), "left")
    desktop.keyboard.press("Escape")
    said = marks(desktop)
    line = desktop.locator(".mark .line").first
    lying = line.get_attribute("points")
    desktop.keyboard.press("r")
    desktop.keyboard.press("+")
    desktop.wait_for_timeout(100)
    assert line.get_attribute("points") != lying
    assert marks(desktop) == said
    desktop.keyboard.press("d")
    desktop.keyboard.press("d")
    desktop.keyboard.press("Space")
    desktop.wait_for_timeout(100)
    assert line.get_attribute("points") == lying


def test_a_region_of_one_value_has_that_mean_and_no_spread(page: Page, server: str, shelf: Shelf) -> None:
    show(page, server, shelf.chest)
    corners = [pixel(page, 45, 52), pixel(page, 95, 88)]
    if page.evaluate("matchMedia('(pointer: coarse)').matches"):
        page.get_by_test_id("open-measure").tap()
        page.get_by_test_id("tool-ellipse").tap()
        expect(page.locator(".sheet.open")).to_have_count(0)  # out of the way by itself
        for corner in corners:
            Fingers(page).tap(corner)
    else:
        page.keyboard.press("e")
        _pull(page, corners[0], corners[1], "left")
    (said,) = marks(page)
    assert f"Mean {BLOCK_HU}.0 HU · SD 0.0" in said
    assert f"{BLOCK_HU} to {BLOCK_HU} HU" in said
    true_mm2 = np.pi * (50 * COLUMN_MM / 2) * (36 * ROW_MM / 2)
    area = float(re.search(r"Area ([\d.]+) mm²", said)[1])  # type: ignore[index]
    assert area == pytest.approx(true_mm2, rel=0.06)


def test_two_touches_measure_under_a_loupe_and_then_the_finger_scrolls_again(
    phone: Page, server: str, shelf: Shelf
) -> None:
    show(phone, server, shelf.chest)
    fingers = Fingers(phone)
    phone.get_by_test_id("open-measure").tap()
    phone.get_by_test_id("tool-length").tap()
    expect(phone.get_by_test_id("tool-hint")).to_contain_text("Touch both ends")
    fingers.send("touchStart", pixel(phone, 30, 100))
    expect(phone.locator(".loupe")).to_be_visible()
    fingers.send("touchMove", pixel(phone, 20, 120))
    fingers.send("touchEnd")
    expect(phone.locator(".loupe")).to_be_hidden()
    # two fingers between the points zoom, and leave the first point where it is
    fingers.drag((spot(phone, 0.4, 0.5), spot(phone, 0.38, 0.5)), (spot(phone, 0.6, 0.5), spot(phone, 0.62, 0.5)))
    phone.keyboard.press("=")
    phone.wait_for_timeout(100)
    fingers.tap(pixel(phone, 120, 120))
    (said,) = marks(phone)
    assert float(said.removesuffix(" mm")) == pytest.approx(100 * COLUMN_MM, abs=ROW_MM)
    before = wanted(phone)
    fingers.drag((spot(phone, 0.9, 0.2), spot(phone, 0.9, 0.3)))
    assert wanted(phone) != before
    assert marks(phone) == []  # it is kept with its slice
    phone.get_by_test_id("open-measure").tap()
    expect(phone.get_by_test_id("marks")).to_contain_text(f"Slice {before + 1} · Length")
    phone.locator(".mark-row").tap()
    rest(phone, frame=before)
    assert marks(phone) == [said]


def test_an_angle_and_a_value(desktop: Page, server: str, shelf: Shelf) -> None:
    show(desktop, server, shelf.chest, frame=(SLICES - 1) // 2)
    desktop.keyboard.press("a")
    for corner in ((60, 20), (20, 20), (20, 40)):
        desktop.mouse.click(*pixel(desktop, *corner))
    desktop.keyboard.press("Escape")
    assert float(marks(desktop)[0].removesuffix("°")) == pytest.approx(90, abs=0.5)
    desktop.keyboard.press("p")
    desktop.mouse.click(*pixel(desktop, 110.5, 150.5))
    value = 110 + 150 + (SLICES - 1) // 2
    assert marks(desktop)[1].replace("\n", " ").startswith(f"{value} HU")


def test_a_measurement_is_chosen_moved_deleted_and_brought_back(desktop: Page, server: str, shelf: Shelf) -> None:
    show(desktop, server, shelf.chest)
    desktop.keyboard.press("d")
    _pull(desktop, pixel(desktop, 20, 20), pixel(desktop, 60, 20), "left")
    desktop.keyboard.press("Escape")
    desktop.keyboard.press("Escape")
    expect(desktop.locator(".mark.selected")).to_have_count(0)
    _pull(desktop, pixel(desktop, 60, 20), pixel(desktop, 120, 20), "left")  # by its end
    expect(desktop.locator(".mark.selected")).to_have_count(1)
    assert float(marks(desktop)[0].removesuffix(" mm")) == pytest.approx(75, abs=0.5)
    line = desktop.locator(".mark .line").get_attribute("points")
    _pull(desktop, pixel(desktop, 70, 20), pixel(desktop, 70, 60), "left")  # as a whole
    assert desktop.locator(".mark .line").get_attribute("points") != line
    assert float(marks(desktop)[0].removesuffix(" mm")) == pytest.approx(75, abs=0.5)
    desktop.keyboard.press("Delete")
    assert marks(desktop) == []
    desktop.keyboard.press("Control+z")
    assert len(marks(desktop)) == 1
    for _ in range(3):
        desktop.keyboard.press("Control+z")
    assert marks(desktop) == []
    for _ in range(3):
        desktop.keyboard.press("Control+y")
    assert len(marks(desktop)) == 1
    desktop.keyboard.press("Control+y")
    assert marks(desktop) == []


def test_a_finger_scrolls_over_a_measurement_until_it_was_tapped(phone: Page, server: str, shelf: Shelf) -> None:
    show(phone, server, shelf.chest)
    fingers = Fingers(phone)
    phone.get_by_test_id("open-measure").tap()
    phone.get_by_test_id("tool-length").tap()
    for end in (pixel(phone, 40, 100), pixel(phone, 120, 100)):
        fingers.tap(end)
    phone.keyboard.press("Escape")  # nothing is chosen now
    line, before = phone.locator(".mark .line").get_attribute("points"), wanted(phone)
    fingers.drag((pixel(phone, 120, 100), pixel(phone, 120, 130)))
    assert wanted(phone) != before
    fingers.drag((pixel(phone, 120, 130), pixel(phone, 120, 100)))
    phone.evaluate("document.activeElement.blur()")
    while wanted(phone) != before:
        phone.keyboard.press("ArrowUp" if wanted(phone) > before else "ArrowDown")
    rest(phone, frame=before)
    assert phone.locator(".mark .line").get_attribute("points") == line
    fingers.tap(pixel(phone, 120, 100))
    expect(phone.locator(".mark.selected")).to_have_count(1)
    fingers.drag((pixel(phone, 120, 100), pixel(phone, 120, 140)))
    assert wanted(phone) == before
    assert phone.locator(".mark .line").get_attribute("points") != line


def test_nothing_is_measured_on_a_preview(page: Page, server: str, shelf: Shelf) -> None:
    show(page, server, shelf.chest)
    page.route(re.compile(r"/stream/v1/.*/frames"), previews_only)
    page.reload()
    page.wait_for_selector('body[data-quality="preview"]')
    page.get_by_test_id("tool-invert").wait_for(state="attached")
    page.keyboard.press("e")
    expect(page.get_by_test_id("tool-hint")).to_contain_text("full quality")
    expect(page.get_by_test_id("tool-hint")).to_contain_text("preview")
    for corner in (pixel(page, 45, 52), pixel(page, 95, 88)):
        if page.evaluate("matchMedia('(pointer: coarse)').matches"):
            Fingers(page).tap(corner)
        else:
            page.mouse.click(*corner)
    assert marks(page) == []


def test_measurements_are_said_to_live_in_this_page_and_do(page: Page, server: str, shelf: Shelf) -> None:
    show(page, server, shelf.chest)
    page.get_by_test_id("open-measure").click()
    expect(page.locator(".measure-more")).to_contain_text("never stored")
    page.keyboard.press("Escape")
    page.keyboard.press("p")
    where = pixel(page, 60, 60)
    if page.evaluate("matchMedia('(pointer: coarse)').matches"):
        Fingers(page).tap(where)
    else:
        page.mouse.click(*where)
    assert len(marks(page)) == 1
    kept = page.evaluate("JSON.stringify([localStorage, sessionStorage])")
    assert "HU" not in kept
    page.reload()
    rest(page)
    assert marks(page) == []


def test_a_radiograph_has_its_letters_and_tells_where_its_millimetres_are_true(
    desktop: Page, server: str, shelf: Shelf
) -> None:
    show(desktop, server, shelf.radiograph)
    assert letters(desktop) == "RLHF"
    desktop.keyboard.press("d")
    _pull(desktop, spot(desktop, 0.45, 0.4), spot(desktop, 0.55, 0.6), "left")
    assert marks(desktop)[0].endswith("mm at the detector")


def test_a_colour_image_has_values_in_three_colours_and_no_window(desktop: Page, server: str, shelf: Shelf) -> None:
    show(desktop, server, shelf.film, frame=None)
    desktop.mouse.click(*spot(desktop, 0.5, 0.5))  # the film stops
    rest(desktop)
    desktop.keyboard.press("p")
    desktop.mouse.click(*spot(desktop, 0.5, 0.5))
    assert re.match(r"R \d+ G \d+ B \d+", marks(desktop)[0])
    desktop.keyboard.press("d")
    _pull(desktop, spot(desktop, 0.45, 0.4), spot(desktop, 0.55, 0.6), "left")
    assert marks(desktop)[-1].endswith("px (no spacing)")


# --- series ----------------------------------------------------------------------------------------------------------


def test_the_other_series_of_the_study_is_one_step_away(page: Page, server: str, shelf: Shelf) -> None:
    show(page, server, shelf.chest)
    rows = page.get_by_test_id("series-row")
    expect(rows).to_have_count(2)
    if page.evaluate("matchMedia('(max-width: 799px)').matches"):
        page.get_by_test_id("open-series").click()
    rows.filter(has_text="Measured 2").click()
    page.wait_for_url(f"**/view/{shelf.second}")
    rest(page)
    expect(rows).to_have_count(2)  # which one is next is known once they are
    page.keyboard.press("PageUp")
    page.wait_for_url(f"**/view/{shelf.chest}")
    rest(page)
    page.get_by_test_id("tool-invert").wait_for(state="attached")
    expect(rows).to_have_count(2)
    page.keyboard.press("PageDown")
    page.wait_for_url(f"**/view/{shelf.second}")
