"""Frames of strangers, decoded in processes that may die.

A codec is C that follows lengths somebody else wrote. So frames that came compressed are decoded in a few children
of this process, each with a limit on memory and on processor time for every frame. One that dies takes its frame
with it and nothing else: the frame does not decode, the next gets a fresh child.

A child is one `python -m radloop.codec.isolated` that reads requests from its standard input and answers on its
standard output; nobody else can reach it. It ends when that input ends, when its parent is gone, or after a quiet
minute. What it answers is bytes of the length described, or a code of ours: this process believes nothing else of it.

Measured with `bench/isolated.py`: 0.3 to 1.7 ms on top of a frame of 512x512 and 16 bits.
"""

import atexit
import fcntl
import json
import os
import resource
import selectors
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from radloop.codec.decoders import DECODED, FRAME_LIMIT, decode_frame, unpack_bits
from radloop.core.errors import DoesNotDecode, InvalidInput, PixelDataMismatch, UnsupportedPixels

Frame = NDArray[Any]

CHILDREN = max(2, min(4, os.cpu_count() or 1))
"""How many frames one process has decoded at a time."""

COMMAND = (sys.executable, "-m", "radloop.codec.isolated")
"""What starts a child; its parent's process id follows."""

_CPU_S, _CPU_S_PER_BYTE = 4.0, 1 / (1 << 20)
_WAIT = 2.5
"""Seconds of waiting per second of processor time allowed: the machine has other work too."""

_MEMORY, _MEMORY_PER_BYTE, _MEMORY_LIMIT = 512 << 20, 12, 4 << 30
_CLAIM_LIMIT, _CLAIM_RATIO = 64 << 20, 2000
"""From this size on, a frame that is said to be compressed further than this is a bomb, or blank."""

_TRIES = 2
_QUIET_S = 60
_PIPE = 1 << 20
_REQUEST, _ANSWER = struct.Struct("<LQ"), struct.Struct("<LQ")
_FAULTS = frozenset(
    -fault for fault in (signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT, signal.SIGXCPU)
)
_REFUSALS: dict[str, type[InvalidInput]] = {
    error.code: error for error in (DoesNotDecode, UnsupportedPixels, PixelDataMismatch)
}


def decode_isolated(
    raw: bytes,
    transfer_syntax: str,
    *,
    rows: int,
    columns: int,
    samples: int,
    bits_allocated: int,
    bits_stored: int,
    signed: bool,
    photometric: str = "MONOCHROME2",
) -> Frame:
    """What `decoders.decode_frame` gives, from a process that may die.

    Returns:
        As `decode_frame`.

    Raises:
        UnsupportedPixels: No codec of ours takes the transfer syntax.
        DoesNotDecode: The codec refuses these bytes, dies of them, or takes too much time or memory for them.
        PixelDataMismatch: The codestream holds an image of another size than described.
    """
    if transfer_syntax not in DECODED:
        raise UnsupportedPixels(f"no codec of ours decodes transfer syntax {transfer_syntax}")
    dtype = np.dtype(f"{'i' if signed else 'u'}{bits_allocated // 8}") if bits_allocated in {8, 16} else None
    size = rows * columns * samples * bits_allocated // 8
    if dtype is None or size > FRAME_LIMIT:
        raise UnsupportedPixels(f"a frame of {rows} x {columns} pixels of {bits_allocated} bits is not decoded")
    if size > _CLAIM_LIMIT and size > _CLAIM_RATIO * len(raw):
        raise DoesNotDecode(f"{len(raw)} bytes are said to be a frame of {rows} x {columns} pixels")
    description = {
        "rows": rows,
        "columns": columns,
        "samples": samples,
        "bits_allocated": bits_allocated,
        "bits_stored": bits_stored,
        "signed": signed,
        "photometric": photometric,
    }
    answer = _pool().ask({"transfer_syntax": transfer_syntax, **description}, raw, size)
    shape = (rows, columns) if samples == 1 else (rows, columns, samples)
    return np.frombuffer(answer, dtype=dtype).reshape(shape)


def unpack_isolated(segment: bytes, length: int) -> bytes:
    """What `decoders.unpack_bits` gives, from a process that may die.

    Raises:
        DoesNotDecode: The segment is damaged.
        PixelDataMismatch: It holds fewer bytes than `length`.
    """
    if length > FRAME_LIMIT:
        raise UnsupportedPixels("a segment of an RLE frame is larger than we decode")
    return bytes(_pool().ask({"unpack": length}, segment, length))


@cache
def _pool() -> "_Pool":
    """The children of this process, for all threads of it."""
    pool = _Pool()
    atexit.register(pool.close)
    return pool


os.register_at_fork(after_in_child=_pool.cache_clear)


class _Gone(Exception):
    """The child died, or has to be killed.

    Args:
        of_the_frame: It would die of this frame again.
    """

    def __init__(self, *, of_the_frame: bool) -> None:
        super().__init__()
        self.of_the_frame = of_the_frame


class _Pool:
    """Children, made when they are needed, one request at a time each."""

    def __init__(self, size: int = CHILDREN) -> None:
        self._free: list[_Child] = []
        self._slots = threading.BoundedSemaphore(size)
        self._guard = threading.Lock()

    def ask(self, request: dict[str, Any], raw: bytes, size: int) -> bytearray:
        """The `size` bytes a child answers; tried twice, where somebody else may have killed the first child."""
        with self._slots:
            for _ in range(_TRIES):
                child = self._take()
                try:
                    answer = child.ask(request, raw, size)
                except _Gone as gone:
                    child.close()
                    if gone.of_the_frame:
                        break
                except InvalidInput:
                    self._give_back(child)
                    raise
                except BaseException:
                    child.close()  # an answer may be half read
                    raise
                else:
                    self._give_back(child)
                    return answer
        raise DoesNotDecode("a codec died of the frame, or took more time or memory than any frame of its size needs")

    def close(self) -> None:
        """End every child that is idle."""
        with self._guard:
            idle, self._free = self._free, []
        for child in idle:
            child.close()

    def _take(self) -> "_Child":
        while True:
            with self._guard:
                child = self._free.pop() if self._free else None
            if child is None:
                return _Child()
            if child.is_alive():
                return child
            child.close()

    def _give_back(self, child: "_Child") -> None:
        with self._guard:
            self._free.append(child)


