from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radloop.core.cases import Case, Vote
from radloop.core.errors import InvalidInput
from radloop.core.identity import OWNER, derived_id
from radloop.core.images import Confidence, Finding, ImageSet, Seen, State
from radloop.core.ports import Change
from radloop.core.tables import put_image_set
from radloop.core.worth import gain, order_of, worth, worth_of
from radloop.reading.blinding import NOBODY, Eyes
from radloop.reading.reads import add_read
from radloop.reading.tokens import place_of, place_token
from radloop.reading.worklist import by_worth
from tests.api.installation import Installation, now

PRESENT = Finding(True, "RLL", Confidence.HIGH, "", Seen(0, "lossless"))
probabilities = st.floats(0.001, 0.999)


@given(probabilities)
def test_a_read_tells_most_where_nothing_is_known_and_as_much_either_way(probability: float) -> None:
    assert 0 <= gain(probability) <= 1
    assert gain(probability) == pytest.approx(gain(1 - probability), abs=1e-9)
    assert gain(probability) <= gain((probability + 0.5) / 2) + 1e-12


@given(posterior=probabilities, odds=st.floats(-6, 6))
def test_a_model_that_parts_from_readers_raises_the_worth_and_one_that_agrees_lowers_it(
    posterior: float, odds: float
) -> None:
    alone = worth(posterior, reads=2, disagree=False).value
    with_model = worth(posterior, reads=2, disagree=False, model_odds=odds).value
    if (posterior > 0.5) == (odds > 0):
        assert with_model <= alone + 1e-9
    elif abs(odds) < 0.1:
        assert with_model >= alone - 1e-9


def test_every_reason_has_its_word() -> None:
    assert worth(0.5, reads=2, disagree=True, model_odds=0.0, is_drifted=True).why == "disagreement"
    assert worth(None, reads=0, disagree=False, model_odds=0.0, is_drifted=True).why == "drifted"
    assert worth(None, reads=0, disagree=False, model_odds=0.3).why == "uncertain"
    assert worth(0.8, reads=1, disagree=False, model_odds=4.0).why == "second-read"
    assert worth(None, reads=0, disagree=False).why == "waiting"


def test_what_a_model_has_not_seen_the_like_of_comes_first_and_its_word_does_not_count() -> None:
    usual = worth(None, reads=0, disagree=False)
    odd, sure = (worth(None, reads=0, disagree=False, model_odds=5.0, is_drifted=drifted) for drifted in (True, False))
    assert odd.value > usual.value > sure.value


def image_set(installation: Installation) -> ImageSet:
    return installation.images.get(installation.land())


def test_only_what_waits_for_a_reader_has_a_worth(installation: Installation) -> None:
    waiting = image_set(installation)
    assert worth_of(waiting) == (1.0, "waiting")
    asked = replace(waiting, case=Case(asked="disagreement", asked_at=1.0, asked_of=1))
    ai = replace(waiting, attributes={**waiting.attributes, "ManufacturerModelName": "radloop AI result"})
    for other in (
        replace(waiting, is_closed=False),
        replace(waiting, frames=0),
        replace(waiting, state=State.VERIFIED),
        asked,
        ai,
    ):
        assert worth_of(other) is None


def test_predictions_of_any_shape_are_taken(installation: Installation) -> None:
    waiting = image_set(installation)
    told = {"probability": 0.2, "finding": "absent", "model_version": 1}
    assert worth_of(replace(waiting, prediction=told)).why == "waiting"
    assert worth_of(replace(waiting, prediction={**told, "threshold": 0.2})).why == "uncertain"
    refused = {"probability": None, "finding": None, "refused": "out-of-distribution", "ood": {"outside": True}}
    assert worth_of(replace(waiting, prediction=refused)).why == "drifted"


def test_what_waits_long_comes_forward_slowly(installation: Installation) -> None:
    waiting = image_set(installation)
    older = replace(waiting, created_at=waiting.created_at - timedelta(days=1))
    old = replace(waiting, created_at=waiting.created_at - timedelta(days=365))
    first, second, third = (order_of(one) or 0 for one in (waiting, older, old))
    assert 0 < second - first < 0.002
    assert third - first == pytest.approx(0.315, abs=0.001)


def fill(installation: Installation, posteriors: list[float | None]) -> list[str]:
    """Image sets with a read each of these, as Anna made them."""
    first = image_set(installation)
    names = []
    for place, posterior in enumerate(posteriors):
        vote = Vote("anna", 1, True, "high", "r")
        case = None if posterior is None else Case((vote,), posterior)
        created = datetime(2026, 1, 1, tzinfo=UTC)
        copy = replace(first, id=derived_id("filled", str(place)), case=case, created_at=created)
        installation.platform.records.commit(Change(writes=[put_image_set(copy, expected=0)]))
        names.append(copy.id)
    return [first.id, *names]


def paged(installation: Installation, eyes: Eyes, limit: int) -> list[str]:
    seen: list[str] = []
    after = None
    while True:
        page = by_worth(installation.platform.records, eyes, limit=limit, after=after)
        assert len(page.items) <= limit
        seen += [one.id for one in page.items]
        after = page.next
        if after is None:
            return seen


def test_the_most_worthy_comes_first_and_pages_leave_nothing_out(installation: Installation) -> None:
    names = fill(installation, [0.9, 0.99, 0.5, 0.7, 0.9, 0.9, 0.9, None])
    for limit in (1, 2, 3, 8, 9, 50):
        seen = paged(installation, NOBODY, limit)
        assert (len(seen), set(seen)) == (len(names), set(names)), f"pages of {limit}"
    order = {name: place for place, name in enumerate(paged(installation, NOBODY, 3))}
    half, unread, some, sure = names[3], names[8], names[4], names[2]
    assert max(order[half], order[unread]) < order[some] < order[names[1]] < order[sure]


def test_what_one_has_read_is_left_out_of_what_one_is_to_read(installation: Installation) -> None:
    names = fill(installation, [0.9, None, 0.5, None, 0.7, 0.9, None])
    unread = {names[0], names[2], names[4], names[7]}
    for limit in (1, 2, 3, 50):
        assert set(paged(installation, Eyes("anna"), limit)) == unread
        assert set(paged(installation, Eyes("boris"), limit)) == set(names)


def test_the_order_follows_reads_at_once(installation: Installation) -> None:
    names = fill(installation, [None])
    records = installation.platform.records
    add_read(records, now, names[1], PRESENT, version=1, by=OWNER)
    assert [one.id for one in by_worth(records, NOBODY).items] == [names[0]], "what is settled waits for nobody"


@given(last=st.floats(0, 1e6), skipped=st.integers(1, 1000))
def test_a_token_tells_its_place(last: float, skipped: int) -> None:
    assert place_of(place_token(last, skipped)) == (last, skipped)


@given(st.text(max_size=30) | st.binary(max_size=20).map(lambda data: data.hex()))
def test_a_token_that_is_not_ours_is_refused(token: str) -> None:
    with pytest.raises(InvalidInput, match="token"):
        place_of(token)


@pytest.mark.parametrize("limit", [0, 501])
def test_a_limit_out_of_range_is_refused(installation: Installation, limit: int) -> None:
    with pytest.raises(InvalidInput, match="limit"):
        by_worth(installation.platform.records, NOBODY, limit=limit)
