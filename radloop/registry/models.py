"""The Models port on records: every step is entries added to the ledger, with the event that tells of it."""

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from radloop.core.errors import Conflict, NotFound, RadloopError, SeparationOfDuties, Unavailable
from radloop.core.events import ModelApproved, ModelRegistered, ModelRolledBack, ReleaseHeld
from radloop.core.identity import SYSTEM
from radloop.core.ports import (
    AuditEntry,
    Change,
    Clock,
    Job,
    LedgerVerdict,
    ModelVersion,
    Put,
    Reason,
    Records,
    Serving,
)
from radloop.core.tables import LEDGER
from radloop.registry.ledger import (
    APPROVED,
    CHAMPION,
    PENDING,
    SHADOW,
    AliasMoved,
    Approval,
    Decided,
    Entry,
    Held,
    Registered,
    RolledBack,
    chained,
    check_chain,
    entry_of,
    head_of,
    moment_of,
    served_before,
    servings,
    versions_of,
)

MIRROR = "mirror_models"
"""The kind of the job that tells another registry what changed."""

LEDGER_HEAD = "ledger"
"""The action under which the audit keeps each head of the ledger, so that a ledger cut short is found."""

_ATTEMPTS = 200  # each lost race means that another writer got on, so many are lost only under a flood


@dataclass(frozen=True, slots=True)
class _State:
    """What a step is decided on: the ledger as it stands, and the moment its entries will tell."""

    entries: Sequence[Entry]
    models: Sequence[ModelVersion]
    at: datetime
    count: int

    @property
    def now(self) -> str:
        """The moment as an entry tells it."""
        return self.at.isoformat()

    def model(self, version: int) -> ModelVersion:
        """One version.

        Raises:
            NotFound: There is no such version.
        """
        return _numbered(self.models, version)


@dataclass(frozen=True, slots=True)
class _Step:
    """Entries to add, with what must become true together with them, and the version it is about."""

    version: int
    entries: Sequence[Entry]
    audit: Sequence[AuditEntry]
    events: Sequence[Any] = ()


