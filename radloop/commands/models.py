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
        page = client.get("models")
    if not as_json:
        page = {"items": [{**each, "held": [reason["code"] for reason in each["held"]]} for each in page["items"]]}
    print_items(page, ["version", "status", "aliases", "held", "metrics", "created_at"], as_json)
