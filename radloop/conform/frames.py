"""Checks of frames: how they are asked for, what they are sent as, and that they are true (PS3.18 §10.4.1.1.6)."""

from collections.abc import Callable

from radloop.conform import stock
from radloop.conform.model import Group, Severity, differ_unless
from radloop.conform.pictures import same
from radloop.conform.session import IN_MULTIPART, OCTETS, Held, Session
from radloop.conform.wire import Answer, Part
from radloop.dicom.specimens import JPEG_BASELINE, native

FRAMES = Group("frames", "Frames (WADO-RS)")
PIXELS = Group("pixels", "Pixels are true")
COMPRESSED = Group("compressed", "Compressed frames")

_MUST, _SHOULD, _MAY = Severity.MUST, Severity.SHOULD, Severity.MAY
_RESOURCE = "PS3.18 §10.4.1.1.6"
_TYPES = "PS3.18 §10.4.4, Table 10.4.4-1"
_STATUS = "PS3.18 §10.4.3.1 and §8.5"
_COMPRESSED = "PS3.18 §8.7.3.3.2, Table 8.7.3-5"
ANY_SYNTAX = f"{OCTETS}; transfer-syntax=*"


def true_frames(answer: Answer, held: Held, *numbers: int) -> list[Part]:
    """Parts that hold these frames, counted from 1, as they were stored."""
    parts = answer.parts()
    differ_unless(len(parts) == len(numbers), f"{answer.seen}, {len(parts)} parts for {len(numbers)} frames")
    if held.specimens:
        for part, number in zip(parts, numbers, strict=True):
            same(part, held.specimens[0].frames[number - 1])
    return parts


def _first_frame(session: Session, accept: str | None, *headers: tuple[str, str]) -> str:
    held = stock.image(session)
    parts = true_frames(session.get(f"{held.at_instance}/frames/1", accept, *headers), held, 1)
    return f"200, {parts[0].kind.name}"


@FRAMES.check(_MUST, f"{_RESOURCE} and §8.7.3.3.1", "one part, the pixels little endian", only_reads=True)
def _octets(session: Session) -> str:
    """A frame comes as its bytes."""
    return _first_frame(session, OCTETS)


@FRAMES.check(_MUST, _TYPES, "200, multipart/related", only_reads=True)
def _without_accept(session: Session) -> str:
    """A frame comes where nothing is said of types."""
    return _first_frame(session, None)


@FRAMES.check(_MUST, _TYPES, "200, multipart/related", only_reads=True)
def _any_type(session: Session) -> str:
    """A frame comes where any type is welcome."""
    return _first_frame(session, "*/*")


@FRAMES.check(_SHOULD, "RFC 9110 §12.5.1", "200", only_reads=True)
def _any_type_in_multipart(session: Session) -> str:
    """Any type within multipart is an answer, too; dicomweb-client asks so unless told otherwise."""
    return _first_frame(session, IN_MULTIPART.format("*/*"))


@FRAMES.check(_SHOULD, "RFC 9110 §12.5.1", "200", only_reads=True)
def _multipart_alone(session: Session) -> str:
    """Multipart without a type leaves the type open."""
    return _first_frame(session, "multipart/related")


@FRAMES.check(_MUST, "PS3.18 §8.7.3.5.2", "200", only_reads=True)
def _any_syntax(session: Session) -> str:
    """A frame comes where any transfer syntax is welcome."""
    return _first_frame(session, ANY_SYNTAX)


@FRAMES.check(_SHOULD, _TYPES, "200 application/octet-stream", only_reads=True)
def _single_part(session: Session) -> str:
    """One frame may be asked for without multipart around it."""
    held = stock.image(session)
    answer = session.get(f"{held.at_instance}/frames/1", "application/octet-stream").must_be(200)
    differ_unless(answer.kind.name == "application/octet-stream", answer.seen)
    if held.specimens:
        differ_unless(answer.body == native(held.specimens[0].frames[0]), f"{answer.seen}, other bytes")
    return answer.seen


@FRAMES.check(_MUST, _RESOURCE, "two parts, frames 1 and 3")
def _list_of_frames(session: Session) -> str:
    """Several frames come in one answer, each in a part."""
    held = stock.frames(session)
    true_frames(session.get(f"{held.at_instance}/frames/1,3", OCTETS), held, 1, 3)
    return "two parts"


