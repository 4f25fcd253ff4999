from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dimse.door import QUICK, Door, open_door


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    with open_door(tmp_path / "home", limits=QUICK) as opened:
        yield opened
