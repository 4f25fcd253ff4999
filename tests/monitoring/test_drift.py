"""Drift: found where there is some, told apart by its cause, and hardly ever found where there is none."""

import numpy as np
import pytest

from radloop.monitoring.drift import (
    BLOCKS,
    CAUSES,
    INPUTS,
    LABELS,
    MONITORS,
    PREVALENCE,
    SCORES,
    Alarm,
    Examination,
    Look,
    Studies,
    advance,
    examine,
    examine_labels,
    independent,
    level_of,
)
from radloop.monitoring.feedback import feedback, roc_auc
from radloop.monitoring.prevalence import estimate, weights

BUDGET = 1e6


def studies(
    rng: np.random.Generator, count: int, *, sick: float = 0.5, moved: float = 0.0, scanner: str = "a"
) -> Studies:
    """Made-up studies: both classes have places of their own, the model knows them well, a scanner may move all."""
    target = (rng.random(count) < sick).astype(np.float32)
    embedding = rng.normal(size=(count, 6)).astype(np.float32)
    embedding[:, 0] += 2.0 * target
    odds = 2.0 * (embedding[:, 0] - 1.0)  # what a classifier that knows both places says
    embedding[:, 1] += moved
    statistics = rng.normal(size=(count, 15)).astype(np.float32) + moved
    tags = tuple({"modality": "DX", "scanner": scanner, "view": "PA"} for _ in range(count))
    return Studies(embedding, (1 / (1 + np.exp(-odds))).astype(np.float32), statistics, tags, target)


REFERENCE = studies(np.random.default_rng(1), 300)


def look_at(block: Studies, **options: float) -> Examination:
    return examine(REFERENCE, block, images_per_false_alarm=BUDGET, **options)


def test_another_scanner_is_found_in_25_studies_and_is_no_matter_of_prevalence() -> None:
    found = look_at(studies(np.random.default_rng(2), 25, moved=3.0))
    assert found.cause == INPUTS
    assert found.left_over is not None
    assert found.left_over < 0.01


def test_other_words_in_the_header_are_found_although_the_images_look_alike() -> None:
    found = look_at(studies(np.random.default_rng(3), 25, scanner="b"))
    assert found.cause == INPUTS
    header = found.look("header")
    assert header is not None
    assert (header.about, header.value) == ("scanner", 1.0)


@pytest.mark.parametrize("sick", [0.0, 1.0])
def test_only_healthy_or_only_sick_patients_are_a_matter_of_prevalence(sick: float) -> None:
    found = look_at(studies(np.random.default_rng(4), 100, sick=sick))
    assert found.cause == PREVALENCE
    assert found.prevalence is not None
    assert found.prevalence.now == pytest.approx(sick, abs=0.08)
    assert found.prevalence.has_changed


def test_probabilities_that_moved_alone_are_told_as_such() -> None:
    block = studies(np.random.default_rng(5), 100)
    block = Studies(block.embedding, np.full(100, 0.5, np.float32), block.statistics, block.tags)
    assert look_at(block).cause == SCORES


def test_hundreds_of_blocks_without_drift_raise_no_alarm() -> None:
    rng = np.random.default_rng(6)
    raised = [look_at(studies(rng, 25), seed=at).cause for at in range(300)]
    assert [cause for cause in raised if cause is not None] == []


def test_chances_are_no_smaller_than_they_may_be() -> None:
    """Each monitor's chance, over fresh references and fresh blocks, is below any level at most so often."""
    rng = np.random.default_rng(7)
    found = [examine(studies(rng, 100), studies(rng, 25), images_per_false_alarm=BUDGET, seed=at) for at in range(300)]
    for monitor in ("embedding", "discrepancy", "statistics", "header", "scores"):
        chances = np.array([look.chance for each in found if (look := each.look(monitor)) is not None])
        assert (chances <= 0.05).mean() <= 0.05 + 3 * np.sqrt(0.05 / 300), monitor


