"""`radloop drift`: whether what comes in is still what the model was made from."""

import sys
from pathlib import Path

import click

from radloop.client import reach
from radloop.options import home_option, json_option, server_option
from radloop.terminal import print_facts, print_items


@click.command()
@home_option
@server_option
@json_option
def drift(home: Path | None, server: str | None, as_json: bool) -> None:
    """Whether what comes in is still what the model was made from.

    Images, probabilities and prevalence are watched, and what readers find. Exit status 3 while an alarm is on.
    """
    with reach(home, server) as client:
        status = client.get("drift")
    if as_json:
        print_facts(status, as_json)
    else:
        shown = ("state", "sentence", "changed", "since", "next", "model_version", "studies", "reads", "prevalence")
        print_facts({name: status[name] for name in shown if status[name] is not None}, as_json)
        print_items({"items": status["monitors"]}, ["name", "state", "value", "limit", "studies", "sentence"], as_json)
    if status["state"] == "alarm":
        sys.exit(3)
