"""From an evaluation to a champion, and what is written when it goes wrong."""

import json
import logging
from dataclasses import replace
from typing import Any

import pytest

from radloop.core.errors import InvalidInput, NotFound, Unavailable
from radloop.core.events import (
    AlarmStateChanged,
    Event,
    ModelRolledBack,
    PipelineEnded,
    PipelineStepEnded,
    ReleaseHeld,
)
from radloop.functions import error_logging, model_evaluation, model_registry
from radloop.functions.catalogue import FUNCTIONS
from tests.functions.house import House

RUN = "r" * 32


def evaluation(*, approved: bool, accuracy: float = 0.9125) -> dict[str, Any]:
    return {
        "metrics": {"accuracy": {"value": accuracy}},
        "gate": {
            "approved": approved,
            "rules": [{"name": "accuracy", "passed": approved}, {"name": "positives", "passed": True}],
        },
    }


def evaluated(house: House, report: dict[str, Any] | None) -> Event:
    house.engine.start(RUN, {"AccuracyThreshold": 0.85})
    house.engine.end(RUN, state="Executing", evaluation=report)
    ended = PipelineStepEnded(execution=RUN, step="Evaluate", type="Processing", status="Succeeded")
    return ended.told(at=house.clock(), trace="t" * 32)


def test_a_model_the_gate_let_through_is_told_once(house: House) -> None:
    event = evaluated(house, evaluation(approved=True))
    model_evaluation.handle(event, house.platform)
    house.clock.wait(5)
    model_evaluation.handle(event, house.platform)
    assert house.told("ModelEvaluationPassed") == [
        {"execution": RUN, "accuracy": 0.9125, "threshold": 0.85, "recommendation": "APPROVE"}
    ]
    assert house.platform.bus.events()[0].event.trace == "t" * 32


def test_a_refused_model_is_told_with_the_rules_that_refused_it(house: House) -> None:
    model_evaluation.handle(evaluated(house, evaluation(approved=False, accuracy=0.5)), house.platform)
    assert house.told("ModelEvaluationFailed") == [
        {"execution": RUN, "accuracy": 0.5, "threshold": 0.85, "rules": ["accuracy"]}
    ]
    assert not house.told("ModelEvaluationPassed")


def test_the_gate_decides_and_not_the_accuracy(house: House) -> None:
    model_evaluation.handle(evaluated(house, evaluation(approved=False, accuracy=0.99)), house.platform)
    assert not house.told("ModelEvaluationPassed")


def test_an_evaluation_that_is_not_there_yet_is_asked_for_again(house: House) -> None:
    with pytest.raises(Unavailable):
        model_evaluation.handle(evaluated(house, None), house.platform)


@pytest.mark.parametrize("report", [{}, {"gate": {}}, {"metrics": {}, "gate": None}, {"metrics": [], "gate": []}])
def test_an_evaluation_that_is_none_is_not_retried_for_ever(house: House, report: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        model_evaluation.handle(evaluated(house, report), house.platform)


def test_an_unknown_execution_is_not_found(house: House) -> None:
    ended = PipelineStepEnded(execution="unknown", step="Evaluate", type="Processing", status="Succeeded")
    with pytest.raises(NotFound):
        model_evaluation.handle(ended.told(at=house.clock()), house.platform)


def test_a_passed_model_that_is_not_registered_yet_is_waited_for(house: House) -> None:
    event = evaluated(house, evaluation(approved=True))
    model_evaluation.handle(event, house.platform)
    passed = next(
        told.event for told in house.platform.bus.events() if told.event.detail_type == "ModelEvaluationPassed"
    )
    with pytest.raises(Unavailable):
        model_registry.handle(passed, house.platform)


def test_what_is_held_or_taken_back_is_one_line_of_json(house: House, caplog: pytest.LogCaptureFixture) -> None:
    held = ReleaseHeld(model_version=3, execution=RUN, reasons=("plan-missing",)).told(at=house.clock())
    back = ModelRolledBack(model_version=3, serving_version=2, reason="drift", rolled_back_by="ann", entry=9).told(
        at=house.clock()
    )
    with caplog.at_level(logging.ERROR, logger="radloop.errors"):
        error_logging.handle(held, house.platform)
        error_logging.handle(back, house.platform)
    first, second = (json.loads(record.message) for record in caplog.records)
    assert (first["model_version"], first["reasons"]) == (3, ["plan-missing"])
    assert (second["model_version"], second["serving_version"], second["reason"]) == (3, 2, "drift")


def test_failures_and_alarms_are_one_line_of_json_each(house: House, caplog: pytest.LogCaptureFixture) -> None:
    failed = PipelineEnded(execution=RUN, status="Failed", reason="out-of-memory").told(at=house.clock())
    alarm = AlarmStateChanged(alarm="dead-letter", state="ALARM", cause="job-1").told(at=house.clock())
    with caplog.at_level(logging.ERROR, logger="radloop.errors"):
        error_logging.handle(failed, house.platform)
        error_logging.handle(alarm, house.platform)
    first, second = (json.loads(record.message) for record in caplog.records)
    assert first["reason"] == "out-of-memory"
    assert first["id"] == failed.id
    assert second["alarm"] == "dead-letter"


def test_the_log_holds_nothing_but_what_it_is_meant_to(house: House, caplog: pytest.LogCaptureFixture) -> None:
    event = PipelineEnded(execution=RUN, status="Failed", reason="x").told(at=house.clock())
    leaky = replace(event, detail={**event.detail, "patient_name": "Doe^Jane"})
    error_logging.handle(leaky, house.platform)
    assert "Doe" not in caplog.text


def test_every_rules_target_exists_and_every_function_is_some_rules_target(house: House) -> None:
    from radloop.functions.rules import load_rules
    from tests.functions.house import CONTRACTS

    rules = load_rules([(CONTRACTS / "events" / "rules.json").read_text()], house.platform.settings)
    assert {rule.target for rule in rules} == set(FUNCTIONS)


def test_events_wake_functions_through_the_real_bus(house: House) -> None:
    event = evaluated(house, evaluation(approved=True))
    from radloop.core.events import event_of
    from radloop.core.ports import Change

    house.platform.records.commit(Change(events=[event]))
    house.platform.models.register(execution=RUN, artifact="m", metrics={}, lineage={})
    woken = []
    while house.platform.bus.route():
        while (claim := house.platform.jobs.claim("events")) is not None:
            FUNCTIONS[claim.job.kind](event_of(claim.job.payload), house.platform)
            house.platform.jobs.done(claim)
            woken.append(claim.job.kind)
    assert woken == ["model_evaluation", "model_registry", "error_logging", "notification"]
    assert house.platform.models.get(1).held[0].code == "plan-missing"
