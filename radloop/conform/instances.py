"""Checks of instances as files (PS3.18 §10.4.1.1.1)."""

from radloop.conform import stock
from radloop.conform.model import Differs, Group, Severity, differ_unless
from radloop.conform.session import ANY_DICOM, IN_MULTIPART, Held, Session
from radloop.conform.wire import Answer, Part
from radloop.dicom.elements import EXPLICIT_LE
from radloop.dicom.specimens import elements_of, fresh_uid

INSTANCES = Group("instance", "Instances (WADO-RS)")

_MUST, _SHOULD, _MAY = Severity.MUST, Severity.SHOULD, Severity.MAY
_RESOURCE = "PS3.18 §10.4.1.1.1"
_TYPES = "PS3.18 §10.4.4, Table 10.4.4-1"
_STATUS = "PS3.18 §10.4.3.1 and §8.5"
_PLAIN = IN_MULTIPART.format("application/dicom")


def _files(answer: Answer) -> list[Part]:
    parts = answer.parts()
    wrong = [part.kind.name for part in parts if part.kind.name != "application/dicom"]
    differ_unless(not wrong, f"{len(wrong)} of {len(parts)} parts are not application/dicom")
    return parts


def _all_come(session: Session, path: str, held: Held) -> str:
    found = {str(_read(part.data)["00080018"]) for part in _files(session.get(path, ANY_DICOM))}
    differ_unless(set(held.instances) <= found, f"{len(found)} instances, not all that are wanted")
    return f"{len(found)} instances"


def _read(data: bytes) -> dict[str, object]:
    try:
        return elements_of(data)
    except ValueError as error:
        raise Differs(str(error)) from None


def _is_whole(session: Session, held: Held) -> str:
    """Go on only where an instance comes back with all its attributes."""
    sent = _read(held.specimens[0].data)
    back = _read(_files(session.get(held.at_instance, ANY_DICOM))[0].data)
    changed = sorted(tag for tag in sent.keys() - {"syntax", "pixels"} if back.get(tag) != sent[tag])
    differ_unless(not changed, f"{len(changed)} attributes are lost or changed: {' '.join(changed[:5])}")
    if back["syntax"] == sent["syntax"]:
        differ_unless(back["pixels"] == sent["pixels"], "other pixels")
    return f"{len(sent) - 2} attributes"


@INSTANCES.check(_MUST, _RESOURCE, "one part, application/dicom", only_reads=True)
def _one(session: Session) -> str:
    """An instance comes as a file."""
    held = stock.image(session)
    return _all_come(session, held.at_instance, held) if len(held.instances) == 1 else _first(session, held)


def _first(session: Session, held: Held) -> str:
    parts = _files(session.get(held.at_instance, ANY_DICOM))
    differ_unless(len(parts) == 1, f"{len(parts)} parts")
    differ_unless(_read(parts[0].data)["00080018"] == held.instances[0], "another instance")
    return "one part"


@INSTANCES.check(_MUST, _RESOURCE, "a part for each instance", only_reads=True)
def _series(session: Session) -> str:
    """A series comes as its files."""
    held = stock.image(session)
    return _all_come(session, held.at_series, held)


@INSTANCES.check(_MUST, _RESOURCE, "a part for each instance")
def _study(session: Session) -> str:
    """A study comes as its files."""
    held = stock.ct(session)
    return _all_come(session, held.at_study, held)


@INSTANCES.check(_MUST, _TYPES, "200, multipart/related of application/dicom", only_reads=True)
def _without_accept(session: Session) -> str:
    """Where nothing is said of types, files come in multipart."""
    for accept in (None, "*/*"):
        _files(session.get(stock.image(session).at_instance, accept))
    return "multipart/related"


@INSTANCES.check(_SHOULD, _TYPES, "200 application/dicom", only_reads=True)
def _single_part(session: Session) -> str:
    """One instance may be asked for without multipart around it."""
    answer = session.get(stock.image(session).at_instance, "application/dicom").must_be(200)
    differ_unless(answer.kind.name == "application/dicom" and answer.body[128:132] == b"DICM", answer.seen)
    return answer.seen


