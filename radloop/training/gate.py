"""Whether a model may be registered: a policy, figures in, a decision with its reasons out. Pure."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Policy:
    """What a model must reach on the locked test part.

    Attributes:
        least_accuracy: Share of test image sets that are classified right.
        least_per_class: Test image sets of each class; with fewer, accuracy means nothing.
    """

    least_accuracy: float = 0.85
    least_per_class: int = 1


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule as it was applied: passed where `value` is at least `limit`. The sentence tells both figures."""

    name: str
    value: float
    limit: float
    passed: bool
    sentence: str


@dataclass(frozen=True, slots=True)
class Decision:
    """Approved only if every rule passed."""

    approved: bool
    rules: tuple[Rule, ...]

    def to_json(self) -> dict[str, Any]:
        """As it stands in `evaluation.json`."""
        return {"approved": self.approved, "rules": [asdict(rule) for rule in self.rules]}


def decide(metrics: Mapping[str, float], *, positives: int, negatives: int, policy: Policy) -> Decision:
    """Apply the policy.

    Args:
        metrics: At least `accuracy`, 0..1. Not a number counts as failed.
        positives: Test image sets with the finding.
        negatives: Test image sets without it.
        policy: The limits.

    Returns:
        The decision, with every rule whether it passed or not.
    """
    rules = (
        _class_rule("positives", positives, policy.least_per_class),
        _class_rule("negatives", negatives, policy.least_per_class),
        _accuracy_rule(metrics["accuracy"], positives + negatives, policy.least_accuracy),
    )
    return Decision(approved=all(rule.passed for rule in rules), rules=rules)


def _class_rule(name: str, count: int, limit: int) -> Rule:
    passed = count >= limit
    verdict = "enough" if passed else "too few"
    sentence = f"The test part has {count} {name}, {verdict}: at least {limit} are needed."
    return Rule(name, float(count), float(limit), passed, sentence)


def _accuracy_rule(accuracy: float, count: int, limit: float) -> Rule:
    passed = accuracy >= limit
    verdict = "reaches" if passed else "is below"
    sentence = f"Accuracy {accuracy:.4f} on {count} test image sets {verdict} the limit of {limit:.4f}."
    return Rule("accuracy", float(accuracy), float(limit), passed, sentence)
