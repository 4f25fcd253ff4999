from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.installation import Installation, TestClient, open_installation


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    with open_installation(tmp_path) as opened:
        yield opened


@pytest.fixture
def client(installation: Installation) -> Iterator[TestClient]:
    with installation.client() as opened:
        yield opened
