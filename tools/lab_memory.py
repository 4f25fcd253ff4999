# ruff: noqa: INP001 — part of programs that are run by themselves
"""Holds a function to the memory it has: a process that ever had more resident is killed, as Lambda kills it.

Limits of the kernel do not fit. RLIMIT_AS and RLIMIT_DATA count addresses and not memory, and libraries ask for far
more of these than they touch (a stack of 8 MiB for each thread, arenas, mapped files). A memory cgroup counts what
Lambda counts, but may only be made by who may also undo it, which neither a CI job nor a user without rights is. So a
thread looks at what the kernel keeps of each process, the greatest resident size it ever had (VmHWM). That never falls:
a peak between two looks is seen by the next, and a process that outlives its peak by no look tells its own at its end.
"""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

BOOTSTRAP_MB = 25
"""Kept of every limit for what Lambda's own bootstrap takes beside the handler; measured by nobody, so generous."""

_LOOKS_EVERY_S = 0.02
_SEEKS_EVERY_S = 0.3
_PATIENCE_S = 300.0


@dataclass(slots=True)
class Held:
    """One process, or all processes of one function.

    Attributes:
        limit_mb: What the function has.
        peak_mb: The greatest resident size seen.
        processes: How many there were.
        killed: How many of them were ended for having had more.
        seconds: Of the longest, where it ran to its end.
    """

    limit_mb: int
    peak_mb: float = 0.0
    processes: int = 0
    killed: int = 0
    seconds: float = 0.0

    def take(self, other: "Held") -> None:
        """Take in what was seen of further processes of the same function."""
        if other is not self:
            self.peak_mb = max(self.peak_mb, other.peak_mb)
            self.processes += other.processes
            self.killed += other.killed
            self.seconds = max(self.seconds, other.seconds)

    @property
    def is_within(self) -> bool:
        """Whether the bootstrap would still have had its part."""
        return not self.killed and self.peak_mb + BOOTSTRAP_MB <= self.limit_mb


def peak_mb(pid: int) -> float:
    """The greatest resident size a process ever had; 0 where there is none of that id any more."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
    return 0.0


@dataclass
class Watch:
    """Looks at processes of functions until it is ended.

    Attributes:
        seek: Finds processes: pid -> name of the function and its limit, MB. It is asked again all the time.
        held: By function.
    """

    seek: Callable[[], Mapping[int, tuple[str, int]]]
    held: dict[str, Held] = field(default_factory=dict)
    _known: dict[int, str] = field(default_factory=dict)
    _over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Look, and kill what has too much."""
        sought = 0.0
        while not self._over.is_set():
            if time.monotonic() - sought >= _SEEKS_EVERY_S:
                self._find()
                sought = time.monotonic()
            for pid, name in list(self._known.items()):
                self._look(pid, name)
            self._over.wait(_LOOKS_EVERY_S)

    def end(self) -> None:
        """Look no more."""
        self._over.set()

    def _find(self) -> None:
        found = self.seek()
        for pid, (name, limit_mb) in found.items():
            if pid not in self._known:
                self._known[pid] = name
                self.held.setdefault(name, Held(limit_mb)).processes += 1
        for pid in self._known.keys() - found.keys():
            del self._known[pid]

    def _look(self, pid: int, name: str) -> None:
        held, peak = self.held[name], peak_mb(pid)
        held.peak_mb = max(held.peak_mb, peak)
        if peak + BOOTSTRAP_MB > held.limit_mb:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            held.killed += 1
            del self._known[pid]


@contextmanager
def watching(seek: Callable[[], Mapping[int, tuple[str, int]]]) -> Iterator[Mapping[str, Held]]:
    """Hold what `seek` finds, as long as this lasts; what was seen, by function."""
    watch = Watch(seek)
    thread = threading.Thread(target=watch.run, daemon=True)
    thread.start()
    try:
        yield watch.held
    finally:
        watch.end()
        thread.join()


@dataclass(frozen=True, slots=True)
class Done:
    """A program that ran to its end, or was killed.

    Attributes:
        code: Its exit code.
        said: Its standard output.
        complained: Its standard error.
    """

    code: int
    said: str
    complained: str
    held: Held


def bounded(command: Sequence[str], given: str, limit_mb: int, environ: Mapping[str, str] | None = None) -> Done:
    """Run a program that is killed above `limit_mb`, with `given` on its standard input."""
    process = subprocess.Popen(  # noqa: S603 — words of ours
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=None if environ is None else dict(environ),
    )
    began = time.monotonic()
    with watching(lambda: {process.pid: ("it", limit_mb)}) as seen:
        try:
            said, complained = process.communicate(given, timeout=_PATIENCE_S)
        finally:
            process.kill()
            process.wait()
    held = seen.get("it", Held(limit_mb))
    held.seconds = time.monotonic() - began
    return Done(process.returncode, said, complained, held)


def workers(mark: str) -> dict[int, tuple[str, int]]:
    """Processes in which an emulator runs functions: those that have `mark` and a function's name in their environment.

    Args:
        mark: NAME=VALUE of a variable that all processes of one emulator have.
    """
    found: dict[int, tuple[str, int]] = {}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # gone meanwhile, or another user's
            told = (process / "environ").read_bytes().split(b"\0")
            if mark.encode() not in told:
                continue
            known = dict(each.decode(errors="replace").partition("=")[::2] for each in told)
            name, limit = known.get("AWS_LAMBDA_FUNCTION_NAME"), known.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "")
            if name and limit.isdigit():
                found[int(process.name)] = name, int(limit)
    return found
