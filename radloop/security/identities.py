"""Who there is: users and their sign-ins, access keys and bearer tokens, and what each may do.

Passwords are kept as argon2id, tokens and sessions as SHA-256 of 256 random bits, secrets of access keys sealed under
a data key of their own, because checking a signature needs the secret itself. Every change is audited in the change
that makes it.

Whoever is looked up is remembered until anybody commits anything, so that a change acts at once in every process.
"""

import base64
import hashlib
import math
import re
import secrets
import threading
import time
import unicodedata
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from radloop.core.errors import Conflict, Denied, InvalidInput, NotFound, Throttled, Unauthenticated
from radloop.core.identity import Principal, derived_id, new_id
from radloop.core.ports import AuditEntry, Change, Clock, Delete, Keys, Put, Records, Row
from radloop.core.tables import CREDENTIALS, SESSIONS, USERS

LEAST_PASSWORD = 12
LONGEST_PASSWORD = 1024
LONGEST_NAME = 64
LONGEST_LIFE_DAYS = 3650
LONGEST_DELAY_S = 30.0

T = TypeVar("T")

_NAME = re.compile(rf"[\w.@-]{{1,{LONGEST_NAME}}}")
_FREE_FAILURES = 3
_MOST_WAITING = 4
_MOST_NAMES = 10_000
_MOST_REMEMBERED = 10_000
_NOBODY = "nobody"
_REFUSED = "the name or the password is wrong, or the user is disabled"


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


