"""What `/stream/v1` answers where the static layers of an image set stand: its index in one read, and its previews.

Whatever is wrong with the layers is logged, and then it is as if there were none: everything comes by the frame too.
"""

import gzip
from collections.abc import Callable
from typing import TypeVar

from starlette.requests import Request

from radloop.api.doors import Doors
from radloop.api.errors import log
from radloop.api.shapes import without_frames
from radloop.core.errors import RadloopError
from radloop.core.identity import Principal
from radloop.core.images import ImageSet
from radloop.core.ports import AuditEntry
from radloop.reading.blinding import Eyes
from radloop.security.links import is_link
from radloop.streaming.index import retold
from radloop.streaming.layers import COMPRESSION
from radloop.streaming.standing import StandingLayers

PACKS = "X-Radloop-Packs"

_T = TypeVar("_T")


def index_from(
    layers: StandingLayers, request: Request, doors: Doors, principal: Principal, image_set: ImageSet
) -> tuple[bytes, dict[str, str]] | None:
    """The index as it stands, with what is told of the image set now, and the headers that go with it.

    The caller may read the image set. What is returned is not packed; None where there is none.
    """
    stored = _if_whole(lambda: layers.index(image_set))
    if stored is None:
        return None
    address = _address(layers, request, doors, principal, image_set)
    records = doors.platform.records
    told = without_frames(image_set, image_set.frames, records, Eyes.of(principal, doors.platform.policy))
    plain = _if_whole(lambda: retold(stored, told, is_static=address is not None))
    return None if plain is None else (plain, {} if address is None else {PACKS: address})


def previews_from(layers: StandingLayers, image_set: ImageSet, pack: int) -> bytes | None:
    """A pack of previews as it stands; None where there is none."""
    return _if_whole(lambda: layers.previews(image_set, pack))


def packed(index: bytes) -> bytes:
    """An index as it is sent."""
    return gzip.compress(index, COMPRESSION, mtime=0)


def _address(
    layers: StandingLayers, request: Request, doors: Doors, principal: Principal, image_set: ImageSet
) -> str | None:
    """What opens the packs to this caller, which is audited; None where nobody signs. A link makes no links."""
    edge = layers.edge
    if edge is None or is_link(request.query_params.multi_items()):
        return None
    now = doors.platform.clock()
    address = _if_whole(lambda: edge.address(image_set.id, image_set.version, principal, now))
    if address is not None:
        doors.platform.audit.record(AuditEntry(principal.id, "link.create", image_set.id))
    return address


def _if_whole(read: Callable[[], _T]) -> _T | None:
    try:
        return read()
    except RadloopError as error:
        log(error)
        return None
