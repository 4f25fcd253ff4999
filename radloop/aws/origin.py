"""Whether a request came through CloudFront, which alone hands it on with a secret in a header.

An HTTP API takes no firewall, and its own name is no secret: whoever asks it there has gone around the firewall before
CloudFront. So where there is a site, CloudFront puts a secret into every request that it hands on, over whatever the
viewer had sent under that name, and the function answers no other request. Several secrets may be taken at once: one
takes the other's place without a gap.

See:
    Amazon CloudFront Developer Guide, "Add custom headers to origin requests" and "Restrict access to files on custom
    origins".
"""

import hmac
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from radloop.aws.clients import client, translated
from radloop.core.errors import InvalidInput, NotFound, RadloopError, Unavailable

HEADER: Final = "x-radloop-origin"
"""What CloudFront puts the secret into; infra/modules/cdn says the same."""

KEPT_S: Final = 60.0
"""Seconds for which secrets that were read count before they are read again."""

_LOG: Final = logging.getLogger("radloop.aws.origin")


class Origin:
    """Lets through what CloudFront hands on, and takes the secret out of it.

    Args:
        secrets: Names or ARNs of the secrets, each of which is enough. None where no CloudFront stands before the API:
            then everything is let through.
        site: Where the API is to be asked instead, such as `https://example.org`.
        read: The value of a secret.
        clock: Seconds, never backwards.
    """

    def __init__(
        self, secrets: Sequence[str], site: str, read: Callable[[str], str], clock: Callable[[], float]
    ) -> None:
        self._secrets = tuple(secrets)
        self._site = site
        self._read = read
        self._clock = clock
        self._known: dict[str, bytes] = {}
        self._read_again = clock()

    def refusal(self, told: Mapping[str, Any]) -> dict[str, Any] | None:
        """The answer to a request that did not come through CloudFront; None for one that did.

        Args:
            told: A request in payload format 2.0 of an HTTP API.
        """
        sent = told["headers"].get(HEADER, "").encode(errors="replace")
        try:
            if not self._secrets or (sent and self._is_one(sent)):
                return None
        except Unavailable as error:
            return _answer(HTTPStatus.SERVICE_UNAVAILABLE, error.code, str(error))
        _LOG.warning("refused: a request that did not come through CloudFront")
        return _answer(HTTPStatus.FORBIDDEN, "denied", f"this API is asked through its site alone: {self._site}")

    def opened(self, told: Mapping[str, Any]) -> Mapping[str, Any]:
        """The same request without the secret, which is nobody's business behind this."""
        return {**told, "headers": {name: value for name, value in told["headers"].items() if name != HEADER}}

    def _is_one(self, sent: bytes) -> bool:
        """Whether it is one of the secrets; it takes as long for a wrong one as for a right one.

        Raises:
            Unavailable: None of them could be read yet.
        """
        if self._clock() >= self._read_again:
            self._look()
        if not self._known:
            raise Unavailable("whether a request came through the site cannot be told now; try again")
        return sum([hmac.compare_digest(sent, known) for known in self._known.values()]) > 0

    def _look(self) -> None:
        """Read all of them; one that cannot be read counts as it was, one that is gone counts no more."""
        for name in self._secrets:
            try:
                self._known[name] = self._read(name).encode()
            except NotFound:
                self._known.pop(name, None)
                _LOG.warning("a secret of CloudFront's is not there")
            except RadloopError as error:
                _LOG.warning("a secret of CloudFront's cannot be read: %s", error.code)
        if self._known:
            self._read_again = self._clock() + KEPT_S


def origin_of(environ: Mapping[str, str]) -> Origin:
    """What the environment says: RADLOOP_ORIGIN_SECRETS, a list in JSON, and RADLOOP_SITE_URL.

    Raises:
        InvalidInput: The first is there and names no secret. Nothing is let through then.
    """
    stated = environ.get("RADLOOP_ORIGIN_SECRETS")
    return Origin(
        () if stated is None else _names(stated), environ.get("RADLOOP_SITE_URL", ""), _value_of, time.monotonic
    )


def _names(stated: str) -> Sequence[str]:
    try:
        names = json.loads(stated)
    except ValueError:
        names = None
    if not isinstance(names, list) or not names or not all(isinstance(each, str) and each for each in names):
        raise InvalidInput("RADLOOP_ORIGIN_SECRETS is a list of secrets in JSON, and not an empty one")
    return names


def _value_of(secret: str) -> str:
    try:
        told = client("secretsmanager").get_secret_value(SecretId=secret)
    except (BotoCoreError, ClientError) as error:
        raise translated(error, "secretsmanager") from error
    value = str(told.get("SecretString", ""))
    if not value:
        raise NotFound("the secret has no value")
    return value


def _answer(status: HTTPStatus, code: str, message: str) -> dict[str, Any]:
    headers = {"content-type": "application/json", "cache-control": "no-store"}
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["retry-after"] = "1"
    body = json.dumps({"error": {"code": code, "message": message}})
    return {"statusCode": int(status), "headers": headers, "body": body, "isBase64Encoded": False}
