"""How fast radloop is beside Orthanc, as Debian ships it, and beside nginx serving the same bytes as plain files.

    python bench/orthanc.py [stow] [fold] [dimse] [qido] [frames] [files] [study] [tls]

Without names all parts run. The same real CT goes into both servers; clients are programs of other people (wrk,
h2load, storescu) or processes of their own; servers take turns, so that what else the machine does falls on both; the
median turn counts. Where a program is missing its part says so and is left out.
"""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from statistics import median

import orjson
from peers import Peer, bare, go_alone, memory_watched, nginx, orthanc, radloop
from report import Row, tell
from senders import Load, h2load, missing, renamed, store_together, stow_together, wrk
from store import code
from studies import Study, chest_study

from radloop.dicom.parse import parse

TURNS = 3
STOW_TURNS = 7  # a turn lasts a third of a second
SECONDS = 2
SLICES = 256
SENT = 64
WHOLE_STUDY = 1907
FOLDED_S = 240.0
EXPLICIT_LE = "1.2.840.10008.1.2.1"
STORED = {
    "Orthanc": 'multipart/related; type="application/octet-stream"; transfer-syntax=*',
    "radloop": 'multipart/related; type="image/jphc"',
}
DECODED = f'multipart/related; type="application/octet-stream"; transfer-syntax={EXPLICIT_LE}'


@dataclass(slots=True)
class Bench:
    """What all parts share.

    Attributes:
        base: A folder with the files that every series is made of.
        frames: Series of `SLICES` instances that both servers hold, ours folded: its number; None before.
    """

    study: Study
    base: Path
    scratch: Path
    pool: Executor
    ours: Peer
    other: Peer | None
    home: Path
    rows: list[Row] = field(default_factory=list)
    _series: int = 0
    _held: int | None = None

    @property
    def peers(self) -> list[Peer]:
        """Who is measured, ours first."""
        return [self.ours] if self.other is None else [self.ours, self.other]

    def fresh_series(self) -> int:
        """The number of a series that nobody has seen."""
        self._series += 1
        return self._series

    def uids(self, series: int, instance: int = 0) -> tuple[str, str, str]:
        """Study, series and instance UID of what the clients send."""
        found = parse(renamed(self.study.files[instance % len(self.study.files)], series, instance))
        return found.study_uid, found.series_uid, found.sop_uid

    def tell(  # noqa: PLR0917 — one row
        self,
        what: str,
        unit: str,
        found: dict[str, list[float]],
        goal: str,
        against: str = "Orthanc",
        other: str = "Orthanc",
        who: str = "radloop",
    ) -> None:
        """Put the medians of all turns into a row."""
        theirs = found.get(other)
        limit = median(theirs) if theirs else None
        self.rows.append(Row(what, median(found[who]), unit, limit, f"{against}, goal {goal}"))
        print("  ", self.rows[-1], flush=True)

    def held(self) -> int:
        """The series that both hold, ours folded."""
        if self._held is None:
            self._held = self.fresh_series()
            for peer in self.peers:
                stow_together(peer, self.base, self._held, SLICES, 2, self.pool, at_once=8)
            fold(self, self._held)
        return self._held


# Parts


def stow(bench: Bench) -> None:
    """Acknowledged instances a second, one instance a request, one series; and what no server could be faster than."""
    with bare(bench.scratch / "bare") as least:
        for clients, goal in ((1, ">= 1.5"), (4, ">= 2")):
            rates: dict[str, list[float]] = {}
            slowest: dict[str, list[float]] = {}
            for turn in range(STOW_TURNS + 1):
                for peer in [*bench.peers, least]:
                    files = SENT // 4 if turn == 0 else SENT
                    seconds, p99 = stow_together(peer, bench.base, bench.fresh_series(), files, clients, bench.pool)
                    if turn:
                        rates.setdefault(peer.name, []).append(files / seconds)
                        slowest.setdefault(peer.name, []).append(p99)
            who = f"{clients} client{'s' if clients > 1 else ''}"
            bench.tell(f"STOW acknowledged, {who}", "instances/s", rates, goal)
            bench.tell(f"STOW answer, {who}, p99", "ms", slowest, "below 1")
            bench.tell(f"limit: receive, hash, seal, flush, {who}", "instances/s", rates, "none", who=least.name)


