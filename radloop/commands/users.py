"""`radloop users`: who can sign in."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from radloop.client import Client, reach
from radloop.commands.credentials import named
from radloop.core.errors import NotFound
from radloop.options import home_option, json_option, server_option
from radloop.security.passwords import new_password
from radloop.terminal import ERRORS, print_facts, print_items

stdin_option = click.option("--stdin", "from_stdin", is_flag=True, help="Read the password's one line from there.")


@click.group()
def users() -> None:
    """People who sign in: create, list, password, disable."""


@users.command()
@click.argument("name")
@click.option("--role", "roles", required=True, multiple=True, metavar="ROLE", help="What they may do; several times.")
@click.option("--patients", metavar="P,...", help="PatientIDs of the only patients they may know of [all].")
@stdin_option
@home_option
@server_option
@json_option
def create(
    *,
    name: str,
    roles: Sequence[str],
    patients: str | None,
    from_stdin: bool,
    home: Path | None,
    server: str | None,
    as_json: bool,
) -> None:
    """Let somebody sign in, with a generated password that is printed this once, or one read with --stdin."""
    password = _read() if from_stdin else new_password()
    with reach(home, server) as client:
        body = {"name": name, "password": password, "roles": list(roles), "patients": named(patients)}
        made = client.post("users", body)
    _print(made, None if from_stdin else password, as_json)


@users.command("list")
@home_option
@server_option
@json_option
def list_(home: Path | None, server: str | None, as_json: bool) -> None:
    """Who can sign in, or could."""
    with reach(home, server) as client:
        print_items(client.get("users"), ["name", "roles", "patients", "disabled", "created_at", "id"], as_json)


@users.command()
@click.argument("name")
@stdin_option
@home_option
@server_option
@json_option
def password(name: str, from_stdin: bool, home: Path | None, server: str | None, as_json: bool) -> None:
    """Give a user another password, generated or read with --stdin; ends all their sign-ins."""
    fresh = _read() if from_stdin else new_password()
    with reach(home, server) as client:
        changed = client.patch(f"users/{_id_of(client, name)}", {"password": fresh})
    _print(changed, None if from_stdin else fresh, as_json)


@users.command()
@click.argument("name")
@click.option("--undo", is_flag=True, help="Let them sign in again.")
@home_option
@server_option
@json_option
def disable(name: str, undo: bool, home: Path | None, server: str | None, as_json: bool) -> None:
    """Let somebody sign in no more; ends all their sign-ins."""
    with reach(home, server) as client:
        print_facts(client.patch(f"users/{_id_of(client, name)}", {"disabled": not undo}), as_json)


def _id_of(client: Client, name: str) -> str:
    found = [user["id"] for user in client.get("users")["items"] if user["name"] == name.casefold()]
    if not found:
        raise NotFound(f"there is no user {name}; radloop users list tells who there is")
    return str(found[0])


def _read() -> str:
    return sys.stdin.readline().rstrip("\r\n")


def _print(user: dict[str, Any], generated: str | None, as_json: bool) -> None:
    if generated is not None:
        ERRORS.print("The password is shown this once.", style="yellow")
        user = {**user, "password": generated}
    print_facts(user, as_json)
