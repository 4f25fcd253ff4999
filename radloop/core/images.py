"""Image sets: one series as stored, what is known of it, and how it may change."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from radloop.core.cases import Case
from radloop.core.errors import Conflict, InvalidInput
from radloop.core.events import ImageIngested, ImageVerified


class State(StrEnum):
    """How far people have come with an image set."""

    INGESTED = "INGESTED"
    VERIFIED = "VERIFIED"
    REJECTED = "REJECTED"


class Storage(StrEnum):
    """How an instance's bytes are kept: as they came, as verified HTJ2K, or as they came for good."""

    LANDED = "landed"
    FOLDED = "folded"
    KEPT = "kept"


class Confidence(StrEnum):
    """How sure the reader was."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


SITES: Mapping[str, str] = {
    "RUL": "Right upper lobe",
    "RML": "Right middle lobe",
    "RLL": "Right lower lobe",
    "LUL": "Left upper lobe",
    "LINGULA": "Lingula",
    "LLL": "Left lower lobe",
    "BILATERAL": "Both lungs",
    "DIFFUSE": "Diffuse",
}

LATERALITIES = ("left", "right", "both")
SIDE_OF_SITE: Mapping[str, str] = {
    "RUL": "right",
    "RML": "right",
    "RLL": "right",
    "LUL": "left",
    "LINGULA": "left",
    "LLL": "left",
    "BILATERAL": "both",
}
"""The laterality that a site implies; a diffuse finding may be on any side."""

MADE_BY_AI = "radloop AI result"
"""ManufacturerModelName of what a model of ours wrote, by which it is known wherever it comes from."""

SEEN_IN_FULL = frozenset({"lossless", "lossy-as-received"})


@dataclass(frozen=True, slots=True)
class Notice:
    """Something worth a reader's eye that did not keep the image out: a stable code and a sentence."""

    code: str
    message: str


_RUNS = re.compile(r"(?:[npf](?:[2-9]|[1-9][0-9]{1,8})?)+")
_RUN = re.compile(r"([npf])([0-9]*)")
_LONGEST_RUNS = 48 * 1024
_LONGEST_LOOK_MS = 7 * 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class Coverage:
    """What a reader was shown of a whole series before deciding, as their screen told it.

    Attributes:
        slices: For every frame in turn the best it was drawn in, as runs of a letter and how many frames it holds for,
            1 left out: `n` never, `p` a preview or a neighbour in its place, `f` at full quality.
        preview_ms: Milliseconds in which what was drawn was a preview or a neighbour.
        full_ms: Milliseconds in which it was at full quality.

    >>> seen = Coverage("n2pf3")
    >>> seen.frames, seen.never, seen.preview, seen.full, seen.at(3)
    (6, 2, 1, 3, 'f')
    """

    slices: str
    preview_ms: int = 0
    full_ms: int = 0

    def __post_init__(self) -> None:
        if len(self.slices) > _LONGEST_RUNS or not _RUNS.fullmatch(self.slices):
            raise InvalidInput("seen.slices must be runs of n, p and f, each with how many frames it holds for")
        if not (0 <= self.preview_ms <= _LONGEST_LOOK_MS and 0 <= self.full_ms <= _LONGEST_LOOK_MS):
            raise InvalidInput(f"seen.preview_ms and seen.full_ms must be from 0 to {_LONGEST_LOOK_MS}")

    @property
    def frames(self) -> int:
        """How many frames it tells of."""
        return self.never + self.preview + self.full

    @property
    def never(self) -> int:
        """Frames that were never drawn."""
        return self._count("n")

    @property
    def preview(self) -> int:
        """Frames that were drawn as a preview only, or stood for by a neighbour."""
        return self._count("p")

    @property
    def full(self) -> int:
        """Frames that were drawn at full quality."""
        return self._count("f")

    def at(self, frame: int) -> str:
        """The letter of one frame; "" beyond the last."""
        end = 0
        for letter, length in self._runs():
            end += length
            if frame < end:
                return letter
        return ""

    def _count(self, letter: str) -> int:
        return sum(length for each, length in self._runs() if each == letter)

    def _runs(self) -> list[tuple[str, int]]:
        return [(letter, int(length or 1)) for letter, length in _RUN.findall(self.slices)]