def test_the_budget_is_handed_out_by_the_image_whatever_the_blocks() -> None:
    images = 400 * 50
    tests = sum(images // size * level_of(size, BUDGET) * len(MONITORS) for size in BLOCKS)
    assert tests == pytest.approx(images / BUDGET)


def test_one_study_a_patient_is_compared_with() -> None:
    patient = np.array([0, 0, 1, 2, 2, 2], np.int32)
    six = studies(np.random.default_rng(8), 6)
    kept = independent(six, patient)
    assert np.array_equal(kept.probability, six.probability[[0, 2, 3]])
    assert len(independent(studies(np.random.default_rng(9), 3000), np.arange(3000, dtype=np.int32))) == 1000


# Prevalence


def test_a_prevalence_is_found_without_anybody_looking() -> None:
    rng = np.random.default_rng(10)
    for share in (0.1, 0.3, 0.5, 0.8):
        found = estimate(studies(rng, 400, sick=share).probability, 0.5)
        assert found.low - 0.05 <= share <= found.high + 0.05
        assert found.now == pytest.approx(share, abs=0.1)


def test_weights_give_the_reference_the_prevalence_that_is_wanted() -> None:
    target = np.array([1, 1, 0, 0, 0], np.float32)
    given = weights(target, 0.4, 0.7)
    assert (given * target).sum() / given.sum() == pytest.approx(0.7)


# Labels


def test_a_model_that_errs_as_often_as_it_says_is_quiet_even_on_hard_cases() -> None:
    rng = np.random.default_rng(11)
    for _ in range(50):
        sure = rng.uniform(0.5, 0.7, 100)  # all hard: 60 % right is all that it promised
        found = examine_labels(
            (rng.random(100) < sure).tolist(), sure.tolist(), margin=0.05, images_per_false_alarm=BUDGET
        )
        assert found.cause is None


def test_a_model_that_is_sure_and_wrong_is_found() -> None:
    found = examine_labels([False] * 12 + [True] * 13, [0.97] * 25, margin=0.05, images_per_false_alarm=BUDGET)
    assert found.cause == LABELS


def test_feedback_is_accuracy_and_area_with_intervals_over_patients() -> None:
    present = [True, True, False, False] * 10
    told = feedback(
        probability=[0.9, 0.4, 0.2, 0.3] * 10,
        says_present=[True, False, False, False] * 10,
        present=present,
        patient=[str(number) for number in range(40)],
    )
    assert (told["image_sets"], told["patients"], told["present"]) == (40, 40, 20)
    assert told["accuracy"]["value"] == 0.75
    assert told["accuracy"]["ci_low"] < 0.75 < told["accuracy"]["ci_high"]
    assert told["roc_auc"]["value"] == 1.0
    assert roc_auc(np.array([0.1, 0.1]), np.array([True, False])) == 0.5
    assert roc_auc(np.array([0.1, 0.2]), np.array([True, True])) is None


# Alarms


def found(studies_in_block: int, cause: str | None, *, chance: float = 0.5) -> Examination:
    monitor = "labels" if cause == LABELS else "embedding"
    return Examination(studies_in_block, 1e-6, (Look(monitor, 1e-9 if cause else chance, 0.5),), cause=cause)


def states(alarms: dict[str, Alarm]) -> dict[str, bool]:
    return {name: alarm.is_on for name, alarm in alarms.items()}


def test_an_alarm_goes_on_at_once_and_ends_after_two_quiet_blocks_of_its_size() -> None:
    alarms = advance({}, found(50, INPUTS), "t0")
    assert states(alarms) == {name: name == INPUTS for name in CAUSES}
    for size in (25, 25, 25, 50):
        alarms = advance(alarms, found(size, None), "t1")
        assert alarms[INPUTS].is_on, "smaller blocks know less, and one is not enough"
    alarms = advance(alarms, found(50, None, chance=0.001), "t2")
    assert alarms[INPUTS].is_on, "what is unusual is not quiet"
    for at in ("t3", "t4"):
        alarms = advance(alarms, found(100, None), at)
    assert not alarms[INPUTS].is_on
    assert alarms[INPUTS].since == "t4"


def test_a_block_as_large_may_tell_another_cause_and_a_smaller_one_may_not() -> None:
    alarms = advance({}, found(50, PREVALENCE), "t0")
    assert states(advance(alarms, found(25, INPUTS), "t1")) == states(alarms)
    after = advance(alarms, found(50, INPUTS), "t1")
    assert (after[PREVALENCE].is_on, after[INPUTS].is_on) == (False, True)


def test_labels_have_an_alarm_of_their_own() -> None:
    alarms = advance(advance({}, found(25, INPUTS), "t0"), found(25, LABELS), "t1")
    assert (alarms[INPUTS].is_on, alarms[LABELS].is_on) == (True, True)
    for at in ("t2", "t3"):
        alarms = advance(alarms, found(50, None), at)
    assert (alarms[INPUTS].is_on, alarms[LABELS].is_on) == (False, True)
