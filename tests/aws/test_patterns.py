"""Event patterns mean the same to the embedded bus and to an EventBridge of others, whose own faults are named."""

import json
from typing import Any

from botocore.exceptions import ClientError

from radloop.core.contracts import contracts
from radloop.functions.rules import InvalidPattern, matches
from tests.aws.emulators import ACCOUNT, REGION, client
from tests.contracts.test_functions import AWS_RULES, HITS, MISSES, pattern
from tests.functions.test_rules import HAPPENINGS, NOW, VECTORS

FAULTS = {
    '{"a.b": ["x"]}': "false instead of true",  # a key with a dot means the same as nested ones
    '{"detail": {"l": {"a": [{"exists": false}]}}}': "true instead of false",  # inside an array of objects
}
"""Patterns that MiniStack judges otherwise than AWS's own Event Ruler, and how; a fault that is gone must go here."""


def theirs(address: str, pattern: Any, event: Any) -> str:
    """`true`, `false`, or `ERR` where the pattern is refused."""
    envelope = {"id": "1", "account": ACCOUNT, "region": REGION, "time": "2026-01-01T00:00:00Z", "resources": []}
    whole = {**envelope, "source": "s", "detail-type": "t", **event}
    try:
        answer = client(address, "events").test_event_pattern(EventPattern=json.dumps(pattern), Event=json.dumps(whole))
    except ClientError as error:
        if error.response["Error"]["Code"] != "InvalidEventPatternException":
            raise
        return "ERR"
    return str(answer["Result"]).lower()


def ours(pattern: Any, event: Any) -> str:
    try:
        return str(matches(pattern, event)).lower()
    except InvalidPattern:
        return "ERR"


def test_every_vector_is_judged_alike_but_for_the_emulators_named_faults(ministack: str) -> None:
    assert len(VECTORS) == 120
    differing = {}
    for vector in VECTORS:
        verdict = vector["verdict"].split()[0]
        assert ours(vector["pattern"], vector["event"]) == verdict
        found = theirs(ministack, vector["pattern"], vector["event"])
        if found != verdict:
            differing[json.dumps(vector["pattern"], sort_keys=True)] = f"{found} instead of {verdict}"
    assert differing == FAULTS


def test_our_own_rules_mean_the_same_to_both_on_every_event_of_ours(ministack: str) -> None:
    rules = json.loads((contracts() / "events" / "rules.json").read_text())["rules"]
    met, missed = set(), set()
    for happening, _ in HAPPENINGS:
        told = happening.told(at=NOW).as_json()
        event = {name: told[name] for name in ("source", "detail-type", "detail")}
        for rule in rules:
            verdict = ours(rule["pattern"], event)
            assert theirs(ministack, rule["pattern"], event) == verdict, rule["name"]
            (met if verdict == "true" else missed).add(rule["name"])
    assert met == missed == {rule["name"] for rule in rules}


def test_the_rules_of_the_default_bus_mean_the_same_to_both_on_their_own_examples(ministack: str) -> None:
    judged = {True: set(), False: set()}
    for examples, is_met in ((HITS, True), (MISSES, False)):
        for name, event in examples:
            assert (ours(pattern(name), event), theirs(ministack, pattern(name), event)) == (str(is_met).lower(),) * 2
            judged[is_met].add(name)
    assert judged[True] == judged[False] == AWS_RULES.keys()
