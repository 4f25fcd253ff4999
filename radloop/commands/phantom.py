"""`radloop phantom`: chest CTs of nobody."""

from pathlib import Path

import click

from radloop.dicom.phantom import phantom_study
from radloop.terminal import bar


@click.command(short_help="Write phantom chest CT studies as DICOM.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder to write to.")
@click.option("--studies", default=1, show_default=True, type=click.IntRange(1), help="How many patients.")
@click.option("--slices", default=16, show_default=True, type=click.IntRange(4), help="Slices of each study.")
@click.option("--size", default=256, show_default=True, type=click.IntRange(64), help="Rows and columns.")
@click.option("--seed", default=7, show_default=True, help="The same seed makes the same studies.")
def phantom(out: Path, studies: int, slices: int, size: int, seed: int) -> None:
    """Write phantom chest CT studies as DICOM, every other one with a lobar consolidation."""
    with bar("phantoms", studies) as advance:
        for number in range(1, studies + 1):
            study = phantom_study(number, consolidated=number % 2 == 0, seed=seed, slices=slices, size=size)
            folder = out / study.patient_id
            folder.mkdir(parents=True, exist_ok=True)
            for place, data in enumerate(study.files, 1):
                (folder / f"{place:04d}.dcm").write_bytes(data)
            advance(1)
    print(f"{studies} {'study' if studies == 1 else 'studies'} of {slices} slices in {out}")  # noqa: T201 — the answer
