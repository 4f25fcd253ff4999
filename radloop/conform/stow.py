"""Checks of STOW-RS: what is taken in, what is refused, and what the answer says of it (PS3.18 §10.5)."""

from collections.abc import Iterator

from radloop.conform import stock
from radloop.conform.model import Group, NotTested, Severity, differ_unless
from radloop.conform.session import ANY_DICOM, OCTETS, Session, first, named, values
from radloop.conform.wire import BOUNDARY, JSON, Answer, multipart
from radloop.dicom.specimens import Specimen, fresh_uid, native, slice_of

STOW = Group("stow", "Store (STOW-RS)")

STORED, FAILED, OTHER_FAILURES = "00081199", "00081198", "0008119A"
_MUST, _SHOULD, _MAY = Severity.MUST, Severity.SHOULD, Severity.MAY
_STATUS = "PS3.18 §10.5.3.1, Table 10.5.3-1"
_REPORT = "PS3.18 §10.5.3 and Annex I.2"
_MANY = 40


def _one(session: Session) -> Specimen:
    return session.study().image([slice_of(20)])


def _all_stored(answer: Answer, *specimens: Specimen) -> str:
    answer.must_be(200)
    listed = named(answer, STORED)
    differ_unless(
        all(specimen.instance in listed for specimen in specimens),
        f"{answer.seen}, {len(listed)} of {len(specimens)} instances in ReferencedSOPSequence",
    )
    return f"{answer.seen}, {len(listed)} stored"


def _kept(session: Session, specimen: Specimen) -> bool:
    path = f"/studies/{specimen.study}/series/{specimen.series}/instances/{specimen.instance}"
    return session.get(f"{path}/metadata").status == 200  # noqa: PLR2004 — OK


def _sent(session: Session, specimen: Specimen, body: bytes, kind: str) -> Answer:
    session.note(specimen)
    return session.server.post("/studies", body, kind)


@STOW.check(_MUST, _STATUS, "200, every instance in ReferencedSOPSequence")
def _multipart(session: Session) -> str:
    """Instances sent as multipart are stored, and each is named."""
    study = session.study()
    specimens = [study.image([slice_of(number)]) for number in range(3)]
    return _all_stored(session.stow(*specimens), *specimens)


@STOW.check(_SHOULD, "PS3.18 §10.5", "200, the instance in ReferencedSOPSequence")
def _single_part(session: Session) -> str:
    """One instance may come as application/dicom, without multipart."""
    specimen = _one(session)
    return _all_stored(_sent(session, specimen, specimen.data, "application/dicom"), specimen)


@STOW.check(_MUST, _REPORT, "application/dicom+json")
def _answer_is_dicom_json(session: Session) -> str:
    """The answer has the type that was asked for."""
    answer = session.stow(_one(session)).must_be(200)
    differ_unless(answer.kind.name == JSON, answer.seen)
    return answer.seen


@STOW.check(_MUST, _REPORT, "ReferencedSOPClassUID and ReferencedSOPInstanceUID in each item")
def _items_name_class_and_instance(session: Session) -> str:
    """What was stored is named by class and instance."""
    specimen = _one(session)
    items = values(session.stow(specimen).must_be(200).json(), STORED)
    differ_unless(
        [(first(item, "00081150"), first(item, "00081155")) for item in items]
        == [(specimen.sop_class, specimen.instance)],
        f"{len(items)} items, not the class and instance that were sent",
    )
    return "class and instance"


@STOW.check(_SHOULD, _REPORT, "RetrieveURL (0008,1190) in each item, and it answers 200")
def _retrieve_url_leads_there(session: Session) -> str:
    """The answer tells where each instance is found, and it is."""
    items = values(session.stow(_one(session)).must_be(200).json(), STORED)
    url = first(items[0], "00081190") if items else None
    differ_unless(bool(url), "no RetrieveURL")
    answer = session.get(session.server.resolved(str(url), "/studies"), ANY_DICOM)
    differ_unless(answer.status == 200, f"RetrieveURL answers {answer.seen}")  # noqa: PLR2004 — OK
    return "RetrieveURL answers 200"


