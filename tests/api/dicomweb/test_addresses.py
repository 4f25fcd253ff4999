import pytest

from radloop.api.dicomweb import dicomweb_routes
from radloop.core.identity import Principal, derived_id
from tests.api.dicomweb.asking import OTHER, PHANTOM, ROOT, SERIES, STUDY, UIDS, acting_as, stow
from tests.api.installation import Installation, TestClient

ONE = f"{SERIES}/instances/{UIDS[0]}"
OTHERS = f"{ROOT}/studies/{OTHER.study_uid}"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", f"{ROOT}/studies", {"GET", "HEAD", "POST", "OPTIONS"}),
        ("PUT", STUDY, {"GET", "HEAD", "POST", "DELETE", "OPTIONS"}),
        ("POST", f"{STUDY}/metadata", {"GET", "HEAD", "OPTIONS"}),
        ("PUT", SERIES, {"GET", "HEAD", "DELETE", "OPTIONS"}),
        ("DELETE", f"{SERIES}/metadata", {"GET", "HEAD", "OPTIONS"}),
        ("POST", f"{ROOT}/instances", {"GET", "HEAD", "OPTIONS"}),
        ("PATCH", f"{ONE}/frames/1", {"GET", "HEAD", "OPTIONS"}),
    ],
)
def test_a_method_that_an_address_does_not_know_is_405_with_those_it_does(
    client: TestClient, method: str, path: str, allowed: set[str]
) -> None:
    answer = client.request(method, path)
    assert answer.status_code == 405
    assert {each.strip() for each in answer.headers["allow"].split(",")} == allowed
    asked = client.options(path)
    assert (asked.status_code, asked.content) == (204, b"")
    assert {each.strip() for each in asked.headers["allow"].split(",")} == allowed


@pytest.mark.parametrize("accept", ["application/dicom%2Bjson", "application/dicom+json", "text/html"])
def test_an_accept_in_the_query_counts_before_the_header(stored: TestClient, accept: str) -> None:
    for path in (f"{ROOT}/studies", f"{SERIES}/metadata"):
        other = "text/html" if "json" in accept else "application/dicom+json"
        answer = stored.get(f"{path}?accept={accept}", headers={"Accept": other})
        assert answer.status_code == (200 if "json" in accept else 406)


def test_nothing_at_an_address_is_404_and_no_uid_is_400(stored: TestClient) -> None:
    for path in (
        "studies/1.2.3",
        f"studies/1.2.3/series/{PHANTOM.series_uid}",
        "studies/1.2/metadata",
        "studies/1.2/rendered",
    ):
        assert stored.get(f"{ROOT}/{path}").status_code == 404, path
    for path in (
        "studies/a.b/metadata",
        f"studies/{'1' * 65}",
        "studies/1..2/series",
        f"{STUDY[10:]}/series/x/rendered",
    ):
        assert stored.get(f"{ROOT}/{path}").status_code == 400, path
    assert stored.get(f"{ROOT}/nowhere").status_code == 404
    assert stored.get(f"{STUDY}/series/{PHANTOM.study_uid}").status_code == 404
    assert stored.get(f"{OTHERS}/series/{PHANTOM.series_uid}/metadata").status_code == 404, "of another study"


def test_head_tells_what_get_would_without_a_body(stored: TestClient) -> None:
    for path in (f"{ROOT}/studies", f"{SERIES}/metadata", f"{ONE}/rendered"):
        head, full = stored.head(path), stored.get(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-type"] == full.headers["content-type"]


def test_every_address_asks_who_is_there(installation: Installation, stored: TestClient) -> None:
    nobody = Principal(derived_id("nobody"), frozenset())
    names = {"study": PHANTOM.study_uid, "series": PHANTOM.series_uid, "instance": UIDS[0], "frames": "1"}
    with acting_as(nobody):
        for route in dicomweb_routes(installation.doors):
            path = route.path.replace("{path:path}", "7FE00010").replace("{datastore}", "x")
            for method in route.methods - {"HEAD", "OPTIONS"}:
                answer = stored.request(method, path.format(**names))
                assert answer.status_code == 403, (method, path)


def test_a_role_that_may_read_may_not_take_files_away_and_one_that_may_store_need_not_read(stored: TestClient) -> None:
    with acting_as(Principal(derived_id("m"), frozenset({"ml"}))):
        assert stored.get(ONE).status_code == 403
        assert stow(stored, [PHANTOM.files[0]]).status_code == 403
    with acting_as(Principal(derived_id("r"), frozenset({"reader"}))):
        assert stored.get(ONE).status_code == 200
        assert stow(stored, [PHANTOM.files[0]]).status_code == 200


@pytest.mark.parametrize(
    "below", ["", "/metadata", "/rendered", "/thumbnail", "/series", "/instances", "?imageSetId=x"]
)
def test_patients_out_of_scope_look_like_what_does_not_exist(stored: TestClient, below: str) -> None:
    scoped = Principal(derived_id("s"), frozenset({"reader"}), frozenset({OTHER.patient_id}))
    with acting_as(scoped):
        hidden = stored.get(f"{STUDY}{below}")
        absent = stored.get(f"{ROOT}/studies/1.2.3{below}")
        assert (hidden.status_code, hidden.content) == (absent.status_code, absent.content)
        assert hidden.status_code in {404, 204}
        found = stored.get(f"{ROOT}/studies").json()
        assert [each["00100020"]["Value"] for each in found] == [[OTHER.patient_id]]
        assert stored.get(f"{OTHERS}/metadata").status_code == 200


@pytest.mark.parametrize("below", ["metadata", "frames/1", "rendered", "thumbnail", "bulkdata/7FE00010", ""])
def test_a_look_at_an_image_set_is_audited(installation: Installation, stored: TestClient, below: str) -> None:
    seer = Principal(derived_id("seer", below), frozenset({"reader"}))
    with acting_as(seer):
        assert stored.get(f"{ONE}/{below}".rstrip("/")).status_code == 200
    (identity,) = [each["id"] for each in stored.get("/api/v1/worklist").json()["items"] if each["storage"] == "folded"]
    noted = installation.platform.audit.entries(where={"principal": seer.id})
    assert [(each.action, each.subject) for each in noted] == [("read", identity)]
