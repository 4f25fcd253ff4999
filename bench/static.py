"""The part `static` of `viewer.py`: the same scroll with nothing but ranges of static files, beside the API.

nginx stands where CloudFront would, before one radloop, with TLS and HTTP/2 (`front.py`). Its two doors differ in one
header, so that the same viewer takes packs from the one and asks the API at the other. Nothing is read from the bytes
on the link, which are sealed: the page tells when something of every slice is there, the link how much came.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from chromium import fresh_page
from front import front
from link import Link, Shape
from peers import Peer, radloop
from playwright.sync_api import Page, Request
from steps import (
    FAR,
    FAST,
    PER_SECOND,
    PREVIEWED_S,
    RUNS,
    SECONDS,
    SLICES,
    SLOW,
    WAITED_MS,
    Bench,
    first_image,
    jumped,
    loaded_app,
    of,
    opened,
    port_of,
    scrolled,
)


@dataclass(frozen=True, slots=True)
class Run:
    """One source of frames over one link, once.

    Attributes:
        cold_s: First image of a cold page.
        first_s: Of a series opened in a loaded app; `full_s` its first lossless one.
        all_s: Until something of every slice is there; `all_mb` came from the link by then, with TLS and heads.
        scroll: What was on the screen, see `watch.js`.
        jumps_s: To lossless, each.
        asked: Requests of the scroll and the jumps; `asked_api` of them went to the API.
    """

    cold_s: float
    first_s: float
    full_s: float
    all_s: float
    all_mb: float
    scroll: dict[str, float]
    jumps_s: Sequence[float]
    asked: int
    asked_api: int


def static(bench: Bench) -> None:
    """Packs beside the API over HTTP/2, and packs over HTTP/1.1 beside those over HTTP/2."""
    folder = bench.home.parent / "front"
    place = written(bench)
    keys = bench.home / "keys"
    tls = keys / "server.pem", keys / "server-key.pem"
    with radloop(bench.home) as server:
        found: dict[tuple[str, str], list[Run]] = {}
        for version in ("HTTP/2", "HTTP/1.1"):
            packs = {bench.series.id: place}
            with front(folder, server.address, packs, tls, has_http2=version == "HTTP/2") as doors:
                if doors is None:
                    print("left out: nginx is not installed", flush=True)
                    return
                for shape in (SLOW, FAST):
                    for _ in range(RUNS):  # by turns, so that both meet the same machine
                        for kind in ("api", "packs") if version == "HTTP/2" else ("packs",):
                            run = once(bench, doors[kind], shape)
                            found.setdefault((f"{kind} {version}", shape.name), []).append(run)
                    ours = found[f"packs {version}", shape.name]
                    other = "api HTTP/2" if version == "HTTP/2" else "packs HTTP/2"
                    beside(bench, f"{shape.name}, packs, {version}", ours, found[other, shape.name], other)


def written(bench: Bench) -> str:
    """Write the packs of the series; tells where they lie."""
    folder = bench.home.parent / "front"
    command = [sys.executable, "-m", "radloop.cli", "packs", "write", bench.series.id, str(folder)]
    begun = time.monotonic()
    told = subprocess.run([*command, "--home", str(bench.home), "--json"], check=True, capture_output=True, text=True)
    facts = json.loads(told.stdout)
    bench.row("packs: written in", [time.monotonic() - begun], "s", None, f"{facts['files']} files")
    bench.row("packs: size", [facts["bytes"] / 1e6], "MB", None, "")
    return f"packs/{bench.series.id}/{facts['version']}/"


def once(bench: Bench, door: Peer, shape: Shape) -> Run:
    """Everything that is measured of one door over one link."""
    id_ = bench.series.id
    with Link(shape) as link, fresh_page(bench.browser, is_small=True) as page:
        page.goto(f"https://127.0.0.1:{link.to(port_of(door))}/app/#/view/{id_}", wait_until="commit")
        cold_s = first_image(page, "radloop")
    with Link(shape) as link, fresh_page(bench.browser, is_small=True) as page:
        loaded_app(page, link.to(port_of(door)), scheme="https")
        before, begun = link.down_bytes, time.monotonic()
        first_s = opened(page, id_) / 1000
        full_s = waited(page, "full", WAITED_MS, begun)
        all_s = waited(page, "all", PREVIEWED_S * 1000, begun)
        all_mb = (link.down_bytes - before) / 1e6
    with Link(shape) as link, fresh_page(bench.browser, is_small=True) as page:
        loaded_app(page, link.to(port_of(door)), scheme="https")
        opened(page, id_)
        page.wait_for_timeout(1000)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(_what(request)))
        scroll = scrolled(page, "radloop", SLICES // 2)
        page.wait_for_timeout(1000)
        jumps = jumped(page, "radloop")
    return Run(cold_s, first_s, full_s, all_s, all_mb, scroll, jumps, len(asked), asked.count("api"))


def waited(page: Page, what: str, limit_ms: float, begun: float) -> float:
    """Seconds from `begun` until what the page waits for."""
    call = "(limit) => watch.full('radloop', limit)" if what == "full" else "(limit) => watch.all(limit)"
    if page.evaluate(call, limit_ms) is None:
        raise SystemExit(f"a series was not there ({what}) after {limit_ms / 1000:g} s")
    return time.monotonic() - begun


def _what(request: Request) -> str:
    return "packs" if "/packs/" in request.url else "api"


def beside(bench: Bench, told: str, ours: Sequence[Run], others: Sequence[Run], other: str) -> None:
    """Medians of both, line by line."""
    scroll = f"{PER_SECOND} slices/s for {SECONDS:g} s"

    def row(what: str, unit: str, figure: Callable[[Run], float]) -> None:
        bench.row(f"{told}: {what}", [figure(run) for run in ours], unit, median(map(figure, others)), other)

    row("first image, cold page", "s", lambda run: run.cold_s)
    row("first image, app loaded", "s", lambda run: run.first_s)
    row("first lossless image, app loaded", "s", lambda run: run.full_s)
    row("every slice at least a preview", "s", lambda run: run.all_s)
    row("bytes until then", "MB", lambda run: run.all_mb)
    row(f"{scroll}, blank frames", "frames", lambda run: run.scroll["blank"])
    row(f"{scroll}, slice itself", "% of frames", lambda run: of([run.scroll], "exact", share=True)[0])
    row(f"{scroll}, more than {FAR} off", "% of frames", lambda run: of([run.scroll], "far", share=True)[0])
    row(f"{scroll}, median", "frames/s", lambda run: run.scroll["fps"])
    row(f"{scroll}, longer than 20 ms", "frames", lambda run: run.scroll["slow"])
    row("jump to lossless, median", "s", lambda run: median(run.jumps_s))
    row("jump to lossless, slowest", "s", lambda run: max(run.jumps_s))
    row("requests, scroll and jumps", "requests", lambda run: run.asked)
    row("of them to the API", "requests", lambda run: run.asked_api)
