"""Where the frames of a series lie: plane, spacing, order, and what is missing or stands twice."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median_low
from typing import Any, NamedTuple

from radloop.core.errors import IrregularVolume
from radloop.core.images import Notice
from radloop.dicom.image import ImageDescription, Orientation, Pair, Position

_OBLIQUE_COSINE = 0.8
"""A plane more than 37 degrees off every axis is oblique; a tilted gantry (up to 30) still is axial."""

_PARALLEL = 0.999
_FAR_MM = 1e6
_SHEAR = 0.01
_DOUBLED_MM = 1e-3


class Gap(NamedTuple):
    """Slices missing behind the frame at place `after` of the sorted frames."""

    after: int
    missing: int


@dataclass(frozen=True, slots=True)
class Geometry:
    """How the frames of a series stand in the patient.

    Attributes:
        plane: axial, coronal, sagittal, oblique, or unknown where nothing tells.
        row_direction: Unit vector along a row, towards higher columns, in the patient's axes (left, posterior, head).
        column_direction: Unit vector along a column, towards higher rows.
        row_spacing_mm: Distance of neighbouring rows; `column_spacing_mm`: of neighbouring columns.
        slice_spacing_mm: Distance of neighbouring slices along the normal, None below two places.
        order: Indices of the instances, ascending along the normal; what has no place comes last.
        frames: The same for frames: (index of the instance, index of its frame).
        gaps: Places in `frames` behind which slices are missing.
        doubled: Places in `frames` that hold a slice where the one before it stands.
        is_even: One plane, every slice there once, at one distance: fit for reformatting.
        warnings: What a reader should know.
    """

    plane: str
    row_direction: Position | None
    column_direction: Position | None
    row_spacing_mm: float | None
    column_spacing_mm: float | None
    slice_spacing_mm: float | None
    order: tuple[int, ...]
    frames: tuple[tuple[int, int], ...]
    gaps: tuple[Gap, ...]
    doubled: tuple[int, ...]
    is_even: bool
    warnings: tuple[Notice, ...]

    def plain(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {
            "plane": self.plane,
            "row_direction": _listed(self.row_direction),
            "column_direction": _listed(self.column_direction),
            "row_spacing_mm": self.row_spacing_mm,
            "column_spacing_mm": self.column_spacing_mm,
            "slice_spacing_mm": self.slice_spacing_mm,
            "order": list(self.order),
            "frames": [list(frame) for frame in self.frames],
            "gaps": [gap._asdict() for gap in self.gaps],
            "doubled": list(self.doubled),
            "is_even": self.is_even,
            "warnings": [{"code": notice.code, "message": notice.message} for notice in self.warnings],
        }


def slice_spacing(positions_mm: Sequence[float], *, tolerance: float = 0.01) -> float:
    """Distance between neighbouring slices along the normal.

    Args:
        positions_mm: Projection of each ImagePositionPatient on the slice normal, in millimetres,
            ascending. At least two.
        tolerance: Greatest allowed deviation, as a fraction of the spacing.

    Returns:
        The spacing in millimetres, always positive.

    Raises:
        IrregularVolume: A slice is missing, doubled or displaced.

    See:
        PS3.3 C.7.6.2.1.1 (Image Position and Image Orientation). SliceThickness is not used:
        it may differ from the spacing.

    >>> slice_spacing([-12.5, -10.0, -7.5])
    2.5
    """
    gaps = [after - before for before, after in pairwise(positions_mm)]
    if not gaps:
        raise IrregularVolume("a volume needs at least two slices")
    spacing = median_low(gaps)  # the mean would move with the very fault we look for
    for index, gap in enumerate(gaps):
        if gap <= max(tolerance * spacing, _DOUBLED_MM):
            raise IrregularVolume(f"slice {index + 1} stands where slice {index} stands")
        if gap > 1.5 * spacing:
            raise IrregularVolume(f"gap after slice {index}")
        if abs(gap - spacing) > tolerance * spacing:
            raise IrregularVolume(f"slice {index + 1} is displaced")
    return spacing


class _Plane(NamedTuple):
    """One frame in the patient; `along` is filled in once the normal is known."""

    instance: int
    frame: int
    number: int
    uid: str
    position: Position | None
    rows: Position | None
    columns: Position | None
    spacing: Pair | None
    along: float = 0.0


def volume_geometry(descriptions: Sequence[ImageDescription]) -> Geometry:
    """The geometry of a series from the descriptions of its instances, frames of enhanced ones included.

    Odd geometry is told in the warnings; it never raises.

    See:
        PS3.3 C.7.6.2 (Image Plane), C.7.6.16.2.3 (Plane Position).
    """
    planes = [plane for index, image in enumerate(descriptions) for plane in _planes(index, image)]
    placed = [plane for plane in planes if plane.position and plane.rows and plane.columns]
    lead = _commonest(placed)
    warnings = _unplaced_warnings(len(planes), len(placed))
    if lead is None or lead.rows is None or lead.columns is None:
        return _by_number(planes, tuple(warnings))
    normal = _cross(lead.rows, lead.columns)
    stack, aside = _split(placed, lead.rows, lead.columns, normal)
    warnings += _aside_warnings(len(stack), len(aside))
    lost = [plane for plane in planes if not (plane.position and plane.rows and plane.columns)]
    ordered = [*stack, *sorted(aside, key=_number), *sorted(lost, key=_number)]
    spacing, gaps, doubled, more = _stacking(stack)
    warnings += more + _uniformity_warnings(descriptions, stack) + _shear_warnings(stack, normal)
    pixel = lead.spacing
    return Geometry(
        plane=_plane_name(normal),
        row_direction=lead.rows,
        column_direction=lead.columns,
        row_spacing_mm=pixel[0] if pixel else None,
        column_spacing_mm=pixel[1] if pixel else None,
        slice_spacing_mm=spacing,
        order=tuple(dict.fromkeys(plane.instance for plane in ordered)),
        frames=tuple((plane.instance, plane.frame) for plane in ordered),
        gaps=gaps,
        doubled=doubled,
        is_even=not warnings and spacing is not None,
        warnings=tuple(warnings),
    )


def _planes(index: int, image: ImageDescription) -> list[_Plane]:
    """One plane per frame; frames without a functional group of their own share the instance's place."""
    number = image.number if image.number is not None else 1 << 31
    planes = []
    for frame in range(image.frames):
        group = image.per_frame[frame] if frame < len(image.per_frame) else None
        position = group.position_mm if group else image.position_mm
        rows, columns = _directions(group.orientation if group else image.orientation)
        if image.frames > 1 and group is None:
            position = None  # a cine run or a stack whose places are told in no way we know
        spacing = (group.spacing_mm if group else None) or image.spacing_mm
        near = position is not None and all(abs(value) < _FAR_MM for value in position)
        planes.append(_Plane(index, frame, number, image.sop_uid, position if near else None, rows, columns, spacing))
    return planes


