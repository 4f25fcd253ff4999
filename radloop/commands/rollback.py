"""`radloop rollback`: the model in use is taken back."""

from pathlib import Path

import click

from radloop.client import reach
from radloop.options import home_option, json_option, server_option
from radloop.registry.ledger import CHAMPION, ROLLBACK_REASONS
from radloop.terminal import print_facts


@click.command(short_help="Take the model in use back.")
@click.option("--to", type=click.IntRange(1), metavar="VERSION", help="The version that shall serve [the last before].")
@click.option("--reason", required=True, type=click.Choice(list(ROLLBACK_REASONS)), help="Why.")
@home_option
@server_option
@json_option
def rollback(to: int | None, reason: str, home: Path | None, server: str | None, as_json: bool) -> None:
    """Take the model in use back, and let an approved version that served before serve again, at once.

    What was taken back does not come again by itself, and no version goes to work by itself until a person has approved
    one again.
    """
    with reach(home, server) as client:
        models = client.get("models")["items"]
        before = next((each["version"] for each in models if CHAMPION in each["aliases"]), None)
        body = {"reason": reason} | ({} if to is None else {"to": to}) | ({} if before is None else {"from": before})
        serving = client.post("models/rollback", body)
    print_facts({"serving": serving["version"], "taken_back": before, "reason": reason}, as_json)
