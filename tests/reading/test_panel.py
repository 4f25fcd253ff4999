from datetime import UTC, datetime

import numpy as np
import pytest

from radloop.core.cases import Case, Vote
from radloop.core.identity import OWNER, Principal
from radloop.core.images import Confidence, Finding, Seen
from radloop.core.ports import Change
from radloop.core.reads import Read
from radloop.core.tables import DEFAULT_DATASTORE
from radloop.reading.panel import Panel, adjudicated, fit, panel_of, put_panel, refit, standing
from radloop.reading.projects import set_policy
from radloop.reading.reads import add_read
from tests.api.installation import OTHER, Installation, now

AT = datetime(2026, 5, 1, tzinfo=UTC)


def made(seed: int, items: int, skill: list[float]) -> tuple[np.ndarray, list[Read]]:
    rng = np.random.default_rng(seed)
    truth = rng.random(items) < 0.4
    reads = []
    for item in range(items):
        for reader, rate in enumerate(skill):
            present = bool(truth[item] if rng.random() < rate else not truth[item])
            finding = Finding(present, None, Confidence.MEDIUM, "", Seen(0, "lossless"))
            reads.append(Read(f"{item}-{reader}", f"i{item}", 1, f"r{reader}", finding, AT))
    return truth, reads


def one_by_one(reads: list[Read]) -> tuple[Panel, dict[str, Case]]:
    """The panel and the cases as they become with one read after the other, never fitted anew."""
    panel, cases = Panel(), {}
    for read in reads:
        held = cases.get(read.image_set, Case())
        vote = Vote(read.reader, 1, read.finding.present, str(read.finding.confidence), read.id)
        after = held.with_vote(vote)
        posterior = panel.posterior(after.votes)
        panel = panel.moved(held.votes, held.posterior, after.votes, posterior)
        cases[read.image_set] = Case(after.votes, posterior)
    return panel, cases


def test_counting_on_with_each_read_comes_near_to_fitting_all_of_them() -> None:
    truth, reads = made(4, 400, [0.95, 0.85, 0.75, 0.65])
    counted, cases = one_by_one(reads)
    fitted = fit(reads, {})
    for reader, quality in fitted.quality().items():
        assert counted.quality()[reader].sensitivity == pytest.approx(quality.sensitivity, abs=0.06)
        assert counted.quality()[reader].specificity == pytest.approx(quality.specificity, abs=0.06)
    labels = np.array([(cases[f"i{item}"].posterior or 0) > 0.5 for item in range(400)])
    assert np.mean(labels != truth) < 0.12
    assert counted.reads == len(reads)


def test_what_is_counted_is_what_was_read() -> None:
    _, reads = made(9, 50, [0.9, 0.8])
    for panel in (one_by_one(reads)[0], fit(reads, {})):
        assert panel.present + panel.absent == pytest.approx(50)
        assert [sum(tally) for tally in panel.tallies.values()] == pytest.approx([50, 50])


def test_a_vote_that_is_taken_back_leaves_no_trace() -> None:
    panel = one_by_one(made(1, 30, [0.9, 0.8])[1])[0]
    vote = Vote("r0", 1, True, "medium", "x")
    there = panel.moved((), None, (vote,), 0.8)
    changed = there.moved((vote,), 0.8, (Vote("r0", 1, False, "medium", "y"),), 0.3)
    back = changed.moved((Vote("r0", 1, False, "medium", "y"),), 0.3, (vote,), 0.8)
    assert back.tallies["r0"] == pytest.approx(there.tallies["r0"])
    assert back.present == pytest.approx(there.present)


def test_what_an_adjudicator_decided_teaches_who_is_right() -> None:
    _, reads = made(2, 60, [0.9, 0.9])
    split = {read.image_set for read in reads if read.reader == "r0"}
    said = {(read.image_set, read.reader): read.finding.present for read in reads}
    open_ones = [item for item in split if said[item, "r0"] != said[item, "r1"]]
    believed = fit(reads, {item: said[item, "r0"] for item in open_ones}).quality()
    before = fit(reads, {}).quality()
    assert believed["r0"].sensitivity > before["r0"].sensitivity
    assert (
        believed["r1"].specificity < before["r1"].specificity or believed["r1"].sensitivity < before["r1"].sensitivity
    )


def test_reads_are_kept_fitted_as_they_grow_and_only_those_that_count(installation: Installation) -> None:
    records = installation.platform.records
    set_policy(records, now, DEFAULT_DATASTORE, policy="double", settle_at=0.999, by=OWNER)
    identities = [installation.land(), installation.land(OTHER)]
    present = Finding(True, None, Confidence.MEDIUM, "", Seen(0, "lossless"))
    absent = Finding(False, None, Confidence.MEDIUM, "", Seen(0, "lossless"))
    for place in range(5):
        reader = Principal(f"reader-{place}", frozenset())
        for identity in identities:
            add_read(records, now, identity, present if place % 2 else absent, version=1, by=reader)
    panel = panel_of(records, DEFAULT_DATASTORE)
    assert (panel.reads, panel.fitted) == (10, 10)
    changed = Principal("reader-0", frozenset())
    add_read(records, now, identities[0], present, version=1, by=changed)
    counted = standing(records, DEFAULT_DATASTORE)
    assert len(counted) == 10, "a changed mind that saw the others does not count"
    assert adjudicated(records, DEFAULT_DATASTORE) == {}
    assert set(panel.quality()) == {f"reader-{place}" for place in range(5)}


def test_a_fit_that_somebody_overtook_is_dropped(installation: Installation) -> None:
    records = installation.platform.records
    records.commit(Change(writes=[put_panel(Panel(reads=8), DEFAULT_DATASTORE, expected=0)]))

    class Overtaken:
        def __getattr__(self, name: str) -> object:
            return getattr(records, name)

        def commit(self, change: Change) -> None:
            records.commit(Change(writes=[put_panel(Panel(reads=9), DEFAULT_DATASTORE, expected=1)]))
            records.commit(change)

    refit(Overtaken(), DEFAULT_DATASTORE)
    assert panel_of(records, DEFAULT_DATASTORE).reads == 9
