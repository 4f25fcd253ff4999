"""What every Identities must do, wherever people sign in. Subclass it and provide the `home` fixture."""

from datetime import timedelta
from typing import Any, Protocol

import pytest

from radloop.core.errors import Denied, InvalidInput, NotFound, Unauthenticated
from radloop.core.identity import OWNER, Principal
from radloop.core.ports import Change, Delete, Records
from radloop.core.tables import CREDENTIALS, ISOLATIONS
from radloop.security.accounts import NewCredential
from radloop.security.identities import Identities
from radloop.security.isolation import isolating

ROLES = frozenset({"reader", "verifier", "admin", "auditor", "system"})
"""The roles that the identities of a home know."""

SCOPED = Principal("scoped", frozenset({"admin"}), frozenset({"A"}))
A_MINUTE = timedelta(seconds=61)
"""So long at most a change of a person needs to act."""

A_SIGN_IN = timedelta(hours=13)
"""Longer than any sign-in lasts."""

Someone = tuple[str, str]
"""The name by which a person signs in, and their id."""


class IdentityHome(Protocol):
    """Identities, and what an administrator can do beside them."""

    identities: Identities

    @property
    def records(self) -> Records:
        """Where credentials are kept."""
        ...

    def another(self) -> Identities:
        """The same people and credentials, seen by another process."""
        ...

    def person(self, *roles: str, patients: list[str] | None = None) -> Someone:
        """Somebody new, who may sign in; also with roles that `ROLES` does not have, such as `radiology`."""
        ...

    def bearer(self, someone: Someone) -> str:
        """What a sign-in gives to this person."""
        ...

    def strangers_bearer(self) -> str:
        """What a sign-in gives to somebody of another installation."""
        ...

    def come_in(self, bearer: str, identities: Identities | None = None) -> Principal:
        """Who comes in with this, at the door where people do; to `identities` where they are told."""
        ...

    def disable(self, someone: Someone, is_disabled: bool = True) -> None:
        """Let this person in no more, or again."""
        ...

    def give(self, someone: Someone, role: str) -> None:
        """This role, and no other, is this person's from now on."""
        ...

    def wait(self, time: timedelta) -> None:
        """Put the clock forward."""
        ...

    def audited(self) -> list[tuple[str, str, str]]:
        """Who did what, and how it ended; oldest first."""
        ...


