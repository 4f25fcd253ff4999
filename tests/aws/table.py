"""What a test of records, jobs and events stands on: a fresh table as `contracts/table.json` describes it, and more."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from radloop.functions.rules import Rule
from tests.aws.emulators import ACCOUNT, REGION, client, unique

TABLE = json.loads((Path(__file__).parents[2] / "contracts" / "table.json").read_text())


class Watch:
    """A clock that can be put forward."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


def make_table(address: str) -> str:
    name = unique(TABLE["name"])
    keys = [(TABLE["hash"], "HASH"), (TABLE["range"], "RANGE")]
    attributes: list[dict[str, Any]] = TABLE["attributes"]
    client(address, "dynamodb").create_table(
        TableName=name,
        KeySchema=[{"AttributeName": key, "KeyType": kind} for key, kind in keys],
        AttributeDefinitions=[{"AttributeName": each["name"], "AttributeType": each["type"]} for each in attributes],
        BillingMode="PAY_PER_REQUEST",
    )
    return name


def make_queues(address: str, lanes: Sequence[str], *, receives: int = 100) -> dict[str, str]:
    """A queue a lane, each with a dead-letter queue of its own."""
    return {lane: _make_queue(address, lane, receives) for lane in lanes}


def _make_queue(address: str, lane: str, receives: int) -> str:
    sqs, name = client(address, "sqs"), unique(lane)
    dead = f"{name}-dead"
    sqs.create_queue(QueueName=dead)
    policy = {"deadLetterTargetArn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{dead}", "maxReceiveCount": receives}
    queue: str = sqs.create_queue(QueueName=name, Attributes={"RedrivePolicy": json.dumps(policy)})["QueueUrl"]
    return queue


def make_bus(address: str, rules: Sequence[Rule], queues: Mapping[str, str]) -> str:
    """An event bus whose rules put what they match into the queue of the lane `events`."""
    events, name = client(address, "events"), unique("bus")
    events.create_event_bus(Name=name)
    arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{queues['events'].rpartition('/')[2]}"
    for rule in rules:
        events.put_rule(Name=rule.name, EventBusName=name, EventPattern=json.dumps(dict(rule.pattern)))
        known = json.dumps({"rule": rule.name, "kind": rule.target, "delay_s": rule.delay_s})
        template = f'{known[:-1]}, "event": <aws.events.event.json>}}'
        target = {"Id": "lane", "Arn": arn, "InputTransformer": {"InputTemplate": template}}
        events.put_targets(Rule=rule.name, EventBusName=name, Targets=[target])
    return name
