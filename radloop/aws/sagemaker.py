"""What every adapter on SageMaker needs: calls whose errors are ours, and S3 addresses for blob keys."""

import re
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

OWN_DISKS: Final = re.compile(r"ml\.(g4dn|g5|g6e?|gr6|p3dn|p4de?|p[56][\w-]*|trn\d\w*|[cmr]\d+[agi]?d[ne]?|i\d\w*)\.")
"""Of machines whose disks are their own; infra/modules/training/main.tf has the same."""


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


def has_own_disks(instance_type: str) -> bool:
    """Whether a machine keeps files on disks of its own, which it seals by itself.

    For these SageMaker refuses a request that names a key for the volume (`ResourceConfig`, `VolumeKmsKeyId`).

    >>> [name for name in ("ml.g5.xlarge", "ml.m5.2xlarge", "ml.m5d.large", "ml.p3.2xlarge") if has_own_disks(name)]
    ['ml.g5.xlarge', 'ml.m5d.large']
    """
    return OWN_DISKS.match(instance_type) is not None


def fitted(definition: Mapping[str, Any]) -> dict[str, Any]:
    """A pipeline whose jobs name a key for their volumes only where their machines take one.

    Args:
        definition: With the account's machines as defaults of its parameters.
    """
    defaults = {f"Parameters.{each['Name']}": str(each.get("DefaultValue", "")) for each in definition["Parameters"]}

    def fit(part: Any) -> Any:
        if isinstance(part, list):
            return [fit(each) for each in part]
        if not isinstance(part, Mapping):
            return part
        machine = part.get("InstanceType", {})
        takes_none = isinstance(machine, Mapping) and has_own_disks(defaults.get(str(machine.get("Get")), ""))
        return {name: fit(each) for name, each in part.items() if not (takes_none and name == "VolumeKmsKeyId")}

    return {**definition, "Steps": fit(definition["Steps"])}


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
