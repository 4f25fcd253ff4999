# ruff: noqa: INP001, S603, T201 — a program that is run by itself; its commands are ours, and it tells what it made
"""Pictures of every screen for the documentation: phantoms alone, on a phone and on a desktop.

    make setup && .venv/bin/python tools/pictures.py docs/pictures

Each becomes a PNG of 64 colours, 10 to 120 KB. One of our own servers runs meanwhile, on a temporary home.
"""

import argparse
import io
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from pydicom import dcmread

from radloop.dicom.phantom import phantom_study

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
PHONE = {"viewport": {"width": 412, "height": 915}, "is_mobile": True, "has_touch": True}
DESKTOP = {"viewport": {"width": 1280, "height": 800}}
PASSWORD = "correct horse battery"  # noqa: S105 — of a home that is gone when this ends
PEOPLE = {
    "anna": ["verifier"],
    "vera": ["verifier"],
    "alex": ["adjudicator"],
    "ada": ["admin"],
    "rolf": ["release-approver", "ml"],
    "aud": ["auditor"],
}
WAIT_MS = 20_000
SETTLE_MS = 700
COLOURS = 64
README = ("verify", "phone")
"""The picture that the README opens with, viewer.png."""


def radloop(*arguments: str, stdin: str = "") -> str:
    """One of our commands; returns what it printed."""
    command = [sys.executable, "-m", "radloop.cli", *arguments]
    return subprocess.run(command, input=stdin, text=True, check=True, capture_output=True).stdout


@contextmanager
def served(home: Path) -> Iterator[str]:
    """The address of a server on a new home, with phantoms, two of one patient, and people."""
    files = home / "files"
    files.mkdir()
    for number, is_consolidated, date in ((1, False, "20251104"), (2, True, "20260213"), (2, False, "20250820")):
        study = phantom_study(number, consolidated=is_consolidated, slices=48, size=512)
        for place, data in enumerate(study.files):
            header = dcmread(io.BytesIO(data))
            header.StudyDate = header.SeriesDate = date
            header.save_as(files / f"{number}-{date}-{place}.dcm")
    (files / "letter.pdf").write_bytes(b"%PDF-1.4 no image")
    radloop("ingest", str(files), "--home", str(home / "home"))
    with up(home / "home") as url:
        yield url


@contextmanager
def up(home: Path) -> Iterator[str]:
    """The address of a server on this home, with the people who are not in it yet."""
    at = ["--home", str(home)]
    known = {user["name"] for user in json.loads(radloop("users", "list", "--json", *at))["items"]}
    for name, roles in PEOPLE.items():
        asked = [word for role in roles for word in ("--role", role)]
        if name not in known:
            radloop("users", "create", name, *asked, "--stdin", *at, stdin=PASSWORD + "\n")
    command = [sys.executable, "-m", "radloop.cli", "up", "--no-dimse", "--listen", "127.0.0.1:0", *at]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        while "radloop is up" not in (process.stdout.readline() if process.stdout else ""):
            if process.poll() is not None:
                raise SystemExit("the server ended before it answered")
        yield json.loads((home / "server.json").read_text())["url"].replace("127.0.0.1", "localhost")
    finally:
        process.terminate()
        process.wait(timeout=20)


class Camera:
    """Takes pictures of one person's pages."""

    def __init__(self, browser: Browser, url: str, out: Path, kind: str) -> None:
        self.url = url
        self._out = out
        self._kind = kind
        options = PHONE if kind == "phone" else DESKTOP
        self._context: BrowserContext = browser.new_context(
            ignore_https_errors=True, reduced_motion="reduce", **options
        )
        self.page: Page = self._context.new_page()
        self.page.set_default_timeout(WAIT_MS)

    def sign_in(self, name: str) -> None:
        """Come as this person."""
        self.page.get_by_label("Name").fill(name)
        self.page.get_by_label("Password").fill(PASSWORD)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_selector("body[data-signed-in]")

    def visit(self, place: str) -> None:
        """Another page of the app."""
        self.page.goto(f"{self.url}/app/#/{place}")
        self.page.wait_for_timeout(SETTLE_MS)

    def take(self, name: str) -> None:
        """What is to be seen, as `name-phone.png` or `name-desktop.png`."""
        self.page.wait_for_timeout(SETTLE_MS)
        with Image.open(io.BytesIO(self.page.screenshot())) as shot:
            few = shot.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
        path = self._out / (f"{name}-{self._kind}.png" if (name, self._kind) != README else "viewer.png")
        few.save(path, optimize=True)
        print(f"{path}  {path.stat().st_size // 1024} KB")

    def try_to(self, name: str, act: Callable[[Page], object]) -> None:
        """Do something and take a picture; a screen that cannot be reached is told of and does not end the others."""
        try:
            act(self.page)
        except Exception as error:  # noqa: BLE001 — whatever a page did wrong is told of
            print(f"{name}-{self._kind}: {str(error).splitlines()[0]}", file=sys.stderr)
        self.take(name)

    def close(self) -> None:
        """No more pictures."""
        self._context.close()


