"""Checks of QIDO-RS: what is found, what is told of it, and how much at a time (PS3.18 §10.6, §8.3.4)."""

from urllib.parse import quote

from radloop.conform import stock
from radloop.conform.model import Differs, Group, Severity, differ_unless
from radloop.conform.session import ANY_DICOM, Held, Row, Session, first, values
from radloop.conform.wire import JSON, Answer

QIDO = Group("qido", "Search (QIDO-RS)")

_MUST, _SHOULD, _MAY = Severity.MUST, Severity.SHOULD, Severity.MAY
_MATCHING = "PS3.18 §8.3.4.1"
_PAGES = "PS3.18 §8.3.4.4"
_PAYLOAD = "PS3.18 §10.6.3.3"
_STUDY, _SERIES, _INSTANCE = "0020000D", "0020000E", "00080018"

_OF_STUDIES = (
    "00080020 00080030 00080050 00080061 00080090 00100010 00100020 00100030 00100040 0020000D 00200010 "
    "00201206 00201208"
)
_OF_SERIES = "00080060 0020000E 00200011 00201209"
_OF_INSTANCES = "00080016 00080018 00200013"


def _uids(rows: list[Row], tag: str) -> set[str]:
    return {str(first(row, tag)) for row in rows}


def _studies(session: Session, query: str) -> list[Row]:
    return session.get(f"/studies?{query}").rows()


def _finds(session: Session, query: str, held: Held | None = None) -> str:
    """Go on only where this query finds one study, the one that is held."""
    held = held or stock.ct(session)
    rows = _studies(session, query)
    differ_unless(_uids(rows, _STUDY) == {held.study}, f"{len(rows)} studies, not the one that is wanted")
    return "the one study"


def _finds_none(session: Session, query: str) -> str:
    rows = _studies(session, query)
    differ_unless(not rows, f"{len(rows)} studies")
    return "none"


def _has(rows: list[Row], tags: str) -> str:
    differ_unless(bool(rows), "no result")
    missing = [tag for tag in tags.split() if tag not in rows[0]]
    differ_unless(not missing, f"without {' '.join(missing)}")
    return f"all {len(tags.split())}"


def _mine(session: Session) -> str:
    return f"PatientID={stock.ct(session).patient_id}"


@QIDO.check(_MUST, "PS3.18 §10.6.1.1", "the study, once", only_reads=True)
def _studies_by_uid(session: Session) -> str:
    """A study is found by its UID."""
    held = stock.image(session)
    return _finds(session, f"StudyInstanceUID={held.study}", held)


@QIDO.check(_MUST, "PS3.18 §10.6.1.1", "the series", only_reads=True)
def _series_of_a_study(session: Session) -> str:
    """The series of a study are listed."""
    held = stock.image(session)
    found = _uids(session.get(f"{held.at_study}/series").rows(), _SERIES)
    differ_unless(held.series in found, f"{len(found)} series, not the one that is wanted")
    return f"{len(found)} series"


@QIDO.check(_MUST, "PS3.18 §10.6.1.1", "all instances", only_reads=True)
def _instances_of_a_series(session: Session) -> str:
    """The instances of a series are listed."""
    held = stock.image(session)
    found = _uids(session.get(f"{held.at_series}/instances").rows(), _INSTANCE)
    differ_unless(set(held.instances) <= found, f"{len(found)} instances, not all that are wanted")
    return f"{len(found)} instances"


@QIDO.check(_MUST, "PS3.18 §10.6.1.1", "all instances", only_reads=True)
def _instances_of_a_study(session: Session) -> str:
    """The instances of a study are listed."""
    held = stock.image(session)
    found = _uids(session.get(f"{held.at_study}/instances").rows(), _INSTANCE)
    differ_unless(set(held.instances) <= found, f"{len(found)} instances, not all that are wanted")
    return f"{len(found)} instances"


@QIDO.check(_SHOULD, "PS3.18 §10.6.1.1", "the series", only_reads=True)
def _all_series(session: Session) -> str:
    """Series are found without naming their study in the address."""
    held = stock.image(session)
    found = _uids(session.get(f"/series?SeriesInstanceUID={held.series}").rows(), _SERIES)
    differ_unless(found == {held.series}, f"{len(found)} series")
    return "the one series"


