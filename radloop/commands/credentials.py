"""`radloop credentials`: access keys and bearer tokens for programs."""

from collections.abc import Sequence
from pathlib import Path

import click

from radloop.client import reach
from radloop.options import home_option, json_option, server_option
from radloop.terminal import ERRORS, print_facts, print_items


@click.group(short_help="Access keys and bearer tokens for programs.")
def credentials() -> None:
    """Access keys and bearer tokens for programs: create, list, revoke."""


@credentials.command()
@click.option("--role", "roles", required=True, multiple=True, metavar="ROLE", help="What it may do; several times.")
@click.option("--patients", metavar="P,...", help="PatientIDs of the only patients it may know of [all].")
@click.option("--days", type=click.IntRange(1, 3650), metavar="N", help="Days after which it expires [never].")
@click.option("--note", default="", help="What it is for.")
@home_option
@server_option
@json_option
def create(
    *,
    roles: Sequence[str],
    patients: str | None,
    days: int | None,
    note: str,
    home: Path | None,
    server: str | None,
    as_json: bool,
) -> None:
    """Make a credential and print its secrets, this once."""
    body = {"roles": list(roles), "patients": named(patients), "days": days, "note": note}
    with reach(home, server) as client:
        made = client.post("credentials", body)
    ERRORS.print("The secret access key and the token are shown this once.", style="yellow")
    print_facts(made, as_json)


@credentials.command("list")
@home_option
@server_option
@json_option
def list_(home: Path | None, server: str | None, as_json: bool) -> None:
    """All credentials, also those revoked and expired; their secrets cannot be shown again."""
    with reach(home, server) as client:
        found = client.get("credentials")
    print_items(
        found, ["access_key_id", "roles", "patients", "note", "created_at", "expires_at", "revoked_at"], as_json
    )


@credentials.command()
@click.argument("access_key_id")
@home_option
@server_option
@json_option
def revoke(access_key_id: str, home: Path | None, server: str | None, as_json: bool) -> None:
    """Make a credential worthless for good."""
    with reach(home, server) as client:
        print_facts(client.delete(f"credentials/{access_key_id}"), as_json)


def named(patients: str | None) -> list[str] | None:
    """PatientIDs that are separated by commas; None for all."""
    return None if patients is None else [each.strip() for each in patients.split(",") if each.strip()]
