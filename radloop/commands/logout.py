"""`radloop logout`: what `radloop login` kept is ended at the user pool and removed."""

import click

from radloop.core.errors import NotFound, Unavailable
from radloop.options import json_option
from radloop.sign_ins import SignIns, address_of
from radloop.terminal import print_facts


@click.command(short_help="End a sign-in at a user pool.")
@click.argument("url")
@json_option
def logout(url: str, *, as_json: bool) -> None:
    """End the sign-in at the installation at URL: nothing renews it any more, and nothing of it is kept here."""
    address, kept = address_of(url), SignIns()
    with kept.alone():
        found = kept.get(address)
        if found is None:
            elsewhere = ", ".join(kept.servers()) or "nowhere"
            raise NotFound(f"nobody is signed in at {address}; on this machine you are signed in at: {elsewhere}")
        kept.remove(address)
    try:
        found.revoke()
    except Unavailable as error:
        raise Unavailable(
            f"nothing is kept here any more, but {error} ({found.pool}): there the sign-in lasts until its time is"
            " over, or until an administrator signs the person out"
        ) from None
    print_facts({"server": address, "signed_out": True}, as_json)
