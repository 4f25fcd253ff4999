import pytest

from radloop.core.errors import Conflict, NotFound
from radloop.core.identity import OWNER
from radloop.core.images import Confidence, Finding, Seen
from radloop.core.ports import Change
from radloop.core.tables import IMAGE_SETS, image_set_of, put_image_set
from radloop.reading.opinion import keep_prediction
from radloop.reading.truth import verify
from tests.api.installation import Installation, now

SAID = {"probability": 0.25, "finding": "absent", "model_version": 3}


def test_a_prediction_is_kept_without_a_new_version_so_that_a_reader_may_go_on(installation: Installation) -> None:
    identity = installation.land()
    records = installation.platform.records
    kept = keep_prediction(records, identity, SAID, version=1, by=OWNER)
    assert installation.images.get(identity) == kept
    assert (kept.version, kept.prediction) == (1, SAID)
    finding = Finding(False, None, Confidence.LOW, "", Seen(0, "lossless"))
    assert verify(records, now, identity, finding, version=1, by=OWNER).prediction == SAID


def test_a_prediction_on_images_that_changed_since_is_not_kept(installation: Installation) -> None:
    identity = installation.land()
    with pytest.raises(Conflict):
        keep_prediction(installation.platform.records, identity, SAID, version=2, by=OWNER)
    assert installation.images.get(identity).prediction is None
    with pytest.raises(NotFound):
        keep_prediction(installation.platform.records, "0" * 32, SAID, version=1, by=OWNER)


def test_folding_in_between_does_not_lose_the_prediction(installation: Installation) -> None:
    identity = installation.land()
    real = installation.platform.records

    class Busy:
        """Records in which somebody else is faster, once."""

        is_first = True

        def get(self, *arguments):
            return real.get(*arguments)

        def commit(self, change):
            if self.is_first:
                self.is_first = False
                row = real.get(IMAGE_SETS, identity)
                real.commit(Change(writes=[put_image_set(image_set_of(row), expected=row.revision)]))
            real.commit(change)

    keep_prediction(Busy(), identity, SAID, version=1, by=OWNER)
    assert installation.images.get(identity).prediction == SAID
