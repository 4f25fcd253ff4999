"""Reports over HTTP: of a version and of a refused run, under a strict policy, with pictures for who may see images."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from radloop.api.openapi import OPERATIONS
from radloop.api.reports import policy_of
from radloop.core.errors import NotFound
from radloop.core.identity import Principal
from radloop.core.ports import Execution
from radloop.evaluation.evaluate import main
from tests.api.installation import Installation, TestClient, open_installation
from tests.evaluation.tested import write_job, write_part

PLACES = ("report", "card", "evaluation", "checklists")


class OneRun:
    """Pipelines that know of one run, whose model was refused."""

    def get(self, execution: str) -> Execution:
        if execution != "e9":
            raise NotFound(f"no execution {execution}")
        return Execution("e9", "Failed", {"ArtifactBucket": "model-artifacts"}, (), "2026-11-23T10:00:00Z")

    def executions(self, *, limit: int = 50) -> list[Execution]:
        return [self.get("e9")][:limit]


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("evaluated")
    write_job(root)
    write_part(root, "test", noise=220)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RADLOOP_ML_ROOT", str(root))
        assert main([]) == 0
    return root / "processing" / "evaluation"


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory, evaluated: Path) -> Iterator[Installation]:
    with open_installation(tmp_path_factory.mktemp("installation")) as plain:
        plain.approve(bias=1.0)
        plain.approve(bias=2.0, execution="e2")
        for folder in ("model-artifacts/e1", "model-artifacts/models/e9"):
            for path in evaluated.iterdir():
                if path.is_file():
                    plain.platform.blobs.put(f"{folder}/{path.name}", path.read_bytes())
        platform = replace(plain.platform, pipelines=OneRun())
        yield replace(plain, doors=replace(plain.doors, platform=platform))


@pytest.fixture(scope="module")
def client(installation: Installation) -> Iterator[TestClient]:
    with installation.client() as client:
        yield client


@pytest.mark.parametrize("where", ["models/1", "executions/e9"])
@pytest.mark.parametrize(
    "file",
    [
        ("report", "report.html", "text/html"),
        ("card", "model_card.md", "text/markdown"),
        ("evaluation", "evaluation.json", "application/json"),
        ("checklists", "checklists.json", "application/json"),
    ],
)
def test_each_file_is_given_as_the_run_wrote_it(
    client: TestClient, evaluated: Path, where: str, file: tuple[str, str, str]
) -> None:
    place, name, kind = file
    answer = client.get(f"/api/v1/{where}/{place}")
    assert answer.status_code == 200
    assert answer.headers["content-type"].partition(";")[0] == kind
    assert answer.content == (evaluated / name).read_bytes()


def test_the_page_may_run_nothing_and_fetch_nothing(client: TestClient) -> None:
    policies = client.get("/api/v1/models/1/report").headers.get_list("content-security-policy")
    strict = next(policy for policy in policies if "sandbox" in policy)
    assert "default-src 'none'" in strict
    assert "script-src" not in strict
    assert re.search(r"style-src 'sha256-[A-Za-z0-9+/]{43}='", strict)
    assert "frame-ancestors 'none'" in strict
    assert any("default-src 'self'" in policy for policy in policies), "what every answer carries stays"


def test_a_page_without_a_style_may_have_none() -> None:
    assert "style-src 'none'" in policy_of("<p>plain</p>")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("where", ["models/9", "models/2", "executions/none"])
def test_what_is_not_there_is_not_found(client: TestClient, where: str, place: str) -> None:
    answer = client.get(f"/api/v1/{where}/{place}")
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "not-found"


def asked_as(installation: Installation, principal: Principal) -> Any:
    closed = replace(installation, doors=replace(installation.doors, is_open=False))
    assert closed.doors.identities is not None
    closed.doors.identities.trust(principal.id, principal)
    with closed.client() as client:
        return client.get("/api/v1/models/1/report", headers={"Authorization": f"Bearer {principal.id}"})


def test_pictures_are_for_who_may_see_the_images_of_everybody(installation: Installation) -> None:
    assert "<img" in asked_as(installation, Principal("reads", frozenset({"reader"}))).text
    for principal in (
        Principal("audits", frozenset({"auditor"})),
        Principal("reads-one", frozenset({"reader"}), frozenset({"PHANTOM-1"})),
    ):
        page = asked_as(installation, principal)
        assert page.status_code == 200
        assert "<img" not in page.text
        assert "Pictures are left out" in page.text


def test_a_page_that_went_with_a_deleted_image_set_is_made_anew_without_its_picture(
    installation: Installation, client: TestClient, evaluated: Path
) -> None:
    blobs, folder = installation.platform.blobs, "model-artifacts/models/e9"
    whole, pictures = (evaluated / "report.html").read_text(), sorted((evaluated / "pictures").iterdir())
    assert whole.count("<img") == len(pictures) > 1
    for path in pictures:
        blobs.put(f"{folder}/pictures/{path.name}", path.read_bytes())
    blobs.delete(f"{folder}/report.html")
    assert client.get("/api/v1/executions/e9/report").text.count("<img") == len(pictures)
    blobs.delete(f"{folder}/pictures/{pictures[0].name}")
    page = client.get("/api/v1/executions/e9/report").text
    assert page.count("<img") == len(pictures) - 1
    assert f'alt="Image set {pictures[0].stem}"' not in page
    blobs.put(f"{folder}/report.html", whole.encode())


def test_seeing_pictures_is_noted(installation: Installation) -> None:
    before = len(installation.platform.audit.entries(where={"action": "model.report"}))
    asked_as(installation, Principal("reads-again", frozenset({"reader"})))
    entries = installation.platform.audit.entries(where={"action": "model.report"})
    assert len(entries) > before
    assert entries[0].subject == "model-1"
    assert entries[0].principal == "reads-again"


def test_every_report_asks_for_the_right_to_read_about_models() -> None:
    rows = [row for row in OPERATIONS if row.path.rpartition("/")[2] in PLACES and "models" in row.path]
    assert len(rows) == 4
    assert {row.action for row in rows} == {"model.read"}


def test_the_evaluation_is_one(client: TestClient) -> None:
    found = client.get("/api/v1/executions/e9/evaluation").json()
    assert found["gate"]["approved"] is False
    assert json.dumps(found["metrics"])
