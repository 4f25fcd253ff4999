"""What several readers know together, on simulated readers: is the posterior better, and does the order save reads?

Readers are simulated, so that the truth is known: each sees evidence with a noise of their own and says present above
a threshold of their own (signal detection). Readers differ in skill and in leaning, cases in how hard they are for all;
given these, errors are independent. How sure a reader is follows from how far the evidence is from the threshold,
blurred by as much again. The model is one whose area under the curve is .85, to whom hard cases are hard too; it enters
the order and never the label. Figures are means over seeds with their 95 % intervals; differences are within seeds.

    python -m bench.readers [--seeds 24] [--cases 400]
"""

import argparse
import heapq
import os
import time
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import numpy.typing as npt

from bench.report import Row, tell
from radloop.core.cases import Case, Vote, differ
from radloop.core.images import Confidence
from radloop.core.worth import worth
from radloop.reading.agreement import cohen
from radloop.reading.dawid_skene import WEIGHT_OF, Prior, Reads, estimate
from radloop.reading.panel import Panel, Tally

READERS, PER_CASE = 8, 5
PREVALENCE = 0.35
MODEL = 1.47  # d' of a model whose area under the curve is .85
SKILL, SKILL_SPREAD, LEANING, DIFFICULTY, DOUBT = 2.3, 0.25, 0.3, 0.35, 1.0
BUDGETS = (2.0, 3.0, 4.0)
ENOUGH = 1e-4  # no label hangs on less
_LEVELS = (Confidence.LOW, Confidence.MEDIUM, Confidence.HIGH)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class World:
    """Cases and what each reader would say of each.

    Attributes:
        truth: bool (cases,).
        says: bool (cases, readers).
        sure: int (cases, readers), a place in `_LEVELS`.
        order: int (cases, PER_CASE), who reads a case, in turn.
        model_odds: (cases,), what a model says of a case: log odds of present, less those of its threshold, 1/2.
    """

    truth: npt.NDArray[np.bool_]
    says: npt.NDArray[np.bool_]
    sure: npt.NDArray[np.int64]
    order: npt.NDArray[np.int64]
    model_odds: Floats


def make_world(seed: int, cases: int) -> World:
    """Readers of different quality and leaning, cases of different difficulty."""
    rng = np.random.default_rng(seed)
    truth = rng.random(cases) < PREVALENCE
    skill = rng.normal(SKILL, SKILL_SPREAD, READERS)
    leaning = rng.normal(0, LEANING, READERS)
    hard = rng.normal(0, DIFFICULTY, cases)
    signal = np.where(truth, 1, -1)[:, None] * (skill / 2 - hard[:, None])
    evidence = signal + rng.normal(0, 1, (cases, READERS)) - leaning
    felt = np.abs(evidence) + rng.normal(0, DOUBT, (cases, READERS))
    sure = np.digitize(felt, np.quantile(felt, [0.25, 0.6]))
    order = np.argsort(rng.random((cases, READERS)), axis=1)[:, :PER_CASE]
    seen = np.where(truth, 1, -1) * (MODEL / 2 - hard) + rng.normal(0, 1, cases)
    model_odds = MODEL * seen + np.log(PREVALENCE / (1 - PREVALENCE))
    return World(truth, evidence > 0, sure, order, model_odds)


# All reads


def columns(world: World, counts: npt.NDArray[np.int64], *, weighted: bool) -> Reads:
    """The first `counts` reads of each case, as columns."""
    cases = np.repeat(np.arange(counts.size), counts)
    turns = np.concatenate([np.arange(count) for count in counts]) if counts.size else np.zeros(0, int)
    readers = world.order[cases, turns]
    weights = np.array([WEIGHT_OF[level] for level in _LEVELS])[world.sure[cases, readers]]
    present = world.says[cases, readers].astype(float)
    return Reads(cases, readers, present, weights if weighted else np.ones(cases.size))