@INSTANCES.check(
    _MUST, "PS3.18 §8.7.3.5.2 and §8.7.9", "Explicit VR Little Endian, in the file and in the part", only_reads=True
)
def _explicit_by_name(session: Session) -> str:
    """Explicit VR Little Endian comes where it is asked for."""
    part = _files(session.get(stock.image(session).at_instance, f"{_PLAIN}; transfer-syntax={EXPLICIT_LE}"))[0]
    differ_unless(_read(part.data)["syntax"] == EXPLICIT_LE, "another transfer syntax in the file")
    told = part.kind.parameters.get("transfer-syntax", EXPLICIT_LE)
    differ_unless(told == EXPLICIT_LE, "another transfer syntax in the part")
    return "in both"


@INSTANCES.check(_MUST, "PS3.18 §8.7.3.5.2", "Explicit VR Little Endian")
def _explicit_is_the_default(session: Session) -> str:
    """Where no transfer syntax is named, what came as Implicit VR goes out as Explicit VR Little Endian."""
    part = _files(session.get(stock.kind(session, "implicit").at_instance, _PLAIN))[0]
    differ_unless(_read(part.data)["syntax"] == EXPLICIT_LE, "another transfer syntax")
    return "Explicit VR Little Endian"


@INSTANCES.check(_MUST, "PS3.18 §8.7.8.1", "406", only_reads=True)
def _unknown_transfer_syntax(session: Session) -> str:
    """A transfer syntax that does not exist is not acceptable."""
    return session.get(stock.image(session).at_instance, f"{_PLAIN}; transfer-syntax=2.25.1").must_be(406).seen


@INSTANCES.check(_MUST, "PS3.18 §8.7.8.1", "406", only_reads=True)
def _as_html(session: Session) -> str:
    """A type that files do not come in is not acceptable."""
    return session.get(stock.image(session).at_instance, "text/html").must_be(406).seen


@INSTANCES.check(_MUST, _STATUS, "404", only_reads=True)
def _unknown(session: Session) -> str:
    """What is not there is not found, at any level."""
    held, nobody = stock.image(session), fresh_uid()
    for path in (f"/studies/{nobody}", f"{held.at_study}/series/{nobody}", f"{held.at_series}/instances/{nobody}"):
        session.get(path, ANY_DICOM).must_be(404)
    return "404, three times"


@INSTANCES.check(_MUST, "PS3.18 §8.5", "400 or 404", only_reads=True)
def _no_uid(session: Session) -> str:
    """An address that holds no UID is refused."""
    return session.get("/studies/not-a-uid", ANY_DICOM).must_be(400, 404).seen


@INSTANCES.check(_MUST, _RESOURCE, "every attribute that was sent, nested and private ones too")
def _image_is_whole(session: Session) -> str:
    """An image comes back with all its attributes."""
    return _is_whole(session, stock.ct(session))


@INSTANCES.check(_MUST, _RESOURCE, "every attribute that was sent")
def _report_is_whole(session: Session) -> str:
    """A structured report, which has no pixels, comes back whole."""
    return _is_whole(session, stock.report(session))


@INSTANCES.check(_MAY, "PS3.10 §7", "the very bytes that were sent")
def _byte_identical(session: Session) -> str:
    """A file comes back byte for byte; the standard does not ask for it."""
    held = stock.ct(session)
    data = _files(session.get(held.at_instance, ANY_DICOM))[0].data
    differ_unless(data == held.specimens[0].data, f"{len(data)} bytes, {len(held.specimens[0].data)} were sent")
    return f"{len(data)} bytes"


@INSTANCES.check(_MUST, "PS3.10 §7.1", "the group 2 header names class, instance and transfer syntax", only_reads=True)
def _file_header(session: Session) -> str:
    """A file is a Part 10 file."""
    data = _files(session.get(stock.image(session).at_instance, ANY_DICOM))[0].data
    _read(data)
    return f"{len(data)} bytes"


@INSTANCES.check(_SHOULD, "RFC 9110 §9.3.2", "200, or 405 and 501 where it is not supported; no body", only_reads=True)
def _head(session: Session) -> str:
    """HEAD answers as GET does, without the body."""
    answer = session.server.ask("HEAD", stock.image(session).at_instance, accept=ANY_DICOM)
    differ_unless(not answer.body, f"{answer.seen}, with a body")
    return answer.must_be(200).seen
