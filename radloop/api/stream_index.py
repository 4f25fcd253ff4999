"""The index of a stream: what a viewer must know of all frames before it asks for the first; see docs/stream.md.

What most frames share is told once, as JSON; what differs stands in columns, which a script reads without parsing.
"""

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson

from radloop.api.shapes import frame_of, is_decodable, sizes_of
from radloop.api.stream_records import PACK, packs_of
from radloop.core.errors import UnsupportedPixels
from radloop.dicom.image import FrameTable
from radloop.store.instances import StoredInstance
from radloop.store.opened import FrameAddress

MAGIC = b"RLSI"
FORMAT = 1
DECODABLE, WITH_PREVIEW, STORED, LOSSLESS = 1, 2, 4, 8

_HEADER = struct.Struct("<4sHHIIIIB3xI")
_MOST_KINDS = 1 << 16
_OWN = ("index", "lossless_bytes", "preview_bytes", "position_mm")
_BUT_FOR: Mapping[str, Any] = dict.fromkeys(("position_mm", "number", "sop_uid", "per_frame"))
_NOWHERE = (float("nan"),) * 3


def index_of(told: Mapping[str, Any], version: int, addresses: Sequence[FrameAddress]) -> bytes:
    """The index of an image set.

    Args:
        told: What is told of the image set besides its frames.
        version: Of the image set.
        addresses: Its frames, in slice order.

    Raises:
        UnsupportedPixels: The frames are of more kinds than can be numbered.
    """
    kinds = _Kinds()
    described = [kinds.of(index, address) for index, address in enumerate(addresses)]
    sizes = [sizes_of(address) for address in addresses]
    ends = [a.instance.frames[a.number].ends if a.instance.frames else () for a in addresses]
    levels = max(map(len, ends), default=0)
    packs = packs_of(len(addresses)) if any(preview for _, preview in sizes) else 0
    text = orjson.dumps({"set": told, "kinds": kinds.told})
    text += b" " * (-(_HEADER.size + len(text)) % 4)
    header = _HEADER.pack(MAGIC, FORMAT, _HEADER.size, len(addresses), version, PACK, packs, levels, len(text))
    columns = (
        np.array([full or 0 for full, _ in sizes], "<u4"),
        np.array([preview or 0 for _, preview in sizes], "<u4"),
        np.array([each + (0,) * (levels - len(each)) for each in ends], "<u4"),
        np.array([kind for kind, _ in described], "<u2"),
        np.array(_flags(addresses, sizes), "u1"),
    )
    body = b"".join((header, text, *(column.tobytes() for column in columns)))
    places = np.array([place for _, place in described], "<f8")
    return b"".join((body, bytes(-len(body) % 8), places.tobytes()))


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


def _flags(addresses: Sequence[FrameAddress], sizes: Sequence[tuple[int | None, int | None]]) -> list[int]:
    return [
        (DECODABLE if is_decodable(address.instance) else 0)
        | (WITH_PREVIEW if preview is not None else 0)
        | (STORED if full is not None else 0)
        | (0 if address.instance.is_lossy else LOSSLESS)
        for address, (full, preview) in zip(addresses, sizes, strict=True)
    ]
