"""The model ledger: entries that are only ever added, and what they tell of model versions and of what served when.

    registered    a version came into being
    held          it was not approved by itself; why
    approval      an approver's voice where more than one is needed
    decided       it was approved or rejected, by whom, on what evidence
    alias         from here on a name such as `champion` means this version
    rolledback    the champion was taken back, and why

What an alias meant before stays readable for ever: it is moved by adding an entry, never by changing one. Every entry
holds the SHA-256 of the one before and of itself, so that whoever changes, removes or puts in one breaks the chain
from there on. An entry is never dated before the one in front of it, so at any moment exactly one version served, or
none. Entries written before there was a chain are read as they are and sealed by the first that is chained.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from radloop.core.ports import LedgerVerdict, ModelVersion, Reason, Serving

CHAMPION = "champion"
"""The alias of the version in use."""

SHADOW = "shadow"
"""The alias of the newest version that passed the gate and may follow the champion. It follows from the entries."""

PENDING = "PendingManualApproval"
APPROVED = "Approved"
REJECTED = "Rejected"

GENESIS = "0" * 64
"""What the first entry follows."""

APPROVE_REASONS: Mapping[str, str] = {
    "evidence-reviewed": "The evidence was read and found good.",
    "better-than-champion": "It is better than the version in use.",
    "clinical-need": "It is needed now, and the evidence carries that.",
}
REJECT_REASONS: Mapping[str, str] = {
    "performance": "The figures are not good enough.",
    "subgroup": "Some group of patients is served worse.",
    "data-quality": "The data or the labels are in doubt.",
    "shortcut": "It may look at something else than the finding.",
    "not-needed": "The version in use shall stay.",
    "other": "None of the other reasons.",
}
ROLLBACK_REASONS: Mapping[str, str] = {
    "performance-drop": "It does worse at work than in its evaluation.",
    "drift": "The images are no longer those it was made for.",
    "wrong-findings": "Readers find too much of what it says wrong.",
    "incident": "Something happened that must not happen again.",
    "data-problem": "The data it learned from turned out to be wrong.",
    "not-intended": "It should not have gone to work.",
    "other": "None of the other reasons.",
}
"""Codes and what they mean. No free text stands in the ledger, because it goes into evidence that leaves the house."""

CHAINED = ("seq", "before", "hash")
"""What the chain adds to an entry as it is written down."""


@dataclass(frozen=True, slots=True)
class Registered:
    """A version came into being; `at` is RFC 3339, as in every entry."""

    version: int
    execution: str
    artifact: str
    metrics: Mapping[str, Any]
    lineage: Mapping[str, Any]
    at: str


@dataclass(frozen=True, slots=True)
class Held:
    """A version that passed the gate waits for a person; `reasons` are codes with their sentences."""

    version: int
    reasons: Sequence[Mapping[str, str]]
    at: str


@dataclass(frozen=True, slots=True)
class Approval:
    """One of several approvers spoke for a version; `is_free` tells that no duty of theirs is in the way."""

    version: int
    by: str
    reason: str | None
    is_free: bool
    at: str


@dataclass(frozen=True, slots=True)
class Decided:
    """A version was approved or rejected, for good.

    Attributes:
        approvers: All who spoke for it, `by` included; empty in entries of before and where it was rejected.
        evidence: Hashes of what the decision rests on, by name, and the plan it was made under.
    """

    version: int
    approved: bool
    by: str
    at: str
    reason: str | None = None
    approvers: Sequence[str] = ()
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AliasMoved:
    """From here on `alias` means `version`."""

    version: int
    alias: str
    by: str
    at: str


@dataclass(frozen=True, slots=True)
class RolledBack:
    """`version` was the champion and was taken back; `to` serves again."""

    version: int
    to: int
    by: str
    reason: str
    at: str


Entry = Registered | Held | Approval | Decided | AliasMoved | RolledBack
_KINDS: Mapping[str, type[Entry]] = {
    "registered": Registered,
    "held": Held,
    "approval": Approval,
    "decided": Decided,
    "alias": AliasMoved,
    "rolledback": RolledBack,
}


# Written down


def document_of(entry: Entry) -> dict[str, Any]:
    """An entry as plain values; `action` tells its kind."""
    action = next(name for name, kind in _KINDS.items() if isinstance(entry, kind))
    written: dict[str, Any] = _plain({name: getattr(entry, name) for name in entry.__slots__})
    return {"action": action} | written


def entry_of(document: Mapping[str, Any]) -> Entry:
    """The entry `document_of` wrote, chained or not."""
    values = {name: value for name, value in document.items() if name not in CHAINED}
    return _KINDS[values.pop("action")](**values)


def _plain(value: Any) -> Any:
    """The same as JSON gives it back, so that it can be hashed before it is written and after it is read."""
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


# The chain


def link(before: str, document: Mapping[str, Any]) -> str:
    """The hash of an entry that follows the one whose hash is `before`."""
    told = {name: value for name, value in document.items() if name not in {"before", "hash"}}
    canonical = json.dumps(told, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(before.encode() + canonical.encode()).hexdigest()


def chained(entries: Iterable[Entry], seq: int, head: str) -> list[dict[str, Any]]:
    """Entries as they are written down behind the `seq` entries that end in `head`."""
    written = []
    for number, entry in enumerate(entries, start=seq + 1):
        document = document_of(entry) | {"seq": number}
        following = link(head, document)
        written.append(document | {"before": head, "hash": following})
        head = following
    return written


def head_of(documents: Sequence[Mapping[str, Any]]) -> str:
    """The hash that the next entry follows."""
    if documents and "hash" in documents[-1]:
        return str(documents[-1]["hash"])
    head = GENESIS
    for document in documents:  # of before there was a chain
        head = link(head, document)
    return head


def check_chain(documents: Iterable[Mapping[str, Any]]) -> LedgerVerdict:
    """Walk all entries in their order and look where one does not follow from the one before."""
    head, count, is_chained = GENESIS, 0, False
    for document in documents:
        count += 1
        following = link(head, document)
        if any(name in document for name in CHAINED):
            follows = document.get("seq") == count and document.get("before") == head
            is_right = follows and document.get("hash") == following
        else:
            is_right = not is_chained
        if not is_right:
            return LedgerVerdict(entries=count, head=following, broken_at=count)
        is_chained = "hash" in document
        head = following
    return LedgerVerdict(entries=count, head=head, broken_at=None)


# What the entries tell


def versions_of(entries: Iterable[Entry]) -> list[ModelVersion]:
    """The model versions that `entries`, in the order they were written, tell of; newest version first."""
    found: dict[int, ModelVersion] = {}
    aliases: dict[str, int] = {}
    for entry in entries:
        if isinstance(entry, Registered):
            found[entry.version] = _pending(entry)
        elif isinstance(entry, AliasMoved):
            aliases[entry.alias] = entry.version
            found[entry.version] = replace(found[entry.version], rolled_back_at=None, rolled_back_by=None)
        else:
            found[entry.version] = _told(found[entry.version], entry)
    champion = aliases.get(CHAMPION, 0)
    following = next((number for number in sorted(found, reverse=True) if _may_follow(found[number], champion)), None)
    if following is not None:
        aliases[SHADOW] = following
    return [
        replace(found[number], aliases=tuple(sorted(alias for alias, at in aliases.items() if at == number)))
        for number in sorted(found, reverse=True)
    ]


def _told(model: ModelVersion, entry: Held | Approval | Decided | RolledBack) -> ModelVersion:
    """A version after one more entry about it."""
    match entry:
        case Held():
            return replace(model, held=tuple(Reason(each["code"], each["sentence"]) for each in entry.reasons))
        case Approval():
            free = (*model.free_approvals, entry.by) if entry.is_free else model.free_approvals
            return replace(model, approvals=(*model.approvals, entry.by), free_approvals=free)
        case Decided():
            return replace(
                model,
                status=APPROVED if entry.approved else REJECTED,
                decided_at=entry.at,
                decided_by=entry.by,
                reason=entry.reason,
                approvals=tuple(entry.approvers),
                evidence=entry.evidence,
                held=(),
            )
        case RolledBack():
            return replace(model, rolled_back_at=entry.at, rolled_back_by=entry.by)


def _may_follow(model: ModelVersion, champion: int) -> bool:
    """Whether a version is one to be watched beside the champion."""
    return model.version > champion and model.status == PENDING and model.rolled_back_at is None


def served_before(entries: Iterable[Entry]) -> list[int]:
    """Versions that were champion, the latest move last; one that came back stands there again."""
    return [entry.version for entry in entries if isinstance(entry, AliasMoved) and entry.alias == CHAMPION]


def servings(entries: Sequence[Entry]) -> list[Serving]:
    """Every stretch of time in which a version was the champion, oldest first; the last one has no end."""
    decided: dict[int, Decided] = {}
    found: list[Serving] = []
    because: str | None = None
    for entry in entries:
        if isinstance(entry, Decided) and entry.approved:
            decided[entry.version] = entry
            because = None
        elif isinstance(entry, RolledBack):
            because = entry.reason
        elif isinstance(entry, AliasMoved) and entry.alias == CHAMPION:
            at = moment_of(entry.at)
            if found:
                found[-1] = replace(found[-1], until=at)
            found.append(_serving(entry, decided.get(entry.version), because, at))
    return found


def _serving(moved: AliasMoved, decided: Decided | None, because: str | None, at: datetime) -> Serving:
    approvers = () if decided is None else tuple(decided.approvers) or (decided.by,)
    return Serving(
        version=moved.version,
        since=at,
        until=None,
        moved_by=moved.by,
        rollback_reason=because,
        approved_by=approvers,
        approved_at=None if decided is None else moment_of(decided.at),
        reason=None if decided is None else decided.reason,
        evidence={} if decided is None else decided.evidence,
    )


def moment_of(text: str) -> datetime:
    """The moment an entry tells."""
    return datetime.fromisoformat(text)


def _pending(entry: Registered) -> ModelVersion:
    return ModelVersion(
        version=entry.version,
        status=PENDING,
        artifact=entry.artifact,
        metrics=entry.metrics,
        lineage={**entry.lineage, "execution": entry.execution},
        aliases=(),
        created_at=entry.at,
    )