class _Child:
    """One process that decodes."""

    def __init__(self) -> None:
        one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        self._process = subprocess.Popen(  # noqa: S603 — the command is ours
            [*COMMAND, str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env={**os.environ, **one_thread},
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in, self._out = self._process.stdin.fileno(), self._process.stdout.fileno()
        for pipe in (self._in, self._out):
            with suppress(OSError, AttributeError):  # a smaller one works too
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE)
            os.set_blocking(pipe, False)

    def is_alive(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def ask(self, request: dict[str, Any], raw: bytes, size: int) -> bytearray:
        """The answer to one request.

        Raises:
            _Gone: It died, did not answer in time, or answers nonsense.
            InvalidInput: It refuses the frame.
        """
        deadline = time.monotonic() + _WAIT * _cpu_s(size)
        head = json.dumps({**request, "size": size}).encode()
        for piece in (_REQUEST.pack(len(head), len(raw)) + head, raw):
            self._write(piece, deadline)
        code_length, length = _ANSWER.unpack(self._read(_ANSWER.size, deadline))
        if code_length:
            if code_length + length > _PIPE:
                raise _Gone(of_the_frame=True)
            told = bytes(self._read(code_length + length, deadline))
            refusal = _REFUSALS.get(told[:code_length].decode("ascii", "replace"))
            if refusal is None:
                raise _Gone(of_the_frame=True)
            raise refusal(told[code_length:].decode("ascii", "replace"))
        if length != size:
            raise _Gone(of_the_frame=True)
        return self._read(size, deadline)

    def close(self) -> None:
        """End it."""
        with suppress(OSError):
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _write(self, data: bytes, deadline: float) -> None:
        left = memoryview(data)
        while left:
            self._wait(self._in, selectors.EVENT_WRITE, deadline)
            try:
                left = left[os.write(self._in, left) :]
            except BlockingIOError:
                continue
            except OSError:
                raise self._death() from None

    def _read(self, length: int, deadline: float) -> bytearray:
        data = bytearray(length)
        left = memoryview(data)
        while left:
            self._wait(self._out, selectors.EVENT_READ, deadline)
            try:
                count = os.readv(self._out, [left])
            except BlockingIOError:
                continue
            if not count:
                raise self._death()
            left = left[count:]
        return data

    def _death(self) -> _Gone:
        """What it died of, as far as its status tells."""
        try:
            status = self._process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            return _Gone(of_the_frame=True)
        return _Gone(of_the_frame=status in _FAULTS)

    @staticmethod
    def _wait(pipe: int, event: int, deadline: float) -> None:
        with selectors.PollSelector() as selector:
            selector.register(pipe, event)
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise _Gone(of_the_frame=True)


def _cpu_s(size: int) -> float:
    """Seconds of processor time that a frame of `size` bytes may take; the slowest codec does 7 MB a second."""
    return _CPU_S + size * _CPU_S_PER_BYTE


# The child


def _serve(parent: int) -> None:
    """Answer requests until there are no more."""
    threading.Thread(target=_follow, args=(parent,), daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us
    for limit in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE):
        resource.setrlimit(limit, (0, 0))
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    while True:
        signal.alarm(_QUIET_S)  # unanswered, it ends the process
        head = requests.read(_REQUEST.size)
        if len(head) < _REQUEST.size:
            return
        signal.alarm(0)
        length, raw_length = _REQUEST.unpack(head)
        request = json.loads(requests.read(length))
        _limit(int(request.pop("size")), raw_length)
        raw = requests.read(raw_length)
        _answer(answers, lambda request=request, raw=raw: _decoded(request, raw))  # type: ignore[misc]


def _decoded(request: dict[str, Any], raw: bytes) -> Any:
    if "unpack" in request:
        return unpack_bits(raw, int(request["unpack"]))
    return decode_frame(raw, **request).data.cast("B")


def _answer(answers: BinaryIO, work: Callable[[], Any]) -> None:
    """Send what `work` gives, or the code of what it raises."""
    try:
        told = work()
    except InvalidInput as error:
        code, sentence = error.code.encode(), str(error).encode("ascii", "replace")
        answers.write(_ANSWER.pack(len(code), len(sentence)) + code + sentence)
    else:
        answers.write(_ANSWER.pack(0, len(told)))
        answers.write(told)
    answers.flush()


def _limit(size: int, raw_size: int) -> None:
    """Allow memory and processor time for one frame of `size` bytes; the kernel kills what takes more time."""
    memory = min(_MEMORY + _MEMORY_PER_BYTE * size, _MEMORY_LIMIT) + 3 * raw_size
    used = resource.getrusage(resource.RUSAGE_SELF)
    until = int(used.ru_utime + used.ru_stime + _cpu_s(size)) + 1
    for limit, soft in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CPU, until)):
        hard = resource.getrlimit(limit)[1]
        resource.setrlimit(limit, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def _follow(parent: int) -> None:
    """End with the parent, even in the middle of a frame; codecs leave this thread running."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
