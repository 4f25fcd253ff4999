"""Users, sign-ins and credentials as values, and how they are written down in the records."""

import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from radloop.core.errors import InvalidInput
from radloop.core.identity import derived_id
from radloop.core.ports import Put, Row
from radloop.core.tables import USERS

LONGEST_NAME = 64

_NAME = re.compile(rf"[\w.@-]{{1,{LONGEST_NAME}}}")


@dataclass(frozen=True, slots=True)
class User:
    """A person who signs in.

    Attributes:
        id: Opaque; what events and the audit carry.
        patients: The only patients this user may know of, by PatientID; None for all.
    """

    id: str
    name: str
    roles: frozenset[str]
    patients: frozenset[str] | None
    is_disabled: bool
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Credential:
    """An access key and a bearer token for a program.

    Attributes:
        id: The access key id, which is the principal's id too.
        note: What it is for, in the words of whoever made it.
    """

    id: str
    roles: frozenset[str]
    patients: frozenset[str] | None
    note: str
    created_by: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class NewCredential:
    """A credential with its secrets, which are shown this once."""

    credential: Credential
    secret_access_key: str
    token: str


@dataclass(frozen=True, slots=True)
class Session:
    """A sign-in; `token` goes into the cookie and is kept nowhere else."""

    token: str
    user: User
    expires_at: datetime


def user_key(name: str) -> str:
    """The key of a user of this name, folded."""
    return derived_id("user", name)


def put_user(user: User, document: dict[str, Any], *, expected: int) -> Put:
    """The write that keeps a user."""
    return Put(USERS, user_key(user.name), document, {"identity": user.id}, expected)


def user_document(user: User, password: str) -> dict[str, Any]:
    """A user as plain values; `password` as it is kept."""
    return {
        "id": user.id,
        "name": user.name,
        "roles": sorted(user.roles),
        "patients": None if user.patients is None else sorted(user.patients),
        "disabled": user.is_disabled,
        "created_at": user.created_at.isoformat(),
        "password": password,
    }


def user_of(row: Row) -> User:
    """The user a record holds."""
    document = row.document
    return User(
        id=str(document["id"]),
        name=str(document["name"]),
        roles=frozenset(document["roles"]),
        patients=scope(document["patients"]),
        is_disabled=bool(document["disabled"]),
        created_at=moment(document["created_at"]),
    )


def credential_document(value: Credential) -> dict[str, Any]:
    """A credential as plain values, without its secrets."""
    return {
        "roles": sorted(value.roles),
        "patients": None if value.patients is None else sorted(value.patients),
        "note": value.note,
        "created_by": value.created_by,
        "created_at": value.created_at.isoformat(),
        "expires_at": None if value.expires_at is None else value.expires_at.isoformat(),
        "revoked_at": None if value.revoked_at is None else value.revoked_at.isoformat(),
    }


def credential_of(row: Row) -> Credential:
    """The credential a record holds."""
    document = row.document
    return Credential(
        id=row.key,
        roles=frozenset(document["roles"]),
        patients=scope(document["patients"]),
        note=str(document["note"]),
        created_by=str(document["created_by"]),
        created_at=moment(document["created_at"]),
        expires_at=None if document["expires_at"] is None else moment(document["expires_at"]),
        revoked_at=None if document["revoked_at"] is None else moment(document["revoked_at"]),
    )


def moment(text: str) -> datetime:
    """A moment as it is written down."""
    return datetime.fromisoformat(text)


def is_over(ends: datetime | None, now: datetime) -> bool:
    """Whether something that ends, or does not, has ended."""
    return ends is not None and ends <= now


def scope(patients: Collection[str] | None) -> frozenset[str] | None:
    """The patients somebody may know of; None for all."""
    return None if patients is None else frozenset(patients)


def folded_name(name: str) -> str:
    """The same name however it is typed."""
    return unicodedata.normalize("NFKC", name).casefold()


def checked_name(name: str) -> str:
    """A name that a user may have, folded.

    Raises:
        InvalidInput: It is too long, or has other characters than are allowed.
    """
    folded = folded_name(name)
    if not _NAME.fullmatch(folded):
        raise InvalidInput(f"a name has at most {LONGEST_NAME} letters, digits and . _ @ -")
    return folded
