"""What processes ask of the kernel and of the C library: to end with their parent, a name, and memory."""

import ctypes
import gc
import os
import signal
import sys
import threading
import time
from pathlib import Path

_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h
_KEPT_BYTES = 64 << 20
FOR_ONE = 4 << 20
"""Bytes that a process keeps which does one thing at a time."""
_LARGEST_KEPT = 32 << 20  # the greatest that glibc takes
_ARENAS = 2
_LOOK_EVERY_S = 1.0
_GROWN_BYTES = 8 << 20
_WORKED_S = 0.1


def die_with_parent(parent: int | None = None) -> None:
    """Ask the kernel to kill this process when the thread that started it ends.

    Args:
        parent: Process id the parent had; where it is gone already, this process ends at once.

    On other systems than Linux this does nothing; there, a killed parent's children end at their next write to it.
    """
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent is not None and os.getppid() != parent:
        os._exit(1)


def name_process(name: str) -> None:
    """Have `ps -o comm` and `top` show this process, which shares its command line with others, by `name`."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode())


def keep_freed_memory(most: int = _KEPT_BYTES) -> None:
    """Let this process use freed memory again instead of giving it back to the kernel at once.

    A frame is a quarter of a megabyte: by default glibc maps each such buffer anew and unmaps it after, and the page
    faults cost more than sealing it. Up to `most` bytes at the end of the heap stay with the process, in two arenas
    rather than one for each thread. Where there is another C library, nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT)
        mallopt(_M_TRIM_THRESHOLD, most)
        mallopt(_M_ARENA_MAX, _ARENAS)


def trim_memory() -> None:
    """Give all freed memory back to the kernel, also what lies between pieces that are in use."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform.startswith("linux") else None
    if trim is not None:
        trim(0)


def give_back_memory() -> None:
    """From now on, give back every second what this process has let go of, if it has grown and has been at work.

    `keep_freed_memory` spares the page faults of every single frame; without this, a burst would stay for ever. What
    was sent to us hangs in cycles of requests and answers until the collector finds them, and it counts objects, not
    bytes: it is called, too. Where what was there at the start is frozen, both take 2 ms.
    """
    if sys.platform.startswith("linux"):
        threading.Thread(target=_give_back, name="memory", daemon=True).start()


def _give_back() -> None:
    least, worked_s = _resident_bytes(), 0.0
    while True:
        time.sleep(_LOOK_EVERY_S)
        if _resident_bytes() > least + _GROWN_BYTES and time.process_time() > worked_s + _WORKED_S:
            gc.collect()
            trim_memory()
            worked_s = time.process_time()
        least = min(least, _resident_bytes())


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
