"""`radloop events`: what happened."""

from pathlib import Path

import click

from radloop.client import reach
from radloop.options import home_option, json_option, server_option
from radloop.terminal import print_items


@click.command()
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 1000), help="At most so many.")
@home_option
@server_option
@json_option
def events(limit: int, home: Path | None, server: str | None, as_json: bool) -> None:
    """What happened, newest first."""
    with reach(home, server) as client:
        print_items(client.get("events", limit=limit), ["seq", "time", "detail_type", "detail"], as_json)
