"""What the model in use says, over HTTP: of one image set now, of many by and by, and where in the images it looked."""

from typing import Any

from starlette.responses import Response

from radloop.api.blinding import require_open_eyes
from radloop.api.operations import Ask, as_json, is_unchanged, validator
from radloop.codec.rendering import as_png
from radloop.core.errors import InvalidInput, NotFound
from radloop.core.images import ImageSet
from radloop.functions import prediction, shadow
from radloop.serving.saliency import overlay

_PREDICT = "image.predict"
_LONGEST_SIDE = 512  # of a map, which is coarse; the page stretches it over the frame
_MOST_NAMED = 1000


class _Guarded:
    """The store as a caller may see it, in the shape that prediction wants."""

    def __init__(self, ask: Ask) -> None:
        self._images = ask.doors.images_of(ask.principal)

    def get(self, identity: str) -> ImageSet:
        return self._images.get(identity, _PREDICT)

    def volume(self, identity: str) -> Any:
        return self._images.volume(identity)


def predict(ask: Ask) -> Response:
    """Ask the champion about an image set, and keep what it says with it."""
    identity = ask.body.get("image_set")
    if set(ask.body) != {"image_set"} or not isinstance(identity, str):
        raise InvalidInput("the body must hold image_set, the id of an image set, and nothing else")
    platform, images = ask.doors.platform, _Guarded(ask)
    image_set = images.get(identity)
    require_open_eyes(ask, image_set)
    if ask.doors.has_worker:
        said = prediction.ask_worker(image_set, platform, by=ask.principal)
    else:
        said = prediction.predict(image_set, images, platform, ask.doors.champion, by=ask.principal)[1].plain()
    return as_json({**said, "image_set": identity})


def predict_many(ask: Ask) -> Response:
    """Have the champion look at some image sets, or at all it has not seen; the worker does it."""
    named = ask.body.get("image_sets")
    if not set(ask.body) <= {"image_sets"}:
        raise InvalidInput("the body may hold image_sets and nothing else")
    images = ask.doors.images_of(ask.principal)
    if named is None:
        images.may_search()
        queued = prediction.ask_for_all(ask.doors.platform, by=ask.principal, patients=images.patients)
    else:
        for identity in _names(named):
            images.get(identity, _PREDICT)
        queued = prediction.ask_for(_names(named), ask.doors.platform, by=ask.principal)
    return as_json({**prediction.standing(ask.doors.platform), "queued": queued})


def get_standing(ask: Ask) -> Response:
    """How far the champion has come."""
    return as_json(prediction.standing(ask.doors.platform))


def get_comparison(ask: Ask) -> Response:
    """Champion against shadow."""
    return as_json(shadow.comparison(ask.doors.platform))


def get_saliency(ask: Ask) -> Response:
    """Where in a frame the network looked, as a picture to lay over it."""
    identity, frame = ask.path["id"], ask.path["frame"]
    platform, images = ask.doors.platform, ask.doors.images_of(ask.principal)
    image_set = images.get(identity, _PREDICT)
    require_open_eyes(ask, image_set)
    kept = prediction.saliency_kept(image_set, platform)
    tag = validator("saliency", identity, image_set.version, (image_set.prediction or {})["model_version"], frame)
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    addresses = images.frames(identity)
    if frame >= len(addresses):
        raise NotFound(f"frame {frame} does not exist; the image set has {len(addresses)}")
    if is_unchanged(ask.headers, tag):
        return Response(status_code=304, headers=headers)
    image = addresses[frame].instance.image or {}
    rows, columns = int(image["rows"]), int(image["columns"])
    scale = min(1.0, _LONGEST_SIDE / max(rows, columns))
    heat = kept.heat(frame, max(1, round(rows * scale)), max(1, round(columns * scale)))
    return Response(as_png(overlay(heat)), media_type="image/png", headers=headers)


def _names(named: object) -> list[str]:
    if not isinstance(named, list) or not all(isinstance(each, str) for each in named) or len(named) > _MOST_NAMED:
        raise InvalidInput(f"image_sets must be a list of at most {_MOST_NAMED} ids, or null for all")
    return list(dict.fromkeys(named))