def folding(bench: Bench) -> None:
    """The same with four clients up to the last folded slice, against Orthanc's acknowledgement.

    The limit is what storing alone and the bare codec take one after the other: each of the two keeps all cores busy,
    and neither parses, indexes, audits or makes a preview.
    """
    rates: dict[str, list[float]] = {}
    sent = [bench.study.files[number % len(bench.study.files)] for number in range(SENT * 2)]
    with bare(bench.scratch / "bare-fold") as least:
        for _ in range(TURNS):
            coded = time.monotonic()
            list(bench.pool.map(code, sent, chunksize=4))
            coded = time.monotonic() - coded
            for peer in [*bench.peers, least]:
                series, begun = bench.fresh_series(), time.monotonic()
                seconds, _ = stow_together(peer, bench.base, series, len(sent), 4, bench.pool)
                if peer is bench.ours:
                    waited = time.monotonic() - begun - seconds  # of the clients, before they began
                    fold(bench, series)
                    seconds = time.monotonic() - begun - waited
                elif peer is least:
                    seconds += coded
                rates.setdefault(peer.name, []).append(len(sent) / seconds)
    against = "Orthanc's answer alone"
    bench.tell("STOW, compressed, verified, previewed", "instances/s", rates, ">= 1", against)
    bench.tell("limit: store, then encode + decode", "instances/s", rates, "none", against, who=least.name)


