"""Writes what it reads from standard input into an MLflow store, in a process of its own; see `radloop.local.mirror`.

    python -m radloop.local.mlflow_writer FOLDER < told.json

A run is found again by the execution in its tags and a version by its number there, so that the same told twice changes
nothing, whatever was told in between.
"""

import json
import os
import sys
from datetime import datetime
from pathlib import Path
from typing import Any, Final

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # before it is imported, which is when it looks
os.environ["DO_NOT_TRACK"] = "true"

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException

NAME: Final = "radloop"
EXECUTION: Final = "radloop.execution"
VERSION: Final = "radloop.version"
_STATES: Final = {"Succeeded": "FINISHED", "Failed": "FAILED", "Stopped": "KILLED"}
_PAGE: Final = 1000
_BATCH: Final = 100


class Writer:
    """One experiment and one registered model in the store of a folder."""

    def __init__(self, folder: Path) -> None:
        address = f"sqlite:///{folder / 'mlflow.db'}"
        self._client = MlflowClient(tracking_uri=address, registry_uri=address)
        found = self._client.get_experiment_by_name(NAME)
        artifacts = (folder / "artifacts").as_uri()
        self._experiment = found.experiment_id if found else self._client.create_experiment(NAME, artifacts)

    def write(self, told: dict[str, Any]) -> dict[str, int]:
        """Bring the store up to what is told; returns how many runs and versions there are, and are new."""
        runs = self._runs()
        new_runs = [run for run in told["runs"] if run["execution"] not in runs]
        for run in new_runs:
            runs[run["execution"]] = self._add_run(run)
        new_versions = self._versions(told["versions"], runs) if told["versions"] else 0
        return {
            "runs": len(told["runs"]),
            "new_runs": len(new_runs),
            "versions": len(told["versions"]),
            "new_versions": new_versions,
        }

    def _runs(self) -> dict[str, str]:
        """Ids of the whole runs by execution; those a crash left half told are removed, to be told again."""
        found: dict[str, str] = {}
        token: str | None = None
        while True:
            page = self._client.search_runs([self._experiment], max_results=_PAGE, page_token=token)
            for run in page:
                if run.info.status == "RUNNING":
                    self._client.delete_run(run.info.run_id)
                elif EXECUTION in run.data.tags:
                    found[run.data.tags[EXECUTION]] = run.info.run_id
            token = page.token
            if not token:
                return found

    def _add_run(self, told: dict[str, Any]) -> str:
        begun, ended = _milliseconds(told["started_at"]), _milliseconds(told["ended_at"])
        name = told["execution"][:8]
        tags = {EXECUTION: told["execution"], "radloop.gate": told["gate"], "radloop.reason": told["reason"]}
        run = self._client.create_run(self._experiment, start_time=begun, tags=tags, run_name=name)
        identity: str = run.info.run_id
        params = [Param(key, value) for key, value in told["params"].items()]
        metrics = [Metric(key, value, ended, 0) for key, value in told["metrics"].items()]
        for start in range(0, len(params), _BATCH):
            self._client.log_batch(identity, params=params[start : start + _BATCH])
        for start in range(0, len(metrics), _BATCH):
            self._client.log_batch(identity, metrics=metrics[start : start + _BATCH])
        self._client.log_batch(identity, tags=[RunTag("radloop.state", told["state"])])
        self._client.set_terminated(identity, status=_STATES.get(told["state"], "FAILED"), end_time=ended)
        return identity

    def _versions(self, told: list[dict[str, Any]], runs: dict[str, str]) -> int:
        """Versions with their tags, and the aliases; returns how many versions are new."""
        try:
            self._client.get_registered_model(NAME)
        except MlflowException:
            self._client.create_registered_model(NAME)
        known = self._known()
        new = 0
        for each in told:
            number = str(each["version"])
            if number not in known:
                new += 1
                tags = {VERSION: number, EXECUTION: each["execution"]}
                made = self._client.create_model_version(
                    NAME, each["source"], run_id=runs.get(each["execution"]), tags=tags
                )
                known[number] = (str(made.version), tags)
            theirs, tags = known[number]
            for key, value in each["tags"].items():
                if tags.get(key) != value:
                    self._client.set_model_version_tag(NAME, theirs, key, value)
        self._alias({alias: known[str(each["version"])][0] for each in told for alias in each["aliases"]})
        return new

    def _known(self) -> dict[str, tuple[str, dict[str, str]]]:
        """MLflow's number and the tags of each version that was told before, by our number."""
        found: dict[str, tuple[str, dict[str, str]]] = {}
        token: str | None = None
        while True:
            page = self._client.search_model_versions(f"name = '{NAME}'", max_results=_PAGE, page_token=token)
            for each in page:
                if VERSION in each.tags:
                    found[each.tags[VERSION]] = (str(each.version), dict(each.tags))
            token = page.token
            if not token:
                return found

    def _alias(self, wanted: dict[str, str]) -> None:
        before = {alias: str(at) for alias, at in self._client.get_registered_model(NAME).aliases.items()}
        for alias in before.keys() - wanted.keys():
            self._client.delete_registered_model_alias(NAME, alias)
        for alias, at in wanted.items():
            if before.get(alias) != at:
                self._client.set_registered_model_alias(NAME, alias, at)


def _milliseconds(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def main() -> int:
    """Read, write, tell what came of it."""
    counts = Writer(Path(sys.argv[1])).write(json.load(sys.stdin))
    print(json.dumps(counts))  # noqa: T201 — the answer
    return 0


if __name__ == "__main__":
    sys.exit(main())
