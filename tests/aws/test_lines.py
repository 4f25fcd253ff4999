"""Lines of the functions' logs are those of the contract, and keep what powertools knows of a call."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from radloop import lambdas
from radloop.aws.lines import LambdaLines
from radloop.core.contracts import contracts
from radloop.monitoring.logs import tell
from tests.aws.environment import CONTEXT, as_record, batch, environment, object_created

SCHEMA = Draft202012Validator(json.loads((contracts() / "log-line.json").read_text()))


class Kept(logging.Handler):
    """Keeps what was said."""

    def __init__(self, formatter: LambdaLines) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self.lines: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(json.loads(self.format(record)))


@pytest.fixture
def kept() -> Iterator[Kept]:
    formatter = LambdaLines()
    formatter.append_keys(function="image_ingestion", request="request-1", trace="abc-1", memory_mb=512)
    handler, logger = Kept(formatter), logging.getLogger("radloop.functions.image_ingestion")
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    yield handler
    logger.removeHandler(handler)
    logger.level, logger.propagate = before


def test_every_line_is_of_the_contract_and_names_the_call(kept: Kept) -> None:
    logger = logging.getLogger("radloop.functions.image_ingestion")
    logger.info("begun: %s", "Object Created")
    logger.error(json.dumps({"event": "PipelineEnded", "reasons": ["a"]}))
    tell(logger, "routed", wakes=["drift"], tries=2)
    tell(logger, "routed", trace="of-the-event")
    try:
        int("x")
    except ValueError:
        logger.exception("failed")
    for line in kept.lines:
        SCHEMA.validate(line)
        assert (line["group"], line["logger"]) == (
            "lambda/image-ingestion",
            "radloop.functions.image_ingestion",
        )
        assert (line["function"], line["request"], line["memory_mb"]) == ("image_ingestion", "request-1", 512)
    assert [line["trace"] for line in kept.lines] == ["abc-1", "abc-1", "abc-1", "of-the-event", "abc-1"]
    assert [line["level"] for line in kept.lines] == ["INFO", "ERROR", "INFO", "INFO", "ERROR"]
    assert (kept.lines[2]["wakes"], kept.lines[2]["tries"]) == (["drift"], 2)


def test_a_message_that_is_json_stays_a_text(kept: Kept) -> None:
    said = json.dumps({"event": "PipelineEnded"})
    logging.getLogger("radloop.functions.image_ingestion").error(said)
    assert kept.lines[0]["message"] == said


def test_what_a_message_comes_to_is_told_with_the_trace_of_the_message(
    ministack: str, healthimaging_url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """A function that a queue wakes is handed several messages, each with a trace of its own."""
    with environment(ministack, healthimaging_url) as made:
        job = {"id": "j1", "lane": "stream", "kind": "no-such-kind", "payload": {}, "trace": "trace-of-the-job"}
        nobodys = {**object_created(made.buckets["training-data"], "elsewhere/a", 1), "id": "trace-of-the-object"}
        lambdas.stream_layers({"Records": [as_record(json.dumps(job), "m1")]}, CONTEXT)
        lambdas.image_ingestion(batch(nobodys), CONTEXT)
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines() if line.startswith("{")]
    for line in lines:
        SCHEMA.validate(line)
    traces = {line["message"].partition(":")[0]: line["trace"] for line in lines if line["level"] != "INFO"}
    assert traces["job no-such-kind failed at try 1"] == "trace-of-the-job"
    assert traces["a message failed"] == "trace-of-the-object"
