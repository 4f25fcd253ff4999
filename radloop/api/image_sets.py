"""Image sets over HTTP: the worklist, one of them, its frames, its verification, its files."""

import zipfile
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from starlette.responses import Response, StreamingResponse

from radloop.api.blinding import eyes_of
from radloop.api.operations import Ask, as_json, is_unchanged, validator
from radloop.api.shapes import details, summary
from radloop.core.errors import InvalidInput, NotFound
from radloop.core.images import LATERALITIES, SITES, Confidence, Coverage, Finding, ImageSet, Seen, State
from radloop.core.ports import Records
from radloop.core.worth import worth_of
from radloop.reading.blinding import NOBODY, Eyes
from radloop.reading.priors import MOST_PRIORS, Prior, priors
from radloop.reading.truth import verify
from radloop.reading.worklist import LONGEST_PAGE, Page, by_worth, worklist
from radloop.store.guarded import GuardedImages
from radloop.store.images import ImageStore
from radloop.store.instances import StoredInstance
from radloop.store.opened import FrameAddress

FRAME_TYPE = "image/jph"
LONGEST_NOTE = 4000
_PRIVATE = "private, no-cache"  # kept by the browser, asked about each time: a late instance moves the others


def list_image_sets(ask: Ask) -> Response:
    """A page of the worklist."""
    wanted = ask.query.get("state") or None
    if wanted is not None and wanted not in set(State):
        raise InvalidInput(f"state must be one of {', '.join(State)}")
    if ask.query.get("images", "0") not in {"0", "1"}:
        raise InvalidInput("images must be 0 or 1")
    images = ask.doors.images_of(ask.principal)
    images.may_search()
    if _is_by_worth(ask):
        return as_json(_told(ask, _most_worthy(ask, images.patients), with_why=True))
    page = worklist(
        ask.doors.platform.records,
        state=None if wanted is None else State(wanted),
        limit=ask.number("limit", 50, least=1, most=LONGEST_PAGE),
        after=ask.query.get("after") or None,
        patients=images.patients,
        with_images=ask.query.get("images") == "1",
    )
    return as_json(_told(ask, page))


def _is_by_worth(ask: Ask) -> bool:
    """Whether the list is wanted by what the next read is worth.

    Raises:
        InvalidInput: The order is not known, or does not go with the rest.
    """
    order, mine = ask.query.get("order") or "newest", ask.query.get("mine") or "0"
    if order not in {"newest", "value"} or mine not in {"0", "1"}:
        raise InvalidInput("order must be newest or value, and mine 0 or 1")
    if order == "newest" and mine == "1":
        raise InvalidInput("mine goes with order=value")
    if order == "value" and (ask.query.get("state") or State.INGESTED) != State.INGESTED:
        raise InvalidInput("order=value lists what waits for a reader, which is INGESTED")
    return order == "value"


def _most_worthy(ask: Ask, patients: frozenset[str] | None) -> Page:
    return by_worth(
        ask.doors.platform.records,
        eyes_of(ask) if ask.query.get("mine") == "1" else NOBODY,
        limit=ask.number("limit", 50, least=1, most=LONGEST_PAGE),
        after=ask.query.get("after") or None,
        patients=patients,
    )


def _told(ask: Ask, page: Page, *, with_why: bool = False) -> dict[str, Any]:
    records, eyes = ask.doors.platform.records, eyes_of(ask)
    items = [summary(image_set, records, eyes) for image_set in page.items]
    if with_why:
        items = [{**item, "why": _why(image_set)} for item, image_set in zip(items, page.items, strict=True)]
    return {
        "items": items,
        "next": page.next,
        "counts": {str(state): count for state, count in page.counts.items()},
        "reports": page.reports,
        "landed": page.landed,
    }


def _why(image_set: ImageSet) -> str | None:
    found = worth_of(image_set)
    return None if found is None else found.why


def get_image_set(ask: Ask) -> Response:
    """One image set with its frames."""
    identity = ask.path["id"]
    images = ask.doors.images_of(ask.principal)
    image_set = images.look(identity)
    return as_json(details(image_set, images.frames(identity), ask.doors.platform.records, eyes_of(ask)))


