"""The Pipelines port on SageMaker.

moto ends an execution at its start, knows no ListPipelineExecutionSteps and takes no client tokens. So it shows that
the pipeline itself is made, changed, started and found; all else is shown with a SageMaker of our own behind botocore's
checks (`tests.aws.pretended_sagemaker`). What neither shows is SageMaker running the steps.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from radloop.aws.models import ModelPackages
from radloop.aws.pipelines import CREATED, UNCHANGED, UPDATED, SageMakerPipelines
from radloop.aws.sagemaker import Places, fitted
from radloop.core.errors import InvalidInput, NotFound, Unavailable
from radloop.core.ports import Pipelines
from radloop.local.jobs import SqliteJobs
from radloop.pipeline.journal import Journal
from radloop.pipeline.pipeline_builder import RECIPE, definition, definition_of
from tests.aws.emulators import client, unique
from tests.aws.pretended_sagemaker import BEGAN, PretendedSageMaker
from tests.contracts.pipelines import PipelinesContract
from tests.local.pipeline_home import PARAMETERS, PipelineHome, materialise

ROLE = "arn:aws:iam::123456789012:role/radloop-dev-training"
PLACES = Places({"training-data": "acme-training", "model-artifacts": "acme-models"})
PACKAGE = "arn:aws:sagemaker:eu-west-1:123456789012:model-package/radloop/1"
EVALUATION = {
    "metrics": {"accuracy": {"value": 0.91}},
    "gate": {"approved": True, "rules": []},
    "model_sha256": "a" * 64,
    "lineage": {"weights_sha256": "f" * 64, "torch": "2.9.1"},
    "freshness": {"newest_label_days": 0.2, "newest_label_at": "2026-01-04T23:30:00+00:00"},
}
REGISTERED = {"Metadata": {"RegisterModel": {"Arn": PACKAGE}}}


def yes(outcome: str) -> dict[str, Any]:
    return {"Metadata": {"Condition": {"Outcome": outcome}}}


@pytest.fixture
def home(tmp_path: Path) -> Iterator[PipelineHome]:
    home = PipelineHome(tmp_path / "home")
    yield home
    home.close()


@pytest.fixture
def sagemaker() -> PretendedSageMaker:
    return PretendedSageMaker()


def pipelines_of(
    home: PipelineHome, sagemaker: Any, name: str = "radloop", built: Mapping[str, Any] | None = None
) -> SageMakerPipelines:
    return SageMakerPipelines(
        sagemaker,
        records=home.records,
        blobs=home.blobs,
        clock=home.clock,
        name=name,
        definition=built or definition(is_named_by_us=True),
        places=PLACES,
        models=home.models,
        packages=ModelPackages(sagemaker, home.records, "radloop", "image:1", PLACES),
        materialise=materialise,
    )


@pytest.fixture
def pipelines(home: PipelineHome, sagemaker: PretendedSageMaker) -> SageMakerPipelines:
    found = pipelines_of(home, sagemaker.client)
    assert found.deploy(ROLE) == CREATED
    return found


class TestSageMakerPipelines(PipelinesContract):
    @pytest.fixture
    def pipelines(self, home: PipelineHome, sagemaker: PretendedSageMaker) -> Pipelines:
        return pipelines_of(home, sagemaker.client)


def started(pipelines: SageMakerPipelines, execution: str = "one", **more: Any) -> None:
    pipelines.start(execution, {**PARAMETERS, **more})
    pipelines.run(execution)


def states(pipelines: SageMakerPipelines) -> dict[str, str]:
    return {step.name: step.state for step in pipelines.get("one").steps}


# Starting


def weighted(home: PipelineHome, sagemaker: PretendedSageMaker, sha256: str) -> SageMakerPipelines:
    """A pipeline whose training begins with weights of one's own, made and started."""
    recipe = {**RECIPE, "pretrained": "resnet50.pth", "pretrained_sha256": sha256}
    found = pipelines_of(home, sagemaker.client, built=definition_of(recipe, is_named_by_us=True))
    found.deploy(ROLE)
    started(found)
    return found


