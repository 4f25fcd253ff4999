"""`radloop up`: the doors, the viewer and the worker of a home."""

import os
import sys
from pathlib import Path

import click

from radloop.associations import DEFAULT_PORT
from radloop.options import home_option
from radloop.up import Dimse, Started, serve


@click.command(short_help="Run doors, viewer and worker.")
@home_option
@click.option("--listen", default="127.0.0.1:8080", show_default=True, metavar="HOST:PORT", help="Where to listen.")
@click.option("--open", "is_open", is_flag=True, help="No sign-in: every caller is the owner. Loopback only.")
@click.option("--no-tls", is_flag=True, help="Plain HTTP. Loopback only.")
@click.option("--dimse-port", default=DEFAULT_PORT, show_default=True, type=click.IntRange(0, 65535), help="Of DIMSE.")
@click.option("--no-dimse", is_flag=True, help="No C-STORE, C-FIND, C-MOVE, C-GET.")
@click.option("--ae-title", metavar="TITLE", help="Our AE title [setting ae_title].")
@click.option("--peer", "peers", multiple=True, metavar="AET@HOST:PORT", help="A DIMSE peer; may be repeated.")
def up(
    *,
    home: Path | None,
    listen: str,
    is_open: bool,
    no_tls: bool,
    dimse_port: int,
    no_dimse: bool,
    ae_title: str | None,
    peers: tuple[str, ...],
) -> None:
    """Run the doors, the viewer and the worker of a home, over TLS and with sign-in."""
    serve(
        (home or Path("radloop-home")),
        listen,
        ready=lambda started: _print_started(started, is_open=is_open, has_tls=not no_tls),
        is_open=is_open,
        has_tls=not no_tls,
        dimse=None if no_dimse else Dimse(dimse_port, ae_title, peers),
    )


def _print_started(started: Started, *, is_open: bool, has_tls: bool) -> None:
    """Tell how to get in. A password is written to a terminal and nowhere else."""
    if is_open:
        _warn("OPEN: no sign-in. Every program on this machine is the owner of this home.")
    if not has_tls:
        _warn("NO TLS: plain HTTP. Passwords and images cross this machine in clear.")
    if started.password is not None and sys.stdout.isatty():
        print(f"First start: sign in as {started.first_user} with the password {started.password}")  # noqa: T201 — the answer
        print("It is shown this once. Another: radloop users password", started.first_user)  # noqa: T201 — the answer
    elif started.first_user is not None:
        print(f"Nobody can sign in yet: radloop users password {started.first_user}")  # noqa: T201 — the answer
    if started.authority is not None:
        print(f"Browsers and programs trust it by {started.authority}")  # noqa: T201 — the answer
    dimse = "" if started.dimse is None else f"\nDIMSE: {started.dimse}"
    print(f"radloop is up: {started.url}/app/  (Ctrl-C stops it){dimse}", flush=True)  # noqa: T201 — the answer


def _warn(sentence: str) -> None:
    """In bold yellow at a terminal; not by rich, which all children would carry."""
    click.secho(sentence, fg=None if os.environ.get("NO_COLOR") else "yellow", bold=True, err=True)
