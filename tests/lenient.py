"""A gate policy for homes that are too small to show anything: every limit is switched off that can be."""

import json
from pathlib import Path
from typing import Any

from radloop.evaluation import policy


def write_lenient_policy(home: Path, *, positives: int = 1) -> None:
    """Let the gate of `home` ask for so many test patients with the finding, sound data, and nothing else."""
    rules: dict[str, Any] = policy.default().to_json()
    for limits in rules.values():
        if isinstance(limits, dict):
            limits.update(dict.fromkeys(limits))
    rules["counts"] = {"positives": positives, "negatives": 1}
    rules["accuracy"]["least"] = 0.0
    rules["subgroups"] |= {"image_sets": 1000, "each_class": 1000}
    (home / policy.FILE).write_text(json.dumps(rules))