def test_weights_of_ones_own_go_to_training_as_a_channel(home: PipelineHome, sagemaker: PretendedSageMaker) -> None:
    home.blobs.put("model-artifacts/weights/resnet50.pth", b"weights")
    found = weighted(home, sagemaker, hashlib.sha256(b"weights").hexdigest().upper())
    (running,) = sagemaker.executions
    assert running.parameters["WeightsUri"] == "s3://acme-models/weights/"
    assert running.parameters["pretrained"] == "resnet50.pth"
    deployed = json.loads(sagemaker.pipelines["radloop"]["PipelineDefinition"])
    (train,) = [step for step in deployed["Steps"] if step["Name"] == "Train"]
    channels = {each["ChannelName"]: each for each in train["Arguments"]["InputDataConfig"]}
    assert channels["weights"]["DataSource"]["S3DataSource"]["S3Uri"] == {"Get": "Parameters.WeightsUri"}
    assert found.get("one").state == "Executing"


@pytest.mark.parametrize(("lies", "reason"), [(None, "weights-missing"), (b"others", "weights-differ")])
def test_weights_that_are_not_those_that_were_meant_start_nothing_that_costs(
    home: PipelineHome, sagemaker: PretendedSageMaker, lies: bytes | None, reason: str
) -> None:
    if lies is not None:
        home.blobs.put("model-artifacts/weights/resnet50.pth", lies)
    found = weighted(home, sagemaker, hashlib.sha256(b"weights").hexdigest())
    assert (found.get("one").state, found.get("one").reason) == ("Failed", reason)
    assert sagemaker.executions == []


def test_the_job_that_starts_it_is_asked_for_with_the_start(home: PipelineHome, pipelines: SageMakerPipelines) -> None:
    pipelines.start("one", PARAMETERS)
    claim = SqliteJobs(home.database).claim("pipeline")
    assert claim is not None
    assert (claim.job.kind, claim.job.payload) == ("run_execution", {"execution": "one"})


def test_sagemaker_gets_our_parameters_with_its_own_buckets_and_leaves_the_accounts_own_alone(
    pipelines: SageMakerPipelines, sagemaker: PretendedSageMaker
) -> None:
    started(pipelines, TrainingInstanceCount=2)
    given = sagemaker.executions[0].parameters
    assert given["DatasetUri"] == "s3://acme-training/snapshots/abc"
    assert given["ContextUri"] == "s3://acme-training/contexts/abc"
    assert (given["ExecutionId"], given["epochs"], given["batch_size"]) == ("one", "3", "32")
    assert given["TrainingInstanceCount"] == "2"
    assert not {"RoleArn", "ArtifactBucket", "TrainingInstanceType", "KmsKeyId"} & set(given)
    assert pipelines.get("one").parameters["DatasetUri"] == PARAMETERS["DatasetUri"]


def test_pixels_are_laid_beside_the_manifest_and_those_that_are_there_stay(
    home: PipelineHome, pipelines: SageMakerPipelines
) -> None:
    home.blobs.put("training-data/snapshots/abc/images/train0.npy", b"as it was")
    started(pipelines)
    assert home.blobs.get("training-data/snapshots/abc/images/train0.npy") == b"as it was"
    assert home.blobs.get("training-data/snapshots/abc/images/test1.npy") == b"test1"
    assert len(list(home.blobs.keys("training-data/snapshots/abc/images/"))) == 6


def test_a_repeat_of_the_job_starts_nothing_again(pipelines: SageMakerPipelines, sagemaker: PretendedSageMaker) -> None:
    for _ in range(3):
        started(pipelines)
    assert len(sagemaker.executions) == 1


@pytest.mark.parametrize("forgets_tokens", [False, True])
def test_a_crash_after_sagemakers_answer_starts_nothing_again(
    home: PipelineHome, pipelines: SageMakerPipelines, sagemaker: PretendedSageMaker, forgets_tokens: bool
) -> None:
    for other in ("x", "y", "z"):
        started(pipelines, other)
    pipelines.start("one", PARAMETERS)
    pipelines._start("one", pipelines.get("one").parameters)
    for other in ("u", "v"):
        started(pipelines, other)
    if forgets_tokens:
        sagemaker.tokens.clear()
    pipelines.run("one")
    assert [each.name for each in sagemaker.executions].count("one") == 1
    assert Journal(home.records, home.clock, "one").arn == sagemaker.executions[3].arn