class Identities:
    """Users, sessions and credentials on Records.

    Args:
        records: Where they are kept.
        keys: Seal the secrets of access keys.
        clock: The present moment.
        roles: Names of the roles there are; others cannot be given.
        session_hours: Hours after which a sign-in ends.
        hasher: Of passwords; argon2id as RFC 9106 §4 advises for servers with little memory, unless told.
    """

    def __init__(
        self,
        records: Records,
        keys: Keys,
        clock: Clock,
        *,
        roles: Collection[str],
        session_hours: float = 12.0,
        hasher: PasswordHasher | None = None,
    ) -> None:
        self._records = records
        self._keys = keys
        self._clock = clock
        self._roles = frozenset(roles) - {"system"}
        self._session_life = timedelta(hours=session_hours)
        self._hasher = hasher or PasswordHasher()
        self._nobodys_hash = ""
        self._attempts = _Attempts()
        self._principals = _Memory[Principal](records.stamp)
        self._secrets = _Memory[str](records.stamp)
        self._trusted: dict[str, Principal] = {}

    # Users

    def create_user(
        self, name: str, password: str, *, roles: Collection[str], patients: Collection[str] | None, by: Principal
    ) -> User:
        """A new user.

        Raises:
            InvalidInput: Name, password or a role cannot be.
            Conflict: There is a user of this name.
            Denied: `by` may know of some patients only.
        """
        _require_wide(by)
        user = User(new_id(), _name(name), self._known(roles), _scope(patients), False, self._clock())
        if self._records.get(USERS, _user_key(user.name)) is not None:
            raise Conflict("there is a user of this name")
        document = _user_document(user, self._hashed(password))
        self._commit([_put_user(user, document, expected=0)], by, "user.create", user.id)
        return user

    def users(self) -> list[User]:
        """Everybody, in the order they were made."""
        return [_user(row) for row in self._records.find(USERS)]

    def find_user(self, name: str) -> User:
        """The user of this name.

        Raises:
            NotFound: There is none.
        """
        row = self._records.get(USERS, _user_key(_folded(name)))
        if row is None:
            raise NotFound("there is no such user")
        return _user(row)

    def change_user(
        self,
        identity: str,
        *,
        by: Principal,
        password: str | None = None,
        is_disabled: bool | None = None,
        roles: Collection[str] | None = None,
    ) -> User:
        """Change what is given of a user, and end all sign-ins of that user.

        Raises:
            NotFound: There is no such user.
            InvalidInput: The password or a role cannot be.
            Denied: `by` may know of some patients only.
            Conflict: The user changed meanwhile.
        """
        _require_wide(by)
        row = self._user_row(identity)
        before = _user(row)
        after = replace(
            before,
            is_disabled=before.is_disabled if is_disabled is None else is_disabled,
            roles=before.roles if roles is None else self._known(roles),
        )
        hashed = row.document["password"] if password is None else self._hashed(password)
        ended = [Delete(SESSIONS, each.key) for each in self._records.find(SESSIONS, {"user": row.key})]
        put = _put_user(after, _user_document(after, hashed), expected=row.revision)
        self._commit([put, *ended], by, "user.change", identity)
        self._attempts.forgive(after.name)
        return after

    # Sessions

    def sign_in(self, name: str, password: str) -> Session:
        """A session for whoever knows the password.

        One password is looked at after another, because each takes 64 MiB and a fifth of a second; a few callers wait
        and the rest is turned away. After three failures under a name the next try must wait a second, then twice as
        long each time, up to half a minute.

        Raises:
            Unauthenticated: It is not right, there is no such user, or the user is disabled; which one is not told.
            Throttled: Too many at the same time, or too soon after a failure.
        """
        folded = _folded(name)
        row = self._records.get(USERS, _user_key(folded))
        with self._attempts.one(folded):
            known = self._hash_of_nobody() if row is None else str(row.document["password"])
            is_right = self._matches(known, password) and row is not None and not row.document["disabled"]
            self._attempts.ended(folded, is_right=is_right)
        if row is None or not is_right:
            subject = "" if row is None else str(row.document["id"])
            self._commit([], _NOBODY, "session.create", subject, outcome="failure")
            raise Unauthenticated(_REFUSED)
        token, now = secrets.token_urlsafe(32), self._clock()
        session = Session(token, _user(row), now + self._session_life)
        document = {"user": row.key, "created_at": now.isoformat(), "expires_at": session.expires_at.isoformat()}
        put = Put(SESSIONS, _digest(token), document, {"user": row.key}, expected=0)
        over = [
            Delete(SESSIONS, each.key)
            for each in self._records.find(SESSIONS, {"user": row.key})
            if _moment(each.document["expires_at"]) <= now
        ]
        self._commit([put, *over], session.user.id, "session.create", session.user.id)
        return session

    def sign_out(self, token: str) -> None:
        """End a session; ending one that is over is not an error."""
        key = _digest(token)
        row = self._records.get(SESSIONS, key)
        if row is not None:
            who = self._session_user(row)
            identity = _NOBODY if who is None else who.id
            self._commit([Delete(SESSIONS, key)], identity, "session.delete", identity)

    def user_of_session(self, token: str) -> User:
        """The user whose session this is.

        Raises:
            Unauthenticated: It is over, or was never.
        """
        row = self._records.get(SESSIONS, _digest(token))
        user = None if row is None else self._session_user(row)
        if user is None:
            raise Unauthenticated("the sign-in is over; sign in again")
        return user

    def of_session(self, token: str) -> Principal:
        """Who signed in with this session.

        Raises:
            Unauthenticated: It is over, or was never.
        """

        def find() -> tuple[Principal, datetime | None]:
            user = self.user_of_session(token)
            row = self._records.get(SESSIONS, _digest(token))
            expires = None if row is None else _moment(row.document["expires_at"])
            return Principal(user.id, user.roles, user.patients), expires

        return self._principals.get(f"session {_digest(token)}", find, self._clock())

    # Credentials

    def create_credential(
        self,
        *,
        roles: Collection[str],
        patients: Collection[str] | None,
        by: Principal,
        note: str = "",
        days: int | None = None,
    ) -> NewCredential:
        """An access key with its secret, and a bearer token, for the same principal.

        Args:
            roles: What it may do.
            patients: The only patients it may know of; None for all.
            by: Who makes it.
            note: What it is for.
            days: Days after which it expires; None for never.

        Raises:
            InvalidInput: There is no role, one is unknown, or `days` is out of range.
            Denied: `by` may know of some patients only.
        """
        _require_wide(by)
        if days is not None and not 1 <= days <= LONGEST_LIFE_DAYS:
            raise InvalidInput(f"days must be from 1 to {LONGEST_LIFE_DAYS}")
        if len(note) > LONGEST_NAME:
            raise InvalidInput(f"note must be text of at most {LONGEST_NAME} characters")
        now = self._clock()
        identity = "AKRL" + base64.b32encode(secrets.token_bytes(10)).decode()
        secret = base64.b64encode(secrets.token_bytes(30)).decode()
        token = f"rlt_{secrets.token_urlsafe(32)}"
        expires = None if days is None else now + timedelta(days=days)
        made = Credential(identity, self._known(roles), _scope(patients), note, by.id, now, expires, None)
        wrapped = self._keys.create()
        document = {
            **_credential_document(made),
            "token_digest": _digest(token),
            "wrapped_key": wrapped.hex(),
            "sealed_secret": self._keys.cipher(wrapped).seal(secret.encode(), identity.encode()).hex(),
        }
        put = Put(CREDENTIALS, identity, document, {"token_digest": document["token_digest"]}, expected=0)
        self._commit([put], by, "credential.create", identity)
        return NewCredential(made, secret, token)

    def credentials(self) -> list[Credential]:
        """All of them, also those revoked and expired, in the order they were made."""
        return [_credential(row) for row in self._records.find(CREDENTIALS)]

    def revoke(self, identity: str, *, by: Principal) -> Credential:
        """Make a credential worthless for good, and forget its secrets; revoking twice is once.

        Raises:
            NotFound: There is no such credential.
            Denied: `by` may know of some patients only.
        """
        _require_wide(by)
        row = self._records.get(CREDENTIALS, identity)
        if row is None:
            raise NotFound("there is no such credential")
        found = _credential(row)
        if found.revoked_at is not None:
            return found
        revoked = replace(found, revoked_at=self._clock())
        put = Put(CREDENTIALS, identity, _credential_document(revoked), {"token_digest": None}, row.revision)
        self._commit([put], by, "credential.revoke", identity)
        return revoked

    def of_token(self, token: str) -> Principal:
        """Who holds this bearer token.

        Raises:
            Unauthenticated: It is not one of ours, or expired, or revoked.
        """
        digest = _digest(token)
        if digest in self._trusted:
            return self._trusted[digest]

        def find() -> tuple[Principal, datetime | None]:
            rows = self._records.find(CREDENTIALS, {"token_digest": digest}, limit=1)
            return self._valid(rows[0] if rows else None)

        return self._principals.get(f"token {digest}", find, self._clock())

    def of_access_key(self, identity: str) -> Principal:
        """Who holds this access key; ask only once its signature was verified.

        Raises:
            Unauthenticated: There is no such key, or it is expired or revoked.
        """

        def find() -> tuple[Principal, datetime | None]:
            return self._valid(self._records.get(CREDENTIALS, identity))

        return self._principals.get(f"key {identity}", find, self._clock())

    def secret_of(self, identity: str) -> str | None:
        """The secret of an access key, for `sigv4.verify`; None where there is none that is valid."""

        def find() -> tuple[str, datetime | None]:
            row = self._records.get(CREDENTIALS, identity)
            _, expires = self._valid(row)
            assert row is not None
            cipher = self._keys.cipher(bytes.fromhex(row.document["wrapped_key"]))
            return cipher.open(bytes.fromhex(row.document["sealed_secret"]), identity.encode()).decode(), expires

        try:
            return self._secrets.get(identity, find, self._clock())
        except Unauthenticated:
            return None

    def trust(self, token: str, principal: Principal) -> None:
        """Take `token` for `principal` as long as this process lives, without writing it down."""
        self._trusted[_digest(token)] = principal

    # Below

    def _valid(self, row: Row | None) -> tuple[Principal, datetime | None]:
        found = None if row is None else _credential(row)
        if found is None or found.revoked_at is not None or _is_over(found.expires_at, self._clock()):
            raise Unauthenticated("the credential is unknown, expired or revoked")
        return Principal(found.id, found.roles, found.patients), found.expires_at

    def _session_user(self, row: Row) -> User | None:
        if _moment(row.document["expires_at"]) <= self._clock():
            return None
        found = self._records.get(USERS, str(row.document["user"]))
        return None if found is None or found.document["disabled"] else _user(found)

    def _user_row(self, identity: str) -> Row:
        rows = self._records.find(USERS, {"identity": identity}, limit=1)
        if not rows:
            raise NotFound("there is no such user")
        return rows[0]

    def _known(self, roles: Collection[str]) -> frozenset[str]:
        wanted = frozenset(roles)
        if not wanted or not wanted <= self._roles:
            raise InvalidInput(f"roles must be some of {', '.join(sorted(self._roles))}")
        return wanted

    def _hashed(self, password: str) -> str:
        if not LEAST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
            raise InvalidInput(f"a password has from {LEAST_PASSWORD} to {LONGEST_PASSWORD} characters")
        return self._hasher.hash(_normal(password))

    def _hash_of_nobody(self) -> str:
        """What a password is held to where there is no user, so that both take as long."""
        if not self._nobodys_hash:
            self._nobodys_hash = self._hasher.hash(secrets.token_urlsafe())
        return self._nobodys_hash

    def _matches(self, known: str, password: str) -> bool:
        try:
            return len(password) <= LONGEST_PASSWORD and self._hasher.verify(known, _normal(password))
        except (VerificationError, InvalidHashError):
            return False

    def _commit(
        self, writes: list[Put | Delete], by: Principal | str, action: str, subject: str, *, outcome: str = "success"
    ) -> None:
        who = by if isinstance(by, str) else by.id
        self._records.commit(Change(writes=writes, audit=[AuditEntry(who, action, subject, outcome)]))
        if writes:
            self._principals.forget()
            self._secrets.forget()


