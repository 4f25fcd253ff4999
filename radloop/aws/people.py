"""Who of ours somebody of the AWS account is, for what people decide in SageMaker by hand.

`radloop/people.json` of the bucket for training data says it, put there by an administrator:

    {"people": [{"arn": "arn:aws:iam::123456789012:user/anna", "id": "<our id>", "roles": ["release-approver"]}]}

An ARN counts only where it names one person whatever the person does: an IAM user, a user profile of SageMaker, or a
session that IAM Identity Center has named. The name of any other role's session is what its holder chose.
"""

import json
import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from radloop.core.errors import Corrupt, NotFound
from radloop.core.identity import Principal
from radloop.core.ports import Blobs

PEOPLE: Final = "training-data/radloop/people.json"

_PERSON: Final = re.compile(
    r"arn:aws[a-z-]*:(iam::\d{12}:user/.+"
    r"|sagemaker:[a-z0-9-]+:\d{12}:user-profile/.+"
    r"|sts::\d{12}:assumed-role/AWSReservedSSO_[^/]+/.+)"
)


class People:
    """Persons by their ARN.

    Args:
        blobs: Where the object lies; it is read whenever somebody is asked for.
        roles: Names of the roles there are; others count for nothing.
    """

    def __init__(self, blobs: Blobs, roles: Collection[str]) -> None:
        self._blobs = blobs
        self._roles = frozenset(roles)

    def of_arn(self, arn: str) -> Principal | None:
        """Our person of an ARN; None where it is nobody's, or does not name one person for certain.

        Raises:
            Corrupt: The object is not of its form.
        """
        return self._all().get(arn) if _PERSON.fullmatch(arn) else None

    def _all(self) -> Mapping[str, Principal]:
        try:
            data = self._blobs.get(PEOPLE)
        except NotFound:
            return {}
        try:
            return {_text(each["arn"]): self._person(each) for each in json.loads(data)["people"]}
        except (ValueError, KeyError, TypeError):
            raise Corrupt('people.json is not written as {"people": [{"arn", "id", "roles"}]}') from None

    def _person(self, told: Mapping[str, Any]) -> Principal:
        return Principal(_text(told["id"]), frozenset(map(_text, told["roles"])) & self._roles - {"system"})


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError
    return value
