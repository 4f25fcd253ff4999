"""The three dashboards: what `contracts/dashboards.json` asks for, and the last 24 hours of it, minute by minute.

The minutes lie in a ring of 1,440 records, so they take the same room after a day and after a year.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from radloop.core.ports import Put, Records
from radloop.core.tables import METRIC_MINUTES
from radloop.monitoring.series import Question, Reading

MINUTES: Final = 24 * 60
MOST_SERIES: Final = 12
"""Series that one drawing shows; of more than that, the greatest."""

_MOST_POINTS = 240
_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Widget:
    """One drawing.

    Attributes:
        id: Line of the brief's dashboards; several drawings may answer one.
        question: What is drawn.
    """

    id: str
    title: str
    unit: str
    question: Question

    @property
    def key(self) -> str:
        """Its name among all drawings."""
        return f"{self.id} {self.question.metric}"


@dataclass(frozen=True, slots=True)
class Dashboard:
    """Drawings that are looked at together."""

    id: str
    title: str
    widgets: tuple[Widget, ...]


def load_dashboards(text: str) -> tuple[Dashboard, ...]:
    """The dashboards written in `text`."""
    return tuple(
        Dashboard(
            each["id"],
            each["title"],
            tuple(Widget(one["id"], one["title"], one["unit"], Question.of(one)) for one in each["widgets"]),
        )
        for each in json.loads(text)["dashboards"]
    )


def minute_of(dashboards: Iterable[Dashboard], readings: Sequence[Reading]) -> dict[str, dict[str, float]]:
    """What the drawings show of one minute, by their keys and series; nothing where nothing is to be shown.

    Args:
        dashboards: All.
        readings: The oldest first, from the end of the minute before to the end of this one.
    """
    found: dict[str, dict[str, float]] = {}
    for widget in (one for each in dashboards for one in each.widgets):
        answers = {name: value for name, value in widget.question.answers(readings).items() if math.isfinite(value)}
        if widget.question.by and widget.question.statistic == "increase":
            answers = {name: value for name, value in answers.items() if value}
        most = sorted(answers, key=lambda name: (-answers[name], name))[:MOST_SERIES]
        if most:
            found[widget.key] = {name: _rounded(answers[name]) for name in sorted(most)}
    return found


def put_minute(minute: int, values: Mapping[str, Mapping[str, float]]) -> Put:
    """The write that keeps a minute, in place of the one a day before.

    Args:
        minute: Whole minutes since 1970.
        values: Of `minute_of`.
    """
    return Put(METRIC_MINUTES, f"{minute % MINUTES:04d}", {"minute": minute, "values": values})


def drawn(dashboards: Iterable[Dashboard], records: Records, *, now_minute: int, hours: int) -> dict[str, Any]:
    """The dashboards with their lines, for people.

    Args:
        dashboards: All.
        records: Where the minutes lie.
        now_minute: Whole minutes since 1970.
        hours: How far back, 24 at most.

    Returns:
        `step_s`, `times` (seconds since 1970, ascending), and `dashboards`: each with `widgets`, each with `series`:
        `name`, and `points`, one for each of `times`, null where nothing is known.
    """
    step = max(1, math.ceil(hours * 60 / _MOST_POINTS))
    first = (now_minute - hours * 60) // step + 1
    places = now_minute // step - first + 1
    rows = [row.document for row in records.find(METRIC_MINUTES)]
    minutes = {int(row["minute"]): row["values"] for row in rows}
    slots: list[list[Mapping[str, Mapping[str, float]]]] = [[] for _ in range(places)]
    for minute in sorted(minutes):
        place = minute // step - first
        if 0 <= place < places:
            slots[place].append(minutes[minute])
    return {
        "step_s": step * 60,
        "times": [(first + place) * step * 60 for place in range(places)],
        "dashboards": [
            {"id": each.id, "title": each.title, "widgets": [_widget(one, slots) for one in each.widgets]}
            for each in dashboards
        ],
    }


def _widget(widget: Widget, slots: Sequence[Sequence[Mapping[str, Mapping[str, float]]]]) -> dict[str, Any]:
    told = [[values[widget.key] for values in slot if widget.key in values] for slot in slots]
    names = sorted({name for slot in told for values in slot for name in values})
    lines = {name: [_joined(widget.question, slot, name) for slot in told] for name in names}
    if len(names) > MOST_SERIES:
        sums = {name: sum(value or 0.0 for value in points) for name, points in lines.items()}
        names = sorted(sorted(names, key=lambda name: (-sums[name], name))[:MOST_SERIES])
    return {
        "id": widget.id,
        "title": widget.title,
        "unit": widget.unit,
        "metric": widget.question.metric,
        "statistic": widget.question.statistic,
        "series": [{"name": name, "points": lines[name]} for name in names],
    }


def _joined(question: Question, slot: Sequence[Mapping[str, float]], name: str) -> float | None:
    """Several minutes as one point: the worst of what is watched for its worst, else the mean of a minute."""
    values = [each[name] for each in slot if name in each]
    if not values:
        return None
    if question.statistic in {"maximum", "p99"}:
        return max(values)
    return _rounded(sum(values) / len(values))


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
