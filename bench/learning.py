"""What radloop learns from real X-rays and from phantom CTs, by the steps of its own pipeline.

    python bench/learning.py [kermany] [nih] [ct] [recipes] [--work DIR]

Each part lays out a data set, runs Preprocess, Train and Evaluate as processes on folders, the way the runner does, and
reads `evaluation.json`: patients the model never saw, intervals over patients. With `--work` the folders stay, what is
done is not done again, and a training that was interrupted goes on from its last epoch.

    kermany   children's X-rays; the adults of NIH as an external set that nothing was learned from
    nih       adults' X-rays alone
    ct        phantom chest CTs, and whether the saliency points at the lesion
    recipes   the choices that the defaults rest on: running average of the weights or not, mean or attention; pairs of
              trainings, three seeds each

The X-rays come from RADLOOP_TEST_DATA. OMP_NUM_THREADS sets the threads.
"""

import argparse
import csv
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from lesions import Pointing, draw, point
from report import Row, tell

from radloop.codec.pictures import grey_pixels
from radloop.core.datasets import EXTERNAL, Example, Split, split_of
from radloop.dicom.phantom import PhantomStudy, lesion_mask, phantom_cohort
from radloop.evaluation import policy
from radloop.local.container import pack
from radloop.pipeline.pipeline_builder import MODULES
from radloop.training.recipes import preprocess_arguments, recipe_for

THREADS = int(os.environ.get("OMP_NUM_THREADS", "2"))
SMALL = {**recipe_for(1, gpu=False), "threads": str(THREADS)}
LIMIT_S = 600.0
PHANTOMS = {Split.TRAIN: 48, Split.VALIDATION: 16, Split.TEST: 40}
SEEDS = ("7", "8", "9")
SHORT = {**SMALL, "epochs": "4", "patience": "4"}
AVERAGED = {"ema": "0.95"}
"""Its memory of some twenty steps is a quarter of a short training, as that of 0.99 is a fifth of a whole one."""
PICTURE = Path(__file__).parents[1] / "docs" / "pictures" / "lesions.png"
Rows = list[Row]
Lay = Callable[[Path], None]


@dataclass(frozen=True, slots=True)
class Source:
    """A folder of X-rays with labels.csv, and what is known of all of them."""

    folder: str
    name: str
    age_band: str
    licence: str


KERMANY = Source("cxr-kermany", "kermany", "0-17", "CC-BY-4.0")
NIH = Source("cxr-nih", "nih", "unknown", "NIH-attribution")


# Data sets


