"""The writer of static layers: index, preview packs and packs of full frames, as files that a CDN gives out.

It knows ports alone: whoever calls it gives the frames, so that a home, HealthImaging and a benchmark lay down the same
bytes. An image set of any length is written in pieces, none of which holds more than a few frames in memory:

    pieces   one a 64 frames: their pack, then a draft of what is known of them, with their previews
    finish   once all drafts stand: the preview packs, which go across the series, then the index, then away with drafts

Everything may be repeated, also after a crash in the middle: the same version gives the same bytes. Nobody sees layers
without an index, and there is none before everything it tells of. docs/stream.md tells the format.
"""

import gzip
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final

import orjson

from radloop.core.errors import Conflict, Corrupt, NotFound
from radloop.core.images import Storage
from radloop.core.ports import Blobs, Span
from radloop.store.folding import FoldedFrame
from radloop.store.layers import STREAM, LayersPlace, discard, holds, stand
from radloop.store.opened import FrameAddress
from radloop.store.readings import Reading
from radloop.streaming.frames import Laid, laid_of
from radloop.streaming.index import index_of
from radloop.streaming.records import PACK, Item, chosen_for, header_of, no_preview, packs_of

FRAMES_IN_PACK: Final = PACK
COMPRESSION: Final = 5
"""Of gzip, for every index there is."""

_STATIC: Final = {"frames": FRAMES_IN_PACK, "hole": len(no_preview(Item(0, is_preview=True)))}
"""What an index tells of static packs: frames in one, and bytes of what stands for a preview that is not there."""

_LENGTH = struct.Struct("<I")
_ASKED_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Written:
    """What is written of: one version of an image set.

    Attributes:
        told: What the index tells of the image set besides its frames.
        addresses: Its frames, in slice order.
        frames: Frames of these numbers, in order; None for one that cannot be given, which has no length then.
    """

    image_set: str
    version: int
    told: Mapping[str, Any]
    addresses: Sequence[FrameAddress]
    frames: Callable[[Sequence[int]], Iterator[FoldedFrame | None]]

    @property
    def pieces(self) -> int:
        """How many pieces it is written in."""
        return packs_of(len(self.addresses))


