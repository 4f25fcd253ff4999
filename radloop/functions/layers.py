"""Jobs that write the static layers of an image set, piece by piece, so that none of them is long.

    layers-<image set>-<version>          asks for the pieces, or writes an image set of one piece whole
    layers-<image set>-<version>-<k>      writes piece k; who finds all pieces written asks for the end
    layers-<image set>-<version>-end      writes previews and index, and removes older versions

Each may be repeated. What is of another version than the present one is left, and swept away by the next that comes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from radloop.core.images import ImageSet
from radloop.core.ports import Blobs, Change, Records
from radloop.core.tables import IMAGE_SETS, image_set_of
from radloop.store.layers import LayersPlace, asked_for, discard, stand
from radloop.streaming.layers import Layers, Written

_END: Final = "end"
_JOBS_TOGETHER: Final = 50


@dataclass(frozen=True, slots=True)
class LayDown:
    """Works on these jobs.

    Attributes:
        blobs: Where the layers lie.
        records: What image sets there are.
        opened: What is written of an image set as it is now.
    """

    blobs: Blobs
    records: Records
    opened: Callable[[ImageSet], Written]

    def run(self, payload: Mapping[str, Any]) -> None:
        """Do one job, by the payload of `store.layers.asked_for` or of one that came of it."""
        identity, version = str(payload["image_set"]), int(payload["version"])
        image_set = self._present(identity, version)
        if image_set is None:
            return
        layers, written, piece = Layers(self.blobs), self.opened(image_set), payload.get("piece")
        if written.version != version:  # it changed while it was opened, and has a job of its own by now
            return
        if piece == _END or (piece is None and written.pieces <= 1) or stand(self.blobs, layers.place(written)):
            for number in range(written.pieces if written.pieces <= 1 else 0):
                layers.piece(written, number)
            layers.finish(written)
            self._present(identity, version)
        elif piece is None:
            self._ask(image_set, [str(number) for number in range(written.pieces)])
        else:
            layers.piece(written, int(piece))
            if self._present(identity, version) is not None and layers.is_ready(written):
                self._ask(image_set, [_END])

    def _present(self, identity: str, version: int) -> ImageSet | None:
        """The image set, if it is at this version; otherwise what was written of this version and before goes."""
        row = self.records.get(IMAGE_SETS, identity)
        if row is None:
            discard(self.blobs, identity)
            return None
        image_set = image_set_of(row)
        if image_set.version == version and image_set.is_closed:
            return image_set
        if stand(self.blobs, LayersPlace(identity, image_set.version)):
            discard(self.blobs, identity, before=image_set.version)
        return None

    def _ask(self, image_set: ImageSet, pieces: list[str]) -> None:
        whole = asked_for(image_set)
        jobs = [replace(whole, id=f"{whole.id}-{each}", payload={**whole.payload, "piece": each}) for each in pieces]
        for first in range(0, len(jobs), _JOBS_TOGETHER):
            self.records.commit(Change(jobs=jobs[first : first + _JOBS_TOGETHER]))