@QIDO.check(_SHOULD, "PS3.18 §10.6.1.1", "the instance", only_reads=True)
def _all_instances(session: Session) -> str:
    """Instances are found without naming their study in the address."""
    held = stock.image(session)
    found = _uids(session.get(f"/instances?SOPInstanceUID={held.instances[0]}").rows(), _INSTANCE)
    differ_unless(found == {held.instances[0]}, f"{len(found)} instances")
    return "the one instance"


@QIDO.check(_MUST, "PS3.18 §10.6.4, Table 10.6.4-1", "application/dicom+json", only_reads=True)
def _answer_is_dicom_json(session: Session) -> str:
    """Results come as DICOM JSON."""
    answer = session.get(f"/studies?StudyInstanceUID={stock.image(session).study}").must_be(200)
    differ_unless(answer.kind.name == JSON, answer.seen)
    return answer.seen


@QIDO.check(_MUST, f"{_PAYLOAD}, Table 10.6.3-3", "all attributes that are required, empty ones too", only_reads=True)
def _what_a_study_tells(session: Session) -> str:
    """A study comes with the attributes the table requires."""
    return _has(_studies(session, f"StudyInstanceUID={stock.image(session).study}"), _OF_STUDIES)


@QIDO.check(_MUST, f"{_PAYLOAD}, Table 10.6.3-4", "all attributes that are required, empty ones too", only_reads=True)
def _what_a_series_tells(session: Session) -> str:
    """A series comes with the attributes the table requires."""
    return _has(session.get(f"{stock.image(session).at_study}/series").rows(), _OF_SERIES)


@QIDO.check(_MUST, f"{_PAYLOAD}, Table 10.6.3-5", "all attributes that are required, empty ones too", only_reads=True)
def _what_an_instance_tells(session: Session) -> str:
    """An instance comes with the attributes the table requires."""
    return _has(session.get(f"{stock.image(session).at_series}/instances").rows(), _OF_INSTANCES)


@QIDO.check(_MUST, f"{_PAYLOAD}, Table 10.6.3-5", "Rows, Columns and BitsAllocated", only_reads=True)
def _what_an_image_tells(session: Session) -> str:
    """An image tells its size."""
    return _has(session.get(f"{stock.image(session).at_series}/instances").rows(), "00280010 00280011 00280100")


@QIDO.check(_MUST, f"{_PAYLOAD}, Table 10.6.3-3", "RetrieveURL (0008,1190), and it answers 200", only_reads=True)
def _retrieve_url_leads_there(session: Session) -> str:
    """A result that can be retrieved tells where."""
    path = f"{stock.image(session).at_series}/instances"
    url = first(session.get(path).rows()[0], "00081190")
    differ_unless(bool(url), "no RetrieveURL")
    answer = session.get(session.server.resolved(str(url), path), ANY_DICOM)
    differ_unless(answer.status == 200, f"RetrieveURL answers {answer.seen}")  # noqa: PLR2004 — OK
    return "RetrieveURL answers 200"


@QIDO.check(_MUST, f"{_PAYLOAD}, Table 10.6.3-3", "1 series, 3 instances, CT")
def _counts_are_true(session: Session) -> str:
    """A study tells how many series and instances it has, and of which modalities."""
    row = _studies(session, f"StudyInstanceUID={stock.ct(session).study}")[0]
    found = (str(first(row, "00201206")), str(first(row, "00201208")), values(row, "00080061"))
    differ_unless(found == ("1", "3", ["CT"]), f"{found[0]} series, {found[1]} instances, {len(found[2])} modalities")
    return "1 series, 3 instances, CT"


@QIDO.check(_MUST, f"{_PAGES}.1 and §10.6.3.1", "204", only_reads=True)
def _no_match(session: Session) -> str:
    """A search that finds nothing has no content."""
    return session.get("/studies?PatientID=RADLOOP-CONFORM-NOBODY").must_be(204).seen


@QIDO.check(_MUST, _MATCHING, "the study, once")
def _by_patient_id(session: Session) -> str:
    """A study is found by PatientID, and no other is."""
    stock.other(session)
    return _finds(session, _mine(session))


