from collections.abc import Iterator
from pathlib import Path

import pytest

from radloop.core.settings import Settings
from tests.functions.house import House


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    built = House.build(tmp_path, Settings())
    yield built
    built.database.close()
