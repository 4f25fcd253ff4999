"""Does the gate refuse what it must, for the right reason, and accept what is good?

    python bench/gate.py [--only WORD ...] [--work DIR] [--again]

24 bad candidates with one planted fault each, and 12 good ones, go through the pipeline's own steps as processes on
folders: Preprocess, Train, Evaluate, under the policy that radloop comes with. Five more bad ones and two good ones
pass the gate and go on to their release, each in a home with a signed plan (`bench/gate_home.py`). Nobody writes a
figure by hand. A bad one counts as refused for the right reason only where the guard, the rule or the reason that its
fault is meant for refused it; others may have refused it too. Beside it stands what a gate would have said that asks
for an accuracy above 0.85 alone.

The films are made up (`bench/gate_films.py`), so that it needs no data. One encoder is trained first, by the step Train
on patients of its own; candidates learn their last line on it. Where a guard stops a candidate, the same data are run
once more with the guards' stop taken out, only to learn that accuracy.

With `--work` what was found is kept there, and what is done is not done again: a run may be cut into several.
OMP_NUM_THREADS sets the threads of a candidate; as many candidates are at work at once as there are cores for.
"""

import argparse
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import gate_home
import torch
from gate_candidates import ALL, BASE, FAINT, Candidate, Release, champion_from
from gate_films import SIZE, cohort, write
from report import Row, tell
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from radloop.evaluation import policy
from radloop.local.container import pack
from radloop.pipeline.pipeline_builder import MODULES
from radloop.training.folder import sha256_of
from radloop.training.recipes import PRETRAINED_FILE, preprocess_arguments

