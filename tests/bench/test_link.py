"""The link that the viewer is measured over has the speed, the delay and the fairness that it states."""

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from bench.link import Link, Shape
from radloop.security.authority import certificates

FAST = Shape("test", 40e6, 0.040)
GREETING = b"x" * 64


@contextmanager
def server(size: int, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """Answers each 64 bytes with `size` bytes; its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer(connection: socket.socket) -> None:
        with suppress(OSError), closing(connection):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            spoken = context.wrap_socket(connection, server_side=True) if context else connection
            with closing(spoken):
                while received(spoken, len(GREETING)):
                    spoken.sendall(b"y" * size)

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    with closing(listener):
        yield listener.getsockname()[1]
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)


def received(connection: socket.socket, size: int) -> int:
    got = 0
    while got < size and (data := connection.recv(min(size - got, 65536))):
        got += len(data)
    return got


def client(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def asked(connection: socket.socket, size: int) -> float:
    begun = time.monotonic()
    connection.sendall(GREETING)
    assert received(connection, size) == size
    return time.monotonic() - begun


def test_goodput_is_that_of_the_link() -> None:
    size = 2_000_000
    with server(size) as port, Link(FAST) as link, closing(client(link.to(port))) as connection:
        asked(connection, size)
        seconds = min(asked(connection, size) for _ in range(3)) - FAST.rtt_s  # a busy machine only makes it longer
        assert 0.7 * FAST.bits_s < 8 * size / seconds < 1.1 * FAST.bits_s
        assert link.down_bytes == 4 * size
        assert link.up_bytes == 4 * len(GREETING)


def test_an_answer_takes_one_round_trip_and_the_first_two() -> None:
    with server(100) as port, Link(FAST) as link, closing(client(link.to(port))) as connection:
        first = asked(connection, 100)
        later = min(asked(connection, 100) for _ in range(9))
    assert 2 * FAST.rtt_s - 0.005 < first < 2 * FAST.rtt_s + 0.5
    assert FAST.rtt_s - 0.005 < later < 1.5 * FAST.rtt_s


def test_connections_share_the_link_evenly_however_much_each_wants() -> None:
    with server(3_000_000) as port, Link(FAST) as link:
        way = link.to(port)
        connections = [client(way) for _ in range(4)]
        for connection in connections:
            connection.sendall(GREETING)
        got = [0] * 4
        until = time.monotonic() + 1.0

        def read(place: int) -> None:
            while time.monotonic() < until:
                got[place] += len(connections[place].recv(65536))

        readers = [threading.Thread(target=read, args=(place,)) for place in range(4)]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        for connection in connections:
            connection.close()
    assert max(got) < 1.5 * min(got)
    assert 0.3 * FAST.bits_s < 8 * sum(got) < 1.1 * FAST.bits_s


def test_a_small_answer_does_not_wait_behind_a_large_one() -> None:
    with server(2_000_000) as much, server(100) as little, Link(FAST) as link:
        large, small = client(link.to(much)), client(link.to(little))
        with closing(large), closing(small):
            asked(small, 100)
            large.sendall(GREETING)
            time.sleep(0.2)
            assert asked(small, 100) < 0.2  # the large one takes 0.4 s


def test_a_cut_link_breaks_what_is_under_way_and_lets_nobody_in_until_it_is_mended() -> None:
    with server(2_000_000) as port, Link(FAST) as link:
        way = link.to(port)
        with closing(client(way)) as broken:
            broken.sendall(GREETING)
            time.sleep(0.1)
            link.cut()
            with suppress(ConnectionResetError):
                assert received(broken, 2_000_000) < 2_000_000
        with closing(client(way)) as refused, suppress(ConnectionResetError, BrokenPipeError):
            refused.sendall(GREETING)
            assert refused.recv(1) == b""
        link.mend()
        with closing(client(way)) as again:
            asked(again, 2_000_000)


def test_tls_goes_through_and_costs_its_round_trips(tmp_path: Path) -> None:
    made = certificates(tmp_path, ["127.0.0.1"], datetime.now(UTC))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.leaf, made.key)
    trusting = ssl.create_default_context(cafile=str(made.authority))
    with server(100, context) as port, Link(FAST) as link:
        begun = time.monotonic()
        with trusting.wrap_socket(client(link.to(port)), server_hostname="127.0.0.1") as connection:
            asked(connection, 100)
        assert 3 * FAST.rtt_s - 0.005 < time.monotonic() - begun < 3 * FAST.rtt_s + 1.0


def test_what_comes_through_can_be_listened_to() -> None:
    with server(10_000) as port, Link(FAST) as link, closing(client(link.to(port))) as connection:
        link.tap = []
        asked(connection, 10_000)
        down = [piece for piece in link.tap if piece.is_down]
        up = [piece for piece in link.tap if not piece.is_down]
    assert b"".join(piece.data for piece in down) == b"y" * 10_000
    assert b"".join(piece.data for piece in up) == GREETING
    assert {piece.connection for piece in link.tap} == {0}


def test_a_server_that_is_not_there_ends_the_connection() -> None:
    with Link(FAST) as link, closing(client(link.to(1))) as connection, suppress(ConnectionResetError):
        assert connection.recv(1) == b""
