"""`radloop login`: a person signs in at the user pool of an installation on AWS."""

import os
import sys
import webbrowser
from contextlib import closing, suppress
from threading import Thread
from typing import Any, Final
from urllib.parse import urlsplit

import click

from radloop.client import Client, stated_authority
from radloop.core.errors import Denied, InvalidInput, Unavailable
from radloop.loopback import SIGNED_IN, Loopback
from radloop.native_app import Begun, begin, code_of, native_app_at, signed_in, who
from radloop.options import ca_option, json_option
from radloop.security.sign_in import NativeApp
from radloop.sign_ins import SignIn, SignIns, address_of
from radloop.terminal import ERRORS, print_facts

WAIT_S: Final = 300.0


@click.command(short_help="Sign in at the user pool of an installation on AWS.")
@click.argument("url")
@click.option("--no-browser", is_flag=True, help="Open none: print the page's address alone.")
@click.option("--paste", is_flag=True, help="The browser is elsewhere: ask for the address that it ends at.")
@click.option("--yes", is_flag=True, help="Do not ask whether this page is that of this server.")
@ca_option
@json_option
def login(url: str, *, no_browser: bool, paste: bool, yes: bool, as_json: bool) -> None:
    """Sign in at the user pool of the installation at URL, in a browser; commands with --server URL know you then.

    What was given is kept in a file that you alone can read, and renewed by itself for as long as the pool allows.
    """
    address, kept = address_of(url), SignIns()
    before = kept.get(address)
    with closing(Client(address, None, authority=stated_authority())) as client:
        app = native_app_at(client)
    _demand_agreement(app, address, kept, yes=yes)
    if paste:
        begun = begin(app, app.redirects[0])
        _show(begun, "Open this address in a browser and sign in:")
        facts = _finished(app, address, begun, _pasted(begun), kept)
    else:
        with Loopback(app.redirects) as loopback:
            begun = begin(app, loopback.redirect)
            _show(begun, "Sign in in a browser of this machine, at this address:")
            if not no_browser and _has_browser():
                Thread(target=webbrowser.open, args=(begun.address,), daemon=True).start()  # some last until closed
            facts = _finished(app, address, begun, loopback.code(begun, WAIT_S), kept)
            loopback.tell(SIGNED_IN)
    if before is not None:
        with suppress(Unavailable):
            before.revoke()
    if os.environ.get("RADLOOP_TOKEN"):
        ERRORS.print("RADLOOP_TOKEN is set and goes before this sign-in; unset it.", style="yellow")
    print_facts(facts, as_json)


def _finished(app: NativeApp, address: str, begun: Begun, code: str, kept: SignIns) -> dict[str, Any]:
    """Who is signed in, once the installation says so too; only then it is kept."""
    made = signed_in(app, address, begun, code)
    with closing(Client(address, None, token=made.access_token, authority=stated_authority())) as client:
        try:
            person = who(client)
        except Denied:
            _let_go(made)
            raise
    with kept.alone():
        kept.put(made)
    named = {name: person[name] for name in ("id", "roles", "is_limited")}
    return {"server": address, **named, "kept_in": str(kept.path)}


def _let_go(made: SignIn) -> None:
    with suppress(Unavailable):
        made.revoke()


def _demand_agreement(app: NativeApp, address: str, kept: SignIns, *, yes: bool) -> None:
    """Ask whether the page is the server's, unless that is what is kept: any server can name the page of another.

    Whoever signs in there, or is signed in there already, gives this server a token that the other one takes too.

    Raises:
        Abort: Nobody says so.
        InvalidInput: It is that of another server where one is signed in, and nobody is to be asked.
    """
    page, named = urlsplit(app.address).netloc, (app.address, app.client_id)
    _tell(f"{address} has its people sign in at {page}, and gets the token that is given there.")
    held = {each: kept.get(each) for each in kept.servers()}
    same = [each for each, sign_in in held.items() if sign_in and (sign_in.pool, sign_in.client_id) == named]
    if address in same:
        return
    if not same:
        if not yes:
            click.confirm("Is that its own page, and may it have your token?", abort=True, err=True)
        return
    others = ", ".join(same)
    if yes:
        raise InvalidInput(
            f"{page} is where you signed in for {others}; if {address} is the same installation, run the command"
            f" without --yes, or radloop logout {same[0]} first"
        )
    _tell(f"There you signed in for {others}: {address} could do there what you may.")
    click.confirm("Are these the same installation?", abort=True, err=True)


def _tell(words: str) -> None:
    ERRORS.print(words, markup=False, highlight=False, soft_wrap=True)


def _show(begun: Begun, words: str) -> None:
    _tell(f"{words}\n{begun.address}")


def _pasted(begun: Begun) -> str:
    """The code in the address that a browser elsewhere ended at.

    Raises:
        InvalidInput: This is no answer to this sign-in.
        Denied: The page let nobody in.
    """
    ERRORS.print("It ends at a page that the browser cannot show. Paste that page's address here:", markup=False)
    return code_of(urlsplit(sys.stdin.readline().strip()).query, begun)


def _has_browser() -> bool:
    """Whether opening one would show a window, and no text in this terminal."""
    named = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    return sys.platform != "linux" or any(os.environ.get(each) for each in named)
