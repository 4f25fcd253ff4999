"""The evaluation job: the figures are those of the ONNX file on the test part, and the gate speaks in sentences."""

import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics as oracle

from radloop.dicom.tiles import TileSpec
from radloop.training import preprocess
from radloop.training.bags import Part, read_part
from radloop.training.evaluate import main, predict_part, unpack
from radloop.training.export import write_model
from radloop.training.network import BagClassifier

Dataset = Callable[..., list[dict[str, Any]]]
SPEC = TileSpec(32, 2, 3)
ARGUMENTS = ["--image-size", "32", "--tiles-per-bag", "2", "--tiles-in-evaluation", "3"]


def fitted(part: Part) -> tuple[BagClassifier, torch.Tensor]:
    """A network with random features whose last line says exactly the part's labels."""
    torch.manual_seed(4)
    model = BagClassifier().eval()
    with torch.no_grad():
        embedding = model(torch.from_numpy(np.stack([part.bag(at) for at in range(len(part.labels))])))[1]
        wanted = torch.from_numpy(part.labels * 10 - 5)
        model.encoder.fc.bias.zero_()
        model.encoder.fc.weight.copy_((torch.linalg.pinv(embedding) @ wanted)[None])
    return model, embedding


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, dataset: Dataset) -> Path:
    """Preprocessed data and a model that is right about every test image, made once."""
    root = tmp_path_factory.mktemp("job")
    dataset(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RADLOOP_ML_ROOT", str(root))
        assert preprocess.main(ARGUMENTS) == 0
    model, embedding = fitted(read_part(root / "processing" / "test"))
    write_model(root / "made", model, spec=SPEC, threshold=0.5, lineage={}, reference=embedding.numpy())
    pack(root, leave_out={"model.pt"})
    return root


@pytest.fixture
def ready(job_root: Path, prepared: Path) -> Path:
    """A root of this test's own with the test part and the packed model."""
    shutil.copytree(prepared / "processing" / "test", job_root / "processing" / "test")
    (job_root / "processing" / "model").symlink_to(prepared / "processing" / "model")
    return job_root


def pack(root: Path, *, leave_out: set[str]) -> None:
    archive = root / "processing" / "model" / "model.tar.gz"
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        for path in sorted((root / "made").iterdir()):
            if path.name not in leave_out:
                tar.add(path, arcname=f"./{path.name}")


def evaluation(root: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((root / "processing" / "evaluation" / "evaluation.json").read_text())
    return found


def relabel(root: Path, flip: Callable[[int, int], int]) -> None:
    """Change the labels of the test part; `flip` gets place and label."""
    path = root / "processing" / "test" / "manifest.json"
    manifest = json.loads(path.read_text())
    for at, item in enumerate(manifest["items"]):
        item["label"] = flip(at, item["label"])
    path.write_text(json.dumps(manifest))


def test_a_model_that_is_always_right_is_approved(ready: Path) -> None:
    assert main(["--accuracy-threshold", "0.85"]) == 0
    found = evaluation(ready)
    assert found["confusion_matrix"] == {"tn": 3, "fp": 0, "fn": 0, "tp": 3}
    assert {name: metric["value"] for name, metric in found["metrics"].items()} == dict.fromkeys(
        ("accuracy", "precision", "recall", "f1", "roc_auc"), 1.0
    )
    assert found["test"] == {"patients": 6, "image_sets": 6, "positives": 3, "negatives": 3}
    assert found["gate"]["approved"] is True


def test_the_figures_are_scikit_learns_on_what_the_onnx_file_says(ready: Path) -> None:
    relabel(ready, lambda at, label: 1 - label if at in (1, 4) else label)
    assert main([]) == 0
    found = evaluation(ready)
    test = read_part(ready / "processing" / "test")
    scores = predict_part(unpack(ready / "processing" / "model" / "model.tar.gz"), test, threads=1)
    said = scores >= 0.5
    assert found["metrics"]["accuracy"]["value"] == pytest.approx(oracle.accuracy_score(test.labels, said))
    assert found["metrics"]["roc_auc"]["value"] == pytest.approx(oracle.roc_auc_score(test.labels, scores))
    tn, fp, fn, tp = oracle.confusion_matrix(test.labels, said).ravel().tolist()
    assert found["confusion_matrix"] == {"tn": tn, "fp": fp, "fn": fn, "tp": tp}
    assert fp + fn == 2


def test_a_bad_model_is_evaluated_and_refused_with_its_figure(ready: Path) -> None:
    relabel(ready, lambda _, label: 1 - label)
    assert main(["--accuracy-threshold", "0.85"]) == 0, "refusing is the job done, not a failure"
    gate = evaluation(ready)["gate"]
    assert gate["approved"] is False
    assert [rule["sentence"] for rule in gate["rules"] if not rule["passed"]] == [
        "Accuracy 0.0000 on 6 test image sets is below the limit of 0.8500."
    ]
    assert main(["--accuracy-threshold", "0"]) == 0
    assert evaluation(ready)["gate"]["approved"] is True, "the limit comes from the command line"


def test_a_test_part_with_one_class_is_refused_by_the_gate(ready: Path) -> None:
    relabel(ready, lambda _, __: 1)
    assert main(["--accuracy-threshold", "0"]) == 0
    found = evaluation(ready)
    assert found["metrics"]["roc_auc"] == {"value": None}
    assert found["gate"]["approved"] is False


def test_a_package_that_cannot_be_used_leaves_a_reason(ready: Path, prepared: Path) -> None:
    (ready / "processing" / "model").unlink()
    (ready / "made").symlink_to(prepared / "made")
    pack(ready, leave_out={"model.pt", "model.onnx"})
    assert main([]) == 1
    assert "lacks one of the files of a model" in (ready / "output" / "failure").read_text()
    (ready / "processing" / "model" / "model.tar.gz").write_bytes(b"\x1f\x8bno archive")
    assert main([]) == 1


def test_a_test_part_made_for_other_tiles_is_refused(ready: Path) -> None:
    path = ready / "processing" / "test" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["tile_spec"]["window_width"] = 400.0
    path.write_text(json.dumps(manifest))
    assert main([]) == 1
    assert "for other tiles than the model was trained on" in (ready / "output" / "failure").read_text()
