"""How fast studies land and fold, how small they get, and how far that is from what the machine could do.

    python bench/store.py

Landing is held against writing the same bytes to one file and flushing it; folding against the bare codec, encoding
and decoding the same frames once. Landing and its limit run in the same processes, folding and its limit in the same
threads, turn by turn.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from statistics import median

import imagecodecs
import numpy as np
from report import Row, tell
from studies import Study, chest_study, copy_of, real_study

from radloop.codec.htj2k import decompositions
from radloop.core.identity import OWNER
from radloop.core.ports import Upload
from radloop.core.tables import TABLES
from radloop.dicom.parse import parse
from radloop.local.blobs import FileBlobs
from radloop.local.database import Database
from radloop.local.keys import open_keyring
from radloop.local.records import SqliteRecords
from radloop.store.folding import pixels_of
from radloop.store.images import ImageStore

REPETITIONS = 5
READY_S = 0.7  # for every process to have its study in memory


@contextmanager
def open_store(root: Path) -> Iterator[ImageStore]:
    """A store on `root`, with everything that a home has: seals, an encrypted index, flushes."""
    keyring = open_keyring(root / "keys" / "kek")
    database = Database(root / "index.sqlite", keyring.derive("index"), TABLES)
    try:
        yield ImageStore(FileBlobs(root / "objects"), SqliteRecords(database, _now), keyring, _now)
    finally:
        database.close()


@cache
def series(number: int) -> tuple[bytes, ...]:
    """The chest study as series `number`."""
    return copy_of(chest_study(), number).files


def land(root: Path, number: int, start: float) -> tuple[str, float]:
    """Land series `number` in one batch, as the doors do, at a given moment; returns the image set and the end."""
    uploads = [Upload(file) for file in series(number)]
    with open_store(root) as store:
        wait_until(start)
        landings = store.land(uploads, by=OWNER)
        end = time.monotonic()
    name = landings[0].image_set
    assert name is not None
    assert all(landing.outcome == "ingested" for landing in landings)
    return name, end


def write(root: Path, number: int, start: float) -> tuple[str, float]:
    """The limit of landing: the same bytes in one file, flushed, and its directory flushed."""
    files, name = series(number), f"plain-{number}"
    wait_until(start)
    with (root / name).open("wb") as file:
        for data in files:
            file.write(data)
        file.flush()
        os.fsync(file.fileno())
    folder = os.open(root, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)
    return name, time.monotonic()


def wait_until(moment: float) -> None:
    """Let all processes begin together, with everything in memory."""
    time.sleep(max(0.0, moment - time.monotonic()))


def together(
    work: Callable[[Path, int, float], tuple[str, float]], root: Path, numbers: list[int], pool: Executor
) -> tuple[list[str], float]:
    """Do `work` for every series at the same time; returns what it made and the seconds to the last end."""
    start = time.monotonic() + READY_S
    done = list(pool.map(work, [root] * len(numbers), numbers, [start] * len(numbers)))
    return [name for name, _ in done], max(end for _, end in done) - start


def code(file: bytes) -> int:
    """The limit of folding: one frame encoded losslessly and decoded by the bare codec; returns its length."""
    pixels = np.ascontiguousarray(pixels_of(file, parse(file), 0))
    stream = imagecodecs.htj2k_encode(
        pixels,
        reversible=True,
        resolutions=decompositions(*pixels.shape[:2]),
        planar=False,
        tlm=True,
        tilepart=imagecodecs.HTJ2K.TILEPART.RESOLUTIONS,
    )
    assert np.array_equal(imagecodecs.htj2k_decode(stream, planar=False), pixels)
    return len(stream)


def timed(work: Callable[[], object]) -> float:
    """Seconds that `work` takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def compare(study: Study, number_of: int, root: Path, processes: Executor, threads: Executor) -> list[Row]:
    """Land a study in each of so many processes; fold one in so many threads."""
    times: dict[str, list[float]] = {"land": [], "write": [], "fold": [], "code": []}
    for turn in range(REPETITIONS):
        numbers = [10 * turn + number for number in range(number_of)]
        home = root / f"{number_of}-{turn}"
        with open_store(home) as store:
            times["write"].append(together(write, home, numbers, processes)[1])
            names, seconds = together(land, home, numbers, processes)
            times["land"].append(seconds)
            store.complete(names[0], by=OWNER)
            times["fold"].append(timed(partial(store.fold, names[0], executor=threads)))
            times["code"].append(timed(lambda: list(threads.map(code, study.files))))
    size = study.size_bytes / 1e6
    rates = {name: size / median(found) for name, found in times.items()}
    return [
        Row(
            f"landing, {number_of} at once",
            number_of * rates["land"],
            "MB/s",
            number_of * rates["write"],
            "write + fsync, plain",
        ),
        Row(f"folding, {number_of} at once", rates["fold"], "MB/s", rates["code"], "bare codec: encode + decode"),
    ]


def kept_small(study: Study, root: Path, pool: Executor) -> Row:
    """Stored bytes per received byte, everything counted; fails where a file does not come back as it went in."""
    with open_store(root) as store:
        by_place = store.land([Upload(file) for file in study.files], by=OWNER)
        stored = original = 0
        for name in dict.fromkeys(landing.image_set for landing in by_place):
            assert name is not None
            store.complete(name, by=OWNER)
            folded = store.fold(name, executor=pool)
            stored, original = stored + folded.stored_bytes, original + folded.original_bytes
            back = {store.export(instance) for instance in store.instances(name)}
            assert back <= set(study.files), "an export differs from what was sent"
            assert len(back) == folded.instances, "an export is missing"
    return Row(f"stored / received: {study.name}", stored / original, "")


def main() -> None:
    """Run all of it and tell."""
    load = os.getloadavg()[0]
    study = chest_study()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="radloop-bench-") as folder:
        for number_of in (1, 2):
            with ProcessPoolExecutor(number_of) as processes, ThreadPoolExecutor(number_of) as threads:
                list(processes.map(time.sleep, [READY_S / 2] * number_of))  # all of them, before there are threads
                list(threads.map(code, study.files[:8]))  # load the codec
                rows += compare(study, number_of, Path(folder), processes, threads)
        others = (
            real_study("ct-chest-siemens", "Siemens chest CT"),
            real_study("ct-ge-signed", "GE CT, signed"),
        )
        with ThreadPoolExecutor(2) as pool:
            for number, each in enumerate((study, *others)):
                if each is not None:
                    rows.append(kept_small(each, Path(folder) / f"size-{number}", pool))
    data = (
        f"{study.name}, {study.size_bytes / 1e6:.1f} MB; median of {REPETITIONS}; stored includes previews and seals;"
    )
    tell("store", data + " every export was compared byte for byte", rows, load)


def _now() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    main()