THREADS: Final = int(os.environ.get("OMP_NUM_THREADS", "2"))
AT_ONCE: Final = max(1, (os.cpu_count() or 1) // THREADS)
PLAIN_ACCURACY: Final = 0.85
ENCODER: Final = {
    "epochs": "2",
    "patience": "2",
    "batch_size": "16",
    "learning_rate": "0.001",
    "augmentation": "0.25",
    "image_size": str(SIZE),
    "tiles_per_bag": "4",
    "tiles_in_evaluation": "6",
    "threads": str(THREADS),
}
RECIPE: Final = {
    **ENCODER,
    "epochs": "40",
    "patience": "40",
    "batch_size": "32",
    "learning_rate": "0.002",
    "frozen_encoder": "1",
    "pretrained": PRETRAINED_FILE,
}
BORDER: Final = 0.95
"""A good candidate of at most this accuracy is no easy one."""

KEPT: Final = (BASE, FAINT)
"""Candidates that others rest on."""

ENCODER_PARTS: Final = {"train": 500, "validation": 60, "test": 20}
_STOP: Final = re.compile(r"(?:^|; )([a-z]+(?:-[a-z]+)+): ")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a candidate.

    Attributes:
        refused_by: Guards that stopped it, rules that refused it, or reasons why it was not released; empty where it
            was accepted.
        why: The first sentence of the refusal, of the expected rule where that is among them.
        accuracy: On the test part; of one that a guard stopped, with the guards' stop taken out.
        seconds: Of all its steps, and of what it shares with others where it was the first to need it.
        seed: Of its films.
        load: Average of the machine in the minute before it.
    """

    name: str
    expected: str
    refused_by: tuple[str, ...]
    why: str
    accuracy: float | None
    seconds: float
    seed: int
    load: float

    @property
    def is_right(self) -> bool:
        """Accepted where it is good, refused by what it must be refused by where it is not."""
        return self.expected in self.refused_by if self.expected else not self.refused_by

    @property
    def is_let_through(self) -> bool:
        """Whether accuracy alone would have accepted it."""
        return self.accuracy is not None and self.accuracy > PLAIN_ACCURACY


class Stopped(Exception):
    """A step ended with a reason."""


_SHARED: Final = threading.Lock()
"""Held while something is made that several candidates rest on."""


# The steps


def run(candidate: Candidate, work: Path, encoder: str) -> Outcome:
    """Take a candidate through the pipeline, and on to its release where it is one of those."""
    begun, load = time.monotonic(), os.getloadavg()[0]
    root = work / _slug(candidate.name)
    shutil.rmtree(root, ignore_errors=True)
    if candidate.release is None:
        refused, evaluation = _through_the_gate(candidate, root, work, encoder)
    else:
        settled = _released(candidate, candidate.release, root, work, encoder)
        refused, evaluation = settled.refused, settled.evaluation
    if candidate.name not in KEPT:
        shutil.rmtree(root)
    return Outcome(
        name=candidate.name,
        expected=candidate.expected,
        refused_by=tuple(refused),
        why=refused.get(candidate.expected) or next(iter(refused.values()), ""),
        accuracy=evaluation["metrics"]["accuracy"]["value"] if evaluation else None,
        seconds=round(time.monotonic() - begun, 1),
        seed=candidate.seed,
        load=round(load, 1),
    )


def _through_the_gate(
    candidate: Candidate, root: Path, work: Path, encoder: str
) -> tuple[Mapping[str, str], Mapping[str, Any]]:
    """Sentences by the guard or rule that refuses it, and the evaluation."""
    try:
        evaluation = _evaluated(candidate, root, work, encoder, candidate.code)
    except Stopped as stopped:
        refused = {name: str(stopped) for name in _STOP.findall(str(stopped)) or ["broken"]}
        return refused, _accuracy_alone(candidate, root, work, encoder)
    return {rule["name"]: rule["sentence"] for rule in evaluation["gate"]["rules"] if not rule["passed"]}, evaluation


def _released(candidate: Candidate, release: Release, root: Path, work: Path, encoder: str) -> gate_home.Settled:
    """Run it in a home of its own, or in a copy of the one whose run all share, up to its release."""
    if release.before is not None:
        _run_at_home(candidate, release, root, work, encoder)
    else:
        home = work / "home"
        with _SHARED:
            if not home.is_dir():
                _run_at_home(candidate, release, home, work, encoder)
        shutil.copytree(home, root)
    if release.after is not None:
        release.after(root)
    return gate_home.settle(root, release.approver)


def _run_at_home(candidate: Candidate, release: Release, home: Path, work: Path, encoder: str) -> None:
    """Lay out a home and let it run the pipeline; a home that has its name is one whose run has ended."""
    unfinished = home.with_name(f"{home.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    gate_home.lay_out(unfinished, {**RECIPE, "pretrained_sha256": encoder, **candidate.recipe})
    if release.before is not None:
        release.before(unfinished)
    gate_home.run(unfinished, candidate.films(), work / "encoder.pth")
    unfinished.rename(home)


def _accuracy_alone(candidate: Candidate, root: Path, work: Path, encoder: str) -> dict[str, Any]:
    """The same data with the guards' stop taken out: what is looked at of it is the accuracy."""
    shutil.rmtree(root)
    with suppress(Stopped):
        return _evaluated(candidate, root, work, encoder, {**candidate.code, "preprocess": "unguarded"})
    return {}


def _evaluated(candidate: Candidate, root: Path, work: Path, encoder: str, code: Mapping[str, str]) -> dict[str, Any]:
    recipe = {**RECIPE, "pretrained_sha256": encoder, **candidate.recipe}
    if candidate.like_base:
        shutil.copytree(_folder_of(BASE, work, encoder), root, copy_function=os.link)
    else:
        dataset = root / "processing" / "input" / "dataset"
        write(candidate.films(), dataset)
        (dataset / "snapshot.json").write_text(json.dumps({"retired_patients": candidate.retired()}))
        step(root, "preprocess", preprocess_arguments(recipe), code)
        _train(root, work / "encoder.pth", recipe, candidate.tuned_on, code)
    if candidate.spoil:
        candidate.spoil(root)
    return _judged(root, candidate, work, encoder)


def _train(root: Path, weights: Path | None, recipe: Mapping[str, str], tuned_on: str, code: Mapping[str, str]) -> None:
    for folder in ("config", "data/weights"):
        (root / "input" / folder).mkdir(parents=True)
    (root / "input" / "config" / "hyperparameters.json").write_text(json.dumps(dict(recipe)))
    for channel, part in (("train", "train"), ("validation", tuned_on)):
        (root / "input" / "data" / channel).symlink_to(Path("../../processing") / part)
    if weights is not None:
        (root / "input" / "data" / "weights" / PRETRAINED_FILE).symlink_to(weights)
    step(root, "train", [], code)
    shutil.rmtree(root / "checkpoints", ignore_errors=True)


def _judged(root: Path, candidate: Candidate, work: Path, encoder: str) -> dict[str, Any]:
    model, context = root / "processing" / "model", root / "processing" / "context"
    for folder in (model, context):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    pack(root / "model", model / "model.tar.gz")
    (context / "policy.json").write_text(policy.load("").canonical())
    facts = {"newest_label_days": 1.0, "behind_champion_days": None, **candidate.facts}
    (context / "facts.json").write_text(json.dumps(facts))
    if candidate.champion:
        champion_from(_folder_of(candidate.champion, work, encoder), context)
    written = root / "processing" / "evaluation"
    shutil.rmtree(written, ignore_errors=True)
    step(root, "evaluate", ["--threads", str(THREADS)], {})
    found: dict[str, Any] = json.loads((written / "evaluation.json").read_text())
    return found


def step(root: Path, name: str, arguments: Sequence[str], code: Mapping[str, str]) -> None:
    """One step as a process, with planted code where there is any.

    Raises:
        Stopped: With the sentence that the step left.
    """
    planted = Path(__file__).with_name("gate_plants.py")
    program = [str(planted), code[name], name] if name in code else ["-m", MODULES[name.capitalize()]]
    environment = {**os.environ, "RADLOOP_ML_ROOT": str(root), "OMP_NUM_THREADS": str(THREADS)}
    with (root / f"{name}.log").open("w") as log:
        ended = subprocess.run(
            [sys.executable, *program, *arguments], env=environment, stdout=log, stderr=log, check=False
        )
    if ended.returncode:
        failure = root / "output" / "failure"
        raise Stopped(failure.read_text().strip() if failure.is_file() else f"{name} ended with {ended.returncode}")


# What candidates share


def _folder_of(name: str, work: Path, encoder: str) -> Path:
    """The folder of a candidate that others rest on, trained now if it is not there."""
    root = work / _slug(name)
    with _SHARED:
        if not (root / "model" / "lineage.json").is_file():
            shutil.rmtree(root, ignore_errors=True)
            _evaluated(next(one for one in ALL if one.name == name), root, work, encoder, {})
    return root


def encoder_of(work: Path) -> str:
    """SHA-256 of the encoder that all candidates start from; trained by the step Train if it is not there."""
    file, root = work / "encoder.pth", work / "encoder"
    if not file.is_file():
        shutil.rmtree(root, ignore_errors=True)
        write(cohort(7, parts=ENCODER_PARTS), root / "processing" / "input" / "dataset")
        step(root, "preprocess", preprocess_arguments(ENCODER), {})
        _train(root, None, ENCODER, "validation", {})
        state = torch.load(root / "model" / "model.pt", map_location="cpu", weights_only=True)
        prefix = "encoder."
        torch.save({name.removeprefix(prefix): state[name] for name in state if name.startswith(prefix)}, file)
        shutil.rmtree(root)
    return sha256_of(file)


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


# What was found


def found_of(candidate: Candidate, work: Path, encoder: str, *, again: bool) -> Outcome:
    """What became of a candidate, now or in an earlier run."""
    kept = work / "outcomes" / f"{_slug(candidate.name)}.json"
    if kept.is_file() and not again:
        told = json.loads(kept.read_text())
        if told["expected"] == candidate.expected:
            return Outcome(**{**told, "refused_by": tuple(told["refused_by"])})
    outcome = run(candidate, work, encoder)
    kept.parent.mkdir(exist_ok=True, parents=True)
    kept.write_text(json.dumps(asdict(outcome), indent=1))
    return outcome


def verdict(outcomes: Sequence[Outcome]) -> str:
    """The last line."""
    good, bad = [one for one in outcomes if not one.expected], [one for one in outcomes if one.expected]
    border = [one for one in good if one.accuracy is not None and one.accuracy <= BORDER]
    return (
        f"refused {sum(one.is_right for one in bad)} of {len(bad)} for the right reason, "
        f"accepted {sum(one.is_right for one in good)} of {len(good)}, "
        f"{sum(one.is_right for one in border)} of {len(border)} with an accuracy of {BORDER} at most; "
        f"accuracy > {PLAIN_ACCURACY} alone would have "
        f"let through {sum(one.is_let_through for one in bad)} of {len(bad)} bad ones, "
        f"and accepted {sum(one.is_let_through for one in good)} of {len(good)} good ones"
    )


def rows_of(outcomes: Sequence[Outcome]) -> list[Row]:
    """The outcomes as rows: the accuracy of each, and what the gate said."""
    rows = []
    for one in outcomes:
        wanted = f"to be refused by {one.expected}" if one.expected else "to be accepted"
        said = f"refused by {', '.join(one.refused_by)}" if one.refused_by else "accepted"
        told = f"{'as it should be' if one.is_right else 'NOT as it should be'}: {said}; {wanted}"
        told += f"; seed {one.seed}, {one.seconds:.0f} s, load {one.load:.1f} before"
        rows.append(Row(f"{one.name}: accuracy", one.accuracy or 0.0, "", PLAIN_ACCURACY, told))
    good, bad = [one for one in outcomes if not one.expected], [one for one in outcomes if one.expected]
    rows += [
        Row("bad ones, refused for the right reason", sum(one.is_right for one in bad), "", len(bad), "all of them"),
        Row("bad ones, refused at all", sum(bool(one.refused_by) for one in bad), "", len(bad), "all of them"),
        Row("good ones, accepted", sum(one.is_right for one in good), "", len(good), "all of them"),
        Row("bad ones, let through by accuracy alone", sum(one.is_let_through for one in bad), "", 0, "none of them"),
        Row("time of all", sum(one.seconds for one in outcomes), "s"),
    ]
    return rows


def table_of(outcomes: Sequence[Outcome]) -> Table:
    """For the terminal."""
    table = Table(title="gate", title_justify="left", box=None, caption=verdict(outcomes), caption_justify="left")
    for heading in ("candidate", "the gate", "refused by", "as expected", "accuracy", "> 0.85 alone", "s"):
        table.add_column(heading, justify="right" if heading in {"accuracy", "s"} else "left", overflow="fold")
    for one in sorted(outcomes, key=lambda each: bool(each.expected)):
        table.add_row(
            one.name,
            "refuses" if one.refused_by else "accepts",
            ", ".join(one.refused_by),
            "yes" if one.is_right else f"NO: {one.expected or 'to be accepted'}",
            "" if one.accuracy is None else f"{one.accuracy:.3f}",
            "accepts" if one.is_let_through else "refuses",
            f"{one.seconds:.0f}",
        )
    return table


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", help="words; candidates whose name or expected rule holds one of them")
    parser.add_argument("--work", type=Path, help="keep what was found here, and go on with what is there")
    parser.add_argument("--again", action="store_true", help="do what is done already once more")
    asked = parser.parse_args()
    words = asked.only or [""]
    chosen = [one for one in ALL if any(word in f"{one.name} {one.expected or 'good'}" for word in words)]
    if not chosen:
        sys.exit(f"no candidate is called any of {', '.join(words)}")
    load, console = os.getloadavg()[0], Console(width=150)
    logging.disable(logging.ERROR)  # what is held and refused is what this is about
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as made:
        work = (asked.work or Path(made)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        outcomes = _all(chosen, work, console, again=asked.again)
    seconds = time.monotonic() - begun
    console.print(table_of(outcomes))
    kinds = " and ".join(
        f"{len(some)} {kind} ({sum(one.release is not None for one in some)} of them to be released)"
        for kind, some in (
            ("good candidates", [one for one in chosen if one.is_good]),
            ("bad ones", [one for one in chosen if not one.is_good]),
        )
    )
    name = "gate" if len(chosen) == len(ALL) else "gate-some"
    how = f"{AT_ONCE} at once, {THREADS} threads each, {seconds:.0f} s in all"
    data = f"{kinds}, made-up films of {SIZE} pixels; {how}\n{verdict(outcomes)}"
    tell(name, data, rows_of(outcomes), load)
    return 0 if all(one.is_right for one in outcomes) else 1


def _all(chosen: Sequence[Candidate], work: Path, console: Console, *, again: bool) -> list[Outcome]:
    """Outcomes in the order of the candidates; those that others rest on go first."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    found: dict[str, Outcome] = {}
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("the encoder that all share", total=len(chosen))
        encoder = encoder_of(work)
        progress.update(task, description="candidates")

        def tell_of(outcome: Outcome) -> None:
            found[outcome.name] = outcome
            said = f"refused by {', '.join(outcome.refused_by)}" if outcome.refused_by else "accepted"
            console.print(f"{'ok ' if outcome.is_right else 'NO '} {outcome.name}: {said}, accuracy {outcome.accuracy}")
            progress.advance(task)

        for candidate in (one for one in chosen if one.name in KEPT):
            tell_of(found_of(candidate, work, encoder, again=again))
        with ThreadPoolExecutor(AT_ONCE) as pool:
            waiting = [pool.submit(found_of, one, work, encoder, again=again) for one in chosen if one.name not in KEPT]
            for done in as_completed(waiting):
                tell_of(done.result())
    return [found[one.name] for one in chosen]


if __name__ == "__main__":
    sys.exit(main())
