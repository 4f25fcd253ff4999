# ruff: noqa: INP001 — part of programs that are run by themselves
"""Apply infra/stacks/dev to the emulators, and hold what came of it against infra/lab.json.

What an emulator cannot make fails there, with words of its own; infra/lab.json names each such resource, those words,
and the test with mocks that proves it instead. A failure that is not named, a name that nothing needs, and a second
plan that wants to change what is not named are all faults of the lab.
"""

import fnmatch
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from lab_install import REPOSITORY
from lab_install import lab as tools
from lab_servers import ACCOUNT, REGION, Lab, LabFailed

NAMED = REPOSITORY / "infra" / "lab.json"
SETTINGS: Mapping[str, Any] = {
    "study_quiet_s": 2,
    "release": "automatic",
    "accuracy_threshold": 0.0,
    "retrain_least_per_class": 2,
    "training": {
        "epochs": "1",
        "image_size": "32",
        "tiles_per_bag": "4",
        "tiles_in_evaluation": "4",
        "threads": "1",
        "batch_size": "4",
    },
}
"""So small that a training takes seconds; see docs/settings.md."""

_STACK = Path("infra", "stacks", "dev")
_WAITS_AT_ONCE = "40"  # of the provider, for queues above all


@dataclass(frozen=True, slots=True)
class Applied:
    """What came of it.

    Attributes:
        made: Resources in the state.
        absent: Addresses that failed, as they may.
        drifted: Addresses that a second plan would change, as it may.
        installation: The stack's output, as the second plan knows it: an apply with a failure keeps none.
    """

    made: int
    absent: tuple[str, ...]
    drifted: tuple[str, ...]
    installation: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Fault:
    """Something of a plan or an apply: the address Terraform gives it, and what was said, or would be done."""

    resource: str
    says: str


def apply(lab: Lab) -> Applied:
    """Apply the stack in a copy below the lab's folder.

    Raises:
        LabFailed: Terraform failed where it may not, or what is named was not needed.
    """
    named = json.loads(NAMED.read_text())
    at = _laid_out(lab)
    environ = {**lab.environment(), **_provider(lab)}
    _terraform("init", "-input=false", at=at, environ=environ)
    said = _terraform(
        *("apply", "-auto-approve", "-input=false", "-json", f"-parallelism={_WAITS_AT_ONCE}"),
        at=at,
        environ=environ,
        may_fail=True,
    )
    (lab.folder / "apply.jsonl").write_text(said)
    faults = list(errors_of(said))
    wrong = list(unnamed(faults, named["absent"]))
    made = _terraform("state", "list", at=at, environ=environ).split()
    lost, plan = _planned_again(at, environ)
    wrong += unnamed(lost, named["unreadable"])
    (lab.folder / "second-plan.json").write_text(json.dumps(plan))
    absent = [fault.resource for fault in (*faults, *lost)]
    changes = [change for change in changes_of(plan) if change.resource not in absent]
    wrong += unnamed(changes, named["drift"])
    if wrong:
        raise LabFailed("\n".join(wrong))
    drifted = tuple(change.resource for change in changes)
    return Applied(len(made), tuple(absent), drifted, plan["output_changes"]["installation"]["after"])


def kept(lab: Lab, kind: str) -> list[dict[str, Any]]:
    """The attributes of all resources of a kind, as Terraform keeps them of what it applied."""
    state = json.loads((lab.folder / "tree" / _STACK / "terraform.tfstate").read_text())
    found = [each for each in state["resources"] if (each["mode"], each["type"]) == ("managed", kind)]
    return [one["attributes"] for each in found for one in each["instances"]]


def errors_of(said: str) -> list[Fault]:
    """What went wrong in an apply that was told as JSON, a line each.

    >>> line = {"type": "diagnostic", "diagnostic": {"severity": "error", "summary": "no", "address": "a.b"}}
    >>> errors_of(json.dumps(line))
    [Fault(resource='a.b', says='no ')]
    """
    lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    found = [line["diagnostic"] for line in lines if line["type"] == "diagnostic"]
    return [
        Fault(each.get("address") or _address_in(each.get("detail", "")), f"{each['summary']} {each.get('detail', '')}")
        for each in found
        if each["severity"] == "error"
    ]


def _address_in(text: str) -> str:
    """The first address in a sentence, where the diagnostic has none of its own."""
    found = re.search(r"\bmodule\.\S+", text)
    return found[0] if found else ""


def changes_of(plan: Mapping[str, Any]) -> list[Fault]:
    """What a plan would do, by address; what it would do to it is `update: name, other`, `create` and the like."""
    found = []
    for each in plan.get("resource_changes", ()):
        actions, before, after = each["change"]["actions"], each["change"]["before"], each["change"]["after"]
        if actions in (["no-op"], ["read"]):
            continue
        both = isinstance(before, dict) and isinstance(after, dict)
        names = sorted(name for name in after if before.get(name) != after[name]) if both else []
        unknown = each["change"].get("after_unknown") or {}
        names += sorted(name for name in unknown if unknown[name] and name not in names and both)
        found.append(Fault(each["address"], f"{'/'.join(actions)}: {', '.join(names)}" if names else "/".join(actions)))
    return found