@QIDO.check(_MUST, _MATCHING, "the study, once")
def _by_tag(session: Session) -> str:
    """An attribute may be named by its tag."""
    return _finds(session, f"00100020={stock.ct(session).patient_id}")


@QIDO.check(_MUST, _MATCHING, "the study, once")
def _by_accession_number(session: Session) -> str:
    """A study is found by AccessionNumber."""
    return _finds(session, f"AccessionNumber=RC{stock.ct(session).token}")


@QIDO.check(_MUST, f"{_PAYLOAD} and PS3.4 §C.6.2.1.2", "found by CT, not by MR")
def _by_modality(session: Session) -> str:
    """A study is found by the modalities in it."""
    _finds(session, f"{_mine(session)}&ModalitiesInStudy=CT")
    _finds_none(session, f"{_mine(session)}&ModalitiesInStudy=MR")
    return "found by CT, not by MR"


@QIDO.check(_MUST, "PS3.4 §C.2.2.2.4", "the study, once")
def _star(session: Session) -> str:
    """A star stands for any letters."""
    token = stock.ct(session).token
    return _finds(session, f"PatientID=RADLOOP*{token}")


@QIDO.check(_MUST, "PS3.18 §8.3 and RFC 3986 §2.4", "the study, once")
def _star_percent_encoded(session: Session) -> str:
    """A star that a client wrote as %2A is a star."""
    return _finds(session, f"PatientID=RADLOOP%2A{stock.ct(session).token}")


@QIDO.check(_MUST, "PS3.4 §C.2.2.2.4", "the study, once")
def _question_mark(session: Session) -> str:
    """A question mark, written %3F, stands for one letter."""
    held = stock.ct(session)
    _finds_none(session, f"PatientID={held.patient_id}%3F")
    return _finds(session, f"PatientID={held.patient_id[:-1]}%3F")


@QIDO.check(_MUST, "PS3.4 §C.2.2.2.3", "the study, once")
def _empty_value(session: Session) -> str:
    """An attribute without a value matches all."""
    return _finds(session, f"{_mine(session)}&AccessionNumber=")


@QIDO.check(_MUST, _MATCHING, "the study, once")
def _by_patient_name(session: Session) -> str:
    """A study is found by the whole PatientName."""
    return _finds(session, f"PatientName=Conform{stock.ct(session).token}%5ESpecimen")


@QIDO.check(_SHOULD, "PS3.4 §C.2.2.2.1", "the study, once")
def _patient_name_in_another_case(session: Session) -> str:
    """Names are matched without regard to case."""
    return _finds(session, f"PatientName=CONFORM{stock.ct(session).token}%5Especimen")


@QIDO.check(_MUST, "PS3.18 §8.3.4.2", "found, or Warning: 299 that it is not supported")
def _fuzzy(session: Session) -> str:
    """Fuzzy matching of names is done, or its absence is told."""
    query = f"{_mine(session)}&PatientName=Speci&fuzzymatching=true"
    answer = session.get(f"/studies?{query}")
    if answer.headers.get("warning", "").startswith("299"):
        return "Warning: 299"
    differ_unless(bool(answer.rows()), f"{answer.seen}, not found and no Warning")
    return "found"


@QIDO.check(_MUST, "PS3.4 §C.2.2.2.5", "the study, once")
def _by_date(session: Session) -> str:
    """A study is found by its date."""
    return _finds(session, f"{_mine(session)}&StudyDate=19870615")


@QIDO.check(_MUST, "PS3.4 §C.2.2.2.5", "inside: found; outside: not")
def _by_date_range(session: Session) -> str:
    """A range of dates finds what lies in it, its ends included."""
    for span in ("19870101-19871231", "19870615-19870615"):
        _finds(session, f"{_mine(session)}&StudyDate={span}")
    _finds_none(session, f"{_mine(session)}&StudyDate=19870616-19871231")
    return "as it should be"