def full(page: Page) -> None:
    """Wait for the slice in view at full quality."""
    page.wait_for_selector('body[data-quality="lossless"]')


def open_series(page: Page) -> str:
    """The first series of the worklist; returns its image set."""
    row = page.get_by_test_id("worklist-row").filter(has_text="PHANTOM-00002").first
    identity = row.get_attribute("data-id") or ""
    row.click()
    full(page)
    return identity


def measure(page: Page) -> None:
    """A length and a region, drawn with the mouse."""
    box = page.get_by_test_id("stack-canvas").bounding_box() or {"x": 0, "y": 0, "width": 0, "height": 0}

    def at(across: float, down: float) -> tuple[float, float]:
        side = min(box["width"], box["height"])
        return box["x"] + box["width"] / 2 + across * side, box["y"] + box["height"] / 2 + down * side

    for key, start, end in (("d", (-0.3, 0.05), (0.3, 0.05)), ("e", (-0.2, -0.12), (-0.06, 0.0))):
        page.keyboard.press(key)
        page.mouse.move(*at(*start))
        page.mouse.down()
        page.mouse.move(*at(*end), steps=3)
        page.mouse.up()
        page.keyboard.press("Escape")


def compare(page: Page) -> None:
    """The one earlier study, where it is asked which."""
    page.get_by_test_id("prior").or_(page.get_by_test_id("compare")).first.wait_for()
    if page.get_by_test_id("prior").count():
        page.get_by_test_id("prior").first.click()
    page.get_by_test_id("compare").wait_for()
    page.wait_for_timeout(4 * SETTLE_MS)


def reading(camera: Camera) -> None:
    """The pages of who reads."""
    page = camera.page
    camera.visit("")
    camera.take("sign-in")
    camera.sign_in("anna")
    page.get_by_test_id("worklist-row").first.wait_for()
    camera.take("worklist")
    identity = open_series(page)
    camera.take("stack")
    camera.try_to("verify", lambda at: at.get_by_test_id("verify-open").click())
    camera.visit("")
    camera.visit(f"view/{identity}")
    full(page)
    camera.try_to("measuring", measure)
    camera.try_to("help", lambda at: at.keyboard.press("?"))
    camera.visit("")
    camera.try_to("mpr", lambda at: (camera.visit(f"mpr/{identity}"), at.wait_for_timeout(4000)))
    camera.try_to("mip", lambda at: (at.locator("select").first.select_option("mip"), at.wait_for_timeout(2500)))
    camera.try_to("compare", lambda at: (camera.visit(f"compare/{identity}"), compare(at)))


def working(browser: Browser, url: str, out: Path, kind: str) -> None:
    """The pages of everybody else."""
    for name, places in {"ada": ("admin", "upload"), "rolf": ("models", "loop"), "aud": ("audit",)}.items():
        camera = Camera(browser, url, out, kind)
        camera.visit("")
        camera.sign_in(name)
        for place in places:
            camera.visit(place)
            camera.take(place)
        camera.close()


def fetch(page: Page, method: str, path: str, body: object = None) -> Any:
    """Ask the API as whoever is signed in."""
    script = """async ([method, path, body]) => {
      const headers = { "Content-Type": "application/json" };
      const answer = await fetch(`/api/v1${path}`, { method, headers, body: body && JSON.stringify(body) });
      if (!answer.ok) throw new Error(await answer.text());
      return answer.json();
    }"""
    return page.evaluate(script, [method, path, body])


