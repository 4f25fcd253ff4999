"""What is known of an image set's finding: every read, every label it had, what a model said, and of which images.

An account is made of records alone and holds plain values, so that a report and a FHIR resource tell the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from radloop.core.errors import NotFound
from radloop.core.images import ImageSet
from radloop.core.ports import Models, Records, Row
from radloop.core.predictions import CHAMPION, key_of, observation_of
from radloop.core.reads import Label, Read, Rule, labels_of, reads_of
from radloop.core.tables import INSTANCES, PREDICTIONS, SALIENCY, VERSIONS
from radloop.dicom.concepts import (
    ADJUDICATOR,
    CONFIDENCES,
    PNEUMONIA,
    READER,
    Concept,
    Site,
    site_of,
)
from radloop.dicom.make import uid_of
from radloop.dicom.report import Device, Person
from radloop.dicom.subject import KeyPicture, Picture, Subject

MODEL_NAME = "radloop pneumonia model"
NOT_BLINDED = "not-blinded"
"""Of a read that was made with knowledge of others, and so never counts."""
_ACCOUNTABLE = frozenset({Rule.SINGLE, Rule.AGREEMENT, Rule.ADJUDICATION, Rule.REVISION})


class Kind(StrEnum):
    """What a word on the finding is."""

    READ = "read"
    LABEL = "label"
    MODEL = "model"


@dataclass(frozen=True, slots=True)
class Word:
    """One word on the finding, by one observer at one time.

    Attributes:
        id: Of ours; the same word has the same id wherever it is told.
        observer: A person or a model.
        present: None where a model refused to judge.
        probability: Of present: a model's, or by all reads together.
        threshold: Of a model.
        rule: What made a label ground truth, or `NOT_BLINDED` of a read.
        reason: An adjudicator's, or a model's for refusing.
        reads: How many reads a label rests on.
        is_current: Whether a label is the one that holds.
        outside: Whether the images are unlike what a model was made from; None where nobody looked.
        frame: The frame in view or of most weight, from 0; None where none is told.
        model_version: 0 for a person.
    """

    id: str
    kind: Kind
    observer: Person | Device
    at: datetime
    version: int
    present: bool | None
    site: Site | None = None
    confidence: Concept | None = None
    probability: float | None = None
    threshold: float | None = None
    rule: str = ""
    reason: str = ""
    reads: int | None = None
    is_current: bool = False
    outside: bool | None = None
    frame: int | None = None
    model_version: int = 0

    @property
    def finding(self) -> Concept:
        """What it is a word on."""
        return PNEUMONIA


@dataclass(frozen=True, slots=True)
class Shown:
    """An instance with images; `is_lossy` as it was received."""

    picture: Picture
    number: int
    frames: int
    is_lossy: bool


@dataclass(frozen=True, slots=True)
class Account:
    """Everything known of an image set's finding that whoever asked may see.

    Attributes:
        shown: Its instances with images, in slice order.
        places: For each frame, in slice order, the place of its instance in `shown` and its number there, from 0.
        words: Reads, then labels, then a model's, each oldest first.
    """

    image_set: ImageSet
    shown: tuple[Shown, ...]
    places: tuple[tuple[int, int], ...]
    words: tuple[Word, ...]

    @property
    def subject(self) -> Subject:
        """Whose images they are, as a report wants it."""
        image_set = self.image_set
        pictures = tuple(each.picture for each in self.shown)
        return Subject(image_set.attributes, image_set.patient_id, image_set.study_uid, image_set.series_uid, pictures)

    @property
    def truth(self) -> Word | None:
        """The ground truth that holds; None where there is none."""
        return next((word for word in self.words if word.is_current), None)

    @property
    def accountable(self) -> tuple[Word, ...]:
        """The ground truth, where it is one person's own finding; nothing where it was reckoned from several."""
        truth = self.truth
        return (truth,) if truth is not None and truth.rule in _ACCOUNTABLE else ()

    def key_picture(self, frame: int | None) -> KeyPicture | None:
        """The image a frame is in, with the frame's number from 1 where the instance has several."""
        if frame is None or not 0 <= frame < len(self.places):
            return None
        place, number = self.places[frame]
        shown = self.shown[place]
        return KeyPicture(shown.picture, number + 1 if shown.frames > 1 else None)

    def is_lossy(self, frame: int) -> bool:
        """Whether a frame had lost something before it came."""
        return self.shown[self.places[frame][0]].is_lossy


def account_of(records: Records, models: Models, image_set: ImageSet, *, unseen_by: str | None = None) -> Account:
    """All that is known of an image set.

    Args:
        records: Where everything is kept.
        models: Whose versions said something.
        image_set: As it is stored.
        unseen_by: A reader who must not learn what others, or a model, said before reading: only that reader's own
            reads are told. None for who may see all.
    """
    shown, places = _shown(records, image_set.id)
    reads = [each for each in reads_of(records, image_set.id) if unseen_by in {None, each.reader}]
    labels = [] if unseen_by is not None else labels_of(records, image_set)
    model = None if unseen_by is not None else _of_model(records, models, image_set)
    words = [
        *map(_of_read, reads),
        *(_of_label(each, is_current=each is labels[-1] and image_set.truth is not None) for each in labels),
        *([] if model is None else [model]),
    ]
    return Account(image_set, shown, places, tuple(words))


