"""The Models port on records: every step is entries added to the ledger, with the event that tells of it."""

from collections.abc import Mapping
from typing import Any

from radloop.core.errors import Conflict, NotFound, Unavailable
from radloop.core.events import ModelApproved, ModelRegistered
from radloop.core.identity import SYSTEM
from radloop.core.ports import AuditEntry, Change, Clock, ModelVersion, Put, Records
from radloop.core.tables import LEDGER
from radloop.registry.ledger import (
    APPROVED,
    CHAMPION,
    PENDING,
    AliasMoved,
    Decided,
    Entry,
    Registered,
    document_of,
    entry_of,
    versions_of,
)

_ATTEMPTS = 50  # each lost race means that another writer got on, so many are lost only under a flood


class RecordModels:
    """The Models port on any Records.

    An entry's key says its place: the number of the version, of its decision, of the move of an alias. Writers add
    under the next free key and expect it free, so one of two that race loses, reads again and goes on from what the
    other wrote. Version numbers therefore rise by one, and an execution registered twice finds its first version.
    """

    def __init__(self, records: Records, clock: Clock) -> None:
        self._records = records
        self._clock = clock

    def register(
        self, *, execution: str, artifact: str, metrics: Mapping[str, Any], lineage: Mapping[str, Any]
    ) -> ModelVersion:
        """See `Models.register`."""
        for _ in range(_ATTEMPTS):
            known = self.versions()
            before = _of_execution(known, execution)
            if before is not None:
                return before
            number = 1 + max((version.version for version in known), default=0)
            at = self._clock()
            entry = Registered(number, execution, artifact, dict(metrics), dict(lineage), at.isoformat())
            change = Change(
                writes=[_put(f"{number:08d}", entry, execution)],
                events=[ModelRegistered(model_version=number, execution=execution).told(at=at)],
                audit=[AuditEntry(SYSTEM.id, "register", f"model-{number}")],
            )
            if self._added(change):
                return self.get(number)
        raise Unavailable("the model ledger is too busy to register a version")

    def decide(self, version: int, *, approved: bool, by: str) -> ModelVersion:
        """See `Models.decide`."""
        for _ in range(_ATTEMPTS):
            entries = self._entries()
            model = _numbered(versions_of(entries), version)
            if model.status != PENDING:
                if (model.status == APPROVED) is approved:
                    return model
                raise Conflict(f"model version {version} is {model.status}")
            if self._added(self._decision(model, entries, approved=approved, by=by)):
                return self.get(version)
        raise Unavailable("the model ledger is too busy to decide on a version")

    def get(self, version: int) -> ModelVersion:
        """See `Models.get`."""
        return _numbered(self.versions(), version)

    def of_execution(self, execution: str) -> ModelVersion | None:
        """See `Models.of_execution`."""
        return _of_execution(self.versions(), execution)

    def champion(self) -> ModelVersion | None:
        """See `Models.champion`."""
        return next((model for model in self.versions() if CHAMPION in model.aliases), None)

    def versions(self) -> list[ModelVersion]:
        """See `Models.versions`."""
        return versions_of(self._entries())

    def _entries(self) -> list[Entry]:
        return [entry_of(row.document) for row in self._records.find(LEDGER)]

    def _decision(self, model: ModelVersion, entries: list[Entry], *, approved: bool, by: str) -> Change:
        at = self._clock()
        execution = str(model.lineage["execution"])
        key = f"{model.version:08d}.decided"
        writes = [_put(key, Decided(model.version, approved, by, at.isoformat()), execution)]
        audit = [AuditEntry(by, "approve" if approved else "reject", f"model-{model.version}")]
        if not approved:
            return Change(writes=writes, audit=audit)
        moves = 1 + sum(isinstance(entry, AliasMoved) and entry.alias == CHAMPION for entry in entries)
        moved = AliasMoved(model.version, CHAMPION, by, at.isoformat())
        told = ModelApproved(model_version=model.version, execution=execution, approved_by=by).told(at=at)
        return Change(writes=[*writes, _put(f"{CHAMPION}.{moves:08d}", moved, execution)], events=[told], audit=audit)

    def _added(self, change: Change) -> bool:
        """Whether `change` is true now; False when another writer took one of its places."""
        try:
            self._records.commit(change)
        except Conflict:
            return False
        return True


def _put(key: str, entry: Entry, execution: str) -> Put:
    document = document_of(entry)
    columns = {"version": entry.version, "execution": execution, "action": document["action"]}
    return Put(table=LEDGER, key=key, document=document, columns=columns, expected=0)


def _numbered(models: list[ModelVersion], version: int) -> ModelVersion:
    found = next((model for model in models if model.version == version), None)
    if found is None:
        raise NotFound(f"no model version {version}")
    return found


def _of_execution(models: list[ModelVersion], execution: str) -> ModelVersion | None:
    return next((model for model in models if model.lineage["execution"] == execution), None)
