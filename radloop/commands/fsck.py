"""`radloop fsck`: whether everything in a home is there and whole."""

import sys
from pathlib import Path

import click

from radloop.core.errors import Corrupt, NotFound
from radloop.local.jobs import SqliteJobs
from radloop.options import home_option, json_option
from radloop.store.fsck import ADVICE, Fault, Inspection, Report
from radloop.terminal import bar, print_facts
from radloop.wiring import open_local

DAMAGED = 3
_SHOWN = 200


@click.command(short_help="Look whether everything stored is whole.")
@home_option
@click.option("--deep", is_flag=True, help="Decode every frame, rebuild every file and compare its SHA-256.")
@json_option
def fsck(home: Path | None, deep: bool, as_json: bool) -> None:
    """Open every record of a home, count every count again, and tell what is damaged; nothing is changed.

    Exit status 0: all is whole. 3: something is damaged; the report says what, and what to do.
    """
    root = home or Path("radloop-home")
    if not (root / "index.sqlite").exists():
        raise NotFound(f"{root} is no home: it has no index.sqlite")
    report, dead = _inspected(root, deep)
    if as_json:
        print_facts(report.plain(), as_json)
    else:
        _print(report)
        if dead:
            click.echo(f"{dead} {'job was' if dead == 1 else 'jobs were'} given up on: radloop jobs list")
    if not report.is_clean:
        sys.exit(DAMAGED)


def _inspected(root: Path, deep: bool) -> tuple[Report, int]:
    """The report, and how many jobs were given up on."""
    try:
        with open_local(root) as installation:
            damaged = installation.database.damage()
            if damaged:
                return _of_index(deep, damaged), 0
            platform = installation.platform
            inspection = Inspection(platform.blobs, platform.records, platform.keys, deep=deep)
            with bar("checking", inspection.size(), in_bytes=True) as advance:
                report = inspection.run(SqliteJobs(installation.database).unfinished, told=advance)
            return report, len(platform.jobs.dead_letters())
    except Corrupt as error:
        return _of_index(deep, [str(error)]), 0


def _of_index(deep: bool, damaged: list[str]) -> Report:
    """The report on an index that cannot be trusted: nothing else is looked at."""
    faults = tuple(Fault("index-damaged", detail=line) for line in damaged)
    return Report(image_sets=0, instances=0, versions=0, records=0, bytes=0, deep=deep, faults=faults, leftovers=())


def _print(report: Report) -> None:
    say = click.echo
    say(
        f"{report.image_sets} image sets, {report.instances} instances, {report.versions} versions:"
        f" {report.records} records of {report.bytes} bytes {'opened and rebuilt' if report.deep else 'opened'}"
    )
    for fault in report.faults[:_SHOWN]:
        say("  ".join(part for part in (fault.code, fault.image_set, fault.subject, fault.detail) if part))
    if len(report.faults) > _SHOWN:
        say(f"and {len(report.faults) - _SHOWN} more; --json has all of them")
    for code in dict.fromkeys(fault.code for fault in report.faults):
        say(f"{code}: {ADVICE[code]}")
    if report.leftovers:
        say(f"{len(report.leftovers)} packs that nobody names: leftovers of a crash, which the next start removes")
    say("All is whole." if report.is_clean else f"{len(report.faults)} faults.")
