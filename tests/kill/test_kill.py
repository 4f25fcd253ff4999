"""kill -9 at random moments: nothing acknowledged is lost, nothing is done twice, the loop completes.

The seed is printed; RADLOOP_KILL_SEED repeats a run. RADLOOP_KILLS sets how many kills each stage gets: 30, 15 of a
registration, and 5 of a real training, unless told; 200 for the whole of it.
"""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from radloop import wiring
from radloop.core.datasets import Split
from radloop.core.identity import OWNER
from radloop.core.images import Confidence, Finding, Seen
from radloop.core.ports import Upload
from radloop.core.tables import PACKS
from radloop.dicom.phantom import phantom_cohort
from radloop.reading.truth import verify
from radloop.wiring import Installation, open_local
from tests.kill import child
from tests.lenient import write_lenient_policy
from tests.processes import descendants, is_alive
from tests.store.house import of_patient, open_house, phantom

KILLS = int(os.environ.get("RADLOOP_KILLS", "30"))
REGISTRATIONS = int(os.environ.get("RADLOOP_KILLS", "15"))
SETTINGS = 'release = "automatic"\nmlflow = false\npredict_new = false\n'  # what is registered here is no model
SETTINGS += "retrain_delay_s = 0\nretrain_least_per_class = 0\nfold_threads = 2\nbackoff_s = 0.05\n"
REAL_KILLS = int(os.environ.get("RADLOOP_KILLS", "5"))
REAL_SETTINGS = """
release = "automatic"
mlflow = false
retrain_delay_s = 0.5
retrain_least_per_class = 2
accuracy_threshold = 0.0
backoff_s = 0.05

[training]
epochs = "10"
patience = "10"
image_size = "32"
tiles_per_bag = "4"
tiles_in_evaluation = "4"
threads = "1"
"""
ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture
def dice() -> random.Random:
    seed = int(os.environ.get("RADLOOP_KILL_SEED", random.SystemRandom().randrange(1 << 30)))
    print(f"RADLOOP_KILL_SEED={seed}")
    return random.Random(seed)


class Nursery:
    """The process that victims are forked from."""

    def __init__(self) -> None:
        self.ours, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.kill.child", str(theirs.fileno())],
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                cwd=ROOT,
            )

    def bear(self, arguments: list[str], environment: dict[str, str], printing: int) -> int:
        """Pid of a new victim, which prints into `printing`."""
        socket.send_fds(self.ours, [json.dumps([arguments, environment]).encode()], [printing])
        pid = self.ours.recv(32)
        assert pid, "the nursery is gone"
        return int(pid)

    def close(self) -> None:
        self.ours.close()
        self.process.wait(timeout=60)


class Victim:
    """A child that says it is ready and is killed later."""

    nursery: ClassVar[Nursery | None] = None
    alive: ClassVar[set["Victim"]] = set()

    def __init__(self, *arguments: str, **environment: str) -> None:
        assert Victim.nursery is not None
        read, write = os.pipe()
        self.printed = os.fdopen(read)
        self.pid = Victim.nursery.bear(list(arguments), environment, write)
        os.close(write)
        Victim.alive.add(self)
        assert self.printed.readline().strip() == "ready"

    def kill(self) -> list[str]:
        """Kill it; returns the whole lines it had printed."""
        Victim.alive.discard(self)
        assert is_alive(self.pid), "it died by itself"
        os.kill(self.pid, signal.SIGKILL)
        with self.printed:
            printed = self.printed.read()
        until(lambda: not is_alive(self.pid), 60)
        return printed.split("\n")[:-1]


@pytest.fixture(scope="module", autouse=True)
def _nursery() -> Iterator[None]:
    Victim.nursery = Nursery()
    yield
    Victim.nursery.close()
    Victim.nursery = None


@pytest.fixture(autouse=True)
def _nobody_stays() -> Iterator[None]:
    yield
    for victim in list(Victim.alive):
        victim.kill()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    (tmp_path / "settings.toml").write_text(SETTINGS)
    monkeypatch.setattr(wiring, "definition_of", child.pretend(tmp_path))
    with open_local(tmp_path) as installation:
        yield installation


