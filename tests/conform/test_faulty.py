"""The checker is checked: a right server passes, and each planted fault is found, by its own checks and no others."""

import socket
from contextlib import closing
from fnmatch import fnmatch

import pytest

from radloop.conform.model import Outcome, Severity
from radloop.conform.run import Report, run
from radloop.conform.session import Session
from radloop.conform.table import CHECKS, chosen
from radloop.conform.wire import Server
from tests.conform.faulty import FAULTS, served

NOT_DONE = {"stow-answer-as-xml", "qido-as-xml", "metadata-as-xml", "negotiation-other-origins"}
"""What the right server leaves out: none of it a must."""

SLOW = {"stow-many-at-once", "robustness-bomb"}
QUICK = ("stow-partial-is-400", "qido-limit-ignored", "absent-frame-is-400", "one-grey-wrong", "dies-of-jpeg-ls")
NO_FAULT = "bulkdata-inline"


def report_on(*faults: str, only: tuple[str, ...] = (), leave_out: set[str] = frozenset()) -> Report:
    with served(*faults) as url:
        checks = tuple(check for check in chosen(only) if check.id not in leave_out)
        with closing(Server(url, timeout_s=10)) as server:
            return run(checks, Session(server))


def failed(report: Report) -> set[str]:
    return {result.check.id for result in report.results if result.outcome is Outcome.FAIL}


def test_a_right_server_passes_every_must() -> None:
    report = report_on()
    assert failed(report) == NOT_DONE
    assert report.conforms
    assert not report.count(Outcome.FAIL, Severity.MUST)
    left_out = {result.check.id for result in report.results if result.outcome is Outcome.SKIP}
    assert left_out == {"caching-tag-is-of-one-representation"}


@pytest.mark.parametrize(
    "fault",
    [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in FAULTS if name != NO_FAULT],
)
def test_a_planted_fault_is_found_by_its_own_checks(fault: str) -> None:
    report = report_on(fault, leave_out=SLOW)
    found = failed(report) - NOT_DONE
    related = {check for check in found if any(fnmatch(check, pattern) for pattern in FAULTS[fault])}
    assert related, "the fault is not found"
    told = {result.check.id: result.found for result in report.results if result.check.id in found - related}
    assert not told, "checks fail that have nothing to do with it"


def test_what_is_only_different_is_no_fault() -> None:
    report = report_on(NO_FAULT, only=("metadata", "bulkdata"))
    assert failed(report) <= NOT_DONE


def test_enough_faults_are_planted() -> None:
    assert len(FAULTS) - 1 >= 25


def test_a_server_that_is_not_there_fails_everything_at_once() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}/dicomweb"
        with closing(Server(address, timeout_s=1)) as server:
            report = run(CHECKS, Session(server))
    assert not report.conforms
    assert report.count(Outcome.PASS) == 0
    assert report.results[0].found == "no answer (ConnectError)"
    assert {result.found for result in report.results[1:]} == {"the server no longer answers"}
