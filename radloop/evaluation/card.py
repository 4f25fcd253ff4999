"""The model card, written by the machine: what a version is, what it was tested on, how it did, what nobody knows."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from radloop.evaluation.words import NAMES, NOTICE, counted, figure, interval_of, listed

_MADE_OF: Final = ("modality", "sex", "age_band", "source", "scanner", "view", "licence")


def card_of(evaluation: Mapping[str, Any], checklists: Mapping[str, Any]) -> str:
    """The card as Markdown.

    Args:
        evaluation: As in `evaluation.json`, with its gate.
        checklists: From `checklists_of`.
    """
    return "\n".join(
        [
            *_head(evaluation),
            *_use(),
            *_data(evaluation),
            *_training(evaluation),
            *_figures(evaluation),
            *_limits(evaluation, checklists),
            *_origin(evaluation),
        ]
    )


def _head(evaluation: Mapping[str, Any]) -> Iterator[str]:
    gate = evaluation["gate"]
    refused = [rule for rule in gate["rules"] if not rule["passed"]]
    yield "# Model card: pneumonia on chest CT and X-ray"
    yield ""
    yield f"*{NOTICE}*"
    yield ""
    if refused:
        yield f"**The gate refused this model** by {len(refused)} of {len(gate['rules'])} rules:"
        yield ""
        yield from (f"- `{rule['name']}`: {_safe(rule['sentence'])}" for rule in refused)
    else:
        yield f"**The gate let this model through**: all {len(gate['rules'])} rules passed. A person decides."
    yield ""


def _use() -> Iterator[str]:
    yield "## What it is for"
    yield ""
    yield "It gives a probability that a chest study shows pneumonia, to order a worklist and to be shown as an opinion"
    yield "of a model. Intended use, users and patients: **open, to be stated by a person.**"
    yield ""


def _data(evaluation: Mapping[str, Any]) -> Iterator[str]:
    yield "## Data"
    yield ""
    yield "| part | patients | image sets | with the finding | without |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    parts = dict(evaluation["parts"])
    validation = evaluation["lineage"].get("validation")
    if isinstance(validation, Mapping) and "patients" in validation:
        parts = {name: parts[name] for name in ("train",) if name in parts} | {"validation": validation} | parts
    for name, part in parts.items():
        yield f"| {name} | {part['patients']} | {part['image_sets']} | {part['positives']} | {part['negatives']} |"
    yield ""
    yield "Patients fall into the parts by a hash of their id, for ever. Of the test part:"
    yield ""
    test = evaluation["parts"]["test"]
    yield from (f"- {name.replace('_', ' ')}: {_safe(listed(test[name]))}" for name in _MADE_OF)
    yield f"- reads of an image set: {listed(test['reads'])}; {counted(test['doubtful'], 'image set')} in doubt"
    yield ""


def _training(evaluation: Mapping[str, Any]) -> Iterator[str]:
    lineage, spec = evaluation["lineage"], evaluation["tile_spec"]
    operating = evaluation["operating_point"]
    yield "## Model"
    yield ""
    yield f"- ResNet-50 over tiles of {spec['size']} pixels, pooled over the study, one linear layer"
    chosen: Mapping[str, Any] = lineage.get("hyperparameters") or {}
    if chosen:
        told = ", ".join(f"{name} {value}" for name, value in sorted(chosen.items()))
        yield f"- hyperparameters: {_safe(told)}"
    if lineage.get("best_epoch") is not None:
        yield f"- best epoch {lineage['best_epoch']} of {lineage.get('epochs_run', 'unknown')}, by validation loss"
    yield (
        f"- operating point: probability {operating['threshold']:.4f}, chosen on {_safe(str(operating['chosen_on']))}; "
        f"temperature {operating['temperature']:.4f}"
    )
    yield ""


def _figures(evaluation: Mapping[str, Any]) -> Iterator[str]:
    test = evaluation["test"]
    yield f"## Figures on {counted(test['patients'], 'test patient')}"
    yield ""
    yield "95 % intervals over patients. The operating point was fixed before."
    yield ""
    yield "| figure | value | 95 % interval |"
    yield "| --- | ---: | --- |"
    for name, word in NAMES.items():
        one = evaluation["metrics"][name]
        yield f"| {word} | {figure(one['value'])} | {figure(one['ci_low'])} to {figure(one['ci_high'])} |"
    yield ""
    yield from _beside(evaluation)
    yield "### Subgroups"
    yield ""
    yield "| by | group | image sets | ROC AUC | accuracy |"
    yield "| --- | --- | ---: | --- | --- |"
    for group in evaluation["subgroups"]:
        few = "too few to say"
        auc, accuracy = (interval_of(group[name]) if group["is_judged"] else few for name in ("roc_auc", "accuracy"))
        row = (group["by"].replace("_", " "), _safe(group["group"]), group["image_sets"], auc, accuracy)
        yield f"| {' | '.join(str(cell) for cell in row)} |"
    yield ""


def _beside(evaluation: Mapping[str, Any]) -> Iterator[str]:
    baseline, champion = evaluation["baseline"], evaluation["champion"]
    external, shuffled = evaluation["external"], evaluation["shuffled"]
    if baseline:
        yield f"- trivial baseline (15 numbers, no anatomy): ROC AUC {interval_of(baseline['roc_auc'])}; the model's"
        yield f"  lies {interval_of(baseline['delta'])} above it"
    if shuffled.get("mean_auc") is not None:
        yield f"- heads on shuffled labels: mean ROC AUC {figure(shuffled['mean_auc'])}"
    if champion:
        against = f"difference in ROC AUC {interval_of(champion['delta'])}" if champion["delta"] else champion["how"]
        yield f"- champion, version {_safe(str(champion['version']))}: {_safe(against)}"
    yield f"- external part: {interval_of(external['metrics']['roc_auc']) if external else '**none: open**'}"
    yield ""


def _limits(evaluation: Mapping[str, Any], checklists: Mapping[str, Any]) -> Iterator[str]:
    unjudged = [group for group in evaluation["subgroups"] if not group["is_judged"]]
    yield "## What this does not answer"
    yield ""
    if evaluation["external"] is None:
        yield "- how it does on patients of another site: there was no external part"
    if unjudged:
        yield f"- how it does in {counted(len(unjudged), 'group')} with too few image sets to say"
    yield "- whether readers do better with it than without it"
    yield "- how it does where the finding is rarer or other diseases look alike"
    yield ""
    for name, checklist in checklists.items():
        open_items = len(checklist["items"]) - checklist["answered"]
        yield f"- {name}: {checklist['answered']} items answered from data, {open_items} open for a person"
    yield ""


def _origin(evaluation: Mapping[str, Any]) -> Iterator[str]:
    yield "## Where it comes from"
    yield ""
    for name in ("model_sha256", "dataset_sha256", "test_manifest_sha256", "policy_sha256"):
        yield f"- {name.removesuffix('_sha256').replace('_', ' ')}: `{evaluation[name]}`"
    code = evaluation["lineage"].get("code") or {}
    if code:
        yield f"- code: radloop {_safe(str(code.get('radloop')))}, {_safe(str(code.get('sha256')))}"
    yield ""


def _safe(text: str) -> str:
    """Text that no Markdown reader takes for markup or for a cell's end."""
    return "".join(f"\\{letter}" if letter in "\\`*_[]<>|#" else letter for letter in text)
