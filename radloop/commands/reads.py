"""`radloop reads`: what readers said, how they agree, what waits for an adjudicator, how a project is read."""

from pathlib import Path
from typing import Any

import click

from radloop.client import reach
from radloop.core.reads import REASONS, ReadingPolicy
from radloop.core.tables import DEFAULT_DATASTORE
from radloop.options import home_option, json_option, server_option
from radloop.terminal import print_facts, print_items

datastore_option = click.option("--datastore", metavar="ID", help="The data store [the default one].")


@click.group(short_help="Reads, agreement of readers, adjudication.")
def reads() -> None:
    """What readers said: list, labels, agreement, quality, queue, next, policy."""


@reads.command("list")
@click.argument("image_set")
@home_option
@server_option
@json_option
def list_(image_set: str, home: Path | None, server: str | None, as_json: bool) -> None:
    """Reads of an image set, oldest first; only your own before you have read it."""
    with reach(home, server) as client:
        page = client.get(f"image-sets/{image_set}/reads")
    print_items(page, ["at", "reader", "version", "finding", "site", "laterality", "confidence", "blinded"], as_json)


@reads.command()
@click.argument("image_set")
@home_option
@server_option
@json_option
def labels(image_set: str, home: Path | None, server: str | None, as_json: bool) -> None:
    """Every ground truth that an image set has had, oldest first."""
    with reach(home, server) as client:
        page = client.get(f"image-sets/{image_set}/labels")
    print_items(page, ["at", "version", "finding", "rule", "by", "reason", "posterior", "reads"], as_json)


@reads.command()
@datastore_option
@home_option
@server_option
@json_option
def agreement(datastore: str | None, home: Path | None, server: str | None, as_json: bool) -> None:
    """Kappa of each two readers and of all, with 95 % intervals."""
    found = _agreement(home, server, datastore)
    everybody = {"readers": ["all"], **found["all"]}
    items = [_rounded(each) for each in (everybody, *found["pairs"])]
    columns = ["readers", "image_sets", "agreed", "kappa", "ci_low", "ci_high"]
    print_items(found if as_json else {"items": items}, columns, as_json)


@reads.command()
@datastore_option
@home_option
@server_option
@json_option
def quality(datastore: str | None, home: Path | None, server: str | None, as_json: bool) -> None:
    """Sensitivity and specificity that each reader is held to have."""
    found = _agreement(home, server, datastore)
    items = found["readers"] if as_json else [_rounded(each) for each in found["readers"]]
    print_items({"items": items}, ["reader", "reads", "sensitivity", "specificity"], as_json)


@reads.command()
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 500), help="At most so many.")
@home_option
@server_option
@json_option
def queue(limit: int, home: Path | None, server: str | None, as_json: bool) -> None:
    """What waits for an adjudicator, longest first."""
    with reach(home, server) as client:
        page = client.get("adjudication", limit=limit)
    print_items(page, ["id", "version", "modality", "asked", "posterior"], as_json)


@reads.command("next")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 500), help="At most so many.")
@home_option
@server_option
@json_option
def next_(limit: int, home: Path | None, server: str | None, as_json: bool) -> None:
    """What you should read next: that first whose next read is worth most."""
    with reach(home, server) as client:
        page = client.get("worklist", order="value", mine="1", limit=limit)
    print_items(page, ["id", "version", "modality", "why"], as_json)


@reads.command()
@click.argument("image_set")
@click.option("--finding", required=True, type=click.Choice(["present", "absent"]), help="Pneumonia, yes or no.")
@click.option("--reason", required=True, type=click.Choice(REASONS), help="Why readers differed.")
@click.option("--frame", required=True, type=click.IntRange(0), help="Frame that was seen at full quality, from 0.")
@home_option
@server_option
@json_option
def adjudicate(
    *, image_set: str, finding: str, reason: str, frame: int, home: Path | None, server: str | None, as_json: bool
) -> None:
    """Decide where readers differ, or revise what was ground truth."""
    with reach(home, server) as client:
        now = client.get(f"image-sets/{image_set}")
        body = {
            "version": now["version"],
            "finding": finding,
            "confidence": "high",
            "reason": reason,
            "seen": {"frame": frame, "quality": now["frame_list"][frame]["quality"]},
        }
        after = client.post(f"image-sets/{image_set}/adjudication", body)
    print_facts({"image_set": after["id"], "state": after["state"], "version": after["version"]}, as_json)


@reads.command()
@datastore_option
@click.option("--set", "wanted", type=click.Choice([str(each) for each in ReadingPolicy]), help="The new policy.")
@click.option("--settle-at", type=float, help="Probability that settles a case where readers differ, with --set.")
@home_option
@server_option
@json_option
def policy(
    *,
    datastore: str | None,
    wanted: str | None,
    settle_at: float | None,
    home: Path | None,
    server: str | None,
    as_json: bool,
) -> None:
    """How the image sets of a data store are read; with --set, from their next read on."""
    with reach(home, server) as client:
        path = f"projects/{datastore or DEFAULT_DATASTORE}"
        body = {"policy": wanted, **({} if settle_at is None else {"settle_at": settle_at})}
        found = client.get(path) if wanted is None else client.put(path, body)
    print_facts(found, as_json)


def _agreement(home: Path | None, server: str | None, datastore: str | None) -> dict[str, Any]:
    query = {} if datastore is None else {"datastore": datastore}
    with reach(home, server) as client:
        found: dict[str, Any] = client.get("agreement", **query)
    return found


def _rounded(item: dict[str, Any]) -> dict[str, Any]:
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in item.items()}
