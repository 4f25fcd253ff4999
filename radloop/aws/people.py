"""Who of ours somebody of the AWS account is, for what people decide in SageMaker by hand.

`radloop/people.json` of the bucket for training data says it, put there by an administrator:

    {"people": [{"arn": "arn:aws:iam::123456789012:user/anna", "id": "<our id>", "roles": ["release-approver"]}]}

An ARN counts only where it names one person whatever the person does: an IAM user, a user profile of SageMaker, or a
session that IAM Identity Center has named. The name of any other role's session is what its holder chose.

The object is kept by hand, because which ARN is whose only a person can say, because the functions that read it are in
a network from which the pool cannot be asked, and because a function that could write it could let anybody decide.
Taking an entry out counts at once and asks nobody. `drift` shows where object and pool have come apart.
"""

import json
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Final, NamedTuple

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
        return people_of(data, self._roles)


def people_of(data: bytes, roles: Collection[str]) -> Mapping[str, Principal]:
    """Persons by their ARN, as the object tells them.

    Args:
        data: The object.
        roles: Names of the roles there are; others count for nothing.

    Raises:
        Corrupt: The object is not of its form.
    """
    counting = frozenset(roles) - {"system"}
    try:
        told = json.loads(data)["people"]
        return {
            _text(each["arn"]): Principal(_text(each["id"]), frozenset(map(_text, each["roles"])) & counting)
            for each in told
        }
    except (ValueError, KeyError, TypeError):
        raise Corrupt('people.json is not written as {"people": [{"arn", "id", "roles"}]}') from None


class Drift(NamedTuple):
    """How far the object and the user pool disagree.

    Attributes:
        people: Entries of the object.
        too_much: Those with a role that the pool does not give the person, or not any more.
        too_little: Those without a role to decide by that the pool does give.
    """

    people: int
    too_much: int
    too_little: int


def drift(told: Iterable[Principal], given: Mapping[str, Collection[str]], deciding: Collection[str]) -> Drift:
    """Hold the object against the user pool.

    Args:
        told: The people of the object.
        given: Roles by `sub` of whoever may come in; nobody else has any.
        deciding: The roles that may decide about versions. That somebody's other roles do not stand in the object
            makes no difference.
    """
    pairs = [(one.roles, frozenset(given.get(one.id, ()))) for one in told]
    return Drift(
        people=len(pairs),
        too_much=sum(not ours <= pools for ours, pools in pairs),
        too_little=sum(not pools & frozenset(deciding) <= ours for ours, pools in pairs),
    )


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError
    return value
