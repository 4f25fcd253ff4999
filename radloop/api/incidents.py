"""Incidents over HTTP: what happened, who is kept out, report, evidence, clocks."""

from typing import Any

from starlette.responses import Response

from radloop.api.operations import Ask, as_json
from radloop.core.errors import Denied, InvalidInput, Unavailable
from radloop.core.platform import Platform
from radloop.core.ports import AuditEntry
from radloop.functions import incidents
from radloop.functions.incident_evidence import evidence_of
from radloop.functions.incident_report import incident_told, report_of
from radloop.security.identities import Identities
from radloop.security.incidents import Incident
from radloop.security.isolation import may_be_isolated

_LONGEST = 256


def list_incidents(ask: Ask) -> Response:
    """All incidents, newest first, and who is kept out."""
    platform = _platform(ask)
    found = [incident_told(each) for each in incidents.incidents(platform)]
    return as_json({"items": found, "isolated": incidents.isolated(platform)})


def get_incident(ask: Ask) -> Response:
    """One incident."""
    return _told(incidents.incident(ask.path["id"], _platform(ask)))


def open_incident(ask: Ask) -> Response:
    """A person says that something has happened."""
    is_drill = ask.body.get("drill", False)
    if not set(ask.body) <= {"principal", "since", "drill"} or not isinstance(is_drill, bool):
        raise InvalidInput("only principal, since and drill are known here; drill is true or false")
    made = incidents.open_by_hand(
        _platform(ask),
        by=ask.principal.id,
        principal=_text(ask, "principal"),
        since=_text(ask, "since"),
        is_drill=is_drill,
    )
    return _told(made)


def isolate(ask: Ask) -> Response:
    """Keep somebody out until they are let in again; the incident that it belongs to."""
    who = _text(ask, "principal")
    if who is None or set(ask.body) != {"principal"}:
        raise InvalidInput("principal is needed here, and nothing else")
    platform, identities = _platform(ask), _identities(ask)
    if may_be_isolated(who):
        identities.require_account(who)
    made = incidents.isolate(who, platform, by=ask.principal.id)
    identities.shut_out(who)
    return _told(made)


def release(ask: Ask) -> Response:
    """Let somebody in again."""
    who, platform, identities = ask.path["id"], _platform(ask), _identities(ask)
    was = incidents.release(who, platform, by=ask.principal.id)
    also = identities.let_in(who)  # after it, so that no request shuts them out again; asking again does what is left
    return as_json({"principal": who, "released": was or also})


def tell(ask: Ask) -> Response:
    """Those have been told for whom a clock runs."""
    return _told(incidents.tell(ask.path["id"], _text(ask, "clock") or "", _platform(ask), by=ask.principal.id))


def close(ask: Ask) -> Response:
    """Nothing more is to be done."""
    outcome = _text(ask, "outcome") or ""
    return _told(incidents.close(ask.path["id"], outcome, _platform(ask), by=ask.principal.id))


def get_report(ask: Ask) -> Response:
    """What is known of an incident."""
    platform = _platform(ask)
    found = report_of(ask.path["id"], platform, since=ask.query.get("since"))
    platform.audit.record(AuditEntry(ask.principal.id, "incident.report", ask.path["id"]))
    return as_json(found)


def get_evidence(ask: Ask) -> Response:
    """The report and the audit of that time, as one signed archive."""
    platform, identity = _platform(ask), ask.path["id"]
    data = evidence_of(identity, platform, since=ask.query.get("since"))
    platform.audit.record(AuditEntry(ask.principal.id, "incident.evidence", identity))
    headers = {"Content-Disposition": f'attachment; filename="incident-{identity}.zip"'}
    return Response(data, media_type="application/zip", headers=headers)


def _platform(ask: Ask) -> Platform:
    """The ports, for who may know of all patients: an incident tells of any.

    Raises:
        Denied: The caller is limited to some patients.
    """
    if ask.principal.patients is not None:
        raise Denied("who is limited to some patients may not see or manage incidents")
    return ask.doors.platform


def _identities(ask: Ask) -> Identities:
    if ask.doors.identities is None:
        raise Unavailable("there are no users and credentials here")
    return ask.doors.identities


def _told(incident: Incident) -> Response:
    return as_json(incident_told(incident))


def _text(ask: Ask, name: str) -> str | None:
    value: Any = ask.body.get(name)
    if value is not None and not (isinstance(value, str) and 0 < len(value) <= _LONGEST):
        raise InvalidInput(f"{name} must be text of at most {_LONGEST} characters")
    return value
