"""An image set of many slices on one machine."""

from collections.abc import Iterator

import pytest

from radloop.core.identity import OWNER
from tests.contracts.image_sets import SLICES, Long, LongImageSetContract
from tests.store.house import now, open_house, slices


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Long]:
    with open_house(tmp_path_factory.mktemp("house")) as house:
        files = slices(SLICES)
        identity = house.land_one_set(*files)
        house.images.complete(identity, by=OWNER)
        house.images.fold(identity)
        yield Long(house.images, house.blobs, house.records, house.keys, now, identity, files)


class TestLongImageSets(LongImageSetContract):
    pass
