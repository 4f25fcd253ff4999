"""What could not be accepted, over HTTP: looked at, landed after all, or given up for good."""

from typing import Any

from starlette.responses import Response

from radloop.api.doors import Doors
from radloop.api.operations import Ask, as_json
from radloop.core.tables import DEFAULT_DATASTORE
from radloop.store.datastores import Datastores
from radloop.store.quarantine import Entry, Quarantine

_LONGEST_PAGE = 1000


def list_quarantine(ask: Ask) -> Response:
    """What could not be accepted, and why."""
    found = _quarantine(ask.doors).page(
        code=ask.query.get("code") or None,
        after=ask.query.get("after") or None,
        limit=ask.number("limit", 200, least=1, most=_LONGEST_PAGE),
    )
    return as_json([_listed(entry) for entry in found])


def get_entry(ask: Ask) -> Response:
    """One entry, also one that has left."""
    return as_json(_told(_quarantine(ask.doors).get(ask.path["id"])))


def get_file(ask: Ask) -> Response:
    """The bytes as they arrived. They may be anything, so that nobody is to show them."""
    identity = ask.path["id"]
    data = _quarantine(ask.doors).file(identity, by=ask.principal)
    headers = {
        "Content-Disposition": f'attachment; filename="{identity}.bin"',
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
    }
    return Response(data, media_type="application/octet-stream", headers=headers)


def release(ask: Ask) -> Response:
    """Land a file again by the ordinary way."""
    datastore = ask.query.get("datastore") or DEFAULT_DATASTORE
    if datastore != DEFAULT_DATASTORE:
        Datastores(ask.doors.platform.records, ask.doors.platform.clock).active(datastore)
    done = _quarantine(ask.doors).release(ask.path["id"], by=ask.principal, datastore=datastore)
    outcome = "released" if done.landing is None else done.landing.outcome
    return as_json({**_told(done.entry), "outcome": outcome, "same_reason": done.is_same})


def discard(ask: Ask) -> Response:
    """Delete the bytes of an entry for good."""
    return as_json(_told(_quarantine(ask.doors).discard(ask.path["id"], by=ask.principal)))


def _quarantine(doors: Doors) -> Quarantine:
    return Quarantine(doors.platform)


def _listed(entry: Entry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "code": entry.code,
        "sentence": entry.sentence,
        "size_bytes": entry.size_bytes,
        "sha256": entry.sha256,
        "time": entry.time,
    }


def _told(entry: Entry) -> dict[str, Any]:
    return {
        **_listed(entry),
        "state": entry.state,
        "left_at": entry.left_at,
        "left_by": entry.left_by,
        "image_set": entry.image_set,
    }
