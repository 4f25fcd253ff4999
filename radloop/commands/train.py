"""`radloop train`: a retraining, now."""

import sys
import time
from pathlib import Path
from typing import Any

import click

from radloop.client import Client, reach
from radloop.options import home_option, json_option, server_option
from radloop.terminal import print_facts


@click.command(short_help="Retrain now, and wait for the verdict.")
@click.option("--again", is_flag=True, help="Run the same data once more, to be judged against today's champion.")
@home_option
@server_option
@json_option
def train(*, again: bool, home: Path | None, server: str | None, as_json: bool) -> None:
    """Retrain now on everything verified, and wait for the verdict; exit status 3 when no model came of it."""
    with reach(home, server) as client:
        execution = _train_now(client, again=again)
    print_facts(execution, as_json)
    if execution["state"] != "Succeeded":
        sys.exit(3)


def _train_now(client: Client, *, again: bool) -> dict[str, Any]:
    """Start a retraining and wait for its end."""
    name = client.post("executions", params={"again": "1"} if again else {})["id"]
    while True:
        if client.installation is not None:
            client.installation.worker().drain()
        execution: dict[str, Any] = client.get(f"executions/{name}")
        if execution["state"] != "Executing":
            return execution
        time.sleep(0.5)
