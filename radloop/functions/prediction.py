"""The model looks at image sets: one that is asked about, every new one, or all that it has not seen yet.

Looking at many is a job each, in a lane of its own: what was done stays done when the worker is killed, and doing it
twice is doing it once. Beside the answer the numbers that drift is measured on are kept, and the places where the
network looked. What a shadow says is kept there too, and nowhere that a reader looks.
"""

import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from radloop.core.datasets import scanner_of, view_of
from radloop.core.errors import (
    Conflict,
    Corrupt,
    DoesNotDecode,
    InvalidInput,
    NoChampion,
    NotFound,
    Unavailable,
    UnsupportedPixels,
)
from radloop.core.events import Event
from radloop.core.identity import SYSTEM, Principal, derived_id, new_id
from radloop.core.images import ImageSet
from radloop.core.platform import Platform
from radloop.core.ports import AuditEntry, Change, Delete, Job, Put
from radloop.core.predictions import (
    CHAMPION,
    SHADOW,
    Observation,
    images_of,
    key_of,
    put_observation,
)
from radloop.core.reads import ReadingPolicy, project_of
from radloop.core.tables import ASKED, DRIFT, IMAGE_SETS, PREDICTIONS, SALIENCY, image_set_of
from radloop.dicom.tiles import CT, XRAYS, TileSpec
from radloop.reading.opinion import keep_beside, keep_prediction
from radloop.serving.champion import Champion, Opinion
from radloop.serving.saliency import Saliency, saliency_of

LANE: Final = "predict"
ASK_LANE: Final = "ask"
"""Where somebody waits for the answer; not behind the many of `LANE`."""
PREDICT, ASK_SHADOW, WRITE, WATCH = "predict", "ask_shadow", "write_result", "watch_drift"
ANSWER: Final = "answer_prediction"
"""Kinds of job in the lanes."""

WATCHED_EVERY: Final = 25
"""Answers of one version between two looks at drift; the smallest block there."""

_MODALITIES: Final = frozenset({CT, *XRAYS})
_AT_ONCE: Final = 500
_TRIES: Final = 3
_PATIENCE_S: Final = 120.0
_LOOK_S: Final = 0.02
_TOLD: Final = (NoChampion, NotFound, Conflict, DoesNotDecode, UnsupportedPixels, InvalidInput, Corrupt)
"""Errors that whoever asked is told; the nearest kind first."""


class Volumes(Protocol):
    """The part of the store that a model needs."""

    def get(self, identity: str) -> ImageSet:
        """One image set."""
        ...

    def volume(self, identity: str) -> NDArray[np.generic]:
        """All its frames."""
        ...


def handle(event: Event, platform: Platform) -> None:
    """Have the champion look at an image set that closed, if `predict_new` says so and there is a champion.

    A repeat asks for nothing new: the job is named by the image set, its version and the model's.
    """
    champion = platform.models.champion()
    if not platform.settings.predict_new or champion is None:
        return
    row = platform.records.get(IMAGE_SETS, str(event.detail["image_set"]))
    if row is None:
        return  # deleted meanwhile
    image_set = image_set_of(row)
    if is_judgeable(image_set):
        platform.records.commit(Change(jobs=[_asked(image_set, champion.version, event.trace)]))


def is_judgeable(image_set: ImageSet) -> bool:
    """Whether models look at such image sets: closed, with images of CT, CR or DX, and not made by a model itself."""
    return (
        image_set.is_closed and image_set.frames > 0 and image_set.modality in _MODALITIES and not image_set.made_by_ai
    )


def predict(
    image_set: ImageSet, images: Volumes, platform: Platform, champion: Champion, *, by: Principal
) -> tuple[ImageSet, Opinion]:
    """Have the champion look at an image set, and keep what it says.

    Args:
        image_set: As it is now, closed.
        images: Where its frames come from.
        platform: The ports.
        champion: Who looks.
        by: Who asked.

    Returns:
        The image set with the prediction, and all that the champion said.

    Raises:
        NoChampion: No model version has been approved yet.
        Conflict: The image set is still arriving, was made by a model, or changed meanwhile.
        InvalidInput: The model does not take such pixels.
    """
    if not image_set.is_closed:
        raise Conflict(f"image set {image_set.id} is still arriving; ask again once it is closed")
    if image_set.made_by_ai:
        raise Conflict(f"image set {image_set.id} was made by a model, which does not judge its own work")
    champion.version()  # there is no use in decoding a volume nobody can look at
    opinion = champion.predict(images.volume(image_set.id), image_set.modality)
    kept = keep_prediction(
        platform.records,
        image_set.id,
        opinion.plain(),
        version=image_set.version,
        by=by,
        beside=[put_observation(observed(image_set, opinion, platform, CHAMPION)), _put_saliency(image_set, opinion)],
        jobs=_jobs_after(image_set, opinion, platform),
    )
    return kept, opinion


