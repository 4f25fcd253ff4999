"""Checks of metadata and the bulk data they point at (PS3.18 §10.4.1.1.2, §F.2)."""

import base64
from urllib.parse import urlsplit

from radloop.conform import stock
from radloop.conform.model import Differs, Group, NotTested, Severity, differ_unless
from radloop.conform.qido import ordered
from radloop.conform.session import ANY_DICOM, OCTETS, Held, Row, Session, first, values
from radloop.conform.wire import JSON, Answer
from radloop.dicom.specimens import PRIVATE_BYTES, fresh_uid, native

METADATA = Group("metadata", "Metadata")
BULK = Group("bulkdata", "Bulk data")

_MUST, _SHOULD, _MAY = Severity.MUST, Severity.SHOULD, Severity.MAY
_RESOURCE = "PS3.18 §10.4.1.1.2"
_PRIVATE, _PIXELS = "00091010", "7FE00010"


def _of_instance(session: Session, held: Held) -> Row:
    rows = session.get(f"{held.at_instance}/metadata").must_be(200).rows()
    differ_unless(len(rows) == 1, f"{len(rows)} data sets")
    return rows[0]


def _count(session: Session, path: str, wanted: Held) -> str:
    rows = session.get(f"{path}/metadata").must_be(200).rows()
    found = {str(first(row, "00080018")) for row in rows}
    differ_unless(set(wanted.instances) <= found, f"{len(found)} instances, not all that are wanted")
    return f"{len(rows)} data sets"


@METADATA.check(_MUST, _RESOURCE, "200, one data set", only_reads=True)
def _instance(session: Session) -> str:
    """An instance has metadata."""
    held = stock.image(session)
    row = _of_instance(session, held)
    differ_unless(first(row, "00080018") == held.instances[0], "another instance")
    return "one data set"


@METADATA.check(_MUST, _RESOURCE, "200, a data set for each instance", only_reads=True)
def _series(session: Session) -> str:
    """A series has the metadata of its instances."""
    held = stock.image(session)
    return _count(session, held.at_series, held)


@METADATA.check(_MUST, _RESOURCE, "200, a data set for each instance", only_reads=True)
def _study(session: Session) -> str:
    """A study has the metadata of its instances."""
    held = stock.image(session)
    return _count(session, held.at_study, held)


@METADATA.check(_MUST, "PS3.18 §10.4.4, Table 10.4.4-1", "application/dicom+json", only_reads=True)
def _any_type_is_dicom_json(session: Session) -> str:
    """Where any type is welcome, DICOM JSON comes."""
    held = stock.image(session)
    for accept in ("*/*", None):
        answer = session.get(f"{held.at_instance}/metadata", accept).must_be(200)
        differ_unless(answer.kind.name == JSON, answer.seen)
    return JSON


@METADATA.check(_MUST, f"{_RESOURCE} and §F.2.3", "the values that were sent")
def _values_are_true(session: Session) -> str:
    """Metadata say what the instance says."""
    row = _of_instance(session, stock.ct(session))
    wanted = {
        "00280010": [48],
        "00280011": [64],
        "00280100": [16],
        "00280103": [1],
        "00080020": ["19870615"],
        "00080060": ["CT"],
        "00080008": ["DERIVED", "SECONDARY", "AXIAL"],
    }
    wrong = [tag for tag, value in wanted.items() if values(row, tag) != value]
    differ_unless(not wrong, f"other values in {' '.join(wrong)}")
    return f"{len(wanted)} values"


@METADATA.check(_MUST, "PS3.18 §F.2.3", "numbers, or strings that hold the same number")
def _decimal_strings(session: Session) -> str:
    """Decimal strings come as numbers or as they were written."""
    row = _of_instance(session, stock.ct(session))
    try:
        found = [float(value) for value in values(row, "00280030")], float(first(row, "00281050"))
    except (TypeError, ValueError):
        raise Differs("values that are not numbers") from None
    differ_unless(found == ([0.75, 0.75], 40.0), "other numbers")
    return "the same numbers"


@METADATA.check(_MUST, "PS3.18 §F.2.2", "tags ascending, eight capital hexadecimal digits", only_reads=True)
def _order_of_attributes(session: Session) -> str:
    """Attributes come in the order of their tags, without group lengths."""
    return ordered([_of_instance(session, stock.image(session))])


