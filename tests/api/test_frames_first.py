"""Frames answered before the framework: the same answers, nobody let through, nothing served that is gone."""

from pathlib import Path

import pytest

from radloop.api.frames_first import FramesFirst
from radloop.core.identity import Principal
from radloop.core.ports import Change, Delete, Span
from radloop.core.tables import IMAGE_SETS
from radloop.dicom.parse import parse
from radloop.local.blobs import FileBlobs
from tests.api.installation import OTHER, PHANTOM, Installation, TestClient

SOP = parse(PHANTOM.files[0]).sop_uid
INSTANCE = f"/dicomweb/studies/{PHANTOM.study_uid}/series/{PHANTOM.series_uid}/instances/{SOP}"
HTJ2K = "1.2.840.10008.1.2.4.202"
SCOPED = Principal("scoped", frozenset({"reader"}), frozenset({"ANOTHER"}))

REQUESTS: list[tuple[str, dict[str, str]]] = [
    ("/api/v1/image-sets/{id}/frames/0", {}),
    ("/api/v1/image-sets/{id}/frames/3", {"If-None-Match": '"other"'}),
    ("/api/v1/image-sets/{id}/frames/0", {"If-None-Match": "*"}),
    ("/api/v1/image-sets/{id}/frames/0/preview", {}),
    ("/api/v1/image-sets/{id}/frames/0/preview", {"If-None-Match": "*"}),
    ("/api/v1/image-sets/{id}/frames/4", {}),
    ("/api/v1/image-sets/{id}/frames/-1", {}),
    ("/api/v1/image-sets/{id}/frames/00", {}),
    ("/api/v1/image-sets/{id}/frames/0/", {}),
    ("/api/v1/image-sets/" + "0" * 32 + "/frames/0", {}),
    ("/api/v1/image-sets/{id}/frames/0", {"Host": "evil.example"}),
    ("/api/v1/image-sets/{id}/frames/0", {"Origin": "https://elsewhere.example"}),
    (f"{INSTANCE}/frames/1", {}),
    (f"{INSTANCE}/frames/1", {"Accept": 'multipart/related; type="image/jphc"'}),
    (f"{INSTANCE}/frames/1", {"Accept": f'multipart/related; type="image/jph"; transfer-syntax={HTJ2K}'}),
    (f"{INSTANCE}/frames/1", {"Accept": "image/jphc"}),
    (f"{INSTANCE}/frames/1", {"Accept": "image/jphc", "Range": "bytes=2-20"}),
    (f"{INSTANCE}/frames/1", {"Accept": "image/jphc", "Range": "bytes=99999999-"}),
    (f"{INSTANCE}/frames/1", {"Accept": "image/jphc", "If-None-Match": "*"}),
    (f"{INSTANCE}/frames/1", {"Accept": "application/octet-stream"}),
    (f"{INSTANCE}/frames/1", {"Accept": 'multipart/related; type="application/octet-stream"'}),
    (f"{INSTANCE}/frames/1", {"Accept": "image/jls"}),
    (f"{INSTANCE}/frames/1", {"Accept": "text/html"}),
    (f"{INSTANCE}/frames/1?imageSetId=" + "0" * 32, {}),
    (f"{INSTANCE}/frames/1,1", {}),
    (f"{INSTANCE}/frames/0", {}),
    (f"{INSTANCE}/frames/2", {}),
    (INSTANCE.replace(SOP, "1.2.3") + "/frames/1", {}),
    (INSTANCE.replace(SOP, "1..3") + "/frames/1", {}),
]


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Paths that were answered before the framework."""
    paths: list[str] = []
    at_once = FramesFirst._at_once

    def noted(self: FramesFirst, scope: dict[str, object]) -> object:
        answer = at_once(self, scope)
        if answer is not None:
            paths.append(str(scope["path"]))
        return answer

    monkeypatch.setattr(FramesFirst, "_at_once", noted)
    return paths


@pytest.fixture
def identity(installation: Installation, tmp_path: Path) -> str:
    blobs = FileBlobs(tmp_path / "probe")
    blobs.put("a", b"abc")
    if blobs.at_once("a", Span(0, 3)) is None:
        pytest.skip("this file system cannot tell what is in memory")
    return installation.land(folded=True)


def warm(client: TestClient, identity: str) -> None:
    assert client.get(f"/api/v1/image-sets/{identity}/frames/0").status_code == 200


@pytest.mark.parametrize(("path", "headers"), REQUESTS)
def test_the_answer_is_the_framework_s_own(
    path: str, headers: dict[str, str], client: TestClient, identity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    warm(client, identity)
    path = path.replace("{id}", identity)
    first, remembered = (client.get(path, headers=headers) for _ in range(2))
    monkeypatch.setattr(FramesFirst, "_at_once", lambda self, scope: None)
    framework = client.get(path, headers=headers)
    assert (first.status_code, dict(first.headers)) == (framework.status_code, dict(framework.headers))
    assert first.content == framework.content
    assert (remembered.status_code, remembered.headers, remembered.content) == (
        framework.status_code,
        framework.headers,
        framework.content,
    )


def test_what_is_at_hand_does_not_reach_the_framework(client: TestClient, identity: str, taken: list[str]) -> None:
    warm(client, identity)
    assert taken == [], "the first reading in an hour is noted durably, which must wait"
    paths = [f"/api/v1/image-sets/{identity}/frames/1", f"/api/v1/image-sets/{identity}/frames/1/preview"]
    paths.append(f"{INSTANCE}/frames/1")  # decoded
    paths.append(f"{INSTANCE}/frames/1")  # and kept
    for path in paths:
        assert client.get(path).status_code == 200
    assert client.get(f"{INSTANCE}/frames/1", headers={"Accept": "image/jphc"}).status_code == 200
    assert taken == [*paths, paths[-1]]


def test_a_form_that_was_made_before_is_at_hand(client: TestClient, identity: str, taken: list[str]) -> None:
    warm(client, identity)
    for accept in ("image/jls", "image/jp2"):
        first, *more = (client.get(f"{INSTANCE}/frames/1", headers={"Accept": accept}) for _ in range(3))
        assert [(each.status_code, each.headers, each.content) for each in more] == [
            (200, first.headers, first.content)
        ] * 2
    assert len(taken) == 4, "the first of each is made by the framework"


def test_what_is_remembered_is_for_the_same_question_only(client: TestClient, identity: str) -> None:
    warm(client, identity)
    asked: list[dict[str, str]] = [
        {"Accept": "image/jphc"},
        {"Accept": 'multipart/related; type="image/jphc"'},
        {"Accept": 'multipart/related; type="image/jph"'},
        {"Accept": 'multipart/related; type="image/jphc"', "Host": "localhost:99"},
        {"Accept": "image/jphc", "Range": "bytes=0-3"},
        {"Accept": "text/html"},
    ]
    once = [client.get(f"{INSTANCE}/frames/1", headers=headers) for headers in asked]
    again = [client.get(f"{INSTANCE}/frames/1", headers=headers) for headers in reversed(asked)]
    for first, second in zip(once, reversed(again), strict=True):
        assert (first.status_code, first.headers, first.content) == (second.status_code, second.headers, second.content)
    assert len({each.content for each in once}) == len(once)


def test_head_and_queries_are_left_to_the_framework(client: TestClient, identity: str, taken: list[str]) -> None:
    warm(client, identity)
    assert client.head(f"/api/v1/image-sets/{identity}/frames/0").status_code == 200
    assert client.get(f"{INSTANCE}/frames/1?imageSetId={identity}").status_code == 200
    assert taken == []


def test_a_frame_that_is_only_landed_is_left_to_the_framework(
    client: TestClient, installation: Installation, identity: str, taken: list[str]
) -> None:
    landed = installation.land(OTHER)
    for _ in range(2):
        warm(client, landed)
    assert taken == []


def test_an_image_set_that_is_deleted_is_gone_at_once(
    client: TestClient, installation: Installation, identity: str, taken: list[str]
) -> None:
    for _ in range(2):
        warm(client, identity)
    assert len(taken) == 1
    installation.platform.records.commit(Change(writes=[Delete(IMAGE_SETS, identity)]))
    assert client.get(f"/api/v1/image-sets/{identity}/frames/0").status_code == 404
    assert client.get(f"{INSTANCE}/frames/1").status_code == 404


def test_what_came_anew_is_served_at_once(client: TestClient, installation: Installation, identity: str) -> None:
    for _ in range(2):
        warm(client, identity)
    before = client.get(f"{INSTANCE}/frames/1", headers={"Accept": "application/octet-stream"}).content
    changed = bytearray(PHANTOM.files[0])
    changed[-1] ^= 1
    installation.land(type(PHANTOM)(**{**vars_of(PHANTOM), "files": (bytes(changed),)}))
    after = client.get(f"{INSTANCE}/frames/1", headers={"Accept": "application/octet-stream"}).content
    assert after != before
    assert changed.endswith(after)


def test_a_patient_out_of_scope_is_not_shown(installation: Installation, client: TestClient, identity: str) -> None:
    warm(client, identity)
    owner, scoped = (installation.doors.images_of(who) for who in (OWNER_LIKE, SCOPED))
    assert owner.glance(identity, 0) is not None
    assert scoped.glance(identity, 0) is None
    series = (installation.images.get(identity).datastore, PHANTOM.study_uid, PHANTOM.series_uid)
    assert owner.glance_at(series, SOP, 0) is not None
    assert scoped.glance_at(series, SOP, 0) is None


def test_every_reading_is_counted(installation: Installation, client: TestClient, identity: str) -> None:
    for _ in range(5):
        warm(client, identity)
    audit = installation.platform.audit
    audit.flush()
    noted = [entry for entry in audit.entries() if entry.action == "read" and entry.subject == identity]
    assert sum(entry.count for entry in noted) == 5


OWNER_LIKE = Principal("all", frozenset({"reader"}))


def vars_of(study: object) -> dict[str, object]:
    return {name: getattr(study, name) for name in study.__dataclass_fields__}
