"""The CloudFront functions of infra/, run as they stand."""

from collections.abc import Iterator

import pytest

from tests.aws.edge_function import EdgeFunction, edge_function

COOKIE = "__Host-radloop-access"


@pytest.fixture(scope="module")
def cookie() -> Iterator[EdgeFunction]:
    with edge_function("cookie.js") as running:
        yield running


@pytest.fixture(scope="module")
def viewer() -> Iterator[EdgeFunction]:
    with edge_function("viewer.js") as running:
        yield running


def test_the_cookie_of_a_session_becomes_a_bearer_token_and_everything_else_stays(cookie: EdgeFunction) -> None:
    headers = {"Origin": "https://radloop.example.org", "Sec-Fetch-Site": "cross-site"}
    passed = cookie(headers, {COOKIE: "a.b.c", "other": "x"}, method="POST", uri="/api/v1/session")
    assert passed["headers"] == {
        "origin": {"value": "https://radloop.example.org"},
        "sec-fetch-site": {"value": "cross-site"},
        "authorization": {"value": "Bearer a.b.c"},
    }
    assert passed["cookies"] == {COOKIE: {"value": "a.b.c"}, "other": {"value": "x"}}
    assert (passed["method"], passed["uri"]) == ("POST", "/api/v1/session")


def test_a_token_that_a_program_sends_is_not_replaced(cookie: EdgeFunction) -> None:
    passed = cookie({"Authorization": "Bearer own"}, {COOKIE: "a.b.c"})
    assert passed["headers"]["authorization"] == {"value": "Bearer own"}


@pytest.mark.parametrize("cookies", [{}, {COOKIE: ""}, {"radloop-access": "a.b.c"}])
def test_without_that_cookie_there_is_no_token(cookie: EdgeFunction, cookies: dict[str, str]) -> None:
    assert cookie({"accept": "*/*"}, cookies)["headers"] == {"accept": {"value": "*/*"}}


def test_the_cookie_is_the_one_that_the_api_sets() -> None:
    from radloop.api.sign_in import ACCESS

    assert ACCESS == COOKIE


@pytest.mark.parametrize(("uri", "found"), [("/app/", "/app/index.html"), ("/app/assets/a.js", "/app/assets/a.js")])
def test_a_folder_is_its_page(viewer: EdgeFunction, uri: str, found: str) -> None:
    assert viewer({}, {}, uri=uri)["uri"] == found


@pytest.mark.parametrize("uri", ["/", "/app"])
def test_the_root_leads_to_the_app(viewer: EdgeFunction, uri: str) -> None:
    assert viewer({}, {}, uri=uri)["headers"]["location"]["value"] == "/app/"
