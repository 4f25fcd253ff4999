"""Reads and labels: what each reader said, what became ground truth of it and by which rule; neither is ever rewritten.

A project is a data store, and says how many readers it takes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from radloop.core.errors import InvalidInput
from radloop.core.images import Finding, ImageSet
from radloop.core.ports import Put, Records, Row
from radloop.core.tables import LABELS, PROJECTS, READS, finding_document, finding_of


class ReadingPolicy(StrEnum):
    """How many readers it takes to make ground truth.

    `single`: one. `double`: two that agree, or as many more as it takes until one answer is probable enough.
    `double-adjudicated`: two that agree, or an adjudicator.
    """

    SINGLE = "single"
    DOUBLE = "double"
    ADJUDICATED = "double-adjudicated"


class Rule(StrEnum):
    """What made a label ground truth."""

    SINGLE = "single"
    AGREEMENT = "agreement"
    POSTERIOR = "posterior"
    ADJUDICATION = "adjudication"
    REVISION = "revision"


DISAGREEMENT, UNDECIDED, CHANGED_MIND = "disagreement", "undecided", "changed-mind"
"""Why an adjudicator is asked: two differ; many have read and nothing is probable enough; one thinks otherwise now."""

REASONS = ("finding-overlooked", "artefact", "other-disease", "borderline", "technique", "other")
"""Why readers differed, as an adjudicator tells it."""

SETTLE_AT = 0.9
_LEAST, _MOST = 0.6, 0.999


@dataclass(frozen=True, slots=True)
class Project:
    """How the image sets of one data store are read.

    Attributes:
        settle_at: Probability of an answer from which on it is ground truth, where readers differ; for `double`.
        changed_by: Who set it so; None where nobody ever did.
    """

    datastore: str
    policy: ReadingPolicy = ReadingPolicy.SINGLE
    settle_at: float = SETTLE_AT
    changed_at: datetime | None = None
    changed_by: str | None = None

    def __post_init__(self) -> None:
        if not _LEAST <= self.settle_at <= _MOST:
            raise InvalidInput(f"settle_at must be from {_LEAST} to {_MOST}")


@dataclass(frozen=True, slots=True)
class Read:
    """One reader's finding on one version of an image set.

    Attributes:
        reader: Opaque id.
        is_blinded: Whether it was made before the reader could see what others, or a model, said. One that was not
            is kept and never counts.
    """

    id: str
    image_set: str
    version: int
    reader: str
    finding: Finding
    at: datetime
    is_blinded: bool = True


@dataclass(frozen=True, slots=True)
class Label:
    """A ground truth that an image set has, or once had.

    Attributes:
        version: The version that it made.
        by: Opaque id of the reader or adjudicator whose finding it is.
        reason: An adjudicator's, one of `REASONS`; None for the other rules.
        posterior: Probability of present by all reads; None where one read settled it.
        reads: How many reads it rests on.
    """

    image_set: str
    version: int
    finding: Finding
    rule: Rule
    by: str
    reason: str | None
    posterior: float | None
    reads: int
    at: datetime


def put_read(read: Read, datastore: str) -> Put:
    """The write that keeps a read; it fails where there is one of that id, for none is ever rewritten."""
    document = {
        "image_set": read.image_set,
        "version": read.version,
        "reader": read.reader,
        "finding": finding_document(read.finding),
        "at": read.at.isoformat(),
        "is_blinded": read.is_blinded,
    }
    columns = {"image_set": read.image_set, "datastore": datastore, "reader": read.reader}
    return Put(READS, read.id, document, columns, expected=0)


def read_of(row: Row) -> Read:
    """The read that a record holds."""
    document = row.document
    return Read(
        id=row.key,
        image_set=document["image_set"],
        version=document["version"],
        reader=document["reader"],
        finding=finding_of(document["finding"]),
        at=datetime.fromisoformat(document["at"]),
        is_blinded=document["is_blinded"],
    )


def reads_of(records: Records, image_set: str) -> list[Read]:
    """Every read of an image set, oldest first."""
    return [read_of(row) for row in records.find(READS, {"image_set": image_set})]


def put_label(label: Label, datastore: str) -> Put:
    """The write that keeps a label; it fails where there is one of that version, for none is ever rewritten."""
    document = {
        "image_set": label.image_set,
        "version": label.version,
        "finding": finding_document(label.finding),
        "rule": str(label.rule),
        "by": label.by,
        "reason": label.reason,
        "posterior": label.posterior,
        "reads": label.reads,
        "at": label.at.isoformat(),
    }
    key = f"{label.image_set}/{label.version:08d}"
    return Put(LABELS, key, document, {"image_set": label.image_set, "datastore": datastore}, expected=0)


def label_of(row: Row) -> Label:
    """The label that a record holds."""
    document: Mapping[str, Any] = row.document
    return Label(
        image_set=document["image_set"],
        version=document["version"],
        finding=finding_of(document["finding"]),
        rule=Rule(document["rule"]),
        by=document["by"],
        reason=document["reason"],
        posterior=document["posterior"],
        reads=document["reads"],
        at=datetime.fromisoformat(document["at"]),
    )


def labels_of(records: Records, image_set: ImageSet) -> list[Label]:
    """Every label an image set ever had, oldest first; the last is its ground truth.

    One that was verified before labels were kept has the one that stands with it.
    """
    kept = [label_of(row) for row in records.find(LABELS, {"image_set": image_set.id})]
    truth = image_set.truth
    if kept or truth is None:
        return kept
    rule = Rule(truth.rule)
    of_before = Label(
        image_set.id, image_set.version, truth.finding, rule, truth.by, None, truth.posterior, truth.reads, truth.at
    )
    return [of_before]


def project_of(records: Records, datastore: str) -> Project:
    """How the image sets of a data store are read; one read is ground truth where nobody said otherwise."""
    row = records.get(PROJECTS, datastore)
    return Project(datastore) if row is None else _project(row)


def put_project(project: Project) -> Put:
    """The write that keeps how a data store is read."""
    document = {
        "policy": str(project.policy),
        "settle_at": project.settle_at,
        "changed_at": None if project.changed_at is None else project.changed_at.isoformat(),
        "changed_by": project.changed_by,
    }
    return Put(PROJECTS, project.datastore, document)


def _project(row: Row) -> Project:
    document = row.document
    at = document["changed_at"]
    return Project(
        datastore=row.key,
        policy=ReadingPolicy(document["policy"]),
        settle_at=document["settle_at"],
        changed_at=None if at is None else datetime.fromisoformat(at),
        changed_by=document["changed_by"],
    )
