"""The training job: what it writes, and that a kill changes nothing."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from radloop.dicom.intensity import plane_statistics
from radloop.dicom.tiles import TileSpec
from radloop.training import preprocess
from radloop.training.bags import augment, read_part
from radloop.training.checkpoints import Checkpoints, Progress, Resumable
from radloop.training.export import FILES, TAGS
from radloop.training.folder import sha256_of
from radloop.training.hyperparameters import Hyperparameters, parse_hyperparameters
from radloop.training.network import BagClassifier, ResNet50, weights_sha256
from radloop.training.recipes import preprocess_arguments, recipe_for
from radloop.training.run import Run, schedule
from radloop.training.train import main

Dataset = Callable[..., list[dict[str, Any]]]
Channels = Callable[..., None]
ARGUMENTS = ["--image-size", "32", "--tiles-per-bag", "2", "--tiles-in-evaluation", "3"]
SMALL = {"epochs": 2, "patience": 5, "batch_size": 3, "learning_rate": 0.001, "seed": 3, "threads": 1, "processes": 1}


@pytest.fixture
def ready(job_root: Path, dataset: Dataset, channels: Channels) -> Path:
    """A root with preprocessed CT data and hyperparameters."""
    dataset(job_root)
    assert preprocess.main(ARGUMENTS) == 0
    channels(job_root, **SMALL)
    return job_root


@pytest.fixture(scope="module")
def learned(
    tmp_path_factory: pytest.TempPathFactory, dataset: Dataset, channels: Channels
) -> tuple[Path, list[dict[str, Any]]]:
    """A root in which the small training ran, and the lines it printed; to look at."""
    root, said = tmp_path_factory.mktemp("learned"), StringIO()
    dataset(root)
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(said):
        patch.setenv("RADLOOP_ML_ROOT", str(root))
        assert preprocess.main(ARGUMENTS) == 0
        channels(root, **SMALL)
        assert main([]) == 0
    return root, lines_of(said.getvalue())


def pretrained(root: Path) -> dict[str, str]:
    """A file of weights in the channel, and the hyperparameters that name it."""
    path = root / "input" / "data" / "weights" / "resnet50.pth"
    path.parent.mkdir(exist_ok=True)
    torch.manual_seed(8)
    torch.save(ResNet50().state_dict(), path)
    return {"pretrained": path.name, "pretrained_sha256": sha256_of(path)}


class Killed(Checkpoints):
    """Saves one epoch, then the lights go out."""

    def save(self, run: Resumable) -> None:
        super().save(run)
        raise KeyboardInterrupt


def lines_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def test_a_training_writes_a_whole_model_and_one_line_an_epoch(learned: tuple[Path, list[dict[str, Any]]]) -> None:
    root, lines = learned
    epochs = [line for line in lines if line["event"] == "epoch"]
    assert [(line["epoch"], line["epochs"]) for line in epochs] == [(1, 2), (2, 2)]
    assert all({"train_loss", "validation_loss", "seconds"} <= line.keys() for line in epochs)
    assert epochs[0]["seconds_left"] == pytest.approx(epochs[0]["seconds"], abs=0.1)
    assert epochs[1]["seconds_left"] == 0
    model = root / "model"
    assert {path.name for path in model.iterdir()} == {*FILES, "lineage.json"}
    assert TileSpec.from_json(json.loads((model / "preprocess.json").read_text())).size == 32
    lineage = json.loads((model / "lineage.json").read_text())
    assert lineage["train"] == {**lineage["train"], "patients": 6, "positives": 3, "negatives": 3}
    assert lineage["hyperparameters"]["learning_rate"] == "0.001"
    assert lineage["files_sha256"] == {name: sha256_of(model / name) for name in FILES}
    threshold = json.loads((model / "threshold.json").read_text())
    assert 0 < threshold["threshold"] < 1
    assert (threshold["chosen_on"], threshold["target"]) == ("validation", "balanced-accuracy")
    assert 0.05 <= json.loads((model / "calibration.json").read_text())["temperature"] <= 20

    network = BagClassifier()
    network.load_state_dict(torch.load(model / "model.pt", weights_only=True))
    network.eval()
    assert weights_sha256(network.state_dict()) == lineage["weights_sha256"] == lines[-1]["weights_sha256"]
    session = onnxruntime.InferenceSession(model / "model.onnx", providers=["CPUExecutionProvider"])
    for bags, tiles in ((1, 1), (2, 5)):
        x = torch.rand(bags, tiles, 3, 32, 32)
        found = session.run(["logit", "embedding", "attention", "saliency"], {"tiles": x.numpy()})
        with torch.inference_mode():
            expected = network.explain(x)
        for one, other in zip(found, expected, strict=True):
            assert one.shape == tuple(other.shape)
            assert one == pytest.approx(other.numpy(), abs=1e-4)
        assert found[2] == pytest.approx(np.full((bags, tiles), 1 / tiles))


def test_the_drift_reference_tells_what_the_validation_part_is_like(
    learned: tuple[Path, list[dict[str, Any]]],
) -> None:
    root, _ = learned
    part = read_part(root / "processing" / "validation")
    temperature = json.loads((root / "model" / "calibration.json").read_text())["temperature"]
    session = onnxruntime.InferenceSession(root / "model" / "model.onnx", providers=["CPUExecutionProvider"])
    with np.load(root / "model" / "drift_reference.npz", allow_pickle=False) as reference:
        for at in range(len(part.labels)):
            logit, embedding = session.run(["logit", "embedding"], {"tiles": part.bag(at)[None]})
            assert reference["probability"][at] == pytest.approx(1 / (1 + np.exp(-logit[0] / temperature)), abs=1e-4)
            assert reference["embedding"][at] == pytest.approx(embedding[0], abs=1e-4)
            assert np.array_equal(reference["statistics"][at], plane_statistics(part.planes(at)))
        assert np.array_equal(reference["target"], part.targets)
        same = np.equal.outer(reference["patient"], reference["patient"])
        assert np.array_equal(same, np.equal.outer(np.array(part.patients), np.array(part.patients)))
        tags = json.loads(str(reference["tags"]))
    assert [tag["modality"] for tag in tags] == list(part.modalities)
    assert all(tag.keys() == set(TAGS) for tag in tags)


@pytest.mark.parametrize(
    "more",
    [{}, {"ema": "0.9"}, {"pooling": "attention"}, {"frozen_encoder": "1", "feature_copies": "2", "ema": "0.9"}],
    ids=["plain", "average", "attention", "features"],
)
def test_a_training_that_was_killed_ends_with_the_same_weights(ready: Path, more: Mapping[str, str]) -> None:
    torch.set_num_threads(1)
    teach, tune = (read_part(ready / "input" / "data" / name) for name in ("train", "validation"))
    named = pretrained(ready) if "frozen_encoder" in more else {}
    chosen = parse_hyperparameters({**SMALL, **more, **named})
    weights = ready / "input" / "data" / "weights" / "resnet50.pth" if named else None

    def run(name: str, checkpoints: type[Checkpoints] = Checkpoints) -> Run:
        made = Run(chosen, teach, tune, checkpoints(ready / name, "same"), weights=weights)
        made.go()
        return made

    whole = run("a")
    with pytest.raises(KeyboardInterrupt):
        run("b", Killed)
    again = run("b")
    assert again.progress == whole.progress
    assert again.progress.epoch == 2
    assert weights_sha256(again.served.state_dict()) == weights_sha256(whole.served.state_dict())
    assert weights_sha256(again.model.state_dict()) == weights_sha256(whole.model.state_dict())
    assert weights_sha256(whole.checkpoints.best()) == weights_sha256(again.checkpoints.best())


def test_the_same_data_and_seed_give_the_same_weights_and_another_seed_others(
    ready: Path, channels: Channels, capsys: pytest.CaptureFixture[str]
) -> None:
    hashes = []
    for seed in (3, 3, 4):
        for folder in ("checkpoints", "model"):
            if (ready / folder).exists():
                (ready / folder).rename(ready / f"{folder}-{len(hashes)}")
        channels(ready, **{**SMALL, "epochs": 1, "seed": seed})
        assert main([]) == 0
        hashes.append(lines_of(capsys.readouterr().out)[-1]["weights_sha256"])
    assert hashes[0] == hashes[1] != hashes[2]
    assert (ready / "model-1" / "model.onnx").read_bytes() == (ready / "model-2" / "model.onnx").read_bytes()


def test_a_checkpoint_of_another_training_is_not_used(ready: Path, capsys: pytest.CaptureFixture[str]) -> None:
    teach, tune = (read_part(ready / "input" / "data" / name) for name in ("train", "validation"))
    chosen = parse_hyperparameters({**SMALL, "epochs": "1"})
    Run(chosen, teach, tune, Checkpoints(ready / "c", "one")).go()
    assert Checkpoints(ready / "c", "one").last() is not None
    assert Checkpoints(ready / "c", "two").last() is None
    assert "checkpoint_ignored" in capsys.readouterr().out


@pytest.mark.slow
def test_kill_9_in_the_middle_and_a_second_start_give_the_same_files(ready: Path) -> None:
    command = [sys.executable, "-m", "radloop.training.train"]
    environment = {**os.environ, "RADLOOP_ML_ROOT": str(ready), "OMP_NUM_THREADS": "1"}
    subprocess.run(command, env=environment, check=True, capture_output=True)
    model = ready / "model"
    whole = {name: (model / name).read_bytes() for name in (*FILES, "lineage.json")}
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
    sha256 = pretrained(ready)["pretrained_sha256"]
    for wrong, reason in (
        ({"epochs": "many"}, "hyperparameter epochs is not a number"),
        ({"depth": "3"}, "there is no hyperparameter depth"),
        ({"patience": "0"}, "at least 1"),
        ({"ema": "1"}, "below 1"),
        ({"pooling": "max"}, "pooling is one of mean, attention"),
        ({"frozen_batchnorm": "2"}, "are 0 or 1"),
        ({"frozen_encoder": "1"}, "a frozen encoder needs pretrained weights"),
        ({"image_size": "64"}, "image_size is 64, but the data were preprocessed to 32"),
        ({"pretrained": "resnet50.pth"}, "needs pretrained_sha256"),
        ({"pretrained": "other.pth", "pretrained_sha256": sha256}, "not in the weights channel"),
        ({"pretrained": "resnet50.pth", "pretrained_sha256": "0" * 64}, "not the one that pretrained_sha256 asks for"),
    ):
        channels(ready, **{**SMALL, **wrong})
        assert main([]) == 1
        assert reason in failure.read_text()
    channels(ready, **SMALL)
    (ready / "processing" / "train" / "images" / "train-0.npy").write_bytes(b"")
    assert main([]) == 1
    assert failure.read_text() == "train-0.npy is missing or damaged\n"
    manifest = ready / "processing" / "train" / "manifest.json"
    text = manifest.read_text()
    manifest.write_text(text.replace('"label": 1', '"posterior": 1.5, "label": 1', 1))
    assert main([]) == 1
    (ready / "input" / "data" / "train").unlink()
    channels(ready, **SMALL)
    manifest.unlink()
    assert main([]) == 1
    assert failure.read_text() == "train/manifest.json is missing\n"


def test_hyperparameters_come_as_strings_and_sagemakers_own_are_passed_over() -> None:
    chosen = parse_hyperparameters(
        {"epochs": "7", "learning_rate": "1e-4", "sagemaker_program": "train.py", "seed": ""}
    )
    assert (chosen.epochs, chosen.learning_rate, chosen.seed) == (7, 1e-4, Hyperparameters().seed)
    assert parse_hyperparameters(chosen.to_json()) == chosen


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


def test_the_average_is_kept_validated_and_served(ready: Path) -> None:
    torch.set_num_threads(1)
    teach, tune = (read_part(ready / "input" / "data" / name) for name in ("train", "validation"))
    runs = {}
    for ema in ("0", "0.9"):
        chosen = parse_hyperparameters({**SMALL, "ema": ema, "epochs": "1"})
        runs[ema] = Run(chosen, teach, tune, Checkpoints(ready / f"ema-{ema}", "x"))
        runs[ema].go()
    raw, averaged = runs["0"].model.state_dict(), runs["0.9"].served.state_dict()
    assert weights_sha256(runs["0.9"].model.state_dict()) == weights_sha256(raw), "the average changes no step"
    assert weights_sha256(averaged) != weights_sha256(raw)
    assert weights_sha256(runs["0.9"].checkpoints.best()) == weights_sha256(averaged)
    assert runs["0"].judge().loss != runs["0.9"].judge().loss


@pytest.mark.parametrize("strength", [0.25, 1.0, 2.0])
def test_variation_keeps_shape_range_and_side(strength: float) -> None:
    tiles = np.zeros((2, 3, 32, 32), dtype=np.float32)
    tiles[:, :, 4:28, 3:8] = 0.8
    for seed in range(40):
        varied = augment(tiles.copy(), np.random.default_rng(seed), strength)
        assert varied.shape == tiles.shape
        assert varied.dtype == np.float32
        assert 0 <= varied.min() <= varied.max() <= 1
        assert varied[..., :16].mean() > varied[..., 16:].mean() + 0.05, "never mirrored"


def test_a_bag_as_training_sees_it_is_never_mirrored_nor_turned(ready: Path) -> None:
    part = read_part(ready / "input" / "data" / "train")
    ramp = np.broadcast_to(np.linspace(0, 255, 32).astype(np.uint8), (4, 32, 32))
    np.save(part.files[0], ramp)
    for seed in range(40):
        tiles = part.varied_bag(0, np.random.default_rng(seed), 1.0)
        across, down = tiles.mean(axis=(0, 1, 2)), tiles.mean(axis=(0, 1, 3))
        assert across[-6:].mean() > across[:6].mean() + 0.5
        assert np.ptp(down) < 0.1


def test_x_rays_come_in_greater_batches_and_never_share_an_array_with_ct(ready: Path) -> None:
    teach, tune = (read_part(ready / "input" / "data" / name) for name in ("train", "validation"))
    mixed = replace(teach, modalities=("CT", "DX", "CT", "DX", "DX", "DX"))
    chosen = parse_hyperparameters({**SMALL, "batch_size": 1, "batch_tiles": 4, "tiles_at_once": 3})
    run = Run(chosen, mixed, tune, Checkpoints(ready / "d", "any"))
    order = run._order(0)
    assert sorted(order.tolist()) == list(range(6))
    batches = list(run._batches(order))
    assert sorted(at for batch in batches for at in batch) == list(range(6))
    assert len(batches) == 2, "two CTs of two tiles and four views are two steps of four tiles"
    assert list(run._portions(np.arange(6), [0, 1, 2, 3, 4, 5])) == [[1, 3], [4, 5], [0], [2]]
    assert [mixed.varied_bag(at, np.random.default_rng(1), 1.0).shape[0] for at in (0, 1)] == [2, 1]


def test_a_recipe_is_all_strings_that_training_understands() -> None:
    for cores, gpu in ((1, False), (2, False), (8, True), (64, False)):
        recipe = recipe_for(cores, gpu, pretrained_sha256="a" * 64 if gpu else None)
        assert parse_hyperparameters(recipe).threads == cores
        assert preprocess_arguments(recipe)[:2] == ["--image-size", recipe["image_size"]]
    full = parse_hyperparameters(recipe_for(8, True, pretrained_sha256="a" * 64))
    assert (full.image_size, full.epochs, full.patience, full.batch_size) == (224, 50, 5, 32)
    assert (full.learning_rate, full.pretrained) == (1e-3, "resnet50.pth")
