"""Updates, going back, copies and deletions, on a store of real parts."""

import gzip
import io
import json
from dataclasses import replace
from typing import Any

import pydicom
import pytest

from radloop.core.errors import Conflict, Denied, InvalidInput, NotFound
from radloop.core.identity import OWNER, Principal
from radloop.core.images import Confidence, Finding, ImageSet, Seen
from radloop.core.ports import Change
from radloop.core.tables import FRAME_FACTS, IMAGE_SETS, INSTANCES, METADATA, PACKS, SERIES, STUDIES, VERSIONS
from radloop.reading.truth import verify
from radloop.store.copies import Copies
from radloop.store.instances import put_instance
from radloop.store.metadata import Metadata
from radloop.store.revisions import Revisions
from radloop.store.versions import versions_of
from tests.store.house import House, now, of_patient, phantom


@pytest.fixture
def revisions(house: House) -> Revisions:
    return Revisions(house.blobs, house.records, now, house.images)


@pytest.fixture
def copies(house: House) -> Copies:
    return Copies(house.blobs, house.records, house.images._keys, now, house.images)


@pytest.fixture
def metadata(house: House) -> Metadata:
    return Metadata(house.blobs, house.records, house.images._keys, house.images)


def closed(house: House, *files: bytes, folded: bool = True) -> ImageSet:
    identity = house.land_one_set(*(files or phantom()))
    house.images.complete(identity, by=OWNER)
    if folded:
        house.images.fold(identity)
    return house.images.get(identity)


def read(data: bytes) -> pydicom.Dataset:
    return pydicom.dcmread(io.BytesIO(data))


def update(revisions: Revisions, image_set: ImageSet, *, removing: dict[str, Any] | None = None, **levels: Any) -> Any:
    options = {name: levels.pop(name) for name in ("force", "whole_study", "by", "expected") if name in levels}
    return revisions.update(
        image_set.id,
        updating=as_bytes(levels) if levels else None,
        removing=None if removing is None else as_bytes(removing),
        **{"expected": image_set.version, "by": OWNER, **options},
    )


def as_bytes(levels: dict[str, Any]) -> bytes:
    return json.dumps({"SchemaVersion": "1.1", **levels}).encode()


def of_series(image_set: ImageSet, **series: Any) -> dict[str, Any]:
    return {"Series": {image_set.series_uid: series}}


def document(metadata: Metadata, image_set: ImageSet, version: int | None = None) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(gzip.decompress(metadata.document(image_set, version)))
    return found


def instances(found: dict[str, Any]) -> dict[str, Any]:
    (series,) = found["Study"]["Series"].values()
    told: dict[str, Any] = series["Instances"]
    return told


# Updating


def test_each_level_is_updated(house: House, revisions: Revisions, metadata: Metadata) -> None:
    before = closed(house)
    sop = str(read(phantom()[0]).SOPInstanceUID)
    after = update(
        revisions,
        before,
        Patient={"DICOM": {"PatientName": "A^B"}},
        Study={
            "DICOM": {"StudyDescription": "S"},
            **of_series(
                before, DICOM={"SeriesDescription": "T"}, Instances={sop: {"DICOM": {"ImageComments": "looked at"}}}
            ),
        },
    )
    assert after.version == 2
    assert (after.attributes["PatientName"], after.attributes["SeriesDescription"]) == ("A^B", "T")
    found = document(metadata, after)
    assert found["Patient"]["DICOM"]["PatientName"] == "A^B"
    assert found["Study"]["DICOM"]["StudyDescription"] == "S"
    told = {name: each["DICOM"].get("ImageComments") for name, each in instances(found).items()}
    assert told == {
        str(read(file).SOPInstanceUID): ("looked at" if file is phantom()[0] else None) for file in phantom()
    }
    (study,) = house.records.find(STUDIES)
    assert study.document["attributes"]["PatientName"] == "A^B"
    assert {each.attributes["PatientName"] for each in house.images.instances(before.id)} == {"A^B"}


