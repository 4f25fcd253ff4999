"""Users, sessions, tokens and access keys, on real records."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from radloop.core.errors import Conflict, Denied, InvalidInput, NotFound, Throttled, Unauthenticated
from radloop.core.identity import OWNER, Principal, new_id
from radloop.core.ports import Change, Put
from radloop.core.tables import SESSIONS, TABLES, USERS
from radloop.local.audit import SqliteAudit
from radloop.local.database import Database
from radloop.local.records import SqliteRecords
from radloop.security import attempts
from radloop.security.accounts import User, user_document, user_key, user_of
from radloop.security.attempts import LONGEST_DELAY_S
from radloop.security.identities import Identities
from radloop.security.passwords import new_password
from radloop.security.sealing import Keyring
from tests.contracts.identities import ROLES, SCOPED, IdentitiesContract, Someone

PASSWORD = "correct horse battery"


@dataclass
class HandClock:
    now: datetime = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@dataclass
class House:
    identities: Identities
    clock: HandClock
    records: SqliteRecords
    audit: SqliteAudit
    database: Database
    keys: Keyring

    def another(self) -> Identities:
        """The same records, seen by another process."""
        return Identities(self.records, self.keys, self.clock, roles=ROLES, hasher=PasswordHasher(1, 8, 1))

    def audited(self) -> list[tuple[str, str, str]]:
        return [(entry.principal, entry.action, entry.outcome) for entry in reversed(self.audit.entries(limit=1000))]


def opened(folder: Path) -> Iterator[House]:
    clock = HandClock()
    database = Database(folder / "index.sqlite", bytes(32), TABLES)
    records, keys = SqliteRecords(database, clock), Keyring(bytes(range(32)))
    identities = Identities(records, keys, clock, roles=ROLES, session_hours=12, hasher=PasswordHasher(1, 8, 1))
    yield House(identities, clock, records, SqliteAudit(database, records, clock), database, keys)
    identities.close()
    database.close()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    yield from opened(tmp_path)


@dataclass
class Home:
    """A house as the contract asks for it: people sign in by a password and come in with a session."""

    house: House
    folder: Path

    def __post_init__(self) -> None:
        self.identities = self.house.identities
        self.records = self.house.records
        self.another = self.house.another
        self.audited = self.house.audited

    def person(self, *roles: str, patients: list[str] | None = None) -> Someone:
        """As a record may tell, also one of before the roles were what they are."""
        name = f"someone-{new_id()}"
        user = self.identities.create_user(name, PASSWORD, roles=["reader"], patients=patients, by=OWNER)
        row = self.records.get(USERS, user_key(name))
        assert row is not None
        document = user_document(replace(user_of(row), roles=frozenset(roles)), str(row.document["password"]))
        self.records.commit(Change([Put(USERS, row.key, document, {"identity": user.id}, row.revision)]))
        return name, user.id

    def bearer(self, someone: Someone) -> str:
        return self.identities.sign_in(someone[0], PASSWORD).token

    def strangers_bearer(self) -> str:
        (self.folder / "other").mkdir()
        others = opened(self.folder / "other")
        other = Home(next(others), self.folder / "other")
        made = other.bearer(other.person("reader"))
        assert other.come_in(made)
        next(others, None)
        return made

    def come_in(self, bearer: str, identities: Identities | None = None) -> Principal:
        return (identities or self.identities).of_session(bearer)

    def disable(self, someone: Someone, is_disabled: bool = True) -> None:
        self.identities.change_user(someone[1], is_disabled=is_disabled, by=OWNER)

    def give(self, someone: Someone, role: str) -> None:
        self.identities.change_user(someone[1], roles=[role], by=OWNER)

    def wait(self, time: timedelta) -> None:
        self.house.clock.now += time


class TestIdentities(IdentitiesContract):
    @pytest.fixture
    def home(self, house: House, tmp_path: Path) -> Home:
        return Home(house, tmp_path)


def anna(house: House, **options: object) -> User:
    settings = {"roles": ["reader"], "patients": None, **options}
    return house.identities.create_user("Anna", PASSWORD, by=OWNER, **settings)


def test_whoever_knows_the_password_gets_a_session_with_roles_and_scope(house: House) -> None:
    user = anna(house, roles=["reader", "verifier"], patients=["A", "B"])
    session = house.identities.sign_in("ANNA", PASSWORD)
    principal = house.identities.of_session(session.token)
    assert principal == Principal(user.id, frozenset({"reader", "verifier"}), frozenset({"A", "B"}))
    assert "anna" not in principal.id
    assert session.expires_at == house.clock.now + timedelta(hours=12)
    assert house.identities.user_of_session(session.token).name == "anna"


@pytest.mark.parametrize(("name", "password"), [("anna", "wrong"), ("bert", PASSWORD), ("", ""), ("anna", "x" * 9999)])
def test_whoever_does_not_know_it_is_told_one_thing_only(house: House, name: str, password: str) -> None:
    anna(house)
    with pytest.raises(Unauthenticated, match="the name or the password is wrong, or the user is disabled"):
        house.identities.sign_in(name, password)
    assert house.audited()[-1] == ("nobody", "session.create", "failure")
    assert house.records.count(SESSIONS) == 0


def test_a_session_ends_by_itself_and_by_signing_out(house: House) -> None:
    anna(house)
    first, second = (house.identities.sign_in("anna", PASSWORD) for _ in range(2))
    house.identities.sign_out(first.token)
    house.identities.sign_out(first.token)
    with pytest.raises(Unauthenticated):
        house.identities.of_session(first.token)
    assert house.identities.of_session(second.token)
    house.clock.now += timedelta(hours=12)
    with pytest.raises(Unauthenticated):
        house.identities.of_session(second.token)
    house.identities.sign_in("anna", PASSWORD)
    assert house.records.count(SESSIONS) == 1, "what is over is cleared away"


@pytest.mark.parametrize("change", [{"is_disabled": True}, {"password": "another long one"}, {"roles": ["auditor"]}])
def test_changing_a_user_ends_all_sign_ins_at_once(house: House, change: dict) -> None:
    user = anna(house)
    session = house.identities.sign_in("anna", PASSWORD)
    assert house.identities.of_session(session.token)
    house.identities.change_user(user.id, by=OWNER, **change)
    with pytest.raises(Unauthenticated):
        house.identities.of_session(session.token)
    assert house.audited()[-1] == ("owner", "user.change", "success")


def test_a_disabled_user_cannot_sign_in_until_enabled_again(house: House) -> None:
    user = anna(house)
    house.identities.change_user(user.id, by=OWNER, is_disabled=True)
    with pytest.raises(Unauthenticated):
        house.identities.sign_in("anna", PASSWORD)
    house.identities.change_user(user.id, by=OWNER, is_disabled=False)
    assert house.identities.sign_in("anna", PASSWORD)


def test_names_are_taken_once_whatever_their_case(house: House) -> None:
    anna(house)
    with pytest.raises(Conflict):
        house.identities.create_user("aNNA", PASSWORD, roles=["reader"], patients=None, by=OWNER)
    assert house.identities.find_user("ANNA").name == "anna"
    with pytest.raises(NotFound):
        house.identities.find_user("bert")


@pytest.mark.parametrize(
    ("name", "password", "roles"),
    [
        ("", PASSWORD, ["reader"]),
        ("a b", PASSWORD, ["reader"]),
        ("x" * 65, PASSWORD, ["reader"]),
        ("anna", "short", ["reader"]),
        ("anna", "x" * 1025, ["reader"]),
        ("anna", PASSWORD, []),
        ("anna", PASSWORD, ["emperor"]),
        ("anna", PASSWORD, ["system"]),
    ],
)
def test_what_cannot_be_a_user_is_refused(house: House, name: str, password: str, roles: list[str]) -> None:
    with pytest.raises(InvalidInput):
        house.identities.create_user(name, password, roles=roles, patients=None, by=OWNER)
    assert house.records.count(USERS) == 0


def test_each_failure_makes_the_next_try_wait_longer_and_another_name_does_not_wait(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(attempts.time, "monotonic", lambda: now[0])
    anna(house)
    waits = []
    for _ in range(9):
        try:
            house.identities.sign_in("anna", "wrong")
        except Throttled as error:
            waits.append(error.retry_after_s)
            now[0] += error.retry_after_s
        except Unauthenticated:
            pass
    assert waits == [1, 2, 4]
    with pytest.raises(Throttled):
        house.identities.sign_in("anna", PASSWORD)
    with pytest.raises(Unauthenticated):
        house.identities.sign_in("bert", "wrong")
    now[0] += LONGEST_DELAY_S
    assert house.identities.sign_in("anna", PASSWORD)
    with pytest.raises(Unauthenticated):
        house.identities.sign_in("anna", "wrong")


def test_passwords_are_looked_at_one_at_a_time_and_a_crowd_is_turned_away(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    anna(house)
    inside, most, told = [0], [0], []

    def slow(hasher: PasswordHasher, known: str, password: bytes) -> bool:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        time.sleep(0.1)
        inside[0] -= 1
        return True

    def attempt() -> None:
        try:
            house.identities.sign_in("anna", PASSWORD)
            told.append("in")
        except Throttled:
            told.append("later")

    monkeypatch.setattr(PasswordHasher, "verify", slow)
    threads = [threading.Thread(target=attempt) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] == 1
    assert "later" in told
    assert told.count("in") >= 4


# What is kept, and by whom


def test_neither_a_password_nor_a_session_is_kept_in_clear(house: House) -> None:
    anna(house)
    session = house.identities.sign_in("anna", PASSWORD)
    kept = "".join(row.key + str(row.document) for table in (USERS, SESSIONS) for row in house.records.find(table))
    for secret in (PASSWORD, session.token):
        assert secret not in kept
        assert secret.encode().hex() not in kept
    assert "$argon2id$" in kept


def test_whoever_is_limited_to_patients_cannot_give_away_more(house: House) -> None:
    user = anna(house)
    for attempt in (
        lambda: house.identities.create_user("eve", PASSWORD, roles=["admin"], patients=None, by=SCOPED),
        lambda: house.identities.change_user(user.id, password="another long one", by=SCOPED),
    ):
        with pytest.raises(Denied):
            attempt()


def test_a_trusted_token_needs_no_record(house: House) -> None:
    house.identities.trust("owners", OWNER)
    assert house.identities.of_token("owners") == OWNER
    with pytest.raises(Unauthenticated):
        house.another().of_token("owners")


def test_every_change_of_a_user_is_audited_with_who_did_it(house: House) -> None:
    user = anna(house)
    session = house.identities.sign_in("anna", PASSWORD)
    house.identities.sign_out(session.token)
    assert house.audited() == [
        ("owner", "user.create", "success"),
        (user.id, "session.create", "success"),
        (user.id, "session.delete", "success"),
    ]


def test_generated_passwords_are_long_and_never_the_same() -> None:
    made = {new_password() for _ in range(50)}
    assert len(made) == 50
    assert all(len(password) == 29 and password.count("-") == 5 for password in made)


def test_the_hash_is_what_rfc_9106_advises(house: House) -> None:
    slow = Identities(house.records, house.keys, house.clock, roles=ROLES)
    slow.create_user("slow", PASSWORD, roles=["reader"], patients=None, by=OWNER)
    (row,) = house.records.find(USERS)
    assert str(row.document["password"]).startswith("$argon2id$v=19$m=65536,t=3,p=4$")


def test_an_attempt_counts_from_its_beginning_so_that_many_at_once_are_not_many_tries(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    anna(house)
    shared = attempts.OwnFailures()
    house.identities.count_failures_in(shared)
    counted: list[float] = []

    def verify(hasher: PasswordHasher, known: str, password: bytes) -> bool:
        counted.append(shared.begin("anna", time.monotonic()))  # another process, while this one still looks
        return False

    monkeypatch.setattr(PasswordHasher, "verify", verify)
    for _ in range(2):
        with pytest.raises(Unauthenticated):
            house.identities.sign_in("anna", PASSWORD)
    assert counted[0] == 0.0
    assert counted[1] > 0.0


def idle(house: House, minutes: float = 15) -> Identities:
    """The same records, seen by a process that ends idle sign-ins."""
    return Identities(
        house.records, house.keys, house.clock, roles=ROLES, idle_minutes=minutes, hasher=PasswordHasher(1, 8, 1)
    )


def test_a_sign_in_that_sends_nothing_ends_after_the_idle_time_and_its_grace(house: House) -> None:
    anna(house)
    identities = idle(house)
    token = identities.sign_in("anna", PASSWORD).token
    house.clock.now += timedelta(minutes=16)
    assert identities.of_session(token)
    identities.noted()
    house.clock.now += timedelta(minutes=17, seconds=-1)
    assert idle(house).user_of_session(token), "another process knows of the use"
    house.clock.now += timedelta(seconds=1)
    with pytest.raises(Unauthenticated):
        identities.of_session(token)


def test_a_sign_in_that_is_used_lasts_and_yet_no_longer_than_its_hours(house: House) -> None:
    anna(house)
    identities = idle(house)
    token = identities.sign_in("anna", PASSWORD).token
    for _ in range(12 * 6 - 1):
        house.clock.now += timedelta(minutes=10)
        identities.of_session(token)
        identities.noted()
    house.clock.now += timedelta(minutes=10)
    with pytest.raises(Unauthenticated):
        identities.of_session(token)


def test_the_use_of_a_sign_in_is_written_down_once_a_minute_and_no_oftener(house: House) -> None:
    anna(house)
    identities = idle(house)
    token = identities.sign_in("anna", PASSWORD).token
    house.clock.now += timedelta(minutes=2)
    stamps = set()
    for _ in range(50):
        house.clock.now += timedelta(seconds=1)
        identities.of_session(token)
        identities.noted()
        stamps.add(house.records.stamp())
    assert len(stamps) == 1


def test_without_an_idle_time_nothing_but_the_hours_ends_a_sign_in(house: House) -> None:
    anna(house)
    token = house.identities.sign_in("anna", PASSWORD).token
    house.clock.now += timedelta(hours=11, minutes=59)
    assert house.identities.of_session(token)


def test_a_sign_in_of_before_uses_were_noted_counts_from_its_beginning(house: House) -> None:
    anna(house)
    token = house.identities.sign_in("anna", PASSWORD).token
    (row,) = house.records.find(SESSIONS)
    document = {name: value for name, value in row.document.items() if name != "used_at"}
    house.records.commit(Change([Put(SESSIONS, row.key, document, {"user": document["user"]}, row.revision)]))
    house.clock.now += timedelta(minutes=16)
    assert idle(house).user_of_session(token)
    house.clock.now += timedelta(minutes=2)
    with pytest.raises(Unauthenticated):
        idle(house).user_of_session(token)