def labels(world: World, counts: npt.NDArray[np.int64], *, weighted: bool = True) -> Floats:
    """Posterior of each case."""
    found = estimate(
        columns(world, counts, weighted=weighted), items=counts.size, readers=READERS, prior=Prior(), tolerance=ENOUGH
    )
    return found.posterior


def quality(world: World) -> dict[str, float]:
    """Errors of single reads, of the majority and of the posterior, with all reads made."""
    cases = world.truth.size
    all_reads = np.full(cases, PER_CASE)
    told = columns(world, all_reads, weighted=False)
    said = told.present.reshape(cases, PER_CASE)
    plain = labels(world, all_reads, weighted=False) >= 0.5
    weighted = labels(world, all_reads)
    kappas = [kappa(world, one, other) for one, other in combinations(range(READERS), 2)]
    return {
        "weighted_majority": wrong_by_weights(world, told.readers.reshape(cases, PER_CASE), said),
        "single": float(np.mean(said != world.truth[:, None])),
        "majority": float(np.mean((said.mean(axis=1) > 0.5) != world.truth)),
        "posterior": float(np.mean((weighted >= 0.5) != world.truth)),
        "unweighted": float(np.mean(plain != world.truth)),
        "brier": float(np.mean((weighted - world.truth) ** 2)),
        "brier_of_share": float(np.mean((said.mean(axis=1) - world.truth) ** 2)),
        "kappa": float(np.mean(kappas)),
        "kappa_low": float(np.quantile(kappas, 0.05)),
        "kappa_high": float(np.quantile(kappas, 0.95)),
    }


def wrong_by_weights(world: World, readers: npt.NDArray[np.int64], said: Floats) -> float:
    """Errors of the majority where each vote weighs as much as the posterior has it weigh."""
    weights = np.array([WEIGHT_OF[level] for level in _LEVELS])[world.sure[np.arange(len(said))[:, None], readers]]
    share = (said * weights).sum(axis=1) / weights.sum(axis=1)
    return float(np.mean((share > 0.5) != world.truth))


def kappa(world: World, one: int, other: int) -> float:
    """Cohen's kappa of two readers over all cases."""
    table = np.zeros((2, 2))
    np.add.at(table, (world.says[:, one].astype(int), world.says[:, other].astype(int)), 1)
    return cohen(table).value or 0.0


# One read after the other


