"""Who may do what through the doors: every operation, every role, and nobody."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from starlette.routing import BaseRoute, Mount, Route

from radloop.api.app import create_app
from radloop.api.openapi import OPERATIONS, PREFIX
from radloop.api.operations import Operation
from radloop.api.principal import ANYBODY, SIGNED_IN
from radloop.core.identity import OWNER, Principal
from tests.api.installation import BASE, CONTRACTS, OTHER, PHANTOM, Installation, TestClient

ROLES = {role: set(actions) for role, actions in json.loads((CONTRACTS / "roles.json").read_text())["roles"].items()}
PUBLIC = {("GET", "/healthz"), ("GET", "/"), ("POST", f"{PREFIX}/session"), ("GET", f"{PREFIX}/sign-in")}
PASSWORD = "correct horse battery"


@dataclass(frozen=True)
class Guarded:
    """An installation whose doors are not open."""

    installation: Installation
    client: TestClient

    def token_of(self, *roles: str, patients: frozenset[str] | None = None) -> dict[str, str]:
        """A header that makes the caller somebody with these roles."""
        name = f"token {sorted(roles)} {patients}"
        assert self.installation.doors.identities is not None
        self.installation.doors.identities.trust(name, Principal("somebody", frozenset(roles), patients))
        return {"Authorization": f"Bearer {name}"}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    from tests.api.installation import open_installation

    with open_installation(tmp_path_factory.mktemp("guarded")) as installation:
        closed = replace(installation, doors=replace(installation.doors, is_open=False))
        with closed.client() as client:
            yield Guarded(closed, client)


def ask(client: TestClient, operation: Operation, headers: dict[str, str]) -> Any:
    path = re.sub(r"{(\w+):int}", "1", operation.address).replace("{id}", "x" * 32)
    return client.request(operation.method, path, headers=headers)


def test_every_operation_names_an_action_that_there_is() -> None:
    every_action = set().union(*ROLES.values())
    for operation in OPERATIONS:
        assert operation.action in every_action | {ANYBODY, SIGNED_IN}, operation.id
    assert {operation.id for operation in OPERATIONS if operation.action == ANYBODY} == {
        "getSignIn", "createSession", "renewSession"
    }  # fmt: skip
    assert {operation.id for operation in OPERATIONS if operation.action == SIGNED_IN} == {
        "getSession", "deleteSession", "describe"
    }  # fmt: skip


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.id)
@pytest.mark.parametrize("role", [*ROLES, "none", "unheard-of", "nobody"])
def test_an_operation_is_refused_to_every_role_that_lacks_its_action(
    guarded: Guarded, operation: Operation, role: str
) -> None:
    headers = {} if role == "nobody" else guarded.token_of(*([] if role == "none" else [role]))
    answer = ask(guarded.client, operation, headers)
    if operation.action == ANYBODY:
        expected = {"getSignIn": 200, "createSession": 415, "renewSession": 401 if role == "nobody" else 200}
        assert answer.status_code == expected[operation.id], "it got as far as looking at the body or the cookies"
    elif role == "nobody":
        assert (answer.status_code, answer.headers["www-authenticate"][:6]) == (401, "Bearer")
    elif operation.action == SIGNED_IN or operation.action in ROLES.get(role, set()):
        assert answer.status_code not in {401, 403}, answer.text
        return
    else:
        assert answer.status_code == 403
    if operation.method != "HEAD" and answer.status_code in {401, 403}:
        code = answer.json()["error"]["code"]
        assert code == {401: "unauthenticated", 403: "denied"}[answer.status_code]


def test_a_row_without_an_action_is_refused_to_everybody(guarded: Guarded) -> None:
    from starlette.applications import Starlette

    from radloop.api.app import _refused
    from radloop.core.errors import RadloopError

    row = Operation("forgotten", "GET", "/forgotten", "x", "Sites", lambda asked: pytest.fail("answered"))
    app = Starlette(routes=[row.route(guarded.installation.doors)], exception_handlers={RadloopError: _refused})
    app.state.doors = replace(guarded.installation.doors, is_open=True)
    assert TestClient(app, base_url=BASE).get(f"{PREFIX}/forgotten").status_code == 403


def all_routes(routes: list[BaseRoute], prefix: str = "") -> Iterator[tuple[str, str]]:
    for route in routes:
        if isinstance(route, Mount) and route.routes and route.name != "viewer":
            yield from all_routes(route.routes, prefix + route.path)
        elif isinstance(route, Route):
            for method in (route.methods or set()) - {"HEAD"}:
                yield method, prefix + route.path


def test_nothing_but_the_way_in_answers_nobody(guarded: Guarded) -> None:
    asked = set()
    for method, path in all_routes(create_app(guarded.installation.doors).routes):
        if (method, path) in PUBLIC:
            continue
        filled = re.sub(r"{\w+:int}", "1", path)
        filled = re.sub(r"{(study|series|instance)(:\w+)?}", "1.2.3", filled)
        answer = guarded.client.request(method, re.sub(r"{[^}]+}", "1", filled), follow_redirects=False)
        if method == "OPTIONS" and answer.status_code == 204:
            assert not answer.content, "what methods an address takes is all that nobody may know"
            continue
        assert answer.status_code in {401, 403}, f"{method} {path} answers {answer.status_code} to nobody"
        asked.add(path)
    assert {"/metrics", f"{PREFIX}/worklist", "/dicomweb/studies"} <= asked
    assert guarded.client.get("/healthz").status_code == 200
    assert guarded.client.get("/app/").status_code == 200


@pytest.mark.parametrize(
    "value",
    ["", "Bearer", "Bearer ", "Bearer x", "Basic b3duZXI6", "bearer\tx", "Bearer x y", "AWS4-HMAC-SHA256 Credential=x"],
)
def test_a_wrong_token_is_nobody_even_beside_a_right_cookie(guarded: Guarded, value: str) -> None:
    cookie = signed_in(guarded, "both")
    answer = guarded.client.get(f"{PREFIX}/worklist", headers={"Authorization": value, "Cookie": cookie})
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthenticated")


def test_metrics_need_their_action(guarded: Guarded) -> None:
    assert guarded.client.get("/metrics").status_code == 401
    assert guarded.client.get("/metrics", headers=guarded.token_of("reader")).status_code == 403
    assert "radloop_" in guarded.client.get("/metrics", headers=guarded.token_of("ml")).text


# Sessions


def signed_in(guarded: Guarded, name: str, *roles: str) -> str:
    """The cookie of a user who is made and signs in."""
    identities = guarded.installation.doors.identities
    assert identities is not None
    if name not in {user.name for user in identities.users()}:
        identities.create_user(name, PASSWORD, roles=roles or ["reader"], patients=None, by=OWNER)
    answer = guarded.client.post(f"{PREFIX}/session", json={"name": name, "password": PASSWORD})
    guarded.client.cookies.clear()
    assert answer.status_code == 200, answer.text
    return answer.headers["set-cookie"].partition(";")[0]


def test_signing_in_gives_a_cookie_no_script_and_no_other_site_can_use(guarded: Guarded) -> None:
    signed_in(guarded, "cora")
    with guarded.installation.client() as plain:
        answer = plain.post(f"{PREFIX}/session", json={"name": "cora", "password": PASSWORD})
    kept = answer.headers["set-cookie"]
    assert re.fullmatch(r"radloop=[\w-]{43}; HttpOnly; Max-Age=431\d\d; Path=/; SameSite=strict", kept)
    with TestClient(create_app(guarded.installation.doors), base_url="https://localhost:8443") as secure:
        answer = secure.post(f"{PREFIX}/session", json={"name": "cora", "password": PASSWORD})
        assert answer.headers["strict-transport-security"].startswith("max-age=")
        kept = answer.headers["set-cookie"]
        assert kept.startswith("__Host-radloop=")
        assert "; Secure" in kept
        assert "Domain" not in kept
        assert secure.get(f"{PREFIX}/session").json()["name"] == "cora"
    assert "strict-transport-security" not in guarded.client.get("/healthz").headers


def test_a_session_tells_who_one_is_and_ends_when_signed_out(guarded: Guarded) -> None:
    headers = {"Cookie": signed_in(guarded, "dora", "reader")}
    told = guarded.client.get(f"{PREFIX}/session", headers=headers).json()
    assert (told["name"], told["roles"], set(told["actions"])) == ("dora", ["reader"], ROLES["reader"])
    assert (told["is_open"], told["is_limited"]) == (False, False)
    assert guarded.client.get(f"{PREFIX}/worklist", headers=headers).status_code == 200
    gone = guarded.client.delete(f"{PREFIX}/session", headers=headers)
    assert gone.json() == {"signed_out": True, "address": None}
    assert "Max-Age=0" in gone.headers["set-cookie"]
    assert guarded.client.get(f"{PREFIX}/worklist", headers=headers).status_code == 401


def test_signing_in_anew_ends_the_session_before(guarded: Guarded) -> None:
    first = {"Cookie": signed_in(guarded, "emma")}
    again = guarded.client.post(f"{PREFIX}/session", json={"name": "emma", "password": PASSWORD}, headers=first)
    guarded.client.cookies.clear()
    assert again.status_code == 200
    assert guarded.client.get(f"{PREFIX}/worklist", headers=first).status_code == 401


def test_a_plain_cookie_does_not_stand_for_the_secure_one(guarded: Guarded) -> None:
    cookie = signed_in(guarded, "fred")
    with TestClient(create_app(guarded.installation.doors), base_url="https://localhost:8443") as secure:
        assert secure.get(f"{PREFIX}/worklist", headers={"Cookie": cookie}).status_code == 401


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": "x"},
        {"name": 1, "password": "x"},
        {"name": "x", "password": None},
        {"name": "x", "password": "y", "z": 1},
    ],
)
def test_a_sign_in_that_is_none_is_told_so(guarded: Guarded, body: dict) -> None:
    assert guarded.client.post(f"{PREFIX}/session", json=body).status_code == 400


def test_too_many_wrong_passwords_are_answered_with_when_to_try_again(guarded: Guarded) -> None:
    signed_in(guarded, "gina")
    codes = [guarded.client.post(f"{PREFIX}/session", json={"name": "gina", "password": "wrong"}) for _ in range(4)]
    assert [answer.status_code for answer in codes] == [401, 401, 401, 429]
    assert int(codes[-1].headers["retry-after"]) >= 1
    assert len({answer.text for answer in codes[:3]}) == 1


def test_another_site_cannot_sign_anybody_in_or_out(guarded: Guarded) -> None:
    headers = {"Cookie": signed_in(guarded, "hugo"), "Origin": "https://evil.example"}
    body = {"name": "hugo", "password": PASSWORD}
    assert guarded.client.post(f"{PREFIX}/session", json=body, headers=headers).status_code == 403
    assert guarded.client.delete(f"{PREFIX}/session", headers=headers).status_code == 403


# Users and credentials over HTTP


def test_an_administrator_makes_and_revokes_credentials(guarded: Guarded) -> None:
    admin = guarded.token_of("admin")
    made = guarded.client.post(
        f"{PREFIX}/credentials", json={"roles": ["reader"], "patients": ["A"], "note": "PACS", "days": 7}, headers=admin
    ).json()
    bearer = {"Authorization": f"Bearer {made['token']}"}
    assert guarded.client.get(f"{PREFIX}/session", headers=bearer).json()["is_limited"] is True
    listed = guarded.client.get(f"{PREFIX}/credentials", headers=admin)
    assert made["access_key_id"] in listed.text
    for secret in (made["token"], made["secret_access_key"]):
        assert secret not in listed.text
    gone = guarded.client.delete(f"{PREFIX}/credentials/{made['access_key_id']}", headers=admin)
    assert gone.json()["revoked_at"] is not None
    assert guarded.client.get(f"{PREFIX}/session", headers=bearer).status_code == 401
    assert guarded.client.delete(f"{PREFIX}/credentials/none", headers=admin).status_code == 404


def test_an_administrator_makes_changes_and_disables_users(guarded: Guarded) -> None:
    admin = guarded.token_of("admin")
    wish = {"name": "Ines", "password": PASSWORD, "roles": ["reader"]}
    made = guarded.client.post(f"{PREFIX}/users", json=wish, headers=admin).json()
    assert guarded.client.post(f"{PREFIX}/users", json=wish, headers=admin).status_code == 409
    cookie = {"Cookie": signed_in(guarded, "ines")}
    address = f"{PREFIX}/users/{made['id']}"
    assert guarded.client.patch(address, json={"roles": ["verifier"]}, headers=admin).json()["roles"] == ["verifier"]
    assert guarded.client.get(f"{PREFIX}/worklist", headers=cookie).status_code == 401
    assert guarded.client.patch(address, json={"disabled": True}, headers=admin).json()["disabled"] is True
    again = guarded.client.post(f"{PREFIX}/session", json={"name": "ines", "password": PASSWORD})
    assert again.status_code == 401
    for wrong in ({}, {"disabled": 1}, {"password": "short"}, {"roles": []}, {"name": "x"}):
        assert guarded.client.patch(address, json=wrong, headers=admin).status_code == 400
    assert PASSWORD not in guarded.client.get(f"{PREFIX}/users", headers=admin).text


def test_the_audit_tells_who_did_what(guarded: Guarded) -> None:
    signed_in(guarded, "jana")
    headers = guarded.token_of("auditor")
    (last, *_) = guarded.client.get(f"{PREFIX}/audit?action=session.create&limit=5", headers=headers).json()["items"]
    assert (last["action"], last["outcome"], last["principal"]) == ("session.create", "success", last["subject"])
    older = guarded.client.get(f"{PREFIX}/audit?before={last['seq']}", headers=headers).json()["items"]
    assert all(entry["seq"] < last["seq"] for entry in older)
    assert guarded.client.get(f"{PREFIX}/audit?limit=0", headers=headers).status_code == 400


# Patients out of scope


@dataclass(frozen=True)
class Two:
    """Two patients, one of whom the caller may know of."""

    guarded: Guarded
    own: str
    other: str
    headers: dict[str, str]

    def get(self, path: str) -> Any:
        return self.guarded.client.get(f"{PREFIX}/{path}", headers=self.headers)


@pytest.fixture(scope="module")
def two(guarded: Guarded) -> Two:
    own = guarded.installation.land(PHANTOM, folded=True)
    other = guarded.installation.land(OTHER)
    headers = guarded.token_of("verifier", patients=frozenset({PHANTOM.patient_id}))
    return Two(guarded, own, other, headers)


def test_lists_and_counts_know_only_patients_in_scope(two: Two) -> None:
    told = two.get("worklist").json()
    assert [item["id"] for item in told["items"]] == [two.own]
    assert (told["counts"]["INGESTED"], told["landed"], told["next"]) == (1, 0, None)
    assert OTHER.patient_id not in two.get("worklist").text
    everybody = two.guarded.client.get(f"{PREFIX}/worklist", headers=two.guarded.token_of("reader")).json()
    assert {item["id"] for item in everybody["items"]} == {two.own, two.other}
    assert everybody["landed"] == len(OTHER.files)
    nothing = two.guarded.token_of("reader", patients=frozenset())
    told = two.guarded.client.get(f"{PREFIX}/worklist", headers=nothing).json()
    assert (told["items"], set(told["counts"].values()), told["landed"]) == ([], {0}, 0)


@pytest.mark.parametrize(
    "path", ["", "/priors", "/frames/0", "/frames/0/preview", "/frames/99", "/thumbnail", "/export"]
)
def test_what_is_out_of_scope_is_answered_in_the_words_of_what_is_not_there(two: Two, path: str) -> None:
    missing = "0" * 32
    refused, absent = two.get(f"image-sets/{two.other}{path}"), two.get(f"image-sets/{missing}{path}")
    assert (refused.status_code, absent.status_code) == (404, 404)
    assert refused.text.replace(two.other, missing) == absent.text
    assert two.get(f"image-sets/{two.own}{path}").status_code == (404 if "99" in path else 200)


@pytest.mark.parametrize("path", ["image-sets/{}/verification", "image-sets/{}/complete", "predictions"])
def test_nothing_is_done_to_what_is_out_of_scope(two: Two, path: str) -> None:
    def post(identity: str) -> Any:
        finding = {
            "version": 1, "finding": "absent", "confidence": "low", "seen": {"frame": 0, "quality": "lossless"}
        }  # fmt: skip
        body = {"image_set": identity} if path == "predictions" else finding
        return two.guarded.client.post(f"{PREFIX}/{path.format(identity)}", json=body, headers=two.headers)

    missing = "0" * 32
    refused, absent = post(two.other), post(missing)
    assert (refused.status_code, absent.status_code) == (404, 404)
    assert refused.text.replace(two.other, missing) == absent.text
    assert two.guarded.installation.images.get(two.other).state == "INGESTED"


def test_a_file_of_a_patient_out_of_scope_is_not_taken_and_not_recognised(two: Two) -> None:
    files = [("files", ("a", OTHER.files[0])), ("files", ("b", PHANTOM.files[0]))]
    told = two.guarded.client.post(f"{PREFIX}/uploads", files=files, headers=two.headers).json()
    assert [(file["outcome"], file["code"], file["image_set"]) for file in told["files"]] == [
        ("quarantined", "out-of-scope", None),
        ("duplicate", None, two.own),
    ]


def test_reading_and_exporting_are_audited_with_the_reader(two: Two) -> None:
    two.get(f"image-sets/{two.own}/frames/1")
    two.get(f"image-sets/{two.own}/export")
    entries = two.guarded.client.get(
        f"{PREFIX}/audit?subject={two.own}", headers=two.guarded.token_of("auditor")
    ).json()
    done = {(entry["principal"], entry["action"]) for entry in entries["items"]}
    assert {("somebody", "read"), ("somebody", "export")} <= done


def test_a_role_without_images_gets_none_from_dicomweb(guarded: Guarded) -> None:
    headers = {**guarded.token_of("ml", "auditor", "release-approver"), "Accept": "application/dicom+json"}
    asked = 0
    for method, path in all_routes(create_app(guarded.installation.doors).routes):
        if not path.startswith("/dicomweb/") or method == "OPTIONS":
            continue
        filled = re.sub(r"{(study|series|instance)(:\w+)?}", "1.2.3", path)
        options = {"content": b"x"} if method == "POST" else {}
        kind = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=b'} if method == "POST" else {}
        address = re.sub(r"{[^}]+}", "1", filled)
        answer = guarded.client.request(method, address, headers={**headers, **kind}, **options)
        assert answer.status_code in {403, 406}, f"{method} {path} answers {answer.status_code}"
        asked += answer.status_code == 403
    assert asked > 10