class Layers:
    """Writes the layers of image sets.

    Args:
        blobs: Where to.
        root: What all keys begin with; empty, or ending in a slash.
    """

    def __init__(self, blobs: Blobs, root: str = STREAM) -> None:
        self._blobs = blobs
        self._root = root

    def write(self, written: Written, told: Callable[[int], None] = lambda _: None) -> None:
        """Everything at once.

        Args:
            written: What is written of.
            told: Called with how many frames have been written since it was called last.
        """
        for number in range(written.pieces):
            self.piece(written, number)
            told(len(_numbers(written, number)))
        self.finish(written)

    def piece(self, written: Written, number: int) -> None:
        """Write a pack of frames and the draft of what is known of them, unless that was done."""
        place = self.place(written)
        if stand(self._blobs, place) or holds(self._blobs, place.draft(number)):
            return
        wanted = _numbers(written, number)
        laid, previews = [], []
        with self._blobs.writer(place.frames(number)) as pack:
            for found in written.frames(wanted):
                if found is None:
                    laid.append(Laid(None, None, ()))
                    continue
                pack.write(found.full)
                preview = found.preview or b""
                previews.append(preview)
                laid.append(Laid(len(found.full), len(preview) or None, found.ends))
        if len(laid) != len(wanted):
            raise Corrupt(f"{len(wanted)} frames were asked for and {len(laid)} came")
        self._blobs.put(place.draft(number), _draft(laid, previews))

    def is_ready(self, written: Written) -> bool:
        """Whether every piece is written, so that `finish` may be called."""
        place = self.place(written)
        if stand(self._blobs, place):
            return True
        found = {key.removeprefix(place.drafts) for key in self._blobs.keys(place.drafts)}
        return found >= {str(number) for number in range(written.pieces)}

    def finish(self, written: Written) -> None:
        """Write the preview packs and then the index, and remove what is older.

        Raises:
            NotFound: A piece is not written.
        """
        place = self.place(written)
        if not stand(self._blobs, place):
            drafts = [self._draft_of(place, number) for number in range(written.pieces)]
            laid = [frame for draft in drafts for frame in draft.laid]
            if any(frame.preview for frame in laid):
                for pack in range(packs_of(len(laid))):
                    self._blobs.put(place.previews(pack), self._previews(place, drafts, chosen_for(pack, len(laid))))
            index = index_of(written.told, written.version, written.addresses, laid, _STATIC)
            self._blobs.put(place.index, gzip.compress(index, COMPRESSION, mtime=0))
        for key in list(self._blobs.keys(place.drafts)):
            self._blobs.delete(key)
        discard(self._blobs, written.image_set, before=written.version, root=self._root)

    def place(self, written: Written) -> LayersPlace:
        """Where the layers lie."""
        return LayersPlace(written.image_set, written.version, self._root)

    def _draft_of(self, place: LayersPlace, number: int) -> "_Draft":
        key = place.draft(number)
        front = self._blobs.get(key, Span(0, _LENGTH.size))
        (length,) = _LENGTH.unpack(front)
        told = orjson.loads(self._blobs.get(key, Span(_LENGTH.size, _LENGTH.size + length)))
        return _Draft(key, tuple(Laid(full, preview, tuple(ends)) for full, preview, ends in told), length)

    def _previews(self, place: LayersPlace, drafts: Sequence["_Draft"], chosen: Sequence[int]) -> bytes:
        """A pack of previews, of which one after the other lies in another draft."""

        def record(frame: int) -> bytes:
            item = Item(frame, is_preview=True)
            draft = drafts[frame // FRAMES_IN_PACK]
            span = draft.spans[frame % FRAMES_IN_PACK]
            if span is None:
                return no_preview(item)
            data = self._blobs.get(draft.key, span)
            if len(data) != span.end - span.start:
                raise Corrupt(f"a draft of the layers of image set {place.image_set} breaks off")
            return header_of(item, len(data)) + data

        with ThreadPoolExecutor(_ASKED_AT_ONCE) as pool:
            return b"".join(pool.map(record, chosen))


@dataclass(frozen=True, slots=True)
class _Draft:
    """What is known of the frames of one pack: their lengths, and behind these their previews."""

    key: str
    laid: tuple[Laid, ...]
    head_bytes: int

    @property
    def spans(self) -> list[Span | None]:
        """Where in the draft each preview lies; None for none."""
        lengths = [frame.preview or 0 for frame in self.laid]
        ends = list(accumulate(lengths, initial=_LENGTH.size + self.head_bytes))
        return [Span(end - length, end) if length else None for length, end in zip(lengths, ends[1:], strict=True)]


def _draft(laid: Sequence[Laid], previews: Sequence[bytes]) -> bytes:
    head = orjson.dumps([tuple(frame) for frame in laid])
    return b"".join((_LENGTH.pack(len(head)), head, *previews))


def of_store(reading: Reading, told: Mapping[str, Any]) -> Written:
    """What is written of an image set of our own store, which keeps all of it made already.

    Args:
        reading: Of the image set.
        told: What the index tells of it besides its frames.

    Raises:
        Conflict: It is still arriving, or not folded yet.
    """
    image_set = reading.image_set
    if not image_set.is_closed or image_set.storage is Storage.LANDED:
        raise Conflict(f"image set {image_set.id} is still arriving, or not folded yet; try again when it is")

    def frames(numbers: Sequence[int]) -> Iterator[FoldedFrame | None]:
        for number in numbers:
            full, preview, ends = laid_of(reading.addresses[number])
            if full is None:
                yield None
                continue
            small = None if preview is None else reading.read(number, is_preview=True)
            yield FoldedFrame(reading.read(number, is_preview=False), small, ends)

    return Written(image_set.id, image_set.version, told, reading.addresses, frames)


def _numbers(written: Written, piece: int) -> range:
    first = piece * FRAMES_IN_PACK
    return range(first, min(first + FRAMES_IN_PACK, len(written.addresses)))


def index_at(blobs: Blobs, place: LayersPlace) -> bytes | None:
    """The index of layers, unpacked; None where there are none."""
    try:
        return gzip.decompress(blobs.get(place.index))
    except NotFound:
        return None
    except (OSError, EOFError):
        raise Corrupt(f"the stored index of image set {place.image_set} cannot be unpacked") from None
