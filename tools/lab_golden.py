# ruff: noqa: INP001 — part of programs that are run by themselves
"""The golden path on a lab that is applied: studies in at the bucket, a model out at the registry, and an alarm.

Nothing of ours is called here but what a person or a modality does: objects are put into the bucket, a reader verifies
through the API's function, the gate's policy is laid down as an operator would. Everything between is done by the
functions that were applied, woken by the rules and queues that were applied, and is watched from the records. What AWS
itself would do, and no emulator does, is in `lab_shim`. A hop that is not reached in time is a failure that says so.
"""

import hashlib
import io
import json
import os
import re
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from lab_alarms import alarmed
from lab_container import predicted
from lab_events import deliver, execution_changed
from lab_gateway import Gateway, sent, shown_by_cloudfront, turned_away
from lab_layers import layered
from lab_memory import Held
from lab_people import Person
from lab_servers import Lab, LabFailed
from lab_studies import drawn, slices_of
from lab_terraform import Applied

from radloop.aws.clients import client
from radloop.core.contracts import contracts
from radloop.core.datasets import Split
from radloop.core.events import AlarmStateChanged
from radloop.core.ports import Change
from radloop.core.tables import IMAGE_SETS
from radloop.dicom.phantom import PhantomStudy, phantom_cohort
from radloop.evaluation import policy
from radloop.training.network import weights_sha256
from radloop.wiring_aws import POLICY, Cloud, open_aws

PER_CLASS: Mapping[Split, int] = {Split.TRAIN: 3, Split.VALIDATION: 2, Split.TEST: 2}
_LOOKS_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class Hop:
    """One part of the way: what was reached, after how many seconds, and what was seen there."""

    name: str
    seconds: float
    seen: str


