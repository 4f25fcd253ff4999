"""Every function does what it is for in the memory it has: out of the package, alone in a process, killed above it."""

import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from radloop.aws.pipelines import CREATED
from radloop.core.datasets import Split
from radloop.core.events import AlarmStateChanged, ImageIngested
from radloop.core.identity import OWNER
from radloop.core.ports import Change, Upload
from radloop.core.tables import ARRIVALS, EXECUTIONS, IMAGE_SETS, QUARANTINE
from radloop.dicom.phantom import PhantomStudy, phantom_cohort, phantom_study
from radloop.functions.draft_landing import drafts_of
from radloop.lambdas import LONGEST_BESIDE
from radloop.security.identities import Identities
from tests.aws.environment import Environment, batch, environment, import_ended
from tests.aws.packages import FUNCTIONS, Package, memory, runtime, tool, unpacked
from tests.aws.pretended_sagemaker import BEGAN, PretendedSageMaker, served
from tests.aws.test_doors import request
from tests.aws.test_pipelines import PACKAGE, REGISTERED, ROLE, yes
from tests.dicom.files import ct, written
from tests.serving.small_model import model_package

LARGE = 100
"""Slices of 512 by 512 of the study that everything is done with; the others are small."""

PATIENCE_S = 300.0
EACH_CLASS: Mapping[Split, int] = dict.fromkeys(Split, 1)
CLOCK = {"id": "1", "source": "aws.scheduler", "detail-type": "Scheduled Event", "detail": {}}
PIPELINE = "radloop"
ONCE = "0d079340-135a-c8c6-95c2-41fb8f496c53"

events = tool("lab_events")