def test_landing_loses_nothing_it_acknowledged(tmp_path: Path, dice: random.Random) -> None:
    acknowledged: set[tuple[int, str]] = set()
    for run in range(KILLS):
        victim = Victim("land", str(tmp_path), str(2 + 5 * run))  # the runs overlap: some files come again
        time.sleep(dice.uniform(0, 0.3))
        acknowledged |= {(int(number), uid) for number, uid in map(str.split, victim.kill())}
    assert len(acknowledged) > KILLS
    with open_house(tmp_path) as house:
        house.images.sweep()
        numbers = {number for number, _ in acknowledged}
        names = {}
        for number in numbers:
            landings = house.land(*of_patient(number))
            known = {landing.instance for landing in landings if landing.outcome == "duplicate"}
            assert {uid for other, uid in acknowledged if other == number} <= known
            (names[number],) = {str(landing.image_set) for landing in landings}
        for number, name in names.items():
            exported = sorted(house.images.export(instance) for instance in house.images.instances(name))
            assert exported == sorted(of_patient(number))
        packs = list((tmp_path / "objects" / "image-sets").rglob("*.pack"))
        assert len(packs) == house.records.count(PACKS)


def test_folding_completes_once_however_often_it_is_killed(home: Installation, dice: random.Random) -> None:
    files: dict[str, tuple[bytes, ...]] = {}
    for run in range(KILLS):
        name = land(home, 100 + run, slices=12)
        files[name] = phantom(100 + run, slices=12)
        victim = Victim("work", str(home.home.root))
        until(lambda: home.platform.jobs.pending("fold") < len(files), 1.5, must=False)
        time.sleep(dice.uniform(0, 0.25))
        victim.kill()
    last = Victim("work", str(home.home.root))
    until(lambda: all(home.images.get(name).storage == "folded" for name in files), 120)
    last.kill()
    home.images.sweep()
    told = Counter(e.detail["image_set"] for e in events(home, "ImageFolded"))
    assert told == dict.fromkeys(files, 1)
    for name, originals in files.items():
        assert sorted(home.images.export(i) for i in home.images.instances(name)) == sorted(originals)
        assert len(list(home.platform.blobs.keys(f"image-sets/{name}/"))) == 1
    assert home.platform.jobs.dead_letters() == []


def test_training_completes_once_however_often_it_is_killed(home: Installation, dice: random.Random) -> None:
    root = home.home.root
    start_learning(home, 200)
    pace = {"FAKE_EPOCH_S": "0.5"}
    kills = 0
    while kills < KILLS:
        victim = Victim("work", str(root), **pace)
        until(lambda: in_training(home), 3, must=False)
        time.sleep(dice.uniform(0, 0.8))
        victim.kill()
        kills += 1
        if events(home, "ModelApproved") and home.platform.pipelines.executions(limit=1)[0].state != "Executing":
            start_learning(home, 200 + kills)
    last = Victim("work", str(root), **pace)
    until(lambda: is_settled(home), 120)
    last.kill()
    assert "two-trainings" not in (root / "ledger").read_text().splitlines()
    once_each(home)


def test_a_real_training_goes_on_from_its_checkpoints_until_it_is_done(tmp_path: Path, dice: random.Random) -> None:
    (tmp_path / "settings.toml").write_text(REAL_SETTINGS)
    write_lenient_policy(tmp_path)
    with open_local(tmp_path) as home:
        cohort = phantom_cohort(per_class={Split.TRAIN: 3, Split.VALIDATION: 2, Split.TEST: 2}, slices=4, size=64)
        for study in cohort:
            verify_one(home, land_files(home, study.files), present=bool(study.label))
        for _ in range(REAL_KILLS):
            victim = Victim("work", str(tmp_path), RADLOOP_KILL_REAL="1")
            until(lambda: in_training(home) or is_settled(home), 30)
            time.sleep(dice.uniform(0, 6))
            victim.kill()
            until(lambda: trainings(tmp_path) == 0, 2)  # it went with its parent
        last = Victim("work", str(tmp_path), RADLOOP_KILL_REAL="1")
        until(lambda: is_settled(home), 300)
        last.kill()
        once_each(home)


def test_registration_happens_once_however_often_it_is_killed(home: Installation, dice: random.Random) -> None:
    for run in range(REGISTRATIONS):
        start_learning(home, 300 + run)
        victim = Victim("work", str(home.home.root))
        seen = len(evaluated(home))
        until(lambda seen=seen: len(evaluated(home)) > seen, 30)
        time.sleep(dice.uniform(0, 0.25))
        victim.kill()
    last = Victim("work", str(home.home.root))
    until(lambda: is_settled(home), 120)
    last.kill()
    once_each(home)


