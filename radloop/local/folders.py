"""Processes that fold.

They are forked, when there is much to fold, from a nursery: a process that has loaded what folding needs and has no
threads. So they start in a millisecond and share what was loaded. Each is asked for one file at a time, dies with the
process that asks, and goes when there has been nothing to do for a while.
"""

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe
from typing import Any, Self

from radloop.local.family import settle
from radloop.local.processes import FOR_ONE, die_with_parent, keep_freed_memory, name_process

_FORKED = multiprocessing.get_context("fork")
_GRACE_S = 2.0


def folding_processes(count: int, nursery: "Nursery | None" = None) -> "Folders":
    """Processes that fold.

    Args:
        count: How many at most; 0 means one a core.
        nursery: Where they are forked; None launches one.
    """
    return Folders(count or os.cpu_count() or 1, nursery)


class Nursery:
    """A process that children are forked from.

    Args:
        control: What it is asked through; it ends when that is closed.
        is_over: Waits for its end for so many seconds, and tells whether it has come.
        kill: Ends it.
    """

    def __init__(self, control: socket.socket, is_over: Callable[[float], bool], kill: Callable[[], None]) -> None:
        self._control = control
        self._is_over = is_over
        self._kill = kill
        self._guard = threading.Lock()

    @classmethod
    def forked(cls) -> Self:
        """A child of this process as it is now; only for a process without threads."""
        ours, theirs = socket.socketpair()
        process = _FORKED.Process(target=_nurse_forked, args=(ours, theirs, os.getpid()), name="nursery")
        process.start()
        theirs.close()

        def is_over(seconds: float) -> bool:
            process.join(timeout=seconds)
            return not process.is_alive()

        return cls(ours, is_over, process.kill)

    @classmethod
    def launched(cls) -> Self:
        """A fresh interpreter."""
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-m", "radloop.local.folders", str(theirs.fileno()), str(os.getpid())]
        process = subprocess.Popen(command, pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL)  # noqa: S603 — ours
        theirs.close()

        def is_over(seconds: float) -> bool:
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=seconds)
            return process.poll() is not None

        return cls(ours, is_over, process.kill)

    @property
    def is_alive(self) -> bool:
        """Whether it can be asked for children."""
        return not self._is_over(0.0)

    def child(self) -> Connection:
        """A fresh child; it ends when this connection is closed.

        Raises:
            OSError: The nursery is gone.
        """
        ours, theirs = Pipe()
        with theirs, self._guard:
            socket.send_fds(self._control, [b"+"], [theirs.fileno()])
        return ours

    def close(self) -> None:
        """End it; children that are asked nothing go with it."""
        self._control.close()
        if not self._is_over(_GRACE_S):
            self._kill()
            self._is_over(_GRACE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Folders(Executor):
    """Runs functions in children of a nursery; functions, arguments and results must pickle.

    A child that dies takes what it was asked with it, which then raises `BrokenExecutor`; the others go on.

    Args:
        count: How many work at a time.
        nursery: Where they come from; None launches one, which then ends with this.
    """

    def __init__(self, count: int, nursery: Nursery | None) -> None:
        self._nursery = nursery or Nursery.launched()
        self._owns_nursery = nursery is None
        self._askers = ThreadPoolExecutor(count, "folder")
        self._guard = threading.Lock()
        self._idle: list[tuple[float, Connection]] = []
        self._is_shut = False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """See `Executor.submit`."""
        return self._askers.submit(self._ask, (fn, args, kwargs))

    def rest(self, idle_s: float) -> None:
        """Let go of children that had nothing to do for so long."""
        with self._guard:
            ended = [each for since, each in self._idle if time.monotonic() - since >= idle_s]
            self._idle = [(since, each) for since, each in self._idle if each not in ended]
        for each in ended:
            each.close()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """See `Executor.shutdown`."""
        self._is_shut = True
        self._askers.shutdown(wait, cancel_futures=cancel_futures)
        self.rest(0.0)
        if self._owns_nursery:
            self._nursery.close()

    def _ask(self, request: tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]) -> Any:
        try:
            child = self._take()
        except OSError:
            raise BrokenExecutor("no folding process can be started") from None
        try:
            child.send(request)
            is_done, told = child.recv()
        except (OSError, EOFError):
            child.close()
            raise BrokenExecutor("a folding process died") from None
        except BaseException:
            child.close()  # half an answer may be left in it
            raise
        self._give_back(child)
        if not is_done:
            raise told
        return told

    def _take(self) -> Connection:
        with self._guard:
            if self._idle:
                return self._idle.pop()[1]
        return self._nursery.child()

    def _give_back(self, child: Connection) -> None:
        with self._guard:
            if not self._is_shut:
                self._idle.append((time.monotonic(), child))
                return
        child.close()


# The other side


def _nurse_forked(ours: socket.socket, theirs: socket.socket, parent: int) -> None:
    ours.close()
    _nurse(theirs, parent)


def _nurse(control: socket.socket, parent: int) -> None:
    """Fork a child for every connection that comes, until there is nobody to ask any more."""
    die_with_parent(parent)
    name_process("radloop-nursery")
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        asked, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        if not asked:
            return
        process = _FORKED.Process(target=_fold, args=(control, descriptors[0], os.getpid()), name="folder")
        process.start()
        os.close(descriptors[0])


def _fold(control: socket.socket, descriptor: int, nursery: int) -> None:
    """Do what is asked, until nobody can ask any more."""
    die_with_parent(nursery)
    name_process("radloop-folder")
    control.close()
    keep_freed_memory(FOR_ONE)
    asking: Connection = Connection(descriptor)
    with suppress(EOFError, OSError):
        while True:
            function, args, kwargs = asking.recv()
            try:
                told = True, function(*args, **kwargs)
            except Exception as error:  # noqa: BLE001 — whoever asked is told
                told = False, error
            asking.send(told)
            del function, args, kwargs, told


def _main(descriptor: int, parent: int) -> None:
    import radloop.store.folding  # noqa: PLC0415 — what the children share

    assert radloop.store.folding
    settle()
    _nurse(socket.socket(fileno=descriptor), parent)


if __name__ == "__main__":
    _main(int(sys.argv[1]), int(sys.argv[2]))
