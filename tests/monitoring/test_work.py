"""What processes count together, and what a process that is gone no longer has open."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import values

from radloop.monitoring.catalogue import COUNTED_IN
from radloop.monitoring.series import reading_of
from radloop.monitoring.work import counted
from tests.functions.house import CONTRACTS

CHILD = """
import sys, time
from pathlib import Path
from radloop.monitoring.metrics import Meter, load_metrics
meter = Meter(load_metrics(Path(sys.argv[1]).read_text()), ["getFrame"])
meter.stream_began()
meter.stream_began()
meter.work.ran("fold", is_ok=True)
meter.work.audit_waits(time.time() - 500)
print("counted", flush=True)
time.sleep(60)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv(COUNTED_IN, str(tmp_path))
    yield tmp_path
    monkeypatch.undo()
    values.ValueClass = values.get_value_class()  # type: ignore[no-untyped-call]


def child() -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CHILD, str(CONTRACTS / "metrics.json")]
    started = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert started.stdout is not None
    assert started.stdout.readline() == "counted\n"
    return started


def test_what_is_open_goes_with_its_process_and_what_was_done_stays(folder: Path) -> None:
    children = [child(), child()]
    try:
        both = reading_of(*counted(()))
        children[0].kill()
        children[0].wait()
        one = reading_of(*counted(()))
    finally:
        for each in children:
            each.kill()
            each.communicate()
    none = reading_of(*counted(()))
    ran = (("function", "fold"), ("outcome", "ok"))
    assert [found["radloop_streams_open"][()] for found in (both, one)] == [4, 2]
    assert none.get("radloop_streams_open", {}).get((), 0.0) == 0
    assert [found["radloop_function_runs_total"][ran] for found in (both, one, none)] == [2, 2, 2]
    assert both["radloop_audit_lag_seconds"][()] == pytest.approx(500, abs=20)
    assert none["radloop_audit_lag_seconds"] == {(): 0}