@METADATA.check(
    _MUST, "PS3.18 §F.2.2", "vr in each, and at most one of Value, BulkDataURI, InlineBinary", only_reads=True
)
def _form_of_attributes(session: Session) -> str:
    """Each attribute has its VR and one way to its value."""
    row = _of_instance(session, stock.image(session))
    ways = ({"vr"}, {"vr", "Value"}, {"vr", "BulkDataURI"}, {"vr", "InlineBinary"})
    wrong = [tag for tag, element in row.items() if not isinstance(element, dict) or set(element) not in ways]
    differ_unless(not wrong, f"otherwise in {' '.join(wrong[:5])}")
    return f"{len(row)} attributes"


@METADATA.check(_MUST, "PS3.18 §F.2.5", "vr alone")
def _empty_attributes(session: Session) -> str:
    """An attribute without a value is there without a Value."""
    element = _of_instance(session, stock.ct(session)).get("00080090")
    differ_unless(element is not None, "ReferringPhysicianName is not there")
    differ_unless(not (element or {}).get("Value"), "ReferringPhysicianName has a value")
    return "vr alone"


@METADATA.check(_MUST, _RESOURCE, "PixelData absent, or a BulkDataURI", only_reads=True)
def _without_pixels(session: Session) -> str:
    """Metadata come without the pixels."""
    element = _of_instance(session, stock.image(session)).get(_PIXELS, {})
    differ_unless("InlineBinary" not in element and not element.get("Value"), "PixelData inline")
    return "a BulkDataURI" if "BulkDataURI" in element else "absent"


@METADATA.check(_MUST, "PS3.18 §F.2.2", "sequences and their items")
def _sequences(session: Session) -> str:
    """Sequences come with their items, in items too."""
    row = _of_instance(session, stock.report(session))
    content = first(row, "0040A730") or {}
    code = first(content, "0040A043") or {}
    differ_unless(first(code, "00080100") == "121071", "not the code inside the item inside the sequence")
    return "two deep"


@METADATA.check(_MUST, f"{_RESOURCE} and §F.2.2", "(0009,0010), (0009,1010) and (0009,1011)")
def _private_attributes(session: Session) -> str:
    """Private attributes are there, with their creator."""
    row = _of_instance(session, stock.ct(session))
    missing = [tag for tag in ("00090010", _PRIVATE, "00091011") if tag not in row]
    differ_unless(not missing, f"without {' '.join(missing)}")
    return "all three"


@METADATA.check(_MUST, "PS3.18 §10.4.3.1 and §8.5", "404", only_reads=True)
def _unknown(session: Session) -> str:
    """What is not there is not found, at any level."""
    held, nobody = stock.image(session), fresh_uid()
    for path in (f"/studies/{nobody}", f"{held.at_study}/series/{nobody}", f"{held.at_series}/instances/{nobody}"):
        session.get(f"{path}/metadata").must_be(404)
    return "404, three times"


@METADATA.check(_MUST, "PS3.18 §10.4.3.1 and §8.5", "404")
def _under_another_study(session: Session) -> str:
    """A series is not found below a study that is not its own."""
    path = f"{stock.other(session).at_study}/series/{stock.ct(session).series}/metadata"
    return session.get(path).must_be(404).seen


@METADATA.check(_MUST, "PS3.18 §8.7.8.1", "406", only_reads=True)
def _as_html(session: Session) -> str:
    """A type that metadata do not come in is not acceptable."""
    return session.get(f"{stock.image(session).at_instance}/metadata", "text/html").must_be(406).seen


@METADATA.check(_SHOULD, "PS3.18 §10.4.4, Table 10.4.4-1", "200, one part", only_reads=True)
def _as_xml(session: Session) -> str:
    """Metadata come as XML where that is asked for."""
    path = f"{stock.image(session).at_instance}/metadata"
    answer = session.get(path, 'multipart/related; type="application/dicom+xml"')
    differ_unless(len(answer.parts()) == 1, f"{answer.seen}, {len(answer.parts())} parts")
    return answer.seen


