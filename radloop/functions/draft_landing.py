"""A draft that is complete is landed: one DICOM file, or the members of a zip one by one."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from radloop.core.errors import BrokenMember, InvalidInput, NotFound, TooLarge
from radloop.core.identity import Principal
from radloop.core.platform import Platform
from radloop.core.ports import Landing, Upload
from radloop.functions.image_ingestion import ingest
from radloop.store.archives import LONGEST_MEMBER, Member, is_archive, members, portions, unpack, unpacked
from radloop.store.drafts import DONE, FAILED, FOLDER, LANDING, Draft, Drafts, DraftSource, Report

BATCH_FILES = 64
BATCH_BYTES = 64 << 20
PLACES_TOLD = 20
GAVE_UP = "gave-up"


LandPieces = Callable[[str, Iterator[bytes], Principal], Landing]
"""Lands a file that comes in pieces, in somebody's name, by way of a blob key that is nobody else's."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What of a draft is landed, and how.

    Attributes:
        longest: Bytes of one file at most; a longer one is refused.
        held: Bytes of the longest that is held in memory; `land` lands what is longer.
        land: Needed where `held` is less than `longest`.
    """

    longest: int = LONGEST_MEMBER
    held: int = LONGEST_MEMBER
    land: LandPieces | None = None


@dataclass(frozen=True, slots=True)
class _Taken:
    """A member on its way: its bytes or, where it is long, the pieces it comes in; or why there are none."""

    place: int
    data: bytes = b""
    refused: InvalidInput | None = None
    is_junk: bool = False
    pieces: Iterator[bytes] | None = None


def drafts_of(platform: Platform) -> Drafts:
    """The drafts of an installation."""
    return Drafts(platform.blobs, platform.records, platform.keys, platform.clock, platform.settings)


def land_draft(
    identity: str,
    platform: Platform,
    *,
    limits: Limits = Limits(),
    is_late: Callable[[], bool] = lambda: False,
) -> None:
    """Land a complete draft in the name of its owner, and tell in its report what became of it.

    A repeat goes on behind the last batch that was reported; of the batch that a crash interrupted, what had landed
    is told of as known already. What cannot be read at all fails with its reason and is not tried again.

    Args:
        identity: Of the draft.
        platform: Where it lies and lands.
        limits: How long a file may be, and how a long one is landed.
        is_late: Asked after every batch: where it says so, another job goes on from there.
    """
    drafts = drafts_of(platform)
    try:
        draft = drafts.get(identity)
    except NotFound:
        return  # removed meanwhile
    mine = tuple(one for one in draft.report.reasons if one["code"] != GAVE_UP)
    was_given_up = len(mine) < len(draft.report.reasons)
    if draft.state != LANDING and not was_given_up:
        return
    report = replace(draft.report, reasons=mine)
    seen_before = report.seen
    try:
        source = drafts.source(draft)
        for batch in _batches(_taken(source, after=report.seen, limits=limits)):
            if is_late() and report.seen > seen_before:
                drafts.go_on(draft)
                return
            report = _landed(report, batch, draft, platform, limits)
            draft = drafts.report(draft, report)
            del batch
    except InvalidInput as error:
        drafts.end(draft, _told(report, error.code, str(error), []), state=FAILED)
        return
    drafts.end(draft, report, state=DONE)


def give_up(identity: str, platform: Platform) -> None:
    """Note that landing a draft was given up on; its bytes stay for a replay until it expires."""
    drafts = drafts_of(platform)
    try:
        draft = drafts.get(identity)
    except NotFound:
        return
    sentence = "The server could not land it, again and again. Its owner can replay the job."
    drafts.end(draft, _told(draft.report, GAVE_UP, sentence, []), state=FAILED, keep=True)


def _taken(source: DraftSource, *, after: int, limits: Limits) -> Iterator[_Taken]:
    """What is in a draft, from the first member behind `after` on.

    Raises:
        InvalidInput: It is an archive, and none that can be read.
    """
    if not is_archive(source.read(0, 4)) or source.read(128, 132) == b"DICM":
        if after == 0:
            yield _file(source, limits)
        return
    for member in members(source)[after:]:
        yield _member(source, member, limits)


def _too_long(limits: Limits) -> TooLarge:
    return TooLarge(f"a file may have at most {limits.longest} bytes")


def _file(source: DraftSource, limits: Limits) -> _Taken:
    if source.size > limits.longest:
        return _Taken(1, refused=_too_long(limits))
    if source.size > limits.held:
        return _Taken(1, pieces=portions(source, 0, source.size))
    return _Taken(1, source.read(0, source.size))


def _member(source: DraftSource, member: Member, limits: Limits) -> _Taken:
    if member.is_junk:
        return _Taken(member.place, is_junk=True)
    if member.size > limits.longest:
        return _Taken(member.place, refused=_too_long(limits))
    if member.size > limits.held:
        return _Taken(member.place, pieces=unpacked(source, member))
    try:
        return _Taken(member.place, unpack(source, member))
    except (BrokenMember, TooLarge) as error:
        return _Taken(member.place, refused=error)


def _batches(taken: Iterator[_Taken]) -> Iterator[list[_Taken]]:
    """Groups small enough for memory and large enough that one flush serves many; a long file is one by itself."""
    batch: list[_Taken] = []
    held = 0
    for one in taken:
        if batch and (one.pieces or len(batch) >= BATCH_FILES or held + len(one.data) > BATCH_BYTES):
            yield batch
            batch, held = [], 0
        batch.append(one)
        held += BATCH_BYTES if one.pieces else len(one.data)
        del one  # what was landed is let go of before the next is read
        if held >= BATCH_BYTES:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch


def _landed(report: Report, batch: Sequence[_Taken], draft: Draft, platform: Platform, limits: Limits) -> Report:
    """The report with one more batch in it, which is durable then."""
    landings: list[Landing] = []
    if batch[0].pieces is not None:
        try:
            landings = [_landed_long(batch[0].place, batch[0].pieces, draft, limits)]
        except BrokenMember as error:
            batch = [_Taken(batch[0].place, refused=error)]
    files = [one for one in batch if not one.is_junk and one.refused is None]
    if files and not landings:
        landings = ingest([Upload(one.data) for one in files], platform, by=draft.owner)
    outcomes = Counter(landing.outcome for landing in landings)
    touched = (landing.image_set for landing in landings if landing.image_set is not None)
    refused = [one for one in batch if one.refused is not None]
    report = replace(
        report,
        seen=report.seen + len(batch),
        ingested=report.ingested + outcomes["ingested"],
        duplicates=report.duplicates + outcomes["duplicate"],
        quarantined=report.quarantined + outcomes["quarantined"],
        refused=report.refused + len(refused),
        skipped=report.skipped + sum(one.is_junk for one in batch),
        image_sets=tuple(dict.fromkeys([*report.image_sets, *touched])),
    )
    for file, landing in zip(files, landings, strict=True):
        report = _told_of(report, file.place, landing)
    for one in refused:
        assert one.refused is not None
        report = _told(report, one.refused.code, str(one.refused), [one.place])
    return report


def _landed_long(place: int, pieces: Iterator[bytes], draft: Draft, limits: Limits) -> Landing:
    """Land a long file, which lies among the pieces of its draft meanwhile and goes with them at the latest.

    Raises:
        BrokenMember: It is not what the archive says.
    """
    assert limits.land is not None, "who holds less than may come says how the rest is landed"
    return limits.land(f"{FOLDER}{draft.id}/file-{place}", pieces, draft.owner)


def _told_of(report: Report, place: int, landing: Landing) -> Report:
    if landing.outcome != "quarantined":
        return report
    return _told(report, landing.reason or "invalid-input", landing.sentence or "", [place])


def _told(report: Report, code: str, sentence: str, places: list[int]) -> Report:
    """The report with one more file under its reason; the same reason stands once."""
    reasons = [dict(reason) for reason in report.reasons]
    for reason in reasons:
        if (reason["code"], reason["sentence"]) == (code, sentence):
            reason["count"] += 1
            reason["places"] = [*reason["places"], *places][:PLACES_TOLD]
            return replace(report, reasons=tuple(reasons))
    return replace(
        report, reasons=(*report.reasons, {"code": code, "sentence": sentence, "count": 1, "places": places})
    )