def test_what_came_is_what_is_exported_after_any_update(house: House, revisions: Revisions) -> None:
    before = closed(house)
    update(revisions, before, force=True, Study={"DICOM": {"StudyInstanceUID": "1.2.3", "StudyID": "9"}})
    assert {house.images.export(each) for each in house.images.instances(before.id)} == set(phantom())


@pytest.mark.parametrize(
    "levels",
    [
        {"Patient": {"DICOM": {"StudyDescription": "x"}}},
        {"Patient": {"DICOM": {"NoSuchThing": "x"}}},
        {"Patient": {"DICOM": {"PatientBirthDate": "soon"}}},
        {"Patient": {"DICOM": []}},
        {"Study": {"DICOM": {"StudyInstanceUID": "1.2.3"}}},
        {"Study": {"DICOM": {"StudyID": "7"}}},
        {"Study": {"Series": {"1.2.3": {"DICOM": {"SeriesDescription": "x"}}}}},
        {"Other": {}},
        {"SchemaVersion": "2.0", "Patient": {"DICOM": {"PatientName": "x"}}},
        {},
    ],
)
def test_an_update_that_makes_no_sense_is_refused(house: House, revisions: Revisions, levels: dict[str, Any]) -> None:
    before = closed(house)
    with pytest.raises(InvalidInput):
        revisions.update(before.id, updating=as_bytes(levels), removing=None, expected=1, by=OWNER)
    assert house.images.get(before.id).version == 1


def test_the_pixel_description_cannot_be_changed(house: House, revisions: Revisions) -> None:
    before = closed(house)
    sop = str(read(phantom()[0]).SOPInstanceUID)
    for name, value in (("Rows", 3), ("SOPClassUID", "1.2"), ("TransferSyntaxUID", "1.2")):
        with pytest.raises(InvalidInput):
            update(
                revisions,
                before,
                force=True,
                Study=of_series(before, Instances={sop: {"DICOM": {name: value}}}),
            )


def test_private_attributes_need_force(house: House, revisions: Revisions, metadata: Metadata) -> None:
    before = closed(house)
    sop = str(read(phantom()[0]).SOPInstanceUID)
    change = of_series(before, Instances={sop: {"DICOM": {"00091001": "x"}, "DICOMVRs": {"00091001": "SH"}}})
    with pytest.raises(InvalidInput, match="force"):
        update(revisions, before, Study=change)
    after = update(revisions, before, Study=change, force=True)
    told = instances(document(metadata, after))[sop]
    assert (told["DICOM"]["00091001"], told["DICOMVRs"]["00091001"]) == ("x", "SH")
    assert versions_of(house.records, after)[-1].forced


def test_two_instances_never_share_a_uid(house: House, revisions: Revisions) -> None:
    before = closed(house)
    first, second = (str(read(file).SOPInstanceUID) for file in phantom()[:2])
    change = of_series(before, Instances={first: {"DICOM": {"SOPInstanceUID": second}}})
    with pytest.raises(Conflict):
        update(revisions, before, Study=change, force=True)


def test_a_file_whose_uid_was_edited_is_known_when_it_comes_again(house: House, revisions: Revisions) -> None:
    before = closed(house)
    sop = str(read(phantom()[0]).SOPInstanceUID)
    edit = {sop: {"DICOM": {"SOPInstanceUID": "1.2.3"}}}
    update(revisions, before, force=True, Study=of_series(before, Instances=edit))
    packs = sorted(house.blobs.keys("image-sets/"))
    assert [landing.outcome for landing in house.land(*phantom()[:2])] == ["duplicate", "duplicate"]
    assert house.records.count(INSTANCES) == len(phantom())
    assert sorted(house.blobs.keys("image-sets/")) == packs


def test_an_attribute_is_removed(house: House, revisions: Revisions, metadata: Metadata) -> None:
    before = closed(house)
    after = update(revisions, before, removing={"Patient": {"DICOM": {"PatientBirthDate": ""}}})
    assert "PatientBirthDate" not in document(metadata, after)["Patient"]["DICOM"]
    assert "PatientBirthDate" not in after.attributes
    (told, *_) = (house.images.document(each) for each in house.images.instances(before.id))
    assert "00100030" not in told