def observed(image_set: ImageSet, opinion: Opinion, platform: Platform, role: str) -> Observation:
    """What is kept of an answer for drift, comparisons and figures."""
    said = opinion.prediction
    attributes = image_set.attributes
    tags = {"modality": image_set.modality, "scanner": scanner_of(attributes), "view": view_of(attributes)}
    return Observation(
        image_set=image_set.id,
        version=image_set.version,
        images=images_of(image_set),
        model_version=opinion.model_version,
        role=role,
        patient=platform.keys.pseudonym(image_set.patient_id),
        probability=said.probability,
        threshold=said.threshold,
        refused=said.refused,
        seconds=round(opinion.seconds, 4),
        tags=tags,
        embedding=said.components.astype(np.float16).tobytes(),
        statistics=said.statistics.astype(np.float32).tobytes(),
        at=platform.clock().isoformat(),
    )


# In the worker


@dataclass(frozen=True, slots=True)
class Consultant:
    """Does the jobs of the lane.

    Attributes:
        images: The store.
        champion: Whose answers readers see.
        shadow: Whose answers nobody sees.
    """

    platform: Platform
    images: Volumes
    champion: Champion
    shadow: Champion

    def predict(self, identity: str) -> None:
        """Have the champion look, unless it has, or nobody can any more. Pixels that no model takes are no fault."""
        for _ in range(_TRIES):
            image_set = self._there(identity)
            if image_set is None or not is_judgeable(image_set) or not self.champion.exists:
                return
            if _is_known(image_set, self.champion.version(), self.platform):
                return
            try:
                predict(image_set, self.images, self.platform, self.champion, by=SYSTEM)
            except (InvalidInput, NoChampion):  # a volume of two sizes, or the last version was taken back
                return
            except (Conflict, NotFound):  # somebody read it meanwhile, more of it came, or it was deleted
                continue
            return
        raise Unavailable("the image set kept changing while the model looked at it")

    def answer(self, ticket: str, identity: str, by: str) -> None:
        """Have the champion look for somebody who waits, and lay the answer, or why there is none, under `ticket`."""
        try:
            _, opinion = predict(
                self.images.get(identity), self.images, self.platform, self.champion, by=Principal(by, frozenset())
            )
            document: dict[str, Any] = {"said": opinion.plain()}
        except _TOLD as error:
            kind = next(kind for kind in _TOLD if isinstance(error, kind))
            document = {"code": kind.code, "message": str(error)}
        self.platform.records.commit(Change(writes=[Put(ASKED, ticket, document)]))

    def ask_shadow(self, identity: str) -> None:
        """Have the shadow look too, and keep what it says where only comparisons look."""
        image_set = self._there(identity)
        if image_set is None or not is_judgeable(image_set) or not self.shadow.exists:
            return
        if self.platform.records.get(PREDICTIONS, key_of(self.shadow.version(), identity)) is not None:
            return
        try:
            opinion = self.shadow.predict(self.images.volume(identity), image_set.modality)
            row = put_observation(observed(image_set, opinion, self.platform, SHADOW))
            keep_beside(self.platform.records, image_set, [row])
        except InvalidInput:
            return
        except NotFound:
            if self._there(identity) is not None:
                raise  # something else is missing

    def write(self, identity: str) -> None:
        """Write the kept prediction into the store as DICOM: a report, and a picture of where the network looked."""
        from radloop.results.writing import AiResult, KeySlice, write_result  # noqa: PLC0415 — highdicom, for this only

        image_set = self._there(identity)
        row = self.platform.records.get(SALIENCY, identity)
        kept = None if image_set is None else image_set.prediction
        if image_set is None or kept is None or row is None or row.document["images"] != images_of(image_set):
            return  # it changed, and is judged anew
        refused = kept.get("refused")
        result = AiResult(
            probability=kept["probability"],
            threshold=kept["threshold"],
            finding=kept["finding"],
            model_version=kept["model_version"],
            weights_sha256=row.document["weights_sha256"],
            out_of_distribution=refused is not None,
            reason=(kept.get("ood") or {}).get("sentence", ""),
            at=self.platform.clock(),
        )
        picture = None
        if refused is None and kept.get("frame") is not None:
            frame = int(kept["frame"])
            plane = shown_grey(self.images.volume(identity)[frame], image_set.modality)
            heat = saliency_kept(image_set, self.platform).heat(frame, *_heat_shape(plane.shape))
            picture = KeySlice(frame=frame, plane=plane, heat=heat)
        with suppress(NotFound):  # it was deleted meanwhile
            write_result(self.platform, image_set, result, picture, by=SYSTEM)

    def _there(self, identity: str) -> ImageSet | None:
        try:
            return self.images.get(identity)
        except NotFound:
            return None


