"""Who is let in: a known title from the address that belongs to it."""

from pathlib import Path

import pytest

from radloop.core.errors import InvalidInput
from radloop.dimse.peers import Peer, Peers, peer_of, title_of
from tests.dimse.door import IMPLICIT, VERIFICATION, Door, associated, echoes, open_door

OFFER = (VERIFICATION, [IMPLICIT])


@pytest.mark.parametrize(
    ("text", "peer"),
    [
        ("PACS@10.0.0.1:104", Peer("PACS", "10.0.0.1", 104)),
        ("CT ROOM 2@ct2.example.org:11112", Peer("CT ROOM 2", "ct2.example.org", 11112)),
        ("A@[fe80::1]:1", Peer("A", "fe80::1", 1)),
    ],
)
def test_a_peer_is_written_title_at_host_and_port(text: str, peer: Peer) -> None:
    assert peer_of(text) == peer


@pytest.mark.parametrize(
    "text",
    ["", "PACS", "PACS@host", "@host:104", "PACS@host:0", "PACS@host:70000", "PACS@:104", "A\\B@host:1", "A@b@c:1"],
)
def test_what_is_written_otherwise_is_no_peer(text: str) -> None:
    with pytest.raises(InvalidInput):
        peer_of(text)


@pytest.mark.parametrize("text", ["", " ", "SEVENTEEN LETTERS", "A\\B", "A\nB", "ÄRZTE"])
def test_a_title_is_sixteen_printable_characters(text: str) -> None:
    with pytest.raises(InvalidInput):
        title_of(text)


def test_title_and_address_must_belong_together() -> None:
    peers = Peers([Peer("CT", "127.0.0.1", 104), Peer("MR", "10.0.0.9", 104)])
    assert peers.caller("CT", "127.0.0.1") is not None
    assert peers.caller("CT ", "::ffff:127.0.0.1") is not None
    assert peers.caller("MR", "127.0.0.1") is None
    assert peers.caller("CT", "10.0.0.9") is None
    assert peers.caller("ct", "127.0.0.1") is None


def test_an_open_home_lets_in_whoever_calls_from_this_machine_and_nobody_else() -> None:
    peers = Peers([], is_open=True)
    assert peers.caller("ANY", "127.0.0.1") is not None
    assert peers.caller("ANY", "::1") is not None
    assert peers.caller("ANY", "192.168.1.4") is None
    assert peers.caller("", "127.0.0.1") is None


def test_a_peer_reads_and_writes_and_is_known_by_its_title() -> None:
    principal = Peers([], is_open=True).caller("CT ROOM 2 ", "127.0.0.1")
    assert principal is not None
    assert (principal.id, principal.roles, principal.patients) == ("ae:CT ROOM 2", {"reader"}, None)


def test_a_host_that_has_no_address_is_nobodys() -> None:
    assert Peers([Peer("CT", "no-such-host.invalid", 104)]).caller("CT", "127.0.0.1") is None


def reason(door: Door, title: str, called: str = "RADLOOP") -> tuple[int, int, int] | None:
    with associated(door.port, OFFER, title=title, called=called) as association:
        if association.is_established:
            return None
        answer = association.acceptor.primitive
        return answer.result, answer.result_source, answer.diagnostic  # type: ignore[union-attr, return-value]


def test_strangers_and_wrong_numbers_are_rejected_with_the_reason(tmp_path: Path) -> None:
    known = [Peer("CT", "127.0.0.1", 104), Peer("MR", "10.0.0.9", 104)]
    with open_door(tmp_path, peers=known, is_open=False) as door:
        assert reason(door, "CT") is None
        assert reason(door, "STRANGER") == (1, 1, 3)
        assert reason(door, "MR") == (1, 1, 3)
        assert reason(door, "CT", called="SOMEBODY") == (1, 1, 7)
        assert door.audited("associate-refused") == 3


def test_no_more_associations_than_allowed_are_agreed_to(tmp_path: Path) -> None:
    with open_door(tmp_path, most=2) as door:
        with associated(door.port, OFFER) as one, associated(door.port, OFFER) as two:
            assert one.is_established
            assert two.is_established
            assert reason(door, "THIRD") == (2, 3, 2)
        assert echoes(door.port)
