"""Static layers: where the streaming layers of an image set lie as files, and how they go.

    packs/<image set>/<version>/index         the index of a stream, gzip
    packs/<image set>/<version>/previews/<p>  pack p of previews, as `/stream/v1` gives it
    packs/<image set>/<version>/frames/<k>    64 frames at full quality, one behind the other
    drafts/<image set>/<version>/<k>          what the writer knows of 64 frames while the index is not written

The index is written last: where there is none, there are no layers.
"""

import re
from dataclasses import dataclass
from typing import Final

from radloop.core.errors import NotFound
from radloop.core.images import ImageSet
from radloop.core.ports import Blobs, Job, Span

STREAM: Final = "stream/"
"""What the keys of a platform's layers begin with; on AWS that names the bucket."""

LANE: Final = "stream"
KIND: Final = "lay_down"

_VERSION = re.compile(r"[0-9]+")


@dataclass(frozen=True, slots=True)
class LayersPlace:
    """Blob keys of the layers of one version of one image set.

    Attributes:
        root: What all keys begin with; empty, or ending in a slash.
    """

    image_set: str
    version: int
    root: str = STREAM

    @property
    def folder(self) -> str:
        """What the keys of everything but the drafts begin with."""
        return f"{self.root}packs/{self.image_set}/{self.version}/"

    @property
    def drafts(self) -> str:
        """What the keys of the drafts begin with."""
        return f"{self.root}drafts/{self.image_set}/{self.version}/"

    @property
    def index(self) -> str:
        """Key of the index."""
        return f"{self.folder}index"

    def previews(self, pack: int) -> str:
        """Key of a pack of previews."""
        return f"{self.folder}previews/{pack}"

    def frames(self, pack: int) -> str:
        """Key of a pack of frames."""
        return f"{self.folder}frames/{pack}"

    def draft(self, pack: int) -> str:
        """Key of what is known of the frames of a pack."""
        return f"{self.drafts}{pack}"


def asked_for(image_set: ImageSet) -> Job:
    """The job that writes the layers of an image set as it is now; asking for them twice is asking once."""
    payload = {"image_set": image_set.id, "version": image_set.version}
    return Job(f"layers-{image_set.id}-{image_set.version}", LANE, KIND, payload, trace=image_set.id)


def stand(blobs: Blobs, place: LayersPlace) -> bool:
    """Whether the layers are there, whole."""
    return holds(blobs, place.index)


def holds(blobs: Blobs, key: str) -> bool:
    """Whether something is stored under a key."""
    try:
        blobs.get(key, Span(0, 0))
    except NotFound:
        return False
    return True


def discard(blobs: Blobs, image_set: str, *, before: int | None = None, root: str = STREAM) -> int:
    """Remove the layers of an image set, each version's index first; returns how many files there were.

    Args:
        blobs: Where they lie.
        image_set: Whose.
        before: Only those of versions before this one; None for all.
        root: See `LayersPlace`.
    """
    fronts = (f"{root}packs/{image_set}/", f"{root}drafts/{image_set}/")
    keys = [key for front in fronts for key in blobs.keys(front) if _is_before(key.removeprefix(front), before)]
    for key in sorted(keys, key=lambda key: not key.endswith("/index")):
        blobs.delete(key)
    return len(keys)


def _is_before(rest: str, version: int | None) -> bool:
    found = _VERSION.match(rest)
    return version is None or (found is not None and int(found[0]) < version)
