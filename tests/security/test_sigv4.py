"""Signatures as the SDK makes them, and everything that must not pass for one."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from radloop.local.shared import SharedNotes
from radloop.security import sigv4
from radloop.security.sigv4 import (
    REPEAT_S,
    Call,
    IncompleteSignature,
    InvalidSignature,
    MissingToken,
    SignatureExpired,
    SignatureRefused,
    UnrecognizedClient,
    verify,
)

KEY, SECRET = "AKRLTESTTESTTESTTEST", "c2VjcmV0/c2VjcmV0+secret"
HOST = "runtime-127.0.0.1:8443"
ARN = "arn:aws:medical-imaging:us-east-1:123456789012:datastore/abc/imageset/é f"
SECOND = timedelta(seconds=1)


def secret_of(identity: str) -> str | None:
    return SECRET if identity == KEY else None


def present() -> datetime:
    return datetime.now(UTC)


def received(request: AWSRequest, body: bytes) -> Call:
    """What arrives of a request that botocore prepared."""
    prepared = request.prepare()
    parts = urlsplit(prepared.url)
    headers = [(name.encode(), str(value, "utf-8").encode() if isinstance(value, bytes) else str(value).encode())
               for name, value in prepared.headers.items()]  # fmt: skip
    if not any(name.lower() == b"host" for name, _ in headers):
        headers.append((b"Host", parts.netloc.encode()))
    return Call(prepared.method, parts.path.encode(), parts.query.encode(), headers, hashlib.sha256(body).hexdigest())


def signed(
    method: str = "POST",
    path: str = "/datastore/abc/imageSet/def/getImageFrame",
    *,
    body: bytes = b'{"imageFrameId":"x"}',
    params: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    service: str = "medical-imaging",
    token: str | None = None,
) -> Call:
    request = AWSRequest(method, f"https://{HOST}{path}", headers=dict(headers or {}), data=body, params=params or {})
    SigV4Auth(Credentials(KEY, SECRET, token), service, "eu-central-1").add_auth(request)
    return received(request, body)


def presigned(path: str = "/datastore/abc", *, expires: int = 60, query: str = "", token: str | None = None) -> Call:
    request = AWSRequest("GET", f"https://{HOST}{path}{query}")
    SigV4QueryAuth(Credentials(KEY, SECRET, token), "medical-imaging", "us-east-1", expires=expires).add_auth(request)
    return received(request, b"")


def with_header(call: Call, name: str, value: bytes | None) -> Call:
    """The call with a header replaced, or taken away."""
    rest = [each for each in call.headers if each[0].lower() != name.encode()]
    return replace(call, headers=rest if value is None else [*rest, (name.encode(), value)])


def header(call: Call, name: str) -> bytes:
    (value,) = [value for key, value in call.headers if key.lower() == name.encode()]
    return value


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PUT"])
@pytest.mark.parametrize(
    "path",
    [
        "/datastore",
        "/datastore/",
        "/tags/" + quote(ARN, safe=""),
        "/tags/arn:aws:x:y/z",
        "/a%20b/%E2%82%AC~x",
        "/studies/1.2.3/series/%2A*(x)",
        "/",
    ],
)
def test_what_the_sdk_signs_is_accepted(method: str, path: str) -> None:
    body = b"" if method == "GET" else b"\x00\xffbody"
    call = signed(method, path, body=body, params={"maxResults": "7", "next token": "a+b/c=&é~", "empty": ""})
    found = verify(call, secret_of, present())
    assert (found.access_key_id, found.is_presigned) == (KEY, False)
    assert found.body_sha256 == hashlib.sha256(body).hexdigest()


def test_headers_are_trimmed_as_the_sdk_trims_them() -> None:
    call = signed(headers={"X-Amz-Meta": "  a    b  ", "Content-Type": "application/json", "X-Amz-Two": "x"})
    assert verify(call, secret_of, present()).access_key_id == KEY
    assert verify(with_header(call, "x-amz-meta", b"a b"), secret_of, present())


@given(
    segments=st.lists(st.text(min_size=1, max_size=8).filter(lambda part: part not in {".", ".."}), max_size=4),
    params=st.dictionaries(st.text(min_size=1, max_size=6), st.text(max_size=8), max_size=4),
    body=st.binary(max_size=40),
    method=st.sampled_from(["GET", "POST", "DELETE"]),
    other=st.sampled_from(["method", "path", "query", "body", "secret"]),
)
@settings(max_examples=150)
def test_any_request_verifies_as_it_was_signed_and_in_no_other_way(
    segments: list[str], params: dict[str, str], body: bytes, method: str, other: str
) -> None:
    path = "/" + "/".join(quote(part.encode("utf-8", "ignore"), safe="") or "x" for part in segments)
    params = {key: value for key, value in params.items() if (key + value).isprintable()}
    call = signed(method, path, params=params, body=body)
    assert verify(call, secret_of, present()).access_key_id == KEY
    changed = {
        "method": replace(call, method="PUT"),
        "path": replace(call, path=call.path + b"x"),
        "query": replace(call, query=call.query + b"&added=1"),
        "body": replace(call, body_sha256=hashlib.sha256(body + b"x").hexdigest()),
        "secret": call,
    }[other]
    with pytest.raises(InvalidSignature):
        verify(changed, lambda _: "another" if other == "secret" else SECRET, present())


@given(query=st.text(st.characters(max_codepoint=126, min_codepoint=33), max_size=20))
@settings(max_examples=200)
def test_one_signature_stands_for_one_reading_of_the_query(query: str) -> None:
    from starlette.datastructures import QueryParams

    base = signed("GET", "/datastore", body=b"", params={"a": "b c", "d": "e+f"})
    try:
        verify(replace(base, query=query.encode()), secret_of, present())
    except SignatureRefused:
        return
    assert sorted(QueryParams(query).multi_items()) == [("a", "b c"), ("d", "e+f")]


@pytest.mark.parametrize("query", [b"a=b%20c&d=e%2Bf", b"d=e%2bf&a=b+c", b"&a=%62%20c&d=e%2Bf&"])
def test_the_same_query_in_another_spelling_is_the_same(query: bytes) -> None:
    base = signed("GET", "/datastore", body=b"", params={"a": "b c", "d": "e+f"})
    assert verify(replace(base, query=query), secret_of, present())


@pytest.mark.parametrize("query", [b"a=b%20c&d=e+f", b"a=b%20c&d=e%2Bf&d=e%2Bf", b"a=b%20c", b"", b"A=b%20c&d=e%2Bf"])
def test_another_query_is_not_signed(query: bytes) -> None:
    base = signed("GET", "/datastore", body=b"", params={"a": "b c", "d": "e+f"})
    with pytest.raises(InvalidSignature):
        verify(replace(base, query=query), secret_of, present())


@pytest.mark.parametrize(
    "path", [b"//datastore", b"/x/../datastore", b"/./datastore", b"/datastore/..", b"/datastore/.", b"datastore", b""]
)
def test_a_path_that_would_be_signed_as_another_is_refused(path: bytes) -> None:
    call = signed("GET", "/datastore", body=b"")
    with pytest.raises(InvalidSignature):
        verify(replace(call, path=path), secret_of, present())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("host", b"other:8443"),
        ("host", None),
        ("x-amz-date", None),
        ("x-amz-date", b"20200101T000000Z"),
        ("x-amz-meta", b"changed"),
        ("x-amz-meta", None),
        ("x-amz-unsigned", b"1"),
        ("x-amz-content-sha256", b"UNSIGNED-PAYLOAD"),
        ("x-amz-content-sha256", b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD"),
        ("x-amz-content-sha256", hashlib.sha256(b"other").hexdigest().encode()),
        ("x-amz-security-token", b"made-up"),
    ],
)
def test_every_signed_header_counts_and_no_amazon_header_goes_unsigned(name: str, value: bytes | None) -> None:
    call = with_header(signed(headers={"X-Amz-Meta": "a"}), name, value)
    with pytest.raises(SignatureRefused):
        verify(call, secret_of, present())


def test_a_payload_that_the_sender_does_not_sign_is_refused_even_if_the_sender_says_so() -> None:
    for stated in ("UNSIGNED-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"):
        with pytest.raises(InvalidSignature, match="body must be signed"):
            verify(signed(headers={"X-Amz-Content-SHA256": stated}), secret_of, present())


def test_a_body_that_is_still_on_its_way_is_signed_for_by_its_stated_hash() -> None:
    digest = hashlib.sha256(b"large").hexdigest()
    call = replace(signed(body=b"large", headers={"X-Amz-Content-SHA256": digest}), body_sha256=None)
    assert verify(call, secret_of, present()).body_sha256 == digest
    with pytest.raises(IncompleteSignature):
        verify(replace(signed(body=b"large"), body_sha256=None), secret_of, present())


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (b"Bearer x", MissingToken),
        (b"AWS4-HMAC-SHA256", IncompleteSignature),
        (b"AWS4-HMAC-SHA256 Credential=a/20260101/r/s/aws4_request", IncompleteSignature),
        (b"AWS4-HMAC-SHA256 Credential=a, SignedHeaders=host, Signature=00", IncompleteSignature),
        (b"AWS4-HMAC-SHA256 \xff=\x00", IncompleteSignature),
    ],
)
def test_what_is_no_signature_is_told_as_such(value: bytes, kind: type[SignatureRefused]) -> None:
    with pytest.raises(kind):
        verify(with_header(signed(), "authorization", value), secret_of, present())


def test_without_any_signature_the_token_is_missing() -> None:
    with pytest.raises(MissingToken):
        verify(with_header(signed(), "authorization", None), secret_of, present())


@pytest.mark.parametrize("part", ["Credential", "SignedHeaders", "Signature"])
def test_a_changed_part_of_the_authorization_is_refused(part: str) -> None:
    call = signed()
    value = header(call, "authorization").decode()
    for letter in "0f;/":
        place = value.index(f"{part}=") + len(part) + 3
        changed = value[:place] + letter + value[place + 1 :]
        if changed != value:
            with pytest.raises(SignatureRefused):
                verify(with_header(call, "authorization", changed.encode()), secret_of, present())
    doubled = f"{value}, {part}=x".encode()
    with pytest.raises(IncompleteSignature):
        verify(with_header(call, "authorization", doubled), secret_of, present())


def test_header_names_must_be_signed_in_order_and_lower_case() -> None:
    call = signed()
    value = header(call, "authorization").replace(b"host;x-amz-date", b"x-amz-date;host")
    with pytest.raises(IncompleteSignature):
        verify(with_header(call, "authorization", value), secret_of, present())


def test_an_unknown_key_and_a_session_token_are_told_alike() -> None:
    with pytest.raises(UnrecognizedClient) as unknown:
        verify(signed(), lambda _: None, present())
    with pytest.raises(UnrecognizedClient) as token:
        verify(signed(token="session"), secret_of, present())
    assert str(unknown.value) == str(token.value)


def test_another_service_is_refused() -> None:
    with pytest.raises(InvalidSignature):
        verify(signed(service="s3"), secret_of, present())
    assert verify(signed(service="s3"), secret_of, present(), services={"s3"})


@pytest.mark.parametrize(("seconds", "is_valid"), [(-297, True), (297, True), (-303, False), (303, False)])
def test_a_request_is_valid_for_five_minutes_around_its_date(seconds: int, is_valid: bool) -> None:
    call, now = signed(), present() + seconds * SECOND
    if is_valid:
        assert verify(call, secret_of, now)
    else:
        with pytest.raises(SignatureExpired):
            verify(call, secret_of, now)


# Presigned addresses


@pytest.mark.parametrize("query", ["", "?a=1", "?name=J%C3%BCrgen%20X&empty="])
def test_a_presigned_address_is_accepted_until_it_expires(query: str, replays: SharedNotes) -> None:
    call, now = presigned("/tags/" + quote(ARN, safe=""), expires=600, query=query), present()
    for seconds in (0, 1, 400, 597):
        assert verify(call, secret_of, now + seconds * SECOND, replays=replays).is_presigned
    with pytest.raises(SignatureExpired):
        verify(call, secret_of, now + 603 * SECOND)
    with pytest.raises(SignatureExpired):
        verify(call, secret_of, now - 303 * SECOND)


@pytest.mark.parametrize(
    "change",
    [
        (b"X-Amz-Expires=60", b"X-Amz-Expires=61"),
        (b"X-Amz-Expires=60", b"X-Amz-Expires=0"),
        (b"X-Amz-Expires=60", b"X-Amz-Expires=604801"),
        (b"X-Amz-Expires=60", b"X-Amz-Expires=-1"),
        (b"X-Amz-Expires=60", b"X-Amz-Expires=6%D9%A0"),
        (b"X-Amz-Expires=60", b"x"),
        (b"X-Amz-Expires=60", b"X-Amz-Expires=60&X-Amz-Expires=60"),
        (b"a=1", b"a=2"),
        (b"us-east-1", b"us-east-2"),
        (b"medical-imaging", b"s3"),
        (b"SignedHeaders=host", b"SignedHeaders=accept"),
        (b"AWS4-HMAC-SHA256", b"AWS4-HMAC-SHA1"),
        (b"X-Amz-Signature=", b"X-Amz-Signature=00&X-Amz-Signature="),
        (b"X-Amz-Signature=", b"Signature="),
    ],
)
def test_a_changed_presigned_address_is_refused(change: tuple[bytes, bytes]) -> None:
    call = presigned(query="?a=1")
    query = call.query.replace(*change)
    assert query != call.query
    with pytest.raises(SignatureRefused):
        verify(replace(call, query=query), secret_of, present())


def test_a_presigned_address_lives_a_week_at_most() -> None:
    assert verify(presigned(expires=sigv4.LONGEST_PRESIGNED_S), secret_of, present())
    with pytest.raises(IncompleteSignature):
        verify(presigned(expires=sigv4.LONGEST_PRESIGNED_S + 1), secret_of, present())


def test_a_presigned_address_with_a_session_token_or_another_body_is_refused() -> None:
    with pytest.raises(UnrecognizedClient):
        verify(presigned(token="session"), secret_of, present())
    with pytest.raises(InvalidSignature):
        verify(replace(presigned(), body_sha256=hashlib.sha256(b"x").hexdigest()), secret_of, present())


# Replay


@pytest.fixture
def replays(tmp_path: Path) -> Iterator[SharedNotes]:
    notes = SharedNotes(tmp_path / "notes.sqlite")
    yield notes
    notes.close()


def test_the_same_request_again_is_a_retry_at_once_and_a_replay_later(replays: SharedNotes) -> None:
    call, now = signed(), present()
    for seconds in (0.0, 0.5, REPEAT_S):
        assert verify(call, secret_of, now + seconds * SECOND, replays=replays)
    with pytest.raises(SignatureExpired, match="before"):
        verify(call, secret_of, now + (REPEAT_S + 0.1) * SECOND, replays=replays)
    assert verify(signed(body=b"another"), secret_of, now + 10 * SECOND, replays=replays)


def test_reading_may_be_repeated(replays: SharedNotes) -> None:
    call, now = signed("GET", body=b""), present()
    assert verify(call, secret_of, now, replays=replays)
    assert verify(call, secret_of, now + 100 * SECOND, replays=replays)


def test_wrong_signatures_are_not_remembered(replays: SharedNotes) -> None:
    call, now = signed(), present()
    for _ in range(2):
        with pytest.raises(InvalidSignature):
            verify(replace(call, method="PUT"), secret_of, now, replays=replays)
    assert verify(call, secret_of, now + 100 * SECOND, replays=replays)
