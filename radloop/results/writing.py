"""Results become DICOM objects in the study they are about, by the way every scan comes in.

A UID follows from what is told, so that telling the same twice is one object. What is made goes into series of its
own: the report of reads, the report of a model, the picture of a model. Those of a model say so themselves
(`core.images.MADE_BY_AI`), and by that are never work for a reader, never learned from and never predicted on.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Literal

from radloop.core.errors import Blinded, Conflict, Corrupt, InvalidInput, NotFound
from radloop.core.identity import Principal
from radloop.core.images import MADE_BY_AI, ImageSet, State
from radloop.core.platform import Platform
from radloop.core.ports import Records, Upload
from radloop.core.reads import ReadingPolicy, project_of
from radloop.core.tables import IMAGE_SETS, INSTANCES
from radloop.dicom.capture import capture_file
from radloop.dicom.make import AI_CAPTURE, result_series, uid_of
from radloop.dicom.report import report_file
from radloop.results.account import Account, Kind, Word, account_of, device_of, images_of
from radloop.results.picture import KeySlice, drawn
from radloop.results.reports import AI_CAPTURE_SERIES, ai_report, provenance_report

__all__ = ["AiResult", "KeySlice", "keep_provenance", "write_result"]

_DIGITS_OF_WEIGHTS: Final = 12
_DERIVATION = "Grad-CAM of a model over the slice of most weight, drawn as colours; not verified, not for diagnosis"


@dataclass(frozen=True, slots=True)
class AiResult:
    """What a model version says of an image set.

    Attributes:
        probability: Of the finding, 0..1, calibrated; None where the model refused to judge.
        threshold: From which on the finding is called present.
        finding: None where the model refused to judge.
        weights_sha256: Of the network; its hexadecimal digits.
        out_of_distribution: The images are unlike what the model was made from.
        reason: Why it refused, in a few words; empty where it did not.
        at: When it looked.
    """

    probability: float | None
    threshold: float
    finding: Literal["present", "absent"] | None
    model_version: int
    weights_sha256: str
    out_of_distribution: bool
    at: datetime
    reason: str = ""

    def __post_init__(self) -> None:
        """Refuse what contradicts itself.

        Raises:
            InvalidInput: A probability out of range, or one without a finding, or a finding without one.
        """
        if self.probability is not None and not 0 <= self.probability <= 1:
            raise InvalidInput("a probability is from 0 to 1")
        if (self.probability is None) != (self.finding is None):
            raise InvalidInput("a result has both a probability and a finding, or neither")


def write_result(
    platform: Platform, image_set: ImageSet, result: AiResult, picture: KeySlice | None, *, by: Principal
) -> tuple[str, ...]:
    """Write a model's result into the study as a report and, where there is something to show, a picture.

    Args:
        platform: Where image sets are kept.
        image_set: What the model looked at, as it looked at it.
        result: What it says.
        picture: The slice of most weight with where the model looked; None for none. A refusal is never drawn.
        by: Who let it look.

    Returns:
        SOP instance UIDs: of the report, then of the picture. Writing the same twice gives the same and keeps one.
        None at all while readers must not learn what a model says: write it again once there is ground truth.

    Raises:
        Conflict: The image set is still arriving, or a model made it.
        InvalidInput: It has no images, or the picture names a frame that it has not.
        NotFound: It has been deleted meanwhile.
        Corrupt: What was made was not accepted by our own door.
    """
    if image_set.made_by_ai:
        raise Conflict(f"image set {image_set.id} was made by a model, which no model looks at")
    if not image_set.is_closed:
        raise Conflict(f"image set {image_set.id} is still arriving; write results once it is closed")
    if _is_blinded(platform.records, image_set):
        return ()
    images = images_of(platform.records, image_set)
    frame = None if picture is None else picture.frame
    if not images.shown or (frame is not None and not 0 <= frame < len(images.places)):
        raise InvalidInput(f"image set {image_set.id} has no such image to tell a result of")
    account = replace(images, words=(_word(image_set, result, frame),))
    report = ai_report(account)
    made: dict[str, Callable[[], bytes]] = {report.sop_uid: lambda: report_file(report)}
    if picture is not None and result.finding is not None:
        uid = uid_of("ai-capture", report.sop_uid, str(picture.frame))
        made[uid] = lambda: _capture(account, result, picture, uid)
    for sop_uid, make in made.items():
        if not _is_kept(platform.records, image_set.datastore, sop_uid):
            _land(platform, image_set, make(), by)
    return tuple(made)


def keep_provenance(platform: Platform, image_set: ImageSet, *, by: Principal) -> str:
    """Keep the report of reads and ground truth in the study it is about; returns its SOP instance UID.

    Where the same is kept already nothing is written. One that tells more stands beside the ones before it.

    Raises:
        Blinded: Readers who have not read yet would learn from it what others said.
        NotFound: Nobody has said anything yet, or it has been deleted meanwhile.
        InvalidInput: The image set has no images.
        Corrupt: What was made was not accepted by our own door.
    """
    if _is_blinded(platform.records, image_set):
        raise Blinded(f"image set {image_set.id} is still being read; its report is kept once there is ground truth")
    report = provenance_report(account_of(platform.records, platform.models, image_set))
    if not _is_kept(platform.records, image_set.datastore, report.sop_uid):
        _land(platform, image_set, report_file(report), by)
    return report.sop_uid


def _is_blinded(records: Records, image_set: ImageSet) -> bool:
    """Whether what lies in the study would tell a reader too early what others or a model said."""
    is_open = image_set.state is not State.INGESTED
    return not is_open and project_of(records, image_set.datastore).policy is not ReadingPolicy.SINGLE


def _word(image_set: ImageSet, result: AiResult, frame: int | None) -> Word:
    return Word(
        id=f"{image_set.id}-model-{result.model_version}",
        kind=Kind.MODEL,
        observer=device_of(result.model_version, result.weights_sha256),
        at=result.at,
        version=image_set.version,
        present=None if result.finding is None else result.finding == "present",
        probability=result.probability,
        threshold=result.threshold,
        reason=result.reason,
        outside=result.out_of_distribution,
        frame=frame,
        model_version=result.model_version,
    )


def _capture(account: Account, result: AiResult, picture: KeySlice, uid: str) -> bytes:
    source = account.key_picture(picture.frame)
    assert source is not None  # looked for before
    return capture_file(
        drawn(picture, _lines(account, result, picture)),
        account.subject,
        source=source,
        sop_uid=uid,
        series_uid=result_series(AI_CAPTURE, account.image_set.id),
        series_number=AI_CAPTURE_SERIES,
        instance_number=result.model_version,
        series_description="AI heat map, not verified",
        model_name=MADE_BY_AI,
        derivation=_DERIVATION,
        at=result.at,
        was_lossy=account.is_lossy(picture.frame),
    )


def _lines(account: Account, result: AiResult, picture: KeySlice) -> tuple[str, ...]:
    """What is told below the picture: no patient's value, for a picture travels further than its header."""
    kind = "Slice" if account.image_set.modality == "CT" else "View"
    weights = result.weights_sha256[:_DIGITS_OF_WEIGHTS] or "unknown"
    outside = " - unlike what the model was made from" if result.out_of_distribution else ""
    return (
        f"Pneumonia: {result.finding}   probability {result.probability:.2f}   threshold {result.threshold:.2f}",
        f"Model version {result.model_version}, weights {weights}{outside}",
        f"{kind} {picture.frame + 1} of {len(account.places)}. Colours show what weighed on the answer,",
        "not where a disease is. Made by software that is not a medical device.",
    )


def _is_kept(records: Records, datastore: str, sop_uid: str) -> bool:
    """Whether the data store has the object."""
    for row in records.find(INSTANCES, {"sop_uid": sop_uid}):
        owner = records.get(IMAGE_SETS, str(row.columns["image_set"]))
        if owner is not None and owner.columns["datastore"] == datastore:
            return True
    return False


def _land(platform: Platform, image_set: ImageSet, data: bytes, by: Principal) -> None:
    if platform.records.get(IMAGE_SETS, image_set.id, columns=()) is None:
        raise NotFound(f"no image set {image_set.id}")
    (landing,) = platform.images.land([Upload(data)], by=by, datastore=image_set.datastore)
    if landing.outcome == "quarantined":
        raise Corrupt(f"a result of image set {image_set.id} was not accepted: {landing.reason}")
