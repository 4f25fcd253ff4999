"""What the tests of the DICOMweb door send, and how they read what comes back."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray

from radloop.api import principal as door
from radloop.api.app import create_app
from radloop.api.media import media_type
from radloop.core.identity import Principal
from radloop.dicom.parse import parse
from tests.api.installation import BASE, OTHER, PHANTOM, Installation, TestClient
from tests.api.test_multipart import parsed
from tests.dicom.files import EXPLICIT_LE, ct, written

__all__ = ["BASE", "OTHER", "PHANTOM"]

ROOT = "/dicomweb"
STUDY = f"{ROOT}/studies/{PHANTOM.study_uid}"
SERIES = f"{STUDY}/series/{PHANTOM.series_uid}"
UIDS = [parse(data).sop_uid for data in PHANTOM.files]
JSON = {"Accept": "application/dicom+json"}
MULTIPART = 'multipart/related; type="application/dicom"; boundary=cut'

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
JPEG_LS, JPEG_2000 = "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90"
HTJ2K, RPCL = "1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202"
JPEG = "1.2.840.10008.1.2.4.50"


def stow(client: TestClient, files: list[bytes], path: str = f"{ROOT}/studies", **headers: str) -> Any:
    body = b"".join(b"--cut\r\nContent-Type: application/dicom\r\n\r\n%s\r\n" % data for data in files) + b"--cut--"
    return client.post(path, content=body, headers={"Content-Type": MULTIPART, **headers})


def sops(answer: Any, tag: str) -> list[str]:
    """SOP instance UIDs of a sequence of a STOW answer."""
    return [item["00081155"]["Value"][0] for item in answer.json().get(tag, {}).get("Value", [])]


def reasons(answer: Any, tag: str, reason: str = "00081197") -> list[int | None]:
    items = answer.json().get(tag, {}).get("Value", [])
    return [item.get(reason, {"Value": [None]})["Value"][0] for item in items]


def values(document: dict[str, Any], tag: str) -> list[Any]:
    return document[tag].get("Value", [])


def parts(answer: Any) -> list[tuple[str, bytes]]:
    """Content-Type and body of each part."""
    return [(headers["content-type"], body) for headers, body in whole_parts(answer)]


def whole_parts(answer: Any) -> list[tuple[Any, bytes]]:
    assert answer.status_code == 200, answer.text
    kind = media_type(answer.headers["content-type"])
    assert kind.name == "multipart/related"
    found = parsed([answer.content], kind.parameters["boundary"])
    return list(found)


def file_of(pixels: NDArray[Any], number: int = 1, syntax: str = EXPLICIT_LE, **attributes: Any) -> bytes:
    """A file with these pixels; `number` makes it another instance of the same series."""
    return written(ct(pixels, SOPInstanceUID=f"1.2.3.4.{number}", **attributes), syntax)


def address_of(data: bytes) -> str:
    found = parse(data)
    return f"{ROOT}/studies/{found.study_uid}/series/{found.series_uid}/instances/{found.sop_uid}"


def dataset(data: bytes) -> pydicom.Dataset:
    return pydicom.dcmread(BytesIO(data))


def rewritten(data: bytes, **attributes: Any) -> bytes:
    """A file with some attributes changed."""
    changed = dataset(data)
    for keyword, value in attributes.items():
        setattr(changed, keyword, value)
    changed.file_meta.MediaStorageSOPInstanceUID = changed.SOPInstanceUID
    out = BytesIO()
    changed.save_as(out)
    return out.getvalue()


@contextmanager
def acting_as(principal: Principal) -> Iterator[None]:
    """Every caller is this one, where doors are open."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(door, "OWNER", principal)
        yield


def signed_slice() -> NDArray[Any]:
    """Signed 16 bits with the padding of a CT outside its circle, and every value a CT may have."""
    rng = np.random.default_rng(3)
    pixels = rng.integers(-1024, 3071, (48, 40)).astype(np.int16)
    pixels[:4] = -2000
    pixels[0, :2] = -32768, 32767
    return pixels


def client_of(installation: Installation, **settings: Any) -> TestClient:
    """A client of the same installation under other settings."""
    platform = installation.platform
    platform = replace(platform, settings=replace(platform.settings, **settings))
    doors = replace(installation.doors, platform=platform)
    return TestClient(create_app(doors), base_url=BASE)
