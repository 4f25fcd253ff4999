"""The watch raises each alarm when its cause is there, tells it once, and keeps a day of minutes."""

import itertools
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from radloop.core.errors import Unavailable
from radloop.core.identity import OWNER
from radloop.core.ports import Change, Job, Put, StepRun
from radloop.core.settings import Settings
from radloop.core.tables import DRIFT, METRIC_MINUTES
from radloop.monitoring.alarms import QUIET_S, load_alarms
from radloop.monitoring.dashboards import MINUTES, drawn, load_dashboards
from radloop.monitoring.metrics import Meter, load_metrics
from radloop.monitoring.watch import EVERY_S, Watch
from tests.functions.house import CONTRACTS, House

CATALOGUE = load_metrics((CONTRACTS / "metrics.json").read_text())
CONTRACT = load_alarms((CONTRACTS / "alarms.json").read_text())
DASHBOARDS = load_dashboards((CONTRACTS / "dashboards.json").read_text())


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    built = House.build(tmp_path, Settings(storage_budget_gigabytes=1.0))
    built.platform.models.register(execution="e", artifact="x", metrics={"accuracy": {"value": 0.9}}, lineage={})
    built.platform.models.decide(1, approved=True, by="chief")
    yield built
    built.database.close()


@pytest.fixture
def meter() -> Meter:
    return Meter(CATALOGUE, ["getFrame", "searchImageSets"])


def watch_over(house: House, meter: Meter) -> Watch:
    return Watch(house.platform, CONTRACT, DASHBOARDS, meter.counted)


def passes(watch: Watch, house: House, seconds: float) -> list[str]:
    """Look as the worker does while time passes; the alarms that changed."""
    changed = []
    for _ in range(int(seconds / EVERY_S)):
        house.clock.wait(EVERY_S)
        changed += watch.look()
    return changed


def told(house: House) -> list[tuple[str, str]]:
    return [(detail["alarm"], detail["state"]) for detail in house.told("AlarmStateChanged")]


def slow_frame(house: House, meter: Meter) -> None:
    meter.frames_retrieved(1.8)


def failed_training(house: House, meter: Meter) -> None:
    at = house.clock().isoformat()
    house.engine.start("e9", {})
    house.engine.end("e9", state="Failed", steps=(StepRun("Train", "Training", "Failed", at, at),))


def wrong_model(house: House, meter: Meter) -> None:
    labelled = [[str(number), number % 10 < 7, 0.9] for number in range(100)]
    watched = {"alarms": {}, "examinations": [], "labelled": labelled}
    house.platform.records.commit(Change(writes=[Put(DRIFT, "v1", watched)]))


def silent_store(house: House, meter: Meter) -> None:
    for _ in range(6):
        meter.work.store_failed()


def failing_function(house: House, meter: Meter) -> None:
    for number in range(90):
        meter.work.ran("image_ingestion", is_ok=number > 0)


def busy_database(house: House, meter: Meter) -> None:
    meter.work.database_busy()


def full_store(house: House, meter: Meter) -> None:
    house.store("A", stored_bytes=1_000_000_001)


def late_audit(house: House, meter: Meter) -> None:
    meter.work.audit_waits(time.time() - 901)


def given_up(house: House, meter: Meter) -> None:
    house.platform.records.commit(Change(jobs=[Job(id="j", lane="import", kind="import", payload={})]))
    claim = house.platform.jobs.claim("import")
    assert claim is not None
    assert house.platform.jobs.failed(replace(claim, tries=8), "unavailable")


CAUSES: dict[str, Callable[[House, Meter], None]] = {
    "A1": slow_frame,
    "A2": failed_training,
    "A3": wrong_model,
    "A4": silent_store,
    "A5": failing_function,
    "A6": busy_database,
    "A7": full_store,
    "A8": late_audit,
    "O1": given_up,
}


@pytest.mark.parametrize("alarm", CONTRACT, ids=lambda alarm: alarm.id)
def test_each_alarm_goes_on_within_a_minute_of_its_cause_and_tells_it_once(
    alarm: object, house: House, meter: Meter
) -> None:
    assert isinstance(alarm, type(CONTRACT[0]))
    watch = watch_over(house, meter)
    for _ in range(1000):
        meter.work.ran("image_ingestion", is_ok=True)
    watch.look()
    assert passes(watch, house, 60) == []
    CAUSES[alarm.id](house, meter)
    assert passes(watch, house, 65) == [alarm.name]
    assert told(house) == [(alarm.name, "ALARM")]
    (detail,) = house.told("AlarmStateChanged")
    assert detail["cause"].startswith(f"{alarm.id}: ")


