"""`/stream/v1`: an index of all frames, then frames and parts of frames, many in one answer.

Asking for one frame at a time costs a round trip each, which is what scrolling over a mobile link fails by. Here a
viewer asks for what it wants next in one small request after the other, and plans anew with each.

The caller's right is asked for once a request, and audited as one reading. A frame that cannot be given is told of in
its place; the others come all the same.
"""

import asyncio
from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from radloop.api.doors import Doors
from radloop.api.errors import log, status_of
from radloop.api.gate import FRAMES
from radloop.api.media import media_type
from radloop.api.operations import Ask, as_json, is_unchanged, validator
from radloop.api.shapes import moment, without_frames
from radloop.api.stream_layers import index_from, packed, previews_from
from radloop.api.uploads import body_of, whole
from radloop.core.errors import Conflict, InvalidInput, NotFound, RadloopError, Unavailable
from radloop.core.identity import Principal
from radloop.core.images import ImageSet, Storage
from radloop.core.ports import AuditEntry, Records
from radloop.core.reads import project_of
from radloop.reading.blinding import Eyes
from radloop.store.readings import Reading
from radloop.streaming.frames import sizes_of
from radloop.streaming.index import index_of
from radloop.streaming.records import (
    MOST_BYTES,
    NO_PREVIEW,
    Item,
    chosen_for,
    header_of,
    items_of,
    packs_of,
    refusal_of,
)

PREFIX = "/stream/v1"
INDEX_TYPE = "application/vnd.radloop.stream-index"
RECORDS_TYPE = "application/vnd.radloop.stream"

_LONGEST_BODY = 64 * 1024
_PIECE_BYTES = 256 * 1024
_SERVER_FAULT = 500
_ASKED_ABOUT = "private, no-cache"
_FOR_GOOD = "private, max-age=31536000, immutable"


async def index(request: Request, doors: Doors, principal: Principal) -> Response:
    """What the frames of an image set are and how long, so that any part of any can be asked for."""
    reading = None if doors.layers is not None else await _reading(request, doors, principal)
    made = await run_in_threadpool(_made, request, doors, principal, reading)
    headers = {**made.headers, "ETag": made.tag, "Cache-Control": _ASKED_ABOUT}
    if is_unchanged(request.headers, made.tag):
        return Response(status_code=304, headers=headers)
    return Response(made.body, media_type=INDEX_TYPE, headers={**headers, "Content-Encoding": "gzip"})


async def frames(request: Request, doors: Doors, principal: Principal) -> Response:
    """The items of the body, one record behind the other.

    Raises:
        InvalidInput: The body is not of its form, or asks for too much.
        Conflict: The version that is named is not the present one.
        HTTPException: 415 for another type, 413 for too long a body.
    """
    if media_type(request.headers.get("content-type", "")).name != "text/plain":
        raise HTTPException(415, "Send the items as text/plain.")
    body = await whole(body_of(request), _LONGEST_BODY)
    try:
        items = items_of(body.decode("ascii"))
    except UnicodeDecodeError:
        raise InvalidInput("the body is not of the form frame:from:to") from None
    reading = await _reading(request, doors, principal)
    if "v" in request.query_params:
        _require_version(request, reading.image_set)
    asked = sum(item.known_bytes(_size(reading, item)) for item in items)
    if asked > MOST_BYTES and len(items) > 1:
        raise InvalidInput(f"several items have {MOST_BYTES} bytes at most together, these have {asked}")
    return _Sent(_Records(reading, items), _told(reading.image_set))


async def pack(request: Request, doors: Doors, principal: Principal) -> Response:
    """Previews of a fixed choice of frames, for caches to keep.

    Raises:
        NotFound: There is no such pack.
        Conflict: The version that is named is not the present one.
    """
    number = int(request.path_params["pack"])
    if doors.layers is not None:
        standing = await run_in_threadpool(_standing_pack, request, doors, principal, number)
        if standing is not None:
            return standing
    reading = await _reading(request, doors, principal)
    _require_version(request, reading.image_set)
    count = len(reading.addresses)
    if number >= packs_of(count):
        raise NotFound(f"pack {number} does not exist; there are {packs_of(count)}")
    chosen = chosen_for(number, count)
    told = _told(reading.image_set)
    lasting = {**told, "ETag": _pack_tag(reading, chosen), "Cache-Control": _FOR_GOOD} if _is_final(reading) else told
    if lasting is not told and is_unchanged(request.headers, lasting["ETag"]):
        return Response(status_code=304, headers=lasting)
    records = _Records(reading, [Item(frame, is_preview=True) for frame in chosen])
    pieces = []
    while not records.are_over:
        pieces += records.at_hand() or await run_in_threadpool(records.next)
    headers = told if records.has_failed else lasting  # what may come out otherwise next time is not kept
    return Response(b"".join(pieces), media_type=RECORDS_TYPE, headers=headers)


