"""Whatever is sent, the answer is an answer: never a 500, never a word of what was sent in the log."""

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from radloop.api.openapi import OPERATIONS
from radloop.api.operations import Operation
from tests.api.installation import Installation, TestClient, open_installation

MARK = "Zzyx"

plain = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8).map(MARK.__add__)
fields = st.sampled_from(
    ["version", "finding", "site", "confidence", "note", "seen", "image_set", "approved", "frame", "quality"]
)
values = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(fields, inner, max_size=4), max_leaves=8
)
bodies = st.dictionaries(fields, values, max_size=8)
words = st.sampled_from(
    ["0", "1", "-1", "99999999999999999999", "x" * 200, "%00", "..", MARK, "\u0664", "a/b"]
) | st.text(
    st.characters(min_codepoint=32, exclude_categories=["Cs", "Cc"], exclude_characters="/?#"), min_size=1, max_size=12
)
names = st.sampled_from(
    ["limit", "after", "state", "complete", "offset", "PatientName", "StudyDate", "includefield", "Rows"]
)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Installation, TestClient]]:
    folder: Path = tmp_path_factory.mktemp("anything")
    with open_installation(folder) as installation, installation.client(raise_server_exceptions=True) as client:
        installation.approve(bias=1.0)
        yield installation, client


requests = st.fixed_dictionaries(
    {
        "operation": st.sampled_from(OPERATIONS),
        "body": bodies.map(json.dumps).map(str.encode) | st.binary(max_size=60),
        "word": words,
        "query": st.dictionaries(names, words, max_size=3),
        "is_json": st.booleans(),
        "is_known": st.booleans(),
    }
)
searches = st.fixed_dictionaries(
    {
        "parts": st.lists(
            st.sampled_from(["studies", "series", "instances", "metadata", "frames"]) | words, max_size=8
        ),
        "query": st.dictionaries(names | words, words, max_size=3),
        "accept": words | st.sampled_from(["*/*", 'multipart/related; type="image/jph"', ";q=", ",,", '"']),
    }
)
Sent = dict[str, Any]


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sent=requests)
def test_no_request_to_the_platform_api_surprises_it(
    served: tuple[Installation, TestClient], caplog: pytest.LogCaptureFixture, sent: Sent
) -> None:
    installation, client = served
    operation: Operation = sent["operation"]
    identity = installation.land() if sent["is_known"] else sent["word"]
    path = re.sub(r"{(\w+):int}", lambda _: sent["word"], operation.address).replace("{id}", identity)
    kind = "application/json" if sent["is_json"] or not operation.media else f"{operation.media[0]}; boundary=b"
    caplog.clear()
    with caplog.at_level(logging.WARNING, "radloop"):
        answer = client.request(
            operation.method,
            path,
            params=sent["query"],
            content=sent["body"],
            headers={"Content-Type": kind},
            follow_redirects=False,
        )
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400 and operation.method != "HEAD":
        error = answer.json()["error"]
        assert error["code"]
        assert error["message"]
    assert MARK not in caplog.text


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sent=searches)
def test_no_request_to_dicomweb_surprises_it(
    served: tuple[Installation, TestClient], caplog: pytest.LogCaptureFixture, sent: Sent
) -> None:
    _, client = served
    headers = {"Accept": sent["accept"].encode("ascii", "replace").decode()}
    address = "/dicomweb/" + "/".join(sent["parts"])
    answer = client.get(address, params=sent["query"], headers=headers, follow_redirects=False)
    assert answer.status_code < 500, answer.text
    assert MARK not in caplog.text
