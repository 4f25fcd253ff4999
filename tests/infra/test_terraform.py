"""Format, validity and tests of infra/, where Terraform and a source of providers are at hand."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def reason_to_skip() -> str | None:
    """Why Terraform cannot run here, or None."""
    if shutil.which("terraform") is None:
        return "terraform is not installed"
    if os.environ.get("RADLOOP_TF_MIRROR"):
        return None
    try:
        socket.create_connection(("registry.terraform.io", 443), timeout=3).close()
    except OSError:
        return "no provider: RADLOOP_TF_MIRROR is not set and the registry cannot be reached"
    return None


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_infra_is_formatted_valid_and_passes_its_own_tests() -> None:
    reason = reason_to_skip()
    if reason is not None:
        pytest.skip(reason)
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "check_infra.py", "--only", "terraform"],
        capture_output=True,
        text=True,
        check=False,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
