"""What is left of an image set once it is deleted: what is declared to stay, and nothing comes behind it."""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest

from radloop.api.app import create_app
from radloop.api.shapes import for_good
from radloop.core.errors import NotFound
from radloop.core.events import PipelineEnded
from radloop.core.identity import OWNER, Principal
from radloop.core.images import Confidence, Finding, ImageSet, Seen
from radloop.core.ports import Change, Delete, Upload
from radloop.core.reads import Project, ReadingPolicy, put_project
from radloop.core.tables import DEFAULT_DATASTORE, IMAGE_SETS, PREDICTIONS, SALIENCY, TAGS, image_set_of
from radloop.dicom.parse import parse
from radloop.dicom.phantom import phantom_study
from radloop.functions import drift, pipeline_trigger, snapshots
from radloop.functions.image_ingestion import ingest
from radloop.functions.layers import LayDown
from radloop.functions.prediction import Consultant, saliency_kept
from radloop.reading.reads import add_read
from radloop.results import writing
from radloop.results.writing import keep_provenance
from radloop.serving.champion import Champion
from radloop.store import erasing
from radloop.store.datastores import Datastores, resource_of
from radloop.store.erasing import By, Goes, Stays, fate_of
from radloop.store.layers import asked_for
from radloop.store.learning import discard_copies
from radloop.store.metadata import Metadata
from radloop.store.revisions import Revisions
from radloop.streaming.layers import Written, of_store
from tests.api.installation import TestClient
from tests.functions.serving_home import ServingHome, serving_home
from tests.serving.small_model import films

EXPLICIT = "1.2.840.10008.1.2.1"
SETTINGS = "write_results = true\nquiet_s = 0.0\n"
FINDING = Finding(True, None, Confidence.HIGH, "", Seen(0, "lossless"))
FILMS = films(60, seed=5)
RUN = "run-1"
ON_AWS_ONLY = {"arrivals"}


@dataclass(frozen=True)
class Filled:
    """A home in which everything has been done with an image set that can be, and with another one too."""

    home: ServingHome
    identity: str
    other: str
    results: tuple[str, ...]
    of_patient: tuple[str, ...]

    @property
    def platform(self) -> Any:
        return self.home.platform

    def delete(self) -> None:
        self.revisions().delete(self.identity, by=OWNER)

    def revisions(self) -> Revisions:
        return revisions_of(self.home)

    def tables(self, *words: str) -> set[str]:
        """Tables of the database in which one of these words stands, wherever."""
        return {name for name, line in self.lines() if any(word in line for word in words)}

    def lines(self) -> Iterator[tuple[str, str]]:
        """Every row of every table of the database, as SQLite has it."""
        database = self.home.installation.database.read()
        for (name,) in list(database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")):
            for row in database.execute(f"SELECT * FROM {name}"):
                yield str(name), "\t".join(map(str, row))

    def files(self, *words: str) -> set[str]:
        """Files of the home in whose path or bytes one of these words stands, the database's aside."""
        root = self.home.installation.home.root
        paths = {path.relative_to(root).as_posix(): path for path in root.rglob("*") if path.is_file()}
        sought = [word.encode() for word in words]
        return {
            name
            for name, path in paths.items()
            if not name.startswith("index.sqlite") and any(word in name.encode() + path.read_bytes() for word in sought)
        }


def revisions_of(home: ServingHome) -> Revisions:
    platform = home.platform
    return Revisions(platform.blobs, platform.records, platform.clock, home.installation.images)


def landed(home: ServingHome, files: tuple[bytes, ...]) -> str:
    """The id of the closed and folded image set of these files."""
    (name,) = {each.image_set for each in ingest([Upload(file) for file in files], home.platform, by=OWNER)}
    assert name is not None
    home.installation.images.complete(name, by=OWNER)
    home.installation.images.fold(name)
    return name


def read_by_two(home: ServingHome, identity: str) -> None:
    for reader in ("reader-1", "reader-2"):
        by = Principal(reader, frozenset({"verifier"}))
        version = home.image_set(identity).version
        add_read(home.platform.records, home.platform.clock, identity, FINDING, version=version, by=by)


def written(home: ServingHome, image_set: ImageSet) -> Written:
    reading = home.installation.images.reading(image_set.id)
    return of_store(reading, for_good(reading.image_set, len(reading.addresses), home.platform.records))


def lay_down(home: ServingHome, identity: str) -> None:
    platform = home.platform
    work = LayDown(platform.blobs, platform.records, lambda image_set: written(home, image_set))
    work.run(asked_for(home.image_set(identity)).payload)


def run(home: ServingHome, *image_sets: str) -> list[str]:
    """A run that learned from these, with all that one leaves behind where it has no folder of its own; its keys."""
    snapshot, blobs = snapshots.take(home.platform), home.platform.blobs
    snapshots.keep(snapshot, home.platform)
    dataset = f"{snapshots.PREFIX}/{snapshot.sha256}"
    named = {
        "DatasetUri": f"s3://{dataset}",
        "Snapshot": snapshot.sha256,
        "ContextUri": "s3://training-data/contexts/a",
    }
    assert home.platform.pipelines.start(RUN, {**home.platform.recipe(), **named})
    told = {"worst": [{"image_set": name, "picture": f"pictures/{name}.png"} for name in image_sets]}
    blobs.put(f"model-artifacts/models/{RUN}/evaluation.json", json.dumps(told).encode())
    copies = [f"model-artifacts/models/{RUN}/report.html"]
    for name in image_sets:
        copies += [f"{dataset}/images/{name}.npy", f"preprocessed-data/{RUN}/test/images/{name}.npy"]
        copies += [f"model-artifacts/models/{RUN}/pictures/{name}.png"]
    for key in copies:
        blobs.put(key, b"pixels, or a picture of them")
    return copies


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Filled]:
    """A home that was filled and closed."""
    folder = tmp_path_factory.mktemp("filled")
    with serving_home(folder, SETTINGS) as home:
        return folder, fill(home)


