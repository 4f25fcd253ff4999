import io
import zipfile
from base64 import b64encode
from typing import Any

import numpy as np
import pytest

from radloop.codec.htj2k import decode
from radloop.core.identity import OWNER
from radloop.core.images import Confidence
from radloop.core.ports import Upload
from radloop.dicom.parse import parse
from tests.api.installation import OTHER, PHANTOM, Installation, TestClient, open_installation
from tests.dicom.files import ct, written

FOUND = {
    "version": 1,
    "finding": "present",
    "site": "RLL",
    "confidence": "high",
    "note": "dense, lower lobe",
    "seen": {"frame": 1, "quality": "lossless"},
}


def test_an_image_set_is_told_as_it_is(installation: Installation, client: TestClient) -> None:
    identity = installation.land(folded=True)
    told = client.get(f"/api/v1/image-sets/{identity}").json()
    assert (told["id"], told["version"], told["state"], told["closed"]) == (identity, 1, "INGESTED", True)
    assert (told["storage"], told["frames"], told["instances"], told["rows"], told["columns"]) == (
        "folded", 4, 4, 64, 64
    )  # fmt: skip
    assert (told["patient_id"], told["modality"]) == (PHANTOM.patient_id, "CT")
    assert (told["study_uid"], told["series_uid"]) == (PHANTOM.study_uid, PHANTOM.series_uid)
    assert told["original_bytes"] == sum(len(data) for data in PHANTOM.files)
    geometry = told["geometry"]
    assert (geometry["orientation"], geometry["row_direction"], geometry["gaps"]) == ("axial", [1, 0, 0], [])
    heights = [frame["position_mm"][2] for frame in told["frame_list"]]
    assert heights == sorted(heights)
    assert np.diff(heights) == pytest.approx(geometry["slice_spacing_mm"])


def told_of(installation: Installation, client: TestClient, **attributes: Any) -> dict[str, Any]:
    """The one frame of an image with these attributes, after folding, as the viewer is told of it."""
    header = ct(np.arange(64 * 64, dtype=np.uint16).reshape(64, 64) % 256, **attributes)
    identity = installation.images.land([Upload(written(header))], by=OWNER)[0].image_set
    client.post(f"/api/v1/image-sets/{identity}/complete")
    installation.images.fold(identity)
    (frame,) = client.get(f"/api/v1/image-sets/{identity}").json()["frame_list"]
    assert isinstance(frame, dict)
    return frame


def test_a_frame_tells_how_it_lies_and_how_it_is_to_be_shown(installation: Installation, client: TestClient) -> None:
    frame = told_of(installation, client, ImageOrientationPatient=[2, 0, 0, 0, 0, -2], VOILUTFunction="SIGMOID")
    assert frame["orientation"] == [1, 0, 0, 0, 0, -1]
    assert (frame["spacing_mm"], frame["spacing_at_detector"], frame["sides"]) == ([0.5, 0.75], False, None)
    assert (frame["voi_function"], frame["palette"], frame["decodable"]) == ("sigmoid", None, True)


@pytest.mark.parametrize("wrong", [[0, 0, 0, 0, 0, 0], [1, 0, 0, 1, 0, 0], [1, 0, 0, 0.7, 0.7, 0]], ids=str)
def test_directions_that_are_no_two_directions_are_not_told(
    installation: Installation, client: TestClient, wrong: list[float]
) -> None:
    assert told_of(installation, client, ImageOrientationPatient=wrong)["orientation"] is None


def test_a_radiograph_tells_its_sides_and_that_its_millimetres_are_those_of_the_detector(
    installation: Installation, client: TestClient
) -> None:
    lies = {"ImageOrientationPatient": None, "ImagePositionPatient": None, "PixelSpacing": None}
    frame = told_of(installation, client, **lies, PatientOrientation=["L", "F"], ImagerPixelSpacing=[0.2, 0.1])
    assert (frame["orientation"], frame["sides"]) == (None, ["L", "F"])
    assert (frame["spacing_mm"], frame["spacing_at_detector"]) == ([0.2, 0.1], True)


def test_colours_of_a_palette_are_told_and_have_no_preview(installation: Installation, client: TestClient) -> None:
    tables: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for colour in ("Red", "Green", "Blue"):
        tables[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, 8]
        tables[f"{colour}PaletteColorLookupTableData"] = bytes(range(256))
    frame = told_of(installation, client, **tables)
    greys = bytes(value for value in range(256) for _ in range(3))
    assert frame["palette"] == {"first": 0, "colours": b64encode(greys).decode("ascii")}
    assert (frame["preview_bytes"], frame["decodable"]) == (None, True)