def device_of(model_version: int, weights_sha256: str) -> Device:
    """A model version as an observer; its UID stands for exactly these weights."""
    uid = uid_of("model", str(model_version), weights_sha256)
    return Device(uid, MODEL_NAME, f"version {model_version}", weights_sha256)


def images_of(records: Records, image_set: ImageSet) -> Account:
    """The same without words: what the images are and where each frame lies."""
    shown, places = _shown(records, image_set.id)
    return Account(image_set, shown, places, ())


# One word each


def _of_read(read: Read) -> Word:
    finding = read.finding
    return Word(
        id=read.id,
        kind=Kind.READ,
        observer=Person(read.reader, READER),
        at=read.at,
        version=read.version,
        present=finding.present,
        site=site_of(finding.site, finding.laterality),
        confidence=CONFIDENCES[str(finding.confidence)],
        rule="" if read.is_blinded else NOT_BLINDED,
        frame=finding.seen.frame,
    )


def _of_label(label: Label, *, is_current: bool) -> Word:
    finding = label.finding
    role = ADJUDICATOR if label.rule is Rule.ADJUDICATION else READER
    return Word(
        id=f"{label.image_set}-{label.version}",
        kind=Kind.LABEL,
        observer=Person(label.by, role),
        at=label.at,
        version=label.version,
        present=finding.present,
        site=site_of(finding.site, finding.laterality),
        confidence=CONFIDENCES[str(finding.confidence)],
        probability=label.posterior,
        rule=str(label.rule),
        reason=label.reason or "",
        reads=label.reads,
        is_current=is_current,
        frame=finding.seen.frame,
    )


def _of_model(records: Records, models: Models, image_set: ImageSet) -> Word | None:
    """What the champion said, as it stands with the image set; predictions of before tell less."""
    told: Mapping[str, Any] | None = image_set.prediction
    if told is None:
        return None
    version = int(told["model_version"])
    row = records.get(PREDICTIONS, key_of(version, image_set.id))
    asked = None if row is None else observation_of(row)
    is_kept = asked is not None and asked.role == CHAMPION
    finding = told.get("finding")
    ood = told.get("ood")
    return Word(
        id=f"{image_set.id}-model-{version}",
        kind=Kind.MODEL,
        observer=device_of(version, _weights(records, models, image_set, version)),
        at=datetime.fromisoformat(asked.at) if asked is not None and is_kept else image_set.updated_at,
        version=asked.version if asked is not None and is_kept else image_set.version,
        present=None if finding is None else finding == "present",
        probability=told.get("probability"),
        threshold=told.get("threshold"),
        reason=str(told.get("refused") or ""),
        outside=None if ood is None else bool(ood["outside"]),
        frame=told.get("frame"),
        model_version=version,
    )


def _weights(records: Records, models: Models, image_set: ImageSet, version: int) -> str:
    """SHA-256 of the network that looked, as was noted then, or as the version's lineage tells it; "" where neither."""
    row = records.get(SALIENCY, image_set.id)
    if row is not None and row.document["model_version"] == version:
        return str(row.document["weights_sha256"])
    try:
        return str(models.get(version).lineage.get("weights_sha256") or "")
    except NotFound:
        return ""


# The images


def _shown(records: Records, identity: str) -> tuple[tuple[Shown, ...], tuple[tuple[int, int], ...]]:
    """Instances with images in slice order, and where each frame lies."""
    current = [row for row in records.find(INSTANCES, {"image_set": identity}) if not row.document["superseded_by"]]
    versions = records.find(VERSIONS, {"image_set": identity}, newest_first=True, limit=1)
    order = versions[0].document if versions else {"instances": [], "frames": []}
    place_of = {name: place for place, name in enumerate(order["instances"])}
    with_images = [row for row in current if row.document["image"] is not None]
    rows = sorted(with_images, key=lambda row: (place_of.get(row.key, len(place_of)), *_number(row)))
    shown = tuple(map(_instance, rows))
    now_at = {row.key: place for place, row in enumerate(rows)}
    names = order["instances"]
    told = [(now_at[names[place]], number) for place, number in order["frames"] if names[place] in now_at]
    return shown, tuple(told) or tuple((at, number) for at, each in enumerate(shown) for number in range(each.frames))


def _number(row: Row) -> tuple[int, str]:
    return int(row.document["number"]), str(row.document["sop_uid"])


def _instance(row: Row) -> Shown:
    document = row.document
    image = document["image"]
    picture = Picture(
        sop_class=str(document["sop_class"]),
        sop_uid=str(document["sop_uid"]),
        rows=int(image.get("rows") or 0),
        columns=int(image.get("columns") or 0),
    )
    return Shown(picture, int(document["number"]), int(image["frames"]), bool(document["is_lossy"]))
