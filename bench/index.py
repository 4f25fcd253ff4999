"""How fast a large index is searched, and how far that is from the bare SQLite query.

    python bench/index.py [INSTANCES]

An index of a million instances in ten thousand studies is written through the same tables that landing writes. Each
search of ours runs turn by turn with the SQL statement that gets the same rows, whose documents are
read as JSON. Either goes first in every other turn, for who does reads the pages that the other finds decrypted.
Garbage is collected as seldom as in the server. Then a server opens the same home, and the searches come in by HTTP.
"""

import gc
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlencode

import apsw
import orjson
from frames import percentile, radloop_server
from report import Row, tell

from radloop.core.images import ImageSet, State, Storage
from radloop.core.ports import Change
from radloop.core.tables import DEFAULT_DATASTORE, TABLES, put_image_set
from radloop.local.database import Database
from radloop.local.home import Home
from radloop.local.keys import open_keyring
from radloop.local.records import SqliteRecords
from radloop.store.instances import StoredInstance, put_instance
from radloop.store.search import Search, find
from radloop.store.studies import Studies
from radloop.up import COLLECTED_EVERY

STUDIES = 10_000
TURNS = 1000
NAMES = ("ADAMS", "BAKER", "CLARK", "DAVIS", "EVANS", "FRANK", "GHOSH", "HILLS", "IRWIN", "JONES", "KLEIN", "LOPEZ")
MODALITIES = ("CT", "CT", "CT", "DX", "MR")
BEGIN = datetime(2020, 1, 1, tzinfo=UTC)


def fill(root: Path, instances: int) -> float:
    """Write the index; returns the seconds it took."""
    keyring = open_keyring(Home(root).kek)
    database = Database(Home(root).index, keyring.derive("index"), TABLES)
    clock = lambda: datetime.now(UTC)  # noqa: E731 — a clock
    records, per_study = SqliteRecords(database, clock), instances // STUDIES
    studies, dice, wrapped = Studies(records, clock), random.Random(7), keyring.create()
    begun = time.perf_counter()
    for number in range(STUDIES):
        image_set = image_set_of(number, per_study, dice, wrapped)
        writes = [put_instance(instance, expected=0) for instance in instances_of(image_set, per_study)]
        grown = studies.grown(image_set, new=True, instances=per_study)
        records.commit(Change([*writes, put_image_set(image_set, expected=0), grown]))
        if number % 1000 == 999:
            print(f"  {(number + 1) * per_study} instances, {time.perf_counter() - begun:.0f} s", file=sys.stderr)
    database.close()
    return time.perf_counter() - begun


def image_set_of(number: int, instances: int, dice: random.Random, wrapped: bytes) -> ImageSet:
    """One closed image set of a study of its own."""
    day = BEGIN + timedelta(days=dice.randrange(2000))
    modality = dice.choice(MODALITIES)
    attributes = {
        "PatientName": f"{dice.choice(NAMES)}^{dice.choice(NAMES).title()}^{number % 97}",
        "PatientID": f"P{number:06d}",
        "PatientSex": "F",
        "PatientBirthDate": "19600101",
        "StudyDate": f"{day:%Y%m%d}",
        "StudyTime": "101500",
        "AccessionNumber": f"A{number:07d}",
        "StudyDescription": "CHEST",
        "StudyID": str(number),
        "SeriesNumber": 1,
        "SeriesDescription": "LUNG 1.0",
        "Modality": modality,
    }
    return ImageSet(
        id=f"{number:032d}",
        version=1,
        state=State.INGESTED,
        is_closed=True,
        patient_id=str(attributes["PatientID"]),
        study_uid=f"1.2.826.0.1.{number}",
        series_uid=f"1.2.826.0.1.{number}.1",
        attributes=attributes,
        instances=instances,
        frames=instances,
        landed=0,
        kept=0,
        original_bytes=instances * 525_000,
        stored_bytes=instances * 250_000,
        notices=(),
        geometry={},
        truth=None,
        prediction=None,
        wrapped_key=wrapped,
        created_at=day,
        updated_at=day + timedelta(seconds=number),
        datastore=DEFAULT_DATASTORE,
    )


