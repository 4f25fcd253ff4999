"""The folders a job finds and fills, the same on SageMaker and on one machine.

    input/config/hyperparameters.json      every value a string
    input/data/{train,validation,weights}/
    processing/input/dataset/              manifest.jsonl, images/*.npy
    processing/{train,validation,test}/    manifest.json, images/*.npy
    processing/model/model.tar.gz
    processing/evaluation/evaluation.json
    checkpoints/                           what a killed training goes on from
    model/                                 what the runner packs into model.tar.gz
    output/failure                         why a job stopped, one sentence

`RADLOOP_ML_ROOT` names the root; without it, it is /opt/ml. A job may be killed at any moment and started again: files
appear whole or not at all.
"""

import hashlib
import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from radloop.core.errors import InvalidInput, RadloopError


def ml_root() -> Path:
    """Where the folders of this job are."""
    return Path(os.environ.get("RADLOOP_ML_ROOT", "/opt/ml"))


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a file beside `path`, flush it to disk and rename it over `path`.

    The file beside has a fixed name, so that a job which is killed and repeated leaves nothing behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.part")
    write(beside)
    with beside.open("rb") as file:
        os.fsync(file.fileno())
    beside.replace(path)


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON, whole or not at all."""
    text = json.dumps(value, indent=1, sort_keys=True)
    write_atomically(path, lambda beside: beside.write_text(text + "\n", encoding="utf-8"))


def read_json(path: Path) -> Any:
    """The value in a JSON file.

    Raises:
        InvalidInput: The file is missing or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InvalidInput(f"{path.parent.name}/{path.name} is missing") from None
    except ValueError:
        raise InvalidInput(f"{path.parent.name}/{path.name} is not JSON") from None


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def announce(event: str, **figures: object) -> None:
    """Print one JSON line, which the runner and SageMaker's log both keep: figures and ids, nothing of a patient."""
    print(json.dumps({"event": event, **figures}), flush=True)  # noqa: T201 — standard output is the job's voice


def run_job(job: Callable[[Path], None], *, clears: bool = True) -> int:
    """Run a job under its root; on failure leave the reason in `output/failure`.

    Args:
        job: What is to be done.
        clears: Take away the reason of an earlier try first. Of several processes of one job the first does, and the
            reason of the first that fails stays.

    Returns:
        The exit status: 0, or 1 when the job stopped for a reason of ours.

    Raises:
        Exception: What was not foreseen; only its kind is written to `output/failure`, since its text may hold data.
    """
    root = ml_root()
    failure = root / "output" / "failure"
    if clears:
        failure.unlink(missing_ok=True)
    try:
        job(root)
    except RadloopError as error:
        _leave_reason(failure, str(error))
        sys.stderr.write(f"{error.code}: {error}\n")
        return 1
    except Exception as error:
        _leave_reason(failure, f"an unforeseen {type(error).__name__} stopped the job")
        raise
    return 0


def _leave_reason(failure: Path, sentence: str) -> None:
    if failure.exists():
        return
    with suppress(FileNotFoundError):  # two processes of a job leave a reason at once
        write_atomically(failure, lambda beside: beside.write_text(f"{sentence}\n", encoding="utf-8"))
