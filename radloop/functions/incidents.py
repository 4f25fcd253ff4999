"""Incidents: noticed by themselves or opened by a person, somebody kept out, both clocks watched, closed by a person.

Each step is one change: the incident, who is kept out, the event that tells people, and the audit. A step that was
made already makes nothing, so that two who look at the same time, or one who looks again after a crash, do it once.
"""

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from radloop.core.errors import Conflict, InvalidInput, NotFound
from radloop.core.events import AlarmStateChanged, Event
from radloop.core.identity import SYSTEM, derived_id, new_id
from radloop.core.platform import Platform
from radloop.core.ports import AuditEntry, Change, Delete, Put, Records
from radloop.core.tables import IMAGE_SETS, INCIDENTS, ISOLATIONS
from radloop.security.bulk_reading import WINDOW, Bulk, BulkReading
from radloop.security.incidents import (
    BY_HAND,
    MANY_PATIENTS,
    Deadline,
    Incident,
    Which,
    incident_of,
    put_incident,
)
from radloop.security.isolation import (
    is_isolated,
    is_last_administrator,
    isolating,
    may_be_isolated,
    releasing,
)

_OPEN, _ISOLATE, _RELEASE = "incident.open", "principal.isolate", "principal.release"
_LOG = logging.getLogger("radloop.monitoring")


class IncidentWatch:
    """Looks now and then who reads of many patients, and whether a clock runs out.

    Args:
        platform: The ports.
    """

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._reading = BulkReading(
            platform.audit,
            lambda image_set: patient_of(platform.records, image_set) or image_set,
            platform.clock,
            excepted={SYSTEM.id, *platform.settings.bulk_readers},
        )

    def look(self) -> list[str]:
        """Look once; returns the incidents that were opened, went further, or of which people were reminded."""
        settings = self._platform.settings
        changed = []
        if settings.incident_patients:
            highest = max(settings.incident_patients, settings.isolate_patients)
            for each in self._reading.look(above=settings.incident_patients, at_most=highest):
                with suppress(Conflict):  # another watch was faster
                    changed += self._found(each)
        for incident in open_incidents(self._platform):
            with suppress(Conflict):
                changed += self._remind(incident)
        return changed

    def _found(self, bulk: Bulk) -> list[str]:
        platform, now = self._platform, self._platform.clock()
        of_them = [incident_of(row) for row in platform.records.find(INCIDENTS, {"principal": bulk.principal})]
        judged = _judged(of_them)
        if judged is not None:
            highest = max(platform.settings.incident_patients, platform.settings.isolate_patients)
            bulk = self._reading.after(judged, bulk.principal, at_most=highest)
            if bulk.patients <= platform.settings.incident_patients:
                return []
        open_ones = (each for each in of_them if each.is_open and each.released_at is None)
        incident = next((each for each in open_ones if each.kind == MANY_PATIENTS), None)
        is_new = incident is None
        if incident is None:
            begun = now - WINDOW if judged is None else max(judged, now - WINDOW)
            incident = replace(
                _begun(platform, MANY_PATIENTS, bulk.principal, begun, by=SYSTEM.id),
                id=derived_id("incident", bulk.principal, str(len(of_them))),
                patients=bulk.patients,
                image_sets=bulk.image_sets,
                limit=platform.settings.incident_patients,
            )
        if not self._is_to_be_isolated(bulk, incident):
            if not is_new:
                return []
            _commit(platform, incident, events=[_alarm(incident, now)], by=SYSTEM.id, done=[_OPEN])
            return [incident.id]
        keeping_out = isolating(
            platform.records, bulk.principal, incident=incident.id, by=SYSTEM.id, at=now.isoformat()
        )
        incident = replace(
            incident,
            patients=max(bulk.patients, incident.patients),
            image_sets=max(bulk.image_sets, incident.image_sets),
            isolated_at=now.isoformat(),
        )
        done = [_OPEN] if is_new else []
        _commit(platform, incident, keeping_out, events=[_alarm(incident, now)], by=SYSTEM.id, done=[*done, _ISOLATE])
        return [incident.id]

    def _is_to_be_isolated(self, bulk: Bulk, incident: Incident) -> bool:
        """Above the higher limit; never twice for one incident, nor the last who could let others in."""
        highest = self._platform.settings.isolate_patients
        return (
            0 < highest < bulk.patients
            and incident.isolated_at is None
            and may_be_isolated(bulk.principal)
            and not is_last_administrator(self._platform.records, bulk.principal)
        )

    def _remind(self, incident: Incident) -> list[str]:
        now = self._platform.clock()
        due = [(name, clock.due(now)) for name, clock in incident.clocks.items()]
        stages = [(name, stage) for name, stage in due if stage]
        if not stages:
            return []
        events = []
        for name, stage in stages:
            incident = incident.reminded(name, stage)
            ends = _short(incident.clocks[name].ends_at)
            words = f"is over since {ends}" if stage == "over" else f"ends {ends}"
            events.append(_event(f"incident-clock-{name}", "ALARM", f"incident {incident.id} - {name} {words}", now))
        _commit(self._platform, incident, events=events, by=SYSTEM.id)
        return [incident.id]


