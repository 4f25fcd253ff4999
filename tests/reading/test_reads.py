import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from radloop.core.errors import Conflict, InvalidInput, NotFound, SeparationOfDuties, Unavailable
from radloop.core.identity import OWNER, Principal
from radloop.core.images import Confidence, Finding, ImageSet, Seen, State
from radloop.core.ports import Change, Records
from radloop.core.reads import DISAGREEMENT, Read, Rule, labels_of, reads_of
from radloop.core.tables import DEFAULT_DATASTORE, IMAGE_SETS, LABELS, READS, image_set_of, put_image_set
from radloop.dicom.phantom import phantom_study
from radloop.reading.adjudication import adjudicate, queue
from radloop.reading.opinion import keep_prediction
from radloop.reading.panel import panel_of
from radloop.reading.projects import set_policy
from radloop.reading.reads import Outcome, add_read
from radloop.reading.truth import verify
from radloop.store.revisions import Revisions
from tests.api.installation import Installation

AT = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
PRESENT = Finding(True, "RLL", Confidence.HIGH, "as seen by Dr Doe", Seen(2, "lossless"))
ABSENT = Finding(False, None, Confidence.MEDIUM, "", Seen(1, "lossless"))


def clock() -> datetime:
    return AT


def who(name: str) -> Principal:
    return Principal(name, frozenset({"verifier"}))


def under(installation: Installation, policy: str, settle_at: float | None = None) -> None:
    set_policy(installation.platform.records, clock, DEFAULT_DATASTORE, policy=policy, settle_at=settle_at, by=OWNER)


def say(installation: Installation, identity: str, reader: str, finding: Finding, version: int = 1) -> Outcome:
    return add_read(installation.platform.records, clock, identity, finding, version=version, by=who(reader))


def told(installation: Installation, kind: str) -> list[dict[str, Any]]:
    events = installation.platform.bus.events(limit=1000)
    return [dict(one.event.detail) for one in events if one.event.detail_type == kind]


def now_of(installation: Installation, identity: str) -> ImageSet:
    return installation.images.get(identity)


# One read


def test_where_nobody_said_otherwise_one_read_is_ground_truth_and_both_are_kept(installation: Installation) -> None:
    identity = installation.land()
    outcome = say(installation, identity, "anna", PRESENT)
    truth = outcome.image_set.truth
    assert truth is not None
    assert (outcome.image_set.state, outcome.image_set.version) == (State.VERIFIED, 2)
    assert (truth.posterior, truth.reads, truth.rule, truth.by) == (None, 1, "single", "anna")
    (kept,) = reads_of(installation.platform.records, identity)
    assert (kept.finding, kept.reader, kept.version, kept.at) == (PRESENT, "anna", 1, AT)
    (label,) = labels_of(installation.platform.records, outcome.image_set)
    assert (label.rule, label.version, label.by) == (Rule.SINGLE, 2, "anna")
    (detail,) = told(installation, "ImageVerified")
    assert not {"reads", "posterior", "rule"} & detail.keys(), "as it ever was"


def test_verifying_is_a_read_like_any_other(installation: Installation) -> None:
    identity = installation.land()
    verify(installation.platform.records, clock, identity, PRESENT, version=1, by=who("anna"))
    assert [read.reader for read in reads_of(installation.platform.records, identity)] == ["anna"]
    assert installation.platform.records.count(LABELS) == 1


def test_the_same_read_sent_again_is_one_read_also_after_it_became_ground_truth(installation: Installation) -> None:
    identity = installation.land()
    first, again = (say(installation, identity, "anna", PRESENT) for _ in range(2))
    assert (again.is_repeat, again.read.id, again.image_set.version) == (True, first.read.id, 2)
    assert installation.platform.records.count(READS) == 1
    assert len(told(installation, "ImageVerified")) == 1


# Two that agree


