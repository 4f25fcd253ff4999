"""Files and frames in another transfer syntax than they came in, losslessly or not at all.

Foreign codestreams are decoded where they may kill nobody (see `codec.isolated`); encoding is proven by decoding again.
Colour that a codec decodes comes as RGB, and the image description then says so.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from radloop.codec.decoders import DECODED
from radloop.codec.encoders import ENCODED, encode_frame
from radloop.codec.isolated import unpack_isolated
from radloop.core.errors import UnsupportedPixels
from radloop.dicom.elements import (
    DEFLATED_FRAME,
    DEFLATED_LE,
    EXPLICIT_BE,
    EXPLICIT_LE,
    IMPLICIT_LE,
    PIXEL_DATA,
    RLE,
    read_part10,
)
from radloop.dicom.image import ImageDescription
from radloop.dicom.parse import Instance, instance_of
from radloop.dicom.pixels import StoredFrames, native_array
from radloop.dicom.transcode import UNCOMPRESSED, Pixels, rewritten
from radloop.store.folding import Decoded, native_bytes
from radloop.store.instances import StoredInstance

MADE = UNCOMPRESSED | ENCODED
"""Transfer syntaxes `transcoded` writes."""

NATIVE = frozenset({IMPLICIT_LE, EXPLICIT_LE, EXPLICIT_BE, DEFLATED_LE})
"""Transfer syntaxes whose pixels are uncompressed."""

_DECODED = DECODED | {RLE, DEFLATED_FRAME}
_PHOTOMETRIC, _PLANAR, _HIGH_BIT, _LOSSY = 0x00280004, 0x00280006, 0x00280102, 0x00282110
_YBR_OF_CODECS = frozenset({"YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"})
_COLOUR = 3


def transcoded(data: bytes, syntax: str) -> bytes:
    """A Part 10 file in another transfer syntax; itself where it is in that one.

    An instance without pixels comes in any transfer syntax asked for: only its encoding changes.

    Args:
        data: The whole file.
        syntax: Transfer syntax UID, one of `MADE`.

    Raises:
        UnsupportedPixels: We cannot write the transfer syntax, decode the one the file has, or encode such pixels.
        InvalidInput: What `parse` raises of the file; a frame is damaged.
    """
    part = read_part10(data)
    if part.transfer_syntax == syntax:
        return data
    if syntax not in MADE:
        raise UnsupportedPixels(f"transfer syntax {syntax} is not written")
    instance = instance_of(part)
    if instance.image is None or (part.transfer_syntax in NATIVE and syntax in UNCOMPRESSED):
        return rewritten(part, syntax)
    if PIXEL_DATA not in part.elements:
        raise UnsupportedPixels("floating point pixels are not compressed")
    if part.transfer_syntax in NATIVE | {RLE, DEFLATED_FRAME}:
        photometric, frames = instance.image.photometric, _as_stored(data, instance, instance.image)
    else:
        photometric, frames = _photometric(instance.image), _decoded(data, instance, instance.image)
    attributes = _attributes(instance, instance.image, photometric)
    if syntax in UNCOMPRESSED:
        return rewritten(part, syntax, Pixels([native_bytes(each, 0) for each in frames], False, attributes))
    bits = instance.image.bits_stored
    return rewritten(
        part, syntax, Pixels([encode_frame(each, syntax, bits_stored=bits) for each in frames], True, attributes)
    )


def can_make(instance: StoredInstance, syntax: str) -> bool:
    """Whether `transcoded` would take this instance, as far as its description tells; its bytes may still refuse."""
    if instance.transfer_syntax == syntax:
        return True
    if syntax not in MADE:
        return False
    image = instance.image
    if image is None or (instance.transfer_syntax in NATIVE and syntax in UNCOMPRESSED):
        return True
    if instance.transfer_syntax not in NATIVE | _DECODED or image["is_float"] or image["samples"] not in {1, _COLOUR}:
        return False
    if image["photometric"] == "YBR_FULL_422" and instance.transfer_syntax in NATIVE | {RLE, DEFLATED_FRAME}:
        return False
    return image["bits_allocated"] in ({8, 16} if syntax in ENCODED else {8, 16, 32})


def frame_made(pixels: NDArray[np.generic], instance: StoredInstance, syntax: str) -> bytes:
    """A decoded frame of an instance in another transfer syntax: Explicit VR Little Endian, or one of `ENCODED`.

    Uncompressed samples lie as they came, plane by plane or not.

    Raises:
        UnsupportedPixels: No codec of ours takes it.
    """
    if syntax != EXPLICIT_LE:
        return encoded_frame(pixels, instance, syntax)
    planar = int((instance.image or {}).get("planar", 0)) if instance.transfer_syntax in NATIVE else 0
    return native_bytes(pixels, planar)


def encoded_frame(pixels: NDArray[np.generic], instance: StoredInstance, syntax: str) -> bytes:
    """A decoded frame of an instance in a compressed transfer syntax.

    Raises:
        UnsupportedPixels: No codec of ours takes it.
    """
    image = instance.image
    if image is None or image["bits_allocated"] == 1:
        raise UnsupportedPixels("frames of single bits are not compressed")
    return encode_frame(pixels, syntax, bits_stored=int(image["bits_stored"]))


def _as_stored(data: bytes, instance: Instance, image: ImageDescription) -> Iterator[NDArray[np.generic]]:
    """Uncompressed frames without any change of colour: what is YBR stays YBR."""
    if image.bits_allocated == 1:
        raise UnsupportedPixels("frames of single bits are not compressed")
    if image.photometric == "YBR_FULL_422" and image.samples == _COLOUR:
        raise UnsupportedPixels("uncompressed pixels that share their colour by twos are not transcoded")
    plain = replace(instance, image=replace(image, photometric="RGB")) if image.samples == _COLOUR else instance
    stored = StoredFrames(data, instance, unpack=unpack_isolated)
    for index in range(image.frames):
        yield native_array(stored.frame(index)[0], plain)


def _decoded(data: bytes, instance: Instance, image: ImageDescription) -> Iterator[NDArray[np.generic]]:
    frames = Decoded(data, instance)
    for index in range(image.frames):
        yield frames.frame(index)


def _photometric(image: ImageDescription) -> str:
    """The photometric interpretation of what a codec gives."""
    if image.samples != _COLOUR or image.photometric == "RGB":
        return image.photometric
    if image.photometric not in _YBR_OF_CODECS:
        raise UnsupportedPixels(f"colour of {image.photometric} is not transcoded")
    return "RGB"


def _attributes(instance: Instance, image: ImageDescription, photometric: str) -> dict[int, tuple[str, bytes]]:
    """What the image description says once the pixels are alone in their bits and lie sample by sample."""
    changed = {_HIGH_BIT: ("US", (image.bits_stored - 1).to_bytes(2, "little"))}
    if image.samples > 1:
        changed[_PHOTOMETRIC] = ("CS", photometric.encode("ascii"))
        changed[_PLANAR] = ("US", bytes(2))
    if instance.lossy:
        changed[_LOSSY] = ("CS", b"01")
    return changed