@pytest.fixture
def filled(once: tuple[Path, Filled], tmp_path: Path) -> Iterator[Filled]:
    """The same as a home of its own."""
    folder, told = once
    copytree(folder, tmp_path, dirs_exist_ok=True)
    with serving_home(tmp_path, SETTINGS) as home:
        yield replace(told, home=home)


def fill(home: ServingHome) -> Filled:
    platform = home.platform
    home.put_to_work(reference=None)
    platform.records.commit(Change([put_project(Project(DEFAULT_DATASTORE, ReadingPolicy.DOUBLE))]))
    study = phantom_study(3, consolidated=True, slices=4, size=64)
    identity = landed(home, study.files)
    other = landed(home, phantom_study(4, consolidated=True, slices=2, size=64).files)
    metadata = Metadata(platform.blobs, platform.records, platform.keys, home.installation.images)
    update = {"Patient": {"DICOM": {"PatientName": "Doe^Jane"}}}
    revisions_of(home).update(identity, updating=json.dumps({"SchemaVersion": 1.1, **update}).encode(), removing=None,
                              expected=1, by=OWNER)  # fmt: skip
    home.work()
    for each in (identity, other):
        read_by_two(home, each)
        home.work()
        keep_provenance(platform, home.image_set(each), by=OWNER)
        lay_down(home, each)
        metadata.document(home.image_set(each))
        metadata.measure(home.image_set(each))
        home.installation.images.frame_as(each, 0, EXPLICIT)
        Datastores(platform.records, platform.clock).tag(resource_of(DEFAULT_DATASTORE, each), {"a": "b"}, by=OWNER)
        assert saliency_kept(home.image_set(each), platform)
    run(home, identity, other)
    drift.watch(1, platform, Champion(platform.models, platform.blobs))
    uid = home.image_set(identity).study_uid
    results = tuple(row.key for row in platform.records.find(IMAGE_SETS, {"study_uid": uid}) if row.key != identity)
    parsed = [parse(file) for file in study.files]
    known = {home.image_set(identity).patient_id, "Doe^Jane", "doe^jane", str(parsed[0].attributes["PatientName"])}
    known |= {uid, parsed[0].series_uid, *(each.sop_uid for each in parsed)}
    known |= {home.image_set(name).series_uid for name in results}
    return Filled(home, identity, other, results, tuple(known))