def new_password() -> str:
    """A password of 120 random bits that can be read out: six groups of four letters and digits."""
    text = base64.b32encode(secrets.token_bytes(15)).decode().lower()
    return "-".join(text[place : place + 4] for place in range(0, len(text), 4))


class _Memory(Generic[T]):
    """Values that cost a look-up, until anybody commits anything, and never beyond their own end.

    Args:
        stamp: See `Records.stamp`: what another process revoked is no longer valid here either.
    """

    def __init__(self, stamp: Callable[[], int]) -> None:
        self._stamp = stamp
        self._values: OrderedDict[str, tuple[T, datetime | None, int]] = OrderedDict()
        self._guard = threading.Lock()
        self._age = 0

    def get(self, key: str, find: Callable[[], tuple[T, datetime | None]], now: datetime) -> T:
        """The value under `key`, looked up by `find` (value and its end) where it is not fresh."""
        with self._guard:
            held, age = self._values.get(key), self._age
        stamp = self._stamp()
        if held is not None and held[2] == stamp and not _is_over(held[1], now):
            return held[0]
        value, ends = find()
        with self._guard:
            if age == self._age:  # else something changed while we looked, and what we found may be of before
                self._values[key] = (value, ends, stamp)
                self._values.move_to_end(key)
                if len(self._values) > _MOST_REMEMBERED:
                    self._values.popitem(last=False)
        return value

    def forget(self) -> None:
        """Look everything up anew."""
        with self._guard:
            self._values.clear()
            self._age += 1