def test_an_instance_is_taken_out_and_shown_again(house: House, revisions: Revisions, metadata: Metadata) -> None:
    before = closed(house)
    sop = str(read(phantom()[0]).SOPInstanceUID)
    after = update(revisions, before, removing={"Study": of_series(before, Instances={sop: {}})})
    assert (after.instances, after.frames, len(house.images.frames(before.id))) == (3, 3, 3)
    assert sop not in instances(document(metadata, after))
    (study,) = house.records.find(STUDIES)
    assert study.columns["instances"] == 3
    again = revisions.revert(before.id, to=1, expected=2, by=OWNER)
    assert (again.version, again.instances, len(house.images.frames(before.id))) == (3, 4, 4)
    assert document(metadata, again)["Study"] == document(metadata, again, 1)["Study"]
    with pytest.raises(InvalidInput):
        everything = {str(read(file).SOPInstanceUID): {} for file in phantom()}
        update(revisions, again, removing={"Study": of_series(before, Instances=everything)})


def test_a_change_of_the_patient_moves_the_image_set_to_that_patients_study(house: House, revisions: Revisions) -> None:
    before = closed(house)
    update(revisions, before, Patient={"DICOM": {"PatientID": "OTHER"}})
    (study,) = house.records.find(STUDIES)
    assert (study.document["patient_id"], study.columns["series"], study.columns["instances"]) == ("OTHER", 1, 4)


def test_a_late_instance_takes_its_place_under_the_edits(
    house: House, revisions: Revisions, metadata: Metadata
) -> None:
    before = closed(house, *phantom()[:3])
    update(revisions, before, Patient={"DICOM": {"PatientID": "OTHER", "PatientName": "A^B"}})
    identity = house.land_one_set(phantom()[3])
    assert identity == before.id
    after = house.images.complete(identity, by=OWNER)
    assert after.version == 3
    assert {each.attributes["PatientName"] for each in house.images.instances(identity)} == {"A^B"}
    assert document(metadata, after)["Patient"]["DICOM"]["PatientName"] == "A^B"
    assert [each.cause for each in versions_of(house.records, after)] == ["CREATED", "UPDATED", "IMPORTED"]


@pytest.mark.parametrize("is_of_before", [False, True])
def test_a_record_that_holds_an_edit_goes_back_to_what_its_file_says(
    house: House, revisions: Revisions, is_of_before: bool
) -> None:
    """Folding writes records as they are shown; homes of before have them so from the update on, with no noted UID."""
    before = closed(house, folded=False)
    came = {one.id: (one.sop_uid, one.attributes) for one in house.images.instances(before.id)}
    first, *_ = (uid for uid, _ in came.values())
    named = of_series(before, Instances={first: {"DICOM": {"SOPInstanceUID": "1.2.3.4"}}})
    patient = {} if is_of_before else {"Patient": {"DICOM": {"PatientName": "A^B"}}}
    after = update(revisions, before, Study=named, force=True, **patient)
    house.images.fold(before.id)
    shown = house.images.instances(before.id)
    assert is_of_before or {one.attributes["PatientName"] for one in shown} == {"A^B"}
    if is_of_before:
        house.records.commit(Change([put_instance(replace(one, received_uid=None), expected=None) for one in shown]))
    revisions.revert(before.id, to=1, expected=after.version, by=OWNER)
    assert {one.id: (one.sop_uid, one.attributes) for one in house.images.instances(before.id)} == came


def test_folding_after_an_update_goes_as_before(house: House, revisions: Revisions) -> None:
    before = closed(house, folded=False)
    update(revisions, before, Patient={"DICOM": {"PatientName": "A^B"}})
    after = house.images.fold(before.id)
    assert after.landed == 0
    assert {each.attributes["PatientName"] for each in house.images.instances(before.id)} == {"A^B"}
    assert {house.images.export(each) for each in house.images.instances(before.id)} == set(phantom())