@STOW.check(_MUST, "PS3.18 §10.5.1.1", "200")
def _into_its_study(session: Session) -> str:
    """An instance may be sent to the address of its study."""
    specimen = _one(session)
    return _all_stored(session.stow(specimen, to=f"/studies/{specimen.study}"), specimen)


@STOW.check(_MUST, _STATUS, "409")
def _into_another_study(session: Session) -> str:
    """Where no instance belongs to the study that the address names, none is stored."""
    answer = session.stow(_one(session), to=stock.ct(session).at_study)
    return answer.must_be(409).seen


@STOW.check(_MUST, _STATUS, "202, one stored and one failed")
def _into_another_study_in_part(session: Session) -> str:
    """Where some instances belong to another study, the rest is stored."""
    mine, alien = _one(session), _one(session)
    answer = session.stow(mine, alien, to=f"/studies/{mine.study}").must_be(202)
    found = (named(answer, STORED), named(answer, FAILED))
    differ_unless(found == ({mine.instance}, {alien.instance}), f"{answer.seen}, other instances are named")
    return answer.seen


@STOW.check(_MUST, "PS3.18 Annex I.2.2", "FailureReason (0008,1197), A7xx, A9xx, Cxxx, 0110 or 0122")
def _failures_have_a_reason(session: Session) -> str:
    """What was not stored has a reason out of the table."""
    mine, alien = _one(session), _one(session)
    items = values(session.stow(mine, alien, to=f"/studies/{mine.study}").must_be(202, 409).json(), FAILED)
    reasons = [first(item, "00081197") for item in items]
    known = [_is_reason(reason) for reason in reasons]
    differ_unless(bool(known) and all(known), f"reasons {reasons}")
    return ", ".join(f"{reason:04X}" for reason in reasons)


def _is_reason(reason: object) -> bool:
    """In the table, or another that DIMSE defines (PS3.7 Annex C)."""
    return isinstance(reason, int) and (reason >> 8 in {0x01, 0xA7, 0xA9, *range(0xC0, 0xD0)})


@STOW.check(_MUST, _STATUS, "202, the good instance in ReferencedSOPSequence")
def _good_beside_garbage(session: Session) -> str:
    """One part that is not DICOM does not make the request a failure."""
    specimen = _one(session)
    session.note(specimen)
    answer = session.server.post("/studies", multipart([specimen.data, b"this is not DICOM"])).must_be(202)
    differ_unless(specimen.instance in named(answer, STORED), f"{answer.seen}, the good instance is not named")
    return answer.seen


@STOW.check(_MUST, _STATUS, "what is named as stored is found, what is not is not")
def _says_what_it_did(session: Session) -> str:
    """The answer to good and bad parts together is true."""
    specimen = _one(session)
    session.note(specimen)
    answer = session.server.post("/studies", multipart([b"this is not DICOM", specimen.data]))
    report = answer.json() if answer.kind.name.endswith("json") else {}
    is_named = isinstance(report, dict) and specimen.instance in named(answer, STORED)
    is_kept = _kept(session, specimen)
    differ_unless(is_named == is_kept, f"{answer.seen}, named as stored: {is_named}, found: {is_kept}")
    return f"named and found: {is_kept}"


@STOW.check(_MUST, _STATUS, "400 or 409")
def _only_garbage(session: Session) -> str:
    """Where no part is DICOM, the request fails."""
    return session.server.post("/studies", multipart([b"this is not DICOM"])).must_be(400, 409).seen


@STOW.check(_SHOULD, _STATUS, "409, each part in FailedSOPSequence or OtherFailuresSequence")
def _garbage_is_reported(session: Session) -> str:
    """A request that is formed correctly, with nothing in it to store, is a conflict and says why."""
    answer = session.server.post("/studies", multipart([b"this is not DICOM"])).must_be(409)
    told = [*values(answer.json(), FAILED), *values(answer.json(), OTHER_FAILURES)]
    differ_unless(len(told) == 1, f"{answer.seen}, {len(told)} failures")
    return answer.seen


@STOW.check(_SHOULD, _STATUS, "204, 400 or 409")
def _nothing_sent(session: Session) -> str:
    """A request without instances is not reported as stored."""
    return session.server.post("/studies", f"--{BOUNDARY}--\r\n".encode()).must_be(204, 400, 409).seen


