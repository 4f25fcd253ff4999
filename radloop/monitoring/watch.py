"""The watch of an installation: looks every few seconds, tells what changed, keeps a minute of the dashboards.

What is counted is looked at each time. What follows from the records costs more, the more there is; it is collected
once a minute, or so seldom that it takes no more than a fiftieth of one processor.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final

from prometheus_client.metrics_core import Metric as Family

from radloop.core.events import AlarmStateChanged, Event
from radloop.core.platform import Platform
from radloop.core.ports import Change, Put
from radloop.core.tables import ALARMS
from radloop.monitoring.alarms import Alarm, Standing
from radloop.monitoring.catalogue import Sample
from radloop.monitoring.dashboards import Dashboard, minute_of, put_minute
from radloop.monitoring.figures import collect
from radloop.monitoring.series import Labels, reading_of

EVERY_S: Final = 5.0

_COLLECTED_EVERY_S = 60.0
_REST = 49  # for each second of collecting
_LOG = logging.getLogger("radloop.monitoring")

_Read = Mapping[str, Mapping[Labels, float]]


class Watch:
    """Holds the readings of the last minutes. How the alarms stand lies in the records: a restart tells nothing.

    Args:
        platform: The ports.
        alarms: Of `load_alarms`.
        dashboards: Of `load_dashboards`.
        counted: What was counted, see `work.counted`.
    """

    def __init__(
        self,
        platform: Platform,
        alarms: Sequence[Alarm],
        dashboards: Sequence[Dashboard],
        counted: Callable[[], tuple[list[Family], list[Sample]]],
    ) -> None:
        self._platform = platform
        self._alarms = tuple(alarms)
        self._dashboards = tuple(dashboards)
        self._counted = counted
        self._watched = frozenset(name for alarm in alarms for name in alarm.question.metrics)
        self._longest_s = max((alarm.window_s for alarm in alarms), default=0.0)
        self._readings: deque[tuple[float, _Read]] = deque()
        self._collected: list[Sample] = []
        self._collect_due = float("-inf")
        self._of_minute: list[_Read] = []
        self._minute: int | None = None

    def look(self) -> list[str]:
        """Look once; returns the names of the alarms that changed.

        Raises:
            Unavailable: What changed could not be written; the next look tries again.
            Conflict: Another watch wrote it.
        """
        now = self._platform.clock().timestamp()
        if now >= self._collect_due:
            begun = time.monotonic()
            self._collected = collect(self._platform)
            self._collect_due = now + max(_COLLECTED_EVERY_S, _REST * (time.monotonic() - begun))
        families, waiting = self._counted()
        reading = reading_of(families, [*self._collected, *waiting])
        self._readings.append((now, {name: reading[name] for name in self._watched & reading.keys()}))
        while self._readings[0][0] < now - self._longest_s:
            self._readings.popleft()
        changed = self._judge(now)
        self._keep(reading, now)
        return changed

    def _judge(self, now: float) -> list[str]:
        stored = {row.key: row for row in self._platform.records.find(ALARMS)}
        writes, events, changed = [], [], []
        for alarm in self._alarms:
            row = stored.get(alarm.name)
            before = Standing() if row is None else standing_of(row.document)
            value = alarm.question.answer([read for at, read in self._readings if at >= now - alarm.window_s])
            after = before.after(alarm, value, now)
            if row is None or _is_worth_writing(before, after):
                writes.append(Put(ALARMS, alarm.name, asdict(after), expected=0 if row is None else row.revision))
            if after.is_on != before.is_on:
                events.append(_told(alarm, after, now))
                changed.append(alarm.name)
        if writes:
            self._platform.records.commit(Change(writes=writes, events=events))
        for name in changed:
            _LOG.warning("the alarm %s changed", name)
        return changed

    def _keep(self, reading: _Read, now: float) -> None:
        """Gather the readings of a minute, from the last of the one before; keep it when the next one begins."""
        minute = int(now // 60)
        if self._minute is not None and minute != self._minute:
            values = minute_of(self._dashboards, self._of_minute)
            self._platform.records.commit(Change(writes=[put_minute(self._minute, values)]))
            self._of_minute = self._of_minute[-1:]
        self._minute = minute
        self._of_minute.append(reading)


def standing_of(document: Mapping[str, Any]) -> Standing:
    """How an alarm stood when it was written down."""
    return Standing(**document)


def _is_worth_writing(before: Standing, after: Standing) -> bool:
    """Changes; not each new value, which would be a write every few seconds."""
    return (before.is_on, before.wrong_since, before.well_since) != (after.is_on, after.wrong_since, after.well_since)


def _told(alarm: Alarm, standing: Standing, now: float) -> Event:
    at = datetime.fromtimestamp(now, UTC)
    moment = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    value = "nothing" if standing.value is None else f"{standing.value:.4g}"
    asked = alarm.question.statistic
    cause = f"{alarm.id}: {asked} {value} {alarm.unit} - limit {alarm.threshold:g} - at {moment}"
    return AlarmStateChanged(alarm.name, "ALARM" if standing.is_on else "OK", cause).told(at=at)
