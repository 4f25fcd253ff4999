"""Accounts as FHIR: a Bundle with the study, a report of it, one Observation a word, and who is behind each.

FHIR R4 (4.0.1), the version hospitals run, or R5 (5.0.0) where that is asked for; they differ in four places, and those
stand in `_Release`. Ids follow from ours, so that the same thing has the same id in every bundle. Of the patient
nothing is told but the identifier, which whoever may export the images has anyway.
"""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from radloop.core.errors import InvalidInput, NotFound
from radloop.core.reads import Rule
from radloop.core.tables import study_key
from radloop.dicom.concepts import (
    CERTAINTY,
    NO_UNITS,
    OURS,
    OUTSIDE,
    PROBABILITY,
    READS,
    REASON,
    STEP,
    THRESHOLD,
    Concept,
    Site,
)
from radloop.dicom.report import MANUFACTURER, Device, Person
from radloop.results.account import Account, Kind, Word
from radloop.results.picture import WARNING
from radloop.results.reports import NOT_A_DEVICE, said, title_of

Resource = dict[str, Any]

VERSIONS: Final = ("4.0", "5.0")

_SYSTEMS: Final[Mapping[str, str]] = {
    "SCT": "http://snomed.info/sct",
    "DCM": "http://dicom.nema.org/resources/ontology/DCM",
    "UCUM": "http://unitsofmeasure.org",
    "NCIt": "http://ncicb.nci.nih.gov/xml/owl/EVS/Thesaurus.owl",
    OURS: "urn:radloop:concepts",
}
_TERMINOLOGY = "http://terminology.hl7.org/CodeSystem"
_DICOM_UID, _URI = "urn:dicom:uid", "urn:ietf:rfc:3986"
_LATERALITY = Concept("272741003", "SCT", "Laterality")
_NAMESPACE = uuid.UUID("6f0c1f4e-7f0b-5e57-9d3a-6b2f0a5d9c11")
_DIGITS_OF_A_DATE = 8
_BY: Final[Mapping[Rule, str]] = {
    Rule.SINGLE: "as one reader says",
    Rule.AGREEMENT: "as readers agree",
    Rule.POSTERIOR: "as all reads together make it probable",
    Rule.ADJUDICATION: "as an adjudicator decided",
    Rule.REVISION: "as was decided in a second look",
}


@dataclass(frozen=True, slots=True)
class _Release:
    """Where R4 and R5 differ in what we tell."""

    is_r5: bool

    def modality(self, code: str) -> Resource:
        """R4: a Coding; R5: a CodeableConcept."""
        coding = {"system": _SYSTEMS["DCM"], "code": code}
        return {"coding": [coding]} if self.is_r5 else coding

    @property
    def study(self) -> str:
        """Under which name a report refers to its studies."""
        return "study" if self.is_r5 else "imagingStudy"

    def named(self, device: Device) -> Resource:
        """A device's name."""
        if self.is_r5:
            return {"name": [{"value": device.name, "type": "user-friendly-name"}]}
        return {"deviceName": [{"name": device.name, "type": "user-friendly-name"}]}

    def kind(self, text: str) -> Any:
        """A device's type: one in R4, several in R5."""
        return [{"text": text}] if self.is_r5 else {"text": text}


def bundle_of(account: Account, *, pseudonym: str, version: str = "4.0") -> Resource:
    """The account as a Bundle of type collection, plain values ready to become JSON.

    Args:
        account: What may be told.
        pseudonym: Stands for the patient in ids.
        version: Of FHIR, one of `VERSIONS`.

    Raises:
        InvalidInput: Another version.
        NotFound: Nobody has said anything yet.
    """
    if version not in VERSIONS:
        raise InvalidInput(f"fhir_version must be one of {', '.join(VERSIONS)}")
    if not account.words:
        raise NotFound(f"nobody has said anything of image set {account.image_set.id} yet")
    told = _Telling(account, pseudonym, _Release(is_r5=version == "5.0"))
    resources = list(told.resources())
    return {
        "resourceType": "Bundle",
        "id": _id("bundle", account.image_set.id),
        "type": "collection",
        "timestamp": _instant(max(word.at for word in account.words)),
        "entry": [{"fullUrl": f"urn:uuid:{each['id']}", "resource": each} for each in resources],
    }


