"""`radloop incident`: patients' data have got out, or might have."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from urllib.parse import quote, urlencode

import click

from radloop.client import Client, reach
from radloop.core.errors import Conflict
from radloop.options import home_option, json_option, server_option
from radloop.security.incidents import OUTCOMES, Which
from radloop.terminal import print_facts, print_items

since_option = click.option("--since", metavar="MOMENT", help="From when on, such as 2026-01-05T09:00+00:00.")


@click.group(short_help="Patients' data have got out: who, whose, both clocks.")
def incident() -> None:
    """Patients' data have got out, or might have: who read what, keep them out, report, evidence, both clocks."""


@incident.command("list", short_help="Incidents, newest first, and who is kept out.")
@home_option
@server_option
@json_option
def list_(home: Path | None, server: str | None, as_json: bool) -> None:
    """Incidents, newest first, and who is kept out. Exit status 3 while one is open."""
    with reach(home, server) as client:
        found = client.get("incidents")
    print_items(found, ["id", "kind", "state", "principal", "patients", "opened_at", "outcome"], as_json)
    if found["isolated"] and not as_json:
        print_items({"items": found["isolated"]}, ["principal", "at", "by", "incident"], as_json=False)
    if any(each["state"] == "open" for each in found["items"]):
        sys.exit(3)


@incident.command(short_help="One incident, with both clocks.")
@click.argument("identity", metavar="ID")
@home_option
@server_option
@json_option
def show(identity: str, home: Path | None, server: str | None, as_json: bool) -> None:
    """One incident, with both clocks."""
    with reach(home, server) as client:
        print_facts(client.get(f"incidents/{quote(identity, safe='')}"), as_json)


@incident.command("open", short_help="Say that something has happened.")
@click.option("--principal", metavar="USER", help="Who is suspected: a name, or an id as the audit has it.")
@since_option
@click.option("--drill", "is_drill", is_flag=True, help="It only exercises what would be done, and says so everywhere.")
@home_option
@server_option
@json_option
def open_(
    *, principal: str | None, since: str | None, is_drill: bool, home: Path | None, server: str | None, as_json: bool
) -> None:
    """Say that something has happened; both clocks begin to run, and people are told."""
    with reach(home, server) as client:
        who = None if principal is None else _id_of(client, principal)
        print_facts(client.post("incidents", {"principal": who, "since": since, "drill": is_drill}), as_json)


@incident.command(short_help="Keep somebody out, and end their sign-ins.")
@click.argument("user")
@home_option
@server_option
@json_option
def isolate(user: str, home: Path | None, server: str | None, as_json: bool) -> None:
    """Keep somebody out until they are released: a user's name, an access key, or an id as the audit has it.

    Their sign-ins end, and an incident is opened where none of theirs is open.
    """
    with reach(home, server) as client:
        print_facts(client.post("isolations", {"principal": _id_of(client, user)}), as_json)


@incident.command(short_help="Let somebody in again.")
@click.argument("user")
@home_option
@server_option
@json_option
def release(user: str, home: Path | None, server: str | None, as_json: bool) -> None:
    """Let somebody in again who was isolated; password, roles and keys are as they were."""
    with reach(home, server) as client:
        print_facts(client.delete(f"isolations/{quote(_id_of(client, user), safe='')}"), as_json)


@incident.command(short_help="Stop a clock: those concerned were told.")
@click.argument("identity", metavar="ID")
@click.argument("clock", type=click.Choice([str(each) for each in Which]))
@home_option
@server_option
@json_option
def told(identity: str, clock: str, home: Path | None, server: str | None, as_json: bool) -> None:
    """Say that your own people, or those whom the law names, have been told; that clock stops."""
    with reach(home, server) as client:
        print_facts(client.post(f"incidents/{quote(identity, safe='')}/told", {"clock": clock}), as_json)


@incident.command(short_help="Nothing more is to be done.")
@click.argument("identity", metavar="ID")
@click.option("--as", "outcome", type=click.Choice(OUTCOMES), required=True, help="What it was.")
@home_option
@server_option
@json_option
def close(identity: str, outcome: str, home: Path | None, server: str | None, as_json: bool) -> None:
    """Close an incident. One that was real is closed only when both clocks are stopped."""
    with reach(home, server) as client:
        print_facts(client.post(f"incidents/{quote(identity, safe='')}/closing", {"outcome": outcome}), as_json)


