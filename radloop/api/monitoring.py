"""Alarms and dashboards over HTTP."""

from datetime import UTC, datetime
from typing import Any

from starlette.responses import Response

from radloop.api.operations import Ask, as_json
from radloop.api.shapes import moment
from radloop.core.errors import Unavailable
from radloop.core.ports import AuditEntry, Change
from radloop.core.tables import ALARMS
from radloop.monitoring.alarms import Alarm, Standing
from radloop.monitoring.dashboards import drawn
from radloop.monitoring.notices import Notice, send, service_of
from radloop.monitoring.watch import standing_of

_LONGEST_H = 24
_TEST = Notice("radloop: this is a test", "Somebody asked whether alarms of this installation reach you. They do.")


def list_alarms(ask: Ask) -> Response:
    """Every alarm, and how it stands."""
    records = ask.doors.platform.records
    rows = {row.key: row for row in records.find(ALARMS)}
    told = [
        _told(alarm, standing_of(rows[alarm.name].document) if alarm.name in rows else None)
        for alarm in ask.doors.monitoring.alarms
    ]
    return as_json({"items": told})


def try_notifications(ask: Ask) -> Response:
    """Send a message to every address of the setting `notify`, now, and tell which took it."""
    platform = ask.doors.platform
    platform.records.commit(Change(audit=[AuditEntry(ask.principal.id, "alarm.test", "notify")]))
    return as_json({"items": [_tried(place, each) for place, each in enumerate(platform.settings.notify, start=1)]})


def get_dashboards(ask: Ask) -> Response:
    """The three dashboards with the lines of the last hours."""
    hours = ask.number("hours", _LONGEST_H, least=1, most=_LONGEST_H)
    platform = ask.doors.platform
    minute = int(platform.clock().timestamp() // 60)
    return as_json(drawn(ask.doors.monitoring.dashboards, platform.records, now_minute=minute, hours=hours))


def _told(alarm: Alarm, standing: Standing | None) -> dict[str, Any]:
    """An alarm; one that nobody has looked at yet stands nowhere."""
    return {
        "id": alarm.id,
        "name": alarm.name,
        "description": alarm.description,
        "severity": alarm.severity,
        "state": None if standing is None else "ALARM" if standing.is_on else "OK",
        "since": moment(datetime.fromtimestamp(standing.since, UTC))
        if standing is not None and standing.since
        else None,
        "value": None if standing is None else standing.value,
        "metric": alarm.question.metric,
        "statistic": alarm.question.statistic,
        "comparison": alarm.comparison,
        "threshold": alarm.threshold,
        "unit": alarm.unit,
    }


def _tried(place: int, address: str) -> dict[str, Any]:
    try:
        send(_TEST, address)
    except Unavailable as error:
        return {"place": place, "service": service_of(address), "sent": False, "error": str(error)}
    return {"place": place, "service": service_of(address), "sent": True, "error": None}
