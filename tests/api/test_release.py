"""Release over HTTP: who may approve, who must not alone, and what is asked in odd ways."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from radloop.api.models import span_of
from radloop.core.errors import InvalidInput
from radloop.core.identity import Principal
from radloop.core.ports import AuditEntry, Change
from tests.api.installation import Installation, TestClient, open_installation

NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[tuple[Installation, TestClient]]:
    with open_installation(tmp_path) as opened:
        doors = replace(opened.doors, is_open=False)
        platform = replace(doors.platform, settings=replace(doors.platform.settings, approvers=2))
        installation = replace(opened, doors=replace(doors, platform=platform))
        with installation.client() as client:
            yield installation, client


def as_(installation: Installation, name: str, *roles: str) -> dict[str, Any]:
    """Options that make a request come from somebody with these roles."""
    assert installation.doors.identities is not None
    installation.doors.identities.trust(f"token of {name}", Principal(name, frozenset(roles)))
    return {"headers": {"Authorization": f"Bearer token of {name}"}}


def registered(installation: Installation, execution: str) -> int:
    return installation.platform.models.register(
        execution=execution, artifact=f"models/{execution}/model.tar.gz", metrics={}, lineage={"snapshot": "s"}
    ).version


def test_two_approvers_speak_and_the_one_who_started_the_run_only_after_another(
    closed: tuple[Installation, TestClient],
) -> None:
    installation, client = closed
    registered(installation, "e1")
    installation.platform.records.commit(Change(audit=[AuditEntry("carl", "execution.start", "e1")]))
    carl = as_(installation, "carl", "release-approver")
    ann = as_(installation, "ann", "release-approver")
    address, yes = "/api/v1/models/1/decision", {"approved": True, "reason": "evidence-reviewed"}
    refused = client.post(address, json=yes, **carl)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "separation-of-duties")
    first = client.post(address, json=yes, **ann).json()
    assert (first["status"], first["approvals"]) == ("PendingManualApproval", ["ann"])
    assert "another approver" in first["notice"]
    second = client.post(address, json=yes, **carl).json()
    assert (second["status"], second["decided_by"], second["approvals"]) == ("Approved", "carl", ["ann", "carl"])
    told = client.get("/api/v1/models/serving", **ann).json()
    assert (told["version"], told["approved_by"]) == (1, ["ann", "carl"])


@pytest.mark.parametrize(
    ("role", "status"), [("release-approver", 200), ("ml", 403), ("admin", 403), ("auditor", 403), ("verifier", 403)]
)
def test_taking_back_is_for_release_approvers(closed: tuple[Installation, TestClient], role: str, status: int) -> None:
    installation, client = closed
    for execution in ("e1", "e2"):
        installation.platform.models.decide(registered(installation, execution), approved=True, by="chief")
    answer = client.post("/api/v1/models/rollback", json={"reason": "drift"}, **as_(installation, role, role))
    assert answer.status_code == status
    (entry,) = installation.platform.audit.entries(where={"action": "roll-back"}) or [None]
    assert (entry is not None) is (status == 200)
    assert entry is None or (entry.principal, entry.subject) == (role, "model-2")


def test_whoever_exports_evidence_is_noted(closed: tuple[Installation, TestClient]) -> None:
    installation, client = closed
    registered(installation, "e1")
    answer = client.get("/api/v1/models/1/evidence", **as_(installation, "audrey", "auditor"))
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/zip")
    (noted,) = installation.platform.audit.entries(where={"action": "evidence.export"})
    assert (noted.principal, noted.subject) == ("audrey", "model-1")


def test_a_version_that_waits_says_why(closed: tuple[Installation, TestClient]) -> None:
    from radloop.core.ports import Reason

    installation, client = closed
    registered(installation, "e1")
    installation.platform.models.hold(1, [Reason("plan-missing", "There is no change control plan.")])
    told = client.get("/api/v1/models/1", **as_(installation, "mila", "ml")).json()
    assert told["held"] == [{"code": "plan-missing", "sentence": "There is no change control plan."}]
    assert (told["status"], told["aliases"]) == ("PendingManualApproval", ["shadow"])


# at


@pytest.mark.parametrize(
    ("text", "begin", "length"),
    [
        (None, NOW, timedelta(microseconds=1)),
        ("2026-11-23T10:00:00Z", NOW, timedelta(microseconds=1)),
        ("2026-11-23T11:00:00+01:00", NOW, timedelta(microseconds=1)),
        ("2026-11-23T11:00:00 01:00", NOW, timedelta(microseconds=1)),
        ("2026-11-22", datetime(2026, 11, 22, tzinfo=UTC), timedelta(days=1)),
        ("2026-11-23", datetime(2026, 11, 23, tzinfo=UTC), timedelta(days=1)),
    ],
)
def test_a_moment_or_a_day_is_asked_about(text: str | None, begin: datetime, length: timedelta) -> None:
    assert span_of(text, NOW) == (begin, begin + length)


@pytest.mark.parametrize(
    "text",
    ["", "now", "2026-11-23T10:00:00", "2026-11-23T10:00:01Z", "2026-11-24", "20261123", "0001-01-01T00:00:00+14:00"],
)
def test_what_is_no_moment_of_the_past_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        span_of(text, NOW)


@given(st.text(max_size=40) | st.datetimes(timezones=st.timezones()).map(datetime.isoformat))
def test_no_moment_surprises(text: str) -> None:
    try:
        begin, end = span_of(text, NOW)
    except InvalidInput:
        return
    assert begin <= NOW
    assert begin < end


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with open_installation(tmp_path_factory.mktemp("odd")) as installation, installation.client() as client:
        installation.approve(bias=1.0)
        installation.approve(bias=0.5, execution="e2")
        yield client


values = st.none() | st.booleans() | st.integers(-3, 2**70) | st.text(max_size=8) | st.just("drift")


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.dictionaries(st.sampled_from(["reason", "to", "from", "approved", "signer", "role"]), values, max_size=4),
    address=st.sampled_from(["models/rollback", "models/1/decision", "plan/signatures"]),
)
def test_no_body_surprises(odd: TestClient, body: dict[str, Any], address: str) -> None:
    answer = odd.post(f"/api/v1/{address}", content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert answer.status_code < 500, answer.text
