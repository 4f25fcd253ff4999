import shutil
import subprocess
from pathlib import Path

import pydicom
import pytest
from pydicom.sr.codedict import codes

from radloop.core.errors import Blinded, NotFound
from radloop.core.identity import OWNER
from radloop.core.images import SITES, Confidence
from radloop.core.ports import Change
from radloop.core.reads import Read, Rule, put_read
from radloop.dicom import concepts
from radloop.dicom.report import report_file
from radloop.results.account import Account, account_of
from radloop.results.reports import provenance_report
from radloop.results.writing import keep_provenance
from tests.api.installation import Installation
from tests.results.cases import AT, bytes_of, file_of, finding, label, read, several_readers

OF_DCMTK_ITSELF = (
    "does not support this Specific Character Set",  # UTF-8
    "ObservationDateTime (0040,a032) violates VR",  # 3.6.7 takes +0100 and not +0000, which PS3.5 6.2 allows
)
needs_dcmtk = pytest.mark.skipif(shutil.which("dsrdump") is None, reason="dcmtk is not installed")


def account(installation: Installation, identity: str, unseen_by: str | None = None) -> Account:
    platform = installation.platform
    image_set = installation.images.get(identity)
    return account_of(platform.records, platform.models, image_set, unseen_by=unseen_by)


@pytest.fixture
def adjudicated(installation: Installation) -> str:
    """Two readers differ, a third decides, and later thinks otherwise."""
    identity = installation.land()
    several_readers(installation, identity)
    read(installation, identity, "reader-a", finding(True, "RLL"), minutes=0)
    read(installation, identity, "reader-b", finding(False, confidence=Confidence.LOW), minutes=5)
    label(installation, identity, "chief", finding(True, "RLL"), Rule.ADJUDICATION, minutes=9, reason="technique")
    label(installation, identity, "chief", finding(True, "LINGULA"), Rule.REVISION, minutes=20)
    return identity


def document(installation: Installation, identity: str) -> pydicom.Dataset:
    return file_of(installation, keep_provenance(installation.platform, installation.images.get(identity), by=OWNER))


def groups(report: pydicom.Dataset) -> list[pydicom.Dataset]:
    (container,) = [item for item in report.ContentSequence if name(item) == "126010"]
    return list(container.ContentSequence)


def name(item: pydicom.Dataset) -> str:
    return item.ConceptNameCodeSequence[0].CodeValue


def coded(group: pydicom.Dataset, code: str) -> list[tuple[str, str]]:
    """Scheme and code of the values under this name, at the first level of a group."""
    found = [item.ConceptCodeSequence[0] for item in group.ContentSequence if name(item) == code]
    return [(each.CodingSchemeDesignator, each.CodeValue) for each in found]


def numbers(group: pydicom.Dataset, code: str) -> list[float]:
    return [float(i.MeasuredValueSequence[0].NumericValue) for i in group.ContentSequence if name(i) == code]


def images_in_library(report: pydicom.Dataset) -> list[str]:
    (library,) = [item for item in report.ContentSequence if name(item) == "111028"]
    return [
        item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        for group in library.ContentSequence
        for item in group.ContentSequence
        if item.ValueType == "IMAGE"
    ]


def evidence_of(report: pydicom.Dataset) -> list[str]:
    (study,) = report.CurrentRequestedProcedureEvidenceSequence
    (series,) = study.ReferencedSeriesSequence
    return [each.ReferencedSOPInstanceUID for each in series.ReferencedSOPSequence]


def test_a_report_tells_every_read_and_every_label_with_who_said_it(
    installation: Installation, adjudicated: str
) -> None:
    report = document(installation, adjudicated)
    by_group = [
        [str(item.TextValue) for item in group.ContentSequence if name(item) == "128774"] for group in groups(report)
    ]
    assert by_group == [["reader-a"], ["reader-b"], ["chief"], ["chief"]]
    present = [coded(group, "233604007")[0] for group in groups(report)]
    assert present == [("SCT", "52101004"), ("SCT", "272519000"), ("SCT", "52101004"), ("SCT", "52101004")]
    assert [coded(group, "246103008") for group in groups(report)][:2] == [[("SCT", "75540009")], [("SCT", "62482003")]]
    assert [coded(group, "363698007") for group in groups(report)] == [
        [("SCT", "90572001")], [], [("SCT", "90572001")], [("SCT", "50837003")],
    ]  # fmt: skip
    assert numbers(groups(report)[3], "122157") == [0.93]
    assert numbers(groups(report)[3], "reads") == [2]
    told = [
        [(name(i), i.TextValue) for i in group.ContentSequence if name(i) in {"step", "reason"}]
        for group in groups(report)
    ]
    assert told == [[], [], [("step", "adjudication"), ("reason", "technique")], [("step", "revision")]]
    assert [str(group.ObservationDateTime) for group in groups(report)][:2] == [
        "20261123090000+0000", "20261123090500+0000",
    ]  # fmt: skip


