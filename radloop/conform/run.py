"""Running checks: one after the other, and no fault of a server's ends the run."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import httpx

from radloop.conform.model import Check, Differs, Group, NotTested, Outcome, Result, Severity
from radloop.conform.session import Session
from radloop.conform.table import GROUPS

DEAD = "the server no longer answers"
_NO_ANSWER = "no answer"
_ALIVE = "-alive"


@dataclass(frozen=True, slots=True)
class Report:
    """What came of a run."""

    url: str
    results: tuple[Result, ...]

    def count(self, outcome: Outcome, severity: Severity | None = None) -> int:
        """How many results are of this outcome, and severity where one is named."""
        return sum(result.outcome is outcome and severity in {None, result.check.severity} for result in self.results)

    @property
    def conforms(self) -> bool:
        """Whether no `must` failed, and more was tested than that the server answers."""
        is_tested = any(
            result.outcome is Outcome.PASS and not result.check.id.endswith(_ALIVE) for result in self.results
        )
        return is_tested and not self.count(Outcome.FAIL, Severity.MUST)


def run(checks: tuple[Check, ...], session: Session, done: Callable[[int], None] = lambda _: None) -> Report:
    """Run checks against a server; after each group, whether it still answers.

    Args:
        checks: In the order of the table.
        session: The server, and whether anything may be stored there.
        done: Called with the number of checks that ended.
    """
    results: list[Result] = []
    is_dead = False
    for group in GROUPS:
        mine = [check for check in checks if check.group == group.id]
        for check in mine:
            results.append(Result(check, Outcome.SKIP, DEAD, 0.0) if is_dead else _one(check, session))
            is_dead = is_dead or (results[-1].found.startswith(_NO_ANSWER) and session.server.lives() is None)
            done(1)
        if mine:
            alive = _alive(group)
            results.append(Result(alive, Outcome.FAIL, DEAD, 0.0) if is_dead else _one(alive, session))
            is_dead = results[-1].outcome is Outcome.FAIL
    return Report(session.server.url, tuple(results))


def clean(session: Session) -> tuple[int, int]:
    """Try to delete every study that was stored; how many went, of how many."""
    gone = 0
    for study in session.stored_studies:
        try:
            gone += session.server.ask("DELETE", f"/studies/{study}").status in {200, 202, 204}
        except httpx.HTTPError:
            break
    return gone, len(session.stored_studies)


def alive_checks() -> Iterator[Check]:
    """The checks that follow each group, for the documents."""
    return (_alive(group) for group in GROUPS)


def _one(check: Check, session: Session) -> Result:
    if session.only_reads and not check.only_reads:
        return Result(check, Outcome.SKIP, "would store", 0.0)
    begun = time.perf_counter()
    try:
        outcome, found = Outcome.PASS, check.run(session)
    except NotTested as reason:
        outcome, found = Outcome.SKIP, str(reason)
    except Differs as difference:
        outcome, found = Outcome.FAIL, str(difference)
    except httpx.HTTPError as error:
        outcome, found = Outcome.FAIL, f"{_NO_ANSWER} ({type(error).__name__})"
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        outcome, found = Outcome.FAIL, f"an answer of another form ({type(error).__name__})"
    return Result(check, outcome, found, time.perf_counter() - begun)


def _alive(group: Group) -> Check:
    def runs(session: Session) -> str:
        if session.server.lives() is None:
            raise Differs(_NO_ANSWER)
        return "an answer"

    return Check(
        id=f"{group.id}{_ALIVE}",
        group=group.id,
        title="The server still answers after all of this group",
        clause="PS3.18 §8.5",
        severity=Severity.MUST,
        expected="an answer",
        only_reads=True,
        run=runs,
    )