def dimse(bench: Bench) -> None:
    """C-STORE from storescu."""
    why = missing("storescu") or (None if bench.ours.dicom_port else "radloop up has no DIMSE door")
    if why:
        return skip("dimse", why)
    for associations, files, goal in ((1, SENT // 2, ">= 1.5"), (4, SENT, ">= 2")):
        rates: dict[str, list[float]] = {}
        for _ in range(TURNS):
            for peer in bench.peers:
                folders = written(bench, bench.fresh_series(), files, associations)
                rates.setdefault(peer.name, []).append(files / store_together(peer, folders))
                for folder in folders:
                    shutil.rmtree(folder)
        who = f"{associations} association{'s' if associations > 1 else ''}"
        bench.tell(f"C-STORE acknowledged, {who}", "instances/s", rates, goal)
    return None


def qido(bench: Bench) -> None:
    """Searches, one behind the other."""
    study, series, _ = bench.uids(bench.held())
    questions = {
        f"QIDO {SLICES} instances of a series": f"/studies/{study}/series/{series}/instances?limit={SLICES}",
        "QIDO studies": "/studies?limit=25",
    }
    for what, path in questions.items():
        times: dict[str, list[float]] = {}
        found: dict[str, int] = {}
        for turn in range(TURNS + 1):
            for peer in bench.peers:
                spent, found[peer.name] = asked(peer, path, 1 if turn == 0 else 25)
                if turn:
                    times.setdefault(peer.name, []).extend(spent)
        assert len(set(found.values())) == 1, f"the servers found {found} for {what}"
        for share in (50, 99):
            least = {name: [percentile(each, share)] for name, each in times.items()}
            bench.tell(f"{what}, p{share}", "ms", least, "<= 0.1")


def frames(bench: Bench) -> None:
    """Single frames over DICOMweb, as stored and decoded.

    What is decoded is kept by us. So one line tells of frames that are asked for the first time, each once a turn and
    what was kept thrown away before; another of frames that have been asked for before.
    """
    why = missing("wrk")
    if why:
        return skip("frames", why)
    paths = {peer.name: frame_paths(bench, peer) for peer in bench.peers}
    decoded = dict.fromkeys(STORED, DECODED)
    for what, accepts, goal, is_first in (
        ("as stored", STORED, ">= 5", False),
        ("decoded, Explicit LE, first time asked", decoded, "none", True),
        ("decoded, Explicit LE, asked again", decoded, ">= 1.5", False),
    ):
        for connections in (8, 32):
            found: dict[str, list[Load]] = {}
            for turn in range(TURNS + 1):
                for peer in bench.peers:
                    if is_first:
                        shutil.rmtree(bench.home / "kept", ignore_errors=True)
                    asked_for = paths[peer.name], accepts[peer.name]
                    seconds = (2 * SECONDS if is_first else SECONDS) if turn or is_first else 1
                    load = wrk(peer, *asked_for, connections, seconds, bench.scratch, once=is_first)
                    if turn:
                        found.setdefault(peer.name, []).append(load)
            means = {name: median(load.mean_bytes for load in each) for name, each in found.items()}
            sizes = " against ".join(f"{mean / 1e3:.0f} KB" for mean in means.values())
            name = f"frames {what}, {connections} connections"
            bench.tell(f"{name} ({sizes})", "requests/s", by(found, lambda load: load.rate), goal)
            bench.tell(f"{name}, p99", "ms", by(found, lambda load: load.p99_ms), "below 1")
    return None


def files(bench: Bench) -> None:
    """Our own frame route against nginx with the same bytes as plain files."""
    why = missing("wrk", "nginx")
    if why:
        return skip("files", why)
    paths, folder = plain_frames(bench)
    with nginx(folder) as plain:
        assert plain is not None
        for connections, goal in ((1, "none"), (8, ">= 0.5"), (32, ">= 0.33")):
            found: dict[str, list[Load]] = {}
            for turn in range(TURNS + 1):
                for peer, mine in ((bench.ours, paths), (plain, names(paths))):
                    load = wrk(peer, mine, "*/*", connections, SECONDS if turn else 1, bench.scratch)
                    if turn:
                        found.setdefault(peer.name, []).append(load)
            rates = by(found, lambda load: load.rate)
            bench.tell(f"frames, clear, {connections} connections", "requests/s", rates, goal, "nginx", "nginx")
    return None


def study(bench: Bench) -> None:
    """A large study: seconds from the first byte sent until every part of it can be scrolled through."""
    series = bench.fresh_series()
    begun = time.monotonic()
    seconds, _ = stow_together(bench.ours, bench.base, series, WHOLE_STUDY, 1, bench.pool, at_once=16)
    waited = time.monotonic() - begun - seconds
    identity = closed(bench, series)
    client = HTTPConnection(bench.ours.address, timeout=60)
    for index in range(0, WHOLE_STUDY, 100):
        assert fetched(client, f"/api/v1/image-sets/{identity}/frames/{index}")[:2] == b"\xff\x4f"
    scrollable = time.monotonic() - begun - waited
    wait_folded(client, identity)
    whole = time.monotonic() - begun - waited
    what = f"study of {WHOLE_STUDY} slices"
    bench.rows.append(Row(f"{what}, acknowledged", seconds, "s", None, "goal: none"))
    bench.rows.append(Row(f"{what}, scrollable", scrollable, "s", 30.0, "goal <= 1 (30 s)"))
    bench.rows.append(Row(f"{what}, folded", whole, "s", None, "goal: none"))


def tls(bench: Bench) -> None:
    """The same as `files` over TLS, both under the same certificate."""
    why = missing("h2load", "nginx")
    if why:
        return skip("tls", why)
    paths, folder = plain_frames(bench)
    time.sleep(2)  # until what was counted for the audit is written: the home is copied under its server
    home = bench.scratch / "home-tls"
    shutil.copytree(bench.home, home, ignore=shutil.ignore_patterns("lock", "server.json", "scratch", "kept"))
    with radloop(home, has_tls=True) as ours:
        keys = home / "keys" / "server.pem", home / "keys" / "server-key.pem"
        with nginx(folder, keys) as plain:
            assert plain is not None
            for connections, goal in ((8, ">= 0.9"), (32, ">= 0.9")):
                found: dict[str, list[Load]] = {}
                for turn in range(TURNS + 1):
                    for peer, mine in ((ours, paths), (plain, names(paths))):
                        load = h2load(peer, mine, connections, SECONDS if turn else 1, bench.scratch)
                        if turn:
                            found.setdefault(peer.name, []).append(load)
                rates = by(found, lambda load: load.rate)
                bench.tell(f"frames, TLS, {connections} connections", "requests/s", rates, goal, "nginx", "nginx")
    return None


PARTS: dict[str, Callable[[Bench], None]] = {
    "stow": stow,
    "fold": folding,
    "dimse": dimse,
    "qido": qido,
    "frames": frames,
    "files": files,
    "study": study,
    "tls": tls,
}


# What the parts need


def skip(part: str, why: str) -> None:
    """Tell why a part is left out."""
    print(f"{part}: left out, {why}")


def by(found: dict[str, list[Load]], figure: Callable[[Load], float]) -> dict[str, list[float]]:
    """One figure of every load."""
    return {name: [figure(load) for load in loads] for name, loads in found.items()}


def percentile(values: list[float], share: int) -> float:
    """The smallest value that `share` percent of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * share // 100)]


def asked(peer: Peer, path: str, times: int) -> tuple[list[float], int]:
    """Milliseconds of each of so many searches, and how much the last one found."""
    connection = HTTPConnection(peer.address, timeout=60)
    spent, told = [], b"[]"
    for _ in range(times):
        begun = time.perf_counter()
        connection.request("GET", peer.root + path, headers={"Accept": "application/dicom+json"})
        answer = connection.getresponse()
        told = answer.read()
        spent.append(1000 * (time.perf_counter() - begun))
        assert answer.status == 200, f"{peer.name} answered {answer.status}"
    connection.close()
    return spent, len(orjson.loads(told))


def written(bench: Bench, series: int, count: int, shares: int) -> list[Path]:
    """A fresh series as files, in so many folders."""
    folders = [bench.scratch / f"series-{series}-{share}" for share in range(shares)]
    for folder in folders:
        folder.mkdir()
    for number in range(count):
        file = bench.study.files[number % len(bench.study.files)]
        (folders[number % shares] / f"{number:04d}.dcm").write_bytes(renamed(file, series, number))
    return folders


def frame_paths(bench: Bench, peer: Peer) -> list[str]:
    """Where DICOMweb has the one frame of every instance that both hold."""
    held = bench.held()
    found = []
    for number in range(SLICES):
        study, series, sop = bench.uids(held, number)
        found.append(f"{peer.root}/studies/{study}/series/{series}/instances/{sop}/frames/1")
    return found


def plain_frames(bench: Bench) -> tuple[list[str], Path]:
    """The paths of our frames, and a folder where the same bytes lie as files of the same names."""
    folder = bench.scratch / "plain"
    identity = image_set(bench, bench.held())
    paths = [f"/api/v1/image-sets/{identity}/frames/{index}" for index in range(SLICES)]
    if not folder.exists():
        (folder / "files").mkdir(parents=True)
        client = HTTPConnection(bench.ours.address, timeout=60)
        for path, name in zip(paths, names(paths), strict=True):
            (folder / "files" / name[1:]).write_bytes(fetched(client, path))
    return paths, folder


def names(paths: list[str]) -> list[str]:
    """What nginx calls them."""
    return [f"/frame-{index}" for index in range(len(paths))]


def image_set(bench: Bench, series: int) -> str:
    """The image set that a series has become."""
    _, uid, _ = bench.uids(series)
    client = HTTPConnection(bench.ours.address, timeout=60)
    cursor = ""
    while True:
        page = orjson.loads(fetched(client, f"/api/v1/worklist?limit=50{cursor}"))
        for item in page["items"]:
            if item.get("series_uid") == uid:
                return str(item["id"])
        if page["next"] is None:
            raise SystemExit("a series that was stored is not in the worklist")
        cursor = f"&after={page['next']}"


def closed(bench: Bench, series: int) -> str:
    """Close a series; returns its image set."""
    identity = image_set(bench, series)
    client = HTTPConnection(bench.ours.address, timeout=60)
    client.request("POST", f"/api/v1/image-sets/{identity}/complete")
    answer = client.getresponse()
    answer.read()
    assert answer.status == 200, f"closing was answered with {answer.status}"
    return identity


def fold(bench: Bench, series: int) -> None:
    """Close a series and wait until every slice is folded."""
    wait_folded(HTTPConnection(bench.ours.address, timeout=60), closed(bench, series))


def wait_folded(client: HTTPConnection, identity: str) -> None:
    """Wait until nothing of an image set is only landed."""
    deadline = time.monotonic() + FOLDED_S
    while orjson.loads(fetched(client, f"/api/v1/image-sets/{identity}"))["storage"] == "landed":
        if time.monotonic() > deadline:
            raise SystemExit("a series was not folded in time")
        time.sleep(0.1)


def fetched(client: HTTPConnection, path: str) -> bytes:
    """The answer to a GET."""
    client.request("GET", path)
    answer = client.getresponse()
    body = answer.read()
    assert answer.status == 200, f"{path} was answered with {answer.status}: {body[:200]!r}"
    return body


def main(parts: list[str]) -> None:
    """Run the parts and tell."""
    alone, load = go_alone(), os.getloadavg()[0]
    data = chest_study()
    with ExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="radloop-bench-")))
        base = folder / "base"
        base.mkdir()
        for number, file in enumerate(data.files):
            (base / f"{number:04d}.dcm").write_bytes(file)
        pool = held.enter_context(ProcessPoolExecutor(4))
        list(pool.map(time.sleep, [0.2] * 4))  # all four, before there are threads
        if not alone:
            skip("Orthanc", "no network namespace can be made here, and it must not be reachable from outside")
        other = held.enter_context(orthanc(folder / "orthanc")) if alone else None
        if alone and other is None:
            skip("Orthanc", "it is not installed with its DICOMweb plugin")
        ours = held.enter_context(radloop(folder / "home"))
        bench = Bench(data, base, folder, pool, ours, other, folder / "home")
        held.enter_context(memory_watched(bench.peers))
        for part in parts:
            print(f"{part} ...", flush=True)
            PARTS[part](bench)
        peaks = {peer.name: [peer.peak_mb] for peer in bench.peers}
        bench.tell("memory, peak of all processes (PSS)", "MB", peaks, "<= 1")
        told = f"{data.name}, copied to series of {SLICES}; median of {TURNS} turns; parts: {', '.join(parts)}"
        tell("orthanc", told, bench.rows, load)


if __name__ == "__main__":
    wanted = sys.argv[1:] or list(PARTS)
    unknown = sorted(set(wanted) - set(PARTS))
    if unknown:
        raise SystemExit(f"there is no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    main(wanted)
