"""What a model trained on children's X-rays notices when adults' ones come instead, and how seldom it cries wolf.

    python bench/drift.py [--work DIR] [--draws 1000] [--frozen]

The model is trained by the pipeline's own Preprocess and Train on cxr-kermany; with `--work` the folders stay, and
those of `bench/learning.py kermany --work DIR` are used where they are there. With `--frozen` the encoder has random
weights and only the last layer learns, which takes a minute instead of a quarter of an hour. All it is then shown are
patients it has never seen: the locked test patients of the same source, and all of cxr-nih. Data come from
RADLOOP_TEST_DATA.

**A draw** is a hundred patients, drawn without replacement, one X-ray of each, in random order, taken through the whole
watch from its beginning: seven blocks (four of 25, two of 50, one of 100), every one looked at by all five monitors.
A draw of one kind of film holds fewer where there are fewer.
It counts as an alarm if any block raises any alarm. The reference is the model's own.
"""

import argparse
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from learning import KERMANY, NIH, SMALL, job, lay_out, once, train, xrays
from report import Row, tell

from radloop.core.datasets import EXTERNAL, read_manifest
from radloop.core.settings import Settings
from radloop.dicom.intensity import STATISTICS
from radloop.local.container import pack
from radloop.monitoring.drift import (
    BLOCKS,
    INPUTS,
    PREVALENCE,
    Alarm,
    Examination,
    Studies,
    advance,
    examine,
    independent,
)
from radloop.monitoring.feedback import roc_auc
from radloop.serving.predict import Prediction, Predictor
from radloop.training.folder import sha256_of
from radloop.training.network import Bottleneck, ResNet50
from radloop.training.recipes import PRETRAINED_FILE, preprocess_arguments

IN_A_DRAW = 100
BUDGET = Settings().drift_images_per_false_alarm


@dataclass(frozen=True, slots=True)
class Shown:
    """Studies that the model was shown, and what it said."""

    said: list[Prediction]
    patients: npt.NDArray[np.str_]
    labels: npt.NDArray[np.int64]

    @property
    def refused(self) -> float:
        """Share that it would not judge."""
        return float(np.mean([each.refused is not None for each in self.said]))

    def studies(self, at: npt.NDArray[np.intp]) -> Studies:
        """Some of them as drift sees them, in the precision in which answers are kept."""
        chosen = [self.said[place] for place in at]
        return Studies(
            embedding=np.stack([each.components for each in chosen]).astype(np.float16).astype(np.float32),
            probability=np.array([each.probability for each in chosen], np.float32),
            statistics=np.stack([each.statistics for each in chosen]),
            tags=tuple({"modality": "DX", "scanner": "unknown", "view": "unknown"} for _ in chosen),
        )

    def drawn(self, rng: np.random.Generator, among: npt.NDArray[np.bool_] | None = None) -> Studies:
        """A draw, see above; `among` narrows down what is drawn from."""
        places = np.arange(len(self.said)) if among is None else np.flatnonzero(among)
        order = rng.permutation(places)
        first = np.sort(np.unique(self.patients[order], return_index=True)[1])
        return self.studies(order[first][rng.permutation(len(first))[:IN_A_DRAW]])


FROZEN = {
    **SMALL,
    "frozen_encoder": "1",
    "epochs": "60",
    "patience": "10",
    "batch_size": "64",
    "learning_rate": "0.01",
    "weight_decay": "0.001",
    "pretrained": PRETRAINED_FILE,
}


def random_encoder(root: Path) -> str:
    """Random weights as if somebody had learned them elsewhere; SHA-256 of the file.

    As initialised every block is its short cut; here each adds a little, so that the encoder is one of all its layers.
    """
    torch.manual_seed(1)
    encoder = ResNet50()
    for block in encoder.modules():
        if isinstance(block, Bottleneck):
            torch.nn.init.constant_(block.bn3.weight, 0.3)
    path = root / "input" / "data" / "weights" / PRETRAINED_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(encoder.state_dict(), path)
    return sha256_of(path)