@dataclass(frozen=True, slots=True)
class _Telling:
    """One account on its way into one release of FHIR."""

    account: Account
    pseudonym: str
    release: _Release

    def resources(self) -> Iterable[Resource]:
        yield self._patient()
        yield self._study()
        yield self._report()
        for observer in dict.fromkeys(word.observer for word in self.account.words):
            yield self._device(observer) if isinstance(observer, Device) else _practitioner(observer)
        for number, word in enumerate(self.account.words, start=1):
            yield self._observation(word, number)
            yield self._provenance(word)

    @property
    def _patient_ref(self) -> Resource:
        return _reference("patient", self.pseudonym)

    @property
    def _study_key(self) -> str:
        image_set = self.account.image_set
        return study_key(image_set.datastore, image_set.patient_id, image_set.study_uid)

    @property
    def _study_ref(self) -> Resource:
        return _reference("study", self._study_key)

    def _patient(self) -> Resource:
        patient: Resource = {"resourceType": "Patient", "id": _id("patient", self.pseudonym)}
        identity = self.account.subject.patient_id.strip()
        if identity:
            kind = {"coding": [{"system": f"{_TERMINOLOGY}/v2-0203", "code": "MR"}]}
            patient["identifier"] = [{"type": kind, "value": identity}]
            issuer = self.account.subject.attributes.get("IssuerOfPatientID")
            if issuer:
                patient["identifier"][0]["assigner"] = {"display": str(issuer)}
        return patient

    def _study(self) -> Resource:
        account = self.account
        image_set, shown = account.image_set, account.shown
        study: Resource = {
            "resourceType": "ImagingStudy",
            "id": _id("study", self._study_key),
            "identifier": [{"system": _DICOM_UID, "value": f"urn:oid:{image_set.study_uid}"}],
            "status": "available",
            "subject": self._patient_ref,
            "series": [
                {
                    "uid": image_set.series_uid,
                    "modality": self.release.modality(image_set.modality),
                    "numberOfInstances": len(shown),
                    "instance": [
                        {
                            "uid": each.picture.sop_uid,
                            "sopClass": {"system": _URI, "code": f"urn:oid:{each.picture.sop_class}"},
                            **({"number": each.number} if each.number > 0 else {}),
                        }
                        for each in shown
                    ],
                }
            ],
        }
        started = _date(account.subject.attributes.get("StudyDate"))
        return {**study, "started": started} if started else study

    def _report(self) -> Resource:
        words, truth = self.account.words, self.account.truth
        is_settled = truth is not None
        report: Resource = {
            "resourceType": "DiagnosticReport",
            "id": _id("report", self.account.image_set.id),
            "status": "final" if is_settled else "preliminary",
            "category": [_codeable(f"{_TERMINOLOGY}/v2-0074", "RAD", "Radiology")],
            "code": _codeable("http://loinc.org", "18748-4", "Diagnostic imaging study"),
            "subject": self._patient_ref,
            "effectiveDateTime": _instant(words[0].at),
            "issued": _instant(max(word.at for word in words)),
            "performer": _people(words),
            self.release.study: [self._study_ref],
            "result": [_reference("word", word.id) for word in words],
            "conclusion": _conclusion(truth),
        }
        if truth is not None and isinstance(truth.observer, Person):
            report["resultsInterpreter"] = [_observer_ref(truth.observer)]
        if truth is not None and truth.present:
            report["conclusionCode"] = [_concept(truth.finding)]
        if not report["performer"]:
            del report["performer"]
        return report

    def _device(self, device: Device) -> Resource:
        return {
            "resourceType": "Device",
            "id": _id("observer", device.uid),
            "identifier": [{"system": _URI, "value": f"urn:oid:{device.uid}"}],
            "manufacturer": MANUFACTURER,
            **self.release.named(device),
            "type": self.release.kind("Machine-learning model"),
            "version": [{"value": device.model}],
            **({"serialNumber": device.serial} if device.serial else {}),
            "note": [{"text": NOT_A_DEVICE}],
        }

    def _observation(self, word: Word, number: int) -> Resource:
        is_ai = word.kind is Kind.MODEL
        observation: Resource = {
            "resourceType": "Observation",
            "id": _id("word", word.id),
            **({"meta": _made_by_ai()} if is_ai else {}),
            "status": "preliminary" if is_ai else "final",
            "category": [_codeable(f"{_TERMINOLOGY}/observation-category", "imaging", "Imaging")],
            "code": {**_concept(word.finding), "text": title_of(word, number)},
            "subject": self._patient_ref,
            "effectiveDateTime": _instant(word.at),
            "issued": _instant(word.at),
            "derivedFrom": [self._study_ref],
            "component": _components(word),
        }
        if word.present is None:
            observation["dataAbsentReason"] = _codeable(
                f"{_TERMINOLOGY}/data-absent-reason", "unsupported", "Unsupported"
            )
        else:
            observation["valueCodeableConcept"] = _concept(said(word))
        if isinstance(word.observer, Device):
            observation["device"] = _observer_ref(word.observer)
            observation["note"] = [{"text": f"{WARNING}. {NOT_A_DEVICE}"}]
        else:
            observation["performer"] = [_observer_ref(word.observer)]
        if word.site is not None:
            observation["bodySite"] = _body_site(word.site)
        if not observation["component"]:
            del observation["component"]
        return observation

    def _provenance(self, word: Word) -> Resource:
        is_ai = word.kind is Kind.MODEL
        role = ("assembler", "Assembler") if is_ai else ("author", "Author")
        return {
            "resourceType": "Provenance",
            "id": _id("provenance", word.id),
            **({"meta": _made_by_ai()} if is_ai else {}),
            "target": [_reference("word", word.id)],
            "occurredDateTime": _instant(word.at),
            "recorded": _instant(word.at),
            "activity": _codeable(f"{_TERMINOLOGY}/v3-DataOperation", "CREATE", "create"),
            "agent": [
                {
                    "type": _codeable(f"{_TERMINOLOGY}/provenance-participant-type", *role),
                    "who": _observer_ref(word.observer),
                }
            ],
            "entity": [{"role": "source", "what": self._study_ref}],
        }


