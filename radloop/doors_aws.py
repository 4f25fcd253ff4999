"""The HTTP doors behind API Gateway: the same application, answered by Lambda.

What cannot pass there is told by status and code instead of breaking off. Lambda takes and gives six megabytes, of
which base64 leaves four and a half, within 29 seconds: larger files go into the bucket below `upload/`, larger answers
come from the edge (`stream`). API Gateway hands over whole bodies, so nothing streams.
"""

import json
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import replace
from functools import cache
from threading import Lock
from typing import Any, Final

from mangum import Mangum

from radloop.api.app import create_app, operation_names
from radloop.api.doors import Doors
from radloop.aws.clients import client
from radloop.aws.identities import CognitoIdentities, CognitoPeople
from radloop.aws.meter import EmfMeter
from radloop.aws.notes import RecordNotes
from radloop.aws.served import Frames, HealthImagingStore
from radloop.aws.tokens import CognitoTokens
from radloop.core.contracts import contracts
from radloop.registry.signatures import PrivateKey
from radloop.security.access import RolePolicy, load_roles
from radloop.security.identities import Identities
from radloop.security.links import PURPOSE, Links
from radloop.serving.champion import Champion
from radloop.wiring_aws import Cloud, now, reader_of

LONGEST_ANSWER: Final = 4_500_000
"""Bytes of a body that Lambda can still give back: six megabytes, a third of which base64 takes."""

_HTJ2K: Final = "image/jphc"
_REMEMBERED: Final = 8

_CLAIMS: ContextVar[Mapping[str, Any] | None] = ContextVar("claims", default=None)
"""What API Gateway's authorizer found in the token of the request that is being answered, once it had verified it."""


def application(cloud: Cloud, environ: Mapping[str, str]) -> Callable[[Any, Any], Any]:
    """What answers requests in payload format 2.0 of an HTTP API.

    Args:
        cloud: The environment.
        environ: RADLOOP_ISSUER and RADLOOP_CLIENT_ID name the user pool; without them nobody can sign in but by our
            own credentials.
    """
    doors = _doors(cloud, environ)

    @cache
    def served(name: str) -> Mangum:
        """The application under a name of the API's own, which API Gateway says and no caller can choose."""
        app = create_app(replace(doors, hosts=frozenset({name})))
        return Mangum(app, lifespan="off", text_mime_types=_TEXTS)

    def answer(told: Any, context: Any) -> Any:
        _CLAIMS.set(told["requestContext"].get("authorizer", {}).get("jwt", {}).get("claims"))
        return _fitting(served(told["requestContext"]["domainName"])(told, context))

    return answer


_TEXTS: Final = ["text/", "application/json", "application/problem+json", "application/dicom+json", "application/xml"]


def _fitting(answer: Any) -> Any:
    """The answer, or that it does not fit through Lambda."""
    body = answer.get("body") or ""
    size = len(body) * 3 // 4 if answer.get("isBase64Encoded") else len(body.encode())
    if size <= LONGEST_ANSWER:
        return answer
    problem = {"code": "too-large", "message": f"an answer may be {LONGEST_ANSWER} bytes long here; ask for less"}
    headers = {"content-type": "application/json", "cache-control": "no-store"}
    return {"statusCode": 413, "headers": headers, "body": json.dumps(problem), "isBase64Encoded": False}


def _doors(cloud: Cloud, environ: Mapping[str, str]) -> Doors:
    ports = cloud.platform
    images = HealthImagingStore(
        ports.blobs, ports.records, ports.keys, ports.clock, images=cloud.images, frames=_frames(environ)
    )
    return Doors(
        platform=replace(ports, signer=PrivateKey(cloud.keys.derive("evidence"))),
        images=images,
        champion=Champion(ports.models, ports.blobs),
        notes=RecordNotes(ports.records),
        meter=EmfMeter(cloud.work.catalogue, operation_names(), cloud.emf),
        identities=_identities(cloud, environ),
        links=Links(cloud.keys.derive(PURPOSE)),
        has_worker=True,
    )


def _identities(cloud: Cloud, environ: Mapping[str, str]) -> Identities:
    ports = cloud.platform
    roles = RolePolicy(load_roles((contracts() / "roles.json").read_text())).roles
    issuer, audience = environ.get("RADLOOP_ISSUER", ""), environ.get("RADLOOP_CLIENT_ID", "")
    if not issuer:
        return Identities(ports.records, ports.keys, now, roles=roles)
    return CognitoIdentities(
        ports.records,
        ports.keys,
        now,
        roles=roles,
        tokens=CognitoTokens(issuer, {audience}, now, vouched=lambda _: _CLAIMS.get()),
        people=CognitoPeople(client("cognito-idp"), issuer.rpartition("/")[2], now),
    )


def _frames(environ: Mapping[str, str]) -> Frames:
    """Asks HealthImaging for frames; the names of an image set's frames are remembered while it is read."""
    reader = reader_of(environ)
    names: OrderedDict[str, dict[tuple[str, int], str]] = OrderedDict()
    guard = Lock()

    def frame(image_set: str, sop_uid: str, number: int) -> bytes | None:
        with guard:
            known = names.get(image_set)
        if known is None or (sop_uid, number) not in known:
            metadata = reader.metadata(image_set)
            known = {
                (one.sop_uid, place): each.id for one in metadata.instances for place, each in enumerate(one.frames)
            }
            with guard:
                names[image_set] = known
                while len(names) > _REMEMBERED:
                    names.popitem(last=False)
        name = known.get((sop_uid, number))
        if name is None:
            return None
        found = reader.frame(image_set, name)
        return bytes(found.data) if found.content_type == _HTJ2K else None

    return frame
