"""What commands show at a terminal: progress, facts and lists."""

import json
import sys
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

ERRORS = Console(stderr=True)
_WIDEST = 1000


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
