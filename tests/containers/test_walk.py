"""The program that builds the containers and walks through them, as far as it goes without an engine."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.containers.dockerfiles import REPOSITORY

PROGRAM = REPOSITORY / "tools" / "containers.py"


def run(path: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RADLOOP_")}
    return subprocess.run(
        [sys.executable, str(PROGRAM)],
        env={**inherited, "PATH": path, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def engine(folder: Path, body: str) -> str:
    program = folder / "engine"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    return str(program)


def test_without_an_engine_it_says_what_it_looked_for(tmp_path: Path) -> None:
    done = run(str(tmp_path))
    assert done.returncode == 1
    assert "neither docker nor podman" in done.stderr


def test_it_builds_every_dockerfile_there_is_on_the_bases_named(tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    program = engine(tmp_path, f'echo "$@" >> {asked}; [ "$1" = image ] && echo 1000000; [ "$1" != run ]')
    done = run("/usr/bin:/bin", RADLOOP_ENGINE=program, RADLOOP_BUILD_OPTIONS="--isolation chroot")
    built = [line for line in asked.read_text().splitlines() if line.startswith("build")]
    names = {path.parent.name for path in (REPOSITORY / "infra" / "containers").glob("*/Dockerfile")}
    assert {line.split("-f infra/containers/")[1].split("/")[0] for line in built} == names
    assert all("--isolation chroot" in line for line in built)
    assert done.returncode == 1, "the engine runs nothing"


def test_what_the_engine_says_last_is_told_when_it_fails(tmp_path: Path) -> None:
    done = run("/usr/bin:/bin", RADLOOP_ENGINE=engine(tmp_path, "echo no room left on the disk >&2; exit 7"))
    assert done.returncode == 1
    assert "build -f ended with 7" in done.stderr
    assert "no room left on the disk" in done.stderr


def test_the_steps_it_walks_are_modules_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(PROGRAM.parent))
    import containers  # type: ignore[import-not-found]

    commands = containers.commands()
    assert list(commands) == ["Preprocess", "Train", "Evaluate"]
    for program, option, module, *_ in commands.values():
        assert (program, option) == ("python3", "-m")
        assert find_spec(module) is not None
