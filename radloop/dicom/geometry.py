"""Where the frames of a series lie: plane, spacing, order, and what is missing or stands twice."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, starmap
from statistics import median_low
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from radloop.core.errors import IrregularVolume
from radloop.core.images import Notice
from radloop.dicom.image import ImageDescription, Position

_Numbers = NDArray[np.float64]
_Places = NDArray[np.intp]

_OBLIQUE_COSINE = 0.8
"""A plane more than 37 degrees off every axis is oblique; a tilted gantry (up to 30) still is axial."""

_PARALLEL = 0.999
_FAR_MM = 1e6
_SHEAR = 0.01
_DOUBLED_MM = 1e-3
_UNNUMBERED = 1 << 31
_POSITION, _SPACING = 0, 2
_WIDTHS = (3, 6, 2)
_FINEST = 100.0
"""Steps of one in which two directions are told apart when the commonest one is looked for."""

TOLD_LIMIT = 10_000
"""Gaps and doubled places that are told one by one; a million frames may have as many."""


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
        gaps: Places in `frames` behind which slices are missing, the first `TOLD_LIMIT` of them.
        doubled: Places in `frames` that hold a slice where the one before it stands, the first `TOLD_LIMIT` of them.
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


@dataclass(frozen=True, slots=True)
class _Planes:
    """Frames in the patient, a row each: a series may have a million of them. NaN is what nothing tells.

    Attributes:
        instance: Index of the instance of each frame.
        frame: Its index there.
        rank: Of its instance by InstanceNumber and SOPInstanceUID; equal where these are.
        position: (frames, 3), mm.
        rows, columns: (frames, 3), unit vectors.
        spacing: (frames, 2), mm.
    """

    instance: _Places
    frame: _Places
    rank: _Places
    position: _Numbers
    rows: _Numbers
    columns: _Numbers
    spacing: _Numbers

    def __len__(self) -> int:
        return len(self.instance)

    @property
    def is_placed(self) -> NDArray[np.bool_]:
        """Which of them tell a place and two directions."""
        return ~np.isnan(self.position[:, 0] + self.rows[:, 0])

    def by_number(self, places: _Places) -> _Places:
        """These places in the order of their numbers."""
        return places[np.lexsort((self.frame[places], self.rank[places]))]


def volume_geometry(descriptions: Sequence[ImageDescription]) -> Geometry:
    """The geometry of a series from the descriptions of its instances, frames of enhanced ones included.

    Odd geometry is told in the warnings; it never raises.

    See:
        PS3.3 C.7.6.2 (Image Plane), C.7.6.16.2.3 (Plane Position).
    """
    planes = _planes(descriptions)
    is_placed = planes.is_placed
    placed = np.flatnonzero(is_placed)
    warnings = _unplaced_warnings(len(planes), len(placed))
    if not len(placed):
        return _by_number(planes, tuple(warnings))
    lead = _commonest(planes, placed)
    rows, columns = _vector(planes.rows[lead]), _vector(planes.columns[lead])
    normal = _cross(rows, columns)
    stack, along, aside = _split(planes, placed, rows, columns, normal)
    warnings += _aside_warnings(len(stack), len(aside))
    ordered = np.concatenate((stack, planes.by_number(aside), planes.by_number(np.flatnonzero(~is_placed))))
    spacing, gaps, doubled, more = _stacking(along)
    warnings += more + _uniformity_warnings(descriptions, planes, stack)
    warnings += _shear_warnings(_vector(planes.position[stack[0]]), _vector(planes.position[stack[-1]]), normal)
    pixel = _pixel(planes.spacing[lead])
    return Geometry(
        plane=_plane_name(normal),
        row_direction=rows,
        column_direction=columns,
        row_spacing_mm=pixel[0],
        column_spacing_mm=pixel[1],
        slice_spacing_mm=spacing,
        order=_instances(planes, ordered),
        frames=_frames(planes, ordered),
        gaps=gaps,
        doubled=doubled,
        is_even=not warnings and spacing is not None,
        warnings=tuple(warnings),
    )


def _planes(descriptions: Sequence[ImageDescription]) -> _Planes:
    """A row per frame; frames without a functional group of their own share the instance's directions."""
    counts = np.array([image.frames for image in descriptions], dtype=np.intp)
    total = int(counts.sum())
    instance = np.repeat(np.arange(len(counts)), counts)
    firsts = np.cumsum(counts) - counts
    keys = [(_UNNUMBERED if image.number is None else image.number, image.sop_uid) for image in descriptions]
    ranks = {key: rank for rank, key in enumerate(sorted(set(keys)))}
    position = _column(descriptions, firsts, total, 0)
    position[~(np.abs(position) < _FAR_MM).all(axis=1)] = np.nan
    rows, columns = _directions(_column(descriptions, firsts, total, 1))
    return _Planes(
        instance=instance,
        frame=np.arange(total) - np.repeat(firsts, counts),
        rank=np.array([ranks[key] for key in keys], dtype=np.intp)[instance],
        position=position,
        rows=rows,
        columns=columns,
        spacing=_column(descriptions, firsts, total, 2),
    )


