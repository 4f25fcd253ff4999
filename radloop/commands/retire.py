"""`radloop retire`: test patients who may never be used again."""

from collections.abc import Sequence
from pathlib import Path

import click

from radloop.client import reach
from radloop.functions.retired import REASONS
from radloop.options import home_option, json_option, server_option
from radloop.terminal import print_facts


@click.command(short_help="Never test or train on these patients again.")
@click.argument("image_sets", nargs=-1, required=True, metavar="IMAGE_SET...")
@click.option("--reason", required=True, type=click.Choice(REASONS), help="Why their test is worth nothing any more.")
@home_option
@server_option
@json_option
def retire(*, image_sets: Sequence[str], reason: str, home: Path | None, server: str | None, as_json: bool) -> None:
    """Retire the test patients of these image sets, for good: no later data set holds them in any part."""
    with reach(home, server) as client:
        answer = client.post("test-patients/retire", {"image_sets": list(image_sets), "reason": reason})
    print_facts(answer, as_json)