class Reading:
    """Reads made one after the other, with what radloop keeps up to date: votes, posteriors, the panel."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.counts = np.zeros(world.truth.size, np.int64)
        self.cases = [Case() for _ in range(world.truth.size)]
        self.panel = Panel()

    def read(self, case: int) -> None:
        """The next reader of a case says what they see."""
        world, held = self.world, self.cases[case]
        reader = int(world.order[case, self.counts[case]])
        level = str(_LEVELS[world.sure[case, reader]])
        vote = Vote(str(reader), 1, bool(world.says[case, reader]), level, "")
        after = held.with_vote(vote)
        posterior = self.panel.posterior(after.votes)
        self.panel = self.panel.moved(held.votes, held.posterior, after.votes, posterior)
        self.cases[case] = replace(after, posterior=posterior)
        self.counts[case] += 1
        if self.panel.wants_fit:
            self.panel = self.fitted()

    def fitted(self) -> Panel:
        """The panel from all reads at once."""
        told = columns(self.world, self.counts, weighted=True)
        read = self.counts > 0
        found = estimate(told, items=self.counts.size, readers=READERS, prior=Prior(), tolerance=ENOUGH)
        is_present = found.posterior[told.items] * told.weights
        parts = (is_present, is_present, told.weights - is_present, told.weights - is_present)
        says = (told.present, 1 - told.present, told.present, 1 - told.present)
        sums = np.stack([np.bincount(told.readers, a * b, READERS) for a, b in zip(parts, says, strict=True)], 1)
        present = float(found.posterior[read].sum())
        tallies = {str(reader): Tally(*map(float, sums[reader])) for reader in range(READERS)}
        return Panel(tallies, present, float(read.sum()) - present, self.panel.reads, self.panel.reads)

    def error(self) -> float:
        """Share of wrong labels, all cases counted, those nobody read included."""
        return float(np.mean((labels(self.world, self.counts) >= 0.5) != self.world.truth))

    def worth(self, case: int, *, has_model: bool) -> float:
        """What the next read of a case is worth."""
        held = self.cases[case]
        odds = float(self.world.model_odds[case]) if has_model else None
        return worth(held.posterior, reads=len(held.votes), disagree=differ(held.votes), model_odds=odds).value


def curve(world: World, seed: int, order: str, steps: npt.NDArray[np.int64]) -> Floats:
    """Label errors after so many reads: cases at random, in rounds (all once, all twice, ...), or by worth."""
    rng, reading = np.random.default_rng(seed + 1_000_003), Reading(world)
    cases, errors, made = world.truth.size, [], 0
    is_by_worth, has_model = order in {"worth", "worth-and-model"}, order == "worth-and-model"
    queue = [(-reading.worth(case, has_model=has_model), float(rng.random()), case) for case in range(cases)]
    heapq.heapify(queue)
    rounds = np.concatenate([rng.permutation(cases) for _ in range(PER_CASE)])
    listed = rounds if order == "rounds" else rng.permutation(rounds)
    for step in steps:
        while made < step:
            case = heapq.heappop(queue)[2] if is_by_worth else int(listed[made])
            reading.read(case)
            made += 1
            if is_by_worth and reading.counts[case] < PER_CASE:
                heapq.heappush(queue, (-reading.worth(case, has_model=has_model), float(rng.random()), case))
        errors.append(reading.error())
    return np.array(errors)


def reads_to_reach(errors: Floats, steps: npt.NDArray[np.int64], target: float) -> float:
    """Reads after which a curve is at the target or below for good, between steps by straight lines."""
    above = np.flatnonzero(errors > target)
    if not above.size:
        return float(steps[0])
    last = int(above[-1])
    if last + 1 == errors.size:
        return float("nan")
    part = (errors[last] - target) / max(errors[last] - errors[last + 1], 1e-12)
    return float(steps[last] + part * (steps[last + 1] - steps[last]))


# Telling


def interval(values: Floats) -> tuple[float, float, float]:
    """Mean over seeds and its 95 % interval."""
    mean, half = float(np.mean(values)), 1.96 * float(np.std(values, ddof=1)) / len(values) ** 0.5
    return mean, mean - half, mean + half


def share_of_reads(
    random: Floats, ordered: Floats, steps: npt.NDArray[np.int64], budget: float, cases: int
) -> tuple[float, float, float]:
    """Reads that the order takes to the quality another has at a budget, as a share of it; seeds are drawn anew."""
    place = int(np.searchsorted(steps, round(budget * cases)))

    def share(chosen: npt.NDArray[np.int64]) -> float:
        target = float(random[chosen, place].mean())
        return reads_to_reach(ordered[chosen].mean(axis=0), steps, target) / float(steps[place])

    rng, seeds = np.random.default_rng(5), len(random)
    drawn = [share(rng.integers(0, seeds, seeds)) for _ in range(1000)]
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return share(np.arange(seeds)), float(low), float(high)


def big(cases: int) -> tuple[float, float]:
    """CPU seconds of one fit of all reads, and of one read's own step, on so many cases of five reads."""
    world = make_world(99, cases)
    counts = np.full(cases, PER_CASE)
    told = columns(world, counts, weighted=True)
    begun = time.process_time()
    estimate(told, items=cases, readers=READERS, prior=Prior())
    fit_s = time.process_time() - begun
    reading = Reading(world)
    reading.panel = replace(reading.panel, fitted=10**9)
    begun = time.process_time()
    for case in range(2000):
        reading.read(case)
    return fit_s, (time.process_time() - begun) / 2000