def test_two_that_agree_make_ground_truth_and_one_alone_changes_nothing_that_can_be_seen(
    installation: Installation,
) -> None:
    under(installation, "double")
    identity = installation.land()
    first = say(installation, identity, "anna", PRESENT)
    assert (first.image_set.state, first.image_set.version, first.image_set.truth) == (State.INGESTED, 1, None)
    assert told(installation, "ImageVerified") == []
    second = say(installation, identity, "boris", replace(PRESENT, site="RUL", note=""))
    truth = second.image_set.truth
    assert truth is not None
    assert (truth.by, truth.finding.site, truth.reads, truth.rule) == ("boris", "RUL", 2, "agreement")
    assert truth.posterior is not None
    assert 0.8 < truth.posterior < 1.0
    (detail,) = told(installation, "ImageVerified")
    assert (detail["reads"], detail["rule"], detail["posterior"]) == (2, "agreement", truth.posterior)
    assert "Doe" not in str(installation.platform.bus.events(limit=1000)), "a note stays with the read"


def test_one_reader_alone_never_agrees_with_themselves(installation: Installation) -> None:
    under(installation, "double")
    identity = installation.land()
    for finding in (PRESENT, ABSENT, PRESENT, replace(PRESENT, note="again")):
        assert say(installation, identity, "anna", finding).image_set.state is State.INGESTED
    case = now_of(installation, identity).case
    assert case is not None
    assert [(vote.reader, vote.present) for vote in case.votes] == [("anna", True)], "the last word counts, once"
    assert len(reads_of(installation.platform.records, identity)) == 4, "and every word is kept"


def test_where_two_differ_more_read_until_one_answer_is_probable_enough(installation: Installation) -> None:
    under(installation, "double", settle_at=0.9)
    identity = installation.land()
    states = [
        say(installation, identity, f"reader-{place}", finding).image_set.state
        for place, finding in enumerate([PRESENT, ABSENT, PRESENT])
    ]
    assert states == [State.INGESTED] * 3, "three of whom two agree are not sure enough of readers nobody knows"
    after = say(installation, identity, "reader-3", PRESENT).image_set
    assert after.truth is not None
    assert (after.state, after.truth.rule, after.truth.reads) == (State.VERIFIED, "posterior", 4)
    assert (after.truth.posterior or 0) >= 0.9


def test_ground_truth_is_the_finding_of_a_reader_who_says_what_is_probable(installation: Installation) -> None:
    under(installation, "double", settle_at=0.6)
    identity = installation.land()
    sure, unsure = replace(PRESENT, confidence=Confidence.HIGH), replace(ABSENT, confidence=Confidence.LOW)
    say(installation, identity, "anna", sure)
    say(installation, identity, "boris", unsure)
    after = say(installation, identity, "clara", replace(unsure, seen=Seen(0, "lossless"))).image_set
    if after.truth is None:
        after = say(installation, identity, "dora", sure).image_set
    assert after.truth is not None
    assert after.truth.finding.present is ((after.truth.posterior or 0) >= 0.5)
    assert after.truth.by in {"anna", "dora"} if after.truth.finding.present else {"boris", "clara"}


def test_five_who_cannot_settle_it_ask_an_adjudicator(installation: Installation) -> None:
    under(installation, "double", settle_at=0.999)
    identity = installation.land()
    for place, finding in enumerate([PRESENT, ABSENT, PRESENT, ABSENT, PRESENT]):
        say(installation, identity, f"reader-{place}", finding)
    assert now_of(installation, identity).asked == "undecided"
    assert [one.id for one in queue(installation.platform.records).items] == [identity]


def test_whoever_was_not_asked_comes_too_late_once_it_is_settled(installation: Installation) -> None:
    under(installation, "double")
    identity = installation.land()
    say(installation, identity, "anna", PRESENT)
    say(installation, identity, "boris", PRESENT)
    for version in (1, 2):
        with pytest.raises(Conflict):
            say(installation, identity, "clara", PRESENT, version)


def test_a_read_of_images_that_changed_since_does_not_count(installation: Installation) -> None:
    under(installation, "double")
    study = phantom_study(7, consolidated=True, slices=4, size=64)
    identity = installation.land(replace(study, files=study.files[:3]))
    say(installation, identity, "anna", PRESENT)
    installation.land(study)
    image_set = now_of(installation, identity)
    assert image_set.version == 2, "a late slice made another version"
    after = say(installation, identity, "boris", PRESENT, version=2).image_set
    assert after.state is State.INGESTED, "anna has not seen the last slice"
    assert say(installation, identity, "anna", PRESENT, version=2).image_set.state is State.VERIFIED


