"""Static layers that stand, as the doors read them: the index in one read, and the address that CloudFront opens."""

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Final, TypeVar

from radloop.core.errors import NotFound
from radloop.core.images import ImageSet
from radloop.core.ports import Blobs
from radloop.security.edge import Edge
from radloop.store.layers import LayersPlace
from radloop.streaming.layers import index_at

_REMEMBERED: Final = 8
_T = TypeVar("_T")


class StandingLayers:
    """The layers of an installation.

    Args:
        blobs: Where they lie.
        edge: Signs addresses of them; None where no CDN gives them out.
        ask: Has those of an image set written that has none; called once a version.
    """

    def __init__(
        self, blobs: Blobs, edge: Edge | None = None, ask: Callable[[ImageSet], None] = lambda _: None
    ) -> None:
        self._blobs = blobs
        self._ask = ask
        self._indexes: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._asked: OrderedDict[tuple[str, int], None] = OrderedDict()
        self._guard = Lock()
        self.edge = edge

    def index(self, image_set: ImageSet) -> bytes | None:
        """The index of an image set at its present version, as it was written; None where there are no layers.

        Raises:
            Corrupt: It cannot be unpacked.
        """
        key = image_set.id, image_set.version
        with self._guard:
            found = self._indexes.get(key)
        if found is not None:
            return found
        found = index_at(self._blobs, LayersPlace(*key))
        if found is not None:
            self._remember(self._indexes, key, found)
        elif image_set.is_closed and key not in self._asked:
            self._ask(image_set)
            self._remember(self._asked, key, None)
        return found

    def previews(self, image_set: ImageSet, pack: int) -> bytes | None:
        """A pack of previews; None where there are no layers, or no such pack."""
        if self.index(image_set) is None:
            return None
        try:
            return self._blobs.get(LayersPlace(image_set.id, image_set.version).previews(pack))
        except NotFound:
            return None

    def _remember(self, there: OrderedDict[tuple[str, int], _T], key: tuple[str, int], value: _T) -> None:
        with self._guard:
            there[key] = value
            while len(there) > _REMEMBERED:
                there.popitem(last=False)
