"""Alarms and dashboards over HTTP: who may see them, what they say, and what never stands in them."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.types import ASGIApp, Message

from radloop.api.app import create_app
from radloop.core.errors import Unavailable
from radloop.core.identity import OWNER
from radloop.core.ports import Change, Put
from radloop.core.tables import ALARMS, METRIC_MINUTES
from radloop.monitoring.watch import Watch
from tests.api.installation import Installation, open_installation
from tests.monitoring.sinks import hook_server


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    with open_installation(tmp_path) as opened:
        yield opened


def with_settings(installation: Installation, **changes: object) -> Installation:
    settings = replace(installation.platform.settings, **changes)
    platform = replace(installation.platform, settings=settings)
    return replace(installation, doors=replace(installation.doors, platform=platform))


def token_of(installation: Installation, role: str) -> dict[str, str]:
    identities = installation.doors.identities
    assert identities is not None
    made = identities.create_credential(roles=[role], patients=None, by=OWNER)
    return {"Authorization": f"Bearer {made.token}"}


def test_alarms_are_told_with_their_state_and_since_when(installation: Installation) -> None:
    on = {"is_on": True, "since": 1_790_000_000.5, "value": 1.8, "wrong_since": 1.0, "well_since": None}
    installation.platform.records.commit(Change(writes=[Put(ALARMS, "retrieval-latency", on)]))
    items = installation.client().get("/api/v1/alarms").json()["items"]
    assert [item["id"] for item in items] == [*(f"A{number}" for number in range(1, 9)), "O1"]
    assert (items[0]["state"], items[0]["since"], items[0]["value"]) == ("ALARM", "2026-09-21T14:13:20.500Z", 1.8)
    assert (items[1]["state"], items[1]["since"]) == (None, None)


def test_frames_that_were_served_are_drawn(installation: Installation) -> None:
    meter = installation.doors.meter
    assert meter is not None
    watched = installation.doors.monitoring
    watch = Watch(installation.platform, watched.alarms, watched.dashboards, meter.counted)
    identity = installation.land(folded=True)
    client = installation.client()
    watch.look()
    sizes = [len(client.get(f"/api/v1/image-sets/{identity}/frames/{number}").content) for number in range(4)]
    watch.look()
    watch._minute = 0  # it is another minute
    watch.look()
    assert client.get("/api/v1/dashboards", params={"hours": 25}).status_code == 400
    answer = client.get("/api/v1/dashboards", params={"hours": 1}).json()
    assert [dashboard["id"] for dashboard in answer["dashboards"]] == ["healthimaging", "pipeline", "mlops"]
    (kept,) = installation.platform.records.find(METRIC_MINUTES)
    values = kept.document["values"]
    assert values["M1.4 radloop_api_calls_total"]["getFrame"] == 4
    assert values["M1.3 radloop_api_bytes_total"][""] == pytest.approx(sum(sizes) / 4, rel=1e-5)
    assert values["M1.5 radloop_stored_bytes"][""] > 0


def open_streams(installation: Installation) -> float:
    meter = installation.doors.meter
    assert meter is not None
    families, _ = meter.counted()
    return next(family.samples[0].value for family in families if family.name == "radloop_streams_open")


def test_five_open_streams_are_five_and_none_when_they_are_over(installation: Installation) -> None:
    app, identity = create_app(installation.doors), installation.land(folded=True)
    seen = asyncio.run(streamed(app, f"/stream/v1/{identity}/frames", 5, lambda: open_streams(installation)))
    assert (seen, open_streams(installation)) == (5, 0)


async def streamed(app: ASGIApp, path: str, count: int, look: Callable[[], float]) -> float:
    """What `look` tells while so many answers are being sent to clients that do not read on."""
    reads_on, begun = asyncio.Event(), asyncio.Semaphore(0)

    async def receive() -> Message:
        return {"type": "http.request", "body": b"0:0:0", "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            begun.release()
            await reads_on.wait()

    headers = [(b"host", b"127.0.0.1"), (b"content-type", b"text/plain"), (b"content-length", b"5")]
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": headers, "scheme": "http"}
    answers = [asyncio.create_task(app(dict(scope), receive, send)) for _ in range(count)]
    for _ in answers:
        await begun.acquire()
    seen = look()
    reads_on.set()
    await asyncio.gather(*answers)
    return seen


def test_a_store_that_does_not_answer_is_counted(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    identity = installation.land()

    def silent(*_: object, **__: object) -> None:
        raise Unavailable("the disk is gone")

    monkeypatch.setattr(type(installation.platform.records), "search", silent)
    monkeypatch.setattr(type(installation.platform.records), "get", silent)
    client = installation.client()
    assert [client.get(f"/api/v1/image-sets/{identity}/frames/0").status_code for _ in range(3)] == [503] * 3
    monkeypatch.undo()
    assert "radloop_datastore_errors_total 3.0" in client.get("/metrics").text


@pytest.mark.parametrize(
    ("role", "sees", "tests"),
    [("reader", 403, 403), ("verifier", 403, 403), ("ml", 200, 403), ("auditor", 200, 403), ("admin", 200, 200)],
)
def test_who_may_see_and_who_may_test(role: str, sees: int, tests: int, installation: Installation) -> None:
    closed = replace(installation, doors=replace(installation.doors, is_open=False))
    client, token = closed.client(), token_of(closed, role)
    assert client.get("/api/v1/alarms", headers=token).status_code == sees
    assert client.get("/api/v1/dashboards", headers=token).status_code == sees
    assert client.post("/api/v1/alarms/test", headers=token).status_code == tests
    assert client.get("/api/v1/alarms").status_code == 401


def test_a_test_reaches_the_address_is_audited_and_tells_no_secret(installation: Installation) -> None:
    with hook_server() as hook:
        asked = with_settings(installation, notify=(hook.address, "nothing://secret-of-nobody"))
        answer = asked.client().post("/api/v1/alarms/test")
    first, second = answer.json()["items"]
    assert (first["place"], first["service"], first["sent"], first["error"]) == (1, "json", True, None)
    assert (second["service"], second["sent"]) == ("nothing", False)
    assert "secret-of" not in answer.text
    assert [body["title"] for body in hook.bodies] == ["radloop: this is a test"]
    assert [entry.action for entry in installation.platform.audit.entries(limit=1)] == ["alarm.test"]
