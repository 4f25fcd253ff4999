"""`radloop snapshots`: the data sets that were trained on."""

import json
from pathlib import Path
from typing import Any

import click

from radloop.client import reach
from radloop.options import home_option, json_option, server_option
from radloop.terminal import print_facts, print_items


@click.group(short_help="Data sets that were trained on: list, show, diff.")
def snapshots() -> None:
    """Data sets that were trained on: which there are, what was left out of one and why, how two differ."""


@snapshots.command("list")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 500), help="At most so many.")
@home_option
@server_option
@json_option
def list_(limit: int, home: Path | None, server: str | None, as_json: bool) -> None:
    """Snapshots, those that were trained on last first."""
    with reach(home, server) as client:
        found = client.get("snapshots", limit=limit)
    if as_json:
        print(json.dumps(found))  # noqa: T201 — the answer
        return
    rows = [
        {
            "sha256": item["sha256"],
            "image_sets": item["image_sets"],
            **{part: _counts(item["counts"].get(part, {})) for part in item["counts"]},
            "left_out": sum(item["excluded"].values()),
            "executions": len(item["executions"]),
        }
        for item in found["items"]
    ]
    columns = ["sha256", "image_sets", "train", "validation", "test", "external", "left_out", "executions"]
    print_items({"items": rows}, columns, as_json=False)


@snapshots.command()
@click.argument("snapshot")
@home_option
@server_option
@json_option
def show(snapshot: str, home: Path | None, server: str | None, as_json: bool) -> None:
    """One snapshot: its counts, what was left out and why, how its image sets were read."""
    with reach(home, server) as client:
        print_facts(client.get(f"snapshots/{snapshot}"), as_json)


@snapshots.command()
@click.argument("before")
@click.argument("after")
@home_option
@server_option
@json_option
def diff(before: str, after: str, home: Path | None, server: str | None, as_json: bool) -> None:
    """What one snapshot has and another has not: image sets that were added, removed, changed."""
    with reach(home, server) as client:
        difference: dict[str, Any] = client.get(f"snapshots/{after}", against=before)["difference"]
    print_facts(difference, as_json)


def _counts(classes: dict[str, int]) -> str:
    return f"{classes.get('present', 0)}+ {classes.get('absent', 0)}-"
