"""Adjudication: the cases that readers leave open, and the word that closes them."""

from dataclasses import dataclass, replace

from radloop.core.cases import Case, Vote
from radloop.core.errors import Conflict, InvalidInput, NotFound, SeparationOfDuties
from radloop.core.identity import Principal
from radloop.core.images import Finding, ImageSet, State, Truth
from radloop.core.ports import AuditEntry, Change, Clock, Records, Row, Term
from radloop.core.reads import REASONS, ReadingPolicy, Rule, labels_of, project_of, put_label
from radloop.core.tables import IMAGE_SETS, image_set_of, put_image_set
from radloop.reading.panel import ADJUDICATOR_ODDS, held_panel, put_panel
from radloop.reading.reads import label_from
from radloop.reading.tokens import place_of, place_token, ties

LONGEST_QUEUE = 500


@dataclass(frozen=True, slots=True)
class Queue:
    """A part of what waits for an adjudicator.

    Attributes:
        next: Opaque; asks for what follows. None at the end.
        total: How many wait in all.
    """

    items: tuple[ImageSet, ...]
    next: str | None
    total: int


def queue(
    records: Records,
    *,
    limit: int = 50,
    after: str | None = None,
    patients: frozenset[str] | None = None,
) -> Queue:
    """What waits for an adjudicator, longest first.

    Args:
        records: Where image sets are kept.
        limit: At most so many, 1 to 500.
        after: `next` of the page before; None for the first.
        patients: Only image sets of these, by PatientID; None for all.

    Raises:
        InvalidInput: `limit` is out of range, or `after` is not a token of ours.
    """
    if not 1 <= limit <= LONGEST_QUEUE:
        raise InvalidInput(f"limit must be from 1 to {LONGEST_QUEUE}")
    scope = [] if patients is None else [Term("patient_id", "in", tuple(sorted(patients)))]
    since, skipped = (0.0, 0) if after is None else place_of(after)
    terms = [*scope, Term("asked", "between", (since, None))]
    rows = records.search(IMAGE_SETS, terms, columns=("asked",), order="asked", limit=limit + 1, offset=skipped)
    shown = rows[:limit]
    total = records.search_count(IMAGE_SETS, [*scope, Term("asked", "between", (0.0, None))])
    return Queue(
        items=tuple(image_set_of(row) for row in shown),
        next=_token(shown, since, skipped) if len(rows) > limit else None,
        total=total,
    )


def _token(shown: list[Row], since: float, skipped: int) -> str:
    places = [float(row.columns["asked"]) for row in shown]
    return place_token(places[-1], ties(places, since, skipped))


def adjudicate(
    records: Records, clock: Clock, identity: str, finding: Finding, *, version: int, reason: str, by: Principal
) -> ImageSet:
    """Close a case that readers left open, or revise what became ground truth; the same sent again is done once.

    Args:
        records: Where image sets are kept.
        clock: The present moment.
        identity: Of the image set.
        finding: What the adjudicator finds, and on which frame.
        version: The version the adjudicator looked at.
        reason: Why readers differed, one of `REASONS`.
        by: The adjudicator.

    Returns:
        The image set as it is now, one version on; the labels before stay in its history.

    Raises:
        NotFound: There is no such image set.
        InvalidInput: The reason is not known, or what was seen does not fit the frames.
        SeparationOfDuties: The adjudicator is one of its readers, where more than one reader is asked for.
        Conflict: It changed since, also while this was written, or nobody asks for an adjudicator.
    """
    if reason not in REASONS:
        raise InvalidInput(f"reason must be one of {', '.join(REASONS)}")
    row = records.get(IMAGE_SETS, identity)
    if row is None:
        raise NotFound(f"no image set {identity}")
    image_set = image_set_of(row)
    labels = labels_of(records, image_set)
    last = labels[-1] if labels else None
    told = (by.id, finding, reason, version + 1)
    if last is not None and told == (last.by, last.finding, last.reason, last.version):
        return image_set
    image_set.require_readable(finding, version)
    case = image_set.case or Case()
    _require_open_case(records, image_set, case, by)
    rule = Rule.ADJUDICATION if image_set.state is State.INGESTED else Rule.REVISION
    now, votes = clock(), _votes(image_set, case)
    panel, revision = held_panel(records, image_set.datastore)
    posterior = panel.posterior(votes, ADJUDICATOR_ODDS if finding.present else -ADJUDICATOR_ODDS)
    truth = Truth(finding, by.id, now, posterior, len(votes) + 1, str(rule))
    after, verified = image_set.settle(truth)
    kept = after.case
    after = after if kept is None else _with_posterior(after, kept, posterior)
    writes = [put_image_set(after, expected=row.revision), put_label(label_from(after, truth, reason), after.datastore)]
    if rule is Rule.ADJUDICATION:
        moved = panel.moved(votes, case.posterior, votes, posterior, reads=0)
        writes.append(put_panel(moved, after.datastore, expected=revision))
    events = [verified.told(at=now, trace=identity)]
    records.commit(Change(writes=writes, events=events, audit=[AuditEntry(by.id, "adjudicate", identity)]))
    return after


def _require_open_case(records: Records, image_set: ImageSet, case: Case, by: Principal) -> None:
    if image_set.state is State.REJECTED:
        raise Conflict(f"image set {image_set.id} is {image_set.state}, there is nothing to adjudicate")
    if image_set.state is State.INGESTED and image_set.asked is None:
        raise Conflict(f"nobody asks for an adjudicator of image set {image_set.id}")
    is_single = project_of(records, image_set.datastore).policy is ReadingPolicy.SINGLE
    if not is_single and any(vote.reader == by.id for vote in case.votes):
        raise SeparationOfDuties("whoever has read an image set cannot adjudicate it")


def _votes(image_set: ImageSet, case: Case) -> tuple[Vote, ...]:
    """The votes that stand: those on this version, or of a settled one those on the version that was settled."""
    if image_set.state is State.INGESTED:
        return case.of(image_set.version)
    newest = max((vote.version for vote in case.votes), default=0)
    return case.of(newest)


def _with_posterior(image_set: ImageSet, case: Case, posterior: float) -> ImageSet:
    return replace(image_set, case=replace(case, posterior=posterior))
