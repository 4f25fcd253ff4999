import json
from pathlib import Path

import pytest

from radloop.core.errors import Denied, InvalidInput, NotFound
from radloop.core.identity import OWNER, SYSTEM, Principal
from radloop.security.access import RolePolicy, load_roles

TEXT = (Path(__file__).parents[2] / "contracts" / "roles.json").read_text()
ROLES = load_roles(TEXT)
POLICY = RolePolicy(ROLES)


def test_the_owner_may_do_whatever_any_person_may() -> None:
    everything = frozenset().union(*(actions for role, actions in ROLES.items() if role != "system"))
    assert POLICY.actions(OWNER) == everything
    assert "system" not in OWNER.roles


@pytest.mark.parametrize("role", ROLES)
def test_a_role_allows_what_its_row_names_and_nothing_else(role: str) -> None:
    every_action = frozenset().union(*ROLES.values()) | {"image.unheard-of", ""}
    principal = Principal("p", frozenset({role}))
    named = set(json.loads(TEXT)["roles"][role])
    assert {action for action in every_action if POLICY.allows(principal, action)} == named
    for action in every_action - named:
        with pytest.raises(Denied):
            POLICY.demand(principal, action)


def test_roles_add_up_and_unknown_ones_add_nothing() -> None:
    both = Principal("p", frozenset({"ml", "auditor", "superuser"}))
    assert POLICY.actions(both) == ROLES["ml"] | ROLES["auditor"]
    for nobody in (Principal("p", frozenset()), Principal("p", frozenset({"superuser", ""}))):
        assert not POLICY.actions(nobody)


def test_a_patient_out_of_scope_is_not_there() -> None:
    scoped = Principal("p", frozenset({"reader"}), frozenset({"A"}))
    POLICY.demand(scoped, "image.read", "A")
    POLICY.demand(scoped, "image.read")
    with pytest.raises(NotFound):
        POLICY.demand(scoped, "image.read", "B")
    with pytest.raises(Denied):
        POLICY.demand(scoped, "image.delete", "A")
    assert not POLICY.allows(Principal("p", frozenset({"reader"}), frozenset()), "image.read", "A")
    assert not POLICY.allows(scoped, "image.read", "")
    assert POLICY.allows(SYSTEM, "image.read", "B")


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"roles": []}', '{"roles": {"a": [1]}}', '{"roles": {"a": 1}}'])
def test_what_is_no_table_of_roles_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        load_roles(text)
