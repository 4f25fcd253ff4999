"""The predetermined change control plan: what may change by itself, and when a person has to look.

The plan is a YAML file that is read strictly: every entry is named below, none may be missing, none may be added, and a
message names the line. It says what may change (weights and threshold, by retraining, on data of stated modalities and
sources), what data that takes, by which recipe and code, under which gate policy, what the change may do to patients,
which drift starts a retraining, how a version goes to work, and whose signatures make it valid. Signatures cover its
exact bytes: one changed byte voids them all.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

import yaml

from radloop.core.errors import InvalidPlan
from radloop.core.ports import PlanSignature, PlanSigner, Reason
from radloop.registry.signatures import is_signed, plan_message
from radloop.strict_yaml import StrictYaml, shown

_READ: Final = StrictYaml("plan", InvalidPlan)

AUTOMATIC = "automatic"
PERSON = "person"
HOLD = "hold"
CONTINUE = "continue"

_LONGEST: Final = 128 * 1024
_VERSION: Final = "1"
_MAY_CHANGE: Final = ("weights", "threshold")
_MODALITIES: Final = ("CT", "CR", "DX")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_WORD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")
_NUMBER: Final = re.compile(r"-?[0-9]{1,9}(\.[0-9]{1,17})?([eE][-+]?[0-9]{1,3})?")
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_IMPACT: Final = ("benefits", "risks", "mitigations", "subgroups", "cumulative")


@dataclass(frozen=True, slots=True)
class Admitted:
    """Values of a hyperparameter that the plan admits: a span, a list, or any."""

    low: float | None = None
    high: float | None = None
    one_of: tuple[str, ...] | None = None

    def admits(self, value: str) -> bool:
        """Whether the plan foresees this value."""
        if self.one_of is not None:
            return value in self.one_of
        if self.low is None or self.high is None:
            return True
        return _NUMBER.fullmatch(value) is not None and self.low <= float(value) <= self.high

    def __str__(self) -> str:
        if self.one_of is not None:
            return " or ".join(self.one_of)
        return "anything" if self.low is None or self.high is None else f"{self.low:g} to {self.high:g}"


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan as it was written.

    Attributes:
        author: Opaque; may neither sign the plan nor approve alone what it leaves to people.
        valid_from: First day, UTC.
        valid_until: Last day, UTC.
        sources: Where data may come from; None for anywhere.
        new_patients: Least patients in the data set that the champion's did not have.
        reads_per_label: Least reads behind every label.
        recipe: What each hyperparameter may be; one that is not named may not be used.
        policy_sha256: Of the gate policy under which a version must pass.
        drift_triggers: Whether a monitor's alarm starts a retraining.
        release: `automatic`, or `person` where a person decides about each version.
        after_rollback: `hold` until a person has approved a version again, or `continue`.
        signatures: Roles that must sign, each by another person.
    """

    name: str
    author: str
    valid_from: date
    valid_until: date
    modalities: tuple[str, ...]
    sources: tuple[str, ...] | None
    new_patients: int
    reads_per_label: int
    code_versions: tuple[str, ...]
    recipe: Mapping[str, Admitted]
    policy_sha256: str
    drift_triggers: Mapping[str, bool]
    release: str
    after_rollback: str
    signatures: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """What of a training run a plan looks at; None where it cannot be known any more.

    Attributes:
        fewest_reads: Behind any one label.
        new_patients: In the data set and not in the champion's.
    """

    recipe: Mapping[str, str]
    code_version: str | None
    policy_sha256: str | None
    modalities: frozenset[str] | None
    sources: frozenset[str] | None
    new_patients: int | None
    fewest_reads: int | None


@dataclass(frozen=True, slots=True)
class Checked:
    """A signature, and whether it counts; `why` is a code."""

    signer: str
    role: str
    at: str
    holds: bool
    why: str


@dataclass(frozen=True, slots=True)
class Standing:
    """How a plan stands at a moment.

    Attributes:
        state: `missing`, `invalid`, `void`, `unsigned`, `expired` or `valid`.
        sentence: The same for people.
        plan: None where there is none that can be read.
        missing: Roles that have still to sign.
        problems: Why it is not valid; empty where it is.
    """

    state: str
    sentence: str
    plan: Plan | None
    sha256: str | None
    signatures: tuple[Checked, ...]
    missing: tuple[str, ...]
    problems: tuple[Reason, ...]

    @property
    def is_valid(self) -> bool:
        """Whether what the plan foresees may happen by itself."""
        return self.state == "valid"