def test_indices_without_a_palette_are_not_offered_for_looking_at(
    installation: Installation, client: TestClient
) -> None:
    frame = told_of(installation, client, PhotometricInterpretation="PALETTE COLOR")
    assert (frame["palette"], frame["decodable"]) == (None, False)


def test_a_missing_slice_is_told_with_the_frame_before_it(installation: Installation, client: TestClient) -> None:
    files = [PHANTOM.files[number] for number in (0, 1, 3)]
    landings = installation.images.land([Upload(data) for data in files], by=OWNER)
    identity = landings[0].image_set
    client.post(f"/api/v1/image-sets/{identity}/complete")
    told = client.get(f"/api/v1/image-sets/{identity}").json()
    heights = np.array([frame["position_mm"][2] for frame in told["frame_list"]])
    assert told["geometry"]["gaps"] == [int(np.argmax(np.diff(heights)))]


def test_a_frame_is_the_pixels_that_arrived_landed_or_folded(installation: Installation, client: TestClient) -> None:
    identity = installation.land()
    for is_folded in (False, True):
        if is_folded:
            installation.images.fold(identity)
        for index in range(4):
            answer = client.get(f"/api/v1/image-sets/{identity}/frames/{index}")
            assert answer.headers["content-type"] == "image/jph"
            assert answer.headers["x-radloop-quality"] == "lossless"
            assert answer.headers["cache-control"].startswith("private")
            assert np.array_equal(decode(answer.content), installation.images.pixels(identity, index))
    told = client.get(f"/api/v1/image-sets/{identity}").json()["frame_list"][3]
    assert told["lossless_bytes"] == len(answer.content)
    preview = client.get(f"/api/v1/image-sets/{identity}/frames/3/preview")
    assert (preview.headers["x-radloop-quality"], len(preview.content)) == ("preview", told["preview_bytes"])
    assert decode(preview.content).shape == (64, 64)


def test_what_the_browser_holds_is_not_sent_again(installation: Installation, client: TestClient) -> None:
    identity = installation.land(folded=True)
    tags = set()
    for path in ("frames/0", "frames/1", "frames/0/preview", "thumbnail"):
        first = client.get(f"/api/v1/image-sets/{identity}/{path}")
        tag = first.headers["etag"]
        tags.add(tag)
        assert tag.startswith('"'), "a strong validator"
        again = client.get(f"/api/v1/image-sets/{identity}/{path}", headers={"If-None-Match": f'"x", {tag}'})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        other = client.get(f"/api/v1/image-sets/{identity}/{path}", headers={"If-None-Match": '"x"'})
        assert (other.status_code, other.content) == (200, first.content)
    assert len(tags) == 4


def test_a_late_slice_that_moves_the_others_is_not_mistaken_for_them(
    installation: Installation, client: TestClient
) -> None:
    identity = installation.land()
    lowest = installation.images.frames(identity)[0].instance.sop_uid
    whole = [client.get(f"/api/v1/image-sets/{identity}/frames/{index}").headers["etag"] for index in range(4)]
    with open_installation(installation.doors.static.parent / "second") as second, second.client() as other:
        files = {parse(data).sop_uid: data for data in PHANTOM.files}
        late = files.pop(lowest)
        name = second.images.land([Upload(data) for data in files.values()], by=OWNER)[0].image_set
        other.post(f"/api/v1/image-sets/{name}/complete")
        held = other.get(f"/api/v1/image-sets/{name}/frames/0").headers["etag"]
        second.images.land([Upload(late)], by=OWNER)
        other.post(f"/api/v1/image-sets/{name}/complete")
        assert other.get(f"/api/v1/image-sets/{name}/frames/1").headers["etag"] == held
        now = other.get(f"/api/v1/image-sets/{name}/frames/0", headers={"If-None-Match": held})
    assert now.status_code == 200, "frame 0 is another slice now"
    assert len(set(whole)) == 4


