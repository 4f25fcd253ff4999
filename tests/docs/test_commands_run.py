"""Every command that a document shows is run: here, or by the test that is named here with the reason.

The commands of a page are run one after the other, as they stand there, on a copy of one home: three model versions
with their evaluations, a run that was refused, a study of a test patient, a file in quarantine, a job given up,
people, keys and a change plan. On pages of operators the commands that stand in the text are run, too.
"""

import contextlib
import io
import json
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import httpx
import pytest

from radloop import cli
from radloop.core.datasets import Split
from radloop.core.identity import OWNER
from radloop.core.ports import Change, Job, Upload
from radloop.dicom.phantom import phantom_study
from radloop.functions.snapshots import split_of
from radloop.wiring import Installation, open_local
from tests.aws.emulators import free_port
from tests.docs.test_docs import DOCS, PAGES, ROOT, shell_lines
from tests.serving.small_model import films, model_package, reference_of

SETTINGS = "mlflow = false\npredict_new = false\nmax_tries = 1\n"
PASSWORD = "correct horse battery"
RUN_HERE = ("README.md", "aws.md", "costs.md", "monitoring.md", "reading.md", "release.md", "runbook.md")
RUN_HERE += ("running.md", "troubleshooting.md")
OPERATORS = ("deployment-aws.md", "runbook.md", "troubleshooting.md")
"""Pages whose commands in running text are run as well."""

PROGRAMS = ("radloop", "make", "terraform", "python", "openssl", "cp", "chmod", "df", "curl", "aws")

STATUS = {
    "radloop doctor": (3, "a box of the checklist is open: nobody has ticked it, and no server runs"),
    "radloop quarantine release": (3, "nobody has mended the file here, so it is refused again"),
    "radloop pccp check": (3, "the plan lacks a signature, or this home would act outside it"),
    "radloop train": (4, "two phantoms are too few, as the page says"),
    "radloop incident list": (3, "an incident is open"),
    "radloop predict": (1, "the model in use of this home is for radiographs"),
}
"""Commands that may end with another status than 0, and why they do here."""

ELSEWHERE = {
    "make setup": ("Makefile", "whatever runs this test was set up by it"),
    "make demo": ("tests/test_cli.py", "it walks the whole loop for minutes"),
    "make test": ("tools/test.sh", "this is it"),
    "make bench": ("tests/bench/test_gate.py", "benchmarks run for an hour; their parts are tested"),
    "radloop up": ("tests/docs/test_commands_run.py", "a server stays; every such line is started below"),
    "radloop conform": ("tests/conform/test_command.py", "it needs a server"),
    "radloop incident drill": ("tests/test_incident_command.py", "it waits for the watch"),
    "radloop login": ("tests/test_login.py", "it needs a user pool and a person"),
    "radloop ingest --resume --server": ("tests/test_login.py", "it needs somebody who is signed in"),
    "radloop logout": ("tests/test_login.py", "it needs somebody who is signed in"),
    "radloop doctor --aws": ("tests/aws/test_checklist.py", "it needs an account"),
    "make lab": ("tests/infra/test_lab.py", "it applies the stack and walks it for ten minutes; its parts are tested"),
    "terraform test": ("tests/infra/test_terraform.py", "the test runs it for every module"),
    "make check-infra": ("tests/infra/test_terraform.py", "six minutes; the test runs the same program"),
}
"""Beginning of a command -> the test that runs it, and why it is not run here."""

WALKED = {"deployment-aws.md": "tests/infra/test_deployment_page.py"}
"""Pages that a test of their own walks."""


@dataclass(frozen=True)
class Story:
    """The home that all pages begin with, and what its ids are where a page shows made-up ones."""

    folder: Path
    replaced: Mapping[str, str]

    def line(self, shown: str) -> str:
        """A command as a reader would type it here."""
        for made_up, real in self.replaced.items():
            shown = re.sub(rf"(?<!\w){made_up}(?!\w)", real, shown)
        return shown