# Whether it holds


def standing_of(
    text: bytes | None, signers: Sequence[PlanSigner], signatures: Sequence[PlanSignature], now: datetime
) -> Standing:
    """How the plan `text` stands at `now`, given whose signatures count and which there are."""
    if text is None:
        return _standing("missing", "There is no change control plan.")
    sha256 = sha256_of(text)
    try:
        plan = load(text)
    except InvalidPlan as error:
        return _standing("invalid", f"The change control plan cannot be read: {error}", sha256=sha256)
    checked = tuple(_checked(each, text, plan, signers) for each in signatures)
    lacking = _missing(plan, checked, signers)
    facts: dict[str, Any] = {"plan": plan, "sha256": sha256, "signatures": checked, "missing": lacking}
    if lacking:
        is_void = any(each.why == "other-bytes" for each in checked) and not any(each.holds for each in checked)
        if is_void:
            sentence = "The change control plan was changed after it was signed: all signatures are void."
        else:
            sentence = f"The change control plan lacks the signature of {_and(lacking)}."
        return _standing("void" if is_void else "unsigned", sentence, **facts)
    if not plan.valid_from <= now.date() <= plan.valid_until:
        span = f"from {plan.valid_from} to {plan.valid_until}"
        return _standing("expired", f"The change control plan is valid {span}, and not today.", **facts)
    return _standing("valid", f"The change control plan is signed and valid until {plan.valid_until}.", **facts)


def _standing(state: str, sentence: str, **facts: Any) -> Standing:
    problems = () if state == "valid" else (Reason(f"plan-{state}", sentence),)
    blank: dict[str, Any] = {"plan": None, "sha256": None, "signatures": (), "missing": ()}
    return Standing(state=state, sentence=sentence, problems=problems, **(blank | facts))


def _checked(given: PlanSignature, text: bytes, plan: Plan, signers: Sequence[PlanSigner]) -> Checked:
    signer = next((each for each in signers if each.id == given.signer), None)
    if given.plan_sha256 != sha256_of(text):
        why = "other-bytes"
    elif signer is None:
        why = "unknown-signer"
    elif signer.role != given.role:
        why = "other-role"
    elif signer.id == plan.author:
        why = "author"
    elif not is_signed(signer.public_key, plan_message(text, signer=signer.id, role=signer.role), given.signature):
        why = "wrong-signature"
    else:
        why = ""
    return Checked(given.signer, given.role, given.at, not why, why)


def _missing(plan: Plan, checked: Sequence[Checked], signers: Sequence[PlanSigner]) -> tuple[str, ...]:
    """Roles that have still to sign; one key stands for one person, whatever names it goes by."""
    keys = {each.id: each.public_key for each in signers}
    counted: set[str] = set()
    signed: Counter[str] = Counter()
    for each in checked:
        if each.holds and keys[each.signer] not in counted:
            counted.add(keys[each.signer])
            signed[each.role] += 1
    return tuple((Counter(plan.signatures) - signed).elements())


def violations(plan: Plan, run: Run) -> tuple[Reason, ...]:
    """Where a run lies outside the plan; empty where it lies inside."""
    found = [*_outside_recipe(plan, run.recipe)]
    if run.code_version not in plan.code_versions:
        told = f"radloop {run.code_version}, and the plan foresees {' or '.join(plan.code_versions)}"
        found.append(Reason("code-version-outside-plan", f"The run used {told}."))
    if run.policy_sha256 != plan.policy_sha256:
        told = "an unknown policy" if run.policy_sha256 is None else f"policy {run.policy_sha256[:12]}"
        sentence = f"The gate applied {told}, and the plan foresees {plan.policy_sha256[:12]}."
        found.append(Reason("policy-outside-plan", sentence))
    return (*found, *_outside_data(plan, run))


def _outside_recipe(plan: Plan, recipe: Mapping[str, str]) -> list[Reason]:
    found = []
    for name in sorted(recipe):
        if name not in plan.recipe:
            found.append(Reason("recipe-not-in-plan", f"The plan does not name the hyperparameter {name}."))
        elif not plan.recipe[name].admits(recipe[name]):
            told = f"{name} is {recipe[name]}, and the plan admits {plan.recipe[name]}"
            found.append(Reason("recipe-outside-plan", f"The hyperparameter {told}."))
    if not recipe:
        found.append(Reason("recipe-unknown", "Nothing tells with which recipe the run trained."))
    return found


