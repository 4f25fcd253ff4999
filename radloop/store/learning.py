"""Copies of an image set's pixels that runs of the pipeline make: arrays to learn from, and pictures in a report.

    <data set>/images/<image set>.npy                    beside the manifest, where a run cannot ask the store itself
    <prepared>/<execution>/<part>/images/<image set>.npy what a run learns from and tests on
    <artifacts>/models/<execution>/pictures/<image set>.png   a worst case, which report.html shows too

Only image sets with a label are learned from. A copy is made while its execution runs, so that whoever deletes an image
set finds those of before, and whoever hears that an execution has ended finds those that were made since.
"""

import json
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any, Final

from radloop.core.datasets import PARTS
from radloop.core.errors import NotFound
from radloop.core.ports import Blobs, Records
from radloop.core.tables import EXECUTIONS, LABELS, TOMBSTONES

PICTURES: Final = "pictures"
REPORT: Final = "report.html"
"""The page that shows pictures; it is made again without those that are gone, when somebody asks for it."""

_SKEW: Final = timedelta(minutes=5)  # between the clocks of who deletes and who starts runs
_SCHEME: Final = "s3://"


def discard_copies(blobs: Blobs, records: Records, image_set: str) -> int:
    """Remove every copy of an image set that runs have made so far; returns how many blobs there were.

    Doing it again finds less. It needs the image set's labels: call it before they go.
    """
    if not records.find(LABELS, {"image_set": image_set}, limit=1):
        return 0
    runs = [(row.key, row.document["parameters"]) for row in records.find(EXECUTIONS)]
    return _removed(blobs, dict.fromkeys(key for run in runs for key in _copies(*run, image_set)))


def discard_deleted(blobs: Blobs, records: Records, execution: str) -> int:
    """Remove what a run that has ended made of image sets that were deleted meanwhile; returns how many blobs."""
    row = records.get(EXECUTIONS, execution)
    if row is None:
        return 0
    parameters, began = row.document["parameters"], datetime.fromisoformat(row.document["started_at"]) - _SKEW
    gone = set(_deleted_since(records, began)) & set(_learned_from(blobs, parameters))
    return _removed(blobs, (key for name in gone for key in _copies(execution, parameters, name)))


def _copies(execution: str, parameters: Any, image_set: str) -> Iterator[str]:
    """Where copies may lie; the report comes before the picture that tells that it has to go."""
    prepared = f"{parameters.get('PreprocessedBucket', 'preprocessed-data')}/{execution}"
    folder = f"{parameters.get('ArtifactBucket', 'model-artifacts')}/models/{execution}"
    yield f"{_key(parameters)}/images/{image_set}.npy"
    yield from (f"{prepared}/{part}/images/{image_set}.npy" for part in PARTS)
    yield f"{folder}/{PICTURES}/{image_set}.png"


def _removed(blobs: Blobs, keys: Iterable[str]) -> int:
    found = [key for key in keys if key in set(blobs.keys(key))]
    for key in found:
        folder, is_picture, _ = key.rpartition(f"/{PICTURES}/")
        if is_picture:
            blobs.delete(f"{folder}/{REPORT}")
        blobs.delete(key)
    return len(found)


def _learned_from(blobs: Blobs, parameters: Any) -> list[str]:
    try:
        lines = blobs.get(f"{_key(parameters)}/manifest.jsonl").decode().splitlines()
    except NotFound:
        return []
    return [str(json.loads(line)["image_set"]) for line in lines if line.strip()]


def _deleted_since(records: Records, moment: datetime) -> Iterator[str]:
    for row in records.each(TOMBSTONES, descending=True):
        if datetime.fromisoformat(row.document["deleted_at"]) < moment:
            return
        yield row.key


def _key(parameters: Any) -> str:
    return str(parameters.get("DatasetUri", "")).removeprefix(_SCHEME).rstrip("/")