def _column(descriptions: Sequence[ImageDescription], firsts: _Places, total: int, field: int) -> _Numbers:
    """Position, orientation or spacing (`field` 0, 1 or 2 of a frame's description) of every frame."""
    found = np.full((total, _WIDTHS[field]), np.nan)
    nothing = (math.nan,) * _WIDTHS[field]
    for image, first in zip(descriptions, firsts.tolist(), strict=True):
        own = (image.position_mm, image.orientation, image.spacing_mm)[field]
        if image.per_frame:
            told = image.per_frame.columns[field]
            own = own if field == _SPACING else None
            values = [own or nothing if value is None else value for value in told]
            found[first : first + image.frames] = values
        elif own is not None and (field != _POSITION or image.frames == 1):
            found[first : first + image.frames] = own  # the places of a cine run are told in no way we know
    return found


def _directions(orientations: _Numbers) -> tuple[_Numbers, _Numbers]:
    """Unit vectors of row and column, NaN where they are no two perpendicular directions."""
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        rows, columns = _units(orientations[:, :3]), _units(orientations[:, 3:])
        is_sound = (np.abs(orientations) < _FAR_MM).all(axis=1) & (np.abs((rows * columns).sum(axis=1)) <= _SHEAR)
    rows[~is_sound] = np.nan
    columns[~is_sound] = np.nan
    return rows, columns


def _units(vectors: _Numbers) -> _Numbers:
    lengths = np.sqrt((vectors * vectors).sum(axis=1, keepdims=True))
    return np.where(lengths > _DOUBLED_MM, vectors / lengths, np.nan)


def _commonest(planes: _Planes, placed: _Places) -> int:
    """A frame of the orientation most frames have; the first of them where two are even."""
    steps = np.rint(np.hstack((planes.rows[placed], planes.columns[placed])) * _FINEST).astype(np.int64)
    keys = steps @ (2 * int(_FINEST) + 1) ** np.arange(6, dtype=np.int64)
    _, first, counts = np.unique(keys, return_index=True, return_counts=True)
    return int(placed[first[counts == counts.max()].min()])


def _split(
    planes: _Planes, placed: _Places, rows: Position, columns: Position, normal: Position
) -> tuple[_Places, _Numbers, _Places]:
    """Frames parallel to the leading one, ascending along its normal, where they stand there in mm, and the others."""
    is_parallel = (_dots(planes.rows[placed], rows) > _PARALLEL) & (_dots(planes.columns[placed], columns) > _PARALLEL)
    stack, aside = placed[is_parallel], placed[~is_parallel]
    along = _dots(planes.position[stack], normal)
    # Places within a micrometre are one place: rounding must not shuffle the phases of a 4D series.
    order = np.lexsort((planes.frame[stack], planes.rank[stack], np.rint(along / _DOUBLED_MM)))
    return stack[order], along[order], aside


def _by_number(planes: _Planes, warnings: tuple[Notice, ...]) -> Geometry:
    """The geometry where nothing tells the places: InstanceNumber, then SOPInstanceUID."""
    ordered = np.lexsort((planes.frame, planes.instance, planes.rank))
    told = ordered[~np.isnan(planes.spacing[ordered, 0])]
    pixel = _pixel(planes.spacing[told[0]]) if len(told) else (None, None)
    return Geometry(
        plane="unknown",
        row_direction=None,
        column_direction=None,
        row_spacing_mm=pixel[0],
        column_spacing_mm=pixel[1],
        slice_spacing_mm=None,
        order=_instances(planes, ordered),
        frames=_frames(planes, ordered),
        gaps=(),
        doubled=(),
        is_even=False,
        warnings=warnings,
    )


def _instances(planes: _Planes, ordered: _Places) -> tuple[int, ...]:
    """Instances in the order in which their first frames come."""
    instances = planes.instance[ordered]
    _, first = np.unique(instances, return_index=True)
    return tuple(instances[np.sort(first)].tolist())


