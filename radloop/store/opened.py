"""Image sets that were read lately: where their frames lie, so that finding one takes no waiting.

What is remembered holds while nobody has committed anything, and after that while the image set's own record stands.
"""

import threading
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

from radloop.core.errors import NotFound
from radloop.core.images import ImageSet
from radloop.core.ports import Blobs, Cipher, Keys, Records, Span
from radloop.core.tables import IMAGE_SETS, INSTANCES, VERSIONS, image_set_of
from radloop.store.edits import edited_instance, read_edits
from radloop.store.instances import StoredInstance, instance_of
from radloop.store.made import MadeFrames
from radloop.store.packs import Ref, context_of, pack_key

_REMEMBERED = 16
_REMEMBERED_FRAMES = 8192
_SERIES_REMEMBERED = 256
_NOTES = 8


@dataclass(frozen=True, slots=True)
class FrameAddress:
    """Frame `index` of an image set is frame `number` of `instance`."""

    instance: StoredInstance
    number: int


class Glance:
    """A frame of an image set that was read lately, so that finding it takes no waiting.

    Attributes:
        index: Its place among the frames of the image set.
    """

    __slots__ = ("_cipher", "_made", "_notes", "_reader", "address", "image_set", "index")

    def __init__(self, opened: "Opened", index: int, reader: "Reader") -> None:
        self.image_set = opened.image_set
        self.address = opened.addresses[index]
        self.index = index
        self._cipher = opened.cipher
        self._reader = reader
        self._notes: dict[Hashable, Any] = {}

    def note(self, key: Hashable) -> Any:
        """What `noted` was told last; None where that is forgotten."""
        return self._notes.get(key)

    def noted(self, key: Hashable, value: Any) -> None:
        """Remember something of this frame as long as its image set stays as it is, or until there is too much."""
        if len(self._notes) >= _NOTES:
            self._notes.clear()
        self._notes[key] = value

    def full(self, head: bytes = b"", tail: bytes = b"") -> bytes | bytearray | None:
        """What `ImageStore.frame` gives, between `head` and `tail`; None where that would have to wait.

        Raises:
            Corrupt: The record fails its seal.
        """
        frames = self.address.instance.frames
        return self._read(frames[self.address.number].full, head, tail) if frames else None

    def preview(self) -> bytes | bytearray | None:
        """What `ImageStore.preview` gives; None where that would have to wait, or where there is none.

        Raises:
            Corrupt: The record fails its seal.
        """
        frames = self.address.instance.frames
        ref = frames[self.address.number].preview if frames else None
        return None if ref is None else self._read(ref, b"", b"")

    def made(self, syntax: str, head: bytes = b"", tail: bytes = b"") -> bytes | bytearray | None:
        """What `ImageStore.frame_as` gives, between `head` and `tail`; None where it must be made, or be waited for."""
        return self._reader.made.at_once(self._cipher, self.address.instance, self.address.number, syntax, head, tail)

    def _read(self, ref: Ref, head: bytes, tail: bytes) -> bytes | bytearray | None:
        identity = self.image_set.id
        sealed = self._reader.blobs.at_once(pack_key(identity, ref.pack), Span(ref.offset, ref.offset + ref.length))
        if sealed is None:
            return None
        return self._cipher.open_between(sealed, context_of(identity, ref.pack, ref.kind, ref.index), head, tail)


@dataclass(frozen=True, slots=True)
class Reader:
    """What glances read from."""

    blobs: Blobs
    made: MadeFrames


@dataclass(slots=True)
class Opened:
    """An image set that was read lately.

    It holds while the records' stamp is the one it was seen at, and, where anybody has committed anything since,
    while its own revision stands; then it takes the new stamp. `places` tells where in `addresses` a frame of an
    instance, by SOP instance UID and number, is. `notes` are what others made of it and want to find again.
    """

    image_set: ImageSet
    revision: int
    stamp: int
    addresses: tuple[FrameAddress, ...]
    places: Mapping[tuple[str, int], int]
    cipher: Cipher
    glances: dict[int, Glance]
    notes: dict[Hashable, Any] = field(default_factory=dict)


