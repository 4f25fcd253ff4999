"""Reads: what each reader says, and the moment at which what they say together becomes ground truth.

A read is added and never changed. The image set carries the votes that count, so that of two readers at the same
moment one comes second and sees the other's vote; the read, the ground truth it may make, the event that tells of it
and the audit are one commit.
"""

from dataclasses import dataclass, replace

from radloop.core.cases import Case, Vote, differ
from radloop.core.errors import Conflict, NotFound, Unavailable
from radloop.core.events import AdjudicationRequested, Happening
from radloop.core.identity import Principal, derived_id
from radloop.core.images import Finding, ImageSet, State, Truth
from radloop.core.ports import Adjust, AuditEntry, Change, Clock, Delete, Put, Records
from radloop.core.reads import (
    CHANGED_MIND,
    DISAGREEMENT,
    UNDECIDED,
    Label,
    Project,
    Read,
    ReadingPolicy,
    Rule,
    project_of,
    put_label,
    put_read,
    read_of,
    reads_of,
)
from radloop.core.tables import IMAGE_SETS, READS, image_set_of, put_image_set
from radloop.reading.panel import held_panel, put_panel, refit

MOST_UNDECIDED = 5
"""Reads after which an adjudicator is asked where no answer has become probable enough."""

_TRIES = 20


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a read.

    Attributes:
        image_set: As it is now.
        is_repeat: It is the very read this reader made last; nothing was added.
    """

    read: Read
    image_set: ImageSet
    is_repeat: bool = False


class Moved(Conflict):
    """Somebody else changed the image set, or what is known of its readers, between reading and writing."""


def add_read(
    records: Records, clock: Clock, identity: str, finding: Finding, *, version: int, by: Principal
) -> Outcome:
    """Add what a reader says; where it is the read that settles the policy's question, it makes ground truth.

    The same read sent again is one read. Who thinks otherwise later adds a read: it counts in the place of the first
    while nobody has seen anything of the others, else it is kept, does not count, and an adjudicator is asked.

    Args:
        records: Where image sets are kept.
        clock: The present moment.
        identity: Of the image set.
        finding: What was found, and on which frame.
        version: The version the reader looked at.
        by: The reader.

    Raises:
        NotFound: There is no such image set.
        InvalidInput: What was seen does not fit its frames.
        Conflict: It is at another version, still arriving, or has been decided on without this reader.
        Unavailable: It kept changing; worth another try.
    """
    for _ in range(_TRIES):
        try:
            with records.alone():
                outcome = attempt(records, clock, identity, finding, version=version, by=by)
        except Moved:
            continue  # the next try sees what the others did
        fit_again(records, outcome.image_set.datastore)
        return outcome
    raise Unavailable("the image set kept changing while a read was added")


def attempt(
    records: Records,
    clock: Clock,
    identity: str,
    finding: Finding,
    *,
    version: int,
    by: Principal,
    is_first: bool = False,
) -> Outcome:
    """Add a read, once; see `add_read`. With `is_first` no decided image set takes a read, not even a repeated one.

    Raises:
        Moved: Somebody else was faster.
    """
    row = records.get(IMAGE_SETS, identity)
    if row is None:
        raise NotFound(f"no image set {identity}")
    image_set = image_set_of(row)
    if is_first:
        image_set.require_readable(finding, version)
        image_set.require_undecided()
    own = [read for read in reads_of(records, identity) if read.reader == by.id]
    if own and (own[-1].version, own[-1].finding) == (version, finding):
        return Outcome(own[-1], image_set, is_repeat=True)
    image_set.require_readable(finding, version)
    if image_set.state is not State.VERIFIED or not own:
        image_set.require_undecided()
    now = clock()
    read = Read(derived_id("read", identity, by.id, str(len(own))), identity, version, by.id, finding, now)
    step = _Step(records, image_set, project_of(records, image_set.datastore), read)
    change = step.taken(row.revision)
    try:
        records.commit(change)
    except Conflict as error:
        raise Moved(str(error)) from None
    return Outcome(step.read, step.after)


def fit_again(records: Records, datastore: str) -> None:
    """Fit all reads of a project together where that is due."""
    if held_panel(records, datastore)[0].wants_fit:
        refit(records, datastore)


class _Step:
    """One read and what it leads to.

    Attributes:
        after: The image set as it becomes.
    """

    def __init__(self, records: Records, image_set: ImageSet, project: Project, read: Read) -> None:
        self._records = records
        self._project = project
        self._before = image_set.case or Case()
        self.read = replace(read, is_blinded=_is_unseen(image_set, self._before, read, project))
        self.after = image_set
        self._told: list[Happening] = []
        self._writes: list[Put | Adjust | Delete] = []

    def taken(self, revision: int) -> Change:
        """The change that makes the read true, of an image set at this revision."""
        image_set, read = self.after, self.read
        actions = ["read.create"]
        if image_set.state is State.VERIFIED or not (read.is_blinded or self._is_single):
            self._thought_again()
        elif self._vote():
            actions = ["verify"] if self._is_single else ["read.create", "verify"]
        return Change(
            writes=[
                put_image_set(self.after, expected=revision),
                put_read(self.read, image_set.datastore),
                *self._writes,
            ],
            events=[happening.told(at=read.at, trace=image_set.id) for happening in self._told],
            audit=[AuditEntry(read.reader, action, image_set.id) for action in actions],
        )

    @property
    def _is_single(self) -> bool:
        return self._project.policy is ReadingPolicy.SINGLE

    def _thought_again(self) -> None:
        """A reader who has seen others' reads, or the ground truth, thinks otherwise: an adjudicator is asked."""
        image_set, read = self.after, self.read
        earlier = self._before.by(read.reader, read.version)
        said = image_set.truth.finding.present if image_set.truth is not None else None
        said = earlier.present if earlier is not None else said
        if said is not read.finding.present:
            self.after = self._asking(self._before, CHANGED_MIND)

    def _vote(self) -> bool:
        """A read that counts; gives whether it settles the question."""
        read, image_set = self.read, self.after
        vote = Vote(read.reader, read.version, read.finding.present, str(read.finding.confidence), read.id)
        case = self._before.with_vote(vote)
        votes = case.of(read.version)
        if self._is_single:
            self._settle(replace(case, posterior=None), Rule.SINGLE, None, votes)
            return True
        panel, revision = held_panel(self._records, image_set.datastore)
        posterior = panel.posterior(votes)
        moved = panel.moved(self._before.of(read.version), self._before.posterior, votes, posterior)
        self._writes.append(put_panel(moved, image_set.datastore, expected=revision))
        case = replace(case, posterior=posterior)
        rule = settled_by(self._project, votes, posterior)
        if rule is not None:
            self._settle(case, rule, posterior, votes)
            return True
        asked = _asked(self._project, votes)
        self.after = replace(image_set, case=case) if asked is None else self._asking(case, asked)
        return False

    def _settle(self, case: Case, rule: Rule, posterior: float | None, votes: tuple[Vote, ...]) -> None:
        """Make ground truth: the finding of this read, or of the last before it that says what is most probable."""
        image_set, read = self.after, self.read
        present = votes[-1].present if posterior is None or rule is Rule.AGREEMENT else posterior >= 0.5  # noqa: PLR2004 — more probable than not
        chosen = read
        if read.finding.present is not present:
            name = next(vote.read for vote in reversed(votes) if vote.present is present)
            row = self._records.get(READS, name)
            assert row is not None
            chosen = read_of(row)
        count = 1 if rule is Rule.SINGLE else len(votes)
        truth = Truth(chosen.finding, chosen.reader, read.at, posterior, count, str(rule))
        self.after, verified = replace(image_set, case=case).settle(truth)
        self._told.append(verified)
        self._writes.append(put_label(label_from(self.after, truth, None), image_set.datastore))

    def _asking(self, case: Case, reason: str) -> ImageSet:
        """The image set with an adjudicator asked, and the event that tells of it, unless one is asked already."""
        image_set, at = self.after, self.read.at
        if image_set.asked is not None:
            return replace(image_set, case=case)
        reads = len(case.of(self.read.version))
        self._told.append(AdjudicationRequested(image_set.id, image_set.version, reason, reads))
        asking = replace(case, asked=reason, asked_at=at.timestamp(), asked_of=image_set.version)
        return replace(image_set, case=asking)


