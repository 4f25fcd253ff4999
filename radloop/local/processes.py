"""Children that never outlive their parent, even when that is killed."""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h
_KEPT_BYTES = 64 << 20
_LARGEST_KEPT = 32 << 20  # the greatest that glibc takes
_ARENAS = 2


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


def keep_freed_memory() -> None:
    """Let this process use freed memory again instead of giving it back to the kernel at once.

    A frame is a quarter of a megabyte: by default glibc maps each such buffer anew and unmaps it after, and the page
    faults cost more than sealing it. Up to 64 MB stay with the process, in two arenas rather than one for each thread.
    Where there is another C library, nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
        mallopt(_M_ARENA_MAX, _ARENAS)
