"""What is written down about an execution of the pipeline while it runs."""

import re
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from radloop.core.errors import Conflict, InvalidInput, NotFound
from radloop.core.events import Event, Happening, PipelineEnded, PipelineStepEnded
from radloop.core.ports import Change, Clock, Execution, Job, Put, Records, Row, StepRun
from radloop.core.tables import EXECUTIONS, STEPS
from radloop.pipeline.expressions import parameters_of

EXECUTING: Final = "Executing"
SUCCEEDED: Final = "Succeeded"
FAILED: Final = "Failed"
STOPPED: Final = "Stopped"
SKIPPED: Final = "Skipped"
WAITING: Final = "Waiting"

PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,99}")
"""What the id of an execution looks like."""

_PROGRESS_EVERY_S: Final = 0.5
_HISTORY: Final = ("epoch", "train_loss", "validation_loss", "seconds", "cpu_percent", "gpu_percent")
_LONGEST_HISTORY: Final = 1000
_CODE: Final = re.compile(r"([a-z][a-z0-9-]*): ")


def start(
    records: Records,
    clock: Clock,
    definition: Mapping[str, Any],
    *,
    execution: str,
    parameters: Mapping[str, Any],
    events: Sequence[Event],
) -> bool:
    """Write down that an execution begins, with its events and the job that runs it; False where it had begun before.

    Raises:
        InvalidInput: The id is no plain name, or a parameter is unknown, missing or of the wrong type.
    """
    if not PLAIN_NAME.fullmatch(execution):
        raise InvalidInput("the id of an execution is letters, digits and hyphens, at most 100")
    trace = events[0].trace if events else ""
    writes = opening(
        execution,
        parameters=parameters_of(definition, parameters),
        definition=definition,
        steps=list(steps_of(definition["Steps"])),
        at=clock(),
        trace=trace,
    )
    job = Job(f"execution-{execution}", "pipeline", "run_execution", {"execution": execution}, trace=trace)
    try:
        records.commit(Change(writes=writes, events=events, jobs=[job]))
    except Conflict:
        if records.get(EXECUTIONS, execution) is None:
            raise
        return False
    return True


def found(records: Records, execution: str) -> Execution:
    """One execution as the records tell it.

    Raises:
        NotFound: There is no such execution.
    """
    row = records.get(EXECUTIONS, execution)
    if row is None:
        raise NotFound(f"no execution {execution}")
    return execution_of(row, records.find(STEPS, {"execution": execution}))


def newest(records: Records, limit: int) -> list[Execution]:
    """Executions as the records tell them, newest first."""
    rows = records.find(EXECUTIONS, limit=limit, newest_first=True)
    return [execution_of(row, records.find(STEPS, {"execution": row.key})) for row in rows]


def steps_of(steps: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Name and type of every step, those in branches after the condition that leads there."""
    for step in steps:
        yield step["Name"], step["Type"]
        if step["Type"] == "Condition":
            yield from steps_of([*step["Arguments"]["IfSteps"], *step["Arguments"]["ElseSteps"]])


def code_of(message: str) -> str:
    """The code that the message of a Fail step begins with, such as `gate-refused: ...`."""
    code = _CODE.match(message)
    return code[1] if code else "pipeline-failed"


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

    @property
    def arn(self) -> str | None:
        """Under which name another runner runs it; None where none does yet."""
        arn: str | None = self._document.get("arn")
        return arn

    def runs_as(self, arn: str) -> None:
        """Another runner runs it, under this name."""
        self._document["arn"] = arn
        self._commit([])

    @property
    def evaluation(self) -> Mapping[str, Any] | None:
        """What evaluation.json said, once it is known."""
        evaluation: Mapping[str, Any] | None = self._document["evaluation"]
        return evaluation

    def state_of(self, step: str) -> str:
        """Of one step."""
        return str(self._steps[step]["state"])

    def has_succeeded(self, step: str) -> bool:
        """Whether a step is done and must not be done again."""
        return bool(self._steps[step]["state"] == SUCCEEDED)

    def minutes_of(self, step: str) -> float | None:
        """Between the beginning and the end of a step, in tenths; None where it has not ended."""
        began, ended = (self._steps.get(step, {}).get(name) for name in ("started_at", "ended_at"))
        if not (began and ended):
            return None
        return round((datetime.fromisoformat(ended) - datetime.fromisoformat(began)).total_seconds() / 60, 1)

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

    def stop(self) -> None:
        """Somebody stopped the execution."""
        self._end(STOPPED, reason="stopped", code="stopped")

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
