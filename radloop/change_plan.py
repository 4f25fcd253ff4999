"""How a change control plan comes into a home: from the template, filled in with what the home would do today."""

import os
import string
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

from radloop import __version__
from radloop.core.contracts import contracts
from radloop.core.errors import Conflict, InvalidInput
from radloop.core.ports import PlanSigner
from radloop.evaluation import policy
from radloop.local.home import Home
from radloop.local.plans import FilePlans, sign_plan
from radloop.registry.plan import Plan, load
from radloop.registry.signatures import PrivateKey
from radloop.training.recipes import recipe_for
from radloop.wiring import now

ROLES = ("release-approver", "auditor")
"""Whose signatures a plan asks for unless it says otherwise."""

_ANY = ("threads",)  # of the machine, not of the model


def write_plan(
    root: Path,
    *,
    author: str,
    name: str = "plan",
    days: int = 365,
    new_patients: int = 10,
    reads_per_label: int = 1,
    roles: tuple[str, ...] = ROLES,
    gpu: bool = False,
) -> Plan:
    """Write a plan for the home `root` that foresees its recipe, code and gate policy of today; nobody has signed it.

    With `gpu` it foresees the recipe of a machine with a GPU, by which an environment on AWS trains.

    Raises:
        Conflict: The home has a plan.
        InvalidInput: A word is none, or the home's settings or policy cannot be read.
    """
    plans = FilePlans(root)
    if plans.text() is not None:
        raise Conflict("the home has a plan already; edit pccp.yaml, or remove it first")
    text = _filled(
        {
            "name": name,
            "author": author,
            "from": str(now().date()),
            "until": str((now() + timedelta(days=days)).date()),
            "new_patients": str(new_patients),
            "reads_per_label": str(reads_per_label),
            "code_version": __version__,
            "recipe": "\n".join(_recipe_lines(recipe_of(root, gpu=gpu))),
            "policy_sha256": policy_sha256_of(root),
            "signatures": ", ".join(roles),
        }
    )
    plan = load(text)
    plans.replace_text(text)
    return plan


def write_demo_plan(root: Path) -> None:
    """A plan for a demonstration, signed by two signers that are made up with it; leaves a plan that is there alone.

    The keys of the made-up signers lie in the home, which shows the way and protects nothing.

    Raises:
        InvalidInput: The home's settings or policy cannot be read.
    """
    plans = FilePlans(root)
    if plans.text() is not None:
        return
    write_plan(root, author="demo-author", name="demo", days=30, new_patients=1)
    text = plans.text()
    assert text is not None  # just written
    at = _written(now())
    for role in ROLES:
        signer = f"demo-{role}"
        path = plans.key_file(signer)
        if not path.exists():
            plans.generate(signer, role)
        key = PrivateKey.from_pem(path.read_bytes())
        plans.register(PlanSigner(signer, role, key.public_key))
        plans.add(sign_plan(text, key, signer=signer, role=role, at=at))


def recipe_of(root: Path, *, gpu: bool = False) -> dict[str, str]:
    """Hyperparameters that the home would train with on this machine or on one with a GPU, its settings applied."""
    return {**recipe_for(os.cpu_count() or 1, gpu=gpu), **Home(root).settings().training}


def policy_sha256_of(root: Path) -> str:
    """SHA-256 of the gate policy as an execution of this home would apply it."""
    found = policy.of_home(root)
    threshold = Home(root).settings().accuracy_threshold
    return (found.with_accuracy(threshold) if threshold else found).sha256


def _filled(values: Mapping[str, str]) -> bytes:
    """The template with its gaps filled; a value is never looked at for gaps again."""
    text = (contracts() / "pccp.yaml").read_text(encoding="utf-8")
    parts = text.split("{{")
    filled = [parts[0]]
    for part in parts[1:]:
        gap, _, rest = part.partition("}}")
        if set(gap) - set(string.ascii_lowercase + string.digits + "_") or gap not in values:
            raise InvalidInput(f"the template of the plan has a gap {gap[:40]!r} that nothing fills")
        filled += [values[gap], rest]
    return "".join(filled).encode()


def _recipe_lines(recipe: Mapping[str, str]) -> list[str]:
    return [f"    {name}: {'any' if name in _ANY else f'[{_quoted(recipe[name])}]'}" for name in sorted(recipe)]


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _written(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds")
