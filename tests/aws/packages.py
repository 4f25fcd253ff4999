"""The functions' package as Lambda gets it, unpacked, and entries called in processes that have nothing else."""

import importlib
import importlib.util
import json
import subprocess
import sys
import time
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from radloop.core.contracts import contracts

ROOT = Path(__file__).parents[2]
FUNCTIONS = {each["name"]: each for each in json.loads((contracts() / "functions.json").read_text())["functions"]}
RUNTIME = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "six.py", "urllib3")
"""What Lambda's Python has besides its standard library."""


def tool(name: str) -> ModuleType:
    """A program below tools/, which is no package."""
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(ROOT / "tools"))


memory = tool("lab_memory")


def builder() -> Any:
    spec = importlib.util.spec_from_file_location("lambda_zip", ROOT / "infra" / "build" / "lambda_zip.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["lambda_zip"] = module
    spec.loader.exec_module(module)
    return module


def wheels(folder: Path, python: str) -> Path:
    try:
        builder().download(folder, python)
    except subprocess.CalledProcessError:
        pytest.skip(f"no package index with wheels for Python {python} is in reach")
    return folder


def unpacked(folder: Path) -> Path:
    """The package for the Python of this machine, which differs from Lambda's in the wheels' tag alone."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    made = builder().build(folder / "lambda.zip", python=python, wheels=wheels(folder / "wheels", python))
    with zipfile.ZipFile(made.path) as package:
        package.extractall(folder / "unpacked")
    return folder / "unpacked"


def installed() -> Path:
    """Where this Python's packages lie."""
    return Path(importlib.util.find_spec("boto3").origin).parents[1]  # type: ignore[union-attr, arg-type]


def runtime(folder: Path) -> Path:
    folder.mkdir()
    for name in RUNTIME:
        (folder / name).symlink_to(installed() / name)
    return folder


@dataclass
class Package:
    """The package, and what its functions took of the memory they have.

    Attributes:
        variables: What Terraform tells the functions.
        seconds: Of the calls of each function in all, its start among them.
    """

    unpacked: Path
    runtime: Path
    variables: Mapping[str, str]
    held: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def call(self, name: str, *events: Mapping[str, Any]) -> list[Any]:
        """Call a function with some events in turn, in a process of its own that is killed above its memory."""
        function = FUNCTIONS[name]
        asked = {
            "environment": {**self.variables, "OMP_NUM_THREADS": "1"},
            "memory_mb": function["memory_mb"],
            "calls": [[function["entry"], event] for event in events],
        }
        began = time.monotonic()
        done = memory.bounded(self._command(function), json.dumps(asked), function["memory_mb"])
        held = done.held
        self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - began
        assert not held.killed, f"{name} had more than its {held.limit_mb} MB: {held.peak_mb:.0f}"
        assert done.code == 0, f"{name}: {done.complained[-3000:]}"
        told = json.loads(done.said.splitlines()[-1])
        held.peak_mb = max(held.peak_mb, told["peak_mb"])
        self.held.setdefault(name, held).take(held)
        assert held.is_within, f"{name}: {held.peak_mb:.0f} of {held.limit_mb} MB"
        assert told["foreign"] == [], name
        return list(told["answers"])

    def _command(self, function: Mapping[str, Any]) -> Sequence[str]:
        """Out of the zip; or as its image starts it: radloop with the extra `aws` as it is installed."""
        program = str(Path(__file__).parent / "packaged.py")
        if function["package"] == "image":
            return [sys.executable, "-I", program, str(ROOT), str(installed())]
        return [sys.executable, "-I", "-S", program, str(self.unpacked), str(self.runtime)]