def run(line: str) -> tuple[int, str]:
    """Run a line, one of radloop in this process; its exit status and all it printed."""
    if not line.startswith("radloop "):
        done = subprocess.run(shlex.split(line, comments=True), capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            status = cli.main.main(shlex.split(line, comments=True)[1:], prog_name="radloop", standalone_mode=False)
        except SystemExit as ended:
            status = ended.code
        except click.ClickException as error:
            status = error.exit_code
            error.show()
    return int(status or 0), printed.getvalue()


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    folder: Path = tmp_path_factory.mktemp("story")
    home = folder / "my-home"
    home.mkdir()
    (home / "settings.toml").write_text(SETTINGS)
    number = next(each for each in range(100) if split_of(f"PHANTOM-{each:05d}") is Split.TEST)
    with open_local(home) as installation:
        files = phantom_study(number, consolidated=True, slices=10, size=64).files
        landings = installation.images.land([*map(Upload, files), Upload(b"no image")], by=OWNER)
        tested = str(landings[0].image_set)
        installation.images.complete(tested, by=OWNER)
        installation.worker().drain(("fold",))
        give_up(installation, Job(JOB, "fold", "fold", {"image_set": tested}))
        package = model_package(bias=0.0, temperature=1.0, reference=reference_of(films(120, seed=1)), has_maps=True)
        for execution in ("e1", "e2", "e3"):
            at = f"model-artifacts/models/{execution}"
            for name, data in {**EVALUATION, "model.tar.gz": package}.items():
                installation.platform.blobs.put(f"{at}/{name}", data)
            model = installation.platform.models.register(
                execution=execution, artifact=f"{at}/model.tar.gz", metrics={}, lineage={"snapshot": "s"}
            )
            installation.platform.models.decide(model.version, approved=True, by="ann")
        uris = {"DatasetUri": "s3://training-data/gone", "Snapshot": "s", "ContextUri": "s3://context"}
        installation.platform.pipelines.start("e4", uris)
        installation.worker().drain(("pipeline",))
        assert installation.platform.pipelines.get("e4").state == "Failed"
        for name, data in REFUSED.items():
            installation.platform.blobs.put(f"model-artifacts/models/e4/{name}", data)
        trace = installation.platform.bus.events(limit=1)[0].event.trace
    with contextlib.chdir(folder):
        person = facts("radloop users create ann --role reader --home my-home --json")
        key = facts("radloop credentials create --role reader --home my-home --json")
        facts("radloop pccp keygen ann --role release-approver --home my-home --json")
        incident = facts("radloop incident open --principal ann --home my-home --json")
        (kept,) = facts("radloop quarantine list --home my-home --json")["items"]
        head = facts("radloop audit verify --home my-home --json")
    return Story(
        folder,
        {
            "IMAGE_SET": tested,
            "0123456789abcdef0123456789abcdef": trace,
            "0123456789abcdef": tested,
            "PERSON_ID": person["id"],
            "INCIDENT": incident["id"],
            "ACCESS_KEY_ID": key["access_key_id"],
            "FILE_ID": kept["id"],
            "JOB_ID": JOB,
            "EXECUTION": "e4",
            "KEPT_HEAD": head["head"],
        },
    )


def facts(line: str) -> dict[str, Any]:
    """What a command says with --json."""
    status, printed = run(line)
    assert status == 0, (line, printed)
    told: dict[str, Any] = json.loads(printed[printed.index("{") :])
    return told


def give_up(installation: Installation, job: Job) -> None:
    """Let a job fail in an empty lane until nobody tries it any more."""
    jobs = installation.platform.jobs
    installation.platform.records.commit(Change(jobs=[job]))
    while claim := jobs.claim(job.lane):
        jobs.failed(claim, "unavailable")
    assert [letter.job.id for letter in jobs.dead_letters()] == [job.id]


JOB = "given-up"
EVALUATION = {
    "report.html": b"<!doctype html><title>report</title>",
    "model_card.md": b"# Model card\n",
    "evaluation.json": json.dumps({"metrics": {}, "gate": {"approved": True, "rules": []}}).encode(),
    "checklists.json": b"{}",
}
REFUSED = {
    **EVALUATION,
    "evaluation.json": json.dumps({"metrics": {}, "gate": {"approved": False, "rules": []}}).encode(),
}


@pytest.fixture
def place(story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a copy of the home, under its name and as the home that commands take by themselves."""
    shutil.copytree(story.folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "radloop-home").symlink_to("my-home")
    monkeypatch.chdir(tmp_path)
    for name in ("RADLOOP_HOME", "RADLOOP_TOKEN", "RADLOOP_KEY_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    yield tmp_path
    shutil.rmtree(tmp_path, ignore_errors=True)


def elsewhere(line: str) -> bool:
    return any(f"{line} ".startswith(beginning) for beginning in ELSEWHERE)


def commands_of(page: Path) -> list[str]:
    """Commands of a page in their order: its `sh` blocks, and on pages of operators those in running text, too."""
    text = page.read_text()
    if page.name not in OPERATORS:
        return shell_lines(text)
    found = []
    for fence, block, words in re.findall(
        r"^ *```(\w*)\n(.*?)^ *```|`([^`\n]+)`", text, flags=re.MULTILINE | re.DOTALL
    ):
        if fence == "sh":
            found += [line.strip() for line in block.splitlines() if line.strip()]
        elif words.partition(" ")[0] in PROGRAMS and words not in PROGRAMS:
            found.append(words)
    return found


@pytest.mark.parametrize("name", RUN_HERE)
def test_every_command_of_a_page_runs_as_it_stands_there(name: str, story: Story, place: Path) -> None:
    page = ROOT / name if name == "README.md" else DOCS / name
    lines = [line for line in commands_of(page) if not elsewhere(line)]
    assert lines, f"{name} shows no command; take it from RUN_HERE"
    for shown in lines:
        status, printed = run(story.line(shown))
        allowed = {0, *(status for beginning, (status, _) in STATUS.items() if shown.startswith(beginning))}
        assert status in allowed, f"{name}: {shown} ends with {status}: {printed}"
        assert "Traceback" not in printed


def test_every_command_of_every_page_is_run_here_or_by_a_test_that_is_there() -> None:
    for page in PAGES:
        for line in commands_of(page):
            walked = shell_lines(page.read_text()) if page.name in WALKED else ()
            is_run = page.name in RUN_HERE or any(each.startswith(line) for each in walked)
            assert is_run or elsewhere(line), f"{page.name}: nothing runs {line!r}: RUN_HERE, or ELSEWHERE with a test"
    assert all((ROOT / test).exists() for test in WALKED.values())
    for beginning, (test, reason) in ELSEWHERE.items():
        assert (ROOT / test).exists(), f"{test}, which should run {beginning}, is not there"
        assert reason


def test_a_command_that_fails_would_be_found(story: Story, place: Path) -> None:
    assert run("radloop report 9 --out report --home my-home")[0] == 1
    assert run(story.line("radloop retire 0123456789abcdef --reason other --home my-home"))[0] == 0


STARTS = sorted({line for page in PAGES for line in shell_lines(page.read_text()) if line.startswith("radloop up ")})


@pytest.mark.slow
@pytest.mark.parametrize("shown", STARTS)
def test_every_line_that_starts_a_server_starts_one_that_answers(shown: str, story: Story, place: Path) -> None:
    port = free_port()
    words = [*shlex.split(shown, comments=True)[1:], "--listen", f"127.0.0.1:{port}", "--dimse-port", str(free_port())]
    with (place / "said").open("w") as printed:
        server = subprocess.Popen([sys.executable, "-m", "radloop.cli", *words], stdout=printed, stderr=printed)
        try:
            assert answers(f"https://127.0.0.1:{port}/healthz", server), (place / "said").read_text()
        finally:
            server.terminate()
            server.wait(30)
    said = (place / "said").read_text()
    assert "Traceback" not in said, said


def answers(address: str, server: subprocess.Popen[bytes], within_s: float = 60.0) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline and server.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(address, verify=False).is_success:
                return True
        time.sleep(0.1)
    return False
