"""`radloop demo`: the whole loop on one machine."""

import sys
from pathlib import Path

import click

from radloop.commands.import_images import pictures
from radloop.core.errors import InvalidInput
from radloop.demo import run
from radloop.options import home_option


@click.command(short_help="Walk the whole loop on phantoms.")
@home_option
@click.option("--data", type=click.Path(exists=True, path_type=Path), help="Your own pictures instead of phantoms.")
@click.option("--labels", type=click.Path(exists=True, path_type=Path), help="CSV of --data: file,patient_id,label.")
@click.option("--listen", default="127.0.0.1:8080", show_default=True, metavar="HOST:PORT", help="Where to serve.")
@click.option("--serve/--no-serve", default=None, help="Keep serving at the end [yes at a terminal, else no].")
@click.option("--quick", is_flag=True, help="Few patients and one epoch: shows the path, and the gate may refuse.")
def demo(
    *, home: Path | None, data: Path | None, labels: Path | None, listen: str, serve: bool | None, quick: bool
) -> None:
    """Walk the whole loop: scans in, seen, verified, learned from, gated, registered, served."""
    if (data is None) != (labels is None):
        raise InvalidInput("--data and --labels go together")
    stays = sys.stdin.isatty() if serve is None else serve
    own = None if data is None or labels is None else pictures(data, labels)
    sys.exit(run((home or Path("radloop-home")), listen, pictures=own, stays=stays, quick=quick))
