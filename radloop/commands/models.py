"""`radloop models`: what was registered."""

from pathlib import Path

import click

from radloop.client import reach
from radloop.options import home_option, json_option, server_option
from radloop.terminal import print_items


@click.command()
@home_option
@server_option
@json_option
def models(home: Path | None, server: str | None, as_json: bool) -> None:
    """Registered model versions, newest first."""
    with reach(home, server) as client:
        print_items(client.get("models"), ["version", "status", "aliases", "metrics", "created_at"], as_json)