def _directions(orientation: Orientation | None) -> tuple[Position | None, Position | None]:
    """Unit vectors of row and column, or None where they are no two perpendicular directions."""
    if orientation is None or not all(abs(value) < _FAR_MM for value in orientation):
        return None, None
    rows, columns = _unit(orientation[:3]), _unit(orientation[3:])
    if rows is None or columns is None or abs(_dot(rows, columns)) > _SHEAR:
        return None, None
    return rows, columns


def _commonest(placed: Sequence[_Plane]) -> _Plane | None:
    """A plane of the orientation most planes have; the first of them where two are even."""
    counts: dict[tuple[float, ...], list[_Plane]] = {}
    for plane in placed:
        assert plane.rows is not None
        assert plane.columns is not None
        key = tuple(round(value, 2) for value in (*plane.rows, *plane.columns))
        counts.setdefault(key, []).append(plane)
    return max(counts.values(), key=len)[0] if counts else None


def _split(
    placed: Sequence[_Plane], rows: Position, columns: Position, normal: Position
) -> tuple[list[_Plane], list[_Plane]]:
    """The planes parallel to the leading one, ascending along its normal, and the others."""
    stack, aside = [], []
    for plane in placed:
        assert plane.rows is not None
        assert plane.columns is not None
        assert plane.position is not None
        if _dot(plane.rows, rows) > _PARALLEL and _dot(plane.columns, columns) > _PARALLEL:
            stack.append(plane._replace(along=_dot(plane.position, normal)))
        else:
            aside.append(plane)
    # Places within a micrometre are one place: rounding must not shuffle the phases of a 4D series.
    stack.sort(key=lambda plane: (round(plane.along / _DOUBLED_MM), *_number(plane)))
    return stack, aside


def _number(plane: _Plane) -> tuple[int, str, int]:
    return plane.number, plane.uid, plane.frame


def _by_number(planes: Sequence[_Plane], warnings: tuple[Notice, ...]) -> Geometry:
    """The geometry where nothing tells the places: InstanceNumber, then SOPInstanceUID."""
    ordered = sorted(planes, key=lambda plane: (*_number(plane)[:2], plane.instance, plane.frame))
    pixel = next((plane.spacing for plane in ordered if plane.spacing), None)
    return Geometry(
        plane="unknown",
        row_direction=None,
        column_direction=None,
        row_spacing_mm=pixel[0] if pixel else None,
        column_spacing_mm=pixel[1] if pixel else None,
        slice_spacing_mm=None,
        order=tuple(dict.fromkeys(plane.instance for plane in ordered)),
        frames=tuple((plane.instance, plane.frame) for plane in ordered),
        gaps=(),
        doubled=(),
        is_even=False,
        warnings=warnings,
    )


