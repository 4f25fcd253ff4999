"""Frames in another transfer syntax than they are stored in, kept sealed once they were made.

What is asked for in one form is asked for in it again, and to read it costs a tenth of what it costs to decode it.
A frame is kept under its image set's data key, by the record its pixels come from: pixels that change lie in another
record, and what was kept of an image set that is deleted opens for nobody.
"""

from radloop.core.errors import Corrupt
from radloop.core.ports import Cipher, Shelf
from radloop.store.instances import StoredInstance


class MadeFrames:
    """What was made of folded frames; without a shelf nothing is kept."""

    def __init__(self, shelf: Shelf | None) -> None:
        self._shelf = shelf

    def at_once(  # noqa: PLR0917 — the one call on the way of every frame
        self, cipher: Cipher, instance: StoredInstance, number: int, syntax: str, head: bytes, tail: bytes
    ) -> bytes | bytearray | None:
        """A kept frame between `head` and `tail`; None where it is not kept, or must be waited for."""
        if self._shelf is None or not instance.frames:
            return None
        return self._opened(cipher, instance, number, syntax, head, tail, waits=False)

    def get(self, cipher: Cipher, instance: StoredInstance, number: int, syntax: str) -> bytes | None:
        """A kept frame; None where it is not kept."""
        if self._shelf is None or not instance.frames:
            return None
        found = self._opened(cipher, instance, number, syntax, b"", b"", waits=True)
        return None if found is None else bytes(found)

    def keep(self, cipher: Cipher, instance: StoredInstance, number: int, syntax: str, data: bytes) -> None:
        """Keep a frame that was made; one that is not folded is not kept, for it has no record of its own yet."""
        if self._shelf is not None and instance.frames:
            sealed = cipher.seal(data, _context(instance, number, syntax))
            self._shelf.put(_key(instance, number, syntax), sealed)

    def clear(self) -> None:
        """Keep nothing any more."""
        if self._shelf is not None:
            self._shelf.clear()

    def _opened(  # noqa: PLR0917 — as `at_once`
        self,
        cipher: Cipher,
        instance: StoredInstance,
        number: int,
        syntax: str,
        head: bytes,
        tail: bytes,
        *,
        waits: bool,
    ) -> bytes | bytearray | None:
        assert self._shelf is not None
        sealed = self._shelf.get(_key(instance, number, syntax), waits=waits)
        if sealed is None:
            return None
        try:
            return cipher.open_between(sealed, _context(instance, number, syntax), head, tail)
        except Corrupt:
            return None  # a disk that lies costs a decoding, and the next one made takes its place


def _key(instance: StoredInstance, number: int, syntax: str) -> str:
    full = instance.frames[number].full
    return f"{instance.image_set}/{full.pack}-{full.offset}-{syntax}"


def _context(instance: StoredInstance, number: int, syntax: str) -> bytes:
    full = instance.frames[number].full
    return f"{instance.image_set}|made|{instance.id}|{number}|{full.pack}|{full.offset}|{syntax}".encode()
