"""Whether a model may be registered: an evaluation and a policy in, a decision with its reasons out. Pure.

A rule whose evidence is missing fails: nothing passes by absence. Only the champion and the external set are judged
where they are present. Docs/gate.md tells the reason of each rule.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

from radloop.evaluation.policy import Policy

Found = Mapping[str, Any]
Triple = tuple[float | None, float | None, float | None]
"""A figure and the ends of its interval."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule as it was applied.

    Attributes:
        name: Stable; a refusal names it.
        value: What was found; None where it could not be known.
        limit: What the policy demands.
        passed: Whether the model may be registered as far as this rule goes.
        sentence: The same for a person, with the figures.
    """

    name: str
    value: float | None
    limit: float
    passed: bool
    sentence: str


@dataclass(frozen=True, slots=True)
class Decision:
    """Approved only if every rule passed; `off` names the limits that the policy switched off."""

    approved: bool
    rules: tuple[Rule, ...]
    off: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As it stands in `evaluation.json`."""
        return {"approved": self.approved, "rules": [asdict(rule) for rule in self.rules], "off": list(self.off)}


def decide(evaluation: Found, policy: Policy) -> Decision:
    """Apply the policy.

    Args:
        evaluation: As `evaluation.json` holds it, without its gate; what is missing fails its rule.
        policy: The limits.

    Returns:
        The decision, with every rule whether it passed or not.
    """
    rules = (
        *_counts(evaluation, policy),
        *_floors(evaluation, policy),
        *_comparisons(evaluation, policy),
        *_subgroups(evaluation, policy),
        *_calibration(evaluation, policy),
        *_external(evaluation, policy),
        *_shuffled(evaluation, policy),
        *_freshness(evaluation, policy),
        _guards(evaluation),
        _evidence(evaluation),
    )
    return Decision(all(rule.passed for rule in rules), rules, tuple(policy.off()))


def _counts(evaluation: Found, policy: Policy) -> Iterator[Rule]:
    for name, word, limit in (
        ("positives", "with", policy.counts.positives),
        ("negatives", "without", policy.counts.negatives),
    ):
        count = _number(evaluation, "test", f"{name.removesuffix('s')}_patients")
        if count is None:
            yield _unknown(name, limit, "How many patients the test part has is not known")
            continue
        passed = count >= limit
        verdict = "enough" if passed else "too few"
        sentence = f"The test part has {count:.0f} patients {word} the finding, {verdict}: at least {limit} are needed."
        yield Rule(name, count, float(limit), passed, sentence)


def _floors(evaluation: Found, policy: Policy) -> Iterator[Rule]:
    image_sets = _number(evaluation, "test", "image_sets") or 0
    shares = (
        ("accuracy", "accuracy", policy.accuracy.least, policy.accuracy.lower_bound),
        ("roc_auc", "roc_auc", None, policy.roc_auc.lower_bound),
        ("sensitivity", "recall", policy.sensitivity.least, policy.sensitivity.lower_bound),
        ("specificity", "specificity", policy.specificity.least, policy.specificity.lower_bound),
    )
    for name, metric, least, lower_bound in shares:
        word = "ROC AUC" if name == "roc_auc" else name.capitalize()
        found = _estimate(evaluation, "metrics", metric)
        value = found[0]
        if least is not None:
            if value is None:
                yield _unknown(name, least, f"{word} on the test part is not known")
            else:
                passed = value >= least
                verdict = "reaches" if passed else "is below"
                sentence = f"{word} {value:.4f} on {image_sets:.0f} test image sets {verdict} the limit of {least:.4f}."
                yield Rule(name, value, least, passed, sentence)
        if lower_bound is not None:
            yield _bound(f"{name}_lower_bound", f"{word} on the test part", found, lower_bound)


def _comparisons(evaluation: Found, policy: Policy) -> Iterator[Rule]:
    margin = policy.baseline.margin
    if margin is not None:
        value, low, high = _estimate(evaluation, "baseline", "delta")
        if value is None or low is None or high is None:
            yield _unknown("baseline", margin, "The comparison with the trivial baseline is missing")
        else:
            passed = low > margin
            verdict = "beats" if passed else "does not beat"
            yield Rule(
                "baseline",
                low,
                margin,
                passed,
                f"The model {verdict} 15 numbers that see no anatomy: its ROC AUC lies {_apart(value)} theirs "
                f"({_interval(low, high)}), and the lower bound must be above {margin:.4f}.",
            )
    champion, margin = evaluation.get("champion"), policy.champion.margin
    if champion is not None and margin is not None:
        yield _champion(champion, margin)