class RecordModels:
    """The Models port on any Records.

    An entry's key is its place in the chain. Writers add under the next free place and expect it free, so one of two
    that race loses, reads again and goes on from what the other wrote. What the ledger tells has therefore one order.

    Since entries are only added, what they told of versions is remembered, and a question reads what is new. Steps and
    `verify` read everything.

    Args:
        records: Where the ledger lies.
        clock: The present moment; an entry is never dated before the one in front of it, whatever the clock does.
        is_mirrored: Whether each step asks for a job that tells another registry.
        told: Called with the version a step was about, once it is true, to tell another registry at once. Where that
            does not take it, the job does it later; without such a job the error is the caller's.
    """

    def __init__(
        self,
        records: Records,
        clock: Clock,
        *,
        is_mirrored: bool = False,
        told: Callable[[ModelVersion], None] | None = None,
    ) -> None:
        self._records = records
        self._clock = clock
        self._is_mirrored = is_mirrored
        self._told = told
        self._guard = threading.Lock()
        self._known: list[Entry] = []
        self._models: list[ModelVersion] = []
        self._last = 0

    def register(
        self, *, execution: str, artifact: str, metrics: Mapping[str, Any], lineage: Mapping[str, Any]
    ) -> ModelVersion:
        """See `Models.register`."""

        def step(state: _State) -> _Step | ModelVersion:
            before = _of_execution(state.models, execution)
            if before is not None:
                return before
            number = 1 + max((model.version for model in state.models), default=0)
            entry = Registered(number, execution, artifact, dict(metrics), dict(lineage), state.now)
            audit = [AuditEntry(SYSTEM.id, "register", f"model-{number}")]
            return _Step(number, [entry], audit, [ModelRegistered(model_version=number, execution=execution)])

        return self._do(step)

    def hold(self, version: int, reasons: Sequence[Reason]) -> ModelVersion:
        """See `Models.hold`."""

        def step(state: _State) -> _Step | ModelVersion:
            model = state.model(version)
            if model.status != PENDING or model.held == tuple(reasons):
                return model
            told = [{"code": each.code, "sentence": each.sentence} for each in reasons]
            codes = tuple(dict.fromkeys(each.code for each in reasons))
            held = ReleaseHeld(model_version=version, execution=_execution(model), reasons=codes)
            audit = [AuditEntry(SYSTEM.id, "hold", f"model-{version}")]
            return _Step(version, [Held(version, told, state.now)], audit, [held])

        return self._do(step)

    def decide(
        self,
        version: int,
        *,
        approved: bool,
        by: str,
        reason: str | None = None,
        evidence: Mapping[str, Any] | None = None,
        needed: int = 1,
        is_free: bool = True,
    ) -> ModelVersion:
        """See `Models.decide`."""

        def step(state: _State) -> _Step | ModelVersion:
            model = state.model(version)
            if model.status != PENDING:
                if (model.status == APPROVED) is approved:
                    return model
                raise Conflict(f"model version {version} is {model.status}")
            if not approved:
                rejected = Decided(version, approved=False, by=by, at=state.now, reason=reason)
                return _Step(version, [rejected], [AuditEntry(by, "reject", f"model-{version}")])
            return _approved(state, model, by, reason, dict(evidence or {}), needed=needed, is_free=is_free)

        return self._do(step)

    def roll_back(self, *, by: str, reason: str, to: int | None = None, expected: int | None = None) -> ModelVersion:
        """See `Models.roll_back`."""

        def step(state: _State) -> _Step | ModelVersion:
            champion = _aliased(state.models, CHAMPION)
            if champion is None:
                raise NotFound("no model version serves, so none can be taken back")
            if expected is not None and expected != champion.version:
                is_done = state.model(expected).rolled_back_at is not None and to in {None, champion.version}
                if is_done:
                    return champion
                raise Conflict(f"model version {champion.version} serves, and not {expected}; look at it again")
            target = _target(state, champion, to)
            entries: list[Entry] = [
                RolledBack(champion.version, target.version, by, reason, state.now),
                AliasMoved(target.version, CHAMPION, by, state.now),
            ]
            told = ModelRolledBack(
                model_version=champion.version,
                serving_version=target.version,
                reason=reason,
                rolled_back_by=by,
                entry=state.count + 1,
            )
            audit = [AuditEntry(by, "roll-back", f"model-{champion.version}")]
            return _Step(target.version, entries, audit, [told])

        return self._do(step)

    def get(self, version: int) -> ModelVersion:
        """See `Models.get`."""
        return _numbered(self.versions(), version)

    def of_execution(self, execution: str) -> ModelVersion | None:
        """See `Models.of_execution`."""
        return _of_execution(self.versions(), execution)

    def champion(self) -> ModelVersion | None:
        """See `Models.champion`."""
        return _aliased(self.versions(), CHAMPION)

    def shadow(self) -> ModelVersion | None:
        """See `Models.shadow`."""
        return _aliased(self.versions(), SHADOW)

    def versions(self) -> list[ModelVersion]:
        """See `Models.versions`."""
        with self._guard:
            self._catch_up()
            return list(self._models)

    def serving_on(self, at: datetime) -> Serving | None:
        """See `Models.serving_on`."""
        return next((each for each in reversed(self.servings()) if each.since <= at), None)

    def servings(self) -> list[Serving]:
        """See `Models.servings`."""
        with self._guard:
            self._catch_up()
            return servings(self._known)

    def ledger(self) -> list[Mapping[str, Any]]:
        """See `Models.ledger`."""
        return [row.document for row in self._records.find(LEDGER)]

    def verify(self) -> LedgerVerdict:
        """See `Models.verify`."""
        return check_chain(self.ledger())

    def _catch_up(self) -> None:
        """Read the entries that were added since the last look."""
        added = self._records.find(LEDGER, after=self._last)
        if added:
            self._known += [entry_of(row.document) for row in added]
            self._models = versions_of(self._known)
            self._last = added[-1].order

    def _do(self, step: Callable[[_State], _Step | ModelVersion]) -> ModelVersion:
        """Take a step on the ledger as it stands, again where another writer was faster.

        Raises:
            Unavailable: Others were always faster.
        """
        for _ in range(_ATTEMPTS):
            documents = self.ledger()
            entries = [entry_of(document) for document in documents]
            last = moment_of(entries[-1].at) if entries else None
            at = self._clock() if last is None else max(last, self._clock())
            wanted = step(_State(entries, versions_of(entries), at, len(entries)))
            if isinstance(wanted, ModelVersion):
                return wanted
            if self._added(wanted, documents, at):
                return self._tell(self.get(wanted.version))
        raise Unavailable("the model ledger is too busy")

    def _tell(self, model: ModelVersion) -> ModelVersion:
        if self._told is not None:
            # What goes wrong is the business of the job that was committed with the step: the step itself holds.
            with suppress(RadloopError) if self._is_mirrored else nullcontext():
                self._told(model)
        return model

    def _added(self, step: _Step, documents: Sequence[Mapping[str, Any]], at: datetime) -> bool:
        """Whether the step is true now; False when another writer took its place in the chain."""
        written = chained(step.entries, len(documents), head_of(documents))
        head = str(written[-1]["hash"])
        jobs = [Job(f"mirror-{head[:32]}", "mirror", MIRROR, {})] if self._is_mirrored else []
        change = Change(
            writes=[_put(document) for document in written],
            events=[happening.told(at=at) for happening in step.events],
            jobs=jobs,
            audit=[*step.audit, AuditEntry(SYSTEM.id, LEDGER_HEAD, head)],
        )
        try:
            self._records.commit(change)
        except Conflict:
            return False
        return True


