# ruff: noqa: INP001, T201 — a program that is run by itself, by the Python of its own environment
"""Ask parliament, cloudsplaining and policy_sentry about IAM policies.

    iam/bin/python tools/iam_findings.py < policies.json > findings.json

In: a list of `{"resource", "type", "policy"}`. Out: a list of `{"tool", "id", "resource", "detail"}`. Every action
of every policy must exist; the statements of roles are looked through besides, those of resources have other rules.
"""

import json
import sys
import warnings
from collections.abc import Iterator
from typing import Any

warnings.simplefilter("ignore")  # parliament reads its data by a module that setuptools is giving up

import parliament  # type: ignore[import-not-found]  # noqa: E402 — the warning comes with the import
from cloudsplaining.command.scan_policy_file import scan_policy  # type: ignore[import-not-found]  # noqa: E402 — same
from policy_sentry.querying.all import get_all_actions  # type: ignore[import-not-found]  # noqa: E402 — same

_ROLES = frozenset({"aws_iam_policy", "aws_iam_role_policy"})
_RISKS = (
    "DataExfiltration",
    "InfrastructureModification",
    "PrivilegeEscalation",
    "ResourceExposure",
    "ServiceWildcard",
)


def statements(policy: dict[str, Any]) -> list[dict[str, Any]]:
    """Statements of a policy, of which JSON allows one without a list."""
    found = policy.get("Statement", [])
    return [found] if isinstance(found, dict) else list(found)


def actions(statement: dict[str, Any]) -> list[str]:
    """Actions of a statement, of which JSON allows one without a list."""
    found = statement.get("Action", [])
    return [found] if isinstance(found, str) else list(found)


def names(policy: dict[str, Any], known: frozenset[str]) -> Iterator[tuple[str, str, str]]:
    """What is wrong with the names of actions: an unknown one, or a wildcard where something is allowed."""
    for statement in statements(policy):
        for action in actions(statement):
            if "*" in action:
                if statement["Effect"] == "Allow":
                    yield "radloop", "WILDCARD_ACTION", f"{statement.get('Sid', '')} allows {action}"
            elif action.lower() not in known:
                yield "policy_sentry", "UNKNOWN_ACTION", action


def role_findings(policy: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """What parliament and cloudsplaining say of a role's policy."""
    for finding in parliament.analyze_policy_string(json.dumps(policy)).findings:
        enhanced = parliament.enhance_finding(finding)
        yield "parliament", str(enhanced.issue), f"{enhanced.title}: {enhanced.detail}"
    result = scan_policy(policy)
    for risk in _RISKS:
        for found in result.get(risk, {}).get("findings", []):
            yield "cloudsplaining", risk, found if isinstance(found, str) else json.dumps(found, sort_keys=True)


def main() -> None:
    """Read policies, write findings."""
    known = frozenset(action.lower() for action in get_all_actions())
    told = []
    for each in json.load(sys.stdin):
        found = list(names(each["policy"], known))
        if each["type"] in _ROLES:
            found += role_findings(each["policy"])
        told += [{"tool": tool, "id": name, "resource": each["resource"], "detail": text} for tool, name, text in found]
    print(json.dumps(told))


if __name__ == "__main__":
    main()