@incident.command(short_help="What is known of it, as a file.")
@click.argument("identity", metavar="ID")
@since_option
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write it there instead of printing it.")
@home_option
@server_option
@json_option
def report(
    *, identity: str, since: str | None, out: Path | None, home: Path | None, server: str | None, as_json: bool
) -> None:
    """What is known of an incident, as Markdown or, with --json, as JSON; a file that is there is not written over."""
    _require_new(out)
    with reach(home, server) as client:
        found = client.get(
            f"incidents/{quote(identity, safe='')}/report", **({} if since is None else {"since": since})
        )
    from radloop.functions.incident_report import page_of  # noqa: PLC0415 — no other command needs it

    text = json.dumps(found) + "\n" if as_json else page_of(found)
    if out is None:
        click.echo(text, nl=False)
    else:
        out.write_text(text)


@incident.command(short_help="Report and audit of that time, signed.")
@click.argument("identity", metavar="ID")
@since_option
@click.option("--out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="The file to write.")
@home_option
@server_option
@json_option
def evidence(
    *, identity: str, since: str | None, out: Path, home: Path | None, server: str | None, as_json: bool
) -> None:
    """Write report and audit of that time as one signed archive; a file that is there is not written over."""
    _require_new(out)
    query = "" if since is None else f"?{urlencode({'since': since})}"
    with reach(home, server) as client:
        data = client.fetch(f"incidents/{quote(identity, safe='')}/evidence{query}")
    out.write_bytes(data)
    print_facts({"file": str(out), "bytes": len(data)}, as_json)


@incident.command(short_help="Check such an archive, without a home or a server.")
@click.argument("file", type=click.Path(exists=True, path_type=Path, dir_okay=False))
@click.option("--key", metavar="KEY", help="Public key of the installation: a PEM file, or 64 hex digits.")
@json_option
def verify(file: Path, key: str | None, as_json: bool) -> None:
    """Check an archive of evidence, byte for byte and entry for entry; exit status 3 where anything was changed.

    The key is that of `radloop evidence key`. Without it the one in the file is used: then the file is known to be
    whole, and not who made it. That the chain still holds the head, `radloop audit verify --head` tells.
    """
    from radloop.commands.evidence import key_of  # noqa: PLC0415 — no other command needs it
    from radloop.functions.incident_evidence import examine  # noqa: PLC0415 — the same

    examined = examine(file.read_bytes(), None if key is None else key_of(key))
    if as_json:
        print_facts({**asdict(examined), "holds": examined.holds}, as_json=True)
    else:
        checks = [
            {"": "ok" if each.passed else "NO", "check": each.name, "found": each.sentence} for each in examined.checks
        ]
        print_items({"items": checks}, ["", "check", "found"], as_json=False)
        print_facts({"incident": examined.incident, "head": examined.head}, as_json=False)
    if not examined.holds:
        sys.exit(3)


@incident.command(short_help="Walk it all on a made-up reader.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Keep report and evidence there.")
@json_option
def drill(out: Path | None, as_json: bool) -> None:
    """Walk the whole of it in a home of its own, which is thrown away: a made-up reader opens 201 made-up patients.

    It is noticed, the reader is kept out, evidence is signed and checked, the report written, both clocks run, and the
    reader is let in again. Exit status 3 where one of these fails.
    """
    from radloop.drill import walk  # noqa: PLC0415 — an installation is a second's work

    steps = walk(out)
    print_items({"items": steps}, ["step", "ok", "found"], as_json)
    if not all(each["ok"] for each in steps):
        sys.exit(3)


def _id_of(client: Client, user: str) -> str:
    """The id of a user of this name; else what was given is an id."""
    found = [each["id"] for each in client.get("users")["items"] if each["name"] == user.casefold()]
    return str(found[0]) if found else user


def _require_new(out: Path | None) -> None:
    if out is not None and out.exists():
        raise Conflict(f"{out.name} is there already")
