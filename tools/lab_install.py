# ruff: noqa: INP001, T201 — a program that is run by itself and tells what it did
"""The emulators, each in an environment of its own below `<RADLOOP_LAB>` (by default `.lab`): tools/lab_install.py.

What goes into each, and the hashes, stand in infra/requirements-<emulator>.txt. It does nothing where that is in
already, and needs nothing but Python's standard library, so that it can be the first thing that runs.
"""

import hashlib
import os
import subprocess
import sys
import venv
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
PROGRAMS: Mapping[str, str] = {"ministack": "ministack", "moto": "moto_server"}
"""Emulator -> the program it is started by."""

_MARK = ".ready"


class NotInstalled(Exception):
    """It cannot be had here; the message says why."""


def lab() -> Path:
    """Where tools lie that are no dependency of ours."""
    return Path(os.environ.get("RADLOOP_LAB") or REPOSITORY / ".lab")


def wanted(emulator: str) -> Path:
    """The file that says what goes into the environment of an emulator."""
    return REPOSITORY / "infra" / f"requirements-{emulator}.txt"


def install(emulator: str) -> Path:
    """Make the environment of an emulator, or mend it where something else is wanted than is in it.

    Returns:
        The program it is started by.

    Raises:
        NotInstalled: No package index in reach has what is wanted.
    """
    folder, listed = lab() / emulator, wanted(emulator)
    program = folder / "bin" / PROGRAMS[emulator]
    has = hashlib.sha256(listed.read_bytes()).hexdigest()
    mark = folder / _MARK
    if program.exists() and mark.exists() and mark.read_text().strip() == has:
        return program
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    words = ("-m", "pip", "install", "-q", "--disable-pip-version-check", "--require-hashes", "-r", str(listed))
    done = subprocess.run([str(python), *words], capture_output=True, text=True, check=False)  # noqa: S603 — ours
    if done.returncode or not program.exists():
        raise NotInstalled(f"{emulator} cannot be installed: {done.stderr.strip()[-1000:]}")
    mark.write_text(f"{has}\n")
    return program


def install_all() -> dict[str, Path]:
    """Make the environments of all emulators, at once; their programs by emulator.

    Raises:
        NotInstalled: One of them cannot be had.
    """
    with ThreadPoolExecutor(len(PROGRAMS)) as pool:
        return dict(zip(PROGRAMS, pool.map(install, PROGRAMS), strict=True))


def main() -> int:
    """Install them and say where; 1 where one cannot be had."""
    try:
        print(*install_all().values(), sep="\n")
    except NotInstalled as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
