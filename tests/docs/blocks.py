"""The Python blocks of a document, run as they stand there but for the names that a reader fills in."""

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent


def python_blocks(page: str) -> list[str]:
    """Every block fenced as `python`, without the indentation that it has in a list."""
    found = re.findall(r"^ *```python\n(.*?)^ *```", page, flags=re.MULTILINE | re.DOTALL)
    return [dedent(block) for block in found]


def run_block(
    page: str, call: str, at: Path, environ: Mapping[str, str], replaced: Mapping[str, str] | None = None
) -> str:
    """Run the one block of a page that makes this call; what it printed."""
    (script,) = [block for block in python_blocks(page) if call in block]
    for shown, real in (replaced or {}).items():
        script = script.replace(shown, real)
    command = [sys.executable, "-c", script]
    return subprocess.run(command, cwd=at, env=dict(environ), check=True, capture_output=True, text=True).stdout
