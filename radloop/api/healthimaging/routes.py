"""Where the addresses of the HealthImaging API lead, who may call, how often, and what a failure is called there."""

import hashlib
import re
from collections.abc import Callable, Mapping
from http import HTTPStatus

from botocore.model import OperationModel
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from radloop.api.doors import Doors, Notes
from radloop.api.errors import log
from radloop.api.gate import OPERATION
from radloop.api.healthimaging.call import Call, Members, Service
from radloop.api.healthimaging.image_sets import NotAcceptable, frame_at_hand
from radloop.api.healthimaging.operations import OPERATIONS
from radloop.api.healthimaging.wire import (
    Sent,
    Told,
    Unreadable,
    path_of,
    read_request,
    service,
    write_answer,
    write_error,
)
from radloop.api.principal import principal_of
from radloop.api.uploads import whole
from radloop.codec.htj2k import TRANSFER_SYNTAX
from radloop.core.errors import (
    Conflict,
    Denied,
    InvalidInput,
    NotFound,
    RadloopError,
    Throttled,
    Unauthenticated,
    UnsupportedPixels,
)
from radloop.core.identity import OWNER, Principal, new_id
from radloop.security.sigv4 import ALGORITHM, SignatureRefused, verify
from radloop.security.sigv4 import Call as SignedCall
from radloop.store.datastores import QuotaExceeded
from radloop.store.metadata import CONTENT_TYPES

LONGEST_BODY = 4 << 20

FRAMES = re.compile(r"/datastore/([0-9a-z]{32})/imageSet/([0-9a-z]{32})/getImageFrame")
"""Where frames are asked for: data store and image set."""

FRAME_OPERATION = "healthimagingGetImageFrame"

_FRAME = "GetImageFrame"
_FRAME_NAMED = re.compile(rb'\s*\{\s*"imageFrameId"\s*:\s*"([0-9a-f]{32})"\s*\}\s*')
_FRAME_TYPE = CONTENT_TYPES[TRANSFER_SYNTAX].encode()
_ADMITTED = "radloop.admitted"
"""Key of the scope under which the principal stands whose signature has been found good."""

_INTERNAL = "InternalServerException"
_NAMES: tuple[tuple[type[RadloopError], str], ...] = (
    (NotAcceptable, "NotAcceptableException"),
    (UnsupportedPixels, "NotAcceptableException"),
    (QuotaExceeded, "ServiceQuotaExceededException"),
    (Unreadable, "BadRequestException"),
    (InvalidInput, "ValidationException"),
    (NotFound, "ResourceNotFoundException"),
    (Conflict, "ConflictException"),
    (Throttled, "ThrottlingException"),
    (Unauthenticated, "AccessDeniedException"),
    (Denied, "AccessDeniedException"),
)
_INSTEAD = {"BadRequestException": "ValidationException", "NotAcceptableException": "ValidationException"}


class Throttle:
    """Calls a second by operation, as the setting `throttle` allows them, counted in notes that all doors share."""

    def __init__(self, rates: Mapping[str, float], notes: Notes) -> None:
        self._rates = dict(rates)
        self._notes = notes

    def admit(self, operation: str) -> None:
        """Take one call.

        Raises:
            Throttled: There were more than the setting `throttle` allows.
        """
        rate = self._rates.get(operation)
        if rate is not None and not self._notes.take(operation, rate):
            raise Throttled("Rate exceeded")


class HealthImaging:
    """The service on one installation: its addresses, and the short way to a frame that is at hand."""

    def __init__(self, doors: Doors) -> None:
        self._served = Service.on(doors)
        self._throttle = Throttle(doors.platform.settings.throttle, doors.notes)

    def routes(self) -> list[BaseRoute]:
        """Every address of the service, at the root of the server, because its clients know no prefix.

        That of frames comes first: it is asked for a thousand times as often as all others together.
        """
        frames_first = sorted(operations(), key=lambda operation: operation.name != _FRAME)
        return [_route(self._served, operation, self._throttle) for operation in frames_first]

    def knows(self, image_set: str) -> bool:
        """Whether a frame of an image set has been given lately, so that others may be at hand."""
        return image_set in self._served.places

    def frame_at_hand(
        self, request: Request, datastore: str, image_set: str, body: bytes
    ) -> tuple[list[tuple[bytes, bytes]], bytes | bytearray] | None:
        """Headers and body of the answer to a call for a frame that is at hand.

        None for everything else, refusals included: the long way comes to the same and tells it. Who has been
        admitted here is not asked for a signature again, which counts once, nor counted twice by `throttle`.
        """
        named = _FRAME_NAMED.fullmatch(body)
        name = "" if named is None else named[1].decode()
        if self._served.place(image_set, name) is None:
            return None
        try:
            principal = request.scope[_ADMITTED] = _admitted(request, body, self._served, self._throttle, _FRAME)
            members = {"datastoreId": datastore, "imageSetId": image_set}
            data = frame_at_hand(Call(self._served, principal, members, request.headers.get("accept", "")), name)
        except (RadloopError, HTTPException):
            return None
        if data is None:
            return None
        told = [(b"content-type", _FRAME_TYPE), (b"x-amzn-requestid", new_id().encode())]
        return [*told, (b"content-length", b"%d" % len(data))], data


