"""Who there is: users and their sign-ins, access keys and bearer tokens, and what each may do.

Passwords are kept as argon2id, tokens and sessions as SHA-256 of 256 random bits, secrets of access keys sealed under
a data key of their own, because checking a signature needs the secret itself. Every change is audited in the change
that makes it.

Whoever is looked up is remembered until anybody commits anything, so that a change acts at once in every process.
"""

import base64
import hashlib
import secrets
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from argon2 import PasswordHasher

from radloop.core.errors import Conflict, Denied, InvalidInput, NotFound, Unauthenticated, Unavailable
from radloop.core.identity import Principal, new_id
from radloop.core.ports import AuditEntry, Change, Clock, Delete, Keys, Put, Records, Row
from radloop.core.tables import CREDENTIALS, SESSIONS, USERS
from radloop.security.accounts import (
    LONGEST_NAME,
    Credential,
    NewCredential,
    Session,
    User,
    checked_name,
    credential_document,
    credential_of,
    folded_name,
    is_over,
    moment,
    put_user,
    scope,
    user_document,
    user_key,
    user_of,
)
from radloop.security.attempts import Attempts, Failures, OwnFailures
from radloop.security.isolation import is_isolated
from radloop.security.memory import Memory
from radloop.security.passwords import Passwords

LONGEST_LIFE_DAYS = 3650
NOTED_EVERY = timedelta(minutes=1)
"""How often at most the use of a session is written down."""
IDLE_GRACE = timedelta(minutes=2)
"""So much longer than the web page the server waits, which hears of a person's doings only now and then."""

_NOBODY = "nobody"
_LONG_AGO = datetime.min.replace(tzinfo=UTC)
GONE = "whoever this is, is unknown, disabled, isolated, expired or revoked"
"""The one answer to all who may not come in; which it is, is not told."""

_REFUSED = "the name or the password is wrong, or the user is disabled"


