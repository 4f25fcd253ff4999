"""Requests and answers of the HealthImaging API, read and written by the model that botocore ships.

The model says which member stands in the address, the query, a header or the body, of what type it is and what it may
hold. Nothing about an operation is written down here a second time, so that this door cannot drift from its clients.

See:
    Smithy's AWS restJson1 protocol; service model `medical-imaging` 2023-07-19.
"""

import base64
import binascii
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Any

import orjson
from botocore.loaders import Loader
from botocore.model import OperationModel, ServiceModel, Shape, StructureShape

from radloop.core.errors import InvalidInput

SERVICE = "medical-imaging"

_LABEL = re.compile(r"\{(\w+)\}")
_ENDS_OF_TIME = (-62_135_596_800.0, 253_402_300_799.0)


class Unreadable(InvalidInput):
    """The body of a request cannot be read at all."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A request as it came.

    Attributes:
        labels: What the address names, decoded.
        query: Every value of each name, in order.
        headers: By lower-case name.
    """

    labels: Mapping[str, str]
    query: Mapping[str, Sequence[str]]
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Told:
    """An answer as it goes out."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@cache
def service() -> ServiceModel:
    """The model of the whole service."""
    return ServiceModel(Loader().load_service_model(SERVICE, "service-2"), SERVICE)


def path_of(operation: OperationModel) -> str:
    """The address of an operation in Starlette's spelling; a label whose values hold slashes takes the rest of it."""
    members = operation.input_shape.members

    def spelled(match: re.Match[str]) -> str:
        label = match[1]
        shape = next(shape for shape in members.values() if shape.serialization.get("name") == label)
        return f"{{{label}:path}}" if "/" in shape.metadata.get("pattern", "") else match[0]

    return _LABEL.sub(spelled, str(operation.http["requestUri"]))


# What comes in


def read_request(operation: OperationModel, sent: Sent) -> dict[str, Any]:
    """The members of a request, each of its own type, those that were not sent left out.

    Strings, whole numbers and truth values are Python's; timestamps are aware `datetime`s, blobs are `bytes`,
    structures and maps are `dict`s.

    Raises:
        Unreadable: The body is not JSON of the kind asked for.
        InvalidInput: A member is missing, of another type, or outside its constraints.
    """
    shape = operation.input_shape
    faults: list[str] = []
    read: dict[str, Any] = {}
    document = _document(shape, sent.body)
    for name, member in shape.members.items():
        value = _sent_value(shape, name, member, sent, document)
        if value is not None:
            read[name] = _checked(member, value, f"/{name}", faults)
    _require(shape, read, "", faults)
    if faults:
        some = "1 validation error" if len(faults) == 1 else f"{len(faults)} validation errors"
        raise InvalidInput(f"{some} detected. {' '.join(faults)}")
    return read


def _document(shape: StructureShape, body: bytes) -> Any:
    """What the body holds as JSON; None where it is empty or the operation takes none."""
    in_body = [member for member in shape.members.values() if "location" not in member.serialization]
    if not in_body or not body.strip():
        return None
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Unreadable("the body is not JSON") from None
    if document is not None and not isinstance(document, dict):
        raise Unreadable("the body must be a JSON object")
    return document


def _sent_value(shape: StructureShape, name: str, member: Shape, sent: Sent, document: Any) -> Any:
    """A member as it was sent; None where it was not."""
    place, known = member.serialization.get("location"), str(member.serialization.get("name", name))
    if place == "uri":
        return sent.labels.get(known)
    if place == "querystring":
        values = sent.query.get(known)
        if member.type_name == "list":
            return None if values is None else [_plain(member.member, value) for value in values]
        return None if not values else _plain(member, values[0])
    if place == "header":
        text = sent.headers.get(known.lower())
        return None if text is None else _plain(member, text)
    if shape.serialization.get("payload") == name:
        return document
    return None if document is None else document.get(known)


def _plain(shape: Shape, text: str) -> Any:
    """Text of an address or a header as the JSON value it stands for; what it cannot stand for stays text."""
    if shape.type_name in {"integer", "long"} and re.fullmatch(r"-?\d{1,18}", text, re.ASCII):
        return int(text)
    if shape.type_name == "boolean":
        return {"true": True, "false": False}.get(text, text)
    return text


def _checked(shape: Shape, value: Any, place: str, faults: list[str]) -> Any:
    """A value of the shape's type; what is wrong with it is added to `faults`, never with the value itself."""
    return _CHECKS[shape.type_name](shape, value, place, faults)


def _list(shape: Shape, value: Any, place: str, faults: list[str]) -> Any:
    if not isinstance(value, list):
        return _fault(faults, place, "Member must be a list")
    _check_size(shape, len(value), place, faults)
    return [_checked(shape.member, each, f"{place}/{index}", faults) for index, each in enumerate(value)]


def _map(shape: Shape, value: Any, place: str, faults: list[str]) -> Any:
    if not isinstance(value, dict):
        return _fault(faults, place, "Member must be a map")
    _check_size(shape, len(value), place, faults)
    for key in value:
        _checked(shape.key, key, f"{place} (a key)", faults)
    return {key: _checked(shape.value, each, f"{place} (a value)", faults) for key, each in value.items()}


def _whole_number(shape: Shape, value: Any, place: str, faults: list[str]) -> Any:
    if not isinstance(value, int) or isinstance(value, bool):
        return _fault(faults, place, "Member must be a whole number")
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if least is not None and value < least:
        _fault(faults, place, f"Member must have value greater than or equal to {least}")
    if most is not None and value > most:
        _fault(faults, place, f"Member must have value less than or equal to {most}")
    return value