def unnamed(faults: Iterable[Fault], named: Sequence[Mapping[str, str]]) -> list[str]:
    """Faults that no entry names, and entries that name nothing.

    Args:
        faults: What there is.
        named: What may be. `resource` is a glob on the address, `says` stands in what was said; an entry with
            `sometimes` says there why it need not come about.

    >>> unnamed([Fault("m.a", "Unknown action: X")], [{"resource": "m.*", "says": "Unknown action: X"}])
    []
    >>> for text in unnamed([Fault("m.a", "denied")], [{"resource": "m.*", "says": "Unknown action: X"}]):
    ...     print(text)
    not named in infra/lab.json: m.a: denied
    named in infra/lab.json, and nothing needs it: m.* (Unknown action: X)
    """
    wrong, used = [], set()
    for fault in faults:
        covering = [index for index, each in enumerate(named) if _covers(each, fault)]
        used.update(covering)
        if not covering:
            wrong.append(f"not named in infra/lab.json: {fault.resource}: {fault.says.strip()[:500]}")
    return wrong + [
        f"named in infra/lab.json, and nothing needs it: {each['resource']} ({each['says']})"
        for index, each in enumerate(named)
        if index not in used and "sometimes" not in each
    ]


def _covers(entry: Mapping[str, str], fault: Fault) -> bool:
    pattern = entry["resource"].replace("[", "[[]")  # an index as ["dev"] is no set of letters here
    return fnmatch.fnmatchcase(fault.resource, pattern) and entry["says"] in fault.says


def _laid_out(lab: Lab) -> Path:
    """A copy of what Terraform reads, with a local state and the lab's own values; the folder of the stack in it."""
    tree = lab.folder / "tree"
    for name in ("infra", "contracts"):
        shutil.copytree(REPOSITORY / name, tree / name, ignore=shutil.ignore_patterns(".terraform*", "__pycache__"))
    (tree / "build").mkdir()
    _run([sys.executable, "-m", "radloop.pipeline", str(tree / "build")], REPOSITORY, os.environ)
    _package(tree / "build" / "lambda.zip")
    at = tree / _STACK
    (at / "lab_override.tf").write_text('terraform {\n  backend "local" {}\n}\n')
    (at / "terraform.tfvars.json").write_text(json.dumps(values()))
    return at


def values() -> dict[str, Any]:
    """What the lab says to the stack: everything on but what infra/lab.json says is off."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
    return {
        "account_id": ACCOUNT,
        "region": REGION,
        "administrators": ["lab-deployer", "lab-break-glass"],
        "image_tag": "lab",
        "callback_urls": ["https://radloop.example.org/app/"],
        "budget_usd": 300,
        "storage_budget_bytes": 100_000_000_000,
        "account_wide": True,
        "emulated": True,
        "settings": dict(SETTINGS),
        "site": {
            "domain": "radloop.example.org",
            "certificate_arn": f"arn:aws:acm:us-east-1:{ACCOUNT}:certificate/00000000-0000-0000-0000-000000000000",
            "public_keys": {"one": pem},
            "signing_key": "one",
            "has_firewall": False,
        },
    }


def _package(out: Path) -> None:
    """The functions' package for the Python that MiniStack runs: the very package but for the tag of its wheels.

    MiniStack gives a function to the Python it runs in itself, whatever runtime the function names. So the wheels are
    of that version; the files are otherwise those that Lambda gets, and nothing of this repository is on their path.
    """
    lab = tools()
    version = "import sys; print('%d.%d' % sys.version_info[:2])"
    python = _run([str(lab / "ministack" / "bin" / "python"), "-c", version], REPOSITORY, os.environ).strip()
    spec = importlib.util.spec_from_file_location("lambda_zip", REPOSITORY / "infra" / "build" / "lambda_zip.py")
    if spec is None or spec.loader is None:
        raise LabFailed("infra/build/lambda_zip.py cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    sys.modules["lambda_zip"] = module
    spec.loader.exec_module(module)
    pins = (REPOSITORY / "constraints.txt").read_text() + " ".join(module.PACKAGES)
    wheels = lab / "wheels" / f"{python}-{hashlib.sha256(pins.encode()).hexdigest()[:16]}"
    if not wheels.exists():
        partial = wheels.with_name(f"{wheels.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        module.download(partial, python)
        partial.rename(wheels)
    module.build(out, python=python, wheels=wheels)


def _provider(lab: Lab) -> dict[str, str]:
    given = {"CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1"}
    mirror = os.environ.get("RADLOOP_TF_MIRROR")
    if mirror:
        settings = lab.folder / "terraform.rc"
        settings.write_text(
            f"provider_installation {{\n  filesystem_mirror {{\n    path = {json.dumps(mirror)}\n  }}\n}}\n"
        )
        return {**given, "TF_CLI_CONFIG_FILE": str(settings)}
    cache = REPOSITORY / "build" / "terraform" / "plugins"
    cache.mkdir(parents=True, exist_ok=True)
    return {**given, "TF_PLUGIN_CACHE_DIR": str(cache)}


def _planned_again(at: Path, environ: Mapping[str, str]) -> tuple[list[Fault], dict[str, Any]]:
    """What a second plan cannot read back, and what it would do once these are forgotten.

    Raises:
        LabFailed: There is no plan even so.
    """
    words = ("plan", "-input=false", "-json", "-out=second.plan", f"-parallelism={_WAITS_AT_ONCE}")
    lost = errors_of(_terraform(*words, at=at, environ=environ, may_fail=True))
    if lost:
        _terraform("state", "rm", *(fault.resource for fault in lost), at=at, environ=environ)
        _terraform(*words, at=at, environ=environ)
    return lost, dict(json.loads(_terraform("show", "-json", "second.plan", at=at, environ=environ)))


def _terraform(*words: str, at: Path, environ: Mapping[str, str], may_fail: bool = False) -> str:
    return _run(["terraform", *words], at, environ, may_fail=may_fail)


def _run(command: Sequence[str], at: Path, environ: Mapping[str, str], *, may_fail: bool = False) -> str:
    done = subprocess.run(  # noqa: S603 — words of ours
        command, cwd=at, env=dict(environ), capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )
    if done.returncode and not may_fail:
        raise LabFailed(f"{' '.join(command[:2])}: {(done.stdout + done.stderr)[-3000:]}")
    return done.stdout
