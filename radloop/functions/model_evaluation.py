"""An evaluation becomes known: what the gate decided about a trained model is told."""

from typing import Any

from radloop.core.errors import InvalidInput, Unavailable
from radloop.core.events import Event, ModelEvaluationFailed, ModelEvaluationPassed
from radloop.core.platform import Platform
from radloop.core.ports import Change, Execution


def handle(event: Event, platform: Platform) -> None:
    """Tell whether the gate let the model of an execution through, once its step Evaluate has succeeded.

    Nothing is measured or decided here: both stand in evaluation.json, which the step wrote and the pipeline's own
    condition reads. Telling it again tells the same event, which is kept once.

    Raises:
        Unavailable: The evaluation is not readable yet.
        InvalidInput: It is not written the way an evaluation is.
    """
    execution = platform.pipelines.get(str(event.detail["execution"]))
    happening = _outcome(execution)
    platform.records.commit(Change(events=[happening.told(at=platform.clock(), trace=event.trace)]))


def _outcome(execution: Execution) -> ModelEvaluationPassed | ModelEvaluationFailed:
    if execution.evaluation is None:
        raise Unavailable(f"execution {execution.id} has no evaluation yet")
    try:
        gate: dict[str, Any] = execution.evaluation["gate"]
        accuracy = float(execution.evaluation["metrics"]["accuracy"]["value"])
        threshold = float(execution.parameters["AccuracyThreshold"])
        approved = bool(gate["approved"])
        failed = tuple(str(rule["name"]) for rule in gate["rules"] if not rule["passed"])
    except (KeyError, TypeError, ValueError):
        raise InvalidInput(f"the evaluation of execution {execution.id} lacks its gate or its accuracy") from None
    if approved:
        return ModelEvaluationPassed(
            execution=execution.id, accuracy=accuracy, threshold=threshold, recommendation="APPROVE"
        )
    return ModelEvaluationFailed(execution=execution.id, accuracy=accuracy, threshold=threshold, rules=failed)
