"""Checks of what must not harm a server: broken, lying and hostile requests."""

import struct
import zlib
from collections.abc import Callable

from radloop.conform import stock
from radloop.conform.frames import true_frames
from radloop.conform.model import Group, Severity, differ_unless
from radloop.conform.session import IN_MULTIPART, OCTETS, Held, Session
from radloop.conform.wire import BOUNDARY, Answer, multipart
from radloop.dicom.elements import DEFLATED_LE
from radloop.dicom.specimens import Specimen, slice_of

ROBUSTNESS = Group("robustness", "Robustness")
FATAL = Group("fatal", "What servers have died of")

_MUST, _SHOULD = Severity.MUST, Severity.SHOULD
_SERVER_ERROR = 500
_KIND = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
_GROUP_2 = 132


def _stands(session: Session, answer: Answer | int | None) -> str:
    """Go on only where the answer is no server error and the server still answers."""
    status = answer.status if isinstance(answer, Answer) else answer
    differ_unless(status is None or status < _SERVER_ERROR, f"{status}")
    differ_unless(session.server.lives() is not None, "the server no longer answers")
    return "hung up" if status is None else str(status)


def _not_taken(session: Session, answer: Answer) -> str:
    """Go on only where nothing is reported as stored, and the server stands."""
    answer.must_be(202, *range(400, 500))
    return _stands(session, answer)


def _specimen(session: Session) -> Specimen:
    specimen = session.study().image([slice_of(50)])
    session.note(specimen)
    return specimen