def shown_grey(plane: NDArray[np.generic], modality: str) -> NDArray[np.uint8]:
    """A frame as it is shown in a picture: uint8 (rows, columns), a CT in the lung window.

    Args:
        plane: One frame of `Volumes.volume`: int16 HU of a CT, else uint16.
        modality: Of the image set.
    """
    if modality == CT:
        spec = TileSpec()
        low = spec.window_center - spec.window_width / 2
        scaled = (plane.astype(np.float32) - low) / spec.window_width
    else:
        scaled = plane.astype(np.float32) / 65535
    return np.asarray(np.rint(np.clip(scaled, 0, 1) * 255), dtype=np.uint8)


def _heat_shape(shape: tuple[int, ...], longest: int = 256) -> tuple[int, int]:
    """Rows and columns of a map in the shape of its frame; it is coarse, so few do."""
    scale = min(1.0, longest / max(shape))
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))


def ask_worker(image_set: ImageSet, platform: Platform, *, by: Principal) -> dict[str, Any]:
    """What the champion says of an image set, asked of the worker, so that no door has to load a model.

    Returns:
        As `Opinion.plain`.

    Raises:
        Unavailable: There was no answer within two minutes; the worker may still find one and keep it.
        RadloopError: As `predict`, in the worker.
    """
    if platform.models.champion() is None:
        raise NoChampion("no model version has been approved yet")
    ticket = new_id()
    payload = {"ticket": ticket, "image_set": image_set.id, "by": by.id}
    platform.records.commit(Change(jobs=[Job(ticket, ASK_LANE, ANSWER, payload, trace=image_set.id)]))
    deadline = time.monotonic() + _PATIENCE_S
    while (row := platform.records.get(ASKED, ticket)) is None:
        if time.monotonic() > deadline:
            raise Unavailable("the worker does not answer; look at the image set again later")
        time.sleep(_LOOK_S)
    platform.records.commit(Change(writes=[Delete(ASKED, ticket)]))
    if "said" not in row.document:
        raise next(kind for kind in _TOLD if kind.code == row.document["code"])(row.document["message"])
    said: dict[str, Any] = dict(row.document["said"])
    return said


def forget_answers(platform: Platform) -> None:
    """Remove answers that nobody fetched, at the start of a worker."""
    left = [Delete(ASKED, row.key) for row in platform.records.find(ASKED)]
    if left:
        platform.records.commit(Change(writes=left))


# Many at once


def ask_for(identities: Iterable[str], platform: Platform, *, by: Principal) -> int:
    """Have the champion look at these image sets, in the worker; those it has seen are left out.

    Returns:
        How many it will look at.

    Raises:
        NoChampion: No model version has been approved yet.
        NotFound: One of them does not exist.
    """
    rows = []
    for identity in identities:
        row = platform.records.get(IMAGE_SETS, identity)
        if row is None:
            raise NotFound(f"no image set {identity}")
        rows.append(image_set_of(row))
    return _ask_for(rows, platform, by=by)


def ask_for_all(platform: Platform, *, by: Principal, patients: frozenset[str] | None = None) -> int:
    """Have the champion look at everything that it has not seen yet, in the worker.

    Args:
        platform: The ports.
        by: Who asks.
        patients: Only image sets of these, by PatientID; None for all.

    Returns:
        How many it will look at.

    Raises:
        NoChampion: No model version has been approved yet.
    """
    every = (image_set_of(row) for row in platform.records.each(IMAGE_SETS, columns=()))
    return _ask_for((one for one in every if patients is None or one.patient_id in patients), platform, by=by)


def _ask_for(image_sets: Iterable[ImageSet], platform: Platform, *, by: Principal) -> int:
    champion = platform.models.champion()
    if champion is None:
        raise NoChampion("no model version has been approved yet")
    wanted = [each for each in image_sets if is_judgeable(each) and not _is_known(each, champion.version, platform)]
    asked_at = platform.clock().strftime("%Y%m%d%H%M")  # asking twice a minute is asking once
    for batch in _batches(wanted):
        jobs = [_asked(each, champion.version, each.id, again=asked_at) for each in batch]
        platform.records.commit(Change(jobs=jobs))
    audit = AuditEntry(by.id, "predict.batch", f"model-{champion.version}")
    platform.records.commit(Change(audit=[audit]))
    return len(wanted)


