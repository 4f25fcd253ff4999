"""Executions on one machine, with real processes: what they leave behind, and what a crash cannot break."""

import json
import os
import random
import signal
import stat
import subprocess
import sys
import tarfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from radloop.core.errors import InvalidInput, NotFound, Unavailable
from radloop.core.ports import Change, Execution, Pipelines, Records, Row
from radloop.core.tables import STEPS
from radloop.local.jobs import SqliteJobs
from radloop.pipeline.journal import Journal
from tests.contracts.pipelines import PipelinesContract
from tests.local import pipeline_home
from tests.local.pipeline_home import PARAMETERS, PipelineHome
from tests.processes import is_alive

Opener = Callable[..., PipelineHome]
NAMES = {"preprocess": "Preprocess", "train": "Train", "evaluate": "Evaluate"}


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opener]:
    homes: list[PipelineHome] = []

    def opener(**environment: str) -> PipelineHome:
        homes.append(PipelineHome(tmp_path / "home", environment))
        return homes[-1]

    yield opener
    for home in homes:
        home.close()


@pytest.fixture(scope="module")
def approved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PipelineHome]:
    """A home in which one execution ran to its end."""
    home = PipelineHome(tmp_path_factory.mktemp("approved") / "home")
    run(home, CodeVersion="1.2.3")
    yield home
    home.close()


def run(home: PipelineHome, **parameters: Any) -> Execution:
    pipelines = home.pipelines()
    pipelines.start("one", {**PARAMETERS, **parameters})
    pipelines.run("one")
    return pipelines.get("one")


def states(execution: Execution) -> dict[str, str]:
    return {step.name: step.state for step in execution.steps}


class TestLocalPipelines(PipelinesContract):
    @pytest.fixture
    def home(self, opened: Opener) -> PipelineHome:
        return opened()

    @pytest.fixture
    def pipelines(self, home: PipelineHome) -> Pipelines:
        return home.pipelines()

    def test_a_start_asks_for_one_job_that_runs_it(self, home: PipelineHome, pipelines: Pipelines) -> None:
        pipelines.start("one", PARAMETERS)
        pipelines.start("one", PARAMETERS)
        jobs = SqliteJobs(home.database)
        assert jobs.pending("pipeline") == 1
        claim = jobs.claim("pipeline")
        assert claim is not None
        assert (claim.job.id, claim.job.kind, claim.job.payload) == (
            "execution-one",
            "run_execution",
            {"execution": "one"},
        )

    @pytest.mark.parametrize("name", ["../one", "", ".one", "a/b", "logs", "a" * 101])
    def test_an_id_that_is_no_folder_name_is_refused(self, pipelines: Pipelines, name: str) -> None:
        with pytest.raises(InvalidInput):
            pipelines.start(name, PARAMETERS)