def test_a_dead_letter_is_an_alarm_until_somebody_discards_it(house: House, meter: Meter) -> None:
    watch = watch_over(house, meter)
    watch.look()
    given_up(house, meter)
    assert passes(watch, house, 3600) == ["dead-letters"]
    house.platform.jobs.discard("j")
    assert passes(watch, house, 120) == ["dead-letters"]
    assert told(house) == [("dead-letters", "ALARM"), ("dead-letters", "OK")]


def test_that_a_message_to_people_could_not_be_sent_is_told_by_no_message(house: House, meter: Meter) -> None:
    watch = watch_over(house, meter)
    watch.look()
    house.platform.records.commit(Change(jobs=[Job(id="n", lane="notify", kind="notify", payload={})]))
    claim = house.platform.jobs.claim("notify")
    assert claim is not None
    assert house.platform.jobs.failed(replace(claim, tries=8), "unavailable")
    assert passes(watch, house, 120) == []


@pytest.mark.parametrize("mild", [5, 4])
def test_five_errors_a_minute_are_no_alarm(mild: int, house: House, meter: Meter) -> None:
    watch = watch_over(house, meter)
    watch.look()
    for _ in range(mild):
        meter.work.store_failed()
    assert passes(watch, house, 120) == []


def test_an_alarm_clears_by_itself_and_both_changes_are_told(house: House, meter: Meter) -> None:
    watch = watch_over(house, meter)
    watch.look()
    slow_frame(house, meter)
    assert passes(watch, house, 60) == ["retrieval-latency"]
    assert passes(watch, house, 60 + QUIET_S + EVERY_S) == ["retrieval-latency"]
    assert told(house) == [("retrieval-latency", "ALARM"), ("retrieval-latency", "OK")]
    slow_frame(house, meter)
    assert passes(watch, house, 10) == ["retrieval-latency"]  # the same again is another happening
    assert len(told(house)) == 3


def test_a_restart_tells_nothing_again(house: House, meter: Meter) -> None:
    watch = watch_over(house, meter)
    watch.look()
    full_store(house, meter)
    late_audit(house, meter)
    passes(watch, house, 65)
    assert len(told(house)) == 2
    for _ in range(3):
        watch = watch_over(house, meter)
        assert passes(watch, house, 65) == []
    assert len(told(house)) == 2