def _outside_data(plan: Plan, run: Run) -> list[Reason]:
    if run.modalities is None or run.sources is None or run.new_patients is None or run.fewest_reads is None:
        return [Reason("data-unknown", "The data set of the run is gone, so nothing can be said about it.")]
    found = []
    others = sorted(run.modalities - set(plan.modalities))
    if others:
        told = f"{_and(others)}, and the plan foresees {_and(plan.modalities)}"
        found.append(Reason("modality-outside-plan", f"The data set holds the modality {told}."))
    strange = run.sources - set(plan.sources) if plan.sources is not None else frozenset()
    if strange:
        found.append(Reason("source-outside-plan", f"{len(strange)} of the data set's sources are not in the plan."))
    if run.new_patients < plan.new_patients:
        told = f"{run.new_patients} patients are new since the champion, and the plan asks for {plan.new_patients}"
        found.append(Reason("too-few-new-patients", f"{told}."))
    if run.fewest_reads < plan.reads_per_label:
        told = f"{run.fewest_reads} reads, and the plan asks for {plan.reads_per_label}"
        found.append(Reason("too-few-reads", f"A label of the data set rests on {told}."))
    return found


def sha256_of(text: bytes) -> str:
    """The name of a plan: the SHA-256 of its bytes."""
    return hashlib.sha256(text).hexdigest()


# How it is read


def load(text: bytes) -> Plan:
    """The plan in a YAML file.

    Raises:
        InvalidPlan: It is no YAML, or an entry is unknown, missing, written twice or of the wrong kind. The message
            names the line, what was found and what was expected.
    """
    if len(text) > _LONGEST:
        raise InvalidPlan(f"a plan is at most {_LONGEST} bytes long, found {len(text)}")
    top = _READ.entries(_READ.root(text), "the plan", _TOP)
    _one_of(top["version"], "version", (_VERSION,))
    return _plan(top)


_TOP: Final = (
    "version", "name", "author", "valid", "modifications", "data_requirements", "protocol", "acceptance",
    "impact_assessment", "drift_triggers", "update_procedure", "signatures",
)  # fmt: skip


def _plan(top: Mapping[str, Any]) -> Plan:
    valid = _READ.entries(top["valid"], "valid", ("from", "until"))
    changes = _READ.entries(
        top["modifications"], "modifications", ("description", "may_change", "modalities", "sources")
    )
    data = _READ.entries(
        top["data_requirements"], "data_requirements", ("description", "new_patients", "reads_per_label")
    )
    protocol = _READ.entries(top["protocol"], "protocol", ("description", "code_versions", "recipe"))
    acceptance = _READ.entries(top["acceptance"], "acceptance", ("description", "policy_sha256"))
    update = _READ.entries(
        top["update_procedure"], "update_procedure", ("description", "release", "after_rollback", "rollback")
    )
    for where, node in (("modifications", changes), ("data_requirements", data), ("protocol", protocol)):
        _text(node["description"], f"{where}.description")
    _text(acceptance["description"], "acceptance.description")
    _text(update["description"], "update_procedure.description")
    _text(update["rollback"], "update_procedure.rollback")
    for name, node in _READ.entries(top["impact_assessment"], "impact_assessment", _IMPACT).items():
        _text(node, f"impact_assessment.{name}")
    for node in _items(changes["may_change"], "modifications.may_change"):
        _one_of(node, "modifications.may_change", _MAY_CHANGE)
    first, last = _day(valid["from"], "valid.from"), _day(valid["until"], "valid.until")
    if last < first:
        raise _READ.wrong(valid["until"], "valid.until lies before valid.from")
    return Plan(
        name=_word(top["name"], "name"),
        author=_word(top["author"], "author"),
        valid_from=first,
        valid_until=last,
        modalities=tuple(
            _one_of(node, "modifications.modalities", _MODALITIES)
            for node in _items(changes["modalities"], "modifications.modalities")
        ),
        sources=_sources(changes["sources"]),
        new_patients=_count(data["new_patients"], "data_requirements.new_patients"),
        reads_per_label=_count(data["reads_per_label"], "data_requirements.reads_per_label", least=1),
        code_versions=_words(protocol["code_versions"], "protocol.code_versions"),
        recipe=_recipe(protocol["recipe"]),
        policy_sha256=_matching(acceptance["policy_sha256"], "acceptance.policy_sha256", _SHA256, "64 digits of hex"),
        drift_triggers=_triggers(top["drift_triggers"]),
        release=_one_of(update["release"], "update_procedure.release", (AUTOMATIC, PERSON)),
        after_rollback=_one_of(update["after_rollback"], "update_procedure.after_rollback", (HOLD, CONTINUE)),
        signatures=_words(top["signatures"], "signatures"),
    )


