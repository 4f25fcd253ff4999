# ruff: noqa: INP001 — a program that is run by itself
"""What AWS does and neither emulator does, for the lab alone: python tools/lab_shim.py PORT FOLDER.

One server in front of moto. It stands in for three things, and for nothing that is ours:

    Cloud Control   A data store that Terraform asks for is made on our own HealthImaging server.
    SageMaker       moto keeps pipelines, executions and packages, but ends an execution at its start. Here the
                    definition that was applied is run, step by step, by the same runner that runs it without AWS; what
                    a step asks of S3 is read from and written to the emulated S3, and what Register asks of SageMaker
                    is asked of moto. DescribePipelineExecution and ListPipelineExecutionSteps tell how far it is.
    Events          AWS's own services tell on the default bus; emulators refuse such events (`aws.*` is reserved) or do
                    not tell them. POST /told takes one, looks for the rules that stand on the default bus, and hands it
                    to their targets as EventBridge would. `lab_events` has the words.
"""

import json
import os
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

from lab_events import alarm_changed, deliver, execution_changed, import_ended, package_changed, step_changed

from radloop.aws.blobs import DEFAULT_HOME, S3Blobs
from radloop.aws.clients import client, made
from radloop.core.ports import Models
from radloop.core.tables import TABLES
from radloop.local.database import Database
from radloop.local.keys import open_keyring
from radloop.local.pipelines import LocalPipelines
from radloop.local.records import SqliteRecords
from radloop.pipeline.expressions import Scope, resolve
from radloop.wiring_aws import now

DATASTORE = "AWS::HealthImaging::Datastore"
_LOOKS_EVERY_S = 0.5


@dataclass
class Running:
    """One execution: what SageMaker would tell of it.

    Attributes:
        display: Our own id of it.
        steps: As ListPipelineExecutionSteps tells them, in the order they began.
    """

    arn: str
    pipeline: str
    display: str
    status: str = "Executing"
    steps: dict[str, dict[str, Any]] = field(default_factory=dict)
    changed: float = field(default_factory=time.time)
    failure: str = ""


class Packages:
    """What the step Register puts into SageMaker, asked as SageMaker asks it; a ledger it is not."""

    def __init__(self, sagemaker: Any, definition: Mapping[str, Any], parameters: Mapping[str, Any]) -> None:
        self._sagemaker = sagemaker
        self._definition = definition
        self._parameters = parameters
        self.arn = ""

    def register(self, *, execution: str, artifact: str, metrics: Any, lineage: Any) -> None:  # noqa: ARG002 — the port's
        """Make the package that the definition asks for, of the model that was made."""
        gate = next(step for step in self._definition["Steps"] if step["Type"] == "Condition")
        step = next(one for one in gate["Arguments"]["IfSteps"] if one["Type"] == "RegisterModel")
        asked = json.loads(json.dumps(step["Arguments"]))
        for container in asked["InferenceSpecification"]["Containers"]:
            container["ModelDataUrl"] = f"s3://{artifact}"
        asked["ModelMetrics"]["ModelQuality"]["Statistics"]["S3Uri"] = f"s3://{Path(artifact).parent}/evaluation.json"
        self.arn = self._sagemaker.create_model_package(**resolve(asked, Scope(parameters=self._parameters)))[
            "ModelPackageArn"
        ]


