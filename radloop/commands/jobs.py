"""`radloop jobs`: work that was given up on."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from radloop.client import Client, reach
from radloop.core.errors import InvalidInput
from radloop.options import home_option, json_option, server_option
from radloop.terminal import print_facts, print_items

jobs_argument = click.argument("names", nargs=-1, metavar="[IDS]...")
all_option = click.option("--all", "is_all", is_flag=True, help="All of them.")


@click.group()
def jobs() -> None:
    """Jobs that were given up on: list, show, retry, discard."""


@jobs.command("list")
@home_option
@server_option
@json_option
def list_(home: Path | None, server: str | None, as_json: bool) -> None:
    """Dead letters: jobs that failed as often as they may, each with the code of its last error."""
    with reach(home, server) as client:
        print_items(client.get("jobs/dead-letters"), ["id", "lane", "kind", "tries", "error", "trace"], as_json)


@jobs.command()
@click.argument("name", metavar="ID")
@home_option
@server_option
@json_option
def show(name: str, home: Path | None, server: str | None, as_json: bool) -> None:
    """One dead letter, with what it was to be done with."""
    with reach(home, server) as client:
        print_facts(client.get(f"jobs/dead-letters/{name}"), as_json)


@jobs.command()
@jobs_argument
@all_option
@home_option
@server_option
@json_option
def retry(*, names: Sequence[str], is_all: bool, home: Path | None, server: str | None, as_json: bool) -> None:
    """Try jobs again from the start; without a server they are done here and now."""
    with reach(home, server) as client:
        done = _each(client, names, is_all, lambda name: client.post(f"jobs/{name}/replay"))
        if client.installation is not None:
            client.installation.worker().drain()
    _print(done, "tried again", as_json)


@jobs.command()
@jobs_argument
@all_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@home_option
@server_option
@json_option
def discard(
    *, names: Sequence[str], is_all: bool, yes: bool, home: Path | None, server: str | None, as_json: bool
) -> None:
    """Forget jobs: they are not done any more, also when the same is asked for again."""
    with reach(home, server) as client:
        if not yes:
            click.confirm("Forget what was to be done, for good?", abort=True, err=True)
        done = _each(client, names, is_all, lambda name: client.delete(f"jobs/dead-letters/{name}"))
    _print(done, "discarded", as_json)


def _each(client: Client, names: Sequence[str], is_all: bool, do: Callable[[str], Any]) -> list[str]:
    """Do it with each of the dead letters that are meant; returns their ids.

    Raises:
        InvalidInput: Neither ids nor `--all` are given, or both.
    """
    if bool(names) == is_all:
        raise InvalidInput("give ids, or --all; radloop jobs list tells them")
    meant = [one["id"] for one in client.get("jobs/dead-letters")["items"]] if is_all else list(dict.fromkeys(names))
    for name in meant:
        do(name)
    return meant


def _print(names: Sequence[str], what: str, as_json: bool) -> None:
    if as_json:
        print_facts({"jobs": list(names)}, as_json)
    else:
        print(f"{len(names)} {'job' if len(names) == 1 else 'jobs'} {what}")  # noqa: T201 — the answer
