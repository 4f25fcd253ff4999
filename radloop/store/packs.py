"""Packs: sealed records one behind the other in one blob.

A record is one AES-256-GCM message under the image set's data key. Its context names image set, pack, kind and
index, so that no record opens in another's place.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from radloop.core.errors import Corrupt
from radloop.core.identity import new_id
from radloop.core.ports import Blobs, BlobWriter, Cipher, Delete, Put, Span
from radloop.core.tables import PACKS

MAGIC = b"RLPACK1\n"


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


def drop_pack(image_set: str, pack: str) -> Delete:
    """The write after which nobody names a pack any more."""
    return Delete(PACKS, f"{image_set}/{pack}")


class PackWriter:
    """Appends sealed records to a pack that becomes visible when it is whole."""

    def __init__(self, blob: BlobWriter, cipher: Cipher, image_set: str, pack: str) -> None:
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
        sealed = self._cipher.seal(data, _context(self._image_set, self.name, kind, index))
        offset = self._blob.write(sealed)
        self.size_bytes += len(sealed)
        return Ref(pack=self.name, offset=offset, length=len(sealed), kind=kind, index=index)


@contextmanager
def new_pack(blobs: Blobs, cipher: Cipher, image_set: str) -> Iterator[PackWriter]:
    """A pack under a fresh name; it is on the disk, whole, when the block ends."""
    pack = new_id()
    with blobs.writer(pack_key(image_set, pack), is_unnamed=True) as blob:
        yield PackWriter(blob, cipher, image_set, pack)


def read_record(blobs: Blobs, cipher: Cipher, image_set: str, ref: Ref) -> bytes:
    """The bytes of one record.

    Raises:
        NotFound: The pack is gone; the record may live in a newer one.
        Corrupt: The record fails its seal.
    """
    sealed = blobs.get(pack_key(image_set, ref.pack), Span(ref.offset, ref.offset + ref.length))
    if len(sealed) != ref.length:
        raise Corrupt(f"pack {ref.pack} ends inside a record")
    return cipher.open(sealed, _context(image_set, ref.pack, ref.kind, ref.index))


def record_at_once(blobs: Blobs, cipher: Cipher, image_set: str, ref: Ref) -> bytes | None:
    """The bytes of one record, if that needs no waiting; else None, and `read_record` tells why.

    Raises:
        Corrupt: The record fails its seal.
    """
    sealed = blobs.at_once(pack_key(image_set, ref.pack), Span(ref.offset, ref.offset + ref.length))
    return None if sealed is None else cipher.open(sealed, _context(image_set, ref.pack, ref.kind, ref.index))


def _context(image_set: str, pack: str, kind: str, index: int) -> bytes:
    return f"{image_set}|{pack}|{kind}|{index}".encode()