def instances_of(image_set: ImageSet, count: int) -> Iterator[StoredInstance]:
    """Its instances; their bytes are nowhere, for a search needs none."""
    for number in range(1, count + 1):
        yield StoredInstance(
            id=f"{image_set.id[-10:]}{number:022d}",
            image_set=image_set.id,
            sop_uid=f"{image_set.series_uid}.{number}",
            sop_class="1.2.840.10008.5.1.4.1.1.2",
            transfer_syntax="1.2.840.10008.1.2.1",
            digest=f"{number:064d}",
            size_bytes=525_000,
            number=number,
            storage=Storage.FOLDED,
            attributes={**image_set.attributes, "InstanceNumber": number, "ImageType": ["ORIGINAL", "PRIMARY"]},
            image={"rows": 512, "columns": 512, "frames": 1, "bits_allocated": 16},
            pixel_span=(1000, 524_288),
            is_lossy=False,
            notices=(),
            original=None,
        )


Query = tuple[str, Callable[[random.Random], tuple[Search, str, tuple[object, ...]]]]
_STUDY = "key, revision, document, place, patient_id, study_uid, modalities, series, instances"


def _by_patient(dice: random.Random) -> tuple[Search, str, tuple[object, ...]]:
    name = f"P{dice.randrange(STUDIES):06d}"
    return Search("study", {"PatientID": name}), f"SELECT {_STUDY} FROM studies WHERE patient_id = ?", (name,)


def _by_date(dice: random.Random) -> tuple[Search, str, tuple[object, ...]]:
    day = BEGIN + timedelta(days=dice.randrange(1900))
    first, last = f"{day:%Y%m%d}", f"{day + timedelta(days=60):%Y%m%d}"
    search = Search("study", {"StudyDate": f"{first}-{last}", "ModalitiesInStudy": "CT"}, limit=50)
    sql = (
        f"SELECT {_STUDY} FROM studies WHERE study_date BETWEEN ? AND ? AND instr(modalities, ?) > 0"
        " ORDER BY study_date DESC LIMIT 51"
    )
    return search, sql, (first, last, "\\CT\\")


def _by_name(dice: random.Random) -> tuple[Search, str, tuple[object, ...]]:
    begins = dice.choice(NAMES).lower()[:4]
    search = Search("study", {"PatientName": f"{begins}*"}, limit=50)
    sql = f"SELECT {_STUDY} FROM studies WHERE patient_name >= ? AND patient_name < ? ORDER BY patient_name LIMIT 51"
    return search, sql, (begins, begins + "\U0010ffff")


def _instances(dice: random.Random) -> tuple[Search, str, tuple[object, ...]]:
    number = dice.randrange(STUDIES)
    uid = f"1.2.826.0.1.{number}"
    sql = "SELECT key, document FROM instances WHERE image_set = (SELECT key FROM image_sets WHERE study_uid = ?)"
    return Search("instance", {"StudyInstanceUID": uid}, limit=100), sql, (uid,)


def _instance(dice: random.Random) -> tuple[Search, str, tuple[object, ...]]:
    uid = f"1.2.826.0.1.{dice.randrange(STUDIES)}.1.{dice.randrange(1, 50)}"
    sql = (
        "SELECT i.key, i.document, s.document FROM instances i JOIN image_sets s ON s.key = i.image_set"
        " WHERE i.sop_uid = ?"
    )
    return Search("instance", {"SOPInstanceUID": uid}), sql, (uid,)


def _list(dice: random.Random) -> tuple[Search, str, tuple[object, ...]]:
    offset = dice.randrange(200)
    sql = f"SELECT {_STUDY} FROM studies ORDER BY updated DESC LIMIT 51 OFFSET ?"
    return Search("study", {}, limit=50, offset=offset), sql, (offset,)


