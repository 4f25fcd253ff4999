"""`radloop alarms`: what is wrong now, and whether anybody would be told."""

import sys
from pathlib import Path

import click

from radloop.client import reach
from radloop.options import home_option, json_option, server_option
from radloop.terminal import print_items


@click.group(invoke_without_command=True, short_help="What is wrong now; whether messages about it arrive.")
@home_option
@server_option
@json_option
@click.pass_context
def alarms(context: click.Context, home: Path | None, server: str | None, as_json: bool) -> None:
    """The alarms, and how they stand. Exit status 3 while one is on."""
    if context.invoked_subcommand is not None:
        return
    with reach(home, server) as client:
        answer = client.get("alarms")
    print_items(answer, ["id", "name", "state", "since", "value", "comparison", "threshold", "unit"], as_json)
    if any(each["state"] == "ALARM" for each in answer["items"]):
        sys.exit(3)


@alarms.command("test")
@home_option
@server_option
@json_option
def test(home: Path | None, server: str | None, as_json: bool) -> None:
    """Send a message to every address of the setting notify. Exit status 1 where one did not take it."""
    with reach(home, server) as client:
        answer = client.post("alarms/test")
    print_items(answer, ["place", "service", "sent", "error"], as_json)
    if not all(each["sent"] for each in answer["items"]):
        sys.exit(1)
