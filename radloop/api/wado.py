"""WADO-RS: metadata, frames, bulk data and instances of what is stored (PS3.18 §10.4)."""

import gzip
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import orjson
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import Response, StreamingResponse

from radloop.api.dicom_json import DICOM_JSON, require_json
from radloop.api.media import accepted_by
from radloop.api.metadata import Documents, takes_gzip
from radloop.api.negotiation import (
    EXPLICIT_LE,
    HTJ2K,
    HTJ2K_RPCL,
    RAW,
    Form,
    files_choice,
    frame_forms,
    frames_choice,
    value_choice,
)
from radloop.api.operations import is_unchanged, validator
from radloop.api.ranges import ranged
from radloop.codec.isolated import unpack_isolated
from radloop.core.errors import InvalidInput, NotFound, TooLarge
from radloop.core.identity import derived_id
from radloop.core.images import ImageSet, Storage
from radloop.core.ports import Records
from radloop.core.tables import IMAGE_SETS, INSTANCES, TOMBSTONES
from radloop.dicom.document import bulk_value
from radloop.dicom.parse import parse
from radloop.dicom.pixels import StoredFrames, frames_encapsulated
from radloop.store.guarded import GuardedImages
from radloop.store.instances import StoredInstance, instance_of
from radloop.store.transcoding import NATIVE, transcoded

READ, EXPORT = "image.read", "image.export"
PRIVATE = "private, no-cache"
"""Kept by the caller alone, and asked about each time."""

_LONGEST_NUMBER = 9
_MOST_FRAMES = 10_000


@dataclass(frozen=True, slots=True)
class Place:
    """What an address names: a study, a series in it, an instance in that; in one data store.

    Attributes:
        image_set: The only image set that is meant; without it the primary one of each series is.
    """

    datastore: str
    study: str
    series: str | None = None
    instance: str | None = None
    image_set: str | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """An image set at a place, and the revision of its record that was read."""

    image_set: ImageSet
    revision: int

    def address(self, base: str) -> str:
        """Where it is, below the address of the service."""
        return f"{base}/studies/{self.image_set.study_uid}/series/{self.image_set.series_uid}"


@dataclass(frozen=True, slots=True)
class Visit:
    """A request for what lies at a place, by someone.

    Attributes:
        base: Address of the service.
        longest: Bytes of an answer that reach them at most; None for any number.
    """

    place: Place
    images: GuardedImages
    records: Records
    headers: Headers
    base: str
    longest: int | None = None

    def image_sets(self, action: str = READ, *, is_whole: bool = False) -> list[Held]:
        """The image sets at the place that the caller may know of, oldest first.

        Args:
            action: What they are wanted for.
            is_whole: Those that are not the primary one of their series, too.

        Raises:
            NotFound: There are none.
            HTTPException: 410, the one that is named has been deleted.
        """
        where: dict[str, str | int | None] = {"study_uid": self.place.study, "datastore": self.place.datastore}
        if self.place.series is not None:
            where["series_uid"] = self.place.series
        found = []
        for row in self.records.find(IMAGE_SETS, where):
            if self.place.image_set not in {None, row.key}:
                continue
            try:
                found.append(Held(self.images.get(row.key, action), row.revision))
            except NotFound:
                continue  # of a patient out of scope
        if self.place.image_set is None and not is_whole:
            found = [held for held in found if held.image_set.is_primary] or found
        if not found:
            self._refuse_what_is_gone()
            raise NotFound("nothing is stored at this address")
        return found

    def _refuse_what_is_gone(self) -> None:
        """Tell of a deleted image set that it is; only who knows its id is told, and of nothing but that.

        Raises:
            HTTPException: 410.
        """
        row = None if self.place.image_set is None else self.records.get(TOMBSTONES, self.place.image_set)
        if row is not None and row.document["datastore"] == self.place.datastore:
            raise HTTPException(410, "The image set has been deleted.")

    def instances(self, action: str = READ) -> list[tuple[Held, StoredInstance]]:
        """The instances at the place, in slice order.

        Raises:
            NotFound: There are none.
        """
        found = [(held, instance) for held in self.image_sets(action) for instance in self.instances_in(held)]
        if not found:
            raise NotFound("nothing is stored at this address")
        return found

    def instances_in(self, held: Held) -> list[StoredInstance]:
        """Those of one image set."""
        if self.place.instance is None:
            return self.images.instances(held.image_set.id)
        rows = self.records.find(INSTANCES, {"image_set": held.image_set.id, "sop_uid": self.place.instance})
        return [instance for instance in map(instance_of, rows) if instance.superseded_by is None]

    def instance(self) -> tuple[Held, StoredInstance]:
        """The one instance that is named.

        Raises:
            NotFound: There is none.
        """
        return self.instances()[0]


