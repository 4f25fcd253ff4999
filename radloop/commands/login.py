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
from radloop.core.errors import Denied, Unavailable
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
@ca_option
@json_option
def login(url: str, *, no_browser: bool, paste: bool, as_json: bool) -> None:
    """Sign in at the user pool of the installation at URL, in a browser; commands with --server URL know you then.

    What was given is kept in a file that you alone can read, and renewed by itself for as long as the pool allows.
    """
    address, kept = address_of(url), SignIns()
    before = kept.get(address)
    with closing(Client(address, None, authority=stated_authority())) as client:
        app = native_app_at(client)
    if paste:
        begun = begin(app, app.redirects[0])
        _show(begun, address, "Open this address in a browser and sign in:")
        facts = _finished(app, address, begun, _pasted(begun), kept)
    else:
        with Loopback(app.redirects) as loopback:
            begun = begin(app, loopback.redirect)
            _show(begun, address, "Sign in in a browser of this machine, at this address:")
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


def _show(begun: Begun, address: str, words: str) -> None:
    page = urlsplit(begun.address).netloc
    ERRORS.print(f"{address} has its people sign in at {page}.", markup=False, highlight=False, soft_wrap=True)
    ERRORS.print(f"{words}\n{begun.address}", markup=False, highlight=False, soft_wrap=True)


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
