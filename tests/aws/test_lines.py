"""Lines of the functions' logs are those of the contract, and keep what powertools knows of a call."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from radloop.aws.lines import LambdaLines
from radloop.core.contracts import contracts
from radloop.monitoring.logs import tell

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
