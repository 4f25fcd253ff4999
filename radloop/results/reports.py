"""Accounts as DICOM reports: who said what of an image set, or what a model says alone."""

import hashlib
import json
from datetime import datetime
from typing import Any, Final

from radloop.core.errors import NotFound
from radloop.core.images import MADE_BY_AI
from radloop.dicom.concepts import (
    ABSENT,
    ARTIFICIAL_INTELLIGENCE,
    CERTAINTY,
    IMAGING,
    NO,
    NO_UNITS,
    NOTICE,
    OUTSIDE,
    PRESENT,
    PROBABILITY,
    PROCEDURES,
    READS,
    REASON,
    STEP,
    THRESHOLD,
    UNDETERMINED,
    YES,
    Concept,
)
from radloop.dicom.make import AI_REPORT, PROVENANCE, result_series, uid_of
from radloop.dicom.report import Algorithm, Device, Group, Measure, Person, Report
from radloop.results.account import Account, Kind, Word
from radloop.results.picture import WARNING

PROVENANCE_NAME: Final = "radloop provenance"
_READS_SERIES, _AI_SERIES = 9901, 9902
AI_CAPTURE_SERIES: Final = 9903
NOT_A_DEVICE: Final = "Made by software that is not a medical device."


def provenance_report(account: Account) -> Report:
    """Every word on an image set's finding as one report, in a series of its own beside the images.

    It is verified where the ground truth is one person's own finding, and by that person; it is not where the truth
    was reckoned from several reads, or there is none.

    Raises:
        NotFound: Nobody has said anything yet.
    """
    if not account.words:
        raise NotFound(f"nobody has said anything of image set {account.image_set.id} yet")
    verified = tuple((word.observer.id, word.at) for word in account.accountable if isinstance(word.observer, Person))
    return Report(
        subject=account.subject,
        sop_uid=_content_uid("provenance", account),
        series_uid=result_series(PROVENANCE, account.image_set.id),
        series_number=_READS_SERIES,
        instance_number=len(account.words),
        series_description="Reads and ground truth",
        model_name=PROVENANCE_NAME,
        at=max(word.at for word in account.words),
        procedure=_procedure(account),
        observers=_observers(account.words),
        groups=tuple(_group(account, word, number) for number, word in enumerate(account.words, start=1)),
        verified_by=verified,
        is_final=bool(verified),
    )


def ai_report(account: Account) -> Report:
    """What a model alone says, marked as such: never verified, never final.

    Args:
        account: Images, and the model's word as the only one.
    """
    (word,) = account.words
    return Report(
        subject=account.subject,
        sop_uid=_content_uid("ai-report", account, without=("at",)),
        series_uid=result_series(AI_REPORT, account.image_set.id),
        series_number=_AI_SERIES,
        instance_number=word.model_version,
        series_description="AI result, not verified",
        model_name=MADE_BY_AI,
        at=word.at,
        procedure=_procedure(account),
        observers=_observers(account.words),
        groups=(_group(account, word, 1),),
    )


def said(word: Word) -> Concept:
    """Whether the finding is there, coded."""
    return UNDETERMINED if word.present is None else PRESENT if word.present else ABSENT


def title_of(word: Word, number: int) -> str:
    """A word's name for people."""
    if word.kind is Kind.LABEL:
        return "Ground truth" if word.is_current else f"Ground truth until replaced, version {word.version}"
    return f"Read {number}" if word.kind is Kind.READ else WARNING


def _procedure(account: Account) -> Concept:
    return PROCEDURES.get(account.image_set.modality, IMAGING)


def _observers(words: tuple[Word, ...]) -> tuple[Person | Device, ...]:
    """Everybody once, in the order they came; one in two roles stands there in both."""
    return tuple(dict.fromkeys(word.observer for word in words))


def _group(account: Account, word: Word, number: int) -> Group:
    key = account.key_picture(word.frame)
    return Group(
        title=title_of(word, number),
        uid=uid_of("word", account.image_set.id, word.id),
        at=word.at,
        observer=word.observer,
        finding=word.finding if word.present else None,
        site=word.site,
        evaluations=_evaluations(word),
        measures=_measures(word),
        words=_words(word),
        pictures=() if key is None else (key,),
        algorithm=_algorithm(word),
    )


def _evaluations(word: Word) -> tuple[tuple[Concept, Concept], ...]:
    told = [(word.finding, said(word))]
    if word.confidence is not None:
        told.append((CERTAINTY, word.confidence))
    if word.outside is not None:
        told.append((OUTSIDE, YES if word.outside else NO))
    return tuple(told)


def _measures(word: Word) -> tuple[Measure, ...]:
    told = ((PROBABILITY, word.probability), (THRESHOLD, word.threshold), (READS, word.reads))
    return tuple(Measure(name, float(value), NO_UNITS) for name, value in told if value is not None)


def _words(word: Word) -> tuple[tuple[Concept, str], ...]:
    told = [(STEP, word.rule)] if word.rule else []
    if word.reason:
        told.append((REASON, word.reason))
    if word.kind is Kind.MODEL:
        told.append((NOTICE, f"{WARNING}. {NOT_A_DEVICE}"))
    return tuple(told)


def _algorithm(word: Word) -> Algorithm | None:
    """TID 4019; the threshold stands there too, for it is part of what was run."""
    device = word.observer
    if not isinstance(device, Device):
        return None
    parameters = [f"weights SHA-256 {device.serial}"] if device.serial else []
    if word.threshold is not None:
        parameters.append(f"threshold {word.threshold:.6g}")
    return Algorithm(device.name, device.model, ARTIFICIAL_INTELLIGENCE, tuple(parameters))


# The same content, the same object


def _content_uid(kind: str, account: Account, *, without: tuple[str, ...] = ()) -> str:
    """A UID that follows from everything the report tells, so that telling it twice is one object.

    What is left out of it may differ: a model that looks again and says the same says nothing new.
    """
    subject = account.subject
    content = {
        "image_set": account.image_set.id,
        "patient": subject.patient_id,
        "study": subject.study_uid,
        "attributes": {name: subject.attributes.get(name) for name in sorted(subject.attributes)},
        "pictures": [picture.sop_uid for picture in subject.pictures],
        "words": [_plain(word, without) for word in account.words],
    }
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), default=str)
    return uid_of(kind, hashlib.sha256(canonical.encode()).hexdigest())


def _plain(word: Word, without: tuple[str, ...]) -> dict[str, Any]:
    values = {name: getattr(word, name) for name in word.__slots__ if name not in without}
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()}
