"""The evaluation job: what runs is the ONNX file, what decides is the policy, and nothing passes by absence."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as oracle

from radloop.evaluation import policy
from radloop.evaluation.evaluate import main
from radloop.training.bags import read_part
from radloop.training.package import Network, unpack
from tests.evaluation.tested import (
    FACTS,
    GUARDS,
    SPEC,
    evaluation_of,
    network,
    refused,
    sha256_of,
    write_context,
    write_items,
    write_job,
    write_package,
    write_part,
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("made")
    write_job(root)
    return root


@pytest.fixture
def ready(job_root: Path, made: Path) -> Path:
    """A root of this test's own, for a model that deserves to pass."""
    shutil.copytree(made / "processing", job_root / "processing")
    return job_root


def archive_in(root: Path) -> Path:
    return root / "processing" / "model" / "model.tar.gz"


def test_a_model_that_is_right_passes_every_rule(ready: Path) -> None:
    assert main([]) == 0
    found = evaluation_of(ready)
    assert refused(found) == []
    assert found["gate"]["approved"] is True
    assert {rule["name"] for rule in found["gate"]["rules"]} >= {
        "positives", "negatives", "accuracy", "roc_auc_lower_bound", "sensitivity", "specificity", "baseline",
        "subgroups", "calibration", "brier", "shuffled", "permutation", "freshness", "guards", "evidence"
    }  # fmt: skip
    assert found["baseline"]["delta"]["ci_low"] > 0.2, "no statistic of the whole image tells left from right"
    assert found["champion"] is None
    assert found["external"] is None
    assert found["gate"]["off"] == []


def test_the_figures_are_scikit_learns_on_what_the_onnx_file_says(ready: Path) -> None:
    write_part(ready, "test", noise=160)
    assert main([]) == 0
    found = evaluation_of(ready)
    model = unpack(archive_in(ready))
    test = read_part(ready / "processing" / "test")
    scores = model.probabilities(Network(model, threads=1).see(test).logits)
    labels, said = test.labels.astype(int), scores >= 0.5
    assert 0.6 < found["metrics"]["accuracy"]["value"] < 1, "a test that is neither trivial nor hopeless"
    for name, expected in {
        "accuracy": oracle.accuracy_score(labels, said),
        "precision": oracle.precision_score(labels, said),
        "recall": oracle.recall_score(labels, said),
        "f1": oracle.f1_score(labels, said),
        "roc_auc": oracle.roc_auc_score(labels, scores),
        "pr_auc": oracle.average_precision_score(labels, scores),
        "brier": oracle.brier_score_loss(labels, scores),
    }.items():
        assert found["metrics"][name]["value"] == pytest.approx(expected), name
        assert found["metrics"][name]["ci_low"] < expected < found["metrics"][name]["ci_high"]
    tn, fp, fn, tp = oracle.confusion_matrix(labels, said).ravel().tolist()
    assert found["confusion_matrix"] == {"tn": tn, "fp": fp, "fn": fn, "tp": tp}


def test_the_temperature_divides_the_logit_and_is_one_in_packages_of_old(ready: Path) -> None:
    test = read_part(ready / "processing" / "test")
    logits = Network(unpack(archive_in(ready)), threads=1).see(test).logits
    assert unpack(archive_in(ready)).probabilities(logits) == pytest.approx(1 / (1 + np.exp(-logits / 1.5)))
    write_package(archive_in(ready), ready, calibration__json=None)
    old = unpack(archive_in(ready))
    assert old.temperature == 1.0
    assert old.probabilities(logits) == pytest.approx(1 / (1 + np.exp(-logits)))


def test_repeated_it_writes_the_same_bytes(ready: Path) -> None:
    write_part(ready, "test", noise=160)
    assert main([]) == 0
    folder = ready / "processing" / "evaluation"
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert main([]) == 0
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert {path.name for path in before} >= {"evaluation.json", "report.html", "model_card.md", "checklists.json"}
    assert any(path.suffix == ".png" for path in before), "there were wrong calls to show"


def test_every_file_beside_the_evaluation_stands_in_it_with_its_hash(ready: Path) -> None:
    write_part(ready, "test", noise=160)
    stray = ready / "processing" / "evaluation" / "pictures" / "of-an-earlier-try.png"
    stray.parent.mkdir(parents=True)
    stray.write_bytes(b"x")
    assert main([]) == 0
    folder = ready / "processing" / "evaluation"
    beside = {
        path.relative_to(folder).as_posix(): sha256_of(path)
        for path in folder.rglob("*")
        if path.is_file() and path.name != "evaluation.json"
    }
    assert evaluation_of(ready)["files"] == beside
    assert not stray.exists()


def test_a_bad_model_is_evaluated_and_refused_with_its_figure(ready: Path) -> None:
    write_package(archive_in(ready), ready, onnx_file=network(gain=-160))
    assert main([]) == 0, "refusing is the job done, not a failure"
    found = evaluation_of(ready)
    assert {"accuracy", "roc_auc_lower_bound", "sensitivity", "specificity", "baseline", "permutation"} <= set(
        refused(found)
    )
    (rule,) = [rule for rule in found["gate"]["rules"] if rule["name"] == "accuracy"]
    assert rule["sentence"] == "Accuracy 0.0000 on 140 test image sets is below the limit of 0.8500."