def make_link(ask: Ask) -> Response:
    """A query by which whoever holds it reads this image set as the caller.

    Raises:
        InvalidInput: The body is not of its form.
    """
    seconds, links, identity = ask.body.get("seconds"), ask.doors.links, ask.path["id"]
    if set(ask.body) != {"seconds"} or not isinstance(seconds, int) or isinstance(seconds, bool):
        raise InvalidInput("the body must hold seconds, a whole number, and nothing else")
    if links is None:
        raise Unavailable("there are no links here")
    ask.doors.images_of(ask.principal).get(identity)
    link = links.make(identity, ask.principal, seconds=seconds, now=ask.doors.platform.clock())
    ask.doors.platform.audit.record(AuditEntry(ask.principal.id, "link.create", identity))
    return as_json({"query": link.query, "expires_at": moment(link.expires_at)})


async def _reading(request: Request, doors: Doors, principal: Principal) -> Reading:
    """The image set, which the caller may read."""
    images, identity = doors.images_of(principal), request.path_params["id"]
    at_hand = images.reading_at_hand(identity)
    return at_hand if at_hand is not None else await run_in_threadpool(images.reading, identity)


def _told(image_set: ImageSet) -> dict[str, str]:
    return {"X-Radloop-Version": str(image_set.version)}


def _require_version(request: Request, image_set: ImageSet) -> None:
    """Go on only where the version that the query names is the present one."""
    wanted = request.query_params.get("v", "")
    if not wanted.isascii() or not wanted.isdigit():
        raise InvalidInput("v must be the version of the image set")
    if wanted != str(image_set.version):
        raise Conflict(f"image set {image_set.id} is at version {image_set.version}; read its index anew")


class _Made(NamedTuple):
    """An index as it is sent."""

    tag: str
    body: bytes
    headers: dict[str, str]


def _made(request: Request, doors: Doors, principal: Principal, reading: Reading | None) -> _Made:
    """The index of an image set: that of its static layers, where they stand, or else made of its frames.

    `reading` is the image set where layers need not be looked for.
    """
    if doors.layers is not None:
        images, identity = doors.images_of(principal), request.path_params["id"]
        image_set = images.look(identity)
        found = index_from(doors.layers, request, doors, principal, image_set)
        if found is not None:
            plain, headers = found
            return _Made(_index_tag(plain), packed(plain), {**_told(image_set), **headers})
        reading = images.reading_on(identity)
    assert reading is not None
    made = _index_for(reading, doors.platform.records, Eyes.of(principal, doors.platform.policy))
    return _Made(*made, _told(reading.image_set))