@METADATA.check(_SHOULD, "RFC 9110 §12.5.3", "Content-Encoding: gzip", only_reads=True)
def _compressed(session: Session) -> str:
    """Metadata, which shrink to a tenth, are compressed for who asks."""
    path = f"{stock.image(session).at_series}/metadata"
    answer = session.get(path, JSON, ("Accept-Encoding", "gzip")).must_be(200)
    differ_unless(answer.headers.get("content-encoding") == "gzip", "not compressed")
    return "gzip"


# Bulk data


def _uri(session: Session, held: Held, tag: str) -> str:
    """Where a value of the metadata lies.

    Raises:
        NotTested: It is not told as bulk data.
    """
    path = f"{held.at_instance}/metadata"
    element = _of_instance(session, held).get(tag, {})
    if "BulkDataURI" not in element:
        raise NotTested(f"{tag} is {'inline' if 'InlineBinary' in element else 'not there'}")
    return session.server.resolved(str(element["BulkDataURI"]), path)


def _bytes(answer: Answer) -> bytes:
    if answer.must_be(200).kind.name == "multipart/related":
        parts = answer.parts()
        differ_unless(len(parts) == 1, f"{len(parts)} parts")
        return parts[0].data
    return answer.body


@BULK.check(_MUST, "PS3.18 §F.2.6 and §F.2.7", "6,144 bytes, as they were sent")
def _value_is_true(session: Session) -> str:
    """A long value comes inline or from its BulkDataURI, whole."""
    held = stock.ct(session)
    element = _of_instance(session, held).get(_PRIVATE, {})
    if "InlineBinary" in element:
        differ_unless(base64.b64decode(str(element["InlineBinary"])) == PRIVATE_BYTES, "other bytes inline")
        return "inline, whole"
    data = _bytes(session.get(_uri(session, held, _PRIVATE), OCTETS))
    differ_unless(data == PRIVATE_BYTES, f"{len(data)} bytes, not those that were sent")
    return "by its BulkDataURI, whole"


@BULK.check(_SHOULD, "PS3.18 §10.4.1.1.5", "the pixels as they were sent")
def _pixels_by_uri(session: Session) -> str:
    """Where PixelData has a BulkDataURI, the pixels are there."""
    held = stock.ct(session)
    answer = session.get(_uri(session, held, _PIXELS), OCTETS)
    differ_unless(_bytes(answer) == native(held.specimens[0].frames[0]), f"{answer.seen}, other bytes")
    return answer.seen


@BULK.check(_MUST, "PS3.18 §10.4.4, Table 10.4.4-1", "200", only_reads=True)
def _any_type(session: Session) -> str:
    """Bulk data come to who takes any type."""
    return session.get(_uri(session, stock.image(session), _PIXELS), "*/*").must_be(200).seen


@BULK.check(_MUST, "PS3.18 §10.4.3.1 and §8.5", "400 or 404")
def _unknown_instance(session: Session) -> str:
    """Bulk data of an instance that is not there is not found."""
    held = stock.ct(session)
    uri = _uri(session, held, _PIXELS)
    return session.get(uri.replace(held.instances[0], fresh_uid()), OCTETS).must_be(400, 404).seen


@BULK.check(_SHOULD, "RFC 3986 §5 and RFC 9110 §7.2", "addresses that lead back to this service", only_reads=True)
def _host_without_port(session: Session) -> str:
    """Addresses in answers lead back here, even for a client that leaves the port out of Host."""
    held = stock.image(session)
    ours = urlsplit(session.server.url)
    if ours.port is None:
        raise NotTested("the service is at the default port")
    path = f"{held.at_series}/instances"
    row = session.get(path, JSON, ("Host", str(ours.hostname))).must_be(200).rows()[0]
    uri = session.server.resolved(str(first(row, "00081190") or ""), path)
    differ_unless(urlsplit(uri).port == ours.port, "RetrieveURL leads to another port")
    return "the same port"


@BULK.check(_MUST, "PS3.18 §10.4.1.1.2", "the sequence, nested private values and all")
def _instance_has_it_too(session: Session) -> str:
    """The value is in the instance that is retrieved."""
    held = stock.ct(session)
    parts = session.get(held.at_instance, ANY_DICOM).parts()
    differ_unless(PRIVATE_BYTES in parts[0].data, "the instance does not hold it")
    return "held"
