"""`radloop serving`: which model served when, and the ledger that tells it."""

import sys
from pathlib import Path
from typing import Any

import click

from radloop.client import reach
from radloop.options import home_option, json_option, server_option
from radloop.terminal import print_facts, print_items

_COLUMNS = ["version", "since", "until", "approved_by", "approved_at", "rollback_reason", "evidence"]


@click.group(invoke_without_command=True, short_help="Which model served when, approved by whom.")
@click.option("--at", metavar="WHEN", help="A moment with its time zone, or a day of UTC [now].")
@home_option
@server_option
@json_option
@click.pass_context
def serving(context: click.Context, at: str | None, home: Path | None, server: str | None, as_json: bool) -> None:
    """Which model version served, approved by whom, on what evidence."""
    if context.invoked_subcommand is not None:
        return
    with reach(home, server) as client:
        found: dict[str, Any] = client.get("models/serving", **({} if at is None else {"at": at}))
    if as_json or not found["items"]:
        print_facts(found if as_json else {"at": found["at"], "serving": "nothing"}, as_json)
    else:
        print_items(found, _COLUMNS, as_json=False)


@serving.command(short_help="Walk the chain of the model ledger.")
@home_option
@server_option
@json_option
def verify(home: Path | None, server: str | None, as_json: bool) -> None:
    """Walk the whole model ledger; exit status 3 where its chain is broken, or where its end was cut off."""
    with reach(home, server) as client:
        found = client.get("models/ledger", limit=1)
    print_facts({name: value for name, value in found.items() if name != "items"}, as_json)
    if not found["whole"]:
        sys.exit(3)


@serving.command(short_help="Entries of the model ledger, newest first.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 1000), help="At most so many.")
@home_option
@server_option
@json_option
def ledger(limit: int, home: Path | None, server: str | None, as_json: bool) -> None:
    """What was registered, held, decided and put to work, newest first."""
    with reach(home, server) as client:
        page = client.get("models/ledger", limit=limit)
    print_items(page, ["seq", "at", "action", "version", "by", "reason", "hash"], as_json)