@dataclass(frozen=True, slots=True)
class Seen:
    """What was on screen when a reader decided.

    Attributes:
        frame: The frame in view.
        quality: What it was shown in: one of `SEEN_IN_FULL`.
        coverage: What was shown of all the others; None where nobody told, as programs cannot.
    """

    frame: int
    quality: str
    coverage: Coverage | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """A reader's word on pneumonia.

    Attributes:
        present: Whether it is there.
        site: A key of `SITES`, only where it is present.
        confidence: How sure the reader was.
        note: Free text; stays with the image set and never enters an event or a log.
        seen: The frame in view, which must have been at full quality, and what was shown of the others.
        laterality: One of `LATERALITIES`, only where it is present; follows from a site that implies it.
    """

    present: bool
    site: str | None
    confidence: Confidence
    note: str
    seen: Seen
    laterality: str | None = None

    def __post_init__(self) -> None:
        if self.site is not None and self.site not in SITES:
            raise InvalidInput(f"site must be one of {', '.join(SITES)}")
        if self.site is not None and not self.present:
            raise InvalidInput("a site is given only with a finding that is present")
        if self.laterality is not None and self.laterality not in LATERALITIES:
            raise InvalidInput(f"laterality must be one of {', '.join(LATERALITIES)}")
        if self.laterality is not None and not self.present:
            raise InvalidInput("a laterality is given only with a finding that is present")
        implied = SIDE_OF_SITE.get(self.site or "")
        if implied is not None and self.laterality not in {None, implied}:
            raise InvalidInput(f"site {self.site} is {implied}, which the laterality contradicts")
        if implied is not None:
            object.__setattr__(self, "laterality", implied)
        if self.seen.quality not in SEEN_IN_FULL:
            raise InvalidInput("a finding needs a frame seen at full quality, found a preview")

    @property
    def word(self) -> str:
        """'present' or 'absent'."""
        return "present" if self.present else "absent"


@dataclass(frozen=True, slots=True)
class Truth:
    """A finding that is ground truth, with who gave it and when.

    Attributes:
        by: Opaque id of the reader whose finding it is: the adjudicator's, or the last read's that says so.
        posterior: Probability of present by all reads; None where one read settled it.
        reads: How many reads it rests on.
        rule: What settled it: a `core.reads.Rule`.
    """

    finding: Finding
    by: str
    at: datetime
    posterior: float | None = None
    reads: int = 1
    rule: str = "single"


