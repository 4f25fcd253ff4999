"""Image sets of HealthImaging as the doors want them: the same store, which finds its bytes elsewhere."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from radloop.aws.assembly import original_of
from radloop.aws.images import LONGEST_HELD, HealthImagingImages
from radloop.core.errors import TooLarge
from radloop.core.identity import Principal
from radloop.core.ports import Blobs, Cipher, Clock, Job, Keys, Landing, Records, Span, Upload
from radloop.core.tables import DEFAULT_DATASTORE
from radloop.dicom.elements import Data
from radloop.dicom.ranges import Ranges
from radloop.store.contents import Contents
from radloop.store.described import Described
from radloop.store.erasing import asked_for
from radloop.store.images import ImageStore
from radloop.store.instances import StoredInstance
from radloop.store.studies import Study

LONGEST_FILE: Final = 256 << 20
"""Bytes of the longest file that is read whole, for a frame that HealthImaging keeps in another form or for export."""

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
        if instance.size_bytes > LONGEST_HELD:
            return Ranges(partial(self._read, original_of(instance.id)), instance.size_bytes)
        if instance.pixel_span is None:
            return self.file(cipher, instance)
        key, (start, length) = original_of(instance.id), instance.pixel_span
        end = start + length
        tail = self._archive.get(key, Span(end, instance.size_bytes)) if end < instance.size_bytes else b""
        return self._archive.get(key, Span(0, start)) + bytes(length) + tail

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

    def erased_by(self, identity: str) -> list[Job]:
        """See `ImageStore.erased_by`: one change of DynamoDB does not hold the instances of a series."""
        return [asked_for(identity)]
