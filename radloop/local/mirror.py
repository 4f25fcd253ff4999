"""What MLflow shows of the registry: runs, parameters, metrics, versions and aliases, told again as often as one likes.

MLflow is an extra and takes seconds and a hundred megabytes to load, so that a process of its own writes what this one
reads from the records. What goes there is figures and ids of ours; no patient's data, no picture, no model. It is a
copy for people who know MLflow: nothing is ever read back from it, and where it fails nothing else does.
"""

import json
import math
import os
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from radloop.core.errors import Unavailable
from radloop.core.platform import Platform
from radloop.core.ports import Execution, ModelVersion
from radloop.local.processes import die_with_parent

_MOST_RUNS = 100_000
_LONGEST_S = 600.0
_HEAD = "ledger-head"


def is_installed() -> bool:
    """Whether the extra `mlflow` is there."""
    return all(find_spec(name) is not None for name in ("mlflow", "sqlalchemy", "alembic"))


def store(folder: Path) -> str:
    """The address of the mirror in `folder`, as MLflow takes it."""
    return f"sqlite:///{folder.resolve() / 'mlflow.db'}"


def is_current(platform: Platform, folder: Path) -> bool:
    """Whether nothing happened in the registry since the mirror was last brought up to date."""
    try:
        return (folder / _HEAD).read_text() == platform.models.verify().head
    except FileNotFoundError:
        return False


def sync(platform: Platform, folder: Path) -> dict[str, int]:
    """Bring the mirror in `folder` up to date; what is there already is left as it is.

    Returns:
        How many runs and versions there are, and how many of them are new.

    Raises:
        Unavailable: The extra is not installed, or MLflow did not do it.
    """
    if not is_installed():
        raise Unavailable("MLflow is not installed; the extra is called mlflow")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "OMP_NUM_THREADS": "1"}
    head, parent = platform.models.verify().head, os.getpid()
    try:
        done = subprocess.run(  # noqa: S603 — the command is ours
            [sys.executable, "-m", "radloop.local.mlflow_writer", str(folder.resolve())],
            input=json.dumps(told(platform)).encode(),
            capture_output=True,
            timeout=_LONGEST_S,
            check=False,
            env={**os.environ, **quiet},
            preexec_fn=lambda: die_with_parent(parent),
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"MLflow took longer than {_LONGEST_S:g} s") from None
    try:
        counts: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        raise Unavailable(f"MLflow ended with status {done.returncode} and wrote nothing down") from None
    (folder / _HEAD).write_text(head)
    return counts


def told(platform: Platform) -> dict[str, Any]:
    """Everything the mirror is to hold, as plain values; runs and versions oldest first."""
    runs = [_run(each) for each in reversed(platform.pipelines.executions(limit=_MOST_RUNS)) if each.ended_at]
    versions = [_version(each) for each in reversed(platform.models.versions())]
    return {"runs": runs, "versions": versions}


def _run(execution: Execution) -> dict[str, Any]:
    return {
        "execution": execution.id,
        "state": execution.state,
        "reason": execution.reason or "",
        "started_at": execution.started_at,
        "ended_at": execution.ended_at,
        "params": {name: str(value) for name, value in execution.parameters.items() if value not in {None, ""}},
        "metrics": _figures((execution.evaluation or {}).get("metrics", {})),
        "gate": _gate(execution.evaluation or {}),
    }


def _gate(evaluation: Mapping[str, Any]) -> str:
    gate = evaluation.get("gate")
    if not isinstance(gate, Mapping):
        return "none"
    return "approved" if gate.get("approved") else "refused"


def _figures(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Metrics as MLflow keeps them: one number a name, the ends of an interval under names of their own."""
    found: dict[str, Any] = {}
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            found[name] = value.get("value")
            found |= {f"{name}.{end}": value.get(end) for end in ("ci_low", "ci_high")}
        else:
            found[name] = value
    return {
        name: float(value)
        for name, value in found.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }


def _version(model: ModelVersion) -> dict[str, Any]:
    return {
        "version": model.version,
        "execution": str(model.lineage["execution"]),
        "source": f"radloop://{model.artifact}",
        "aliases": list(model.aliases),
        "tags": {
            "radloop.status": model.status,
            "radloop.decided_by": model.decided_by or "",
            "radloop.snapshot": str(model.lineage.get("snapshot", "")),
            "radloop.package_sha256": str(model.evidence.get("package_sha256") or ""),
            "radloop.rolled_back": "yes" if model.rolled_back_at else "no",
        },
    }
