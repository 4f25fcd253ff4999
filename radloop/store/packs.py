"""Packs: sealed records one behind the other in one blob.

A record is one AES-256-GCM message under the image set's data key. Its context names image set, pack, kind and
index, so that no record opens in another's place.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from radloop.core.errors import Corrupt
from radloop.core.identity import new_id
from radloop.core.ports import Adjust, Blobs, BlobWriter, Cipher, Delete, GrowingBlob, Put, Records, Span
from radloop.core.tables import PACKS

MAGIC = b"RLPACK1\n"
_MOST_OPEN = 16
_IDLE_S = 5.0


@dataclass(frozen=True, slots=True)
class Ref:
    """Where a record lies: its pack, the bytes in it, and what it says it is."""

    pack: str
    offset: int
    length: int
    kind: str
    index: int

    def as_list(self) -> list[str | int]:
        """Short plain form for documents; `ref_of` reads it back."""
        return [self.pack, self.offset, self.length, self.kind, self.index]


def ref_of(values: Sequence[str | int]) -> Ref:
    """The reference that `Ref.as_list` wrote."""
    pack, offset, length, kind, index = values
    return Ref(pack=str(pack), offset=int(offset), length=int(length), kind=str(kind), index=int(index))


def pack_key(image_set: str, pack: str) -> str:
    """The blob a pack lies in."""
    return f"image-sets/{image_set}/{pack}.pack"


def put_pack(image_set: str, pack: str) -> Put:
    """The write that names a pack; any other file in the image set's folder is a crash's leftover."""
    return Put(PACKS, f"{image_set}/{pack}", {}, {"image_set": image_set}, expected=0)


def name_again(image_set: str, pack: str) -> Adjust:
    """The write that fails where a pack that was named has been dropped, so that nothing more is added to it."""
    return Adjust(PACKS, f"{image_set}/{pack}", {}, {})


def is_pack_named(records: Records, image_set: str, pack: str) -> bool:
    """Whether a pack is named still."""
    return records.get(PACKS, f"{image_set}/{pack}") is not None


def drop_pack(image_set: str, pack: str) -> Delete:
    """The write after which nobody names a pack any more."""
    return Delete(PACKS, f"{image_set}/{pack}")


class PackWriter:
    """Appends sealed records to a pack that becomes visible when it is whole."""

    def __init__(self, blob: BlobWriter | GrowingBlob, cipher: Cipher, image_set: str, pack: str) -> None:
        self._blob = blob
        self._cipher = cipher
        self._image_set = image_set
        self.name = pack
        self._next: dict[str, int] = {}
        self.size_bytes = len(MAGIC)
        blob.write(MAGIC)

    def add(self, kind: str, data: bytes) -> Ref:
        """Seal `data` as the next record of its kind."""
        index = self._next.get(kind, 0)
        self._next[kind] = index + 1
        sealed = self._cipher.seal(data, context_of(self._image_set, self.name, kind, index))
        offset = self._blob.write(sealed)
        self.size_bytes += len(sealed)
        return Ref(pack=self.name, offset=offset, length=len(sealed), kind=kind, index=index)


@contextmanager
def new_pack(blobs: Blobs, cipher: Cipher, image_set: str) -> Iterator[PackWriter]:
    """A pack under a fresh name; it is on the disk, whole, when the block ends."""
    pack = new_id()
    with blobs.writer(pack_key(image_set, pack), is_unnamed=True) as blob:
        yield PackWriter(blob, cipher, image_set, pack)


class GrowingPack(PackWriter):
    """A pack that what lands is added to, a few records at a time.

    Attributes:
        is_named: A commit names it, so that it stays even if what was added last is not wanted.
    """

    def __init__(self, blobs: Blobs, cipher: Cipher, image_set: str) -> None:
        name = new_id()
        self._blobs = blobs
        self._key = pack_key(image_set, name)
        self._growing = blobs.growing(self._key)
        self.is_named = False
        super().__init__(self._growing, cipher, image_set, name)

    @property
    def is_full(self) -> bool:
        """See `GrowingBlob.is_full`."""
        return self._growing.is_full

    def settle(self) -> None:
        """See `GrowingBlob.settle`. No record of it may be committed before."""
        self._growing.settle()

    def close(self) -> None:
        """Add nothing more; a pack that nobody names goes."""
        self._growing.close()
        if not self.is_named:
            self._blobs.delete(self._key)


class OpenPacks:
    """Growing packs of image sets that are being landed into, each for as long as somebody lands.

    A pack belongs to one version of one image set. Folding drops the packs it has emptied, also one of a version that
    is open again; so every commit that adds to a pack says `name_again`, and fails where it has been dropped.
    """

    def __init__(self) -> None:
        self._packs: OrderedDict[tuple[str, int], tuple[GrowingPack, float]] = OrderedDict()
        self._guard = threading.Lock()
        self._closer: threading.Thread | None = None

    def take(self, image_set: str, version: int) -> GrowingPack | None:
        """The open pack of an image set, for this caller alone until it is given back; None where there is none."""
        with self._guard:
            pack, _ = self._packs.pop((image_set, version), (None, 0.0))
        return pack

    def give(self, image_set: str, version: int, pack: GrowingPack) -> None:
        """Keep a pack for whoever lands next; one that cannot be kept is closed."""
        others: list[GrowingPack] = [pack]
        with self._guard:
            if not pack.is_full and (image_set, version) not in self._packs:
                others.clear()
                self._packs[image_set, version] = (pack, time.monotonic())
                if len(self._packs) > _MOST_OPEN:
                    others.append(self._packs.popitem(last=False)[1][0])
                if self._closer is None:
                    self._closer = threading.Thread(target=self._close_idle, name="pack-closer", daemon=True)
                    self._closer.start()
        for other in others:
            other.close()

    def _close_idle(self) -> None:
        """Close what nobody has added to for a while, so that a pack that is deleted gives its room back."""
        while True:
            time.sleep(_IDLE_S)
            with self._guard:
                before = time.monotonic() - _IDLE_S
                idle = [key for key, (_, since) in self._packs.items() if since < before]
                packs = [self._packs.pop(key)[0] for key in idle]
                is_over = not self._packs
                if is_over:
                    self._closer = None
            for pack in packs:
                pack.close()
            if is_over:
                return


def read_record(blobs: Blobs, cipher: Cipher, image_set: str, ref: Ref) -> bytes:
    """The bytes of one record.

    Raises:
        NotFound: The pack is gone; the record may live in a newer one.
        Corrupt: The record fails its seal.
    """
    sealed = blobs.get(pack_key(image_set, ref.pack), Span(ref.offset, ref.offset + ref.length))
    if len(sealed) != ref.length:
        raise Corrupt(f"pack {ref.pack} ends inside a record")
    return cipher.open(sealed, context_of(image_set, ref.pack, ref.kind, ref.index))


def context_of(image_set: str, pack: str, kind: str, index: int) -> bytes:
    """What a record is sealed for, so that it opens in no other place."""
    return f"{image_set}|{pack}|{kind}|{index}".encode()
