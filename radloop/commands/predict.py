"""`radloop predict`: what the champion model thinks."""

import time
from pathlib import Path
from typing import Any

import click

from radloop.client import Client, reach
from radloop.core.errors import InvalidInput, Unavailable
from radloop.options import home_option, json_option, server_option
from radloop.terminal import bar, print_facts

_EVERY_S = 0.5
_SILENT_S = 1800.0


@click.command()
@click.argument("image_set", required=False)
@click.option("--all-new", is_flag=True, help="Every image set that the model in use has not seen yet.")
@home_option
@server_option
@json_option
def predict(image_set: str | None, all_new: bool, home: Path | None, server: str | None, as_json: bool) -> None:
    """Ask the champion model about an image set, or about all new ones.

    An opinion of a model, not a reading.

    With --all-new the server works through them, also when this command is stopped; called again it goes on.
    """
    if (image_set is None) is not all_new:
        raise InvalidInput("give the id of one image set, or --all-new")
    with reach(home, server) as client:
        if image_set is not None:
            print_facts(client.post("predictions", {"image_set": image_set}), as_json)
            return
        print_facts(_all_new(client), as_json)


def _all_new(client: Client) -> dict[str, Any]:
    """Have everything new looked at, and wait for it."""
    begun = client.post("predictions/batch", {})
    with bar("predicting", begun["waiting"]) as advance:
        if client.installation is not None:
            from radloop.functions.prediction import LANE  # noqa: PLC0415 — no client of a server needs it

            client.installation.worker().drain((LANE,), told=lambda: advance(1))
        else:
            _wait(client, begun["waiting"], advance)
    ended: dict[str, Any] = client.get("predictions/status")
    return {**ended, "queued": begun["queued"]}


def _wait(client: Client, waiting: int, advance: Any) -> None:
    """Until the lane is empty.

    Raises:
        Unavailable: Nothing moved for half an hour.
    """
    moved = time.monotonic()
    while waiting:
        if time.monotonic() - moved > _SILENT_S:
            raise Unavailable("the worker does not predict; see `radloop jobs list`")
        time.sleep(_EVERY_S)
        left = int(client.get("predictions/status")["waiting"])
        if left < waiting:
            moved = time.monotonic()
            advance(waiting - left)
        waiting = left