class IdentitiesContract:
    # People

    @pytest.mark.parametrize("patients", [None, [], ["A", "B"]], ids=str)
    def test_who_signed_in_comes_in_with_their_roles_and_patients(
        self, home: IdentityHome, patients: list[str] | None
    ) -> None:
        someone = home.person("reader", "verifier", patients=patients)
        principal = home.come_in(home.bearer(someone))
        scope = None if patients is None else frozenset(patients)
        assert principal == Principal(someone[1], frozenset({"reader", "verifier"}), scope)
        assert home.identities.of_id(principal.id) == principal
        assert someone[0].partition("@")[0] not in principal.id

    def test_who_is_isolated_is_out_at_once_until_they_are_let_in_again(self, home: IdentityHome) -> None:
        someone, other = home.person("reader"), home.person("reader")
        bearer, others = home.bearer(someone), home.bearer(other)
        home.come_in(bearer)
        kept_out = isolating(home.records, someone[1], incident="i", by="admin-1", at="2026-01-05T09:00:00+00:00")
        home.records.commit(Change(writes=kept_out))
        home.wait(timedelta(seconds=6))
        for identities in (home.identities, home.another()):
            for _ in range(2):
                with pytest.raises(Unauthenticated):
                    home.come_in(bearer, identities)
            with pytest.raises(Unauthenticated):
                identities.of_id(someone[1])
        with pytest.raises(Exception, match=r"disabled|Unauthenticated"):
            home.bearer(someone)
        assert home.come_in(others).id == other[1]
        home.identities.require_account(someone[1])
        home.records.commit(Change(writes=[Delete(ISOLATIONS, someone[1])]))
        home.identities.let_in(someone[1])
        home.wait(A_MINUTE)
        assert home.come_in(home.bearer(someone)).id == someone[1]

    def test_who_is_shut_out_by_hand_is_shut_out_once_and_nobody_else_is(self, home: IdentityHome) -> None:
        someone, other = home.person("reader"), home.person("reader")
        for _ in range(2):
            home.identities.shut_out(someone[1])
        home.come_in(home.bearer(other))
        for nobody in ("none", "00000000-0000-0000-0000-000000000000"):
            with pytest.raises(NotFound):
                home.identities.require_account(nobody)

    def test_an_access_key_that_is_isolated_opens_nothing_until_it_is_released(self, home: IdentityHome) -> None:
        made = home.identities.create_credential(roles=["reader"], patients=None, by=OWNER)
        key = made.credential.id
        assert home.identities.of_token(made.token).id == key
        home.identities.require_account(key)
        home.records.commit(Change(writes=isolating(home.records, key, incident="i", by="admin-1", at="now")))
        with pytest.raises(Unauthenticated):
            home.identities.of_token(made.token)
        with pytest.raises(Unauthenticated):
            home.identities.of_access_key(key)
        assert home.identities.secret_of(key) is None
        home.records.commit(Change(writes=[Delete(ISOLATIONS, key)]))
        assert home.identities.of_token(made.token).id == key
        assert home.identities.secret_of(key) == made.secret_access_key

    def test_a_role_that_there_is_not_counts_for_nothing_and_nobody_is_the_system(self, home: IdentityHome) -> None:
        someone = home.person("reader", "radiology", "system")
        for principal in (home.come_in(home.bearer(someone)), home.identities.of_id(someone[1])):
            assert principal.roles == {"reader"}

    def test_a_bearer_that_was_changed_or_is_a_strangers_is_told_one_thing_only(self, home: IdentityHome) -> None:
        right = home.bearer(home.person("reader"))
        wrong = [home.strangers_bearer(), right[:-10], f"{right}{right[-10:]}"]
        for at in (5, len(right) // 2, len(right) - 10):
            place = at + (right[at] == ".")
            wrong.append(f"{right[:place]}{'A' if right[place] != 'A' else 'B'}{right[place + 1 :]}")
        assert home.come_in(right)
        assert len({refusal(home, each) for each in wrong}) == 1

    @pytest.mark.parametrize("bearer", ["", "x", "a.b.c", "..", "\ud800", "rlt_x", "x" * 100_000], ids=repr)
    def test_what_is_no_bearer_is_nobodys(self, home: IdentityHome, bearer: str) -> None:
        for come_in in (home.come_in, home.identities.of_token, home.identities.of_session):
            with pytest.raises(Unauthenticated):
                come_in(bearer)

    def test_a_sign_in_ends_and_the_person_stays(self, home: IdentityHome) -> None:
        someone = home.person("reader")
        bearer = home.bearer(someone)
        principal = home.come_in(bearer)
        home.wait(A_SIGN_IN)
        assert someone[1] not in refusal(home, bearer)
        assert home.identities.of_id(someone[1]) == principal

    def test_who_was_disabled_is_out_everywhere_until_enabled_again(self, home: IdentityHome) -> None:
        someone, other = home.person("reader"), home.person("reader")
        bearer, another = home.bearer(someone), home.another()
        assert home.come_in(bearer) == home.come_in(bearer, another) == another.of_id(someone[1])
        home.disable(someone)
        home.wait(A_MINUTE)
        for identities in (home.identities, another):
            told = refusal(home, bearer, identities)
            assert not any(part in told for part in someone)
            with pytest.raises(Unauthenticated):
                identities.of_id(someone[1])
        assert home.come_in(home.bearer(other)).id == other[1]
        home.disable(someone, is_disabled=False)
        home.wait(A_MINUTE)
        assert home.come_in(home.bearer(someone)).id == someone[1]

    def test_a_role_that_was_taken_is_lost_to_sign_ins_of_before_too(self, home: IdentityHome) -> None:
        someone = home.person("reader")
        before = home.bearer(someone)
        assert home.come_in(before).roles == {"reader"}
        home.give(someone, "auditor")
        home.wait(A_MINUTE)
        assert roles_left(home, before) <= {"auditor"}
        assert home.identities.of_id(someone[1]).roles == {"auditor"}
        assert home.come_in(home.bearer(someone)).roles == {"auditor"}

    def test_an_id_that_may_not_come_in_is_told_one_thing_only(self, home: IdentityHome) -> None:
        disabled, revoked = home.person("reader"), credential(home).credential
        home.disable(disabled)
        home.identities.revoke(revoked.id, by=OWNER)
        nobodys = ("", "AKRLNONE", 'x" or sub = "y', "de45b7c7-3bb7-4323-847b-2838b84743de")
        told = set()
        for identity in (disabled[1], revoked.id, *nobodys):
            with pytest.raises(Unauthenticated) as caught:
                home.identities.of_id(identity)
            told.add(str(caught.value))
        assert len(told) == 1

    # Credentials

    def test_a_credential_is_known_by_its_token_its_key_and_its_id(self, home: IdentityHome) -> None:
        made = credential(home, roles=["reader"], patients=["A"], note="PACS")
        identity = made.credential.id
        wanted = Principal(identity, frozenset({"reader"}), frozenset({"A"}))
        for identities in (home.identities, home.another()):
            assert identities.of_token(made.token) == wanted
            assert identities.of_access_key(identity) == wanted
            assert identities.of_id(identity) == wanted
            assert identities.secret_of(identity) == made.secret_access_key
            assert identities.credentials() == [made.credential]
        assert (len(identity), len(made.secret_access_key)) == (20, 40)

    def test_no_secret_of_a_credential_is_kept_in_clear(self, home: IdentityHome) -> None:
        made = credential(home)
        (row,) = home.records.find(CREDENTIALS)
        kept = row.key + str(row.columns) + str(row.document)
        assert made.credential.id in kept
        for secret in (made.token, made.secret_access_key):
            assert secret not in kept
            assert secret.encode().hex() not in kept

    def test_a_revoked_credential_is_worth_nothing_in_any_process_and_its_secrets_are_gone(
        self, home: IdentityHome
    ) -> None:
        made, another = credential(home), home.another()
        identity = made.credential.id
        assert home.identities.of_token(made.token)
        assert home.identities.secret_of(identity)
        revoked = another.revoke(identity, by=OWNER)
        assert another.revoke(identity, by=OWNER) == revoked
        for identities in (home.identities, another):
            with pytest.raises(Unauthenticated):
                identities.of_token(made.token)
            with pytest.raises(Unauthenticated):
                identities.of_access_key(identity)
            assert identities.secret_of(identity) is None
        (row,) = home.records.find(CREDENTIALS)
        assert "sealed_secret" not in row.document
        with pytest.raises(NotFound):
            home.identities.revoke("AKRLNONE", by=OWNER)

    def test_a_credential_expires_even_while_remembered(self, home: IdentityHome) -> None:
        made = credential(home, days=1)
        home.wait(timedelta(days=1) - A_MINUTE)
        assert home.identities.of_token(made.token)
        assert home.identities.secret_of(made.credential.id)
        home.wait(A_MINUTE)
        with pytest.raises(Unauthenticated):
            home.identities.of_token(made.token)
        assert home.identities.secret_of(made.credential.id) is None

    def test_what_cannot_be_a_credential_is_refused(self, home: IdentityHome) -> None:
        roles: list[dict[str, Any]] = [{"roles": given} for given in ([], ["root"], ["system"])]
        for change in (*roles, {"days": 0}, {"days": 3651}, {"note": "x" * 65}):
            with pytest.raises(InvalidInput):
                credential(home, **change)
        assert home.identities.credentials() == []

    def test_whoever_is_limited_to_patients_neither_gives_nor_takes_credentials(self, home: IdentityHome) -> None:
        made = credential(home)
        for act in (
            lambda: credential(home, patients=["A"], by=SCOPED),
            lambda: home.identities.revoke(made.credential.id, by=SCOPED),
        ):
            with pytest.raises(Denied):
                act()
        assert home.identities.of_token(made.token)

    def test_nobody_is_a_program_by_the_id_of_a_person(self, home: IdentityHome) -> None:
        _, identity = home.person("reader")
        assert home.identities.secret_of(identity) is None
        for act in (home.identities.of_access_key, home.identities.of_token):
            with pytest.raises(Unauthenticated):
                act(identity)

    def test_what_becomes_of_a_credential_is_audited_with_who_did_it(self, home: IdentityHome) -> None:
        by = Principal("someone", frozenset({"admin"}))
        made = credential(home, by=by)
        home.identities.revoke(made.credential.id, by=OWNER)
        home.identities.revoke(made.credential.id, by=by)
        assert home.audited() == [
            ("someone", "credential.create", "success"),
            ("owner", "credential.revoke", "success"),
        ]


def credential(home: IdentityHome, **given: Any) -> NewCredential:
    """A credential of a reader of every patient, unless told."""
    settings = {"roles": ["reader"], "patients": None, "by": OWNER, **given}
    return home.identities.create_credential(**settings)


def refusal(home: IdentityHome, bearer: str, identities: Identities | None = None) -> str:
    """What is told to whoever comes with this, and nothing of it is in that."""
    with pytest.raises(Unauthenticated) as caught:
        home.come_in(bearer, identities)
    told = str(caught.value)
    assert caught.value.__cause__ is None
    assert not any(part in told for part in bearer.split(".") if part)
    return told


def roles_left(home: IdentityHome, bearer: str) -> frozenset[str]:
    """What somebody still has by a sign-in that may be over."""
    try:
        return home.come_in(bearer).roles
    except Unauthenticated:
        return frozenset()
