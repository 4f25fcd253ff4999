"""What all parts of `viewer.py` share: the links, the series, what is kept of a run, and how a page is driven."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from link import Shape
from peers import Peer
from playwright.sync_api import Browser, Page
from report import Row

RUNS = int(os.environ.get("RUNS", "5"))
SLOW = Shape("12 Mbit/s, 70 ms", 12e6, 0.070)
FAST = Shape("30 Mbit/s, 50 ms", 30e6, 0.050)
NEAR = Shape("near", 400e6, 0.002)
SLICES, MANY_SLICES = 1907, 4000
SECONDS, PER_SECOND = 6.0, 60
FAR = 8  # slices: what is on the screen is no longer the neighbourhood that was asked for
JUMPS = (0.12, 0.88, 0.30, 0.70)
WAITED_MS = 30_000
JUMPED_MS = 8_000
PREVIEWED_S = 45.0
CUT_S = 10.0
HEAP_SETTLES_S = 12.0
SLOWER = 4.0
FOLDED_S = 300.0


@dataclass(frozen=True, slots=True)
class Series:
    """One series in a server.

    Attributes:
        previews: Bytes of the preview of each slice.
    """

    id: str
    study_uid: str
    series_uid: str
    previews: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Felt:
    """One viewer on one link, as far as all viewers can be held against each other.

    Attributes:
        first_s: First image, cold page; `WAITED_MS` where none came.
        first_mb: Bytes from the link until then.
        itself: Percentage of the frames of the scroll in which the slice itself was on the screen.
        far: The same of those with nothing, or a slice more than `FAR` off.
        fps: Median.
        jump_s: Median from a jump to full quality; `JUMPED_MS` where most did not get there.
        arrived_mb: Bytes from the link until the end of the scroll.
        heap_mb: JavaScript, buffers and WebAssembly at the end; None where the page does not answer.
        resident_mb: Of the renderer process then.
    """

    first_s: float
    first_mb: float
    itself: float
    far: float
    fps: float
    jump_s: float
    arrived_mb: float
    heap_mb: float | None
    resident_mb: float


@dataclass(slots=True)
class Bench:
    """What all parts share.

    Attributes:
        colds: Our first image of a cold page on each link, in seconds, and MB until then.
        felt: Our own figures on each link.
    """

    browser: Browser
    home: Path
    series: Series
    many: Series
    rows: list[Row] = field(default_factory=list)
    colds: dict[str, tuple[float, float]] = field(default_factory=dict)
    felt: dict[str, Felt] = field(default_factory=dict)

    def row(self, what: str, found: Sequence[float], unit: str, goal: float | None, told: str) -> None:
        """Put the median of all runs beside a goal, or beside what another reached."""
        self.rows.append(Row(what, median(found), unit, goal, told))
        print("  ", self.rows[-1], flush=True)


def loaded_app(page: Page, port: int, query: str = "", *, scheme: str = "http") -> None:
    """The worklist of the app, with everything that it loads by itself."""
    page.goto(f"{scheme}://127.0.0.1:{port}/app/{query}", wait_until="networkidle")


def opened(page: Page, id_: str) -> float:
    """Open a series in a loaded app; milliseconds until its first image."""
    found = page.evaluate("([id, limit]) => watch.open(id, limit)", [id_, WAITED_MS])
    if found is None:
        raise SystemExit("a series showed no image in half a minute")
    return float(found)


def first_image(page: Page, kind: str) -> float:
    """Seconds from the address to the first image."""
    found = page.evaluate("([kind, limit]) => watch.first(kind, limit)", [kind, WAITED_MS])
    return WAITED_MS / 1000 if found is None else float(found) / 1000


def scrolled(page: Page, kind: str, begin: int) -> dict[str, float]:
    """What was on the screen in each frame of a scroll."""
    how = {"from": begin, "seconds": SECONDS, "perSecond": PER_SECOND, "isFar": FAR}
    found: dict[str, float] = page.evaluate("([kind, how]) => watch.scroll(kind, how)", [kind, how])
    return found


def jumped(page: Page, kind: str) -> list[float]:
    """Seconds of each jump until the slice is there at full quality; the limit where it did not come."""
    found = []
    for share in JUMPS:
        ms = page.evaluate("(how) => watch.jump(...how)", [kind, int(share * SLICES), JUMPED_MS])
        found.append(JUMPED_MS / 1000 if ms is None else float(ms) / 1000)
        page.wait_for_timeout(700)
    return found


def of(found: Sequence[dict[str, float]], name: str, *, share: bool = False) -> list[float]:
    """One figure of every scroll, or its percentage of the frames."""
    return [100 * each[name] / each["frames"] if share else each[name] for each in found]


def port_of(server: Peer) -> int:
    """Of its HTTP door."""
    return int(server.address.rpartition(":")[2])
