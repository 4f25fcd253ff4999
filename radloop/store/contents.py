"""What an instance holds, put together from where its bytes lie: frames, pixels, header, the file as it arrived."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from radloop.codec.htj2k import decode, encode_lossless
from radloop.core.errors import Corrupt, NotFound
from radloop.core.ports import Blobs, Cipher, Records
from radloop.core.tables import INSTANCES
from radloop.dicom.elements import Data
from radloop.dicom.parse import parse
from radloop.store.described import Described
from radloop.store.folding import native_bytes, pixels_of
from radloop.store.instances import StoredInstance, instance_of
from radloop.store.packs import Ref, read_record


class Contents:
    """Reads instances; whoever asks gives the cipher of their image set.

    All raise `NotFound` where folding or deleting has removed the pack since the instance was looked up.
    """

    def __init__(self, blobs: Blobs, records: Records) -> None:
        self._blobs = blobs
        self._records = records

    def codestream(self, cipher: Cipher, instance: StoredInstance, number: int) -> bytes:
        """A frame as an HTJ2K codestream at full quality.

        Raises:
            UnsupportedPixels: No codec of ours decodes it.
        """
        if instance.frames:
            return self._record(cipher, instance, instance.frames[number].full)
        data = self.file(cipher, instance)
        return encode_lossless(pixels_of(data, parse(data), number))

    def preview(self, cipher: Cipher, instance: StoredInstance, number: int) -> bytes | None:
        """The preview of a frame; None where there is none yet."""
        ref = instance.frames[number].preview if instance.frames else None
        return None if ref is None else self._record(cipher, instance, ref)

    def pixels(self, cipher: Cipher, instance: StoredInstance, number: int) -> NDArray[np.generic]:
        """A frame decoded: (rows, columns) or (rows, columns, 3), stored values.

        Raises:
            UnsupportedPixels: No codec of ours decodes it.
        """
        if instance.frames:
            return decode(self._record(cipher, instance, instance.frames[number].full))
        data = self.file(cipher, instance)
        return pixels_of(data, parse(data), number)

    def file(self, cipher: Cipher, instance: StoredInstance) -> bytes:
        """The Part 10 file exactly as it arrived.

        Raises:
            Corrupt: What is stored does not rebuild the file.
        """
        if instance.original is not None:
            return self._record(cipher, instance, instance.original)
        if instance.head is None or instance.image is None:
            raise Corrupt(f"instance {instance.id} names no bytes")
        parts = [self._record(cipher, instance, instance.head)]
        planar = int(instance.image["planar"])
        parts += [native_bytes(self.pixels(cipher, instance, each), planar) for each in range(len(instance.frames))]
        if instance.tail is not None:
            parts.append(self._record(cipher, instance, instance.tail))
        return b"".join(parts)

    def header(self, cipher: Cipher, instance: StoredInstance) -> Data:
        """The file as it arrived, but for its pixels: zeros may stand for them.

        Raises:
            Corrupt: What is stored does not rebuild the file.
        """
        ref = instance.head or instance.original
        if ref is None:
            raise Corrupt(f"instance {instance.id} names no bytes")
        data = self._record(cipher, instance, ref)
        if instance.head is not None:
            tail = b"" if instance.tail is None else self._record(cipher, instance, instance.tail)
            data += bytes(instance.size_bytes - len(data) - len(tail)) + tail  # pixels are not part of the answer
        return data

    def described(self, identity: str) -> Mapping[str, Described]:  # noqa: ARG002 — what we keep ourselves we read
        """The instances of an image set that another store tells of, by SOP instance UID as received."""
        return {}

    def fresh(self, instance: StoredInstance) -> StoredInstance:
        """The instance as it is stored now; folding may have moved its bytes since it was read.

        Raises:
            NotFound: There is no such instance.
        """
        row = self._records.get(INSTANCES, instance.id)
        if row is None:
            raise NotFound(f"no instance {instance.id}")
        return instance_of(row)

    def _record(self, cipher: Cipher, instance: StoredInstance, ref: Ref) -> bytes:
        return read_record(self._blobs, cipher, instance.image_set, ref)