@dataclass
class Walk:
    """A scan's way through all functions; each hop sees that the one before did its work."""

    package: Package
    laid_out: Environment
    sagemaker: PretendedSageMaker

    @property
    def platform(self) -> Any:
        return self.laid_out.cloud.platform

    def heard(self, kind: str) -> list[dict[str, Any]]:
        """Events of a kind that have come out of the bus, waiting for the first."""
        found = self._until(lambda: [each for each in self._told() if each["detail-type"] == kind], kind)
        return list(found)

    def messages(self, lane: str) -> dict[str, Any]:
        return {"Records": self._until(lambda: self.laid_out.messages(lane), lane)}

    def __post_init__(self) -> None:
        self._all: list[dict[str, Any]] = []

    def _told(self) -> list[dict[str, Any]]:
        self._all += self.laid_out.announced()
        return self._all

    def _until(self, look: Callable[[], Any], what: str) -> Any:
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            if found := look():
                return found
            time.sleep(0.1)
        pytest.fail(f"nothing of {what} came")

    # Hops

    def arrive(self, large: PhantomStudy, small: list[PhantomStudy]) -> None:
        """Ten objects at once and the longest that is taken come by S3, the other files by another door."""
        told = [self.laid_out.put(f"upload/{number}.dcm", data) for number, data in enumerate(large.files[:10])]
        long = self.laid_out.put("upload/long.dcm", b"\0" * (96 << 20))
        answers = self.package.call("image-ingestion", batch(*told), batch(long))
        assert [each["batchItemFailures"] for each in answers] == [[], []]
        images = self.laid_out.cloud.images
        for study in small:
            images.land([Upload(data) for data in study.files], by=OWNER)
        images.land([Upload(data) for data in large.files[10:]], by=OWNER)
        self.platform.bus.route()

    def land_long(self) -> None:
        """What cannot be accepted is put aside however long it is, and the clock wakes what it wakes."""
        told = self.laid_out.put("upload/longer.dcm", b"\0" * (3 * LONGEST_BESIDE))
        self.package.call("image-ingestion", batch(told))
        self.package.call("bulk-ingestion", self.messages("land"))
        self.package.call("bulk-ingestion", CLOCK)
        assert not list(self.platform.blobs.keys("training-data/upload/"))

    def lay_down(self, large: str) -> None:
        """What a viewer streams is laid down, a large study piece by piece."""
        (row,) = self.platform.records.find(IMAGE_SETS, {"study_uid": large})
        index = f"stream/packs/{row.key}/{row.document['version']}/index"
        self._until(lambda: self._laid_down(index), index)

    def _laid_down(self, index: str) -> bool:
        while waiting := self.laid_out.messages("stream"):
            assert self.package.call("stream-layers", {"Records": waiting}) == [{"batchItemFailures": []}]
        return index in set(self.platform.blobs.keys(index))

    def assemble(self, studies: int) -> None:
        while len(self._jobs()) < studies:
            self.package.call("study-assembly", self.messages("assembly"))
        ended = self._until(lambda: all(job["jobStatus"] == "COMPLETED" for job in self._jobs()) and self._jobs(), "")
        store = self.laid_out.datastore
        self.package.call("image-ingestion", *(import_ended(store, str(job["jobId"])) for job in ended))
        assert self.platform.records.count(IMAGE_SETS) == studies

    def _jobs(self) -> list[dict[str, Any]]:
        imaging = self.laid_out.imaging
        return list(imaging.list_dicom_import_jobs(datastoreId=self.laid_out.datastore, maxResults=50)["jobSummaries"])

    def read(self, studies: Mapping[str, PhantomStudy], large: str) -> None:
        """A reader opens the worklist and the large study, and verifies all."""
        ports = self.platform
        identities = Identities(ports.records, ports.keys, ports.clock, roles=OWNER.roles)
        token = identities.create_credential(roles=frozenset({"reader", "verifier"}), patients=None, by=OWNER).token
        rows = {str(row.columns["study_uid"]): row for row in ports.records.find(IMAGE_SETS)}
        key, series = rows[large].key, rows[large].columns["series_uid"]
        looks = [
            request("/healthz"),
            request("/api/v1/worklist", token=token),
            *(request(f"/api/v1/image-sets/{key}/frames/{number}", token=token) for number in range(0, LARGE, 5)),
            request(
                f"/dicomweb/studies/{large}/series/{series}/metadata", token=token, accept="application/dicom+json"
            ),
        ]
        verifications = [
            request(
                f"/api/v1/image-sets/{rows[uid].key}/verification",
                token=token,
                method="POST",
                body=json.dumps(_finding(rows[uid].document["version"], study)).encode(),
                **{"content-type": "application/json"},
            )
            for uid, study in studies.items()
        ]
        answers = self.package.call("api", *looks, *verifications)
        assert {each["statusCode"] for each in answers} == {200}, [each["body"][:200] for each in answers]

    def train(self) -> str:
        """Verifications become a data set, an execution, and steps that SageMaker tells of; the execution's id."""
        newest = self.heard("ImageVerified")[-1]
        self.package.call("pipeline-trigger", newest)
        self.package.call("pipeline-run", self.messages("pipeline"))
        (running,) = self.sagemaker.executions
        execution = running.name
        artifact = f"model-artifacts/models/{execution}/job/output/model.tar.gz"
        model = model_package(bias=0.1)
        evaluation = {
            "metrics": {"accuracy": {"value": 0.91}},
            "gate": {"approved": True, "rules": []},
            "model_sha256": hashlib.sha256(model).hexdigest(),
            "lineage": {"weights_sha256": "f" * 64},
        }
        self.platform.blobs.put(artifact, model)
        report = f"model-artifacts/models/{execution}/evaluation.json"
        self.platform.blobs.put(report, json.dumps(evaluation).encode())
        places = self.laid_out.cloud.packages.places
        self.sagemaker.packages[PACKAGE] = _registered(execution, places.uri(artifact), places.uri(report))
        for step in ("Preprocess", "Train", "Evaluate"):
            self.sagemaker.end(step)
        self.sagemaker.end("Gate", **yes("True"))
        self.sagemaker.end("Register", **REGISTERED)
        running.status = "Succeeded"
        told = events.execution_changed(running.arn.partition("/execution/")[0], running.arn, "Executing", "Succeeded")
        self.package.call("model-evaluation", told)
        (ended,) = [each for each in self.heard("PipelineStepEnded") if each["detail"]["step"] == "Evaluate"]
        self.package.call("model-evaluation", ended)
        return execution

    def release(self) -> None:
        (passed,) = self.heard("ModelEvaluationPassed")
        self.package.call("model-registry", passed)
        assert self.platform.models.champion().version == 1
        self.package.call("pipeline-run", self.messages("mirror"))
        assert self.sagemaker.packages[PACKAGE]["ModelApprovalStatus"] == "Approved"

    def consult(self, large: str) -> None:
        """The model in use looks at the large study and one more."""
        rows = {str(row.columns["study_uid"]): row.key for row in self.platform.records.find(IMAGE_SETS)}
        told = [each for each in self.heard("ImageIngested") if each["detail"]["image_set"] == rows[large]]
        self.package.call("prediction", *told)
        self.package.call("prediction", self.messages("predict"))
        assert self.platform.records.get(IMAGE_SETS, rows[large]).document["prediction"]["model_version"] == 1

    def watch(self) -> None:
        """What was said is held against ground truth, drift is told, and the clock wakes what it wakes."""
        judged = self.heard("ImageVerified")
        self.package.call("drift", *judged)
        alarm = AlarmStateChanged(alarm="drift-inputs", state="ALARM", cause="").told(at=self.platform.clock())
        self.platform.records.commit(Change(events=[alarm]))
        self.platform.bus.route()
        (told,) = self.heard("AlarmStateChanged")
        self.package.call("drift-retraining", told)
        self.package.call("error-logging", told, events.alarm_changed("radloop-dev-A8-audit-lag", "ALARM"))
        untold = ImageIngested(image_set="a" * 32, version=1, modality="CT", instances=1, frames=1)
        self.platform.records.commit(Change(events=[untold.told(at=self.platform.clock())]))
        before = len(self.heard("ImageIngested"))
        self.package.call("outbox", CLOCK)
        assert len(self.heard("ImageIngested")) == before + 1
        self.package.call("gauges", CLOCK)


