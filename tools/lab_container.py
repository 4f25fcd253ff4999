# ruff: noqa: INP001 — part of programs that are run by themselves
"""Functions that are images, which the emulator cannot run without Docker: their code, in processes of their own.

The code is radloop as it is installed with the extra `aws`, which is what the image installs; that the image can be
built was never shown.
"""

import json
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lab_memory import bounded
from lab_servers import LabFailed

from radloop.aws.clients import client
from radloop.core.contracts import contracts
from radloop.core.tables import IMAGE_SETS

if TYPE_CHECKING:
    from lab_golden import Walk

_RUN = """
import importlib, json, sys
asked = json.load(sys.stdin)
context = type("Context", (), {"aws_request_id": "lab", "memory_limit_in_mb": asked["memory_mb"]})
module, _, name = asked["entry"].rpartition(".")
answers = [getattr(importlib.import_module(module), name)(event, context) for event in asked["events"]]
print(json.dumps(answers))
"""


def predicted(walk: "Walk") -> str:
    """The model that was made looks at an image set: the container's code, for the emulator runs no image."""
    _unhook("prediction", walk)
    (event, *_) = _of_kind("ImageIngested", walk)
    told = {
        "id": event.id,
        "source": event.source,
        "detail-type": event.detail_type,
        "time": event.time,
        "resources": [],
        "detail": dict(event.detail),
    }
    _run("prediction", told, walk)
    sqs, queue = client("sqs"), walk.applied.installation["queues"]["predict"]
    messages = walk.until(
        lambda: sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=1).get("Messages", []),
        bool,
        lambda _: "no job came into the queue predict",
    )
    names = {"messageId": "MessageId", "receiptHandle": "ReceiptHandle", "body": "Body"}
    records = [{name: each[said] for name, said in names.items()} for each in messages]
    _run("prediction", {"Records": records}, walk)
    row = walk.cloud.platform.records.get(IMAGE_SETS, str(event.detail["image_set"]))
    said = None if row is None else row.document["prediction"]
    champion = walk.cloud.platform.models.champion()
    if not said or champion is None or said["model_version"] != champion.version:
        raise LabFailed(f"the image set has the prediction {said}")
    return f"version {said['model_version']} says {said['probability']:.2f}"


def _of_kind(kind: str, walk: "Walk") -> list[Any]:
    told = walk.cloud.platform.bus.events(limit=1000)
    return [each.event for each in told if each.event.detail_type == kind]


def _unhook(name: str, walk: "Walk") -> None:
    """Stop the emulator from taking a function's messages out of its queue: it cannot run what they are for."""
    function = walk.applied.installation["functions"][name]
    for each in client("lambda").list_event_source_mappings(FunctionName=function)["EventSourceMappings"]:
        client("lambda").update_event_source_mapping(UUID=each["UUID"], Enabled=False)


def _run(name: str, event: Mapping[str, Any], walk: "Walk") -> None:
    """Call a function of the container's code, in a process with its variables that is killed above its memory.

    Raises:
        LabFailed: It failed.
    """
    (function,) = [
        each for each in json.loads((contracts() / "functions.json").read_text())["functions"] if each["name"] == name
    ]
    asked = {"entry": function["entry"], "memory_mb": function["memory_mb"], "events": [event]}
    environ = {**os.environ, **walk.variables[name], "OMP_NUM_THREADS": "1"}
    done = bounded([sys.executable, "-c", _RUN], json.dumps(asked), function["memory_mb"], environ)
    known = walk.held.setdefault(name, done.held)
    known.take(done.held)
    if done.code:
        raise LabFailed(f"{name} failed: {done.complained[-1500:]}")
    failed = [each for each in json.loads(done.said.splitlines()[-1]) if each and each.get("batchItemFailures")]
    if failed:
        raise LabFailed(f"{name} gave messages back: {done.complained[-1500:]}")
