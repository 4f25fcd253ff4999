"""The Pipelines port on SageMaker Pipelines: the journal in the records, fed by what SageMaker says of an execution.

    start   writes down that an execution begins, with its events and the job that runs it, in one commit
    run     (the job) lays the pixels of the data set beside its manifest and starts the execution in SageMaker
    follow  takes over what has happened there since: steps that began and ended, the evaluation, the model, the end

Each may be cut off and done again. Starting twice is starting once: SageMaker gets a token made of our id, and one that
bears our id as its name is looked for first. Following twice changes nothing, because the journal knows what it knows.
Who asks for an execution is answered from the records; SageMaker is asked when it says that something happened
(EventBridge), and once a minute for what it failed to say.
"""

import hashlib
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from radloop.aws.models import ModelPackages
from radloop.aws.sagemaker import Places, call, fitted, pages
from radloop.core.errors import Conflict, InvalidInput, NotFound
from radloop.core.events import Event
from radloop.core.identity import derived_id
from radloop.core.ports import Blobs, Clock, Execution, Materialise, Models, Records, Span
from radloop.core.tables import EXECUTIONS
from radloop.pipeline.evaluation import hashes_of, metrics_of, origin_of
from radloop.pipeline.expressions import Scope, resolve
from radloop.pipeline.journal import EXECUTING, WAITING, Journal, code_of, found, newest, start, steps_of
from radloop.pipeline.pipeline_builder import OF_ACCOUNT, WEIGHTS
from radloop.pipeline.shapes import EXECUTION
from radloop.training.hyperparameters import NONE

CREATED, UPDATED, UNCHANGED = "created", "updated", "unchanged"

_ID: Final = EXECUTION["Name"]
_LONGEST_NAME: Final = 82  # of an execution in SageMaker
_LOOKED_BACK: Final = 100
_MANIFEST: Final = "manifest.jsonl"
_CHUNK_BYTES: Final = 8 << 20
_LONGEST_REASON: Final = 500
_ENDED_BADLY: Final = ("Failed", "Stopped")


