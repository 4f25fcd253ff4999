# ruff: noqa: INP001, T201 — a program that is run by itself and tells what it found
"""Look at infra/ from all sides without touching AWS: format, validity, tests with mocks, policies, misconfiguration.

    python tools/check_infra.py                     everything; a linter that is missing is a failure
    python tools/check_infra.py --only terraform    format, validity and tests
    python tools/check_infra.py --setup             make the linters' environments below RADLOOP_LAB (.lab), then check

RADLOOP_TF_MIRROR names a folder with the providers (then no network is needed); else Terraform asks the registry and
keeps what it got in build/terraform. Findings that are meant stand with a reason in infra/waivers.json; a waiver
without a finding fails like a finding without a waiver.
"""

import argparse
import fnmatch
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
INFRA = REPOSITORY / "infra"
STACKS = ("dev", "staging", "prod")
WHOLE = "tests/whole.tftest.hcl"  # of infra/platform: one plan of everything, from which the policies are taken
_KEPT = REPOSITORY / "build" / "terraform"
_LAB = Path(os.environ.get("RADLOOP_LAB", REPOSITORY / ".lab"))
_POLICIES = ("assume_role_policy", "policy", "repository_policy", "resource_policy")  # attributes that hold one
_LEFT_BY_TEST = re.compile(r"Success! (\d+) passed|Failure! (\d+) passed, (\d+) failed")


@dataclass
class Result:
    """What one check found: a count of what was looked at, and what is wrong, in words."""

    name: str
    count: str
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing a linter does not like. `resource` is the address Terraform gives it."""

    tool: str
    id: str
    resource: str
    detail: str

    def __str__(self) -> str:
        """Tell it in a line."""
        return f"{self.tool} {self.id}: {self.resource}: {self.detail}"


def environment(folder: Path) -> dict[str, str]:
    """Environment of Terraform, its configuration in `folder`; what it downloads goes below build/."""
    given = {"CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1"}
    mirror = os.environ.get("RADLOOP_TF_MIRROR")
    if mirror:
        settings = folder / "terraform.rc"
        path = json.dumps(str(Path(mirror).resolve()))
        settings.write_text(f"provider_installation {{\n  filesystem_mirror {{\n    path = {path}\n  }}\n}}\n")
        given["TF_CLI_CONFIG_FILE"] = str(settings)
    else:
        cache = _KEPT / "plugins"
        cache.mkdir(parents=True, exist_ok=True)
        given["TF_PLUGIN_CACHE_DIR"] = str(cache)
    return {**os.environ, **given}


def terraform(*words: str, at: Path, environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run Terraform in the folder `at`."""
    data = _KEPT / at.relative_to(INFRA).as_posix().replace("/", "-")
    return subprocess.run(  # noqa: S603 — words of ours
        ["terraform", *words],  # noqa: S607 — the one on the path
        cwd=at,
        env={**environ, "TF_DATA_DIR": str(data)},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def told(done: subprocess.CompletedProcess[str], lines: int = 40) -> str:
    """The last lines a program wrote."""
    return "\n".join((done.stdout + done.stderr).strip().splitlines()[-lines:])


def formatted(environ: Mapping[str, str]) -> Result:
    """Whether every file has the form Terraform gives it."""
    done = terraform("fmt", "-check", "-recursive", at=INFRA, environ=environ)
    files = [
        path for path in INFRA.rglob("*") if path.suffix in {".tf", ".hcl", ".tfvars"} and ".terraform" not in path.name
    ]
    return Result(
        "format",
        f"{len(files)} files",
        [f"not formatted: {name}" for name in done.stdout.split()] if done.returncode else [],
    )


def defined() -> Result:
    """Write the pipeline definitions that plans and tests read, as a deployment does."""
    done = subprocess.run(
        [sys.executable, "-m", "radloop.pipeline", "build"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    return Result("define", f"{len(done.stdout.split())} definitions", [told(done)] if done.returncode else [])


def initialised(folders: Sequence[Path], environ: Mapping[str, str]) -> Result:
    """Fetch modules and providers; one folder after the other where they share a cache that bears no two at a time."""
    words = ("init", "-backend=false", "-input=false", "-no-color")
    with ThreadPoolExecutor(1 if "TF_PLUGIN_CACHE_DIR" in environ else 2) as pool:
        done = list(pool.map(lambda folder: terraform(*words, at=folder, environ=environ), folders))
    return Result(
        "init",
        f"{len(folders)} folders",
        [f"{at.relative_to(INFRA)}: {told(each)}" for at, each in zip(folders, done, strict=True) if each.returncode],
    )


def validated(environ: Mapping[str, str]) -> Result:
    """Whether each stack, and with it all it is made of, fits together."""
    folders = [INFRA / "stacks" / stack for stack in STACKS]
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda folder: terraform("validate", "-no-color", at=folder, environ=environ), folders))
    return Result(
        "validate",
        f"{len(folders)} stacks",
        [f"{folder.name}: {told(each)}" for folder, each in zip(folders, done, strict=True) if each.returncode],
    )


def tested(folders: Sequence[Path], environ: Mapping[str, str]) -> Result:
    """Run `terraform test` in every folder that has tests; providers are mocked, nothing is made."""
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda folder: terraform("test", "-no-color", at=folder, environ=environ), folders))
    passed = 0
    wrong = []
    for folder, each in zip(folders, done, strict=True):
        name = folder.relative_to(INFRA)
        left = _LEFT_BY_TEST.search(each.stdout)
        runs = int(left.group(1) or left.group(2)) if left else 0
        passed += runs
        if each.returncode or not runs:
            wrong.append(f"{name}: {told(each)}" if each.returncode else f"{name}: no run passed, so nothing is tested")
    return Result("test", f"{passed} runs of {len(folders)} folders", wrong)