def learn(root: Path, *, is_frozen: bool) -> None:
    """Train, in full or the last layer alone."""
    train(root, {**FROZEN, "pretrained_sha256": random_encoder(root)} if is_frozen else SMALL)


def model_of(work: Path, *, is_frozen: bool) -> tuple[Predictor, Path]:
    """The model, trained if it is not there yet, and the folder it was trained in."""
    root = work / "kermany"

    def both(dataset: Path) -> Any:
        yield from xrays(KERMANY, dataset)
        yield from xrays(NIH, dataset, split=EXTERNAL)

    once(root / "laid", lambda: lay_out(both)(root))
    once(root / "preprocessed", lambda: job(root, "Preprocess", preprocess_arguments(SMALL)))
    once(root / "trained", lambda: learn(root, is_frozen=is_frozen))
    packed = work / "model.tar.gz"
    pack(root / "model", packed)
    return Predictor(packed, threads=int(SMALL["threads"])), root


def shown(predictor: Predictor, root: Path) -> dict[str, Shown]:
    """What the model says of everything it was not trained on, by part of the data set."""
    dataset = root / "processing" / "input" / "dataset"
    found: dict[str, tuple[list[Prediction], list[str], list[int]]] = {}
    for example in read_manifest((dataset / "manifest.jsonl").read_text()):
        if example.split in {"test", EXTERNAL}:
            said, patients, labels = found.setdefault(example.split, ([], [], []))
            said.append(predictor.predict(np.load(dataset / example.file), example.modality))
            patients.append(example.patient)
            labels.append(example.label)
    return {name: Shown(said, np.array(patients), np.array(labels)) for name, (said, patients, labels) in found.items()}


