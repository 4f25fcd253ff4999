"""What real files become at the doors: compressed, lossy, without pixels."""

import os
from pathlib import Path

import pytest

from radloop.codec.htj2k import decode
from tests.api.installation import Installation, TestClient

pytestmark = pytest.mark.data

SYNTAX = "CTImage.dcm_{}.dcm"
LOSSY = SYNTAX.format("JPEGProcess2_4TransferSyntax_1.2.840.10008.1.2.4.51")
LOSSLESS = SYNTAX.format("JPEG2000LosslessOnlyTransferSyntax_1.2.840.10008.1.2.4.90")
UNDECODABLE = SYNTAX.format("JPEGProcess10_12TransferSyntax_1.2.840.10008.1.2.4.55")


@pytest.fixture(scope="module")
def samples() -> Path:
    folder = Path(os.environ.get("RADLOOP_TEST_DATA", "")) / "transfer-syntaxes"
    if not os.environ.get("RADLOOP_TEST_DATA") or not folder.is_dir():
        pytest.skip("RADLOOP_TEST_DATA names no folder with transfer-syntaxes")
    return folder


def sent(client: TestClient, data: bytes) -> str:
    headers = {"Content-Type": "application/dicom"}
    told = client.post("/api/v1/uploads?complete=1", content=data, headers=headers).json()
    (identity,) = told["image_sets"]
    return str(identity)


@pytest.mark.parametrize(("name", "quality"), [(LOSSY, "lossy-as-received"), (LOSSLESS, "lossless")])
def test_a_frame_says_how_it_was_received(
    installation: Installation, client: TestClient, samples: Path, name: str, quality: str
) -> None:
    data = (samples / name).read_bytes()
    identity = sent(client, data)
    for _ in range(2):
        frame = client.get(f"/api/v1/image-sets/{identity}/frames/0")
        assert frame.headers["x-radloop-quality"] == quality
        assert decode(frame.content).ndim == 2
        told = client.get(f"/api/v1/image-sets/{identity}").json()
        assert (told["frame_list"][0]["quality"], told["frame_list"][0]["decodable"]) == (quality, True)
        installation.images.fold(identity)
    path, kind = f"/dicomweb/studies/{told['study_uid']}", 'multipart/related; type="application/dicom"'
    other = client.get(path, headers={"Accept": f"{kind}; transfer-syntax=1.2.840.10008.1.2.1"})
    assert other.status_code == 200
    assert b"transfer-syntax=1.2.840.10008.1.2.1\r\n" in other.content
    as_received = client.get(path, headers={"Accept": f"{kind}; transfer-syntax=*"})
    assert data in as_received.content, "as it came, byte for byte"


def test_what_no_codec_takes_says_so_and_can_still_be_had(
    installation: Installation, client: TestClient, samples: Path
) -> None:
    data = (samples / UNDECODABLE).read_bytes()
    identity = sent(client, data)
    installation.images.fold(identity)
    told = client.get(f"/api/v1/image-sets/{identity}").json()
    frame = client.get(f"/api/v1/image-sets/{identity}/frames/0")
    assert (told["frame_list"][0]["decodable"], told["storage"]) == (False, "kept")
    assert (frame.status_code, frame.json()["error"]["code"]) == (422, "unsupported-pixels")
    assert data in client.get(f"/api/v1/image-sets/{identity}/export").content


def test_what_has_no_pixels_is_stored_and_has_no_frames(client: TestClient, samples: Path) -> None:
    identity = sent(client, (samples / "no-pixel-data.dcm").read_bytes())
    told = client.get(f"/api/v1/image-sets/{identity}").json()
    assert (told["frames"], told["frame_list"], told["rows"], told["instances"]) == (0, [], None, 1)
    assert client.get(f"/api/v1/image-sets/{identity}/thumbnail").status_code == 404
    metadata = client.get(f"/dicomweb/studies/{told['study_uid']}/metadata").json()
    assert len(metadata) == 1
    (found,) = client.get(f"/dicomweb/studies/{told['study_uid']}/instances").json()
    assert found["00080018"] == metadata[0]["00080018"]
