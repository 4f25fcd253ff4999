"""Whether something is wrong: the alarms of `contracts/alarms.json` on readings of the metrics. No clock, no store.

An alarm goes on when what it watches is beyond its threshold for `periods` windows. It goes off when that has been on
the good side of `clear` for a while, so that a value that trembles about the threshold is told once.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from radloop.monitoring.series import Question

QUIET_S: Final = 30.0
"""Seconds that all must be well before an alarm goes off."""

_MISSING = ("notBreaching", "breaching", "ignore")


@dataclass(frozen=True, slots=True)
class Alarm:
    """A row of the contract.

    Attributes:
        id: A1 to A8, as the brief has them; O1 is our own.
        question: What is watched.
        comparison: `>` or `<`: the side of the threshold that is wrong.
        clear: What it must come back to before the alarm goes off; the threshold where the contract names none.
        window_s: Seconds of readings that are looked at together.
        periods: For how many windows it must be wrong.
        missing: What readings that tell nothing mean, as CloudWatch spells it.
        severity: critical or warning.
        aws: The alarm of CloudWatch that watches the same.
    """

    id: str
    name: str
    description: str
    question: Question
    comparison: str
    threshold: float
    clear: float
    unit: str
    window_s: float
    periods: int
    missing: str
    severity: str
    aws: Mapping[str, Any] = field(default_factory=dict)

    def is_wrong(self, value: float, limit: float) -> bool:
        """Whether `value` lies beyond `limit`."""
        return value > limit if self.comparison == ">" else value < limit


@dataclass(frozen=True, slots=True)
class Standing:
    """How an alarm stands.

    Attributes:
        since: When it came to stand so, seconds since 1970; 0 for always.
        value: What was measured last; None where nothing was.
        wrong_since: Since when it has been wrong without a break; None where it is not.
        well_since: Since when it has been well without a break, while the alarm is on; None where it is not.
    """

    is_on: bool = False
    since: float = 0.0
    value: float | None = None
    wrong_since: float | None = None
    well_since: float | None = None

    def after(self, alarm: Alarm, value: float | None, now: float) -> "Standing":
        """How it stands once `value` was measured at `now`."""
        if value is None and alarm.missing == "ignore":
            return replace(self, value=None)
        is_wrong = alarm.missing == "breaching" if value is None else alarm.is_wrong(value, alarm.threshold)
        is_well = not is_wrong and (value is None or not alarm.is_wrong(value, alarm.clear))
        seen = replace(
            self,
            value=value,
            wrong_since=_begun(self.wrong_since, now) if is_wrong else None,
            well_since=_begun(self.well_since, now) if is_well and self.is_on else None,
        )
        if not seen.is_on and seen.wrong_since is not None:
            if now - seen.wrong_since >= (alarm.periods - 1) * alarm.window_s:
                return replace(seen, is_on=True, since=now)
        elif seen.is_on and seen.well_since is not None and now - seen.well_since >= QUIET_S:
            return replace(seen, is_on=False, since=now, well_since=None)
        return seen


def load_alarms(text: str) -> tuple[Alarm, ...]:
    """The alarms written in `text`.

    Raises:
        ValueError: One is written in a way that means nothing.
    """
    return tuple(_alarm(entry) for entry in json.loads(text)["alarms"])


def _alarm(entry: Mapping[str, Any]) -> Alarm:
    if entry["comparison"] not in {">", "<"} or entry["missing"] not in _MISSING:
        raise ValueError(f"alarm {entry['id']} compares or misses in a way that does not exist")
    return Alarm(
        id=entry["id"],
        name=entry["name"],
        description=entry["description"],
        question=Question.of(entry),
        comparison=entry["comparison"],
        threshold=float(entry["threshold"]),
        clear=float(entry.get("clear", entry["threshold"])),
        unit=entry["unit"],
        window_s=float(entry["window_s"]),
        periods=int(entry["periods"]),
        missing=entry["missing"],
        severity=entry["severity"],
        aws=entry["aws"],
    )


def _begun(since: float | None, now: float) -> float:
    return now if since is None else since
