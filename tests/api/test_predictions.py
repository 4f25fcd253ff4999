"""Predictions through the doors: what may be asked, what is shown, and what is not."""

import imagecodecs
import numpy as np
import pytest

from radloop.core.identity import OWNER, Principal
from radloop.core.ports import Upload
from radloop.dicom.make import xray_instance
from radloop.functions.image_ingestion import ingest
from tests.api.installation import Installation, TestClient
from tests.serving.small_model import film, films, model_package, reference_of

PACKAGE = model_package(bias=0.0, temperature=2.0, reference=reference_of(films(80, seed=1)), has_maps=True)


@pytest.fixture
def asked(installation: Installation) -> Installation:
    installation.approve(bias=0.0, package=PACKAGE)
    return installation


def land(installation: Installation, pixels: np.ndarray, patient: str = "P1") -> str:
    (landing,) = ingest([Upload(xray_instance(pixels, patient_id=patient))], installation.platform, by=OWNER)
    assert landing.image_set is not None
    installation.images.complete(landing.image_set, by=OWNER)
    return landing.image_set


def test_a_picture_of_where_the_model_looked_lies_over_the_frame(asked: Installation, client: TestClient) -> None:
    identity = land(asked, film(np.random.default_rng(1))[0])
    address = f"/api/v1/image-sets/{identity}/saliency/0.png"
    assert client.get(address).status_code == 404, "nobody has asked the model"
    said = client.post("/api/v1/predictions", json={"image_set": identity}).json()
    assert (said["refused"], said["frames"], said["frame"], said["calibrated"]) == (None, [0], 0, True)
    answer = client.get(address)
    assert answer.headers["content-type"] == "image/png"
    picture = imagecodecs.png_decode(answer.content)
    assert picture.shape == (40, 40, 4)
    assert 0 < picture[..., 3].max() < 255
    again = client.get(address, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_a_frame_without_a_map_is_not_found_and_those_with_one_are_named(
    asked: Installation, client: TestClient
) -> None:
    identity = asked.land()
    asked.approve(bias=0.0, execution="e2", package=model_package(bias=0.0, has_maps=True))
    client.post("/api/v1/predictions", json={"image_set": identity})
    beyond = client.get(f"/api/v1/image-sets/{identity}/saliency/999.png")
    assert beyond.status_code == 404
    assert "does not exist" in beyond.json()["error"]["message"]


def test_what_is_no_chest_gets_a_code_and_a_sentence_and_no_number(asked: Installation, client: TestClient) -> None:
    noise = np.random.default_rng(2).integers(0, 65536, (40, 40)).astype(np.uint16)
    identity = land(asked, noise)
    said = client.post("/api/v1/predictions", json={"image_set": identity}).json()
    assert (said["refused"], said["probability"], said["finding"]) == ("out-of-distribution", None, None)
    assert said["ood"]["sentence"].startswith("The model does not judge this study")
    assert client.get(f"/api/v1/image-sets/{identity}").json()["prediction"]["probability"] is None
    assert client.get(f"/api/v1/image-sets/{identity}/saliency/0.png").status_code == 404


def test_many_are_asked_for_and_the_worker_does_it(asked: Installation, client: TestClient) -> None:
    one, other = land(asked, films(2, seed=3)[0][0], "P1"), land(asked, films(2, seed=3)[1][0], "P2")
    told = client.post("/api/v1/predictions/batch", json={"image_sets": [one]}).json()
    assert told["queued"] == 1
    told = client.post("/api/v1/predictions/batch", json={}).json()
    assert (told["queued"], told["predicted"]) == (2, 0)
    assert told["waiting"] >= 2
    audit = asked.database.read().execute("SELECT action, subject FROM audit ORDER BY seq DESC").fetchone()
    assert audit == ("predict.batch", "model-1")
    assert asked.images.get(other).prediction is None, "this process judges nothing"
    for body in ({"image_sets": "all"}, {"image_sets": [1]}, {"everything": True}):
        assert client.post("/api/v1/predictions/batch", json=body).status_code == 400


def test_who_may_know_of_some_patients_asks_for_theirs_only(asked: Installation, client: TestClient) -> None:
    from dataclasses import replace

    mine, other = land(asked, films(2, seed=4)[0][0], "P1"), land(asked, films(2, seed=4)[1][0], "P2")
    assert asked.doors.identities is not None
    asked.doors.identities.trust("t", Principal("somebody", frozenset({"reader"}), frozenset({"P1"})))
    closed = replace(asked, doors=replace(asked.doors, is_open=False))
    with closed.client(headers={"Authorization": "Bearer t"}) as reader:
        assert reader.post("/api/v1/predictions/batch", json={}).json()["queued"] == 1
        assert reader.post("/api/v1/predictions/batch", json={"image_sets": [mine]}).status_code == 200
        assert reader.post("/api/v1/predictions/batch", json={"image_sets": [other]}).status_code == 404
        assert reader.post("/api/v1/predictions", json={"image_set": other}).status_code == 404
        assert reader.get(f"/api/v1/image-sets/{other}/saliency/0.png").status_code == 404


def test_drift_is_told_before_there_is_anything_to_tell(installation: Installation, client: TestClient) -> None:
    told = client.get("/api/v1/drift").json()
    assert (told["state"], told["model_version"], told["changed"]) == ("no-model", None, None)
    assert [alarm["state"] for alarm in told["alarms"]] == ["OK"] * 4
    installation.approve(bias=0.0, package=PACKAGE)
    assert client.get("/api/v1/drift").json()["state"] == "waiting"