@ROBUSTNESS.check(_MUST, "RFC 2046 §5.1.1", "400 to 499")
def _multipart_without_end(session: Session) -> str:
    """A multipart body that breaks off is refused."""
    body = multipart([_specimen(session).data])
    return _not_taken(session, session.server.post("/studies", body[: len(body) // 2], _KIND))


@ROBUSTNESS.check(_SHOULD, "RFC 2046 §5.1.1", "400 to 499")
def _multipart_without_closing(session: Session) -> str:
    """A multipart body whose closing boundary never comes may lack more than that, and is refused."""
    body = multipart([_specimen(session).data]).removesuffix(f"--{BOUNDARY}--\r\n".encode())
    return _not_taken(session, session.server.post("/studies", body, _KIND))


@ROBUSTNESS.check(_SHOULD, "RFC 9112 §8", "no server error, and the server answers on")
def _longer_than_sent(session: Session) -> str:
    """A Content-Length larger than the body, then the end of the line: the server goes on."""
    body = multipart([_specimen(session).data])
    headers = [("Content-Type", _KIND), ("Content-Length", str(len(body) + 5000))]
    return _stands(session, session.server.raw("POST", "/studies", headers, body, closes=True))


@ROBUSTNESS.check(_MUST, "RFC 9112 §6.3", "400 to 499, or the line is cut")
def _shorter_than_sent(session: Session) -> str:
    """A Content-Length smaller than the body cuts it, and what is cut is not stored."""
    body = multipart([_specimen(session).data])
    headers = [("Content-Type", _KIND), ("Content-Length", "3000")]
    status = session.server.raw("POST", "/studies", headers, body, closes=False)
    differ_unless(status is None or status in range(400, 500), f"{status}")
    return _stands(session, status)


@ROBUSTNESS.check(_MUST, "RFC 9112 §6.3", "400")
def _length_that_is_none(session: Session) -> str:
    """A Content-Length that is no number is refused."""
    headers = [("Content-Type", _KIND), ("Content-Length", "many")]
    status = session.server.raw("POST", "/studies", headers, b"", closes=True)
    differ_unless(status == 400, str(status or "hung up"))  # noqa: PLR2004 — Bad Request
    return _stands(session, status)


@ROBUSTNESS.check(_MUST, "RFC 2046 §5.1", "no server error, and the server answers on")
def _part_with_a_false_length(session: Session) -> str:
    """A part that lies about its length is stored by its boundary or refused."""
    body = multipart([_specimen(session).data], extra="Content-Length: 10")
    return _stands(session, session.server.post("/studies", body, _KIND))


@ROBUSTNESS.check(_MUST, "PS3.5 §7.1", "no server error; not stored as whole")
def _file_that_breaks_off(session: Session) -> str:
    """A file cut within its header is not reported as stored."""
    data = _specimen(session).data
    return _not_taken(session, session.server.post("/studies", multipart([data[:600]]), _KIND))


@ROBUSTNESS.check(_SHOULD, "PS3.5 §7.1 and §8.1.1", "202 or 400 to 499")
def _pixels_that_break_off(session: Session) -> str:
    """A file cut within its pixels is not reported as stored without a word."""
    data = _specimen(session).data
    return _not_taken(session, session.server.post("/studies", multipart([data[:-1000]]), _KIND))


@ROBUSTNESS.check(_MUST, "PS3.5 §7.1.1", "no server error, and the server answers on")
def _element_that_lies(session: Session) -> str:
    """An element that says it is four gigabytes long does not make the server look for them."""
    data = _specimen(session).data
    lie = struct.pack("<HH2sHI", 0x0009, 0x1020, b"OB", 0, 0xFFFFFFF0)
    return _stands(session, session.server.post("/studies", multipart([_with_elements(data, lie)]), _KIND))


def _with_elements(data: bytes, elements: bytes) -> bytes:
    """The file with these bytes in place of everything from (0020,000D) on, so that it has no study."""
    at = data.find(struct.pack("<HH2s", 0x0020, 0x000D, b"UI"))
    return data[:at] + elements


@ROBUSTNESS.check(_MUST, "PS3.5 §A.5", "no server error, and the server answers on")
def _bomb(session: Session) -> str:
    """A deflated data set of 64 MB in 64 kB does not exhaust memory."""
    specimen = session.study().image([slice_of(51)], syntax=DEFLATED_LE)
    session.note(specimen)
    length = struct.unpack_from("<I", specimen.data, _GROUP_2 + 8)[0]
    head = specimen.data[: _GROUP_2 + 12 + length]
    plain = zlib.decompress(specimen.data[len(head) :], -15)
    shrink = zlib.compressobj(9, zlib.DEFLATED, -15)
    huge = struct.pack("<HH2sHI", 0x7FE1, 0x1010, b"OB", 0, 1 << 26)
    packed = shrink.compress(plain + huge) + shrink.compress(bytes(1 << 26)) + shrink.flush()
    return _stands(session, session.server.post("/studies", multipart([head + packed]), _KIND))


@ROBUSTNESS.check(_MUST, "PS3.3 C.7.6.3", "no server error, and the server answers on")
def _size_that_lies(session: Session) -> str:
    """An image that says it is larger than its pixels breaks neither storing nor retrieving."""
    specimen = session.study().image([slice_of(52)], change={"Rows": 4800})
    answer = session.stow(specimen)
    _stands(session, answer)
    path = f"/studies/{specimen.study}/series/{specimen.series}/instances/{specimen.instance}/frames/1"
    return f"{answer.status}, then {_stands(session, session.get(path, OCTETS))}"


@ROBUSTNESS.check(_MUST, "RFC 9110 §4.1", "no server error", only_reads=True)
def _address_of_10000_letters(session: Session) -> str:
    """A very long address is answered."""
    return _stands(session, session.get(f"/studies?PatientID={'X' * 10_000}"))


@ROBUSTNESS.check(_MUST, "RFC 3986 §7.3", "400 to 499, or nothing found", only_reads=True)
def _way_out(session: Session) -> str:
    """An address that climbs out leads nowhere."""
    for path in ("/studies/..%2F..%2F..%2Fetc%2Fpasswd", "/studies/%2e%2e/%2e%2e/%2e%2e/etc/passwd"):
        answer = session.get(path, "*/*")
        differ_unless(answer.status in range(400, 500) or b"root:" not in answer.body, "a file of the machine")
        _stands(session, answer)
    return "nothing found"


@ROBUSTNESS.check(_MUST, "RFC 3986 §7.3", "no server error", only_reads=True)
def _letters_that_are_none(session: Session) -> str:
    """A zero byte and bytes that are not UTF-8 in a query are answered."""
    for value in ("%00", "%ff%fe", "%", "%zz", "'%22%3B--"):
        _stands(session, session.get(f"/studies?PatientID={value}"))
    return "answered"


@ROBUSTNESS.check(_MUST, "PS3.18 §8.5", "400 or 404", only_reads=True)
def _frame_beyond_64_bits(session: Session) -> str:
    """A frame number that no machine holds is refused."""
    path = f"{stock.image(session).at_instance}/frames/99999999999999999999999"
    answer = session.get(path, OCTETS).must_be(400, 404)
    return _stands(session, answer)


@ROBUSTNESS.check(_MUST, "RFC 9110 §12.5.1", "no server error", only_reads=True)
def _accept_that_is_none(session: Session) -> str:
    """An Accept header that is nonsense is answered."""
    path = f"{stock.image(session).at_instance}/frames/1"
    for accept in (";;;", 'multipart/related; type="', "*/*;q=abc", ",,,", "a" * 5000):
        _stands(session, session.get(path, accept))
    return "answered"


# What may end the server, last of all


def _as_jpeg_ls(name: str, title: str, hold: Callable[[Session], Held]) -> None:
    """Enter the check of frames as JPEG-LS: one server in use dies of this request."""

    def run(session: Session) -> str:
        held = hold(session)
        accept = f"{IN_MULTIPART.format('image/jls')}; transfer-syntax=1.2.840.10008.1.2.4.80"
        answer = session.get(f"{held.at_instance}/frames/1", accept).must_be(200, 406)
        if answer.status == 200:  # noqa: PLR2004 — OK
            true_frames(answer, held, 1)
        return _stands(session, answer)

    run.__name__, run.__doc__ = name, title
    FATAL.check(_MUST, "PS3.18 §8.7.3.3.2 and §8.7.8.1", "200 and the same pixels, or 406; the server answers on")(run)


_as_jpeg_ls("ct_as_jpeg_ls", "Signed 16-bit CT that is asked for as JPEG-LS is true, or not acceptable.", stock.ct)
_as_jpeg_ls(
    "bytes_as_jpeg_ls", "A frame of 8 bits that is asked for as JPEG-LS is true, or not acceptable.", stock.frames
)


@FATAL.check(_MUST, "PS3.5 §7.5", "no server error, and the server answers on")
def _thousands_deep(session: Session) -> str:
    """Sequences a few thousand deep do not exhaust the stack."""
    opened = struct.pack("<HH2sHI", 0x0040, 0xA730, b"SQ", 0, 0xFFFFFFFF) + struct.pack(
        "<HHI", 0xFFFE, 0xE000, 2**32 - 1
    )
    closed = struct.pack("<HHI", 0xFFFE, 0xE00D, 0) + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    deep = opened * 3000 + closed * 3000
    data = _with_elements(_specimen(session).data, deep)
    return _stands(session, session.server.post("/studies", multipart([data]), _KIND))
