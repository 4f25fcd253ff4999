"""The processes of one server: forked from one that has loaded what they need, watched, and started again.

A forked child shares with its parent, and so with its siblings, every page that nobody writes to: modules, dictionaries
and data that each would otherwise hold for itself. That needs a parent without threads, and all of what must not be
shared (databases, event loops, thread pools) made by the child.
"""

import gc
import logging
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess

from radloop.local.processes import die_with_parent, name_process, trim_memory

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_YOUNG_S = 10.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0
_OVERLAP_S = 5.0
_FORKED = multiprocessing.get_context("fork")
_LOG = logging.getLogger("radloop.up")


@dataclass(frozen=True, slots=True)
class Member:
    """One child.

    One that is `called_by` a listening socket is started when somebody calls there first, and accepts the call itself.
    It may end by itself, with status 0, and is started by the next call.

    Attributes:
        name: As `ps -o comm` shows it, 15 characters at most.
        work: What the child does; it ends at SIGTERM.
        grace_s: How long it may take for that before it is killed.
        is_renewed: Whether SIGHUP, and `Family.renew`, have another take its place.
    """

    name: str
    work: Callable[[], None]
    grace_s: float = 8.0
    is_renewed: bool = False
    called_by: socket.socket | None = None


@dataclass(slots=True)
class _Place:
    """Where a member stands now."""

    member: Member
    process: BaseProcess | None = None
    since: float = 0.0
    young_deaths: int = 0
    due: float = 0.0

    @property
    def is_due(self) -> bool:
        """Whether it is to be started now."""
        if self.process is not None or time.monotonic() < self.due:
            return False
        return self.member.called_by is None or bool(wait([self.member.called_by], timeout=0.0))


@dataclass(slots=True)
class Family:
    """Children of this process, each started again when it dies: at once, and the more often, the later.

    Only the main thread may use it, and there must be no other while it forks.
    """

    members: Sequence[Member]
    _places: list[_Place] = field(init=False)
    _leaving: list[tuple[float, BaseProcess]] = field(default_factory=list)
    _is_stopping: bool = False
    _is_renewing: bool = False

    def __post_init__(self) -> None:
        self._places = [_Place(member) for member in self.members]

    def run(self, beside: Callable[[], float]) -> None:
        """Keep all members going until SIGTERM or SIGINT; then end them and return.

        Args:
            beside: What this process does besides; gives the seconds after which it is to be called again.
        """
        settle()
        with self._listening() as waker:
            try:
                while not self._is_stopping:
                    self._start()
                    self._let_go()
                    wait([waker, *self._awaited()], timeout=min(beside(), self._until_due()))
                    self._heed(waker)
                    self._bury()
            finally:
                self._end()

    def renew(self) -> None:
        """Have successors take the place of all members that are renewed, without a moment in which nobody answers."""
        for place in self._places:
            if place.member.is_renewed and place.process is not None:
                self._leaving.append((time.monotonic() + _OVERLAP_S, place.process))
                place.process = None
                place.due = 0.0

    def _start(self) -> None:
        for place in self._places:
            if place.is_due:
                place.process = _forked(place.member)
                place.since = time.monotonic()

    def _bury(self) -> None:
        """Note who died, and when the next of the name is due."""
        for place in self._places:
            process = place.process
            if process is None or process.is_alive():
                continue
            process.join()
            if place.member.called_by is not None and process.exitcode == 0:
                place.process, place.young_deaths, place.due = None, 0, 0.0
                continue
            _LOG.error("%s ended with status %s and is started again", place.member.name, process.exitcode)
            is_young = time.monotonic() - place.since < _YOUNG_S
            place.young_deaths = place.young_deaths + 1 if is_young else 0
            pause = min(_FIRST_PAUSE_S * 2 ** (place.young_deaths - 2), _LONGEST_PAUSE_S)
            place.process = None
            place.due = time.monotonic() + (pause if place.young_deaths > 1 else 0.0)

    def _let_go(self) -> None:
        """End predecessors whose time is over."""
        for due, process in list(self._leaving):
            if not process.is_alive():
                self._leaving.remove((due, process))
            elif time.monotonic() >= due:
                process.terminate()

    def _awaited(self) -> list[int | socket.socket]:
        """The ends of those who live, and the first calls for those who do not."""
        ends: list[int | socket.socket] = [each.process.sentinel for each in self._places if each.process is not None]
        callers = [
            place.member.called_by
            for place in self._places
            if place.process is None and place.member.called_by is not None and time.monotonic() >= place.due
        ]
        return ends + callers

    def _until_due(self) -> float:
        now = time.monotonic()
        dues = [due for due, _ in self._leaving]
        dues += [
            place.due
            for place in self._places
            if place.process is None and (place.member.called_by is None or place.due > now)
        ]
        return max(0.1, min(dues) - now) if dues else 3600.0

    def _heed(self, waker: socket.socket) -> None:
        """Take note of signals."""
        try:
            waker.recv(4096)
        except BlockingIOError:
            return
        if self._is_renewing:
            self._is_renewing = False
            self.renew()

    def _end(self) -> None:
        graces = {place.process: place.member.grace_s for place in self._places if place.process is not None}
        graces |= {process: 0.5 for _, process in self._leaving}
        for process in graces:
            process.terminate()
        begun = time.monotonic()
        for process, grace_s in graces.items():
            process.join(timeout=max(0.0, begun + grace_s - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()

    @contextmanager
    def _listening(self) -> Iterator[socket.socket]:
        """Heed signals; gives what can be read from once there was one."""
        waker, woken = socket.socketpair()
        waker.setblocking(False)
        woken.setblocking(False)

        def heed(number: int, _: object) -> None:
            if number == signal.SIGHUP:
                self._is_renewing = True
            else:
                self._is_stopping = True

        before = {number: signal.signal(number, heed) for number in _SIGNALS}
        signal.set_wakeup_fd(woken.fileno(), warn_on_full_buffer=False)
        try:
            yield waker
        finally:
            signal.set_wakeup_fd(-1)
            for number, handler in before.items():
                signal.signal(number, handler)
            waker.close()
            woken.close()


def settle() -> None:
    """Before children are forked: have no rubbish shared, no freed memory, and nothing that the collector touches."""
    gc.collect()
    gc.freeze()
    trim_memory()


def _forked(member: Member) -> BaseProcess:
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # until the child has let go of our handlers
    try:
        process = _FORKED.Process(target=_begin, args=(member, os.getpid()), name=member.name)
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    return process


def _begin(member: Member, parent: int) -> None:
    """The child: Ctrl-C at a terminal reaches it too, but its end is its parent's to decide."""
    die_with_parent(parent)
    name_process(member.name)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    member.work()
