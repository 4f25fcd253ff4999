"""The documents are held to the code: what there is stands in them, what stands in them is there, and it runs."""

import ast
import contextlib
import dataclasses
import inspect
import io
import json
import re
import shlex
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path

import botocore.session
import click
import pytest

from radloop import cli
from radloop.api.dicomweb import PREFIX as DICOMWEB
from radloop.api.dicomweb import dicomweb_routes
from radloop.api.openapi import OPERATIONS
from radloop.core import errors
from radloop.core.errors import RadloopError
from radloop.core.events import CATALOGUE
from radloop.core.settings import Settings
from radloop.training.recipes import recipe_for

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *DOCS.rglob("*.md")])
TO_BE_MADE = "docs/pictures/viewer.png"
HARMLESS = ("phantom", "ingest", "export", "models", "executions", "events")

page_by_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


def text_of(name: str) -> str:
    return (DOCS / name).read_text()


def in_code(text: str) -> list[str]:
    """What stands between backticks in running text."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))


def shell_lines(text: str) -> list[str]:
    """Commands of all blocks fenced as `sh`, without prompts of their own and without comments."""
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```", text, flags=re.MULTILINE | re.DOTALL)
    return [line.strip() for block in blocks for line in block.splitlines() if line.strip()]


def first_cells(text: str) -> set[str]:
    """First cells of all table rows, without their backticks."""
    return {found.strip("` ") for found in re.findall(r"^\| *(`?[^|]+`?) *\|", text, flags=re.MULTILINE)}


def options_of(command: click.Command) -> set[str]:
    named = {name for each in command.params for name in (*each.opts, *each.secondary_opts) if name.startswith("--")}
    below = command.commands.values() if isinstance(command, click.Group) else ()
    return named.union({"--help"}, *map(options_of, below))


COMMANDS = {
    name: command
    for context in [click.Context(cli.main)]
    for name in cli.main.list_commands(context)
    if (command := cli.main.get_command(context, name))
}
EVERY_OPTION = {name for command in (cli.main, *COMMANDS.values()) for name in options_of(command)}


# What there is stands in the documents


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_section_and_every_option_a_row(name: str) -> None:
    text = text_of("commands.md")
    heading = f"\n## radloop {name}\n"
    assert heading in text, f"docs/commands.md has no section on {name}"
    section = text.partition(heading)[2].partition("\n## ")[0]
    shared = text.partition("## Options that many commands share")[2].partition("\n## ")[0]
    missing = {option for option in options_of(COMMANDS[name]) if f"`{option}`" not in section + shared}
    assert not missing, f"docs/commands.md does not explain {missing} of {name}"


def test_every_exit_status_is_explained() -> None:
    stated = first_cells(text_of("commands.md").partition("## Exit status")[2].partition("\n## ")[0])
    sources = [inspect.getsource(cli), *(path.read_text() for path in (ROOT / "radloop/commands").glob("*.py"))]
    in_code_of_cli = {status for source in sources for status in re.findall(r"(?:exit\(|code: )(\d)", source)}
    assert {"3", "4", "5"} <= in_code_of_cli
    assert {"0", "1", "2", *in_code_of_cli} <= stated


@pytest.mark.parametrize("happening", CATALOGUE, ids=lambda each: each.__name__)
def test_every_event_has_a_row_with_its_source_and_fields(happening: type) -> None:
    text = text_of("events.md")
    section = next(part for part in text.split("\n## ") if f"| `{happening.__name__}` |" in part)
    assert f"`{happening.source}`" in section
    row = next(line for line in section.splitlines() if line.startswith(f"| `{happening.__name__}` |"))
    missing = {field.name for field in dataclasses.fields(happening)} - set(in_code(row))
    assert not missing, f"docs/events.md does not name {missing} of {happening.__name__}"


def test_every_rule_has_a_row_with_its_target_and_delay() -> None:
    rules = json.loads((ROOT / "contracts/events/rules.json").read_text())["rules"]
    rows = {line.split("|")[1].strip(): line for line in text_of("events.md").splitlines() if line.startswith("| ")}
    for rule in rules:
        assert f"`{rule['target']}`" in rows[rule["name"]]
        assert rule.get("delay", "at once") in rows[rule["name"]]


def test_every_setting_has_a_row_with_its_default() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| [^|]+ \|$", text_of("settings.md"), flags=re.MULTILINE)
    shown = {name: default.strip() for name, default in rows}
    for field in dataclasses.fields(Settings):
        default = getattr(Settings(), field.name)
        told = str(default).lower() if isinstance(default, bool) else str(default)
        wanted = "empty" if default in ({}, (), "") else told
        assert shown.get(field.name) == wanted, f"docs/settings.md is wrong about {field.name}"


def test_every_hyperparameter_has_a_row_with_what_each_recipe_says() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \| [^|]+ \|$", text_of("settings.md"), flags=re.MULTILINE)
    shown = {name: (small.strip(), full.strip()) for name, small, full in rows}
    assert set(shown) == hyperparameters()
    for place, recipe in enumerate((recipe_for(2, gpu=False), recipe_for(64, gpu=False))):
        for name in recipe.keys() - {"threads"}:
            assert shown[name][place] == recipe[name], f"docs/settings.md is wrong about {name}"


def hyperparameters() -> set[str]:
    """Names of what a training may be told, read without importing torch."""
    tree = ast.parse((ROOT / "radloop/training/hyperparameters.py").read_text())
    found = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Hyperparameters")
    return {
        node.target.id for node in found.body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }


def test_every_metric_has_a_row_with_its_kind_labels_and_words() -> None:
    text = text_of("metrics.md")
    for metric in json.loads((ROOT / "contracts/metrics.json").read_text())["metrics"]:
        labels = ", ".join(f"`{name}`" for name in metric.get("labels", {}))
        row = f"| `{metric['name']}` | {metric['kind']} | {metric['unit']} | {labels} | {metric['help']} |"
        assert row in text, f"docs/metrics.md lacks or changes the row of {metric['name']}"


def test_every_route_of_the_platform_api_has_a_row() -> None:
    assert platform_routes() <= first_cells(text_of("api.md"))


def test_every_route_of_dicomweb_has_a_row() -> None:
    assert dicomweb_addresses() <= first_cells(text_of("api.md"))


def test_every_operation_of_healthimaging_has_a_row_and_an_address() -> None:
    text = text_of("api.md").partition("## HealthImaging")[2].partition("\n## ")[0]
    for name, address in healthimaging_operations().items():
        assert f"| `{name}` | `{address}` |" in text


def test_every_error_code_has_a_row() -> None:
    codes = {error.code for error in every_error()}
    assert codes <= first_cells(text_of("api.md").partition("## Errors")[2])


def test_every_code_a_file_can_be_quarantined_for_has_advice() -> None:
    sources = [(ROOT / "radloop/dicom" / name).read_text() for name in ("parse.py", "elements.py")]
    raised = {name for source in sources for name in re.findall(r"raise (\w+)\(", source)}
    codes = {error.code for error in every_error() if error.__name__ in raised}
    assert codes
    assert codes <= first_cells(text_of("storage.md").partition("## Quarantine")[2])


def test_every_reason_to_keep_a_file_has_a_row() -> None:
    source = (ROOT / "radloop/store/folding.py").read_text()
    codes = {*re.findall(r'FoldedFile\(.*"([a-z-]+)"\)', source), "unsupported-pixels"}
    assert len(codes) > 3
    assert codes <= first_cells(text_of("storage.md"))


def test_every_dependency_has_a_row_and_every_row_is_a_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = {
        name_of(line) for line in (*project["dependencies"], *(name for each in extras.values() for name in each))
    }
    rows = re.findall(r"^\| `([a-z0-9-]+)` \|", text_of("dependencies.md"), flags=re.MULTILINE)
    assert set(rows) == wanted


def name_of(requirement: str) -> str:
    return re.split(r"[<>=!~\[; ]", requirement)[0]


def every_error() -> list[type[RadloopError]]:
    return [each for _, each in inspect.getmembers(errors, inspect.isclass) if issubclass(each, RadloopError)]


def platform_routes() -> set[str]:
    return {f"{each.method} {without_kinds(each.address)}" for each in OPERATIONS}


def dicomweb_addresses() -> set[str]:
    routes = dicomweb_routes(None)  # type: ignore[arg-type] — nothing is asked of the doors before a request comes
    return {
        f"{method} {without_kinds(route.path)}"
        for route in routes
        for method in route.methods - {"HEAD", "OPTIONS"}
        if route.path.startswith(DICOMWEB)
    }


def healthimaging_operations() -> dict[str, str]:
    """Name -> method and address of every operation of the service model that botocore ships."""
    service = botocore.session.get_session().get_service_model("medical-imaging")
    asked = {name: service.operation_model(name).http for name in service.operation_names}
    return {name: f"{http['method']} {http['requestUri'].partition('?')[0]}" for name, http in asked.items()}


def without_kinds(path: str) -> str:
    return re.sub(r":\w+}", "}", path)


# What stands in the documents is there


@page_by_page
def test_every_command_line_in_a_document_is_one(page: Path) -> None:
    for line in shell_lines(page.read_text()):
        check_line(line)


def check_line(line: str) -> None:
    """A `radloop` line parses, a `make` line names a target; of others only what is harmless is shown."""
    program, *arguments = shlex.split(line, comments=True)
    if program == "radloop":
        name, *rest = arguments
        assert name in COMMANDS, f"there is no command radloop {name}"
        parse_only(COMMANDS[name], name, rest)
    elif program == "make":
        assert set(arguments) <= make_targets(), f"make has no target for {line}"
    elif program == "python":
        place = arguments[1].replace(".", "/") if arguments[0] == "-m" else arguments[0]
        assert (ROOT / place).exists(), f"there is no program for {line}"
    elif program == "terraform":
        assert arguments[0] in {"init", "plan", "apply", "output", "providers"}, f"nothing runs {line}"
    elif program == "aws":
        service = botocore.session.get_session().get_service_model(arguments[0])
        known = {botocore.xform_name(name).replace("_", "-") for name in service.operation_names}
        assert arguments[1] in known, f"AWS has no operation for {line}"
    elif program == "cd":
        assert (ROOT / arguments[0]).is_dir(), f"there is no folder for {line}"
    else:
        assert program in {"chmod", "cp", "df", "openssl"}, f"a document shows {program}, which this test does not know"


def parse_only(command: click.Command, name: str, arguments: list[str]) -> None:
    """Parse arguments without doing anything; paths need not be there."""
    with contextlib.ExitStack() as undo:
        for parameter in command.params:
            if isinstance(parameter.type, click.Path):
                undo.callback(setattr, parameter.type, "exists", parameter.type.exists)
                parameter.type.exists = False
        try:
            command.make_context(name, list(arguments))
        except click.UsageError as error:
            pytest.fail(f"radloop {name} {shlex.join(arguments)}: {error.format_message()}")


@pytest.mark.parametrize(
    "line",
    [
        "radloop nothing",
        "radloop ingest --nothing x",
        "radloop verify x",
        "radloop up --listen",
        "make nothing",
        "python infra/nothing.py",
        "terraform destroy",
        "cd infra/nowhere",
        "rm x",
    ],
)
def test_a_wrong_command_line_would_be_found(line: str) -> None:
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        check_line(line)


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))


def test_every_target_of_make_has_a_row() -> None:
    assert {f"make {target}" for target in make_targets()} <= first_cells(text_of("commands.md"))


@page_by_page
def test_every_command_and_option_named_in_words_exists(page: Path) -> None:
    for words in in_code(page.read_text()):
        found = re.match(r"radloop ([a-z-]+)", words)
        assert found is None or found[1] in COMMANDS, f"there is no command {words}"
        target = re.match(r"make ([a-z-]+)", words)
        assert target is None or target[1] in make_targets(), f"there is no target {words}"
        if words.startswith("curl "):
            continue
        for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*", words):
            assert option in EVERY_OPTION, f"no command has the option {option}"


@page_by_page
def test_every_route_named_in_a_document_exists(page: Path) -> None:
    known = platform_routes() | dicomweb_addresses() | set(healthimaging_operations().values())
    known |= {"GET /", "GET /healthz", "GET /metrics", "GET /app/"}
    named = {words for words in in_code(page.read_text()) if re.match(r"(GET|POST|PUT|DELETE) /", words)}
    assert named <= known


def test_every_setting_in_an_example_exists() -> None:
    allowed = {field.name for field in dataclasses.fields(Settings)}
    for page in PAGES:
        for block in re.findall(r"^```toml\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL):
            values = tomllib.loads(block)
            assert values.keys() <= allowed
            assert values.get("training", {}).keys() <= hyperparameters()


def test_every_row_of_the_settings_is_a_setting() -> None:
    known = {field.name for field in dataclasses.fields(Settings)} | hyperparameters()
    variables = {"RADLOOP_HOME", "RADLOOP_TOKEN", "RADLOOP_CA", "RADLOOP_KEY_PASSWORD", "RADLOOP_TEST_DATA"}
    assert set(re.findall(r"^\| `(\w+)` \|", text_of("settings.md"), flags=re.MULTILINE)) == known | variables


def test_every_row_of_the_events_is_an_event() -> None:
    rows = re.findall(r"^\| `([A-Z]\w+)` \|", text_of("events.md"), flags=re.MULTILINE)
    assert sorted(rows) == sorted(each.__name__ for each in CATALOGUE)


def test_every_row_of_the_metrics_is_a_metric() -> None:
    known = {metric["name"] for metric in json.loads((ROOT / "contracts/metrics.json").read_text())["metrics"]}
    assert set(re.findall(r"^\| `(radloop_\w+)` \|", text_of("metrics.md"), flags=re.MULTILINE)) == known


@page_by_page
def test_every_metric_named_in_a_document_exists(page: Path) -> None:
    known = {metric["name"] for metric in json.loads((ROOT / "contracts/metrics.json").read_text())["metrics"]}
    named = set(re.findall(r"radloop_[a-z0-9_]+", page.read_text()))
    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in named} <= known


@page_by_page
def test_every_link_leads_somewhere(page: Path) -> None:
    text = page.read_text()
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        place, _, anchor = target.partition("#")
        there = (page.parent / place).resolve() if place else page
        is_promised = there == ROOT / TO_BE_MADE and f"<!-- {TO_BE_MADE}: to be made -->" in text
        assert there.exists() or is_promised, f"{page.name} leads to {target}, which is not there"
        if anchor:
            assert anchor in anchors(there.read_text()), f"{there.name} has no heading {anchor}"


def anchors(text: str) -> set[str]:
    """Headings as GitHub makes addresses of them."""
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_a_picture_that_is_there_is_not_promised_any_more() -> None:
    is_promised = f"{TO_BE_MADE}: to be made" in (ROOT / "README.md").read_text()
    assert is_promised != (ROOT / TO_BE_MADE).exists()


def test_every_message_that_troubleshooting_quotes_is_one_that_we_say() -> None:
    sources = [*(ROOT / "radloop").rglob("*.py"), *(ROOT / "viewer/src").rglob("*.ts")]
    ours = "\n".join(path.read_text() for path in sources)
    cells = re.findall(r"^\| ([^|]+) \|", text_of("troubleshooting.md"), flags=re.MULTILINE)
    quoted = [words.removesuffix(" ...") for cell in cells for words in in_code(cell) if " " in words]
    messages = [words for words in quoted if not words.startswith("radloop ")]
    assert len(messages) >= 5
    assert [words for words in messages if words not in ours] == []


@page_by_page
def test_no_document_says_what_must_not_be_said(page: Path) -> None:
    text = re.sub(r"not (?:for|intended for) (?:primary )?diagnos\w+", "", page.read_text())
    assert "hipaa compliant" not in text.lower()
    assert "diagnostic" not in text.lower()
    assert not re.search(r"(?<![\w.%}<>])/(?:home|root|work|tmp|Users|mnt|srv)/\w", text), "a path of one machine"


@pytest.mark.parametrize("page", sorted((DOCS / "decisions").glob("*.md")), ids=lambda page: page.stem)
def test_every_decision_tells_its_price_and_what_was_rejected(page: Path) -> None:
    text = page.read_text()
    assert text.startswith(f"# {page.stem[:4]}  ")
    words = re.findall(r"^(Context|Decision|Price|Rejected|Look again)\s", text, flags=re.MULTILINE)
    assert words == ["Context", "Decision", "Price", "Rejected", "Look again"]


def test_the_readme_opens_as_it_should() -> None:
    text = (ROOT / "README.md").read_text()
    places = [
        text.index(part) for part in ("**radloop** takes", "make demo", "make test", "*It is not a medical device.*")
    ]
    assert places == sorted(places)
    assert len(re.findall(r"^\d+\. ", text, flags=re.MULTILINE)) == 10


# It runs


def run(line: str) -> tuple[int, str]:
    """Run a command line in this process; returns its exit status and what it printed."""
    printed = io.StringIO()
    _, *arguments = shlex.split(line, comments=True)
    with contextlib.redirect_stdout(printed):
        try:
            status = cli.main.main(arguments, prog_name="radloop", standalone_mode=False)
        except SystemExit as ended:
            status = ended.code
    return int(status or 0), printed.getvalue()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RADLOOP_HOME", raising=False)
    yield tmp_path
    shutil.rmtree(tmp_path, ignore_errors=True)


def test_the_first_session_of_the_readme_runs_as_it_stands_there(folder: Path) -> None:
    (folder / "my-home").mkdir()
    (folder / "my-home/settings.toml").write_text("fold_threads = 1\n")  # the test's manners, not the session's
    lines = [line for line in shell_lines((ROOT / "README.md").read_text()) if line.split()[1] in HARMLESS]
    assert [line.split()[1] for line in lines] == ["phantom", "ingest", "events", "executions", "models", "export"]
    for line in lines:
        assert run(line)[0] == 0, line
    sent = sorted(path.read_bytes() for path in (folder / "phantoms").rglob("*.dcm"))
    assert sent
    assert sorted(path.read_bytes() for path in (folder / "exported").rglob("*.dcm")) == sent
    for name in ("events", "executions", "models"):
        answer = json.loads(run(f"radloop {name} --json --home my-home")[1])
        assert bool(answer["items"]) is (name == "events")


def test_ingest_prints_the_facts_that_its_page_promises(folder: Path) -> None:
    assert run("radloop phantom --out p --slices 4 --size 64")[0] == 0
    (folder / "p/note.txt").write_text("no image")
    status, printed = run("radloop ingest p --home h --json")
    facts = json.loads(printed)
    section = text_of("commands.md").partition("## radloop ingest")[2].partition("\n## ")[0]
    assert facts.keys() <= set(in_code(section))
    assert (status, facts["ingested"], facts["quarantined"]) == (0, 4, 1)
    assert [reason["code"] for reason in facts["reasons"]] == ["not-dicom"]
    assert json.loads(run("radloop ingest p --home h --json")[1])["duplicates"] == 4


def test_predicting_without_a_model_ends_as_its_page_says(folder: Path) -> None:
    run("radloop phantom --out p --slices 4 --size 64")
    name = json.loads(run("radloop ingest p --home h --json")[1])["image_sets"][0]
    assert run(f"radloop predict {name} --home h")[0] == 1
    assert run(f"radloop verify {name} --home h --finding absent --frame 0")[0] == 0
    assert run(f"radloop verify {name} --home h --finding absent --frame 0")[0] == 4
    assert run("radloop train --home h")[0] == 4


@pytest.mark.parametrize("options", ["--open", "--no-tls", "--open --no-tls"])
def test_up_off_the_loopback_without_a_guard_is_refused(folder: Path, options: str) -> None:
    assert run(f"radloop up --home h --listen 0.0.0.0:0 {options}")[0] == 1
    assert not (folder / "h").exists()