QUERIES: tuple[Query, ...] = (
    ("studies by PatientID", _by_patient),
    ("date range + modality, 50 studies", _by_date),
    ("name prefix, 50 studies", _by_name),
    ("100 instances of a study", _instances),
    ("1 instance by UID", _instance),
    ("study list + counts, 50", _list),
)


def compare(root: Path) -> list[Row]:
    """Each search of ours and its bare statement, turn by turn, in this process."""
    keyring = open_keyring(Home(root).kek)
    database = Database(Home(root).index, keyring.derive("index"), TABLES)
    records = SqliteRecords(database, lambda: datetime.now(UTC))
    rows: list[Row] = []
    gc.freeze()
    gc.set_threshold(*COLLECTED_EVERY)
    for name, make in QUERIES:
        dice, mine, bare = random.Random(11), [], []
        for turn in range(TURNS + 20):
            search, sql, values = make(dice)
            sides = [(mine, lambda: find(search, records)), (bare, lambda: run(database.read(), sql, values))]  # noqa: B023 — run at once
            for times, work in sides if turn % 2 else reversed(sides):
                taken = timed(work)
                if turn >= 20:
                    times.append(taken)
        rows += [
            Row(f"{name}, p{share}", percentile(mine, share), "ms", percentile(bare, share), "bare SQL")
            for share in (50, 99)
        ]
    database.close()
    return rows


def run(connection: apsw.Connection, sql: str, values: tuple[object, ...]) -> list[list[object]]:
    """The rows of a statement, with their documents read as JSON and nothing else done with them."""
    return [
        [orjson.loads(value) if isinstance(value, str) and value[:1] == "{" else value for value in row]
        for row in connection.execute(sql, values)  # type: ignore[arg-type]
    ]


def timed(work: Callable[[], object]) -> float:
    """Milliseconds that `work` takes."""
    begun = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - begun)


def by_http(root: Path) -> list[Row]:
    """The same searches as QIDO-RS, and how long the server took to start on this index and on none."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="radloop-empty-") as empty:
        begun = time.perf_counter()
        with radloop_server(Path(empty)):
            bare = time.perf_counter() - begun
    begun = time.perf_counter()
    with radloop_server(root) as url:
        rows.append(Row("start of the server", time.perf_counter() - begun, "s", bare, "start on an empty home"))
        connection = HTTPConnection(url.removeprefix("http://"), timeout=60)
        for name, make in QUERIES:
            dice, seconds = random.Random(11), []
            for turn in range(TURNS + 20):
                search, _, _ = make(dice)
                query = {**search.wanted, "offset": search.offset, **({"limit": search.limit} if search.limit else {})}
                path = {"study": "studies", "instance": "instances"}[search.level]
                target = f"/dicomweb/{path}?{urlencode(query)}"

                def ask(target: str = target) -> None:
                    connection.request("GET", target, headers={"Accept": "application/dicom+json"})
                    answer = connection.getresponse()
                    answer.read()
                    assert answer.status in {200, 204}, answer.status

                taken = timed(ask)
                if turn >= 20:
                    seconds.append(taken)
            rows.append(Row(f"by HTTP: {name}, p99", percentile(seconds, 99), "ms"))
    return rows


def main() -> None:
    """Run all of it and tell."""
    load, instances = os.getloadavg()[0], int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory(prefix="radloop-index-") as folder:
        root = Path(folder)
        seconds = fill(root, instances)
        size = sum(path.stat().st_size for path in root.iterdir() if path.is_file())
        rows = [*compare(root), *by_http(root)]
    data = f"{instances} instances in {STUDIES} studies, {size / 1e6:.0f} MB of index, written in {seconds:.0f} s"
    tell("index", data, rows, load)


if __name__ == "__main__":
    main()
