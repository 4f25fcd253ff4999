"""Image sets of HealthImaging as the doors want them: the same store, which finds its bytes elsewhere."""

import gzip
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Final

from radloop.aws.assembly import original_of
from radloop.aws.images import HealthImagingImages
from radloop.core.errors import NotFound, TooLarge
from radloop.core.identity import Principal, derived_id
from radloop.core.images import ImageSet
from radloop.core.ports import Blobs, Cipher, Clock, Job, Keys, Landing, Records, Span, Upload
from radloop.core.tables import DEFAULT_DATASTORE, INSTANCES
from radloop.dicom.elements import DEFLATED_LE, Data
from radloop.dicom.ranges import Ranges
from radloop.store.contents import Contents
from radloop.store.described import Described
from radloop.store.erasing import asked_for
from radloop.store.headers import Header, header_of
from radloop.store.images import ImageStore
from radloop.store.instances import StoredInstance, instance_of
from radloop.store.kept import Kept
from radloop.store.opened import order_of
from radloop.store.studies import Study

LONGEST_FILE: Final = 256 << 20
"""Bytes of the longest file that is read whole, for a frame that HealthImaging keeps in another form or for export."""

LONGEST_WHOLE: Final = 4 << 20
"""Bytes of the longest file that is fetched in one piece for its header; of longer ones only what is looked at is."""

HELD_AT_ONCE: Final = 64 << 20
"""Bytes of originals that are held at the same time while headers are read from them."""

_AT_ONCE = 16  # originals whose headers are asked for at the same time
_HELD_OF_LONG = 16 << 20  # what `Ranges` keeps
_LEVEL = 5

Frames = Callable[[str, str, int], bytes | None]
"""A frame by image set, SOP instance UID and number, as an HTJ2K codestream; None where HealthImaging keeps another."""

Describe = Callable[[str], Mapping[str, Described]]
"""What HealthImaging tells of the instances of an image set, by SOP instance UID as received."""


class HealthImagingContents(Contents):
    """Reads instances: frames from HealthImaging, whole files from the archive of originals.

    Args:
        blobs, records: The ports.
        frames, describe: Ask HealthImaging.
    """

    def __init__(self, blobs: Blobs, records: Records, frames: Frames, describe: Describe) -> None:
        super().__init__(blobs, records)
        self._archive = blobs
        self._frames = frames
        self._describe = describe

    def codestream(self, cipher: Cipher, instance: StoredInstance, number: int) -> bytes:
        """See `Contents.codestream`."""
        found = self._frames(instance.image_set, instance.uid_as_received, number)
        return super().codestream(cipher, instance, number) if found is None else found

    def preview(self, cipher: Cipher, instance: StoredInstance, number: int) -> bytes | None:  # noqa: ARG002 — the port's
        """See `Contents.preview`; HealthImaging has none, and the packs that have are read from the edge."""
        return None

    def file(self, cipher: Cipher, instance: StoredInstance) -> bytes:  # noqa: ARG002 — the bucket itself unseals
        """See `Contents.file`.

        Raises:
            TooLarge: A function cannot hold it.
        """
        if instance.size_bytes > LONGEST_FILE:
            raise TooLarge(f"a file of more than {LONGEST_FILE} bytes is not read here: it lies in the archive")
        return self._archive.get(original_of(instance.id))

    def header(self, cipher: Cipher, instance: StoredInstance) -> Data:
        """See `Contents.header`; pixels that stand by themselves in the file stay where they are."""
        if instance.size_bytes > LONGEST_WHOLE:
            return Ranges(partial(self._read, original_of(instance.id)), instance.size_bytes)
        if instance.pixel_span is None:
            return self.file(cipher, instance)
        key, (start, length) = original_of(instance.id), instance.pixel_span
        end = start + length
        tail = self._archive.get(key, Span(end, instance.size_bytes)) if end < instance.size_bytes else b""
        return b"".join((self._archive.get(key, Span(0, start)), bytes(length), tail))

    def _read(self, key: str, start: int, end: int) -> bytes:
        return self._archive.get(key, Span(start, end))

    def described(self, identity: str) -> Mapping[str, Described]:
        """See `Contents.described`: one call instead of the originals of all its instances."""
        return self._describe(identity)


