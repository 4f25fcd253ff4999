"""What every adapter on SageMaker needs: calls whose errors are ours, and S3 addresses for blob keys."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from radloop.aws.clients import code_of, translated
from radloop.core.errors import InvalidInput, NotFound

_SERVICE: Final = "SageMaker"
_S3: Final = "s3://"
_MISSING: Final = ("could not find", "does not exist", "not found")
"""SageMaker answers most questions about what is not there with a ValidationException that says so in its text."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where blobs lie in S3: our address `s3://<prefix>/<rest>` and the bucket's own.

    Attributes:
        buckets: Bucket by the first part of a blob key, such as `model-artifacts`; one that is not named is called as
            the part itself.
    """

    buckets: Mapping[str, str]

    def uri(self, key: str) -> str:
        """The address that SageMaker reads a blob from.

        >>> Places({"model-artifacts": "acme-models"}).uri("model-artifacts/models/a/model.tar.gz")
        's3://acme-models/models/a/model.tar.gz'
        """
        prefix, slash, rest = key.partition("/")
        return f"{_S3}{self.buckets.get(prefix, prefix)}{slash}{rest}"

    def key(self, uri: str) -> str:
        """The blob key behind an address.

        Raises:
            InvalidInput: It is no address in S3.

        >>> Places({"model-artifacts": "acme-models"}).key("s3://acme-models/models/a")
        'model-artifacts/models/a'
        """
        if not uri.startswith(_S3) or uri == _S3:
            raise InvalidInput("an address in S3 begins with s3://")
        bucket, slash, rest = uri.removeprefix(_S3).partition("/")
        prefix = next((prefix for prefix, name in self.buckets.items() if name == bucket), bucket)
        return f"{prefix}{slash}{rest}"

    def placed(self, value: Any) -> Any:
        """A parameter of a pipeline: one of our addresses becomes the bucket's own; all else stays as it is."""
        return self.uri(value.removeprefix(_S3)) if isinstance(value, str) and value.startswith(_S3) else value


def call(operation: Callable[..., Any], **arguments: Any) -> Any:
    """What an operation of a client answers.

    Raises:
        NotFound: What it asks for is not there.
        InvalidInput: SageMaker does not take the arguments.
        Denied: We may not do this.
        Unavailable: It does not answer now.
    """
    try:
        return operation(**arguments)
    except (BotoCoreError, ClientError) as error:
        if isinstance(error, ClientError) and _is_missing(error):
            raise NotFound(f"{_SERVICE} has nothing of that name") from error
        raise translated(error, _SERVICE) from error


def pages(operation: Callable[..., Any], member: str, *, most: int | None = None, **arguments: Any) -> Iterator[Any]:
    """Members of a list that SageMaker tells page by page, `most` of them; raises as `call`."""
    told, token = 0, None
    while True:
        answer = call(operation, **arguments, **({"NextToken": token} if token else {}))
        for each in answer.get(member, ()):
            if told == most:
                return
            told += 1
            yield each
        token = answer.get("NextToken")
        if not token:
            return


def _is_missing(error: ClientError) -> bool:
    message = str(error.response.get("Error", {}).get("Message", "")).lower()
    code = code_of(error)
    return code == "ResourceNotFound" or (code.startswith("Validation") and any(text in message for text in _MISSING))
