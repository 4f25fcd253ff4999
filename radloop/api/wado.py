"""WADO-RS: metadata, frames and instances of what is stored (PS3.18 §10.4)."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import Response, StreamingResponse

from radloop.api.media import MediaType, accepted
from radloop.api.operations import is_unchanged, validator
from radloop.api.stow import dicom_json_answer
from radloop.codec.htj2k import TRANSFER_SYNTAX
from radloop.core.errors import InvalidInput, NotFound
from radloop.core.identity import derived_id, new_id
from radloop.core.ports import Records
from radloop.core.tables import IMAGE_SETS
from radloop.dicom.document import bulk_value
from radloop.store.folding import native_bytes
from radloop.store.images import ImageStore
from radloop.store.instances import StoredInstance

_EXPLICIT_LE = "1.2.840.10008.1.2.1"
_RAW = "application/octet-stream"
_DICOM = "application/dicom"
_HTJ2K = frozenset({"image/jph", "image/jphc"})
_HTJ2K_SYNTAXES = frozenset({"*", TRANSFER_SYNTAX, "1.2.840.10008.1.2.4.201"})
_JSON = frozenset({"application/dicom+json", "application/json", "*/*", "application/*"})


@dataclass(frozen=True, slots=True)
class Place:
    """What an address names: a study, a series in it, an instance in that."""

    study: str
    series: str | None = None
    instance: str | None = None


def instances_at(place: Place, images: ImageStore, records: Records) -> list[StoredInstance]:
    """The instances at a place, in slice order.

    Raises:
        NotFound: There are none.
    """
    where: dict[str, str | int | None] = {"study_uid": place.study}
    if place.series is not None:
        where["series_uid"] = place.series
    found = [
        instance
        for row in records.find(IMAGE_SETS, where)
        for instance in images.instances(row.key)
        if place.instance in {None, instance.sop_uid}
    ]
    if not found:
        raise NotFound("nothing is stored at this address")
    return found


def metadata(instances: list[StoredInstance], images: ImageStore, headers: Headers, base: str) -> Response:
    """Headers of instances as DICOM JSON.

    Raises:
        HTTPException: 406, something else is asked for.
    """
    require_json(headers)
    tag = validator("metadata", derived_id(base, *(instance.id for instance in instances)))
    shared = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if is_unchanged(headers, tag):
        return Response(status_code=304, headers=shared)
    documents = [images.document(instance, _bulk_uri(instance, images, base)) for instance in instances]
    return dicom_json_answer(documents, headers=shared)


def require_json(headers: Headers) -> None:
    """Go on only where DICOM JSON is wanted.

    Raises:
        HTTPException: 406, something else is asked for.
    """
    if not any(kind.name in _JSON for kind in accepted(headers.get("accept"))):
        raise HTTPException(406, "This address answers with application/dicom+json.")


def frames(instance: StoredInstance, numbers: str, images: ImageStore, headers: Headers) -> Response:
    """Frames as HTJ2K, or as raw little endian pixels where those or anything are asked for.

    Args:
        instance: Whose frames.
        numbers: A list such as `1,2`, counted from 1.
        images: Where they are.
        headers: Of the request.

    Raises:
        InvalidInput: The list makes no sense.
        NotFound: There is no such frame.
        UnsupportedPixels: No codec of ours decodes it.
        HTTPException: 406, neither is asked for.
    """
    wanted = _frame_numbers(numbers, instance.frame_count)
    form, is_single = _frame_form(headers, len(wanted))
    places = _places(instance, images)
    read: Callable[[int], bytes]
    if form == _RAW:
        planar = int((instance.image or {}).get("planar", 0))
        kind = f"{_RAW}; transfer-syntax={_EXPLICIT_LE}"

        def read(number: int) -> bytes:
            return native_bytes(images.pixels(instance.image_set, places[number - 1]), planar)
    else:
        kind = f"{form}; transfer-syntax={TRANSFER_SYNTAX}"

        def read(number: int) -> bytes:
            return images.frame(instance.image_set, places[number - 1])[0]

    begun = read(wanted[0])  # while a refusal can still be told
    if is_single:
        return Response(begun, headers={"Content-Type": kind, "Cache-Control": "private, no-cache"})
    rest = (read(number) for number in wanted[1:])
    return _multipart(form, ((kind, data) for data in chain([begun], rest)))


def files(instances: list[StoredInstance], images: ImageStore, headers: Headers) -> Response:
    """Instances as they arrived.

    Raises:
        HTTPException: 406, another type or transfer syntax than they have is asked for.
    """
    is_single = _file_form(headers, instances)
    begun = images.export(instances[0])
    if is_single:
        return Response(begun, headers={"Content-Type": _file_type(instances[0])})
    rest = ((_file_type(instance), images.export(instance)) for instance in instances[1:])
    return _multipart(_DICOM, chain([(_file_type(instances[0]), begun)], rest))


def bulk(instance: StoredInstance, path: str, images: ImageStore, headers: Headers) -> Response:
    """The value a BulkDataURI of the metadata stands for.

    Raises:
        NotFound: There is no such value.
        HTTPException: 406, it is asked for as something else.
    """
    value = bulk_value(images.export(instance), path)
    for kind in accepted(headers.get("accept")):
        if kind.name in {_RAW, "application/*", "*/*"}:
            return Response(value, headers={"Content-Type": _RAW})
        if _inner(kind) in {_RAW, "*/*"}:
            return _multipart(_RAW, iter([(_RAW, value)]))
    raise HTTPException(406, f"Bulk data is sent as {_RAW}.")


# What is asked for


def _frame_numbers(text: str, count: int) -> list[int]:
    numbers = text.split(",")
    if not all(number.isascii() and number.isdigit() and len(number) < 10 for number in numbers):  # noqa: PLR2004
        raise InvalidInput("frames are numbers from 1, with commas between them")
    found = [int(number) for number in numbers]
    if any(number < 1 for number in found):
        raise InvalidInput("frames are counted from 1")
    if any(number > count for number in found):
        raise NotFound(f"the instance has {count} frames")
    return found


def _frame_form(headers: Headers, count: int) -> tuple[str, bool]:
    """The media type of the frames, and whether one comes without multipart around it."""
    for kind in accepted(headers.get("accept")):
        syntax = kind.parameters.get("transfer-syntax", "*")
        if kind.name == _RAW and count == 1 and syntax in {"*", _EXPLICIT_LE}:
            return _RAW, True
        if kind.name in _HTJ2K and count == 1 and syntax in _HTJ2K_SYNTAXES:
            return kind.name, True
        inner = _inner(kind)
        if inner in _HTJ2K and syntax in _HTJ2K_SYNTAXES:
            return inner, False
        if inner == "image/*" and syntax in _HTJ2K_SYNTAXES:
            return "image/jphc", False
        if inner in {_RAW, "*/*"} and syntax in {"*", _EXPLICIT_LE}:
            return _RAW, False
    raise HTTPException(406, "Frames are sent as image/jph or application/octet-stream, in multipart/related.")


def _file_form(headers: Headers, instances: list[StoredInstance]) -> bool:
    """Whether the one instance comes without multipart around it."""
    for kind in accepted(headers.get("accept")):
        syntax = kind.parameters.get("transfer-syntax", "*")
        if syntax != "*" and any(instance.transfer_syntax != syntax for instance in instances):
            continue
        if kind.name == _DICOM and len(instances) == 1:
            return True
        if _inner(kind) in {_DICOM, "*/*"}:
            return False
    raise HTTPException(406, "Instances are sent as application/dicom, in the transfer syntax they came in.")


def _inner(kind: MediaType) -> str | None:
    """What is asked for inside multipart; anything where nothing is said."""
    if kind.name in {"*/*", "multipart/*"}:
        return "*/*"
    return kind.parameters.get("type", "*/*").lower() if kind.name == "multipart/related" else None


# How it is sent


def _multipart(kind: str, parts: Iterable[tuple[str, bytes]]) -> StreamingResponse:
    boundary = new_id()
    return StreamingResponse(
        _written(boundary, parts),
        headers={
            "Content-Type": f'multipart/related; type="{kind}"; boundary={boundary}',
            "Cache-Control": "private, no-cache",
        },
    )


def _written(boundary: str, parts: Iterable[tuple[str, bytes]]) -> Iterator[bytes]:
    for kind, data in parts:
        yield f"--{boundary}\r\nContent-Type: {kind}\r\nContent-Length: {len(data)}\r\n\r\n".encode()
        yield data
        yield b"\r\n"
    yield f"--{boundary}--\r\n".encode()


def _file_type(instance: StoredInstance) -> str:
    return f"{_DICOM}; transfer-syntax={instance.transfer_syntax}"


def _places(instance: StoredInstance, images: ImageStore) -> dict[int, int]:
    """Where each frame of an instance, counted from 0, stands among those of its image set."""
    return {
        address.number: place
        for place, address in enumerate(images.frames(instance.image_set))
        if address.instance.id == instance.id
    }


def _bulk_uri(instance: StoredInstance, images: ImageStore, base: str) -> Callable[[str], str]:
    image_set = images.get(instance.image_set)
    address = f"{base}/studies/{image_set.study_uid}/series/{image_set.series_uid}/instances/{instance.sop_uid}"
    return lambda path: f"{address}/bulkdata/{path}"
