"""An environment as Terraform would lay it out, on MiniStack and our own HealthImaging server, for the real entries."""

import asyncio
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import Any

import pytest

from radloop import lambdas
from radloop.aws import clients
from radloop.core.contracts import contracts
from radloop.wiring_aws import Cloud, open_aws
from tests.api.healthimaging.conftest import ROLE, connect
from tests.aws.emulators import CREDENTIALS, REGION, client, make_bucket, unique
from tests.aws.table import make_queues, make_table

LANES = ("uploads", "land", "assembly", "predict", "pipeline", "mirror", "stream")
PREFIXES = ("training-data", "preprocessed-data", "model-artifacts", "logs", "archive", "stream")
CONTEXT = SimpleNamespace(aws_request_id="request-1", memory_limit_in_mb="512", function_name="test")


@dataclass
class Environment:
    """One environment; its entries are called as Lambda would, and its queues emptied as the event source would."""

    variables: Mapping[str, str]
    address: str
    imaging: Any
    datastore: str
    buckets: Mapping[str, str]
    queues: Mapping[str, str]
    heard: str

    @property
    def cloud(self) -> Cloud:
        return _whole()

    def put(self, key: str, data: bytes) -> dict[str, Any]:
        """Put an object below upload/; what S3 tells of it by EventBridge."""
        bucket = self.buckets["training-data"]
        client(self.address, "s3").put_object(Bucket=bucket, Key=key, Body=data)
        return object_created(bucket, key, len(data))

    def messages(self, lane: str, most: int = 10) -> list[dict[str, Any]]:
        """What waits in a lane, as Lambda hands it to a function, which takes it out."""
        sqs = client(self.address, "sqs")
        found = sqs.receive_message(QueueUrl=self.queues[lane], MaxNumberOfMessages=most).get("Messages", [])
        for message in found:
            sqs.delete_message(QueueUrl=self.queues[lane], ReceiptHandle=message["ReceiptHandle"])
        return [as_record(message["Body"], message["MessageId"]) for message in found]

    def announced(self) -> list[dict[str, Any]]:
        """Events that came out of the bus since the last look, as a function gets them."""
        sqs, events = client(self.address, "sqs"), []
        while found := sqs.receive_message(QueueUrl=self.heard, MaxNumberOfMessages=10).get("Messages"):
            for message in found:
                sqs.delete_message(QueueUrl=self.heard, ReceiptHandle=message["ReceiptHandle"])
                events.append(json.loads(message["Body"]))
        return events


def object_created(bucket: str, key: str, size: int) -> dict[str, Any]:
    """What S3 tells the default bus (Amazon S3 User Guide, "EventBridge event message structure")."""
    return {
        "version": "0",
        "id": unique("17793124-05d4-b198-2fde"),
        "detail-type": "Object Created",
        "source": "aws.s3",
        "account": "123456789012",
        "time": "2026-11-23T12:00:00Z",
        "region": REGION,
        "resources": [f"arn:aws:s3:::{bucket}"],
        "detail": {
            "version": "0",
            "bucket": {"name": bucket},
            "object": {
                "key": key,
                "size": size,
                "etag": "b1946ac92492d2347c6235b4d2611184",
                "sequencer": "617F08299329",
            },
            "request-id": "N4N7GDK58NMKJ12R",
            "requester": "123456789012",
            "reason": "PutObject",
        },
    }


def import_ended(datastore: str, job: str, status: str = "COMPLETED") -> dict[str, Any]:
    """What HealthImaging tells the default bus when an import job has ended."""
    return {
        "version": "0",
        "id": unique("4ef0e8f1-0000-4a2e-8c22"),
        "detail-type": "Import Job Completed" if status == "COMPLETED" else "Import Job Failed",
        "source": "aws.medical-imaging",
        "account": "123456789012",
        "time": "2026-11-23T12:05:00Z",
        "region": REGION,
        "resources": [f"arn:aws:medical-imaging:{REGION}:123456789012:datastore/{datastore}"],
        "detail": {
            "imagingVersion": "1.0",
            "datastoreId": datastore,
            "jobId": job,
            "jobName": "import",
            "jobStatus": status,
            "inputS3Uri": "s3://bucket/in/",
            "outputS3Uri": "s3://bucket/out/",
        },
    }


