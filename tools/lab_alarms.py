# ruff: noqa: INP001 — part of programs that are run by themselves
"""Every alarm of contracts/alarms.json is provoked on what was applied; people and the log must hear of each.

An alarm on a metric goes on because a value is put that is far on the wrong side. One that is computed of several is
set, where infra/lab.json names the emulator that computes nothing: then its way to people is shown, not its sum, which
the test named there holds.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lab_servers import LabFailed
from lab_terraform import NAMED

from radloop.aws.clients import client
from radloop.core.contracts import contracts

if TYPE_CHECKING:
    from lab_golden import Walk

_FAR = 10.0


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alarm that was applied.

    Attributes:
        contract: As contracts/alarms.json has it.
        name: As CloudWatch has it.
        is_computed: Whether it is of several metrics.
    """

    contract: Mapping[str, Any]
    name: str
    is_computed: bool

    def provoke(self) -> None:
        """Put a value that is far on the wrong side; or set it, where nothing computes it."""
        watched = client("cloudwatch")
        if self.is_computed:
            watched.set_alarm_state(AlarmName=self.name, StateValue="ALARM", StateReason="provoked")
            return
        wanted = self.contract["aws"]
        threshold = float(wanted["threshold"])
        above = max(_FAR * threshold, _FAR)
        value = above if self.contract["comparison"] == ">" else threshold / _FAR
        asked = watched.describe_alarms(AlarmNames=[self.name])["MetricAlarms"][0]
        data = {"MetricName": asked["MetricName"], "Dimensions": asked.get("Dimensions", []), "Value": value}
        watched.put_metric_data(Namespace=asked["Namespace"], MetricData=[data])

    def state(self) -> str:
        """OK, ALARM or INSUFFICIENT_DATA."""
        return str(client("cloudwatch").describe_alarms(AlarmNames=[self.name])["MetricAlarms"][0]["StateValue"])


def applied_of(contract: Mapping[str, Any], prefix: str) -> Iterator[Alarm]:
    """The alarms of the contract as they were applied; of those that each function has, the API's.

    Args:
        contract: contracts/alarms.json.
        prefix: Of the names of all that was applied.

    Raises:
        LabFailed: One is missing, or is computed and infra/lab.json does not name it, or is named and not computed.
    """
    there = {
        each["AlarmName"]: each
        for page in client("cloudwatch").get_paginator("describe_alarms").paginate()
        for each in page["MetricAlarms"]
    }
    named = {alarm for entry in json.loads(NAMED.read_text())["computed"] for alarm in entry["alarms"]}
    computed = set()
    for each in contract["alarms"]:
        own = f"{prefix}-{each['name']}" + ("-api" if each["aws"].get("each") == "function" else "")
        if own not in there:
            raise LabFailed(f"alarm {own} was not applied")
        if "expression" in each["aws"]:
            computed.add(each["id"])
        yield Alarm(each, own, "expression" in each["aws"])
    if computed != named:
        raise LabFailed(f"infra/lab.json names {sorted(named)} as computed, and these are: {sorted(computed)}")


def alarmed(walk: "Walk") -> str:
    """Every alarm that is provoked goes on, people are told by its topic, and the function writes it down."""
    topic, queue = walk.applied.installation["alerts_topic"], _listening(walk)
    prefix = walk.applied.installation["functions"]["api"].removesuffix("-api")
    alarms = list(applied_of(json.loads((contracts() / "alarms.json").read_text()), prefix))
    if already := [each.name for each in alarms if each.state() == "ALARM"]:
        raise LabFailed(f"on before anything was provoked: {already}")
    for alarm in alarms:
        alarm.provoke()
        walk.until(alarm.state, lambda found: found == "ALARM", lambda found, name=alarm.name: f"{name} is {found}")
    sqs, heard = client("sqs"), set[str]()

    def hear() -> set[str]:
        for message in sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", ()):
            heard.update(each.name for each in alarms if each.name in message["Body"])
        return {each.name for each in alarms} - heard

    walk.until(hear, lambda missing: not missing, lambda missing: f"{topic} told nobody of {sorted(missing)}")
    for alarm in alarms:
        walk.until(
            lambda name=alarm.name: walk.logged("error-logging", name),
            bool,
            lambda _, name=alarm.name: f"error-logging has not written {name} down",
        )
    computed = [each.contract["id"] for each in alarms if each.is_computed]
    return (
        f"{len(alarms)} alarms went on, the topic told each, error-logging wrote each down; set: {', '.join(computed)}"
    )


def _listening(walk: "Walk") -> str:
    """A queue that hears what people are told."""
    sqs = client("sqs")
    queue = str(sqs.create_queue(QueueName="lab-people")["QueueUrl"])
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    client("sns").subscribe(TopicArn=walk.applied.installation["alerts_topic"], Protocol="sqs", Endpoint=arn)
    return queue
