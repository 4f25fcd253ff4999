# ruff: noqa: INP001, T201 — a program that is run by itself and tells what it found
"""Gzip the built web page beside its files, as small as it goes, and fail where reading takes too much.

    python tools/web_size.py FOLDER

What a reader's phone fetches before the first image is what `index.html` names: the first script, the worker's and the
decoder. Pages opened later fetch theirs then.
"""

import re
import sys
from pathlib import Path

import zopfli.gzip

MOST_BYTES = 150_000
_PACKED = frozenset({".css", ".html", ".js", ".svg", ".wasm"})
_SCRIPT = frozenset({".js", ".wasm"})


def packed(folder: Path) -> dict[str, int]:
    """Write each file's gzip beside it; returns its bytes under the name of the file, `index.html` included."""
    sizes = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix in _PACKED:
            data = zopfli.gzip.compress(path.read_bytes())
            path.with_name(f"{path.name}.gz").write_bytes(data)
            sizes[path.relative_to(folder).as_posix()] = len(data)
    return sizes


def first(page: str) -> set[str]:
    """Names of the script and wasm files that a page names.

    >>> page = '<script src="/app/assets/a-1.js"></script><link href="/app/b.css"><link href="/app/c.wasm">'
    >>> sorted(first(page))
    ['assets/a-1.js', 'c.wasm']
    """
    return {name for name in re.findall(r'(?:src|href)="/app/([^"]+)"', page) if Path(name).suffix in _SCRIPT}


def main(folder: Path) -> str | None:
    """Pack, and tell the sizes; returns what is wrong, or None."""
    sizes = packed(folder)
    reading = sum(sizes[name] for name in first((folder / "index.html").read_text()))
    every = sum(size for name, size in sizes.items() if Path(name).suffix in _SCRIPT)
    told = f"script and decoder for reading {reading / 1000:.1f} KB, of every page {every / 1000:.1f} KB, gzipped"
    if reading > MOST_BYTES:
        return f"{told}: reading may take {MOST_BYTES / 1000:.0f} KB at most"
    print(told)
    return None


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
