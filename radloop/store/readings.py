"""The frames of one image set, looked up once and then read one after the other.

A frame is read under its instance, as it was looked up: whatever lands, is folded or deleted meanwhile, no other frame
ever takes its place.
"""

from collections.abc import Callable, Hashable
from typing import Any

from radloop.core.errors import NotFound
from radloop.core.images import ImageSet
from radloop.store.contents import Contents
from radloop.store.instances import StoredInstance
from radloop.store.opened import FrameAddress, Glance, Opened


class Reading:
    """What one request reads of an image set; whether it may was asked before."""

    def __init__(self, opened: Opened, glance: Callable[[Opened, int], Glance | None], contents: Contents) -> None:
        self._opened = opened
        self._glance = glance
        self._contents = contents

    @property
    def image_set(self) -> ImageSet:
        """The image set as it was looked up."""
        return self._opened.image_set

    @property
    def addresses(self) -> tuple[FrameAddress, ...]:
        """Every frame, in slice order."""
        return self._opened.addresses

    def note(self, key: Hashable) -> Any:
        """What `noted` was told; None where that is forgotten."""
        return self._opened.notes.get(key)

    def noted(self, key: Hashable, value: Any) -> None:
        """Remember something as long as the image set stays as it is."""
        self._opened.notes[key] = value

    def at_once(self, index: int, *, is_preview: bool) -> bytes | bytearray | None:
        """What `read` gives; None where that would have to wait, and where `read` raises `NotFound`.

        Raises:
            Corrupt: The record fails its seal.
        """
        glance = self._glance(self._opened, index)
        if glance is None:
            return None
        return glance.preview() if is_preview else glance.full()

    def read(self, index: int, *, is_preview: bool) -> bytes:
        """A frame as an HTJ2K codestream at full quality, or its preview.

        Raises:
            NotFound: There is no such frame, or none any more, or it has no preview yet.
            UnsupportedPixels: No codec of ours decodes it.
            Corrupt: The record fails its seal.
        """
        if not 0 <= index < len(self.addresses):
            raise NotFound(f"frame {index} does not exist; image set {self.image_set.id} has {len(self.addresses)}")
        address = self.addresses[index]
        try:
            return self._read(address.instance, address.number, is_preview=is_preview)
        except NotFound:  # folding has moved it meanwhile, or made its preview
            return self._read(self._contents.fresh(address.instance), address.number, is_preview=is_preview)

    def _read(self, instance: StoredInstance, number: int, *, is_preview: bool) -> bytes:
        if not is_preview:
            return self._contents.codestream(self._opened.cipher, instance, number)
        data = self._contents.preview(self._opened.cipher, instance, number)
        if data is None:
            raise NotFound("the frame has no preview yet")
        return data
