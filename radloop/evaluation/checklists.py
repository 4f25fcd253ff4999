"""Three reporting checklists, filled in from an evaluation as far as data can: CLAIM 2024, TRIPOD+AI 2024 and GMLP.

The items are told in our own words, under the numbers of the originals (CLAIM: Tejani et al., Radiology: Artificial
Intelligence 2024; TRIPOD+AI: Collins et al., BMJ 2024; GMLP: FDA, Health Canada and MHRA, 2021). An item is answered
where this run's own data answer it, else open, with what a person must add. Nothing is answered that nobody measured.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from radloop.evaluation.words import counted, interval_of, listed, percent

ANSWERED: Final = "answered"
OPEN: Final = "open"


class Item(NamedTuple):
    """One item: its number, what it asks for, which answer fits, and what a person must add where there is none."""

    number: str
    asks: str
    answer: str
    need: str


CLAIM: Final = (
    Item("1", "The title or the abstract says that this is a study of AI, and of which kind", "kind", ""),
    Item("2", "A structured summary of design, methods, results and conclusions", "summary", ""),
    Item("3", "Background, intended use and clinical role", "", "State who is to use the model, on whom and for what."),
    Item("4", "Aims and hypotheses", "aims", ""),
    Item("5", "Prospective or retrospective", "design", ""),
    Item("6", "The goal of the study", "aims", ""),
    Item("7", "Where the data come from", "sources", "Name the institutions behind the data stores."),
    Item("8", "Who was included and who was not", "eligibility", ""),
    Item("9", "How the images were prepared", "preprocessing", ""),
    Item("10", "How subsets of the data were chosen", "subsets", ""),
    Item("11", "How data were de-identified", "deidentified", ""),
    Item("12", "What was done about missing data", "missing", ""),
    Item("13", "How the images were acquired", "", "Add the protocols of the scanners named in the report."),
    Item("14", "What the reference standard is", "reference", ""),
    Item("15", "Why this reference standard", "", "Give the reason for a reader's finding, or a better one."),
    Item("16", "Who annotated, and how qualified they are", "", "Name the readers' training: here they are ids."),
    Item("17", "How the test set was annotated", "test_reads", ""),
    Item("18", "How far annotators agree, also with themselves", "agreement", "Have image sets read by two."),
    Item("19", "How data were assigned to the parts", "split", ""),
    Item("20", "At which level the parts are disjoint", "disjoint", "Run with the leakage guards, which report it."),
    Item("21", "How the size of the test set was planned", "", "Justify the number of test patients beforehand."),
    Item("22", "The model, in full", "model", ""),
    Item("23", "Software and versions", "software", "Have the package tell its versions in lineage.json."),
    Item("24", "How the weights were initialised", "weights", "Have lineage.json tell it."),
    Item("25", "How it was trained", "training", "Have lineage.json tell the hyperparameters."),
    Item("26", "How the final model was selected", "selection", ""),
    Item("27", "Ensembles", "ensemble", ""),
    Item("28", "Which figures, and why they fit", "figures", ""),
    Item("29", "How uncertainty was reckoned", "uncertainty", ""),
    Item("30", "Robustness and sensitivity analyses", "robustness", ""),
    Item("31", "Means of explaining what the model says", "explained", "Export the network with its saliency output."),
    Item("32", "Testing on internal data", "performance", ""),
    Item("33", "Testing on external data", "external", "Name an external data store, and let it be evaluated."),
    Item("34", "Registration of the trial", "", "Give the registration, or say that there is none."),
    Item("35", "How many were included and excluded", "flow", ""),
    Item("36", "Who the patients of each part are", "people", ""),
    Item("37", "Performance with uncertainty", "performance", ""),
    Item("38", "Estimates with their precision", "precision", ""),
    Item("39", "What was got wrong", "failures", ""),
    Item("40", "Limitations", "limits", "State what the data cannot show, such as spectrum and verification bias."),
    Item("41", "What it means for practice", "", "Say what may change in care, and what must not."),
    Item("42", "Where the full protocol is", "protocol", ""),
    Item("43", "Where software, model and data can be had", "", "Say who may have them, and how."),
    Item("44", "Funding", "", "Name the funders and their part."),
)  # fmt: skip

TRIPOD: Final = (
    Item("1", "The title names the model, the people and the outcome", "kind", ""),
    Item("2", "An abstract by the checklist for abstracts", "summary", ""),
    Item("3a", "The setting in care and why a model is wanted", "", "Describe the pathway and what is decided in it."),
    Item("3b", "For whom and by whom it is to be used", "", "State the patients and the users."),
    Item("3c", "Known inequalities between groups of people", "", "Describe them for the people concerned."),
    Item("4", "Objectives", "aims", ""),
    Item("5a", "Sources of the data, and how far they represent the people", "sources", "Say whom they represent."),
    Item("5b", "From when the data are", "", "Give first and last dates; the parts carry none, to protect patients."),
    Item("6a", "Setting and places", "", "Name hospitals, departments and countries."),
    Item("6b", "Who was eligible", "eligibility", ""),
    Item("6c", "Treatments received", "", "Say whether patients were treated before the image, and how."),
    Item("7", "How the data were prepared, alike for all groups", "preprocessing", ""),
    Item("8a", "The outcome and how it was found", "reference", ""),
    Item("8b", "Who judged the outcome, and how qualified", "", "Name the readers' training."),
    Item("8c", "Whether the judges were blinded", "blinded", "Set a policy with several blinded reads."),
    Item("9a", "How predictors were chosen", "predictors", ""),
    Item("9b", "What the predictors are and how they are measured", "predictors", ""),
    Item("9c", "Who judged predictors that need judgement", "no_judgement", ""),
    Item("10", "How the sample size came about", "", "Justify it for training and for testing."),
    Item("11", "Missing data", "missing", ""),
    Item("12a", "Which data served for what", "split", ""),
    Item("12b", "How predictors were handled", "preprocessing", ""),
    Item("12c", "The kind of model and each step of building it", "model", ""),
    Item("12d", "Differences between places and clusters", "clusters", "Record source and scanner of the image sets."),
    Item("12e", "Which figures and plots, and why", "figures", ""),
    Item("12f", "Updates of the model", "updating", ""),
    Item("12g", "How a prediction is reckoned", "reckoned", ""),
    Item("13", "What was done about unequal classes", "imbalance", ""),
    Item("14", "What was done for fairness", "fairness", "Record sex and age of enough patients."),
    Item("15", "What the model gives out, and at which threshold", "output", ""),
    Item("16", "Differences between the data of training and of evaluation", "differences", ""),
    Item("17", "Ethics approval", "", "Name the committee and its decision."),
    Item("18a", "Funding", "", "Name the funders and their part."),
    Item("18b", "Conflicts of interest", "", "Declare them."),
    Item("18c", "Where the protocol is", "protocol", ""),
    Item("18d", "Registration", "", "Give it, or say that there is none."),
    Item("18e", "Whether the data can be had", "", "Say who may have them, and how."),
    Item("18f", "Whether the code can be had", "software", "Have the package tell its versions in lineage.json."),
    Item("19", "Part that patients and the public had", "", "Describe it, or say that there was none."),
    Item("20a", "The flow of participants", "flow", ""),
    Item("20b", "Who the participants are", "people", ""),
    Item("20c", "How those of development and evaluation differ", "differences", ""),
    Item("21", "Participants and outcomes in each analysis", "flow", ""),
    Item("22", "The full model, so that it can be used and judged", "specification", ""),
    Item("23a", "Performance with intervals, also in groups", "performance", ""),
    Item("23b", "Differences between clusters", "clusters", "Record source and scanner of the image sets."),
    Item("24", "Results of an update", "champion", "There is no model in use to compare with."),
    Item("25", "What the results mean", "", "Judge them against the use, and against other studies."),
    Item("26", "Limitations", "limits", "State what the data cannot show."),
    Item("27a", "What to do with poor or missing input", "poor_input", ""),
    Item("27b", "What users must know and be able to do", "", "Describe the training of users, and what they see."),
    Item("27c", "What comes next", "", "Say what must be studied before the model is used."),
)  # fmt: skip

GMLP: Final = (
    Item("1", "People of many professions take part through the whole life of the product", "", "Name who does."),
    Item("2", "Good software engineering and security", "engineering", "Have lineage.json tell code and hashes."),
    Item("3", "Patients and data represent those whom it is meant for", "people", ""),
    Item("4", "Training data are independent of test data", "disjoint", "Run with the leakage guards."),
    Item("5", "The reference rests on the best available methods", "reference", ""),
    Item("6", "The model fits the data and its intended use", "fits", "State the intended use."),
    Item("7", "The team of person and model is in view", "", "Study how readers do with and without the model."),
    Item("8", "Testing shows performance under clinical conditions", "external", "Test on another site's patients."),
    Item("9", "Users are given clear, essential facts", "facts", ""),
    Item("10", "Models in use are watched, and retraining risks are managed", "watched", ""),
)  # fmt: skip

CHECKLISTS: Final[Mapping[str, tuple[Item, ...]]] = {"CLAIM 2024": CLAIM, "TRIPOD+AI 2024": TRIPOD, "GMLP 2021": GMLP}


def checklists_of(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """Every checklist with its items: `number`, `asks`, `status` and either `answer` or `need`."""
    answers = answers_of(evaluation)
    return {
        name: {
            "answered": sum(bool(answers.get(item.answer)) for item in items),
            "items": [_filled(item, answers) for item in items],
        }
        for name, items in CHECKLISTS.items()
    }


def _filled(item: Item, answers: Mapping[str, str | None]) -> dict[str, str]:
    answer = answers.get(item.answer)
    if answer:
        return {"number": item.number, "asks": item.asks, "status": ANSWERED, "answer": answer}
    need = item.need or "This evaluation has no data on it."
    return {"number": item.number, "asks": item.asks, "status": OPEN, "need": need}


def answers_of(evaluation: Mapping[str, Any]) -> dict[str, str | None]:
    """What the data of a run say on each subject; None where they say nothing."""
    return {**_on_data(evaluation), **_on_model(evaluation), **_on_figures(evaluation)}


def _on_data(evaluation: Mapping[str, Any]) -> dict[str, str | None]:
    parts = evaluation["parts"]
    test, train = parts["test"], parts.get("train")
    guards = evaluation["guards"]
    known = {
        name: test["image_sets"] - test[name].get("unknown", 0) for name in ("sex", "age_band", "source", "scanner")
    }
    several = sum(count for reads, count in test["reads"].items() if reads not in {"unknown", "0", "1"})
    sizes = "; ".join(
        f"{name}: {counted(part['patients'], 'patient')}, {counted(part['image_sets'], 'image set')}, "
        f"{part['positives']} with the finding"
        for name, part in parts.items()
    )
    spec = evaluation["tile_spec"]
    split = (
        "Patients fall into training (70 %), validation (10 %) and test (20 %) by a hash of their id, for ever. "
        "Validation chose the epoch, the temperature and the operating point; the test part was used once, here."
    )
    return {
        "kind": "A deep neural network that tells chest CT and X-ray studies with pneumonia from those without.",
        "design": "Retrospective: image sets that had been read before the run started.",
        "aims": "To tell whether this version of the model may be registered, by rules that were fixed before.",
        "sources": f"Data stores of the test part: {listed(test['source'])}; licences: {listed(test['licence'])}."
        if known["source"]
        else None,
        "eligibility": (
            "Every image set with ground truth. snapshot.json beside the data set names those left out, each with its "
            "reason."
        ),
        "preprocessing": (
            f"Planes are windowed and averaged to {spec['size']} x {spec['size']} pixels of 8 bits; CT is cropped to "
            f"the lungs (crop: {spec['crop']}) in a window of {spec['window_width']:g} HU around "
            f"{spec['window_center']:g} HU. Serving runs the same code."
        ),
        "subsets": "None was chosen by hand: the parts follow from a hash of the patient's id.",
        "deidentified": (
            "Patients stand under keyed pseudonyms, dates and free text are left out, and of the images only pixels "
            "reach training. Text burned into pixels is not looked for."
        ),
        "missing": (
            f"What an image does not tell is its own group, unknown. Known of {test['image_sets']} test image sets: "
            f"sex {known['sex']}, age band {known['age_band']}, scanner {known['scanner']}, source {known['source']}."
        ),
        "reference": (
            "The finding of readers under the policy of each data store: one read, two that agree, adjudication, or a "
            "posterior of 0.9 by Dawid and Skene's method. "
            f"{counted(test['doubtful'], 'test image set')} stayed between 0.1 and 0.9."
        ),
        "test_reads": f"Test image sets by number of reads: {listed(test['reads'])}.",
        "agreement": (
            f"{several} of {test['image_sets']} test image sets were read by two or more; readers' sensitivity and "
            "specificity stand in snapshot.json under opaque ids."
        )
        if several
        else None,
        "blinded": "Where several read, nobody saw another's read or the model's opinion before their own."
        if several
        else None,
        "split": split,
        "disjoint": f"Patients. {_green(guards)}" if guards else None,
        "flow": f"{sizes}. Those left out are counted by reason in snapshot.json.",
        "people": "Test part: sex " + listed(test["sex"]) + "; age band " + listed(test["age_band"]) + "."
        if known["sex"] or known["age_band"]
        else None,
        "differences": (
            f"With the finding: {percent(train['positives'], train['image_sets'])} in training, "
            f"{percent(test['positives'], test['image_sets'])} in the test part; both come from the same data stores "
            "unless the external part says otherwise."
        )
        if train
        else None,
        "clusters": f"The report judges {counted(len(test['source']), 'source')} and "
        f"{counted(len(test['scanner']), 'scanner')}, as far as they are big enough."
        if known["source"] or known["scanner"]
        else None,
    }


def _green(guards: list[Mapping[str, Any]]) -> str:
    red = [guard for guard in guards if not guard.get("passed")]
    return f"{len(guards) - len(red)} of {len(guards)} leakage guards are green."


def _on_model(evaluation: Mapping[str, Any]) -> dict[str, str | None]:
    lineage, operating = evaluation["lineage"], evaluation["operating_point"]
    chosen: Mapping[str, Any] = lineage.get("hyperparameters") or {}
    pretrained = lineage.get("pretrained_sha256")
    at = f"threshold {operating['threshold']:.4f} on the calibrated probability, chosen on {operating['chosen_on']}"
    origin = (
        f"ImageNet-style weights from a file with SHA-256 {pretrained}" if pretrained else "random (Kaiming) weights"
    )
    code = lineage.get("code") or {}
    return {
        "model": (
            "One ResNet-50 sees every tile of a study; the tiles' embeddings are pooled "
            f"({chosen.get('pooling', 'mean')}) and one linear layer gives a logit. A temperature turns it into a "
            "probability."
        ),
        "reckoned": f"Probability = 1 / (1 + exp(-logit / {operating['temperature']:.4f})); present from the {at}.",
        "output": f"A probability and a call, at the {at}.",
        "specification": f"model.tar.gz with SHA-256 {evaluation['model_sha256']} runs anywhere ONNX does.",
        "predictors": "Pixels alone. No attribute of the patient or the scanner is shown to the network.",
        "no_judgement": "None needs judgement: the network sees pixels.",
        "software": f"radloop {code.get('radloop')}, torch {lineage.get('torch')}; code SHA-256 {code.get('sha256')}."
        if code
        else None,
        "engineering": f"Code SHA-256 {code.get('sha256')}; every file of the package, data set and policy is hashed."
        if code
        else None,
        "weights": f"Started from {origin}." if chosen else None,
        "training": f"Hyperparameters: {', '.join(f'{name} {value}' for name, value in sorted(chosen.items()))}."
        if chosen
        else None,
        "selection": f"The epoch with the lowest loss on validation, number {lineage['best_epoch']}."
        if lineage.get("best_epoch") is not None
        else None,
        "ensemble": "None is used.",
        "imbalance": "Training weighs both classes alike; temperature and operating point are set on validation.",
        "updating": "Retraining starts from new ground truth under the change control plan; each version is tested.",
        "poor_input": "Serving refuses studies that do not look like those it was trained on, and says so.",
        "protocol": f"The policy with SHA-256 {evaluation['policy_sha256']}, and the change control plan of the home.",
        "watched": "Inputs, scores and label feedback are compared with a reference made at registration.",
        "facts": "The model card and this report go with every version.",
        "fits": None,
    }


def _on_figures(evaluation: Mapping[str, Any]) -> dict[str, str | None]:
    metrics = evaluation["metrics"]
    refused = [rule["name"] for rule in (evaluation.get("gate") or {}).get("rules", []) if not rule["passed"]]
    judged = [group for group in evaluation["subgroups"] if group["is_judged"]]
    fair = [group for group in judged if group["by"] in {"sex", "age_band"}]
    external, champion = evaluation["external"], evaluation["champion"]
    area = f"ROC AUC {interval_of(metrics['roc_auc'])}, accuracy {interval_of(metrics['accuracy'])}"
    worst = evaluation.get("worst") or []
    verdict = f"refused by {', '.join(refused)}" if refused else "passed every rule"
    return {
        "summary": f"On {counted(evaluation['test']['patients'], 'test patient')} {area}; {verdict}. More is in the "
        "report.",
        "figures": (
            "Accuracy, precision, sensitivity, specificity, F1, ROC AUC, average precision, Brier score, calibration "
            "error (bins of equal mass); ROC, precision-recall and calibration curves."
        ),
        "uncertainty": "95 % intervals of percentiles over 2,000 bootstrap draws of patients; comparisons are paired.",
        "robustness": f"{counted(len(judged), 'subgroup')} judged, a baseline without anatomy, heads on shuffled "
        "labels and a permutation test.",
        "fairness": f"{counted(len(fair), 'group')} by sex and age are judged; none may lie further below all than the "
        "policy allows."
        if fair
        else None,
        "explained": "Grad-CAM of the logit on the last stage, shown for the worst cases."
        if any(case["has_saliency"] for case in worst)
        else None,
        "performance": f"{area}; sensitivity {interval_of(metrics['recall'])}, specificity "
        f"{interval_of(metrics['specificity'])}, calibration error {interval_of(metrics['ece'])}.",
        "precision": f"Recall {interval_of(metrics['recall'])}; specificity {interval_of(metrics['specificity'])}.",
        "external": f"{counted(external['test']['image_sets'], 'image set')} of other data stores: ROC AUC "
        f"{interval_of(external['metrics']['roc_auc'])}."
        if external
        else None,
        "failures": f"{evaluation['confusion_matrix']['fp']} false alarms and {evaluation['confusion_matrix']['fn']} "
        "misses; the surest of them are shown in the report.",
        "champion": f"Against version {champion['version']}: difference in ROC AUC {interval_of(champion['delta'])}."
        if champion and champion.get("delta")
        else None,
        "limits": None,
    }