@dataclass(slots=True)
class Walk:
    """A walk over the applied stack.

    Attributes:
        gateway: Through which people and their programs call the API.
        variables: Of the functions, by function.
        patience_s: Seconds for which a hop is waited for.
        truth: What was put in, by StudyInstanceUID.
        held: What the container's code took, which no emulator runs.
    """

    applied: Applied
    cloud: Cloud
    gateway: Gateway
    variables: Mapping[str, Mapping[str, str]]
    patience_s: float
    truth: dict[str, PhantomStudy] = field(default_factory=dict)
    held: dict[str, Held] = field(default_factory=dict)
    _people: dict[frozenset[str], Person] = field(default_factory=dict)

    @property
    def bucket(self) -> str:
        """Where objects are put."""
        return str(self.applied.installation["buckets"]["training-data"])

    def hops(self) -> Iterator[Hop]:
        """Walk; a hop each.

        Raises:
            LabFailed: One was not reached.
        """
        for step in (
            self.put,
            self.imported,
            self.announced,
            partial(layered, self),
            self.verified,
            self.started,
            self.evaluated,
            self.registered,
            self.told,
            partial(predicted, self),
            partial(sent, self),
            self.woken,
            partial(alarmed, self),
        ):
            began = time.monotonic()
            name = getattr(step, "func", step).__name__
            try:
                seen = step()
            except LabFailed as error:
                raise LabFailed(f"golden path, {name}: {error}") from error
            yield Hop(name, time.monotonic() - began, seen)

    # The hops

    def put(self) -> str:
        """A policy for so few patients is laid down, and every slice of every study is put below upload/."""
        self.cloud.platform.blobs.put(POLICY, json.dumps(lenient()).encode())
        s3, count = client("s3"), 0
        for study in phantom_cohort(per_class=PER_CLASS, slices=8, size=64):
            self.truth[study.study_uid] = study
            for number, data in enumerate(study.files):
                s3.put_object(Bucket=self.bucket, Key=f"upload/{study.patient_id}/{number}.dcm", Body=data)
                count += 1
        return f"{count} objects of {len(self.truth)} studies"

    def imported(self) -> str:
        """Each study is one import job on HealthImaging, and its image set stands in the records."""
        datastore = self.applied.installation["datastore_id"]

        def jobs() -> list[Mapping[str, Any]]:
            listed = client("medical-imaging").list_dicom_import_jobs(datastoreId=datastore, maxResults=50)
            return list(listed["jobSummaries"])

        rows = self.until(
            lambda: self.cloud.platform.records.find(IMAGE_SETS),
            lambda found: len(found) >= len(self.truth),
            lambda found: (
                f"{len(found)} of {len(self.truth)} image sets; import jobs {[j['jobStatus'] for j in jobs()]}"
            ),
        )
        found = {row.columns["study_uid"] for row in rows}
        if found != set(self.truth):
            raise LabFailed("the image sets are of other studies than those that were put in")
        if len(jobs()) != len(self.truth):
            raise LabFailed(f"{len(jobs())} import jobs for {len(self.truth)} studies")
        return f"{len(rows)} image sets by {len(jobs())} import jobs"

    def announced(self) -> str:
        """Each image set was announced once."""
        told = self.events("ImageIngested", len(self.truth))
        if len({each["image_set"] for each in told}) != len(told):
            raise LabFailed("an image set was announced twice")
        return f"{len(told)} times ImageIngested"

    def verified(self) -> str:
        """A reader signs in and verifies every image set through the gateway, which lets in nobody else."""
        ports = self.cloud.platform
        reader = self.token("reader", "verifier")
        strangers = turned_away(self, reader)
        for row in ports.records.find(IMAGE_SETS):
            study = self.truth[str(row.columns["study_uid"])]
            standing = self.gateway.ask("GET", f"/api/v1/image-sets/{row.key}", reader)
            body = {
                "version": standing["version"],
                "finding": "present" if study.label else "absent",
                "site": None,
                "confidence": "high",
                "note": "",
                "seen": {"frame": 0, "quality": "lossless"},
            }
            self.gateway.ask("POST", f"/api/v1/image-sets/{row.key}/verification", reader, body)
        told = self.events("ImageVerified", len(self.truth))
        return f"{len(told)} times ImageVerified, by password, second factor and gateway; turned away: {strangers}"

    def started(self) -> str:
        """The verifications became one execution, which SageMaker was asked to start."""
        self.events("PipelineTriggered", 1)
        (execution,) = self.until(
            lambda: self.cloud.platform.pipelines.executions(limit=1),
            lambda found: bool(found) and any(step.state != "Waiting" for step in found[0].steps),
            lambda found: f"no step has begun: {found}"[:500],
        )
        return f"execution {execution.id}"

    def evaluated(self) -> str:
        """Every step ran to its end, and the gate's verdict is known."""
        (execution,) = self.until(
            lambda: self.cloud.platform.pipelines.executions(limit=1),
            lambda found: found[0].state != "Executing",
            lambda found: f"still {[(step.name, step.state) for step in found[0].steps]}",
        )
        if execution.state != "Succeeded":
            raise LabFailed(f"the execution {execution.state}: {execution.reason}")
        self.events("ModelEvaluationPassed", 1)
        return ", ".join(f"{step.name} {step.state}" for step in execution.steps)

    def registered(self) -> str:
        """The ledger has a version whose hashes are those of the package in S3, made of what was put in."""
        model = self.until(
            self.cloud.platform.models.champion,
            lambda found: found is not None,
            lambda _: f"no champion; versions {[(m.version, m.status) for m in self.cloud.platform.models.versions()]}",
        )
        package = self.cloud.platform.blobs.get(model.artifact)
        weights, dataset = made_of(package)
        told = {name: model.lineage.get(name) for name in ("model_sha256", "weights_sha256", "snapshot")}
        found = {"model_sha256": hashlib.sha256(package).hexdigest(), "weights_sha256": weights, "snapshot": dataset}
        if told != found:
            raise LabFailed(f"the ledger tells {told}, the package is {found}")
        used = self._data_set(dataset)
        arn = self.cloud.packages.package_of(model.version)
        if arn is None:
            raise LabFailed("the version has no package in SageMaker")
        registered = client("sagemaker").describe_model_package(ModelPackageName=arn)
        address = registered["InferenceSpecification"]["Containers"][0]["ModelDataUrl"]
        if address != self.cloud.packages.places.uri(model.artifact):
            raise LabFailed(f"SageMaker's package is of {address}")
        if registered["CustomerMetadataProperties"].get("weights_sha256") != weights:
            raise LabFailed("SageMaker's package tells of other weights")
        self.until(
            lambda: client("sagemaker").describe_model_package(ModelPackageName=arn)["ModelApprovalStatus"],
            lambda status: status == "Approved",
            lambda status: f"the package is {status} in SageMaker",
        )
        return f"version {model.version}, weights {weights[:12]}, of {used} studies as they were put in"

    def told(self) -> str:
        """The approval was announced."""
        self.events("ModelApproved", 1)
        counted: dict[str, int] = {}
        for told in self.cloud.platform.bus.events(limit=1000):
            counted[told.event.detail_type] = counted.get(told.event.detail_type, 0) + 1
        return ", ".join(f"{count} {name}" for name, count in sorted(counted.items()))

    def woken(self) -> str:
        """What nothing on the way wakes is woken as AWS would: by an alarm on the bus, by the clock."""
        ports = self.cloud.platform
        drifted = AlarmStateChanged(alarm="drift-inputs", state="ALARM", cause="").told(at=ports.clock())
        ports.records.commit(Change(events=[drifted]))
        ports.bus.route()
        clock = {"id": "lab", "source": "aws.scheduler", "detail-type": "Scheduled Event", "detail": {}}
        by_clock = [
            each["name"]
            for each in contract_of("functions.json")["functions"]
            if any("schedule" in trigger for trigger in each["triggers"])
        ]
        for name in by_clock:
            answer = client("lambda").invoke(
                FunctionName=self.applied.installation["functions"][name], Payload=json.dumps(clock).encode()
            )
            if answer.get("FunctionError"):
                raise LabFailed(f"{name} failed: {answer['Payload'].read()[:300]!r}")
        for name in ("drift-retraining", "drift"):
            self.until(
                lambda name=name: self.logged(name, "done after"), bool, lambda _, name=name: f"{name} was not woken"
            )
        self._drift_job_failed()
        return f"drift, drift-retraining by the bus; {', '.join(by_clock)} by the clock; error-logging by the drift job"

    # What they need

    def _drift_job_failed(self) -> None:
        """A drift job that failed, told as SageMaker tells it, is written down, and people are told.

        Raises:
            LabFailed: The topic is no target of what was applied, or the function wrote nothing down.
        """
        job = f"{self.applied.installation['pipeline_arn']}-drift"
        execution = f"{job}/execution/lab"
        reached = deliver(execution_changed(job, execution, "Executing", "Failed"))
        if self.applied.installation["alerts_topic"] not in reached:
            raise LabFailed(f"a drift job that failed is told to {reached} alone")
        self.until(
            lambda: self.logged("error-logging", execution),
            bool,
            lambda _: "error-logging did not write down that the drift job failed",
        )

    def until(self, look: Callable[[], Any], is_it: Callable[[Any], bool], missing: Callable[[Any], str]) -> Any:
        """Look until it is there; `missing` says what was seen instead.

        Raises:
            LabFailed: It did not come.
        """
        until = time.monotonic() + self.patience_s
        while True:
            found = look()
            if is_it(found):
                return found
            if time.monotonic() >= until:
                raise LabFailed(f"not within {self.patience_s:.0f} s: {missing(found)}")
            time.sleep(_LOOKS_EVERY_S)

    def _data_set(self, sha256: str) -> int:
        """How many studies a data set has; each with the finding and the pixels that were put in.

        Raises:
            LabFailed: It is another data set.
        """
        blobs, folder = self.cloud.platform.blobs, f"training-data/snapshots/{sha256}"
        manifest = blobs.get(f"{folder}/manifest.jsonl")
        if hashlib.sha256(manifest).hexdigest() != sha256:
            raise LabFailed("the manifest is not the one that the model was trained on")
        known = {row.key: str(row.columns["study_uid"]) for row in self.cloud.platform.records.find(IMAGE_SETS)}
        lines = [json.loads(line) for line in manifest.decode().splitlines() if line]
        for line in lines:
            study = self.truth[known[line["image_set"]]]
            pixels = np.load(io.BytesIO(blobs.get(f"{folder}/{line['file']}")))
            if line["label"] != study.label or slices_of(pixels) != slices_of(drawn(study)):
                raise LabFailed(f"image set {line['image_set']} is not as it was put in")
        return len(lines)

    def events(self, kind: str, least: int) -> list[Mapping[str, Any]]:
        """Details of all events of a kind, once there are so many."""

        def look() -> list[Mapping[str, Any]]:
            told = self.cloud.platform.bus.events(limit=1000)
            return [each.event.detail for each in told if each.event.detail_type == kind]

        found: list[Mapping[str, Any]] = self.until(
            look, lambda found: len(found) >= least, lambda found: f"{len(found)} of {least} times {kind}"
        )
        return found

    def token(self, *groups: str) -> str:
        """An access token of a person of these groups, who signs in anew."""
        wanted = frozenset(groups)
        if wanted not in self._people:
            there = self.applied.installation
            name = f"{'-'.join(sorted(groups))}@example.org"
            self._people[wanted] = Person(there["user_pool_id"], there["client_id"], name, wanted)
        return self._people[wanted].token()

    def logged(self, function: str, text: str) -> bool:
        """Whether a function has written a line with `text`."""
        return any(text in line for line in self._lines(function))

    def longest_s(self, function: str) -> float:
        """Seconds of a function's longest call, as it says itself; 0 where it says nothing."""
        found = (re.search(r"(?:done|failed: \S+) after (\d+) ms", line) for line in self._lines(function))
        return max((int(each[1]) / 1000 for each in found if each), default=0.0)

    def _lines(self, function: str) -> Iterator[str]:
        group = f"/aws/lambda/{self.applied.installation['functions'][function]}"
        pages = client("logs").get_paginator("filter_log_events").paginate(logGroupName=group)
        return (each["message"] for page in pages for each in page["events"])


