"""How the viewer feels on a phone far from the server, and how others feel there with the same scans.

    python bench/viewer.py [ours] [static] [cornerstone] [ohif]

Without names all parts run; `RUNS=1` for a quick look instead of the median of five. Chromium without a screen drives
each viewer over a link of our own (`link.py`), with the size of a phone, with touch, without a GPU. Bytes and the
moments when they came are read from the link, not from the viewer.
"""

import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from statistics import median

from chromium import Memory, chromium, fresh_page, memory, missing, resident_mb, slow_down
from link import Link, Piece, Shape
from others import OtherViewer, cornerstone, ohif
from peers import Peer, radloop
from report import tell
from static import static
from steps import (
    CUT_S,
    FAR,
    FAST,
    FOLDED_S,
    HEAP_SETTLES_S,
    JUMPED_MS,
    MANY_SLICES,
    NEAR,
    PER_SECOND,
    PREVIEWED_S,
    RUNS,
    SECONDS,
    SLICES,
    SLOW,
    SLOWER,
    WAITED_MS,
    Bench,
    Felt,
    Series,
    first_image,
    jumped,
    loaded_app,
    of,
    opened,
    port_of,
    scrolled,
)
from studies import chest_study, long_series
from tapped import PREVIEW, records, twice

from radloop.client import Client, batches
from radloop.core.ports import Upload
from radloop.up import STATIC

# Ours


def ours(bench: Bench) -> None:
    """All of our own figures."""
    from_cold(bench)
    with radloop(bench.home) as server:
        for shape in (SLOW, FAST):
            all_there(bench, server, shape)
            scrolling(bench, server, shape)
        slowed(bench, server)
        painted(bench, server)
        dropped(bench, server)
        for series in (bench.series, bench.many):
            kept(bench, server, series)
        shipped(bench, server)


def from_cold(bench: Bench) -> None:
    """The first image of all, over TLS."""
    with radloop(bench.home, has_tls=True) as server:
        for shape in (SLOW, FAST):
            found = [cold(bench, server, shape) for _ in range(RUNS)]
            seconds, sizes = zip(*found, strict=True)
            bench.row(f"{shape.name}: first image, cold page, TLS", seconds, "s", 1.3, "goal <=")
            bench.colds[shape.name] = median(seconds), median(sizes)


def cold(bench: Bench, server: Peer, shape: Shape) -> tuple[float, float]:
    """Seconds from the address to the first image, with nothing cached and no connection, and MB that came by then."""
    with Link(shape) as link, fresh_page(bench.browser, is_small=True) as page:
        page.goto(f"https://127.0.0.1:{link.to(port_of(server))}/app/#/view/{bench.series.id}", wait_until="commit")
        return first_image(page, "radloop"), link.down_bytes / 1e6


def all_there(bench: Bench, server: Peer, shape: Shape) -> None:
    """The first image of a series opened in a loaded app, and all previews of somebody who only looks."""
    firsts, fulls, seconds, sizes = [], [], [], []
    own = sum(bench.series.previews)
    for _ in range(RUNS):
        with Link(shape) as link, fresh_page(bench.browser, is_small=True) as page:
            loaded_app(page, link.to(port_of(server)))
            link.tap, begun = [], time.monotonic()
            firsts.append(opened(page, bench.series.id) / 1000)
            if page.evaluate("(limit) => watch.full('radloop', limit)", WAITED_MS) is None:
                raise SystemExit("a series showed no lossless image in half a minute")
            fulls.append(time.monotonic() - begun)
            there = wait_for_all(link.tap, bench.series)
            seconds.append(there - begun)
            sizes.append(sum(len(piece.data) for piece in link.tap if piece.is_down and piece.at <= there) / 1e6)
    bench.row(f"{shape.name}: first image, app loaded", firsts, "s", 0.6, "goal <=")
    bench.row(f"{shape.name}: first lossless image, app loaded", fulls, "s", None, "")
    what = f"{shape.name}: every slice at least a preview"
    bench.row(what, seconds, "s", shape.seconds(own), "the link with previews alone, goal <= 1.2")
    bench.row(f"{shape.name}: bytes until then", sizes, "MB", own / 1e6, "previews alone")