def test_a_change_that_cannot_be_written_is_told_when_it_can(
    house: House, meter: Meter, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = watch_over(house, meter)
    watch.look()
    slow_frame(house, meter)
    house.clock.wait(EVERY_S)
    house.database.write(
        lambda connection: connection.execute(
            "CREATE TRIGGER stop BEFORE INSERT ON events BEGIN SELECT RAISE(ROLLBACK, 'stopped'); END"
        ).fetchall()
    )
    with pytest.raises(Exception, match=r"written|there already"):
        watch.look()
    assert told(house) == []
    house.database.write(lambda connection: connection.execute("DROP TRIGGER stop").fetchall())
    assert passes(watch, house, EVERY_S) == ["retrieval-latency"]
    assert told(house) == [("retrieval-latency", "ALARM")]


def test_what_is_told_is_what_the_schema_of_the_event_allows(house: House, meter: Meter) -> None:
    schema = json.loads((CONTRACTS / "events" / "AlarmStateChanged.json").read_text())
    allowed = schema["properties"]["detail"]["properties"]
    for cause in CAUSES.values():
        cause(house, meter)
    watch = watch_over(house, meter)
    watch.look()
    for cause in CAUSES.values():
        if cause not in {failed_training, full_store, wrong_model, given_up}:
            cause(house, meter)
    passes(watch, house, 60)
    found = house.told("AlarmStateChanged")
    assert {detail["alarm"] for detail in found} >= {"retrieval-latency", "storage-budget", "audit-lag"}
    for detail in found:
        for name in ("alarm", "cause"):
            assert re.fullmatch(allowed[name]["pattern"], detail[name]), detail[name]


def test_an_audit_that_cannot_be_written_raises_the_alarm_and_nothing_is_read_meanwhile(
    house: House, meter: Meter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("radloop.security.counting.PATIENCE_S", 0.05)
    audit, watch = house.platform.audit, watch_over(house, meter)
    audit.tell_waiting(meter.work.audit_waits)  # type: ignore[attr-defined] — of the embedded one
    audit.read(OWNER, "an-image-set")
    watch.look()
    house.database.write(
        lambda connection: connection.execute(
            "CREATE TRIGGER stop BEFORE INSERT ON audit BEGIN SELECT RAISE(FAIL, 'stopped'); END"
        ).fetchall()
    )
    audit.read(OWNER, "an-image-set")  # counted, and waits
    time.sleep(0.1)
    with pytest.raises(Unavailable):
        audit.read(OWNER, "an-image-set")
    with pytest.raises(Exception, match=r"written|there already"):
        audit.read(OWNER, "another")
    assert passes(watch, house, 30) == []  # a quarter of an hour is not over
    since = time.time() - 901
    meter.work.audit_waits(since)
    assert passes(watch, house, EVERY_S) == ["audit-lag"]
    assert told(house) == [("audit-lag", "ALARM")]


# Dashboards


def series(house: House, identity: str, *, hours: int = 1) -> dict[str, list[float | None]]:
    minute = int(house.clock().timestamp() // 60)
    answer = drawn(DASHBOARDS, house.platform.records, now_minute=minute, hours=hours)
    widgets = [widget for dashboard in answer["dashboards"] for widget in dashboard["widgets"]]
    (found,) = [widget for widget in widgets if widget["id"] == identity]
    return {one["name"]: one["points"] for one in found["series"]}


def test_minutes_are_drawn_as_they_were(house: House, meter: Meter) -> None:
    watch = watch_over(house, meter)
    watch.look()
    for _ in range(7):
        meter.answered("getFrame", 1000)
        meter.frames_retrieved(0.02)
    meter.answered("searchImageSets", 5)
    passes(watch, house, 60)
    meter.answered("getFrame", 500)
    passes(watch, house, 120)
    calls = series(house, "M1.4")
    assert [value for value in calls["getFrame"] if value] == [7, 1]
    assert [value for value in calls["searchImageSets"] if value] == [1]
    assert [value for value in series(house, "M1.3")[""] if value] == [1000, 500]
    assert [value for value in series(house, "M1.1")[""] if value] == [0.02]
    assert next(value for value in series(house, "M2.6")["v1"] if value) == 0.9


def test_a_day_of_minutes_takes_the_room_of_a_day(house: House, meter: Meter) -> None:
    watch = watch_over(house, meter)

    def kept_now() -> dict[str, int]:
        for _ in range(4):
            house.clock.wait(60)
            watch.look()
        return {row.key: row.document["minute"] for row in house.platform.records.find(METRIC_MINUTES)}

    first = kept_now()
    house.clock.wait((MINUTES - 4) * 60)
    second = kept_now()
    assert {key: minute + MINUTES for key, minute in first.items()}.items() <= second.items()
    assert len(second) == len(first) + 1  # the minute that nobody was there to end
    day = drawn(DASHBOARDS, house.platform.records, now_minute=max(second.values()), hours=24)
    assert (day["step_s"], len(day["times"])) == (360, 240)
    assert day["times"] == sorted(day["times"])


def test_a_wide_drawing_shows_the_greatest_twelve(house: House) -> None:
    meter = Meter(CATALOGUE, [f"getThing{chr(65 + number)}" for number in range(26)])
    watch = watch_over(house, meter)
    watch.look()
    for number in range(26):
        for _ in range(number + 1):
            meter.answered(f"getThing{chr(65 + number)}", 1)
    passes(watch, house, 65)
    assert sorted(series(house, "M1.4")) == [f"getThing{chr(65 + number)}" for number in range(14, 26)]


def test_collecting_takes_no_more_than_a_fiftieth_of_the_time(
    house: House, meter: Meter, monkeypatch: pytest.MonkeyPatch
) -> None:
    from radloop.monitoring import watch as module

    looked = []

    def slow(platform: object) -> list[object]:
        looked.append(house.clock())
        time.sleep(0.1)
        return []

    monkeypatch.setattr(module, "collect", slow)
    monkeypatch.setattr(module, "_COLLECTED_EVERY_S", 1.0)
    watch = watch_over(house, meter)
    passes(watch, house, 30)
    gaps = [(after - before) / timedelta(seconds=1) for before, after in itertools.pairwise(looked)]
    assert gaps
    assert all(gap >= 4.9 for gap in gaps)