def test_the_parameter_replaces_the_floor_of_the_policy(ready: Path) -> None:
    write_part(ready, "test", noise=160)
    own = json.loads(policy.default().canonical())
    own["accuracy"]["least"] = 0.99
    write_context(ready, policy=json.dumps(own))
    assert main([]) == 0
    assert "accuracy" in refused(evaluation_of(ready))
    assert evaluation_of(ready)["policy_sha256"] == policy.load(json.dumps(own)).sha256
    assert main(["--accuracy-threshold", "0.5"]) == 0
    assert "accuracy" not in refused(evaluation_of(ready))
    assert evaluation_of(ready)["policy"]["accuracy"]["least"] == 0.5
    assert main(["--accuracy-threshold", "1.5"]) == 1


def test_a_shortcut_is_refused_although_accuracy_is_perfect(ready: Path) -> None:
    for split in ("train", "test"):
        write_part(ready, split, shortcut=True)
    write_package(archive_in(ready), ready)
    assert main([]) == 0
    found = evaluation_of(ready)
    assert found["metrics"]["accuracy"]["value"] == 1.0
    assert refused(found) == ["baseline"]


def test_a_group_that_collapses_is_refused_by_name(ready: Path) -> None:
    lines = write_part(ready, "test", per_class=200)
    for at, item in enumerate(lines[:64]):
        item["scanner"] = "comet"
        item["label"] = 1 - item["label"] if at % 8 in (0, 3) else item["label"]
    write_items(ready, "test", lines)
    assert main([]) == 0
    found = evaluation_of(ready)
    assert refused(found) == ["subgroups"]
    (rule,) = [rule for rule in found["gate"]["rules"] if rule["name"] == "subgroups"]
    assert "the weakest is scanner comet" in rule["sentence"]


def test_small_groups_are_named_and_not_judged(ready: Path) -> None:
    assert main([]) == 0
    groups = {(group["by"], group["group"]): group for group in evaluation_of(ready)["subgroups"]}
    assert groups["scanner", "aurora"]["is_judged"]
    assert groups["scanner", "aurora"]["roc_auc"]["value"] == 1.0
    lines = json.loads((ready / "processing" / "test" / "manifest.json").read_text())["items"]
    for item in lines[:10]:
        item["view"] = "LL"
    for item in lines[10:]:
        del item["view"]
    write_items(ready, "test", lines)
    assert main([]) == 0
    groups = {(group["by"], group["group"]): group for group in evaluation_of(ready)["subgroups"]}
    assert groups["view", "LL"]["image_sets"] == 10
    assert not groups["view", "LL"]["is_judged"]
    assert "roc_auc" not in groups["view", "LL"]
    assert groups["view", "unknown"]["is_judged"], "what is not told is a group like others"


def test_the_external_part_is_judged_where_it_holds_anything(ready: Path) -> None:
    write_part(ready, "external", noise=12)
    assert main([]) == 0
    assert refused(evaluation_of(ready)) == []
    lines = write_part(ready, "external")
    for item in lines:
        item["label"] = 1 - item["label"]
    write_items(ready, "external", lines)
    assert main([]) == 0
    found = evaluation_of(ready)
    assert refused(found) == ["external"]
    assert found["external"]["metrics"]["roc_auc"]["value"] == 0.0
    assert found["external"]["test"]["image_sets"] == 140


@pytest.mark.parametrize(
    ("facts", "names"),
    [
        (None, ["freshness"]),
        ({"newest_label_days": 400.0}, ["freshness"]),
        ({"newest_label_days": "new"}, ["freshness"]),
        (FACTS, []),
    ],
)
def test_stale_data_are_refused_and_so_are_data_of_unknown_age(ready: Path, facts: Any, names: list[str]) -> None:
    (ready / "processing" / "context" / "facts.json").unlink()
    write_context(ready, facts=facts)
    assert main([]) == 0
    assert refused(evaluation_of(ready)) == names


def test_facts_may_come_by_arguments(ready: Path) -> None:
    (ready / "processing" / "context" / "facts.json").unlink()
    assert main(["--newest-label-days", "3"]) == 0
    assert evaluation_of(ready)["freshness"] == {"newest_label_days": 3.0, "behind_champion_days": None}


def test_when_the_newest_ground_truth_was_given_is_told_where_the_context_tells_it(ready: Path) -> None:
    (ready / "processing" / "context" / "facts.json").unlink()
    write_context(ready, facts={"newest_label_days": 1.0, "newest_label_at": "2026-01-05T12:00:00+00:00"})
    assert main([]) == 0
    assert evaluation_of(ready)["freshness"]["newest_label_at"] == "2026-01-05T12:00:00+00:00"