def test_nothing_mentions_a_deleted_image_set_but_what_is_declared_to_stay(filled: Filled) -> None:
    gone = {table.name: fate for table, fate in erasing.TABLES.items() if isinstance(fate, Goes)}
    assert len(filled.results) == 3, "a model's report and picture, and the report of reads"
    assert filled.tables(filled.identity, *filled.of_patient) >= gone.keys() - ON_AWS_ONLY, "everything was there"
    assert {By.FILE, By.FOLDER, By.PACK} == {fate.by for fate in fates(filled) if isinstance(fate, Goes)}
    before = [line for line in filled.lines() if filled.other in line[1]]

    filled.delete()

    assert filled.tables(*filled.of_patient) == set(), "nothing at all tells of the patient"
    assert filled.files(*filled.of_patient) == set()
    named = filled.tables(filled.identity, *filled.results)
    stays = {table.name: fate for table, fate in erasing.TABLES.items() if isinstance(fate, Stays)} | erasing.BESIDE
    assert named <= {name for name, fate in stays.items() if fate.names_it}
    assert {"tombstones", "audit", "events", "jobs", "drift"} <= named
    left = fates(filled, filled.identity, *filled.results)
    assert left
    assert all(isinstance(fate, Stays) and fate.names_it for fate in left)
    after = [line for line in filled.lines() if filled.other in line[1]]
    assert set(before) <= set(after), "of another image set nothing changed"
    assert [name for name in filled.files(filled.other) if "/pictures/" in name or "/images/" in name]


def fates(filled: Filled, *words: str) -> list[Goes | Stays]:
    """What becomes of the files that mention an image set; every place must be declared."""
    found: list[Goes | Stays] = []
    for name in filled.files(*(words or (filled.identity,))):
        folder, _, key = name.partition("/")
        fate = fate_of(key) if folder == "objects" else erasing.FOLDERS[folder]
        assert fate is not None, f"{name} is declared nowhere"
        found.append(fate)
    return found


def test_every_file_of_a_home_lies_where_it_is_declared(filled: Filled) -> None:
    root = filled.home.installation.home
    assert [key for key in filled.platform.blobs.keys("") if fate_of(key) is None] == ["models/e0/model.tar.gz"]
    folders = {path.name for path in root.root.iterdir() if path.is_dir()} - {root.objects.name}
    assert folders <= erasing.FOLDERS.keys()


def test_what_was_kept_of_it_in_another_form_opens_for_nobody(filled: Filled) -> None:
    assert filled.files(filled.identity) & {name for name in filled.files(filled.identity) if name.startswith("kept/")}
    filled.delete()
    with pytest.raises(NotFound):
        filled.home.installation.images.frame_as(filled.identity, 0, EXPLICIT)
    wrapped = {image_set_of(row).wrapped_key.hex() for row in filled.platform.records.find(IMAGE_SETS)}
    assert len(wrapped) == 4, "keys of the other image set and its results alone"


def test_the_report_is_made_anew_without_its_picture(filled: Filled) -> None:
    filled.delete()
    folder = f"model-artifacts/models/{RUN}"
    kept = set(filled.platform.blobs.keys(f"{folder}/"))
    assert kept == {f"{folder}/evaluation.json", f"{folder}/pictures/{filled.other}.png"}


def test_deleting_the_study_is_as_well_where_its_results_went_before(filled: Filled) -> None:
    study = filled.home.image_set(filled.identity).study_uid
    doors = filled.home.installation.doors(is_open=True)
    with TestClient(create_app(doors), base_url="http://localhost") as client:
        assert client.delete(f"/dicomweb/studies/{study}").status_code == 204
        assert client.delete(f"/dicomweb/studies/{study}").status_code == 404
    assert filled.tables(*filled.of_patient) == set()


