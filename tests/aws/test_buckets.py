"""S3 keeps the contract of Buckets; what goes wrong on the way is put right, or told in our words."""

import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from radloop.aws.buckets import S3Buckets
from radloop.core.errors import Denied, InvalidInput, NotFound, TooLarge, Unavailable
from radloop.core.ports import Buckets
from tests.aws.emulators import client
from tests.contracts.buckets import MOST, BucketsContract


class TestS3Buckets(BucketsContract):
    @pytest.fixture
    def buckets(self, s3: str) -> Buckets:
        return S3Buckets(s3)

    def test_a_list_longer_than_one_answer_is_whole(self, s3: str, name: str) -> None:
        server, keys = client(s3, "s3"), [f"k{number:04d}" for number in range(1005)]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda key: server.put_object(Bucket=name, Key=key, Body=b""), keys))
        assert list(S3Buckets(s3).open(name).keys()) == keys

    def test_an_archived_object_is_told_from_one_that_is_closed_to_us(self, s3: str, name: str) -> None:
        client(s3, "s3").put_object(Bucket=name, Key="cold", Body=b"x", StorageClass="GLACIER")
        with pytest.raises(InvalidInput, match="archived"):
            S3Buckets(s3).open(name).get("cold", MOST)

    def test_a_bucket_that_is_not_there_is_not_found(self, s3: str) -> None:
        with pytest.raises(NotFound, match="bucket"):
            list(S3Buckets(s3).open("no-such-bucket").keys())


class Flaky:
    """A server that speaks as much of S3 as a download needs, and does what is asked of it."""

    def __init__(self) -> None:
        self.data = b""
        self.cuts: list[int] = []
        self.refusals: list[tuple[int, str]] = []
        self.is_replaced_when_cut = False
        self.asked: list[str | None] = []

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.asked.append(handler.headers.get("Range"))
        if self.refusals:
            status, code = self.refusals.pop(0)
            return self._refuse(handler, status, code)
        tag = f'"{hashlib.md5(self.data).hexdigest()}"'
        if handler.headers.get("If-Match", tag) != tag:
            return self._refuse(handler, 412, "PreconditionFailed")
        asked = handler.headers.get("Range")
        start = 0 if asked is None else int(asked.removeprefix("bytes=").partition("-")[0])
        handler.send_response(200 if asked is None else 206)
        handler.send_header("ETag", tag)
        handler.send_header("Content-Length", str(len(self.data) - start))
        if asked is not None:
            handler.send_header("Content-Range", f"bytes {start}-{len(self.data) - 1}/{len(self.data)}")
        handler.end_headers()
        end = self.cuts.pop(0) if self.cuts else len(self.data)
        handler.wfile.write(self.data[start:end])
        handler.close_connection = True
        if end < len(self.data) and self.is_replaced_when_cut:
            self.data = self.data[::-1]
        return None

    @staticmethod
    def _refuse(handler: BaseHTTPRequestHandler, status: int, code: str) -> None:
        body = f"<Error><Code>{code}</Code><Message>secret words</Message></Error>".encode()
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)


@pytest.fixture
def flaky() -> Iterator[tuple[Flaky, str]]:
    behaviour = Flaky()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            behaviour.answer(self)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield behaviour, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_download_that_is_cut_off_goes_on_where_it_was_cut(flaky: tuple[Flaky, str]) -> None:
    behaviour, address = flaky
    behaviour.data = bytes(range(251)) * 20_000
    behaviour.cuts = [1_000_000, 1_000_000, 5_000_000]
    assert S3Buckets(address).open("scans").get("a", MOST) == behaviour.data
    assert behaviour.asked[0] is None
    starts = [int(asked.removeprefix("bytes=").rstrip("-")) for asked in behaviour.asked[1:] if asked]
    assert len(starts) == 3
    assert 0 < starts[0] <= 1_000_000
    assert starts[-1] > 3_000_000


def test_a_download_is_never_put_together_from_two_objects(flaky: tuple[Flaky, str]) -> None:
    behaviour, address = flaky
    behaviour.data, behaviour.cuts, behaviour.is_replaced_when_cut = b"ab" * 2_000_000, [2_000_000], True
    with pytest.raises(Unavailable, match="PreconditionFailed"):
        S3Buckets(address).open("scans").get("a", MOST)


def test_a_download_that_is_cut_off_every_time_is_given_up(flaky: tuple[Flaky, str]) -> None:
    behaviour, address = flaky
    behaviour.data, behaviour.cuts = b"x" * 1000, [0] * 50
    with pytest.raises(Unavailable, match="again and again"):
        S3Buckets(address).open("scans").get("a", MOST)
    assert len(behaviour.cuts) == 45


def test_an_object_that_is_too_long_is_not_fetched(flaky: tuple[Flaky, str]) -> None:
    behaviour, address = flaky
    behaviour.data = b"x" * 100
    with pytest.raises(TooLarge):
        S3Buckets(address).open("scans").get("a", 99)


def test_a_server_that_is_busy_is_asked_again(flaky: tuple[Flaky, str]) -> None:
    behaviour, address = flaky
    behaviour.data, behaviour.refusals = b"x", [(503, "SlowDown")]
    assert S3Buckets(address).open("scans").get("a", MOST) == b"x"
    assert len(behaviour.asked) == 2


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (403, "AccessDenied", Denied),
        (403, "InvalidObjectState", InvalidInput),
        (404, "NoSuchKey", NotFound),
        (404, "NoSuchBucket", NotFound),
        (400, "KeyTooLongError", InvalidInput),
        (409, "OperationAborted", Unavailable),
    ],
)
def test_a_refusal_is_told_in_our_words(
    flaky: tuple[Flaky, str], status: int, code: str, kind: type[Exception]
) -> None:
    behaviour, address = flaky
    behaviour.refusals = [(status, code)] * 9
    with pytest.raises(kind) as caught:
        S3Buckets(address).open("scans").get("patient/name", MOST)
    assert "secret" not in str(caught.value)
    assert "patient" not in str(caught.value)


def test_without_credentials_nothing_is_allowed(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for each in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(each)
    with pytest.raises(Denied, match="credentials"):
        list(S3Buckets(s3).open("scans").keys())


def test_a_server_that_is_not_there_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("radloop.aws.clients.TRIES", 1)
    with pytest.raises(Unavailable, match="cannot be reached"):
        list(S3Buckets("http://127.0.0.1:9").open("scans").keys())


def test_a_name_that_no_bucket_can_have_is_refused(s3: str) -> None:
    with pytest.raises(InvalidInput):
        list(S3Buckets(s3).open("a/b c").keys())


def test_an_endpoint_that_is_no_address_is_refused() -> None:
    with pytest.raises(InvalidInput, match="s3_endpoint"):
        S3Buckets("not an address")
