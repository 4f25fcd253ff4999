"""What a check is, and what comes of one."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from radloop.conform.session import Session


class Severity(StrEnum):
    """How a standard words what is checked; only a failed `must` makes a server nonconformant."""

    MUST = "must"
    SHOULD = "should"
    MAY = "may"


class Outcome(StrEnum):
    """What came of a check."""

    PASS = "pass"  # noqa: S105 — an outcome, no password
    FAIL = "fail"
    SKIP = "skip"


class Differs(Exception):
    """The server answers otherwise than expected; the text tells what was found and no value of a patient's."""


class NotTested(Exception):
    """What the check needs is not there; the text tells what."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that is held against one paragraph.

    Attributes:
        id: Group and name, stable: `stow-partial`.
        group: Id of the group.
        title: What a server does that passes.
        clause: Where it is written.
        severity: How it is worded there.
        expected: What is looked for in the answer.
        only_reads: Needs nothing stored: it runs on what is found there, too.
        run: Gives what was found; raises `Differs` or `NotTested`.
    """

    id: str
    group: str
    title: str
    clause: str
    severity: Severity
    expected: str
    only_reads: bool
    run: Callable[["Session"], str]


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one check, and what was found."""

    check: Check
    outcome: Outcome
    found: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Group:
    """Checks of one subject, in the order they run."""

    id: str
    title: str
    checks: list[Check] = field(default_factory=list)

    def check(
        self, severity: Severity, clause: str, expected: str, *, only_reads: bool = False
    ) -> Callable[[Callable[["Session"], str]], Callable[["Session"], str]]:
        """Enter a function as a check of this group: its name becomes the id, its docstring the title."""

        def enter(run: Callable[["Session"], str]) -> Callable[["Session"], str]:
            name = run.__name__.strip("_").replace("_", "-")
            title = (run.__doc__ or "").strip().rstrip(".")
            self.checks.append(Check(f"{self.id}-{name}", self.id, title, clause, severity, expected, only_reads, run))
            return run

        return enter


def differ_unless(holds: bool, found: str) -> None:
    """Go on only where this holds.

    Raises:
        Differs: It does not.
    """
    if not holds:
        raise Differs(found)