def disputed(browser: Browser, url: str, out: Path) -> str:
    """Have two readers differ about a study under the policy for that; returns its image set."""
    camera = Camera(browser, url, out, "desktop")
    camera.visit("")
    camera.sign_in("ada")
    store = fetch(camera.page, "GET", "/agreement")["datastore"]
    fetch(camera.page, "PUT", f"/projects/{store}", {"policy": "double-adjudicated"})
    items = fetch(camera.page, "GET", "/worklist")["items"]
    name = next(item["id"] for item in items if item["patient_id"] == "PHANTOM-00002" and item["frames"])
    camera.close()
    for who, finding, note in (("anna", "present", "Patchy, right base"), ("vera", "absent", "")):
        camera = Camera(browser, url, out, "desktop")
        camera.visit("")
        camera.sign_in(who)
        seen = {"frame": 0, "quality": "lossless"}
        read = {"version": 1, "finding": finding, "confidence": "medium", "note": note, "seen": seen}
        fetch(camera.page, "POST", f"/image-sets/{name}/reads", read)
        camera.close()
    return str(name)


def together(browser: Browser, url: str, out: Path, kind: str, name: str) -> None:
    """Reading with others: a blinded read, and the adjudicator's pages."""
    camera = Camera(browser, url, out, kind)
    camera.visit("")
    camera.sign_in("vera")
    page = camera.page
    page.get_by_test_id("worklist-row").filter(has_text="PHANTOM-00001").first.click()
    full(page)
    camera.try_to("blinded", lambda at: at.get_by_test_id("verify-open").click())
    camera.close()
    camera = Camera(browser, url, out, kind)
    camera.visit("")
    camera.sign_in("alex")
    camera.visit("adjudication")
    camera.take("adjudication")
    camera.visit(f"view/{name}")
    full(camera.page)
    camera.try_to("adjudicate", lambda at: at.get_by_test_id("verify-open").click())
    camera.close()


def learned(browser: Browser, url: str, out: Path, kind: str) -> None:
    """A home that has learned: its runs, models and drift, and what the model says of an image."""
    camera = Camera(browser, url, out, kind)
    camera.visit("")
    camera.sign_in("rolf")
    for place in ("loop", "models", "drift"):
        camera.visit(place)
        camera.page.wait_for_load_state("networkidle")
        camera.take(place)
    camera.close()
    camera = Camera(browser, url, out, kind)
    camera.visit("")
    camera.sign_in("anna")
    page = camera.page
    page.get_by_role("button", name="All").click()
    page.get_by_test_id("worklist-row").first.click()
    full(page)
    camera.try_to("opinion", opinion)
    camera.close()


def opinion(page: Page) -> None:
    """What the model says of the series in view, with its heat map."""
    page.get_by_test_id("verify-open").click()
    page.get_by_test_id("opinion").locator("summary").click()
    page.get_by_test_id("saliency").click()
    page.wait_for_timeout(2 * SETTLE_MS)
    page.locator(".ai-badge").scroll_into_view_if_needed()


def main() -> None:
    """Take all pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder for the pictures")
    parser.add_argument(
        "--learned", type=Path, help="a home that has a model, as `make demo` leaves one: its pages too"
    )
    parser.add_argument("--kind", choices=("phone", "desktop"), action="append", help="only these")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    chromium = shutil.which("chromium")
    if chromium is None:
        raise SystemExit("Debian's Chromium is not installed (apt-get install chromium)")
    kinds = options.kind or ("phone", "desktop")
    with tempfile.TemporaryDirectory() as home, served(Path(home)) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        for kind in kinds:
            camera = Camera(browser, url, options.out, kind)
            reading(camera)
            camera.close()
            working(browser, url, options.out, kind)
        name = disputed(browser, url, options.out)
        for kind in kinds:
            together(browser, url, options.out, kind, name)
        browser.close()
    if options.learned:
        with up(options.learned) as url, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
            for kind in kinds:
                learned(browser, url, options.out, kind)
            browser.close()


if __name__ == "__main__":
    main()
