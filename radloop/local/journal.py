"""What is written down about an execution of the pipeline while it runs."""

import time
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from radloop.core.errors import NotFound
from radloop.core.events import Event, Happening, PipelineEnded, PipelineStepEnded
from radloop.core.ports import Change, Clock, Execution, Put, Records, Row, StepRun
from radloop.core.tables import EXECUTIONS, STEPS

EXECUTING: Final = "Executing"
SUCCEEDED: Final = "Succeeded"
FAILED: Final = "Failed"
SKIPPED: Final = "Skipped"
WAITING: Final = "Waiting"

_PROGRESS_EVERY_S: Final = 0.5
_HISTORY: Final = ("epoch", "train_loss", "validation_loss")
_LONGEST_HISTORY: Final = 1000


def opening(
    execution: str,
    *,
    parameters: Mapping[str, Any],
    definition: Mapping[str, Any],
    steps: Sequence[tuple[str, str]],
    at: datetime,
    trace: str,
) -> list[Put]:
    """The writes that begin an execution; they conflict when it was begun before.

    The definition is kept with it: an execution goes on after an update as it began.

    Args:
        execution: Its id.
        parameters: Every parameter, defaults included.
        definition: The pipeline definition it runs.
        steps: Name and type of each, in the order they may run.
        at: Now.
        trace: Of the event that asked for it.
    """
    document = {
        "id": execution,
        "state": EXECUTING,
        "parameters": dict(parameters),
        "started_at": at.isoformat(),
        "ended_at": None,
        "reason": None,
        "progress": None,
        "evaluation": None,
        "trace": trace,
        "definition": dict(definition),
    }
    writes = [Put(EXECUTIONS, execution, document, {"state": EXECUTING}, expected=0)]
    for name, kind in steps:
        step = {
            "execution": execution,
            "name": name,
            "type": kind,
            "state": WAITING,
            "started_at": None,
            "ended_at": None,
            "reason": None,
        }
        writes.append(_put_step(step, expected=0))
    return writes


def execution_of(row: Row, steps: Sequence[Row]) -> Execution:
    """The execution that records hold."""
    document = row.document
    runs = tuple(
        StepRun(**{key: step.document[key] for key in ("name", "type", "state", "started_at", "ended_at", "reason")})
        for step in steps
    )
    kept = ("id", "state", "parameters", "started_at", "ended_at", "reason", "progress", "evaluation")
    values = {key: document[key] for key in kept}
    if document.get("history"):
        values["progress"] = {**(values["progress"] or {}), "history": list(document["history"])}
    return Execution(steps=runs, **values)


