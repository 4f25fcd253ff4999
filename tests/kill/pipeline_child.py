"""A home whose pipeline really preprocesses, trains and evaluates, on a data set of a few small made-up volumes.

python -m tests.kill.pipeline_child HOME [STEP] runs the execution `one`; with STEP it kills itself with the very commit
that says that the step has begun.
"""

import hashlib
import json
import os
import signal
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from radloop.core.datasets import Example, Split
from radloop.core.ports import Change, Put
from radloop.core.tables import STEPS, TABLES
from radloop.evaluation import policy
from radloop.local.blobs import FileBlobs
from radloop.local.database import Database
from radloop.local.pipelines import LocalPipelines
from radloop.local.processes import die_with_parent
from radloop.local.records import SqliteRecords
from radloop.pipeline.pipeline_builder import RECIPE, definition
from radloop.registry.models import RecordModels

ID = "one"
TINY = {
    **RECIPE,
    "epochs": "2",
    "batch_size": "4",
    "batch_tiles": "4",
    "image_size": "32",
    "tiles_per_bag": "2",
    "tiles_in_evaluation": "2",
    "augmentation": "0.25",
    "threads": "1",
}
PER_PART = {Split.TRAIN: 12, Split.VALIDATION: 6, Split.TEST: 8}


class RealHome:
    """One home; opening it again after a kill finds what was written."""

    def __init__(self, folder: Path, *, dies_in: str | None = None) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.database = Database(folder / "state.db", bytes(32), TABLES)
        self.records = SqliteRecords(self.database, now)
        self.blobs = FileBlobs(folder / "objects")
        self.models = RecordModels(self.records, now)
        records: Any = self.records if dies_in is None else Suicidal(self.records, dies_in)
        self.pipelines = LocalPipelines(
            records,
            self.blobs,
            now,
            scratch=folder / "scratch",
            materialise=materialise,
            models=self.models,
            definition=definition(hyperparameters=TINY),
        )

    def start(self) -> None:
        """Lay out the data set and the context, and ask for the execution."""
        manifest = b"".join(example.line() for example in examples())
        name = hashlib.sha256(manifest).hexdigest()
        self.blobs.put(f"training-data/snapshots/{name}/manifest.jsonl", manifest)
        self.blobs.put(f"training-data/snapshots/{name}/snapshot.json", b'{"retired_patients": []}')
        self.blobs.put("training-data/contexts/one/policy.json", lenient().encode())
        uris = {"DatasetUri": f"s3://training-data/snapshots/{name}", "ContextUri": "s3://training-data/contexts/one"}
        self.pipelines.start(ID, {**uris, "Snapshot": name, "AccuracyThreshold": 0.0})

    def states(self) -> dict[str, str]:
        """State of each step."""
        return {step.name: step.state for step in self.pipelines.get(ID).steps}


class Suicidal:
    """The Records port in a process that ends by SIGKILL once a step is said to have begun."""

    def __init__(self, records: SqliteRecords, step: str) -> None:
        self._records, self._key = records, f"{ID}/{step}"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._records, name)

    def commit(self, change: Change) -> None:
        self._records.commit(change)
        for put in change.writes:
            if isinstance(put, Put) and put.table is STEPS and put.key == self._key:
                os.kill(os.getpid(), signal.SIGKILL)


def now() -> datetime:
    return datetime.now(UTC)


def examples() -> list[Example]:
    """As many with the finding as without, each of a patient of their own."""
    return [
        Example(
            image_set=f"{split}-{number:02d}",
            version=2,
            patient=hashlib.sha256(f"{split}{number}".encode()).hexdigest()[:32],
            study=hashlib.sha256(f"study {split}{number}".encode()).hexdigest()[:32],
            split=str(split),
            label=number % 2,
            posterior=float(number % 2),
            modality="DX",
            file=f"images/{split}-{number:02d}.npy",
        )
        for split, count in sorted(PER_PART.items())
        for number in range(count)
    ]


def materialise(line: Mapping[str, Any], folder: Path) -> None:
    """Noise, with a bright square where the finding is present; the same for the same line."""
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(str(line["image_set"]).encode()).digest()[:8], "big"))
    volume = rng.integers(0, 20_000, (1, 48, 48))
    volume[:, 12:36, 12:36] += 40_000 * int(line["label"])
    path = folder / str(line["file"])
    path.parent.mkdir(exist_ok=True)
    np.save(path, volume.astype(np.uint16))


def lenient() -> str:
    """A policy that any model passes whose data are sound: what is tested here is that it runs, not that it learns."""
    limits: dict[str, Any] = json.loads(policy.default().canonical())
    limits["counts"] = {"positives": 1, "negatives": 1}
    for section, values in limits.items():
        if isinstance(values, dict) and section not in {"counts", "subgroups"}:
            limits[section] = dict.fromkeys(values)
    limits["subgroups"]["most_below"] = None
    limits["accuracy"]["least"] = 0.0
    return json.dumps(limits)


if __name__ == "__main__":
    die_with_parent()
    home = RealHome(Path(sys.argv[1]), dies_in=sys.argv[2] if len(sys.argv) > 2 else None)
    home.pipelines.run(ID)