def _truth(shape: Shape, value: Any, place: str, faults: list[str]) -> Any:  # noqa: ARG001 — one signature
    return value if isinstance(value, bool) else _fault(faults, place, "Member must be true or false")


def _structure(shape: StructureShape, value: Any, place: str, faults: list[str]) -> Any:
    if not isinstance(value, dict):
        return _fault(faults, place, "Member must be a structure")
    given: dict[str, Any] = {}
    for name, member in shape.members.items():
        sent = value.get(member.serialization.get("name", name))
        if sent is not None:
            given[name] = _checked(member, sent, f"{place}/{name}", faults)
    if shape.is_tagged_union and len(given) != 1:
        return _fault(faults, place, f"Member must hold exactly one of [{', '.join(shape.members)}]")
    _require(shape, given, place, faults)
    return given


def _require(shape: StructureShape, given: Mapping[str, Any], place: str, faults: list[str]) -> None:
    for name in shape.required_members:
        if name not in given:
            _fault(faults, f"{place}/{name}", "Member must not be null")


def _string(shape: Shape, value: Any, place: str, faults: list[str]) -> Any:
    if not isinstance(value, str):
        return _fault(faults, place, "Member must be a string")
    if shape.enum and value not in shape.enum:
        return _fault(faults, place, f"Member must satisfy enum value set: [{', '.join(shape.enum)}]")
    _check_size(shape, len(value), place, faults)
    pattern = shape.metadata.get("pattern")
    if pattern is not None and value and not _pattern(pattern).fullmatch(value):
        return _fault(faults, place, f"Member must satisfy regular expression pattern: {pattern}")
    return value


@lru_cache(maxsize=256)
def _pattern(pattern: str) -> re.Pattern[str]:
    """A pattern of the model as Python spells it."""
    return re.compile(pattern.replace(r"\p{ASCII}", r"[\x00-\x7f]"), re.ASCII)


def _blob(shape: Shape, value: Any, place: str, faults: list[str]) -> Any:
    if not isinstance(value, str):
        return _fault(faults, place, "Member must be a base64 string")
    try:
        data = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return _fault(faults, place, "Member must be a base64 string")
    _check_size(shape, len(data), place, faults)
    return data


def _moment(shape: Shape, value: Any, place: str, faults: list[str]) -> Any:  # noqa: ARG001 — one signature
    """Seconds since 1970, or RFC 3339 text, which some clients send."""
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        if _ENDS_OF_TIME[0] <= value <= _ENDS_OF_TIME[1]:
            return datetime.fromtimestamp(value, UTC)
    elif isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            return _fault(faults, place, "Member must be a timestamp")
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return _fault(faults, place, "Member must be a timestamp")


def _check_size(shape: Shape, size: int, place: str, faults: list[str]) -> None:
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if least is not None and size < least:
        _fault(faults, place, f"Member must have length greater than or equal to {least}")
    if most is not None and size > most:
        _fault(faults, place, f"Member must have length less than or equal to {most}")


def _fault(faults: list[str], place: str, constraint: str) -> None:
    faults.append(f"Value at '{place}' failed to satisfy constraint: {constraint}.")


_CHECKS: Mapping[str, Callable[[Shape, Any, str, list[str]], Any]] = {
    "structure": _structure,
    "list": _list,
    "map": _map,
    "string": _string,
    "integer": _whole_number,
    "boolean": _truth,
    "timestamp": _moment,
    "blob": _blob,
}


# What goes out


def write_answer(operation: OperationModel, values: Mapping[str, Any]) -> Told:
    """The answer that tells `values`; members that are None are left out.

    Raises:
        KeyError: A member the model requires is missing, or one is not in the model: a fault of ours.
    """
    shape = operation.output_shape
    given = {name: value for name, value in values.items() if value is not None}
    missing = [name for name in shape.required_members if name not in given]
    if missing or given.keys() - shape.members.keys():
        raise KeyError(f"{operation.name} answers {', '.join([*missing, *(given.keys() - shape.members.keys())])}")
    headers = {
        str(member.serialization["name"]): str(given[name])
        for name, member in shape.members.items()
        if member.serialization.get("location") == "header" and name in given
    }
    status = int(operation.http.get("responseCode", 200))
    payload = shape.serialization.get("payload")
    if payload is not None:
        return Told(status, headers, given[payload])
    body = {
        str(member.serialization.get("name", name)): _written(member, given[name])
        for name, member in shape.members.items()
        if name in given and "location" not in member.serialization
    }
    return Told(status, {"Content-Type": "application/json", **headers}, orjson.dumps(body))


def _written(shape: Shape, value: Any) -> Any:
    kind = shape.type_name
    if kind == "structure":
        unknown = value.keys() - shape.members.keys()
        if unknown:
            raise KeyError(f"{shape.name} has no {', '.join(unknown)}")
        return {
            str(member.serialization.get("name", name)): _written(member, value[name])
            for name, member in shape.members.items()
            if value.get(name) is not None
        }
    if kind == "list":
        return [_written(shape.member, each) for each in value]
    if kind == "map":
        return {key: _written(shape.value, each) for key, each in value.items()}
    if kind == "timestamp":
        return math.floor(value.timestamp() * 1000) / 1000
    if kind == "blob":
        return base64.b64encode(value).decode()
    return value


def write_error(name: str, message: str) -> Told:
    """The answer that an operation failed; botocore makes the exception class of that name of it."""
    error = service().shape_for(name).metadata["error"]
    headers = {"Content-Type": "application/json", "x-amzn-ErrorType": name}
    return Told(int(error["httpStatusCode"]), headers, orjson.dumps({"message": message}))
