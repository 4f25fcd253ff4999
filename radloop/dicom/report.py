"""Reports about images: DICOM Structured Reports by template TID 1500, Measurement Report (PS3.16).

The tree is built by highdicom, which knows the templates; here is said what goes into it, as plain values. highdicom
is imported by the one function that writes, for it takes its time and its memory in every process that loads it.
"""

import threading
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import BytesIO
from typing import Any, Final

from pydicom.dataset import Dataset
from pydicom.uid import UID

from radloop import __version__
from radloop.core.errors import InvalidInput
from radloop.dicom.concepts import OUR_SCHEME_NAME, OURS, Concept, Site
from radloop.dicom.make import IMPLEMENTATION
from radloop.dicom.subject import KeyPicture, Picture, Subject

COMPREHENSIVE_SR: Final = "1.2.840.10008.5.1.4.1.1.88.33"
MANUFACTURER: Final = "radloop"
MOST_LISTED: Final = 64
"""Images up to which all of a series stand in a report's image library."""

_LONGEST_NAME, _LONGEST_LO = 62, 64
_FRACTION_DIGITS = 10
_BEHIND_IDENTITY = 2  # a group begins with its tracking identifier and UID
_ONE_AT_A_TIME = threading.Lock()  # what is told of warnings is told of the whole process


@dataclass(frozen=True, slots=True)
class Person:
    """A person who observed, by an opaque id: we know no name, so the id stands where the template wants one."""

    id: str
    role: Concept


@dataclass(frozen=True, slots=True)
class Device:
    """A program that observed.

    Attributes:
        uid: A UID that stands for exactly this version.
        name: What it is called.
        model: The version, for people.
        serial: What tells it from every other: SHA-256 of its weights, or empty.
    """

    uid: str
    name: str
    model: str
    serial: str = ""


@dataclass(frozen=True, slots=True)
class Algorithm:
    """What made a group, where no person did (TID 4019)."""

    name: str
    version: str
    family: Concept
    parameters: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Measure:
    """A number with its name."""

    name: Concept
    value: float
    unit: Concept


@dataclass(frozen=True, slots=True)
class Group:
    """What one observer says at one time (TID 1501).

    Attributes:
        title: In words, for people who look at the tree.
        uid: The same group has the same UID in every report it stands in.
        at: When it was said.
        observer: Who said it; None for what the report itself adds.
        evaluations: Name and coded value.
        finding: Only where the finding is there, so that nobody takes one that is absent for one that is present.
        words: Name and text.
    """

    title: str
    uid: str
    at: datetime
    observer: Person | Device | None = None
    finding: Concept | None = None
    site: Site | None = None
    evaluations: tuple[tuple[Concept, Concept], ...] = ()
    measures: tuple[Measure, ...] = ()
    words: tuple[tuple[Concept, str], ...] = ()
    pictures: tuple[KeyPicture, ...] = ()
    algorithm: Algorithm | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """A whole report.

    Attributes:
        sop_uid: Follows from the content, so that the same report is the same object.
        at: The latest moment it tells of; the file's dates are this one's, in UTC, never those of its writing.
        model_name: ManufacturerModelName, by which results of a model are known as such.
        observers: Everybody whose word stands in it.
        verified_by: Ids of the people who answer for its content with the moment they did; empty: UNVERIFIED.
        is_final: The definitive word, not a preliminary one.
    """

    subject: Subject
    sop_uid: str
    series_uid: str
    series_number: int
    instance_number: int
    series_description: str
    model_name: str
    at: datetime
    procedure: Concept
    observers: tuple[Person | Device, ...]
    groups: tuple[Group, ...]
    verified_by: tuple[tuple[str, datetime], ...] = field(default=())
    is_final: bool = False


def report_file(report: Report) -> bytes:
    """A Comprehensive SR document as a Part 10 file, Explicit VR Little Endian; the same report is the same bytes.

    Raises:
        InvalidInput: The subject has no images, or one of a class that a report cannot refer to.
    """
    if not report.subject.pictures:
        raise InvalidInput("a report needs at least one image to be about")
    with _ONE_AT_A_TIME, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a PatientID that is too long, which a warning would tell
        data_set = _document(report)
    _settle_dates(data_set, report.at)
    _verify(data_set, report)
    return _written(data_set)