def _champion(champion: Found, margin: float) -> Rule:
    name = f"version {champion.get('version', 'unknown')}"
    value, low, high = _estimate(champion, "delta")
    if value is None or low is None or high is None:
        return _unknown("champion", -margin, f"{name.capitalize()} is in use and {champion.get('how', 'not compared')}")
    passed = low >= -margin
    verdict = "is not worse than" if passed else "may be worse than"
    return Rule(
        "champion",
        low,
        -margin,
        passed,
        f"On the same patients the model {verdict} {name}: its ROC AUC lies {_apart(value)} that one's "
        f"({_interval(low, high)}), and the lower bound must not be below {-margin:.4f}.",
    )


def _subgroups(evaluation: Found, policy: Policy) -> Iterator[Rule]:
    limit = policy.subgroups.most_below
    if limit is None:
        return
    groups = evaluation.get("subgroups")
    if not isinstance(groups, list):
        yield _unknown("subgroups", limit, "Figures of subgroups are missing")
        return
    judged = [group for group in groups if group.get("is_judged")]
    gaps = [
        (whole - part, group, metric)
        for group in judged
        for metric in ("roc_auc", "accuracy")
        if (whole := _number(evaluation, "metrics", metric, "value")) is not None
        and (part := _number(group, metric, "value")) is not None
    ]
    if not gaps:
        least = f"{policy.subgroups.image_sets} image sets and {policy.subgroups.each_class} of each class"
        sentence = f"No subgroup is big enough to be judged: a group needs {least}."
        yield Rule("subgroups", 0.0, limit, True, sentence)
        return
    gap, group, metric = max(gaps, key=lambda one: one[0])
    passed = gap <= limit
    word = "ROC AUC" if metric == "roc_auc" else "accuracy"
    yield Rule(
        "subgroups",
        gap,
        limit,
        passed,
        f"Of {len(judged)} subgroups the weakest is {group['by'].replace('_', ' ')} {group['group']}: its {word} of "
        f"{group[metric]['value']:.4f} on {group['image_sets']} image sets lies "
        f"{_apart(-gap)} that of all, and at most {limit:.4f} below is allowed.",
    )


def _calibration(evaluation: Found, policy: Policy) -> Iterator[Rule]:
    limit = policy.calibration.most_ece
    if limit is not None:
        error = _number(evaluation, "metrics", "ece", "value")
        if error is None:
            yield _unknown("calibration", limit, "The calibration error is not known")
        else:
            passed = error <= limit
            verdict = "is within" if passed else "exceeds"
            sentence = f"The expected calibration error {error:.4f} {verdict} the limit of {limit:.4f}."
            yield Rule("calibration", error, limit, passed, sentence)
    limit = policy.calibration.brier_skill
    if limit is not None:
        brier, plain = _number(evaluation, "metrics", "brier", "value"), _number(evaluation, "brier_of_prevalence")
        if brier is None or plain is None or plain <= 0:
            yield _unknown("brier", limit, "The Brier score cannot be compared with that of the prevalence")
        else:
            skill = 1 - brier / plain
            passed = skill > limit
            verdict = "is better than" if passed else "is not enough better than"
            sentence = (
                f"The Brier score {brier:.4f} {verdict} {plain:.4f}, that of always saying the prevalence: "
                f"a share of {skill:.4f} is saved, and more than {limit:.4f} is needed."
            )
            yield Rule("brier", skill, limit, passed, sentence)


def _external(evaluation: Found, policy: Policy) -> Iterator[Rule]:
    external, limit = evaluation.get("external"), policy.external.lower_bound
    if external is not None and limit is not None:
        count = _number(external, "test", "image_sets") or 0
        what = f"ROC AUC on {count:.0f} image sets of the external part"
        yield _bound("external", what, _estimate(external, "metrics", "roc_auc"), limit)