class HealthImagingStore(ImageStore):
    """The store of one HealthImaging data store, with everything that doors ask of one.

    Args:
        blobs, records, keys, clock: The ports.
        images: What takes files in and knows what became of them.
        frames: Asks HealthImaging for a frame.
        describe: Asks HealthImaging for its metadata.
    """

    def __init__(
        self,
        blobs: Blobs,
        records: Records,
        keys: Keys,
        clock: Clock,
        *,
        images: HealthImagingImages,
        frames: Frames,
        describe: Describe,
    ) -> None:
        contents = HealthImagingContents(blobs, records, frames, describe)
        super().__init__(blobs, records, keys, clock, contents=contents)
        self._arriving = images
        self._kept = Kept(blobs, records)
        self._room = _Room(HELD_AT_ONCE)

    def land(self, uploads: list[Upload], *, by: Principal, datastore: str = DEFAULT_DATASTORE) -> list[Landing]:
        """See `HealthImagingImages.land`."""
        return self._arriving.land(uploads, by=by, datastore=datastore)

    def complete_study(self, key: str, *, by: Principal) -> Study:
        """See `HealthImagingImages.complete_study`; the study as it stands before what is on its way is imported.

        Raises:
            NotFound: There is no such study, or nothing of it has been imported yet.
        """
        self._arriving.complete_study(key, by=by)
        return self.studies.get(key)

    def _headers(self, image_set: ImageSet, wanted: Collection[str] | None = None) -> Iterable[Header]:
        """See `ImageStore._headers`: the originals are asked for them once, and what they tell is kept as one object.

        So what AWS is asked does not grow with the slices after that; a few that are wanted before are read alone.
        Instances are those of the version that was closed last, whatever an import has written and not counted yet.
        """
        names = [str(each) for each in order_of(self._records, image_set.id)["instances"]]
        if not names:
            return super()._headers(image_set, wanted)
        cipher = self._keys.cipher(image_set.wrapped_key)
        name = f"headers/{derived_id(*names)}"
        kept = self._kept.get(cipher, image_set.id, name)
        if kept is None and wanted is not None and len(wanted) < len(names) / 2:
            return map(header_of, self._lines(cipher, image_set.id, [each for each in names if each in wanted]))
        if kept is None:
            lines = self._lines(cipher, image_set.id, names)
            kept = gzip.compress(b"\n".join(lines), _LEVEL, mtime=0)
            self._kept.put(cipher, image_set.id, name, kept)
        headers = map(header_of, gzip.decompress(kept).split(b"\n"))
        return headers if wanted is None else (each for each in headers if each.id in wanted)

    def _lines(self, cipher: Cipher, identity: str, names: Sequence[str]) -> list[bytes]:
        """The headers of instances, read from their originals, several at a time.

        Those that an import is about to replace are among them, for as long as the version before counts them.

        Raises:
            NotFound: One of them is not there any more: the image set is being deleted.
        """
        found = {row.key: instance_of(row) for row in self._records.find(INSTANCES, {"image_set": identity})}
        if not found.keys() >= set(names):
            raise NotFound(f"image set {identity} has changed meanwhile")

        def line(name: str) -> bytes:
            with self._room.taken(_held(found[name])):
                return self._header_of(cipher, found[name]).line()

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return list(pool.map(line, names))

    def erased_by(self, identity: str) -> list[Job]:
        """See `ImageStore.erased_by`: one change of DynamoDB does not hold the instances of a series."""
        return [asked_for(identity)]


class _Room:
    """So many bytes that may be held at once; who needs more than are left waits until others have let go of theirs."""

    def __init__(self, size: int) -> None:
        self._size = self._left = size
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, size: int) -> Iterator[None]:
        """Hold `size` bytes meanwhile, or all there are where it is more."""
        size = min(size, self._size)
        with self._changed:
            self._changed.wait_for(lambda: size <= self._left)
            self._left -= size
        try:
            yield
        finally:
            with self._changed:
                self._left += size
                self._changed.notify_all()


def _held(instance: StoredInstance) -> int:
    """Bytes that are held while the header of an instance is read."""
    if instance.transfer_syntax == DEFLATED_LE:
        return HELD_AT_ONCE  # nobody knows how long it becomes
    return min(2 * instance.size_bytes, _HELD_OF_LONG)  # the parts of a file and the file
