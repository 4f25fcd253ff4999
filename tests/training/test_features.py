"""Embeddings that are computed once, and never used for anything but what they were computed for."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from radloop.training import preprocess
from radloop.training.bags import read_part
from radloop.training.checkpoints import Checkpoints
from radloop.training.distributed import Team
from radloop.training.features import features_of
from radloop.training.folder import sha256_of
from radloop.training.hyperparameters import Hyperparameters, parse_hyperparameters
from radloop.training.network import BagClassifier, ResNet50, weights_sha256
from radloop.training.run import Run
from radloop.training.train import main

Dataset = Callable[..., list[dict[str, Any]]]
Channels = Callable[..., None]
ARGUMENTS = ["--image-size", "32", "--tiles-per-bag", "2", "--tiles-in-evaluation", "3"]


@pytest.fixture
def ready(job_root: Path, dataset: Dataset, channels: Channels) -> Path:
    dataset(job_root)
    assert preprocess.main(ARGUMENTS) == 0
    path = job_root / "input" / "data" / "weights" / "resnet50.pth"
    path.parent.mkdir(parents=True)
    torch.manual_seed(4)
    network = ResNet50()
    for name, weight in network.named_parameters():
        if name.endswith("bn3.weight"):  # a fresh network passes by its blocks
            torch.nn.init.constant_(weight, 0.5)
    torch.save(network.state_dict(), path)
    return job_root


def chosen_for(root: Path, **more: object) -> dict[str, str]:
    path = root / "input" / "data" / "weights" / "resnet50.pth"
    base = {"epochs": 3, "batch_size": 3, "seed": 3, "threads": 1, "processes": 1, "frozen_encoder": 1}
    named = {"pretrained": path.name, "pretrained_sha256": sha256_of(path)}
    return {name: str(value) for name, value in {**base, **named, **more}.items()}


@pytest.mark.parametrize("pooling", ["mean", "attention"])
def test_the_cached_embeddings_are_the_networks_own(ready: Path, pooling: str) -> None:
    part = read_part(ready / "processing" / "validation")
    torch.manual_seed(1)
    model = BagClassifier(pooling).eval()
    found = features_of(model, part, Hyperparameters(pooling=pooling), ready / "cache", copies=0, team=Team())
    with torch.inference_mode():
        for at in range(len(part.labels)):
            embeddings = model.embed(torch.from_numpy(part.bag(at)[None]))
            seen = torch.from_numpy(found.of([at], [0]))
            assert seen.shape == (1, 1 if pooling == "mean" else 3, 2048)
            assert torch.allclose(model.judge(seen)[0], model.judge(embeddings)[0], atol=1e-5)


def test_they_are_computed_once_and_again_for_anything_they_depend_on(
    ready: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    part = read_part(ready / "processing" / "train")
    torch.manual_seed(1)
    model = BagClassifier()

    def is_cached(copies: int = 0, **more: Any) -> bool:
        features_of(model, part, Hyperparameters(**more), ready / "cache", copies=copies, team=Team())
        line: dict[str, Any] = json.loads(capsys.readouterr().out)
        return bool(line["cached"])

    assert [is_cached(), is_cached(), is_cached(seed=9, learning_rate=0.1)] == [False, True, True]
    assert [is_cached(2), is_cached(2), is_cached(2, seed=9), is_cached(3)] == [False, True, False, False]
    assert not is_cached(pooling="attention")
    with torch.no_grad():
        model.encoder.fc.bias.add_(1)
    assert is_cached(), "the last line is not what embeddings depend on"
    with torch.no_grad():
        model.encoder.conv1.weight.add_(1e-3)
    assert not is_cached()
    for path in (ready / "cache").iterdir():
        path.write_bytes(b"damaged")
    assert not is_cached()


def test_copies_differ_from_each_other_and_not_from_run_to_run(ready: Path) -> None:
    part = read_part(ready / "processing" / "train")
    torch.manual_seed(1)
    model = BagClassifier()
    first, again = (
        features_of(model, part, Hyperparameters(), ready / name, copies=2, team=Team()) for name in ("one", "two")
    )
    assert first.copies == 2
    assert np.array_equal(first.rows, again.rows)
    assert not np.array_equal(first.rows[0], first.rows[1])


def test_a_frozen_encoder_stays_as_it_came_and_the_rest_learns(ready: Path, channels: Channels) -> None:
    channels(ready, **chosen_for(ready, epochs=30, patience=30, learning_rate=0.01))
    assert main([]) == 0
    state = torch.load(ready / "model" / "model.pt", weights_only=True)
    given = torch.load(ready / "input" / "data" / "weights" / "resnet50.pth", weights_only=True)
    for name, weight in given.items():
        assert name.startswith("fc.") or torch.equal(state[f"encoder.{name}"], weight), name
    last = torch.load(ready / "checkpoints" / "last.pt", weights_only=True)
    assert set(last["model"]) == {"encoder.fc.weight", "encoder.fc.bias"}, "a checkpoint holds what learns"
    history = last["progress"]["history"]
    assert history[-1][0] < 0.5 * history[0][0]


def test_the_features_are_part_of_what_a_checkpoint_belongs_to(ready: Path, channels: Channels) -> None:
    hashes = set()
    for copies in (0, 2):
        chosen = parse_hyperparameters(chosen_for(ready, feature_copies=copies))
        teach, tune = (read_part(ready / "processing" / name) for name in ("train", "validation"))
        weights = ready / "input" / "data" / "weights" / "resnet50.pth"
        run = Run(chosen, teach, tune, Checkpoints(ready / "checkpoints", str(chosen.that_matter())), weights=weights)
        run.go()
        assert run.progress.epoch == 3
        hashes.add(weights_sha256(run.checkpoints.best()))
    assert len(hashes) == 2
