from tests.api.conftest import client, installation

__all__ = ["client", "installation", "stored"]

import pytest

from tests.api.dicomweb.asking import OTHER
from tests.api.installation import Installation, TestClient


@pytest.fixture
def stored(installation: Installation, client: TestClient) -> TestClient:
    """One study folded, another as it landed."""
    installation.land(folded=True)
    installation.land(OTHER)
    return client
