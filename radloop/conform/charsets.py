"""Checks of character sets: names as people write them (PS3.5 §6.1.2, §6.2.1; PS3.18 §F.2.2)."""

from radloop.conform import stock
from radloop.conform.model import Differs, Group, Severity, differ_unless
from radloop.conform.qido import search_by_name
from radloop.conform.session import Held, Session, first
from radloop.dicom.specimens import slice_of

CHARSETS = Group("charsets", "Character sets")

_MUST, _SHOULD = Severity.MUST, Severity.SHOULD
_JSON = "PS3.18 §F.2.2"
_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")

_KINDS: dict[str, tuple[str | list[str], str]] = {
    "utf-8": ("ISO_IR 192", "Müller-Łoś^Zoë"),
    "latin-1": ("ISO_IR 100", "Buc^Jérôme"),
    "japanese": (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    "korean": (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
}


def _held(session: Session, name: str) -> Held:
    charset, patient = _KINDS[name]
    family, caret, rest = patient.partition("^")
    marked = f"{family}{session.token}{caret}{rest}"
    return session.held(f"charset-{name}", lambda study: [study.image([slice_of(40)])], name=marked, charset=charset)


def _same_name(session: Session, name: str, found: object) -> str:
    family, caret, rest = _KINDS[name][1].partition("^")
    wanted = dict(zip(_GROUPS, f"{family}{session.token}{caret}{rest}".split("="), strict=False))
    if not isinstance(found, dict):
        raise Differs(f"PatientName is a {type(found).__name__}")
    wrong = [group for group in _GROUPS if found.get(group) != wanted.get(group)]
    differ_unless(not wrong, f"{' and '.join(wrong)} otherwise")
    return f"{len(wanted)} {'group' if len(wanted) == 1 else 'groups'}"


def _in_metadata(name: str, title: str, clause: str) -> None:
    """Enter the check of one character set."""

    def run(session: Session) -> str:
        row = session.get(f"{_held(session, name).at_instance}/metadata").must_be(200).rows()[0]
        return _same_name(session, name, first(row, "00100010"))

    run.__name__, run.__doc__ = f"metadata_{name.replace('-', '_')}", title
    CHARSETS.check(_MUST, clause, "the name as it was sent")(run)


_in_metadata("utf-8", "A name in UTF-8 is told as it was sent.", _JSON)
_in_metadata("latin-1", "A name in Latin-1 is told as it was sent, in UTF-8.", f"{_JSON} and RFC 8259 §8.1")
_in_metadata("japanese", "A Japanese name with escape sequences comes in its three groups.", f"{_JSON}; PS3.5 §H.3")
_in_metadata("korean", "A Korean name with escape sequences comes in its three groups.", f"{_JSON}; PS3.5 §I.2")


@CHARSETS.check(_MUST, f"{_JSON}; PS3.5 §H.3", "the name as it was sent, in three groups")
def _search_result(session: Session) -> str:
    """A search tells a name in its groups, too."""
    held = _held(session, "japanese")
    rows = session.get(f"/studies?StudyInstanceUID={held.study}").rows()
    differ_unless(len(rows) == 1, f"{len(rows)} studies")
    return _same_name(session, "japanese", first(rows[0], "00100010"))


@CHARSETS.check(_MUST, "PS3.18 §8.3.4.1 and RFC 3986 §2.5", "the study, once")
def _search_in_utf_8(session: Session) -> str:
    """A name with accents is found by a query in UTF-8."""
    held = _held(session, "utf-8")
    rows = search_by_name(session, f"Müller-Łoś{session.token}*").rows()
    differ_unless([first(row, "0020000D") for row in rows] == [held.study], f"{len(rows)} studies")
    return "the one study"


@CHARSETS.check(_MUST, "PS3.18 §8.3.4.1 and RFC 3986 §2.5", "the study, once")
def _search_across_sets(session: Session) -> str:
    """A name that was stored in Latin-1 is found by a query in UTF-8."""
    held = _held(session, "latin-1")
    rows = search_by_name(session, f"Buc{session.token}^Jérôme").rows()
    differ_unless([first(row, "0020000D") for row in rows] == [held.study], f"{len(rows)} studies")
    return "the one study"


@CHARSETS.check(_SHOULD, "PS3.4 §C.2.2.2.1", "the study, once")
def _search_by_ideographs(session: Session) -> str:
    """A name is found by its ideographic group."""
    held = _held(session, "japanese")
    rows = search_by_name(session, "*山田*").rows()
    differ_unless(held.study in {first(row, "0020000D") for row in rows}, f"{len(rows)} studies, not the one")
    return "found"


@CHARSETS.check(_MUST, "RFC 8259 §8.1", "UTF-8 throughout", only_reads=True)
def _answers_are_utf_8(session: Session) -> str:
    """JSON is sent as UTF-8."""
    answer = session.get(f"{stock.image(session).at_series}/metadata").must_be(200)
    try:
        answer.body.decode()
    except UnicodeDecodeError:
        raise Differs("bytes that are not UTF-8") from None
    return "UTF-8"
