"""The gate's policy as data: `policy.yaml` read strictly, with the line of whatever is wrong in it.

A policy states every limit; nothing is filled in silently. A limit of `null` switches its rule off. Its canonical form
is JSON with sorted keys and no blanks, and its SHA-256 is what an evaluation and a change control plan name.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import yaml

from radloop.core.errors import InvalidInput
from radloop.strict_yaml import StrictYaml, shown

FILE: Final = "policy.yaml"
"""Its name in a home."""
_VERSION: Final = 1
_NUMBER: Final = re.compile(r"-?\d{1,9}(\.\d{1,17})?([eE][-+]?\d{1,3})?")
_LONGEST: Final = 64 * 1024
_READ: Final = StrictYaml("policy", lacks="; every limit is stated, null switches one off")


def _share(*, may_be_off: bool = True) -> Any:
    return field(metadata={"low": 0.0, "high": 1.0, "off": may_be_off, "whole": False})


def _count(low: int = 1) -> Any:
    return field(metadata={"low": low, "high": 100_000, "off": False, "whole": True})


def _days(low: float) -> Any:
    return field(metadata={"low": low, "high": 36_500.0, "off": True, "whole": False})


@dataclass(frozen=True, slots=True)
class Counts:
    """Test patients needed of each class."""

    positives: int = _count()
    negatives: int = _count()


@dataclass(frozen=True, slots=True)
class Accuracy:
    """The brief's floor for the share that is called right, and one for the lower bound of its interval."""

    least: float = _share(may_be_off=False)
    lower_bound: float | None = _share()


@dataclass(frozen=True, slots=True)
class Bound:
    """A floor for the lower bound of the interval of ROC AUC."""

    lower_bound: float | None = _share()


@dataclass(frozen=True, slots=True)
class Floor:
    """Floors for a share and for the lower bound of its interval."""

    least: float | None = _share()
    lower_bound: float | None = _share()


@dataclass(frozen=True, slots=True)
class Advantage:
    """What the lower bound of the paired difference in ROC AUC to the baseline must be above; it may be below 0."""

    margin: float | None = field(metadata={"low": -1.0, "high": 1.0, "off": True, "whole": False})


@dataclass(frozen=True, slots=True)
class Margin:
    """How far the lower bound of the paired difference in ROC AUC to the champion may lie below zero."""

    margin: float | None = _share()


@dataclass(frozen=True, slots=True)
class Subgroups:
    """How far a group may lie below all, and how many image sets, in all and of each class, make it big enough."""

    most_below: float | None = _share()
    image_sets: int = _count()
    each_class: int = _count()


@dataclass(frozen=True, slots=True)
class Calibration:
    """Greatest calibration error, and least share of the prevalence's Brier score that the model saves."""

    most_ece: float | None = _share()
    brier_skill: float | None = _share()


@dataclass(frozen=True, slots=True)
class Shuffled:
    """Greatest mean ROC AUC of heads taught on shuffled labels, and greatest p-value of the model's own."""

    most_auc: float | None = _share()
    most_p: float | None = _share()


@dataclass(frozen=True, slots=True)
class Freshness:
    """Greatest age of the newest ground truth, and how much older than the champion's it may be, in days."""

    label_age_days: float | None = _days(0.0)
    behind_champion_days: float | None = _days(-36_500.0)


