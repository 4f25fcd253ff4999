from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.installation import Installation, open_installation


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    with open_installation(tmp_path) as opened:
        yield opened
