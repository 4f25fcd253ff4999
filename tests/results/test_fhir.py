"""Bundles are held to the rules of FHIR, written down here: what a resource must have, of which kind and spelling."""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from radloop.core.errors import InvalidInput, NotFound
from radloop.core.identity import OWNER
from radloop.core.reads import Rule
from radloop.reading.opinion import keep_prediction
from radloop.results.fhir import bundle_of
from tests.api.installation import OTHER, Installation
from tests.results.cases import finding, label, read
from tests.results.test_reports import account

DATE_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
DATE = re.compile(r"\d{4}-\d\d-\d\d")
ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")

# Elements with a minimum of 1 (hl7.org/fhir/R4 and R5), and what status may say.
REQUIRED = {
    "Patient": set(),
    "Practitioner": set(),
    "Device": set(),
    "ImagingStudy": {"status", "subject"},
    "DiagnosticReport": {"status", "code"},
    "Observation": {"status", "code"},
    "Provenance": {"target", "agent"},
}
STATUS = {
    "ImagingStudy": {"registered", "available", "cancelled", "entered-in-error", "unknown"},
    "DiagnosticReport": {"registered", "partial", "preliminary", "final", "amended", "corrected", "cancelled"},
    "Observation": {"registered", "preliminary", "final", "amended", "corrected", "cancelled"},
}
# Elements each resource may have among those we use; what is spelled otherwise is a mistake of ours.
KNOWN = {
    "Patient": {"identifier"},
    "Practitioner": {"identifier"},
    "Device": {"identifier", "manufacturer", "deviceName", "name", "type", "version", "serialNumber", "note"},
    "ImagingStudy": {"identifier", "status", "subject", "started", "series"},
    "DiagnosticReport": {
        "status", "category", "code", "subject", "effectiveDateTime", "issued", "performer", "resultsInterpreter",
        "imagingStudy", "study", "result", "conclusion", "conclusionCode",
    },
    "Observation": {
        "meta", "status", "category", "code", "subject", "effectiveDateTime", "issued", "performer", "device",
        "derivedFrom", "valueCodeableConcept", "dataAbsentReason", "bodySite", "component", "note",
    },
    "Provenance": {"meta", "target", "occurredDateTime", "recorded", "activity", "agent", "entity"},
}  # fmt: skip
# Which kinds of resource a reference may lead to.
TARGETS = {
    ("ImagingStudy", "subject"): {"Patient"},
    ("DiagnosticReport", "subject"): {"Patient"},
    ("DiagnosticReport", "performer"): {"Practitioner"},
    ("DiagnosticReport", "resultsInterpreter"): {"Practitioner"},
    ("DiagnosticReport", "imagingStudy"): {"ImagingStudy"},
    ("DiagnosticReport", "study"): {"ImagingStudy"},
    ("DiagnosticReport", "result"): {"Observation"},
    ("Observation", "subject"): {"Patient"},
    ("Observation", "performer"): {"Practitioner"},
    ("Observation", "device"): {"Device"},
    ("Observation", "derivedFrom"): {"ImagingStudy"},
    ("Provenance", "target"): {"Observation"},
    ("Provenance", "agent"): {"Practitioner", "Device"},
    ("Provenance", "entity"): {"ImagingStudy"},
}
SYSTEMS = {
    "http://snomed.info/sct",
    "http://dicom.nema.org/resources/ontology/DCM",
    "http://unitsofmeasure.org",
    "http://loinc.org",
    "urn:radloop:concepts",
}


@pytest.fixture
def told(installation: Installation) -> str:
    """Two reads, ground truth by agreement, and what a model said."""
    identity = installation.land()
    model = installation.approve(bias=1.0)
    kept = {
        "probability": 0.8, "finding": "present", "threshold": 0.4, "model_version": model.version, "calibrated": True,
        "refused": None, "ood": {"outside": False, "embedding": 0.2, "statistics": 0.3, "reasons": []}, "frames": [1],
        "frame": 1,
    }  # fmt: skip
    keep_prediction(installation.platform.records, identity, kept, version=1, by=OWNER)
    read(installation, identity, "reader-a", finding(True, "RLL"), minutes=0)
    read(installation, identity, "reader-b", finding(True, "RLL"), minutes=5)
    label(installation, identity, "reader-b", finding(True, "RLL"), Rule.AGREEMENT, minutes=5)
    return identity


def bundle(installation: Installation, identity: str, version: str = "4.0") -> dict[str, Any]:
    image_set = installation.images.get(identity)
    pseudonym = installation.platform.keys.pseudonym(image_set.patient_id)
    return bundle_of(account(installation, identity), pseudonym=pseudonym, version=version)