class SageMakerPipelines:
    """The Pipelines port on one pipeline of SageMaker.

    Args:
        client: Of SageMaker.
        records: Where the journal lies.
        blobs: Where data sets and evaluations lie.
        clock: The present moment.
        name: Of the pipeline.
        definition: The pipeline, with the parameter ExecutionId; defaults of buckets are our blob prefixes.
        places: Where blobs lie in S3.
        models: The registry, which gets what the step Register made.
        packages: Its packages in SageMaker.
        materialise: Writes the pixels of one line of a manifest.
    """

    def __init__(
        self,
        client: Any,
        *,
        records: Records,
        blobs: Blobs,
        clock: Clock,
        name: str,
        definition: Mapping[str, Any],
        places: Places,
        models: Models,
        packages: ModelPackages,
        materialise: Materialise,
    ) -> None:
        self._client = client
        self._records = records
        self._blobs = blobs
        self._clock = clock
        self._name = name
        self._definition = definition
        self._places = places
        self._models = models
        self._packages = packages
        self._materialise = materialise

    def start(self, execution: str, parameters: Mapping[str, Any], *, events: Sequence[Event] = ()) -> bool:
        """See `Pipelines.start`. The job that runs it is asked for in the same commit.

        Raises:
            InvalidInput: The id is no plain name of at most 82 characters, or a parameter is unknown, missing or of the
                wrong type.
        """
        if len(execution) > _LONGEST_NAME:
            raise InvalidInput(f"the id of an execution has at most {_LONGEST_NAME} characters in SageMaker")
        return start(
            self._records,
            self._clock,
            self._definition,
            execution=execution,
            parameters={_ID: execution, **parameters},
            events=events,
        )

    def get(self, execution: str) -> Execution:
        """See `Pipelines.get`."""
        return found(self._records, execution)

    def executions(self, *, limit: int = 50) -> list[Execution]:
        """See `Pipelines.executions`."""
        return newest(self._records, limit)

    # The pipeline itself

    def deploy(self, role: str, defaults: Mapping[str, str | int | float] | None = None) -> str:
        """Have the pipeline be there as it is defined; for who does not leave it to Terraform.

        Args:
            role: ARN of the role that the pipeline starts its jobs with.
            defaults: Of parameters, by name: what the account calls its buckets, images and keys.

        Returns:
            `created`, `updated`, or `unchanged` where it was so already.
        """
        chosen = {"RoleArn": role, **(defaults or {})}
        declared = [
            {**each, "DefaultValue": chosen[each["Name"]]} if each["Name"] in chosen else each
            for each in self._definition["Parameters"]
        ]
        wanted = fitted({**self._definition, "Parameters": declared})
        text = json.dumps(wanted, sort_keys=True)
        try:
            there = call(self._client.describe_pipeline, PipelineName=self._name)
        except NotFound:
            token = derived_id("pipeline", self._name, text)
            call(
                self._client.create_pipeline,
                PipelineName=self._name,
                PipelineDefinition=text,
                RoleArn=role,
                ClientRequestToken=token,
            )
            return CREATED
        if json.loads(there["PipelineDefinition"]) == wanted and there["RoleArn"] == role:
            return UNCHANGED
        call(self._client.update_pipeline, PipelineName=self._name, PipelineDefinition=text, RoleArn=role)
        return UPDATED

    # The work of its jobs

    def run(self, execution: str) -> None:
        """Start an execution in SageMaker; one that is started or has ended is left alone.

        Raises:
            NotFound: There is no such execution, its data set or its pixels.
            Unavailable: SageMaker or a store does not answer now; worth another try.
        """
        journal = Journal(self._records, self._clock, execution)
        if journal.is_ended or journal.arn is not None:
            return
        parameters = journal.parameters
        fault = self._fault_of_weights(parameters)
        if fault is not None:
            journal.give_up(fault)
            return
        self._lay_out(str(parameters["DatasetUri"]))
        try:
            journal.runs_as(self._started(execution) or self._start(execution, parameters))
        except Conflict:  # another did the same at the same time
            return

    def give_up(self, execution: str, code: str) -> None:
        """End an execution that no job will try to start again, and stop it where it runs.

        Raises:
            NotFound: There is no such execution.
        """
        journal = Journal(self._records, self._clock, execution)
        if journal.is_ended:
            return
        if journal.arn is not None:
            token = derived_id("stop", journal.arn)
            call(self._client.stop_pipeline_execution, PipelineExecutionArn=journal.arn, ClientRequestToken=token)
        journal.give_up(code)

    def heard(self, arn: str) -> str | None:
        """SageMaker says that something happened to an execution: follow it.

        Returns:
            Our id of it; None for one that was started by others, which is left alone.

        Raises:
            NotFound: SageMaker knows no such execution.
            Unavailable: SageMaker does not answer now.
        """
        told = call(self._client.describe_pipeline_execution, PipelineExecutionArn=arn)
        execution = str(told.get("PipelineExecutionDisplayName", ""))
        if self._records.get(EXECUTIONS, execution) is None:
            return None
        self.follow(execution, told)
        return execution

    def follow_all(self) -> list[str]:
        """Follow every execution that has begun and has not ended; returns their ids."""
        running = self._records.find(EXECUTIONS, {"state": EXECUTING})
        for row in running:
            self.follow(row.key)
        return [row.key for row in running]

    def follow(self, execution: str, told: Mapping[str, Any] | None = None) -> None:
        """Take over what has happened to an execution since it was last looked at.

        Args:
            execution: Our id.
            told: What SageMaker described it as just now, where the caller has asked.

        Raises:
            NotFound: There is no such execution, here or there.
            Unavailable: SageMaker does not answer now.
        """
        hand = _Hand(self._clock)
        journal = Journal(self._records, hand, execution)
        if journal.is_ended:
            return
        if told is None:
            if journal.arn is None:
                return
            told = call(self._client.describe_pipeline_execution, PipelineExecutionArn=journal.arn)
        try:
            if journal.arn is None:  # told before our own call had come back
                journal.runs_as(str(told["PipelineExecutionArn"]))
            self._take_over(journal, hand, told)
        except Conflict:  # another follows it at the same time, and writes the same
            return

    # Starting

    def _start(self, execution: str, parameters: Mapping[str, Any]) -> str:
        declared = {each["Name"]: each.get("DefaultValue") for each in self._definition["Parameters"]}
        said = {name: value for name, value in parameters.items() if name not in OF_ACCOUNT or value != declared[name]}
        answer = call(
            self._client.start_pipeline_execution,
            PipelineName=self._name,
            PipelineExecutionDisplayName=execution,
            PipelineParameters=[
                {"Name": name, "Value": str(self._places.placed(value))} for name, value in sorted(said.items())
            ],
            ClientRequestToken=derived_id("execution", self._name, execution),
        )
        return str(answer["PipelineExecutionArn"])

    def _started(self, execution: str) -> str | None:
        """The execution in SageMaker that bears our id, where a try before started it and could not say so."""
        listed = pages(
            self._client.list_pipeline_executions,
            "PipelineExecutionSummaries",
            most=_LOOKED_BACK,
            PipelineName=self._name,
            SortBy="CreationTime",
            SortOrder="Descending",
        )
        mine = (each for each in listed if each.get("PipelineExecutionDisplayName") == execution)
        return next((str(each["PipelineExecutionArn"]) for each in mine), None)

    def _fault_of_weights(self, parameters: Mapping[str, Any]) -> str | None:
        """Why training could not begin with the weights it is to begin with, before jobs are paid for that find out."""
        name = Path(str(parameters.get("pretrained", NONE))).name
        if name == NONE:
            return None
        key = f"{str(parameters.get('WeightsUri', WEIGHTS)).removeprefix('s3://').rstrip('/')}/{name}"
        digest, start = hashlib.sha256(), 0
        try:
            while part := self._blobs.get(key, Span(start, start + _CHUNK_BYTES)):
                digest.update(part)
                start += len(part)
        except NotFound:
            return "weights-missing"
        is_right = digest.hexdigest() == str(parameters.get("pretrained_sha256", NONE)).lower()
        return None if is_right else "weights-differ"

    def _lay_out(self, uri: str) -> None:
        """Put the pixels of a data set beside its manifest; those that are there stay.

        Raises:
            NotFound: There is no manifest.
        """
        folder = uri.removeprefix("s3://").rstrip("/")
        there = set(self._blobs.keys(f"{folder}/"))
        lines = self._blobs.get(f"{folder}/{_MANIFEST}").decode().splitlines()
        with tempfile.TemporaryDirectory(prefix="radloop-") as held:
            for line in filter(None, map(str.strip, lines)):
                value = json.loads(line)
                key = f"{folder}/{value['file']}"
                if key not in there:
                    self._materialise(value, Path(held))
                    self._put(Path(held) / str(value["file"]), key)

    def _put(self, path: Path, key: str) -> None:
        with path.open("rb") as file, self._blobs.writer(key) as writer:
            while data := file.read(_CHUNK_BYTES):
                writer.write(data)
        path.unlink()

    # Following

    def _take_over(self, journal: Journal, hand: "_Hand", told: Mapping[str, Any]) -> None:
        for step in self._steps(str(told["PipelineExecutionArn"])):
            name, status = step["StepName"], step["StepStatus"]
            if journal.state_of(name) == WAITING and status != "Starting":
                hand.moment = step.get("StartTime")
                journal.begin(name)
            hand.moment = step.get("EndTime")
            if status == "Succeeded" and not journal.has_succeeded(name):
                self._succeeded(journal, step)
            elif status in _ENDED_BADLY:
                self._failed(journal, step)
                return
        hand.moment = told.get("LastModifiedTime")
        match told["PipelineExecutionStatus"]:
            case "Succeeded":
                journal.finish()
            case "Failed" | "CompletedWithFailures":
                journal.give_up("pipeline-failed")
            case "Stopped":
                journal.stop()

    def _steps(self, arn: str) -> Iterator[Mapping[str, Any]]:
        """Steps that have begun, in the order they began; those that SageMaker knows and we do not are left out."""
        known = {name for name, _ in steps_of(self._definition["Steps"])}
        told = pages(
            self._client.list_pipeline_execution_steps,
            "PipelineExecutionSteps",
            PipelineExecutionArn=arn,
            SortOrder="Ascending",
        )
        begun = [step for step in told if step["StepName"] in known and "StartTime" in step]
        return iter(sorted(begun, key=lambda step: step["StartTime"]))

    def _succeeded(self, journal: Journal, told: Mapping[str, Any]) -> None:
        name = told["StepName"]
        step = _step(journal.definition["Steps"], name)
        metadata = told.get("Metadata", {})
        if step["Type"] == "RegisterModel":
            self._register(journal, str(metadata["RegisterModel"]["Arn"]))
        journal.succeed(
            name,
            skipped=_left(step, metadata) if step["Type"] == "Condition" else (),
            evaluation=self._report(journal, step),
        )

    def _failed(self, journal: Journal, told: Mapping[str, Any]) -> None:
        step = _step(journal.definition["Steps"], told["StepName"])
        reason = str(told.get("FailureReason", ""))[:_LONGEST_REASON] or told["StepStatus"].lower()
        journal.fail(step["Name"], reason=reason, code=code_of(reason) if step["Type"] == "Fail" else None)

    def _report(self, journal: Journal, step: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """What the report of a step says; None where it has none or cannot be read, which the gate refuses."""
        scope = Scope(parameters=journal.parameters)
        for report in step.get("PropertyFiles", ()):
            outputs = step["Arguments"]["ProcessingOutputConfig"]["Outputs"]
            output = next(each for each in outputs if each["OutputName"] == report["OutputName"])
            folder = str(resolve(output["S3Output"]["S3Uri"], scope)).removeprefix("s3://")
            try:
                value = json.loads(self._blobs.get(f"{folder}/{report['FilePath']}"))
            except (NotFound, ValueError):
                return None
            return value if isinstance(value, dict) else None
        return None

    def _register(self, journal: Journal, arn: str) -> None:
        """Enter the model into the ledger that the step Register put into SageMaker's registry."""
        evaluation = journal.evaluation or {}
        training = [step for step in journal.definition["Steps"] if step["Type"] == "Training"]
        scope = Scope(parameters=journal.parameters)
        self._packages.take_in(
            self._models,
            arn,
            execution=journal.execution,
            metrics=metrics_of(evaluation),
            lineage={
                **hashes_of(evaluation),
                **origin_of(evaluation),
                "training_minutes": journal.minutes_of("Train"),
                "hyperparameters": resolve(training[0]["Arguments"]["HyperParameters"], scope) if training else {},
            },
        )


class _Hand:
    """A clock that shows when something happened in SageMaker, else the present moment."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.moment: datetime | None = None

    def __call__(self) -> datetime:
        return self.moment or self._clock()


def _step(steps: Iterable[Mapping[str, Any]], name: str) -> Mapping[str, Any]:
    """The step of that name, wherever it stands in a definition."""
    for step in steps:
        if step["Name"] == name:
            return step
        if step["Type"] == "Condition":
            inner = [*step["Arguments"]["IfSteps"], *step["Arguments"]["ElseSteps"]]
            if name in dict(steps_of(inner)):
                return _step(inner, name)
    raise NotFound(f"the definition has no step {name}")


def _left(condition: Mapping[str, Any], metadata: Mapping[str, Any]) -> list[str]:
    """Steps that will not run, by the outcome of a condition."""
    is_true = metadata.get("Condition", {}).get("Outcome") == "True"
    return [name for name, _ in steps_of(condition["Arguments"]["ElseSteps" if is_true else "IfSteps"])]
