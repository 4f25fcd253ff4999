"""What holds for all tests."""

from typing import Any

import pytest
from hypothesis import settings

from tests import order

settings.register_profile("house", deadline=None)  # a busy machine is no fault of an example
settings.load_profile("house")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> order.LongestFirst | None:
    return order.LongestFirst(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):  # one of several at a time
        order.in_order(items)
