"""Static layers on AWS: the frames come from HealthImaging, are proven, and get their previews here."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

from radloop.api.shapes import for_good
from radloop.codec.htj2k import decode
from radloop.core.errors import ChecksumMismatch, Corrupt, InvalidInput, UnsupportedPixels
from radloop.core.images import ImageSet
from radloop.functions.layers import LayDown
from radloop.healthimaging import Frame, FrameMetadata, InstanceMetadata, pixels_of
from radloop.store.folding import FoldedFrame, framed
from radloop.store.readings import Reading
from radloop.streaming.layers import Written
from radloop.wiring_aws import HTJ2K, Cloud, reader_of, store_of

_Known = Mapping[tuple[str, int], tuple[InstanceMetadata, FrameMetadata]]
_DAMAGE = (UnsupportedPixels, InvalidInput, Corrupt)


def work_of(cloud: Cloud, environ: Mapping[str, str], reader: Any = None) -> LayDown:
    """What writes the layers of an environment's image sets.

    Args:
        cloud: The environment.
        environ: Its variables.
        reader: A `radloop.healthimaging.HealthImaging`; the environment's own without it.
    """
    ports, reader = cloud.platform, reader_of(environ) if reader is None else reader
    images = store_of(cloud, reader)

    @lru_cache(1)  # the pieces of one image set come one after the other
    def known(image_set: str, version: int) -> _Known:  # noqa: ARG001 — a new version is read anew
        metadata = reader.metadata(image_set)
        return {
            (one.sop_uid, place): (one, each) for one in metadata.instances for place, each in enumerate(one.frames)
        }

    def opened(image_set: ImageSet) -> Written:
        reading = images.reading(image_set.id)
        now = reading.image_set
        told = for_good(now, len(reading.addresses), ports.records)
        return Written(now.id, now.version, told, reading.addresses, partial(_frames, reader, reading, known))

    return LayDown(ports.blobs, ports.records, opened)


def _frames(
    reader: Any, reading: Reading, known: Callable[[str, int], _Known], numbers: Sequence[int]
) -> Iterator[FoldedFrame | None]:
    """Frames in order; those of HealthImaging are asked for several at a time.

    Raises:
        ChecksumMismatch: HealthImaging gives other pixels than it says.
    """
    image_set = reading.image_set
    places = known(image_set.id, image_set.version)
    addresses = [reading.addresses[number] for number in numbers]
    wanted = [places.get((address.instance.uid_as_received, address.number)) for address in addresses]
    coming = reader.frames(image_set.id, [found[1].id for found in wanted if found is not None])
    for number, address, found in zip(numbers, addresses, wanted, strict=True):
        photometric = str((address.instance.image or {}).get("photometric") or "")
        frame = None if found is None else next(coming)
        try:
            if found is not None and frame is not None and frame.content_type == HTJ2K:
                yield _proven(frame, *found, photometric)
            else:
                yield _made(reading, number, photometric)
        except ChecksumMismatch:
            raise
        except _DAMAGE:
            yield None


def _proven(frame: Frame, instance: InstanceMetadata, told: FrameMetadata, photometric: str) -> FoldedFrame:
    """The codestream as HealthImaging has it, held to its checksum."""
    return framed(pixels_of(frame, instance, told), bytes(frame.data), photometric)


def _made(reading: Reading, number: int, photometric: str) -> FoldedFrame:
    """What the API gives of a frame that HealthImaging keeps in another form."""
    full = reading.read(number, is_preview=False)
    return framed(decode(full), full, photometric)
