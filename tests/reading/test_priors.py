from dataclasses import replace
from typing import Any

import pytest

from radloop.core.identity import derived_id
from radloop.core.images import ImageSet
from radloop.core.ports import Change
from radloop.core.tables import put_image_set
from radloop.reading.priors import priors
from tests.api.installation import OTHER, Installation


@pytest.fixture
def looked_at(installation: Installation) -> ImageSet:
    return installation.images.get(installation.land())


def keep(installation: Installation, like: ImageSet, name: str, **changes: Any) -> ImageSet:
    """An image set like another one, with these fields or DICOM attributes changed."""
    attributes = {**like.attributes, **{key: changes.pop(key) for key in list(changes) if key[0].isupper()}}
    kept = replace(like, id=derived_id("prior", name), attributes=attributes, **changes)
    installation.platform.records.commit(Change(writes=[put_image_set(kept, expected=0)]))
    return kept


def names(installation: Installation, of: ImageSet, **options: int) -> list[str]:
    return [prior.image_set.id for prior in priors(installation.platform.records, of, **options)]


def test_other_studies_of_the_patient_come_newest_first(installation: Installation, looked_at: ImageSet) -> None:
    old = keep(installation, looked_at, "old", StudyDate="20190101")
    undated = keep(installation, looked_at, "undated", StudyDate=None)
    new = keep(installation, looked_at, "new", StudyDate="20990101")
    installation.land(OTHER)
    assert names(installation, looked_at) == [new.id, old.id, undated.id]
    assert names(installation, looked_at, limit=2) == [new.id, old.id]
    assert looked_at.id in names(installation, old)


def test_reports_and_other_data_stores_hold_no_priors(installation: Installation, looked_at: ImageSet) -> None:
    keep(installation, looked_at, "report", frames=0)
    keep(installation, looked_at, "elsewhere", datastore=derived_id("datastore", "other"))
    assert names(installation, looked_at) == []


@pytest.mark.parametrize("nobody", ["", "  "])
def test_images_without_a_patient_id_are_not_of_one_patient(
    installation: Installation, looked_at: ImageSet, nobody: str
) -> None:
    one = keep(installation, looked_at, "one", patient_id=nobody)
    keep(installation, looked_at, "two", patient_id=nobody)
    assert names(installation, one) == []


@pytest.mark.parametrize(("theirs", "same"), [("1.2.3", True), ("1.2.4", False), (None, None)])
def test_a_frame_of_reference_is_the_same_another_or_unknown(
    installation: Installation, looked_at: ImageSet, theirs: str | None, same: bool | None
) -> None:
    ours = keep(installation, looked_at, "ours", patient_id="A", FrameOfReferenceUID="1.2.3")
    keep(installation, looked_at, "theirs", patient_id="A", FrameOfReferenceUID=theirs)
    (prior,) = priors(installation.platform.records, ours)
    assert prior.same_frame_of_reference is same


def test_priors_are_told_by_the_image_set_and_never_by_the_patient(
    installation: Installation, looked_at: ImageSet
) -> None:
    old = keep(installation, looked_at, "old", StudyDate="20190101")
    (told,) = installation.client().get(f"/api/v1/image-sets/{looked_at.id}/priors").json()["items"]
    assert (told["id"], told["study_date"], told["same_frame_of_reference"]) == (old.id, "20190101", True)
    assert told["patient_id"] == looked_at.patient_id