def test_a_result_alone_can_go_and_the_rest_stays(filled: Filled) -> None:
    filled.revisions().delete(filled.results[0], by=OWNER)
    assert filled.home.image_set(filled.identity).prediction is not None
    assert filled.home.image_set(filled.results[1])


class Killed(BaseException):
    """The process ends here; nothing catches it, as nothing catches the end of a process."""


def test_killed_at_everything_it_does_it_is_all_there_or_not_there_and_the_next_start_or_try_ends_it(
    filled: Filled, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = [0]

    def watched(work: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                raise Killed
            return work(*arguments, **more)

        return call

    monkeypatch.setattr(filled.platform.blobs, "delete", watched(filled.platform.blobs.delete))
    monkeypatch.setattr(filled.platform.records, "commit", watched(filled.platform.records.commit))
    kills = 0
    for turn in range(1, 100):
        left[0] = turn % 9 + 1
        try:
            filled.delete()
        except Killed:
            kills += 1
            there = filled.platform.records.get(IMAGE_SETS, filled.identity) is not None
            assert bool(filled.platform.records.find(PREDICTIONS, {"image_set": filled.identity})) is there
            continue
        except NotFound:
            pass
        break
    left[0] = 0
    filled.home.worker.start_over()
    assert 3 < kills < 99
    assert filled.tables(*filled.of_patient) == set()
    assert all(isinstance(fate, Stays) for fate in fates(filled, filled.identity, *filled.results))


# What is under way while it is deleted


@pytest.fixture
def home(tmp_path: Path) -> Iterator[ServingHome]:
    with serving_home(tmp_path, SETTINGS) as opened:
        opened.put_to_work(reference=None)
        yield opened


def deleting(home: ServingHome, identity: str, work: Callable[..., Any]) -> Callable[..., Any]:
    """Work during which somebody deletes an image set."""

    def call(*arguments: Any, **more: Any) -> Any:
        done = work(*arguments, **more)
        if home.platform.records.get(IMAGE_SETS, identity) is not None:
            revisions_of(home).delete(identity, by=OWNER)
        return done

    return call


def assert_gone(home: ServingHome, identity: str) -> None:
    assert home.platform.jobs.dead_letters() == []
    for table, fate in erasing.TABLES.items():
        if fate == Goes(By.COLUMN):
            assert home.platform.records.find(table, {"image_set": identity}) == [], table.name
    assert home.platform.records.get(SALIENCY, identity) is None
    assert home.platform.records.find(IMAGE_SETS) == []


@pytest.mark.parametrize("at", ["volume", "predict"])
def test_a_prediction_that_was_under_way_is_kept_nowhere(
    home: ServingHome, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    identity = home.land(FILMS[0], "P1")
    owner = home.installation.images if at == "volume" else Champion
    looked: list[int] = []

    def look(*arguments: Any) -> Any:
        looked.append(1)
        return real(*arguments)

    real = getattr(owner, at)
    monkeypatch.setattr(owner, at, deleting(home, identity, look))
    home.work()
    assert looked
    assert_gone(home, identity)


def test_what_a_shadow_was_about_to_say_is_kept_nowhere(home: ServingHome, monkeypatch: pytest.MonkeyPatch) -> None:
    identity = home.land(FILMS[0], "P1")
    platform, images = home.platform, home.installation.images
    shadow = Champion(platform.models, platform.blobs)
    consultant = Consultant(platform, images, shadow, shadow)
    real = Champion.predict
    consultant.ask_shadow(identity)
    assert len(home.rows()) == 1, "what it says is kept while the image set is there"
    platform.records.commit(Change([Delete(PREDICTIONS, home.rows()[0].key)]))
    monkeypatch.setattr(consultant.shadow, "predict", deleting(home, identity, lambda *a: real(shadow, *a)))
    consultant.ask_shadow(identity)
    assert_gone(home, identity)


def test_a_result_that_was_about_to_be_written_is_not(home: ServingHome, monkeypatch: pytest.MonkeyPatch) -> None:
    identity = home.land(FILMS[0], "P1")
    monkeypatch.setattr(writing, "report_file", deleting(home, identity, writing.report_file))
    home.work()
    assert home.platform.records.find(IMAGE_SETS) == []
    assert_gone(home, identity)


def test_what_was_being_measured_or_written_down_is_kept_nowhere(
    home: ServingHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform, images = home.platform, home.installation.images
    metadata = Metadata(platform.blobs, platform.records, platform.keys, images)
    for method in ("_measured", "_written"):
        identity = landed(home, phantom_study(5, consolidated=False, slices=1, size=64).files)
        image_set = home.image_set(identity)
        monkeypatch.setattr(metadata, method, deleting(home, identity, getattr(metadata, method)))
        with suppress(NotFound):  # who came too late for it may be told either
            metadata.document(image_set)
        monkeypatch.undo()
        assert_gone(home, identity)
        assert list(platform.blobs.keys("image-sets/")) == []


def test_no_tag_hangs_on_what_is_gone(home: ServingHome) -> None:
    identity = home.land(FILMS[0], "P1")
    revisions_of(home).delete(identity, by=OWNER)
    with pytest.raises(NotFound):
        Datastores(home.platform.records, home.platform.clock).tag(
            resource_of(DEFAULT_DATASTORE, identity), {"a": "b"}, by=OWNER
        )
    assert home.platform.records.find(TAGS) == []


def test_what_a_run_copies_of_what_is_deleted_meanwhile_goes_when_it_ends(filled: Filled) -> None:
    blobs, home = filled.platform.blobs, filled.home
    keys = [key for key in blobs.keys("") if filled.identity in key and ("/images/" in key or "/pictures/" in key)]
    assert len(keys) == 3
    filled.delete()
    assert not set(blobs.keys()) & set(keys)
    for key in keys:
        blobs.put(key, b"written by a step that had read it before")
    ended = PipelineEnded(execution=RUN, status="Succeeded", reason="").told(at=home.platform.clock())
    for _ in range(2):  # an event may come twice
        pipeline_trigger.handle(ended, home.platform)
        assert not set(blobs.keys()) & set(keys)
    assert [key for key in blobs.keys("preprocessed-data/") if filled.other in key]


def test_what_was_never_labelled_was_never_copied(home: ServingHome) -> None:
    identity = home.land(FILMS[0], "P1")
    run(home, identity)
    assert discard_copies(home.platform.blobs, home.platform.records, identity) == 0


# What is measured on answers


def test_drift_goes_on_without_the_answers_that_are_gone(tmp_path: Path) -> None:
    with serving_home(tmp_path, "retrain_on_drift = false\n") as home:
        home.put_to_work()
        champion = Champion(home.platform.models, home.platform.blobs)
        names = [home.land(film, f"P{number}") for number, film in enumerate(FILMS[:24])]
        home.work()
        assert drift.watch(1, home.platform, champion).counted == 24
        for name in names[:20]:
            revisions_of(home).delete(name, by=OWNER)
        more = [home.land(film, f"Q{number}") for number, film in enumerate(FILMS[24:34])]
        home.work()
        known = drift.watch(1, home.platform, champion)
        assert known.counted == 34
        assert {key.partition("-")[2] for _, key in known.recent} == {*names[20:], *more}
        assert not any(name in line for name in names[:20] for line in [json.dumps(drift._put(known, 1).document)])
        assert home.platform.jobs.dead_letters() == []


def test_a_look_at_drift_is_asked_for_after_as_many_answers_as_ever(tmp_path: Path) -> None:
    with serving_home(tmp_path) as home:
        home.put_to_work()
        champion = Champion(home.platform.models, home.platform.blobs)
        for number, film in enumerate(FILMS[:10]):
            home.land(film, f"P{number}")
        home.work()
        drift.watch(1, home.platform, champion)
        for row in home.platform.records.find(IMAGE_SETS):
            revisions_of(home).delete(row.key, by=OWNER)
        for number, film in enumerate(FILMS[10:35]):
            home.land(film, f"Q{number}")
        home.work()
        assert drift.watched(1, home.platform).counted == 35
