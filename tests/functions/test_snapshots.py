"""Data set snapshots: what is in them, what is left out and why, and that they never change."""

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest

from radloop.core.datasets import EXTERNAL, Split, age_band_of, scanner_of, sex_of, split_of, view_of
from radloop.core.errors import Conflict, Corrupt, InvalidInput, NotFound
from radloop.core.identity import Principal
from radloop.core.images import Confidence, Finding, ImageSet, Seen, Truth
from radloop.core.ports import Change, Put
from radloop.core.reads import Read, put_read
from radloop.core.settings import Settings
from radloop.core.tables import DATASTORES, DEFAULT_DATASTORE, RETIRED_PATIENTS, put_image_set
from radloop.functions import snapshots
from radloop.functions.retired import REASONS, Retirement, retire, retired
from radloop.functions.snapshots import Snapshot, difference, keep, read, take
from radloop.security.access import RolePolicy
from tests.functions.house import House, patients_in

OTHER_STORE = "b" * 32
ML = Principal("somebody", frozenset({"ml"}))


def with_settings(house: House, **changes: Any) -> House:
    return House(
        platform=replace(house.platform, settings=replace(Settings(), **changes)),
        clock=house.clock,
        engine=house.engine,
        inbox=house.inbox,
        database=house.database,
    )


def settled(house: House, patient: str, *, present: bool = True, **changes: Any) -> ImageSet:
    """A verified image set with other facts than usual; what begins with `truth_` is of its truth."""
    of_truth = {name.removeprefix("truth_"): changes.pop(name) for name in list(changes) if name.startswith("truth_")}
    stored = house.store(patient, **changes)
    confidence = of_truth.pop("confidence", Confidence.HIGH)
    finding = Finding(present=present, site=None, confidence=confidence, note="", seen=Seen(0, "lossless"))
    truth = Truth(**{"finding": finding, "by": "reader-1", "at": house.clock(), **of_truth})
    after, _ = stored.settle(truth)
    house.platform.records.commit(Change(writes=[put_image_set(after, expected=1)]))
    return after


def only(snapshot: Snapshot) -> Any:
    (example,) = snapshot.examples
    return example


def reasons(house: House) -> dict[str, str]:
    return {each["image_set"]: each["reason"] for each in take(house.platform).facts["exclusions"]}


# What is told of an image set


def test_a_line_tells_bands_and_pseudonyms_and_nothing_of_the_patient(house: House) -> None:
    attributes = {
        "Modality": "DX",
        "PatientName": "Doe^Jane",
        "PatientSex": "f",
        "PatientBirthDate": "19500301",
        "StudyDate": "20200229",
        "InstitutionName": "  St. Elsewhere ",
        "Manufacturer": "Halden Tomography",
        "ManufacturerModelName": "HT-128",
        "ViewPosition": "PA",
    }
    one = settled(house, "P-1", attributes=attributes)
    snapshot = take(house.platform)
    example = only(snapshot)
    assert (example.sex, example.age_band, example.view) == ("F", "65+", "PA")
    assert example.scanner == "halden-tomography-ht-128"
    assert example.source == house.platform.keys.pseudonym("institution\0st. elsewhere")
    assert (example.posterior, example.weight, example.reads, example.licence) == (1.0, 1.0, 1, "unstated")
    assert (example.split, example.version) == (split_of("P-1"), one.version)
    for secret in ("Doe", "Elsewhere", "P-1", "1950", "2020", one.study_uid):
        assert secret.encode() not in snapshot.manifest
        assert secret not in json.dumps(snapshot.facts)


def test_facts_that_nobody_told_are_unknown(house: House) -> None:
    settled(house, "P-1", attributes={"Modality": "CT"})
    example = only(take(house.platform))
    assert {example.sex, example.age_band, example.view, example.scanner} == {"unknown"}
    assert example.source == DEFAULT_DATASTORE


