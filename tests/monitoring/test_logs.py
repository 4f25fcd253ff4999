"""Log lines: of one shape, in their groups, sealed, with a trace through all of them, and gone after their time."""

import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator

from radloop.cli import main
from radloop.core.errors import Corrupt
from radloop.core.events import AlarmStateChanged
from radloop.core.ports import AuditEntry, Change
from radloop.monitoring.logs import JsonLines, group_of, lines_of, log_to_files, log_to_stderr, purge, tell
from radloop.security.sealing import GcmCipher
from radloop.wiring import open_local
from tests.functions.house import CONTRACTS

SCHEMA = Draft202012Validator(json.loads((CONTRACTS / "log-line.json").read_text()))
CIPHER = GcmCipher(bytes(32))


@pytest.fixture(autouse=True)
def quiet_again() -> Iterator[None]:
    logger = logging.getLogger("radloop")
    before = logger.handlers[:], logger.level, logger.propagate
    yield
    for handler in set(logger.handlers) - set(before[0]):
        handler.close()
    logger.handlers, logger.level, logger.propagate = before[0], before[1], before[2]
    logger.setLevel(before[1])


def said(folder: Path) -> None:
    log_to_files(folder, CIPHER)
    tell(logging.getLogger("radloop.functions.image_ingestion"), "begun", trace="t1", event="e1")
    tell(logging.getLogger("radloop.events"), "routed", trace="t1", wakes=["image_ingestion"])
    logging.getLogger("radloop.worker").warning("job fold failed at try 1: unavailable")


def test_every_line_is_of_the_schema_and_lies_in_its_group(tmp_path: Path) -> None:
    said(tmp_path)
    lines = list(lines_of(tmp_path, CIPHER))
    assert sorted(line["group"] for line in lines) == ["events/radloop", "lambda/image-ingestion", "platform"]
    for line in lines:
        SCHEMA.validate(line)
    (only,) = lines_of(tmp_path, CIPHER, group="events/radloop")
    assert (only["trace"], only["wakes"]) == ("t1", ["image_ingestion"])
    assert {path.parent.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.log")} == {
        "events/radloop",
        "lambda/image-ingestion",
        "platform",
    }


def test_a_file_is_unreadable_without_the_key_and_a_changed_line_is_found(tmp_path: Path) -> None:
    said(tmp_path)
    (path,) = (tmp_path / "platform").glob("*.log")
    assert b"unavailable" not in path.read_bytes()
    assert path.stat().st_mode & 0o077 == 0
    with pytest.raises(Corrupt, match="line 1"):
        list(lines_of(tmp_path, GcmCipher(b"\1" * 32)))
    path.write_bytes((next((tmp_path / "events" / "radloop").glob("*.log"))).read_bytes())  # of another group
    with pytest.raises(Corrupt, match="platform"):
        list(lines_of(tmp_path, CIPHER, group="platform"))


def test_what_is_quiet_on_standard_error_is_kept_in_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr()
    said(tmp_path)
    printed = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["level"] for line in printed] == ["WARNING"]
    SCHEMA.validate(printed[0])


def test_old_files_go_and_the_audit_stays(tmp_path: Path) -> None:
    with open_local(tmp_path) as installation:
        installation.platform.records.commit(Change(audit=[AuditEntry("x", "land", "s")]))
        said(tmp_path / "logs")
        now = datetime.now(UTC)
        assert purge(tmp_path / "logs", 30, now + timedelta(days=29)) == 0
        assert purge(tmp_path / "logs", 7, now + timedelta(days=9)) == 3
        assert list(lines_of(tmp_path / "logs", CIPHER)) == []
        assert installation.platform.audit.verify().entries == 1


def test_a_trace_leads_from_the_event_to_the_functions_it_woke(tmp_path: Path) -> None:
    with open_local(tmp_path) as installation:
        installation.keep_logs()
        told = AlarmStateChanged("a", "ALARM", "A1: p99 1.8").told(at=installation.platform.clock())
        installation.platform.records.commit(Change(events=[told]))
        installation.worker().drain(("events",))
    printed = CliRunner().invoke(main, ["logs", "--home", str(tmp_path), "--trace", told.trace])
    lines = [json.loads(line) for line in printed.output.splitlines()]
    assert {line["group"] for line in lines} == {"events/radloop", "lambda/error-logging", "lambda/notification"}
    of_logging = [line["message"] for line in lines if line["group"] == "lambda/error-logging"]
    assert of_logging == ["begun", "done"]
    for line in lines:
        SCHEMA.validate(line)
    few = CliRunner().invoke(main, ["logs", "--home", str(tmp_path), "--group", "events/radloop", "--limit", "1"])
    assert json.loads(few.output)["group"] == "events/radloop"


def test_looking_at_a_home_that_is_none_makes_none(tmp_path: Path) -> None:
    assert CliRunner().invoke(main, ["logs", "--home", str(tmp_path / "none")]).output == ""
    assert not (tmp_path / "none").exists()


def test_a_full_disk_stops_no_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    log_to_files(tmp_path / "file", CIPHER)  # no folder can be made below it
    tell(logging.getLogger("radloop.events"), "routed")


def test_groups_are_named_as_on_aws() -> None:
    assert group_of("radloop.functions.model_registry") == "lambda/model-registry"
    assert group_of("radloop.api") == "healthimaging"
    assert group_of("radloop.iam") == "iam"
    record = logging.LogRecord("radloop.up", logging.INFO, "", 0, "m %d", (1,), None)
    assert json.loads(JsonLines().format(record))["message"] == "m 1"