def as_record(body: str, identity: str) -> dict[str, Any]:
    """A message of SQS as it stands in the event of a function."""
    return {
        "messageId": identity,
        "receiptHandle": "MessageReceiptHandle",
        "body": body,
        "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "1", "SenderId": "1"},
        "messageAttributes": {},
        "md5OfBody": "",
        "eventSource": "aws:sqs",
        "eventSourceARN": f"arn:aws:sqs:{REGION}:123456789012:queue",
        "awsRegion": REGION,
    }


def batch(*events: Mapping[str, Any]) -> dict[str, Any]:
    return {"Records": [as_record(json.dumps(event), f"message-{number}") for number, event in enumerate(events)]}


@contextmanager
def environment(
    address: str, url: str, more: Mapping[str, str] | None = None, **settings: Any
) -> Iterator[Environment]:
    """An empty environment of its own; `more` variables of its functions, `settings` as in settings.toml."""
    imaging = connect(url)
    datastore = str(imaging.create_datastore()["datastoreId"])
    buckets = {prefix: make_bucket(address, unique(prefix)) for prefix in PREFIXES}
    audit = make_bucket(address, unique("audit"), ObjectLockEnabledForBucket=True)
    queues, bus, heard = make_queues(address, LANES), unique("bus"), make_queues(address, ("heard",))["heard"]
    events = client(address, "events")
    events.create_event_bus(Name=bus)
    events.put_rule(Name="all", EventBusName=bus, EventPattern=json.dumps({"source": [{"prefix": ""}]}))
    arn = f"arn:aws:sqs:{REGION}:123456789012:{heard.rpartition('/')[2]}"
    events.put_targets(Rule="all", EventBusName=bus, Targets=[{"Id": "heard", "Arn": arn}])
    key = client(address, "kms").create_key()["KeyMetadata"]["Arn"]
    variables = {
        **CREDENTIALS,
        "AWS_ENDPOINT_URL": address,
        "AWS_ENDPOINT_URL_MEDICAL_IMAGING": url,
        "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
        "RADLOOP_BUCKETS": json.dumps(buckets),
        "RADLOOP_KEYS": json.dumps({"training": key, "audit": key}),
        "RADLOOP_BUS": bus,
        "RADLOOP_QUEUES": json.dumps(queues),
        "RADLOOP_AUDIT_BUCKET": audit,
        "RADLOOP_IMPORT_ROLE_ARN": ROLE,
        "RADLOOP_SETTINGS": json.dumps(settings),
        "HEALTHIMAGING_DATASTORE_ID": datastore,
        "DYNAMODB_TRACKING_TABLE": make_table(address),
        "S3_INGESTION_BUCKET": buckets["training-data"],
        **(more or {}),
    }
    with pytest.MonkeyPatch.context() as surroundings:
        for name, value in variables.items():
            surroundings.setenv(name, value)
        _forget()
        _whole()  # its clients keep the addresses of now, whatever a test does to its surroundings
        for function in json.loads((contracts() / "functions.json").read_text())["functions"]:
            lambdas._cloud(function["name"].replace("-", "_"))
        try:
            yield Environment(variables, address, imaging, datastore, buckets, queues, heard)
        finally:
            _forget()
            _end_loop()


@cache
def _whole() -> Cloud:
    """What all functions together may do, for whoever looks at an environment from outside."""
    return open_aws(os.environ)


def _end_loop() -> None:
    """Close the event loop that Mangum leaves standing for the next call; Lambda ends it with the process."""
    with suppress(RuntimeError):  # there is none
        loop = asyncio.get_event_loop()
        if not loop.is_running():
            loop.close()
            asyncio.set_event_loop(None)


def _forget() -> None:
    """As a new execution environment finds it: nothing is kept from one call to the next."""
    for kept in (
        _whole,
        clients.session,
        clients.client,
        lambdas._cloud,
        lambdas._formatter,
        lambdas._consulted,
        lambdas._layers,
        lambdas._application,
        lambdas._origin,
    ):
        kept.cache_clear()