def _finding(version: int, study: PhantomStudy) -> dict[str, Any]:
    return {
        "version": version,
        "finding": "present" if study.label else "absent",
        "site": None,
        "confidence": "high",
        "note": "",
        "seen": {"frame": 0, "quality": "lossless"},
    }


def _registered(execution: str, artifact: str, report: str) -> dict[str, Any]:
    return {
        "ModelPackageName": PIPELINE,
        "ModelPackageArn": PACKAGE,
        "CreationTime": BEGAN,
        "ModelPackageStatus": "Completed",
        "ModelPackageStatusDetails": {"ValidationStatuses": []},
        "ModelApprovalStatus": "PendingManualApproval",
        "InferenceSpecification": {"Containers": [{"Image": "image:1", "ModelDataUrl": artifact}]},
        "ModelMetrics": {"ModelQuality": {"Statistics": {"ContentType": "application/json", "S3Uri": report}}},
        "CustomerMetadataProperties": {"execution": execution},
    }


@pytest.fixture
def walk(ministack: str, healthimaging_url: str, tmp_path: Path) -> Iterator[Walk]:
    sagemaker = PretendedSageMaker()
    with served(sagemaker) as address:
        more = {
            "AWS_ENDPOINT_URL_SAGEMAKER": address,
            "SAGEMAKER_PIPELINE_NAME": PIPELINE,
            "MODEL_PACKAGE_GROUP_NAME": PIPELINE,
            "RADLOOP_INFERENCE_IMAGE": "image:1",
        }
        settings: dict[str, Any] = {
            "study_quiet_s": 0.1,
            "retrain_delay_s": 0.0,
            "retrain_least_per_class": 1,
            "retrain_on_drift": True,
            "release": "automatic",
        }
        with environment(ministack, healthimaging_url, more, **settings) as laid_out:
            assert laid_out.cloud.pipelines.deploy(ROLE) == CREATED
            package = Package(unpacked(tmp_path), runtime(tmp_path / "runtime"), laid_out.variables)
            yield Walk(package, laid_out, sagemaker)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_every_function_does_its_work_in_the_memory_it_has(
    walk: Walk, record_property: Callable[[str, object], None]
) -> None:
    small = list(phantom_cohort(per_class=EACH_CLASS, slices=4, size=64))
    large = phantom_study(90_000, consolidated=True, slices=LARGE, size=512)
    studies = {study.study_uid: study for study in (*small, large)}
    walk.arrive(large, small)
    walk.land_long()
    walk.assemble(len(studies))
    walk.lay_down(large.study_uid)
    walk.read(studies, large.study_uid)
    execution = walk.train()
    assert walk.platform.records.get(EXECUTIONS, execution).document["state"] == "Succeeded"
    walk.release()
    walk.consult(large.study_uid)
    walk.watch()
    assert set(walk.package.held) == set(FUNCTIONS), "a function without an event here is held to nothing"
    for name, held in walk.package.held.items():
        seconds = walk.package.seconds[name]
        record_property(f"memory {name}", f"{held.limit_mb} {held.peak_mb:.0f} {seconds:.1f}")
        print(f"{name}: {held.peak_mb:.0f} of {held.limit_mb} MB, {seconds:.1f} s")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("way", ["object", "cut object", "upload in pieces"])
