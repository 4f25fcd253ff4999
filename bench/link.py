"""A phone's link on the loopback: so many bits a second each way, shared by all connections, with its round trip.

    with Link(Shape("4G", 12e6, 0.070)) as link:
        port = link.to(server_port)      # what goes to `port` reaches the server over the link

Bytes are let through as they are, so TLS and any protocol on TCP works. The link has no loss, no jitter and no slow
start: it is what a radio link is at best, and the same in each run.
"""

import asyncio
import contextlib
import socket
import threading
import time
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

_PIECE = 4096  # what a connection may send before the next one's turn
_BACKLOG = 65_536  # of one connection before it; more waits in its sender, as at a base station
_BURST_S = 0.004  # what the bucket holds: how late a timer may be without the link losing its speed
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Shape:
    """What a link is like.

    Attributes:
        bits_s: Bits a second, the same in either direction.
        rtt_s: Round trip; half of it lies in each direction, and a connection costs a whole one.
    """

    name: str
    bits_s: float
    rtt_s: float

    def seconds(self, size_bytes: int) -> float:
        """How long so many bytes take at least."""
        return 8 * size_bytes / self.bits_s


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes that have come out of the link.

    Attributes:
        at: Moment by `time.monotonic`.
        connection: Which one, counted from 0.
        is_down: From the server to the client.
    """

    at: float
    connection: int
    is_down: bool
    data: bytes


@dataclass(slots=True, eq=False)
class _Flow:
    """One direction of one connection: what waits before the link, and what is on its way."""

    connection: "_Connection"
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    opens_at: float
    before: deque[bytes] = field(default_factory=deque)
    waiting: int = 0
    room: asyncio.Event = field(default_factory=asyncio.Event)
    under_way: asyncio.Queue[tuple[float, bytes]] = field(default_factory=asyncio.Queue)


@dataclass(slots=True, eq=False)
class _Connection:
    number: int
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)


class _Lane:
    """One direction of the link: a token bucket, and the flows that wait for it, in turns."""

    def __init__(self, shape: Shape, link: "Link", *, is_down: bool) -> None:
        self.shape = shape
        self.bytes = 0
        self._link = link
        self._is_down = is_down
        self._turns: deque[_Flow] = deque()
        self._something = asyncio.Event()

    def push(self, flow: _Flow, data: bytes) -> None:
        """Put bytes of `flow` before the link; an empty string is its end."""
        if not flow.before:
            self._turns.append(flow)
            self._something.set()
        flow.before.extend(data[at : at + _PIECE] for at in range(0, max(len(data), 1), _PIECE))
        flow.waiting += len(data)
        if flow.waiting >= _BACKLOG:
            flow.room.clear()

    async def run(self) -> None:
        """Let the flows through, one piece each in turn."""
        free_at = 0.0
        while True:
            while not self._turns:
                self._something.clear()
                await self._something.wait()
            flow = self._turns.popleft()
            piece = flow.before.popleft()
            if flow.before:
                self._turns.append(flow)
            flow.waiting -= len(piece)
            if flow.waiting < _BACKLOG:
                flow.room.set()
            now = time.monotonic()
            free_at = max(free_at, now - _BURST_S) + self.shape.seconds(len(piece))
            if free_at > now:
                await asyncio.sleep(free_at - now)
            self.bytes += len(piece)
            flow.under_way.put_nowait((max(free_at, now, flow.opens_at) + self.shape.rtt_s / 2, piece))

    async def take_in(self, flow: _Flow) -> None:
        """What the sender of `flow` has to say, as long as there is room before the link."""
        flow.room.set()
        while True:
            await flow.room.wait()
            data = await flow.reader.read(_BACKLOG)
            self.push(flow, data)
            if not data:
                return

    async def deliver(self, flow: _Flow) -> None:
        """What has come through, when it is there."""
        while True:
            at, piece = await flow.under_way.get()
            if (wait := at - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            if not piece:
                flow.writer.write_eof()
                return
            if self._link.tap is not None:
                self._link.tap.append(Piece(time.monotonic(), flow.connection.number, self._is_down, piece))
            flow.writer.write(piece)
            await flow.writer.drain()


class Link:
    """The link, in a thread of its own while it is entered.

    Attributes:
        tap: Everything that comes out of the link is noted here, while it is a list.
    """

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.tap: list[Piece] | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="link", daemon=True)
        self._up = _Lane(shape, self, is_down=False)
        self._down = _Lane(shape, self, is_down=True)
        self._connections: set[_Connection] = set()
        self._servers: list[asyncio.Server] = []
        self._lanes: list[asyncio.Task[None]] = []
        self._count = 0
        self._is_cut = False

    def __enter__(self) -> Self:
        self._thread.start()
        self._call(self._begin())
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def down_bytes(self) -> int:
        """Bytes that came from servers so far."""
        return self._down.bytes

    @property
    def up_bytes(self) -> int:
        """Bytes that went to servers so far."""
        return self._up.bytes

    @property
    def connections(self) -> int:
        """How many were made so far."""
        return self._count

    def to(self, port: int) -> int:
        """A port of the loopback that leads over this link to `port` of the loopback."""
        return self._call(self._listen(port))

    def reshape(self, shape: Shape) -> None:
        """Be like `shape` from now on."""

        async def change() -> None:
            self.shape = self._up.shape = self._down.shape = shape

        self._call(change())

    def cut(self) -> None:
        """Break every connection, and let nobody in until `mend`."""

        async def cut() -> None:
            self._is_cut = True
            for connection in list(self._connections):
                self._drop(connection)

        self._call(cut())

    def mend(self) -> None:
        """Let connections in again."""

        async def mend() -> None:
            self._is_cut = False

        self._call(mend())

    def _call(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=30)

    async def _begin(self) -> None:
        self._lanes = [asyncio.ensure_future(lane.run()) for lane in (self._up, self._down)]

    async def _end(self) -> None:
        for server in self._servers:
            server.close()
        for connection in list(self._connections):
            self._drop(connection)
        while tasks := asyncio.all_tasks() - {asyncio.current_task()}:  # who called at the last moment, too
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _listen(self, port: int) -> int:
        async def arrived(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._arrived(port, reader, writer)

        server = await asyncio.start_server(arrived, "127.0.0.1", 0, limit=_BACKLOG)
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    async def _arrived(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(self._count, [writer])
        self._count += 1
        opens_at = time.monotonic() + self.shape.rtt_s
        self._connections.add(connection)
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError):
                there, back = await _connected(port)
                connection.writers.append(back)
                if not self._is_cut:
                    up = _Flow(connection, reader, back, opens_at)
                    down = _Flow(connection, there, writer, opens_at)
                    work = (
                        self._up.take_in(up),
                        self._up.deliver(up),
                        self._down.take_in(down),
                        self._down.deliver(down),
                    )
                    connection.tasks += [asyncio.ensure_future(each) for each in work]
                    await asyncio.gather(*connection.tasks)
        finally:
            self._drop(connection)

    def _drop(self, connection: _Connection) -> None:
        self._connections.discard(connection)
        for task in connection.tasks:
            task.cancel()
        for writer in connection.writers:
            writer.transport.abort()


async def _connected(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to a server that takes no more off its hands than a sender would have under way."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BACKLOG)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        return await asyncio.open_connection(sock=sock, limit=_BACKLOG)
    except OSError:
        sock.close()
        raise