@FRAMES.check(_SHOULD, "RFC 3986 §2.4", "two parts, frames 1 and 3")
def _list_percent_encoded(session: Session) -> str:
    """A comma that a client wrote as %2C is a comma."""
    held = stock.frames(session)
    true_frames(session.get(f"{held.at_instance}/frames/1%2C3", OCTETS), held, 1, 3)
    return "two parts"


@FRAMES.check(_MUST, _STATUS, "404", only_reads=True)
def _absent(session: Session) -> str:
    """A frame behind the last is not found."""
    held = stock.image(session)
    return session.get(f"{held.at_instance}/frames/{held.frame_count + 98}", OCTETS).must_be(404).seen


@FRAMES.check(_MUST, _STATUS, "404")
def _absent_in_a_list(session: Session) -> str:
    """A list with a frame behind the last is not found, and nothing of it is sent."""
    return session.get(f"{stock.frames(session).at_instance}/frames/1,9", OCTETS).must_be(404).seen


@FRAMES.check(_MUST, "PS3.18 §8.5", "400 or 404", only_reads=True)
def _zero(session: Session) -> str:
    """Frames are counted from 1."""
    return session.get(f"{stock.image(session).at_instance}/frames/0", OCTETS).must_be(400, 404).seen


@FRAMES.check(_MUST, "PS3.18 §8.5", "400 or 404", only_reads=True)
def _no_number(session: Session) -> str:
    """A frame is a number."""
    return session.get(f"{stock.image(session).at_instance}/frames/a", OCTETS).must_be(400, 404).seen


@FRAMES.check(_MUST, "PS3.18 §8.5", "400, 404, 406 or 409")
def _no_pixels(session: Session) -> str:
    """An instance without pixels has no frames."""
    path = f"{stock.report(session).at_instance}/frames/1"
    return session.get(path, OCTETS).must_be(400, 404, 406, 409).seen


@FRAMES.check(_MUST, "PS3.18 §8.7.8.1", "406", only_reads=True)
def _unknown_type(session: Session) -> str:
    """A type that does not exist is not acceptable."""
    path = f"{stock.image(session).at_instance}/frames/1"
    return session.get(path, IN_MULTIPART.format("image/x-no-such")).must_be(406).seen


@FRAMES.check(_MUST, "PS3.18 §8.7.8.1", "406", only_reads=True)
def _unknown_syntax(session: Session) -> str:
    """A transfer syntax that does not exist is not acceptable."""
    path = f"{stock.image(session).at_instance}/frames/1"
    return session.get(path, f"{OCTETS}; transfer-syntax=2.25.1").must_be(406).seen


@FRAMES.check(_SHOULD, "PS3.18 §8.6.1.2", "Content-Type in each part", only_reads=True)
def _parts_tell_their_type(session: Session) -> str:
    """Each part says what it is."""
    held = stock.image(session)
    parts = session.get(f"{held.at_instance}/frames/1", OCTETS).parts()
    differ_unless(all(part.kind.name == "application/octet-stream" for part in parts), "a part without its type")
    return "in each"


@FRAMES.check(_MAY, "PS3.18 §8.6.1.2", "Content-Location in each part", only_reads=True)
def _parts_tell_their_place(session: Session) -> str:
    """Each part says which frame it is."""
    held = stock.image(session)
    parts = session.get(f"{held.at_instance}/frames/1", OCTETS).parts()
    differ_unless(all("content-location" in part.headers for part in parts), "no Content-Location")
    return "in each"


def _compressed(name: str, form: tuple[str, str], title: str, hold: Callable[[Session], Held], number: int) -> None:
    """Enter the check of one compressed form: a media type and a transfer syntax."""
    media, syntax = form

    def run(session: Session) -> str:
        held = hold(session)
        accept = f"{IN_MULTIPART.format(media)}; transfer-syntax={syntax}"
        answer = session.get(f"{held.at_instance}/frames/{number}", accept).must_be(200, 406)
        if answer.status == 406:  # noqa: PLR2004 — Not Acceptable
            return "406"
        true_frames(answer, held, number)
        return f"200 {media}, the same pixels"

    run.__name__, run.__doc__ = name, title
    COMPRESSED.check(_MUST, f"{_COMPRESSED}; §8.7.8.1", "200 and the same pixels, or 406")(run)