def metadata(visit: Visit, documents: Documents) -> Response:
    """Headers of instances as DICOM JSON, gzipped where the caller takes that.

    Raises:
        NotFound: There is nothing.
        HTTPException: 406, something else is asked for.
    """
    require_json(visit.headers)
    found = visit.image_sets()
    for held in found:
        visit.images.look(held.image_set.id)
    state = (visit.base, visit.place.instance or "", *(f"{held.image_set.id}@{held.revision}" for held in found))
    tag = validator("metadata", derived_id(*state))
    shared = {"ETag": f"W/{tag}", "Cache-Control": PRIVATE, "Vary": "Accept, Accept-Encoding"}
    if is_unchanged(visit.headers, tag):
        return Response(status_code=304, headers=shared)
    body = documents.get(state, lambda: _documents(visit, found))
    headers = {"Content-Type": DICOM_JSON, **shared}
    if takes_gzip(visit.headers.get("accept-encoding")):
        return Response(body, headers={**headers, "Content-Encoding": "gzip"})
    return Response(gzip.decompress(body), headers=headers)


def frames(visit: Visit, numbers: str) -> Response:
    """Frames in a form that the caller accepts.

    Args:
        visit: Whose frames.
        numbers: A list such as `1,2`, counted from 1.

    Raises:
        InvalidInput: The list makes no sense.
        NotFound: There is no such frame.
        UnsupportedPixels: No codec of ours makes or takes it.
        HTTPException: 406, none of what is accepted can be made; 416.
    """
    held, instance = visit.instance()
    wanted = frame_numbers(numbers, instance.frame_count)
    return frames_answer(
        instance, wanted, visit.headers, held.address(visit.base), _Frames(instance, visit.images).read
    )


def frames_answer(
    instance: StoredInstance, wanted: list[int], asked: Headers, address: str, read: Callable[[int, Form], bytes]
) -> Response:
    """The frames of an instance as a request accepts them.

    Args:
        instance: Whose frames.
        wanted: Their numbers, counted from 1; there are such.
        asked: The headers of the request.
        address: Where the series of the instance is.
        read: Gives a frame in a form.

    Raises:
        UnsupportedPixels: No codec of ours makes or takes it.
        HTTPException: 406, none of what is accepted can be made; 416.
    """
    form, is_single = frames_choice(accepted_by(asked), frame_forms(instance), len(wanted))
    identity = derived_id(instance.id, ",".join(map(str, wanted)), *form[:2])
    tag = validator("frames", identity)
    shared = {"ETag": tag, "Cache-Control": PRIVATE, "Vary": "Accept"}
    if is_unchanged(asked, tag):
        return Response(status_code=304, headers=shared)
    place = f"{address}/instances/{instance.sop_uid}/frames"
    begun = read(wanted[0], form)  # while a refusal can still be told
    if is_single:
        headers = {**shared, "Content-Type": form.content_type, "Content-Location": f"{place}/{wanted[0]}"}
        return ranged(begun, asked, headers)
    parts = (
        (form.content_type, f"{place}/{number}", begun if order == 0 else read(number, form))
        for order, number in enumerate(wanted)
    )
    return multipart(form.media, parts, boundary=identity, headers=shared, is_short=len(wanted) == 1)


def files(visit: Visit) -> Response:
    """Instances as they arrived, or in another transfer syntax where that is asked for.

    Raises:
        NotFound: There are none.
        UnsupportedPixels: The first of them cannot be had so.
        TooLarge: They are more than gets out of here; none was read for it.
        HTTPException: 406, none of what is accepted can be made.
    """
    found = visit.instances(EXPORT)
    instances = [instance for _, instance in found]
    choice = files_choice(accepted_by(visit.headers), instances)
    size, is_as_long = sum(one.size_bytes for one in instances), choice.form.is_original or choice.form.syntax in NATIVE
    if visit.longest is not None and is_as_long and size > visit.longest:
        raise TooLarge(f"an answer may be {visit.longest} bytes long here, and these files have {size}; ask for fewer")

    def read(instance: StoredInstance) -> tuple[str, bytes]:
        data = visit.images.export(instance)
        if choice.form.is_original:
            return instance.transfer_syntax, data
        return choice.form.syntax, transcoded(data, choice.form.syntax)

    syntax, begun = read(instances[0])
    if choice.is_single:
        held, instance = found[0]
        address = f"{held.address(visit.base)}/instances/{instance.sop_uid}"
        return Response(begun, headers={"Content-Type": _file_type(syntax), "Content-Location": address})

    def parts() -> Iterator[tuple[str, str, bytes]]:
        for place, (held, instance) in enumerate(found):
            told, data = (syntax, begun) if place == 0 else read(instance)
            yield _file_type(told), f"{held.address(visit.base)}/instances/{instance.sop_uid}", data

    return multipart("application/dicom", parts(), boundary=derived_id(*(each.id for each in instances)))


