"""What went wrong is written where people and log collectors look."""

import json
import logging

from radloop.core.events import Event
from radloop.core.platform import Platform

_LOG = logging.getLogger("radloop.errors")
_TOLD = (
    "execution",
    "status",
    "reason",
    "alarm",
    "state",
    "cause",
    "model_version",
    "reasons",
    "serving_version",
)  # and nothing else an event may ever come to hold


def handle(event: Event, platform: Platform) -> None:  # noqa: ARG001 — every function has this signature
    """Write one line of JSON for a failed run or an alarm; a repeat writes the same line, with the same event id."""
    line = {
        "event": event.detail_type,
        "id": event.id,
        "time": event.time,
        "trace": event.trace,
        **{name: event.detail[name] for name in _TOLD if name in event.detail},
    }
    _LOG.error(json.dumps(line, sort_keys=True))
