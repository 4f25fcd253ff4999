"""The ports on SQLite and files keep their contracts."""

import errno
import os
from pathlib import Path

import pytest

from radloop.core.errors import Denied, Unavailable
from radloop.core.ports import Keys
from radloop.local.blobs import FileBlobs
from radloop.local.keys import open_keyring
from tests.contracts.blobs import BlobsContract
from tests.contracts.bus import BusContract
from tests.contracts.jobs import JobsContract
from tests.contracts.keys import KeysContract
from tests.contracts.records import RecordsContract


class TestFileBlobs(BlobsContract):
    def test_drafts_of_a_crash_are_swept_and_never_seen(self, blobs: FileBlobs) -> None:
        blobs.put("a/whole", b"x")
        (blobs.path("a/whole").parent / ".draft-crashed").write_bytes(b"half")
        assert list(blobs.keys()) == ["a/whole"]
        assert (blobs.sweep(), blobs.sweep()) == (1, 0)

    def test_a_full_disk_is_our_fault_and_leaves_the_old_value(
        self, blobs: FileBlobs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        blobs.put("a", b"old")

        def full(_: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(Unavailable, match="ENOSPC"):
            blobs.put("a", b"new")
        monkeypatch.undo()
        assert blobs.get("a") == b"old"
        assert blobs.sweep() == 0


class TestSqliteRecords(RecordsContract):
    pass


class TestSqliteJobs(JobsContract):
    pass


class TestSqliteBus(BusContract):
    pass


class TestFileKeyring(KeysContract):
    @pytest.fixture
    def keys(self, tmp_path: Path) -> Keys:
        return open_keyring(tmp_path / "kek")

    @pytest.fixture
    def others(self, tmp_path: Path) -> Keys:
        return open_keyring(tmp_path / "elsewhere" / "kek")

    def test_a_key_file_that_others_may_read_is_refused(self, tmp_path: Path) -> None:
        open_keyring(tmp_path / "kek")
        (tmp_path / "kek").chmod(0o640)
        with pytest.raises(Denied, match="chmod 600"):
            open_keyring(tmp_path / "kek")

    def test_opening_again_gives_the_same_key(self, tmp_path: Path) -> None:
        first, again = open_keyring(tmp_path / "kek"), open_keyring(tmp_path / "kek")
        sealed = first.create()
        assert again.unwrap(sealed) == first.unwrap(sealed)