def scrolling(bench: Bench, server: Peer, shape: Shape) -> None:
    """A scroll right after opening, then jumps."""
    found, jumps, sizes, taken = [], [], [], []
    for _ in range(RUNS):
        with Link(shape) as link, fresh_page(bench.browser, is_small=True) as page:
            loaded_app(page, link.to(port_of(server)))
            opened(page, bench.series.id)
            page.wait_for_timeout(1000)
            found.append(scrolled(page, "radloop", SLICES // 2))
            sizes.append(link.down_bytes / 1e6)
            page.wait_for_timeout(1000)
            jumps += jumped(page, "radloop")
            taken.append(memory(page))
    told = f"{shape.name}: {PER_SECOND} slices/s for {SECONDS:g} s"
    bench.row(f"{told}, blank frames", of(found, "blank"), "frames", 0.0, "goal 0")
    bench.row(f"{told}, slice itself", of(found, "exact", share=True), "% of frames", None, "")
    bench.row(f"{told}, a neighbour", of(found, "neighbour", share=True), "% of frames", None, "")
    bench.row(f"{told}, more than {FAR} off", of(found, "far", share=True), "% of frames", 0.0, "goal 0")
    bench.row(f"{told}, median", of(found, "fps"), "frames/s", 55.0, "goal >=")
    bench.row(f"{told}, longer than 20 ms", of(found, "slow"), "frames", None, f"of {median(of(found, 'frames')):.0f}")
    bench.row(f"{told}, tasks > 50 ms", of(found, "long"), "tasks", 0.0, "goal 0")
    bench.row(f"{shape.name}: jump to lossless, median", [median(jumps)], "s", 0.5, "goal <=")
    bench.row(f"{shape.name}: jump to lossless, slowest of all", [max(jumps)], "s", None, "")
    bench.felt[shape.name] = Felt(
        first_s=bench.colds[shape.name][0],
        first_mb=bench.colds[shape.name][1],
        itself=median(of(found, "exact", share=True)),
        far=median(of(found, "far", share=True)),
        fps=median(of(found, "fps")),
        jump_s=median(jumps),
        arrived_mb=median(sizes),
        heap_mb=median(each.heap for each in taken),
        resident_mb=median(each.resident for each in taken),
    )


def slowed(bench: Bench, server: Peer) -> None:
    """The same scroll on a slow phone: a quarter of the processor and one decoder."""
    found = []
    for _ in range(RUNS):
        with Link(SLOW) as link, fresh_page(bench.browser, is_small=True) as page:
            loaded_app(page, link.to(port_of(server)), "?workers=1")
            slow_down(page, SLOWER)
            opened(page, bench.series.id)
            page.wait_for_timeout(1000)
            found.append(scrolled(page, "radloop", SLICES // 2))
    told = f"{SLOW.name}, processor / {SLOWER:g}, 1 worker"
    bench.row(f"{told}: blank frames", of(found, "blank"), "frames", 0.0, "goal 0")
    bench.row(f"{told}: a neighbour", of(found, "neighbour", share=True), "% of frames", None, "")
    bench.row(f"{told}: median", of(found, "fps"), "frames/s", 45.0, "goal >=")


def painted(bench: Bench, server: Peer) -> None:
    """The same scroll with every pixel of a screen painted, by software: what a phone's GPU does is not measured."""
    found = []
    for _ in range(RUNS):
        with Link(SLOW) as link, fresh_page(bench.browser) as page:
            loaded_app(page, link.to(port_of(server)))
            opened(page, bench.series.id)
            page.wait_for_timeout(1000)
            found.append(scrolled(page, "radloop", SLICES // 2))
    told = f"{SLOW.name}, 412 x 915 pixels painted by software"
    bench.row(f"{told}: blank frames", of(found, "blank"), "frames", 0.0, "goal 0")
    bench.row(f"{told}: median", of(found, "fps"), "frames/s", None, "")


def dropped(bench: Bench, server: Peer) -> None:
    """A link that breaks for ten seconds while previews come."""
    late, again, cut = [], [], []
    for _ in range(RUNS):
        with Link(SLOW) as link, fresh_page(bench.browser, is_small=True) as page:
            loaded_app(page, link.to(port_of(server)))
            link.tap = []
            opened(page, bench.series.id)
            page.wait_for_timeout(3000)
            link.cut()
            time.sleep(CUT_S)
            link.mend()
            mended = time.monotonic()
            wait_for_all(link.tap, bench.series)
            found = records(link.tap)
            late.append(next(record.at for record in found if record.at > mended) - mended)
            again.append(twice(found) / 1000)
            cut.append(sum(record.length for record in found if not record.is_whole) / 1000)
    told = f"{SLOW.name}, link cut for {CUT_S:g} s"
    bench.row(f"{told}: goes on by itself after", late, "s", None, "")
    bench.row(f"{told}: fetched twice, without what was cut", again, "KB", 0.0, "goal 0")
    bench.row(f"{told}: of records that were cut", cut, "KB", None, "")


def kept(bench: Bench, server: Peer, series: Series) -> None:
    """What a tab takes once it has fetched all that it wants, after a scroll."""
    found: list[Memory] = []
    for _ in range(RUNS):
        with Link(NEAR) as link, fresh_page(bench.browser) as page:
            loaded_app(page, link.to(port_of(server)))
            opened(page, series.id)
            scrolled(page, "radloop", len(series.previews) // 2)
            page.wait_for_timeout(1000 * HEAP_SETTLES_S)
            found.append(memory(page))
    told = f"{len(series.previews)} slices, all fetched that it wants"
    bench.row(f"{told}: tab heap", [each.heap for each in found], "MB", 250.0, "goal <=")
    bench.row(f"{told}: of that buffers and wasm", [each.buffers for each in found], "MB", None, "")
    bench.row(f"{told}: renderer, resident", [each.resident for each in found], "MB", None, "")


def shipped(bench: Bench, server: Peer) -> None:
    """Script and WebAssembly, gzipped: what a reader of a series fetches, and all that there is."""
    with Link(NEAR) as link, fresh_page(bench.browser, is_small=True) as page:
        link.tap = []
        page.goto(f"http://127.0.0.1:{link.to(port_of(server))}/app/#/view/{bench.series.id}", wait_until="commit")
        first_image(page, "radloop")
        page.wait_for_timeout(3000)
        asked = b"".join(piece.data for piece in link.tap if not piece.is_down)
    names = {name.decode() for name in re.findall(rb"GET /app/(\S+?\.(?:js|wasm)) ", asked)}
    bench.row(
        "script and wasm, for a series", [gzipped(STATIC / name for name in names) / 1000], "KB", 150.0, "goal <="
    )
    everything = (file for file in STATIC.rglob("*") if file.suffix in {".js", ".wasm"})
    bench.row("script and wasm, all of the app", [gzipped(everything) / 1000], "KB", None, "")


# Others


def others(make: Callable[[str], AbstractContextManager[list[OtherViewer] | str]], bench: Bench) -> None:
    """Another viewer with the same series over the same links, beside ours."""
    if not bench.colds:
        from_cold(bench)
    with ExitStack() as held:
        server = held.enter_context(radloop(bench.home))
        for shape in (SLOW, FAST):
            if shape.name not in bench.felt:
                scrolling(bench, server, shape)
        found = held.enter_context(make(server.address))
        if isinstance(found, str):
            print(f"left out: {found}", flush=True)
            return
        for viewer in found:
            for shape in (SLOW, FAST):
                beside(bench, viewer, shape, middle([felt(bench, viewer, shape) for _ in range(RUNS)]))


def felt(bench: Bench, viewer: OtherViewer, shape: Shape) -> Felt:
    """Another viewer on a link, once."""
    with Link(shape) as link, fresh_page(bench.browser, is_phone=viewer.is_phone, is_small=True) as page:
        address = viewer.address(bench.series.study_uid, bench.series.series_uid)
        page.goto(f"http://127.0.0.1:{link.to(viewer.port)}{address}", wait_until="commit")
        first = first_image(page, viewer.kind)
        first_mb = link.down_bytes / 1e6
        page.wait_for_timeout(1000)
        found = [scrolled(page, viewer.kind, SLICES // 2)]
        size = link.down_bytes / 1e6
        page.wait_for_timeout(1000)
        jumps = jumped(page, viewer.kind) if first * 1000 < WAITED_MS else [JUMPED_MS / 1000]
        heap = memory(page).heap if viewer.is_asked else None
        resident = resident_mb()
    return Felt(
        first_s=first,
        first_mb=first_mb,
        itself=of(found, "exact", share=True)[0],
        far=of(found, "far", share=True)[0],
        fps=found[0]["fps"],
        jump_s=median(jumps),
        arrived_mb=size,
        heap_mb=heap,
        resident_mb=resident,
    )


def middle(runs: Sequence[Felt]) -> Felt:
    """The median of each figure; None where a viewer does not tell it."""
    found = {name: [getattr(run, name) for run in runs] for name in Felt.__slots__}
    return Felt(**{name: None if None in each else median(each) for name, each in found.items()})


def beside(bench: Bench, viewer: OtherViewer, shape: Shape, theirs: Felt) -> None:
    """Both viewers, line by line."""
    mine = bench.felt[shape.name]
    for what, unit, one, other in (
        ("first image, cold page", "s", mine.first_s, theirs.first_s),
        ("bytes until then", "MB", mine.first_mb, theirs.first_mb),
        ("scroll, slice itself", "% of frames", mine.itself, theirs.itself),
        (f"scroll, nothing or more than {FAR} off", "% of frames", mine.far, theirs.far),
        ("scroll, median", "frames/s", mine.fps, theirs.fps),
        ("bytes until the end of the scroll", "MB", mine.arrived_mb, theirs.arrived_mb),
        ("jump to full quality", "s", mine.jump_s, theirs.jump_s),
        ("tab heap then", "MB", mine.heap_mb, theirs.heap_mb),
        ("renderer, resident then", "MB", mine.resident_mb, theirs.resident_mb),
    ):
        if one is not None and other is not None:
            bench.row(f"{shape.name}: {what}", [one], unit, other, viewer.name)


PARTS: dict[str, Callable[[Bench], None]] = {
    "ours": ours,
    "static": static,
    "cornerstone": lambda bench: others(cornerstone, bench),
    "ohif": lambda bench: others(ohif, bench),
}


# What the parts need


def wait_for_all(tap: list[Piece], series: Series) -> float:
    """The moment at which some layer of each slice was there, as the link saw it."""
    until, wanted, seen, there = time.monotonic() + PREVIEWED_S, sum(series.previews), 0, 0
    size = 0
    while time.monotonic() < until:
        time.sleep(0.5)
        size += sum(len(piece.data) for piece in tap[seen:] if piece.is_down)
        seen = len(tap)
        if size < wanted:
            continue  # to read it all takes the processor from those who are measured
        first: dict[int, float] = {}
        for record in records(tap[:seen]):
            if record.is_whole and record.begin == 0:
                first.setdefault(record.frame & ~PREVIEW, record.at)
        there = len(first)
        if there >= len(series.previews):
            return max(first.values())
    raise SystemExit(f"{there} of {len(series.previews)} slices had a preview after {PREVIEWED_S:g} s")


def gzipped(files: Iterable[Path]) -> int:
    """Bytes of files as they travel: packed when the page is built."""
    return sum(file.with_name(f"{file.name}.gz").stat().st_size for file in files)


def taken_in(server: Peer, count: int, number: int) -> Series:
    """Upload a series and wait until all of it is folded."""
    client = Client(f"http://{server.address}", None)
    id_ = ""
    for batch in batches(Upload(file) for file in long_series(count, number)):
        id_ = str(client.upload(batch)[0]["image_set"])
    client.post(f"image-sets/{id_}/complete")
    until = time.monotonic() + FOLDED_S
    while (found := client.get(f"image-sets/{id_}"))["storage"] == "landed":
        if time.monotonic() > until:
            raise SystemExit("a series was not folded in time")
        time.sleep(0.5)
    previews = tuple(int(frame["preview_bytes"] or 0) for frame in found["frame_list"])
    assert len(previews) == count, f"{len(previews)} of {count} slices came in"
    return Series(id_, found["study_uid"], found["series_uid"], previews)


def main(parts: Sequence[str]) -> None:
    """Run the parts and tell."""
    why = missing() or (None if (STATIC / "index.html").exists() else "the web page is not built (make setup)")
    if why:
        raise SystemExit(f"nothing can be measured: {why}")
    load, begun = os.getloadavg()[0], time.monotonic()
    with tempfile.TemporaryDirectory(prefix="radloop-bench-") as folder:
        home = Path(folder, "home")
        with radloop(home) as server:
            series = taken_in(server, SLICES, 1)
            many = taken_in(server, MANY_SLICES, 2) if "ours" in parts else series
        with radloop(home, has_tls=True):
            pass  # makes the certificates
        with chromium(home / "keys" / "server.pem") as browser:
            bench = Bench(browser, home, series, many)
            for part in parts:
                print(f"{part} ... ({time.monotonic() - begun:.0f} s)", flush=True)
                PARTS[part](bench)
    mean = sum(series.previews) / SLICES / 1000
    told = (
        f"{SLICES} slices with the pixels of {chest_study().name}, there and back again; previews of {mean:.1f} KB;"
        f" median of {RUNS} runs; screen of 66 x 146 pixels where not told, no GPU;"
        f" parts: {', '.join(parts)};"
        f" {(time.monotonic() - begun) / 60:.0f} minutes"
    )
    tell("viewer" if set(parts) == set(PARTS) else "-".join(["viewer", *parts]), told, bench.rows, load)


if __name__ == "__main__":
    wanted = sys.argv[1:] or list(PARTS)
    unknown = sorted(set(wanted) - set(PARTS))
    if unknown:
        raise SystemExit(f"there is no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    main(wanted)
