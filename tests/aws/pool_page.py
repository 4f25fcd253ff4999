"""The page and the endpoints of a user pool, as Cognito has them: OAuth 2.0 (RFC 6749) with PKCE (RFC 7636).

It stands where no emulator does (`/oauth2/revoke`, a browser's walk), and is strict: a code is good for one exchange,
within its time, for the client and the address it was given for, and for whoever knows its verifier.
"""

import base64
import hashlib
import html
import json
import re
import secrets
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
from joserfc import jwt
from joserfc.jwk import RSAKey

POOL, CLIENT, NATIVE = "eu-west-1_standsin1", "viewer", "native"


@dataclass
class Pool:
    """What the server knows, and how it behaves.

    Attributes:
        people: User name -> `sub`, groups, email.
        homes: Addresses it leads back to, for the client of pages.
        loopbacks: The same for the client of programs, compared as a whole (as Cognito does).
        life_s: Of an access token.
        is_away: Whether its endpoints fail.
        rotates: Whether a renewal gives another refresh token, and ends the one before.
    """

    homes: set[str]
    people: dict[str, dict[str, Any]] = field(default_factory=dict)
    pool: str = POOL
    client: str = CLIENT
    native: str = NATIVE
    loopbacks: set[str] = field(default_factory=set)
    life_s: int = 900
    is_away: bool = False
    rotates: bool = False
    address: str = ""
    codes: dict[str, dict[str, Any]] = field(default_factory=dict)
    refresh: dict[str, tuple[str, str]] = field(default_factory=dict)
    sessions: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "pool"}))

    @property
    def issuer(self) -> str:
        return f"{self.address}/{self.pool}"

    def add(self, name: str, *groups: str, sub: str = "") -> str:
        self.people[name] = {"sub": sub or str(uuid.uuid4()), "groups": list(groups)}
        return str(self.people[name]["sub"])

    def leads_back_to(self, client: str | None) -> set[str]:
        """Addresses of a client; none of one that is not known."""
        return {self.client: self.homes, self.native: self.loopbacks}.get(str(client), set())

    def access_token(self, name: str, client: str = "") -> str:
        person, now = self.people[name], int(time.time())
        claims = {
            "sub": person["sub"],
            "iss": self.issuer,
            "client_id": client or self.client,
            "token_use": "access",
            "username": person["sub"],
            "jti": str(uuid.uuid4()),
            "iat": now,
            "exp": now + self.life_s,
            "cognito:groups": person["groups"],
        }
        return jwt.encode({"alg": "RS256", "kid": self.key.kid}, claims, self.key)

    def coded(self, name: str, asked: dict[str, str]) -> str:
        """Where a browser goes that has signed in."""
        code = str(uuid.uuid4())
        self.codes[code] = {**asked, "name": name, "until": time.time() + 300}
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}"

    def token(self, asked: dict[str, str]) -> tuple[int, dict[str, Any]]:  # noqa: PLR0911 — a way out for each refusal
        """What the token endpoint answers (RFC 6749 §5)."""
        client = asked.get("client_id", "")
        if client not in {self.client, self.native}:
            return 400, {"error": "invalid_client"}
        if asked.get("grant_type") == "authorization_code":
            known = self.codes.pop(asked.get("code", ""), None)
            digest = hashlib.sha256(asked.get("code_verifier", "").encode()).digest()
            is_right = (
                known is not None
                and time.time() < known["until"]
                and known["client_id"] == client
                and known["redirect_uri"] == asked.get("redirect_uri")
                and known["code_challenge"] == base64.urlsafe_b64encode(digest).decode().rstrip("=")
            )
            if known is None or not is_right:
                return 400, {"error": "invalid_grant"}
            return 200, self._given(known["name"], client, self._renewal(known["name"], client))
        if asked.get("grant_type") == "refresh_token":
            token = asked.get("refresh_token", "")
            name, of_client = self.refresh.get(token, ("", ""))
            if of_client != client:
                return 400, {"error": "invalid_grant"}
            if not self.rotates:
                return 200, self._given(name, client, None)
            del self.refresh[token]
            return 200, self._given(name, client, self._renewal(name, client))
        return 400, {"error": "unsupported_grant_type"}

    def _renewal(self, name: str, client: str) -> str:
        token = secrets.token_urlsafe(1200)
        self.refresh[token] = (name, client)
        return token

    def _given(self, name: str, client: str, renewal: str | None) -> dict[str, Any]:
        told = {"access_token": self.access_token(name, client), "token_type": "Bearer", "expires_in": self.life_s}
        return told if renewal is None else {**told, "refresh_token": renewal}