def test_what_is_not_there_is_not_found_in_words(installation: Installation, client: TestClient) -> None:
    identity = installation.land(OTHER)
    missing = "0" * 32
    for path in (
        missing, f"{missing}/frames/0", f"{missing}/thumbnail", f"{missing}/export", f"{identity}/frames/3",
        f"{identity}/frames/99999999999999999999", f"{identity}/frames/0/preview", f"{identity}/frames/x",
    ):  # fmt: skip
        answer = client.get(f"/api/v1/image-sets/{path}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not-found"), path
        assert answer.json()["error"]["message"]


def test_a_thumbnail_is_a_png(installation: Installation, client: TestClient) -> None:
    identity = installation.land()
    answer = client.get(f"/api/v1/image-sets/{identity}/thumbnail")
    assert (answer.headers["content-type"], answer.content[:4]) == ("image/png", b"\x89PNG")


@pytest.mark.parametrize("folded", [False, True])
def test_an_export_is_the_very_files_that_arrived(
    installation: Installation, client: TestClient, *, folded: bool
) -> None:
    identity = installation.land(folded=folded)
    answer = client.get(f"/api/v1/image-sets/{identity}/export")
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert all(name.endswith(".dcm") for name in archive.namelist())
        assert {archive.read(name) for name in archive.namelist()} == set(PHANTOM.files)


def test_a_finding_becomes_ground_truth_and_shows(installation: Installation, client: TestClient) -> None:
    identity = installation.land()
    told = client.post(f"/api/v1/image-sets/{identity}/verification", json=FOUND)
    assert told.status_code == 200
    assert (told.json()["version"], told.json()["state"]) == (2, "VERIFIED")
    finding = told.json()["finding"]
    assert {key: finding[key] for key in ("present", "site", "confidence", "by")} == {
        "present": True, "site": "RLL", "confidence": "high", "by": "owner"
    }  # fmt: skip
    truth = installation.images.get(identity).truth
    assert truth is not None
    assert (truth.finding.note, truth.finding.confidence) == ("dense, lower lobe", Confidence.HIGH)
    again = client.post(f"/api/v1/image-sets/{identity}/verification", json=FOUND)
    assert (again.status_code, again.json()["error"]["code"]) == (409, "conflict")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"version": "1"}, "version"),
        ({"version": True}, "version"),
        ({"version": 0}, "version"),
        ({"finding": "yes"}, "finding"),
        ({"finding": None}, "finding"),
        ({"finding": ["present"]}, "finding"),
        ({"site": "LEFT"}, "site"),
        ({"site": 4}, "site"),
        ({"finding": "absent"}, "site"),
        ({"confidence": "sure"}, "confidence"),
        ({"confidence": {}}, "confidence"),
        ({"note": 5}, "note"),
        ({"note": "x" * 4001}, "note"),
        ({"seen": None}, "seen"),
        ({"seen": {"frame": -1, "quality": "lossless"}}, "frame"),
        ({"seen": {"frame": 9, "quality": "lossless"}}, "frame 9"),
        ({"seen": {"frame": 1, "quality": "preview"}}, "quality"),
        ({"seen": {"frame": 1, "quality": None}}, "quality"),
        ({"patient": "x"}, "known"),
        ({"seen": {"frame": 1, "quality": "lossless", "slices": "f3"}}, "3 frames"),
        ({"seen": {"frame": 1, "quality": "lossless", "slices": "f999999999"}}, "999999999 frames"),
        ({"seen": {"frame": 1, "quality": "lossless", "slices": "fpf2"}}, "in view"),
        ({"seen": {"frame": 1, "quality": "lossless", "slices": ""}}, "slices"),
        ({"seen": {"frame": 1, "quality": "lossless", "slices": 4}}, "slices"),
        ({"seen": {"frame": 1, "quality": "lossless", "slices": "f4Doe"}}, "slices"),
        ({"seen": {"frame": 1, "quality": "lossless", "slices": "f" * 50_000}}, "slices"),
        ({"seen": {"frame": 1, "quality": "lossless", "slices": "f4", "full_ms": -1}}, "full_ms"),
        ({"seen": {"frame": 1, "quality": "lossless", "slices": "f4", "full_ms": 10**12}}, "full_ms"),
        ({"seen": {"frame": 1, "quality": "lossless", "slices": "f4", "preview_ms": "5"}}, "preview_ms"),
    ],
)
def test_a_bad_verification_is_told_what_is_wrong(
    installation: Installation, client: TestClient, change: dict[str, object], word: str
) -> None:
    identity = installation.land()
    answer = client.post(f"/api/v1/image-sets/{identity}/verification", json={**FOUND, **change})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid-input")
    assert word in answer.json()["error"]["message"]
    assert installation.images.get(identity).truth is None