def main() -> None:
    """Run it."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seeds", type=int, default=24)
    options.add_argument("--cases", type=int, default=400)
    given = options.parse_args()
    load = os.getloadavg()[0]
    worlds = [make_world(seed, given.cases) for seed in range(given.seeds)]
    found = [quality(world) for world in worlds]
    steps = np.arange(given.cases // 2, PER_CASE * given.cases + 1, given.cases // 20)
    curves = {
        order: np.stack([curve(world, seed, order, steps) for seed, world in enumerate(worlds)])
        for order in ("random", "rounds", "worth", "worth-and-model")
    }
    by_name = {name: np.array([each[name] for each in found]) for name in found[0]}
    rows = rows_of(by_name)
    rows += [row for budget in BUDGETS for row in order_rows(curves, steps, budget, given.cases)]
    fit_s, step_s = big(5000)
    rows.append(Row("one fit of 5,000 image sets x 5 reads, CPU", fit_s * 1000, "ms"))
    rows.append(Row("one read's own step, CPU", step_s * 1e6, "us"))
    data = (
        f"{given.seeds} seeds of {given.cases} simulated cases, {READERS} readers, {PER_CASE} reads a case, prevalence"
        f" {PREVALENCE}; skill d' N({SKILL}, {SKILL_SPREAD}), leaning N(0, {LEANING}), difficulty"
        f" N(0, {DIFFICULTY}), doubt {DOUBT}; in brackets 95 % intervals over seeds"
    )
    tell("readers", data, rows, load)


def order_rows(curves: dict[str, Floats], steps: npt.NDArray[np.int64], budget: float, cases: int) -> list[Row]:
    """What the order by worth saves against others that have so many reads a case."""
    place = int(np.searchsorted(steps, round(budget * cases)))
    errors = {order: float(found[:, place].mean()) for order, found in curves.items()}
    rows = [
        Row(
            f"label error at {budget:g} reads a case, by worth", errors["worth"], "share", errors["random"], "at random"
        ),
        Row("the same, model and worth", errors["worth-and-model"], "share", errors["random"], "at random"),
    ]
    for order, goal in (("random", 0.6), ("rounds", None)):
        for ours in ("worth", "worth-and-model"):
            value, low, high = share_of_reads(curves[order], curves[ours], steps, budget, cases)
            what = f"reads by {ours} for the quality of {budget:g} a case, {order} [{low:.2f} to {high:.2f}]"
            rows.append(Row(what, value, "share", goal, "" if goal is None else "goal, at most"))
    return rows


def rows_of(found: dict[str, Floats]) -> list[Row]:
    """Label quality with all reads made."""

    def told(what: str, values: Floats, limit: float | None = None, against: str = "") -> Row:
        mean, low, high = interval(values)
        return Row(f"{what} [{low:.4f} to {high:.4f}]", mean, "share", limit, against)

    return [
        told("pairwise kappa, mean", found["kappa"]),
        Row("pairwise kappa, 5 % of pairs below", float(found["kappa_low"].mean()), "kappa", 0.35, "goal, at least"),
        Row("pairwise kappa, 5 % of pairs above", float(found["kappa_high"].mean()), "kappa", 0.6, "goal, at most"),
        told("label error of a single read", found["single"]),
        told("label error of the majority", found["majority"]),
        told("label error of the posterior", found["posterior"]),
        told("posterior by single read", found["posterior"] / found["single"], 0.5, "goal, at most"),
        told("majority less posterior", found["majority"] - found["posterior"], 0.0, "goal, above"),
        told("majority less posterior, without weights by confidence", found["majority"] - found["unweighted"]),
        told("majority less posterior, both with weights", found["weighted_majority"] - found["posterior"]),
        told("what the weights gain", found["unweighted"] - found["posterior"]),
        told("Brier score of the posterior", found["brier"], float(found["brier_of_share"].mean()), "share of reads"),
    ]


if __name__ == "__main__":
    main()
