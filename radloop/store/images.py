"""Image sets as their users meet them: landed, closed, folded, read, exported."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from radloop.codec.png import thumbnail_png
from radloop.core.errors import Conflict, NotFound, Unavailable, UnsupportedPixels
from radloop.core.identity import Principal
from radloop.core.images import ImageSet, Notice
from radloop.core.ports import (
    AuditEntry,
    Blobs,
    Change,
    Cipher,
    Clock,
    Job,
    Keys,
    Landing,
    Records,
    Shelf,
    Upload,
)
from radloop.core.tables import DEFAULT_DATASTORE, IMAGE_SETS, INSTANCES, PACKS, image_set_of, put_image_set
from radloop.dicom.document import dicom_json
from radloop.dicom.elements import Data
from radloop.store.arranging import arranged, facts_of
from radloop.store.contents import Contents
from radloop.store.described import Described
from radloop.store.edits import read_edits
from radloop.store.folding import Foldings
from radloop.store.greys import grey, stored_window
from radloop.store.headers import Address, Header, text_of
from radloop.store.instances import StoredInstance
from radloop.store.landing import Landings
from radloop.store.layers import STREAM, discard
from radloop.store.made import MadeFrames
from radloop.store.opened import FrameAddress, Glance, Opened, OpenedImageSets, Reader, current_instances
from radloop.store.readings import Reading
from radloop.store.studies import Studies, Study
from radloop.store.transcoding import frame_made
from radloop.store.versions import CREATED, IMPORTED, put_version

_TRIES = 20
_T = TypeVar("_T")


class ImageStore:
    """The image sets of one installation.

    Args:
        blobs, records, keys, clock: The ports.
        shelf: Where frames are kept that were asked for in another form; None to keep none.
        contents: Reads instances whose bytes lie elsewhere than in our own packs.
    """

    def __init__(
        self,
        blobs: Blobs,
        records: Records,
        keys: Keys,
        clock: Clock,
        shelf: Shelf | None = None,
        *,
        contents: Contents | None = None,
    ) -> None:
        self._blobs = blobs
        self._records = records
        self._keys = keys
        self._clock = clock
        self._landings = Landings(blobs, records, keys, clock)
        self._foldings = Foldings(blobs, records, keys, clock)
        self.studies = Studies(records, clock)
        self._contents = Contents(blobs, records) if contents is None else contents
        self._made = MadeFrames(shelf)
        self._opened = OpenedImageSets(records, keys, Reader(blobs, self._made))

    # arriving

    def land(self, uploads: list[Upload], *, by: Principal, datastore: str = DEFAULT_DATASTORE) -> list[Landing]:
        """Land files, in order; on return each is durable, a known duplicate, or quarantined."""
        return self._landings.land(uploads, by=by, datastore=datastore)

    def complete(self, identity: str, *, by: Principal) -> ImageSet:
        """Close an image set: derive its geometry, fix its version, announce it, ask for folding.

        Closing twice is closing once.

        Raises:
            NotFound: There is no such image set.
        """
        for _ in range(_TRIES):
            row = self._records.get(IMAGE_SETS, identity)
            if row is None:
                raise NotFound(f"no image set {identity}")
            image_set = image_set_of(row)
            if image_set.is_closed:
                return image_set
            instances = self.instances(identity)
            geometry, order = arranged(instances)
            oddities = [*image_set.notices, *geometry.warnings, *self._reused(image_set, instances)]
            notices = tuple(dict.fromkeys(oddities))
            closed, event = image_set.close(geometry=facts_of(geometry), notices=notices, at=self._clock())
            edits = read_edits(self._records, identity)
            cause = CREATED if closed.version == 1 else IMPORTED
            version = put_version(closed, order, cause=cause, edits=edits, at=closed.updated_at)
            told = event.told(at=self._clock(), trace=identity)
            job = Job(
                id=f"fold-{identity}-{closed.version}",
                lane="fold",
                kind="fold",
                payload={"image_set": identity},
                trace=identity,
            )
            try:
                self._records.commit(
                    Change(
                        writes=[
                            put_image_set(closed, expected=row.revision),
                            version,
                        ],
                        events=[told],
                        jobs=[job],
                        audit=[AuditEntry(by.id, "complete", identity)],
                    )
                )
            except Conflict:
                continue  # an instance landed meanwhile: look again
            return closed
        raise Unavailable("the image set kept changing while it was closed")

    def complete_quiet(self, quiet_s: float, *, by: Principal) -> list[str]:
        """Close every image set that has been quiet for `quiet_s` seconds; returns their ids."""
        before = self._clock() - timedelta(seconds=quiet_s)
        waiting = [image_set_of(row) for row in self._records.find(IMAGE_SETS, {"is_closed": 0})]
        quiet = [image_set.id for image_set in waiting if image_set.updated_at <= before]
        for identity in quiet:
            self.complete(identity, by=by)
        return quiet

    def complete_study(self, key: str, *, by: Principal) -> Study:
        """Close every image set of a study and announce it as received, once for what it holds now.

        Raises:
            NotFound: There is no such study.
        """
        for identity in self.studies.image_sets(self.studies.get(key)):
            self.complete(identity, by=by)
        return self.studies.received(key, by=by)

    def complete_quiet_studies(self, quiet_s: float, *, by: Principal) -> list[str]:
        """Complete every study that has been quiet for `quiet_s` seconds; returns their ids."""
        quiet = self.studies.quiet(quiet_s)
        for key in quiet:
            self.complete_study(key, by=by)
        return quiet

    def fold(
        self, identity: str, *, executor: Executor | None = None, told: Callable[[int], None] | None = None
    ) -> ImageSet:
        """Fold what is landed in an image set; folding what is folded changes nothing.

        Raises:
            NotFound: There is no such image set.
            Unavailable: It kept changing; worth another try.
        """
        for _ in range(_TRIES):
            image_set = self.get(identity)
            landed = [address for address in self.instances(identity) if address.storage == "landed"]
            if not landed:
                return image_set
            try:
                return self._foldings.fold(image_set, landed, executor=executor, told=told)
            except (Conflict, NotFound):
                continue  # a late object replaced one of them, or another fold was first
        raise Unavailable("the image set kept changing while it was folded")

    # reading

    def get(self, identity: str) -> ImageSet:
        """One image set.

        Raises:
            NotFound: There is no such image set.
        """
        held = self._opened.known(identity)
        if held is not None:
            return held.image_set
        row = self._records.get(IMAGE_SETS, identity)
        if row is None:
            raise NotFound(f"no image set {identity}")
        return image_set_of(row)

    def glance(self, identity: str, index: int) -> Glance | None:
        """Frame `index`, if the image set was read lately and the frame is there; never waits for a disk."""
        return self._opened.glance(identity, index)

    def glance_at(self, series: tuple[str, str, str], sop_uid: str, number: int) -> Glance | None:
        """Frame `number`, from 0, of the instance in a series that has one image set only; else as `glance`.

        Args:
            series: Data store, study instance UID and series instance UID.
            sop_uid: SOP instance UID.
            number: Of the frame.
        """
        return self._opened.glance_at(series, sop_uid, number)

    def reading(self, identity: str) -> Reading:
        """The frames of an image set, for who reads many of them.

        Raises:
            NotFound: There is no such image set.
        """
        return Reading(self._opened.get(identity), self._opened.glance_in, self._contents)

    def reading_at_hand(self, identity: str) -> Reading | None:
        """What `reading` gives, if the image set was read lately; never waits for a disk."""
        opened = self._opened.known(identity)
        return None if opened is None else Reading(opened, self._opened.glance_in, self._contents)

    def instances(self, identity: str) -> list[StoredInstance]:
        """Its current instances: in slice order once closed, by instance number before."""
        return current_instances(self._records, identity)

    def frames(self, identity: str) -> tuple[FrameAddress, ...]:
        """Every frame of an image set, in slice order."""
        return self._opened.get(identity).addresses

    def frame(self, identity: str, index: int) -> tuple[bytes, str]:
        """Frame `index` as an HTJ2K codestream at full quality, and `lossless` or `lossy-as-received`.

        Raises:
            NotFound: There is no such image set or frame.
            UnsupportedPixels: No codec of ours decodes it; export gives the file as it came.
        """

        def read() -> tuple[bytes, str]:
            opened, address = self._address(identity, index)
            quality = "lossy-as-received" if address.instance.is_lossy else "lossless"
            return self._contents.codestream(opened.cipher, address.instance, address.number), quality

        return self._retried(read)

    def frame_as(self, identity: str, index: int, syntax: str) -> bytes:
        """Frame `index` in another transfer syntax, kept once it was made of a folded one.

        Args:
            identity: The image set.
            index: The frame's place in it.
            syntax: Explicit VR Little Endian, with planes as they came, or one of `codec.encoders.ENCODED`.

        Raises:
            NotFound: There is no such image set or frame.
            UnsupportedPixels: No codec of ours decodes it, or makes that of it.
        """

        def read() -> bytes:
            opened, address = self._address(identity, index)
            instance, number = address.instance, address.number
            kept = self._made.get(opened.cipher, instance, number, syntax)
            if kept is not None:
                return kept
            data = frame_made(self._contents.pixels(opened.cipher, instance, number), instance, syntax)
            self._made.keep(opened.cipher, instance, number, syntax, data)
            return data

        return self._retried(read)

    def frame_at(self, instance: StoredInstance, number: int) -> bytes:
        """Frame `number` of an instance, also of one that is no longer shown, as an HTJ2K codestream at full quality.

        Raises:
            NotFound: There is no such instance or frame.
            UnsupportedPixels: No codec of ours decodes it.
        """

        def read() -> bytes:
            current = self._contents.fresh(instance)
            if not 0 <= number < current.frame_count:
                raise NotFound(f"the instance has {current.frame_count} frames")
            return self._contents.codestream(self._cipher(current), current, number)

        return self._retried(read)

    def preview(self, identity: str, index: int) -> bytes:
        """The lossy full-resolution preview of frame `index`, HTJ2K; for moving only.

        Raises:
            NotFound: There is no such frame, or it is not folded yet.
        """

        def read() -> bytes:
            opened, address = self._address(identity, index)
            data = self._contents.preview(opened.cipher, address.instance, address.number)
            if data is None:
                raise NotFound(f"frame {index} has no preview yet")
            return data

        return self._retried(read)

    def pixels(self, identity: str, index: int) -> NDArray[np.generic]:
        """Frame `index` decoded: (rows, columns) or (rows, columns, 3), stored values.

        Raises:
            NotFound: There is no such image set or frame.
            UnsupportedPixels: No codec of ours decodes it.
        """

        def read() -> NDArray[np.generic]:
            opened, address = self._address(identity, index)
            return self._contents.pixels(opened.cipher, address.instance, address.number)

        return self._retried(read)

    def thumbnail(self, identity: str) -> bytes:
        """A small PNG of the middle frame, badged as a picture for finding, not for reading.

        Raises:
            NotFound: There is no such image set, or it has no frames.
            UnsupportedPixels: No codec of ours decodes it.
        """
        addresses = self.frames(identity)
        if not addresses:
            raise NotFound(f"image set {identity} has no frames")
        middle = len(addresses) // 2
        pixels = self.pixels(identity, middle)
        image = addresses[middle].instance.image or {}
        if image.get("photometric") == "MONOCHROME1":
            pixels = np.invert(pixels)
            return thumbnail_png(pixels)
        return thumbnail_png(pixels, stored_window(image))

    def volume(self, identity: str) -> NDArray[np.generic]:
        """All frames as training and prediction want them.

        Returns:
            CT: int16 (slices, rows, columns), HU. Else: uint16 (views, rows, columns), MONOCHROME2, full range.

        Raises:
            UnsupportedPixels: A frame is colour, undecodable, or differs in size from the others.
        """
        image_set = self.get(identity)
        addresses = self.frames(identity)
        frames = [
            grey(self.pixels(identity, index), a.instance.image or {}, image_set.modality)
            for index, a in enumerate(addresses)
        ]
        if not frames or any(frame.shape != frames[0].shape for frame in frames):
            raise UnsupportedPixels("the frames of the image set do not form one volume")
        return np.stack(frames)

    def export(self, instance: StoredInstance) -> bytes:
        """The Part 10 file exactly as it arrived.

        Raises:
            Corrupt: What is stored does not rebuild the file.
        """

        def read() -> bytes:
            current = self._contents.fresh(instance)
            return self._contents.file(self._cipher(current), current)

        return self._retried(read)

    def document(self, instance: StoredInstance, bulk_uri: Callable[[str], str] | None = None) -> dict[str, Any]:
        """The instance's header as a DICOM JSON object (PS3.18 Annex F), with what was edited since it arrived."""
        document = dicom_json(self.header(instance), bulk_uri)
        edit = read_edits(self._records, instance.image_set).of_instance(instance.id)
        return edit.over_document(document) if edit else document

    def documents(self, identity: str, address: Address) -> list[bytes]:
        """The headers of all its instances, in slice order: the text of what `document` tells of each.

        Args:
            identity: Of the image set.
            address: From a SOP instance UID to the address below which BulkDataURIs are.

        Raises:
            NotFound: There is no such image set.
        """
        edits = read_edits(self._records, identity)
        return [header.told(edits, address) for header in self._headers(self.get(identity))]

    def headers(self, identity: str, wanted: Collection[str]) -> dict[str, dict[str, Any]]:
        """What `document` tells of some instances without addresses of values, by instance id.

        Raises:
            NotFound: There is no such image set.
        """
        edits = read_edits(self._records, identity)
        return {header.id: header.document(edits) for header in self._headers(self.get(identity), wanted)}

    def header(self, instance: StoredInstance) -> Data:
        """The file as it arrived, but for its pixels: zeros may stand for them."""

        def read() -> Data:
            current = self._contents.fresh(instance)
            return self._contents.header(self._cipher(current), current)

        return self._retried(read)

    def described(self, identity: str) -> Mapping[str, Described]:
        """See `Contents.described`."""
        return self._contents.described(identity)

    def erased_by(self, identity: str) -> list[Job]:  # noqa: ARG002 — other stores ask for one an image set
        """The jobs that delete what hangs on a deleted image set; none where the deletion itself does."""
        return []

    def sweep(self) -> int:
        """Remove packs that a crash left unnamed, layers of what was deleted, and what can be made again.

        Only the sole owner of the store may call this, before it works.
        """
        self._made.clear()
        removed = 0
        for key in list(self._blobs.keys("image-sets/")):
            _, identity, name = key.split("/")
            if self._records.get(PACKS, f"{identity}/{name.removesuffix('.pack')}") is None:
                self._blobs.delete(key)
                removed += 1
        laid = sorted({key.split("/")[2] for key in self._blobs.keys(STREAM)})
        return removed + sum(discard(self._blobs, identity) for identity in laid if not self._is_there(identity))

    # within

    def _headers(self, image_set: ImageSet, wanted: Collection[str] | None = None) -> Iterable[Header]:
        """The headers of its instances as received, in slice order: of those that are wanted, or of all."""
        cipher = self._keys.cipher(image_set.wrapped_key)
        for instance in self.instances(image_set.id):
            if wanted is None or instance.id in wanted:
                yield self._header_of(cipher, instance)

    def _header_of(self, cipher: Cipher, instance: StoredInstance) -> Header:
        try:
            data = self._contents.header(cipher, instance)
        except NotFound:  # folding has moved it since it was looked up
            data = self.header(instance)
        return Header(instance.id, instance.uid_as_received, text_of(data))

    def _reused(self, image_set: ImageSet, instances: Sequence[StoredInstance]) -> list[Notice]:
        """A notice where another image set of the data store holds an object under the same SOP instance UID."""
        for instance in instances:
            for row in self._records.find(INSTANCES, {"sop_uid": instance.sop_uid}):
                other = str(row.columns["image_set"])
                if other != image_set.id and self._is_in(image_set.datastore, other):
                    return [Notice("sop-uid-elsewhere", "Another series holds an object of the same SOP instance UID")]
        return []

    def _is_there(self, identity: str) -> bool:
        return self._records.get(IMAGE_SETS, identity, columns=()) is not None

    def _is_in(self, datastore: str, identity: str) -> bool:
        row = self._records.get(IMAGE_SETS, identity)
        return row is not None and row.columns["datastore"] == datastore

    def _address(self, identity: str, index: int) -> tuple[Opened, FrameAddress]:
        opened = self._opened.get(identity)
        if not 0 <= index < len(opened.addresses):
            raise NotFound(f"frame {index} does not exist; image set {identity} has {len(opened.addresses)}")
        return opened, opened.addresses[index]

    def _cipher(self, instance: StoredInstance) -> Cipher:
        return self._keys.cipher(self.get(instance.image_set).wrapped_key)

    def _retried(self, read: Callable[[], _T]) -> _T:
        """Read; where folding removed the pack between looking and reading, look again once."""
        try:
            return read()
        except NotFound:
            self._opened.forget()
            return read()