@pytest.mark.parametrize(
    ("attributes", "band"),
    [
        ({"PatientAge": "017Y"}, "0-17"),
        ({"PatientAge": "018Y"}, "18-39"),
        ({"PatientAge": "030M"}, "0-17"),
        ({"PatientAge": "064Y"}, "40-64"),
        ({"PatientBirthDate": "20000301", "StudyDate": "20180228"}, "0-17"),
        ({"PatientBirthDate": "20000301", "StudyDate": "20180301"}, "18-39"),
        ({"PatientBirthDate": "20000230", "StudyDate": "20180301"}, "unknown"),
        ({"PatientBirthDate": "20200101", "StudyDate": "20180301"}, "unknown"),
        ({"PatientAge": "old", "PatientBirthDate": "", "StudyDate": None}, "unknown"),
    ],
)
def test_age_bands(attributes: dict[str, Any], band: str) -> None:
    assert age_band_of(attributes) == band


def test_other_facts() -> None:
    assert (sex_of({"PatientSex": "O"}), sex_of({"PatientSex": "Jane"}), sex_of({})) == ("O", "unknown", "unknown")
    assert (view_of({"ViewPosition": "ap "}), view_of({"ViewPosition": "Doe"}), view_of({})) == (
        "AP",
        "other",
        "unknown",
    )
    assert scanner_of({"Manufacturer": "  "}) == "unknown"
    assert len(scanner_of({"Manufacturer": "x" * 500})) == 64


def test_labels_of_several_readers_carry_their_posterior_and_one_readers_doubt_is_a_weight(house: House) -> None:
    settled(house, "P-1", truth_posterior=0.91234567, truth_reads=3, truth_rule="posterior")
    settled(house, "P-2", present=False, truth_posterior=0.7, truth_reads=2, truth_rule="adjudication")
    settled(house, "P-3", truth_confidence=Confidence.LOW)
    found = {example.patient: example for example in take(house.platform).examples}
    first, second, third = (found[house.platform.keys.pseudonym(f"P-{number}")] for number in (1, 2, 3))
    assert (first.posterior, first.weight, first.reads) == (0.912346, 1.0, 3)
    assert (second.label, second.posterior, second.weight) == (0, 0.0, 1.0)
    assert (third.posterior, third.weight) == (1.0, 0.5)


# What is left out


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"frames": 0}, "no-pixels"),
        ({"is_closed": False}, "still-arriving"),
        ({"attributes": {"Modality": "MR"}}, "unsupported-modality"),
        ({"geometry": {"gaps": [{"after": 3, "missing": 1}], "doubled": []}}, "irregular-volume"),
        ({"geometry": {"gaps": [], "doubled": [4]}}, "irregular-volume"),
        ({"is_primary": False}, "doubtful-identity"),
        ({"attributes": {"Modality": "CT", "BurnedInAnnotation": "YES"}}, "burned-in"),
        ({"attributes": {"Modality": "CT", "ManufacturerModelName": "radloop AI result"}}, "made-by-ai"),
        ({"truth_posterior": 0.55, "truth_rule": "posterior"}, "low-posterior"),
    ],
)
def test_what_is_left_out_has_its_reason(house: House, changes: dict[str, Any], reason: str) -> None:
    kept, left = settled(house, "P-1"), settled(house, "P-2", **changes)
    snapshot = take(house.platform)
    assert only(snapshot).image_set == kept.id
    assert reasons(house) == {left.id: reason}
    assert snapshot.facts["excluded"] == {reason: 1}
    assert reason in snapshots.REASONS


def test_without_a_patients_id_there_is_no_part(house: House) -> None:
    left = settled(house, "")
    assert reasons(house) == {left.id: "no-patient-id"}


def test_what_was_read_and_not_settled_is_told_and_left_out(house: House) -> None:
    stored = house.store("P-1")
    finding = Finding(present=True, site=None, confidence=Confidence.HIGH, note="", seen=Seen(0, "lossless"))
    opinion = Read("r" * 32, stored.id, 1, "reader-1", finding, house.clock())
    house.platform.records.commit(Change(writes=[put_read(opinion, stored.datastore)]))
    assert reasons(house) == {stored.id: "no-posterior"}
    assert take(house.platform).examples == ()


