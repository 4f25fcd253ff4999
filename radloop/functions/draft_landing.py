"""A draft that is complete is landed: one DICOM file, or the members of a zip one by one."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from radloop.core.errors import BrokenMember, InvalidInput, NotFound, TooLarge
from radloop.core.platform import Platform
from radloop.core.ports import Landing, Upload
from radloop.functions.image_ingestion import ingest
from radloop.store.archives import LONGEST_MEMBER, Member, is_archive, members, unpack
from radloop.store.drafts import DONE, FAILED, LANDING, Draft, Drafts, DraftSource, Report

BATCH_FILES = 64
BATCH_BYTES = 64 << 20
PLACES_TOLD = 20
GAVE_UP = "gave-up"


@dataclass(frozen=True, slots=True)
class _Taken:
    """A member on its way: its bytes, or why there are none."""

    place: int
    data: bytes = b""
    refused: InvalidInput | None = None
    is_junk: bool = False


def drafts_of(platform: Platform) -> Drafts:
    """The drafts of an installation."""
    return Drafts(platform.blobs, platform.records, platform.keys, platform.clock, platform.settings)


def land_draft(
    identity: str,
    platform: Platform,
    *,
    longest: int = LONGEST_MEMBER,
    is_late: Callable[[], bool] = lambda: False,
) -> None:
    """Land a complete draft in the name of its owner, and tell in its report what became of it.

    A repeat goes on behind the last batch that was reported; of the batch that a crash interrupted, what had landed
    is told of as known already. What cannot be read at all fails with its reason and is not tried again.

    Args:
        identity: Of the draft.
        platform: Where it lies and lands.
        longest: Bytes of one file at most, which lies in the memory meanwhile; a longer one is refused.
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
        for batch in _batches(_taken(source, after=report.seen, longest=longest)):
            if is_late() and report.seen > seen_before:
                drafts.go_on(draft)
                return
            report = _landed(report, batch, draft, platform)
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


def _taken(source: DraftSource, *, after: int, longest: int) -> Iterator[_Taken]:
    """What is in a draft, from the first member behind `after` on.

    Raises:
        InvalidInput: It is an archive, and none that can be read.
    """
    if not is_archive(source.read(0, 4)) or source.read(128, 132) == b"DICM":
        if after == 0:
            is_too_long = source.size > longest
            yield _Taken(1, refused=_too_long(longest)) if is_too_long else _Taken(1, source.read(0, source.size))
        return
    for member in members(source)[after:]:
        yield _member(source, member, longest)


def _too_long(longest: int) -> TooLarge:
    return TooLarge(f"a file may have at most {longest} bytes")


def _member(source: DraftSource, member: Member, longest: int) -> _Taken:
    if member.is_junk:
        return _Taken(member.place, is_junk=True)
    if member.size > longest:
        return _Taken(member.place, refused=_too_long(longest))
    try:
        return _Taken(member.place, unpack(source, member))
    except (BrokenMember, TooLarge) as error:
        return _Taken(member.place, refused=error)


def _batches(taken: Iterator[_Taken]) -> Iterator[list[_Taken]]:
    """Groups small enough for memory and large enough that one flush serves many."""
    batch: list[_Taken] = []
    held = 0
    for one in taken:
        if batch and (len(batch) >= BATCH_FILES or held + len(one.data) > BATCH_BYTES):
            yield batch
            batch, held = [], 0
        batch.append(one)
        held += len(one.data)
        del one  # what was landed is let go of before the next is read
        if held >= BATCH_BYTES:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch


def _landed(report: Report, batch: Sequence[_Taken], draft: Draft, platform: Platform) -> Report:
    """The report with one more batch in it, which is durable then."""
    files = [one for one in batch if not one.is_junk and one.refused is None]
    landings = ingest([Upload(one.data) for one in files], platform, by=draft.owner) if files else []
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
