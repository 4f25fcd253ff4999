"""A series opened in a real browser, and what its canvas holds, pixel by pixel."""

import base64
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Page

from tests.browser.reference import Picture

WAIT_MS = 30_000
BATCH = 32

_KEEP_DRAWN = """
const before = HTMLCanvasElement.prototype.getContext;
HTMLCanvasElement.prototype.getContext = function (kind, wishes) {
  return before.call(this, kind, kind === "webgl2" ? { ...wishes, preserveDrawingBuffer: true } : wishes);
};
"""
"""Lets a canvas be read after it was shown. That it then reads as it was shown is proven by screenshots."""

_LOOK = """
async ({ from, to, press, step }) => {
  const canvas = document.querySelector("[data-testid=stack-canvas]");
  const sheet = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
  const { dataset } = document.body;
  const drawn = () => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
  const key = (name) => canvas.dispatchEvent(new KeyboardEvent("keydown", { key: name, bubbles: true }));
  const taken = [];
  for (let index = from; index < to; index++) {
    if (step && index > 0) key("ArrowDown");
    const until = performance.now() + 20000;
    while (Number(dataset.frameShown) !== index || !dataset.quality.startsWith("loss")) {
      if (performance.now() > until) throw new Error(`frame ${index} is ${dataset.frameShown}, ${dataset.quality}`);
      await new Promise((resolve) => requestAnimationFrame(resolve));
    }
    for (const name of press) {
      if (name.length === 1) key(name);
      else document.querySelector(`[data-testid=preset-${name}]`).click();
    }
    await drawn();
    sheet.drawImage(canvas, 0, 0);
    const { data } = sheet.getImageData(0, 0, canvas.width, canvas.height);
    let text = "";
    for (let at = 0; at < data.length; at += 4096) text += String.fromCharCode(...data.subarray(at, at + 4096));
    taken.push(btoa(text));
  }
  return { taken, rows: canvas.height, columns: canvas.width };
}
"""


@contextmanager
def opened(
    browser: Browser, server: str, image_set: str, *, renderer: str = "canvas2d", ratio: float = 1
) -> Iterator[Page]:
    """The series at its first frame, at full quality; afterwards nothing may have thrown.

    Args:
        browser: Chromium.
        server: Its address.
        image_set: What to open.
        renderer: `canvas2d` or `webgl2`.
        ratio: Device pixels in a CSS pixel.
    """
    context = browser.new_context(viewport={"width": 900, "height": 700}, device_scale_factor=ratio)
    page = context.new_page()
    page.set_default_timeout(WAIT_MS)
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.add_init_script(_KEEP_DRAWN)
    page.goto(f"{server}/app/{'?renderer=webgl2' if renderer == 'webgl2' else ''}#/view/{image_set}")
    page.wait_for_selector(f'body[data-renderer="{renderer}"][data-quality^="loss"]')
    to_first(page)
    yield page
    context.close()
    assert faults == []


def go_to(page: Page, image_set: str) -> None:
    """Another series in the same page, at its first frame and full quality."""
    page.evaluate("location.hash = '#/'")
    page.wait_for_selector("body:not([data-quality])")
    page.evaluate("id => { location.hash = `#/view/${id}`; }", image_set)
    page.wait_for_selector('body[data-quality^="loss"]')
    to_first(page)


def to_first(page: Page) -> None:
    page.keyboard.press("Home")
    page.wait_for_selector('body[data-frame-shown="0"][data-quality^="loss"]')


def resize(page: Page, width: float, height: float) -> None:
    """Give the stage a size in CSS pixels, and wait until the canvas has taken it."""
    page.get_by_test_id("stack-canvas").evaluate(
        """async (canvas, [width, height]) => {
          Object.assign(canvas.parentElement.style, { flex: "none", width: `${width}px`, height: `${height}px` });
          const drawn = () => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
          do await drawn(); while (canvas.width !== Math.round(width * devicePixelRatio));
          await drawn();
        }""",
        [width, height],
    )


def seen(page: Page, count: int, *press: str) -> list[Picture]:
    """The canvas at each of `count` frames from the first, after these keys or presets at each.

    Returns:
        For each, uint8 (rows, columns, 3) of the canvas, in device pixels.
    """
    pictures = []
    for start in range(0, count, BATCH):
        pictures += _looked(page, start, min(start + BATCH, count), press, step=True)
    return pictures


def screenshot(page: Page) -> Picture:
    """What the screen shows where the canvas is, without what is written over it: uint8 (rows, columns, 3)."""
    page.add_style_tag(content=".stage > :not(canvas) { visibility: hidden; } canvas { outline: none !important; }")
    png = page.get_by_test_id("stack-canvas").screenshot(animations="disabled")
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB"))


def frame_now(page: Page, *press: str) -> Picture:
    """The canvas as it is, after these keys."""
    for key in press:
        page.keyboard.press(key)
    index = int(page.evaluate("document.body.dataset.frameShown"))
    return _looked(page, index, index + 1, (), step=False)[0]


def _looked(page: Page, start: int, end: int, press: Sequence[str], *, step: bool) -> list[Picture]:
    found = page.evaluate(_LOOK, {"from": start, "to": end, "press": list(press), "step": step})
    shape = (found["rows"], found["columns"], 4)
    return [np.frombuffer(base64.b64decode(text), np.uint8).reshape(shape)[..., :3] for text in found["taken"]]
