"""Checks of HTTP itself: what is accepted, kept and cut (RFC 9110; PS3.18 §8.4 to §8.7)."""

from radloop.conform import stock
from radloop.conform.model import Group, NotTested, Severity, differ_unless
from radloop.conform.session import ANY_DICOM, OCTETS, Session
from radloop.conform.wire import JSON, Answer
from radloop.dicom.specimens import slice_of

NEGOTIATION = Group("negotiation", "Negotiation and methods")
CACHING = Group("caching", "Caching")
RANGES = Group("ranges", "Ranges")

_MUST, _SHOULD, _MAY = Severity.MUST, Severity.SHOULD, Severity.MAY
_ONE_OCTETS = "application/octet-stream"


def _frame(session: Session, accept: str | None, *headers: tuple[str, str]) -> str:
    answer = session.get(f"{stock.image(session).at_instance}/frames/1", accept, *headers)
    differ_unless(len(answer.parts()) == 1, f"{answer.seen}, {len(answer.parts())} parts")
    return answer.seen


@NEGOTIATION.check(_MUST, "RFC 9110 §8.3.1 and §5.6.6", "200", only_reads=True)
def _without_quotes(session: Session) -> str:
    """A type parameter without quotes means the same."""
    return _frame(session, "multipart/related; type=application/octet-stream")


@NEGOTIATION.check(_MUST, "RFC 9110 §8.3.1", "200", only_reads=True)
def _capitals(session: Session) -> str:
    """Types and names of parameters are the same in capitals."""
    return _frame(session, 'Multipart/Related; Type="application/octet-stream"')


@NEGOTIATION.check(_MUST, "RFC 9110 §5.6.6", "200", only_reads=True)
def _spaces(session: Session) -> str:
    """Spaces around semicolons mean nothing."""
    return _frame(session, 'multipart/related  ;   type="application/octet-stream"')


@NEGOTIATION.check(_MUST, "RFC 9110 §12.5.1", "200", only_reads=True)
def _second_choice(session: Session) -> str:
    """Where the first type is not to be had, the second comes."""
    return _frame(session, f'multipart/related; type="image/x-no-such", {OCTETS}; q=0.5')


@NEGOTIATION.check(_MUST, "RFC 9110 §5.3", "200", only_reads=True)
def _two_accept_lines(session: Session) -> str:
    """Two Accept lines are one list."""
    lines = (("Accept", 'multipart/related; type="image/x-no-such"'), ("Accept", OCTETS))
    return _frame(session, None, *lines)


@NEGOTIATION.check(_SHOULD, "RFC 9110 §12.4.2", "406", only_reads=True)
def _weight_of_zero(session: Session) -> str:
    """What has the weight zero is not wanted."""
    path = f"{stock.image(session).at_instance}/metadata"
    return session.get(path, f"{JSON};q=0, text/html").must_be(406).seen


@NEGOTIATION.check(_MUST, "PS3.18 §8.3.3.1 and §8.7.8.1", "200 application/dicom+json", only_reads=True)
def _accept_in_the_query(session: Session) -> str:
    """The type may be asked for in the query, and counts more there than in the header."""
    path = f"{stock.image(session).at_instance}/metadata?accept=application/dicom%2Bjson"
    answer = session.get(path, "text/html").must_be(200)
    differ_unless(answer.kind.name == JSON, answer.seen)
    return answer.seen


@NEGOTIATION.check(_MUST, "PS3.18 §8.3", "200, as if it were not there", only_reads=True)
def _unknown_query_parameter(session: Session) -> str:
    """A parameter that a retrieval does not know is ignored."""
    path = f"{stock.image(session).at_instance}/metadata?no-such-parameter=1"
    return session.get(path).must_be(200).seen


@NEGOTIATION.check(_MUST, "RFC 9110 §15.5.5", "404", only_reads=True)
def _unknown_address(session: Session) -> str:
    """An address that is none is not found."""
    return session.get(f"{stock.image(session).at_study}/no-such-thing").must_be(404).seen


@NEGOTIATION.check(_MUST, "RFC 9110 §15.5.6 and §10.2.1", "405 with Allow", only_reads=True)
def _method_not_allowed(session: Session) -> str:
    """A method that an address does not take is answered with those it takes."""
    answer = session.server.ask("PUT", "/studies", body=b"{}").must_be(405, 501)
    differ_unless(answer.status == 501 or "allow" in answer.headers, "405 without Allow")  # noqa: PLR2004
    return f"{answer.status}, Allow: {'yes' if 'allow' in answer.headers else 'no'}"


