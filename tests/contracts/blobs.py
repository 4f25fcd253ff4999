"""What every Blobs must do. Subclass it and provide the `blobs` fixture."""

import threading

import pytest

from radloop.core.errors import InvalidInput, NotFound, Unavailable
from radloop.core.ports import Blobs, Span


class BlobsContract:
    def test_what_was_put_is_what_one_gets(self, blobs: Blobs) -> None:
        blobs.put("a/b", b"first")
        blobs.put("a/b", b"second")
        assert blobs.get("a/b") == b"second"

    def test_span_excludes_its_end_and_is_cut_at_the_last_byte(self, blobs: Blobs) -> None:
        blobs.put("frames/a", b"0123456789")
        assert blobs.get("frames/a", Span(2, 5)) == b"234"
        assert blobs.get("frames/a", Span(8, 99)) == b"89"
        assert blobs.get("frames/a", Span(20, 30)) == b""

    def test_what_is_not_there_is_not_found(self, blobs: Blobs) -> None:
        blobs.put("folder/key", b"")
        for key in ("nothing", "folder", "folder/key/below"):
            with pytest.raises(NotFound):
                blobs.get(key)

    def test_a_value_being_written_is_not_there_until_the_block_ends(self, blobs: Blobs) -> None:
        with blobs.writer("big") as writer:
            assert [writer.write(b"abc"), writer.write(b""), writer.write(b"de")] == [0, 3, 3]
            assert list(blobs.keys()) == []
        assert blobs.get("big") == b"abcde"

    def test_a_write_that_fails_leaves_the_old_value(self, blobs: Blobs) -> None:
        blobs.put("big", b"old")
        with pytest.raises(ZeroDivisionError), blobs.writer("big") as writer:
            writer.write(b"new")
            raise ZeroDivisionError
        assert blobs.get("big") == b"old"
        assert list(blobs.keys()) == ["big"]

    def test_a_write_under_a_name_nobody_knows_is_whole_or_nothing_too(self, blobs: Blobs) -> None:
        with blobs.writer("fresh", is_unnamed=True) as writer:
            writer.write(b"abc")
            assert list(blobs.keys()) == []
        assert blobs.get("fresh") == b"abc"
        with pytest.raises(ZeroDivisionError), blobs.writer("other", is_unnamed=True) as writer:
            writer.write(b"new")
            raise ZeroDivisionError
        assert list(blobs.keys()) == ["fresh"]

    def test_a_growing_value_is_read_up_to_where_it_has_settled(self, blobs: Blobs) -> None:
        growing = blobs.growing("folder/pack")
        long = bytes(range(256)) * 1024
        assert [growing.write(b"abc"), growing.write(long)] == [0, 3]
        growing.settle()
        growing.settle()
        assert blobs.get("folder/pack") == b"abc" + long
        if not growing.is_full:
            assert growing.write(b"more") == 3 + len(long)
            growing.settle()
            assert blobs.get("folder/pack", Span(3 + len(long), 1 << 30)) == b"more"
        growing.close()
        growing.close()
        growing.settle()
        with pytest.raises(Unavailable):
            growing.write(b"too late")
        assert blobs.get("folder/pack")[:3] == b"abc"

    def test_a_growing_value_that_was_closed_too_early_does_not_settle(self, blobs: Blobs) -> None:
        growing = blobs.growing("pack")
        growing.write(b"abc")
        growing.close()
        with pytest.raises(Unavailable):
            growing.settle()

    def test_what_is_given_at_once_is_what_one_gets(self, blobs: Blobs) -> None:
        blobs.put("a", b"0123456789")
        assert blobs.at_once("a", Span(2, 5)) in (None, b"234")
        blobs.put("a", b"abcdefghij")
        assert blobs.at_once("a", Span(2, 5)) in (None, b"cde")
        assert blobs.at_once("a", Span(2, 5)) in (None, b"cde")
        assert blobs.at_once("a", Span(8, 12)) is None, "there are not so many bytes"
        blobs.delete("a")
        assert blobs.at_once("a", Span(2, 5)) is None
        assert blobs.at_once("nothing", Span(0, 1)) is None

    def test_keys_are_those_of_the_prefix_in_order(self, blobs: Blobs) -> None:
        for key in ("b/2", "a/1", "b/10", "bc", "b/1/x"):
            blobs.put(key, b"")
        assert list(blobs.keys("b")) == ["b/1/x", "b/10", "b/2", "bc"]
        assert list(blobs.keys("b/")) == ["b/1/x", "b/10", "b/2"]
        assert list(blobs.keys("none/")) == []

    def test_forgetting_twice_is_forgetting_once(self, blobs: Blobs) -> None:
        blobs.put("a", b"1")
        blobs.delete("a")
        blobs.delete("a")
        assert list(blobs.keys()) == []

    @pytest.mark.parametrize("key", ["", "/etc/passwd", "../up", "a/../../b", "a//b", "./a", "a\0b"])
    def test_a_key_that_would_leave_the_store_is_refused(self, blobs: Blobs, key: str) -> None:
        with pytest.raises(InvalidInput):
            blobs.put(key, b"x")

    def test_readers_beside_a_writer_see_one_whole_value(self, blobs: Blobs) -> None:
        values = [bytes([n]) * 200_000 for n in range(2)]
        blobs.put("value", values[0])
        stop = threading.Event()
        seen: set[bytes] = set()

        def read() -> None:
            while not stop.is_set():
                seen.add(blobs.get("value"))

        reader = threading.Thread(target=read)
        reader.start()
        for n in range(40):
            blobs.put("value", values[n % 2])
        stop.set()
        reader.join()
        assert seen <= set(values)
