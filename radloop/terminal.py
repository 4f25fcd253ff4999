"""What every command has in common: options, progress, and how facts are printed."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

ERRORS = Console(stderr=True)
_WIDEST = 1000
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


class _Bar:
    """A progress bar on standard error, silent where that is not a terminal."""

    def __init__(self, what: str, total: int, in_bytes: bool) -> None:
        amount = DownloadColumn() if in_bytes else MofNCompleteColumn()
        self._progress = Progress(
            TextColumn("{task.description:>10}"), BarColumn(), amount, TimeElapsedColumn(), console=ERRORS
        )
        self._task = self._progress.add_task(what, total=total)

    def __enter__(self) -> Callable[[int], None]:
        self._progress.start()
        return lambda steps: self._progress.advance(self._task, steps)

    def __exit__(self, *_: object) -> None:
        self._progress.stop()


def bar(what: str, total: int, *, in_bytes: bool = False) -> _Bar:
    """A progress bar of `total` steps or bytes; the block it opens gets a function that advances it."""
    return _Bar(what, total, in_bytes)


def print_facts(facts: dict[str, Any], as_json: bool) -> None:
    """Print one thing: a JSON object, or a table of its names and values."""
    if as_json:
        print(json.dumps(facts))  # noqa: T201 — the answer
        return
    table = Table(show_header=False, box=None)
    for key, value in facts.items():
        table.add_row(key, _cell(value) if _is_words(value) else value if isinstance(value, str) else json.dumps(value))
    _print(table)


def print_items(page: dict[str, Any], columns: list[str], as_json: bool) -> None:
    """Print the `items` of a page: as JSON, or as a table of these columns."""
    if as_json:
        print(json.dumps(page))  # noqa: T201 — the answer
        return
    table = Table(box=None)
    for column in columns:
        table.add_column(column, overflow="fold")  # an id that is cut off is of no use
    for item in page["items"]:
        table.add_row(*(_cell(item.get(column)) for column in columns))
    _print(table)


def _print(table: Table) -> None:
    """As wide as the terminal; in one line a row where it is none."""
    Console(width=None if sys.stdout.isatty() else _WIDEST).print(table)


def _is_words(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _cell(value: Any) -> str:
    if _is_words(value):
        return ", ".join(value)
    if isinstance(value, dict):
        return " ".join(f"{key}={entry}" for key, entry in value.items() if not isinstance(entry, dict | list))
    return "" if value is None else str(value)