def name_store(house: House) -> None:
    house.platform.records.commit(Change(writes=[Put(DATASTORES, OTHER_STORE, {"name": "elsewhere"}, {}, expected=0)]))


@pytest.mark.parametrize("named", ["elsewhere", OTHER_STORE])
def test_an_external_data_store_is_only_evaluated(house: House, named: str) -> None:
    name_store(house)
    settled(house, "P-1")
    outside = settled(house, "X-1", datastore=OTHER_STORE)
    both = settled(house, "P-1", number=2, datastore=OTHER_STORE)
    snapshot = take(with_settings(house, external_datastores=(named,)).platform)
    assert {example.image_set: example.split for example in snapshot.examples}[outside.id] == EXTERNAL
    assert {each["image_set"]: each["reason"] for each in snapshot.facts["exclusions"]} == {both.id: "patient-at-home"}
    assert snapshot.facts["counts"][EXTERNAL] == {"absent": 0, "present": 1}


def test_a_data_store_may_be_left_out_and_have_a_licence(house: House) -> None:
    name_store(house)
    settled(house, "P-1", datastore=OTHER_STORE)
    left = take(with_settings(house, excluded_datastores=("elsewhere",)).platform)
    assert left.facts["excluded"] == {"excluded-by-setting": 1}
    licensed = take(with_settings(house, licences={"elsewhere": "CC BY 4.0"}).platform)
    assert only(licensed).licence == "CC BY 4.0"
    assert licensed.facts["licences"] == {"CC BY 4.0": 1}


# Retired patients


@pytest.fixture
def careful(house: House) -> House:
    """A house whose policy knows who may retire whom."""
    policy = RolePolicy({"ml": frozenset({"test.retire"}), "reader": frozenset()})
    return replace(house, platform=replace(house.platform, policy=policy))


def test_a_retired_patient_is_in_no_part_of_any_later_snapshot(careful: House) -> None:
    patient, other = patients_in(Split.TEST, 2, "P")
    one = settled(careful, patient)
    settled(careful, other)
    before = take(careful.platform)
    assert retire([one.id], "unblinded", careful.platform, by=ML) == Retirement(retired=1, already=0)
    assert retire([one.id], "other", careful.platform, by=ML) == Retirement(retired=0, already=1)
    later = settled(careful, patient, number=2)
    after = take(careful.platform)
    assert {example.image_set for example in before.examples} - {one.id} == {only(after).image_set}
    assert reasons(careful) == {one.id: "retired-patient", later.id: "retired-patient"}
    assert after.facts["retired_patients"] == [careful.platform.keys.pseudonym(patient)]
    (row,) = careful.platform.records.find(RETIRED_PATIENTS)
    assert row.document["reason"] == "unblinded", "the first reason stays"
    assert patient not in json.dumps(dict(row.document))


def test_only_test_patients_are_retired_and_all_of_a_request_or_none(careful: House) -> None:
    tested, trained = patients_in(Split.TEST, 1, "P")[0], patients_in(Split.TRAIN, 1, "P")[0]
    names = [settled(careful, tested).id, settled(careful, trained).id]
    with pytest.raises(InvalidInput, match="not tested on"):
        retire(names, "unblinded", careful.platform, by=ML)
    with pytest.raises(NotFound):
        retire([names[0], "x" * 32], "unblinded", careful.platform, by=ML)
    with pytest.raises(InvalidInput, match="reason"):
        retire(names[:1], "bored", careful.platform, by=ML)
    with pytest.raises(InvalidInput, match="at least one"):
        retire([], REASONS[0], careful.platform, by=ML)
    assert retired(careful.platform) == frozenset()


