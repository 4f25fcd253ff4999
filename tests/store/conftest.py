from collections.abc import Iterator
from pathlib import Path

import pytest

from radloop.store.fsck import Inspection
from tests.store.house import House, open_house


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A store that is whole when the test is done with it, unless the test says that it damaged it."""
    with open_house(tmp_path) as opened:
        yield opened
        if not opened.is_damaged:
            found = Inspection(opened.blobs, opened.records, opened.keys, deep=True).run(opened.jobs.unfinished)
            assert found.faults == ()
