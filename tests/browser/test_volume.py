"""Three planes of a real series, thick slabs, and two examinations side by side, on a phone and on a desktop."""

import re
import time
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO

import httpx
import imagecodecs
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Browser, Locator, Page, expect

from radloop.dicom.phantom import phantom_study

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

PHONE = {"viewport": {"width": 412, "height": 915}, "is_mobile": True, "has_touch": True}
DESKTOP = {"viewport": {"width": 1280, "height": 800}}
WAIT_MS = 30_000
NAMES = ("axial", "coronal", "sagittal")
SIDES = {
    "axial": {"left": "R", "right": "L", "top": "A", "bottom": "P"},
    "coronal": {"left": "R", "right": "L", "top": "H", "bottom": "F"},
    "sagittal": {"left": "A", "right": "P", "top": "H", "bottom": "F"},
}
SLICES, SIZE = 48, 256
LONG_TASKS = """
    window.longTasks = [];
    new PerformanceObserver((list) => {
        for (const { startTime, duration } of list.getEntries()) window.longTasks.push([startTime, duration]);
    }).observe({ type: "longtask", buffered: true });
"""


@dataclass(frozen=True)
class Known:
    """What was uploaded: a chest with a prior one of the same patient, another patient, and four slices.

    Attributes:
        hounsfield: float64 (slices, rows, columns) of the chest, ascending towards the head.
        origin: Centre of the first voxel, mm.
        spacing: Of slices, rows and columns, mm.
    """

    url: str
    chest: str
    prior: str
    other: str
    short: str
    hounsfield: NDArray[np.float64]
    origin: tuple[float, float, float]
    spacing: tuple[float, float, float]

    def greys(self, places: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
        """What a window makes of the voxels nearest to `places` (n, 3), mm; NaN outside."""
        steps = np.array(self.spacing[::-1])
        index = np.rint((places - np.array(self.origin)) / steps).astype(int)[:, ::-1]
        inside = ((index >= 0) & (index < self.hounsfield.shape)).all(axis=1)
        found = np.full(len(places), np.nan)
        found[inside] = self.hounsfield[tuple(index[inside].T)]
        return np.clip((found - low) / (high - low), 0, 1) * 255


def upload(url: str, files: list[bytes]) -> str:
    """The image set of these files, once its previews are there."""
    parts = [("files", (f"{place}.dcm", data)) for place, data in enumerate(files)]
    answer = httpx.post(f"{url}/api/v1/uploads?complete=1", files=parts, timeout=60).raise_for_status()
    (identity,) = answer.json()["image_sets"]
    for _ in range(300):
        if httpx.get(f"{url}/api/v1/image-sets/{identity}").json()["storage"] == "folded":
            return str(identity)
        time.sleep(0.1)
    pytest.fail("the series was not folded within 30 s")


def earlier(data: bytes) -> bytes:
    """The same file in an examination of 2019, in which the table stood 500 mm higher up."""
    header = pydicom.dcmread(BytesIO(data))
    header.StudyDate = "20190101"
    x, y, z = header.ImagePositionPatient
    header.ImagePositionPatient = [x, y, z + 500]
    out = BytesIO()
    header.save_as(out)
    return out.getvalue()


@pytest.fixture(scope="module")
def known(server: str) -> Known:
    chest = phantom_study(21, consolidated=True, slices=SLICES, size=SIZE)
    prior = phantom_study(21, consolidated=False, slices=SLICES // 2, size=SIZE)
    headers = [pydicom.dcmread(BytesIO(data)) for data in chest.files]
    headers.sort(key=lambda header: float(header.ImagePositionPatient[2]))
    first, second = headers[:2]
    slope, intercept = float(first.RescaleSlope), float(first.RescaleIntercept)
    x, y, z = map(float, first.ImagePositionPatient)
    down, across = map(float, first.PixelSpacing)
    return Known(
        url=server,
        chest=upload(server, list(chest.files)),
        prior=upload(server, [earlier(data) for data in prior.files]),
        other=upload(server, list(phantom_study(22, consolidated=False, slices=12, size=128).files)),
        short=upload(server, list(phantom_study(23, consolidated=False, slices=4, size=128).files)),
        hounsfield=np.stack([header.pixel_array * slope + intercept for header in headers]),
        origin=(x, y, z),
        spacing=(float(second.ImagePositionPatient[2]) - z, down, across),
    )


@pytest.fixture(params=[PHONE, DESKTOP], ids=["phone", "desktop"])
def page(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Page]:
    context = browser.new_context(**request.param)
    opened = context.new_page()
    opened.set_default_timeout(WAIT_MS)
    opened.add_init_script(LONG_TASKS)
    faults: list[str] = []
    opened.on("pageerror", lambda error: faults.append(str(error)))
    yield opened
    context.close()
    assert faults == []


def is_phone(page: Page) -> bool:
    return page.viewport_size == PHONE["viewport"]


def open_planes(page: Page, known: Known) -> None:
    page.goto(f"{known.url}/app/#/mpr/{known.chest}")
    page.wait_for_selector('[data-testid="mpr"][data-whole="true"]')
    settle(page)


def settle(page: Page) -> None:
    """Wait until nothing has been drawn for a while: the fine drawing follows when the hand rests."""
    views = [page.get_by_test_id(f"mpr-{name}") for name in NAMES]
    before = None
    while (now := [view.get_attribute("data-drawn") for view in views]) != before:
        before = now
        page.wait_for_timeout(350)


def at_rest(page: Page) -> None:
    """The same on a busy machine, which may take longer for a fine drawing than `settle` looks for one."""
    settle(page)
    settle(page)


def place_of(page: Page) -> list[float]:
    told = page.get_by_test_id("mpr").get_attribute("data-place")
    assert told is not None
    return [float(number) for number in told.split()]


def mm_per_px(page: Page, name: str) -> float:
    told = page.get_by_test_id(f"mpr-{name}").get_attribute("data-mm-per-px")
    assert told is not None
    return float(told)


def picture(page: Page, name: str) -> NDArray[np.float64]:
    """The red channel of what a view has drawn, (height, width)."""
    address = page.get_by_test_id(f"mpr-canvas-{name}").evaluate("(canvas) => canvas.toDataURL('image/png')")
    pixels = imagecodecs.png_decode(b64decode(address.partition(",")[2]))
    return pixels[..., 0].astype(float)


def drag(page: Page, target: Locator, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Over the middle of `target` as a mouse or a finger does it, from and to these shares of its size."""
    box = target.bounding_box()
    assert box is not None
    points = [
        (box["x"] + box["width"] * (start[0] + (end[0] - start[0]) * part),
         box["y"] + box["height"] * (start[1] + (end[1] - start[1]) * part))
        for part in np.linspace(0, 1, 12)
    ]  # fmt: skip
    if not is_phone(page):
        page.mouse.move(*points[0])
        page.mouse.down()
        for point in points[1:]:
            page.mouse.move(*point)
            page.wait_for_timeout(16)
        page.mouse.up()
        return
    session = page.context.new_cdp_session(page)
    for number, (x, y) in enumerate(points):
        kind = "touchStart" if number == 0 else "touchMove"
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
        page.wait_for_timeout(16)
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def test_three_planes_lie_as_the_letters_say_and_are_called_previews(page: Page, known: Known) -> None:
    open_planes(page, known)
    expect(page.get_by_test_id("quality-badge")).to_contain_text("preview (lossy)")
    assert page.locator("body").get_attribute("data-quality") == "preview"
    expect(page.get_by_test_id("verify-open")).to_have_count(0)
    for name in NAMES:
        view = page.get_by_test_id(f"mpr-{name}")
        assert {side: view.get_by_test_id(f"edge-{side}").text_content() for side in SIDES[name]} == SIDES[name]
    heights = {name: page.get_by_test_id(f"mpr-{name}").bounding_box()["height"] for name in NAMES}
    if is_phone(page):
        assert heights["axial"] > 1.7 * heights["coronal"] == pytest.approx(1.7 * heights["sagittal"])
    else:
        assert heights["axial"] == heights["coronal"] == heights["sagittal"]


@pytest.mark.parametrize("name", NAMES)
def test_a_plane_shows_the_voxels_that_lie_there(page: Page, known: Known, name: str) -> None:
    open_planes(page, known)
    page.get_by_test_id("preset-lung").click()  # centre -600, width 1500
    settle(page)
    drawn = picture(page, name)
    box = page.get_by_test_id(f"mpr-canvas-{name}").bounding_box()
    place, mm = np.array(place_of(page)), mm_per_px(page, name) * box["width"] / drawn.shape[1]
    right, down = {
        "axial": ([1, 0, 0], [0, 1, 0]),
        "coronal": ([1, 0, 0], [0, 0, -1]),
        "sagittal": ([0, 1, 0], [0, 0, -1]),
    }[name]
    y, x = np.mgrid[0 : drawn.shape[0], 0 : drawn.shape[1]]
    # untouched, the point all views go through is the middle of the volume, and lies in the middle of each
    across, along = (x + 0.5 - drawn.shape[1] / 2) * mm, (y + 0.5 - drawn.shape[0] / 2) * mm
    places = place + across.reshape(-1, 1) * np.array(right) + along.reshape(-1, 1) * np.array(down)
    meant = known.greys(places, -1350, 150)
    inside = ~np.isnan(meant)
    assert inside.mean() > 0.2
    error = np.abs(drawn.ravel()[inside] - meant[inside])
    assert np.corrcoef(drawn.ravel()[inside], meant[inside])[0, 1] > 0.95
    assert error.mean() < 12, "previews are lossy, but not by this much"
    mirrored = drawn[:, ::-1].ravel()[inside]
    assert np.corrcoef(mirrored, meant[inside])[0, 1] < 0.9, "a mirrored picture would have passed"


def test_dragging_the_point_in_one_view_moves_the_others(page: Page, known: Known) -> None:
    open_planes(page, known)
    before, pictures = place_of(page), {name: picture(page, name) for name in NAMES}
    canvas = page.get_by_test_id("mpr-canvas-axial")
    box = canvas.bounding_box()
    drag(page, canvas, (0.5, 0.5), (0.35, 0.42))
    settle(page)
    moved = np.array(place_of(page)) - before
    mm = mm_per_px(page, "axial")
    assert moved[:2] == pytest.approx([-0.15 * box["width"] * mm, -0.08 * box["height"] * mm], abs=2 * mm)
    assert moved[2] == 0
    assert np.array_equal(picture(page, "axial"), pictures["axial"]), "its own plane has not moved"
    for name in ("coronal", "sagittal"):
        assert np.abs(picture(page, name) - pictures[name]).mean() > 2
    lines = page.get_by_test_id("mpr-coronal").evaluate("(view) => view.style.getPropertyValue('--x')")
    width = page.get_by_test_id("mpr-canvas-coronal").bounding_box()["width"]
    assert float(lines.removesuffix("px")) == pytest.approx(width / 2 + moved[0] / mm_per_px(page, "coronal"), abs=1)


def test_the_slider_and_keys_move_a_plane_through_the_volume(page: Page, known: Known) -> None:
    open_planes(page, known)
    before = place_of(page)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    settle(page)
    assert place_of(page)[2] == pytest.approx(before[2] - 2 * known.spacing[0], abs=0.02), "down is towards the feet"
    page.get_by_test_id("mpr-slider-axial").fill("0")
    settle(page)
    top = known.origin[2] + (SLICES - 1) * known.spacing[0]
    assert place_of(page)[2] == pytest.approx(top, abs=0.02)


def test_a_slab_shows_the_greatest_the_least_or_the_mean_of_what_is_in_it(page: Page, known: Known) -> None:
    open_planes(page, known)
    page.get_by_test_id("preset-lung").click()
    at_rest(page)
    greys = {"plane": picture(page, "axial")}
    for mode in ("mip", "minip", "mean"):
        page.get_by_test_id("slab-axial").select_option(mode)
        page.get_by_test_id("thickness-axial").fill("40")
        at_rest(page)
        expect(page.get_by_test_id("mpr-axial")).to_contain_text("40 mm")
        greys[mode] = picture(page, "axial")
    assert (greys["mip"] >= greys["plane"] - 1).all()
    assert (greys["minip"] <= greys["plane"] + 1).all()
    assert ((greys["mean"] <= greys["mip"] + 1) & (greys["mean"] >= greys["minip"] - 1)).all()
    assert greys["mip"].mean() > greys["mean"].mean() + 1 > greys["minip"].mean() + 2


def test_a_tap_on_a_small_view_makes_it_the_large_one(page: Page, known: Known) -> None:
    if not is_phone(page):
        pytest.skip("on a desktop all three are of one size")
    open_planes(page, known)
    place = place_of(page)
    page.get_by_test_id("mpr-canvas-sagittal").tap()
    settle(page)
    heights = {name: page.get_by_test_id(f"mpr-{name}").bounding_box()["height"] for name in NAMES}
    assert heights["sagittal"] > 1.7 * heights["axial"]
    assert place_of(page) == place, "the tap moved nothing else"


@pytest.mark.alone
def test_no_task_of_the_page_is_long_once_it_is_open(page: Page, known: Known) -> None:
    open_planes(page, known)
    page.evaluate("window.longTasks = []")
    drag(page, page.get_by_test_id("mpr-canvas-axial"), (0.5, 0.5), (0.3, 0.6))
    page.get_by_test_id("slab-axial").select_option("mip")
    drag(page, page.get_by_test_id("mpr-canvas-axial"), (0.5, 0.5), (0.7, 0.4))
    settle(page)
    assert page.evaluate("window.longTasks") == []


def test_a_series_that_is_no_volume_says_why(page: Page, known: Known) -> None:
    page.goto(f"{known.url}/app/#/mpr/{known.short}")
    expect(page.get_by_test_id("mpr-refused")).to_contain_text("has 4 images; a volume needs at least 8 slices")
    page.get_by_role("link", name="Back to the series").click()
    expect(page).to_have_url(re.compile(f"#/view/{known.short}$"))


# Comparing


def index_of(page: Page, which: int) -> int:
    told = page.get_by_test_id(f"compare-{which}").get_attribute("data-index")
    assert told is not None
    return int(told)


def wait_index(page: Page, which: int, index: int) -> None:
    page.wait_for_selector(f'[data-testid="compare-{which}"][data-index="{index}"][data-quality="lossless"]')


def open_comparison(page: Page, known: Known) -> None:
    page.goto(f"{known.url}/app/#/compare/{known.chest}")
    prior = page.get_by_test_id("prior")
    expect(prior).to_have_count(1)
    expect(prior).to_contain_text("2019-01-01")
    prior.click()
    for which in (0, 1):
        page.wait_for_selector(f'[data-testid="compare-{which}"][data-quality="lossless"]')


def test_a_prior_is_chosen_and_both_tell_whose_and_when_they_are(page: Page, known: Known) -> None:
    open_comparison(page, known)
    expect(page).to_have_url(re.compile(f"#/compare/{known.chest}/{known.prior}$"))
    expect(page.get_by_test_id("identity-warning")).to_have_count(0)
    for which, date in ((0, "20"), (1, "2019-01-01")):
        pane = page.get_by_test_id(f"compare-{which}")
        expect(pane).to_contain_text("PHANTOM-00021")
        expect(pane.locator(".compare-date")).to_contain_text(date)
        expect(pane.get_by_test_id("quality-badge")).to_contain_text("lossless")
    boxes = [page.get_by_test_id(f"compare-{which}").bounding_box() for which in (0, 1)]
    if is_phone(page):
        assert boxes[1]["y"] >= boxes[0]["y"] + boxes[0]["height"]
    else:
        assert boxes[1]["x"] >= boxes[0]["x"] + boxes[0]["width"]


def test_both_scroll_by_the_millimetre_until_they_are_linked_otherwise(page: Page, known: Known) -> None:
    open_comparison(page, known)
    first, second = index_of(page, 0), index_of(page, 1)
    for _ in range(8):
        page.keyboard.press("ArrowDown")
    wait_index(page, 0, first + 8)
    wait_index(page, 1, second + 4)  # half as many slices on the same length
    page.get_by_role("button", name="Link scroll").click()
    for _ in range(4):
        page.keyboard.press("ArrowUp")
    wait_index(page, 0, first + 4)
    assert index_of(page, 1) == second + 4
    page.get_by_test_id("link-here").click()
    expect(page.get_by_test_id("link-state")).to_contain_text("where you said")
    for _ in range(4):
        page.keyboard.press("ArrowUp")
    wait_index(page, 0, first)
    wait_index(page, 1, second + 2)


def test_images_of_two_patients_side_by_side_are_warned_of(page: Page, known: Known) -> None:
    page.goto(f"{known.url}/app/#/compare/{known.chest}/{known.other}")
    warning = page.get_by_test_id("identity-warning")
    expect(warning).to_contain_text("two different patients")
    expect(warning).to_have_role("alert")


def test_no_address_names_a_patient(page: Page, known: Known) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    open_comparison(page, known)
    assert any(f"/image-sets/{known.chest}/priors?" in url for url in asked)
    assert not [url for url in asked if "PHANTOM" in url]
