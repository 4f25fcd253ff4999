"""`radloop export`: image sets as they came in."""

import io
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from radloop.client import Client, reach
from radloop.options import home_option, json_option, server_option
from radloop.terminal import bar, print_facts


@click.command(short_help="Write image sets back as they came in.")
@click.argument("image_sets", nargs=-1)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder to write to.")
@home_option
@server_option
@json_option
def export(image_sets: Sequence[str], out: Path, home: Path | None, server: str | None, as_json: bool) -> None:
    """Write image sets (all, unless named) back as the very files that came in."""
    out.mkdir(parents=True, exist_ok=True)
    written = 0
    with reach(home, server) as client:
        names = list(image_sets) or [item["id"] for item in _all_image_sets(client)]
        with bar("image sets", len(names)) as advance:
            for name in names:
                written += _unzip(client.fetch(f"image-sets/{name}/export"), out / name)
                advance(1)
    print_facts({"image_sets": len(names), "files": written, "out": str(out)}, as_json)


def _all_image_sets(client: Client) -> Iterator[dict[str, Any]]:
    for state in ("INGESTED", "VERIFIED", "REJECTED"):
        after = ""
        while True:
            page = client.get("worklist", state=state, limit=200, **({"after": after} if after else {}))
            yield from page["items"]
            after = page["next"]
            if not after:
                break


def _unzip(archive: bytes, folder: Path) -> int:
    """Write the files of a zip below `folder`; returns how many."""
    with zipfile.ZipFile(io.BytesIO(archive)) as files:
        files.extractall(folder)  # zipfile keeps every name below the folder
        return len(files.namelist())
