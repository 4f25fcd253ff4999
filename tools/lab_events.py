# ruff: noqa: INP001 — part of programs that are run by themselves
"""What services of AWS tell on the default bus, handed to the targets of the rules that stand there.

This is the lab's stand-in for EventBridge's own delivery of `aws.*` events, which a caller may not put on a bus. The
rules, their patterns and their targets are read back from the emulator, so they are those that Terraform applied; which
of them match is judged by our own matcher, which tests hold against AWS's verdicts and against the emulator.
"""

import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from lab_servers import ACCOUNT, REGION

from radloop.aws.clients import client
from radloop.functions.rules import matches


def told(source: str, kind: str, detail: Mapping[str, Any], *resources: str) -> dict[str, Any]:
    """An event as EventBridge hands it over."""
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": kind,
        "source": source,
        "account": ACCOUNT,
        "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": REGION,
        "resources": list(resources),
        "detail": dict(detail),
    }


def import_ended(datastore: str, job: Mapping[str, Any]) -> dict[str, Any]:
    """What HealthImaging tells of an import job that has ended (its user guide, "EventBridge events")."""
    is_ok = job["jobStatus"] == "COMPLETED"
    detail = {
        "imagingVersion": "1.0",
        "datastoreId": datastore,
        "jobId": job["jobId"],
        "jobName": job.get("jobName", ""),
        "jobStatus": job["jobStatus"],
    }
    arn = f"arn:aws:medical-imaging:{REGION}:{ACCOUNT}:datastore/{datastore}"
    return told("aws.medical-imaging", f"Import Job {'Completed' if is_ok else 'Failed'}", detail, arn)


def step_changed(pipeline: str, execution: str, step: str, before: str, status: str) -> dict[str, Any]:
    """What SageMaker tells of a step that began or ended."""
    detail = {
        "pipelineArn": pipeline,
        "pipelineExecutionArn": execution,
        "stepName": step,
        "previousStepStatus": before,
        "currentStepStatus": status,
    }
    kind = "SageMaker Model Building Pipeline Execution Step Status Change"
    return told("aws.sagemaker", kind, detail, pipeline, execution)


def execution_changed(pipeline: str, execution: str, before: str, status: str) -> dict[str, Any]:
    """What SageMaker tells of an execution that ended."""
    detail = {
        "pipelineArn": pipeline,
        "pipelineExecutionArn": execution,
        "previousPipelineExecutionStatus": before,
        "currentPipelineExecutionStatus": status,
    }
    kind = "SageMaker Model Building Pipeline Execution Status Change"
    return told("aws.sagemaker", kind, detail, pipeline, execution)


def package_changed(arn: str, status: str) -> dict[str, Any]:
    """What SageMaker tells of a model package that was made or decided on."""
    group = arn.rpartition("/")[0].rpartition("/")[2]
    detail = {"ModelPackageGroupName": group, "ModelPackageArn": arn, "ModelApprovalStatus": status}
    return told("aws.sagemaker", "SageMaker Model Package State Change", detail, arn)


def alarm_changed(name: str, state: str) -> dict[str, Any]:
    """What CloudWatch tells of an alarm that went on or off."""
    arn = f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{name}"
    detail = {
        "alarmName": name,
        "state": {"value": state, "reason": "Threshold Crossed"},
        "previousState": {"value": "OK"},
    }
    return told("aws.cloudwatch", "CloudWatch Alarm State Change", detail, arn)


def deliver(event: Mapping[str, Any]) -> list[str]:
    """Hand an event to every target of every rule on the default bus that it matches; the targets' ARNs.

    Targets that are log groups are left out: a log is no hop of anything.

    Raises:
        LookupError: A target is of a kind that the lab cannot reach.
    """
    events = client("events")
    reached = []
    for rule in events.list_rules(EventBusName="default")["Rules"]:
        if not rule.get("EventPattern") or not matches(json.loads(rule["EventPattern"]), event):
            continue
        for target in events.list_targets_by_rule(Rule=rule["Name"], EventBusName="default")["Targets"]:
            if ":logs:" not in target["Arn"]:
                _hand_over(str(target["Arn"]), json.dumps(event))
                reached.append(str(target["Arn"]))
    return reached


def _hand_over(arn: str, body: str) -> None:
    service, name = arn.split(":")[2], arn.rpartition(":")[2]
    if service == "lambda":
        client("lambda").invoke(FunctionName=arn, InvocationType="Event", Payload=body.encode())
    elif service == "sqs":
        sqs = client("sqs")
        sqs.send_message(QueueUrl=sqs.get_queue_url(QueueName=name)["QueueUrl"], MessageBody=body)
    elif service == "sns":
        client("sns").publish(TopicArn=arn, Message=body)
    else:
        raise LookupError(f"the lab cannot reach {arn}")
