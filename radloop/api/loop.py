"""The learning loop over HTTP: retraining, executions, events, jobs that were given up on."""

from typing import Any

from starlette.responses import Response

from radloop.api.operations import Ask, as_json
from radloop.api.shapes import event_of, execution_of
from radloop.core.errors import NotFound
from radloop.core.ports import AuditEntry, Change, DeadLetter
from radloop.functions.pipeline_trigger import retraining_status, start_now

_LARGEST = (1 << 63) - 1


def list_executions(ask: Ask) -> Response:
    """Runs of the pipeline, newest first."""
    platform = ask.doors.platform
    found = platform.pipelines.executions(limit=ask.number("limit", 50, least=1, most=500))
    return as_json({"items": [execution_of(execution, platform) for execution in found]})


def start_execution(ask: Ask) -> Response:
    """Retrain now, because a person asked."""
    platform = ask.doors.platform
    execution = start_now(platform, again=ask.query.get("again") == "1")
    platform.records.commit(Change(audit=[AuditEntry(ask.principal.id, "execution.start", execution)]))
    return as_json(execution_of(platform.pipelines.get(execution), platform))


def get_execution(ask: Ask) -> Response:
    """One run of the pipeline."""
    platform = ask.doors.platform
    return as_json(execution_of(platform.pipelines.get(ask.path["id"]), platform))


def get_retraining(ask: Ask) -> Response:
    """Where the loop stands."""
    status = retraining_status(ask.doors.platform)
    missing = {split: dict(classes) for split, classes in status["needed"].items()}
    wanted = sum(sum(classes.values()) for classes in missing.values())
    return as_json({**status, "needed": status["new_since_last"] + wanted, "missing": missing})


def list_events(ask: Ask) -> Response:
    """Events: those behind `after` in the order they happened, or without it the newest first."""
    after = ask.number("after", -1, most=_LARGEST)
    told = ask.doors.platform.bus.events(
        after=max(0, after), limit=ask.number("limit", 100, least=1, most=1000), newest_first=after < 0
    )
    return as_json({"items": [event_of(one) for one in told]})


def replay_event(ask: Ask) -> Response:
    """Deliver an event once more to all who wait for its kind."""
    deliveries = ask.doors.platform.bus.replay(ask.path["id"])
    _note(ask, "event.replay")
    return as_json({"deliveries": deliveries})


def list_dead_letters(ask: Ask) -> Response:
    """Jobs that were given up on."""
    letters = ask.doors.platform.jobs.dead_letters()
    return as_json({"items": [_letter(letter) for letter in letters]})


def get_dead_letter(ask: Ask) -> Response:
    """One job that was given up on, with what it was to be done with: ids of ours."""
    found = next((one for one in ask.doors.platform.jobs.dead_letters() if one.job.id == ask.path["id"]), None)
    if found is None:
        raise NotFound(f"no dead letter {ask.path['id']}")
    return as_json({**_letter(found), "payload": found.job.payload})


def discard_dead_letter(ask: Ask) -> Response:
    """Forget a dead letter: it will not be done any more."""
    ask.doors.platform.jobs.discard(ask.path["id"])
    _note(ask, "job.discard")
    return as_json({"id": ask.path["id"], "discarded": True})


def replay_job(ask: Ask) -> Response:
    """Try a dead letter again from the start."""
    ask.doors.platform.jobs.replay(ask.path["id"])
    _note(ask, "job.replay")
    return as_json({"deliveries": 1})


def _letter(letter: DeadLetter) -> dict[str, Any]:
    return {
        "id": letter.job.id,
        "lane": letter.job.lane,
        "kind": letter.job.kind,
        "tries": letter.tries,
        "error": letter.error,
        "trace": letter.job.trace,
    }


def _note(ask: Ask, action: str) -> None:
    audit = AuditEntry(ask.principal.id, action, ask.path["id"])
    ask.doors.platform.records.commit(Change(audit=[audit]))