def test_where_sagemaker_does_not_answer_the_job_is_worth_another_try(
    pipelines: SageMakerPipelines, sagemaker: PretendedSageMaker
) -> None:
    sagemaker.is_down = True
    pipelines.start("one", PARAMETERS)
    with pytest.raises(Unavailable):
        pipelines.run("one")
    sagemaker.is_down = False
    pipelines.run("one")
    assert len(sagemaker.executions) == 1


def test_an_id_too_long_for_sagemaker_is_refused(pipelines: SageMakerPipelines) -> None:
    with pytest.raises(InvalidInput):
        pipelines.start("a" * 83, PARAMETERS)


# Following


def walk(sagemaker: PretendedSageMaker, home: PipelineHome, evaluation: Mapping[str, Any] = EVALUATION) -> None:
    """All as it goes well, up to the step Evaluate."""
    sagemaker.end("Preprocess")
    sagemaker.end("Train")
    home.blobs.put("model-artifacts/models/one/evaluation.json", json.dumps(evaluation).encode())
    sagemaker.end("Evaluate")


def described_package(bucket: str) -> dict[str, Any]:
    """What the step Register makes of execution `one`."""
    container = {"Image": "image:1", "ModelDataUrl": f"s3://{bucket}/models/one/job/output/model.tar.gz"}
    statistics = {"ContentType": "application/json", "S3Uri": f"s3://{bucket}/models/one/evaluation.json"}
    return {
        "ModelPackageName": "radloop",
        "ModelPackageArn": PACKAGE,
        "CreationTime": BEGAN,
        "ModelPackageStatus": "Completed",
        "ModelPackageStatusDetails": {"ValidationStatuses": []},
        "ModelApprovalStatus": "PendingManualApproval",
        "InferenceSpecification": {"Containers": [container]},
        "ModelMetrics": {"ModelQuality": {"Statistics": statistics}},
        "CustomerMetadataProperties": {"snapshot": "abc", "execution": "one", "training_instances": "2"},
    }


def register(sagemaker: PretendedSageMaker) -> None:
    sagemaker.packages[PACKAGE] = described_package("acme-models")
    sagemaker.end("Gate", **yes("True"))
    sagemaker.end("Register", **REGISTERED)


def test_steps_come_over_as_they_begin_and_end_at_sagemakers_times(
    pipelines: SageMakerPipelines, sagemaker: PretendedSageMaker
) -> None:
    started(pipelines)
    sagemaker.end("Preprocess")
    sagemaker.begin("Train")
    pipelines.follow("one")
    first, second, *_ = pipelines.get("one").steps
    assert (first.state, second.state) == ("Succeeded", "Executing")
    assert first.started_at == sagemaker.executions[0].steps["Preprocess"]["StartTime"].isoformat()
    assert first.ended_at == sagemaker.executions[0].steps["Preprocess"]["EndTime"].isoformat()
    assert pipelines.get("one").progress == {"step": "Train"}


def test_an_execution_that_went_well_leaves_its_evaluation_and_a_version_in_the_ledger(
    home: PipelineHome, pipelines: SageMakerPipelines, sagemaker: PretendedSageMaker
) -> None:
    started(pipelines)
    walk(sagemaker, home)
    register(sagemaker)
    sagemaker.executions[0].status = "Succeeded"
    for _ in range(3):
        assert pipelines.heard(sagemaker.executions[0].arn) == "one"
    execution = pipelines.get("one")
    assert (execution.state, execution.evaluation) == ("Succeeded", EVALUATION)
    assert states(pipelines)["Refuse"] == "Skipped"
    model = home.models.of_execution("one")
    assert model is not None
    assert (model.version, model.metrics) == (1, {"accuracy": 0.91})
    assert model.artifact == "model-artifacts/models/one/job/output/model.tar.gz"
    assert model.beside("evaluation.json") == "model-artifacts/models/one/evaluation.json"
    assert (model.lineage["weights_sha256"], model.lineage["model_sha256"]) == ("f" * 64, "a" * 64)
    assert model.lineage["hyperparameters"]["epochs"] == "3"
    shown = sagemaker.packages[PACKAGE]["CustomerMetadataProperties"]
    assert (shown["weights_sha256"], shown["accuracy"], shown["training_instances"]) == ("f" * 64, "0.9100", "2")
    assert (shown["training_data_date"], shown["training_framework"]) == ("2026-01-04", "PyTorch 2.9.1")
    train = sagemaker.executions[0].steps["Train"]
    assert shown["training_minutes"] == str((train["EndTime"] - train["StartTime"]).total_seconds() / 60)
    told = [(kind, detail.get("step"), detail.get("status")) for kind, detail in home.events]
    assert told == [
        ("PipelineStepEnded", "Preprocess", "Succeeded"),
        ("PipelineStepEnded", "Train", "Succeeded"),
        ("PipelineStepEnded", "Evaluate", "Succeeded"),
        ("PipelineStepEnded", "Gate", "Succeeded"),
        ("ModelRegistered", None, None),
        ("PipelineStepEnded", "Register", "Succeeded"),
        ("PipelineEnded", None, "Succeeded"),
    ]