def rendered(environ: Mapping[str, str]) -> list[dict[str, Any]]:
    """Every IAM policy of the whole platform as `{"resource", "type", "policy"}`, from a plan with mocks.

    Raises:
        RuntimeError: The plan failed, or leaves a policy open until it is applied.
    """
    done = terraform("test", "-json", "-verbose", f"-filter={WHOLE}", at=INFRA / "platform", environ=environ)
    changes: list[dict[str, Any]] = []
    for line in done.stdout.splitlines():
        message = json.loads(line)
        if message["type"] == "test_plan" and not changes:  # further runs of the file plan the same
            changes = message["test_plan"].get("resource_changes", [])
    unknown = [
        f"{each['address']}: {name}"
        for each in changes
        for name in _POLICIES
        if (each["change"].get("after_unknown") or {}).get(name) is True
    ]
    if unknown:
        raise RuntimeError(f"policies that cannot be looked at before they are applied: {', '.join(unknown)}")
    policies = [
        {"resource": each["address"], "type": each["type"], "policy": policy}
        for each in changes
        for value in (each["change"]["after"] or {}).values()
        if (policy := _policy(value)) is not None
    ]
    if done.returncode or not policies:
        raise RuntimeError(f"infra/platform/{WHOLE} renders no policies:\n{told(done, 5)[-3000:]}")
    return policies


def _policy(value: object) -> dict[str, Any] | None:
    if not isinstance(value, str) or '"Statement"' not in value:
        return None
    found = json.loads(value)
    return found if isinstance(found, dict) and "Statement" in found else None


