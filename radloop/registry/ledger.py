"""The model ledger: entries that are only ever added, and the model versions they tell of.

There are three kinds of entry. `registered` brings a version into being, `decided` approves or rejects it, `alias`
puts a version to work under a name such as `champion`. What an alias meant before stays readable for ever: it is
moved by adding an entry, never by changing one.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from radloop.core.ports import ModelVersion

CHAMPION = "champion"
"""The alias of the version in use."""

PENDING = "PendingManualApproval"
APPROVED = "Approved"
REJECTED = "Rejected"


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
class Decided:
    """A version was approved or rejected, for good."""

    version: int
    approved: bool
    by: str
    at: str


@dataclass(frozen=True, slots=True)
class AliasMoved:
    """From here on `alias` means `version`."""

    version: int
    alias: str
    by: str
    at: str


Entry = Registered | Decided | AliasMoved
_KINDS: Mapping[str, type[Registered] | type[Decided] | type[AliasMoved]] = {
    "registered": Registered,
    "decided": Decided,
    "alias": AliasMoved,
}


def document_of(entry: Entry) -> dict[str, Any]:
    """An entry as plain values; `action` tells its kind."""
    action = next(name for name, kind in _KINDS.items() if isinstance(entry, kind))
    return {"action": action} | {name: getattr(entry, name) for name in entry.__slots__}


def entry_of(document: Mapping[str, Any]) -> Entry:
    """The entry `document_of` wrote."""
    values = dict(document)
    return _KINDS[values.pop("action")](**values)


def versions_of(entries: Iterable[Entry]) -> list[ModelVersion]:
    """The model versions that `entries`, in the order they were written, tell of; newest version first."""
    found: dict[int, ModelVersion] = {}
    aliases: dict[str, int] = {}
    for entry in entries:
        match entry:
            case Registered():
                found[entry.version] = _pending(entry)
            case Decided():
                found[entry.version] = replace(
                    found[entry.version],
                    status=APPROVED if entry.approved else REJECTED,
                    decided_at=entry.at,
                    decided_by=entry.by,
                )
            case AliasMoved():
                aliases[entry.alias] = entry.version
    return [
        replace(found[number], aliases=tuple(sorted(alias for alias, at in aliases.items() if at == number)))
        for number in sorted(found, reverse=True)
    ]


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