def patient_of(records: Records, image_set: str) -> str | None:
    """PatientID of an image set; None where it is not there any more."""
    row = records.get(IMAGE_SETS, image_set, columns=("patient_id",))
    return None if row is None else str(row.columns["patient_id"])


def incidents(platform: Platform) -> list[Incident]:
    """All of them, newest first."""
    return [incident_of(row) for row in platform.records.find(INCIDENTS, newest_first=True)]


def open_incidents(platform: Platform) -> list[Incident]:
    """Those that nobody has closed, oldest first."""
    return [incident_of(row) for row in platform.records.find(INCIDENTS, {"state": "open"})]


def incident(identity: str, platform: Platform) -> Incident:
    """One incident.

    Raises:
        NotFound: There is none of this id.
    """
    row = platform.records.get(INCIDENTS, identity)
    if row is None:
        raise NotFound(f"no incident {identity}")
    return incident_of(row)


def open_by_hand(
    platform: Platform, *, by: str, principal: str | None = None, since: str | None = None, is_drill: bool = False
) -> Incident:
    """A person says that something has happened; both clocks begin to run.

    Args:
        platform: The ports.
        by: Who says it.
        principal: Who is suspected; None where nobody knows.
        since: From when on what was read belongs to it, ISO 8601 with a time zone; a day ago unless told.
        is_drill: Whether it only exercises what would be done.

    Raises:
        InvalidInput: `since` is no such moment, or lies ahead.
    """
    now = platform.clock()
    made = _begun(platform, BY_HAND, principal, moment_of(since, now) or now - timedelta(days=1), by=by)
    made = replace(made, is_drill=is_drill)
    _commit(platform, made, events=[_alarm(made, now)], by=by, done=[_OPEN])
    return incident(made.id, platform)


def isolate(principal: str, platform: Platform, *, by: str) -> Incident:
    """Keep somebody out, end their sign-ins, and open an incident where none of theirs is open; twice is once.

    Raises:
        Conflict: It is the caller, or somebody who has no account here.
    """
    if principal == by:
        raise Conflict("nobody isolates themself; another administrator does")
    if not may_be_isolated(principal):
        raise Conflict(f"{principal} has no account: stop the server, or take the peer out of the setting peers")
    now = platform.clock()
    of_them = [each for each in open_incidents(platform) if each.principal == principal and not each.is_drill]
    found = of_them[-1] if of_them else _begun(platform, BY_HAND, principal, now - timedelta(days=1), by=by)
    keeping_out = isolating(platform.records, principal, incident=found.id, by=by, at=now.isoformat())
    if not keeping_out and of_them:
        return found
    after = replace(found, isolated_at=now.isoformat(), released_at=None)
    done = [] if of_them else [_OPEN]
    _commit(platform, after, keeping_out, events=[_alarm(after, now)], by=by, done=[*done, _ISOLATE])
    return incident(after.id, platform)


def release(principal: str, platform: Platform, *, by: str) -> bool:
    """Let somebody in again; tells whether they were kept out. The watch counts what they read from now on anew.

    Raises:
        Conflict: It is the principal who asks.
    """
    if not is_isolated(platform.records, principal):
        return False
    if principal == by:
        raise Conflict("nobody lets themself in; another administrator does")
    now = platform.clock().isoformat()
    of_them = [incident_of(row) for row in platform.records.find(INCIDENTS, {"principal": principal})]
    theirs = [each for each in of_them if each.isolated_at and each.released_at is None]
    puts = [put_incident(replace(each, released_at=now)) for each in theirs]
    audit = [AuditEntry(by, _RELEASE, principal), *(AuditEntry(by, _RELEASE, each.id) for each in theirs)]
    platform.records.commit(Change(writes=[*releasing(platform.records, principal), *puts], audit=audit))
    return True