def iam(environ: Mapping[str, str]) -> tuple[int, list[Finding]]:
    """How many policies there are, and what the IAM linters say of them."""
    policies = rendered(environ)
    done = subprocess.run(  # noqa: S603 — a program of ours
        [str(_LAB / "iam" / "bin" / "python"), str(REPOSITORY / "tools" / "iam_findings.py")],
        input=json.dumps(policies),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(told(done))
    return len(policies), [Finding(**each) for each in json.loads(done.stdout.splitlines()[-1])]


def checkov() -> tuple[int, list[Finding]]:
    """How many checks checkov made of prod, and those that failed."""
    done = subprocess.run(  # noqa: S603 — words of ours
        [
            str(_LAB / "checkov" / "bin" / "checkov"),
            *(
                "-d",
                str(INFRA / "stacks" / "prod"),
                "--framework",
                "terraform",
                "--skip-download",
                "--compact",
                "-o",
                "json",
            ),
        ],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    try:
        report = json.loads(done.stdout)
        failed = report["results"]["failed_checks"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise RuntimeError(told(done)) from error
    found = [Finding("checkov", each["check_id"], each["resource"], each["check_name"]) for each in failed]
    return report["summary"]["passed"] + len(found), found


def judged(findings: Sequence[Finding], waivers: Sequence[Mapping[str, str]], tools: frozenset[str]) -> Iterator[str]:
    """Findings that no waiver covers, and waivers of `tools` that cover nothing.

    >>> waiver = {"tool": "checkov", "id": "C1", "resource": "module.a.*", "reason": "why"}
    >>> list(judged([Finding("checkov", "C1", "module.a.b", "text")], [waiver], frozenset({"checkov"})))
    []
    >>> list(judged([], [waiver], frozenset({"checkov"})))
    ['a waiver that nothing needs: checkov C1 module.a.*']
    >>> list(judged([Finding("checkov", "C2", "module.a.b", "text")], [], frozenset()))
    ['checkov C2: module.a.b: text']
    """
    used = set()
    for finding in findings:
        covering = [i for i, waiver in enumerate(waivers) if _covers(waiver, finding)]
        used.update(covering)
        if not covering:
            yield str(finding)
    for i, waiver in enumerate(waivers):
        if waiver["tool"] in tools and i not in used:
            yield f"a waiver that nothing needs: {waiver['tool']} {waiver['id']} {waiver['resource']}"


def _covers(waiver: Mapping[str, str], finding: Finding) -> bool:
    # an index as ["dev"] is no set of letters here
    pattern = waiver["resource"].replace("[", "[[]")
    return (waiver["tool"], waiver["id"]) == (finding.tool, finding.id) and fnmatch.fnmatchcase(
        finding.resource, pattern
    )


def linted(name: str, environ: Mapping[str, str]) -> Result:
    """Run one group of linters and hold its findings against the waivers."""
    try:
        count, findings = iam(environ) if name == "iam" else checkov()
    except (FileNotFoundError, RuntimeError) as error:
        hint = "not here: python tools/check_infra.py --setup" if isinstance(error, FileNotFoundError) else str(error)
        return Result(name, "skipped", [hint])
    tools = frozenset(
        {"checkov"} if name == "checkov" else {"radloop", "policy_sentry", "parliament", "cloudsplaining"}
    )
    waivers = json.loads((INFRA / "waivers.json").read_text())["waivers"]
    wrong = list(judged(findings, waivers, tools))
    what = "policies" if name == "iam" else "checks"
    return Result(
        name,
        f"{count} {what}, {len(findings)} findings, {len([w for w in waivers if w['tool'] in tools])} waivers",
        wrong,
    )


def groups() -> dict[str, list[str]]:
    """Linters' environment -> its pinned packages, from infra/requirements-lint.txt."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in (INFRA / "requirements-lint.txt").read_text().splitlines():
        heading = re.fullmatch(r"# \[(\w+)\]", line.strip())
        wanted = line.partition("#")[0].strip()
        if heading:
            name = heading.group(1)
        elif wanted:
            found.setdefault(name, []).append(wanted)
    return found


def set_up() -> None:
    """Make the environments that are missing; checkov takes three minutes."""
    for name, packages in groups().items():
        folder = _LAB / name
        if (folder / ".ready").exists():
            continue
        print(f"making {folder.name}: {', '.join(packages)}", flush=True)
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([str(folder / "bin" / "pip"), "install", "-q", "--no-compile", *packages], check=True)  # noqa: S603 — pinned
        (folder / ".ready").touch()


def checks(only: str | None, environ: Mapping[str, str]) -> Iterator[Result]:
    """Run the wanted checks, one after the other."""
    folders = sorted(path.parent for path in (INFRA / "modules").glob("*/tests") if any(path.glob("*.tftest.hcl")))
    folders.append(INFRA / "platform")
    if only in {None, "terraform"}:
        yield timed(lambda: formatted(environ))
    yield timed(defined)
    if only in {None, "terraform", "iam"}:
        wanted = folders + [INFRA / "stacks" / stack for stack in STACKS] if only != "iam" else [INFRA / "platform"]
        yield timed(lambda: initialised(wanted, environ))
    if only in {None, "terraform"}:
        yield timed(lambda: validated(environ))
        yield timed(lambda: tested(folders, environ))
    for name in ("iam", "checkov"):
        if only in {None, name}:
            yield timed(lambda name=name: linted(name, environ))


def timed(check: Any) -> Result:
    """Run a check and note how long it took."""
    began = time.monotonic()
    result: Result = check()
    result.seconds = time.monotonic() - began
    return result


def main() -> int:
    """Run the checks, tell each in a line; 1 where something is wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", choices=["terraform", "iam", "checkov"], help="one part of the checks")
    parser.add_argument("--setup", action="store_true", help="make the linters' environments first")
    options = parser.parse_args()
    if options.setup:
        set_up()
    began = time.monotonic()
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for result in checks(options.only, environment(Path(folder))):
            failed += bool(result.wrong)
            print(
                f"{'failed' if result.wrong else 'ok':<7}{result.name:<10}{result.seconds:6.1f} s  {result.count}",
                flush=True,
            )
            for text in result.wrong:
                print("  " + text.replace("\n", "\n  "), flush=True)
    print(f"{'failed' if failed else 'ok'}: {(time.monotonic() - began) / 60:.1f} minutes; nothing was applied")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