def _shuffled(evaluation: Found, policy: Policy) -> Iterator[Rule]:
    limit = policy.shuffled.most_auc
    if limit is not None:
        mean = _number(evaluation, "shuffled", "mean_auc")
        if mean is None:
            yield _unknown("shuffled", limit, "The control on shuffled labels is missing")
        else:
            passed = mean <= limit
            verdict = "as it should where there is nothing to learn" if passed else "so the test gives something away"
            sentence = (
                f"Heads taught on shuffled labels reach a mean ROC AUC of {mean:.4f}, {verdict}; "
                f"the limit is {limit:.4f}."
            )
            yield Rule("shuffled", mean, limit, passed, sentence)
    limit = policy.shuffled.most_p
    if limit is not None:
        chance = _number(evaluation, "shuffled", "p_value")
        if chance is None:
            yield _unknown("permutation", limit, "The permutation test of the ROC AUC is missing")
        else:
            passed = chance <= limit
            verdict = "is no chance" if passed else "may be chance"
            sentence = (
                f"The ROC AUC {verdict}: shuffled test labels reach it with p = {chance:.4f}, "
                f"and at most {limit:.4f} is allowed."
            )
            yield Rule("permutation", chance, limit, passed, sentence)


def _freshness(evaluation: Found, policy: Policy) -> Iterator[Rule]:
    limit = policy.freshness.label_age_days
    if limit is not None:
        age = _number(evaluation, "freshness", "newest_label_days")
        if age is None:
            yield _unknown("freshness", limit, "How old the newest ground truth is was not told")
        else:
            passed = age <= limit
            verdict = "fresh enough" if passed else "stale"
            sentence = (
                f"The newest ground truth was {age:.1f} days old when the run started, {verdict}: "
                f"at most {limit:.0f} days are allowed."
            )
            yield Rule("freshness", age, limit, passed, sentence)
    limit = policy.freshness.behind_champion_days
    if limit is not None and evaluation.get("champion") is not None:
        behind = _number(evaluation, "freshness", "behind_champion_days")
        if behind is None:
            yield _unknown("behind_champion", limit, "Whether the data are older than the champion's was not told")
        else:
            passed = behind <= limit
            side = "older" if behind > 0 else "newer"
            sentence = (
                f"The newest ground truth is {abs(behind):.1f} days {side} than that of the champion's data: "
                f"at most {limit:.1f} days older are allowed."
            )
            yield Rule("behind_champion", behind, limit, passed, sentence)


def _guards(evaluation: Found) -> Rule:
    guards = evaluation.get("guards") or []
    failed = [guard for guard in guards if guard.get("passed") is not True]
    if not guards:
        return _unknown("guards", 0.0, "No leakage guard has reported")
    if failed:
        sentence = f"{len(failed)} of {len(guards)} leakage guards are red: {failed[0].get('sentence', '')}"
        return Rule("guards", float(len(failed)), 0.0, False, sentence)
    return Rule("guards", 0.0, 0.0, True, f"All {len(guards)} leakage guards are green.")


def _evidence(evaluation: Found) -> Rule:
    evidence = evaluation.get("evidence") or {}
    problems = evidence.get("problems")
    if not isinstance(problems, list):
        return _unknown("evidence", 0.0, "Nobody looked whether the evidence is complete")
    if problems:
        more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
        return Rule("evidence", float(len(problems)), 0.0, False, f"The evidence is not complete: {problems[0]}{more}.")
    count = len(evidence.get("package", {}))
    return Rule("evidence", 0.0, 0.0, True, f"The evidence is complete: {count} files of the package, each as hashed.")


def _bound(name: str, what: str, found: Triple, limit: float) -> Rule:
    value, low, high = found
    if value is None or low is None or high is None:
        return _unknown(name, limit, f"{what} is not known")
    passed = low >= limit
    verdict = "reaches" if passed else "is below"
    sentence = f"{what} is {value:.4f} ({_interval(low, high)}); the lower bound {verdict} the limit of {limit:.4f}."
    return Rule(name, low, limit, passed, sentence)


def _unknown(name: str, limit: float, sentence: str) -> Rule:
    return Rule(name, None, float(limit), False, f"{sentence}, and what is missing does not pass.")


def _estimate(found: Found, *path: str) -> Triple:
    return _number(found, *path, "value"), _number(found, *path, "ci_low"), _number(found, *path, "ci_high")


def _apart(difference: float) -> str:
    return f"{abs(difference):.4f} {'below' if difference < 0 else 'above'}"


def _interval(low: float, high: float) -> str:
    return f"95 % interval {low:.4f} to {high:.4f}"


def _number(found: Any, *path: str) -> float | None:
    """The finite number at a path of names, or None."""
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    if isinstance(found, bool) or not isinstance(found, int | float) or not isfinite(found):
        return None
    return float(found)
