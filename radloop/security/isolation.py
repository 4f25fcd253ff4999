"""Who is kept out while an incident is looked into: a person or a program, until somebody lets them in again.

It is a record and not a change of the account, so that it holds whoever it is (a user, an access key, somebody of a
user pool), and letting somebody in again is to remove it: password, roles and keys are as they were.
"""

from collections.abc import Collection
from datetime import datetime
from typing import Any, Final

from radloop.core.identity import OWNER, SYSTEM
from radloop.core.ports import Delete, Put, Records
from radloop.core.tables import CREDENTIALS, ISOLATIONS, SESSIONS, USERS
from radloop.security.accounts import credential_of, is_over, user_of

ADMINISTRATOR: Final = "admin"
NOBODY: Final = "nobody"
_NEVER: Final = frozenset({OWNER.id, SYSTEM.id, NOBODY})
_PEER: Final = "ae:"


def is_isolated(records: Records, identity: str) -> bool:
    """Whether whoever has this id is kept out."""
    return records.get(ISOLATIONS, identity, columns=()) is not None


def isolating(records: Records, identity: str, *, incident: str, by: str, at: str) -> list[Put]:
    """What keeps somebody out, with whatever they signed in; nothing where that is so already.

    Their sessions count for nothing as long as it stands and are deleted by `releasing`, because a function that keeps
    somebody out may have no right to change sessions.

    Args:
        records: Where it is written.
        identity: Whom.
        incident: Why.
        by: Who does it.
        at: When, ISO 8601.
    """
    if is_isolated(records, identity):
        return []
    document: dict[str, Any] = {"incident": incident, "by": by, "at": at}
    return [Put(ISOLATIONS, identity, document, {"incident": incident}, expected=0)]


def releasing(records: Records, identity: str) -> list[Delete]:
    """What lets somebody in again; they sign in anew."""
    users = records.find(USERS, {"identity": identity}, limit=1)
    sessions = [each for user in users for each in records.find(SESSIONS, {"user": user.key})]
    return [Delete(ISOLATIONS, identity), *(Delete(SESSIONS, each.key) for each in sessions)]


def keys_made_by(records: Records, identity: str, now: datetime) -> list[str]:
    """Access keys that somebody made for others or themself and that still open something."""
    found = (credential_of(row) for row in records.find(CREDENTIALS))
    return [
        each.id
        for each in found
        if each.created_by == identity
        and each.revoked_at is None
        and not is_over(each.expires_at, now)
        and not is_isolated(records, each.id)
    ]


def may_be_isolated(identity: str) -> bool:
    """Whether there is an account to keep out.

    The owner of a home holds its files. A DICOM peer has none either: it is taken out of the setting `peers`, because
    a scanner must not lose its way in for what a viewer under the same title has fetched.

    >>> may_be_isolated("owner"), may_be_isolated("ae:PACS"), may_be_isolated("AKRL7")
    (False, False, True)
    """
    return identity not in _NEVER and not identity.startswith(_PEER)


def is_last_administrator(records: Records, identity: str) -> bool:
    """Whether without this user nobody of ours could sign in who may let others in; not asked of a user pool."""
    able: Collection[str] = {
        user.id
        for user in map(user_of, records.find(USERS))
        if ADMINISTRATOR in user.roles and not user.is_disabled and not is_isolated(records, user.id)
    }
    return able == {identity}
