"""`radloop quarantine`: what could not be accepted, and the ways out."""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from radloop.client import Client, reach
from radloop.core.errors import InvalidInput
from radloop.options import home_option, json_option, server_option
from radloop.terminal import bar, print_facts, print_items

STAYS = 3
_AT_ONCE = 500

entries_argument = click.argument("entries", nargs=-1, metavar="[IDS]...")
code_option = click.option("--code", metavar="CODE", help="All that were put aside for this reason.")


@click.group(short_help="What could not be accepted, and the ways out.")
def quarantine() -> None:
    """What could not be accepted: list, show, download, release, discard."""


@quarantine.command("list")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 1000), help="At most so many.")
@click.option("--code", metavar="CODE", help="Only what was put aside for this reason.")
@home_option
@server_option
@json_option
def list_(*, limit: int, code: str | None, home: Path | None, server: str | None, as_json: bool) -> None:
    """What is kept, newest first."""
    query: dict[str, str | int] = {"limit": limit, **({} if code is None else {"code": code})}
    with reach(home, server) as client:
        found = client.get("quarantine", **query)
    print_items({"items": found}, ["id", "code", "size_bytes", "time", "sentence", "sha256"], as_json)


@quarantine.command()
@click.argument("entry")
@home_option
@server_option
@json_option
def show(entry: str, home: Path | None, server: str | None, as_json: bool) -> None:
    """One file: why it is here, or who took it out and when."""
    with reach(home, server) as client:
        print_facts(client.get(f"quarantine/{entry}"), as_json)


@quarantine.command()
@click.argument("entry")
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="File to write to.")
@home_option
@server_option
@json_option
def download(*, entry: str, out: Path, home: Path | None, server: str | None, as_json: bool) -> None:
    """Write the bytes as they arrived, for whoever is to mend them; the audit tells that you did."""
    with reach(home, server) as client:
        data = client.fetch(f"quarantine/{entry}/file")
    out.write_bytes(data)
    print_facts({"id": entry, "size_bytes": len(data), "out": str(out)}, as_json)


@quarantine.command()
@entries_argument
@code_option
@click.option("--datastore", metavar="ID", help="The data store to land in [the default one].")
@home_option
@server_option
@json_option
def release(
    *,
    entries: Sequence[str],
    code: str | None,
    datastore: str | None,
    home: Path | None,
    server: str | None,
    as_json: bool,
) -> None:
    """Land files again, as if they came now; what is refused again stays, and exit status 3 tells of it."""
    with reach(home, server) as client:
        names = _named(client, entries, code)
        done = []
        with bar("releasing", len(names)) as advance:
            for name in names:
                where = {} if datastore is None else {"params": {"datastore": datastore}}
                done.append(client.post(f"quarantine/{name}/release", **where))
                advance(1)
        _close(client, [one["image_set"] for one in done if one["outcome"] == "ingested"])
    _print(done, as_json)
    if any(one["outcome"] == "quarantined" for one in done):
        sys.exit(STAYS)


@quarantine.command()
@entries_argument
@code_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@home_option
@server_option
@json_option
def discard(
    *,
    entries: Sequence[str],
    code: str | None,
    yes: bool,
    home: Path | None,
    server: str | None,
    as_json: bool,
) -> None:
    """Delete the bytes of files for good; that they were there, who discarded them and when is kept."""
    with reach(home, server) as client:
        names = _named(client, entries, code)
        if not yes and names:
            click.confirm(f"Delete {_counted(len(names), 'file')} for good?", abort=True, err=True)
        gone = [client.delete(f"quarantine/{name}") for name in names]
    if as_json:
        print_items({"items": gone}, [], as_json)
    else:
        print(f"{_counted(len(gone), 'file')} discarded")  # noqa: T201 — the answer


def _named(client: Client, entries: Sequence[str], code: str | None) -> list[str]:
    """The ids that are meant.

    Raises:
        InvalidInput: Neither ids nor a code are given, or both.
    """
    if bool(entries) == (code is not None):
        raise InvalidInput("give ids, or --code; radloop quarantine list tells both")
    return list(dict.fromkeys(entries)) if code is None else list(_all_of(client, code))


def _all_of(client: Client, code: str) -> Iterator[str]:
    """All ids of a reason, asked for before anything leaves."""
    after: dict[str, str] = {}
    while True:
        page = client.get("quarantine", code=code, limit=_AT_ONCE, **after)
        yield from (one["id"] for one in page)
        if len(page) < _AT_ONCE:
            return
        after = {"after": page[-1]["id"]}


def _close(client: Client, image_sets: Sequence[str]) -> None:
    """Close what was touched and, without a server, fold it here, as `radloop ingest` does."""
    closed = [client.post(f"image-sets/{name}/complete")["study"] for name in dict.fromkeys(image_sets)]
    for study in dict.fromkeys(closed):
        client.post(f"studies/{study}/complete")
    if closed and client.installation is not None:
        client.installation.worker().drain(("fold",))


def _print(done: Sequence[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        print_items({"items": list(done)}, [], as_json)
        return
    outcomes = Counter(one["outcome"] for one in done)
    known = outcomes["duplicate"] + outcomes["released"]
    print(f"{outcomes['ingested']} ingested, {known} known already, {outcomes['quarantined']} kept")  # noqa: T201 — the answer
    for one in done:
        if one["outcome"] == "quarantined":
            again = "the same again" if one["same_reason"] else "another reason now"
            print(f"  {one['id']} {one['code']}: {one['sentence']} ({again})")  # noqa: T201 — the answer


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
