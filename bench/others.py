"""Other viewers, each as its makers document it, served so that its pages and its scans come over one link."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pages import pages

ROOT = Path(__file__).parents[1]
CORNERSTONE = Path(__file__).parent / "viewer-peers" / "cornerstone"
sys.path.append(str(ROOT / "tools"))


@dataclass(frozen=True, slots=True)
class OtherViewer:
    """A viewer that is being served.

    Attributes:
        kind: How `watch.js` drives it.
        address: Of a series, by study and series UID: path and query.
        is_phone: It is shown on the screen of a phone; else of a desktop.
        is_asked: It can be asked for its heap: OHIF's page does not answer a debugger while its workers are busy.
    """

    name: str
    kind: str
    port: int
    address: Callable[[str, str], str]
    is_phone: bool
    is_asked: bool = True


@contextmanager
def cornerstone(door: str) -> Iterator[list[OtherViewer] | str]:
    """Cornerstone3D, in a stack and in a volume viewport; why not, where it cannot be built here."""
    built = CORNERSTONE / "dist"
    why = _cornerstone_built(built)
    if why:
        yield why
        return
    lock = json.loads((CORNERSTONE / "package-lock.json").read_text())
    version = lock["packages"]["node_modules/@cornerstonejs/core"]["version"]
    with pages(built, door) as port:
        yield [
            OtherViewer(
                f"Cornerstone3D {version}, {mode}",
                "cornerstone",
                port,
                lambda study, series, mode=mode: f"/?mode={mode}&study={study}&series={series}",  # type: ignore[misc]
                is_phone=True,
            )
            for mode in ("stack", "volume")
        ]


@contextmanager
def ohif(door: str) -> Iterator[list[OtherViewer] | str]:
    """OHIF as it is published, on a desktop; why not, where it cannot be fetched."""
    from ohif import config  # type: ignore[import-not-found] # noqa: PLC0415 — it lies in tools

    fetched = _run(["bash", str(ROOT / "tools" / "ohif.sh"), "fetch"], ROOT)
    if fetched is None:
        yield "OHIF cannot be fetched from the npm registry"
        return
    folder = Path(fetched.splitlines()[-1])
    version = folder.parents[1].name.partition("-")[2]
    settings = config("here").replace('"here/dicomweb"', 'location.origin + "/dicomweb"')
    with pages(folder, door, {"/app-config.js": settings.encode()}) as port:
        yield [
            OtherViewer(
                f"OHIF {version}, desktop",
                "ohif",
                port,
                lambda study, _: f"/viewer?StudyInstanceUIDs={study}",
                is_phone=False,
                is_asked=False,
            )
        ]


def _cornerstone_built(built: Path) -> str | None:
    """Build it where that was not done for these sources; why not, or None."""
    if shutil.which("npm") is None:
        return "Cornerstone3D cannot be built: there is no npm"
    lock = CORNERSTONE / "package-lock.json"
    ready = CORNERSTONE / "node_modules" / ".ready"
    if not ready.exists() or ready.stat().st_mtime < lock.stat().st_mtime:
        if _run(["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"], CORNERSTONE) is None:
            return "Cornerstone3D cannot be fetched from the npm registry"
        ready.touch()
    sources = [ready, *CORNERSTONE.glob("*.*"), *(CORNERSTONE / "src").iterdir()]
    index = built / "index.html"
    if not index.exists() or index.stat().st_mtime < max(file.stat().st_mtime for file in sources):
        print("building the page with Cornerstone3D", flush=True)
        if _run(["npm", "run", "-s", "build"], CORNERSTONE) is None:
            return "Cornerstone3D does not build"
    return None


def _run(command: list[str], folder: Path) -> str | None:
    """What a program tells; None where it fails."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        print(done.stderr[-2000:], file=sys.stderr)
        return None
    return done.stdout