@QIDO.check(_MUST, "PS3.4 §C.2.2.2.5", "inside: found; outside: not")
def _by_open_date_range(session: Session) -> str:
    """A range may be open at either end."""
    for span in ("19870615-", "-19870615"):
        _finds(session, f"{_mine(session)}&StudyDate={span}")
    for span in ("19870616-", "-19870614"):
        _finds_none(session, f"{_mine(session)}&StudyDate={span}")
    return "as it should be"


@QIDO.check(_MUST, "PS3.18 §8.3", "400", only_reads=True)
def _date_that_is_none(session: Session) -> str:
    """A date that is none is refused."""
    return session.get("/studies?StudyDate=yesterday").must_be(400).seen


@QIDO.check(_MUST, _MATCHING, "both studies")
def _list_of_uids(session: Session) -> str:
    """Several UIDs, with commas between them, find each."""
    pair = {stock.ct(session).study, stock.other(session).study}
    found = _uids(_studies(session, f"StudyInstanceUID={','.join(sorted(pair))}"), _STUDY)
    differ_unless(found == pair, f"{len(found)} studies")
    return "both"


@QIDO.check(_SHOULD, "PS3.18 §8.3", "400, or a Warning that it is ignored", only_reads=True)
def _unknown_attribute(session: Session) -> str:
    """An attribute that cannot be searched for is refused or at least told, not ignored in silence."""
    answer = session.get(f"/studies?StudyInstanceUID={stock.image(session).study}&NoSuchAttribute=1")
    if answer.status != 400:  # noqa: PLR2004 — Bad Request
        differ_unless("warning" in answer.must_be(200, 204).headers, f"{answer.seen}, no Warning")
    return answer.seen


@QIDO.check(_MUST, _PAGES, "1 result")
def _limit(session: Session) -> str:
    """No more come than are asked for."""
    rows = session.get(f"{stock.ct(session).at_series}/instances?limit=1").rows()
    differ_unless(len(rows) == 1, f"{len(rows)} results")
    return "1 result"


@QIDO.check(_MUST, _PAGES, "3 pages of 1, each instance once")
def _offset(session: Session) -> str:
    """Pages one behind the other show everything once."""
    held = stock.ct(session)
    pages = [session.get(f"{held.at_series}/instances?limit=1&offset={offset}").rows() for offset in range(3)]
    found = [first(row, _INSTANCE) for rows in pages for row in rows]
    differ_unless(sorted(map(str, found)) == sorted(held.instances), f"{len(set(map(str, found)))} of 3 instances")
    return "each once"


@QIDO.check(_MUST, f"{_PAGES}.1", "204")
def _offset_past_the_end(session: Session) -> str:
    """Behind the last result there is no content."""
    return session.get(f"{stock.ct(session).at_series}/instances?offset=3").must_be(204).seen


@QIDO.check(_MUST, _PAGES, "204 or 400", only_reads=True)
def _offset_beyond_32_bits(session: Session) -> str:
    """An offset that no 32 bits hold does not wrap around."""
    return session.get("/studies?limit=1&offset=4294967296").must_be(204, 400).seen


@QIDO.check(_MUST, "PS3.18 §8.3", "400", only_reads=True)
def _limit_that_is_no_number(session: Session) -> str:
    """A limit that is no number is refused."""
    return session.get("/studies?limit=abc").must_be(400).seen


@QIDO.check(_MUST, "PS3.18 §8.3", "400", only_reads=True)
def _offset_below_zero(session: Session) -> str:
    """An offset is not negative."""
    return session.get("/studies?limit=1&offset=-1").must_be(400).seen


@QIDO.check(_SHOULD, f"{_PAGES}.1", "Warning: 299")
def _more_than_shown(session: Session) -> str:
    """A page that is not the last says so."""
    answer = session.get(f"{stock.ct(session).at_series}/instances?limit=1").must_be(200)
    differ_unless(answer.headers.get("warning", "").startswith("299"), f"{answer.seen}, no Warning")
    return "Warning: 299"


@QIDO.check(_SHOULD, _PAGES, "the same order")
def _order_is_stable(session: Session) -> str:
    """The same search gives the same order."""
    path = f"{stock.ct(session).at_series}/instances"
    orders = {tuple(str(first(row, _INSTANCE)) for row in session.get(path).rows()) for _ in range(3)}
    differ_unless(len(orders) == 1, f"{len(orders)} orders of three answers")
    return "the same"


