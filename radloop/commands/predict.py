"""`radloop predict`: what the champion model thinks."""

from pathlib import Path

import click

from radloop.client import reach
from radloop.options import home_option, json_option, server_option
from radloop.terminal import print_facts


@click.command()
@click.argument("image_set")
@home_option
@server_option
@json_option
def predict(image_set: str, home: Path | None, server: str | None, as_json: bool) -> None:
    """Ask the champion model about an image set. An opinion of a model, not a reading."""
    with reach(home, server) as client:
        print_facts(client.post("predictions", {"image_set": image_set}), as_json)