@pytest.mark.parametrize(
    "guards", [[], [*GUARDS, {"name": "label-by-source", "passed": False, "sentence": "It leaks."}]]
)
def test_a_red_guard_refuses_and_so_does_a_silent_one(ready: Path, guards: list[dict[str, Any]]) -> None:
    lines = json.loads((ready / "processing" / "test" / "manifest.json").read_text())["items"]
    for split in ("train", "external", "test"):
        items = (
            lines
            if split == "test"
            else json.loads((ready / "processing" / split / "manifest.json").read_text())["items"]
        )
        write_items(ready, split, items, guards=guards)
    write_package(archive_in(ready), ready)
    assert main([]) == 0
    assert refused(evaluation_of(ready)) == ["guards"]


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"calibration__json": None}, "calibration.json is missing from the package"),
        (
            {"calibration__json": b'{"temperature": 0.9}'},
            "calibration.json is not the file whose hash stands in lineage",
        ),
        ({"model__onnx": network(gain=161)}, "model.onnx is not the file whose hash stands in lineage.json"),
        ({"lineage__json": b"{}"}, "lineage.json holds no hash of model.onnx"),
    ],
)
def test_a_package_that_was_touched_is_refused(ready: Path, changed: dict[str, bytes | None], problem: str) -> None:
    write_package(archive_in(ready), ready, **changed)
    assert main([]) == 0
    found = evaluation_of(ready)
    assert refused(found) == ["evidence"]
    assert any(one.startswith(problem) for one in found["evidence"]["problems"])


def test_a_model_that_was_taught_on_other_data_is_refused(ready: Path) -> None:
    write_part(ready, "train", seed=9)
    assert main([]) == 0
    found = evaluation_of(ready)
    assert refused(found) == ["evidence"]
    assert found["evidence"]["problems"] == ["the training part is not the one that lineage.json names"]


@pytest.mark.parametrize("part", ["train", "validation"])
def test_a_model_that_was_taught_or_tuned_on_the_test_part_is_refused(ready: Path, part: str) -> None:
    lineage = dict(unpack(archive_in(ready)).lineage)
    tested = sha256_of(ready / "processing" / "test" / "manifest.json")
    lineage[part] = {**lineage[part], "manifest_sha256": tested}
    write_package(archive_in(ready), ready, lineage__json=json.dumps(lineage).encode())
    assert main([]) == 0
    found = evaluation_of(ready)
    assert refused(found) == ["evidence"]
    assert "the model was taught or tuned on the part that it is tested on" in found["evidence"]["problems"]


def test_without_the_training_part_nothing_passes_by_absence(ready: Path) -> None:
    shutil.rmtree(ready / "processing" / "train")
    assert main([]) == 0
    assert refused(evaluation_of(ready)) == ["baseline", "shuffled", "evidence"]


def test_a_test_part_with_one_class_is_refused_by_the_gate(ready: Path) -> None:
    lines = [item for item in write_part(ready, "test", per_class=120) if item["label"]]
    write_items(ready, "test", lines)
    assert main([]) == 0
    found = evaluation_of(ready)
    assert found["metrics"]["roc_auc"] == {"value": None, "ci_low": None, "ci_high": None}
    assert {"negatives", "roc_auc_lower_bound", "specificity", "permutation"} <= set(refused(found))


def test_copies_of_a_patients_images_are_not_more_patients(ready: Path) -> None:
    lines = write_part(ready, "test", per_class=100)
    for at, item in enumerate(lines):
        item["patient"] = f"p{at % 40}"
    write_items(ready, "test", lines)
    assert main([]) == 0
    found = evaluation_of(ready)
    assert {"positives", "negatives"} <= set(refused(found))
    assert found["test"]["positives"] == 100
    assert found["test"]["positive_patients"] == 20


@pytest.mark.parametrize("content", [None, b"\x1f\x8bno archive"])
def test_a_package_that_cannot_be_read_leaves_a_reason(ready: Path, content: bytes | None) -> None:
    archive_in(ready).unlink()
    if content is not None:
        archive_in(ready).write_bytes(content)
    assert main([]) == 1
    assert "lacks one of the files of a model" in (ready / "output" / "failure").read_text()


def test_a_network_that_is_none_leaves_a_reason(ready: Path) -> None:
    write_package(archive_in(ready), ready, model__onnx=b"no network")
    assert main([]) == 1
    assert "no network that can be run" in (ready / "output" / "failure").read_text()


def test_a_test_part_made_for_other_tiles_is_refused(ready: Path) -> None:
    write_package(archive_in(ready), ready, spec=replace(SPEC, window_width=400.0))
    assert main([]) == 1
    assert "for other tiles than the model was trained on" in (ready / "output" / "failure").read_text()


def test_nothing_of_a_patient_stands_in_what_is_written(ready: Path) -> None:
    write_part(ready, "test", noise=160)
    assert main([]) == 0
    for path in (ready / "processing" / "evaluation").rglob("*"):
        if path.is_file():
            assert b"test-p" not in path.read_bytes(), path.name