def walk_of(lab: Lab, applied: Applied, *, patience_s: float) -> Walk:
    """A walk over what was applied; this process then sees what the functions see.

    Raises:
        LabFailed: A function is not there.
    """
    os.environ.update(lab.environment())
    names = applied.installation["functions"]
    told = {
        name: client("lambda")
        .get_function_configuration(FunctionName=called)
        .get("Environment", {})
        .get("Variables", {})
        for name, called in names.items()
    }
    variables = {name: value for each in told.values() for name, value in each.items()}
    host = str(applied.installation["api"]).partition("://")[2]
    endpoint = client("apigatewayv2").get_api(ApiId=host.partition(".")[0])["ApiEndpoint"]
    gateway = Gateway(lab.ministack, endpoint, shown_by_cloudfront(host))
    return Walk(applied, open_aws({**os.environ, **variables}), gateway, told, patience_s)


def lenient() -> dict[str, Any]:
    """A gate policy for so few patients that they show nothing: every limit is off that can be."""
    rules: dict[str, Any] = policy.default().to_json()
    for limits in rules.values():
        if isinstance(limits, dict):
            limits.update(dict.fromkeys(limits))
    rules["counts"] = {"positives": 1, "negatives": 1}
    rules["accuracy"]["least"] = 0.0
    rules["subgroups"] |= {"image_sets": 1000, "each_class": 1000}
    return rules


def made_of(package: bytes) -> tuple[str, str]:
    """SHA-256 of the weights in a model package, taken anew of every tensor, and of the data set it says it is of."""
    with tarfile.open(fileobj=io.BytesIO(package)) as tar:
        files = {each.name: tar.extractfile(each) for each in tar.getmembers() if each.isfile()}
        state, lineage = files.get("model.pt"), files.get("lineage.json")
        if state is None or lineage is None:
            raise LabFailed("the package has no weights or no lineage")
        weights = weights_sha256(torch.load(io.BytesIO(state.read()), map_location="cpu", weights_only=True))
        return weights, str(json.load(lineage)["dataset_sha256"])


def contract_of(name: str) -> Any:
    """A file of contracts/."""
    return json.loads((contracts() / name).read_text())