def of_type(found: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return [each["resource"] for each in found["entry"] if each["resource"]["resourceType"] == name]


def walk(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for each in value.values():
            yield from walk(each)
    elif isinstance(value, list):
        for each in value:
            yield from walk(each)


def check_resource(resource: dict[str, Any], kinds: dict[str, str]) -> None:
    """One resource; `kinds` tells what lies behind a reference."""
    kind = resource["resourceType"]
    assert ID.fullmatch(resource["id"])
    elements = set(resource) - {"resourceType", "id"}
    assert elements >= REQUIRED[kind], f"{kind} lacks {REQUIRED[kind] - elements}"
    assert elements <= KNOWN[kind], f"{kind} has no {elements - KNOWN[kind]}"
    assert kind not in STATUS or resource["status"] in STATUS[kind]
    for name in elements:
        for part in walk(resource[name]):
            if "reference" in part:
                target = kinds[part["reference"]]
                assert target in TARGETS[kind, name], f"{kind}.{name} leads to {target}"


def check_bundle(found: dict[str, Any]) -> None:
    """Raise where a rule of FHIR does not hold."""
    assert (found["resourceType"], found["type"]) == ("Bundle", "collection")
    urls = [entry["fullUrl"] for entry in found["entry"]]
    assert len(set(urls)) == len(urls), "fullUrl is unique within a bundle (bdl-7)"
    kinds = {entry["fullUrl"]: entry["resource"]["resourceType"] for entry in found["entry"]}
    for entry in found["entry"]:
        assert entry["fullUrl"] == f"urn:uuid:{entry['resource']['id']}"
        check_resource(entry["resource"], kinds)
    for part in walk(found):
        assert all(value not in ("", None, [], {}) for value in part.values()), "FHIR knows no empty element"
        if "coding" in part:
            assert all(each.get("system") and each.get("code") for each in part["coding"])
    for observation in of_type(found, "Observation"):
        assert ("valueCodeableConcept" in observation) != ("dataAbsentReason" in observation), "obs-6"
        for component in observation.get("component", ()):
            assert sum(name.startswith("value") for name in component) == 1
    for moment in (found["timestamp"], *(p["recorded"] for p in of_type(found, "Provenance"))):
        assert DATE_TIME.fullmatch(moment)
        datetime.fromisoformat(moment)


@pytest.mark.parametrize("version", ["4.0", "5.0"])
def test_a_bundle_keeps_the_rules(installation: Installation, told: str, version: str) -> None:
    found = bundle(installation, told, version)
    check_bundle(found)
    counts = {name: len(of_type(found, name)) for name in REQUIRED}
    assert counts == {
        "Patient": 1, "Practitioner": 2, "Device": 1, "ImagingStudy": 1, "DiagnosticReport": 1, "Observation": 4,
        "Provenance": 4,
    }  # fmt: skip


def test_the_checker_finds_what_is_wrong(installation: Installation, told: str) -> None:
    found = bundle(installation, told)
    of_type(found, "Observation")[0]["subject"] = of_type(found, "Observation")[0]["derivedFrom"][0]
    with pytest.raises(AssertionError, match="leads to ImagingStudy"):
        check_bundle(found)
    found = bundle(installation, told)
    del of_type(found, "DiagnosticReport")[0]["status"]
    with pytest.raises(AssertionError, match="lacks"):
        check_bundle(found)


def test_the_study_is_told_by_its_own_uids(installation: Installation, told: str) -> None:
    (study,) = of_type(bundle(installation, told), "ImagingStudy")
    image_set = installation.images.get(told)
    assert study["identifier"] == [{"system": "urn:dicom:uid", "value": f"urn:oid:{image_set.study_uid}"}]
    (series,) = study["series"]
    assert series["uid"] == image_set.series_uid
    stored = installation.images.instances(told)
    assert [each["uid"] for each in series["instance"]] == [each.sop_uid for each in stored]
    assert {each["sopClass"]["code"] for each in series["instance"]} == {f"urn:oid:{stored[0].sop_class}"}
    assert series["modality"] == {"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "CT"}
    assert DATE.fullmatch(study["started"])


def test_r5_spells_four_things_otherwise(installation: Installation, told: str) -> None:
    old, new = bundle(installation, told), bundle(installation, told, "5.0")
    (report,) = of_type(new, "DiagnosticReport")
    assert "imagingStudy" not in report
    assert report["study"] == of_type(old, "DiagnosticReport")[0]["imagingStudy"]
    assert of_type(new, "ImagingStudy")[0]["series"][0]["modality"]["coding"][0]["code"] == "CT"
    (device,) = of_type(new, "Device")
    assert "deviceName" not in device
    assert device["name"][0]["value"] == of_type(old, "Device")[0]["deviceName"][0]["name"]
    assert isinstance(device["type"], list)


def test_the_report_is_final_with_its_conclusion_once_there_is_ground_truth(
    installation: Installation, told: str
) -> None:
    (report,) = of_type(bundle(installation, told), "DiagnosticReport")
    assert report["status"] == "final"
    assert report["conclusionCode"][0]["coding"][0]["code"] == "233604007"
    assert report["conclusion"].startswith("Pneumonia present, as readers agree.")


def test_without_ground_truth_a_report_is_preliminary_and_concludes_nothing(installation: Installation) -> None:
    identity = installation.land()
    read(installation, identity, "reader-a", finding(True), minutes=0)
    found = bundle(installation, identity)
    check_bundle(found)
    (report,) = of_type(found, "DiagnosticReport")
    assert report["status"] == "preliminary"
    assert "conclusionCode" not in report


def test_what_a_model_said_is_labelled_and_preliminary(installation: Installation, told: str) -> None:
    found = bundle(installation, told)
    (said,) = [each for each in of_type(found, "Observation") if "device" in each]
    assert said["status"] == "preliminary"
    assert said["meta"]["security"][0]["code"] == "AIAST"
    assert "performer" not in said
    assert "not verified, not for diagnosis" in said["note"][0]["text"]
    values = {each["code"]["coding"][0]["code"]: each for each in said["component"]}
    assert values["122157"]["valueQuantity"]["value"] == 0.8
    assert values["threshold"]["valueQuantity"]["value"] == 0.4
    assert values["outside"]["valueBoolean"] is False
    people = [each for each in of_type(found, "Observation") if "performer" in each]
    assert not any("meta" in each for each in people)


def test_a_refusal_is_a_value_that_is_missing_with_a_reason(installation: Installation) -> None:
    identity = installation.land()
    model = installation.approve(bias=1.0)
    kept = {
        "probability": None, "finding": None, "threshold": 0.4, "model_version": model.version, "calibrated": True,
        "refused": "out-of-distribution", "ood": {"outside": True}, "frames": [],
    }  # fmt: skip
    keep_prediction(installation.platform.records, identity, kept, version=1, by=OWNER)
    found = bundle(installation, identity)
    check_bundle(found)
    (said,) = of_type(found, "Observation")
    assert said["dataAbsentReason"]["coding"][0]["code"] == "unsupported"
    values = {each["code"]["coding"][0]["code"]: each for each in said["component"]}
    assert values["outside"]["valueBoolean"] is True
    assert values["reason"]["valueString"] == "out-of-distribution"


def test_predictions_of_before_are_told_as_far_as_they_go(installation: Installation) -> None:
    identity = installation.land()
    model = installation.approve(bias=1.0)
    kept = {"probability": 0.25, "finding": "absent", "model_version": model.version}
    keep_prediction(installation.platform.records, identity, kept, version=1, by=OWNER)
    found = bundle(installation, identity)
    check_bundle(found)
    assert of_type(found, "Observation")[0]["valueCodeableConcept"]["coding"][0]["code"] == "272519000"


def test_ids_are_the_same_each_time_and_for_the_same_reader_everywhere(installation: Installation, told: str) -> None:
    assert bundle(installation, told) == bundle(installation, told)
    other = installation.land(OTHER)
    read(installation, other, "reader-a", finding(False), minutes=0)
    both = [
        {each["id"] for each in of_type(bundle(installation, identity), "Practitioner")} for identity in (told, other)
    ]
    assert len(both[0] & both[1]) == 1


def test_nothing_of_the_patient_is_told_but_the_identifier(installation: Installation, told: str) -> None:
    image_set = installation.images.get(told)
    (patient,) = of_type(bundle(installation, told), "Patient")
    assert patient["identifier"][0]["value"] == image_set.patient_id
    text = str(bundle(installation, told))
    assert str(image_set.attributes["PatientName"]) not in text
    assert str(image_set.attributes["PatientBirthDate"]) not in text
    assert "a note that stays" not in text


def test_systems_are_those_that_fhir_names(installation: Installation, told: str) -> None:
    found = {part["system"] for part in walk(bundle(installation, told)) if "system" in part}
    terminology = {each for each in found if each.startswith("http://terminology.hl7.org/CodeSystem/")}
    assert found - terminology <= SYSTEMS | {"urn:dicom:uid", "urn:ietf:rfc:3986", "urn:radloop:reader"}


def test_another_version_of_fhir_is_refused_and_nothing_said_is_nothing(installation: Installation, told: str) -> None:
    with pytest.raises(InvalidInput, match=r"4\.0, 5\.0"):
        bundle(installation, told, "3.0")
    silent = installation.land(OTHER)
    with pytest.raises(NotFound):
        bundle(installation, silent)


@pytest.mark.parametrize("rule", list(Rule))
def test_every_rule_that_makes_ground_truth_has_words_for_people(installation: Installation, rule: Rule) -> None:
    identity = installation.land()
    label(installation, identity, "reader-a", finding(False), rule, minutes=0)
    found = bundle(installation, identity)
    check_bundle(found)
    (report,) = of_type(found, "DiagnosticReport")
    assert report["conclusion"].startswith("Pneumonia absent, as ")
    assert "conclusionCode" not in report, "what is absent is not a conclusion of it"
