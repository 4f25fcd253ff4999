"""`radloop token`: an access token of a sign-in, for programs that are not ours."""

import click

from radloop.core.errors import NotFound
from radloop.options import json_option
from radloop.sign_ins import address_of, kept_for
from radloop.terminal import print_facts


@click.command(short_help="An access token of a sign-in, for other programs.")
@click.argument("url")
@json_option
def token(url: str, *, as_json: bool) -> None:
    """Print an access token of the sign-in at URL, renewed where that is due. It lasts minutes: ask for each use."""
    address = address_of(url)
    bearer = kept_for(address)
    if bearer is None:
        raise NotFound(f"nobody is signed in at {address}; radloop login {address}")
    found = bearer.token()
    if as_json:
        print_facts({"server": address, "token": found}, as_json)
        return
    print(found)  # noqa: T201 — the answer
