"""The training job: what it writes, and that a kill changes nothing."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from radloop.dicom.tiles import TileSpec
from radloop.training import preprocess
from radloop.training.bags import augment, read_part
from radloop.training.export import choose_threshold
from radloop.training.network import BagClassifier
from radloop.training.recipes import preprocess_arguments, recipe_for
from radloop.training.train import (
    Checkpoints,
    Hyperparameters,
    Progress,
    Run,
    balanced_loss,
    main,
    parse_hyperparameters,
    schedule,
)

Dataset = Callable[..., list[dict[str, Any]]]
Channels = Callable[..., None]
SMALL = {"epochs": 2, "patience": 5, "batch_size": 3, "learning_rate": 0.001, "seed": 3, "threads": 1}


@pytest.fixture
def ready(job_root: Path, dataset: Dataset, channels: Channels) -> Path:
    """A root with preprocessed CT data and hyperparameters."""
    dataset(job_root)
    assert preprocess.main(["--image-size", "32", "--tiles-per-bag", "2", "--tiles-in-evaluation", "3"]) == 0
    channels(job_root, **SMALL)
    return job_root


class Killed(Checkpoints):
    """Saves one epoch, then the lights go out."""

    def save(self, run: Run) -> None:
        super().save(run)
        raise KeyboardInterrupt


def test_a_training_writes_a_whole_model_and_one_line_an_epoch(ready: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    epochs = [line for line in lines if line["event"] == "epoch"]
    assert [(line["epoch"], line["epochs"]) for line in epochs] == [(1, 2), (2, 2)]
    assert all({"train_loss", "validation_loss", "seconds"} <= line.keys() for line in epochs)
    model = ready / "model"
    assert {path.name for path in model.iterdir()} == {
        "model.onnx",
        "model.pt",
        "preprocess.json",
        "threshold.json",
        "labels.json",
        "lineage.json",
        "drift_reference.npz",
    }
    assert TileSpec.from_json(json.loads((model / "preprocess.json").read_text())).size == 32
    lineage = json.loads((model / "lineage.json").read_text())
    assert lineage["train"] == {**lineage["train"], "patients": 6, "positives": 3, "negatives": 3}
    assert lineage["hyperparameters"]["learning_rate"] == "0.001"
    assert 0 < json.loads((model / "threshold.json").read_text())["threshold"] < 1

    network = BagClassifier()
    network.load_state_dict(torch.load(model / "model.pt", weights_only=True))
    network.eval()
    session = onnxruntime.InferenceSession(model / "model.onnx", providers=["CPUExecutionProvider"])
    for bags, tiles in ((1, 1), (2, 5)):
        x = torch.rand(bags, tiles, 3, 32, 32)
        logit, embedding = session.run(None, {"tiles": x.numpy()})
        with torch.inference_mode():
            expected = network(x)
        assert logit == pytest.approx(expected[0].numpy(), abs=1e-4)
        assert embedding == pytest.approx(expected[1].numpy(), abs=1e-4)


def test_a_training_that_was_killed_ends_with_the_same_weights(ready: Path) -> None:
    torch.set_num_threads(1)
    teach, tune = (read_part(ready / "input" / "data" / name) for name in ("train", "validation"))
    chosen = parse_hyperparameters(SMALL)

    whole = Run(chosen, teach, tune, Checkpoints(ready / "a", "same"), None)
    whole.go()
    with pytest.raises(KeyboardInterrupt):
        Run(chosen, teach, tune, Killed(ready / "b", "same"), None).go()
    again = Run(chosen, teach, tune, Checkpoints(ready / "b", "same"), None)
    again.go()

    assert again.progress == whole.progress
    assert again.progress.epoch == 2
    for name, weights in whole.model.state_dict().items():
        assert torch.equal(weights, again.model.state_dict()[name]), name
    assert whole.checkpoints.best().keys() == again.checkpoints.best().keys()


def test_a_checkpoint_of_another_training_is_not_used(ready: Path, capsys: pytest.CaptureFixture[str]) -> None:
    teach, tune = (read_part(ready / "input" / "data" / name) for name in ("train", "validation"))
    chosen = parse_hyperparameters({**SMALL, "epochs": "1"})
    Run(chosen, teach, tune, Checkpoints(ready / "c", "one"), None).go()
    other = Run(chosen, teach, tune, Checkpoints(ready / "c", "two"), None)
    other.checkpoints.restore(other)
    assert other.progress == Progress()
    assert "checkpoint_ignored" in capsys.readouterr().out


@pytest.mark.slow
def test_kill_9_in_the_middle_and_a_second_start_give_the_same_files(ready: Path) -> None:
    command = [sys.executable, "-m", "radloop.training.train"]
    environment = {**os.environ, "RADLOOP_ML_ROOT": str(ready), "OMP_NUM_THREADS": "1"}
    subprocess.run(command, env=environment, check=True, capture_output=True)
    model = ready / "model"
    whole = {name: (model / name).read_bytes() for name in ("model.pt", "threshold.json", "lineage.json")}
    for folder in ("model", "checkpoints"):
        (ready / folder).rename(ready / f"first-{folder}")
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        for line in running.stdout:
            if json.loads(line)["event"] == "epoch":
                running.send_signal(signal.SIGKILL)
                break
    second = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert '"event": "resumed"' in second.stdout
    for name, data in whole.items():
        assert (model / name).read_bytes() == data, name


def test_what_cannot_be_trained_on_leaves_a_reason(ready: Path, channels: Channels) -> None:
    failure = ready / "output" / "failure"
    for wrong, reason in (
        ({"epochs": "many"}, "hyperparameter epochs is not a number"),
        ({"depth": "3"}, "there is no hyperparameter depth"),
        ({"patience": "0"}, "at least 1"),
        ({"image_size": "64"}, "image_size is 64, but the data were preprocessed to 32"),
        ({"pretrained": "resnet50.pth"}, "not in the weights channel"),
    ):
        channels(ready, **{**SMALL, **wrong})
        assert main([]) == 1
        assert reason in failure.read_text()
    channels(ready, **SMALL)
    (ready / "processing" / "train" / "images" / "train-0.npy").write_bytes(b"")
    assert main([]) == 1
    assert failure.read_text() == "train-0.npy is missing or damaged\n"
    (ready / "input" / "data" / "train").unlink()
    channels(ready, **SMALL)
    (ready / "processing" / "train" / "manifest.json").unlink()
    assert main([]) == 1
    assert failure.read_text() == "train/manifest.json is missing\n"


def test_hyperparameters_come_as_strings_and_sagemakers_own_are_passed_over() -> None:
    chosen = parse_hyperparameters(
        {"epochs": "7", "learning_rate": "1e-4", "sagemaker_program": "train.py", "seed": ""}
    )
    assert (chosen.epochs, chosen.learning_rate, chosen.seed) == (7, 1e-4, Hyperparameters().seed)


def test_patience_counts_epochs_without_a_better_validation_loss() -> None:
    chosen = Hyperparameters(epochs=9, patience=2)
    progress = Progress().after(0.7, 0.6).after(0.6, 0.5).after(0.5, 0.55)
    assert (progress.epoch, progress.best_epoch) == (3, 2)
    assert not progress.is_over(chosen)
    assert progress.after(0.4, 0.5).is_over(chosen)
    assert not progress.after(0.4, 0.49).is_over(chosen)


def test_the_learning_rate_rises_then_falls() -> None:
    rates = [schedule(at / 100) for at in range(101)]
    assert max(rates) == pytest.approx(1.0)
    assert np.argmax(rates) == 10
    assert rates[0] == pytest.approx(0.1)
    assert rates[-1] == pytest.approx(0.01)


def test_both_classes_weigh_the_same_however_rare_one_is() -> None:
    labels = np.array([1, 0, 0, 0], dtype=np.float32)
    wrong_positive = balanced_loss(torch.tensor([-5.0, -5, -5, -5]), labels, labels)
    wrong_negatives = balanced_loss(torch.tensor([5.0, 5, 5, 5]), labels, labels)
    assert float(wrong_positive) == pytest.approx(float(wrong_negatives))


def test_a_threshold_lies_in_the_widest_gap_that_parts_best() -> None:
    labels = np.array([0, 0, 0, 1, 1], dtype=np.float32)
    assert choose_threshold(labels, np.array([0.1, 0.2, 0.3, 0.9, 0.8])) == pytest.approx(0.55)
    assert choose_threshold(labels, np.full(5, 0.4)) == 0.5


def test_variation_keeps_shape_range_and_side() -> None:
    tiles = np.zeros((2, 3, 32, 32), dtype=np.float32)
    tiles[:, :, 4:28, 3:8] = 0.8
    for seed in range(20):
        varied = augment(tiles.copy(), np.random.default_rng(seed))
        assert varied.shape == tiles.shape
        assert varied.dtype == np.float32
        assert 0 <= varied.min() <= varied.max() <= 1
        assert varied[..., :16].mean() > varied[..., 16:].mean() + 0.05, "never mirrored"


def test_x_rays_come_in_greater_batches_and_never_share_an_array_with_ct(ready: Path) -> None:
    teach, tune = (read_part(ready / "input" / "data" / name) for name in ("train", "validation"))
    mixed = replace(teach, modalities=("CT", "DX", "CT", "DX", "DX", "DX"))
    chosen = parse_hyperparameters({**SMALL, "batch_size": 1, "batch_tiles": 4, "tiles_at_once": 3})
    run = Run(chosen, mixed, tune, Checkpoints(ready / "d", "any"), None)
    batches = list(run._batches(np.random.default_rng(1)))
    assert sorted(at for batch in batches for at in batch) == list(range(6))
    assert len(batches) == 2, "two CTs of two tiles and four views are two steps of four tiles"
    assert list(run._portions([0, 1, 2, 3, 4, 5])) == [[1, 3], [4, 5], [0], [2]]
    assert [mixed.varied_bag(at, np.random.default_rng(1), 1.0).shape[0] for at in (0, 1)] == [2, 1]


def test_a_recipe_is_all_strings_that_training_understands() -> None:
    for cores, gpu in ((1, False), (2, False), (8, True), (64, False)):
        recipe = recipe_for(cores, gpu, pretrained=gpu)
        assert parse_hyperparameters(recipe).threads == cores
        assert preprocess_arguments(recipe)[:2] == ["--image-size", recipe["image_size"]]
    full = parse_hyperparameters(recipe_for(8, True, pretrained=True))
    assert (full.image_size, full.epochs, full.patience, full.batch_size) == (224, 50, 5, 32)
    assert (full.learning_rate, full.pretrained) == (1e-3, "resnet50.pth")
