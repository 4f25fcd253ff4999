"""Signing in by `radloop login`, the whole way: a user pool's page, a browser, the loopback, the file, long uploads."""

import asyncio
import json
import os
import socket
import stat
import subprocess
import sys
import threading
import time
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from click.testing import CliRunner, Result
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from radloop.api.app import create_app
from radloop.aws.identities import CognitoIdentities, CognitoPeople
from radloop.aws.tokens import CognitoTokens
from radloop.cli import main
from radloop.client import Client
from radloop.core.errors import Denied, InvalidInput, Unauthenticated, Unavailable
from radloop.dicom.phantom import phantom_study
from radloop.functions import draft_landing
from radloop.loopback import NOT_SIGNED_IN, SIGNED_IN, Loopback
from radloop.native_app import begin, native_app_at
from radloop.security.sign_in import NativeApp
from radloop.sign_ins import Bearer, SignIn, SignIns, address_of
from tests.api.installation import Installation, now, open_installation
from tests.aws.edge import Authorized, served
from tests.aws.emulators import client, free_port
from tests.aws.pool_page import Pool, come_in, pool_serving

pytestmark = pytest.mark.timeout(120)

ROOT = Path(__file__).parents[1]
ANNA = "anna@example.org"

WALK = """
import sys
import httpx
from tests.aws.pool_page import come_in
place = come_in(sys.argv[1], "anna@example.org")
print(httpx.get(place).text, flush=True)
"""


class Door:
    """What stands before the API: slow or refusing once where it should be, and it writes down who asked."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.slow_s = 0.0
        self.bearers: list[str] = []
        self.refused: list[tuple[str, str]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            asked = next(
                (each for each in self.refused if each == (scope["method"], scope["path"][: len(each[1])])), None
            )
            if asked is not None:
                self.refused.remove(asked)
                await JSONResponse({"message": "Unauthorized"}, 401)(scope, receive, send)
                return
            self.bearers.append(Headers(scope=scope).get("authorization", "").removeprefix("Bearer "))
            if scope["method"] == "PATCH":
                await asyncio.sleep(self.slow_s)
        await self._app(scope, receive, send)


@dataclass
class Site:
    url: str
    pool: Pool
    app: NativeApp
    door: Door
    installation: Installation = field(repr=False)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with site_at(tmp_path / "home") as made:
        yield made


@contextmanager
def site_at(home: Path) -> Iterator[Site]:
    """An installation with a user pool, behind the gateway's authorizer."""
    redirects = tuple(f"http://127.0.0.1:{free_port()}/" for _ in range(2))
    with pool_serving(loopbacks=set(redirects)) as pool, open_installation(home) as installation:
        pool.add(ANNA, "reader", "verifier")
        ports = installation.platform
        identities = CognitoIdentities(
            ports.records,
            ports.keys,
            now,
            roles=["reader", "verifier"],
            tokens=CognitoTokens(pool.issuer, {pool.native}, now),
            people=CognitoPeople(client(pool.address, "cognito-idp"), pool.pool, now),
        )
        app = NativeApp(pool.address, pool.native, "openid", redirects)
        doors = replace(installation.doors, identities=identities, native_app=app, is_open=False)
        door = Door(Authorized(create_app(doors), pool))
        port = free_port()
        with served(door, port), landing(installation):
            yield Site(f"http://127.0.0.1:{port}", pool, app, door, installation)


