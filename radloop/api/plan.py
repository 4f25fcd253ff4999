"""The change control plan over HTTP: how it stands, what it says of a run, and the signatures under it."""

import re
from typing import Any, Final

from starlette.responses import Response

from radloop.api.operations import Ask, as_json
from radloop.api.shapes import moment
from radloop.core.errors import InvalidInput
from radloop.core.platform import Platform
from radloop.core.ports import AuditEntry, Change, PlanSignature, Reason
from radloop.functions.model_registry import run_of_execution, run_of_model, run_to_come, standing_now
from radloop.registry.plan import violations

_FIELDS: Final = ("plan_sha256", "signer", "role", "signature")
_WORD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_SIGNATURE: Final = re.compile(r"[0-9a-f]{128}")
_LARGEST: Final = 1 << 31


def get_plan(ask: Ask) -> Response:
    """How the plan stands, and where a version or an execution lies outside it."""
    return as_json(plan_of(ask.doors.platform, _asked_about(ask)))


def sign_plan(ask: Ask) -> Response:
    """Keep a signature over the plan; who signed is proven by the signature, who handed it in is noted."""
    if set(ask.body) != set(_FIELDS) or not all(isinstance(value, str) for value in ask.body.values()):
        raise InvalidInput(f"the body must hold {', '.join(_FIELDS)}, and nothing else")
    patterns = dict(zip(_FIELDS, (_SHA256, _WORD, _WORD, _SIGNATURE), strict=True))
    wrong = [name for name, pattern in patterns.items() if not pattern.fullmatch(ask.body[name])]
    if wrong:
        raise InvalidInput(f"{wrong[0]} is not written as one")
    platform = ask.doors.platform
    given = {name: str(ask.body[name]) for name in _FIELDS}
    platform.plans.add(PlanSignature(**given, at=moment(platform.clock())))
    noted = AuditEntry(ask.principal.id, "plan.sign", f"{given['signer']} {given['plan_sha256']}")
    platform.records.commit(Change(audit=[noted]))
    return as_json(plan_of(platform, None))


def plan_of(platform: Platform, found: tuple[Reason, ...] | None) -> dict[str, Any]:
    """The plan as it stands."""
    standing = standing_now(platform)
    text = platform.plans.text()
    return {
        "state": standing.state,
        "sentence": standing.sentence,
        "release": platform.settings.release,
        "sha256": standing.sha256,
        "text": None if text is None else text.decode("utf-8", "replace"),
        "author": None if standing.plan is None else standing.plan.author,
        "valid_from": None if standing.plan is None else str(standing.plan.valid_from),
        "valid_until": None if standing.plan is None else str(standing.plan.valid_until),
        "signatures": [
            {"role": each.role, "by": each.signer, "at": each.at, "holds": each.holds, "why": each.why or None}
            for each in standing.signatures
        ],
        "missing": list(standing.missing),
        "problems": [_reason(each) for each in standing.problems],
        "violations": [_reason(each) for each in found or ()],
        "is_inside": None if found is None else not found and standing.is_valid,
    }


def _asked_about(ask: Ask) -> tuple[Reason, ...] | None:
    """Where the run that the query names lies outside the plan; without one, the next run as far as it is known."""
    platform = ask.doors.platform
    plan = standing_now(platform).plan
    execution = ask.query.get("execution")
    if "version" in ask.query:
        model = platform.models.get(ask.number("version", 0, most=_LARGEST))
        return () if plan is None else violations(plan, run_of_model(model, platform))
    if execution is not None:
        run = run_of_execution(platform.pipelines.get(execution), platform)
        return () if plan is None else violations(plan, run)
    return None if plan is None else violations(plan, run_to_come(plan, platform))


def _reason(reason: Reason) -> dict[str, str]:
    return {"code": reason.code, "sentence": reason.sentence}
