"""`radloop doctor --aws` sees what is there and what is not, and changes nothing."""

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from radloop.aws import clients
from radloop.aws.checklist import account_checks
from radloop.core.checklist import FAILED, NOT_APPLICABLE, OK, Answer, answers, load_boxes
from radloop.core.contracts import contracts
from tests.aws.emulators import ACCOUNT, client, unique

BUCKETS = ("training-data", "preprocessed-data", "model-artifacts", "logs", "audit", "archive", "stream")
DOMAINS = ("training", "models", "logs", "tables", "imaging", "messages", "secrets", "audit")


@pytest.fixture
def address(ministack: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("AWS_ENDPOINT_URL", ministack)
    clients.client.cache_clear()
    yield ministack
    clients.client.cache_clear()


def look(name: str) -> dict[str, Answer]:
    boxes = load_boxes((contracts() / "checklist.json").read_bytes())
    return {answer.box.id: answer for answer in answers(boxes, account_checks(name, contracts()))}


def test_an_empty_account_fails_every_box_that_can_be_looked_at(address: str) -> None:
    found = look(unique("radloop") + "-dev")
    assert len(found) == 41
    assert {answer.found.state for answer in found.values()} == {FAILED, NOT_APPLICABLE}
    assert all(answer.found.reason for answer in found.values())


def test_what_is_made_is_seen_and_what_is_made_badly_fails(address: str) -> None:
    project = "r" + unique("x")[2:10]
    name = f"{project}-dev"
    s3, kms, dynamodb = (client(address, service) for service in ("s3", "kms", "dynamodb"))
    where = {"LocationConstraint": "eu-west-1"}
    rule = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}]}
    for kind in BUCKETS:
        bucket = f"{project}-{kind}-dev-{ACCOUNT}"
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration=where)
        s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration=rule)
    for domain in DOMAINS:
        key = kms.create_key()["KeyMetadata"]["KeyId"]
        kms.create_alias(AliasName=f"alias/{name}-{domain}", TargetKeyId=key)
        if domain != "audit":
            kms.enable_key_rotation(KeyId=key)
    dynamodb.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    found = look(name)
    assert found["D1.3"].found.state == OK
    assert (found["D1.2"].found.state, found["D1.2"].found.reason) == (FAILED, "not rotating: audit")
    assert found["D1.4"].found.state == FAILED
    assert "no point-in-time recovery" in found["D1.4"].found.reason
    assert found["D8.2"].found.state == FAILED  # nobody demands TLS yet
    assert found["D3.2"].found.state == FAILED
    s3.put_bucket_notification_configuration(
        Bucket=f"{project}-training-data-dev-{ACCOUNT}", NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    s3.put_object(Bucket=f"{project}-training-data-dev-{ACCOUNT}", Key="upload/a/1.dcm", Body=b"x")
    refuse = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    for kind in BUCKETS:
        bucket = f"{project}-{kind}-dev-{ACCOUNT}"
        policy = {"Version": "2012-10-17", "Statement": [{**refuse, "Resource": f"arn:aws:s3:::{bucket}/*"}]}
        s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))
    found = look(name)
    assert [found[box].found.state for box in ("D3.2", "D8.2", "D9.1")] == [OK, OK, OK]


def test_it_only_reads(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    called: set[str] = set()

    def note(model: Any, **_: Any) -> None:
        called.add(model.name)

    made = clients.made

    def watched(service: str, endpoint: str = "") -> Any:
        one = made(service, endpoint)
        one.meta.events.register("before-call", note)
        return one

    monkeypatch.setattr(clients, "made", watched)
    clients.client.cache_clear()
    look(unique("radloop") + "-dev")
    assert len(called) > 15
    assert {name for name in called if not name.startswith(("Get", "List", "Describe", "Search"))} == set()


def test_every_operation_it_calls_is_in_the_sdk() -> None:
    for service in ("medical-imaging", "sagemaker", "cloudtrail", "ecr"):
        assert service in boto3.session.Session().get_available_services()
