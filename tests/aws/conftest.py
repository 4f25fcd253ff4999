"""One S3 server for all tests of a process; each test has its own bucket."""

import uuid
from collections.abc import Iterator

import pytest

from tests.aws.server import CREDENTIALS, make_bucket, s3_serving


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    with s3_serving() as address:
        yield address


@pytest.fixture
def name(s3: str) -> str:
    bucket = f"scans-{uuid.uuid4().hex[:12]}"
    make_bucket(s3, bucket)
    return bucket
