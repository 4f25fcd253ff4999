"""A browser signs in at a user pool's own page, behind what CloudFront and API Gateway do on AWS.

In CloudFront's place stands a front that runs its real function and names the API by another host, in the gateway's an
authorizer that verifies signature, issuer, client and time of a token (`tests.aws.edge`). The pool is
`tests.aws.pool_page`.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from radloop.api.app import create_app
from radloop.api.sign_in import ACCESS, BEGUN, RENEWAL
from radloop.aws.identities import CognitoIdentities, CognitoPeople
from radloop.aws.sign_in import PoolPage
from radloop.aws.tokens import CognitoTokens
from radloop.up import STATIC
from tests.api.installation import Installation, now, open_installation
from tests.aws.edge import HOST, Authorized, Edge, served
from tests.aws.edge_function import edge_function
from tests.aws.emulators import client, free_port
from tests.aws.pool_page import Pool, pool_serving

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

ANNA = "anna@example.org"


@dataclass(frozen=True)
class Site:
    url: str
    pool: Pool
    installation: Installation


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serving(tmp_path_factory.mktemp("home")) as made:
        yield made


@contextmanager
def serving(home: Path, idle_minutes: float = 15.0) -> Iterator[Site]:
    """A site with one study, a pool with one person, and what stands between them."""
    port = free_port()
    url = f"http://localhost:{port}"
    with (
        edge_function("cookie.js") as function,
        pool_serving(f"{url}/app/") as pool,
        open_installation(home) as installation,
    ):
        pool.add(ANNA, "reader", "verifier")
        installation.land()
        ports = installation.platform
        identities = CognitoIdentities(
            ports.records,
            ports.keys,
            now,
            roles=["reader", "verifier"],
            tokens=CognitoTokens(pool.issuer, {pool.client}, now),
            people=CognitoPeople(client(pool.address, "cognito-idp"), pool.pool, now),
        )
        page = PoolPage(pool.address, pool.client, url, key=bytes(32), clock=now, read=identities.signed_in)
        doors = replace(
            installation.doors,
            platform=replace(ports, settings=replace(ports.settings, idle_sign_out_minutes=idle_minutes)),
            identities=identities,
            page=page,
            is_open=False,
            static=STATIC,
            hosts=frozenset({HOST}),
            site=url.removeprefix("http://"),
        )
        app = create_app(doors)
        with served(Edge(function, Authorized(app, pool), app), port):
            yield Site(url, pool, installation)


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    opened = browser.new_context(viewport={"width": 1280, "height": 800})
    yield opened
    opened.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    opened = context.new_page()
    opened.set_default_timeout(30_000)
    faults: list[str] = []
    opened.on("pageerror", lambda error: faults.append(str(error)))
    yield opened
    assert faults == []


def sign_in(page: Page, name: str = ANNA) -> None:
    page.get_by_role("button", name="Sign in").click()
    page.get_by_label("User").fill(name)
    page.get_by_role("button", name="Come in").click()


def ours(context: BrowserContext) -> set[str]:
    """Cookies of a session; what a sign-in keeps that begins is none."""
    return {cookie["name"] for cookie in context.cookies() if "radloop" in cookie["name"]} - {BEGUN}


def test_in_by_the_pools_page_back_again_renewed_and_out(page: Page, context: BrowserContext, site: Site) -> None:
    addresses: list[str] = []
    page.on("request", lambda request: addresses.append(request.url))
    page.goto(f"{site.url}/app/")
    expect(page.get_by_role("heading", name="Sign in to radloop")).to_be_visible()
    expect(page.get_by_label("Password")).to_have_count(0)
    expect(page.get_by_text(f"You sign in at {urlsplit(site.pool.address).netloc}")).to_be_visible()
    sign_in(page)
    expect(page.get_by_test_id("worklist-row").first).to_contain_text("CT")
    expect(page.get_by_test_id("who")).to_contain_text(ANNA)
    assert "code=" not in page.url
    assert page.evaluate("document.cookie") == ""
    assert page.evaluate("JSON.stringify({...localStorage, ...sessionStorage})").count("eyJ") == 0
    assert ours(context) == {ACCESS, RENEWAL}

    context.clear_cookies(name=ACCESS)  # its time is over
    page.reload()
    expect(page.get_by_test_id("worklist-row").first).to_be_visible()
    assert ours(context) == {ACCESS, RENEWAL}

    page.get_by_test_id("signout").click()
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    assert any("/logout?" in address for address in addresses)
    assert (ours(context), site.pool.refresh) == (set(), {})
    page.reload()
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_label("User")).to_be_visible()  # the pool asks again who comes


def test_whoever_comes_back_is_where_they_were(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/app/#/models")
    sign_in(page)
    expect(page.get_by_role("heading", name="Models")).to_be_visible()
    assert page.url == f"{site.url}/app/#/models"


def test_a_session_is_renewed_before_it_ends(page: Page, site: Site) -> None:
    site.pool.life_s = 6
    try:
        page.goto(f"{site.url}/app/")
        sign_in(page)
        expect(page.get_by_test_id("worklist-row").first).to_be_visible()
        for _ in range(2):
            with page.expect_response("**/api/v1/session/renewal") as renewed:
                pass
            assert renewed.value.status == 200
        page.goto(f"{site.url}/app/#/models")
        expect(page.get_by_role("heading", name="Models")).to_be_visible()
    finally:
        site.pool.life_s = 900


def test_a_sign_in_that_ended_leads_there_and_back_by_itself_once(
    page: Page, context: BrowserContext, site: Site
) -> None:
    page.goto(f"{site.url}/app/")
    sign_in(page)
    expect(page.get_by_test_id("worklist-row").first).to_be_visible()
    page.evaluate("sessionStorage.removeItem('radloop-went')")  # a minute later
    for name in (ACCESS, RENEWAL):
        context.clear_cookies(name=name)
    page.evaluate("location.hash = '#/models'")
    until = time.monotonic() + 15
    while ours(context) != {ACCESS, RENEWAL} and time.monotonic() < until:
        page.wait_for_timeout(50)  # the heading stands there already before anybody has been asked
    assert ours(context) == {ACCESS, RENEWAL}, "the pool knows who it is and lets them in at once"
    expect(page.get_by_role("heading", name="Models")).to_be_visible()
    for name in (ACCESS, RENEWAL):
        context.clear_cookies(name=name)
    page.evaluate("location.hash = '#/'")
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()  # not round in circles


def test_whoever_is_idle_is_out_at_the_pool_too_and_told_so(
    page: Page, context: BrowserContext, tmp_path: Path
) -> None:
    with serving(tmp_path, idle_minutes=0.1) as site:
        page.goto(f"{site.url}/app/#/models")
        sign_in(page)
        expect(page.get_by_role("heading", name="Models")).to_be_visible()
        with page.expect_request("**/logout?*"):
            pass
        expect(page.get_by_role("status")).to_contain_text("nothing was done here for a while")
        expect(page.get_by_role("heading", name="Models")).to_have_count(0)
        assert (ours(context), site.pool.refresh) == (set(), {})
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_label("User")).to_be_visible()  # nobody comes back in without the pool asking
        page.get_by_label("User").fill(ANNA)
        page.get_by_role("button", name="Come in").click()
        expect(page.get_by_role("heading", name="Models")).to_be_visible()
        page.goto("about:blank")


def test_a_code_that_does_not_count_is_told_in_words_and_leaves_the_address(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/app/?code=made-up&state=made-up")
    expect(page.get_by_role("alert")).to_contain_text("does not count")
    assert page.url == f"{site.url}/app/"
    page.goto(f"{site.url}/app/?error=access_denied&state=made-up")
    expect(page.get_by_role("alert")).to_contain_text("did not let you in")
    sign_in(page)
    expect(page.get_by_test_id("worklist-row").first).to_be_visible()


def test_a_page_of_another_site_gets_nothing_by_the_cookies(page: Page, context: BrowserContext, site: Site) -> None:
    page.goto(f"{site.url}/app/")
    sign_in(page)
    expect(page.get_by_test_id("worklist-row").first).to_be_visible()
    before = ours(context)
    elsewhere = context.new_page()
    elsewhere.goto(f"{site.pool.address}/oauth2/nothing")  # 127.0.0.1 is another site than localhost
    sent: list[str] = []
    elsewhere.on("request", lambda request: sent.append(json.dumps(request.all_headers())))
    elsewhere.evaluate(
        """(url) => Promise.allSettled([
          fetch(url + "/api/v1/session", { method: "DELETE", credentials: "include", mode: "cors" }),
          fetch(url + "/api/v1/session/renewal", { method: "POST", credentials: "include", mode: "no-cors" }),
          fetch(url + "/api/v1/worklist", { credentials: "include", mode: "no-cors" }),
        ])""",
        site.url,
    )
    assert not any("radloop" in each for each in sent), "the browser gave a cookie away"
    page.reload()
    expect(page.get_by_test_id("worklist-row").first).to_be_visible()
    assert ours(context) == before
