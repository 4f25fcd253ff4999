"""The candidate beside the champion: on the same planes where both can, by the record where not, else not at all."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from radloop.evaluation.evaluate import main
from tests.evaluation.tested import (
    SPEC,
    evaluation_of,
    network,
    refused,
    write_context,
    write_job,
    write_package,
    write_part,
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("made")
    write_job(root, noise=60)
    return root


@pytest.fixture
def ready(job_root: Path, made: Path) -> Path:
    shutil.copytree(made / "processing", job_root / "processing")
    return job_root


def crown(root: Path, **options: Any) -> Path:
    """Put a champion into the context."""
    context = write_context(root)
    write_package(context / "champion.tar.gz", root, **options)
    (context / "champion.json").write_text(json.dumps({"version": 3}))
    return context


def rule(evaluation: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [one for one in evaluation["gate"]["rules"] if one["name"] == name]
    return dict(found)


def test_an_equal_champion_is_no_obstacle(ready: Path) -> None:
    crown(ready)
    assert main([]) == 0
    champion = evaluation_of(ready)["champion"]
    assert refused(evaluation_of(ready)) == []
    assert champion["delta"] == {"value": 0.0, "ci_low": 0.0, "ci_high": 0.0}
    assert (champion["version"], champion["how"], champion["image_sets"]) == (3, "saw the same planes", 140)


def test_a_candidate_that_is_worse_is_refused_by_the_champion_alone(ready: Path) -> None:
    write_part(ready, "test", noise=150, per_class=150)
    crown(ready)
    blurred = network(gain=160.0)
    write_package(ready / "processing" / "model" / "model.tar.gz", ready, onnx_file=worse(blurred))
    assert main([]) == 0
    found = evaluation_of(ready)
    assert "champion" in refused(found)
    assert found["champion"]["delta"]["ci_low"] < -0.02
    assert "version 3" in rule(found, "champion")["sentence"]


def worse(data: bytes) -> bytes:
    """The same network with most of its weights gone."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load_from_string(data)
    (weights,) = [one for one in model.graph.initializer if one.name == "weights"]
    values = numpy_helper.to_array(weights).copy()
    values[:11] = 0
    weights.CopyFrom(numpy_helper.from_array(values, "weights"))
    return bytes(model.SerializeToString())


def test_a_champion_of_smaller_tiles_sees_them_averaged_down(ready: Path) -> None:
    small = replace(SPEC, size=8)
    crown(ready, onnx_file=network(size=8), spec=small)
    assert main([]) == 0
    champion = evaluation_of(ready)["champion"]
    assert champion["how"] == "saw the same planes, averaged from 16 down to its 8 pixels"
    assert champion["delta"]["value"] == pytest.approx(0, abs=0.01), "halves of the mean are means of the halves"


def test_a_champion_of_greater_tiles_cannot_be_compared_and_so_refuses(ready: Path) -> None:
    crown(ready, onnx_file=network(size=32), spec=replace(SPEC, size=32))
    assert main([]) == 0
    found = evaluation_of(ready)
    assert refused(found) == ["champion"]
    assert "needs tiles of 32 pixels where the part has 16" in rule(found, "champion")["sentence"]


def test_a_champion_of_greater_tiles_is_judged_by_its_own_record(ready: Path) -> None:
    context = crown(ready, onnx_file=network(size=32), spec=replace(SPEC, size=32))
    lines = json.loads((ready / "processing" / "test" / "manifest.json").read_text())["items"]
    record = [
        {"image_set": one["image_set"], "version": 1, "probability": 0.5 + 0.4 * (at % 4 > 1)}
        for at, one in enumerate(lines)
    ]
    (context / "champion_predictions.json").write_text(json.dumps(record[:120]))
    assert main([]) == 0
    champion = evaluation_of(ready)["champion"]
    assert champion["how"] == "is judged by what it said of these image sets in its own evaluation"
    assert champion["image_sets"] == 120
    assert champion["delta"]["value"] > 0.3
    assert refused(evaluation_of(ready)) == []
    (context / "champion_predictions.json").write_text(json.dumps([one | {"version": 2} for one in record]))
    assert main([]) == 0
    assert "only 0 of 140 image sets were in its own test" in rule(evaluation_of(ready), "champion")["sentence"]
    (context / "champion_predictions.json").write_text("[{}]")
    assert main([]) == 0
    assert "champion_predictions.json lacks a field" in rule(evaluation_of(ready), "champion")["sentence"]


def test_another_window_matters_for_ct_alone(ready: Path) -> None:
    crown(ready, spec=replace(SPEC, window_width=400.0))
    assert main([]) == 0
    assert refused(evaluation_of(ready)) == [], "an X-ray has no window"


def test_a_champion_without_its_package_refuses(ready: Path) -> None:
    (crown(ready) / "champion.tar.gz").unlink()
    assert main([]) == 0
    assert refused(evaluation_of(ready)) == ["champion"]
    assert "its package was not handed over" in rule(evaluation_of(ready), "champion")["sentence"]


def test_a_damaged_champion_refuses_and_does_not_break_the_run(ready: Path) -> None:
    (crown(ready) / "champion.tar.gz").write_bytes(b"no archive")
    assert main([]) == 0
    assert refused(evaluation_of(ready)) == ["champion"]
    assert "cannot be compared: model.tar.gz is missing, damaged" in rule(evaluation_of(ready), "champion")["sentence"]


def test_data_older_than_the_champions_are_refused(ready: Path) -> None:
    crown(ready)
    write_context(ready, facts={"newest_label_days": 1.0, "behind_champion_days": 12.5})
    assert main([]) == 0
    assert refused(evaluation_of(ready)) == ["behind_champion"]
    assert rule(evaluation_of(ready), "behind_champion")["sentence"].startswith(
        "The newest ground truth is 12.5 days older"
    )