def isolated(platform: Platform) -> list[dict[str, str]]:
    """Who is kept out, since when, by whom and for which incident."""
    found = platform.records.find(ISOLATIONS)
    return [{"principal": row.key, **row.document} for row in found if "incident" in row.document]


def tell(identity: str, which: str, platform: Platform, *, by: str) -> Incident:
    """Those have been told for whom a clock runs.

    Raises:
        NotFound: There is no such incident.
        InvalidInput: There is no such clock.
        Conflict: It is the principal who says so.
    """
    found, now = incident(identity, platform), platform.clock()
    after = found.told(which, by=by, at=now)
    if after != found:
        events = []
        if found.clocks[which].reminded:
            events = [_event(f"incident-clock-{which}", "OK", f"incident {identity} - told {_short(now)}", now)]
        _commit(platform, after, events=events, by=by, done=[f"incident.told.{which}"])
    return incident(identity, platform)


def close(identity: str, outcome: str, platform: Platform, *, by: str) -> Incident:
    """Nothing more is to be done.

    Raises:
        NotFound: There is no such incident.
        InvalidInput: There is no such outcome.
        Conflict: It is closed, or somebody has not been told who must be, or it is the principal who says so.
    """
    now = platform.clock()
    after = incident(identity, platform).closed(outcome, by=by, at=now)
    event = _event(_name(after), "OK", f"incident {identity} - {outcome} {_short(now)}", now)
    _commit(platform, after, events=[event], by=by, done=["incident.close"])
    return incident(identity, platform)


def moment_of(text: str | None, now: datetime) -> datetime | None:
    """A moment that somebody typed; None for none.

    Raises:
        InvalidInput: It is none with a time zone, or lies ahead.
    """
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
        is_past = found <= now
    except (ValueError, TypeError):
        raise InvalidInput("since is a moment with its time zone, such as 2026-01-05T09:00+00:00") from None
    if not is_past:
        raise InvalidInput("since lies ahead")
    return found.astimezone(UTC)


def _judged(of_them: Sequence[Incident]) -> datetime | None:
    """When a person last let somebody in again, or closed what the watch had found of them; None for never."""
    moments = [each.released_at for each in of_them]
    moments += [each.closed_at for each in of_them if each.kind == MANY_PATIENTS]
    return max((_moment(each) for each in moments if each is not None), default=None)


def _begun(platform: Platform, kind: str, principal: str | None, since: datetime, *, by: str) -> Incident:
    now, settings = platform.clock(), platform.settings
    lasting = {
        Which.INTERNAL: timedelta(hours=settings.incident_hours),
        Which.LEGAL: timedelta(days=settings.incident_days),
    }
    clocks = {str(name): Deadline.running(now, lasts) for name, lasts in lasting.items()}
    return Incident(new_id(), kind, principal, since.isoformat(), now.isoformat(), by, clocks)


def _commit(
    platform: Platform,
    after: Incident,
    writes: Sequence[Put | Delete] = (),
    *,
    events: Sequence[Event],
    by: str,
    done: Sequence[str] = (),
) -> None:
    """Write an incident with what belongs to its step; who is kept out is audited under both ids."""
    audit = [AuditEntry(by, action, after.id) for action in done]
    if _ISOLATE in done and after.principal is not None:
        audit.append(AuditEntry(by, _ISOLATE, after.principal))
    platform.records.commit(Change(writes=[put_incident(after), *writes], events=events, audit=audit))
    for event in events:
        _LOG.warning("%s: incident %s", event.detail["alarm"], after.id)


def _alarm(told: Incident, now: datetime) -> Event:
    """People hear of an incident, by when whom they must tell, and whether somebody was kept out."""
    counted = f" - {told.patients} patients or more in 300 s" if told.patients else ""
    out = " - isolated" if told.isolated_at else ""
    clocks = " - ".join(f"{name} until {_short(clock.ends_at)}" for name, clock in told.clocks.items())
    return _event(_name(told), "ALARM", f"incident {told.id}{counted}{out} - {clocks}", now)


def _name(told: Incident) -> str:
    return "incident-drill" if told.is_drill else f"incident-{told.kind}"


def _event(alarm: str, state: str, cause: str, now: datetime) -> Event:
    return AlarmStateChanged(alarm, state, cause).told(at=now)


def _short(at: str | datetime) -> str:
    found = _moment(at) if isinstance(at, str) else at
    return found.astimezone(UTC).strftime("%Y-%m-%dT%H:%MZ")


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