@NEGOTIATION.check(_MAY, "RFC 9110 §9.3.7", "200 or 204", only_reads=True)
def _options(session: Session) -> str:
    """OPTIONS tells what an address can do."""
    return session.server.ask("OPTIONS", "/studies").must_be(200, 204).seen


@NEGOTIATION.check(_MAY, "Fetch §3.2 (CORS); for information", "Access-Control-Allow-Origin", only_reads=True)
def _other_origins(session: Session) -> str:
    """Pages of other origins may read, where the server was told to let them."""
    answer = session.get("/studies?limit=1", JSON, ("Origin", "https://viewer.example"))
    differ_unless("access-control-allow-origin" in answer.headers, f"{answer.seen}, no Access-Control-Allow-Origin")
    return "allowed"


# Caching


def _metadata(session: Session) -> str:
    return f"{stock.image(session).at_series}/metadata"


def _tag(session: Session, path: str, accept: str) -> str:
    """The ETag of an answer.

    Raises:
        NotTested: It has none.
    """
    tag = session.get(path, accept).must_be(200).headers.get("etag")
    if not tag:
        raise NotTested("no ETag")
    return str(tag)


@CACHING.check(_SHOULD, "RFC 9110 §8.8.3", "ETag", only_reads=True)
def _tag_of_metadata(session: Session) -> str:
    """Metadata have an ETag."""
    answer = session.get(_metadata(session)).must_be(200)
    differ_unless("etag" in answer.headers, "no ETag")
    return "ETag"


@CACHING.check(_SHOULD, "RFC 9110 §8.8.3", "ETag", only_reads=True)
def _tag_of_frames(session: Session) -> str:
    """Frames have an ETag."""
    answer = session.get(f"{stock.image(session).at_instance}/frames/1", OCTETS).must_be(200)
    differ_unless("etag" in answer.headers, "no ETag")
    return "ETag"


@CACHING.check(_MUST, "RFC 9110 §13.1.2", "304 without a body", only_reads=True)
def _unchanged(session: Session) -> str:
    """Who has it already gets 304."""
    tag = _tag(session, _metadata(session), JSON)
    for wanted in (tag, f'"no-such", {tag}', tag if tag.startswith("W/") else f"W/{tag}"):
        answer = session.get(_metadata(session), JSON, ("If-None-Match", wanted)).must_be(304)
        differ_unless(not answer.body, "304 with a body")
        rest = session.server.behind_headers(_metadata(session), (("Accept", JSON), ("If-None-Match", wanted)))
        differ_unless(not rest, "304 with a body")
    return "304"


@CACHING.check(_MUST, "RFC 9110 §13.1.2", "200", only_reads=True)
def _changed(session: Session) -> str:
    """Who has something else gets the whole."""
    _tag(session, _metadata(session), JSON)
    return session.get(_metadata(session), JSON, ("If-None-Match", '"no-such-tag"')).must_be(200).seen


@CACHING.check(_MUST, "RFC 9110 §8.8.1", "another ETag")
def _tag_follows_the_content(session: Session) -> str:
    """One instance more, and the metadata of the series have another ETag."""
    study = session.study()
    session.stow(study.image([slice_of(30)])).must_be(200)
    path = f"/studies/{study.uid}/series/{study.series}/metadata"
    before = _tag(session, path, JSON)
    session.stow(study.image([slice_of(31)])).must_be(200)
    after = _tag(session, path, JSON)
    differ_unless(before != after, "the same ETag")
    return "another ETag"


@CACHING.check(_MUST, "RFC 9110 §8.8.3", "one ETag a representation", only_reads=True)
def _tag_is_of_one_representation(session: Session) -> str:
    """Different representations at one address do not share a strong ETag."""
    path = f"{stock.image(session).at_instance}/frames/1"
    tag = _tag(session, path, OCTETS)
    one, other = session.get(path, OCTETS), session.get(path, 'multipart/related; type="image/jphc"; transfer-syntax=*')
    if other.status != 200 or "etag" not in other.headers or other.parts()[0].data == one.parts()[0].data:  # noqa: PLR2004
        raise NotTested("frames come in one form with an ETag")
    differ_unless(tag.startswith("W/") or other.headers["etag"] != tag, "the same strong ETag for other bytes")
    return "one each"


@CACHING.check(_SHOULD, "RFC 9111 §5.2.2", "Cache-Control with private or no-store", only_reads=True)
def _not_for_shared_caches(session: Session) -> str:
    """What is a patient's is not kept by caches that others share."""
    for path, accept in ((_metadata(session), JSON), (f"{stock.image(session).at_instance}/frames/1", OCTETS)):
        told = session.get(path, accept).must_be(200).headers.get("cache-control", "")
        differ_unless("private" in told or "no-store" in told, f"Cache-Control: {told or 'none'}")
    return "private"