@dataclass(frozen=True, slots=True)
class Policy:
    """What a model must reach; one section a rule or family of rules. Reasons stand in docs/gate.md."""

    counts: Counts
    accuracy: Accuracy
    roc_auc: Bound
    sensitivity: Floor
    specificity: Floor
    baseline: Advantage
    champion: Margin
    subgroups: Subgroups
    calibration: Calibration
    external: Bound
    shuffled: Shuffled
    freshness: Freshness

    def to_json(self) -> dict[str, Any]:
        """As plain values; `load` reads them again."""
        return {"version": _VERSION, **asdict(self)}

    def canonical(self) -> str:
        """The one text that stands for this policy."""
        return json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))

    @property
    def sha256(self) -> str:
        """SHA-256 of the canonical text, hexadecimal."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()

    def with_accuracy(self, least: float) -> "Policy":
        """This policy under another floor for accuracy: the parameter AccuracyThreshold.

        Raises:
            InvalidInput: It is not between 0 and 1.
        """
        if not 0 <= least <= 1:
            raise InvalidInput(f"the accuracy threshold is {least:g}, expected a number from 0 to 1")
        return replace(self, accuracy=replace(self.accuracy, least=float(least)))

    def off(self) -> list[str]:
        """Limits that the policy radloop comes with has and this one has switched off, as `section.limit`."""
        usual = default().to_json()
        return [
            f"{section}.{name}"
            for section, limits in self.to_json().items()
            if isinstance(limits, dict)
            for name, value in limits.items()
            if value is None and usual[section][name] is not None
        ]


_SECTIONS: Final[Mapping[str, type]] = {
    "counts": Counts,
    "accuracy": Accuracy,
    "roc_auc": Bound,
    "sensitivity": Floor,
    "specificity": Floor,
    "baseline": Advantage,
    "champion": Margin,
    "subgroups": Subgroups,
    "calibration": Calibration,
    "external": Bound,
    "shuffled": Shuffled,
    "freshness": Freshness,
}


def load(text: str) -> Policy:
    """The policy in a YAML or JSON text; an empty text is the default policy.

    Raises:
        InvalidInput: It is no YAML, a section or limit is unknown, missing, written twice, of the wrong kind or out
            of range. The message names the line, what was found and what was expected.
    """
    if not text.strip():
        return default()
    if len(text) > _LONGEST:
        raise InvalidInput(f"a policy is at most {_LONGEST} characters long, found {len(text)}")
    sections = _READ.entries(_READ.root(text), "the policy", ("version", *_SECTIONS))
    version = sections["version"]
    if not isinstance(version, yaml.ScalarNode) or version.value != str(_VERSION):
        raise _READ.wrong(version, f"version is {shown(version)}, expected {_VERSION}")
    return Policy(**{name: _section(name, kind, sections[name]) for name, kind in _SECTIONS.items()})


@cache
def default() -> Policy:
    """The policy that radloop comes with, `contracts/policy.yaml`."""
    return load(shipped())


def shipped(name: str = FILE) -> str:
    """The text of a policy that radloop comes with: `policy.yaml`, or `policy-demo.yaml` for the demo's phantoms."""
    inside = Path(str(files("radloop"))) / "contracts"
    folder = inside if inside.is_dir() else Path(__file__).resolve().parents[2] / "contracts"
    return (folder / name).read_text(encoding="utf-8")


def of_home(root: Path) -> Policy:
    """The policy of the home `root`: its `policy.yaml`, else the default.

    Raises:
        InvalidInput: The file is there and is no policy.
    """
    path = root / FILE
    if not path.exists():
        return default()
    try:
        return load(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise InvalidInput("policy line 1: this is not UTF-8") from None


def _section(name: str, kind: type, node: Any) -> Any:
    limits = {limit.name: limit.metadata for limit in fields(kind)}
    found = _READ.entries(node, name, tuple(limits))
    return kind(**{limit: _limit(f"{name}.{limit}", found[limit], limits[limit]) for limit in limits})


def _limit(name: str, node: Any, allowed: Mapping[str, Any]) -> float | None:
    kind = "a whole number" if allowed["whole"] else "a number"
    expected = f"{kind} from {allowed['low']:g} to {allowed['high']:g}" + (" or null" if allowed["off"] else "")
    is_plain = isinstance(node, yaml.ScalarNode) and node.style is None
    if is_plain and allowed["off"] and node.value in {"null", "~", ""}:
        return None
    if not is_plain or not _NUMBER.fullmatch(node.value):
        raise _READ.wrong(node, f"{name} is {shown(node)}, expected {expected}")
    number = float(node.value)
    if not allowed["low"] <= number <= allowed["high"] or (allowed["whole"] and number != int(number)):
        raise _READ.wrong(node, f"{name} is {shown(node)}, expected {expected}")
    return int(number) if allowed["whole"] else number