def _sources(node: Any) -> tuple[str, ...] | None:
    """Words, or the one word `any`."""
    if isinstance(node, yaml.ScalarNode) and node.value == "any":
        return None
    return tuple(_text(each, "modifications.sources") for each in _items(node, "modifications.sources"))


def _recipe(node: Any) -> dict[str, Admitted]:
    if not isinstance(node, yaml.MappingNode) or not node.value:
        raise _READ.wrong(node, "protocol.recipe holds hyperparameters and what they may be")
    found: dict[str, Admitted] = {}
    for key, value in node.value:
        name = _word(key, "a name in protocol.recipe")
        if name in found:
            raise _READ.wrong(key, f"{name} stands in protocol.recipe twice")
        found[name] = _admitted(value, f"protocol.recipe.{name}")
    return found


def _admitted(node: Any, where: str) -> Admitted:
    if isinstance(node, yaml.MappingNode):
        span = _READ.entries(node, where, ("from", "to"))
        low, high = _number(span["from"], f"{where}.from"), _number(span["to"], f"{where}.to")
        if high < low:
            raise _READ.wrong(node, f"{where} ends below its beginning")
        return Admitted(low=low, high=high)
    if isinstance(node, yaml.SequenceNode):
        return Admitted(one_of=tuple(_text(each, where) for each in _items(node, where)))
    if isinstance(node, yaml.ScalarNode) and node.value == "any":
        return Admitted()
    raise _READ.wrong(node, f"{where} is a list of values, {{from: ..., to: ...}} or any")


def _triggers(node: Any) -> dict[str, bool]:
    if not isinstance(node, yaml.SequenceNode):
        raise _READ.wrong(node, "drift_triggers is a list, and may be empty")
    found: dict[str, bool] = {}
    for each in node.value:
        entry = _READ.entries(each, "a drift trigger", ("monitor", "retrain"))
        name = _word(entry["monitor"], "drift_triggers.monitor")
        if name in found:
            raise _READ.wrong(each, f"{name} stands in drift_triggers twice")
        found[name] = _one_of(entry["retrain"], "drift_triggers.retrain", ("true", "false")) == "true"
    return found


def _items(node: Any, where: str) -> list[Any]:
    if not isinstance(node, yaml.SequenceNode) or not node.value:
        raise _READ.wrong(node, f"{where} is a list with at least one entry")
    found: list[Any] = node.value
    return found


def _words(node: Any, where: str) -> tuple[str, ...]:
    return tuple(_word(each, where) for each in _items(node, where))


def _matching(node: Any, where: str, pattern: re.Pattern[str], expected: str) -> str:
    if not isinstance(node, yaml.ScalarNode) or not pattern.fullmatch(node.value):
        raise _READ.wrong(node, f"{where} is {shown(node)}, expected {expected}")
    return str(node.value)


def _word(node: Any, where: str) -> str:
    return _matching(node, where, _WORD, "a word of letters, digits and . _ : -")


def _text(node: Any, where: str) -> str:
    if not isinstance(node, yaml.ScalarNode) or not node.value.strip():
        raise _READ.wrong(node, f"{where} is {shown(node)}, expected text")
    return str(node.value)


def _number(node: Any, where: str) -> float:
    return float(_matching(node, where, _NUMBER, "a number"))


def _count(node: Any, where: str, least: int = 0) -> int:
    found = int(_matching(node, where, re.compile(r"[0-9]{1,9}"), "a whole number"))
    if found < least:
        raise _READ.wrong(node, f"{where} is {found}, expected at least {least}")
    return found


def _day(node: Any, where: str) -> date:
    try:
        return date.fromisoformat(_matching(node, where, _DAY, "a day such as 2026-12-31"))
    except ValueError:
        raise _READ.wrong(node, f"{where} is {shown(node)}, expected a day that there is") from None


def _one_of(node: Any, where: str, expected: Sequence[str]) -> str:
    if not isinstance(node, yaml.ScalarNode) or node.value not in expected:
        raise _READ.wrong(node, f"{where} is {shown(node)}, expected {' or '.join(expected)}")
    return str(node.value)


def _and(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
