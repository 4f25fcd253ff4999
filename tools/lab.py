# ruff: noqa: INP001, T201 — a program that is run by itself and tells what it found
"""The lab: the development stack on emulators of AWS and our own HealthImaging, from `terraform apply` to a model.

    python tools/lab.py              all of it, and everything ended again
    python tools/lab.py up           servers only, until `down`: MiniStack, moto, a radloop as HealthImaging, the shim
    python tools/lab.py apply        infra/stacks/dev onto them, held against infra/lab.json
    python tools/lab.py suites       the tests of the AWS side; one that is skipped is a failure
    python tools/lab.py golden       studies into the bucket, a model out at the registry, alarms that fire
    python tools/lab.py down         end what `up` started

A table tells the minutes, what was run and what was skipped; another tells what each function took of the memory it
has, above which it is killed. MiniStack and moto lie in environments of their own below RADLOOP_LAB (by default
`.lab`), where tools/lab_install.py puts them. RADLOOP_TF_MIRROR names a folder with Terraform's providers, where the
network is not to be asked. docs/aws.md, section "The lab", says what is emulated, and what stands in for what.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import lab_servers
from lab_golden import walk_of
from lab_install import REPOSITORY
from lab_memory import watching, workers
from lab_servers import Lab, LabFailed
from lab_terraform import Applied, apply

PARTS = ("up", "apply", "suites", "golden", "down")
_APPLIED = "applied.json"
_SUITES = ("tests/aws",)
_PATIENCE_S = 300.0


@dataclass(frozen=True, slots=True)
class Taken:
    """What one function took.

    Attributes:
        limit_mb: What it has.
        peak_mb: The most that was resident of one of its processes.
        seconds: Of its calls in all where it was called alone, else of the longest.
    """

    limit_mb: int
    peak_mb: float
    seconds: float


@dataclass(slots=True)
class Part:
    """What one part came to.

    Attributes:
        run: Things that were done and held: servers, resources, tests, hops.
        skipped: Things that were not done, each with its reason. Each is a failure.
        named: Things that failed or differ as infra/lab.json says they may.
        notes: What was seen, for people.
        wrong: What is wrong, in words.
        memory: What functions took, by function.
    """

    name: str
    seconds: float = 0.0
    run: int = 0
    skipped: list[str] = field(default_factory=list)
    named: int = 0
    notes: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    memory: dict[str, Taken] = field(default_factory=dict)

    @property
    def is_ok(self) -> bool:
        """Whether it holds: something was done, nothing is wrong, nothing was skipped."""
        return bool(self.run) and not self.wrong and not self.skipped


def table(parts: Sequence[Part]) -> str:
    """The parts as lines for people.

    >>> print(table([Part("apply", 61.0, 370, named=5), Part("suites", 3.0, 10, ["no emulator"])]))
    part     minutes    run  skipped  named
    apply        1.0    370        0      5  ok
    suites       0.1     10        1      0  failed
    """
    lines = [f"{'part':<8} {'minutes':>7} {'run':>6} {'skipped':>8} {'named':>6}"]
    for each in parts:
        verdict = "ok" if each.is_ok else "failed"
        lines.append(
            f"{each.name:<8} {each.seconds / 60:7.1f} {each.run:6} {len(each.skipped):8} {each.named:6}  {verdict}"
        )
    return "\n".join(lines)


def memory_table(parts: Sequence[Part]) -> str:
    """What each function took, alone in a process (`suites`) and on the golden path, as lines for people.

    >>> print(memory_table([Part("suites", memory={"api": Taken(1024, 180.2, 2.5)}), Part("golden")]))
    function          limit  alone MB      s  golden MB longest s
    api                1024       180    2.5          -         -
    """
    taken = {part.name: part.memory for part in parts}
    alone, golden = taken.get("suites", {}), taken.get("golden", {})
    lines = [f"{'function':<17} {'limit':>5} {'alone MB':>9} {'s':>6} {'golden MB':>10} {'longest s':>9}"]
    for name in sorted({*alone, *golden}):
        one, other = alone.get(name), golden.get(name)
        limit = (one or other or Taken(0, 0, 0)).limit_mb
        figures = [(9, "-" if one is None else f"{one.peak_mb:.0f}"), (6, "-" if one is None else f"{one.seconds:.1f}")]
        figures += [(10, "-" if other is None else f"{other.peak_mb:.0f}")]
        figures += [(9, "-" if other is None else f"{other.seconds:.1f}")]
        lines.append(f"{name:<17} {limit:5} " + " ".join(f"{text:>{width}}" for width, text in figures))
    return "\n".join(lines)


def memory_of(report: str) -> dict[str, Taken]:
    """What tests/aws/test_memory.py has recorded of each function in a JUnit report.

    >>> memory_of('<testsuites><testsuite><testcase><properties><property name="memory api" value="1024 180 2.5"/>'
    ...     '</properties></testcase></testsuite></testsuites>')
    {'api': Taken(limit_mb=1024, peak_mb=180.0, seconds=2.5)}
    """
    found = {}
    for each in ET.fromstring(report).iter("property"):  # noqa: S314 — pytest's own
        kind, _, name = str(each.get("name")).partition(" ")
        if kind == "memory":
            limit, peak, seconds = str(each.get("value")).split()
            found[name] = Taken(int(limit), float(peak), float(seconds))
    return found


def outcome_of(report: str) -> tuple[int, list[str], list[str]]:
    """How many tests of a JUnit report passed, which were skipped, which failed.

    >>> outcome_of('<testsuites><testsuite><testcase classname="a" name="b"><skipped message="no"/></testcase>'
    ...     '<testcase classname="a" name="c"/></testsuite></testsuites>')
    (1, ['a::b: no'], [])
    """
    passed, skipped, failed = 0, [], []
    for case in ET.fromstring(report).iter("testcase"):  # noqa: S314 — pytest's own
        name = f"{case.get('classname')}::{case.get('name')}"
        left = case.find("skipped")
        broken = [each for kind in ("failure", "error") for each in case.findall(kind)]
        if broken:
            failed.append(f"{name}: {(broken[0].get('message') or '')[:300]}")
        elif left is not None:
            skipped.append(f"{name}: {left.get('message')}")
        else:
            passed += 1
    return passed, skipped, failed


def up(part: Part) -> None:
    """Start the servers."""
    lab = lab_servers.up()
    part.run = len(lab.pids)
    part.notes.append(f"in {lab.folder}: MiniStack {lab.ministack}, moto {lab.moto}, HealthImaging {lab.imaging}")


def applied(part: Part) -> None:
    """Apply the stack."""
    lab = lab_servers.running()
    done = apply(lab)
    (lab.folder / _APPLIED).write_text(json.dumps(asdict(done)))
    part.run, part.named = done.made, len(done.absent) + len(done.drifted)
    part.notes += [f"not in the emulators, as infra/lab.json says: {each}" for each in done.absent]
    part.notes += [f"a second plan would change, as infra/lab.json says: {each}" for each in done.drifted]


def suites(part: Part) -> None:
    """Run the tests of the AWS side, each against servers of its own."""
    lab = lab_servers.running()
    report = lab.folder / "suites.xml"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    done = subprocess.run(  # noqa: S603 — words of ours
        [sys.executable, "-m", "pytest", *_SUITES, "-q", "-n2", f"--junitxml={report}", "-p", "no:cacheprovider"],
        cwd=REPOSITORY,
        env=inherited,
        capture_output=True,
        text=True,
        check=False,
    )
    if not report.exists():
        raise LabFailed(f"pytest wrote no report: {(done.stdout + done.stderr)[-2000:]}")
    told = report.read_text()
    part.run, part.skipped, part.wrong = outcome_of(told)
    part.memory = memory_of(told)
    if not part.memory and not part.wrong:
        part.wrong.append("no function's memory was measured")


def golden(part: Part) -> None:
    """Walk the golden path; what the emulator runs of functions is killed above the memory these have."""
    lab = lab_servers.running()
    told = _read(lab)
    walk = walk_of(lab, told, patience_s=_PATIENCE_S)
    ours = {called: name for name, called in told.installation["functions"].items()}
    try:
        with watching(lambda: workers(lab.mark)) as held:
            for hop in walk.hops():
                part.run += 1
                part.notes.append(f"{hop.name} after {hop.seconds:.0f} s: {hop.seen}")
    finally:
        seen = {ours[called]: each for called, each in held.items()} | walk.held
        part.wrong += [
            f"{name} had {each.peak_mb:.0f} MB of {each.limit_mb}" for name, each in seen.items() if not each.is_within
        ]
        part.memory = {
            name: Taken(each.limit_mb, round(each.peak_mb), max(each.seconds, walk.longest_s(name)))
            for name, each in seen.items()
        }
    part.wrong += [
        f"{name} was never woken, so its memory was held to nothing" for name in sorted(set(ours.values()) - set(seen))
    ]


def down(part: Part) -> None:
    """End what was started."""
    part.run = lab_servers.down()


_PARTS: dict[str, Callable[[Part], None]] = dict(zip(PARTS, (up, applied, suites, golden, down), strict=True))


def run(names: Sequence[str]) -> list[Part]:
    """Do parts in turn. The first that fails ends it, but what was started is ended where `down` is among them."""
    done: list[Part] = []
    for name in names:
        if done and not done[-1].is_ok and name != "down":
            done.append(Part(name, skipped=[f"{done[-1].name} failed"]))
            continue
        done.append(_timed(name))
        _tell(done[-1])
    return done


def _timed(name: str) -> Part:
    part, began = Part(name), time.monotonic()
    try:
        _PARTS[name](part)
    except LabFailed as error:
        part.wrong.append(str(error))
    part.seconds = time.monotonic() - began
    return part


def _tell(part: Part) -> None:
    for note in part.notes:
        print(f"  {note}", file=sys.stderr, flush=True)
    for text in [*part.wrong, *(f"skipped: {each}" for each in part.skipped)]:
        print(f"{part.name}: {text}", file=sys.stderr, flush=True)


def _read(lab: Lab) -> Applied:
    path = lab.folder / _APPLIED
    if not path.exists():
        raise LabFailed("nothing is applied: `python tools/lab.py apply` comes first")
    told: dict[str, Any] = json.loads(path.read_text())
    return Applied(**{**told, "absent": tuple(told["absent"]), "drifted": tuple(told["drifted"])})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; 1 where something is wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("part", nargs="?", choices=["all", *PARTS], default="all")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was found there, too")
    chosen = parser.parse_args(arguments)
    names = PARTS if chosen.part == "all" else (chosen.part,)
    try:
        parts = run(names)
    finally:
        if chosen.part == "all":
            lab_servers.down()  # whatever came between
    if chosen.json is not None:
        chosen.json.write_text(json.dumps([{**asdict(each), "is_ok": each.is_ok} for each in parts], indent=1) + "\n")
    if any(each.memory for each in parts):
        print(memory_table(parts) + "\n")
    print(table(parts))
    return 0 if all(each.is_ok for each in parts) else 1


if __name__ == "__main__":
    sys.exit(main())