@STOW.check(_MUST, _STATUS, "415")
def _other_content_type(session: Session) -> str:
    """What is neither DICOM nor multipart is not supported."""
    return session.server.post("/studies", b"{}", "application/json").must_be(415).seen


@STOW.check(_SHOULD, _STATUS, "400, 409 or 415")
def _parts_of_another_type(session: Session) -> str:
    """A part that says it is a picture is not stored."""
    kind = f'multipart/related; type="image/png"; boundary={BOUNDARY}'
    return session.server.post("/studies", multipart([b"\x89PNG"], kind="image/png"), kind).must_be(400, 409, 415).seen


@STOW.check(_MUST, "RFC 2046 §5.1.1", "400 or 415")
def _no_boundary(session: Session) -> str:
    """Multipart needs a boundary."""
    kind = 'multipart/related; type="application/dicom"'
    return session.server.post("/studies", multipart([b"x"]), kind).must_be(400, 415).seen


@STOW.check(_SHOULD, "RFC 2387 §3.1", "200")
def _parts_without_type(session: Session) -> str:
    """A part without Content-Type has the type that the whole names."""
    specimen = _one(session)
    kind = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
    return _all_stored(_sent(session, specimen, multipart([specimen.data], kind=None), kind), specimen)


@STOW.check(_MUST, "PS3.18 §8.7.9", "200")
def _parts_with_transfer_syntax(session: Session) -> str:
    """A part may name its transfer syntax."""
    specimen = _one(session)
    body = multipart([specimen.data], kind=f"application/dicom; transfer-syntax={specimen.syntax}")
    kind = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
    return _all_stored(_sent(session, specimen, body, kind), specimen)


@STOW.check(_MUST, "RFC 2046 §5.1.1", "200")
def _preamble_and_epilogue(session: Session) -> str:
    """What stands before the first part and behind the last is not looked at."""
    specimen = _one(session)
    body = b"for readers of mail\r\n" + multipart([specimen.data]) + b"the end\r\n"
    kind = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
    return _all_stored(_sent(session, specimen, body, kind), specimen)


@STOW.check(_MUST, "RFC 2046 §5.1.1", "200")
def _quoted_boundary(session: Session) -> str:
    """A boundary may be quoted, and hold what needs quotes."""
    specimen = _one(session)
    boundary = "=_cut:here (1)/x"
    kind = f'multipart/related; type="application/dicom"; boundary="{boundary}"'
    return _all_stored(_sent(session, specimen, multipart([specimen.data], boundary=boundary), kind), specimen)


@STOW.check(_MUST, "RFC 2046 §5.1.1", "200, and the value comes back whole")
def _almost_a_boundary(session: Session) -> str:
    """Bytes that look like a boundary but do not follow a line break belong to the instance."""
    specimen = session.study().image([slice_of(21)], change={"ImageComments": f"--{BOUNDARY} and --{BOUNDARY}--"})
    _all_stored(session.stow(specimen), specimen)
    path = f"/studies/{specimen.study}/series/{specimen.series}/instances/{specimen.instance}"
    parts = session.get(f"{path}/frames/1", OCTETS).parts()
    differ_unless([part.data for part in parts] == [native(specimen.frames[0])], "other pixels than were sent")
    return "200, whole"


@STOW.check(_MUST, "RFC 9112 §7.1", "200")
def _chunked(session: Session) -> str:
    """A body may come in chunks, without its length."""
    specimen = _one(session)
    session.note(specimen)

    def pieces() -> Iterator[bytes]:
        body = multipart([specimen.data])
        yield from (body[at : at + 5000] for at in range(0, len(body), 5000))

    return _all_stored(session.server.post("/studies", pieces()), specimen)


@STOW.check(_MUST, "PS3.18 §10.5.1", f"200, {_MANY} instances stored")
def _many_at_once(session: Session) -> str:
    """One request may bring a whole series."""
    study = session.study()
    specimens = [study.image([slice_of(number, rows=16, columns=16)]) for number in range(_MANY)]
    return _all_stored(session.stow(*specimens), *specimens)


