"""People are told: an alarm, a run that began or failed, a model that was approved, waits for them or was taken back.

One job an address, so that each is tried until it takes the message and none hears it twice because another did not.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from radloop.core.events import Event
from radloop.core.platform import Platform
from radloop.core.ports import Change, Job
from radloop.monitoring.notices import Notice, address_of, send, target_of

LANE: Final = "notify"
KIND: Final = "notify"


def handle(event: Event, platform: Platform) -> None:
    """Ask for a message to every address of the setting `notify`; a repeat asks for nothing more."""
    notice = notice_of(event, platform.settings.public_url)
    jobs = [
        Job(
            id=f"{event.id}-{KIND}-{target_of(address)}",
            lane=LANE,
            kind=KIND,
            payload={"target": target_of(address), "title": notice.title, "body": notice.body},
            trace=event.trace,
        )
        for address in platform.settings.notify
    ]
    if jobs:
        platform.records.commit(Change(jobs=jobs))


def deliver(payload: Mapping[str, Any], platform: Platform) -> None:
    """Send one message; one to an address that is no longer in the settings is not sent.

    Raises:
        Unavailable: It was not taken.
    """
    address = address_of(str(payload["target"]), platform.settings.notify)
    if address is not None:
        send(Notice(str(payload["title"]), str(payload["body"])), address)


def notice_of(event: Event, public_url: str) -> Notice:
    """What people are told of an event: stable codes and ids of ours, which lead them to the rest."""
    tell = _TOLD.get(event.detail_type)
    title, lines = (event.detail_type, []) if tell is None else tell(event.detail)
    where = [f"{public_url.rstrip('/')}/app/"] if public_url else []
    return Notice(f"radloop: {title}", "\n".join([*lines, f"time {event.time}", f"event {event.id}", *where]))


def _alarm(detail: Mapping[str, Any]) -> tuple[str, list[str]]:
    state = "is on" if detail["state"] == "ALARM" else "is off again"
    return f"alarm {detail['alarm']} {state}", [str(detail["cause"])]


def _begun(detail: Mapping[str, Any]) -> tuple[str, list[str]]:
    return "a run of the pipeline began", [f"execution {detail['execution']}", f"studies {detail['studies']}"]


def _failed(detail: Mapping[str, Any]) -> tuple[str, list[str]]:
    return "a run of the pipeline failed", [f"execution {detail['execution']}", f"reason {detail['reason']}"]


def _approved(detail: Mapping[str, Any]) -> tuple[str, list[str]]:
    return f"model version {detail['model_version']} was approved", [f"execution {detail['execution']}"]


def _held(detail: Mapping[str, Any]) -> tuple[str, list[str]]:
    reasons = ", ".join(map(str, detail["reasons"]))
    return f"model version {detail['model_version']} waits for a person", [f"reasons {reasons}"]


def _rolled_back(detail: Mapping[str, Any]) -> tuple[str, list[str]]:
    lines = [f"version {detail['serving_version']} serves again", f"reason {detail['reason']}"]
    return f"model version {detail['model_version']} was taken back", lines


_TOLD: Mapping[str, Callable[[Mapping[str, Any]], tuple[str, list[str]]]] = {
    "AlarmStateChanged": _alarm,
    "PipelineTriggered": _begun,
    "PipelineEnded": _failed,
    "ModelApproved": _approved,
    "ReleaseHeld": _held,
    "ModelRolledBack": _rolled_back,
}