def _stacking(stack: Sequence[_Plane]) -> tuple[float | None, tuple[Gap, ...], tuple[int, ...], list[Notice]]:
    """Spacing, gaps and doubled places of parallel slices in order, with what is to be said of them."""
    doubled = tuple(
        place + 1 for place, (before, after) in enumerate(pairwise(stack)) if after.along - before.along <= _DOUBLED_MM
    )
    places = [place for place in range(len(stack)) if place not in set(doubled)]
    steps = [(after, stack[after].along - stack[before].along) for before, after in pairwise(places)]
    if not steps:
        return None, (), doubled, _stacking_warnings(len(stack), doubled, (), is_even=True)
    spacing = median_low([step for _, step in steps])
    gaps = tuple(Gap(after - 1, round(step / spacing) - 1) for after, step in steps if step > 1.5 * spacing)
    try:
        slice_spacing([stack[place].along for place in places])
        is_even = True
    except IrregularVolume:
        is_even = False
    return spacing, gaps, doubled, _stacking_warnings(len(stack), doubled, gaps, is_even=is_even)


def _stacking_warnings(count: int, doubled: tuple[int, ...], gaps: tuple[Gap, ...], *, is_even: bool) -> list[Notice]:
    warnings = []
    if doubled:
        warnings.append(Notice("doubled-slices", f"{len(doubled)} of {count} slices stand where another one stands"))
    if gaps:
        missing = sum(gap.missing for gap in gaps)
        warnings.append(Notice("missing-slices", f"{missing} slices are missing in {len(gaps)} places"))
    elif not is_even:
        warnings.append(Notice("irregular-spacing", "the slices do not stand at one distance"))
    return warnings


def _unplaced_warnings(count: int, placed: int) -> list[Notice]:
    if placed == count:
        return []
    return [Notice("no-position", f"{count - placed} of {count} frames tell no place in the patient")]


def _aside_warnings(stacked: int, aside: int) -> list[Notice]:
    """A few planes across the others are localizers; many are another stack in the same series."""
    if not aside:
        return []
    code = "localizer" if aside * 10 <= stacked else "mixed-orientation"
    return [Notice(code, f"{aside} of {stacked + aside} frames are not parallel to the others")]


def _uniformity_warnings(descriptions: Sequence[ImageDescription], stack: Sequence[_Plane]) -> list[Notice]:
    warnings = []
    used = {plane.instance for plane in stack}
    if len({(descriptions[index].rows, descriptions[index].columns) for index in used}) > 1:
        warnings.append(Notice("mixed-size", "the frames do not have one number of rows and columns"))
    spacings = {(round(plane.spacing[0], 4), round(plane.spacing[1], 4)) if plane.spacing else None for plane in stack}
    if len(spacings) > 1:
        warnings.append(Notice("mixed-pixel-spacing", "the frames do not have one pixel spacing"))
    return warnings


def _shear_warnings(stack: Sequence[_Plane], normal: Position) -> list[Notice]:
    """A tilted gantry moves each slice sideways: the stack is no box, and reformatting must know."""
    first, last = stack[0].position, stack[-1].position
    assert first is not None
    assert last is not None
    way = _minus(last, first)
    along = _dot(way, normal)
    aside = _minus(way, (along * normal[0], along * normal[1], along * normal[2]))
    if math.hypot(*aside) <= max(_SHEAR * abs(along), _DOUBLED_MM):
        return []
    return [Notice("sheared", "the slices move sideways along the stack, as with a tilted gantry")]


def _plane_name(normal: Position) -> str:
    sizes = [abs(value) for value in normal]
    largest = max(sizes)
    return ("sagittal", "coronal", "axial")[sizes.index(largest)] if largest >= _OBLIQUE_COSINE else "oblique"


def _dot(one: Position, other: Position) -> float:
    return one[0] * other[0] + one[1] * other[1] + one[2] * other[2]


def _cross(one: Position, other: Position) -> Position:
    return (
        one[1] * other[2] - one[2] * other[1],
        one[2] * other[0] - one[0] * other[2],
        one[0] * other[1] - one[1] * other[0],
    )


def _minus(one: Position, other: Position) -> Position:
    return (one[0] - other[0], one[1] - other[1], one[2] - other[2])


def _unit(vector: Sequence[float]) -> Position | None:
    length = math.hypot(*vector)
    if not length > _DOUBLED_MM:
        return None
    return (vector[0] / length, vector[1] / length, vector[2] / length)


def _listed(vector: Position | None) -> list[float] | None:
    return list(vector) if vector else None
