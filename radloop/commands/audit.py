"""`radloop audit`: who did what, and whether the chain that tells it is whole."""

import sys
from pathlib import Path

import click

from radloop.client import reach
from radloop.options import home_option, json_option, server_option
from radloop.terminal import print_facts, print_items


@click.group()
def audit() -> None:
    """Who did what, kept as a chain of hashes."""


@audit.command("list", short_help="Entries, newest first.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 1000), help="At most so many.")
@click.option("--principal", help="Only what this one did.")
@click.option("--action", help="Only this, such as read, land, verify.")
@click.option("--subject", help="Only what was done to this, such as an image set.")
@home_option
@server_option
@json_option
def list_entries(
    *,
    limit: int,
    principal: str | None,
    action: str | None,
    subject: str | None,
    home: Path | None,
    server: str | None,
    as_json: bool,
) -> None:
    """Entries of the audit, newest first."""
    named = {"principal": principal, "action": action, "subject": subject}
    wanted = {name: value for name, value in named.items() if value is not None}
    with reach(home, server) as client:
        page = client.get("audit", limit=limit, **wanted)
    print_items(page, ["seq", "time", "principal", "action", "subject", "outcome", "count"], as_json)


@audit.command(short_help="Walk the whole chain.")
@click.option("--head", help="A head that was kept before; the chain must still hold it.")
@home_option
@server_option
@json_option
def verify(head: str | None, home: Path | None, server: str | None, as_json: bool) -> None:
    """Walk the whole chain; exit status 3 where it is broken, or where a head that was kept is not in it.

    Keep the head that this prints somewhere else: a chain whose end was cut off is whole in itself, and only a head
    kept elsewhere shows that something is missing.
    """
    with reach(home, server) as client:
        verdict = client.get("audit/verification", **({} if head is None else {"head": head}))
    print_facts(verdict, as_json)
    if not verdict["whole"]:
        sys.exit(3)