def _document(report: Report) -> Dataset:
    from highdicom.sr import ComprehensiveSR, MeasurementReport  # noqa: PLC0415 — 36 MB that only writers need

    first, *others = report.subject.pictures
    evidence = [_described(report.subject, first), *(_named(report.subject, each) for each in others)]
    listed = [_described(report.subject, each) for each in _listed(report)]
    try:
        content = MeasurementReport(
            observation_context=_observation_context(report.observers),
            procedure_reported=_coded(report.procedure),
            imaging_measurements=[_group(each) for each in report.groups],
            referenced_images=listed,
        )
        return ComprehensiveSR(
            evidence=evidence,
            content=content,
            series_instance_uid=report.series_uid,
            series_number=report.series_number,
            sop_instance_uid=report.sop_uid,
            instance_number=report.instance_number,
            manufacturer=MANUFACTURER,
            manufacturer_model_name=report.model_name,
            software_versions=__version__,
            series_description=report.series_description,
            specific_character_set="ISO_IR 192",
            is_complete=True,
            is_final=report.is_final,
            coding_schemes=_our_scheme(),
        )
    except (KeyError, ValueError) as error:
        raise InvalidInput("the image set holds what a measurement report cannot refer to") from error


def _listed(report: Report) -> tuple[Picture, ...]:
    """The images of the library: all of a small series, of a long one those that a group rests on.

    Each costs 10 ms and 1 kB there. The evidence names every image either way.
    """
    pictures = report.subject.pictures
    if len(pictures) <= MOST_LISTED:
        return pictures
    return tuple(dict.fromkeys(key.picture for group in report.groups for key in group.pictures)) or pictures[:1]


def _named(subject: Subject, picture: Picture) -> Dataset:
    """The identity of an image, which is what evidence is made of."""
    image = Dataset()
    image.SOPClassUID, image.SOPInstanceUID = picture.sop_class, picture.sop_uid
    image.StudyInstanceUID, image.SeriesInstanceUID = subject.study_uid, subject.series_uid
    return image


def _described(subject: Subject, picture: Picture) -> Dataset:
    """What highdicom wants to know of an image: identity, size, patient and study.

    The modality is kept out, because it would ask for geometry that an import of pictures does not have; the image
    library tells it from the SOP class.
    """
    image = _named(subject, picture)
    image.Modality = "OT"
    image.Rows, image.Columns = picture.rows, picture.columns
    subject.add_to(image)
    if subject.frame_of_reference:
        image.FrameOfReferenceUID = subject.frame_of_reference
    return image


def _observation_context(observers: Sequence[Person | Device]) -> Any:
    from highdicom.sr import ObservationContext  # noqa: PLC0415

    context = ObservationContext()
    for observer in observers:
        context.extend(_observer(observer))
    return context


def _observer(observer: Person | Device) -> Any:
    """TID 1002: a person (TID 1003) or a device (TID 1004)."""
    from highdicom.sr import (  # noqa: PLC0415
        DeviceObserverIdentifyingAttributes,
        ObserverContext,
        PersonObserverIdentifyingAttributes,
    )

    if isinstance(observer, Person):
        person = PersonObserverIdentifyingAttributes(
            name=_person_name(observer.id), login_name=observer.id, role_in_procedure=_coded(observer.role)
        )
        return ObserverContext(_coded(Concept("121006", "DCM", "Person")), person)
    device = DeviceObserverIdentifyingAttributes(
        uid=observer.uid,
        name=observer.name,
        manufacturer_name=MANUFACTURER,
        model_name=observer.model,
        serial_number=observer.serial or None,
    )
    return ObserverContext(_coded(Concept("121007", "DCM", "Device")), device)


