"""The report of an incident: what, when, who, whose images, both clocks, what was done, and what is open.

It holds ids of ours, patients under their keyed pseudonyms, counts and times, and nothing that a file said.
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

from radloop.core.errors import TooLarge
from radloop.core.platform import Platform
from radloop.core.ports import Noted
from radloop.core.tables import IMAGE_SETS
from radloop.functions.incidents import incident, moment_of
from radloop.security.bulk_reading import GLANCED, LOOKED
from radloop.security.incidents import Incident
from radloop.security.isolation import is_isolated, keys_made_by, may_be_isolated

MOST_ENTRIES: Final = 200_000
"""Of the audit that one report or one archive of evidence looks at."""

_PAGE: Final = 1000
_AT_ONCE: Final = 16
_STILL: Final = timedelta(minutes=1)  # what was under way when somebody was kept out is of the incident too
_SHOWN: Final = 200  # of so many patients the page for people lists the image sets; the JSON lists all


def report_of(identity: str, platform: Platform, *, since: str | None = None) -> dict[str, Any]:
    """What is known of an incident.

    Args:
        identity: Of the incident.
        platform: The ports.
        since: Look at what was read from this moment on, ISO 8601, instead of from where the incident begins.

    Raises:
        NotFound: There is no such incident.
        InvalidInput: `since` is no moment, or lies ahead.
        TooLarge: The audit of that time is longer than `MOST_ENTRIES`.
    """
    told, now = incident(identity, platform), platform.clock()
    begin = moment_of(since, now) or datetime.fromisoformat(told.since)
    until = now if told.until is None else min(now, datetime.fromisoformat(told.until) + _STILL)
    entries, counted = [], LOOKED | GLANCED | {"search"}
    for number, entry in enumerate(entries_since(platform, begin, principal=told.principal)):
        if number >= MOST_ENTRIES:
            raise TooLarge(f"the audit of that time has more than {MOST_ENTRIES} entries; name a later since")
        if entry.action in counted and datetime.fromisoformat(entry.time) <= until:
            entries.append(entry)
    patients, gone = _patients([entry for entry in entries if entry.action in LOOKED], platform)
    searches = sum(entry.count for entry in entries if entry.action == "search")
    glanced = {entry.subject for entry in entries if entry.action in GLANCED}
    return {
        "incident": incident_told(told),
        "made_at": now.isoformat(),
        "since": begin.isoformat(),
        "until": until.isoformat(),
        "patients_affected": len(patients),
        "image_sets_affected": sum(len(each["image_sets"]) for each in patients) + len(gone),
        "patients": patients,
        "deleted_image_sets": gone,
        "searches": searches,
        "acts": _acts(told, platform),
        "open_points": _open_points(told, platform, searches=searches, glanced=len(glanced), gone=len(gone), now=now),
    }


def incident_told(told: Incident) -> dict[str, Any]:
    """An incident as plain values."""
    document = asdict(told)
    del document["revision"]
    return {**document, "state": "open" if told.is_open else "closed"}


def entries_since(platform: Platform, begin: datetime, *, principal: str | None = None) -> Iterator[Noted]:
    """Entries of the audit from a moment on, newest first; of one principal where one is named."""
    before, where = 0, {} if principal is None else {"principal": principal}
    while page := platform.audit.entries(before=before, limit=_PAGE, where=where):
        for entry in page:
            if datetime.fromisoformat(entry.time) < begin:
                return
            yield entry
        before = page[-1].seq


def _patients(entries: list[Noted], platform: Platform) -> tuple[list[dict[str, Any]], list[str]]:
    """Whose image sets were opened, by pseudonym; and image sets of which nobody can say that any more."""
    opened: dict[str, list[Noted]] = {}
    for entry in reversed(entries):
        opened.setdefault(entry.subject, []).append(entry)
    theirs: dict[str, list[dict[str, Any]]] = {}
    gone = []
    with ThreadPoolExecutor(_AT_ONCE) as at_once:
        rows = list(at_once.map(partial(platform.records.get, IMAGE_SETS, columns=("patient_id", "study")), opened))
    for (image_set, looks), row in zip(opened.items(), rows, strict=True):
        if row is None:
            gone.append(image_set)
            continue
        patient = platform.keys.pseudonym(str(row.columns["patient_id"]))
        theirs.setdefault(patient, []).append(
            {
                "image_set": image_set,
                "study": row.columns["study"],
                "first": looks[0].time,
                "last": looks[-1].time,
                "times": sum(entry.count for entry in looks),
                "how": sorted({entry.action for entry in looks}),
                "by": sorted({entry.principal for entry in looks}),
            }
        )
    return [{"patient": patient, "image_sets": theirs[patient]} for patient in sorted(theirs)], gone


def _acts(told: Incident, platform: Platform) -> list[dict[str, Any]]:
    """What was done about it and who did it, oldest first."""
    found = platform.audit.entries(limit=_PAGE, where={"subject": told.id})
    return [
        {"time": entry.time, "by": entry.principal, "action": entry.action, "seq": entry.seq}
        for entry in reversed(found)
    ]


def _open_points(
    told: Incident, platform: Platform, *, searches: int, glanced: int, gone: int, now: datetime
) -> list[str]:
    points = []
    for name, clock in told.clocks.items():
        if clock.told_at is None and told.outcome != "false-alarm":
            late = "ran out" if datetime.fromisoformat(clock.ends_at) < now else "runs until"
            points.append(f"The {name} clock {late} {clock.ends_at}; nobody has said that those concerned were told.")
    points += _who(told, platform, now)
    if searches:
        points.append(f"{searches} searches were made, which show names; the audit does not tell of whom.")
    if glanced:
        points.append(
            f"{glanced} image sets stood in lists with a small picture or a header; opened ones alone are listed."
        )
    if gone:
        points.append(f"{gone} image sets are deleted, so their patients are not counted.")
    points.append("What was opened before this report begins is not in it.")
    if told.is_open:
        points.append("The incident is open.")
    return points


def _who(told: Incident, platform: Platform, now: datetime) -> list[str]:
    """What is open about the principal."""
    if told.principal is None:
        return ["Nobody is suspected yet: what everybody opened in this time is listed."]
    points = []
    if is_isolated(platform.records, told.principal):
        points.append("The principal is still kept out.")
    elif told.is_open and told.isolated_at is None:
        how = "" if may_be_isolated(told.principal) else ", and has no account that could be"
        points.append(f"The principal was not kept out{how}.")
    elif told.is_open and told.released_at is not None:
        points.append("The principal was let in again; what they open from then on is listed too.")
    keys = keys_made_by(platform.records, told.principal, now)
    if keys:
        points.append(f"Keys that the principal made open what they did before, until revoked: {', '.join(keys)}.")
    return points


def page_of(report: Mapping[str, Any]) -> str:
    """A report as Markdown."""
    told = report["incident"]
    who = told["principal"] or "not known"
    lines = [
        f"# Incident {told['id']}{' (drill)' if told['is_drill'] else ''}",
        "",
        "Ids, counts and times; patients stand under keyed pseudonyms of this installation.",
        "",
        "| what | |",
        "| --- | --- |",
        f"| kind | {told['kind']}, {told['state']}{'' if told['outcome'] is None else ', ' + told['outcome']} |",
        f"| report made | {_at(report['made_at'])} |",
        f"| opened | {_at(told['opened_at'])} by {told['opened_by']} |",
        f"| principal | {who} |",
        f"| kept out | {_at(told['isolated_at'])} |",
        f"| let in again | {_at(told['released_at'])} |",
        f"| looked at | {_at(report['since'])} to {_at(report['until'])} |",
        f"| patients affected | {report['patients_affected']} |",
        f"| image sets affected | {report['image_sets_affected']} |",
        "",
        "## Clocks",
        "",
        "| clock | must be told by | told |",
        "| --- | --- | --- |",
        *(
            f"| {name} | {_at(clock['ends_at'])} |"
            f" {_at(clock['told_at'])}{'' if clock['told_by'] is None else ' by ' + clock['told_by']} |"
            for name, clock in told["clocks"].items()
        ),
        "",
        "## What was done",
        "",
        "| when | who | what | audit entry |",
        "| --- | --- | --- | --- |",
        *(f"| {_at(act['time'])} | {act['by']} | {act['action']} | {act['seq']} |" for act in report["acts"]),
        "",
        "## What is open",
        "",
        *(f"- {point}" for point in report["open_points"]),
        "",
        "## Patients",
        "",
        "| patient | image set | study | times | first | last |",
        "| --- | --- | --- | --- | --- | --- |",
        *(
            f"| {each['patient']} | {one['image_set']} | {one['study']} | {one['times']} |"
            f" {_at(one['first'])} | {_at(one['last'])} |"
            for each in report["patients"][:_SHOWN]
            for one in each["image_sets"]
        ),
    ]
    left = len(report["patients"]) - _SHOWN
    if left > 0:
        lines += ["", f"{left} further patients stand in the JSON of this report."]
    return "\n".join(lines) + "\n"


def _at(moment: str | None) -> str:
    return "no" if moment is None else datetime.fromisoformat(moment).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
