"""kill -9 in each step of a real pipeline: what comes out is what would have come out.

Preprocess, Train and Evaluate are killed while their process works, after a time drawn by chance; Gate and Register,
which take no time, with the commit that says they have begun.
"""

import hashlib
import json
import os
import random
import re
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from radloop.pipeline.pipeline_builder import MODULES
from tests.kill.pipeline_child import ID, RealHome
from tests.processes import descendants, is_alive

ROOT = Path(__file__).parents[2]
WORKING = {"Preprocess": 0.2, "Train": 5.0, "Evaluate": 1.5}
"""Steps with a process of their own, and seconds within which they are killed."""
ATTEMPTS = 6
"""How often it is begun anew where a step was over before it could be killed, each time with half the seconds."""
SUDDEN = ("Gate", "Register")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture
def dice() -> random.Random:
    seed = int(os.environ.get("RADLOOP_KILL_SEED", random.SystemRandom().randrange(1 << 30)))
    print(f"RADLOOP_KILL_SEED={seed}")
    return random.Random(seed)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealHome]:
    """A home in which the execution ran without being disturbed."""
    home = RealHome(tmp_path_factory.mktemp("undisturbed") / "home")
    home.start()
    assert runner(home).wait() == 0
    yield home
    home.database.close()


def test_killed_in_each_step_it_ends_as_if_it_had_not_been(
    undisturbed: RealHome, tmp_path: Path, dice: random.Random
) -> None:
    home = killed_in_each(tmp_path, dice)
    for step in SUDDEN:
        assert runner(home, step).wait() == -9
        assert home.states()[step] == "Executing"
    assert runner(home).wait() == 0
    assert home.states() == undisturbed.states()
    assert home.pipelines.get(ID).state == "Succeeded"
    assert outcome(home) == outcome(undisturbed)
    assert len(home.models.versions()) == 1
    home.database.close()


def killed_in_each(folder: Path, dice: random.Random) -> RealHome:
    """A home whose runner was killed in each of `WORKING` in turn."""
    for attempt in range(ATTEMPTS):
        home = RealHome(folder / f"home{attempt}")
        home.start()
        if all(kill_while_working(home, step, dice.uniform(0, WORKING[step] / 2**attempt)) for step in WORKING):
            return home
        home.database.close()
    raise AssertionError(f"in {ATTEMPTS} homes a step was over before it could be killed")


def kill_while_working(home: RealHome, step: str, after_s: float) -> bool:
    """Kill the runner while the step's own process works, which goes with it; False where that was over before."""
    victim = runner(home)
    deadline = time.monotonic() + 300
    while home.states()[step] != "Executing" or not workers(victim, step):
        if victim.poll() is not None:
            return False
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(after_s)
    working = descendants(victim.pid)
    victim.kill()
    victim.wait()
    if home.states()[step] != "Executing":
        return False
    while any(is_alive(one) for one in working):
        assert time.monotonic() < deadline, "a step outlives its runner"
        time.sleep(0.02)
    return True


def workers(victim: "subprocess.Popen[bytes]", step: str) -> list[int]:
    """Processes below the runner that run the module of a step."""
    module = MODULES[step].encode()
    found = []
    for one in descendants(victim.pid):
        try:
            words = Path(f"/proc/{one}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if module in words and b"radloop.local.launch" not in words:
            found.append(one)
    return found


def runner(home: RealHome, dies_in: str | None = None) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "tests.kill.pipeline_child", str(home.folder), *filter(None, [dies_in])]
    return subprocess.Popen(command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"})


def outcome(home: RealHome) -> dict[str, Any]:
    """Everything that a run leaves, by name, without what tells when it was."""
    left = {key: home.blobs.get(key) for key in home.blobs.keys("model-artifacts/models/")}
    package = left.pop(f"model-artifacts/models/{ID}/model.tar.gz")
    (model,) = home.models.versions()
    metrics = {name: value for name, value in model.metrics.items() if "second" not in name}
    return {
        "package": members(package),
        "left": {key: hashlib.sha256(timeless(data)).hexdigest() for key, data in left.items()},
        "version": (model.version, model.status, metrics, dict(model.lineage)),
    }


def members(package: bytes) -> dict[str, str]:
    with tarfile.open(fileobj=BytesIO(package)) as tar:
        found = {}
        for member in tar.getmembers():
            inside = tar.extractfile(member)
            assert inside is not None
            found[member.name] = hashlib.sha256(timeless(inside.read())).hexdigest()
        return found


def timeless(data: bytes) -> bytes:
    """Bytes as they are, but JSON without members that tell a time."""
    if not data.startswith((b"{", b"[")):
        return data
    return json.dumps(without_times(json.loads(data)), sort_keys=True).encode()


def without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_times(part) for key, part in value.items() if not re.search(r"second|_at$|_ms$", key)}
    return [without_times(part) for part in value] if isinstance(value, list) else value
