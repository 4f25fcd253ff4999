"""The index of a stream: what a viewer must know of all frames before it asks for the first; see docs/stream.md.

What most frames share is told once, as JSON; what differs stands in columns, which a script reads without parsing.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from radloop.core.errors import Corrupt, UnsupportedPixels
from radloop.dicom.image import FrameTable
from radloop.store.instances import StoredInstance
from radloop.store.opened import FrameAddress
from radloop.streaming.frames import Laid, frame_of, is_decodable, laid_of
from radloop.streaming.records import PACK, packs_of

MAGIC = b"RLSI"
FORMAT = 1
DECODABLE, WITH_PREVIEW, STORED, LOSSLESS = 1, 2, 4, 8

_HEADER = struct.Struct("<4sHHIIIIB3xI")
_PLACE_BYTES = 24
_MOST_KINDS = 1 << 16
_OWN = ("index", "lossless_bytes", "preview_bytes", "position_mm")
_BUT_FOR: Mapping[str, Any] = dict.fromkeys(("position_mm", "number", "sop_uid", "per_frame"))
_NOWHERE = (float("nan"),) * 3


def index_of(
    told: Mapping[str, Any],
    version: int,
    addresses: Sequence[FrameAddress],
    laid: Sequence[Laid] | None = None,
    static: Mapping[str, int] | None = None,
) -> bytes:
    """The index of an image set.

    Args:
        told: What is told of the image set besides its frames.
        version: Of the image set.
        addresses: Its frames, in slice order.
        laid: How long each frame is; without it, as our own packs hold it.
        static: How the frames lie in static packs; None where they lie in none.

    Raises:
        UnsupportedPixels: The frames are of more kinds than can be numbered.
    """
    kinds = _Kinds()
    described = [kinds.of(index, address) for index, address in enumerate(addresses)]
    frames = [laid_of(address) for address in addresses] if laid is None else laid
    levels = max((len(frame.ends) for frame in frames), default=0)
    packs = packs_of(len(addresses)) if any(frame.preview for frame in frames) else 0
    columns = (
        np.array([frame.full or 0 for frame in frames], "<u4"),
        np.array([frame.preview or 0 for frame in frames], "<u4"),
        np.array([frame.ends + (0,) * (levels - len(frame.ends)) for frame in frames], "<u4"),
        np.array([kind for kind, _ in described], "<u2"),
        np.array(_flags(addresses, frames), "u1"),
    )
    places = np.array([place for _, place in described], "<f8")
    text = {"set": told, "kinds": kinds.told, **({} if static is None else {"static": static})}
    head = _Head(len(addresses), version, packs, levels)
    return _written(head, text, b"".join(column.tobytes() for column in columns), places.tobytes())


def retold(index: bytes, told: Mapping[str, Any], *, is_static: bool) -> bytes:
    """An index that tells something else of the image set, and the same of its frames.

    Args:
        index: One that `index_of` made.
        told: What is told of the image set besides its frames.
        is_static: Whether it goes on telling of static packs.

    Raises:
        Corrupt: It is no index of this form.
    """
    head, at, length = _read(index)
    try:
        text = orjson.loads(index[at : at + length])
        text["set"] = told
    except (ValueError, TypeError):
        raise Corrupt("a stored index of a stream cannot be read") from None
    if not is_static:
        text.pop("static", None)
    columns = index[at + length : at + length + head.column_bytes]
    return _written(head, text, columns, index[-_PLACE_BYTES * head.count :] if head.count else b"")


def version_of(index: bytes) -> int:
    """The version of the image set that an index is of.

    Raises:
        Corrupt: It is no index of this form.
    """
    return _read(index)[0].version


@dataclass(frozen=True, slots=True)
class _Head:
    """Numbers at the beginning of an index."""

    count: int
    version: int
    packs: int
    levels: int

    @property
    def column_bytes(self) -> int:
        """Of everything between text and places."""
        return self.count * (4 + 4 + 4 * self.levels + 2 + 1)


def _read(index: bytes) -> tuple[_Head, int, int]:
    """Head, and where the text begins and how long it is."""
    if len(index) < _HEADER.size:
        raise Corrupt("a stored index of a stream breaks off")
    magic, form, at, count, version, _, packs, levels, length = _HEADER.unpack_from(index)
    head = _Head(count, version, packs, levels)
    body = at + length + head.column_bytes
    if (magic, form) != (MAGIC, FORMAT) or len(index) != body + -body % 8 + _PLACE_BYTES * count:
        raise Corrupt("a stored index of a stream is of another form")
    return head, at, length


def _written(head: _Head, text: Mapping[str, Any], columns: bytes, places: bytes) -> bytes:
    told = orjson.dumps(text)
    told += b" " * (-(_HEADER.size + len(told)) % 4)
    front = _HEADER.pack(
        MAGIC, FORMAT, _HEADER.size, head.count, head.version, PACK, head.packs, head.levels, len(told)
    )
    body = b"".join((front, told, columns))
    return b"".join((body, bytes(-len(body) % 8), places))


class _Kinds:
    """What frames have in common, each kind once and in the words of the platform API."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        self._numbers: dict[tuple[Any, ...], int] = {}
        self._described: dict[str, tuple[bytes, FrameTable]] = {}
        self._last: tuple[Mapping[str, Any], bytes] = {}, b""

    def of(self, index: int, address: FrameAddress) -> tuple[int, Sequence[float]]:
        """The number of a frame's kind, and where the frame lies in millimetres."""
        instance = address.instance
        shared, table = self._description(instance)
        group = table[address.number] if address.number < len(table) else None
        own = None if group is None else group._replace(position_mm=None)
        key = (shared, own, instance.is_lossy, bool(instance.frames), instance.why_kept)
        number = self._numbers.get(key)
        if number is None:
            number = self._add(key, index, address)
        place = (instance.image or {}).get("position_mm") if group is None else group.position_mm
        return number, place or _NOWHERE

    def _description(self, instance: StoredInstance) -> tuple[bytes, FrameTable]:
        """What is said of an instance's image but for where it lies, to be compared; and of its frames one by one."""
        if instance.frame_count == 1:
            return self._compared(instance), FrameTable.from_plain((instance.image or {})["per_frame"])
        found = self._described.get(instance.id)
        if found is None:
            table = FrameTable.from_plain((instance.image or {})["per_frame"])
            found = self._described[instance.id] = self._compared(instance), table
        return found

    def _compared(self, instance: StoredInstance) -> bytes:
        image = {**(instance.image or {}), **_BUT_FOR}
        if image != self._last[0]:  # as a rule it is that of the slice before
            self._last = image, orjson.dumps(image)
        return self._last[1]

    def _add(self, key: tuple[Any, ...], index: int, address: FrameAddress) -> int:
        number = len(self.told)
        if number == _MOST_KINDS:
            raise UnsupportedPixels(f"the frames are of more than {_MOST_KINDS} kinds; read the image set instead")
        self._numbers[key] = number
        self.told.append({name: value for name, value in frame_of(index, address).items() if name not in _OWN})
        return number


def _flags(addresses: Sequence[FrameAddress], frames: Sequence[Laid]) -> list[int]:
    return [
        (DECODABLE if is_decodable(address.instance) else 0)
        | (WITH_PREVIEW if frame.preview is not None else 0)
        | (STORED if frame.full is not None else 0)
        | (0 if address.instance.is_lossy else LOSSLESS)
        for address, frame in zip(addresses, frames, strict=True)
    ]