def xrays(source: Source, dataset: Path, *, split: str | None = None) -> Iterator[Example]:
    """Write the pixels of every X-ray and give its line; the split follows from the patient unless it is told."""
    folder = Path(os.environ["RADLOOP_TEST_DATA"]) / source.folder
    with (folder / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for number, row in enumerate(rows):
        pixels, _ = grey_pixels((folder / row["file"]).read_bytes())
        name = f"{source.name}-{number:04d}"
        np.save(dataset / "images" / f"{name}.npy", pixels.astype(np.uint16)[None] * 257)
        patient = f"{source.name}:{row['patient_id']}"
        yield Example(
            image_set=name,
            version=1,
            patient=pseudonym(patient),
            study=pseudonym(f"{patient}:{number}"),
            split=split or str(split_of(row["patient_id"])),
            label=int(row["label"] != "normal"),
            posterior=float(row["label"] != "normal"),
            modality="DX",
            file=f"images/{name}.npy",
            source=source.name,
            age_band=source.age_band,
            licence=source.licence,
        )


def phantoms(dataset: Path) -> Iterator[Example]:
    """The same of made-up patients in made-up scanners."""
    for study in phantom_cohort(per_class=PHANTOMS):
        first = pydicom.dcmread(BytesIO(study.files[0]), stop_before_pixels=True)
        name = study.patient_id
        volume, order = volume_of(study)
        np.save(dataset / "images" / f"{name}.npy", volume)
        if study.label:
            (dataset / "lesions").mkdir(exist_ok=True)
            np.save(dataset / "lesions" / f"{name}.npy", lesion_mask(int(name.rpartition("-")[2]))[order])
        yield Example(
            image_set=name,
            version=1,
            patient=pseudonym(name),
            study=pseudonym(study.study_uid),
            split=str(split_of(name)),
            label=study.label,
            posterior=float(study.label),
            modality="CT",
            file=f"images/{name}.npy",
            source="phantom",
            scanner=str(first.ManufacturerModelName).lower().replace(" ", "-"),
            sex=str(first.PatientSex),
            licence="made-up",
        )


def volume_of(study: PhantomStudy) -> tuple[npt.NDArray[np.int16], list[int]]:
    """HU of a phantom, int16 (slices, rows, columns), head first; and the numbers of its files in that order."""
    slices = []
    for number, data in enumerate(study.files):
        file = pydicom.dcmread(BytesIO(data))
        hu = file.pixel_array.astype(np.int32) * int(file.RescaleSlope) + int(file.RescaleIntercept)
        slices.append((-float(file.ImagePositionPatient[2]), number, hu.astype(np.int16)))
    slices.sort(key=lambda one: one[:2])
    return np.stack([hu for _, _, hu in slices]), [number for _, number, _ in slices]


def pseudonym(of: str) -> str:
    return hashlib.sha256(f"bench:{of}".encode()).hexdigest()[:32]


def lay_out(make: Callable[[Path], Iterator[Example]]) -> Lay:
    """A data set as the runner would lay it out."""

    def lay(root: Path) -> None:
        dataset = root / "processing" / "input" / "dataset"
        (dataset / "images").mkdir(parents=True, exist_ok=True)
        lines = [example.line() for example in make(dataset)]
        (dataset / "manifest.jsonl").write_bytes(b"".join(lines))

    return lay


# The pipeline's steps


def learn(root: Path, lay: Lay, recipe: Mapping[str, str]) -> dict[str, Any]:
    """Data set, Preprocess, Train, Evaluate; what is done is not done again. The evaluation."""
    once(root / "laid", lambda: lay(root))
    once(root / "preprocessed", lambda: job(root, "Preprocess", preprocess_arguments(recipe)))
    once(root / "trained", lambda: train(root, recipe))
    once(root / "evaluated", lambda: evaluate(root))
    evaluation: dict[str, Any] = json.loads((root / "processing" / "evaluation" / "evaluation.json").read_text())
    return evaluation


def once(mark: Path, do: Callable[[], object]) -> None:
    if not mark.exists():
        do()
        mark.touch()


def train(root: Path, recipe: Mapping[str, str]) -> None:
    (root / "input" / "config").mkdir(parents=True, exist_ok=True)
    (root / "input" / "config" / "hyperparameters.json").write_text(json.dumps(dict(recipe)))
    (root / "input" / "data").mkdir(exist_ok=True)
    for part in ("train", "validation"):
        channel = root / "input" / "data" / part
        if not channel.exists():
            channel.symlink_to(root / "processing" / part)
    job(root, "Train", [])


def evaluate(root: Path) -> None:
    model, context = root / "processing" / "model", root / "processing" / "context"
    for folder in (model, context):
        folder.mkdir(exist_ok=True)
    pack(root / "model", model / "model.tar.gz")
    (context / "policy.json").write_text(policy.load("").canonical())
    (context / "facts.json").write_text(json.dumps({"newest_label_days": 0.0, "behind_champion_days": None}))
    job(root, "Evaluate", ["--threads", str(THREADS)])


def job(root: Path, step: str, arguments: list[str]) -> None:
    """One step as a process; its lines are kept in `<step>.log`, in small letters, over several tries too."""
    command = [sys.executable, "-m", MODULES[step], *arguments]
    environment = {**os.environ, "RADLOOP_ML_ROOT": str(root), "OMP_NUM_THREADS": str(THREADS)}
    with (root / f"{step.lower()}.log").open("a") as log:
        ended = subprocess.run(command, env=environment, stdout=log, check=False)
    if ended.returncode:
        failure = root / "output" / "failure"
        sys.exit(f"{step} failed: {failure.read_text() if failure.is_file() else ended.returncode}")


def seconds_of(root: Path, which: str = "seconds") -> float:
    """Seconds of all epochs; of one that was trained twice, since a kill came between, the second try."""
    seconds = {line["epoch"]: float(line.get(which, 0)) for line in lines_of(root) if line["event"] == "epoch"}
    return sum(seconds.values())


def least_loss_of(root: Path) -> float:
    return min(float(line["validation_loss"]) for line in lines_of(root) if line["event"] == "epoch")


def lines_of(root: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (root / "train.log").read_text().splitlines() if line.startswith("{")]


# What was found


def figures(what: str, found: Mapping[str, Any], against: str = "") -> Rows:
    """ROC AUC with its interval, and the figures at the operating point."""
    metrics = found["metrics"]
    auc = metrics["roc_auc"]
    rows = [
        Row(f"{what}: ROC AUC", auc["value"], "", 0.5, against or "chance"),
        Row(f"{what}: ROC AUC, lower 95 %", auc["ci_low"], ""),
        Row(f"{what}: ROC AUC, upper 95 %", auc["ci_high"], ""),
    ]
    others = [name for name in ("accuracy", "recall", "specificity", "brier", "ece") if name in metrics]
    return [*rows, *(Row(f"{what}: {name}", metrics[name]["value"], "") for name in others)]


def verdict(what: str, found: Mapping[str, Any]) -> Rows:
    """What the gate says, and which rules do not hold; their sentences are printed."""
    refused = [rule for rule in found["gate"]["rules"] if not rule["passed"]]
    for rule in refused:
        print(rule["sentence"])
    against = "refused by: " + ", ".join(rule["name"] for rule in refused) if refused else "no rule refuses"
    return [Row(f"{what}: gate approves", float(found["gate"]["approved"]), "", None, against)]


def training_time(what: str, root: Path) -> Rows:
    return [
        Row(f"{what}: training", seconds_of(root), "s", LIMIT_S, "ten minutes"),
        Row(f"{what}: training, CPU", seconds_of(root, "cpu_seconds"), "s"),
    ]


def baseline(what: str, found: Mapping[str, Any]) -> Rows:
    known = found.get("baseline") or {}
    return [Row(f"{what}: 15 trivial numbers, ROC AUC", known["roc_auc"]["value"], "")] if "roc_auc" in known else []


def children_and_adults(dataset: Path) -> Iterator[Example]:
    yield from xrays(KERMANY, dataset)
    yield from xrays(NIH, dataset, split=EXTERNAL)


def bench_kermany(work: Path) -> Rows:
    root = work / "kermany"
    found = learn(root, lay_out(children_and_adults), SMALL)
    rows = [*figures("children", found), *baseline("children", found), *training_time("children", root)]
    if found.get("external"):
        rows += figures("the same model on adults of NIH", found["external"])
    return [*rows, *verdict("children, adults as external set", found)]


def bench_nih(work: Path) -> Rows:
    root = work / "nih"
    found = learn(root, lay_out(lambda dataset: xrays(NIH, dataset)), SMALL)
    rows = [*figures("adults", found), *baseline("adults", found), *training_time("adults", root)]
    return [*rows, *verdict("adults", found)]


def bench_ct(work: Path) -> Rows:
    root = work / "ct"
    found = learn(root, lay_out(phantoms), SMALL)
    pointing = point(root)
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    PICTURE.write_bytes(draw(pointing, root))
    rows = [*figures("phantoms", found), *baseline("phantoms", found), *training_time("phantoms", root)]
    return [*rows, *_pointed(pointing), *verdict("phantoms", found)]


def _pointed(pointing: list[Pointing]) -> Rows:
    """How often the strongest place lies in the lesion, with its interval over patients."""
    hits = np.array([one.is_hit for one in pointing], dtype=np.float64)
    chance = np.array([one.chance for one in pointing])
    elsewhere = np.array([one.elsewhere for one in pointing])
    rng = np.random.default_rng(7)
    draws = rng.integers(len(hits), size=(2000, len(hits)))
    low, high = np.percentile(hits[draws].mean(axis=1), (2.5, 97.5))
    above = float(np.percentile((hits - np.maximum(chance, elsewhere))[draws].mean(axis=1), 2.5))
    return [
        Row(f"saliency points at the lesion, {len(hits)} patients", float(hits.mean()), "", chance.mean(), "any place"),
        Row("saliency points at the lesion, lower 95 %", float(low), ""),
        Row("saliency points at the lesion, upper 95 %", float(high), ""),
        Row("places of other patients' maps", float(elsewhere.mean()), ""),
        Row("above both chance levels, lower 95 %", above, ""),
    ]


def bench_recipes(work: Path) -> Rows:
    """Pairs of trainings that differ in one hyperparameter alone: what the change is worth, seed by seed.

    The children's are short; phantoms learn nothing in so few steps, and take the whole recipe.
    """
    rows = []
    sets: dict[str, tuple[Lay, dict[str, str], list[dict[str, str]]]] = {
        "children": (lay_out(few_children), SHORT, [AVERAGED]),
        "phantoms": (lay_out(phantoms), SMALL, [AVERAGED, {"pooling": "attention"}]),
    }
    for what, (lay, recipe, changes) in sets.items():
        prepared = work / f"recipes-{what}"
        once(prepared / "laid", lambda: lay(prepared))  # noqa: B023 — called at once
        once(prepared / "preprocessed", lambda: job(prepared, "Preprocess", preprocess_arguments(SMALL)))  # noqa: B023
        plain = [told_apart(prepared, recipe, {"seed": seed}) for seed in SEEDS]
        for change in changes:
            named = ", ".join(f"{name} = {value}" for name, value in change.items())
            changed = [told_apart(prepared, recipe, {**change, "seed": seed}) for seed in SEEDS]
            for figure, words in (("loss", "least validation loss"), ("brier", "Brier on test"), ("auc", "ROC AUC")):
                before, after = ([each[figure] for each in some] for some in (plain, changed))
                each = ", ".join(f"{b:.4f} -> {a:.4f}" for b, a in zip(before, after, strict=True))
                means = sum(after) / len(after), sum(before) / len(before)
                rows.append(Row(f"{what}, {named}: {words}", means[0], "", means[1], f"without; {each}"))
    return rows


def few_children(dataset: Path) -> Iterator[Example]:
    """Every patient of validation and test, and of the training part a third of the X-rays."""
    for number, example in enumerate(xrays(KERMANY, dataset)):
        if example.split != str(Split.TRAIN) or number % 3 == 0:
            yield example


def told_apart(prepared: Path, recipe: Mapping[str, str], change: Mapping[str, str]) -> dict[str, float]:
    """Train on what is prepared, and look at validation and test alone: neither baseline nor controls are asked."""
    root = prepared.with_name("-".join((prepared.name, *(f"{name}={value}" for name, value in change.items()))))
    if not (root / "evaluated").exists():
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(prepared, root, copy_function=os.link)
        train(root, {**recipe, **change})
        shutil.rmtree(root / "processing" / "train")
        evaluate(root)
        (root / "evaluated").touch()
    metrics = json.loads((root / "processing" / "evaluation" / "evaluation.json").read_text())["metrics"]
    return {"loss": least_loss_of(root), "brier": metrics["brier"]["value"], "auc": metrics["roc_auc"]["value"]}


PARTS: dict[str, tuple[Callable[[Path], Rows], str]] = {
    "kermany": (bench_kermany, "cxr-kermany, 1,200 X-rays of 812 children; cxr-nih as external set; split by patient"),
    "nih": (bench_nih, "cxr-nih, 606 X-rays of 409 adults, split by patient"),
    "ct": (
        bench_ct,
        f"phantom CTs of 16 slices, studies a class: {', '.join(f'{k} {v}' for k, v in PHANTOMS.items())}",
    ),
    "recipes": (
        bench_recipes,
        f"a third of what cxr-kermany has to learn from, {SHORT['epochs']} epochs; all phantom CTs; seed by seed",
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="which; all by default")
    parser.add_argument("--work", type=Path, help="keep the folders here, and go on with what is there")
    chosen = parser.parse_args()
    for name in chosen.parts or PARTS:
        bench, data = PARTS[name]
        load = os.getloadavg()[0]
        with tempfile.TemporaryDirectory() as made:
            work = chosen.work or Path(made)
            work.mkdir(parents=True, exist_ok=True)
            rows = bench(work.resolve())
        tell(f"learning-{name}", f"{data}; recipe for small machines, {THREADS} threads", rows, load)


if __name__ == "__main__":
    main()
