"""Options that many commands share; this loads nothing that only some of them need."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

home_option = click.option(
    "--home",
    type=click.Path(path_type=Path),
    envvar="RADLOOP_HOME",
    help="Folder of the installation [./radloop-home].",
)


def server_option(command: F) -> F:
    """`--server`, which the command takes as `server`, and how to reach it, which `stated` tells."""
    for option in (  # click shows first what is put on last
        _noted("--ca", "Certificate authority to trust for --server, PEM [RADLOOP_CA]."),
        _noted("--token-file", "File with the bearer token for --server [RADLOOP_TOKEN]."),
        click.option("--server", metavar="URL", help="Talk to this server instead of a home."),
    ):
        command = option(command)
    return command


def ca_option(command: F) -> F:
    """`--ca`, which `stated` tells, for a command that takes the server's address by itself."""
    return _noted("--ca", "Certificate authority to trust, PEM [RADLOOP_CA].")(command)


def stated(name: str) -> Path | None:
    """The file that the option `--token-file` or `--ca` named."""
    context = click.get_current_context(silent=True)
    found: Path | None = None if context is None else context.meta.get(f"radloop.{name}")
    return found


def _noted(name: str, words: str) -> Callable[[F], F]:
    """An option that is noted instead of handed to the command."""

    def note(context: click.Context, parameter: click.Parameter, value: Path | None) -> None:
        context.meta[f"radloop.{parameter.name}"] = value

    kind = click.Path(exists=True, dir_okay=False, path_type=Path)
    return click.option(name, type=kind, expose_value=False, callback=note, help=words)


json_option = click.option("--json", "as_json", is_flag=True, help="Print facts as one JSON object.")
