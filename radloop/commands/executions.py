"""`radloop executions`: runs of the training pipeline."""

from pathlib import Path

import click

from radloop.client import reach
from radloop.options import home_option, json_option, server_option
from radloop.terminal import print_items


@click.command()
@home_option
@server_option
@json_option
def executions(home: Path | None, server: str | None, as_json: bool) -> None:
    """Runs of the training pipeline, newest first."""
    with reach(home, server) as client:
        print_items(client.get("executions"), ["id", "state", "started_at", "ended_at", "reason"], as_json)
