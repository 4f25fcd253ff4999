"""Processes that are there to be killed.

python child.py land HOME FIRST lands phantoms from number FIRST on and prints every instance once it is acknowledged.
python child.py work HOME is the worker of the home; its pipeline's steps only pretend, unless RADLOOP_KILL_REAL is set.
"""

import os
import sys
from pathlib import Path
from typing import Any

from radloop import wiring
from radloop.core.identity import OWNER
from radloop.core.ports import Upload
from radloop.local.processes import die_with_parent
from radloop.pipeline.pipeline_builder import definition
from tests.local.pipeline_home import pretending
from tests.store.house import of_patient, open_house, phantom


def land(root: Path, first: int) -> None:
    with open_house(root) as house:
        house.images.sweep()
        phantom()
        print("ready", flush=True)
        for number in range(first, first + 1000):
            for file in of_patient(number):
                (landing,) = house.images.land([Upload(file)], by=OWNER)
                print(f"{number} {landing.instance}", flush=True)


def work(root: Path) -> None:
    if "RADLOOP_KILL_REAL" not in os.environ:
        wiring.definition = pretend(root)  # type: ignore[assignment]
    with wiring.open_local(root) as installation:
        worker = installation.worker()
        worker.start_over()
        print("ready", flush=True)
        worker.run()


def pretend(root: Path) -> Any:
    environment = {"FAKE_EPOCH_S": os.environ.get("FAKE_EPOCH_S", "0"), "FAKE_PARTS_MAY_BE_EMPTY": "1"}
    return lambda **options: pretending(definition(**options), root, environment)


if __name__ == "__main__":
    die_with_parent()
    if sys.argv[1] == "land":
        land(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        work(Path(sys.argv[2]))