@contextmanager
def landing(installation: Installation) -> Iterator[None]:
    """What the worker does with uploads that are complete."""
    is_over = threading.Event()

    def work() -> None:
        jobs = installation.platform.jobs
        while not is_over.wait(0.05):
            while claim := jobs.claim("land"):
                draft_landing.land_draft(str(claim.job.payload["draft"]), installation.platform)
                jobs.done(claim)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        yield
    finally:
        is_over.set()
        worker.join()


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SignIns:
    """Where this test's user keeps sign-ins, who carries no token and has no browser."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in ("RADLOOP_TOKEN", "RADLOOP_CA", "RADLOOP_HOME", "DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    return SignIns()


class Walker(webbrowser.BaseBrowser):
    """A browser with a person: signs in at the page, and goes where it leads."""

    def __init__(self) -> None:
        super().__init__("walker")
        self.shown: SimpleQueue[str] = SimpleQueue()

    def open(self, url: str, new: int = 0, autoraise: bool = True) -> bool:
        self.shown.put(httpx.get(come_in(url, ANNA), timeout=60).text)
        return True


@pytest.fixture
def browser(monkeypatch: pytest.MonkeyPatch) -> Walker:
    walker = Walker()
    webbrowser.register("walker", None, walker, preferred=True)
    monkeypatch.setenv("BROWSER", "walker")
    return walker


def until(is_so: Callable[[], bool], within_s: float = 10.0) -> None:
    end = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.05)


def radloop(*words: str, given: str | None = None) -> Result:
    return CliRunner().invoke(main, words, input=given, prog_name="radloop")


def words_of(result: Result) -> str:
    return " ".join(result.stderr.split())


def signed_in(site: Site) -> SignIn:
    assert radloop("login", site.url, "--yes").exit_code == 0
    found = SignIns().get(site.url)
    assert found is not None
    return found


def by_process(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "radloop.cli", *words], capture_output=True, text=True, timeout=60, check=False
    )


def dicom_files(folder: Path, slices: int = 2, size: int = 32) -> Path:
    folder.mkdir()
    for place, data in enumerate(phantom_study(3, consolidated=False, slices=slices, size=size).files):
        (folder / f"{place}.dcm").write_bytes(data)
    return folder


# The whole way


def test_somebody_signs_in_sends_in_scans_and_signs_out(
    site: Site, kept: SignIns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    walk, opened, shown = tmp_path / "walk.py", tmp_path / "browser.sh", tmp_path / "shown"
    walk.write_text(WALK)
    opened.write_text(
        f'#!/bin/sh\necho "$1" > {tmp_path}/address\nPYTHONPATH={ROOT} {sys.executable} {walk} "$1" > {shown}\n'
    )
    opened.chmod(0o700)
    monkeypatch.setenv("BROWSER", f"{opened} %s")
    came_in = by_process("login", site.url, "--yes", "--json")
    assert came_in.returncode == 0, came_in.stderr
    told = json.loads(came_in.stdout)
    assert told == {
        "server": site.url,
        "id": site.pool.people[ANNA]["sub"],
        "roles": ["reader", "verifier"],
        "is_limited": False,
        "kept_in": str(kept.path),
    }
    until(lambda: SIGNED_IN in shown.read_text())
    assert stat.S_IMODE(kept.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.path.parent.stat().st_mode) == 0o700
    found = kept.get(site.url)
    assert found is not None
    address = (tmp_path / "address").read_text().strip()
    assert address in came_in.stderr, "whoever has no browser must find it there"
    assert parse_qs(urlsplit(address).query)["code_challenge_method"] == ["S256"]
    assert "verifier" not in address
    sent = by_process("ingest", str(dicom_files(tmp_path / "scans")), "--resume", "--server", site.url, "--json")
    assert sent.returncode == 0, sent.stderr
    assert json.loads(sent.stdout)["ingested"] == 2
    given = by_process("token", site.url)
    assert given.stdout.strip() == found.access_token
    for secret in (found.access_token, found.refresh_token):
        assert secret not in came_in.stdout + came_in.stderr + sent.stdout + sent.stderr + given.stderr + repr(found)
    went_out = by_process("logout", site.url, "--json")
    assert json.loads(went_out.stdout) == {"server": site.url, "signed_out": True}
    assert (site.pool.refresh, kept.servers()) == ({}, [])
    assert found.refresh_token not in kept.path.read_text()
    refused = by_process("models", "--server", site.url)
    assert refused.returncode == 1
    assert "radloop login" in refused.stderr


def test_the_address_is_enough_where_no_browser_opens(site: Site, kept: SignIns) -> None:
    command = [sys.executable, "-m", "radloop.cli", "login", site.url, "--no-browser", "--yes"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = [process.stderr.readline() for _ in range(3)]
        assert urlsplit(site.pool.address).netloc in said[0], "where one types a password must be told"
        assert SIGNED_IN in httpx.get(come_in(said[2].strip(), ANNA), timeout=60).text
        assert process.wait(30) == 0
    assert kept.servers() == [site.url]


def test_a_browser_on_another_machine_is_enough(site: Site, kept: SignIns) -> None:
    command = [sys.executable, "-m", "radloop.cli", "login", site.url, "--paste", "--yes"]
    pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(command, text=True, **pipes) as process:
        said = [process.stderr.readline() for _ in range(3)] if process.stderr else []
        process.communicate(come_in(said[2].strip(), ANNA) + "\n", timeout=30)
    assert process.returncode == 0
    assert kept.servers() == [site.url]


def test_what_is_pasted_must_belong_to_this_sign_in(site: Site, kept: SignIns) -> None:
    result = radloop("login", site.url, "--paste", given="y\nhttp://127.0.0.1:14733/?code=c&state=s\n")
    assert result.exit_code == 1
    assert "no answer to the sign-in that was begun here" in words_of(result)
    assert kept.servers() == []


@pytest.mark.parametrize("said", ["", "\n", "n\n"])
def test_nothing_is_opened_at_first_before_somebody_says_that_the_page_is_the_servers(
    site: Site, browser: Walker, kept: SignIns, said: str
) -> None:
    result = radloop("login", site.url, "--json", given=said)
    assert (result.exit_code, result.stdout) == (1, "")
    page = urlsplit(site.pool.address).netloc
    assert f"{site.url} has its people sign in at {page}, and gets the token that is given there." in words_of(result)
    assert "oauth2/authorize" not in result.stderr
    assert (browser.shown.empty(), site.door.bearers[-1], kept.servers()) == (True, "", [])


def test_what_was_said_once_is_not_asked_again_until_the_server_names_another_page(
    site: Site, browser: Walker, kept: SignIns
) -> None:
    first = radloop("login", site.url, "--json", given="y\n")
    assert (first.exit_code, json.loads(first.stdout)["server"]) == (0, site.url)
    assert "may it have your token?" in words_of(first)
    again = radloop("login", site.url)
    assert (again.exit_code, "[y/N]" in again.stderr) == (0, False)
    held = kept.get(site.url)
    assert held is not None
    kept.put(replace(held, client_id="another"))
    changed = radloop("login", site.url)
    assert (changed.exit_code, "may it have your token?" in words_of(changed)) == (1, True)


def test_a_server_that_names_the_page_of_another_gets_no_token_of_it(
    site: Site, browser: Walker, kept: SignIns
) -> None:
    signed_in(site)
    browser.shown.get(timeout=10)
    asked: list[str] = []

    def told(request: Request) -> Response:
        asked.append(request.url.path + request.headers.get("authorization", ""))
        app = {"address": site.app.address, "client_id": site.app.client_id, "scope": site.app.scope}
        return JSONResponse({"kind": "redirect", "native_app": {**app, "redirects": site.app.redirects}})

    port = free_port()
    hostile = f"http://127.0.0.1:{port}"
    with served(Starlette(routes=[Route("/{path:path}", told)]), port):
        by_flag = radloop("login", hostile, "--yes")
        by_nobody = radloop("login", hostile)
    assert (by_flag.exit_code, by_nobody.exit_code) == (1, 1)
    assert f"is where you signed in for {site.url}" in words_of(by_flag)
    assert f"There you signed in for {site.url}: {hostile} could do there what you may." in words_of(by_nobody)
    assert asked == ["/api/v1/sign-in"] * 2
    assert (browser.shown.empty(), kept.servers()) == (True, [site.url])


def test_two_addresses_of_one_installation_are_signed_in_at_once_somebody_says_that_they_are(
    site: Site, browser: Walker, kept: SignIns
) -> None:
    signed_in(site)
    other = site.url.replace("127.0.0.1", "localhost")
    assert radloop("login", other, given="y\n").exit_code == 0
    assert kept.servers() == sorted([site.url, other])


def test_a_second_sign_in_ends_the_first(site: Site, browser: Walker) -> None:
    first = signed_in(site)
    second = signed_in(site)
    assert list(site.pool.refresh) == [second.refresh_token] != [first.refresh_token]


# Long uploads


def test_an_upload_goes_on_for_longer_than_a_token_lasts(site: Site, browser: Walker, tmp_path: Path) -> None:
    site.pool.life_s = 3
    signed_in(site)
    site.door.bearers.clear()
    site.door.slow_s = 1.2
    scans = dicom_files(tmp_path / "scans", slices=12, size=512)
    began = time.monotonic()
    sent = radloop("ingest", str(scans), "--resume", "--server", site.url, "--json")
    assert sent.exit_code == 0, sent.stderr
    facts = json.loads(sent.stdout)
    assert facts["ingested"] == 12
    assert time.monotonic() - began > site.pool.life_s
    assert len(set(site.door.bearers)) > 1, "the token was never renewed"


def test_a_token_that_ends_under_way_costs_a_cut_and_no_person(
    site: Site, browser: Walker, kept: SignIns, tmp_path: Path
) -> None:
    held = signed_in(site)
    site.door.refused = [("PATCH", "/api/v1/resumable")]
    sent = radloop("ingest", str(dicom_files(tmp_path / "scans")), "--resume", "--server", site.url, "--json")
    assert sent.exit_code == 0, sent.stderr
    facts = json.loads(sent.stdout)
    assert (facts["ingested"], facts["cuts"]) == (2, 1)
    now_held = kept.get(site.url)
    assert now_held is not None
    assert now_held.access_token != held.access_token


def test_a_plain_question_is_asked_again_with_another_token(site: Site, browser: Walker, kept: SignIns) -> None:
    held = signed_in(site)
    kept.put(replace(held, access_token=site.pool.access_token(ANNA, "stranger")))
    assert radloop("models", "--server", site.url).exit_code == 0
    now_held = kept.get(site.url)
    assert now_held is not None
    assert now_held.access_token not in {held.access_token, ""}


def test_an_upload_waits_for_a_pool_that_is_away(site: Site, browser: Walker, kept: SignIns, tmp_path: Path) -> None:
    held = signed_in(site)
    kept.put(replace(held, renew_at=0.0, expires_at=0.0))
    site.pool.is_away = True
    back = threading.Timer(1.5, lambda: setattr(site.pool, "is_away", False))
    back.start()
    sent = radloop("ingest", str(dicom_files(tmp_path / "scans")), "--resume", "--server", site.url, "--json")
    back.join()
    assert sent.exit_code == 0, sent.stderr
    assert json.loads(sent.stdout)["cuts"] > 0


def test_a_token_counts_to_its_end_while_the_pool_is_away(site: Site, browser: Walker, kept: SignIns) -> None:
    held = signed_in(site)
    kept.put(replace(held, renew_at=0.0))
    site.pool.is_away = True
    bearer = Bearer(kept, site.url)
    site.pool.asked.clear()
    assert [bearer.token(), bearer.token()] == [held.access_token] * 2
    assert site.pool.asked == ["/oauth2/token"], "it is asked now and then, not for every request"
    kept.put(replace(held, renew_at=0.0, expires_at=0.0))
    with pytest.raises(Unavailable):
        Bearer(kept, site.url).token()


def test_two_processes_renew_by_a_pool_that_rotates(site: Site, browser: Walker, kept: SignIns) -> None:
    held = signed_in(site)
    site.pool.rotates = True
    kept.put(replace(held, renew_at=0.0))
    first, second = Bearer(kept, site.url), Bearer(kept, site.url)
    assert first.token() == second.token() != held.access_token
    assert site.pool.asked.count("/oauth2/token") == 2, "the sign-in, and one renewal for both"
    now_held = kept.get(site.url)
    assert now_held is not None
    assert list(site.pool.refresh) == [now_held.refresh_token]


def test_a_sign_in_that_the_pool_ended_is_over_in_words(site: Site, browser: Walker, kept: SignIns) -> None:
    held = signed_in(site)
    kept.put(replace(held, renew_at=0.0))
    site.pool.refresh.clear()
    result = radloop("models", "--server", site.url)
    assert result.exit_code == 1
    assert f"the sign-in at {site.url} is over; radloop login {site.url}" in words_of(result)


def test_whoever_signs_out_ends_what_runs(site: Site, browser: Walker, kept: SignIns) -> None:
    held = signed_in(site)
    kept.put(replace(held, renew_at=0.0))
    bearer = Bearer(kept, site.url)
    assert radloop("logout", site.url).exit_code == 0
    with pytest.raises(Unauthenticated, match=r"nobody is signed in at .* any more"):
        bearer.token()


def test_a_token_that_is_named_goes_before_a_sign_in(
    site: Site, browser: Walker, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed_in(site)
    monkeypatch.setenv("RADLOOP_TOKEN", "another")
    assert radloop("models", "--server", site.url).exit_code == 1
    assert site.door.bearers[-1] == "another"
    assert "RADLOOP_TOKEN is set and goes before this sign-in" in words_of(radloop("login", site.url, "--yes"))


# The loopback


@contextmanager
def awaiting(within_s: float = 20.0) -> Iterator[tuple[Loopback, Any, list[Any]]]:
    """Somebody waits for a code; the list holds it, or why there is none."""
    app = NativeApp("https://pool.example.org", "native", "openid", (f"http://127.0.0.1:{free_port()}/",))
    found: list[Any] = []
    with Loopback(app.redirects) as loopback:
        begun = begin(app, loopback.redirect)

        def wait() -> None:
            try:
                found.append(loopback.code(begun, within_s))
                loopback.tell(SIGNED_IN)
            except Denied as error:
                found.append(error)
                loopback.tell(NOT_SIGNED_IN)

        waiting = threading.Thread(target=wait)
        waiting.start()
        yield loopback, begun, found
        waiting.join(30)


def test_what_is_no_answer_does_not_end_the_wait_and_the_first_answer_does() -> None:
    with awaiting() as (loopback, begun, found):
        at = loopback.redirect
        assert httpx.get(f"{at}?code=stranger&state=stranger").status_code == 400
        assert httpx.get(f"{at}?code=a&code=b&state={begun.state}").status_code == 400
        assert httpx.get(f"{at}?code=stranger").status_code == 400
        assert httpx.get(f"{at}favicon.ico").status_code == 404
        assert (
            httpx.get(f"{at}?code=c&state={begun.state}", headers={"Host": "stranger.example.org"}).status_code == 404
        )
        assert httpx.post(f"{at}?code=c&state={begun.state}").status_code == 501
        assert found == []
        with socket.create_connection(("127.0.0.1", urlsplit(at).port or 0)):  # browsers open one more, and say nothing
            answer = httpx.get(f"{at}?code=right&state={begun.state}")
        assert (answer.status_code, SIGNED_IN in answer.text) == (200, True)
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert "right" not in answer.text
        assert httpx.get(f"{at}?code=late&state={begun.state}").status_code == 409
    assert found == ["right"]
    with pytest.raises(httpx.ConnectError):
        httpx.get(at)


def test_nobody_but_this_machine_reaches_it() -> None:
    with Loopback((f"http://127.0.0.1:{free_port()}/",)) as loopback:
        port = urlsplit(loopback.redirect).port
        listening = [
            line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines() if f":{port:04X} " in line
        ]
        assert f"0100007F:{port:04X}" in listening
        assert f"00000000:{port:04X}" not in listening


def test_a_page_that_lets_nobody_in_is_told_by_its_word_alone() -> None:
    with awaiting() as (loopback, begun, found):
        query = f"error=access_denied&error_description=%1b[31m<b>&state={begun.state}"
        assert NOT_SIGNED_IN in httpx.get(f"{loopback.redirect}?{query}").text
    assert "it says access_denied" in str(found[0])
    assert "<b>" not in str(found[0])


def test_nobody_waits_for_ever() -> None:
    app = NativeApp("https://pool.example.org", "native", "openid", (f"http://127.0.0.1:{free_port()}/",))
    with Loopback(app.redirects) as loopback, pytest.raises(Unavailable, match=r"nobody signed in within 0\.2 seconds"):
        loopback.code(begin(app, loopback.redirect), 0.2)


def test_another_port_is_taken_where_one_is_not_free_and_none_is_told() -> None:
    first, second = (f"http://127.0.0.1:{free_port()}/" for _ in range(2))
    with Loopback((first, second)) as one, Loopback((first, second)) as two:
        assert (one.redirect, two.redirect) == (first, second)
        with pytest.raises(Unavailable, match=f"{urlsplit(first).port}, {urlsplit(second).port} are all taken"):
            Loopback((first, second))


# What can be wrong


def test_an_installation_without_a_user_pool_says_what_to_use(tmp_path: Path) -> None:
    with open_installation(tmp_path / "plain") as installation:
        port = free_port()
        with served(create_app(installation.doors), port):
            result = radloop("login", f"http://127.0.0.1:{port}")
    assert result.exit_code == 1
    assert "has no user pool to sign in at" in words_of(result)
    assert "radloop credentials create" in words_of(result)


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        (HTMLResponse("<title>Shop</title>"), 1, "there is no radloop at"),
        (JSONResponse([]), 1, "it does not say how one signs in"),
        (Response(status_code=404), 1, "it answers 404 to GET /api/v1/sign-in; look at the address"),
        (Response(status_code=301, headers={"Location": "/elsewhere"}), 1, "it answers 301"),
        (JSONResponse({"message": "Unauthorized"}, 401), 5, "it answers 401; bring it up to this version"),
        (JSONResponse({"code": "not-through-site", "message": "ask the site"}, 403), 1, "ask the site"),
        (Response(status_code=503), 5, "it answers 503; try again"),
        (JSONResponse({"kind": "redirect"}), 5, "no client of it for programs"),
        (JSONResponse({"kind": "redirect", "native_app": {}}), 5, "what is not done here"),
    ],
)
def test_what_is_no_installation_or_no_fit_one_is_told_in_words(answer: Response, status: int, words: str) -> None:
    with answering(answer) as url:
        result = radloop("login", url)
    assert (result.exit_code, words in words_of(result)) == (status, True), words_of(result)


@pytest.mark.parametrize(
    "wrong",
    [
        {"address": "http://pool.example.org"},
        {"address": "file:///etc"},
        {"address": 7},
        {"redirects": []},
        {"redirects": ["http://0.0.0.0:14733/"]},
        {"redirects": ["http://127.0.0.1:14733/", "http://stranger.example.org:14733/"]},
        {"redirects": ["http://127.0.0.1:80/"]},
    ],
)
def test_an_installation_cannot_have_a_person_send_codes_or_passwords_elsewhere(wrong: dict[str, Any]) -> None:
    right = {"address": "https://p.example.org", "client_id": "n", "scope": "openid"}
    told = {**right, "redirects": ["http://127.0.0.1:14733/"], **wrong}
    with (
        answering(JSONResponse({"kind": "redirect", "native_app": told})) as url,
        closing(Client(url, None)) as there,
        pytest.raises(Unavailable, match="what is not done here"),
    ):
        native_app_at(there)


@contextmanager
def answering(answer: Response) -> Iterator[str]:
    """A server that answers this to how one signs in."""
    port = free_port()
    with served(Starlette(routes=[Route("/api/v1/sign-in", lambda _: answer)]), port):
        yield f"http://127.0.0.1:{port}"


def test_a_server_that_is_not_there_is_told_as_everywhere() -> None:
    result = radloop("login", f"http://127.0.0.1:{free_port()}")
    assert (result.exit_code, "the server does not answer" in words_of(result)) == (5, True)


@pytest.mark.parametrize(
    "address",
    [
        "radloop",
        "http://radloop.example.org",
        "https://u:p@host",
        "https://host/app/",
        "https://host/?a=b",
        "ftp://host",
    ],
)
def test_an_address_that_no_token_should_go_to_is_refused_without_being_repeated(address: str) -> None:
    for command in ("login", "logout", "token"):
        result = radloop(command, address)
        assert result.exit_code == 1
        assert "https://" in words_of(result)
        assert "u:p" not in words_of(result)


def test_one_installation_has_one_name() -> None:
    names = {address_of(each) for each in ("https://Host.example.org", "HTTPS://host.example.org:443/")}
    assert names == {"https://host.example.org"}
    assert address_of("http://localhost:8080/") == "http://localhost:8080"


def test_an_api_that_takes_no_token_of_the_client_is_told_and_nothing_is_left(
    site: Site, browser: Walker, kept: SignIns
) -> None:
    site.door.refused = [("GET", "/api/v1/session")]
    result = radloop("login", site.url, "--yes")
    assert result.exit_code == 1
    assert "the user pool let you in, and" in words_of(result)
    assert "applies the stack again" in words_of(result)
    assert NOT_SIGNED_IN in browser.shown.get(timeout=10)
    assert (site.pool.refresh, kept.servers()) == ({}, [])


def test_a_pool_that_is_gone_is_named(site: Site, browser: Walker, kept: SignIns) -> None:
    site.pool.is_away = True
    result = radloop("login", site.url, "--yes")
    assert result.exit_code == 5
    assert f"it is {site.pool.address}, as {site.url} says" in words_of(result)
    assert NOT_SIGNED_IN in browser.shown.get(timeout=10)
    assert kept.servers() == []


def test_signing_out_of_a_pool_that_is_away_removes_and_says_what_is_left(
    site: Site, browser: Walker, kept: SignIns
) -> None:
    signed_in(site)
    site.pool.is_away = True
    result = radloop("logout", site.url)
    assert (result.exit_code, kept.servers()) == (5, [])
    assert "there the sign-in lasts until its time is over" in words_of(result)
    again = radloop("logout", site.url)
    assert (again.exit_code, "nobody is signed in at" in words_of(again)) == (1, True)


def test_a_file_that_others_can_read_is_not_used(site: Site, browser: Walker, kept: SignIns) -> None:
    signed_in(site)
    kept.path.chmod(0o644)
    result = radloop("models", "--server", site.url)
    assert result.exit_code == 1
    assert "its mode is 0644, expected 0600" in words_of(result)
    assert site.door.bearers[-1] != "", "nothing was asked without a name either"


def test_a_file_that_is_no_json_is_as_none(kept: SignIns) -> None:
    kept.path.parent.mkdir(parents=True)
    descriptor = os.open(kept.path, os.O_WRONLY | os.O_CREAT, 0o600)
    os.write(descriptor, b"{")
    os.close(descriptor)
    assert kept.get("https://host") is None
    with pytest.raises(InvalidInput):
        address_of("")
