"""What was changed in the attributes of an image set since its files arrived.

The files stay as they came, and export gives them so. An edit lies over what they say: for the patient, the study,
the series, or one instance. Metadata, searches and lists show the edited values.

The record of an instance is written again for its own edit alone. Those of patient, study and series are laid over it
when it is read, so that changing them is one small change however many instances there are. A record that was written
for another reason meanwhile may hold them already, which laying them over again does not change.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from radloop.core.images import ImageSet
from radloop.core.ports import Delete, Put, Records
from radloop.core.tables import EDITS
from radloop.dicom.parse import HOT
from radloop.dicom.plain import Plain, dicom_entries
from radloop.dicom.values import integer
from radloop.store.instances import StoredInstance

LEVELS = ("Patient", "Study", "Series")

_NUMBERS = frozenset({"SeriesNumber", "InstanceNumber"})
_LISTS = frozenset({"ImageType"})


@dataclass(frozen=True, slots=True)
class Edit:
    """Changes to one data set: values by keyword, keywords that are gone, VRs of what stands under its tag."""

    values: Mapping[str, Any] = field(default_factory=dict)
    removed: frozenset[str] = frozenset()
    vrs: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.values or self.removed)

    def then(self, later: "Edit") -> "Edit":
        """This edit and, over it, a later one."""
        values = {name: value for name, value in self.values.items() if name not in later.removed}
        return Edit(
            values={**values, **later.values},
            removed=(self.removed | later.removed) - later.values.keys(),
            vrs={**self.vrs, **later.vrs},
        )

    def over(self, plain: Mapping[str, Any]) -> Plain:
        """Plain values with the edit over them."""
        kept = {name: value for name, value in plain.items() if name not in self.removed}
        return {**kept, **self.values}

    def over_document(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """A DICOM JSON object with the edit over it."""
        gone = dicom_entries(dict.fromkeys(self.removed), self.vrs).keys()
        kept = {tag: entry for tag, entry in document.items() if tag not in gone}
        return dict(sorted((kept | dicom_entries(self.values, self.vrs)).items()))

    def over_hot(self, attributes: Mapping[str, Any]) -> dict[str, Any]:
        """Hot attributes with the edit over them."""
        kept = {name: value for name, value in attributes.items() if name not in self.removed}
        return {**kept, **{name: _hot(name, value) for name, value in self.values.items() if name in HOT}}


@dataclass(frozen=True, slots=True)
class Edits:
    """All edits of an image set: by `Patient`, `Study`, `Series`, and by instance id."""

    scopes: Mapping[str, Edit] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return any(self.scopes.values())

    def then(self, later: "Edits") -> "Edits":
        """These edits and later ones over them."""
        names = [*self.scopes, *(name for name in later.scopes if name not in self.scopes)]
        return Edits({name: self.of(name).then(later.of(name)) for name in names})

    def of(self, scope: str) -> Edit:
        """The edit of one scope; an empty one where there is none."""
        return self.scopes.get(scope, Edit())

    @property
    def own(self) -> "Edits":
        """Those of single instances alone."""
        return Edits({name: edit for name, edit in self.scopes.items() if name not in LEVELS})

    @property
    def common(self) -> Edit:
        """What every instance is subject to."""
        return self.of("Patient").then(self.of("Study")).then(self.of("Series"))

    def of_instance(self, identity: str) -> Edit:
        """What one instance is subject to."""
        return self.common.then(self.of(identity))

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            name: {"values": dict(edit.values), "removed": sorted(edit.removed), "vrs": dict(edit.vrs)}
            for name, edit in self.scopes.items()
            if edit
        }


def edits_of(plain: Mapping[str, Any]) -> Edits:
    """What `Edits.plain` gave, read back."""
    return Edits(
        {
            name: Edit(values=scope["values"], removed=frozenset(scope["removed"]), vrs=scope["vrs"])
            for name, scope in plain.items()
        }
    )


def read_edits(records: Records, image_set: str) -> Edits:
    """The edits of an image set as it is now."""
    row = records.get(EDITS, image_set)
    return Edits() if row is None else edits_of(row.document)


def write_edits(image_set: str, edits: Edits) -> Put | Delete:
    """The write that makes these the edits of an image set."""
    return Put(EDITS, image_set, edits.plain()) if edits else Delete(EDITS, image_set)


def edited_set(image_set: ImageSet, edits: Edits) -> ImageSet:
    """An image set whose attributes are as received, with the edits over them."""
    values = edits.common.values
    return replace(
        image_set,
        attributes=edits.common.over_hot(image_set.attributes),
        patient_id="" if "PatientID" in edits.common.removed else str(values.get("PatientID", image_set.patient_id)),
        study_uid=str(values.get("StudyInstanceUID", image_set.study_uid)),
        series_uid=str(values.get("SeriesInstanceUID", image_set.series_uid)),
    )


def edited_instance(instance: StoredInstance, edits: Edits) -> StoredInstance:
    """An instance whose attributes are as received, with the edits over them."""
    edit = edits.of_instance(instance.id)
    received = instance.uid_as_received
    sop_uid = str(edit.values.get("SOPInstanceUID", instance.sop_uid))
    return replace(
        instance,
        attributes=edit.over_hot(instance.attributes),
        sop_uid=sop_uid,
        received_uid=None if sop_uid == received else received,
    )


def may_be_written(edit: Edit, instance: StoredInstance) -> bool:
    """Whether the record of an instance may hold something of an edit; where not, it holds what its file says."""
    if edit.values.get("SOPInstanceUID") == instance.sop_uid:
        return True
    told = edit.over_hot({})
    is_told = any(name in instance.attributes and instance.attributes[name] == value for name, value in told.items())
    return is_told or any(name in HOT and name not in instance.attributes for name in edit.removed)


def _hot(keyword: str, value: Any) -> Any:
    """A plain value as hot attributes keep it."""
    if value is None or value == []:
        return None
    values = [str(each or "") for each in value] if isinstance(value, list) else str(value).split("\\")
    stripped = [each.strip(" \0") for each in values]
    if keyword in _LISTS:
        return stripped
    if keyword in _NUMBERS:
        return integer(stripped[0])
    return "\\".join(stripped) or None
