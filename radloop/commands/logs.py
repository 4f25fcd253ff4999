"""`radloop logs`: what functions, the bus and the guard at the door have said."""

import json
from itertools import islice
from pathlib import Path

import click

from radloop.local.home import Home
from radloop.local.keys import open_keyring
from radloop.monitoring.logs import lines_of
from radloop.options import home_option
from radloop.wiring import log_cipher_of


@click.command(short_help="The home's log lines, by group and by trace.")
@click.option("--group", metavar="GROUP", help="Only this group, such as lambda/image-ingestion or events/radloop.")
@click.option("--trace", metavar="ID", help="Only what belongs to this trace.")
@click.option("--limit", default=1000, show_default=True, type=click.IntRange(1), help="At most so many, the latest.")
@home_option
def logs(*, group: str | None, trace: str | None, limit: int, home: Path | None) -> None:
    """The lines that `radloop up` kept, oldest first, a JSON object each. Reads the files of the home itself."""
    place = Home((home or Path("radloop-home")).resolve())
    if not place.kek.exists():
        return  # nobody has used it yet, and looking must not make a key
    found = lines_of(place.logs, log_cipher_of(open_keyring(place.kek)), group=group)
    kept = [line for line in found if trace in {None, line["trace"]}]
    for line in islice(kept, max(0, len(kept) - limit), None):
        click.echo(json.dumps(line))
