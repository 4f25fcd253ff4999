"""Serving: the same pixels take the same way and get the same answer as in training."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from radloop.core.errors import Corrupt, InvalidInput
from radloop.dicom.tiles import TileSpec, bag_of, planes_of
from radloop.serving.predict import Predictor
from radloop.training.export import write_model
from radloop.training.network import BagClassifier

SPEC = TileSpec(size=32, tiles_per_bag=2, tiles_in_evaluation=4)


@pytest.fixture(scope="module")
def network() -> BagClassifier:
    torch.manual_seed(5)
    return BagClassifier().eval()


@pytest.fixture(scope="module")
def package(network: BagClassifier, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder: Path = tmp_path_factory.mktemp("model")
    write_model(folder, network, spec=SPEC, threshold=0.4, lineage={}, reference=np.zeros((1, 2048), dtype=np.float32))
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", compresslevel=1) as tar:
        tar.add(folder, arcname=".")
    return out.getvalue()


@pytest.mark.parametrize("modality", ["CT", "DX"])
def test_an_answer_is_the_networks_own(modality: str, package: bytes, network: BagClassifier) -> None:
    rng = np.random.default_rng(6)
    volume = rng.integers(-1000, 400, (6, 40, 40)).astype(np.int16 if modality == "CT" else np.uint16)
    said = Predictor(package).predict(volume, modality)
    with torch.inference_mode():
        tiles = bag_of(planes_of(volume, modality, SPEC), modality, SPEC)
        logit, embedding = network(torch.from_numpy(tiles)[None])
    assert said.probability == pytest.approx(float(torch.sigmoid(logit)), abs=1e-5)
    assert said.embedding == pytest.approx(embedding[0].numpy(), abs=1e-4)
    assert said.threshold == 0.4
    assert said.finding == ("present" if said.probability >= 0.4 else "absent")


def test_bytes_and_file_and_a_second_look_give_the_same(package: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.tar.gz").write_bytes(package)
    volume = np.random.default_rng(7).integers(-1000, 400, (3, 40, 40)).astype(np.int16)
    predictor = Predictor(package, threads=1)
    first = predictor.predict(volume, "CT")
    assert first == predictor.predict(volume, "CT")
    assert first == Predictor(tmp_path / "model.tar.gz").predict(volume, "CT")


def test_pixels_of_another_kind_are_refused(package: bytes) -> None:
    with pytest.raises(InvalidInput):
        Predictor(package).predict(np.zeros((1, 8, 8), np.float32), "CT")


def test_a_damaged_package_is_refused() -> None:
    with pytest.raises(Corrupt):
        Predictor(b"no archive")
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        text = json.dumps(SPEC.to_json()).encode()
        info = tarfile.TarInfo("preprocess.json")
        info.size = len(text)
        tar.addfile(info, io.BytesIO(text))
    with pytest.raises(Corrupt):
        Predictor(out.getvalue())
