"""The HTTP doors behind API Gateway: the same application, answered by Lambda.

What cannot pass there is told by status and code instead of breaking off. Lambda takes and gives six megabytes, of
which base64 leaves four and a half, within 29 seconds: larger files come in pieces (`api.resumable`) or into the bucket
below `upload/`, larger answers come from the edge (`stream`). API Gateway hands over whole bodies, so nothing streams.
"""

import json
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import replace
from datetime import timedelta
from functools import cache, partial
from typing import Any, Final
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError
from mangum import Mangum

from radloop.api.app import create_app, operation_names
from radloop.api.doors import Doors
from radloop.aws.clients import client, translated
from radloop.aws.identities import CognitoIdentities, CognitoPeople
from radloop.aws.meter import EmfMeter
from radloop.aws.notes import RecordNotes
from radloop.aws.sign_in import PURPOSE as SIGN_IN
from radloop.aws.sign_in import PoolPage
from radloop.aws.tokens import CognitoTokens
from radloop.core.contracts import contracts
from radloop.core.images import ImageSet
from radloop.core.ports import Change
from radloop.registry.signatures import PrivateKey
from radloop.security.access import RolePolicy, load_roles
from radloop.security.edge import Edge
from radloop.security.identities import IDLE_GRACE, Identities
from radloop.security.links import PURPOSE, Links
from radloop.security.sign_in import NativeApp
from radloop.serving.champion import Champion
from radloop.streaming.standing import StandingLayers
from radloop.wiring_aws import Cloud, now, reader_of, store_of

LONGEST_ANSWER: Final = 4_500_000
"""Bytes of a body that Lambda can still give back: six megabytes, a third of which base64 takes."""

LONGEST_BODY: Final = 4 << 20
"""Bytes of a request's body that Lambda is still handed: six megabytes with headers and claims, in base64."""

_CLAIMS: ContextVar[Mapping[str, Any] | None] = ContextVar("claims", default=None)
"""What API Gateway's authorizer found in the token of the request that is being answered, once it had verified it."""


def application(cloud: Cloud, environ: Mapping[str, str]) -> Callable[[Any, Any], Any]:
    """What answers requests in payload format 2.0 of an HTTP API.

    Args:
        cloud: The environment.
        environ: RADLOOP_ISSUER and RADLOOP_CLIENT_ID name the user pool; without them nobody can sign in but by our
            own credentials. RADLOOP_SIGN_IN_URL and RADLOOP_SITE_URL name the pool's page and our site; without them
            no browser can. With RADLOOP_NATIVE_CLIENT_ID programs can sign in whoever runs them.
    """
    doors = _doors(cloud, environ)

    @cache
    def served(name: str) -> Mangum:
        """The application under a name of the API's own, which API Gateway says and no caller can choose."""
        app = create_app(replace(doors, hosts=frozenset({name})))
        return Mangum(app, lifespan="off", text_mime_types=_TEXTS)

    def answer(told: Any, context: Any) -> Any:
        _CLAIMS.set(told["requestContext"].get("authorizer", {}).get("jwt", {}).get("claims"))
        given = served(told["requestContext"]["domainName"])(told, context)
        return _fitting(given, is_metadata=str(told.get("rawPath", "")).endswith("/metadata"))

    return answer


_TEXTS: Final = ["text/", "application/json", "application/problem+json", "application/dicom+json", "application/xml"]


def _fitting(answer: Any, *, is_metadata: bool = False) -> Any:
    """The answer, or that it does not fit through Lambda and what to do; metadata know no pages (PS3.18 §10.4.1)."""
    body = answer.get("body") or ""
    size = len(body) * 3 // 4 if answer.get("isBase64Encoded") else len(body.encode())
    if size <= LONGEST_ANSWER:
        return answer
    instead = "ask for less"
    if is_metadata:
        is_small = "content-encoding" in answer.get("headers", {})
        instead = "ask for one instance at a time" if is_small else "take it compressed (Accept-Encoding: gzip)"
    told = {"code": "too-large", "message": f"an answer may be {LONGEST_ANSWER} bytes long here; {instead}"}
    headers = {"content-type": "application/json", "cache-control": "no-store"}
    return {"statusCode": 413, "headers": headers, "body": json.dumps({"error": told}), "isBase64Encoded": False}


