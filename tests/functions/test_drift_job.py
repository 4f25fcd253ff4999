"""The scheduled drift job, on lines as SageMaker's data capture writes them and answers as our container gives them."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from radloop.core.errors import InvalidInput
from radloop.functions.drift_job import examine_captured, main
from radloop.serving.predict import Predictor
from tests.serving.small_model import films, model_package, reference_of

NOW = datetime(2026, 1, 5, tzinfo=UTC)
PACKAGE = model_package(bias=-0.4, temperature=1.5, reference=reference_of(films(120, 1), bias=-0.4))
PREDICTOR = Predictor(PACKAGE)


def line(volume: npt.NDArray[np.uint16], at: datetime, weights: str = "f" * 64) -> str:
    """One line of data capture: the answer stands as text in it, the study does not."""
    said = PREDICTOR.predict(volume, "DX")
    observation = {
        "probability": said.probability,
        "modality": "DX",
        "components": [float(each) for each in said.components],
        "statistics": [float(each) for each in said.statistics],
    }
    output = {
        "observedContentType": "application/json",
        "mode": "OUTPUT",
        "data": json.dumps({"weights_sha256": weights, "observation": observation}),
        "encoding": "JSON",
    }
    metadata = {"eventId": "e", "inferenceTime": at.isoformat().replace("+00:00", "Z")}
    return json.dumps({"captureData": {"endpointOutput": output}, "eventMetadata": metadata, "eventVersion": "0"})


def lay_out(
    root: Path,
    volumes: list[npt.NDArray[np.uint16]],
    at: datetime = NOW,
    *,
    hour: str = "12",
    weights: str = "f" * 64,
) -> Path:
    (root / "processing" / "model").mkdir(parents=True, exist_ok=True)
    (root / "processing" / "model" / "model.tar.gz").write_bytes(PACKAGE)
    folder = root / "processing" / "captured" / "radloop" / "champion" / "2026" / "01" / "05" / hour
    folder.mkdir(parents=True)
    lines = [line(volume, at + timedelta(seconds=number), weights) for number, volume in enumerate(volumes)]
    (folder / "00-00-000-x.jsonl").write_text("\n".join(lines) + "\n")
    return root


def report(root: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((root / "processing" / "drift" / "drift.json").read_text())
    return found


def examined(root: Path, since: datetime = NOW) -> dict[str, Any]:
    examine_captured(root, since=since, images_per_false_alarm=1e6)
    return report(root)


def test_studies_like_those_of_the_reference_raise_no_alarm(tmp_path: Path) -> None:
    found = examined(lay_out(tmp_path, films(60, 2)))
    assert (found["studies"], found["alarm"], found["cause"]) == (60, False, "none")
    assert [block["studies"] for block in found["blocks"]] == [25, 25, 50]


def test_brighter_films_raise_an_alarm_that_names_the_images(tmp_path: Path) -> None:
    found = examined(lay_out(tmp_path, films(50, 3, level=0.8)))
    assert (found["alarm"], found["cause"]) == (True, "drift-inputs")


def test_what_was_captured_before_is_left_out(tmp_path: Path) -> None:
    lay_out(tmp_path, films(50, 3, level=0.8), at=NOW - timedelta(days=2), hour="11")
    lay_out(tmp_path, films(25, 2))
    assert examined(tmp_path)["alarm"] is False
    assert examined(tmp_path, since=NOW - timedelta(days=3))["alarm"] is True


def test_what_another_version_said_is_left_out(tmp_path: Path) -> None:
    lay_out(tmp_path, films(50, 3, level=0.8), hour="11", weights="e" * 64)
    found = examined(lay_out(tmp_path, films(25, 2)))
    assert (found["studies"], found["alarm"]) == (25, False)


def test_too_few_studies_are_no_alarm(tmp_path: Path) -> None:
    assert examined(lay_out(tmp_path, films(10, 3, level=0.8))) | {"since": ""} == {
        "studies": 10,
        "since": "",
        "alarm": False,
        "cause": "none",
        "blocks": [],
    }


def test_it_runs_as_the_container_starts_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RADLOOP_ML_ROOT", str(lay_out(tmp_path, films(25, 2), at=datetime.now(UTC))))
    assert main(["--hours", "24", "--images-per-false-alarm", "1000000.0"]) == 0
    assert report(tmp_path)["studies"] == 25


@pytest.mark.parametrize("fault", ["no reference", "no answer", "another version"])
def test_what_cannot_be_compared_fails_with_a_reason(tmp_path: Path, fault: str) -> None:
    root = lay_out(tmp_path, films(25, 2))
    file = next((root / "processing" / "captured").rglob("*.jsonl"))
    if fault == "no reference":
        (root / "processing" / "model" / "model.tar.gz").write_bytes(model_package(bias=0.0))
    elif fault == "no answer":
        file.write_text('{"captureData": {}}\n')
    else:
        changed = [json.loads(each) for each in file.read_text().splitlines()]
        for each in changed:
            output = each["captureData"]["endpointOutput"]
            said = json.loads(output["data"])
            said["observation"]["components"] = [0.0] * 7
            output["data"] = json.dumps(said)
        file.write_text("\n".join(map(json.dumps, changed)))
    with pytest.raises(InvalidInput):
        examined(root)
    assert not (root / "processing" / "drift").exists()
