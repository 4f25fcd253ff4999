"""Model versions over HTTP: what there is, who decided about it, what served when, and the evidence."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from starlette.responses import Response

from radloop.api.operations import Ask, as_json
from radloop.api.shapes import figures, moment
from radloop.core.errors import InvalidInput, Unavailable
from radloop.core.ports import AuditEntry, Change, ModelVersion, Reason, Serving
from radloop.functions import model_registry
from radloop.functions.evidence import evidence_bundle
from radloop.registry.ledger import APPROVE_REASONS, REJECT_REASONS, ROLLBACK_REASONS
from radloop.registry.signatures import fingerprint, public_pem

_DAY_LENGTH: Final = len("2026-11-23")


def list_models(ask: Ask) -> Response:
    """Model versions, newest first."""
    return as_json({"items": [model_of(model) for model in ask.doors.platform.models.versions()]})


def get_model(ask: Ask) -> Response:
    """One model version."""
    return as_json(model_of(ask.doors.platform.models.get(ask.path["version"])))


def decide_on_model(ask: Ask) -> Response:
    """A person approves or rejects a model version."""
    approved, reason = ask.body.get("approved"), ask.body.get("reason")
    if not {"approved"} <= ask.body.keys() <= {"approved", "reason"} or not isinstance(approved, bool):
        raise InvalidInput("the body must hold approved, true or false, may hold reason, and nothing else")
    if reason is not None and not isinstance(reason, str):
        raise InvalidInput("the reason is a code")
    platform, version = ask.doors.platform, ask.path["version"]
    after = model_registry.decide(version, platform, approved=approved, by=ask.principal, reason=reason)
    return as_json(model_of(after.model, notice=after.notice))


def roll_back_model(ask: Ask) -> Response:
    """A person takes the champion back."""
    reason, to, expected = ask.body.get("reason"), ask.body.get("to"), ask.body.get("from")
    if not isinstance(reason, str) or not ask.body.keys() <= {"reason", "to", "from"}:
        raise InvalidInput("the body must hold reason, may hold to and from, and nothing else")
    for number in (to, expected):
        if number is not None and (isinstance(number, bool) or not isinstance(number, int) or number < 1):
            raise InvalidInput("to and from are numbers of model versions")
    serving = model_registry.roll_back(
        ask.doors.platform, by=ask.principal, reason=reason, to=to, expected=expected
    )  # fmt: skip
    return as_json(model_of(serving))


def list_reasons(ask: Ask) -> Response:  # noqa: ARG001 — every operation has this signature
    """The codes of why a version was approved, rejected or taken back."""
    kinds = {"approve": APPROVE_REASONS, "reject": REJECT_REASONS, "rollback": ROLLBACK_REASONS}
    return as_json({name: [_reason(Reason(*each)) for each in codes.items()] for name, codes in kinds.items()})


def get_serving(ask: Ask) -> Response:
    """What served at a moment, or on a day."""
    platform = ask.doors.platform
    begin, end = span_of(ask.query.get("at"), platform.clock())
    stretches = platform.models.servings()
    met = [each for each in stretches if each.since < end and (each.until is None or each.until > begin)]
    last = platform.models.serving_on(end - timedelta(microseconds=1))
    told = _nothing() if last is None else serving_of(last)
    return as_json({"at": moment(begin), **told, "items": [serving_of(each) for each in met]})


def get_ledger(ask: Ask) -> Response:
    """The model ledger, and whether its chain holds."""
    models = ask.doors.platform.models
    verdict = models.verify()
    kept = {each.subject for each in ask.doors.platform.audit.entries(where={"action": "ledger"}, limit=1)}
    entries = models.ledger()
    is_cut = bool(kept) and kept != {verdict.head}
    return as_json(
        {
            "whole": verdict.broken_at is None and not is_cut,
            "entries": verdict.entries,
            "head": verdict.head,
            "broken_at": verdict.broken_at,
            "ends_as_audited": not is_cut,
            "items": [dict(each) for each in reversed(entries[-ask.number("limit", 200, least=1, most=1000) :])],
        }
    )


def get_evidence(ask: Ask) -> Response:
    """The evidence of a version, as one signed archive."""
    version = ask.path["version"]
    package = ask.query.get("package", "0")
    if package not in {"0", "1"}:
        raise InvalidInput("package is 0 or 1")
    platform = ask.doors.platform
    data = evidence_bundle(version, platform, with_package=package == "1")
    platform.records.commit(Change(audit=[AuditEntry(ask.principal.id, "evidence.export", f"model-{version}")]))
    headers = {"Content-Disposition": f'attachment; filename="model-{version}-evidence.zip"'}
    return Response(data, media_type="application/zip", headers=headers)


def get_evidence_key(ask: Ask) -> Response:
    """The public key that evidence of this installation is checked with."""
    signer = ask.doors.platform.signer
    if signer is None:
        raise Unavailable("this installation has no key to sign evidence with")
    key = signer.public_key
    return as_json({"public_key": key, "fingerprint": fingerprint(key), "pem": public_pem(key).decode()})


# As it is told


def model_of(model: ModelVersion, *, notice: str | None = None) -> dict[str, Any]:
    """A model version."""
    return {
        "version": model.version,
        "status": model.status,
        "aliases": list(model.aliases),
        "metrics": figures(model.metrics),
        "created_at": model.created_at,
        "approved_at": model.decided_at if model.status == "Approved" else None,
        "decided_at": model.decided_at,
        "decided_by": model.decided_by,
        "reason": model.reason,
        "approvals": list(model.approvals),
        "held": [_reason(each) for each in model.held],
        "rolled_back_at": model.rolled_back_at,
        "rolled_back_by": model.rolled_back_by,
        "lineage": {name: None if value is None else str(value) for name, value in model.lineage.items()},
        "notice": notice,
    }


def serving_of(serving: Serving) -> dict[str, Any]:
    """A stretch of time in which a version served."""
    return {
        "version": serving.version,
        "since": moment(serving.since),
        "until": None if serving.until is None else moment(serving.until),
        "moved_by": serving.moved_by,
        "rollback_reason": serving.rollback_reason,
        "approved_by": list(serving.approved_by),
        "approved_at": None if serving.approved_at is None else moment(serving.approved_at),
        "reason": serving.reason,
        "evidence": dict(serving.evidence),
    }


def span_of(text: str | None, now: datetime) -> tuple[datetime, datetime]:
    """What `at` asks about: a moment as the shortest span that begins there, a day of UTC, or now.

    Raises:
        InvalidInput: It is neither, has no time zone, or lies in the future.
    """
    if text is None:
        return now, now + timedelta(microseconds=1)
    try:
        # a query writes + as a blank unless it is escaped
        at = datetime.fromisoformat(text.strip().replace(" ", "+") if "T" in text else text)
        is_day = len(text) == _DAY_LENGTH
        at = at.replace(tzinfo=UTC) if is_day else at
        begin = at.astimezone(UTC) if at.tzinfo is not None else None
    except (ValueError, OverflowError):
        raise InvalidInput("at is a moment such as 2026-11-23T10:00:00Z, or a day such as 2026-11-23") from None
    if begin is None:
        raise InvalidInput("at needs a time zone: Z, or an offset such as +01:00")
    if begin > now:
        raise InvalidInput("at lies in the future, of which the ledger knows nothing")
    try:
        return begin, begin + (timedelta(days=1) if is_day else timedelta(microseconds=1))
    except OverflowError:
        raise InvalidInput("at lies beyond all times") from None


def _nothing() -> dict[str, Any]:
    """What is told where nothing served."""
    names: Sequence[str] = ("version", "since", "until", "moved_by", "rollback_reason", "approved_at", "reason")
    return {**dict.fromkeys(names), "approved_by": [], "evidence": {}}


def _reason(reason: Reason) -> dict[str, str]:
    return {"code": reason.code, "sentence": reason.sentence}
