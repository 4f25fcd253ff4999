"""A home with the real definition, the real records and blobs, and steps that only pretend to train.

python pipeline_home.py HOME EXECUTION runs one execution, for tests that kill its process.
"""

import json
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from radloop.core.ports import Records
from radloop.core.tables import TABLES
from radloop.local.blobs import FileBlobs
from radloop.local.bus import SqliteBus
from radloop.local.database import Database
from radloop.local.pipelines import LocalPipelines
from radloop.local.records import SqliteRecords
from radloop.pipeline.pipeline_builder import definition
from radloop.registry.models import RecordModels

FAKE_STEP = Path(__file__).with_name("fake_step.py")
PARAMETERS = {
    "DatasetUri": "s3://training-data/snapshots/abc",
    "Snapshot": "abc",
    "ContextUri": "s3://training-data/contexts/abc",
    "epochs": "3",
    "learning_rate": "0.01",
}


class PipelineHome:
    """One home; opening it again after a kill finds what was written."""

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        settings = folder / "environment.json"
        if not settings.exists():
            settings.write_text(json.dumps(dict(environment or {})))
        self.database = Database(folder / "state.db", bytes(32), TABLES)
        self.clock = lambda: datetime.now(UTC)
        self.records: Records = SqliteRecords(self.database, self.clock)
        self.blobs = FileBlobs(folder / "objects")
        self.models = RecordModels(self.records, self.clock)
        self.definition = fake_definition(folder, json.loads(settings.read_text()))
        lines = [
            {"image_set": f"{split}{number}", "split": split, "file": f"images/{split}{number}.npy"}
            for split in ("train", "validation", "test")
            for number in range(2)
        ]
        manifest = "".join(json.dumps(line) + "\n" for line in lines).encode()
        self.blobs.put("training-data/snapshots/abc/manifest.jsonl", manifest)
        self.blobs.put("training-data/snapshots/abc/snapshot.json", b"{}")
        self.blobs.put("training-data/contexts/abc/policy.json", b"{}")

    def pipelines(self, records: Records | None = None) -> LocalPipelines:
        return LocalPipelines(
            records or self.records,
            self.blobs,
            self.clock,
            scratch=self.folder / "scratch",
            materialise=materialise,
            models=self.models,
            definition=self.definition,
        )

    @property
    def ledger(self) -> list[str]:
        path = self.folder / "ledger"
        return path.read_text().splitlines() if path.exists() else []

    @property
    def events(self) -> list[tuple[str, Mapping[str, Any]]]:
        return [(told.event.detail_type, told.event.detail) for told in SqliteBus(self.database, ()).events()]

    def close(self) -> None:
        self.database.close()


def materialise(line: Mapping[str, Any], folder: Path) -> None:
    path = folder / line["file"]
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(line["image_set"].encode())


def fake_definition(folder: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    """The real definition; only what its containers start is another."""
    return pretending(definition(), folder, environment)


def pretending(built: dict[str, Any], folder: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    """A definition whose steps only pretend."""
    for step in built["Steps"]:
        arguments = step["Arguments"]
        application = arguments.get("AppSpecification") or arguments.get("AlgorithmSpecification")
        if application is not None:
            application["ContainerEntrypoint"] = ["python3", str(FAKE_STEP), step["Name"].lower()]
            arguments["Environment"] = {"FAKE_LEDGER": str(folder / "ledger"), **environment}
            if "FAKE_LONGEST_S" in environment:
                arguments["StoppingCondition"]["MaxRuntimeInSeconds"] = int(environment["FAKE_LONGEST_S"])
    return built


if __name__ == "__main__":
    PipelineHome(Path(sys.argv[1])).pipelines().run(sys.argv[2])
