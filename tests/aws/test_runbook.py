"""What docs/runbook.md says to do on AWS does it on MiniStack: each block as it stands there, under other names."""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.aws.edge import distribution
from tests.aws.emulators import CREDENTIALS, client, unique
from tests.docs.blocks import python_blocks, run_block

PAGE = (Path(__file__).parents[2] / "docs/runbook.md").read_text().partition("\n## On AWS\n")[2]
CALLS = (
    "describe_alarms",
    "send_message",
    "admin_disable_user",
    "restore_table_to_point_in_time",
    "list_distributions",
)


@pytest.fixture
def environ(ministack: str) -> Mapping[str, str]:
    return {**os.environ, **CREDENTIALS, "AWS_ENDPOINT_URL": ministack}


@pytest.fixture
def name() -> str:
    return unique("house")


def test_every_block_of_the_page_is_run_here() -> None:
    assert len(python_blocks(PAGE)) == len(CALLS)


def lane_with_a_dead_letter(address: str, name: str) -> str:
    """A lane named as Terraform names it, whose one message was given up on; its address."""
    queues = client(address, "sqs")
    dead = queues.create_queue(QueueName=f"{name}-uploads-dead")["QueueUrl"]
    arn = queues.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 1})
    lane = queues.create_queue(
        QueueName=f"{name}-uploads", Attributes={"RedrivePolicy": redrive, "VisibilityTimeout": "0"}
    )["QueueUrl"]
    queues.send_message(QueueUrl=lane, MessageBody="work")
    for _ in range(2):
        queues.receive_message(QueueUrl=lane)
    return str(lane)


def test_in_the_morning_alarms_and_what_was_given_up_on_are_seen(
    name: str, ministack: str, environ: Mapping[str, str], tmp_path: Path
) -> None:
    lane_with_a_dead_letter(ministack, name)
    alarms = client(ministack, "cloudwatch")
    for state in ("ALARM", "OK"):
        alarms.put_metric_alarm(
            AlarmName=f"{name}-{state.lower()}",
            MetricName="m",
            Namespace="Radloop",
            Statistic="Sum",
            Period=60,
            EvaluationPeriods=1,
            Threshold=1,
            ComparisonOperator="GreaterThanThreshold",
        )
        alarms.set_alarm_state(AlarmName=f"{name}-{state.lower()}", StateValue=state, StateReason="because")
    seen = run_block(PAGE, "describe_alarms", tmp_path, environ, {"radloop-dev": name}).splitlines()
    assert seen == [f"{name}-alarm because", f"{name}-uploads-dead 1"]


def test_what_was_given_up_on_comes_back_to_its_lane(
    name: str, ministack: str, environ: Mapping[str, str], tmp_path: Path
) -> None:
    lane = lane_with_a_dead_letter(ministack, name)
    run_block(PAGE, "send_message", tmp_path, environ, {"radloop-dev": name})
    (message,) = client(ministack, "sqs").receive_message(QueueUrl=lane, WaitTimeSeconds=5)["Messages"]
    assert message["Body"] == "work"
    assert "Messages" not in client(ministack, "sqs").receive_message(QueueUrl=f"{lane}-dead")


def test_who_leaves_is_disabled_in_the_pool(
    name: str, ministack: str, environ: Mapping[str, str], tmp_path: Path
) -> None:
    cognito = client(ministack, "cognito-idp")
    pool = cognito.create_user_pool(PoolName=name)["UserPool"]["Id"]
    cognito.admin_create_user(UserPoolId=pool, Username="ann@example.org")
    run_block(PAGE, "admin_disable_user", tmp_path, environ, {"radloop-dev": name})
    assert cognito.admin_get_user(UserPoolId=pool, Username="ann@example.org")["Enabled"] is False


def test_the_table_as_it_was_stands_beside_the_one_in_use(
    name: str, ministack: str, environ: Mapping[str, str], tmp_path: Path
) -> None:
    tables = client(ministack, "dynamodb")
    tables.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    recovery = {"PointInTimeRecoveryEnabled": True}
    tables.update_continuous_backups(TableName=name, PointInTimeRecoverySpecification=recovery)
    run_block(PAGE, "restore_table_to_point_in_time", tmp_path, environ, {"radloop-dev": name})
    assert f"{name}-restored" in tables.list_tables()["TableNames"]


def test_which_secret_cloudfront_sends_is_told_by_name_and_not_by_value(
    name: str, ministack: str, environ: Mapping[str, str], tmp_path: Path
) -> None:
    values = {f"{name}/origin-{each}": unique(each) for each in ("first", "second")}
    for each, value in values.items():
        client(ministack, "secretsmanager").create_secret(Name=each, SecretString=value)
    distribution(ministack, f"{name}.execute-api.eu-west-1.amazonaws.com", values[f"{name}/origin-second"])
    seen = run_block(PAGE, "list_distributions", tmp_path, environ, {"radloop-dev": name})
    assert seen.splitlines() == [f"sent {name}/origin-second", f"there {name}/origin-first {name}/origin-second"]


def test_a_secret_of_cloudfronts_is_changed_by_the_steps_that_terraform_was_tested_with() -> None:
    def steps(text: str) -> list[str]:
        return re.findall(r"^ *origin_secrets = (\[.*?\])", text, flags=re.MULTILINE)

    tested = (Path(__file__).parents[2] / "infra/modules/cdn/tests/origin.tftest.hcl").read_text()
    assert steps(PAGE) == steps(tested)
    assert len(steps(PAGE)) == 3