class TestApproved:
    """The gate approves; one run, looked at from every side."""

    def test_every_step_but_the_refusal_succeeds_once(self, approved: PipelineHome) -> None:
        execution = approved.pipelines().get("one")
        assert states(execution) == {
            "Preprocess": "Succeeded",
            "Train": "Succeeded",
            "Evaluate": "Succeeded",
            "Gate": "Succeeded",
            "Register": "Succeeded",
            "Refuse": "Skipped",
        }
        assert (execution.state, execution.reason) == ("Succeeded", None)
        assert [line for line in approved.ledger if line in NAMES] == ["preprocess", "train", "evaluate"]

    def test_its_events_tell_the_story_in_order(self, approved: PipelineHome) -> None:
        told = [(name, detail.get("step"), detail.get("status")) for name, detail in approved.events]
        assert told == [
            ("PipelineStepEnded", "Preprocess", "Succeeded"),
            ("PipelineStepEnded", "Train", "Succeeded"),
            ("PipelineStepEnded", "Evaluate", "Succeeded"),
            ("PipelineStepEnded", "Gate", "Succeeded"),
            ("ModelRegistered", None, None),
            ("PipelineStepEnded", "Register", "Succeeded"),
            ("PipelineEnded", None, "Succeeded"),
        ]

    def test_the_model_and_its_evaluation_are_kept_as_blobs(self, approved: PipelineHome) -> None:
        execution = approved.pipelines().get("one")
        kept = list(approved.blobs.keys("model-artifacts/"))
        folder = "model-artifacts/models/one"
        assert kept == [f"{folder}/evaluation.json", f"{folder}/model.tar.gz", f"{folder}/model_card.md"]
        evaluation = json.loads(approved.blobs.get(f"{folder}/evaluation.json"))
        assert execution.evaluation == evaluation
        with tarfile.open(fileobj=BytesIO(approved.blobs.get(f"{folder}/model.tar.gz"))) as tar:
            model = tar.extractfile("model.json")
            assert model is not None
            assert json.loads(model.read()) == {"epochs": 3}

    def test_the_model_is_registered_with_its_metrics_and_lineage(self, approved: PipelineHome) -> None:
        model = approved.models.of_execution("one")
        assert model is not None
        assert model.status == "PendingManualApproval"
        assert model.artifact == "model-artifacts/models/one/model.tar.gz"
        assert model.metrics == {"accuracy": 0.9}
        assert model.lineage["snapshot"] == "abc"
        assert model.lineage["code_version"] == "1.2.3"
        assert model.lineage["execution"] == "one"
        assert model.lineage["hyperparameters"]["learning_rate"] == "0.01"

    def test_nothing_but_logs_is_left_in_scratch(self, approved: PipelineHome) -> None:
        scratch = approved.folder / "scratch"
        assert [path.name for path in scratch.iterdir()] == ["logs"]
        assert stat.S_IMODE(scratch.stat().st_mode) == 0o700
        assert sorted(path.name for path in (scratch / "logs" / "one").iterdir()) == [
            "Evaluate.log",
            "Preprocess.log",
            "Train.log",
        ]
        assert '"epoch": 3' in (scratch / "logs" / "one" / "Train.log").read_text()

    def test_running_it_again_does_nothing(self, approved: PipelineHome) -> None:
        before = (approved.ledger, approved.events)
        approved.pipelines().run("one")
        assert (approved.ledger, approved.events) == before
        assert approved.pipelines().sweep() == 0

    def test_running_what_was_never_started_is_not_found(self, approved: PipelineHome) -> None:
        with pytest.raises(NotFound):
            approved.pipelines().run("none")