def _includes(session: Session, field: str, tag: str) -> str:
    rows = _studies(session, f"StudyInstanceUID={stock.ct(session).study}&includefield={field}")
    differ_unless(bool(rows) and tag in rows[0], f"{len(rows)} results, without {tag}")
    return f"with {tag}"


@QIDO.check(_SHOULD, "PS3.18 §8.3.4.3", "StudyDescription (0008,1030)")
def _include_by_keyword(session: Session) -> str:
    """An attribute is included by its keyword."""
    return _includes(session, "StudyDescription", "00081030")


@QIDO.check(_SHOULD, "PS3.18 §8.3.4.3", "StudyDescription (0008,1030)")
def _include_by_tag(session: Session) -> str:
    """An attribute is included by its tag."""
    return _includes(session, "00081030", "00081030")


@QIDO.check(_SHOULD, "PS3.18 §8.3.4.3", "StudyDescription (0008,1030)")
def _include_all(session: Session) -> str:
    """All attributes are included where all are asked for."""
    return _includes(session, "all", "00081030")


@QIDO.check(_SHOULD, "PS3.18 §10.6.1.2", "the series")
def _patient_at_series_level(session: Session) -> str:
    """A series is found by an attribute of its patient."""
    rows = session.get(f"/series?{_mine(session)}").rows()
    differ_unless(_uids(rows, _SERIES) == {stock.ct(session).series}, f"{len(rows)} series")
    return "the one series"


@QIDO.check(_MUST, "PS3.18 §8.7.8.1", "406", only_reads=True)
def _as_html(session: Session) -> str:
    """A type that results do not come in is not acceptable."""
    return session.get("/studies?limit=1", "text/html").must_be(406).seen


@QIDO.check(_SHOULD, "PS3.18 §10.6.4, Table 10.6.4-1", "200, multipart/related", only_reads=True)
def _as_xml(session: Session) -> str:
    """Results come as XML where that is asked for."""
    path = f"/studies?StudyInstanceUID={stock.image(session).study}"
    answer = session.get(path, 'multipart/related; type="application/dicom+xml"').must_be(200)
    differ_unless(len(answer.parts()) == 1, f"{answer.seen}, {len(answer.parts())} parts")
    return answer.seen


@QIDO.check(_MAY, "PS3.18 §8.7.3", "200", only_reads=True)
def _as_plain_json(session: Session) -> str:
    """Clients that ask for application/json are served."""
    return session.get("/studies?limit=1", "application/json").must_be(200, 204).seen


@QIDO.check(_MUST, "PS3.18 §F.2.2", "tags ascending, eight capital hexadecimal digits", only_reads=True)
def _order_of_attributes(session: Session) -> str:
    """Attributes come in the order of their tags."""
    rows = _studies(session, f"StudyInstanceUID={stock.image(session).study}")
    return ordered(rows)


def ordered(rows: list[Row]) -> str:
    """Go on only where names are tags, in order, and no group length is among them."""
    differ_unless(bool(rows), "no result")
    for row in rows:
        tags = list(row)
        if any(len(tag) != 8 or set(tag) - set("0123456789ABCDEF") for tag in tags):  # noqa: PLR2004 — a tag
            raise Differs("names that are not tags")
        differ_unless(tags == sorted(tags), "tags out of order")
        differ_unless(not any(tag.endswith("0000") for tag in tags), "with a group length")
    return f"{len(rows[0])} attributes in order"


@QIDO.check(_MUST, "PS3.18 §F.2.2", "an object with Alphabetic")
def _names_are_objects(session: Session) -> str:
    """A person's name is an object of its groups."""
    name = first(_studies(session, f"StudyInstanceUID={stock.ct(session).study}")[0], "00100010")
    differ_unless(isinstance(name, dict) and "Alphabetic" in name, f"a {type(name).__name__}")
    return "an object"


def search_by_name(session: Session, name: str) -> Answer:
    """Studies of a patient's name, percent-encoded as UTF-8."""
    return session.get(f"/studies?PatientName={quote(name)}")