# Ranges


def _ranged(session: Session, span: str, *headers: tuple[str, str]) -> tuple[Answer, bytes]:
    """The answer to a range of a frame, and the whole frame.

    Raises:
        NotTested: There is no single part, or ranges are not supported.
    """
    path = f"{stock.image(session).at_instance}/frames/1"
    whole = session.get(path, _ONE_OCTETS)
    if whole.status != 200 or whole.kind.name != _ONE_OCTETS:  # noqa: PLR2004 — OK
        raise NotTested("a frame does not come as one part")
    answer = session.get(path, _ONE_OCTETS, ("Range", span), *headers)
    if answer.status == 200 and not headers:  # noqa: PLR2004 — OK
        raise NotTested("ranges are not supported")
    return answer, whole.body


@RANGES.check(_SHOULD, "RFC 9110 §14.2 and §14.3", "206 with Content-Range", only_reads=True)
def _of_a_frame(session: Session) -> str:
    """A part of a frame can be had."""
    path = f"{stock.image(session).at_instance}/frames/1"
    answers = [session.get(path, accept, ("Range", "bytes=0-99")) for accept in (_ONE_OCTETS, OCTETS)]
    parted = [each for each in answers if each.status == 206 and "content-range" in each.headers]  # noqa: PLR2004
    differ_unless(bool(parted), f"{answers[-1].seen}, Range is ignored")
    return parted[0].seen


@RANGES.check(_SHOULD, "RFC 9110 §14.3", "Accept-Ranges: bytes", only_reads=True)
def _told(session: Session) -> str:
    """A server that gives ranges says so."""
    path = f"{stock.image(session).at_instance}/frames/1"
    told = [session.get(path, accept).headers.get("accept-ranges") for accept in (_ONE_OCTETS, OCTETS)]
    differ_unless("bytes" in told, "no Accept-Ranges")
    return "bytes"


@RANGES.check(_MUST, "RFC 9110 §14.4 and §15.3.7", "206, bytes 10 to 99 and what Content-Range says", only_reads=True)
def _right_bytes(session: Session) -> str:
    """A range holds the bytes that were asked for."""
    answer, whole = _ranged(session, "bytes=10-99")
    told = answer.must_be(206).headers.get("content-range")
    differ_unless(answer.body == whole[10:100], f"{len(answer.body)} bytes, not those")
    differ_unless(told == f"bytes 10-99/{len(whole)}", "another Content-Range")
    return "206"


@RANGES.check(_MUST, "RFC 9110 §14.1.2", "206, the last 10 bytes", only_reads=True)
def _last_bytes(session: Session) -> str:
    """A range may be counted from the end."""
    answer, whole = _ranged(session, "bytes=-10")
    differ_unless(answer.must_be(206).body == whole[-10:], f"{len(answer.body)} bytes, not those")
    return "206"


@RANGES.check(_MUST, "RFC 9110 §14.1.2", "206, cut at the last byte", only_reads=True)
def _beyond_the_end(session: Session) -> str:
    """A range that reaches beyond the end is cut there."""
    answer, whole = _ranged(session, "bytes=20-99999999999")
    differ_unless(answer.must_be(206).body == whole[20:], f"{len(answer.body)} bytes, not those")
    return "206"


@RANGES.check(_SHOULD, "RFC 9110 §15.5.17", "416", only_reads=True)
def _behind_the_end(session: Session) -> str:
    """A range that begins behind the end cannot be satisfied."""
    return _ranged(session, "bytes=99999999999-")[0].must_be(416).seen


@RANGES.check(_MUST, "RFC 9110 §13.1.5", "200 and the whole", only_reads=True)
def _of_something_else(session: Session) -> str:
    """Who asks for the rest of something that has changed gets the whole."""
    _ranged(session, "bytes=0-9")
    answer, whole = _ranged(session, "bytes=0-9", ("If-Range", '"no-such-tag"'))
    differ_unless(answer.must_be(200).body == whole, f"{answer.seen}, other bytes")
    return answer.seen


@RANGES.check(_MUST, "RFC 9110 §14.2", "200 or 206, and the whole file", only_reads=True)
def _nonsense_is_ignored(session: Session) -> str:
    """A Range that cannot be read is as none."""
    answer = session.get(stock.image(session).at_instance, ANY_DICOM, ("Range", "lines=1-2"))
    return answer.must_be(200).seen