def test_what_the_reader_was_shown_of_every_frame_is_kept_and_told(
    installation: Installation, client: TestClient
) -> None:
    identity = installation.land()
    seen = {"frame": 1, "quality": "lossless", "slices": "pfpn", "preview_ms": 300, "full_ms": 4200}
    counts = {"full": 1, "preview": 2, "never": 1, "preview_ms": 300, "full_ms": 4200}
    shown = {"frame": 1, "quality": "lossless", **counts}
    path = f"/api/v1/image-sets/{identity}"
    assert client.get(path).json()["seen_slices"] is None
    answer = client.post(f"{path}/verification", json={**FOUND, "seen": seen}).json()
    assert answer["finding"]["seen"] == shown
    told = client.get(path).json()
    assert (told["finding"]["seen"], told["seen_slices"]) == (shown, "pfpn")
    assert client.get("/api/v1/worklist").json()["items"][0]["finding"]["seen"] == shown


def test_a_program_that_saw_no_screen_tells_of_its_one_frame_only(
    installation: Installation, client: TestClient
) -> None:
    identity = installation.land()
    told = client.post(f"/api/v1/image-sets/{identity}/verification", json=FOUND).json()
    assert told["finding"]["seen"]["full"] is None
    assert client.get(f"/api/v1/image-sets/{identity}").json()["seen_slices"] is None


def test_a_body_that_is_not_a_json_object_is_refused(installation: Installation, client: TestClient) -> None:
    path = f"/api/v1/image-sets/{installation.land()}/verification"
    for body, status in ((b"{", 400), (b"[]", 400), (b"\xff", 400), (b"", 400), (b'"' + b"x" * 70_000 + b'"', 413)):
        answer = client.post(path, content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == status, body[:10]
    assert client.post(path, content=b"{}", headers={"Content-Type": "text/plain"}).status_code == 415


def test_the_worklist_pages_through_the_door(installation: Installation, client: TestClient) -> None:
    older, newer = installation.land(), installation.land(OTHER, closed=False)
    first = client.get("/api/v1/worklist?limit=1").json()
    assert [(item["id"], item["closed"]) for item in first["items"]] == [(newer, False)]
    second = client.get("/api/v1/worklist", params={"limit": 1, "after": first["next"]}).json()
    assert ([item["id"] for item in second["items"]], second["next"]) == ([older], None)
    assert second["counts"] == {"INGESTED": 2, "VERIFIED": 0, "REJECTED": 0}
    assert client.get("/api/v1/worklist?state=VERIFIED").json()["items"] == []
    for query in ("state=DONE", "limit=0", "limit=1e3", "limit=-1", "limit=\u0664", "after=!!"):
        assert client.get(f"/api/v1/worklist?{query}").status_code == 400, query


def test_a_prediction_is_kept_with_the_image_set(installation: Installation, client: TestClient) -> None:
    identity = installation.land()
    none = client.post("/api/v1/predictions", json={"image_set": identity})
    assert (none.status_code, none.json()["error"]["code"]) == (404, "no-champion")
    installation.approve(bias=1.0)
    said = client.post("/api/v1/predictions", json={"image_set": identity}).json()
    assert (said["finding"], said["model_version"], said["image_set"]) == ("present", 1, identity)
    kept = client.get(f"/api/v1/image-sets/{identity}").json()
    assert kept["prediction"] == {key: value for key, value in said.items() if key != "image_set"}
    assert kept["version"] == 1
    audit = installation.database.read().execute("SELECT action, subject FROM audit ORDER BY seq DESC").fetchone()
    assert audit == ("predict", identity)


def test_no_prediction_on_what_is_still_arriving_or_not_asked_properly(
    installation: Installation, client: TestClient
) -> None:
    installation.approve(bias=1.0)
    identity = installation.land(closed=False)
    assert client.post("/api/v1/predictions", json={"image_set": identity}).status_code == 409
    for body in ({}, {"image_set": 5}, {"image_set": identity, "model": 2}):
        assert client.post("/api/v1/predictions", json=body).status_code == 400
    assert client.post("/api/v1/predictions", json={"image_set": "0" * 32}).status_code == 404
