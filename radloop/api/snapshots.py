"""Data set snapshots over HTTP, and test patients who are retired for good."""

from dataclasses import asdict
from typing import Any, Final

from starlette.responses import Response

from radloop.api.operations import Ask, as_json
from radloop.core.errors import InvalidInput
from radloop.core.platform import Platform
from radloop.functions import snapshots
from radloop.functions.retired import retire
from radloop.functions.snapshots import Snapshot

_LATEST: Final = 500
_MOST_AT_ONCE: Final = 1000


def list_snapshots(ask: Ask) -> Response:
    """Snapshots, those that were trained on last first."""
    platform = ask.doors.platform
    users = _users(platform)
    order = {name: place for place, name in enumerate(users)}
    names = sorted(snapshots.kept(platform), key=lambda name: (order.get(name, len(order)), name))
    limit = ask.number("limit", 50, least=1, most=_LATEST)
    return as_json({"items": [_listed(name, users.get(name, []), platform) for name in names[:limit]]})


def get_snapshot(ask: Ask) -> Response:
    """One snapshot, and how it differs from another one where `against` names it."""
    platform = ask.doors.platform
    snapshot = snapshots.read(ask.path["id"], platform)
    told = {**_told(snapshot), "executions": _users(platform).get(snapshot.sha256, [])}
    against = ask.query.get("against")
    if against is not None:
        change = snapshots.difference(snapshots.read(against, platform), snapshot)
        told["difference"] = {"against": against, **{name: list(each) for name, each in asdict(change).items()}}
    return as_json(told)


def retire_patients(ask: Ask) -> Response:
    """Never use the patients of these image sets again: neither for testing nor for anything else."""
    image_sets, reason = ask.body.get("image_sets"), ask.body.get("reason")
    if set(ask.body) != {"image_sets", "reason"} or not isinstance(reason, str):
        raise InvalidInput("the body must hold image_sets, a list of ids, and reason, and nothing else")
    if not isinstance(image_sets, list) or not all(isinstance(each, str) for each in image_sets):
        raise InvalidInput("image_sets must be a list of ids")
    if len(image_sets) > _MOST_AT_ONCE:
        raise InvalidInput(f"at most {_MOST_AT_ONCE} image sets can be named at once")
    return as_json(asdict(retire(image_sets, reason, ask.doors.platform, by=ask.principal)))


def _users(platform: Platform) -> dict[str, list[str]]:
    """Executions by the snapshot they ran on, newest first."""
    found: dict[str, list[str]] = {}
    for execution in platform.pipelines.executions(limit=_LATEST):
        name = execution.parameters.get("Snapshot")
        if name is not None:
            found.setdefault(str(name), []).append(execution.id)
    return found


def _listed(name: str, executions: list[str], platform: Platform) -> dict[str, Any]:
    facts = snapshots.facts_of(name, platform)
    return {
        "sha256": name,
        "image_sets": sum(sum(classes.values()) for classes in facts["counts"].values()),
        "counts": facts["counts"],
        "excluded": facts.get("excluded", {}),
        "executions": executions,
    }


def _told(snapshot: Snapshot) -> dict[str, Any]:
    facts = snapshot.facts
    return {
        "sha256": snapshot.sha256,
        "image_sets": len(snapshot.examples),
        "studies": snapshot.studies,
        "counts": facts["counts"],
        "patients": facts.get("patients", {}),
        "exclusions": facts.get("exclusions", []),
        "excluded": facts.get("excluded", {}),
        "policy": facts.get("policy", {}),
        "readers": facts.get("readers", {}),
        "retired_patients": len(facts.get("retired_patients", [])),
        "licences": facts.get("licences", {}),
    }
