"""The scheduled Processing job that looks for drift in what an endpoint answered.

    python -m radloop.functions.drift_job [--hours 24] [--images-per-false-alarm 1000000]

It reads `processing/model/model.tar.gz`, the package of the version that serves, and below `processing/captured/` what
SageMaker's data capture kept of its answers: lines of JSON, the newest hours of which are looked at, as far as they are
of that version. It writes
`processing/drift/drift.json`: whether there is an alarm, its cause, and what each monitor found in each block.

The tests are those of `radloop.monitoring.drift`, with two differences: an endpoint is not told which patient a study
is of, so every study counts as a patient of its own, and it knows nothing of headers. Where the same patient comes
again and again, use the watch of the platform itself.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from radloop.core.errors import InvalidInput
from radloop.functions.drift import studies_of
from radloop.monitoring.drift import BLOCKS, FEWEST_PATIENTS, Examination, Studies, examine
from radloop.serving.package import LINEAGE, REFERENCE, unpack
from radloop.serving.predict import weights_of
from radloop.serving.reference import Reference, read_reference
from radloop.training.folder import announce, run_job, write_json


def examine_captured(root: Path, *, since: datetime, images_per_false_alarm: float) -> None:
    """Look at what was captured, and write the report.

    Args:
        root: Of the job's folders.
        since: Answers of before are left out.
        images_per_false_alarm: The budget, see `radloop.monitoring.drift`.

    Raises:
        InvalidInput: The package has no reference, or a captured line is not an answer of ours.
    """
    reference, weights = _model(root / "processing" / "model" / "model.tar.gz")
    known = replace(studies_of(reference), tags=())  # an endpoint knows nothing of headers
    if len(known) < FEWEST_PATIENTS:
        raise InvalidInput(f"the reference of the model is of fewer than {FEWEST_PATIENTS} patients")
    told = captured(root / "processing" / "captured", since=since)
    said = sorted(((at, one) for at, by, one in told if by == weights), key=lambda each: each[0])
    answers = [answer for _, answer in said]
    found = [
        _examined(known, answers[end - size : end], end, images_per_false_alarm)
        for size in BLOCKS
        for end in range(size, len(answers) + 1, size)
    ]
    causes = [each.cause for each in found if each.cause is not None]
    report = {
        "studies": len(said),
        "since": since.isoformat(),
        "alarm": bool(causes),
        "cause": causes[-1] if causes else "none",
        "blocks": [_plain(each) for each in found],
    }
    write_json(root / "processing" / "drift" / "drift.json", report)
    announce("drift", studies=len(said), blocks=len(found), alarm=report["alarm"], cause=report["cause"])


def captured(folder: Path, *, since: datetime) -> Iterator[tuple[datetime, str, dict[str, Any]]]:
    """Observations that were captured since then: when, SHA-256 of the weights that said it, and what.

    Raises:
        InvalidInput: A line is none of SageMaker's data capture with an answer of ours.
    """
    for path in sorted(folder.rglob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                value = json.loads(line)
                at = datetime.fromisoformat(value["eventMetadata"]["inferenceTime"])
                answer = json.loads(value["captureData"]["endpointOutput"]["data"])
                weights, observation = str(answer["weights_sha256"]), dict(answer["observation"])
            except (ValueError, KeyError, TypeError):
                raise InvalidInput("a captured line is not an answer of a radloop container") from None
            if at >= since:
                yield at, weights, observation


def _examined(known: Studies, said: Sequence[dict[str, Any]], seed: int, budget: float) -> Examination:
    """Look at one block."""
    try:
        block = Studies(
            embedding=np.array([each["components"] for each in said], np.float16).astype(np.float32),
            probability=np.array([each["probability"] for each in said], np.float32),
            statistics=np.array([each["statistics"] for each in said], np.float32),
        )
    except (ValueError, KeyError, TypeError):
        raise InvalidInput("captured answers are not of one version") from None
    if block.embedding.shape[1:] != known.embedding.shape[1:]:
        raise InvalidInput("captured answers are of another version than the model")
    return examine(known, block, images_per_false_alarm=budget, seed=seed)


def _model(package: Path) -> tuple[Reference, str]:
    """What the model was made from, and SHA-256 of its weights as its answers tell it."""
    files = unpack(package, frozenset({REFERENCE, LINEAGE}))
    found = read_reference(files[REFERENCE]) if REFERENCE in files else None
    if found is None:
        raise InvalidInput("the package of the model has no reference to compare with")
    return found, weights_of(files)


def _plain(found: Examination) -> dict[str, Any]:
    return {
        "studies": found.studies,
        "level": found.level,
        "cause": found.cause,
        "looks": [asdict(look) for look in found.looks],
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the job; see the module."""
    parser = argparse.ArgumentParser(prog="python -m radloop.functions.drift_job", description=main.__doc__)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--images-per-false-alarm", type=float, default=1e6)
    chosen = parser.parse_args(arguments)
    since = datetime.now(UTC) - timedelta(hours=chosen.hours)
    return run_job(
        lambda root: examine_captured(root, since=since, images_per_false_alarm=chosen.images_per_false_alarm)
    )


if __name__ == "__main__":
    sys.exit(main())
