"""What closing an image set fixes: its geometry, and the order of its instances and frames."""

from collections.abc import Sequence
from typing import Any

from radloop.dicom.geometry import Geometry, volume_geometry
from radloop.dicom.image import ImageDescription
from radloop.store.instances import StoredInstance


def arranged(instances: Sequence[StoredInstance]) -> tuple[Geometry, dict[str, Any]]:
    """The geometry, and what a version remembers: its instances and its frames, both in slice order."""
    pictured = [instance for instance in instances if instance.image is not None]
    geometry = volume_geometry([ImageDescription.from_plain(i.image) for i in pictured if i.image is not None])
    names = [pictured[place].id for place in geometry.order]
    names += [instance.id for instance in instances if instance.image is None]
    frames = [[names.index(pictured[place].id), number] for place, number in geometry.frames]
    return geometry, {"instances": names, "frames": frames}


def facts_of(geometry: Geometry) -> dict[str, Any]:
    """What an image set tells of its geometry; the order of frames stands in its version."""
    return {name: value for name, value in geometry.plain().items() if name not in {"order", "frames", "warnings"}}