# Changing one's mind


def test_a_changed_mind_counts_while_nobody_else_has_read(installation: Installation) -> None:
    under(installation, "double")
    identity = installation.land()
    say(installation, identity, "anna", PRESENT)
    assert say(installation, identity, "anna", ABSENT).read.is_blinded
    assert say(installation, identity, "boris", ABSENT).image_set.state is State.VERIFIED


def test_a_mind_changed_after_others_could_be_seen_is_kept_does_not_count_and_asks_an_adjudicator(
    installation: Installation,
) -> None:
    under(installation, "double")
    identity = installation.land()
    say(installation, identity, "anna", PRESENT)
    say(installation, identity, "boris", ABSENT)
    changed = say(installation, identity, "anna", ABSENT)
    assert not changed.read.is_blinded
    assert changed.image_set.state is State.INGESTED, "two that agree because one saw the other are no two"
    assert changed.image_set.asked == "changed-mind"
    (event,) = told(installation, "AdjudicationRequested")
    assert event == {"image_set": identity, "version": 1, "reason": "changed-mind", "reads": 2}


def test_what_a_model_said_can_be_seen_after_the_first_read_too(installation: Installation) -> None:
    under(installation, "double")
    identity = installation.land()
    predict(installation, identity, 0.9)
    assert say(installation, identity, "anna", ABSENT).read.is_blinded, "nobody is shown it before the first read"
    assert not say(installation, identity, "anna", PRESENT).read.is_blinded


def test_a_mind_changed_after_ground_truth_leaves_it_standing_and_asks_an_adjudicator(
    installation: Installation,
) -> None:
    identity = installation.land()
    say(installation, identity, "anna", PRESENT)
    after = say(installation, identity, "anna", ABSENT, version=2).image_set
    assert after.truth is not None
    assert (after.truth.finding.present, after.version, after.asked) == (True, 2, "changed-mind")
    assert len(told(installation, "ImageVerified")) == 1


def predict(installation: Installation, identity: str, probability: float) -> None:
    told = {"probability": probability, "finding": "present", "model_version": 1, "threshold": 0.5}
    keep_prediction(installation.platform.records, identity, told, version=1, by=OWNER)


# Adjudication


def disagreed(installation: Installation) -> str:
    under(installation, "double-adjudicated")
    identity = installation.land()
    say(installation, identity, "anna", PRESENT)
    say(installation, identity, "boris", ABSENT)
    return identity


def decide(installation: Installation, identity: str, by: str, finding: Finding = ABSENT, version: int = 1) -> ImageSet:
    return adjudicate(
        installation.platform.records, clock, identity, finding, version=version, reason="artefact", by=who(by)
    )


def test_where_two_differ_an_adjudicator_decides(installation: Installation) -> None:
    identity = disagreed(installation)
    assert now_of(installation, identity).asked == DISAGREEMENT
    assert [one.id for one in queue(installation.platform.records).items] == [identity]
    after = decide(installation, identity, "clara")
    truth = after.truth
    assert truth is not None
    assert (after.state, truth.by, truth.rule, truth.reads) == (State.VERIFIED, "clara", "adjudication", 3)
    assert (truth.posterior or 1) < 0.1, "an adjudicator is nearly always right"
    (detail,) = told(installation, "ImageVerified")
    assert (detail["finding"], detail["rule"], detail["reads"]) == ("absent", "adjudication", 3)
    assert queue(installation.platform.records).items == ()
    assert (labels_of(installation.platform.records, after)[0].reason, after.asked) == ("artefact", None)


def test_whoever_has_read_it_cannot_adjudicate_it(installation: Installation) -> None:
    identity = disagreed(installation)
    with pytest.raises(SeparationOfDuties):
        decide(installation, identity, "anna")
    assert now_of(installation, identity).state is State.INGESTED