def _frames(planes: _Planes, ordered: _Places) -> tuple[tuple[int, int], ...]:
    return tuple(zip(planes.instance[ordered].tolist(), planes.frame[ordered].tolist(), strict=True))


def _stacking(along: _Numbers) -> tuple[float | None, tuple[Gap, ...], tuple[int, ...], list[Notice]]:
    """Spacing, gaps and doubled places of parallel slices in order, with what is to be said of them.

    Args:
        along: Where each slice stands along the normal, mm, ascending.
    """
    is_doubled = np.diff(along, prepend=-math.inf) <= _DOUBLED_MM
    doubled, places = np.flatnonzero(is_doubled), np.flatnonzero(~is_doubled)
    steps = np.diff(along[places])
    told = tuple(doubled[:TOLD_LIMIT].tolist())
    if not len(steps):
        return None, (), told, _stacking_warnings(len(along), len(doubled), 0, 0, is_even=True)
    spacing = float(median_low(steps))
    wide = np.flatnonzero(steps > 1.5 * spacing)
    missing = np.rint(steps[wide] / spacing).astype(np.int64) - 1
    gaps = zip((places[wide[:TOLD_LIMIT] + 1] - 1).tolist(), missing[:TOLD_LIMIT].tolist(), strict=True)
    try:
        slice_spacing(along[places].tolist())
        is_even = True
    except IrregularVolume:
        is_even = False
    more = _stacking_warnings(len(along), len(doubled), len(wide), int(missing.sum()), is_even=is_even)
    return spacing, tuple(starmap(Gap, gaps)), told, more


def _stacking_warnings(count: int, doubled: int, gaps: int, missing: int, *, is_even: bool) -> list[Notice]:
    warnings = []
    if doubled:
        warnings.append(Notice("doubled-slices", f"{doubled} of {count} slices stand where another one stands"))
    if gaps:
        warnings.append(Notice("missing-slices", f"{missing} slices are missing in {gaps} places"))
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


def _uniformity_warnings(descriptions: Sequence[ImageDescription], planes: _Planes, stack: _Places) -> list[Notice]:
    warnings = []
    used = np.unique(planes.instance[stack]).tolist()
    if len({(descriptions[index].rows, descriptions[index].columns) for index in used}) > 1:
        warnings.append(Notice("mixed-size", "the frames do not have one number of rows and columns"))
    spacings = np.round(planes.spacing[stack], 4)
    if not np.array_equal(spacings, np.broadcast_to(spacings[0], spacings.shape), equal_nan=True):
        warnings.append(Notice("mixed-pixel-spacing", "the frames do not have one pixel spacing"))
    return warnings


def _shear_warnings(first: Position, last: Position, normal: Position) -> list[Notice]:
    """A tilted gantry moves each slice sideways: the stack is no box, and reformatting must know.

    Args:
        first: Place of the first slice of the stack, mm.
        last: Place of its last one.
        normal: Of the stack.
    """
    way = _minus(last, first)
    along = way[0] * normal[0] + way[1] * normal[1] + way[2] * normal[2]
    aside = _minus(way, (along * normal[0], along * normal[1], along * normal[2]))
    if math.hypot(*aside) <= max(_SHEAR * abs(along), _DOUBLED_MM):
        return []
    return [Notice("sheared", "the slices move sideways along the stack, as with a tilted gantry")]


def _plane_name(normal: Position) -> str:
    sizes = [abs(value) for value in normal]
    largest = max(sizes)
    return ("sagittal", "coronal", "axial")[sizes.index(largest)] if largest >= _OBLIQUE_COSINE else "oblique"


def _pixel(spacing: _Numbers) -> tuple[float | None, float | None]:
    """Distance of neighbouring rows and of neighbouring columns, where it is told."""
    down, across = spacing.tolist()
    return (None, None) if math.isnan(down) else (down, across)


def _vector(values: _Numbers) -> Position:
    x, y, z = values.tolist()
    return (x, y, z)


def _dots(vectors: _Numbers, one: Position) -> _Numbers:
    """The scalar product of each row with a vector."""
    products: _Numbers = vectors[:, 0] * one[0] + vectors[:, 1] * one[1] + vectors[:, 2] * one[2]
    return products


def _cross(one: Position, other: Position) -> Position:
    return (
        one[1] * other[2] - one[2] * other[1],
        one[2] * other[0] - one[0] * other[2],
        one[0] * other[1] - one[1] * other[0],
    )


def _minus(one: Position, other: Position) -> Position:
    return (one[0] - other[0], one[1] - other[1], one[2] - other[2])


def _listed(vector: Position | None) -> list[float] | None:
    return list(vector) if vector else None
