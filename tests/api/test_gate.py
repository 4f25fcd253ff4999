import logging
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.datastructures import Headers

from radloop.api.app import create_app
from radloop.api.errors import STATUS, answer_to, status_of
from radloop.api.gate import objection
from radloop.core import errors
from radloop.core.errors import Corrupt, MissingAttribute, NoChampion, RadloopError, UnsupportedPixels
from tests.api.installation import BASE, Installation, TestClient

SECRET = "Doe^Jane"


def all_errors(root: type[RadloopError] = RadloopError) -> Iterator[type[RadloopError]]:
    yield root
    for kind in root.__subclasses__():
        yield from all_errors(kind)


def test_every_error_of_ours_has_a_status_and_the_table_knows_no_other() -> None:
    kinds = [kind for kind in all_errors() if kind.__module__ == errors.__name__]
    assert len(kinds) > 10
    for kind in kinds:
        error = kind("the file", 9) if kind is errors.TooManyElements else kind("Rows")
        assert 400 <= status_of(error) <= 599
    assert set(STATUS) <= {kind.code for kind in kinds}
    assert [status_of(kind("x")) for kind in (MissingAttribute, NoChampion, UnsupportedPixels, Corrupt)] == [
        400, 404, 422, 500
    ]  # fmt: skip


@pytest.mark.parametrize("host", ["localhost", "localhost:8080", "127.0.0.1", "127.8.9.1:1", "[::1]:8080", "LOCALHOST"])
def test_names_of_the_loopback_are_answered(client: TestClient, host: str) -> None:
    assert client.get("/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", "", "[", "0"]
)
def test_any_other_name_is_turned_away(client: TestClient, host: str) -> None:
    answer = client.get("/api/v1/worklist", headers={"Host": host})
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "denied")


def test_a_name_that_was_made_known_is_answered() -> None:
    headers = Headers({"host": "radiology.example:443"})
    assert objection("GET", headers, frozenset({"radiology.example"})) is None
    assert objection("GET", headers, frozenset()) is not None
    two = Headers(raw=[(b"host", b"localhost"), (b"host", b"evil.example")])
    assert objection("GET", two, frozenset()) is not None


def test_behind_a_site_of_another_name_its_pages_may_ask_and_no_others() -> None:
    site, hosts = "radiology.example", frozenset({"api.example"})

    def asked(origin: str, fetched: str = "same-origin") -> str | None:
        headers = Headers({"host": "api.example", "origin": origin, "sec-fetch-site": fetched})
        return objection("POST", headers, hosts, site=site)

    assert asked("https://radiology.example") is None
    assert asked("https://radiology.example", "cross-site") is not None
    for origin in ("https://api.example", "https://evil.example", "https://radiology.example.evil.example", "null"):
        assert asked(origin) is not None, origin


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": BASE, "Sec-Fetch-Site": "cross-site"},
    ],
)
@pytest.mark.parametrize("path", ["/api/v1/uploads", "/api/v1/models/1/decision", "/dicomweb/studies"])
def test_another_site_may_not_change_anything(client: TestClient, headers: dict[str, str], path: str) -> None:
    answer = client.post(path, json={"approved": True}, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "denied")


@pytest.mark.parametrize("headers", [{}, {"Origin": BASE}, {"Origin": BASE, "Sec-Fetch-Site": "same-origin"}])
def test_our_own_pages_and_programs_may(client: TestClient, headers: dict[str, str]) -> None:
    answer = client.post("/api/v1/models/1/decision", json={"approved": True}, headers=headers)
    assert answer.status_code == 404, "there is no such model, which is as far as it must get"


