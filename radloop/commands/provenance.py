"""`radloop provenance`: who said what of an image set, for other systems."""

from pathlib import Path

import click

from radloop.client import reach
from radloop.options import home_option, json_option, server_option
from radloop.terminal import print_facts

_ENDINGS = {"sr": "dcm", "fhir": "json"}


@click.command(short_help="Who said what of an image set, as DICOM SR or FHIR.")
@click.argument("image_set")
@click.option(
    "--format", "wanted", default="sr", show_default=True, type=click.Choice(list(_ENDINGS)), help="What to write."
)
@click.option("--fhir-version", default="4.0", show_default=True, type=click.Choice(["4.0", "5.0"]), help="Of FHIR.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder to write to.")
@click.option("--keep", is_flag=True, help="Keep the DICOM report in the study as well.")
@home_option
@server_option
@json_option
def provenance(
    *,
    image_set: str,
    wanted: str,
    fhir_version: str,
    out: Path,
    keep: bool,
    home: Path | None,
    server: str | None,
    as_json: bool,
) -> None:
    """Write every read, every label and what a model said of an image set as a file other systems read."""
    with reach(home, server) as client:
        query = f"format={wanted}" + (f"&fhir_version={fhir_version}" if wanted == "fhir" else "")
        data = client.fetch(f"image-sets/{image_set}/provenance?{query}")
        kept = client.post(f"image-sets/{image_set}/provenance")["instance"] if keep else None
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{image_set}-provenance.{_ENDINGS[wanted]}"
    path.write_bytes(data)
    print_facts({"image_set": image_set, "file": str(path), "bytes": len(data), "kept": kept}, as_json)