def _approved(
    state: _State,
    model: ModelVersion,
    by: str,
    reason: str | None,
    evidence: Mapping[str, Any],
    *,
    needed: int,
    is_free: bool,
) -> _Step | ModelVersion:
    """One more voice for a version, which may be the last one it takes.

    Raises:
        SeparationOfDuties: The approver is not free, and nobody who is has spoken yet.
    """
    voices = tuple(dict.fromkeys((*model.approvals, by)))
    is_somebody_free = is_free or any(voice != by for voice in model.free_approvals)
    if not is_somebody_free:
        raise SeparationOfDuties(
            f"whoever started the run, gave most of its labels or wrote the plan cannot approve model version"
            f" {model.version} alone; another release approver must do it first"
        )
    if len(voices) < needed:
        if by in model.approvals:
            return model
        voice = Approval(model.version, by, reason, is_free, state.now)
        return _Step(model.version, [voice], [AuditEntry(by, "approve.voice", f"model-{model.version}")])
    decided = Decided(
        model.version, approved=True, by=by, at=state.now, reason=reason, approvers=voices, evidence=evidence
    )
    told = ModelApproved(model_version=model.version, execution=_execution(model), approved_by=by)
    entries: list[Entry] = [decided, AliasMoved(model.version, CHAMPION, by, state.now)]
    return _Step(model.version, entries, [AuditEntry(by, "approve", f"model-{model.version}")], [told])


def _target(state: _State, champion: ModelVersion, to: int | None) -> ModelVersion:
    """The version to go back to.

    Raises:
        NotFound: There is no version `to`.
        Conflict: It was never approved, or it serves already; or there is none to go back to.
    """
    if to is not None:
        target = state.model(to)
        if target.status != APPROVED:
            raise Conflict(f"model version {to} is {target.status}; only an approved version can serve")
        if target.version == champion.version:
            raise Conflict(f"model version {to} serves already")
        return target
    for version in reversed(served_before(state.entries)):
        target = state.model(version)
        if version != champion.version and target.rolled_back_at is None:
            return target
    raise Conflict("no other version has served that was not taken back; name an approved one")


def _put(document: Mapping[str, Any]) -> Put:
    columns = {name: document.get(name) for name in ("version", "execution", "action")}
    return Put(table=LEDGER, key=f"entry-{document['seq']:08d}", document=document, columns=columns, expected=0)


def _numbered(models: Sequence[ModelVersion], version: int) -> ModelVersion:
    found = next((model for model in models if model.version == version), None)
    if found is None:
        raise NotFound(f"no model version {version}")
    return found


def _aliased(models: Sequence[ModelVersion], alias: str) -> ModelVersion | None:
    return next((model for model in models if alias in model.aliases), None)


def _execution(model: ModelVersion) -> str:
    return str(model.lineage["execution"])


def _of_execution(models: Sequence[ModelVersion], execution: str) -> ModelVersion | None:
    return next((model for model in models if _execution(model) == execution), None)