class Identities:
    """Users, sessions and credentials on Records.

    Args:
        records: Where they are kept.
        keys: Seal the secrets of access keys.
        clock: The present moment.
        roles: Names of the roles there are; others cannot be given.
        session_hours: Hours after which a sign-in ends.
        idle_minutes: Minutes without a request after which, and after `IDLE_GRACE`, a sign-in ends; 0 for never.
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
        idle_minutes: float = 0.0,
        hasher: PasswordHasher | None = None,
    ) -> None:
        self._records = records
        self._keys = keys
        self._clock = clock
        self._roles = frozenset(roles) - {"system"}
        self._session_life = timedelta(hours=session_hours)
        self._longest_idle = timedelta(minutes=idle_minutes) + IDLE_GRACE if idle_minutes > 0 else None
        self._noted: dict[str, datetime] = {}
        self._noting = ThreadPoolExecutor(1, thread_name_prefix="session-use")
        self._passwords = Passwords(hasher)
        self._attempts = Attempts(OwnFailures())
        self._principals = Memory[Principal](records.stamp)
        self._secrets = Memory[str](records.stamp)
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
        user = User(new_id(), checked_name(name), self._known(roles), scope(patients), False, self._clock())
        if self._records.get(USERS, user_key(user.name)) is not None:
            raise Conflict("there is a user of this name")
        document = user_document(user, self._passwords.kept(password))
        self._commit([put_user(user, document, expected=0)], by, "user.create", user.id)
        return user

    def users(self) -> list[User]:
        """Everybody, in the order they were made."""
        return [user_of(row) for row in self._records.find(USERS)]

    def find_user(self, name: str) -> User:
        """The user of this name.

        Raises:
            NotFound: There is none.
        """
        row = self._records.get(USERS, user_key(folded_name(name)))
        if row is None:
            raise NotFound("there is no such user")
        return user_of(row)

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
        before = user_of(row)
        after = replace(
            before,
            is_disabled=before.is_disabled if is_disabled is None else is_disabled,
            roles=before.roles if roles is None else self._known(roles),
        )
        hashed = row.document["password"] if password is None else self._passwords.kept(password)
        ended = [Delete(SESSIONS, each.key) for each in self._records.find(SESSIONS, {"user": row.key})]
        put = put_user(after, user_document(after, hashed), expected=row.revision)
        self._commit([put, *ended], by, "user.change", identity)
        self._attempts.failures.forgive(after.name)
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
        folded = folded_name(name)
        row = self._records.get(USERS, user_key(folded))
        with self._attempts.one(folded):
            known = self._passwords.nobodys() if row is None else str(row.document["password"])
            is_right = self._passwords.matches(known, password) and row is not None and self._may_come_in(user_of(row))
            if is_right:
                self._attempts.failures.forgive(folded)
        if row is None or not is_right:
            subject = "" if row is None else str(row.document["id"])
            self._commit([], _NOBODY, "session.create", subject, outcome="failure")
            raise Unauthenticated(_REFUSED)
        token, now = secrets.token_urlsafe(32), self._clock()
        session = Session(token, user_of(row), now + self._session_life)
        document = {
            "user": row.key,
            "created_at": now.isoformat(),
            "expires_at": session.expires_at.isoformat(),
            "used_at": now.isoformat(),
        }
        put = Put(SESSIONS, _digest(token), document, {"user": row.key}, expected=0)
        over = [
            Delete(SESSIONS, each.key)
            for each in self._records.find(SESSIONS, {"user": row.key})
            if self._session_end(each) <= now
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
        """Who signed in with this session, which is thereby in use.

        Raises:
            Unauthenticated: It is over, or was never.
        """
        key = _digest(token)

        def find() -> tuple[Principal, datetime | None]:
            user = self.user_of_session(token)
            row = self._records.get(SESSIONS, key)
            expires = None if row is None else self._session_end(row)
            return self._as_known(user), expires

        now = self._clock()
        principal = self._principals.get(f"session {key}", find, now)
        if self._longest_idle is not None and now - self._noted.get(key, _LONG_AGO) >= NOTED_EVERY:
            self._noted[key] = now
            self._noting.submit(self._note_use, key, now)  # whoever asks does not wait for the disk
        return principal

    def noted(self) -> None:
        """Wait until all uses of sessions so far are written down."""
        self._noting.submit(lambda: None).result()

    def close(self) -> None:
        """Write down what waits; whoever closes the records closes this first."""
        self._noting.shutdown()

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
        made = Credential(identity, self._known(roles), scope(patients), note, by.id, now, expires, None)
        wrapped = self._keys.create()
        document = {
            **credential_document(made),
            "token_digest": _digest(token),
            "wrapped_key": wrapped.hex(),
            "sealed_secret": self._keys.cipher(wrapped).seal(secret.encode(), identity.encode()).hex(),
        }
        put = Put(CREDENTIALS, identity, document, {"token_digest": document["token_digest"]}, expected=0)
        self._commit([put], by, "credential.create", identity)
        return NewCredential(made, secret, token)

    def credentials(self) -> list[Credential]:
        """All of them, also those revoked and expired, in the order they were made."""
        return [credential_of(row) for row in self._records.find(CREDENTIALS)]

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
        found = credential_of(row)
        if found.revoked_at is not None:
            return found
        revoked = replace(found, revoked_at=self._clock())
        put = Put(CREDENTIALS, identity, credential_document(revoked), {"token_digest": None}, row.revision)
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

    def of_id(self, identity: str) -> Principal:
        """Whoever has this id: a user who may sign in, or a credential that is valid; ask only once that is proven.

        Raises:
            Unauthenticated: Nobody has, or the user is disabled, or the credential is expired or revoked.
        """
        for principal in self._trusted.values():
            if principal.id == identity:
                return principal

        def find() -> tuple[Principal, datetime | None]:
            rows = self._records.find(USERS, {"identity": identity}, limit=1)
            if not rows:
                return self._valid(self._records.get(CREDENTIALS, identity))
            user = user_of(rows[0])
            if not self._may_come_in(user):
                raise Unauthenticated(GONE)
            return self._as_known(user), None

        return self._principals.get(f"id {identity}", find, self._clock())

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

    def require_account(self, identity: str) -> None:
        """Go on only where somebody has this id, may they come in or not.

        Raises:
            NotFound: Nobody has.
        """
        if self._records.get(CREDENTIALS, identity, columns=()) is None:
            self._user_row(identity)

    def shut_out(self, identity: str) -> None:
        """Say elsewhere too that somebody is isolated, where people sign in elsewhere; twice is once."""

    def let_in(self, identity: str) -> bool:  # noqa: ARG002 — for whoever has people elsewhere
        """Say elsewhere too that somebody is isolated no more; tells whether there was anything to say."""
        return False

    def trust(self, token: str, principal: Principal) -> None:
        """Take `token` for `principal` as long as this process lives, without writing it down."""
        self._trusted[_digest(token)] = principal

    def count_failures_in(self, failures: Failures) -> None:
        """Count failed sign-ins where other processes count theirs."""
        self._attempts = Attempts(failures)

    # Below

    def _valid(self, row: Row | None) -> tuple[Principal, datetime | None]:
        found = None if row is None else credential_of(row)
        if found is None or found.revoked_at is not None or is_over(found.expires_at, self._clock()):
            raise Unauthenticated(GONE)
        if is_isolated(self._records, found.id):
            raise Unauthenticated(GONE)
        return self._as_known(found), found.expires_at

    def _as_known(self, found: User | Credential) -> Principal:
        """Whom a record tells of; a role that there is not, or not any more, counts for nothing."""
        return Principal(found.id, found.roles & self._roles, found.patients)

    def _session_end(self, row: Row) -> datetime:
        """When a session ends unless it is used again; one of before this was noted counts from its beginning."""
        ends = moment(row.document["expires_at"])
        if self._longest_idle is None:
            return ends
        used = moment(row.document.get("used_at", row.document["created_at"]))
        return min(ends, used + self._longest_idle)

    def _note_use(self, key: str, now: datetime) -> None:
        """Write down that a session is in use. Somebody else who changed it meanwhile has the last word."""
        for known in [known for known, at in list(self._noted.items()) if now - at > self._session_life]:
            del self._noted[known]
        row = self._records.get(SESSIONS, key)
        if row is None or now - moment(row.document.get("used_at", row.document["created_at"])) < NOTED_EVERY:
            return
        document = {**row.document, "used_at": now.isoformat()}
        with suppress(Conflict, Unavailable):
            self._records.commit(Change([Put(SESSIONS, key, document, {"user": document["user"]}, row.revision)]))

    def _session_user(self, row: Row) -> User | None:
        if self._session_end(row) <= self._clock():
            return None
        found = self._records.get(USERS, str(row.document["user"]))
        user = None if found is None else user_of(found)
        return user if user is not None and self._may_come_in(user) else None

    def _may_come_in(self, user: User) -> bool:
        return not user.is_disabled and not is_isolated(self._records, user.id)

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

    def _commit(
        self, writes: list[Put | Delete], by: Principal | str, action: str, subject: str, *, outcome: str = "success"
    ) -> None:
        who = by if isinstance(by, str) else by.id
        self._records.commit(Change(writes=writes, audit=[AuditEntry(who, action, subject, outcome)]))
        if writes:
            self._principals.forget()
            self._secrets.forget()


def _require_wide(by: Principal) -> None:
    """Who may know of some patients only could else give away more than that."""
    if by.patients is not None:
        raise Denied("who is limited to some patients may not manage users and credentials")


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
