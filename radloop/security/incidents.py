"""An incident: what was noticed, who was kept out, by when whom it must be told, and what became of it.

It holds ids, counts and times and no free text, so that it can be told to anybody who has to know.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from radloop.core.errors import Conflict, InvalidInput
from radloop.core.identity import OWNER
from radloop.core.ports import Put, Row
from radloop.core.tables import INCIDENTS

MANY_PATIENTS: Final = "many-patients"
BY_HAND: Final = "by-hand"

OUTCOMES: Final = ("handled", "false-alarm")

_NEARLY: Final = 0.75


class Which(StrEnum):
    """The two clocks of an incident."""

    INTERNAL = "internal"
    LEGAL = "legal"


@dataclass(frozen=True, slots=True)
class Deadline:
    """One clock: it runs until somebody says that those have been told who must be.

    Attributes:
        ends_at: When they must have been told at the latest, ISO 8601.
        reminder_at: When people are reminded of it.
        reminded: How far people were reminded: nothing, `soon` or `over`.
        told_at: When it was stopped; None while it runs.
        told_by: Who stopped it.
    """

    ends_at: str
    reminder_at: str
    reminded: str = ""
    told_at: str | None = None
    told_by: str | None = None

    @classmethod
    def running(cls, begun: datetime, lasts: timedelta) -> "Deadline":
        """One that runs from now on."""
        return cls((begun + lasts).isoformat(), (begun + _NEARLY * lasts).isoformat())

    def due(self, now: datetime) -> str:
        """Of what people are to be reminded now: `over`, `soon`, or nothing."""
        if self.told_at is not None:
            return ""
        stage = "over" if now >= _moment(self.ends_at) else "soon" if now >= _moment(self.reminder_at) else ""
        return "" if self.reminded in {stage, "over"} else stage


@dataclass(frozen=True, slots=True)
class Incident:
    """What is known of one incident.

    Attributes:
        kind: `many-patients`, or `by-hand` where a person opened it.
        principal: Who read, or is suspected; None where nobody knows.
        since: From when on what was read belongs to it, ISO 8601.
        patients: How many different ones were counted when it was noticed, at least.
        limit: How many were allowed; 0 where a person opened it.
        is_drill: Whether it only exercises what would be done.
        isolated_at: When the principal was kept out; None where that never happened.
        clocks: By name.
        outcome: One of `OUTCOMES` once it is closed.
        revision: Of the record.
    """

    id: str
    kind: str
    principal: str | None
    since: str
    opened_at: str
    opened_by: str
    clocks: Mapping[str, Deadline]
    patients: int = 0
    image_sets: int = 0
    limit: int = 0
    is_drill: bool = False
    isolated_at: str | None = None
    released_at: str | None = None
    closed_at: str | None = None
    closed_by: str | None = None
    outcome: str | None = None
    revision: int = 0

    @property
    def is_open(self) -> bool:
        """Whether nobody has closed it yet."""
        return self.closed_at is None

    @property
    def until(self) -> str | None:
        """When what was read stopped belonging to it; None where that goes on."""
        is_out = self.isolated_at is not None and self.released_at is None
        return self.isolated_at if is_out else self.closed_at

    def told(self, which: str, *, by: str, at: datetime) -> "Incident":
        """Those have been told for whom this clock runs; saying it twice is saying it once.

        Raises:
            InvalidInput: There is no such clock.
            Conflict: It is the principal who says so.
        """
        self._require_another(by)
        if which not in self.clocks:
            raise InvalidInput(f"the clocks are {' and '.join(self.clocks)}")
        clock = self.clocks[which]
        if clock.told_at is not None:
            return self
        return replace(self, clocks={**self.clocks, which: replace(clock, told_at=at.isoformat(), told_by=by)})

    def reminded(self, which: str, stage: str) -> "Incident":
        """People were reminded of a clock."""
        return replace(self, clocks={**self.clocks, which: replace(self.clocks[which], reminded=stage)})

    def closed(self, outcome: str, *, by: str, at: datetime) -> "Incident":
        """Nothing more is to be done.

        Raises:
            InvalidInput: There is no such outcome.
            Conflict: It is closed, or was real, and somebody has not been told who must be; or it is the principal who
                says so.
        """
        self._require_another(by)
        if outcome not in OUTCOMES:
            raise InvalidInput(f"an incident ends as {' or '.join(OUTCOMES)}")
        if not self.is_open:
            raise Conflict(f"incident {self.id} is closed")
        running = [name for name, clock in self.clocks.items() if clock.told_at is None]
        if outcome != "false-alarm" and not self.is_drill and running:
            raise Conflict(f"these clocks still run: {', '.join(running)}")
        return replace(self, closed_at=at.isoformat(), closed_by=by, outcome=outcome)

    def _require_another(self, by: str) -> None:
        """Nobody judges what they did themself; but the owner of a home holds its files, and may be alone."""
        if by == self.principal != OWNER.id:
            raise Conflict("nobody judges an incident of their own; another administrator does")


def put_incident(incident: Incident) -> Put:
    """The write that keeps an incident; it stands at the revision it was read at, or there is none."""
    document = asdict(incident)
    del document["revision"]
    columns: dict[str, str | int | float | None] = {
        "state": "open" if incident.is_open else "closed",
        "principal": incident.principal,
    }
    return Put(INCIDENTS, incident.id, document, columns, expected=incident.revision)


def incident_of(row: Row) -> Incident:
    """The incident that a record holds."""
    document = dict(row.document)
    document["clocks"] = {name: Deadline(**clock) for name, clock in document["clocks"].items()}
    return Incident(**document, revision=row.revision)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