def test_an_update_goes_to_the_whole_study_if_asked(house: House, revisions: Revisions) -> None:
    first = closed(house)
    other_series = [
        file.replace(first.series_uid.encode(), first.series_uid[:-1].encode() + b"7") for file in phantom()
    ]
    second = closed(house, *other_series)
    assert second.id != first.id
    assert second.study_uid == first.study_uid
    update(revisions, first, whole_study=True, Patient={"DICOM": {"PatientID": "OTHER"}})
    assert {house.images.get(each.id).patient_id for each in (first, second)} == {"OTHER"}
    (study,) = house.records.find(STUDIES)
    assert (study.columns["series"], study.columns["instances"]) == (2, 8)


def test_a_set_that_still_arrives_is_not_changed(house: House, revisions: Revisions) -> None:
    identity = house.land_one_set(*phantom())
    with pytest.raises(Conflict):
        update(revisions, house.images.get(identity), Patient={"DICOM": {"PatientName": "x"}})


def test_nobody_moves_images_to_a_patient_out_of_scope(house: House, revisions: Revisions) -> None:
    before = closed(house)
    scoped = Principal("s", OWNER.roles, frozenset({before.patient_id}))
    with pytest.raises(Denied):
        update(revisions, before, by=scoped, Patient={"DICOM": {"PatientID": "OTHER"}})
    update(revisions, before, Patient={"DICOM": {"PatientID": "OTHER"}})
    other = Principal("o", OWNER.roles, frozenset({"OTHER"}))
    with pytest.raises(Denied):
        revisions.revert(before.id, to=1, expected=2, by=other)


def test_a_verification_is_a_version_that_shows_what_was_there(
    house: House, revisions: Revisions, metadata: Metadata
) -> None:
    before = closed(house)
    finding = Finding(False, None, Confidence.HIGH, "", Seen(0, "lossless"))
    verified = verify(house.records, now, before.id, finding, version=1, by=OWNER)
    after = update(revisions, verified, Patient={"DICOM": {"PatientName": "A^B"}})
    assert [each.number for each in versions_of(house.records, after)] == [1, 2, 3]
    assert document(metadata, after, 2)["Patient"]["DICOM"]["PatientName"] == "Phantom^00001"
    assert after.truth is not None


# Copying


def test_a_copy_has_the_same_bytes_under_another_key(
    house: House, revisions: Revisions, copies: Copies, metadata: Metadata
) -> None:
    source = closed(house)
    document(metadata, source)
    copy = copies.copy(source.id, expected=1, by=OWNER)
    assert (copy.version, copy.instances, copy.is_primary, copy.wrapped_key == source.wrapped_key) == (
        1,
        4,
        False,
        False,
    )
    assert {house.images.export(each) for each in house.images.instances(copy.id)} == set(phantom())
    revisions.delete(source.id, by=OWNER)
    assert {house.images.export(each) for each in house.images.instances(copy.id)} == set(phantom())
    assert len(instances(document(metadata, house.images.get(copy.id)))) == 4


def test_some_instances_are_copied_and_then_others_added(house: House, revisions: Revisions, copies: Copies) -> None:
    source = closed(house)
    sops = [str(read(file).SOPInstanceUID) for file in phantom()]

    def chosen(*names: str) -> str:
        return as_bytes({"Study": of_series(source, Instances={name: {} for name in names})}).decode()

    copy = copies.copy(source.id, expected=1, by=OWNER, copies=chosen(*sops[:2]))
    assert copy.instances == 2
    grown = copies.copy(source.id, expected=1, by=OWNER, copies=chosen(sops[2]), into=(copy.id, 1))
    assert (grown.id, grown.version, grown.instances) == (copy.id, 2, 3)
    with pytest.raises(Conflict):
        copies.copy(source.id, expected=1, by=OWNER, copies=chosen(sops[2]), into=(copy.id, 2))
    with pytest.raises(InvalidInput):
        copies.copy(source.id, expected=1, by=OWNER, copies=chosen("1.2.3"))
    with pytest.raises(Conflict):
        copies.copy(source.id, expected=2, by=OWNER)


