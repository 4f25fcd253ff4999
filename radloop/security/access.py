"""Who may do what: the roles of `contracts/roles.json`, and the patients a principal may know of."""

import json
from collections.abc import Mapping

from radloop.core.errors import Denied, InvalidInput, NotFound
from radloop.core.identity import Principal

_COMBINATIONS = 1024


class RolePolicy:
    """The Policy port on a table of roles. What the table does not name is refused: a role, an action, a patient."""

    def __init__(self, roles: Mapping[str, frozenset[str]]) -> None:
        self._roles = dict(roles)
        self._actions: dict[frozenset[str], frozenset[str]] = {}  # by the roles of those who have asked

    @property
    def roles(self) -> frozenset[str]:
        """Names of all roles there are."""
        return frozenset(self._roles)

    def actions(self, principal: Principal) -> frozenset[str]:
        """Everything the roles of `principal` allow; a role that the table does not know allows nothing."""
        known = self._actions.get(principal.roles)
        if known is None:
            known = frozenset().union(*(self._roles.get(role, frozenset()) for role in principal.roles))
            if len(self._actions) < _COMBINATIONS:
                self._actions[principal.roles] = known
        return known

    def allows(self, principal: Principal, action: str, patient_id: str | None = None) -> bool:
        """See `Policy.allows`."""
        return action in self.actions(principal) and _in_scope(principal, patient_id)

    def demand(self, principal: Principal, action: str, patient_id: str | None = None) -> None:
        """See `Policy.demand`."""
        if action not in self.actions(principal):
            raise Denied(f"none of the caller's roles has {action}")
        if not _in_scope(principal, patient_id):
            raise NotFound("nothing is there under that name")


def load_roles(text: str) -> dict[str, frozenset[str]]:
    """Roles and their actions from the text of `contracts/roles.json`.

    Raises:
        InvalidInput: It is not of the shape `{"roles": {role: [action, ...]}}`.
    """
    try:
        found = json.loads(text)["roles"]
        return {str(role): frozenset(map(_word, actions)) for role, actions in found.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InvalidInput('roles are written as {"roles": {role: [action, ...]}}') from None


def _word(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _in_scope(principal: Principal, patient_id: str | None) -> bool:
    return patient_id is None or principal.patients is None or patient_id in principal.patients
