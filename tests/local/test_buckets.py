"""The folders of a home keep the contract of Buckets, and go before what is elsewhere."""

from pathlib import Path

import pytest

from radloop.core.errors import InvalidInput
from radloop.core.ports import Buckets
from radloop.local.blobs import FileBlobs
from radloop.local.buckets import OURS, FileBuckets
from tests.contracts.buckets import MOST, BucketsContract


class TestFileBuckets(BucketsContract):
    @pytest.fixture
    def buckets(self, tmp_path: Path) -> Buckets:
        return FileBuckets(FileBlobs(tmp_path))

    @pytest.fixture
    def name(self) -> str:
        return "training-data"


def test_what_lies_here_goes_before_what_is_elsewhere(tmp_path: Path) -> None:
    here, there = FileBlobs(tmp_path / "here"), FileBlobs(tmp_path / "there")
    there.put("scans/a", b"there")
    there.put("training-data/a", b"there")
    asked: list[int] = []

    def beyond() -> Buckets:
        asked.append(1)
        return FileBuckets(there)

    buckets = FileBuckets(here, beyond)
    for name in OURS:
        assert list(buckets.open(name).keys()) == []
    assert asked == []
    assert buckets.open("scans").get("a", MOST) == b"there"
    here.put("scans/a", b"here")
    assert buckets.open("scans").get("a", MOST) == b"here"


def test_without_the_extra_the_refusal_names_it(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="extra aws"):
        FileBuckets(FileBlobs(tmp_path)).open("scans")


@pytest.mark.parametrize("name", ["", "..", "a/b", "/etc"])
def test_a_name_never_leads_out_of_the_home(tmp_path: Path, name: str) -> None:
    (tmp_path / "objects" / "a" / "b").mkdir(parents=True)
    with pytest.raises(InvalidInput):
        FileBuckets(FileBlobs(tmp_path / "objects")).open(name)