def test_a_claim_of_another_patient_is_put_right_and_promoted(
    house: House, revisions: Revisions, copies: Copies, metadata: Metadata
) -> None:
    first = closed(house, *phantom()[:2])
    stray = closed(house, *of_patient(9)[2:])
    assert (first.is_primary, stray.is_primary) == (True, False)
    with pytest.raises(Conflict, match="differ"):
        copies.copy(stray.id, expected=1, by=OWNER, promote=True)
    right = {"PatientID": first.patient_id, "PatientName": first.attributes["PatientName"]}
    stray = update(revisions, stray, Patient={"DICOM": right})
    whole = copies.copy(stray.id, expected=2, by=OWNER, promote=True)
    assert (whole.id, whole.instances, whole.is_primary) == (first.id, 4, True)
    found = document(metadata, whole)
    assert len(instances(found)) == 4
    assert all("PatientID" not in each["DICOM"] for each in instances(found).values())
    revisions.delete(stray.id, by=OWNER)
    (study,) = house.records.find(STUDIES)
    assert (study.columns["series"], study.columns["instances"]) == (1, 4)
    with pytest.raises(Conflict):
        copies.copy(first.id, expected=2, by=OWNER, promote=True)


def test_force_copies_what_differs_and_tells_it_as_of_the_destination(
    house: House, revisions: Revisions, copies: Copies, metadata: Metadata
) -> None:
    first = closed(house, *phantom()[:2])
    stray = closed(house, *of_patient(9)[2:])
    whole = copies.copy(stray.id, expected=1, by=OWNER, into=(first.id, 1), force=True)
    found = document(metadata, whole)
    assert found["Patient"]["DICOM"]["PatientID"] == first.patient_id
    assert all("PatientID" not in each["DICOM"] for each in instances(found).values())
    assert {each.attributes["PatientID"] for each in house.images.instances(first.id)} == {first.patient_id}
    assert versions_of(house.records, whole)[-1].forced
    exported = {house.images.export(each) for each in house.images.instances(first.id)}
    assert exported == {*phantom()[:2], *of_patient(9)[2:]}


def test_a_promoted_copy_takes_later_instances_of_its_series(
    house: House, revisions: Revisions, copies: Copies
) -> None:
    first = closed(house, *phantom()[:2])
    stray = closed(house, *of_patient(9)[2:3])
    revisions.delete(first.id, by=OWNER)
    copy = copies.copy(stray.id, expected=1, by=OWNER, promote=True)
    assert copy.is_primary
    assert house.land_one_set(of_patient(9)[3]) == copy.id


# Deleting


def test_nothing_is_left_of_what_was_deleted(house: House, revisions: Revisions, metadata: Metadata) -> None:
    image_set = closed(house)
    document(metadata, image_set)
    update(revisions, image_set, Patient={"DICOM": {"PatientName": "A^B"}})
    grave = revisions.delete(image_set.id, by=OWNER)
    assert (grave.version, grave.datastore) == (2, image_set.datastore)
    for table in (IMAGE_SETS, INSTANCES, SERIES, VERSIONS, PACKS, FRAME_FACTS, METADATA, STUDIES):
        assert house.records.find(table) == [], table.name
    assert list(house.blobs.keys("image-sets/")) == []
    with pytest.raises(NotFound):
        revisions.delete(image_set.id, by=OWNER)
    assert revisions.tombstone(image_set.id) == grave
    assert house.land_one_set(*phantom()) != image_set.id


def test_a_crash_while_deleting_leaves_only_what_the_next_start_removes(
    house: House, revisions: Revisions, monkeypatch: pytest.MonkeyPatch
) -> None:
    image_set = closed(house)

    def broken(key: str) -> None:
        raise RuntimeError(key)

    monkeypatch.setattr(house.blobs, "delete", broken)
    with pytest.raises(RuntimeError):
        revisions.delete(image_set.id, by=OWNER)
    monkeypatch.undo()
    assert house.records.find(IMAGE_SETS) == []
    assert house.images.sweep() > 0
    assert list(house.blobs.keys("image-sets/")) == []