def test_killing_the_server_leaves_nobody_behind(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "radloop.cli",
        "up",
        "--open",
        "--no-tls",
        "--no-dimse",
        "--home",
        str(tmp_path / "h"),
    ]
    server = subprocess.Popen(
        [*command, "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert server.stdout is not None
    assert "radloop is up" in server.stdout.readline()
    family = descendants(server.pid)
    assert len(family) >= 2  # the doors and the worker
    os.kill(server.pid, signal.SIGKILL)
    server.stdout.close()
    server.wait()
    until(lambda: not any(is_alive(pid) for pid in family), 10)
    again = subprocess.Popen(
        [*command, "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert again.stdout is not None
    assert "radloop is up" in again.stdout.readline()  # the home was given back
    again.send_signal(signal.SIGTERM)
    assert again.wait(timeout=20) == 0
    again.stdout.close()


def land(home: Installation, number: int, slices: int = 4) -> str:
    return land_files(home, phantom(number, slices=slices))


def land_files(home: Installation, files: tuple[bytes, ...]) -> str:
    landings = home.images.land([Upload(file) for file in files], by=OWNER)
    name = landings[0].image_set
    assert name is not None
    home.images.complete(name, by=OWNER)
    return name


def start_learning(home: Installation, number: int) -> None:
    """One more verified image set, which is a new data set to train on."""
    verify_one(home, land(home, number), present=bool(number % 2))


def verify_one(home: Installation, name: str, *, present: bool) -> None:
    finding = Finding(present=present, site=None, confidence=Confidence.HIGH, note="", seen=Seen(0, "lossless"))
    verify(home.platform.records, home.platform.clock, name, finding, version=1, by=OWNER)


def events(home: Installation, kind: str) -> list:
    return [told.event for told in home.platform.bus.events(limit=100_000) if told.event.detail_type == kind]


def evaluated(home: Installation) -> list:
    return [e for e in events(home, "PipelineStepEnded") if e.detail["step"] == "Evaluate"]


def in_training(home: Installation) -> bool:
    running = [e for e in home.platform.pipelines.executions(limit=3) if e.state == "Executing"]
    return any(step.name == "Train" and step.state == "Executing" for e in running for step in e.steps)


def is_settled(home: Installation) -> bool:
    """Every run ended, its model was decided on, and nothing waits to be done."""
    runs = home.platform.pipelines.executions(limit=1000)
    models = home.platform.models.versions()
    return (
        home.platform.jobs.pending() == 0
        and all(run.state == "Succeeded" for run in runs)
        and len(models) == len(runs) > 0
        and all(model.status == "Approved" for model in models)
    )


def once_each(home: Installation) -> None:
    """Every run made one model, told once, approved once; the newest is the champion."""
    runs = {run.id for run in home.platform.pipelines.executions(limit=1000)}
    models = home.platform.models.versions()
    assert Counter(str(model.lineage["execution"]) for model in models) == dict.fromkeys(runs, 1)
    assert sorted(model.version for model in models) == list(range(1, len(models) + 1))
    for kind in ("ModelRegistered", "ModelApproved", "ModelEvaluationPassed", "PipelineEnded"):
        assert Counter(e.detail["execution"] for e in events(home, kind)) == dict.fromkeys(runs, 1)
    champion = home.platform.models.champion()
    assert champion is not None
    assert champion.version == len(models)
    assert home.platform.jobs.dead_letters() == []


def until(true: Callable[[], bool], seconds: float, *, must: bool = True) -> None:
    deadline = time.monotonic() + seconds
    asked = time.monotonic()
    while not true():
        took = time.monotonic() - asked
        if asked + took > deadline:
            assert not must, f"it did not become true within {seconds} s"
            return
        time.sleep(max(0.03, 2 * took))  # who is waited for needs the processor, too
        asked = time.monotonic()


def trainings(root: Path) -> int:
    """Processes that train in the home `root`."""
    count = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            is_training = b"radloop.training.train" in (folder / "cmdline").read_bytes()
            is_ours = str(root).encode() in (folder / "environ").read_bytes()
        except OSError:
            continue
        count += is_training and is_ours and is_alive(int(folder.name))
    return count