def test_every_answer_carries_the_guarding_headers(client: TestClient) -> None:
    for path in ("/healthz", "/app/", "/api/v1/worklist", "/nowhere", "/dicomweb/studies", "/api/v1/image-sets/x"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "script-src 'self' 'wasm-unsafe-eval'" in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-opener-policy"] == "same-origin"
    assert client.get("/api/v1/worklist").headers["cache-control"] == "no-store"
    assert client.get("/api/v1/worklist", headers={"Host": "evil.example"}).headers["x-content-type-options"]


def test_what_nobody_expected_is_told_by_a_trace_and_logged_without_its_words(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*arguments: object, **options: object) -> None:
        try:
            {}[SECRET]
        except KeyError as cause:
            raise ValueError(f"cannot read {SECRET}") from cause

    monkeypatch.setattr("radloop.api.image_sets.worklist", broken)
    with caplog.at_level(logging.DEBUG), installation.client() as client:
        answer = client.get("/api/v1/worklist")
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal")
    (record,) = [record for record in caplog.records if record.name == "radloop.api"]
    line = record.getMessage()
    assert "ValueError from KeyError" in line
    assert "radloop/api/image_sets.py:" in line
    assert answer.json()["error"]["message"].rstrip(".").rpartition(" ")[2] in line
    assert record.exc_info is None
    assert SECRET not in answer.text + caplog.text


def test_an_answer_that_breaks_off_ends_the_connection_without_telling_why(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    identity = installation.land()

    def broken(*arguments: object) -> bytes:
        raise Corrupt(SECRET)

    monkeypatch.setattr("radloop.store.images.ImageStore.export", broken)
    with installation.client() as client, pytest.raises(ConnectionError) as told:
        client.get(f"/api/v1/image-sets/{identity}/export")
    assert told.value.__suppress_context__
    assert SECRET not in str(told.value) + caplog.text


def test_what_is_unavailable_may_be_tried_again() -> None:
    answer = answer_to(errors.Unavailable("busy"))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


def test_wrong_method_and_wrong_address_are_told_as_json(client: TestClient) -> None:
    wrong = client.delete("/api/v1/worklist")
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (405, "method-not-allowed")
    assert "GET" in wrong.headers["allow"]
    assert client.get("/api/v2").json()["error"]["code"] == "not-found"


def test_the_viewer_is_served_with_the_right_types_and_lifetimes(client: TestClient) -> None:
    assert client.get("/", follow_redirects=False).headers["location"] == "/app/"
    index = client.get("/app/")
    assert index.headers["content-type"].startswith("text/html")
    assert index.headers["cache-control"] == "no-cache"
    assert "radloop" in index.text
    module = client.get("/app/assets/openjph-9f8e7d6c.wasm")
    assert (module.headers["content-type"], module.content[:4]) == ("application/wasm", b"\0asm")
    assert "immutable" in module.headers["cache-control"]
    script = client.get("/app/assets/app-Ab12Cd34.js")
    assert script.headers["content-type"].startswith("text/javascript")
    assert (
        client.get("/app/assets/app-Ab12Cd34.js", headers={"If-None-Match": script.headers["etag"]}).status_code == 304
    )
    for path in ("/app/none.js", "/app/../conftest.py", "/app/%2e%2e/index.sqlite", "/app/assets"):
        answer = client.get(path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not-found"), path


def test_without_built_files_only_the_viewer_is_missing(installation: Installation) -> None:
    from dataclasses import replace

    with TestClient(create_app(replace(installation.doors, static=None, meter=None)), base_url=BASE) as client:
        assert client.get("/app/").status_code == 404
        assert client.get("/metrics").status_code == 404
        assert client.get("/api/v1/worklist").status_code == 200


def test_traffic_is_measured_by_operation(installation: Installation, client: TestClient) -> None:
    identity = installation.land()
    frame = client.get(f"/api/v1/image-sets/{identity}/frames/0")
    client.get("/api/v1/sites")
    client.get("/nowhere")
    samples = {
        (sample.name, sample.labels.get("operation")): sample.value
        for family in text_string_to_metric_families(client.get("/metrics").text)
        for sample in family.samples
    }
    assert samples["radloop_api_calls_total", "getFrame"] == 1
    assert samples["radloop_api_bytes_total", "getFrame"] == len(frame.content)
    assert samples["radloop_api_calls_total", "listSites"] == 1
    assert samples["radloop_frame_retrieval_seconds_count", None] == 1
    assert ("radloop_api_calls_total", "other") not in samples


def test_frames_of_a_stream_are_measured_as_those_that_are_asked_for_one_by_one(
    installation: Installation, client: TestClient
) -> None:
    identity = installation.land()
    told = {"Content-Type": "text/plain"}

    def measured() -> tuple[float, float]:
        families = text_string_to_metric_families(client.get("/metrics").text)
        values = {sample.name: sample.value for family in families for sample in family.samples}
        return values["radloop_frames_retrieved_total"], values["radloop_frame_retrieval_seconds_count"]

    before = measured()
    answer = client.post(f"/stream/v1/{identity}/frames", content="0:0:0\n1:10:0\n2:0:20\np0:0:0\n99:0:0", headers=told)
    assert answer.status_code == 200, answer.text
    assert measured() == (before[0] + 2, before[1] + 1)  # whole, and from somewhere to its end
    client.post(f"/stream/v1/{identity}/frames", content="2:0:20", headers=told)
    assert measured() == (before[0] + 2, before[1] + 1)  # no frame was finished