def _group(group: Group) -> Any:
    from highdicom.sr import (  # noqa: PLC0415
        FindingSite,
        Measurement,
        MeasurementsAndQualitativeEvaluations,
        QualitativeEvaluation,
        RelationshipTypeValues,
        SourceImageForMeasurementGroup,
        TextContentItem,
        TrackingIdentifier,
    )

    site = group.site
    made = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=group.uid, identifier=group.title),
        finding_type=None if group.finding is None else _coded(group.finding),
        algorithm_id=None if group.algorithm is None else _algorithm(group.algorithm),
        finding_sites=None
        if site is None
        else [
            FindingSite(
                _coded(site.structure),
                laterality=None if site.side is None else _coded(site.side),
                topographical_modifier=None if site.spread is None else _coded(site.spread),
            )
        ],
        measurements=[
            Measurement(_coded(each.name), round(each.value, _FRACTION_DIGITS), _coded(each.unit))
            for each in group.measures
        ],
        qualitative_evaluations=[
            QualitativeEvaluation(_coded(name), _coded(value)) for name, value in group.evaluations
        ],
        source_images=[
            SourceImageForMeasurementGroup(
                each.picture.sop_class,
                each.picture.sop_uid,
                referenced_frame_numbers=None if each.frame is None else [each.frame],
            )
            for each in group.pictures
        ],
    )
    container = made[0]
    for place, item in enumerate(() if group.observer is None else _observer(group.observer), start=_BEHIND_IDENTITY):
        container.ContentSequence.insert(place, item)
    for name, text in group.words:
        container.ContentSequence.append(
            TextContentItem(_coded(name), text, relationship_type=RelationshipTypeValues.CONTAINS)
        )
    container.ObservationDateTime = _moment(group.at)
    return made


def _algorithm(algorithm: Algorithm) -> Any:
    from highdicom.sr import AlgorithmIdentification  # noqa: PLC0415

    return AlgorithmIdentification(
        name=algorithm.name,
        version=algorithm.version,
        parameters=list(algorithm.parameters) or None,
        family=_coded(algorithm.family),
        manufacturer=MANUFACTURER,
    )


def _coded(concept: Concept) -> Any:
    from highdicom.sr import CodedConcept  # noqa: PLC0415

    return CodedConcept(value=concept.code, scheme_designator=concept.scheme, meaning=concept.meaning)


def _our_scheme() -> list[Any]:
    from highdicom.coding_schemes import CodingSchemeIdentificationItem  # noqa: PLC0415

    return [CodingSchemeIdentificationItem(designator=OURS, name=OUR_SCHEME_NAME, responsible_organization="radloop")]


def _settle_dates(data_set: Dataset, at: datetime) -> None:
    """Put the moment of the content where highdicom has put the present one."""
    moment = at.astimezone(UTC)
    date, time = moment.strftime("%Y%m%d"), moment.strftime("%H%M%S")
    data_set.InstanceCreationDate = data_set.ContentDate = date
    data_set.InstanceCreationTime = data_set.ContentTime = time
    for equipment in data_set.get("ContributingEquipmentSequence", ()):
        if "ContributionDateTime" in equipment:
            equipment.ContributionDateTime = _moment(at)


def _verify(data_set: Dataset, report: Report) -> None:
    """Name who answers for the content (PS3.3 C.17.2); without anybody the document stays UNVERIFIED."""
    if not report.verified_by:
        return
    organisation = str(report.subject.attributes.get("InstitutionName") or "Not known")[:_LONGEST_LO]
    people = []
    for identity, at in report.verified_by:
        person = Dataset()
        person.VerifyingObserverName = _person_name(identity)
        person.VerifyingOrganization = organisation
        person.VerificationDateTime = _moment(at)
        person.VerifyingObserverIdentificationCodeSequence = []
        people.append(person)
    data_set.VerificationFlag = "VERIFIED"
    data_set.VerifyingObserverSequence = people


def _written(data_set: Dataset) -> bytes:
    data_set.file_meta.ImplementationClassUID = UID(IMPLEMENTATION)
    data_set.file_meta.ImplementationVersionName = "RADLOOP"
    file = BytesIO()
    data_set.save_as(file, enforce_file_format=True)
    return file.getvalue()


def _person_name(identity: str) -> str:
    """An opaque id where a name is wanted; the caret says that it is one component and no more."""
    return identity.replace("\\", " ").replace("^", " ").replace("=", " ")[:_LONGEST_NAME] + "^"


def _moment(at: datetime) -> str:
    """A DT in UTC that says so (PS3.5 §6.2)."""
    return at.astimezone(UTC).strftime("%Y%m%d%H%M%S") + "+0000"
