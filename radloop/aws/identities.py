"""Who there is where people sign in at a Cognito user pool.

The groups of the pool that are named like a role are the roles of whoever is in them; a token has those that it tells
and that the person is still in. Which patients a person may know of stands in an attribute of the pool that only an
administrator writes; access tokens do not carry it unless a trigger puts it there, so the pool is asked, which also
tells who may not come in any more.
"""

import json
import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from radloop.aws.clients import code_of, translated
from radloop.aws.tokens import SCOPE_CLAIM, CognitoTokens
from radloop.core.errors import Conflict, NotFound, Unauthenticated
from radloop.core.identity import Principal
from radloop.core.ports import Change, Clock, Delete, Keys, Put, Records
from radloop.core.tables import ISOLATIONS
from radloop.security.identities import GONE, Identities
from radloop.security.isolation import is_isolated
from radloop.security.memory import Memory
from radloop.security.sign_in import SignedIn

EVERY_PATIENT: Final = "*"

_ASKED_EVERY = timedelta(minutes=1)
_LOOKED_EVERY = timedelta(seconds=5)
_SUB = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SERVICE = "cognito-idp"


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody of the pool.

    Attributes:
        patients: The only patients that may be known of; None for all.
        name: As the person knows themself; told to nobody else.
    """

    sub: str
    username: str
    is_enabled: bool
    patients: frozenset[str] | None
    name: str


class CognitoPeople:
    """The people of one user pool, remembered for a minute: so long a change needs to act at most.

    Args:
        client: A boto3 client of `cognito-idp`.
        pool: Id of the user pool.
        clock: The present moment.
    """

    def __init__(self, client: Any, pool: str, clock: Clock) -> None:
        self._client = client
        self._pool = pool
        self._clock = clock
        self._people = Memory[Person](lambda: 0)
        self._groups = Memory[frozenset[str]](lambda: 0)

    def named(self, username: str) -> Person:
        """Whoever has this user name.

        Raises:
            Unauthenticated: Nobody has.
        """

        def find() -> tuple[Person, datetime | None]:
            found = self._asked("admin_get_user", Username=username)
            return _person(found, found["UserAttributes"]), self._clock() + _ASKED_EVERY

        return self._people.get(f"name {username}", find, self._clock())

    def of_sub(self, sub: str) -> Person:
        """Whoever has this `sub`.

        Raises:
            Unauthenticated: Nobody has.
        """
        if _SUB.fullmatch(sub) is None:
            raise Unauthenticated(GONE)

        def find() -> tuple[Person, datetime | None]:
            users = self._asked("list_users", Filter=f'sub = "{sub}"', Limit=1)["Users"]
            if not users:
                raise Unauthenticated(GONE)
            return _person(users[0], users[0]["Attributes"]), self._clock() + _ASKED_EVERY

        return self._people.get(f"sub {sub}", find, self._clock())

    def groups_of(self, person: Person) -> frozenset[str]:
        """Names of the groups that somebody is in."""

        def find() -> tuple[frozenset[str], datetime | None]:
            names: set[str] = set()
            more: dict[str, str] = {}
            while True:
                page = self._asked("admin_list_groups_for_user", Username=person.username, **more)
                names |= {str(each["GroupName"]) for each in page["Groups"]}
                if not page.get("NextToken"):
                    return frozenset(names), self._clock() + _ASKED_EVERY
                more = {"NextToken": page["NextToken"]}

        return self._groups.get(person.sub, find, self._clock())

    def shut_out(self, person: Person) -> None:
        """Let somebody sign in no more, and end what sign-ins there are: no token is renewed."""
        self._asked("admin_disable_user", Username=person.username)
        self._asked("admin_user_global_sign_out", Username=person.username)
        self.forget()

    def let_in(self, person: Person) -> None:
        """Let somebody sign in again."""
        self._asked("admin_enable_user", Username=person.username)
        self.forget()

    def forget(self) -> None:
        """Ask the pool anew."""
        self._people.forget()

    def _asked(self, operation: str, **given: Any) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = getattr(self._client, operation)(UserPoolId=self._pool, **given)
        except ClientError as error:
            if code_of(error) == "UserNotFoundException":
                raise Unauthenticated(GONE) from None
            raise translated(error, _SERVICE) from None  # what Cognito says may name the user
        except BotoCoreError as error:
            raise translated(error, _SERVICE) from None
        return answer


class CognitoIdentities(Identities):
    """Identities whose people sign in at a user pool; access keys and our own tokens stay as they are.

    Args:
        records: See `Identities`.
        keys: See `Identities`.
        clock: The present moment.
        roles: Names of the roles there are; groups of other names count for nothing.
        tokens: Of the pool.
        people: Of the pool.
    """

    def __init__(
        self,
        records: Records,
        keys: Keys,
        clock: Clock,
        *,
        roles: Collection[str],
        tokens: CognitoTokens,
        people: CognitoPeople,
    ) -> None:
        super().__init__(records, keys, clock, roles=roles)
        self._tokens = tokens
        self._pool = people
        self._isolated = Memory[bool](lambda: 0)

    def of_token(self, token: str) -> Principal:
        """See `Identities.of_token`; a token of three parts is one of the pool's.

        Raises:
            Unavailable: The pool does not answer.
        """
        if token.count(".") != 2:  # noqa: PLR2004 — header, claims and signature
            return super().of_token(token)
        return self.signed_in(token).principal

    def signed_in(self, token: str) -> SignedIn:
        """The person of the pool whose access token this is.

        Raises:
            Unauthenticated: It does not count, or the person may not come in any more.
            Unavailable: The pool does not answer.
        """
        bearer = self._tokens.read(token)
        person = self._pool.named(bearer.username)
        if not person.is_enabled or person.sub != bearer.sub:
            raise Unauthenticated(GONE)
        if self._is_isolated(person.sub):
            self.shut_out(person.sub)  # whoever isolated them may have no way to the pool
            raise Unauthenticated(GONE)
        told = None if bearer.scope is None else patients_of(bearer.scope)
        roles = bearer.groups & self._pool.groups_of(person) & self._roles  # a token outlives what was taken away
        principal = Principal(bearer.sub, roles, _both(person.patients, told))
        return SignedIn(principal, person.name, bearer.expires_at)

    def of_id(self, identity: str) -> Principal:
        """See `Identities.of_id`.

        Raises:
            Unavailable: The pool does not answer.
        """
        if _SUB.fullmatch(identity) is None:
            return super().of_id(identity)
        person = self._pool.of_sub(identity)
        if not person.is_enabled or self._is_isolated(identity):
            raise Unauthenticated(GONE)
        return Principal(person.sub, self._pool.groups_of(person) & self._roles, person.patients)

    def require_account(self, identity: str) -> None:
        """See `Identities.require_account`.

        Raises:
            Unavailable: The pool does not answer.
        """
        if _SUB.fullmatch(identity) is None:
            super().require_account(identity)
            return
        try:
            self._pool.of_sub(identity)
        except Unauthenticated:
            raise NotFound("there is no such user") from None

    def shut_out(self, identity: str) -> None:
        """See `Identities.shut_out`; our own record counts from the moment it is there, whatever the pool answers.

        A second record says that it was we who disabled the account, so that whom somebody else had disabled is not
        let in with the release.

        Raises:
            Unavailable: The pool does not answer.
        """
        self._isolated.forget()
        if _SUB.fullmatch(identity) is None or not is_isolated(self._records, identity):
            return
        self._pool.forget()
        person = self._pool.of_sub(identity)
        if not person.is_enabled:
            return
        with suppress(Conflict):  # it is there from a first attempt
            self._records.commit(Change([Put(ISOLATIONS, _disabled(identity), {}, expected=0)]))
        self._pool.shut_out(person)
        if not is_isolated(self._records, identity):  # released meanwhile
            self.let_in(identity)

    def let_in(self, identity: str) -> bool:
        """See `Identities.let_in`; an account that was disabled before stays so.

        Raises:
            Unavailable: The pool does not answer.
        """
        self._isolated.forget()
        mark = _disabled(identity)
        if is_isolated(self._records, identity) or self._records.get(ISOLATIONS, mark, columns=()) is None:
            return False
        with suppress(Unauthenticated):  # nobody at the pool any more
            self._pool.let_in(self._pool.of_sub(identity))
        self._records.commit(Change([Delete(ISOLATIONS, mark)]))
        return True

    def _is_isolated(self, sub: str) -> bool:
        now = self._clock()
        return self._isolated.get(sub, lambda: (is_isolated(self._records, sub), now + _LOOKED_EVERY), now)


def _disabled(sub: str) -> str:
    """Where it stands that we disabled an account; no id of a principal looks so."""
    return f"disabled:{sub}"


def roles_given(client: Any, pool: str, roles: Collection[str]) -> Mapping[str, frozenset[str]]:
    """The roles that a user pool gives, by the `sub` of everybody who may come in and has one.

    Args:
        client: A boto3 client of `cognito-idp`.
        pool: Id of the user pool.
        roles: Names of the roles there are.

    Raises:
        ClientError: The pool does not answer, or does not let us ask.
    """
    given: dict[str, frozenset[str]] = {}
    for role in roles:
        pages = client.get_paginator("list_users_in_group").paginate(UserPoolId=pool, GroupName=role)
        try:
            found = [one for page in pages for one in page["Users"]]
        except ClientError as error:
            if code_of(error) != "ResourceNotFoundException":  # else nobody is in a group that is not there
                raise
            continue
        for person in (_person(one, one["Attributes"]) for one in found):
            if person.is_enabled:
                given[person.sub] = given.get(person.sub, frozenset()) | {role}
    return given


def patients_of(scope: str) -> frozenset[str] | None:
    """The patients that a scope names: `*` for all (None), else a JSON array of PatientIDs; anything else names nobody.

    >>> patients_of("*") is None
    True
    >>> sorted(patients_of('["P1", "P2"]'))
    ['P1', 'P2']
    >>> patients_of("P1, P2")
    frozenset()
    """
    if scope == EVERY_PATIENT:
        return None
    try:
        named = json.loads(scope)
    except (ValueError, RecursionError):
        return frozenset()
    is_list = isinstance(named, list) and all(isinstance(each, str) for each in named)
    return frozenset(named) if is_list else frozenset()


def _both(one: frozenset[str] | None, other: frozenset[str] | None) -> frozenset[str] | None:
    """Whom both scopes name."""
    if one is None or other is None:
        return other if one is None else one
    return one & other


def _person(found: dict[str, Any], attributes: list[dict[str, str]]) -> Person:
    named = {each["Name"]: each.get("Value", "") for each in attributes}
    scope = named.get(SCOPE_CLAIM)
    return Person(
        sub=named.get("sub", ""),
        username=str(found["Username"]),
        is_enabled=found.get("Enabled") is True,
        patients=None if scope is None else patients_of(scope),
        name=named.get("email") or str(found["Username"]),
    )