class Journal:
    """The records of one execution, as its runner writes them: one method, one commit.

    A commit conflicts when anyone else wrote the execution meanwhile; the runner then stops and is started again.

    Raises:
        NotFound: There is no such execution.
    """

    def __init__(self, records: Records, clock: Clock, execution: str) -> None:
        row = records.get(EXECUTIONS, execution)
        if row is None:
            raise NotFound(f"no execution {execution}")
        self._records = records
        self._clock = clock
        self._document = dict(row.document)
        self._revision = row.revision
        found = records.find(STEPS, {"execution": execution})
        self._steps = {step.document["name"]: dict(step.document) for step in found}
        self._written = 0.0

    @property
    def execution(self) -> str:
        """The execution's id."""
        return str(self._document["id"])

    @property
    def is_ended(self) -> bool:
        """Whether there is nothing left to do."""
        return bool(self._document["state"] != EXECUTING)

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Every parameter it was started with."""
        return dict(self._document["parameters"])

    @property
    def definition(self) -> Mapping[str, Any]:
        """The pipeline definition it was started with."""
        return dict(self._document["definition"])

    @property
    def started_at(self) -> str:
        """When it was started, RFC 3339."""
        return str(self._document["started_at"])

    def has_succeeded(self, step: str) -> bool:
        """Whether a step is done and must not be done again."""
        return bool(self._steps[step]["state"] == SUCCEEDED)

    def begin(self, step: str) -> None:
        """A step is being worked on; one that was begun before keeps its beginning."""
        document = self._steps[step]
        document |= {"state": EXECUTING, "started_at": document["started_at"] or self._now()}
        self._document["progress"] = {"step": step}
        self._commit([step])

    def progress(self, step: str, values: Mapping[str, Any]) -> None:
        """How far a step is; written at most twice a second, and with whatever is written next.

        What it told of every epoch so far stays with the execution, also where a killed training goes on.
        """
        self._document["progress"] = {"step": step, **values}
        if values.get("event") == "epoch" and "epoch" in values:
            self._remember(values)
        if time.monotonic() - self._written >= _PROGRESS_EVERY_S:
            self._commit([])

    def succeed(self, step: str, *, skipped: Collection[str] = (), evaluation: Mapping[str, Any] | None = None) -> None:
        """A step is done, and with it settled that others will not run."""
        if evaluation is not None:
            self._document["evaluation"] = dict(evaluation)
        self._steps[step] |= {"state": SUCCEEDED, "ended_at": self._now()}
        self._skip(skipped)
        self._commit([step, *skipped], self._step_ended(step, SUCCEEDED))

    def fail(self, step: str, *, reason: str, code: str | None = None) -> None:
        """A step failed and the execution with it.

        Args:
            step: Which.
            reason: For a person.
            code: For alarms, goes into the event; without one the event says that a step failed, and the reason which.
        """
        self._steps[step] |= {"state": FAILED, "ended_at": self._now(), "reason": reason}
        self._end(
            FAILED,
            reason=reason if code else f"{step}: {reason}",
            code=code or "step-failed",
            touched=[step],
            also=[self._step_ended(step, FAILED)],
        )

    def give_up(self, code: str) -> None:
        """The execution failed for a reason that is no step's."""
        self._end(FAILED, reason=code, code=code)

    def finish(self) -> None:
        """Every step that should run has succeeded."""
        self._end(SUCCEEDED, reason=None, code="succeeded")

    def _end(
        self,
        state: str,
        *,
        reason: str | None,
        code: str,
        touched: Sequence[str] = (),
        also: Sequence[Happening] = (),
    ) -> None:
        unfinished = [name for name, step in self._steps.items() if step["state"] in {WAITING, EXECUTING}]
        self._skip(unfinished)
        self._document |= {"state": state, "ended_at": self._now(), "reason": reason}
        ended = PipelineEnded(execution=self.execution, status=state, reason=code)
        self._commit([*touched, *unfinished], *also, ended)

    def _remember(self, values: Mapping[str, Any]) -> None:
        """Keep what was told of an epoch; one that is told again takes the place of itself and of those after it."""
        before = [each for each in self._document.get("history", ()) if each["epoch"] < values["epoch"]]
        told = {name: values[name] for name in _HISTORY if name in values}
        self._document["history"] = [*before, told][-_LONGEST_HISTORY:]

    def _skip(self, steps: Collection[str]) -> None:
        for name in steps:
            self._steps[name]["state"] = SKIPPED

    def _step_ended(self, step: str, status: str) -> PipelineStepEnded:
        return PipelineStepEnded(execution=self.execution, step=step, type=self._steps[step]["type"], status=status)

    def _commit(self, steps: Sequence[str], *happenings: Happening) -> None:
        execution = Put(
            EXECUTIONS,
            self.execution,
            dict(self._document),
            {"state": self._document["state"]},
            expected=self._revision,
        )
        events: list[Event] = [
            happening.told(at=self._clock(), trace=self._document["trace"]) for happening in happenings
        ]
        writes = [execution, *(_put_step(self._steps[name], expected=None) for name in steps)]
        self._records.commit(Change(writes=writes, events=events))
        self._revision += 1
        self._written = time.monotonic()

    def _now(self) -> str:
        return self._clock().isoformat()


def _put_step(step: Mapping[str, Any], *, expected: int | None) -> Put:
    return Put(STEPS, f"{step['execution']}/{step['name']}", dict(step), {"execution": step["execution"]}, expected)