def come_in(address: str, name: str) -> str:
    """Sign in at the page as a person with a browser would; where it leads back to."""
    shown = httpx.get(address)
    assert shown.status_code == 200, shown.text
    fields = re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', shown.text)
    told = {key: html.unescape(value) for key, value in fields}
    parts = urlsplit(address)
    return httpx.post(f"{parts.scheme}://{parts.netloc}/login", data={**told, "name": name}).headers["location"]


@contextmanager
def pool_serving(*homes: str, **options: Any) -> Iterator[Pool]:
    """A pool that leads back to `homes` and nowhere else."""
    pool = Pool(set(homes), **options)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(pool))
    pool.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield pool
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(pool: Pool) -> type[BaseHTTPRequestHandler]:  # noqa: C901 — one server, all of its addresses
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 — as the base has it
            pass

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
            pool.asked.append(parts.path)
            if parts.path == f"/{pool.pool}/.well-known/jwks.json":
                self._json(200, {"keys": [{**pool.key.as_dict(private=False), "alg": "RS256", "use": "sig"}]})
            elif parts.path == "/oauth2/authorize":
                self._authorize(asked)
            elif parts.path == "/logout":
                is_known = asked.get("client_id") == pool.client and asked.get("logout_uri") in pool.homes
                self._away(asked["logout_uri"], "pool=; Max-Age=0") if is_known else self._json(400, {})
            else:
                self._json(404, {})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            pool.asked.append(self.path)
            target = self.headers.get("X-Amz-Target", "")
            if target.endswith((".AdminGetUser", ".AdminListGroupsForUser")):
                self._person(json.loads(body)["Username"], target.endswith(".AdminListGroupsForUser"))
                return
            asked = {name: values[0] for name, values in parse_qs(body.decode()).items()}
            if self.path == "/login":
                name = asked.pop("name")
                if name not in pool.people:
                    self._json(400, {})
                    return
                session = secrets.token_urlsafe(16)
                pool.sessions[session] = name
                self._away(pool.coded(name, asked), f"pool={session}; HttpOnly; SameSite=Lax")
            elif pool.is_away:
                self._json(503, {"message": "away"})
            elif self.path == "/oauth2/token":
                self._json(*pool.token(asked))
            elif self.path == "/oauth2/revoke":
                pool.refresh.pop(asked.get("token", ""), None)
                self._json(200 if pool.leads_back_to(asked.get("client_id")) else 400, {})
            else:
                self._json(404, {})

        def _authorize(self, asked: dict[str, str]) -> None:
            is_right = (
                asked.get("response_type") == "code"
                and asked.get("redirect_uri") in pool.leads_back_to(asked.get("client_id"))
                and asked.get("code_challenge_method") == "S256"
                and len(asked.get("code_challenge", "")) == 43
                and len(asked.get("state", "")) >= 16
                and "openid" in asked.get("scope", "")
            )
            if not is_right:
                self._json(400, {})
                return
            cookie = SimpleCookie(self.headers.get("Cookie", "")).get("pool")
            name = pool.sessions.get(cookie.value) if cookie else None
            if name is not None:
                self._away(pool.coded(name, asked))
                return
            hidden = "".join(
                f'<input type="hidden" name="{html.escape(key)}" value="{html.escape(value)}">'
                for key, value in asked.items()
            )
            page = f'<title>Pool</title><form method="post" action="/login">{hidden}'
            self._send(
                200, f'{page}<label>User <input name="name"></label><button>Come in</button></form>', "text/html"
            )

        def _person(self, sub: str, is_of_groups: bool) -> None:
            for name, person in pool.people.items():
                if person["sub"] == sub and is_of_groups:
                    self._json(200, {"Groups": [{"GroupName": group} for group in person["groups"]]})
                    return
                if person["sub"] == sub:
                    told = [{"Name": "sub", "Value": sub}, {"Name": "email", "Value": name}]
                    self._json(200, {"Username": sub, "Enabled": True, "UserAttributes": told})
                    return
            self._json(400, {"__type": "UserNotFoundException"})

        def _away(self, address: str, cookie: str = "") -> None:
            self.send_response(302)
            self.send_header("Location", address)
            if cookie:
                self.send_header("Set-Cookie", cookie)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _json(self, status: int, told: dict[str, Any]) -> None:
            self._send(status, json.dumps(told), "application/json")

        def _send(self, status: int, text: str, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

    return Handler
