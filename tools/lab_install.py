# ruff: noqa: INP001, T201 — a program that is run by itself and tells what it did
"""MiniStack in an environment of its own, `<RADLOOP_LAB>/ministack` (by default `.lab`): python tools/lab_install.py.

What goes in, and its hashes, stand in infra/requirements-lab.txt. It does nothing where that is in already, and needs
nothing but Python's standard library, so that it can be the first thing that runs.
"""

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
WANTED = REPOSITORY / "infra" / "requirements-lab.txt"
_MARK = ".ready"


class NotInstalled(Exception):
    """It cannot be had here; the message says why."""


def lab() -> Path:
    """Where tools lie that are no dependency of ours."""
    return Path(os.environ.get("RADLOOP_LAB") or REPOSITORY / ".lab")


def install() -> Path:
    """Make the environment, or mend it where something else is wanted than is in it.

    Returns:
        The program MiniStack is started by.

    Raises:
        NotInstalled: No package index in reach has what is wanted.
    """
    folder = lab() / "ministack"
    program = folder / "bin" / "ministack"
    wanted = hashlib.sha256(WANTED.read_bytes()).hexdigest()
    mark = folder / _MARK
    if program.exists() and mark.exists() and mark.read_text().strip() == wanted:
        return program
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    words = ("-m", "pip", "install", "-q", "--disable-pip-version-check", "--require-hashes", "-r", str(WANTED))
    done = subprocess.run([str(python), *words], capture_output=True, text=True, check=False)  # noqa: S603 — ours
    if done.returncode or not program.exists():
        raise NotInstalled(f"MiniStack cannot be installed: {done.stderr.strip()[-1000:]}")
    mark.write_text(f"{wanted}\n")
    return program


def main() -> int:
    """Install it and say where; 1 where it cannot be had."""
    try:
        print(install())
    except NotInstalled as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
