"""What every Buckets must do. Subclass it and provide the fixtures `buckets` and `name`, an empty bucket."""

import threading

import pytest

from radloop.core.errors import Denied, InvalidInput, NotFound, TooLarge
from radloop.core.ports import Bucket, Buckets

MOST = 64 << 20


class BucketsContract:
    @pytest.fixture
    def bucket(self, buckets: Buckets, name: str) -> Bucket:
        return buckets.open(name)

    def test_what_was_put_is_what_one_gets(self, bucket: Bucket) -> None:
        bucket.put("a/b", b"first")
        bucket.put("a/b", b"second")
        assert bucket.get("a/b", MOST) == b"second"

    def test_an_empty_file_is_a_file(self, bucket: Bucket) -> None:
        bucket.put("empty", b"")
        assert bucket.get("empty", 0) == b""
        assert list(bucket.keys()) == ["empty"]

    def test_what_is_not_there_is_not_found(self, bucket: Bucket) -> None:
        bucket.put("folder/key", b"x")
        for key in ("nothing", "folder"):
            with pytest.raises(NotFound):
                bucket.get(key, MOST)

    def test_keys_are_those_of_the_prefix_in_order(self, bucket: Bucket) -> None:
        for key in ("b/2", "a/1", "b/10", "bc", "b/1/x", "b/ß", "b/~"):
            bucket.put(key, b"")
        assert list(bucket.keys("b/")) == ["b/1/x", "b/10", "b/2", "b/~", "b/ß"]
        assert list(bucket.keys("b")) == [*bucket.keys("b/"), "bc"]
        assert list(bucket.keys("none/")) == []
        assert len(list(bucket.keys())) == 7

    @pytest.mark.parametrize("key", ["a b+c/d%20e.dcm", "x&y=z?.dcm", "Ü/日本.dcm", "#1"])
    def test_a_name_may_hold_what_addresses_may_not(self, bucket: Bucket, key: str) -> None:
        bucket.put(key, key.encode())
        assert list(bucket.keys()) == [key]
        assert bucket.get(key, MOST) == key.encode()

    def test_a_file_may_be_as_long_as_allowed_and_no_longer(self, bucket: Bucket) -> None:
        bucket.put("a", b"12345")
        assert bucket.get("a", 5) == b"12345"
        with pytest.raises(TooLarge):
            bucket.get("a", 4)

    def test_a_long_file_comes_back_whole(self, bucket: Bucket) -> None:
        data = bytes(range(251)) * 50_000
        bucket.put("long", data)
        assert bucket.get("long", MOST) == data

    def test_a_reader_sees_a_whole_file(self, bucket: Bucket) -> None:
        values = [letter * 300_000 for letter in (b"a", b"b")]
        bucket.put("k", values[0])
        writer = threading.Thread(target=lambda: [bucket.put("k", values[turn % 2]) for turn in range(10)])
        writer.start()
        while writer.is_alive():
            assert bucket.get("k", MOST) in values
        writer.join()

    def test_a_bucket_that_is_not_there_is_told(self, buckets: Buckets) -> None:
        with pytest.raises((InvalidInput, NotFound, Denied)):
            buckets.open("not-there-at-all").put("a", b"")
        with pytest.raises((InvalidInput, NotFound, Denied)):
            list(buckets.open("not-there-at-all").keys())