class _Attempts:
    """Sign-ins one at a time, and later and later under a name that fails."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._waiting = threading.BoundedSemaphore(_MOST_WAITING)
        self._guard = threading.Lock()
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()

    @contextmanager
    def one(self, name: str) -> Iterator[None]:
        """The turn of one attempt.

        Raises:
            Throttled: Too many wait, or the name must.
        """
        if not self._waiting.acquire(blocking=False):
            raise Throttled("too many sign in at the same time; try again")
        try:
            with self._turn:
                self._require_rested(name)
                yield
        finally:
            self._waiting.release()

    def ended(self, name: str, *, is_right: bool) -> None:
        """Count what came of an attempt."""
        with self._guard:
            count, _ = self._failures.pop(name, (0, 0.0))
            if not is_right:
                delay = 0.0 if count + 1 < _FREE_FAILURES else min(2.0 ** (count + 1 - _FREE_FAILURES), LONGEST_DELAY_S)
                self._failures[name] = (count + 1, time.monotonic() + delay)
                if len(self._failures) > _MOST_NAMES:
                    self._failures.popitem(last=False)

    def forgive(self, name: str) -> None:
        """Forget the failures under a name."""
        with self._guard:
            self._failures.pop(name, None)

    def _require_rested(self, name: str) -> None:
        with self._guard:
            _, until = self._failures.get(name, (0, 0.0))
        left = until - time.monotonic()
        if left > 0:
            raise Throttled("too many wrong passwords; wait before the next try", retry_after_s=math.ceil(left))


# How they are written down


def _user_key(name: str) -> str:
    return derived_id("user", name)


def _put_user(user: User, document: dict[str, Any], *, expected: int) -> Put:
    return Put(USERS, _user_key(user.name), document, {"identity": user.id}, expected)


def _user_document(user: User, password: str) -> dict[str, Any]:
    return {
        "id": user.id,
        "name": user.name,
        "roles": sorted(user.roles),
        "patients": None if user.patients is None else sorted(user.patients),
        "disabled": user.is_disabled,
        "created_at": user.created_at.isoformat(),
        "password": password,
    }


def _user(row: Row) -> User:
    document = row.document
    return User(
        id=str(document["id"]),
        name=str(document["name"]),
        roles=frozenset(document["roles"]),
        patients=_scope(document["patients"]),
        is_disabled=bool(document["disabled"]),
        created_at=_moment(document["created_at"]),
    )


def _credential_document(value: Credential) -> dict[str, Any]:
    return {
        "roles": sorted(value.roles),
        "patients": None if value.patients is None else sorted(value.patients),
        "note": value.note,
        "created_by": value.created_by,
        "created_at": value.created_at.isoformat(),
        "expires_at": None if value.expires_at is None else value.expires_at.isoformat(),
        "revoked_at": None if value.revoked_at is None else value.revoked_at.isoformat(),
    }


def _credential(row: Row) -> Credential:
    document = row.document
    return Credential(
        id=row.key,
        roles=frozenset(document["roles"]),
        patients=_scope(document["patients"]),
        note=str(document["note"]),
        created_by=str(document["created_by"]),
        created_at=_moment(document["created_at"]),
        expires_at=None if document["expires_at"] is None else _moment(document["expires_at"]),
        revoked_at=None if document["revoked_at"] is None else _moment(document["revoked_at"]),
    )


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _is_over(ends: datetime | None, now: datetime) -> bool:
    return ends is not None and ends <= now


def _scope(patients: Collection[str] | None) -> frozenset[str] | None:
    return None if patients is None else frozenset(patients)


def _require_wide(by: Principal) -> None:
    """Who may know of some patients only could else give away more than that."""
    if by.patients is not None:
        raise Denied("who is limited to some patients may not manage users and credentials")


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _normal(password: str) -> bytes:
    """The same bytes from every keyboard."""
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold()


def _name(name: str) -> str:
    folded = _folded(name)
    if not _NAME.fullmatch(folded):
        raise InvalidInput(f"a name has at most {LONGEST_NAME} letters, digits and . _ @ -")
    return folded
