from dataclasses import replace
from datetime import UTC, datetime
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radloop.core.errors import Conflict, InvalidInput, NotFound
from radloop.core.identity import Principal
from radloop.core.images import Confidence, Coverage, Finding, Seen, State
from radloop.core.ports import Change
from radloop.core.tables import IMAGE_SETS, image_set_of, put_image_set
from radloop.reading.truth import verify
from tests.api.installation import Installation

READER = Principal("reader-1", frozenset({"verifier"}))
AT = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
FINDING = Finding(True, "RLL", Confidence.HIGH, "as seen by Dr Doe", Seen(2, "lossless"))


def clock() -> datetime:
    return AT


def told(installation: Installation) -> list[str]:
    return [one.event.detail_type for one in installation.platform.bus.events()]


def test_truth_event_and_audit_become_true_together(installation: Installation) -> None:
    identity = installation.land()
    records = installation.platform.records
    verified = verify(records, clock, identity, FINDING, version=1, by=READER)
    assert (verified.version, verified.state) == (2, State.VERIFIED)
    assert installation.images.get(identity) == verified
    assert verified.truth is not None
    assert (verified.truth.finding, verified.truth.by, verified.truth.at) == (FINDING, "reader-1", AT)
    last = installation.platform.bus.events(newest_first=True, limit=1)[0].event
    assert (last.detail_type, last.trace) == ("ImageVerified", identity)
    assert last.detail == {
        "image_set": identity,
        "version": 2,
        "finding": "present",
        "site": "RLL",
        "confidence": "high",
        "verified_by": "reader-1",
    }, "the note stays with the image set"
    audit = installation.database.read().execute("SELECT principal, action, subject FROM audit ORDER BY seq").fetchall()
    assert audit[-1] == ("reader-1", "verify", identity)


def test_a_reader_who_saw_another_version_is_refused_and_nothing_changes(installation: Installation) -> None:
    identity = installation.land()
    before, events = installation.images.get(identity), told(installation)
    with pytest.raises(Conflict, match="version 1"):
        verify(installation.platform.records, clock, identity, FINDING, version=2, by=READER)
    assert (installation.images.get(identity), told(installation)) == (before, events)


def test_only_one_of_two_readers_is_heard(installation: Installation) -> None:
    identity = installation.land()
    verify(installation.platform.records, clock, identity, FINDING, version=1, by=READER)
    for version in (1, 2):
        with pytest.raises(Conflict):
            verify(installation.platform.records, clock, identity, FINDING, version=version, by=READER)
    assert told(installation).count("ImageVerified") == 1


def test_an_open_image_set_a_missing_one_and_a_missing_frame_cannot_be_verified(installation: Installation) -> None:
    identity = installation.land(closed=False)
    records = installation.platform.records
    with pytest.raises(Conflict, match="still arriving"):
        verify(records, clock, identity, FINDING, version=1, by=READER)
    with pytest.raises(NotFound):
        verify(records, clock, "0" * 32, FINDING, version=1, by=READER)
    installation.images.complete(identity, by=READER)
    absent = Finding(False, None, Confidence.LOW, "", Seen(4, "lossless"))
    with pytest.raises(InvalidInput, match="frame 4"):
        verify(records, clock, identity, absent, version=1, by=READER)


def test_a_change_between_reading_and_writing_is_a_conflict(installation: Installation) -> None:
    identity = installation.land()
    records = installation.platform.records

    def meanwhile() -> datetime:
        row = records.get(IMAGE_SETS, identity)
        assert row is not None
        records.commit(Change(writes=[put_image_set(image_set_of(row), expected=row.revision)]))
        return AT

    with pytest.raises(Conflict):
        verify(records, meanwhile, identity, FINDING, version=1, by=READER)
    assert installation.images.get(identity).state is State.INGESTED


def test_the_event_counts_what_the_reader_was_shown_of_the_frames(installation: Installation) -> None:
    identity = installation.land()
    seen = Seen(2, "lossless", Coverage("n2fp", preview_ms=40, full_ms=900))
    finding = replace(FINDING, seen=seen)
    verify(installation.platform.records, clock, identity, finding, version=1, by=READER)
    truth = installation.images.get(identity).truth
    assert truth is not None
    assert truth.finding.seen == seen
    detail = installation.platform.bus.events(newest_first=True, limit=1)[0].event.detail
    assert (detail["frames_full"], detail["frames_preview"], detail["frames_never"]) == (1, 1, 2)


def test_a_finding_kept_before_it_was_told_what_was_shown_still_reads(installation: Installation) -> None:
    identity = installation.land()
    verify(installation.platform.records, clock, identity, FINDING, version=1, by=READER)
    row = installation.platform.records.get(IMAGE_SETS, identity)
    assert row is not None
    assert row.document["truth"]["seen"] == {"frame": 2, "quality": "lossless"}, "as it was written before"
    truth = image_set_of(row).truth
    assert truth is not None
    assert truth.finding.seen.coverage is None


@pytest.mark.parametrize("slices", ["f3", "f5", "p4", "f2pf"])
def test_what_was_shown_must_fit_the_frames_and_the_one_in_view(installation: Installation, slices: str) -> None:
    identity = installation.land()
    finding = replace(FINDING, seen=Seen(2, "lossless", Coverage(slices)))
    with pytest.raises(InvalidInput, match="slices"):
        verify(installation.platform.records, clock, identity, finding, version=1, by=READER)


@pytest.mark.parametrize("slices", ["", "x", "f0", "f1", "f01", "2f", "f 2", "f2\n", "f1000000000", "f" * 50_000])
def test_what_is_no_run_of_qualities_is_refused(slices: str) -> None:
    with pytest.raises(InvalidInput, match="slices"):
        Coverage(slices)


@given(st.text("npf", min_size=1, max_size=300))
def test_runs_tell_the_very_frames_they_were_made_of(frames: str) -> None:
    runs = "".join(f"{letter}{n if (n := len(list(group))) > 1 else ''}" for letter, group in groupby(frames))
    coverage = Coverage(runs)
    assert "".join(coverage.at(place) for place in range(len(frames) + 1)) == frames
    counted = (coverage.never, coverage.preview, coverage.full)
    assert counted == (frames.count("n"), frames.count("p"), frames.count("f"))