def test_a_finding_that_is_absent_is_never_told_as_a_finding(installation: Installation, adjudicated: str) -> None:
    findings = [coded(group, "121071") for group in groups(document(installation, adjudicated))]
    assert findings == [[("SCT", "233604007")], [], [("SCT", "233604007")], [("SCT", "233604007")]]


def test_a_lobe_is_told_with_its_side(installation: Installation, adjudicated: str) -> None:
    (site,) = [
        item for item in groups(document(installation, adjudicated))[0].ContentSequence if name(item) == "363698007"
    ]
    (side,) = site.ContentSequence
    assert (name(side), side.ConceptCodeSequence[0].CodeValue) == ("272741003", "24028007")


def test_a_report_refers_to_the_very_images_that_were_read(installation: Installation, adjudicated: str) -> None:
    report = document(installation, adjudicated)
    image_set = installation.images.get(adjudicated)
    stored = [instance.sop_uid for instance in installation.images.instances(adjudicated)]
    (study,) = report.CurrentRequestedProcedureEvidenceSequence
    (series,) = study.ReferencedSeriesSequence
    assert (study.StudyInstanceUID, series.SeriesInstanceUID) == (image_set.study_uid, image_set.series_uid)
    assert evidence_of(report) == stored
    assert images_in_library(report) == stored
    shown = [item for item in groups(report)[0].ContentSequence if item.ValueType == "IMAGE"]
    assert shown[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID == stored[1], "the frame that was in view"


def test_a_report_lies_in_the_study_of_its_patient_as_a_series_of_its_own(
    installation: Installation, adjudicated: str
) -> None:
    report = document(installation, adjudicated)
    image_set = installation.images.get(adjudicated)
    assert (report.PatientID, report.StudyInstanceUID) == (image_set.patient_id, image_set.study_uid)
    assert report.SeriesInstanceUID != image_set.series_uid
    assert (report.Modality, report.SOPClassUID) == ("SR", "1.2.840.10008.5.1.4.1.1.88.33")
    assert report.PatientSex == image_set.attributes["PatientSex"]


def test_the_same_report_twice_is_one_object_and_the_same_bytes(installation: Installation, adjudicated: str) -> None:
    image_set = installation.images.get(adjudicated)
    first = keep_provenance(installation.platform, image_set, by=OWNER)
    before = bytes_of(installation, first)
    assert keep_provenance(installation.platform, image_set, by=OWNER) == first
    assert report_file(provenance_report(account(installation, adjudicated))) == before


def test_another_read_makes_another_report_and_the_one_before_stays(installation: Installation) -> None:
    identity = installation.land()
    label(installation, identity, "reader-a", finding(True, "RLL"), Rule.SINGLE, minutes=0)
    first = keep_provenance(installation.platform, installation.images.get(identity), by=OWNER)
    read(installation, identity, "reader-b", finding(False), minutes=5)
    second = keep_provenance(installation.platform, installation.images.get(identity), by=OWNER)
    assert second != first
    assert len(groups(file_of(installation, first))) + 1 == len(groups(file_of(installation, second)))


@pytest.mark.parametrize(
    ("rule", "flag"),
    [
        (Rule.SINGLE, "VERIFIED"),
        (Rule.AGREEMENT, "VERIFIED"),
        (Rule.ADJUDICATION, "VERIFIED"),
        (Rule.POSTERIOR, "UNVERIFIED"),
    ],
)
def test_a_report_is_verified_only_where_a_person_answers_for_it(
    installation: Installation, rule: Rule, flag: str
) -> None:
    identity = installation.land()
    label(installation, identity, "reader-a", finding(False), rule, minutes=0)
    report = document(installation, identity)
    assert report.VerificationFlag == flag
    names = [str(each.VerifyingObserverName) for each in report.get("VerifyingObserverSequence", ())]
    assert names == ([] if flag == "UNVERIFIED" else ["reader-a^"])
    assert report.PreliminaryFlag == ("FINAL" if names else "PRELIMINARY")


def test_reads_without_ground_truth_are_unverified(installation: Installation) -> None:
    identity = installation.land()
    read(installation, identity, "reader-a", finding(True), minutes=0)
    report = document(installation, identity)
    assert (report.VerificationFlag, report.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")


def test_nothing_said_is_no_report(installation: Installation) -> None:
    identity = installation.land()
    with pytest.raises(NotFound, match="nobody has said anything"):
        keep_provenance(installation.platform, installation.images.get(identity), by=OWNER)


def test_the_study_never_tells_one_reader_what_another_said_before_both_have_read(installation: Installation) -> None:
    identity = installation.land()
    several_readers(installation, identity)
    read(installation, identity, "reader-a", finding(True, "RLL"), minutes=0)
    with pytest.raises(Blinded):
        keep_provenance(installation.platform, installation.images.get(identity), by=OWNER)
    assert [word.observer.id for word in account(installation, identity, "reader-b").words] == []
    assert [word.observer.id for word in account(installation, identity, "reader-a").words] == ["reader-a"]


def test_notes_stay_with_the_image_set(installation: Installation, adjudicated: str) -> None:
    data = bytes_of(
        installation, keep_provenance(installation.platform, installation.images.get(adjudicated), by=OWNER)
    )
    assert b"a note that stays" not in data


def test_every_site_has_a_code_and_codes_of_the_standard_are_spelled_as_it_spells_them() -> None:
    assert concepts.SITES.keys() == SITES.keys()
    assert codes.DCM.Probability.value == concepts.PROBABILITY.code
    assert codes.SCT.UpperLobeOfLung.value == concepts.SITES["RUL"].structure.code
    assert codes.SCT.MiddleLobeOfRightLung.value == concepts.SITES["RML"].structure.code
    assert codes.SCT.LowerLobeOfLung.value == concepts.SITES["LLL"].structure.code
    assert codes.SCT.Lung.value == concepts.LUNG.code
    assert codes.cid240.Present.value == concepts.PRESENT.code
    assert codes.cid240.Absent.value == concepts.ABSENT.code
    assert codes.cid244.Bilateral.value == concepts.BILATERAL.code
    assert codes.cid7162.ArtificialIntelligence.value == concepts.ARTIFICIAL_INTELLIGENCE.code
    assert codes.cid7453.Adjudicator.value == concepts.ADJUDICATOR.code
    assert codes.cid100.ImagingProcedure.value == concepts.IMAGING.code


def test_highdicom_reads_the_report_back(installation: Installation, adjudicated: str) -> None:
    from highdicom.sr import ComprehensiveSR

    parsed = ComprehensiveSR.from_dataset(document(installation, adjudicated))
    observers = parsed.content.get_observer_contexts()
    assert [each.observer_identifying_attributes.login_name for each in observers] == [
        "reader-a", "reader-b", "chief", "chief",
    ]  # fmt: skip
    roles = [each.observer_identifying_attributes.role_in_procedure.value for each in observers]
    assert roles == ["C28747", "C28747", "C96561", "C28747"]
    assert len(parsed.content.get_image_measurement_groups()) == 4


@needs_dcmtk
def test_dcmtk_finds_no_fault_with_the_report(installation: Installation, adjudicated: str, tmp_path: Path) -> None:
    path = tmp_path / "report.dcm"
    path.write_bytes(
        bytes_of(installation, keep_provenance(installation.platform, installation.images.get(adjudicated), by=OWNER))
    )
    for tool in (["dsrdump", "--print-all-codes"], ["dsr2xml", "--write-item-id"]):
        done = subprocess.run([*tool, str(path)], capture_output=True, text=True, check=False)
        complaints = [line for line in done.stderr.splitlines() if not any(known in line for known in OF_DCMTK_ITSELF)]
        assert (done.returncode, complaints) == (0, [])
        assert "reader-a" in done.stdout


def test_dates_are_those_of_the_content_and_not_of_the_writing(installation: Installation, adjudicated: str) -> None:
    report = document(installation, adjudicated)
    assert report.ContentDate == report.InstanceCreationDate == f"{AT:%Y%m%d}"
    assert report.ContentTime == "092000"


def test_of_a_long_series_the_library_lists_what_was_looked_at_and_the_evidence_all(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("radloop.dicom.report.MOST_LISTED", 3)
    identity = installation.land()
    label(installation, identity, "reader-a", finding(False), Rule.SINGLE, minutes=0)
    report = document(installation, identity)
    stored = [instance.sop_uid for instance in installation.images.instances(identity)]
    assert images_in_library(report) == [stored[1]]
    assert evidence_of(report) == stored


def test_a_read_that_does_not_count_says_so(installation: Installation) -> None:
    identity = installation.land()
    image_set = installation.images.get(identity)
    late = Read("r1", identity, image_set.version, "reader-a", finding(False), AT, is_blinded=False)
    installation.platform.records.commit(Change(writes=[put_read(late, image_set.datastore)]))
    (group,) = groups(document(installation, identity))
    assert [item.TextValue for item in group.ContentSequence if name(item) == "step"] == ["not-blinded"]