def _doors(cloud: Cloud, environ: Mapping[str, str]) -> Doors:
    ports = cloud.platform
    images = store_of(cloud, reader_of(environ))
    who = _identities(cloud, environ)
    site = environ.get("RADLOOP_SITE_URL", "")
    return Doors(
        platform=replace(ports, signer=PrivateKey(cloud.keys.derive("evidence"))),
        images=images,
        champion=Champion(ports.models, ports.blobs),
        notes=RecordNotes(ports.records),
        meter=EmfMeter(cloud.work.catalogue, operation_names(), cloud.emf),
        identities=who,
        page=_page(cloud, environ, who),
        native_app=_native_app(environ),
        site=urlsplit(site).netloc or None,
        links=Links(cloud.keys.derive(PURPOSE)),
        has_worker=True,
        longest_body=LONGEST_BODY,
        longest_answer=LONGEST_ANSWER,
        layers=StandingLayers(ports.blobs, _edge(environ), partial(_ask, cloud)),
    )


def _edge(environ: Mapping[str, str]) -> Edge | None:
    """What signs addresses of packs; None where no CloudFront gives them out."""
    url, secret = environ.get("RADLOOP_STREAM_URL", ""), environ.get("RADLOOP_STREAM_SECRET", "")
    if not (url and secret):
        return None

    def key() -> bytes:
        try:
            told = client("secretsmanager").get_secret_value(SecretId=secret)
        except (BotoCoreError, ClientError) as error:
            raise translated(error, "secretsmanager") from error
        return str(told["SecretString"]).encode()

    return Edge(url, environ.get("RADLOOP_STREAM_KEY_ID", ""), key)


def _ask(cloud: Cloud, image_set: ImageSet) -> None:
    """Have the layers of an image set written that came in before anybody wrote them."""
    jobs = cloud.images.follow_up(image_set)
    if jobs:
        cloud.platform.records.commit(Change(jobs=jobs))


def _page(cloud: Cloud, environ: Mapping[str, str], who: Identities) -> PoolPage | None:
    """The user pool's own page; None where no site of ours leads to it."""
    page, site = environ.get("RADLOOP_SIGN_IN_URL", ""), environ.get("RADLOOP_SITE_URL", "")
    if not (page and site and isinstance(who, CognitoIdentities)):
        return None
    idle = cloud.platform.settings.idle_sign_out_minutes
    return PoolPage(
        page,
        environ.get("RADLOOP_CLIENT_ID", ""),
        site,
        key=cloud.keys.derive(SIGN_IN),
        clock=now,
        read=who.signed_in,
        idle=timedelta(minutes=idle) + IDLE_GRACE if idle > 0 else None,
    )


def _native_app(environ: Mapping[str, str]) -> NativeApp | None:
    """How programs sign in; None where the pool has no client for them."""
    page, identity = environ.get("RADLOOP_SIGN_IN_URL", ""), environ.get("RADLOOP_NATIVE_CLIENT_ID", "")
    if not (page and identity):
        return None
    told = json.loads((contracts() / "sign-in.json").read_text())
    return NativeApp(page, identity, told["scope"], tuple(told["redirects"]))


def _identities(cloud: Cloud, environ: Mapping[str, str]) -> Identities:
    ports = cloud.platform
    roles = RolePolicy(load_roles((contracts() / "roles.json").read_text())).roles
    issuer = environ.get("RADLOOP_ISSUER", "")
    audience = {environ.get("RADLOOP_CLIENT_ID", ""), environ.get("RADLOOP_NATIVE_CLIENT_ID", "")} - {""}
    if not issuer:
        return Identities(ports.records, ports.keys, now, roles=roles)
    return CognitoIdentities(
        ports.records,
        ports.keys,
        now,
        roles=roles,
        tokens=CognitoTokens(issuer, audience, now, vouched=lambda _: _CLAIMS.get()),
        people=CognitoPeople(client("cognito-idp"), issuer.rpartition("/")[2], now),
    )
