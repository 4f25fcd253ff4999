"""The checker on Debian's Orthanc 1.10: what is known of it is found, and what it does right is not called wrong."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conform.beside_orthanc import PLUGINS

ROOT = Path(__file__).parents[2]

KNOWN = {
    "a frame as one part is refused": "frames-single-part",
    "what dicomweb-client asks for by default, any type within multipart, is refused": "frames-any-type-in-multipart",
    "HTJ2K is refused with 400 instead of 406": "compressed-ct-as-htj2k",
    "a frame that is not there is 400 instead of 404": "frames-absent",
    "an instance as one part is refused": "instance-single-part",
    "metadata as something else are 400 instead of 406": "metadata-as-html",
    "metadata have no ETag": "caching-tag-of-metadata",
    "frames have no ETag": "caching-tag-of-frames",
    "nothing is said to shared caches": "caching-not-for-shared-caches",
    "ranges are not told": "ranges-told",
    "ranges are ignored": "ranges-of-a-frame",
    "there are no thumbnails": "rendered-thumbnail",
    "OPTIONS is 404": "negotiation-options",
    "nothing can be deleted by DICOMweb": "stow-delete",
    "a star written %2A is no star": "qido-star-percent-encoded",
    "fuzzymatching is ignored without a word": "qido-fuzzy",
    "an unknown attribute is ignored without a word": "qido-unknown-attribute",
    "behind the last result comes an empty list": "qido-offset-past-the-end",
    "commas written %2C are no commas": "rendered-window-percent-encoded",
    "one instance without multipart is refused": "stow-single-part",
    "good beside garbage is 400, although the good is stored": "stow-good-beside-garbage",
    "garbage alone is 400 instead of 409 with a report": "stow-garbage-is-reported",
    "nothing sent is a success": "stow-nothing-sent",
    "an answer in another type than asked for": "stow-answer-as-html",
    "the same UID with other content is dropped in silence": "stow-same-uid-other-content",
    "addresses in answers follow a Host without its port": "bulkdata-host-without-port",
    "signed CT as JPEG-LS kills it": "fatal-ct-as-jpeg-ls",
}
"""What was seen of Orthanc 1.10.1 with its plugins of Debian 12, and the check that finds it."""

NEW = {
    "a nest of three thousand sequences kills it": "fatal-thousands-deep",
    "a boundary in quotes is not understood": "stow-quoted-boundary",
    "bytes like a boundary cut an instance in two": "stow-almost-a-boundary",
    "a part that names its transfer syntax is dropped, and the answer is 200": "stow-parts-with-transfer-syntax",
    "two Accept lines are not one list": "negotiation-two-accept-lines",
    "an offset below zero is a server error": "qido-offset-below-zero",
    "a body that breaks off is a success": "robustness-multipart-without-end",
}
"""What the checker found besides."""

RIGHT = (
    "stow-multipart",
    "stow-into-another-study",
    "stow-other-content-type",
    "qido-star",
    "qido-limit",
    "qido-limit-that-is-no-number",
    "metadata-values-are-true",
    "instance-image-is-whole",
    "frames-octets",
    "frames-any-syntax",
    "pixels-signed-16-bits",
    "rendered-jpeg",
    "charsets-metadata-japanese",
)


def missing() -> str | None:
    for program in ("Orthanc", "unshare", "ip"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    for plugin in PLUGINS:
        if not Path(plugin).exists():
            return f"{Path(plugin).name} is not installed"
    tried = subprocess.run([*namespace(), "true"], capture_output=True, check=False)
    return None if tried.returncode == 0 else "network namespaces are not to be had here"


def namespace() -> list[str]:
    """Orthanc 1.10 listens on every address there is: it gets a network of its own, with nothing in it but lo."""
    return ["unshare", "--net", *([] if os.geteuid() == 0 else ["--map-root-user"]), "--"]


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    reason = missing()
    if reason:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("orthanc")
    inner = f'ip link set lo up && exec "{sys.executable}" -m tests.conform.beside_orthanc "{folder}" $PPID'
    subprocess.run([*namespace(), "sh", "-c", inner], cwd=ROOT, check=True, timeout=500)
    return json.loads((folder / "report.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("fault", [*KNOWN, *NEW])
def test_what_is_known_of_orthanc_is_found(orthanc: dict[str, Any], fault: str) -> None:
    check = orthanc["checks"][(KNOWN | NEW)[fault]]
    assert check["outcome"] == "fail", check["found"]


@pytest.mark.slow
@pytest.mark.parametrize("check", RIGHT)
def test_what_orthanc_does_right_is_not_called_wrong(orthanc: dict[str, Any], check: str) -> None:
    assert orthanc["checks"][check]["outcome"] == "pass", orthanc["checks"][check]["found"]


@pytest.mark.slow
@pytest.mark.parametrize("check", ["fatal-ct-as-jpeg-ls", "fatal-thousands-deep"])
def test_orthanc_dies_by_a_signal_and_the_report_says_so(orthanc: dict[str, Any], check: str) -> None:
    assert orthanc["ends"][check] < 0
    assert orthanc["checks"][check]["found"].startswith("no answer")
