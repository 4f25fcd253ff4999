from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radloop.core.errors import InvalidInput
from radloop.core.identity import OWNER, derived_id
from radloop.core.images import Confidence, Finding, Seen, State
from radloop.core.ports import Change
from radloop.core.tables import put_image_set
from radloop.reading.truth import verify
from radloop.reading.worklist import worklist
from tests.api.installation import Installation, now


def fill(installation: Installation, count: int) -> list[str]:
    """Image sets made from one, in the order they came."""
    first = installation.images.get(installation.land())
    copies = [replace(first, id=derived_id("copy", str(number))) for number in range(1, count)]
    for copy in copies:
        installation.platform.records.commit(Change(writes=[put_image_set(copy, expected=0)]))
    return [first.id, *(copy.id for copy in copies)]


def test_pages_follow_each_other_newest_first_without_gap_or_double(installation: Installation) -> None:
    identities = fill(installation, 11)
    records = installation.platform.records
    seen, after = [], None
    while True:
        page = worklist(records, limit=4, after=after)
        seen += [image_set.id for image_set in page.items]
        after = page.next
        if after is None:
            break
    assert seen == identities[::-1]


def test_a_page_that_just_fits_is_the_last(installation: Installation) -> None:
    fill(installation, 4)
    assert worklist(installation.platform.records, limit=4).next is None
    assert worklist(installation.platform.records, limit=3).next is not None


def test_what_comes_in_while_one_pages_does_not_move_the_pages(installation: Installation) -> None:
    identities = fill(installation, 4)
    first = worklist(installation.platform.records, limit=2)
    newer = replace(installation.images.get(identities[0]), id=derived_id("newer"))
    installation.platform.records.commit(Change(writes=[put_image_set(newer, expected=0)]))
    second = worklist(installation.platform.records, limit=2, after=first.next)
    assert [image_set.id for image_set in second.items] == identities[1::-1]


def test_what_has_no_images_is_not_waiting_to_be_verified(installation: Installation) -> None:
    identities = fill(installation, 3)
    records = installation.platform.records
    report = replace(installation.images.get(identities[0]), id=derived_id("report"), frames=0)
    records.commit(Change(writes=[put_image_set(report, expected=0)]))
    waiting = worklist(records, state=State.INGESTED, with_images=True)
    assert [image_set.id for image_set in waiting.items] == identities[::-1]
    assert (waiting.counts[State.INGESTED], waiting.reports) == (4, 1)
    for everything in (worklist(records, state=State.INGESTED), worklist(records), worklist(records, with_images=True)):
        assert [image_set.id for image_set in everything.items] == [report.id, *identities[::-1]]
    assert worklist(records, patients=frozenset()).reports == 0


def test_states_are_counted_whatever_is_shown(installation: Installation) -> None:
    identities = fill(installation, 3)
    finding = Finding(False, None, Confidence.LOW, "", Seen(0, "lossless"))
    verify(installation.platform.records, now, identities[1], finding, version=1, by=OWNER)
    page = worklist(installation.platform.records, state=State.VERIFIED)
    assert [image_set.id for image_set in page.items] == [identities[1]]
    assert page.counts == {State.INGESTED: 2, State.VERIFIED: 1, State.REJECTED: 0}


def test_an_image_set_that_is_still_arriving_is_listed_and_says_so(installation: Installation) -> None:
    identity = installation.land(closed=False)
    (shown,) = worklist(installation.platform.records).items
    assert (shown.id, shown.is_closed) == (identity, False)


@given(token=st.text(max_size=20) | st.binary(max_size=20).map(lambda data: data.hex()))
def test_a_token_that_is_not_ours_is_refused(token: str) -> None:
    class Empty:
        def search(self, *arguments: object, **options: object) -> list[object]:
            raise AssertionError("looked up under a token that is not ours")

    with pytest.raises(InvalidInput, match="token"):
        worklist(Empty(), after=token)


def test_a_limit_out_of_range_is_refused(installation: Installation) -> None:
    for limit in (0, -1, 501):
        with pytest.raises(InvalidInput, match="limit"):
            worklist(installation.platform.records, limit=limit)
