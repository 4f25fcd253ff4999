"""What the network may throw at the port: nothing of it ends the server, keeps it busy or fills its memory."""

import random
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path

import pytest
from pydicom.uid import UID
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu import A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import A_ASSOCIATE, ImplementationClassUIDNotification, MaximumLengthNotification
from pynetdicom.presentation import build_context

from radloop.core.identity import Principal
from radloop.core.ports import Landing, Upload
from radloop.dimse.peers import Peer
from tests.dimse.door import CT, EXPLICIT, IMPLICIT, QUICK, VERIFICATION, Door, associated, echoes, open_door, send_raw

pytestmark = pytest.mark.timeout(120)


@contextmanager
def connection(door: Door) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", door.port), timeout=15) as opened:
        yield opened


def say(opened: socket.socket, data: bytes, *, is_last: bool = False) -> None:
    """Send what the server may end the connection for before all of it is said."""
    with suppress(OSError):
        opened.sendall(data)
        if is_last:
            opened.shutdown(socket.SHUT_WR)


def is_ended(opened: socket.socket, within_s: float) -> bool:
    """Whether the server closes the connection, whatever it says before."""
    opened.settimeout(within_s)
    try:
        while opened.recv(65536):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


def request(called: str = "RADLOOP", classes: int = 1) -> bytes:
    """An A-ASSOCIATE-RQ."""
    primitive = A_ASSOCIATE()
    primitive.application_context_name = UID("1.2.840.10008.3.1.1.1")
    primitive.calling_ae_title, primitive.called_ae_title = "HOSTILE", called
    length, implementation = MaximumLengthNotification(), ImplementationClassUIDNotification()
    length.maximum_length_received = 16384
    implementation.implementation_class_uid = UID("1.2.3")
    primitive.user_information = [length, implementation]
    contexts = [build_context(CT, [EXPLICIT]) for _ in range(classes)]
    for place, context in enumerate(contexts):
        context.context_id = 2 * place + 1
    primitive.presentation_context_definition_list = contexts
    return bytes(A_ASSOCIATE_RQ(primitive).encode())


def pdata(*values: tuple[int, bytes]) -> bytes:
    """A P-DATA-TF PDU of presentation data values with their control byte."""
    items = b"".join(struct.pack(">LBB", len(data) + 2, 1, control) + data for control, data in values)
    return struct.pack(">BBL", 4, 0, len(items)) + items


def agreed(door: Door, opened: socket.socket) -> None:
    opened.sendall(request())
    head = opened.recv(6, socket.MSG_WAITALL)
    assert head[0] == 2
    opened.recv(struct.unpack(">L", head[2:])[0], socket.MSG_WAITALL)


