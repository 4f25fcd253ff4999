"""Makes the package of the Lambda functions: radloop, its contracts and pinned wheels for Lambda's platform.

    python infra/build/lambda_zip.py [--out build/lambda.zip] [--python 3.12]

The same tree and the same pins give the same bytes: entries are sorted, their times fixed, and nothing that Python or
pip would write by itself goes in. boto3 is not in it, because the runtime has one. Of imagecodecs only the codecs that
radloop uses are in it, and the shared libraries that these load.
"""

import argparse
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

PYTHON = "3.12"

PACKAGES = (
    "argon2-cffi",
    "aws-lambda-powertools",
    "cryptography",
    "httpx",
    "imagecodecs",
    "joserfc",
    "mangum",
    "numpy",
    "obstore",
    "orjson",
    "prometheus-client",
    "pydicom",
    "pyyaml",
    "starlette",
)
"""What the functions import; what these need in turn comes with them, pinned by constraints.txt."""

IN_RUNTIME = frozenset({"boto3", "botocore", "s3transfer", "jmespath", "python-dateutil", "six", "urllib3"})

CODECS = frozenset(
    {"_gif", "_htj2k", "_imcd", "_jpeg2k", "_jpeg8", "_jpegls", "_jpegsof3", "_ljpeg", "_png", "_shared"}
    | {"_shared_cython"}
)
"""Modules of imagecodecs that are kept."""

PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
"""What Amazon Linux 2023 runs, under which Lambda's Python 3.12 stands (glibc 2.34)."""

MOST_ZIPPED, MOST_UNPACKED = 50_000_000, 250_000_000
"""Lambda's own limits for a package that is uploaded as it is, and for what it unpacks to."""

_EPOCH = (1980, 1, 1, 0, 0, 0)
_FILE_MODE = 0o100644 << 16
_LEFT_OUT = frozenset({"__pycache__", "tests", "test", "_pyinstaller", "include"})
_NOT_NEEDED = (".pyc", ".pyi", ".pxd", ".pyx", ".a", ".c", ".h", ".md", ".rst")
_NOT_OURS = ("radloop/viewer/static/",)
_ABIS = ("abi3", "none")


@dataclass(frozen=True, slots=True)
class Package:
    """What was made.

    Attributes:
        sha256: Of the zip, hexadecimal.
    """

    path: Path
    zipped_bytes: int
    unpacked_bytes: int
    files: int
    sha256: str


def build(out: Path, *, python: str = PYTHON, wheels: Path | None = None) -> Package:
    """Make the package at `out`.

    Args:
        out: Where to.
        python: Version of the runtime; another one is for trying the package out on this machine.
        wheels: A folder that `download` has filled; None to fill one.

    Raises:
        subprocess.CalledProcessError: pip does not find a wheel for Lambda's platform.
        ValueError: The package is larger than Lambda takes.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    if wheels is None:
        with tempfile.TemporaryDirectory() as folder:
            download(Path(folder), python)
            return build(out, python=python, wheels=Path(folder))
    files = {**_theirs(wheels), **_ours()}
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as package:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr = _FILE_MODE
            entry.create_system = 3
            package.writestr(entry, files[name], zipfile.ZIP_DEFLATED, 6)  # 9 takes three times as long for 0.7 %
    made = Package(
        path=out,
        zipped_bytes=out.stat().st_size,
        unpacked_bytes=sum(map(len, files.values())),
        files=len(files),
        sha256=hashlib.sha256(out.read_bytes()).hexdigest(),
    )
    if made.zipped_bytes >= MOST_ZIPPED or made.unpacked_bytes >= MOST_UNPACKED:
        raise ValueError(f"the package has {made.zipped_bytes} bytes, {made.unpacked_bytes} unpacked; that is too much")
    return made


def download(folder: Path, python: str = PYTHON) -> None:
    """Get the wheels of `PACKAGES` and of all that they need, as pinned, for Lambda's platform."""
    short = f"cp{python.replace('.', '')}"
    platforms = [word for platform in PLATFORMS for word in ("--platform", platform)]
    abis = [word for abi in (short, *_ABIS) for word in ("--abi", abi)]
    target = ["--only-binary=:all:", "--python-version", python, "--implementation", "cp", *platforms, *abis]
    pins = ["--constraint", str(ROOT / "constraints.txt")]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*command, *target, *pins, "--dest", str(folder), *PACKAGES], check=True)  # noqa: S603 — ours


def _theirs(wheels: Path) -> dict[str, bytes]:
    """What the wheels hold and a function can need, by its name in the package."""
    files: dict[str, bytes] = {}
    for wheel in sorted(wheels.glob("*.whl")):
        if wheel.name.partition("-")[0].lower().replace("_", "-") in IN_RUNTIME:
            continue
        with zipfile.ZipFile(wheel) as opened:
            files |= {name: opened.read(name) for name in opened.namelist() if _is_wanted(name)}
    return _without_unused_libraries(files)


def _is_wanted(name: str) -> bool:
    parts = name.split("/")
    if name.endswith("/") or _LEFT_OUT & set(parts[:-1]) or parts[0].endswith(".data"):
        return False
    if parts[0].endswith(".dist-info"):  # versions are asked for, and licences are owed
        return parts[-1] in {"METADATA", "entry_points.txt"} or "licen" in name.lower()
    if parts[0] == "imagecodecs" and name.endswith(".so"):
        return parts[-1].partition(".")[0] in CODECS
    return not name.endswith(_NOT_NEEDED)


def _without_unused_libraries(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Without the shared libraries of imagecodecs that no codec kept loads, directly or through another."""
    libraries = {name.rpartition("/")[2]: data for name, data in files.items() if name.startswith("imagecodecs.libs/")}
    waiting = [data for name, data in files.items() if name.startswith("imagecodecs/") and name.endswith(".so")]
    needed: set[str] = set()
    while waiting:
        data = waiting.pop()
        more = {name for name in libraries.keys() - needed if name.encode() + b"\0" in data}
        needed |= more
        waiting += [libraries[name] for name in sorted(more)]
    return {
        name: data
        for name, data in files.items()
        if not name.startswith("imagecodecs.libs/") or name.rpartition("/")[2] in needed
    }


def _ours() -> dict[str, bytes]:
    """Radloop itself, with the contracts where an installed package has them."""
    files = {f"radloop/contracts/{name}": data for name, data in _tree(ROOT / "contracts")}
    files |= {f"radloop/{name}": data for name, data in _tree(ROOT / "radloop")}
    return {name: data for name, data in files.items() if not name.startswith(_NOT_OURS)}


def _tree(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path.relative_to(folder).as_posix(), path.read_bytes()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; see the module."""
    parser = argparse.ArgumentParser(description="Make the package of the Lambda functions.")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "lambda.zip")
    parser.add_argument("--python", default=PYTHON, help="Version of the runtime, if not Lambda's.")
    given = parser.parse_args(arguments)
    made = build(given.out, python=given.python)
    megabytes = f"{made.zipped_bytes / 1e6:.1f} MB, {made.unpacked_bytes / 1e6:.1f} MB unpacked"
    sys.stdout.write(f"{made.path}: {made.files} files, {megabytes}, sha256 {made.sha256}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