def settled_by(project: Project, votes: tuple[Vote, ...], posterior: float) -> Rule | None:
    """The rule that makes ground truth of these votes, where several are asked for; None where they are not enough."""
    if len(votes) < 2:  # noqa: PLR2004 — both other policies ask two
        return None
    if not differ(votes):
        return Rule.AGREEMENT
    is_probable = max(posterior, 1 - posterior) >= project.settle_at
    has_more = len(votes) > 2  # noqa: PLR2004 — where two differ, one more is asked in any case
    return Rule.POSTERIOR if project.policy is ReadingPolicy.DOUBLE and has_more and is_probable else None


def label_from(image_set: ImageSet, truth: Truth, reason: str | None) -> Label:
    """The label that a ground truth is, for the history."""
    return Label(
        image_set.id,
        image_set.version,
        truth.finding,
        Rule(truth.rule),
        truth.by,
        reason,
        truth.posterior,
        truth.reads,
        truth.at,
    )


def _asked(project: Project, votes: tuple[Vote, ...]) -> str | None:
    """Why an adjudicator is asked about votes that settle nothing."""
    if project.policy is ReadingPolicy.ADJUDICATED and differ(votes):
        return DISAGREEMENT
    return UNDECIDED if len(votes) >= MOST_UNDECIDED else None


def _is_unseen(image_set: ImageSet, case: Case, read: Read, project: Project) -> bool:
    """Whether a reader can have seen nothing of what others, or a model, say of the image set."""
    if image_set.state is State.VERIFIED:
        return False
    others = [vote for vote in case.of(read.version) if vote.reader != read.reader]
    is_first = case.by(read.reader, read.version) is None
    if project.policy is ReadingPolicy.SINGLE:
        return image_set.prediction is None
    return is_first or not (others or image_set.prediction is not None)