def test_the_gates_refusal_ends_it_as_on_one_machine(
    home: PipelineHome, pipelines: SageMakerPipelines, sagemaker: PretendedSageMaker
) -> None:
    started(pipelines)
    walk(sagemaker, home, {**EVALUATION, "gate": {"approved": False, "rules": []}})
    sagemaker.end("Gate", **yes("False"))
    message = "gate-refused: the gate refused the model of execution one"
    sagemaker.end("Refuse", "Failed", FailureReason=message)
    sagemaker.executions[0].status = "Failed"
    pipelines.follow_all()
    execution = pipelines.get("one")
    assert (execution.state, execution.reason) == ("Failed", message)
    assert states(pipelines)["Register"] == "Skipped"
    assert home.events[-1] == ("PipelineEnded", {"execution": "one", "status": "Failed", "reason": "gate-refused"})
    assert home.models.versions() == []
    assert pipelines.follow_all() == []


def test_a_step_that_fails_fails_the_execution_with_its_reason(
    home: PipelineHome, pipelines: SageMakerPipelines, sagemaker: PretendedSageMaker
) -> None:
    started(pipelines)
    sagemaker.end("Preprocess", "Failed", FailureReason="AlgorithmError: the train part is empty")
    sagemaker.executions[0].status = "Failed"
    pipelines.follow("one")
    execution = pipelines.get("one")
    assert (execution.state, execution.reason) == ("Failed", "Preprocess: AlgorithmError: the train part is empty")
    assert home.events[-1][1]["reason"] == "step-failed"


@pytest.mark.parametrize(
    ("status", "told"),
    [("Stopped", ("Stopped", "stopped")), ("Failed", ("Failed", "pipeline-failed"))],
)
def test_an_end_that_no_step_explains_is_told(
    home: PipelineHome,
    pipelines: SageMakerPipelines,
    sagemaker: PretendedSageMaker,
    status: str,
    told: tuple[str, str],
) -> None:
    state, code = told
    started(pipelines)
    sagemaker.end("Preprocess")
    sagemaker.executions[0].status = status
    pipelines.follow("one")
    assert pipelines.get("one").state == state
    assert home.events[-1] == ("PipelineEnded", {"execution": "one", "status": state, "reason": code})


def test_an_evaluation_that_cannot_be_read_leaves_none_and_no_version(
    home: PipelineHome, pipelines: SageMakerPipelines, sagemaker: PretendedSageMaker
) -> None:
    started(pipelines)
    walk(sagemaker, home)
    home.blobs.put("model-artifacts/models/one/evaluation.json", b"[]")
    pipelines.follow("one")
    assert pipelines.get("one").evaluation is None


def test_what_sagemaker_tells_before_our_own_call_came_back_is_taken_over(
    home: PipelineHome, pipelines: SageMakerPipelines, sagemaker: PretendedSageMaker
) -> None:
    pipelines.start("one", PARAMETERS)
    pipelines._start("one", pipelines.get("one").parameters)
    sagemaker.end("Preprocess")
    assert pipelines.heard(sagemaker.executions[0].arn) == "one"
    assert states(pipelines)["Preprocess"] == "Succeeded"
    pipelines.run("one")
    assert len(sagemaker.executions) == 1