def operations() -> list[OperationModel]:
    """Every operation of the model."""
    return [service().operation_model(name) for name in service().operation_names]


def operation_names() -> list[str]:
    """What `Meter` counts calls by."""
    return [_counted(operation) for operation in operations()]


def _counted(operation: OperationModel) -> str:
    return f"healthimaging{operation.name}"


def _route(served: Service, operation: OperationModel, throttle: Throttle) -> Route:
    work = OPERATIONS[operation.name]

    async def endpoint(request: Request) -> Response:
        request.scope[OPERATION] = _counted(operation)
        identity = new_id()
        try:
            told = await _answered(request, served, operation, work, throttle)
        except Exception as error:  # noqa: BLE001 — this door has its own words for failures
            told = _failure(operation, error)
        headers = {**told.headers, "x-amzn-RequestId": identity}
        return Response(told.body, status_code=told.status, headers=headers)

    return Route(path_of(operation), endpoint, methods=[str(operation.http["method"])], name=_counted(operation))


async def _answered(
    request: Request,
    served: Service,
    operation: OperationModel,
    work: Callable[[Call], Members],
    throttle: Throttle,
) -> Told:
    body = await whole(request.stream(), LONGEST_BODY)

    def answer() -> Told:
        principal = _admitted(request, body, served, throttle, operation.name)
        members = read_request(operation, _sent(request, body))
        return write_answer(operation, work(Call(served, principal, members, request.headers.get("accept", ""))))

    return await run_in_threadpool(answer)


def _admitted(request: Request, body: bytes, served: Service, throttle: Throttle, operation: str) -> Principal:
    """Who calls, where they may now."""
    known: Principal | None = request.scope.get(_ADMITTED)
    if known is not None:
        return known
    principal = authenticate(request, body, served.doors)
    throttle.admit(operation)
    return principal


def authenticate(request: Request, body: bytes, doors: Doors) -> Principal:
    """Who calls: the holder of an access key that signed the request, or of a bearer token.

    Where the doors are open every caller is the owner, whatever the signature.

    Raises:
        Unauthenticated: Nobody known, or the signature is not one of this request.
    """
    if doors.is_open:
        return OWNER
    stated = request.headers.get("authorization", "")
    is_signed = stated.startswith(ALGORITHM) or "X-Amz-Signature" in request.query_params
    if not is_signed:
        return principal_of(request)
    if doors.identities is None:
        raise Unauthenticated("nobody is known here")
    call = SignedCall(
        method=request.method,
        path=request.scope["raw_path"],
        query=request.scope["query_string"],
        headers=request.scope["headers"],
        body_sha256=hashlib.sha256(body).hexdigest(),
    )
    signed = verify(call, doors.identities.secret_of, doors.platform.clock(), replays=doors.notes)
    return doors.identities.of_access_key(signed.access_key_id)


def _sent(request: Request, body: bytes) -> Sent:
    query: dict[str, list[str]] = {}
    for name, value in request.query_params.multi_items():
        query.setdefault(name, []).append(value)
    headers = {name.lower(): value for name, value in request.headers.items()}
    return Sent(labels=request.path_params, query=query, headers=headers, body=body)


def _failure(operation: OperationModel, error: Exception) -> Told:
    """The answer to an error, in the words that the operation's model knows."""
    declared = {shape.name for shape in operation.error_shapes}
    if isinstance(error, SignatureRefused):
        headers = {"Content-Type": "application/json", "x-amzn-ErrorType": error.aws_code}
        return Told(HTTPStatus.FORBIDDEN, headers, write_error("AccessDeniedException", str(error)).body)
    if isinstance(error, HTTPException):
        return write_error("ValidationException", str(error.detail))
    name = next((name for kind, name in _NAMES if isinstance(error, kind)), _INTERNAL)
    if name not in declared:
        name = _INSTEAD.get(name, name)
    if name == _INTERNAL:
        return write_error(name, f"Something unexpected happened; the log has more under {log(error)}.")
    return write_error(name, str(error))
