"""`radloop doctor --aws` sees what is there and what is not, and changes nothing."""

import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from radloop.aws import clients
from radloop.aws.checklist import account_checks
from radloop.core.checklist import FAILED, NOT_APPLICABLE, OK, Answer, Found, answers, load_boxes
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


def reviewed(name: str) -> Found:
    """What is found about the one box."""
    boxes = [box for box in load_boxes((contracts() / "checklist.json").read_bytes()) if box.id == "D8.4"]
    (answer,) = answers(boxes, account_checks(name, contracts()))
    return answer.found


def test_an_empty_account_fails_every_box_that_can_be_looked_at(address: str) -> None:
    found = look(unique("radloop") + "-dev")
    assert len(found) == 43
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


def variables_of(function: dict[str, Any], contract: dict[str, Any], *without: str) -> dict[str, str]:
    """What Terraform gives a function where the installation does without something."""
    absent = {name for what in without for name in contract["without"][what]}
    return {name: "x" for name in [*contract["common"]["environment"], *function["environment"]] if name not in absent}


def test_variables_of_what_an_installation_does_without_may_be_missing_together(address: str) -> None:
    name = unique("radloop") + "-dev"
    contract = json.loads((contracts() / "functions.json").read_text())
    functions = client(address, "lambda")
    role = client(address, "iam").create_role(RoleName=unique("role"), AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as package:
        package.writestr("a.py", "def handler(event, context):\n    return None\n")

    def made(variables: dict[str, dict[str, str]]) -> Found:
        for each, told in variables.items():
            functions.update_function_configuration(FunctionName=f"{name}-{each}", Environment={"Variables": told})
        return look(name)["D5.2"].found

    wanted = {each["name"]: each for each in contract["functions"]}
    for each in wanted:
        functions.create_function(
            FunctionName=f"{name}-{each}",
            Runtime="python3.12",
            Role=role,
            Handler="a.handler",
            Code={"ZipFile": code.getvalue()},
        )
    found = made({each: variables_of(function, contract) for each, function in wanted.items()})
    assert (found.state, found.reason) == (OK, "every function has the variables of its contract")
    found = made({each: variables_of(function, contract, "site", "endpoint") for each, function in wanted.items()})
    assert found.state == OK
    assert found.reason.endswith("this installation has no endpoint and no site")
    half = variables_of(wanted["api"], contract, "site") | {"RADLOOP_SITE_URL": "x"}
    found = made({"api": half})
    assert found.state == FAILED
    assert "RADLOOP_STREAM_URL" in found.reason
    short = variables_of(wanted["outbox"], contract)
    del short["RADLOOP_BUS"]
    found = made({"api": variables_of(wanted["api"], contract), "outbox": short})
    assert (found.state, found.reason) == (FAILED, "not set: outbox: RADLOOP_BUS")


def test_whether_readers_are_watched_and_who_would_be_told_of_an_incident(
    address: str, moto_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_GUARDDUTY", moto_server)  # MiniStack has none
    project = "r" + unique("x")[2:10]
    name, bucket = f"{project}-dev", f"{project}-audit-dev-{ACCOUNT}"
    functions, sns, s3 = (client(address, service) for service in ("lambda", "sns", "s3"))
    role = client(address, "iam").create_role(RoleName=unique("role"), AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as package:
        package.writestr("a.py", "def handler(event, context):\n    return None\n")

    def watched(settings: str) -> Found:
        told = {"Variables": {"RADLOOP_SETTINGS": settings, "RADLOOP_BUS": name}}
        functions.update_function_configuration(FunctionName=f"{name}-outbox", Environment=told)
        return look(name)["C8"].found

    assert look(name)["C8"].found.state == FAILED
    functions.create_function(
        FunctionName=f"{name}-outbox",
        Runtime="python3.12",
        Role=role,
        Handler="a.handler",
        Code={"ZipFile": code.getvalue()},
    )
    assert watched("{}").reason.startswith("nothing wakes")
    client(address, "events").put_rule(Name=f"{name}-outbox-0", ScheduleExpression="rate(1 minute)")
    client(moto_server, "guardduty").create_detector(Enable=True)
    found = watched('{"isolate_patients": 300}')
    assert (found.state, "above 300" in found.reason) == (OK, True)
    assert watched('{"isolate_patients": 0}').state == watched("x").state == FAILED

    lock = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "COMPLIANCE", "Years": 7}}}
    where = {"LocationConstraint": "eu-west-1"}
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration=where, ObjectLockEnabledForBucket=True)
    s3.put_object_lock_configuration(Bucket=bucket, ObjectLockConfiguration=lock)
    topic = sns.create_topic(Name=f"{name}-alerts")["TopicArn"]
    assert "nobody has confirmed" in look(name)["C12"].found.reason
    queue = client(address, "sqs").create_queue(QueueName=f"{name}-listening")["QueueUrl"]
    arn = client(address, "sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn["QueueArn"])
    assert look(name)["C12"].found.state == OK


def test_people_whom_the_user_pool_gives_other_roles_fail_by_their_number_alone(address: str) -> None:
    project = "r" + unique("x")[2:10]
    bucket, name = f"{project}-training-data-dev-{ACCOUNT}", f"{project}-dev"
    s3, cognito = client(address, "s3"), client(address, "cognito-idp")
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    pool = cognito.create_user_pool(PoolName=name)["UserPool"]["Id"]
    for group in ("release-approver", "reader"):
        cognito.create_group(UserPoolId=pool, GroupName=group)

    def person(user: str, *groups: str) -> str:
        made = cognito.admin_create_user(UserPoolId=pool, Username=user, MessageAction="SUPPRESS")["User"]
        for group in groups:
            cognito.admin_add_user_to_group(UserPoolId=pool, Username=user, GroupName=group)
        (sub,) = (each["Value"] for each in made["Attributes"] if each["Name"] == "sub")
        return str(sub)

    def told(**people: list[str]) -> Found:
        """What is found where people, by `sub`, stand in the object with these roles."""
        rows = [{"arn": f"arn:{sub}", "id": sub, "roles": roles} for sub, roles in people.items()]
        s3.put_object(Bucket=bucket, Key="radloop/people.json", Body=json.dumps({"people": rows}).encode())
        return reviewed(name)

    assert reviewed(name).state == NOT_APPLICABLE
    anna, ben = person("anna", "release-approver", "reader"), person("ben", "reader")
    agreed = told(**{anna: ["release-approver"], ben: ["reader"]})
    assert agreed.state == NOT_APPLICABLE
    assert "agrees with the user pool on 2 people" in agreed.reason
    for people, numbers in (
        ({anna: ["release-approver"], ben: ["release-approver"]}, "of 2 people in people.json 1 have a role"),
        ({anna: ["reader"], ben: ["reader"]}, "1 lack one to decide by"),
        ({anna: ["release-approver"], "gone": ["reader"]}, "of 2 people in people.json 1 have a role"),
    ):
        found = told(**people)
        assert (found.state, numbers in found.reason) == (FAILED, True)
        assert not any(each in found.reason for each in (anna, ben, "anna", "ben", "gone"))
    cognito.admin_disable_user(UserPoolId=pool, Username="anna")
    assert told(**{anna: ["release-approver"]}).state == FAILED
    s3.put_object(Bucket=bucket, Key="radloop/people.json", Body=b"{}")
    assert "[corrupt]" in reviewed(name).reason


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