def test_memory_does_not_grow_with_the_length_of_a_file(
    walk: Walk, record_property: Callable[[str, object], None], way: str
) -> None:
    peaks_mb = [landed(walk, way, rows) for rows in (6_000, 18_000)]
    record_property(f"long file, {way}", " ".join(f"{each:.0f}" for each in peaks_mb))
    print(f"{way}: {' and '.join(f'{each:.0f}' for each in peaks_mb)} MB")
    assert peaks_mb[1] - peaks_mb[0] < MORE_MB / 2
    assert max(peaks_mb) + memory.BOOTSTRAP_MB < 512


COLUMNS = 10_240
MORE_MB = 12_000 * COLUMNS * 2 / 2**20
"""How much longer the second file is than the first."""


def landed(walk: Walk, way: str, rows: int) -> float:
    """The greatest resident size, in MB, of bulk-ingestion while it takes in an image of some rows."""
    data = written(ct(np.full((rows, COLUMNS), rows, np.uint16), SOPInstanceUID=f"1.2.3.{rows}"))
    if way == "upload in pieces":
        drafts = drafts_of(walk.platform)
        draft = drafts.begin(OWNER, len(data))
        for start in range(0, len(data), 16 << 20):
            appending = drafts.appending(draft, start)
            appending.add(data[start : start + (16 << 20)])
            draft = appending.settle()
        walk.platform.bus.route()
    else:
        told = walk.laid_out.put(f"upload/{rows}.dcm", data[:-1000] if way == "cut object" else data)
        walk.package.call("image-ingestion", batch(told))
    walk.package.held.pop("bulk-ingestion", None)
    before = [walk.platform.records.count(table) for table in (ARRIVALS, QUARANTINE)]
    assert walk.package.call("bulk-ingestion", walk.messages("land")) == [{"batchItemFailures": []}]
    after = [walk.platform.records.count(table) for table in (ARRIVALS, QUARANTINE)]
    more = [0, 1] if way == "cut object" else [1, 0]
    assert after == [old + new for old, new in zip(before, more, strict=True)]
    return float(walk.package.held["bulk-ingestion"].peak_mb)


def test_a_process_is_killed_once_it_had_more_than_its_memory() -> None:
    grow = "import sys, time; held = b'x' * (int(sys.stdin.read()) << 20); print('done', flush=True); time.sleep(0.2)"
    command = [sys.executable, "-I", "-S", "-c", grow]
    small, large = (memory.bounded(command, mb, 256) for mb in ("64", "400"))
    assert (small.code, small.said.strip(), small.held.killed) == (0, "done", 0)
    assert 64 < small.held.peak_mb < 256 - memory.BOOTSTRAP_MB
    assert small.held.is_within
    assert (large.code, large.held.killed) == (-9, 1)
    assert not large.held.is_within
