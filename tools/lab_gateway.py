# ruff: noqa: INP001 — part of programs that are run by themselves
"""Calls through the emulator's API Gateway: its route, its authorizer with the pool's own keys, then the function."""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from lab_servers import LabFailed
from lab_studies import drawn, slices_of, zipped

from radloop.aws.clients import client
from radloop.core.identity import OWNER
from radloop.core.tables import IMAGE_SETS
from radloop.dicom.phantom import phantom_study
from radloop.security.identities import Identities

if TYPE_CHECKING:
    from lab_golden import Walk

_SENT = 90_000  # number of the patient whose study comes by the API
_PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Gateway:
    """The platform API as the emulator serves it, asked as CloudFront asks it, whose requests no emulator hands on.

    Attributes:
        address: Of the emulator.
        endpoint: Of the API, as its gateway tells it; the emulator serves it under that name.
        shown: What CloudFront adds to the headers of each request.
    """

    address: str
    endpoint: str
    shown: Mapping[str, str] = field(default_factory=dict)

    def call(
        self,
        method: str,
        path: str,
        *,
        token: str = "",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers (lower case) and body of an answer, whatever it is."""
        host = urlsplit(self.endpoint).hostname or ""
        told = {"Host": host, "X-Forwarded-Proto": "https", **(headers or {}), **self.shown}
        if token:
            told["Authorization"] = f"Bearer {token}"
        request = urllib.request.Request(self.address + path, body, told, method=method)  # noqa: S310 — the lab's own
        try:
            with urllib.request.urlopen(request, timeout=_PATIENCE_S) as answer:  # noqa: S310 — the same
                return answer.status, _lower(answer.headers), answer.read()
        except urllib.error.HTTPError as refused:
            return refused.code, _lower(refused.headers), refused.read()

    def ask(self, method: str, path: str, token: str, body: Mapping[str, Any] | None = None) -> Any:
        """What the API answers, as JSON.

        Raises:
            LabFailed: It refuses.
        """
        given = None if body is None else json.dumps(body).encode()
        kind = {} if body is None else {"Content-Type": "application/json"}
        status, _, answer = self.call(method, path, token=token, body=given, headers=kind)
        if status // 100 != 2:  # noqa: PLR2004 — every success
            raise LabFailed(
                f"{method} {path.partition('?')[0]} answered {status}: {answer[:500].decode(errors='replace')}"
            )
        return json.loads(answer)


def shown_by_cloudfront(host: str) -> dict[str, str]:
    """Headers that CloudFront, as it was applied, puts into what it hands on to an origin."""
    cloudfront = client("cloudfront")
    listed = cloudfront.get_paginator("list_distributions").paginate()
    known = [each["Id"] for page in listed for each in page["DistributionList"].get("Items", ())]
    configurations = [cloudfront.get_distribution_config(Id=each)["DistributionConfig"] for each in known]
    origins = [each for one in configurations for each in one["Origins"]["Items"] if each["DomainName"] == host]
    added = [each for origin in origins for each in origin.get("CustomHeaders", {}).get("Items", ())]
    return {each["HeaderName"]: each["HeaderValue"] for each in added}


def turned_away(walk: "Walk", token: str) -> str:
    """Whom the gateway does not let through to the function, and the function not in, where both let `token` in.

    Raises:
        LabFailed: One of them gets in, or somebody does not who belongs in.
    """
    ports = walk.cloud.platform
    own = Identities(ports.records, ports.keys, ports.clock, roles=OWNER.roles)
    ours = own.create_credential(roles=frozenset({"reader"}), patients=None, by=OWNER).token
    head, payload, signature = token.split(".")
    other = "A" if signature[10] != "A" else "B"
    cases = {
        "no token": "",
        "another signature": f"{head}.{payload}.{signature[:10]}{other}{signature[11:]}",
        "a credential that is no token of the pool": ours,
    }
    path = "/api/v1/worklist"
    for case, each in cases.items():
        status, _, answer = walk.gateway.call("GET", path, token=each)
        if status != HTTPStatus.UNAUTHORIZED or b'"Unauthorized"' not in answer:
            raise LabFailed(f"the gateway answers {case} by {status} {answer[:200]!r}")
    beside = {
        "whoever asks beside CloudFront": replace(walk.gateway, shown={}),
        "whoever makes up what CloudFront shows": replace(walk.gateway, shown=dict.fromkeys(walk.gateway.shown, "0")),
    }
    for path_, each in ((path, token), ("/healthz", "")):
        status, _, answer = walk.gateway.call("GET", path_, token=each)
        if status != HTTPStatus.OK:
            raise LabFailed(f"{path_} is answered by {status} {answer[:300]!r}")
        for case, gateway in beside.items():
            status, _, answer = gateway.call("GET", path_, token=each)
            if status != HTTPStatus.FORBIDDEN or b'"denied"' not in answer:
                raise LabFailed(f"{path_} is answered to {case} by {status} {answer[:300]!r}")
    return ", ".join([*cases, *beside])


def sent(walk: "Walk") -> str:
    """Somebody sends a study through the gateway in pieces; it becomes an image set like any other."""
    study = phantom_study(_SENT, consolidated=False, slices=8, size=64)
    archive, token = zipped(study), walk.token("reader", "verifier")
    status, headers, said = walk.gateway.call(
        "POST",
        "/api/v1/resumable",
        token=token,
        body=b"",
        headers={"Tus-Resumable": "1.0.0", "Upload-Length": str(len(archive))},
    )
    if status != HTTPStatus.CREATED:
        raise LabFailed(f"an upload cannot be begun: {status} {said[:300]!r}")
    place = urlsplit(headers["location"]).path
    half = len(archive) // 2
    for at, piece in ((0, archive[:half]), (half, archive[half:])):
        status, headers, said = walk.gateway.call(
            "PATCH",
            place,
            token=token,
            body=piece,
            headers={
                "Tus-Resumable": "1.0.0",
                "Upload-Offset": str(at),
                "Content-Type": "application/offset+octet-stream",
            },
        )
        if status != HTTPStatus.NO_CONTENT or int(headers["upload-offset"]) != at + len(piece):
            raise LabFailed(f"a piece at {at} is answered by {status} {said[:300]!r}")
    walk.until(
        lambda: walk.gateway.ask("GET", place, token),
        lambda found: found["state"] in {"done", "failed"},
        lambda found: f"the upload is {found['state']}",
    )
    (row,) = walk.until(
        lambda: walk.cloud.platform.records.find(IMAGE_SETS, {"study_uid": study.study_uid}),
        bool,
        lambda _: f"no image set of it; the upload {walk.gateway.ask('GET', place, token)}"[:500],
    )
    if slices_of(walk.cloud.images.volume(row.key)) != slices_of(drawn(study)):
        raise LabFailed("the image set is not the study that was sent")
    return f"{len(study.files)} slices in 2 pieces became an image set"


def _lower(headers: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}
