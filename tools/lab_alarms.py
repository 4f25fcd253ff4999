# ruff: noqa: INP001 — part of programs that are run by themselves
"""Every alarm of contracts/alarms.json is provoked on what was applied; people and the log must hear of each.

An alarm goes on because values are put that are far on the wrong side. What is computed of several metrics the lab
computes (`lab_math`), where infra/lab.json names the emulator that does not; it must go on by each of the metrics of
which the contract says so while the others have no value. For this the values are put at moments further and further
back, each outside of what the alarm looks at for the one before.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from lab_math import CLOCKS_DIFFER, dimensions, judge
from lab_servers import Lab, LabFailed, running
from lab_terraform import NAMED, kept

from radloop.aws.clients import client
from radloop.core.contracts import contracts

if TYPE_CHECKING:
    from lab_golden import Walk

_ONE = {"": "", "function": "-api", "dead_queue": "-uploads"}
_FAR = 10.0
_FAR_FOR_ALL = 1e12  # bytes above any budget, failures as many as there are runs


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alarm that was applied.

    Attributes:
        contract: As contracts/alarms.json has it.
        name: As CloudWatch has it.
        applied: As Terraform keeps it, where it is computed of several metrics; else None.
    """

    contract: Mapping[str, Any]
    name: str
    applied: Mapping[str, Any] | None

    def provoke(self) -> None:
        """Put values that are far on the wrong side.

        Raises:
            LabFailed: It is computed, and was on before, or does not go on by what must suffice.
        """
        if self.applied is not None:
            self._provoke_computed(self.applied)
            return
        watched = client("cloudwatch")
        wanted = self.contract["aws"]
        threshold = float(wanted["threshold"])
        above = max(_FAR * threshold, _FAR)
        value = above if self.contract["comparison"] == ">" else threshold / _FAR
        asked = watched.describe_alarms(AlarmNames=[self.name])["MetricAlarms"][0]
        data = {"MetricName": asked["MetricName"], "Dimensions": asked.get("Dimensions", []), "Value": value}
        watched.put_metric_data(Namespace=asked["Namespace"], MetricData=[data])

    def _provoke_computed(self, applied: Mapping[str, Any]) -> None:
        watched = client("cloudwatch")
        at, apart = datetime.now(UTC), timedelta(seconds=self.contract["aws"]["period_s"]) + 2 * CLOCKS_DIFFER
        for some in causes_of(self.contract, applied):
            if judge(watched, applied, at) == "ALARM":
                raise LabFailed(f"{self.name} is on before {[each['metric_name'] for each in some]} was provoked")
            for metric in some:
                data = {
                    "MetricName": metric["metric_name"],
                    "Dimensions": dimensions(metric),
                    "Value": _FAR_FOR_ALL,
                    "Timestamp": at,
                }
                watched.put_metric_data(Namespace=metric["namespace"], MetricData=[data])
            if judge(watched, applied, at) != "ALARM":
                raise LabFailed(f"{self.name} does not go on by {[dimensions(each) for each in some]} alone")
            at -= apart

    def state(self) -> str:
        """OK, ALARM or INSUFFICIENT_DATA."""
        return str(client("cloudwatch").describe_alarms(AlarmNames=[self.name])["MetricAlarms"][0]["StateValue"])


def causes_of(contract: Mapping[str, Any], applied: Mapping[str, Any]) -> Iterator[Sequence[Mapping[str, Any]]]:
    """The metrics that must be able to raise an alarm while all others are missing: one set after the other.

    Args:
        contract: The alarm in contracts/alarms.json; what it names may be there several times, with numbers behind.
        applied: As Terraform keeps it.
    """
    metrics = {query["id"]: metric for query in applied["metric_query"] for metric in query["metric"]}
    for names in contract["aws"]["raised_by"]:
        if "sum_over" in contract["aws"]:
            yield from ([metric] for key, metric in metrics.items() if key.rstrip("0123456789") in names)
        else:
            yield [metrics[name] for name in names]


def applied_of(lab: Lab, contract: Mapping[str, Any], prefix: str) -> Iterator[Alarm]:
    """The alarms of the contract as they were applied; of those that each function or queue has, one of `_ONE`.

    Args:
        lab: Where they were.
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
    computed, state = set(), {each["alarm_name"]: each for each in kept(lab, "aws_cloudwatch_metric_alarm")}
    for each in contract["alarms"]:
        own = f"{prefix}-{each['name']}{_ONE[each['aws'].get('each', '')]}"
        if own not in there:
            raise LabFailed(f"alarm {own} was not applied")
        if "expression" in each["aws"]:
            computed.add(each["id"])
        yield Alarm(each, own, state[own] if "expression" in each["aws"] else None)
    if computed != named:
        raise LabFailed(f"infra/lab.json names {sorted(named)} as computed, and these are: {sorted(computed)}")


def alarmed(walk: "Walk") -> str:
    """Every alarm that is provoked goes on, people are told by its topic, and the function writes it down."""
    topic, queue = walk.applied.installation["alerts_topic"], _listening(walk)
    prefix = walk.applied.installation["functions"]["api"].removesuffix("-api")
    alarms = list(applied_of(running(), json.loads((contracts() / "alarms.json").read_text()), prefix))
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
    computed = ", ".join(each.contract["id"] for each in alarms if each.applied is not None)
    heard_of = "went on by values, the topic told each, error-logging wrote each down"
    return f"{len(alarms)} alarms {heard_of}; computed by the lab: {computed}"


def _listening(walk: "Walk") -> str:
    """A queue that hears what people are told."""
    sqs = client("sqs")
    queue = str(sqs.create_queue(QueueName="lab-people")["QueueUrl"])
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    client("sns").subscribe(TopicArn=walk.applied.installation["alerts_topic"], Protocol="sqs", Endpoint=arn)
    return queue