def _standing_pack(request: Request, doors: Doors, principal: Principal, number: int) -> Response | None:
    """A pack of previews that stands as a file; None where there is none."""
    image_set = doors.images_of(principal).get(request.path_params["id"])
    _require_version(request, image_set)
    data = None if doors.layers is None else previews_from(doors.layers, image_set, number)
    if data is None:
        return None
    doors.images_of(principal).look(image_set.id)
    headers = {**_told(image_set), "ETag": validator("pack", _digest(data)), "Cache-Control": _FOR_GOOD}
    if is_unchanged(request.headers, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return Response(data, media_type=RECORDS_TYPE, headers=headers)


def _index_for(reading: Reading, records: Records, eyes: Eyes) -> tuple[str, bytes]:
    """The index with its validator as these eyes may see it, remembered as long as the image set stays as it is.

    What the eyes may see follows from the few things that it is remembered under.
    """
    image_set, addresses = reading.image_set, reading.addresses
    project = project_of(records, image_set.datastore)
    key = (INDEX_TYPE, project, eyes.has_read(image_set), eyes.are_shut(records, image_set, project))
    made: tuple[str, bytes] | None = reading.note(key)
    if made is not None:
        return made
    plain = index_of(without_frames(image_set, len(addresses), records, eyes), image_set.version, addresses)
    made = _index_tag(plain), packed(plain)
    reading.noted(key, made)
    return made


def _index_tag(plain: bytes) -> str:
    return validator("index", _digest(plain))


def _pack_tag(reading: Reading, chosen: Sequence[int]) -> str:
    """Stands for where the previews lie, which never change there."""
    found = []
    for frame in chosen:
        address = reading.addresses[frame]
        preview = address.instance.frames[address.number].preview if address.instance.frames else None
        found.append("-" if preview is None else f"{preview.pack} {preview.offset}")
    return validator("pack", _digest("\n".join(found).encode()))


def _digest(data: bytes) -> str:
    return blake2b(data, digest_size=16).hexdigest()


def _is_final(reading: Reading) -> bool:
    """Whether previews that are not there will not come any more under this version."""
    return reading.image_set.is_closed and reading.image_set.storage is not Storage.LANDED


def _size(reading: Reading, item: Item) -> int:
    """Bytes of the layer that an item is of; 0 where that is not known."""
    if item.frame >= len(reading.addresses):
        return 0
    full, preview = sizes_of(reading.addresses[item.frame])
    return (preview if item.is_preview else full) or 0


def _is_withheld(reading: Reading, frame: int) -> bool:
    """Whether a frame has no preview to be shown, see `sizes_of`, and none is still to be made."""
    if frame >= len(reading.addresses):
        return False
    address = reading.addresses[frame]
    is_over = bool(address.instance.frames) or address.instance.storage is Storage.KEPT
    return is_over and sizes_of(address)[1] is None


class _Records:
    """Items on their way to being records, in the order they were asked for.

    Attributes:
        has_failed: One could not be given that ought to be there.
        frames: How many frames of full quality were given up to their last byte.
    """

    def __init__(self, reading: Reading, items: Sequence[Item]) -> None:
        self._reading = reading
        self._items = items
        self._next = 0
        self.has_failed = False
        self.frames = 0

    @property
    def are_over(self) -> bool:
        """Whether all were given."""
        return self._next == len(self._items)

    def at_hand(self) -> list[bytes | bytearray]:
        """Records that need no waiting, some `_PIECE_BYTES` of them; none where the next one needs some."""
        return self._pieces(waits=False)

    def next(self) -> list[bytes | bytearray]:
        """The same, waiting for what needs it: at least one while they are not over."""
        return self._pieces(waits=True)

    def _pieces(self, *, waits: bool) -> list[bytes | bytearray]:
        pieces: list[bytes | bytearray] = []
        held = 0
        while held < _PIECE_BYTES and not self.are_over:
            item = self._items[self._next]
            try:
                record = self._record(item, waits=waits)
            except Exception as error:  # noqa: BLE001 — the others are given all the same, and this one's place tells
                self.has_failed = self.has_failed or _size(self._reading, item) > 0
                record = [_refused(item, error)]
            if not record:
                break
            self._next += 1
            held += sum(map(len, record))
            pieces += record
        return pieces

    def _record(self, item: Item, *, waits: bool) -> list[bytes | bytearray]:
        """Header and bytes of an item; nothing where they must be waited for."""
        if item.is_preview and _is_withheld(self._reading, item.frame):
            raise NotFound(NO_PREVIEW)
        data = self._reading.at_once(item.frame, is_preview=item.is_preview)
        if data is None:
            if not waits:
                return []
            data = self._reading.read(item.frame, is_preview=item.is_preview)
        is_last = not item.end or item.end >= len(data)
        if item.start or item.end:
            if item.start >= len(data):
                raise InvalidInput(f"from must be less than {len(data)}, the bytes there are")
            data = data[item.start : item.end or None]
        self.frames += is_last and not item.is_preview
        return [header_of(item, len(data)), data]


def _refused(item: Item, error: Exception) -> bytes:
    """The record of an item that cannot be given; what is no caller's fault is logged."""
    if isinstance(error, RadloopError):
        if status_of(error) >= _SERVER_FAULT:
            log(error)
        return refusal_of(item, error.code, str(error))
    trace = log(error)
    return refusal_of(item, "internal", f"Something unexpected happened; the log has more under {trace}.")


class _Sent(Response):
    """Records that are sent while they are read, at the pace of whoever takes them, and not when nobody does."""

    media_type = RECORDS_TYPE

    def __init__(self, records: _Records, headers: dict[str, str]) -> None:
        self.status_code = 200
        self.background = None
        self._records = records
        self.init_headers(headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        leaves: asyncio.Task[None] | None = None
        try:
            while not (self._records.are_over or (leaves is not None and leaves.done())):
                pieces = self._records.at_hand() or await run_in_threadpool(self._records.next)
                more = not self._records.are_over
                await send({"type": "http.response.body", "body": b"".join(pieces), "more_body": more})
                if more and leaves is None:  # most answers are one piece, and are over before anybody can leave
                    leaves = asyncio.create_task(_left(receive))
        finally:
            scope[FRAMES] = self._records.frames
            if leaves is not None:
                leaves.cancel()


async def _left(receive: Receive) -> None:
    """Returns when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