def _practitioner(person: Person) -> Resource:
    """Somebody of whom we know an opaque id and nothing else."""
    return {
        "resourceType": "Practitioner",
        "id": _id("observer", person.id),
        "identifier": [{"system": "urn:radloop:reader", "value": person.id}],
    }


def _people(words: tuple[Word, ...]) -> list[Resource]:
    ids = dict.fromkeys(word.observer.id for word in words if isinstance(word.observer, Person))
    return [_reference("observer", identity) for identity in ids]


def _conclusion(truth: Word | None) -> str:
    if truth is None:
        return f"No ground truth yet. What a model says is an {WARNING}."
    return f"Pneumonia {'present' if truth.present else 'absent'}, {_BY[Rule(truth.rule)]}. {NOT_A_DEVICE}"


def _components(word: Word) -> list[Resource]:
    """What belongs to a word besides its yes or no."""
    told: list[Resource] = []
    if word.confidence is not None:
        told.append({"code": _concept(CERTAINTY), "valueCodeableConcept": _concept(word.confidence)})
    if word.site is not None and word.site.side is not None:
        told.append({"code": _concept(_LATERALITY), "valueCodeableConcept": _concept(word.site.side)})
    for name, value in ((PROBABILITY, word.probability), (THRESHOLD, word.threshold)):
        if value is not None:
            quantity = {"value": float(value), "unit": "1", "system": _SYSTEMS["UCUM"], "code": NO_UNITS.code}
            told.append({"code": _concept(name), "valueQuantity": quantity})
    if word.reads is not None:
        told.append({"code": _concept(READS), "valueInteger": word.reads})
    if word.outside is not None:
        told.append({"code": _concept(OUTSIDE), "valueBoolean": word.outside})
    for name, text in ((STEP, word.rule), (REASON, word.reason)):
        if text:
            told.append({"code": _concept(name), "valueString": text})
    return told


def _body_site(site: Site) -> Resource:
    words = [part.meaning for part in (site.side, site.spread) if part is not None]
    return {**_concept(site.structure), "text": ", ".join([site.structure.meaning, *words])}


def _made_by_ai() -> Resource:
    """The security label that says a machine asserted it (AIAST of HL7's v3-ObservationValue)."""
    label = {"system": f"{_TERMINOLOGY}/v3-ObservationValue", "code": "AIAST"}
    return {"security": [label]}


def _concept(concept: Concept) -> Resource:
    return _codeable(_SYSTEMS[concept.scheme], concept.code, concept.meaning)


def _codeable(system: str, code: str, display: str) -> Resource:
    return {"coding": [{"system": system, "code": code, "display": display}]}


def _observer_ref(observer: Person | Device) -> Resource:
    return _reference("observer", observer.uid if isinstance(observer, Device) else observer.id)


def _reference(kind: str, identity: str) -> Resource:
    return {"reference": f"urn:uuid:{_id(kind, identity)}"}


def _id(kind: str, identity: str) -> str:
    """The id of a resource: it follows from ours, for ever."""
    return str(uuid.uuid5(_NAMESPACE, f"{kind}/{identity}"))


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _date(value: object) -> str:
    """A DA as a FHIR date; "" where there is none. The time of day is left out, for its zone is not told."""
    text = str(value or "")
    if len(text) != _DIGITS_OF_A_DATE:
        return ""
    try:
        return datetime.strptime(text, "%Y%m%d").replace(tzinfo=UTC).date().isoformat()
    except ValueError:
        return ""