def test_who_may_not_know_of_a_patient_cannot_retire_them(careful: House) -> None:
    (patient,) = patients_in(Split.TEST, 1, "P")
    one = settled(careful, patient)
    with pytest.raises(NotFound):
        retire([one.id], "unblinded", careful.platform, by=replace(ML, patients=frozenset({"somebody else"})))


def test_two_who_retire_at_once_retire_once(careful: House, monkeypatch: pytest.MonkeyPatch) -> None:
    (patient,) = patients_in(Split.TEST, 1, "P")
    one = settled(careful, patient)
    records, commit = careful.platform.records, careful.platform.records.commit
    raced: list[bool] = []

    def race(change: Change) -> None:
        if not raced:
            raced.append(True)
            commit(change)
            raise Conflict("somebody was faster")
        commit(change)

    monkeypatch.setattr(records, "commit", race)
    assert retire([one.id], "unblinded", careful.platform, by=ML) == Retirement(retired=0, already=1)


# Kept for good


def test_the_same_ground_truth_is_the_same_bytes_whatever_the_order(house: House) -> None:
    for number in (3, 1, 2):
        settled(house, f"P-{number}")
    one = take(house.platform)
    house.clock.wait(1000)
    other = take(house.platform, list(reversed(snapshots.verified(house.platform)))[::-1])
    assert (one.manifest, one.facts) == (other.manifest, other.facts)
    assert one.sha256 == hashlib.sha256(one.manifest).hexdigest()


def test_what_is_kept_is_read_back_and_never_written_again(house: House) -> None:
    settled(house, "P-1")
    one = take(house.platform)
    keep(one, house.platform)
    keep(replace(one, facts={"format": 99}), house.platform)
    assert read(one.sha256, house.platform) == replace(one, facts=json.loads(json.dumps(one.facts)))
    assert snapshots.kept(house.platform) == [one.sha256]


def test_a_changed_byte_is_told(house: House) -> None:
    settled(house, "P-1")
    one = take(house.platform)
    keep(one, house.platform)
    key = snapshots.manifest_key(one.sha256)
    house.platform.blobs.put(key, one.manifest.replace(b'"label":1', b'"label":0'))
    with pytest.raises(Corrupt):
        read(one.sha256, house.platform)


@pytest.mark.parametrize("name", ["x", "0" * 64, "../" * 21 + "a", "A" * 64])
def test_a_name_that_is_none_is_not_found(house: House, name: str) -> None:
    with pytest.raises(NotFound):
        read(name, house.platform)


def test_a_snapshot_of_before_can_still_be_read(house: House) -> None:
    line = {"image_set": "a", "version": 2, "patient": "p", "split": "train", "label": 1, "modality": "CT", "file": "a"}
    manifest = json.dumps(line).encode() + b"\n"
    name = hashlib.sha256(manifest).hexdigest()
    house.platform.blobs.put(snapshots.manifest_key(name), manifest)
    found = read(name, house.platform)
    assert (only(found).posterior, only(found).weight, only(found).study) == (1.0, 1.0, "")
    assert snapshots.facts_of(name, house.platform)["counts"]["train"] == {"absent": 0, "present": 1}


def test_two_snapshots_differ_by_what_was_added_removed_and_changed(house: House) -> None:
    stays, changes, goes = (settled(house, f"P-{number}") for number in (1, 2, 3))
    before = take(house.platform)
    comes = settled(house, "P-4")
    flipped, _ = changes.settle(replace(changes.truth, finding=replace(changes.truth.finding, present=False)))  # type: ignore[arg-type, union-attr, type-var]
    opened = replace(goes, is_closed=False)
    house.platform.records.commit(Change(writes=[put_image_set(one, expected=2) for one in (flipped, opened)]))
    found = difference(before, take(house.platform))
    assert (found.added, found.removed, found.changed) == ((comes.id,), (goes.id,), (changes.id,))
    assert stays.id not in {*found.added, *found.removed, *found.changed}
