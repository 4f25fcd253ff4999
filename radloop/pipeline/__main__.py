"""Writes the pipeline definitions that Terraform reads.

    python -m radloop.pipeline build

writes `build/pipeline.json`, the same for managed spot instances as `build/pipeline-spot.json`, `build/drift.json` and
`build/transform.json`.
With `--with-weights` training has the channel `weights`, read from the parameter WeightsUri.
What an account calls its buckets, roles, keys and images are parameters, whose defaults Terraform fills in.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from radloop.pipeline.drift_builder import drift_definition
from radloop.pipeline.pipeline_builder import definition
from radloop.pipeline.transform_builder import transform_definition


def write(folder: Path, *, with_weights: bool = False) -> list[Path]:
    """Write all definitions; the same version of radloop writes the same bytes.

    Args:
        folder: Where to.
        with_weights: Whether training begins with weights from elsewhere, see `definition`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    built = {
        "pipeline.json": definition(is_named_by_us=True, with_weights=with_weights),
        "pipeline-spot.json": definition(is_named_by_us=True, with_weights=with_weights, is_spot=True),
        "drift.json": drift_definition(),
        "transform.json": transform_definition(),
    }
    for name, value in built.items():
        (folder / name).write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    return [folder / name for name in built]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; see the module."""
    parser = argparse.ArgumentParser(prog="python -m radloop.pipeline", description="Write the pipeline definitions.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--with-weights", action="store_true", help="training begins with weights from elsewhere")
    chosen = parser.parse_args(arguments)
    for path in write(chosen.folder, with_weights=chosen.with_weights):
        sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