def test_an_execution_that_somebody_else_started_is_left_alone(
    pipelines: SageMakerPipelines, sagemaker: PretendedSageMaker
) -> None:
    parameters = [{"Name": "ExecutionId", "Value": "x"}, *({"Name": n, "Value": str(v)} for n, v in PARAMETERS.items())]
    arn = sagemaker.client.start_pipeline_execution(
        PipelineName="radloop",
        PipelineExecutionDisplayName="by-hand",
        PipelineParameters=parameters,
        ClientRequestToken="t" * 32,
    )["PipelineExecutionArn"]
    assert pipelines.heard(arn) is None
    assert pipelines.executions() == []
    with pytest.raises(NotFound):
        pipelines.heard(arn + "9")


def test_giving_up_stops_it_in_sagemaker_too(
    home: PipelineHome, pipelines: SageMakerPipelines, sagemaker: PretendedSageMaker
) -> None:
    started(pipelines)
    pipelines.give_up("one", "dead-letter")
    assert (pipelines.get("one").state, sagemaker.executions[0].status) == ("Failed", "Stopping")
    pipelines.give_up("one", "dead-letter")
    assert [kind for kind, _ in home.events] == ["PipelineEnded"]


# The pipeline itself, on moto


def test_the_pipeline_is_made_changed_and_left_as_it_is_on_moto(home: PipelineHome, moto_server: str) -> None:
    sagemaker, name = client(moto_server, "sagemaker"), unique("radloop")
    pipelines = pipelines_of(home, sagemaker, name)
    assert pipelines.deploy(ROLE) == CREATED
    assert pipelines.deploy(ROLE) == UNCHANGED
    assert pipelines.deploy(ROLE, {"TrainingInstanceType": "ml.g4dn.xlarge"}) == UPDATED
    there = json.loads(sagemaker.describe_pipeline(PipelineName=name)["PipelineDefinition"])
    values = {each["Name"]: each.get("DefaultValue") for each in there["Parameters"]}
    assert (values["TrainingInstanceType"], values["RoleArn"]) == ("ml.g4dn.xlarge", ROLE)
    assert there["Steps"] == fitted(definition(is_named_by_us=True))["Steps"]


def test_machines_with_disks_of_their_own_are_given_no_key_for_a_volume(home: PipelineHome, moto_server: str) -> None:
    sagemaker, name = client(moto_server, "sagemaker"), unique("radloop")
    pipelines = pipelines_of(home, sagemaker, name)

    def keyed(**machines: str) -> dict[str, bool]:
        pipelines.deploy(ROLE, machines)
        steps = json.loads(sagemaker.describe_pipeline(PipelineName=name)["PipelineDefinition"])["Steps"]
        arguments = {step["Name"]: json.dumps(step["Arguments"]) for step in steps}
        return {step: "VolumeKmsKeyId" in arguments[step] for step in ("Preprocess", "Train", "Evaluate")}

    assert keyed() == {"Preprocess": True, "Train": False, "Evaluate": True}
    assert keyed(TrainingInstanceType="ml.p3.2xlarge") == {"Preprocess": True, "Train": True, "Evaluate": True}
    assert keyed(ProcessingInstanceType="ml.m5d.large") == {"Preprocess": False, "Train": False, "Evaluate": False}


def test_an_execution_is_started_once_and_found_by_its_name_on_moto(home: PipelineHome, moto_server: str) -> None:
    sagemaker, name = client(moto_server, "sagemaker"), unique("radloop")
    pipelines = pipelines_of(home, sagemaker, name)
    pipelines.deploy(ROLE)
    started(pipelines)
    started(pipelines)
    listed = sagemaker.list_pipeline_executions(PipelineName=name)["PipelineExecutionSummaries"]
    assert [each["PipelineExecutionDisplayName"] for each in listed] == ["one"]
    arn = Journal(home.records, home.clock, "one").arn
    told = sagemaker.list_pipeline_parameters_for_execution(PipelineExecutionArn=arn)["PipelineParameters"]
    assert {"Name": "Snapshot", "Value": "abc"} in told
    assert sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)["PipelineExecutionStatus"] == "Succeeded"
