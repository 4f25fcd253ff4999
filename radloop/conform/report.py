"""A report as people and programs read it: a table, JSON, JUnit's XML."""

import xml.etree.ElementTree as ET
from itertools import groupby
from typing import Any

from rich.console import Console
from rich.table import Table

from radloop.conform.model import Outcome, Result, Severity
from radloop.conform.run import Report
from radloop.conform.table import GROUPS

_STYLE = {Outcome.PASS: "green", Outcome.SKIP: "dim"}
_TITLES = {group.id: group.title for group in GROUPS}


def as_json(report: Report) -> dict[str, Any]:
    """The report as one JSON object."""
    return {
        "conforms": report.conforms,
        "counts": counts(report),
        "checks": [
            {
                "id": result.check.id,
                "group": result.check.group,
                "title": result.check.title,
                "clause": result.check.clause,
                "severity": result.check.severity,
                "outcome": result.outcome,
                "expected": result.check.expected,
                "found": result.found,
                "seconds": round(result.seconds, 3),
            }
            for result in report.results
        ],
    }


def counts(report: Report) -> dict[str, dict[str, int]]:
    """How many passed, failed and were left out, by severity."""
    return {
        severity.value: {outcome.value: report.count(outcome, severity) for outcome in Outcome} for severity in Severity
    }


def as_junit(report: Report) -> str:
    """The report as JUnit's XML: a suite a group; only a failed `must` is a failure, the rest that fails is skipped."""
    suites = ET.Element("testsuites", name="radloop conform")
    for group, results in groupby(report.results, key=lambda result: result.check.group):
        suite = ET.SubElement(suites, "testsuite", name=group)
        entries = [_case(suite, result) for result in results]
        suite.set("tests", str(len(entries)))
        suite.set("failures", str(entries.count("failure")))
        suite.set("skipped", str(entries.count("skipped")))
    return ET.tostring(suites, encoding="unicode", xml_declaration=True)


def _case(suite: ET.Element, result: Result) -> str:
    check = result.check
    case = ET.SubElement(suite, "testcase", classname=check.group, name=check.id, time=f"{result.seconds:.3f}")
    if result.outcome is Outcome.PASS:
        return "passed"
    kind = "failure" if result.outcome is Outcome.FAIL and check.severity is Severity.MUST else "skipped"
    said = f"{check.severity} {result.outcome}: expected {check.expected}; found {result.found} ({check.clause})"
    ET.SubElement(case, kind, message=said)
    return kind


def print_report(report: Report, console: Console) -> None:
    """Print a table a group, then what came of all."""
    for group, results in groupby(report.results, key=lambda result: result.check.group):
        table = Table(title=_TITLES[group], title_justify="left", box=None, pad_edge=False, header_style="dim")
        for column in ("", "", "check", "found", "expected", "paragraph"):
            table.add_column(column, overflow="fold")
        for result in results:
            table.add_row(*_row(result), style=_style(result))
        console.print(table)
        console.print()
    for severity, found in counts(report).items():
        told = ", ".join(f"{count} {outcome}" for outcome, count in found.items())
        console.print(f"{severity:>6}: {told}", highlight=False)
    console.print("No must fails." if report.conforms else "Not conformant: a must fails, or nothing was tested.")


def _row(result: Result) -> tuple[str, ...]:
    check = result.check
    is_passed = result.outcome is Outcome.PASS
    expected, clause = ("", "") if is_passed else (check.expected, check.clause)
    return result.outcome.value, check.severity.value, check.id, result.found, expected, clause


def _style(result: Result) -> str:
    if result.outcome is Outcome.FAIL:
        return "red" if result.check.severity is Severity.MUST else "yellow"
    return _STYLE[result.outcome]