def settles(door: Door) -> bool:
    """Whether no association and no thread of one is left."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        names = [thread.name for thread in threading.enumerate()]
        if not any(name in {"dimse-association", "dimse-upper-layer"} for name in names):
            return door.server.associations == 0
        time.sleep(0.05)
    return False


def test_noise_on_the_port_ends_the_connection_and_nothing_else(door: Door) -> None:
    dice = random.Random(7)
    for _ in range(60):
        with connection(door) as opened:
            say(opened, dice.randbytes(dice.choice([1, 6, 60, 600, 60_000])), is_last=True)
            assert is_ended(opened, 10)
    assert settles(door)
    assert echoes(door.port)


@pytest.mark.parametrize("kind", range(9))
def test_noise_in_the_form_of_a_pdu_does_no_more(door: Door, kind: int) -> None:
    dice = random.Random(kind)
    for length in (0, 1, 4, 68, 5000):
        with connection(door) as opened:
            say(opened, struct.pack(">BBL", kind, 0, length) + dice.randbytes(length), is_last=True)
            assert is_ended(opened, 10)
    assert settles(door)
    assert echoes(door.port)


@pytest.mark.parametrize("kind", [1, 4, 5, 7])
def test_a_pdu_that_tells_of_gigabytes_is_not_waited_for(door: Door, kind: int) -> None:
    with connection(door) as opened:
        say(opened, struct.pack(">BBL", kind, 0, 0xFFFFFFFF))
        assert is_ended(opened, 5)
    assert echoes(door.port)


def test_whoever_says_nothing_is_cut_off(door: Door) -> None:
    with connection(door) as silent, connection(door) as half:
        say(half, request()[:20])
        assert is_ended(silent, 5)
        assert is_ended(half, 5)
    assert settles(door)


def test_whoever_falls_silent_in_the_middle_of_a_message_is_cut_off(door: Door) -> None:
    with connection(door) as opened:
        agreed(door, opened)
        opened.sendall(pdata((0, bytes(100)))[:50])
        assert is_ended(opened, 8)
    with connection(door) as opened:
        agreed(door, opened)
        assert is_ended(opened, 8)
    assert settles(door)


def test_a_pdu_that_drips_is_cut_off_too(door: Door) -> None:
    with connection(door) as opened:
        agreed(door, opened)
        pdu = pdata((0, bytes(1000)))
        started = time.monotonic()
        with pytest.raises(OSError):  # noqa: PT011 — reset or broken pipe, as the kernel likes
            for byte in pdu:
                opened.sendall(bytes([byte]))
                time.sleep(0.05)
        assert time.monotonic() - started < 20
    assert settles(door)


@pytest.mark.parametrize(
    "payload",
    [
        pdata((3, b"")),
        pdata((3, bytes(40))),
        pdata((3, b"\xff" * 40)),
        pdata((2, bytes(40))),
        pdata((1, bytes(70_000)), (1, bytes(70_000))),
        struct.pack(">BBLLBB", 4, 0, 6, 0xFFFFFFFF, 1, 3),
        struct.pack(">BBLLBB", 4, 0, 6, 0, 1, 3),
        request(),
    ],
    ids=[
        "empty command",
        "zero command",
        "command of ff",
        "data first",
        "endless command",
        "long item",
        "no item",
        "again",
    ],
)
def test_a_broken_message_ends_its_association_only(door: Door, payload: bytes) -> None:
    with connection(door) as opened:
        agreed(door, opened)
        say(opened, payload)
        assert is_ended(opened, 10)
    assert settles(door)
    assert echoes(door.port)


def test_a_data_set_larger_than_we_take_ends_its_association(door: Door) -> None:
    with associated(door.port, (CT, [EXPLICIT])) as association:
        response = send_raw(association, bytes(QUICK.object_bytes + 1), syntax=EXPLICIT, sop_class=CT, sop_uid="1.2.3")
        assert response is None
    assert settles(door)
    assert echoes(door.port)


@dataclass
class Held:
    """A lander that waits until it is told to go on."""

    gate: threading.Event = field(default_factory=threading.Event)
    landed: int = 0

    def land(self, uploads: list[Upload], *, by: Principal, datastore: str = "") -> list[Landing]:
        self.gate.wait(30)
        self.landed += len(uploads)
        return [Landing("ingested", instance="1.2.3", sop_class=CT) for _ in uploads]


def c_store(data_set: bytes) -> bytes:
    """A C-STORE request, command and data set, as PDUs."""
    request = C_STORE()
    request.MessageID, request.Priority = 1, 0
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = UID(CT), UID("1.2.3")
    request.DataSet = BytesIO(data_set)
    message = C_STORE_RQ()
    message.primitive_to_message(request)
    values = [value for pdu in message.encode_msg(1, 1 << 18) for value in pdu.presentation_data_value_list]
    return b"".join(pdata((value[0], value[1:])) for _, value in values)


def test_a_peer_that_sends_ahead_has_to_wait(tmp_path: Path) -> None:
    held = Held()
    with open_door(tmp_path, limits=QUICK, platform=lambda platform: replace(platform, images=held)) as door:
        with connection(door) as opened:
            agreed(door, opened)
            message = c_store(bytes(1 << 20))
            opened.settimeout(2)
            sent = 0
            with pytest.raises(TimeoutError):
                for _ in range(40):
                    opened.sendall(message)
                    sent += len(message)
            assert sent < 12 << 20  # what we hold, and what the kernel does
            held.gate.set()
        assert settles(door)
    assert 1 <= held.landed < 12


def test_strangers_that_keep_connections_do_not_keep_a_peer_out(tmp_path: Path) -> None:
    peers = [Peer("SCANNER", "127.0.0.2", 104)]
    with open_door(tmp_path, peers=peers, is_open=False, limits=QUICK) as door:
        held = [socket.create_connection(("127.0.0.1", door.port), timeout=5) for _ in range(30)]
        time.sleep(0.3)
        threads = sum(thread.name == "dimse-association" for thread in threading.enumerate())
        assert threads <= 4
        with socket.create_connection(("127.0.0.1", door.port), timeout=5, source_address=("127.0.0.2", 0)) as known:
            known.sendall(request().replace(b"HOSTILE         ", b"SCANNER         "))
            assert known.recv(1) == b"\x02"
        for each in held:
            each.close()
        assert settles(door)


def test_stopping_ends_what_is_idle_and_leaves_no_thread(tmp_path: Path) -> None:
    before = {thread.name for thread in threading.enumerate()}
    with open_door(tmp_path) as door, associated(door.port, (VERIFICATION, [IMPLICIT])) as association:
        assert association.send_c_echo().Status == 0
        started = time.monotonic()
        door.server.stop()
        assert time.monotonic() - started < 5
        assert settles(door)
    assert {name for name in {thread.name for thread in threading.enumerate()} - before if "dimse" in name} == set()
