"""SageMaker's pipelines as far as we use them, for what moto lacks: executions that last, steps, and client tokens.

It stands behind a real boto3 client: botocore checks every request against SageMaker's own service model before it
comes here, and every answer is checked against it before it goes back.
"""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import boto3
from botocore import xform_name
from botocore.validate import validate_parameters

from tests.aws.emulators import ACCOUNT, REGION

BEGAN = datetime(2026, 1, 5, 12, tzinfo=UTC)
_PREFIX = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}"


@dataclass
class Running:
    arn: str
    name: str
    parameters: dict[str, str]
    status: str = "Executing"
    steps: dict[str, dict[str, Any]] = field(default_factory=dict)


class PretendedSageMaker:
    def __init__(self) -> None:
        self.client = boto3.client("sagemaker", region_name=REGION)
        self.client.meta.events.register("before-call.sagemaker", self._answer)
        self.pipelines: dict[str, dict[str, Any]] = {}
        self.executions: list[Running] = []
        self.packages: dict[str, dict[str, Any]] = {}
        self.tokens: dict[str, str] = {}
        self.calls: list[str] = []
        self.is_down = False
        self._minutes = 0

    # What a test makes happen

    def now(self) -> datetime:
        """A minute later than the last time it was asked."""
        self._minutes += 1
        return BEGAN + timedelta(minutes=self._minutes)

    def begin(self, step: str, of: int = -1) -> None:
        self.executions[of].steps[step] = {"StepName": step, "StartTime": self.now(), "StepStatus": "Executing"}

    def end(self, step: str, status: str = "Succeeded", *, of: int = -1, **more: Any) -> None:
        steps = self.executions[of].steps
        if step not in steps:
            self.begin(step, of)
        steps[step] |= {"StepStatus": status, "EndTime": self.now(), **more}

    # What boto3 asks

    def _answer(self, model: Any, params: Mapping[str, Any], **_: Any) -> tuple[Any, dict[str, Any]]:
        status, told = self.answer(model, params["body"])
        return SimpleNamespace(status_code=status), told

    def answer(self, model: Any, body: str | bytes) -> tuple[int, dict[str, Any]]:
        """Status and answer of an operation, as boto3 hands both to whoever called it."""
        self.calls.append(model.name)
        if self.is_down:
            return _refused(503, "ServiceUnavailable", "come again")
        asked = json.loads(body)
        try:
            told = getattr(self, f"_{xform_name(model.name)}")(asked)
        except KeyError:
            return _refused(400, "ResourceNotFound", "it does not exist")
        validate_parameters(told, model.output_shape)
        return 200, told

    def _create_pipeline(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        self.pipelines[asked["PipelineName"]] = dict(asked)
        return {"PipelineArn": f"{_PREFIX}:pipeline/{asked['PipelineName']}"}

    def _update_pipeline(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        self.pipelines[asked["PipelineName"]].update(asked)
        return {"PipelineArn": f"{_PREFIX}:pipeline/{asked['PipelineName']}"}

    def _describe_pipeline(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        there = self.pipelines[asked["PipelineName"]]
        return {name: there[name] for name in ("PipelineName", "PipelineDefinition", "RoleArn")}

    def _start_pipeline_execution(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        pipeline = self.pipelines[asked["PipelineName"]]
        token = asked["ClientRequestToken"]
        if token not in self.tokens:
            given = {each["Name"]: each["Value"] for each in asked["PipelineParameters"]}
            declared = json.loads(pipeline["PipelineDefinition"])["Parameters"]
            assert set(given) <= {each["Name"] for each in declared}
            assert {each["Name"] for each in declared if "DefaultValue" not in each} <= set(given)
            arn = f"{_PREFIX}:pipeline/{asked['PipelineName']}/execution/e{len(self.executions)}"
            name = asked.get("PipelineExecutionDisplayName", "execution-0")  # SageMaker too has one for who says none
            self.executions.append(Running(arn, name, given))
            self.tokens[token] = arn
        return {"PipelineExecutionArn": self.tokens[token]}

    def _stop_pipeline_execution(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        self._running(asked).status = "Stopping"
        return {"PipelineExecutionArn": asked["PipelineExecutionArn"]}

    def _describe_pipeline_execution(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        running = self._running(asked)
        return {
            "PipelineExecutionArn": running.arn,
            "PipelineExecutionDisplayName": running.name,
            "PipelineExecutionStatus": running.status,
            "LastModifiedTime": BEGAN + timedelta(minutes=self._minutes),
        }

    def _list_pipeline_executions(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        self.pipelines[asked["PipelineName"]]
        first = int(asked.get("NextToken", 0))
        listed = list(reversed(self.executions))[first : first + 2]
        summaries = [
            {"PipelineExecutionArn": one.arn, "PipelineExecutionDisplayName": one.name, "StartTime": BEGAN}
            for one in listed
        ]
        more = {"NextToken": str(first + 2)} if first + 2 < len(self.executions) else {}
        return {"PipelineExecutionSummaries": summaries, **more}

    def _list_pipeline_execution_steps(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        steps = list(self._running(asked).steps.values())
        first = int(asked.get("NextToken", 0))
        more = {"NextToken": str(first + 2)} if first + 2 < len(steps) else {}
        return {"PipelineExecutionSteps": steps[first : first + 2], **more}

    def _create_model_package(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        number = len(self.packages) + 1
        arn = f"{_PREFIX}:model-package/{asked['ModelPackageGroupName']}/{number}"
        self.packages[arn] = {
            **{name: value for name, value in asked.items() if name != "ClientToken"},
            "ModelPackageName": asked["ModelPackageGroupName"],
            "ModelPackageVersion": number,
            "ModelPackageArn": arn,
            "CreationTime": BEGAN,
            "ModelPackageStatus": "Completed",
            "ModelPackageStatusDetails": {"ValidationStatuses": []},
        }
        return {"ModelPackageArn": arn}

    def _describe_model_package(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        return self.packages[asked["ModelPackageName"]]

    def _list_model_packages(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        names = ("ModelPackageArn", "ModelPackageStatus", "ModelApprovalStatus", "CreationTime")
        listed = [{name: each[name] for name in names} for each in self.packages.values()]
        return {"ModelPackageSummaryList": listed}

    def _update_model_package(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        self.packages[asked["ModelPackageArn"]].update({k: v for k, v in asked.items() if k != "ModelPackageArn"})
        return {"ModelPackageArn": asked["ModelPackageArn"]}

    def _running(self, asked: Mapping[str, Any]) -> Running:
        return {one.arn: one for one in self.executions}[asked["PipelineExecutionArn"]]


def _refused(status: int, code: str, message: str) -> tuple[int, dict[str, Any]]:
    return status, {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}


@contextmanager
def served(sagemaker: PretendedSageMaker) -> Iterator[str]:
    """Its address, for processes that are not this one."""

    class Door(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            operation = self.headers["X-Amz-Target"].rpartition(".")[2]
            status, told = sagemaker.answer(sagemaker.client.meta.service_model.operation_model(operation), body)
            plain = told if status == 200 else {"__type": told["Error"]["Code"], "message": told["Error"]["Message"]}
            said = json.dumps(plain, default=lambda moment: moment.timestamp()).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
