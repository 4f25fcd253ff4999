"""`radloop import-images`: pictures with a table of labels, as DICOM and as ground truth."""

import csv
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from radloop.client import Client, reach
from radloop.codec.pictures import grey_pixels, is_picture
from radloop.commands.ingest import print_report, take_in
from radloop.core.errors import InvalidInput
from radloop.core.ports import Upload
from radloop.dicom.make import xray_instance
from radloop.options import home_option, json_option, server_option
from radloop.terminal import bar

_LABELS = {"0": False, "normal": False, "absent": False, "1": True, "pneumonia": True, "present": True}


@click.command(short_help="Turn labelled PNG and JPEG X-rays into DICOM.")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--labels", required=True, type=click.Path(exists=True, path_type=Path), help="CSV: file,patient_id,label."
)
@click.option("--verified", is_flag=True, help="Make the labels verified ground truth.")
@click.option(
    "--shuffle-labels",
    type=int,
    metavar="SEED",
    help="A control the gate must refuse: labels dealt out anew. Use a home of its own.",
)
@home_option
@server_option
@json_option
def import_images(
    *,
    folder: Path,
    labels: Path,
    verified: bool,
    shuffle_labels: int | None,
    home: Path | None,
    server: str | None,
    as_json: bool,
) -> None:
    """Turn PNG and JPEG X-rays with labels into DICOM and, on request, into ground truth."""
    rows = _labelled(folder, labels, shuffle_labels)
    with reach(home, server) as client:
        uploads = (Upload(_as_dicom(path, patient), path.name) for path, patient, _ in rows)
        report = take_in(client, uploads, [path.stat().st_size for path, _, _ in rows])
        if verified:
            findings = [(_set_of(entry), row[2]) for entry, row in zip(report["files"], rows, strict=True)]
            report["verified"] = _verify_all(client, [(name, label) for name, label in findings if name])
    print_report(report, as_json)


def pictures(folder: Path, labels: Path) -> Iterator[tuple[bytes, bool]]:
    """Each picture as a DICOM file, and whether its label says pneumonia; made as they are asked for.

    Raises:
        InvalidInput: The table lacks a column, names a file that is not there or no picture, or has another label.
    """
    return ((_as_dicom(path, patient), label) for path, patient, label in _labelled(folder, labels, None))


def _labelled(folder: Path, labels: Path, seed: int | None) -> list[tuple[Path, str, bool]]:
    with labels.open(newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows or not {"file", "patient_id", "label"} <= set(rows[0]):
        raise InvalidInput("the labels file needs the columns file, patient_id and label")
    values = [_label(row["label"]) for row in rows]
    if seed is not None:
        values = _dealt_anew([row["patient_id"] for row in rows], values, seed)
    missing = [row["file"] for row in rows if not (folder / row["file"]).is_file()]
    if missing:
        raise InvalidInput(f"{len(missing)} files of the labels file are not in the folder")
    return [(folder / row["file"], row["patient_id"], value) for row, value in zip(rows, values, strict=True)]


def _label(text: str) -> bool:
    if text.strip().lower() not in _LABELS:
        raise InvalidInput(f"a label is one of {', '.join(_LABELS)}")
    return _LABELS[text.strip().lower()]


def _dealt_anew(patients: Sequence[str], values: Sequence[bool], seed: int) -> list[bool]:
    """The labels dealt out at random, one a patient, so that nothing in the pictures can tell them."""
    first = dict(zip(reversed(patients), reversed(values), strict=True))
    names = list(dict.fromkeys(patients))
    deck = [first[name] for name in names]
    random.Random(seed).shuffle(deck)  # noqa: S311 — a control, not a secret
    dealt = dict(zip(names, deck, strict=True))
    return [dealt[patient] for patient in patients]


def _as_dicom(path: Path, patient: str) -> bytes:
    if not is_picture(path):
        raise InvalidInput("only PNG and JPEG pictures can be imported")
    pixels, is_lossy = grey_pixels(path.read_bytes())
    return xray_instance(pixels, patient_id=patient, was_lossy=is_lossy)


def _set_of(entry: dict[str, Any]) -> str | None:
    name = entry["image_set"]
    return None if name is None else str(name)


def _verify_all(client: Client, findings: list[tuple[str, bool]]) -> int:
    done = 0
    with bar("verifying", len(findings)) as advance:
        for name, present in findings:
            done += client.verify(name, present=present)
            advance(1)
    return done