@dataclass(frozen=True, slots=True)
class ImageSet:
    """One series as stored: versioned, without pixels.

    Attributes:
        id: 32 characters of 0-9a-z.
        version: Rises by one with every change that readers may notice.
        is_closed: All instances known so far are in; late ones open it again.
        attributes: Hot DICOM attributes of the series by keyword; patient data.
        instances: How many instances it holds; `frames`: how many frames in all of them.
        notices: What a reader should know about the way it arrived.
        geometry: Derived at closing, as plain values (see `dicom.geometry`); empty before.
        prediction: What the champion model said, as plain values, or None.
        wrapped_key: The data key that seals its bytes, wrapped by the key-encryption key.
        datastore: Id of the data store it belongs to.
        is_primary: Whether it is the image set of its series; False where another patient's claim came first.
        case: What has been read of it so far; None before the first read. Never shown as it is.
    """

    id: str
    version: int
    state: State
    is_closed: bool
    patient_id: str
    study_uid: str
    series_uid: str
    attributes: Mapping[str, Any]
    instances: int
    frames: int
    landed: int
    kept: int
    original_bytes: int
    stored_bytes: int
    notices: tuple[Notice, ...]
    geometry: Mapping[str, Any]
    truth: Truth | None
    prediction: Mapping[str, Any] | None
    wrapped_key: bytes
    created_at: datetime
    updated_at: datetime
    datastore: str
    is_primary: bool = True
    case: Case | None = None

    @property
    def asked(self) -> str | None:
        """Why an adjudicator is asked about it as it is now, a stable code; None where none is."""
        case = self.case
        if case is None or (self.state is State.INGESTED and case.asked_of != self.version):
            return None
        return case.asked

    @property
    def modality(self) -> str:
        """DICOM Modality, or OT where the series tells none."""
        return str(self.attributes.get("Modality") or "OT")

    @property
    def made_by_ai(self) -> bool:
        """Whether a model wrote it: nothing to verify, to learn from, or to predict on."""
        return self.attributes.get("ManufacturerModelName") == MADE_BY_AI

    @property
    def has_work(self) -> bool:
        """Whether there is anything in it for a reader: images, and not those that a model made."""
        return bool(self.frames) and not self.made_by_ai

    @property
    def storage(self) -> Storage:
        """The storage of its least advanced instance."""
        if self.landed:
            return Storage.LANDED
        return Storage.KEPT if self.kept == self.instances else Storage.FOLDED

    def close(
        self, *, geometry: Mapping[str, Any], notices: tuple[Notice, ...], at: datetime
    ) -> tuple["ImageSet", ImageIngested]:
        """End the arrival of instances; storing the result and publishing the event is the caller's job.

        Raises:
            Conflict: It is closed already.
        """
        if self.is_closed:
            raise Conflict(f"image set {self.id} is closed already")
        after = replace(self, is_closed=True, geometry=geometry, notices=notices, updated_at=at)
        event = ImageIngested(
            image_set=self.id,
            version=self.version,
            modality=self.modality,
            instances=self.instances,
            frames=self.frames,
        )
        return after, event

    def require_readable(self, finding: Finding, version: int) -> None:
        """Go on only with a finding on the images as they are now.

        Raises:
            Conflict: They changed since, or are still arriving.
            InvalidInput: What was seen does not fit its frames.
        """
        if version != self.version:
            raise Conflict(f"image set {self.id} is at version {self.version}, the read is of version {version}")
        if not self.is_closed:
            raise Conflict(f"image set {self.id} is still arriving; verify it once it is closed")
        if self.made_by_ai:
            raise Conflict(f"image set {self.id} was made by a model; there is nothing to verify in it")
        if not 0 <= finding.seen.frame < self.frames:
            raise InvalidInput(f"frame {finding.seen.frame} does not exist; the image set has {self.frames}")
        coverage = finding.seen.coverage
        if coverage is not None and coverage.frames != self.frames:
            raise InvalidInput(f"seen.slices tells of {coverage.frames} frames; the image set has {self.frames}")
        if coverage is not None and coverage.at(finding.seen.frame) != "f":
            raise InvalidInput(f"seen.slices says that frame {finding.seen.frame}, in view, was not at full quality")

    def require_undecided(self) -> None:
        """Go on only where nobody has decided.

        Raises:
            Conflict: It has been verified or rejected.
        """
        if self.state is not State.INGESTED:
            raise Conflict(f"image set {self.id} is {self.state}, only INGESTED can be verified")

    def verify(self, finding: Finding, *, version: int, by: str, at: datetime) -> tuple["ImageSet", ImageVerified]:
        """Record a radiologist's finding as ground truth.

        Args:
            finding: What was found, and on which frame.
            version: The version the reader looked at.
            by: Opaque id of the reader.
            at: When.

        Raises:
            Conflict: It changed since, is still arriving, or has been verified or rejected.
            InvalidInput: What was seen does not fit its frames.
        """
        self.require_readable(finding, version)
        self.require_undecided()
        return self.settle(Truth(finding=finding, by=by, at=at))

    def settle(self, truth: Truth) -> tuple["ImageSet", ImageVerified]:
        """Make `truth` the ground truth of the next version, in the place of any before; whether it may is asked first.

        Returns:
            The next version, and the event that tells of it.
        """
        case = None if self.case is None else replace(self.case, asked=None, asked_at=None)
        after = replace(
            self, version=self.version + 1, state=State.VERIFIED, truth=truth, updated_at=truth.at, case=case
        )
        finding, coverage = truth.finding, truth.finding.seen.coverage
        is_of_many = truth.rule != "single"
        event = ImageVerified(
            image_set=self.id,
            version=after.version,
            finding=finding.word,
            site=finding.site,
            confidence=finding.confidence,
            verified_by=truth.by,
            frames_full=None if coverage is None else coverage.full,
            frames_preview=None if coverage is None else coverage.preview,
            frames_never=None if coverage is None else coverage.never,
            reads=truth.reads if is_of_many else None,
            posterior=truth.posterior,
            rule=truth.rule if is_of_many else None,
        )
        return after, event
