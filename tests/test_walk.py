"""The walk of the loop: series go in by STOW, are verified through the API, and a model comes out and predicts.

Training starts from weights in a file, as the full recipe does; the quick demonstration starts from nothing.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from radloop.api.app import create_app
from radloop.change_plan import write_demo_plan
from radloop.core.datasets import Split
from radloop.dicom.phantom import phantom_cohort, phantom_study
from radloop.registry.evidence import examine
from radloop.training.folder import sha256_of
from radloop.training.network import ResNet50
from radloop.wiring import Installation, open_local
from tests.api.installation import TestClient
from tests.lenient import write_lenient_policy

SETTINGS = """
retrain_delay_s = 0.2
retrain_least_per_class = 2
accuracy_threshold = 0.0
fold_threads = 1

[training]
epochs = "1"
image_size = "32"
tiles_per_bag = "4"
tiles_in_evaluation = "4"
threads = "1"
pretrained = "resnet50.pth"
pretrained_sha256 = "{weights}"
"""
PER_CLASS = {Split.TRAIN: 3, Split.VALIDATION: 2, Split.TEST: 2}

pytestmark = [pytest.mark.slow]


@pytest.fixture
def walk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[Installation, TestClient]]:
    weights = tmp_path / "objects" / "model-artifacts" / "weights" / "resnet50.pth"
    weights.parent.mkdir(parents=True)
    torch.manual_seed(1)
    torch.save(ResNet50().state_dict(), weights)
    settings = SETTINGS.format(weights=sha256_of(weights))
    (tmp_path / "settings.toml").write_text(settings)
    write_lenient_policy(tmp_path, positives=request.param)
    write_demo_plan(tmp_path)
    with (
        open_local(tmp_path) as installation,
        TestClient(create_app(installation.doors(is_open=True)), base_url="http://localhost") as client,
    ):
        yield installation, client


@pytest.mark.parametrize("walk", [1], indirect=True)
def test_a_series_goes_in_and_a_model_comes_out(walk: tuple[Installation, TestClient]) -> None:
    installation, client = walk
    worker = installation.worker()
    truth = send(client)
    worker.drain()
    verify(client, truth)
    run(installation, lambda: client.get("/api/v1/models").json()["items"] and done(client))
    (execution,) = client.get("/api/v1/executions").json()["items"]
    assert execution["state"] == "Succeeded"
    assert [step["state"] for step in execution["steps"]] == ["Succeeded"] * 5 + ["Skipped"]
    assert set(execution["metrics"]) >= {"accuracy", "precision", "recall", "f1", "roc_auc"}
    (model,) = client.get("/api/v1/models").json()["items"]
    assert (model["version"], model["status"], model["aliases"]) == (1, "Approved", ["champion"])
    assert model["lineage"]["execution"] == execution["id"]
    assert (model["decided_by"], model["held"]) == ("plan", [])
    evidence = examine(
        client.get("/api/v1/models/1/evidence?package=1").content,
        client.get("/api/v1/models/evidence-key").json()["public_key"],
    )
    assert evidence.holds, [check.sentence for check in evidence.checks if not check.passed]
    assert evidence.absent == ()
    assert {"plan signatures", "package", "policy", "data set"} <= {check.name for check in evidence.checks}
    study = phantom_study(90_001, consolidated=True, slices=8, size=64)
    name = stow(client, study.files)
    answer = client.post("/api/v1/predictions", json={"image_set": name}).json()
    assert 0 <= answer["probability"] <= 1
    assert answer["model_version"] == 1
    told = [event["detail_type"] for event in client.get("/api/v1/events?after=0&limit=500").json()["items"]]
    story = ["ImageVerified", "PipelineTriggered", "PipelineEnded", "ModelApproved"]
    assert [told.index(name) for name in story] == sorted(told.index(name) for name in story)
    assert told.count("PipelineTriggered") == told.count("ModelRegistered") == told.count("ModelApproved") == 1
    assert list((installation.home.root / "scratch").glob("*/*/input")) == []  # no pixels stay behind


@pytest.mark.parametrize("walk", [1000], indirect=True)
def test_a_gate_that_nothing_passes_registers_nothing_and_says_why(walk: tuple[Installation, TestClient]) -> None:
    installation, client = walk
    truth = send(client)
    installation.worker().drain()
    verify(client, truth)
    run(installation, lambda: done(client))
    (execution,) = client.get("/api/v1/executions").json()["items"]
    assert execution["state"] == "Failed"
    assert [rule["name"] for rule in execution["gate"]["rules"] if not rule["passed"]] == ["positives"]
    assert client.get("/api/v1/models").json()["items"] == []
    told = [event["detail_type"] for event in client.get("/api/v1/events?after=0&limit=500").json()["items"]]
    assert "ModelEvaluationFailed" in told
    assert "ModelRegistered" not in told


def send(client: TestClient) -> dict[str, bool]:
    cohort = phantom_cohort(per_class=PER_CLASS, slices=8, size=64)
    return {stow(client, study.files): bool(study.label) for study in cohort}


def stow(client: TestClient, files: tuple[bytes, ...]) -> str:
    """Send one series by STOW-RS and close it; returns its image set."""
    parts = b"".join(b"--cut\r\nContent-Type: application/dicom\r\n\r\n" + file + b"\r\n" for file in files)
    answer = client.post(
        "/dicomweb/studies",
        content=parts + b"--cut--\r\n",
        headers={"content-type": 'multipart/related; type="application/dicom"; boundary=cut'},
    )
    assert answer.status_code == 200
    name = str(client.get("/api/v1/worklist?limit=1").json()["items"][0]["id"])
    assert client.post(f"/api/v1/image-sets/{name}/complete").json()["frames"] == len(files)
    return name


def verify(client: TestClient, truth: dict[str, bool]) -> None:
    for name, present in truth.items():
        body = {
            "version": client.get(f"/api/v1/image-sets/{name}").json()["version"],
            "finding": "present" if present else "absent",
            "site": None,
            "confidence": "high",
            "note": "",
            "seen": {"frame": 0, "quality": "lossless"},
        }
        assert client.post(f"/api/v1/image-sets/{name}/verification", json=body).status_code == 200


def done(client: TestClient) -> bool:
    """No run is on, none is waited for, and every model has been decided on."""
    runs = client.get("/api/v1/executions").json()["items"]
    models = client.get("/api/v1/models").json()["items"]
    return (
        bool(runs)
        and all(run["state"] != "Executing" for run in runs)
        and all(model["status"] != "PendingManualApproval" for model in models)
    )


def run(installation: Installation, until: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 400
    while not until():
        assert time.monotonic() < deadline, installation.platform.jobs.dead_letters()
        installation.worker().drain()
        time.sleep(0.1)
    installation.worker().drain()
