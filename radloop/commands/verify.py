"""`radloop verify`: a finding becomes ground truth."""

from pathlib import Path

import click

from radloop.client import reach
from radloop.core.images import LATERALITIES, SITES, Confidence
from radloop.options import home_option, json_option, server_option
from radloop.terminal import print_facts


@click.command()
@click.argument("image_set")
@click.option("--finding", required=True, type=click.Choice(["present", "absent"]), help="Pneumonia, yes or no.")
@click.option("--site", type=click.Choice(list(SITES)), help="Where, if present.")
@click.option("--laterality", type=click.Choice(LATERALITIES), help="Which side, where the site leaves it open.")
@click.option("--confidence", default="high", show_default=True, type=click.Choice([str(c) for c in Confidence]))
@click.option("--note", default="", help="Stays with the image set.")
@click.option("--frame", required=True, type=click.IntRange(0), help="Frame that was seen at full quality, from 0.")
@home_option
@server_option
@json_option
def verify(
    *,
    image_set: str,
    finding: str,
    site: str | None,
    laterality: str | None,
    confidence: str,
    note: str,
    frame: int,
    home: Path | None,
    server: str | None,
    as_json: bool,
) -> None:
    """Make a finding ground truth; where a project asks for several reads, add yours."""
    with reach(home, server) as client:
        now = client.get(f"image-sets/{image_set}")
        body = {
            "version": now["version"],
            "finding": finding,
            "site": site,
            "laterality": laterality,
            "confidence": confidence,
            "note": note,
            "seen": {"frame": frame, "quality": now["frame_list"][frame]["quality"]},
        }
        after = client.post(f"image-sets/{image_set}/verification", body)
    print_facts({"image_set": after["id"], "state": after["state"], "version": after["version"]}, as_json)
