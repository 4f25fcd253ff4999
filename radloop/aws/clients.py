"""The one place where clients of AWS are made, and where what goes wrong between them and AWS is put in our words."""

from functools import cache
from threading import Lock
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
)

from radloop.core.errors import Denied, InvalidInput, NotFound, RadloopError, Unavailable

TRIES = 5
CONNECT_S, READ_S = 5, 60
_CONNECTIONS = 32
_FORBIDDEN, _NOT_FOUND = (401, 403), 404
_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "UnrecognizedClientException", "ExpiredTokenException"})
_NO_SUCH = frozenset({"NotFoundException", "ResourceNotFoundException", "NoSuchBucket", "NoSuchKey"})


_MAKING = Lock()  # a session is not made for several threads, its clients are


@cache
def session() -> Any:
    """The one session of the process: each reads the SDK's tables anew, which costs 10 MB and a tenth of a second."""
    return boto3.session.Session()


@cache
def client(service: str) -> Any:
    """The process's client of one service, such as `dynamodb`; safe to use from several threads.

    Credentials, the region, another address (`AWS_ENDPOINT_URL`, `AWS_ENDPOINT_URL_<SERVICE>`) and whether names are
    put before it (`AWS_DISABLE_HOST_PREFIX_INJECTION`) are those that the AWS SDK finds in the environment.

    Raises:
        Unavailable: The configuration of the SDK on this machine is not usable.
    """
    return made(service)


def made(service: str, endpoint: str = "") -> Any:
    """A client of its own, at another address than the usual one.

    Raises:
        InvalidInput: `endpoint` is no address.
        Unavailable: The configuration of the SDK on this machine is not usable.
    """
    try:
        with _MAKING:
            return session().client(service, endpoint_url=endpoint or None, config=_config(endpoint))
    except BotoCoreError as error:
        raise translated(error, service) from error
    except ValueError:
        raise InvalidInput(f"the address of {service} is no address, such as https://{service}.example.org") from None


def translated(error: BotoCoreError | ClientError, service: str) -> RadloopError:
    """Our error for one of botocore's; it names the code that AWS answered with and nothing that was sent.

    Being throttled by AWS is `Unavailable`: the caller asked once, and it is ours to try again.
    """
    if isinstance(error, ClientError):
        return _translated_answer(error, service)
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return Denied(f"there are no credentials for {service} on this machine")
    if isinstance(error, ParamValidationError):
        return InvalidInput(f"{service} takes no parameters of that form")
    return Unavailable(f"{service} cannot be reached: {type(error).__name__}")


def code_of(error: ClientError) -> str:
    """The code that AWS answered with, such as `ConditionalCheckFailedException`."""
    return str(error.response.get("Error", {}).get("Code", "unknown"))


def status_of(error: ClientError) -> int:
    """The HTTP status of AWS's answer; 0 where it is not known."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _translated_answer(error: ClientError, service: str) -> RadloopError:
    code, status = code_of(error), status_of(error)
    if code in _NO_SUCH or status == _NOT_FOUND:
        return NotFound(f"{service} answers {code}")
    if code in _DENIED or status in _FORBIDDEN:
        return Denied(f"{service} answers {code}")
    if code.startswith("Validation"):
        return InvalidInput(f"{service} answers {code}")
    return Unavailable(f"{service} answers {code}")


def _config(endpoint: str) -> Config:
    """Settings of a client. Other servers may know neither buckets as host names nor checksums behind a body."""
    elsewhere: dict[str, Any] = {
        "s3": {"addressing_style": "path"},
        "request_checksum_calculation": "when_required",
        "response_checksum_validation": "when_required",
    }
    return Config(
        retries={"mode": "standard", "total_max_attempts": TRIES},
        connect_timeout=CONNECT_S,
        read_timeout=READ_S,
        max_pool_connections=_CONNECTIONS,
        **(elsewhere if endpoint else {}),
    )
