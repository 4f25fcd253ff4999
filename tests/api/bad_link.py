"""A link that breaks: a proxy that passes bytes on and cuts both sides when it is told to."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable

_PORTION = 1 << 16


class BadLink:
    """Listens on a port of its own; what comes in goes to `target`.

    Attributes:
        passed: Bytes that came from senders so far.
        cut_at: The connection that brings `passed` to this is cut; None for no cut.
        next_cut: Tells the next `cut_at` after a cut.
        rate: Bytes a second from senders, at most.
    """

    def __init__(self, target: tuple[str, int], *, rate: float | None = None) -> None:
        self.passed = 0
        self.cuts = 0
        self.cut_at: int | None = None
        self.next_cut: Callable[[], int | None] = lambda: None
        self.rate = rate
        self._target = target
        self._guard = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _PORTION)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._target)
            except ConnectionRefusedError:
                near.close()
                continue
            except OSError:
                return
            threading.Thread(target=self._up, args=(near, far), daemon=True).start()
            threading.Thread(target=self._down, args=(far, near), daemon=True).start()

    def _up(self, near: socket.socket, far: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := near.recv(_PORTION):
                with self._guard:
                    self.passed += len(data)
                    is_cut = self.cut_at is not None and self.passed >= self.cut_at
                    if is_cut:
                        self.cuts += 1
                        self.cut_at = self.next_cut()
                if is_cut:
                    break
                far.sendall(data)
                if self.rate is not None:
                    time.sleep(len(data) / self.rate)
        _end(near, far)

    def _down(self, far: socket.socket, near: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := far.recv(_PORTION):
                near.sendall(data)
        _end(near, far)


def _end(*sides: socket.socket) -> None:
    for side in sides:
        with contextlib.suppress(OSError):
            side.shutdown(socket.SHUT_RDWR)
        side.close()