def list_priors(ask: Ask) -> Response:
    """What else there is of the patient of an image set, so that no address has to name a patient."""
    images = ask.doors.images_of(ask.principal)
    images.may_search()
    image_set = images.get(ask.path["id"])
    records = ask.doors.platform.records
    limit = ask.number("limit", 50, least=1, most=MOST_PRIORS)
    found = priors(records, image_set, limit=limit)
    return as_json({"items": [_prior(prior, records, eyes_of(ask)) for prior in found]})


def _prior(prior: Prior, records: Records, eyes: Eyes) -> dict[str, Any]:
    return {**summary(prior.image_set, records, eyes), "same_frame_of_reference": prior.same_frame_of_reference}


def get_frame(ask: Ask) -> Response:
    """A frame at full quality."""
    identity, index = ask.path["id"], ask.path["index"]
    images = ask.doors.images_of(ask.principal)
    headers = frame_headers(address_of(images, identity, index))
    if is_unchanged(ask.headers, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    data, headers["X-Radloop-Quality"] = images.frame(identity, index)
    return Response(data, media_type=FRAME_TYPE, headers=headers)


def get_preview(ask: Ask) -> Response:
    """The lossy preview of a frame; only for moving."""
    identity, index = ask.path["id"], ask.path["index"]
    images = ask.doors.images_of(ask.principal)
    headers = preview_headers(address_of(images, identity, index))
    if is_unchanged(ask.headers, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return Response(images.preview(identity, index), media_type=FRAME_TYPE, headers=headers)


def frame_headers(address: FrameAddress) -> dict[str, str]:
    """What is told with a frame. Folded bytes never change; those cut from a landed file follow from it."""
    frames = address.instance.frames
    if frames:
        full = frames[address.number].full
        tag = validator("full", full.pack, full.offset)
    else:
        tag = validator("landed", address.instance.id, address.number)
    quality = "lossy-as-received" if address.instance.is_lossy else "lossless"
    return {"ETag": tag, "Cache-Control": _PRIVATE, "X-Radloop-Quality": quality}


def preview_headers(address: FrameAddress) -> dict[str, str]:
    """What is told with a preview.

    Raises:
        NotFound: There is none yet.
    """
    preview = address.instance.frames[address.number].preview if address.instance.frames else None
    if preview is None:
        raise NotFound("the frame has no preview yet")
    tag = validator("preview", preview.pack, preview.offset)
    return {"ETag": tag, "Cache-Control": _PRIVATE, "X-Radloop-Quality": "preview"}


def get_thumbnail(ask: Ask) -> Response:
    """A small picture of the middle frame, for finding a series."""
    identity = ask.path["id"]
    images = ask.doors.images_of(ask.principal)
    frames = images.frames(identity)
    middle = frames[len(frames) // 2] if frames else None
    tag = validator("thumbnail", identity, "none" if middle is None else f"{middle.instance.id}-{middle.number}")
    headers = {"ETag": tag, "Cache-Control": _PRIVATE}
    if is_unchanged(ask.headers, tag):
        return Response(status_code=304, headers=headers)
    return Response(images.thumbnail(identity), media_type="image/png", headers=headers)


def verify_image_set(ask: Ask) -> Response:
    """Record a reader's finding."""
    platform = ask.doors.platform
    version, finding = finding_from(ask.body)
    ask.doors.images_of(ask.principal).get(ask.path["id"], "image.verify")
    verified = verify(platform.records, platform.clock, ask.path["id"], finding, version=version, by=ask.principal)
    return as_json(summary(verified, platform.records, eyes_of(ask)))


def complete_image_set(ask: Ask) -> Response:
    """End the arrival of instances now instead of after a quiet time."""
    closed = ask.doors.images_of(ask.principal).complete(ask.path["id"])
    return as_json(summary(closed, ask.doors.platform.records, eyes_of(ask)))


def export_image_set(ask: Ask) -> Response:
    """The files as they arrived, in a zip that is written while it is sent."""
    identity = ask.path["id"]
    images = ask.doors.images_of(ask.principal)
    instances = images.exported(identity)  # tells that there is none before the answer has begun
    return StreamingResponse(
        zipped(_files(images, instances)),
        media_type="application/zip",
        headers={"Content-Disposition": f'attachment; filename="{identity}.zip"'},
    )


def list_sites(ask: Ask) -> Response:  # noqa: ARG001 — every operation has this signature
    """Where a finding can be."""
    return as_json([{"code": code, "name": name} for code, name in SITES.items()])


def address_of(images: ImageStore | GuardedImages, identity: str, index: int) -> FrameAddress:
    """Where frame `index` of an image set is.

    Raises:
        NotFound: There is no such image set or frame.
    """
    frames = images.frames(identity)
    if not 0 <= index < len(frames):
        raise NotFound(f"frame {index} does not exist; image set {identity} has {len(frames)}")
    return frames[index]


def zipped(files: Iterable[tuple[str, bytes]]) -> Iterator[bytes]:
    """A zip of `files` as it grows, stored and not deflated, in memory for one file."""
    out = _Outlet()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, data in files:
            archive.writestr(zipfile.ZipInfo(name), data)
            yield out.taken()
    yield out.taken()


class _Outlet:
    """A file that can only be written, whose bytes are taken away as they come."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes, /) -> int:
        """Append."""
        self._pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing waits here."""

    def close(self) -> None:
        """Nothing is held here."""

    def taken(self) -> bytes:
        """What was written since the last time."""
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


def _files(images: GuardedImages, instances: list[StoredInstance]) -> Iterator[tuple[str, bytes]]:
    for number, instance in enumerate(instances, start=1):
        yield f"{number:05d}.dcm", images.export(instance)


# A verification, field by field


def finding_from(body: Mapping[str, Any], *besides: str) -> tuple[int, Finding]:
    """The version that was read, and what was found; `besides` are fields that somebody else reads.

    Raises:
        InvalidInput: A field is missing, unknown or of the wrong kind; the sentence names it.
    """
    _only(body, {"version", "finding", "site", "laterality", "confidence", "note", "seen", *besides})
    seen = body.get("seen")
    if not isinstance(seen, dict):
        raise InvalidInput("seen must be an object with frame and quality")
    _only(seen, {"frame", "quality", "slices", "preview_ms", "full_ms"})
    if body.get("finding") not in ("present", "absent"):
        raise InvalidInput("finding must be present or absent")
    if body.get("confidence") not in tuple(Confidence):
        raise InvalidInput(f"confidence must be one of {', '.join(Confidence)}")
    site, note, laterality = body.get("site"), body.get("note", ""), body.get("laterality")
    if not (site is None or isinstance(site, str)):
        raise InvalidInput("site must be the code of a site, or null")
    if laterality not in (*LATERALITIES, None):
        raise InvalidInput(f"laterality must be one of {', '.join(LATERALITIES)}, or null")
    if not isinstance(note, str) or len(note) > LONGEST_NOTE:
        raise InvalidInput(f"note must be text of at most {LONGEST_NOTE} characters")
    quality = seen.get("quality")
    if not isinstance(quality, str):
        raise InvalidInput("seen.quality must be lossless or lossy-as-received")
    return _whole(body, "version", 1), Finding(
        present=body["finding"] == "present",
        site=site,
        confidence=Confidence(body["confidence"]),
        note=note,
        seen=Seen(frame=_whole(seen, "frame", 0), quality=quality, coverage=_coverage(seen)),
        laterality=laterality,
    )


def _coverage(seen: Mapping[str, Any]) -> Coverage | None:
    """What was shown of every frame, where it is told."""
    slices = seen.get("slices")
    if slices is None:
        return None
    if not isinstance(slices, str):
        raise InvalidInput("seen.slices must be text")
    preview_ms, full_ms = (_whole(seen, name, 0) if name in seen else 0 for name in ("preview_ms", "full_ms"))
    return Coverage(slices, preview_ms, full_ms)


def _only(body: Mapping[str, Any], known: set[str]) -> None:
    if not set(body) <= known:
        raise InvalidInput(f"only {', '.join(sorted(known))} are known here")


def _whole(body: Mapping[str, Any], name: str, least: int) -> int:
    value = body.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InvalidInput(f"{name} must be a whole number from {least}")
    return value
