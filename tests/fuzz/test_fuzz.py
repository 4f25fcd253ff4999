"""Files and bodies of strangers, damaged in every way we know: no crash, no hang, bounded memory, only our own codes.

The seed is printed; RADLOOP_FUZZ_SEED sets it, 0 for a fresh one, and RADLOOP_FUZZ sets how many cases there are:
1,000 unless told, 10,000 for the whole of it. A case that fails is named SEED-NUMBER, and
`python -m tests.fuzz.child SEED NUMBER 1 FOLDER` meets it again.
"""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

COUNT = int(os.environ.get("RADLOOP_FUZZ", "1000"))
ROOT = Path(__file__).parents[2]
PEAK_MB = 700

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]


def test_damaged_files_and_bodies_crash_hang_and_swell_nothing(tmp_path: Path) -> None:
    seed = int(os.environ.get("RADLOOP_FUZZ_SEED", "20261123")) or random.SystemRandom().randrange(1 << 30)
    print(f"RADLOOP_FUZZ_SEED={seed}")
    child = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.fuzz.child", str(seed), "0", str(COUNT), str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    case = (tmp_path / "case").read_text() if (tmp_path / "case").exists() else "none"
    assert child.returncode == 0, f"case {case}: status {child.returncode}\n{child.stderr[-6000:]}"
    told = json.loads(child.stdout.splitlines()[-1])
    print(json.dumps(told))
    assert told["cases"] == COUNT
    assert told["own_mb"] < PEAK_MB
    assert told["codecs_mb"] < PEAK_MB
    if COUNT >= 200:
        assert {"parse ok", "land ingested", "land quarantined", "stow 400"} <= told["told"].keys()