def bulk(visit: Visit, path: str) -> Response:
    """The value a BulkDataURI of the metadata stands for, or a range of its bytes.

    Raises:
        NotFound: There is no such value.
        HTTPException: 406, it is asked for as something else; 416.
    """
    held, instance = visit.instance()
    is_single = value_choice(accepted_by(visit.headers))
    tag = validator("bulk", derived_id(instance.id, path))
    shared = {"ETag": tag, "Cache-Control": PRIVATE, "Vary": "Accept"}
    if is_unchanged(visit.headers, tag):
        return Response(status_code=304, headers=shared)
    value = bulk_value(visit.images.export(instance, READ), path)
    address = f"{held.address(visit.base)}/instances/{instance.sop_uid}/bulkdata/{path}"
    if is_single:
        return ranged(value, visit.headers, {**shared, "Content-Type": RAW, "Content-Location": address})
    return multipart(RAW, iter([(RAW, address, value)]), boundary=derived_id(tag), headers=shared)


def frame_numbers(text: str, count: int) -> list[int]:
    """The frames a list such as `1,2` names, of so many.

    Raises:
        InvalidInput: It is no list of numbers from 1, or too long.
        NotFound: There are not so many.
    """
    numbers = text.split(",")
    if not all(number.isascii() and number.isdigit() and len(number) <= _LONGEST_NUMBER for number in numbers):
        raise InvalidInput("frames are numbers from 1, with commas between them")
    found = [int(number) for number in numbers]
    if any(number < 1 for number in found):
        raise InvalidInput("frames are counted from 1")
    if len(found) > _MOST_FRAMES:
        raise InvalidInput(f"at most {_MOST_FRAMES} frames are sent at once")
    if any(number > count for number in found):
        raise NotFound(f"the instance has {count} frames")
    return found


def places(instance: StoredInstance, images: GuardedImages) -> dict[int, int]:
    """Where each frame of an instance, counted from 0, stands among those of its image set."""
    return {
        address.number: place
        for place, address in enumerate(images.frames(instance.image_set))
        if address.instance.id == instance.id
    }


def multipart(
    media: str,
    parts: Iterable[tuple[str, str, bytes]],
    *,
    boundary: str,
    headers: dict[str, str] | None = None,
    is_short: bool = False,
) -> Response:
    """A multipart/related answer: Content-Type, Content-Location and body of each part.

    It is sent as its parts come, or in one piece where it `is_short`.
    """
    kind = f'multipart/related; type="{media}"; boundary={boundary}'
    told = {"Cache-Control": PRIVATE, **(headers or {}), "Content-Type": kind}
    written = _written(boundary, parts)
    return Response(b"".join(written), headers=told) if is_short else StreamingResponse(written, headers=told)


class _Frames:
    """The frames of one instance, in any form; what was read for one serves the next."""

    def __init__(self, instance: StoredInstance, images: GuardedImages) -> None:
        self._instance = instance
        self._images = images

    def read(self, number: int, form: Form) -> bytes:
        """Frame `number`, from 1."""
        instance = self._instance
        if form.is_original and instance.transfer_syntax not in NATIVE:
            return self._codestreams[number - 1]
        is_landed = instance.transfer_syntax in NATIVE and instance.storage is not Storage.FOLDED
        if form.syntax == EXPLICIT_LE and is_landed:
            return self._stored.frame(number - 1)[0]
        if form.syntax in {HTJ2K, HTJ2K_RPCL}:
            return self._images.frame(instance.image_set, self._places[number - 1])[0]
        return self._images.frame_as(instance.image_set, self._places[number - 1], form.syntax)

    @cached_property
    def _places(self) -> dict[int, int]:
        return places(self._instance, self._images)

    @cached_property
    def _data(self) -> bytes:
        return self._images.export(self._instance, READ)

    @cached_property
    def _codestreams(self) -> list[bytes]:
        return frames_encapsulated(self._data)

    @cached_property
    def _stored(self) -> StoredFrames:
        return StoredFrames(self._data, parse(self._data), unpack=unpack_isolated)


def _documents(visit: Visit, found: list[Held]) -> bytes:
    documents = [text for held in found for text in _texts(visit, held)]
    if not documents:
        raise NotFound("nothing is stored at this address")
    return b"[%s]" % b",".join(documents)


def _texts(visit: Visit, held: Held) -> list[bytes]:
    """The documents of the instances of an image set that are meant, as JSON texts."""
    instances = f"{held.address(visit.base)}/instances"
    if visit.place.instance is None:
        return visit.images.documents(held.image_set.id, lambda sop_uid: f"{instances}/{sop_uid}/bulkdata")
    return [
        orjson.dumps(visit.images.document(one, _bulk_uri(f"{instances}/{one.sop_uid}")))
        for one in visit.instances_in(held)
    ]


def _bulk_uri(address: str) -> Callable[[str], str]:
    return lambda path: f"{address}/bulkdata/{path}"


def _written(boundary: str, parts: Iterable[tuple[str, str, bytes]]) -> Iterator[bytes]:
    for kind, address, data in parts:
        head = f"Content-Type: {kind}\r\nContent-Location: {address}\r\nContent-Length: {len(data)}"
        yield f"--{boundary}\r\n{head}\r\n\r\n".encode()
        yield data
        yield b"\r\n"
    yield f"--{boundary}--\r\n".encode()


def _file_type(syntax: str) -> str:
    return f"application/dicom; transfer-syntax={syntax}"
