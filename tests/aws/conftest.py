"""One server of each kind for all tests of a process; each test has its own resources in it."""

import pytest

from radloop.aws import clients
from radloop.aws.bus import EventBridgeBus
from radloop.aws.jobs import SqsJobs
from radloop.aws.records import DynamoRecords
from tests.aws.arriving import healthimaging_url
from tests.aws.emulators import CREDENTIALS, make_bucket, ministack, moto_server, unique
from tests.aws.substrate import Substrate

__all__ = ["healthimaging_url", "ministack", "moto_server"]


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    clients.session.cache_clear()
    clients.client.cache_clear()


@pytest.fixture
def s3(moto_server: str) -> str:
    return moto_server


@pytest.fixture
def name(s3: str) -> str:
    return make_bucket(s3, unique("scans"))


@pytest.fixture
def substrate(ministack: str) -> Substrate:
    return Substrate(ministack)


@pytest.fixture
def records(substrate: Substrate) -> DynamoRecords:
    return substrate.records


@pytest.fixture
def jobs(substrate: Substrate) -> SqsJobs:
    return substrate.jobs


@pytest.fixture
def bus(substrate: Substrate) -> EventBridgeBus:
    return substrate.bus
