import pytest

from radloop.core.tables import DEFAULT_DATASTORE
from tests.api.dicomweb.asking import MULTIPART, PHANTOM, ROOT, SERIES, UIDS, client_of, stow
from tests.api.installation import Installation, TestClient

HOME = "http://viewer.example.org:3000"
STRANGER = "http://elsewhere.example.org"
PREFLIGHT = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "accept,range"}


@pytest.fixture
def shared(installation: Installation) -> TestClient:
    return client_of(installation, cors_origins=(HOME, "https://other.example.org"))


def told(answer: object) -> set[str]:
    return {name for name in answer.headers if name.startswith("access-control-")}  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", [f"{ROOT}/studies", f"{SERIES}/metadata", f"/datastore/{DEFAULT_DATASTORE}/studies"])
def test_a_listed_origin_is_told_that_it_may_ask(shared: TestClient, path: str) -> None:
    answer = shared.options(path, headers={"Origin": HOME, **PREFLIGHT})
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == HOME
    assert {"GET", "POST"} <= {each.strip() for each in answer.headers["access-control-allow-methods"].split(",")}
    allowed = answer.headers["access-control-allow-headers"].lower()
    assert all(name in allowed for name in ("accept", "authorization", "content-type", "range", "if-none-match"))
    assert "Origin" in answer.headers["vary"]


def test_a_listed_origin_may_read_and_store(shared: TestClient) -> None:
    headers = {"Origin": HOME, "Sec-Fetch-Site": "cross-site"}
    assert stow(shared, [PHANTOM.files[0]], **headers).status_code == 200
    for path, status in (
        (f"{SERIES}/metadata", 200),
        (f"{SERIES}/instances/{UIDS[0]}/rendered", 200),
        (f"{ROOT}/studies/1.2", 404),
    ):
        answer = shared.get(path, headers=headers)
        assert answer.status_code == status
        assert answer.headers["access-control-allow-origin"] == HOME
        assert "Origin" in answer.headers["vary"]
        assert "etag" in answer.headers["access-control-expose-headers"].lower()
        assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
        assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize(
    "origin", [STRANGER, "null", f"{HOME}.evil.org", HOME.upper(), HOME.replace(":3000", ""), "*", ""]
)
def test_other_origins_get_no_permission_at_all(shared: TestClient, origin: str) -> None:
    preflight = shared.options(f"{ROOT}/studies", headers={"Origin": origin, **PREFLIGHT})
    assert (preflight.status_code, told(preflight)) == (204, set())
    read = shared.get(f"{ROOT}/studies", headers={"Origin": origin})
    assert told(read) == set()
    assert "Origin" in read.headers["vary"], "caches must not hand one origin's answer to another"
    stored = stow(shared, [PHANTOM.files[0]], Origin=origin, **{"Sec-Fetch-Site": "cross-site"})
    assert (stored.status_code, told(stored)) == (403, set())


@pytest.mark.parametrize(
    "path", ["/api/v1/worklist", "/metrics", "/healthz", f"/datastore/{DEFAULT_DATASTORE}/imageSet/x"]
)
def test_no_other_door_is_opened(shared: TestClient, path: str) -> None:
    headers = {"Origin": HOME, "Sec-Fetch-Site": "cross-site"}
    assert told(shared.get(path, headers=headers)) == set()
    assert told(shared.options(path, headers={**headers, **PREFLIGHT})) == set()
    answer = shared.post(
        "/api/v1/uploads", headers={**headers, "Content-Type": "application/dicom"}, content=PHANTOM.files[0]
    )
    assert answer.status_code == 403


def test_without_a_list_nobody_is_let_in(client: TestClient) -> None:
    answer = client.options(f"{ROOT}/studies", headers={"Origin": HOME, **PREFLIGHT})
    assert (answer.status_code, told(answer)) == (204, set())
    refused = client.post(f"{ROOT}/studies", headers={"Origin": HOME, "Content-Type": MULTIPART}, content=b"--cut--")
    assert refused.status_code == 403


def test_a_listed_origin_still_has_to_name_a_host_of_ours(shared: TestClient) -> None:
    answer = shared.get(f"{ROOT}/studies", headers={"Origin": HOME, "Host": "evil.example.org"})
    assert answer.status_code == 403