class TestStarted:
    def test_an_execution_goes_on_with_the_definition_it_was_started_with(self, opened: Opener) -> None:
        home = opened()
        home.pipelines().start("one", PARAMETERS)
        home.definition = {**home.definition, "Steps": []}
        home.pipelines().run("one")
        assert home.pipelines().get("one").evaluation is not None

    def test_a_job_sees_nothing_of_our_environment_that_could_be_secret(
        self, opened: Opener, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        home = opened()
        home.definition["Steps"][0]["Arguments"]["AppSpecification"]["ContainerEntrypoint"] = ["env"]
        home.definition["Steps"][0]["Arguments"]["AppSpecification"]["ContainerArguments"] = []
        run(home)
        log = (home.folder / "scratch" / "logs" / "one" / "Preprocess.log").read_text()
        assert "RADLOOP_ML_ROOT=" in log
        assert "AWS_SECRET_ACCESS_KEY" not in log


class TestProgress:
    def test_epochs_are_seen_while_the_training_runs(self, opened: Opener) -> None:
        home = opened(FAKE_EPOCH_S="0.3")
        pipelines = home.pipelines()
        pipelines.start("one", {**PARAMETERS, "epochs": "6"})
        runner = threading.Thread(target=pipelines.run, args=("one",))
        runner.start()
        seen: list[Mapping[str, Any]] = []
        while runner.is_alive():
            progress = pipelines.get("one").progress
            if progress and progress.get("event") == "epoch" and progress not in seen:
                seen.append(progress)
            time.sleep(0.02)
        runner.join()
        assert len(seen) >= 2
        assert [part["epoch"] for part in seen] == sorted(part["epoch"] for part in seen)
        assert all(part["step"] == "Train" for part in seen)
        assert "curve" not in seen[0]

    def test_what_was_told_of_each_epoch_stays_and_an_epoch_told_again_stands_once(self, opened: Opener) -> None:
        home = opened()
        home.pipelines().start("one", {**PARAMETERS, "epochs": "3"})
        journal = Journal(home.records, home.clock, "one")
        for epoch in (1, 2, 3, 2):  # killed after the third, taken up again from the checkpoint of the first
            journal.progress("Train", {"event": "epoch", "epoch": epoch, "validation_loss": 1.0, "other": "x"})
        journal.begin("Evaluate")
        progress = home.pipelines().get("one").progress
        assert progress is not None
        told = [{"epoch": 1, "validation_loss": 1.0}, {"epoch": 2, "validation_loss": 1.0}]
        assert (progress["step"], progress["history"]) == ("Evaluate", told)

    def test_the_journal_is_written_at_most_twice_a_second(self, opened: Opener) -> None:
        home = opened()
        records = CountedRecords(home.records)
        pipelines = home.pipelines(records)
        pipelines.start("one", {**PARAMETERS, "epochs": "400"})
        start = time.monotonic()
        pipelines.run("one")
        assert records.commits <= 2 * (time.monotonic() - start) + 20


class TestRefused:
    def test_a_refused_model_is_not_registered_and_the_reason_is_the_definitions(self, opened: Opener) -> None:
        home = opened(FAKE_ACCURACY="0.8")
        execution = run(home)
        assert execution.state == "Failed"
        assert execution.reason == "gate-refused: the gate refused the model of execution one"
        assert states(execution) == {
            "Preprocess": "Succeeded",
            "Train": "Succeeded",
            "Evaluate": "Succeeded",
            "Gate": "Succeeded",
            "Register": "Skipped",
            "Refuse": "Failed",
        }
        assert home.models.versions() == []
        assert home.events[-2:] == [
            ("PipelineStepEnded", {"execution": "one", "step": "Refuse", "type": "Fail", "status": "Failed"}),
            ("PipelineEnded", {"execution": "one", "status": "Failed", "reason": "gate-refused"}),
        ]

    def test_the_threshold_of_the_execution_decides(self, opened: Opener) -> None:
        assert run(opened(FAKE_ACCURACY="0.8"), AccuracyThreshold=0.75).state == "Succeeded"

    def test_nothing_but_true_is_an_approval(self, opened: Opener) -> None:
        home = opened(FAKE_APPROVED="1")
        assert run(home).state == "Failed"
        assert home.models.versions() == []


class TestFailing:
    @pytest.mark.parametrize("step", list(NAMES))
    def test_a_failing_step_ends_the_execution_and_says_why(self, opened: Opener, step: str) -> None:
        home = opened(FAKE_FAILS=step)
        execution = run(home)
        name = NAMES[step]
        assert execution.state == "Failed"
        assert execution.reason == f"{name}: exit-status-3: the train part is empty of positives"
        names = list(states(execution))
        later = names[names.index(name) + 1 :]
        assert states(execution)[name] == "Failed"
        assert {states(execution)[one] for one in later} == {"Skipped"}
        assert home.events[-1] == (
            "PipelineEnded",
            {"execution": "one", "status": "Failed", "reason": "step-failed"},
        )
        assert home.ledger[-1] == step
        assert not (home.folder / "scratch" / "one").exists()
        assert "a line of standard error" in (home.folder / "scratch/logs/one" / f"{name}.log").read_text()

    @pytest.mark.parametrize("step", list(NAMES))
    def test_a_step_without_its_output_has_not_succeeded(self, opened: Opener, step: str) -> None:
        execution = run(opened(FAKE_EMPTY=step))
        assert execution.state == "Failed"
        assert execution.reason is not None
        assert execution.reason.startswith(f"{NAMES[step]}: output-missing: ")

    def test_a_step_that_takes_too_long_is_ended(self, opened: Opener) -> None:
        home = opened(FAKE_HANGS="preprocess", FAKE_LONGEST_S="1")
        start = time.monotonic()
        execution = run(home)
        assert time.monotonic() - start < 8
        assert execution.reason == "Preprocess: timed-out"
        assert running_jobs(home) == []

    def test_a_dataset_that_is_not_there_fails_the_step(self, opened: Opener) -> None:
        execution = run(opened(), DatasetUri="s3://training-data/snapshots/none")
        assert execution.reason == "Preprocess: input-missing"

    def test_pixels_that_cannot_be_had_fail_the_step_by_code(
        self, opened: Opener, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(_line: Mapping[str, Any], _folder: Path) -> None:
            raise NotFound("image set 1234 is gone")

        monkeypatch.setattr(pipeline_home, "materialise", refuse)
        assert run(opened()).reason == "Preprocess: not-found"

    def test_a_fault_of_ours_is_raised_and_the_next_try_goes_on(
        self, opened: Opener, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(_line: Mapping[str, Any], _folder: Path) -> None:
            raise Unavailable("not now")

        home = opened()
        pipelines = home.pipelines()
        pipelines.start("one", PARAMETERS)
        with monkeypatch.context() as patch:
            patch.setattr(pipeline_home, "materialise", fail)
            with pytest.raises(Unavailable):
                home.pipelines().run("one")
        assert pipelines.get("one").state == "Executing"
        pipelines.run("one")
        assert pipelines.get("one").state == "Succeeded"

    def test_what_is_given_up_on_ends_as_failed(self, opened: Opener) -> None:
        home = opened()
        pipelines = home.pipelines()
        pipelines.start("one", PARAMETERS)
        pipelines.give_up("one", "dead-letter")
        execution = pipelines.get("one")
        assert (execution.state, execution.reason) == ("Failed", "dead-letter")
        assert set(states(execution).values()) == {"Skipped"}
        pipelines.run("one")
        assert home.ledger == []


class TestSweep:
    def test_leftovers_of_ended_and_unknown_executions_are_removed_and_those_of_running_ones_stay(
        self, opened: Opener
    ) -> None:
        home = opened()
        run(home)
        pipelines = home.pipelines()
        pipelines.start("two", PARAMETERS)
        for name in ("one", "two", "unknown"):
            (home.folder / "scratch" / name / "Train.partial").mkdir(parents=True)
        assert pipelines.sweep() == 2
        assert sorted(path.name for path in (home.folder / "scratch").iterdir()) == ["logs", "two"]


class CountedRecords:
    """The Records port that breaks off before or after its n-th commit, as a kill would.

    What only tells how far a step is does not count to the n-th: it goes by the clock, and a busy machine has more.
    """

    def __init__(self, records: Records, *, crash_at: float = -1, is_after: bool = False) -> None:
        self._records = records
        self._crash_at = crash_at
        self._is_after = is_after
        self._steps_told = 0
        self.commits = 0

    def get(self, *arguments: Any, **named: Any) -> Row | None:
        return self._records.get(*arguments, **named)

    def find(self, *arguments: Any, **named: Any) -> list[Row]:
        return self._records.find(*arguments, **named)

    def count(self, *arguments: Any) -> int:
        return self._records.count(*arguments)

    def commit(self, change: Change) -> None:
        self.commits += 1
        is_of_a_step = bool(change.events) or any(write.table == STEPS for write in change.writes)
        self._steps_told += is_of_a_step
        is_fatal = is_of_a_step and self._steps_told == self._crash_at
        if is_fatal and not self._is_after:
            raise KeyboardInterrupt
        self._records.commit(change)
        if is_fatal:
            raise KeyboardInterrupt


class TestCrashes:
    @pytest.mark.parametrize("commit", range(1, 12))
    def test_a_crash_before_any_commit_repeats_no_step_and_loses_no_event(self, opened: Opener, commit: int) -> None:
        home = opened()
        home.pipelines().start("one", PARAMETERS)
        with pytest.raises(KeyboardInterrupt):
            home.pipelines(CountedRecords(home.records, crash_at=commit)).run("one")
        home.pipelines().run("one")
        check_all_happened_once(home)

    def test_crashes_after_every_step_repeat_no_step_and_lose_no_event(self, opened: Opener) -> None:
        home = opened()
        home.pipelines().start("one", PARAMETERS)
        crashes, ended = 0, dict[str, str | None]()
        while home.pipelines().get("one").state == "Executing":
            try:
                home.pipelines(CountedRecords(home.records, crash_at=2, is_after=True)).run("one")
            except KeyboardInterrupt:
                crashes += 1
            for step in home.pipelines().get("one").steps:
                if step.state == "Succeeded":
                    assert ended.setdefault(step.name, step.ended_at) == step.ended_at
        assert crashes >= 5
        home.pipelines().run("one")
        check_all_happened_once(home)

    def test_a_runner_killed_at_random_points_is_resumed_without_repeating_or_doubling_anything(
        self, opened: Opener
    ) -> None:
        seed = random.randrange(2**32)
        print(f"seed {seed}")
        dice = random.Random(seed)
        home = opened(FAKE_EPOCH_S="0.1")
        home.pipelines().start("one", {**PARAMETERS, "epochs": "16"})
        kills, finished = 0, Counter[str]()
        for _ in range(8):
            runner = start_runner(home)
            try:
                runner.wait(timeout=dice.uniform(0.2, 1.2))
                break
            except subprocess.TimeoutExpired:
                runner.kill()
                runner.wait()
                kills += 1
            wait_until(lambda: running_jobs(home) == [])
            counts = Counter(line for line in home.ledger if line in NAMES)
            done = {row.document["name"] for row in home.records.find(STEPS) if row.document["state"] == "Succeeded"}
            for step, name in NAMES.items():
                if name in done:
                    finished.setdefault(step, counts[step])
        final = start_runner(home)
        assert final.wait(timeout=120) == 0
        counts = Counter(line for line in home.ledger if line in NAMES)
        assert kills, "the run was over before it could be killed"
        assert {step: counts[step] for step in finished} == finished
        assert "two-trainings" not in home.ledger
        begun = [int(line.split()[1]) for line in home.ledger if line.startswith("from-epoch")]
        assert begun == sorted(begun), "a checkpoint was lost"
        assert home.pipelines().get("one").state == "Succeeded"
        assert len(home.models.versions()) == 1
        assert not (home.folder / "scratch" / "one").exists()

    def test_a_training_goes_on_from_its_checkpoint(self, opened: Opener) -> None:
        home = opened(FAKE_STANDS_AFTER="3")
        home.pipelines().start("one", {**PARAMETERS, "epochs": "12"})
        runner = start_runner(home)
        checkpoint = home.folder / "scratch" / "one" / "Train.partial" / "checkpoints" / "epoch"
        wait_until(lambda: checkpoint.exists() and int(checkpoint.read_text()) == 3)
        runner.kill()
        runner.wait()
        home.pipelines().run("one")
        begun = [int(line.split()[1]) for line in home.ledger if line.startswith("from-epoch")]
        assert begun == [0, 3]

    def test_no_step_outlives_a_killed_runner(self, opened: Opener) -> None:
        home = opened(FAKE_HANGS="train")
        home.pipelines().start("one", PARAMETERS)
        runner = start_runner(home)
        wait_until(lambda: "train" in home.ledger)
        assert len(running_jobs(home)) == 1
        os.kill(runner.pid, signal.SIGKILL)
        runner.wait()
        wait_until(lambda: running_jobs(home) == [])

    def test_what_a_step_left_running_is_ended_before_the_step_runs_again(self, opened: Opener) -> None:
        home = opened(FAKE_STANDS_AFTER="1", FAKE_CHILD="1")
        home.pipelines().start("one", {**PARAMETERS, "epochs": "3"})
        runner = start_runner(home)
        checkpoint = home.folder / "scratch" / "one" / "Train.partial" / "checkpoints" / "epoch"
        wait_until(checkpoint.exists)
        child = next(int(line.split()[1]) for line in home.ledger if line.startswith("child "))
        runner.kill()
        runner.wait()
        assert Path(f"/proc/{child}/environ").read_bytes()
        home.pipelines().run("one")
        assert home.pipelines().get("one").state == "Succeeded"
        assert "survivor" not in home.ledger
        last = int(next(line for line in reversed(home.ledger) if line.startswith("child ")).split()[1])
        wait_until(lambda: not is_alive(last))

    def test_a_second_runner_of_the_same_execution_is_turned_away(self, opened: Opener) -> None:
        home = opened(FAKE_HANGS="preprocess")
        home.pipelines().start("one", PARAMETERS)
        runner = start_runner(home)
        wait_until(lambda: "preprocess" in home.ledger)
        with pytest.raises(Unavailable):
            home.pipelines().run("one")
        assert len(running_jobs(home)) == 1
        runner.kill()
        runner.wait()


def check_all_happened_once(home: PipelineHome) -> None:
    assert home.pipelines().get("one").state == "Succeeded"
    assert Counter(line for line in home.ledger if line in NAMES) == {"preprocess": 1, "train": 1, "evaluate": 1}
    assert len(home.models.versions()) == 1
    steps = [detail["step"] for name, detail in home.events if name == "PipelineStepEnded"]
    assert steps == ["Preprocess", "Train", "Evaluate", "Gate", "Register"]
    assert [name for name, _ in home.events].count("PipelineEnded") == 1
    assert not (home.folder / "scratch" / "one").exists()


def start_runner(home: PipelineHome) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.local.pipeline_home", str(home.folder), "one"]
    return subprocess.Popen(command, cwd=Path(__file__).parents[2])


def running_jobs(home: PipelineHome) -> list[int]:
    """Processes whose root is in this home's scratch, by what the kernel says of their environment."""
    mark = f"RADLOOP_ML_ROOT={home.folder / 'scratch'}".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (process / "environ").read_bytes():
                found.append(int(process.name))
        except OSError:
            continue
    return found


def wait_until(is_so: Callable[[], bool], longest_s: float = 60.0) -> None:
    deadline = time.monotonic() + longest_s
    while not is_so():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