def standing(platform: Platform) -> dict[str, Any]:
    """How far the champion has come: version, image sets it has judged or refused, jobs that wait.

    Raises:
        NoChampion: No model version has been approved yet.
    """
    champion = platform.models.champion()
    if champion is None:
        raise NoChampion("no model version has been approved yet")
    of_champion = {"model_version": champion.version}
    judged = platform.records.count(PREDICTIONS, {**of_champion, "refused": None})
    predicted = platform.records.count(PREDICTIONS, of_champion)
    return {
        "model_version": champion.version,
        "predicted": predicted,
        "refused": predicted - judged,
        "waiting": platform.jobs.pending(LANE),
    }


# Where it looked


def saliency_kept(image_set: ImageSet, platform: Platform) -> Saliency:
    """Where the network that made the kept prediction looked.

    Raises:
        NotFound: There is no prediction, the model refused to judge, its network tells no maps, or the images changed.
    """
    row = platform.records.get(SALIENCY, image_set.id)
    prediction = image_set.prediction or {}
    if (
        row is None
        or row.document["maps"] is None
        or prediction.get("refused") is not None
        or row.document["images"] != images_of(image_set)
        or row.document["model_version"] != prediction.get("model_version")
    ):
        raise NotFound(f"no model has told where it looked in image set {image_set.id}")
    return saliency_of(row.document["maps"])


def _put_saliency(image_set: ImageSet, opinion: Opinion) -> Put:
    maps = opinion.prediction.saliency
    document = {
        "images": images_of(image_set),
        "model_version": opinion.model_version,
        "weights_sha256": opinion.weights_sha256,
        "maps": None if maps is None else maps.plain(),
    }
    return Put(SALIENCY, image_set.id, document)


# Jobs


def _asked(image_set: ImageSet, model_version: int, trace: str, *, again: str = "") -> Job:
    """The job that has a version look at an image set; `again` sets apart what was asked for before and gave way."""
    name = derived_id(PREDICT, image_set.id, str(image_set.version), str(model_version), again)
    return Job(id=name, lane=LANE, kind=PREDICT, payload={"image_set": image_set.id}, trace=trace)


def _jobs_after(image_set: ImageSet, opinion: Opinion, platform: Platform) -> list[Job]:
    """What an answer asks for: the shadow's answer, the result as DICOM, a look at drift when a block may be full."""
    model, version = str(opinion.model_version), str(image_set.version)
    payload = {"image_set": image_set.id}
    jobs = []
    shadow = next((each for each in platform.models.versions() if SHADOW in each.aliases), None)
    if shadow is not None:
        name = derived_id(ASK_SHADOW, image_set.id, version, str(shadow.version))
        jobs.append(Job(id=name, lane=LANE, kind=ASK_SHADOW, payload=payload, trace=image_set.id))
    if platform.settings.write_results:
        name = derived_id(WRITE, image_set.id, version, model)
        jobs.append(Job(id=name, lane=LANE, kind=WRITE, payload=payload, trace=image_set.id))
    row = platform.records.get(DRIFT, f"v{model}")
    order = 0 if row is None else int(row.document["order"])
    where = {"model_version": opinion.model_version}
    new = platform.records.find(PREDICTIONS, where, after=order, limit=WATCHED_EVERY)
    if len(new) + 1 >= WATCHED_EVERY:
        name = derived_id(WATCH, model, str(order))
        jobs.append(Job(id=name, lane=LANE, kind=WATCH, payload={"model_version": opinion.model_version}))
    return jobs


def result_to_write(identity: str, platform: Platform) -> list[Job]:
    """The job that writes the model's result of an image set that was blinded and has been read; none where it was not.

    Args:
        identity: Of the image set, which has ground truth now.
        platform: The ports.
    """
    row = platform.records.get(IMAGE_SETS, identity)
    if row is None or not platform.settings.write_results:
        return []
    image_set = image_set_of(row)
    if not image_set.prediction or project_of(platform.records, image_set.datastore).policy is ReadingPolicy.SINGLE:
        return []
    name = derived_id(WRITE, identity, "read", str(image_set.prediction["model_version"]))
    return [Job(id=name, lane=LANE, kind=WRITE, payload={"image_set": identity}, trace=identity)]


def _is_known(image_set: ImageSet, model_version: int, platform: Platform) -> bool:
    """Whether this version's answer on these very images is the one that is kept."""
    if (image_set.prediction or {}).get("model_version") != model_version:
        return False
    row = platform.records.get(PREDICTIONS, key_of(model_version, image_set.id))
    return row is not None and row.document["images"] == images_of(image_set)


def _batches(image_sets: list[ImageSet]) -> Iterator[list[ImageSet]]:
    for first in range(0, len(image_sets), _AT_ONCE):
        yield image_sets[first : first + _AT_ONCE]
