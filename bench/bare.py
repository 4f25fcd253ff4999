"""A server that does of storing only what every one must: receive, hash, encrypt, write and flush.

    python bench/bare.py FOLDER PORT

It knows neither DICOM nor an index, an audit or callers, and keeps nothing that could be found again. It stands beside
the others in `orthanc.py` as the limit: what even it does not reach, no server that hashes, seals and flushes what it
acknowledges can reach on the same machine with the same clients.
"""

import hashlib
import os
import socket
import sys
import threading
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from radloop.local.processes import die_with_parent

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/dicom+json\r\nContent-Length: 2\r\n\r\n{}"
_LONGEST = 8 << 20
_END = b"\r\n\r\n"


def main() -> None:
    """Serve with two processes on the same port, until ended."""
    folder, port = Path(sys.argv[1]), int(sys.argv[2])
    door = socket.socket()
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    door.bind(("127.0.0.1", port))
    door.listen(64)
    parent = os.getpid()
    if not os.fork():
        die_with_parent(parent)
    number = 0
    while True:
        caller, _ = door.accept()
        caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        number += 1
        threading.Thread(target=_store, args=(caller, folder / f"{os.getpid()}-{number}"), daemon=True).start()


def _store(caller: socket.socket, file: Path) -> None:
    """Take in what one connection sends; flushed before each answer."""
    cipher = AESGCM(os.urandom(32))
    held = bytearray(_LONGEST)
    view = memoryview(held)
    with file.open("wb", buffering=0) as out:
        while body := _received(caller, held, view):
            hashlib.sha256(body).digest()
            out.write(cipher.encrypt(os.urandom(12), body, None))
            os.fdatasync(out.fileno())
            caller.sendall(_ANSWER)


def _received(caller: socket.socket, held: bytearray, view: memoryview) -> memoryview | None:
    """The body of the next request, which must tell its length; None at the end of the connection."""
    got = 0
    while (end := held.find(_END, 0, got)) < 0:
        more = caller.recv_into(view[got:])
        if not more:
            return None
        got += more
    head = bytes(held[:end]).lower()
    if head.startswith(b"get"):
        return view[:1]
    whole = end + len(_END) + int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
    while got < whole:
        got += caller.recv_into(view[got:whole])
    return view[end + len(_END) : whole]


if __name__ == "__main__":
    main()