class OpenedImageSets:
    """The image sets read last, and of each of them every frame's place."""

    def __init__(self, records: Records, keys: Keys, reader: Reader) -> None:
        self._records = records
        self._keys = keys
        self._reader = reader
        self._remembered: OrderedDict[str, Opened] = OrderedDict()
        self._only: dict[tuple[str, str, str], tuple[int, str | None]] = {}
        self._guard = threading.Lock()

    def known(self, identity: str, stamp: int | None = None) -> Opened | None:
        """What is remembered of an image set, if it still holds.

        Args:
            identity: Its id.
            stamp: Of the records, if that has been asked for just now.
        """
        held = self._remembered.get(identity)
        if held is None:
            return None
        if stamp is None:
            stamp = self._records.stamp()  # before the row, which is then at least as new
        if held.stamp != stamp:
            row = self._records.get(IMAGE_SETS, identity)
            if row is None or row.revision != held.revision:
                return None
            held.stamp = stamp
        return held

    def get(self, identity: str) -> Opened:
        """An image set, remembered from now on.

        Raises:
            NotFound: There is no such image set.
        """
        held = self.known(identity)
        if held is None:
            held = self._open(identity)
        with self._guard:
            self._remembered[identity] = held
            self._remembered.move_to_end(identity)
            frames = sum(len(each.addresses) for each in self._remembered.values())
            while len(self._remembered) > 1 and (len(self._remembered) > _REMEMBERED or frames > _REMEMBERED_FRAMES):
                frames -= len(self._remembered.popitem(last=False)[1].addresses)
        return held

    def forget(self) -> None:
        """Remember nothing any more."""
        with self._guard:
            self._remembered.clear()

    def glance(self, identity: str, index: int) -> Glance | None:
        """See `ImageStore.glance`."""
        held = self.known(identity)
        return None if held is None else self.glance_in(held, index)

    def glance_at(self, series: tuple[str, str, str], sop_uid: str, number: int) -> Glance | None:
        """See `ImageStore.glance_at`."""
        stamp = self._records.stamp()
        identity = self._only_image_set(series, stamp)
        held = None if identity is None else self.known(identity, stamp)
        index = None if held is None else held.places.get((sop_uid, number))
        return None if held is None or index is None else self.glance_in(held, index)

    def glance_in(self, held: Opened, index: int) -> Glance | None:
        """Frame `index` of what was opened; None where there is no such frame."""
        found = held.glances.get(index)
        if found is None and 0 <= index < len(held.addresses):
            found = held.glances[index] = Glance(held, index, self._reader)
        return found

    def _only_image_set(self, series: tuple[str, str, str], stamp: int) -> str | None:
        """The id of the one image set of a series; None where there are several, or none."""
        known = self._only.get(series)
        if known is not None and known[0] == stamp:
            return known[1]
        datastore, study_uid, series_uid = series
        rows = self._records.find(
            IMAGE_SETS, {"datastore": datastore, "study_uid": study_uid, "series_uid": series_uid}, limit=2
        )
        identity = rows[0].key if len(rows) == 1 else None
        if len(self._only) >= _SERIES_REMEMBERED:
            self._only.clear()
        self._only[series] = stamp, identity
        return identity

    def _open(self, identity: str) -> Opened:
        stamp = self._records.stamp()
        row = self._records.get(IMAGE_SETS, identity)
        if row is None:
            with self._guard:
                self._remembered.pop(identity, None)
            raise NotFound(f"no image set {identity}")
        image_set = image_set_of(row)
        instances = current_instances(self._records, identity)
        places = [(instance, number) for instance in instances for number in range(instance.frame_count)]
        if image_set.is_closed:
            places = [(instances[place], number) for place, number in order_of(self._records, identity)["frames"]]
        addresses = tuple(FrameAddress(instance, number) for instance, number in places)
        order = {(address.instance.sop_uid, address.number): index for index, address in enumerate(addresses)}
        cipher = self._keys.cipher(image_set.wrapped_key)
        return Opened(image_set, row.revision, stamp, addresses, order, cipher, {})


def current_instances(records: Records, identity: str) -> list[StoredInstance]:
    """The current instances of an image set as edited: in slice order once closed, by instance number before."""
    found = [instance_of(row) for row in records.find(INSTANCES, {"image_set": identity})]
    edits = read_edits(records, identity)
    current = [edited_instance(one, edits) if edits else one for one in found if one.superseded_by is None]
    order = {name: place for place, name in enumerate(order_of(records, identity)["instances"])}
    return sorted(current, key=lambda i: (order.get(i.id, len(order)), i.number, i.sop_uid))


def order_of(records: Records, identity: str) -> Mapping[str, Any]:
    """The order of the version that was closed last; empty before the first closing."""
    rows = records.find(VERSIONS, {"image_set": identity}, newest_first=True, limit=1)
    return rows[0].document if rows else {"instances": [], "frames": []}