class SageMaker:
    """Executions, run by our own runner; all else is moto's."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._moto = made("sagemaker", os.environ["RADLOOP_LAB_MOTO"])
        self._running: dict[str, Running] = {}
        self._properties: dict[str, dict[str, str]] = {}
        self._one_at_a_time = threading.Lock()

    def answer(self, operation: str, asked: Mapping[str, Any], forward: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What SageMaker answers."""
        if operation == "StartPipelineExecution":
            return self._start(asked, forward)
        if operation in {"CreateModelPackage", "UpdateModelPackage", "DescribeModelPackage"}:
            return self._package(operation, asked, forward())
        running = self._running.get(str(asked.get("PipelineExecutionArn", "")))
        if running is not None and operation == "ListPipelineExecutionSteps":
            return {"PipelineExecutionSteps": list(running.steps.values())}
        told = forward()
        if running is not None and operation == "DescribePipelineExecution":
            told |= {"PipelineExecutionStatus": running.status, "LastModifiedTime": running.changed}
            told |= {"PipelineExecutionDisplayName": running.display}
            told |= {"FailureReason": running.failure} if running.failure else {}
        return told

    def _package(self, operation: str, asked: Mapping[str, Any], told: dict[str, Any]) -> dict[str, Any]:
        """Keep the customer metadata of a package, which moto takes and does not give back."""
        arn = str(told["ModelPackageArn"])
        known = self._properties.setdefault(arn, {})
        known.update(asked.get("CustomerMetadataProperties", {}))
        if operation == "DescribeModelPackage":
            return {**told, "CustomerMetadataProperties": dict(known)}
        if "ModelApprovalStatus" in asked:
            deliver(package_changed(arn, str(asked["ModelApprovalStatus"])))
        return told

    def _start(self, asked: Mapping[str, Any], forward: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        told = forward()
        arn = str(told["PipelineExecutionArn"])
        if arn not in self._running:
            pipeline = str(asked["PipelineName"])
            self._running[arn] = Running(arn, pipeline, str(asked.get("PipelineExecutionDisplayName", "")))
            given = {each["Name"]: each["Value"] for each in asked.get("PipelineParameters", ())}
            threading.Thread(target=self._run, args=(self._running[arn], given), daemon=True).start()
        return told

    def _run(self, running: Running, given: Mapping[str, str]) -> None:
        try:
            self._walk(running, given)
        except Exception as error:  # noqa: BLE001 — told as SageMaker tells of what it could not do
            running.status, running.failure = "Failed", f"{type(error).__name__}: {error}"[:500]
            sys.stderr.write(f"{running.arn}: {running.failure}\n")
            sys.stderr.flush()
        running.changed = time.time()
        deliver(execution_changed(self._pipeline_arn(running), running.arn, "Executing", running.status))

    def _walk(self, running: Running, given: Mapping[str, str]) -> None:
        definition = json.loads(self._moto.describe_pipeline(PipelineName=running.pipeline)["PipelineDefinition"])
        declared = {each["Name"]: each for each in definition["Parameters"]}
        strange = set(given) - set(declared)
        if strange:
            raise ValueError(f"the pipeline has no parameters {sorted(strange)}")
        parameters = {name: _typed(value, declared[name]["Type"]) for name, value in given.items()}
        every = {name: each.get("DefaultValue") for name, each in declared.items()} | parameters
        packages = Packages(client("sagemaker"), definition, every)
        s3 = client("s3")
        buckets = {each["Name"]: each["Name"] for each in s3.list_buckets()["Buckets"]}
        buckets[DEFAULT_HOME] = next(name for name in buckets if DEFAULT_HOME in name)
        name = running.arn.rpartition("/")[2]
        root = self._folder / "runs" / name
        root.mkdir(parents=True)
        database = Database(root / "index.sqlite", open_keyring(root / "kek").derive("index"), TABLES)
        try:
            runner = LocalPipelines(
                SqliteRecords(database, now),
                S3Blobs(s3, buckets),
                now,
                scratch=root / "scratch",
                materialise=lambda line, folder: None,  # noqa: ARG005 — the pixels lie beside their manifest in S3
                models=cast("Models", packages),  # a runner registers, and asks the ledger nothing
                definition=definition,
            )
            runner.start(name, parameters)
            with self._one_at_a_time:
                thread = threading.Thread(target=runner.run, args=(name,))
                thread.start()
                while thread.is_alive():
                    self._look(running, runner.get(name), packages)
                    thread.join(_LOOKS_EVERY_S)
            ended = runner.get(name)
            self._look(running, ended, packages)
            if ended.state == "Executing":
                raise RuntimeError("the runner broke off")
            running.status, running.failure = ended.state, ended.reason or ""
        finally:
            database.close()

    def _look(self, running: Running, execution: Any, packages: Packages) -> None:
        """Take over which steps have begun and ended, and tell of each."""
        for step in execution.steps:
            if step.started_at is None:
                continue
            before = running.steps.get(step.name, {})
            told: dict[str, Any] = {
                "StepName": step.name,
                "StartTime": _epoch(step.started_at),
                "StepStatus": step.state,
            }
            if step.ended_at is not None:
                told |= {"EndTime": _epoch(step.ended_at)}
            if step.state == "Failed":
                told |= {"FailureReason": step.reason or "failed"}
            if step.type == "Condition" and step.state == "Succeeded":
                is_taken = any(one.name == "Register" and one.state != "Skipped" for one in execution.steps)
                told |= {"Metadata": {"Condition": {"Outcome": str(is_taken)}}}
            if step.type == "RegisterModel" and step.state == "Succeeded":
                told |= {"Metadata": {"RegisterModel": {"Arn": packages.arn}}}
            running.steps[step.name] = told
            if before.get("StepStatus") != step.state:
                running.changed = time.time()
                pipeline = self._pipeline_arn(running)
                deliver(
                    step_changed(pipeline, running.arn, step.name, before.get("StepStatus", "Starting"), step.state)
                )

    @staticmethod
    def _pipeline_arn(running: Running) -> str:
        return running.arn.partition("/execution/")[0]


def _typed(value: str, kind: str) -> Any:
    kinds: dict[str, Callable[[str], Any]] = {"Integer": int, "Float": float, "Boolean": lambda text: text == "true"}
    return kinds.get(kind, str)(value)


def _epoch(moment: Any) -> float:
    found = moment if isinstance(moment, datetime) else datetime.fromisoformat(str(moment))
    return found.replace(tzinfo=found.tzinfo or UTC).timestamp()


def cloud_control(operation: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """What Cloud Control answers about data stores.

    Raises:
        LookupError: Another type or operation; nothing else of ours asks for one.
    """
    if operation in {"CreateResource", "GetResource", "DeleteResource"} and asked["TypeName"] != DATASTORE:
        raise LookupError(f"the lab has no {asked['TypeName']}")
    imaging = client("medical-imaging")
    if operation == "CreateResource":
        name = json.loads(asked["DesiredState"])["DatastoreName"]
        found = imaging.create_datastore(datastoreName=name, clientToken=asked.get("ClientToken", name))["datastoreId"]
        return {"ProgressEvent": _progress("CREATE", found)}
    if operation == "GetResourceRequestStatus":
        action, _, found = asked["RequestToken"].partition(":")
        return {"ProgressEvent": _progress(action, found)}
    if operation == "GetResource":
        told = imaging.get_datastore(datastoreId=asked["Identifier"])["datastoreProperties"]
        state = {"DatastoreName": told["datastoreName"], "DatastoreId": told["datastoreId"]}
        return {
            "TypeName": DATASTORE,
            "ResourceDescription": {"Identifier": told["datastoreId"], "Properties": json.dumps(state)},
        }
    raise LookupError(f"the lab has no Cloud Control {operation}")


def _progress(action: str, datastore: str) -> dict[str, Any]:
    return {
        "TypeName": DATASTORE,
        "Identifier": datastore,
        "RequestToken": f"{action}:{datastore}",
        "Operation": action,
        "OperationStatus": "SUCCESS",
    }


def watch() -> None:
    """Tell what HealthImaging and CloudWatch would tell: import jobs that ended, alarms that changed; for ever."""
    ended: set[str] = set()
    states: dict[str, str] = {}
    while True:
        time.sleep(_LOOKS_EVERY_S)
        try:
            for event in [*_imports(ended), *_alarms(states)]:
                sys.stderr.write(f"{event['detail-type']}: {deliver(event)}\n")
        except Exception as error:  # noqa: BLE001 — the next look comes soon
            sys.stderr.write(f"watching: {type(error).__name__}: {error}\n")
        sys.stderr.flush()


def _imports(ended: set[str]) -> Iterator[dict[str, Any]]:
    imaging = client("medical-imaging")
    for store in imaging.list_datastores()["datastoreSummaries"]:
        pages = imaging.get_paginator("list_dicom_import_jobs").paginate(datastoreId=store["datastoreId"])
        for job in (each for page in pages for each in page["jobSummaries"]):
            if job["jobStatus"] in {"COMPLETED", "FAILED"} and job["jobId"] not in ended:
                yield import_ended(store["datastoreId"], job)
                ended.add(job["jobId"])


def _alarms(states: dict[str, str]) -> Iterator[dict[str, Any]]:
    for page in client("cloudwatch").get_paginator("describe_alarms").paginate():
        for alarm in page["MetricAlarms"]:
            name, state = str(alarm["AlarmName"]), str(alarm["StateValue"])
            if states.get(name, state) != state:
                yield alarm_changed(name, state)
            states[name] = state


class Shim(BaseHTTPRequestHandler):
    """One request; moto gets what is not ours, as it came."""

    sagemaker: SageMaker

    def do_GET(self) -> None:
        """Say that it is there."""
        self._say(200, {})

    def do_POST(self) -> None:
        """Answer an AWS service's JSON, or take what a service tells."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        service, _, operation = self.headers.get("X-Amz-Target", "").partition(".")
        try:
            if self.path == "/told":
                self._say(200, {"targets": deliver(json.loads(body))})
            elif service == "CloudApiService":
                self._say(200, cloud_control(operation, json.loads(body)))
            else:
                self._say(200, self.sagemaker.answer(operation, json.loads(body), lambda: self._forward(body)))
        except urllib.error.HTTPError as error:
            self._answer(error.code, error.read())
        except LookupError as error:
            self._say(400, {"__type": "ResourceNotFoundException", "message": str(error)})
        except Exception as error:  # noqa: BLE001 — an answer, whatever it was
            self._say(500, {"__type": "InternalFailure", "message": f"{type(error).__name__}: {error}"})

    def _forward(self, body: bytes) -> dict[str, Any]:
        headers = {
            name: value for name, value in self.headers.items() if name.lower() not in {"host", "content-length"}
        }
        request = urllib.request.Request(os.environ["RADLOOP_LAB_MOTO"] + self.path, body, headers)  # noqa: S310 — ours
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 — the same
            text = answer.read()
        return dict(json.loads(text)) if text else {}

    def _say(self, status: int, value: Mapping[str, Any]) -> None:
        self._answer(status, json.dumps(value, default=str).encode())

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main(port: int, folder: Path) -> None:
    """Serve until ended."""
    Shim.sagemaker = SageMaker(folder)
    threading.Thread(target=watch, daemon=True).start()
    ThreadingHTTPServer(("127.0.0.1", port), Shim).serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
