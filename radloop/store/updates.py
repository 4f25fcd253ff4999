"""What a caller may change in the metadata of an image set, read from the documents of HealthImaging's API.

Both documents have the shape of a metadata document, cut down to what is meant. In the one that updates, values count;
in the one that removes, only the keywords do, and an instance without attributes stands for the instance itself.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from radloop.core.errors import InvalidInput
from radloop.dicom.levels import level_of
from radloop.dicom.plain import dicom_entries, is_keyword
from radloop.store.edits import LEVELS, Edit, Edits
from radloop.store.instances import StoredInstance

SCHEMA_VERSIONS = frozenset({"1.1", 1.1})

_UIDS = frozenset({"StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"})
_FORCED = _UIDS | {"StudyID"}
_FIXED = frozenset(
    {
        "SOPClassUID",
        "TransferSyntaxUID",
        "SamplesPerPixel",
        "PhotometricInterpretation",
        "PlanarConfiguration",
        "NumberOfFrames",
        "Rows",
        "Columns",
        "BitsAllocated",
        "BitsStored",
        "HighBit",
        "PixelRepresentation",
        "PixelData",
        "FloatPixelData",
        "DoubleFloatPixelData",
        "SpecificCharacterSet",
        "LossyImageCompression",
    }
)
_PRIVATE = re.compile(r"[0-9A-F]{3}[13579BDF][0-9A-F]{4}")


@dataclass(frozen=True, slots=True)
class Update:
    """Changes asked for.

    Attributes:
        edits: By level, and by SOP instance UID.
        instances: SOP instance UIDs of instances to take out.
    """

    edits: Edits
    instances: frozenset[str]


def read_update(updating: bytes | None, removing: bytes | None, *, series_uid: str, force: bool) -> Update:
    """What the two documents of an update ask for.

    Args:
        updating: Attributes with their new values.
        removing: Attributes and instances that shall go.
        series_uid: Of the image set.
        force: Whether identifiers and private attributes may be touched.

    Raises:
        InvalidInput: A document is not of its shape, or asks for what cannot be changed.
    """
    edits, gone = Edits(), frozenset[str]()
    if removing is not None:
        document = _parsed(removing, "removableAttributes")
        found = {}
        for scope, names, _ in _scopes(document, series_uid):
            _check_names(scope, names, force=force)
            if _UIDS & names.keys():
                raise InvalidInput("removableAttributes names an identifier, which can be updated but not removed")
            found[scope] = Edit(removed=frozenset(names))
        edits, gone = edits.then(Edits(found)), _whole_instances(document, series_uid)
    if updating is not None:
        found = {}
        for scope, values, vrs in _scopes(_parsed(updating, "updatableAttributes"), series_uid):
            _check_names(scope, values, force=force)
            dicom_entries(values, vrs)
            if any(not values[name] for name in _UIDS & values.keys()):
                raise InvalidInput("updatableAttributes empties an identifier")
            found[scope] = Edit(values=dict(values), vrs=dict(vrs))
        edits = edits.then(Edits(found))
    if not edits and not gone:
        raise InvalidInput("the update changes nothing: neither attributes nor instances are named in it")
    return Update(edits, gone)


def read_copies(text: str, *, series_uid: str) -> frozenset[str]:
    """The SOP instance UIDs that `copiableAttributes` names.

    Raises:
        InvalidInput: It is not of its shape, or names none.
    """
    document = _parsed(text.encode(), "copiableAttributes")
    found = frozenset(_instances(document, series_uid))
    if not found:
        raise InvalidInput("copiableAttributes names no instance")
    return found


def by_instance(update: Update, instances: Sequence[StoredInstance]) -> tuple[Edits, frozenset[str]]:
    """The edits by instance id instead of SOP instance UID, and the ids of instances to take out.

    Raises:
        InvalidInput: One of the UIDs is not in the image set.
    """
    ids = {instance.sop_uid: instance.id for instance in instances}
    wanted = {scope for scope in update.edits.scopes if scope not in LEVELS} | update.instances
    if wanted - ids.keys():
        raise InvalidInput(f"{len(wanted - ids.keys())} of the instances named are not in the image set")
    scopes = {ids.get(scope, scope): edit for scope, edit in update.edits.scopes.items()}
    return Edits(scopes), frozenset(ids[sop_uid] for sop_uid in update.instances)


def _parsed(data: bytes, member: str) -> Mapping[str, Any]:
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise InvalidInput(f"{member} is not JSON") from None
    if not isinstance(document, dict) or document.keys() - {"SchemaVersion", "Patient", "Study"}:
        raise InvalidInput(f"{member} must be an object of SchemaVersion, Patient and Study")
    if document.get("SchemaVersion", "1.1") not in SCHEMA_VERSIONS:
        raise InvalidInput(f"{member} must have SchemaVersion 1.1")
    return document


def _scopes(document: Mapping[str, Any], series_uid: str) -> Iterator[tuple[str, Mapping[str, Any], Mapping[str, str]]]:
    """Scope, attributes and VRs of every data set that the document names attributes of."""
    study = _object(document, "Study")
    places = [("Patient", _object(document, "Patient")), ("Study", study)]
    for series in _series(study, series_uid):
        places.append(("Series", series))
        places += [(name, _object(series["Instances"], name)) for name in series.get("Instances", {})]
    for scope, place in places:
        attributes = _object(place, "DICOM")
        if attributes:
            yield scope, attributes, _object(place, "DICOMVRs")


def _instances(document: Mapping[str, Any], series_uid: str) -> Iterator[str]:
    for series in _series(_object(document, "Study"), series_uid):
        yield from _object(series, "Instances")


def _whole_instances(document: Mapping[str, Any], series_uid: str) -> frozenset[str]:
    """Instances that are named without attributes."""
    found = set()
    for series in _series(_object(document, "Study"), series_uid):
        instances = _object(series, "Instances")
        found |= {name for name in instances if not _object(_object(instances, name), "DICOM")}
    return frozenset(found)


def _series(study: Mapping[str, Any], series_uid: str) -> list[Mapping[str, Any]]:
    series = _object(study, "Series")
    if series.keys() - {series_uid}:
        raise InvalidInput("the document names a series that the image set does not hold")
    return [_object(series, name) for name in series]


def _object(place: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = place.get(name, {})
    if not isinstance(value, dict):
        raise InvalidInput("a metadata document holds something else where an object should stand")
    return value


def _check_names(scope: str, names: Mapping[str, Any], *, force: bool) -> None:
    """Refuse what cannot be changed, or not there, or not without `force`."""
    level = scope if scope in LEVELS else "Instance"
    for name in names:
        if _PRIVATE.fullmatch(name):
            if level != "Instance" or not force:
                raise InvalidInput("private attributes are changed for single instances, and only with force")
            continue
        if not is_keyword(name) or name in _FIXED or name.startswith("FileMeta"):
            raise InvalidInput("the document names an attribute that cannot be changed")
        if level_of(name) != level:
            raise InvalidInput(f"{name} belongs to the level {level_of(name)}, not {level}")
        if name in _FORCED and not force:
            raise InvalidInput(f"{name} is changed only with force")
