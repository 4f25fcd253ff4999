"""The candidates of `bench/gate.py`: good ones, and bad ones that each carry one planted fault.

A candidate says what its data, recipe, code or surroundings are; the pipeline makes everything else. `expected` names
the guard, the rule of the gate or the reason of the release that has to refuse it.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import gate_home
import numpy as np
from gate_films import CT_HU, Film, cohort, film, pseudonym

from radloop.local.container import pack

BASE: Final = "another draw of patients"
"""A good candidate whose package others start from."""

FAINT: Final = "faint films"
"""A good candidate that learned to see what is hard to see: the champion of those that have one."""

CHAMPION_DAYS: Final = {"behind_champion_days": -3.0}
"""Newer ground truth than the champion's."""

Films = list[Film]
STUDIES: Final[dict[str, Any]] = {
    "parts": {"train": 180, "validation": 80, "test": 120},
    "modality": "CT",
    "contrast": 1.5,
}
BIG: Final = {"train": 260, "validation": 120, "test": 260}
HARD: Final = 0.33
"""Contrast of streaks that are hard to see."""


@dataclass(frozen=True, slots=True)
class Release:
    """What happens to the home of a candidate that is to be released.

    Attributes:
        before: Done to the home after its plan was signed, before the run. Without it the run is that of all others
            without.
        after: Done between registration and release.
        approver: Who tries to approve the version by hand; nobody where it is left to the plan.
    """

    before: Callable[[Path], None] | None = None
    after: Callable[[Path], None] | None = None
    approver: str = ""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One candidate.

    Attributes:
        name: What it is, in words.
        films: Its data.
        expected: Guard, rule or reason that has to refuse it; nothing where it is good.
        recipe: Hyperparameters that differ from those of all.
        code: Planted code by step, names in `gate_plants.FAULTS`.
        spoil: What is done to the package between Train and Evaluate.
        facts: Of the run, where they differ.
        champion: The candidate that is in use already; none where it is empty.
        tuned_on: The part that Train is given for validation.
        like_base: Data and training are those of the base candidate.
        retired: Pseudonyms on the list of retired test patients.
        release: It goes through a whole home, to its release; None where the gate has the last word.
    """

    name: str
    films: partial[Films]
    expected: str = ""
    recipe: Mapping[str, str] = field(default_factory=dict)
    code: Mapping[str, str] = field(default_factory=dict)
    spoil: Callable[[Path], None] | None = None
    facts: Mapping[str, float] = field(default_factory=dict)
    champion: str = ""
    tuned_on: str = "validation"
    like_base: bool = False
    retired: Callable[[], list[str]] = list
    release: Release | None = None

    @property
    def seed(self) -> int:
        """Of its films."""
        return int(self.films.args[0])

    @property
    def is_good(self) -> bool:
        """Whether it has to be accepted."""
        return not self.expected


# Data with a fault


def _part(films: Films, part: str) -> Films:
    return [one for one in films if one.part == part]


def _copied(seed: int, change: Callable[[Film, Film, np.random.Generator], Film], share: float = 0.6) -> Films:
    """A cohort of which a share of the test films are made anew from training films of the same class."""
    films, rng = cohort(seed), np.random.default_rng(seed)
    test = _part(films, "test")
    chosen = {test[at].example.image_set for at in rng.choice(len(test), round(share * len(test)), replace=False)}
    donors = {label: [one for one in _part(films, "train") if one.example.label == label] for label in (0, 1)}
    return [
        change(one, donors[one.example.label].pop(), rng) if one.example.image_set in chosen else one for one in films
    ]


def _same_patient(one: Film, donor: Film, rng: np.random.Generator) -> Film:
    return one.told(patient=donor.example.patient).shown(_retaken(donor, rng))


def _same_study(one: Film, donor: Film, rng: np.random.Generator) -> Film:
    return one.told(study=donor.example.study).shown(_retaken(donor, rng))


def _same_pixels(one: Film, donor: Film, _: np.random.Generator) -> Film:
    return one.shown(donor.picture)


def _near_duplicate(one: Film, donor: Film, rng: np.random.Generator) -> Film:
    brighter = np.clip(donor.picture * rng.uniform(0.9, 1.1) + rng.uniform(-0.05, 0.05), 0, 1)
    return one.shown(np.clip(brighter + rng.normal(0, 0.01, brighter.shape), 0, 1))


def _retaken(donor: Film, rng: np.random.Generator) -> Any:
    """Another picture of the same chest: shifted by some pixels, with grain of its own."""
    down, right = (int(step) for step in rng.integers(-3, 4, 2))
    moved = np.roll(donor.picture, (down, right), (1, 2))
    return np.clip(moved + rng.normal(0, 0.03, moved.shape), 0, 1)


def _marked(seed: int, **told: str) -> Films:
    """Nothing to be seen but a white mark in a corner, on 95 % of the sick and 5 % of the others.

    Args:
        seed: Of the cohort.
        told: A fact of the manifest's line that goes with the mark, by name and value.
    """
    rng, films = np.random.default_rng(seed), []
    for one in cohort(seed, contrast=0):
        has_mark = rng.random() < (0.95 if one.example.label else 0.05)
        picture = one.picture.copy()
        if has_mark:
            picture[:, 2:10, 2:10] = 1.0
        facts = {name: value if has_mark else f"not-{value}" for name, value in told.items()}
        films.append(one.told(**facts).shown(picture))
    return films


def _relabelled(seed: int, share: float, where: tuple[str, ...], **given: Any) -> Films:
    """The label of a share of the films of some parts is the wrong one."""
    rng = np.random.default_rng(seed)
    return [_other_label(one) if one.part in where and rng.random() < share else one for one in cohort(seed, **given)]


def _other_label(one: Film) -> Film:
    return one.told(label=1 - one.example.label, posterior=1.0 - one.example.posterior)


def _shuffled(seed: int) -> Films:
    films = cohort(seed)
    labels = np.random.default_rng(seed).permutation([one.example.label for one in films])
    return [one.told(label=int(label), posterior=float(label)) for one, label in zip(films, labels, strict=True)]


def _collapsed(seed: int) -> Films:
    """One scanner in five is a portable one whose films show no finding at all, in any part."""
    rng, films = np.random.default_rng(seed), []
    for one in cohort(seed, parts=BIG):
        if rng.random() < 0.225:
            films.append(_seen_again(one, seed, contrast=0.0).told(scanner="portable"))
        else:
            films.append(one.told(scanner="fixed"))
    return films


def _subtle(seed: int) -> Films:
    """A quarter are sick, and of those in the test part four in ten have a form that looks like the look-alike."""
    films = cohort(seed, parts=BIG, positive=0.25)
    sick = [one.example.image_set for one in _part(films, "test") if one.example.label]
    missed = set(sick[: round(0.4 * len(sick))])
    return [one.shown(one.picture[:, :, ::-1]) if one.example.image_set in missed else one for one in films]


def _seen_again(one: Film, seed: int, *, contrast: float) -> Film:
    name = one.example.image_set.partition("-")[2]
    return film(seed, name, one.part, label=one.example.label, contrast=contrast)


def _saturated(seed: int) -> Films:
    """CT whose rescale intercept was forgotten in the test part: every slice is 1,024 HU too bright for the window."""
    films = cohort(seed, **STUDIES)
    return [one.shown(one.picture + 1024 / CT_HU) if one.part == "test" else one for one in films]


def _with_external(seed: int, contrast: float) -> Films:
    """A cohort, and 120 patients of another house, on whose films the finding is drawn with this contrast."""
    elsewhere = cohort(seed + 500, parts={"external": 120}, contrast=contrast)
    return [*cohort(seed), *(one.told(source="elsewhere", scanner="another") for one in elsewhere)]


def _counted(seed: int, positive: int, negative: int) -> Films:
    """A cohort whose test part has so many patients of each class."""
    films = cohort(seed, parts={"train": 260, "validation": 120})
    for label, count in ((1, positive), (0, negative)):
        films += [film(seed, f"test-{label}-{at:04d}", "test", label=label) for at in range(count)]
    return films


def _doubted(seed: int) -> Films:
    """Readers are sure to between 0.87 and 1, and wrong as often as that says; weights between 0.5 and 1."""
    rng, films = np.random.default_rng(seed), []
    for one in cohort(seed, parts={**BIG, "test": 400}):
        sure, weight = round(float(rng.uniform(0.87, 1)), 3), round(float(rng.uniform(0.5, 1)), 3)
        label = one.example.label if rng.random() < sure else 1 - one.example.label
        films.append(one.told(label=label, posterior=sure if label else 1 - sure, weight=weight, reads=3))
    return films


def _some_blank(seed: int, share: float) -> Films:
    """A share of the films of every part shows nothing, whoever they are of."""
    rng = np.random.default_rng(seed)
    return [_seen_again(one, seed, contrast=0.0) if rng.random() < share else one for one in cohort(seed, parts=BIG)]


# Packages with a fault


def _tampered(root: Path) -> None:
    """A few bytes in the middle of the network are others than those that Train wrote."""
    path = root / "model" / "model.onnx"
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    for at in range(middle, middle + 4096, 4):
        data[at] ^= 1
    path.unlink()  # the file may have a second name
    path.write_bytes(bytes(data))


def _lost(root: Path) -> None:
    """What drift would be measured against is gone."""
    (root / "model" / "drift_reference.npz").unlink()


def champion_from(root: Path, context: Path) -> None:
    """Put the package of another candidate into a context as the model in use."""
    pack(root / "model", context / "champion.tar.gz")
    (context / "champion.json").write_text(json.dumps({"version": 1, "execution": root.name}))


ALL: Final = (
    # good ones
    Candidate(BASE, partial(cohort, 11)),
    Candidate("a third draw, another seed", partial(cohort, 13), recipe={"seed": "99"}),
    Candidate(
        "attention, and a running average of the weights",
        partial(cohort, 14),
        recipe={"pooling": "attention", "ema": "0.9"},
    ),
    Candidate(
        "varied copies of each film", partial(cohort, 16), recipe={"feature_copies": "2", "augmentation": "0.25"}
    ),
    Candidate(FAINT, partial(cohort, 17, parts=BIG, contrast=HARD)),
    Candidate("faint films, and one in three is sick", partial(cohort, 23, parts=BIG, positive=0.35, contrast=HARD)),
    Candidate("one film in seven shows nothing", partial(_some_blank, 24, 1 / 7)),
    Candidate("doubtful readers, soft labels", partial(_doubted, 18)),
    Candidate("operating point of 95 % sensitivity", partial(cohort, 19), recipe={"target_sensitivity": "0.95"}),
    Candidate(
        "CT studies of six slices",
        partial(cohort, 20, **STUDIES),
        recipe={"learning_rate": "0.01"},
    ),
    Candidate("an external house that is alike", partial(_with_external, 21, 1.0)),
    Candidate(
        "as good as the champion",
        partial(cohort, 22, parts=BIG, contrast=HARD),
        champion=FAINT,
        facts=CHAMPION_DAYS,
    ),
    # data that leak
    Candidate("patients in two parts", partial(_copied, 31, _same_patient), "patient-overlap"),
    Candidate("studies in two parts", partial(_copied, 32, _same_study), "study-overlap"),
    Candidate("patients again under new ids", partial(_copied, 33, _same_pixels), "same-pixels"),
    Candidate("nearly the same films again", partial(_copied, 34, _near_duplicate), "near-duplicates"),
    Candidate(
        "retired test patients came back",
        partial(cohort, 35),
        "retired-patients",
        retired=lambda: [pseudonym(f"35:test-{at:04d}") for at in range(0, 160, 2)],
    ),
    # shortcuts
    Candidate("shortcut by hospital", partial(_marked, 36, source="house-of-the-sick"), "label-by-source"),
    Candidate("shortcut by scanner", partial(_marked, 37, scanner="scanner-of-the-sick"), "label-by-scanner"),
    Candidate("a mark in the corner, unnamed", partial(_marked, 38), "baseline"),
    # labels
    Candidate("shuffled labels", partial(_shuffled, 39), "permutation"),
    Candidate(
        "a quarter of the labels wrong",
        partial(_relabelled, 40, 0.25, ("train", "validation", "test")),
        "accuracy",
    ),
    Candidate(
        "always yes where 92 % are sick",
        partial(cohort, 41, parts={"train": 260, "validation": 120, "test": 640}, positive=0.92, contrast=0.0),
        "specificity",
        recipe={"target_sensitivity": "0.99"},
    ),
    Candidate("too few with the finding", partial(_counted, 42, 30, 90), "positives"),
    Candidate("too few without it", partial(_counted, 43, 90, 30), "negatives"),
    # patients and pixels
    Candidate("one scanner shows nothing", partial(_collapsed, 44), "subgroups"),
    Candidate("a form of the finding it never saw", partial(_subtle, 45), "sensitivity"),
    Candidate("CT through the wrong window", partial(_saturated, 46), "calibration", recipe={"learning_rate": "0.01"}),
    Candidate("another house's films tell it nothing", partial(_with_external, 47, 0.05), "external"),
    # code
    Candidate(
        "sure of everything",
        partial(_relabelled, 48, 0.14, ("train", "validation", "test"), parts=BIG),
        "calibration",
        code={"train": "overconfident"},
    ),
    Candidate(
        "nobody looked for leaks", partial(_copied, 49, _same_pixels), "guards", code={"preprocess": "without-guards"}
    ),
    Candidate("threshold tuned on the test part", partial(cohort, 50), "evidence", tuned_on="test"),
    # what it is held against, and its papers
    Candidate(
        "worse than the champion",
        partial(_relabelled, 51, 0.3, ("train",), parts=BIG, contrast=HARD),
        "champion",
        champion=FAINT,
        facts=CHAMPION_DAYS,
    ),
    Candidate(
        "ground truth of long ago", partial(cohort, 11), "freshness", facts={"newest_label_days": 420.0}, like_base=True
    ),
    Candidate("a package changed after training", partial(cohort, 11), "evidence", spoil=_tampered, like_base=True),
    Candidate("a file of the package is gone", partial(cohort, 11), "evidence", spoil=_lost, like_base=True),
    # behind the gate: the signed plan, the store, and who approves
    Candidate("inside the signed plan", partial(cohort, 61), release=Release()),
    Candidate(
        "approved by somebody who is free",
        partial(cohort, 61),
        release=Release(after=gate_home.by_hand, approver=gate_home.FREE),
    ),
    Candidate(
        "a byte of the policy changed after the plan was signed",
        partial(_counted, 62, 40, 90),
        "policy-outside-plan",
        release=Release(before=gate_home.one_byte_of_the_policy),
    ),
    Candidate(
        "a recipe that the plan does not foresee",
        partial(cohort, 63),
        "recipe-outside-plan",
        release=Release(before=gate_home.another_recipe),
    ),
    Candidate(
        "a byte of the plan changed after it was signed",
        partial(cohort, 61),
        "plan-void",
        release=Release(after=gate_home.one_byte_of_the_plan),
    ),
    Candidate(
        "a package changed in the store after it was registered",
        partial(cohort, 61),
        "package-changed",
        release=Release(after=gate_home.another_package),
    ),
    Candidate(
        "approved by who started the run",
        partial(cohort, 61),
        "separation-of-duties",
        release=Release(after=gate_home.by_hand, approver=gate_home.STARTER),
    ),
)