for _name, _media, _syntax, _called in (
    ("jpeg_2000", "image/jp2", "1.2.840.10008.1.2.4.90", "JPEG 2000"),
    ("rle", "image/dicom-rle", "1.2.840.10008.1.2.5", "RLE"),
    ("htj2k", "image/jphc", "1.2.840.10008.1.2.4.202", "HTJ2K"),
    ("jpeg_lossless", "image/jpeg", "1.2.840.10008.1.2.4.70", "lossless JPEG"),
):
    _title = f"Signed 16-bit CT that is asked for as {_called} is true, or not acceptable."
    _compressed(f"ct_as_{_name}", (_media, _syntax), _title, stock.ct, 1)
    _title = f"A frame of 8 bits that is asked for as {_called} is true, or not acceptable."
    _compressed(f"bytes_as_{_name}", (_media, _syntax), _title, stock.frames, 2)


# The pixels of every kind of input


def _pixels(name: str, title: str, hold: Callable[[Session], Held], clause: str) -> None:
    """Enter the check that all frames of one specimen come back as they were."""

    def run(session: Session) -> str:
        held = hold(session)
        count = len(held.specimens[0].frames)
        numbers = range(1, count + 1)
        answer = session.get(f"{held.at_instance}/frames/{','.join(map(str, numbers))}", OCTETS)
        true_frames(answer, held, *numbers)
        return f"{count} {'frame' if count == 1 else 'frames'}, every sample equal"

    run.__name__, run.__doc__ = name, title
    PIXELS.check(_MUST, clause, "every sample equal")(run)


def _of_kind(name: str) -> Callable[[Session], Held]:
    return lambda session: stock.kind(session, name)


_pixels("signed_16_bits", "Signed 16-bit CT comes back as it was.", stock.ct, "PS3.18 §8.7.3.3.1")
_pixels("many_frames", "The frames of a multi-frame image come back as they were.", stock.frames, _RESOURCE)
for _name, _called, _clause in (
    ("unsigned-12-bits", "12 bits in 16", "PS3.18 §8.7.3.3.1"),
    ("rgb", "Colour, pixel by pixel,", "PS3.18 §8.7.3.3.1"),
    ("odd-frames", "Frames of an odd number of bytes", "PS3.5 §8.1.1 and §8.2"),
    ("implicit", "What was sent as Implicit VR Little Endian", "PS3.5 §A.1"),
    ("big-endian", "What was sent as Explicit VR Big Endian", "PS3.5 §A.3"),
    ("deflated", "What was sent deflated", "PS3.5 §A.5"),
    ("rle", "What was sent as RLE", "PS3.5 §G"),
    ("jpeg-2000", "What was sent as JPEG 2000", "PS3.5 §8.2.4"),
    ("jpeg-ls", "What was sent as JPEG-LS", "PS3.5 §8.2.3"),
):
    _pixels(_name.replace("-", "_"), f"{_called} comes back as it was.", _of_kind(_name), _clause)


@PIXELS.check(_MUST, "PS3.18 §8.7.3.3.2", "the whole codestream, as it was sent")
def _fragments_are_joined(session: Session) -> str:
    """A frame that was sent in two fragments comes back as one codestream."""
    held = stock.kind(session, "jpeg")
    accept = f"{IN_MULTIPART.format('image/jpeg')}; transfer-syntax={JPEG_BASELINE}"
    parts = session.get(f"{held.at_instance}/frames/1", accept).parts()
    sent = held.specimens[0].raw[0]
    differ_unless(len(parts) == 1 and parts[0].data.rstrip(b"\0") == sent.rstrip(b"\0"), "another codestream")
    return f"{len(sent)} bytes"


@PIXELS.check(_SHOULD, "PS3.18 §8.7.3.5.2", "the codestream as it was sent, or the same pixels")
def _stored_syntax(session: Session) -> str:
    """Where any transfer syntax is welcome, compressed frames need not be decoded."""
    held = stock.kind(session, "jpeg-2000")
    answer = session.get(f"{held.at_instance}/frames/1", f"{IN_MULTIPART.format('image/jp2')}; transfer-syntax=*")
    parts = answer.parts()
    if parts and parts[0].data.rstrip(b"\0") == held.specimens[0].raw[0].rstrip(b"\0"):
        return "as it was sent"
    true_frames(answer, held, 1)
    return f"{parts[0].kind.name}, the same pixels"
