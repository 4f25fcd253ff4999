"""One stored DICOM instance: what its header says and where its bytes lie."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from radloop.core.images import Notice, Storage
from radloop.core.ports import Put, Row
from radloop.core.tables import INSTANCES
from radloop.store.packs import Ref, ref_of


@dataclass(frozen=True, slots=True)
class StoredFrame:
    """A folded frame.

    Attributes:
        full: HTJ2K of the frame at full quality.
        preview: Lossy HTJ2K at full resolution, for moving only.
        ends: Byte end of every resolution inside `full`, smallest picture first.
    """

    full: Ref
    preview: Ref | None
    ends: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class StoredInstance:
    """One instance of an image set.

    Attributes:
        id: Derived from image set, SOP instance UID and digest.
        digest: SHA-256 of the file as it arrived, hexadecimal.
        image: What `dicom.parse` told of its pixels, as plain values; None without pixels.
        original: The whole file as it arrived, while landed or kept.
        head: What stands before the pixel data, once folded; `tail` what stands behind it.
        frames: The folded frames, empty before folding and where no codec takes them.
        why_kept: Why a kept instance was not folded: a stable code.
        superseded_by: The instance that came later under the same SOP instance UID, if any.
        received_uid: SOP instance UID that it came under, where an edit gave it another one.
        revision: Of the record it was read from; 0 for one that is not written yet.
    """

    id: str
    image_set: str
    sop_uid: str
    sop_class: str
    transfer_syntax: str
    digest: str
    size_bytes: int
    number: int
    storage: Storage
    attributes: Mapping[str, Any]
    image: Mapping[str, Any] | None
    pixel_span: tuple[int, int] | None
    is_lossy: bool
    notices: tuple[Notice, ...]
    original: Ref | None
    head: Ref | None = None
    tail: Ref | None = None
    frames: tuple[StoredFrame, ...] = ()
    why_kept: str | None = None
    superseded_by: str | None = None
    received_uid: str | None = None
    revision: int = field(default=0, compare=False)

    @property
    def frame_count(self) -> int:
        """Frames it holds, folded or not."""
        return 0 if self.image is None else int(self.image["frames"])

    @property
    def uid_as_received(self) -> str:
        """The SOP instance UID that its file has."""
        return self.received_uid or self.sop_uid

    @property
    def refs(self) -> tuple[Ref, ...]:
        """Every record it needs."""
        whole = [ref for ref in (self.original, self.head, self.tail) if ref is not None]
        for frame in self.frames:
            whole += [frame.full] if frame.preview is None else [frame.full, frame.preview]
        return tuple(whole)

    @property
    def stored_bytes(self) -> int:
        """Bytes its records take, seals included."""
        return sum(ref.length for ref in self.refs)


def put_instance(value: StoredInstance, *, expected: int | None) -> Put:
    """The write that stores `value`."""
    storage = "superseded" if value.superseded_by else str(value.storage)
    return Put(
        table=INSTANCES,
        key=value.id,
        document=_document(value),
        columns={
            "image_set": value.image_set,
            "sop_uid": value.sop_uid,
            "storage": storage,
            "digest": value.digest,
            "number": value.number,
        },
        expected=expected,
    )


def supersede(value: StoredInstance, by: str) -> Put:
    """The write that keeps `value` behind a newer object of the same SOP instance UID."""
    return put_instance(replace(value, superseded_by=by), expected=None)


def instance_of(row: Row) -> StoredInstance:
    """The instance a record holds."""
    document = dict(row.document)
    document["storage"] = Storage(document["storage"])
    document["notices"] = tuple(Notice(**notice) for notice in document["notices"])
    document["pixel_span"] = None if document["pixel_span"] is None else tuple(document["pixel_span"])
    for name in ("original", "head", "tail"):
        document[name] = None if document[name] is None else ref_of(document[name])
    document["frames"] = tuple(
        StoredFrame(full=ref_of(full), preview=None if preview is None else ref_of(preview), ends=tuple(ends))
        for full, preview, ends in document["frames"]
    )
    return StoredInstance(**document, revision=row.revision)


def _document(value: StoredInstance) -> dict[str, Any]:
    return {
        "id": value.id,
        "image_set": value.image_set,
        "sop_uid": value.sop_uid,
        "sop_class": value.sop_class,
        "transfer_syntax": value.transfer_syntax,
        "digest": value.digest,
        "size_bytes": value.size_bytes,
        "number": value.number,
        "storage": str(value.storage),
        "attributes": dict(value.attributes),
        "image": None if value.image is None else dict(value.image),
        "pixel_span": None if value.pixel_span is None else list(value.pixel_span),
        "is_lossy": value.is_lossy,
        "notices": [{"code": notice.code, "message": notice.message} for notice in value.notices],
        "original": _list(value.original),
        "head": _list(value.head),
        "tail": _list(value.tail),
        "frames": [[frame.full.as_list(), _list(frame.preview), list(frame.ends)] for frame in value.frames],
        "why_kept": value.why_kept,
        "superseded_by": value.superseded_by,
        **({} if value.received_uid is None else {"received_uid": value.received_uid}),
    }


def _list(ref: Ref | None) -> list[str | int] | None:
    return None if ref is None else ref.as_list()