def spoiled(predictor: Predictor, root: Path) -> dict[str, float]:
    """Share refused of what is no chest film at all, made of the held-out films or of nothing."""
    dataset = root / "processing" / "input" / "dataset"
    films = [
        np.load(dataset / example.file)
        for example in read_manifest((dataset / "manifest.jsonl").read_text())
        if example.split == "test"
    ][:60]
    rng = np.random.default_rng(3)
    ways: Mapping[str, Callable[[npt.NDArray[np.uint16]], npt.NDArray[np.uint16]]] = {
        "white noise": lambda film: rng.integers(0, 65536, film.shape).astype(np.uint16),
        "inverted": lambda film: (65535 - film).astype(np.uint16),
        "wrong window, far too narrow": lambda film: np.where(film > 32768, 65535, 0).astype(np.uint16),
        "wrong window, nearly black": lambda film: (film // 12).astype(np.uint16),
        "a hand-like phantom": lambda film: hand(film.shape[1:], rng),
        "upside down": lambda film: film[:, ::-1].copy(),
    }
    return {
        name: float(np.mean([predictor.predict(way(film), "DX").refused is not None for film in films]))
        for name, way in ways.items()
    }


def hand(shape: tuple[int, ...], rng: np.random.Generator) -> npt.NDArray[np.uint16]:
    """Five bright bars on a palm, black around them: what a film of a hand has in common with one of a chest."""
    down, across = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    grey = 0.55 * (((across / 0.55) ** 2 + ((down - 0.55) / 0.5) ** 2) < 1)
    for finger, place in enumerate(np.linspace(-0.5, 0.5, 5)):
        tip = -0.8 + 0.15 * abs(finger - 2) + 0.05 * rng.standard_normal()
        grey = np.maximum(grey, 0.5 * ((np.abs(across - place) < 0.08) & (down > tip) & (down < 0.5)))
        grey = np.maximum(grey, 0.8 * ((np.abs(across - place) < 0.035) & (down > tip) & (down < 0.4)))
    grey = grey + 0.01 * rng.standard_normal(grey.shape)
    return np.asarray(np.clip(grey, 0, 1) * 65535, dtype=np.uint16)[None]


def walked(reference: Studies, stream: Studies, seed: int) -> tuple[list[Examination], dict[str, Alarm], int | None]:
    """A stream through the watch from its beginning: every examination, the alarms at its end, studies to the first."""
    found, alarms, first = [], dict[str, Alarm](), None
    for counted in range(BLOCKS[0], len(stream) + 1, BLOCKS[0]):
        for size in BLOCKS:
            if counted % size == 0:
                block = stream.chosen(np.arange(counted - size, counted))
                examination = examine(reference, block, images_per_false_alarm=BUDGET, seed=seed + counted)
                alarms = advance(alarms, examination, str(counted))
                found.append(examination)
        if first is None and any(alarm.is_on for alarm in alarms.values()):
            first = counted
    return found, alarms, first


def many(what: str, reference: Studies, draw: Callable[[np.random.Generator], Studies], draws: int) -> tuple[
    Counter[str], list[int]
]:  # fmt: skip
    """Alarms of many draws by cause (at the end of the draw), and studies to the first alarm."""
    causes, delays = Counter[str](), []
    for number in range(draws):
        _, alarms, first = walked(reference, draw(np.random.default_rng((11, number))), number)
        on = [alarm.name for alarm in alarms.values() if alarm.is_on]
        causes[on[0] if on else "ended" if first is not None else "none"] += 1
        if first is not None:
            delays.append(first)
    print(f"{what}: {dict(causes)}")
    return causes, delays


def bench(work: Path, draws: int, *, is_frozen: bool) -> list[Row]:
    predictor, root = model_of(work, is_frozen=is_frozen)
    held = predictor.reference
    assert held is not None
    reference = independent(
        Studies(
            held.embedding.astype(np.float16).astype(np.float32),
            held.probability,
            held.statistics,
            held.tags,
            held.target,
        ),
        held.patient,
    )
    parts = shown(predictor, root)
    same, other = parts["test"], parts[EXTERNAL]
    probability = np.array([each.probability for each in same.said])
    rows = [
        Row("ROC AUC on held-out films", float(roc_auc(probability, same.labels > 0) or 0), "", 0.5, "chance"),
        Row("refused, held-out films of the same source", 100 * same.refused, "%", 2.0, "at most"),
        Row("refused, adults of another hospital", 100 * other.refused, "%"),
        *(Row(f"refused, {name}", 100 * share, "%") for name, share in spoiled(predictor, root).items()),
    ]
    quiet, _ = many("same source", reference, same.drawn, draws)
    rows.append(Row(f"draws of the same source with an alarm, of {draws}", draws - quiet["none"], "", 1.0, "at most"))
    few = max(1, draws // 10)
    drifted, delays = many("another hospital", reference, other.drawn, few)
    rows += [
        Row(f"draws of another hospital with an alarm, of {few}", few - drifted["none"], "", few, "all"),
        Row("studies to the alarm, at most", float(max(delays, default=0)), "", IN_A_DRAW, "within"),
        Row("of these, told as a change of the images", drifted[INPUTS], "", few, "all"),
    ]
    for label, name in ((0, "normal films only"), (1, "pneumonia only")):
        shifted, _ = many(name, reference, lambda rng, only=label: same.drawn(rng, same.labels == only), few)
        rows += [
            Row(f"draws of {name}, same source, with an alarm, of {few}", few - shifted["none"], "", few, "all"),
            Row("of these, told as a change of prevalence", shifted[PREVALENCE], "", few, "all"),
        ]
    print(f"reference: {len(held)} studies, {len(reference)} patients; {len(STATISTICS)} statistics")
    print(f"same source: {len(same.said)} studies of {len(set(same.patients))} patients")
    print(f"another hospital: {len(other.said)} studies of {len(set(other.patients))} patients")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, help="keep the folders here, and go on with what is there")
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--frozen", action="store_true", help="random encoder, learn the last layer only")
    chosen = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as made:
        work = chosen.work or Path(made)
        work.mkdir(parents=True, exist_ok=True)
        rows = bench(work.resolve(), chosen.draws, is_frozen=chosen.frozen)
    network = "last layer trained on a random encoder" if chosen.frozen else "trained by the recipe for small machines"
    tell("drift", f"cxr-kermany, split by patient; cxr-nih; ResNet-50 at 64 px, {network}", rows, load)


if __name__ == "__main__":
    main()