def test_what_nobody_asks_about_cannot_be_adjudicated(installation: Installation) -> None:
    under(installation, "double-adjudicated")
    identity = installation.land()
    with pytest.raises(Conflict, match="nobody asks"):
        decide(installation, identity, "clara")
    with pytest.raises(NotFound):
        decide(installation, "0" * 32, "clara")
    with pytest.raises(InvalidInput, match="reason"):
        adjudicate(installation.platform.records, clock, identity, ABSENT, version=1, reason="so", by=who("c"))


def test_the_same_adjudication_sent_again_is_one(installation: Installation) -> None:
    identity = disagreed(installation)
    first, again = (decide(installation, identity, "clara") for _ in range(2))
    assert (first.version, again.version) == (2, 2)
    assert len(told(installation, "ImageVerified")) == 1


def test_a_revision_is_a_new_version_with_its_own_event_and_the_label_before_stays(
    installation: Installation,
) -> None:
    identity = disagreed(installation)
    decide(installation, identity, "clara")
    after = decide(installation, identity, "dora", PRESENT, version=2)
    assert (after.version, after.truth and after.truth.rule) == (3, "revision")
    assert [detail["version"] for detail in told(installation, "ImageVerified")] == [2, 3]
    history = labels_of(installation.platform.records, after)
    assert [(label.version, label.finding.present, str(label.rule), label.by) for label in history] == [
        (2, False, "adjudication", "clara"),
        (3, True, "revision", "dora"),
    ]


def test_the_label_of_one_read_can_be_revised_too(installation: Installation) -> None:
    identity = installation.land()
    say(installation, identity, "anna", PRESENT)
    after = decide(installation, identity, "anna", ABSENT, version=2)
    assert after.truth is not None
    assert (after.version, after.truth.finding.present) == (3, False)


def test_what_was_verified_before_labels_were_kept_has_a_history_of_one(installation: Installation) -> None:
    identity = installation.land()
    say(installation, identity, "anna", PRESENT)
    records = installation.platform.records
    row = records.get(IMAGE_SETS, identity)
    assert row is not None
    old = {**row.document, "truth": {k: v for k, v in row.document["truth"].items() if k not in {"reads", "rule"}}}
    del old["case"]
    before = image_set_of(row._replace(document=old))
    (label,) = labels_of(_Without(), before)
    assert (label.rule, label.by, label.version) == (Rule.SINGLE, "anna", 2)


class _Without:
    def find(self, *_: object) -> list[object]:
        return []


def test_the_queue_is_paged_with_what_waits_longest_first(installation: Installation) -> None:
    identity = disagreed(installation)
    records = installation.platform.records
    first = now_of(installation, identity)
    case = first.case
    assert case is not None
    names = [f"{place:032d}" for place in range(7)]
    for place, name in enumerate(names):
        asked_at = (case.asked_at or 0) + 10 - place // 2  # two at a time
        copy = replace(first, id=name, case=replace(case, asked_at=asked_at))
        records.commit(Change(writes=[put_image_set(copy, expected=0)]))
    seen, after = [], None
    while True:
        page = queue(records, limit=3, after=after)
        seen += [one.id for one in page.items]
        after = page.next
        if after is None:
            break
    assert (len(seen), len(set(seen)), seen[0], page.total) == (8, 8, identity, 8)
    waits = [now_of(installation, one).case for one in seen]
    assert [case.asked_at for case in waits if case] == sorted(case.asked_at or 0 for case in waits if case)
    assert queue(records, patients=frozenset({"nobody"})).total == 0
    with pytest.raises(InvalidInput):
        queue(records, after="x")
    with pytest.raises(InvalidInput):
        queue(records, limit=0)


# At the same moment, and when something breaks


def at_once(works: Sequence[Any]) -> list[object]:
    """What each gives or raises, all begun at the same moment."""
    ready, results = threading.Barrier(len(works)), [None] * len(works)

    def run(place: int) -> None:
        ready.wait()
        try:
            results[place] = works[place]()
        except Exception as error:  # noqa: BLE001 — that is what is looked at
            results[place] = error

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.mark.parametrize("turn", range(3))
def test_two_who_read_at_the_same_moment_are_both_heard_and_settle_it_once(
    installation: Installation, turn: int
) -> None:
    under(installation, "double")
    identity = installation.land()
    found = at_once([lambda name=name: say(installation, identity, name, PRESENT) for name in ("anna", "boris")])
    assert all(isinstance(one, Outcome) for one in found), found
    assert now_of(installation, identity).state is State.VERIFIED
    assert len(told(installation, "ImageVerified")) == 1
    assert {read.reader for read in reads_of(installation.platform.records, identity)} == {"anna", "boris"}