@STOW.check(_SHOULD, "PS3.18 §8.7.8.1", "406")
def _answer_as_html(session: Session) -> str:
    """An answer that cannot be given in the type asked for is not given."""
    specimen = _one(session)
    session.note(specimen)
    return session.server.post("/studies", multipart([specimen.data]), accept="text/html").must_be(406).seen


@STOW.check(_SHOULD, "PS3.18 §10.5.3 and Annex I.1.1", "200, multipart or application/dicom+xml")
def _answer_as_xml(session: Session) -> str:
    """The answer is given as XML where that is asked for."""
    specimen = _one(session)
    session.note(specimen)
    answer = session.server.post("/studies", multipart([specimen.data]), accept="application/dicom+xml").must_be(200)
    differ_unless(answer.kind.name in {"application/dicom+xml", "multipart/related"}, answer.seen)
    return answer.seen


@STOW.check(_MUST, "PS3.18 §10.5.2", "the instance is found once")
def _same_instance_twice(session: Session) -> str:
    """The same instance sent twice is there once."""
    specimen = _one(session)
    session.stow(specimen).must_be(200)
    again = session.stow(specimen).must_be(200, 202, 409)
    found = session.get(f"/studies/{specimen.study}/instances").rows()
    differ_unless(len(found) == 1, f"{again.status}, and {len(found)} instances are found")
    return f"{again.status}, one instance"


@STOW.check(_MUST, _STATUS, "200 and the new pixels, or a failure or warning that says otherwise")
def _same_uid_other_content(session: Session) -> str:
    """The same UID with other pixels is not taken as stored and dropped in silence."""
    study = session.study()
    before = study.image([slice_of(22)])
    uid = before.instance
    after = study.image([slice_of(23)], change={"SOPInstanceUID": uid})
    session.stow(before).must_be(200)
    answer = session.stow(after)
    if answer.status != 200 or values(answer.json(), FAILED):  # noqa: PLR2004 — OK
        differ_unless(answer.status in {202, 409}, answer.seen)
        return f"{answer.seen}, told"
    path = f"/studies/{study.uid}/series/{study.series}/instances/{uid}/frames/1"
    found = session.get(path, OCTETS).parts()[0].data
    differ_unless(found == native(after.frames[0]), f"{answer.seen}, and the old pixels come back")
    return f"{answer.seen}, the new pixels come back"


@STOW.check(_SHOULD, "PS3.5 §9.1 and §6.2", "200, found under the UID without padding")
def _uids_padded_with_spaces(session: Session) -> str:
    """UIDs that an old modality padded with a space are understood."""
    study = session.study()
    uids = {"StudyInstanceUID": study.uid, "SeriesInstanceUID": study.series, "SOPInstanceUID": fresh_uid()}
    padded = {keyword: uid + " " * (2 - len(uid) % 2) for keyword, uid in uids.items()}
    specimen = study.image([slice_of(24)], change=padded)
    answer = session.stow(specimen).must_be(200, 202)
    differ_unless(_kept(session, specimen), f"{answer.seen}, not found under its UID")
    return answer.seen


@STOW.check(_MUST, "PS3.18 §8.5", "400, 404 or 409")
def _study_that_is_no_uid(session: Session) -> str:
    """An address that names no UID takes nothing."""
    return session.stow(_one(session), to="/studies/not-a-uid").must_be(400, 404, 409).seen


@STOW.check(_MUST, _STATUS, "400 or 409")
def _without_study_uid(session: Session) -> str:
    """An instance that belongs to no study is not stored."""
    return session.stow(session.study().image([slice_of(25)], change={"StudyInstanceUID": None})).must_be(400, 409).seen


@STOW.check(_MUST, "PS3.18 §10.5.2", "200")
def _no_pixels(session: Session) -> str:
    """An instance without pixels, a structured report, is stored like any other."""
    specimen = session.study(modality="SR").report()
    return _all_stored(session.stow(specimen), specimen)


@STOW.check(_MAY, "PS3.18 §8.9", "200, 202 or 204")
def _delete(session: Session) -> str:
    """A study can be deleted; the standard leaves that to the server."""
    specimen = _one(session)
    if session.stow(specimen).status != 200:  # noqa: PLR2004 — OK
        raise NotTested("the server did not take the specimen")
    return session.server.ask("DELETE", f"/studies/{specimen.study}").must_be(200, 202, 204).seen
