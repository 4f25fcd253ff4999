"""Data set snapshots over HTTP and from the command line, and test patients who are retired."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from radloop.cli import main
from radloop.core.datasets import Split, split_of
from radloop.core.identity import OWNER, Principal
from radloop.core.images import Confidence, Finding, Seen, Truth
from radloop.core.ports import Change, Upload
from radloop.core.tables import put_image_set
from radloop.dicom.phantom import phantom_study
from radloop.functions import snapshots
from radloop.wiring import open_local
from tests.api.installation import Installation, TestClient

TESTED = next(number for number in range(1, 100) if split_of(f"PHANTOM-{number:05d}") is Split.TEST)
TRAINED = next(number for number in range(1, 100) if split_of(f"PHANTOM-{number:05d}") is Split.TRAIN)


def verified(installation: Any, number: int) -> str:
    """The image set of a phantom, with ground truth."""
    identity: str = installation.land(phantom_study(number, consolidated=True, slices=3, size=64))
    settle(installation, identity)
    return identity


def settle(installation: Any, identity: str) -> None:
    finding = Finding(present=True, site=None, confidence=Confidence.HIGH, note="", seen=Seen(0, "lossless"))
    image_set = installation.images.get(identity)
    after, _ = image_set.settle(Truth(finding, "reader-1", installation.platform.clock()))
    installation.platform.records.commit(Change(writes=[put_image_set(after, expected=None)]))


def kept(installation: Any) -> str:
    snapshot = snapshots.take(installation.platform)
    snapshots.keep(snapshot, installation.platform)
    return snapshot.sha256


def test_snapshots_are_listed_shown_and_compared(installation: Installation, client: TestClient) -> None:
    one = verified(installation, TESTED)
    first = kept(installation)
    other = verified(installation, TRAINED)
    second = kept(installation)
    installation.platform.pipelines.start(
        "run1", {"DatasetUri": "s3://d", "Snapshot": second, "ContextUri": "s3://context"}
    )
    items = client.get("/api/v1/snapshots").json()["items"]
    assert [item["sha256"] for item in items] == [second, first], "those that were trained on last come first"
    assert (items[0]["image_sets"], items[0]["executions"]) == (2, ["run1"])
    assert client.get("/api/v1/snapshots?limit=1").json()["items"] == items[:1]
    found = client.get(f"/api/v1/snapshots/{second}?against={first}").json()
    assert found["counts"]["test"] == {"absent": 0, "present": 1}
    assert found["difference"] == {"against": first, "added": [other], "removed": [], "changed": []}
    assert one not in json.dumps(found)
    assert "difference" not in client.get(f"/api/v1/snapshots/{second}").json()
    assert client.get("/api/v1/executions/run1").json()["snapshot"] == second


@pytest.mark.parametrize("name", ["x", "0" * 64])
def test_what_is_no_snapshot_is_not_found(client: TestClient, name: str) -> None:
    assert client.get(f"/api/v1/snapshots/{name}").status_code == 404


def test_test_patients_are_retired_once_and_audited(installation: Installation, client: TestClient) -> None:
    one = verified(installation, TESTED)
    body = {"image_sets": [one], "reason": "unblinded"}
    assert client.post("/api/v1/test-patients/retire", json=body).json() == {"retired": 1, "already": 0}
    assert client.post("/api/v1/test-patients/retire", json=body).json() == {"retired": 0, "already": 1}
    noted = installation.platform.audit.entries(where={"action": "test-patient.retire"})
    assert [(entry.subject, entry.principal) for entry in noted] == [(one, OWNER.id)]
    assert client.get(f"/api/v1/snapshots/{kept(installation)}").json()["excluded"] == {"retired-patient": 1}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"image_sets": [], "reason": "other"},
        {"image_sets": "x", "reason": "other"},
        {"image_sets": [1], "reason": "other"},
        {"image_sets": ["x"], "reason": 1},
        {"image_sets": ["x"], "reason": "bored"},
        {"image_sets": ["x"] * 1001, "reason": "other"},
    ],
)
def test_a_request_that_makes_no_sense_is_refused(client: TestClient, body: dict[str, Any]) -> None:
    assert client.post("/api/v1/test-patients/retire", json=body).status_code == 400


def test_training_patients_cannot_be_retired(installation: Installation, client: TestClient) -> None:
    body = {"image_sets": [verified(installation, TRAINED)], "reason": "other"}
    answer = client.post("/api/v1/test-patients/retire", json=body)
    assert answer.status_code == 400
    assert "PHANTOM" not in answer.text


def test_the_commands_tell_the_same(tmp_path: Path) -> None:
    def run(*arguments: str) -> Any:
        result = CliRunner().invoke(main, [*arguments, "--home", str(tmp_path), "--json"])
        assert result.exit_code == 0, result.output
        return json.loads(result.output)

    with open_local(tmp_path) as installation:
        names = {}
        for number in (TESTED, TRAINED):
            files = phantom_study(number, consolidated=True, slices=3, size=64).files
            names[number] = _land(installation, files)
        settle(installation, names[TRAINED])
        first = kept(installation)
        settle(installation, names[TESTED])
        second = kept(installation)
    assert {item["sha256"] for item in run("snapshots", "list")["items"]} == {first, second}
    assert run("snapshots", "show", second)["image_sets"] == 2
    assert run("snapshots", "diff", first, second)["added"] == [names[TESTED]]
    assert run("retire", names[TESTED], "--reason", "looked-at-too-often") == {"retired": 1, "already": 0}
    told = CliRunner().invoke(main, ["snapshots", "list", "--home", str(tmp_path)])
    assert second in told.output
    assert "1+ 0-" in told.output


def _land(installation: Any, files: tuple[bytes, ...]) -> str:
    landings = installation.images.land([Upload(data) for data in files], by=OWNER)
    identity: str = landings[0].image_set
    installation.images.complete(identity, by=OWNER)
    return identity


def test_a_role_without_the_right_retires_nobody(installation: Installation) -> None:
    allows = installation.platform.policy.allows
    assert allows(Principal("a", frozenset({"ml"})), "test.retire")
    assert not allows(Principal("b", frozenset({"reader"})), "test.retire")