def test_the_same_read_sent_twice_at_the_same_moment_is_one_read(installation: Installation) -> None:
    under(installation, "double")
    identity = installation.land()
    found = at_once([lambda: say(installation, identity, "anna", PRESENT)] * 4)
    assert len({one.read.id for one in found if isinstance(one, Outcome)}) == 1
    assert sum(one.is_repeat for one in found if isinstance(one, Outcome)) == 3
    assert installation.platform.records.count(READS) == 1


def test_of_many_at_the_same_moment_under_one_read_one_is_ground_truth(installation: Installation) -> None:
    identity = installation.land()
    found = at_once([lambda name=name: say(installation, identity, name, PRESENT) for name in "abcd"])
    assert sum(isinstance(one, Outcome) for one in found) == 1
    assert sum(isinstance(one, Conflict) for one in found) == 3
    assert installation.platform.records.count(READS) == 1


class Breaking:
    """Records whose commit breaks off, before or after it became true."""

    def __init__(self, records: Records, *, after: bool) -> None:
        self._records = records
        self._after = after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._records, name)

    def commit(self, change: Change) -> None:
        if self._after:
            self._records.commit(change)
        raise Unavailable("power cut")


@pytest.mark.parametrize("after", [False, True])
def test_a_cut_leaves_the_read_and_all_that_follows_from_it_or_nothing(installation: Installation, after: bool) -> None:
    under(installation, "double")
    identity = installation.land()
    say(installation, identity, "anna", PRESENT)
    panel = panel_of(installation.platform.records, DEFAULT_DATASTORE)
    cut = Breaking(installation.platform.records, after=after)
    with pytest.raises(Unavailable):
        add_read(cut, clock, identity, PRESENT, version=1, by=who("boris"))
    whole = (
        now_of(installation, identity).state is State.VERIFIED,
        len(reads_of(installation.platform.records, identity)) == 2,
        len(told(installation, "ImageVerified")) == 1,
        installation.platform.records.count(LABELS) == 1,
        panel_of(installation.platform.records, DEFAULT_DATASTORE) != panel,
    )
    assert set(whole) == {after}
    assert say(installation, identity, "boris", PRESENT).image_set.state is State.VERIFIED
    assert len(told(installation, "ImageVerified")) == 1, "sent again, it is done once"


def test_a_label_and_a_read_cannot_be_written_over(installation: Installation) -> None:
    identity = installation.land()
    outcome = say(installation, identity, "anna", PRESENT)
    records = installation.platform.records
    from radloop.core.reads import put_label, put_read

    (label,) = labels_of(records, outcome.image_set)
    for write in (put_label(label, DEFAULT_DATASTORE), put_read(outcome.read, DEFAULT_DATASTORE)):
        with pytest.raises(Conflict):
            records.commit(Change(writes=[write]))


def test_what_is_deleted_for_good_takes_its_reads_and_labels_along(installation: Installation) -> None:
    identity = installation.land()
    say(installation, identity, "anna", PRESENT)
    platform = installation.platform
    Revisions(platform.blobs, platform.records, platform.clock, installation.images).delete(identity, by=OWNER)
    assert installation.platform.records.count(READS) == installation.platform.records.count(LABELS) == 0


def test_reads_of_one_reader_carry_on_counting(installation: Installation) -> None:
    under(installation, "double")
    identity = installation.land()
    ids = [say(installation, identity, "anna", finding).read.id for finding in (PRESENT, ABSENT, PRESENT)]
    assert len(set(ids)) == 3, "to come back to the first word is another read"
    kept: list[Read] = reads_of(installation.platform.records, identity)
    assert [read.finding.present for read in kept] == [True, False, True]
