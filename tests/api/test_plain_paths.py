"""Plain addresses: the framework's own answers, without its search."""

import pytest
from starlette.routing import Route

from radloop.api.app import create_app
from radloop.api.plain_paths import PlainPaths, plain_routes
from tests.api.installation import PHANTOM, Installation, TestClient

STORE = {"Content-Type": "application/dicom", "Accept": "application/dicom+json"}
REQUESTS: list[tuple[str, str, dict[str, str], bytes]] = [
    ("GET", "/healthz", {}, b""),
    ("HEAD", "/healthz", {}, b""),
    ("POST", "/healthz", {}, b""),
    ("GET", "/", {}, b""),
    ("GET", "/metrics", {"Host": "evil.example"}, b""),
    ("GET", "/dicomweb/studies?limit=2", {}, b""),
    ("GET", "/dicomweb/studies?limit=x", {}, b""),
    ("GET", "/dicomweb/studies", {"Accept": "text/html"}, b""),
    ("OPTIONS", "/dicomweb/studies", {}, b""),
    ("PUT", "/dicomweb/studies", {}, b""),
    ("GET", "/dicomweb/studies/", {}, b""),
    ("GET", "/dicomweb/studies/1.2.3", {}, b""),
    ("POST", "/dicomweb/studies", STORE, PHANTOM.files[0]),
    ("POST", "/dicomweb/studies", STORE, b"not an image"),
    ("POST", "/dicomweb/studies", {**STORE, "Content-Type": "text/plain"}, b"x"),
    ("POST", "/dicomweb/studies", {**STORE, "Accept": "text/html"}, b"x"),
    ("POST", "/dicomweb/studies?accept=text/html", STORE, b"x"),
    ("POST", "/dicomweb/studies", {**STORE, "Origin": "https://elsewhere.example"}, b"x"),
    ("POST", "/api/v1/uploads?complete=2", {"Content-Type": "application/dicom"}, b"x"),
    ("GET", "/api/v1/worklist", {}, b""),
    ("GET", "/api/v1/nothing", {}, b""),
]


@pytest.mark.parametrize(("method", "path", "headers", "body"), REQUESTS)
def test_the_answer_is_the_framework_s_own(  # noqa: PLR0917 — one request
    method: str,
    path: str,
    headers: dict[str, str],
    body: bytes,
    client: TestClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def told() -> tuple[int, dict[str, str], bytes]:
        answer = client.request(method, path, headers=headers, content=body, follow_redirects=False)
        return answer.status_code, dict(answer.headers), answer.content

    if body == PHANTOM.files[0]:
        told()  # so that it is there already both times
    monkeypatch.setattr(PlainPaths, "_route", lambda self, scope: None)
    framework = told()
    monkeypatch.undo()
    assert told() == framework


def test_a_search_and_an_upload_do_not_reach_the_framework(
    client: TestClient, installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Route, scope: object) -> object:
        raise AssertionError("a path was searched for")

    client.get("/healthz")  # the application is put together at the first request
    monkeypatch.setattr(Route, "matches", fail)
    assert client.get("/dicomweb/studies").status_code == 204
    assert client.post("/dicomweb/studies", content=PHANTOM.files[0], headers=STORE).status_code == 200
    assert client.post("/api/v1/uploads", content=PHANTOM.files[0], headers=STORE).status_code == 200


def test_every_plain_path_that_is_served_is_looked_up(installation: Installation) -> None:
    routes = create_app(installation.doors).routes
    plain = plain_routes(routes)
    paths = {route.path for route in routes if isinstance(route, Route) and "{" not in route.path}
    assert {path for _, path in plain} == paths
    assert ("GET", "/dicomweb/studies") in plain
    assert ("DELETE", "/dicomweb/studies") not in plain


def test_of_two_that_match_the_first_answers() -> None:
    async def answer(request: object) -> None:
        raise NotImplementedError

    wide, plain = Route("/a/{name}", answer), Route("/a/b", answer, methods=["GET", "POST"])
    assert plain_routes([plain, wide])["GET", "/a/b"] is plain
    assert set(plain_routes([wide, plain])) == {("POST", "/a/b")}
