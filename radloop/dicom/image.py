"""How the pixels of an instance are laid out, and where in the patient they lie."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple, Self, TypeVar, overload

from radloop.core.errors import PixelDataMismatch
from radloop.core.images import Notice
from radloop.dicom.elements import (
    DOUBLE_PIXEL_DATA,
    FLOAT_PIXEL_DATA,
    PIXEL_DATA,
    Element,
    Elements,
    Part10,
)
from radloop.dicom.palette import shown_palette
from radloop.dicom.values import decimals, integer, text, texts, unsigned

Position = tuple[float, float, float]
Orientation = tuple[float, float, float, float, float, float]
Pair = tuple[float, float]
_T = TypeVar("_T")

FRAME_COUNT_LIMIT = 1 << 20
"""Frames an instance may have: nine hours of video, or a slide of 250,000 x 250,000 pixels in tiles of 256."""

_ROWS, _COLUMNS, _SAMPLES = 0x00280010, 0x00280011, 0x00280002
_BITS_ALLOCATED, _BITS_STORED, _HIGH_BIT = 0x00280100, 0x00280101, 0x00280102
_REPRESENTATION, _PHOTOMETRIC, _PLANAR, _FRAMES = 0x00280103, 0x00280004, 0x00280006, 0x00280008
_NUMBER, _POSITION, _ORIENTATION = 0x00200013, 0x00200032, 0x00200037
_SPACING, _IMAGER_SPACING, _THICKNESS = 0x00280030, 0x00181164, 0x00180050
_INTERCEPT, _SLOPE, _CENTER, _WIDTH = 0x00281052, 0x00281053, 0x00281050, 0x00281051
_VOI_FUNCTION, _PATIENT_ORIENTATION = 0x00281056, 0x00200020
_SHARED_GROUPS, _FRAME_GROUPS = 0x52009229, 0x52009230
_PLANE_POSITION, _PLANE_ORIENTATION, _PIXEL_MEASURES = 0x00209113, 0x00209116, 0x00289110
_VALUE_TRANSFORMATION, _FRAME_VOI_LUT = 0x00289145, 0x00289132
_GROUPS = (_PLANE_POSITION, _PLANE_ORIENTATION, _PIXEL_MEASURES, _VALUE_TRANSFORMATION, _FRAME_VOI_LUT)
_REPEATED, _REPEATED_BYTES = 1024, 1024
_FLOAT_BITS = {FLOAT_PIXEL_DATA: 32, DOUBLE_PIXEL_DATA: 64}
_VOI_FUNCTIONS = {"LINEAR": "linear", "LINEAR_EXACT": "linear-exact", "SIGMOID": "sigmoid"}
_SIDES_BYTES = 16
_AXES = dict(zip("LRAPHF", "xxyyzz", strict=True))
_SIDES = re.compile(r"(?!.*[AP].*[AP])(?!.*[LR].*[LR])(?!.*[HF].*[HF])[APLRHF]{1,3}")


class FrameDescription(NamedTuple):
    """What functional groups say of one frame (PS3.3 C.7.6.16); None where they say nothing."""

    position_mm: Position | None
    orientation: Orientation | None
    spacing_mm: Pair | None
    slope: float | None
    intercept: float | None
    window: Pair | None


_NOTHING = FrameDescription(None, None, None, None, None, None)


class FrameTable(Sequence[FrameDescription]):
    """What functional groups say of every frame, a column for each field of `FrameDescription`.

    Columns in which all frames agree hold their value once. An enhanced image has tens of thousands of frames; what
    is said of one is put together when it is asked for.

    Args:
        count: Frames.
        columns: For each field one value, or as many as there are frames.
    """

    __slots__ = ("_count", "columns")

    def __init__(self, count: int = 0, columns: Sequence[Sequence[Any]] = ()) -> None:
        self._count = count
        self.columns = columns

    @classmethod
    def of(cls, frames: Sequence[FrameDescription]) -> Self:
        """A table of frames described one by one."""
        return cls.of_columns(len(frames), list(zip(*frames, strict=True)))

    @classmethod
    def of_columns(cls, count: int, columns: Sequence[Sequence[Any]]) -> Self:
        """A table of columns that hold a value per frame; each is kept once where all are the same."""
        return cls(count, [column[:1] if _is_one(column) else column for column in columns])

    @classmethod
    def from_plain(cls, values: Any) -> Self:
        """What `plain` gave, read back; also a list of frames, as it was kept before there were tables."""
        if isinstance(values, list):
            return cls.of([FrameDescription._make(map(_tupled, frame)) for frame in values])
        return cls(values["count"], values["columns"])

    def plain(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {"count": self._count, "columns": [list(map(_listed, column)) for column in self.columns]}

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> FrameDescription: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[FrameDescription]: ...
    def __getitem__(self, index: int | slice) -> FrameDescription | Sequence[FrameDescription]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(self._count))]
        if not -self._count <= index < self._count:
            raise IndexError(index)
        return FrameDescription._make(
            _tupled(column[0] if len(column) == 1 else column[index]) for column in self.columns
        )

    def __iter__(self) -> Iterator[FrameDescription]:
        return (self[index] for index in range(self._count))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Sequence) and len(self) == len(other) and all(map(FrameDescription.__eq__, self, other))
        )

    __hash__ = None  # type: ignore[assignment]


def _is_one(column: Sequence[Any]) -> bool:
    return all(value is column[0] or value == column[0] for value in column)


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _tupled(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


@dataclass(frozen=True, slots=True)
class ImageDescription:
    """Layout and place of an instance's pixels, by the words of PS3.3 C.7.6.

    Attributes:
        bits_stored: Bits that carry the value; `high_bit` is the place of the highest of them.
        signed: PixelRepresentation is 1.
        planar: PlanarConfiguration; 1 means a plane per sample.
        frames: NumberOfFrames, 1 where it is absent.
        number: InstanceNumber.
        slope, intercept: Rescale of stored values; None where the file has none.
        window_center, window_width: The first window of the file, in rescaled values.
        position_mm: ImagePositionPatient; of the first frame in an enhanced image. So are the others below.
        orientation: ImageOrientationPatient: direction of a row, then of a column.
        spacing_mm: Distance of neighbouring rows, then of neighbouring columns.
        spacing_at_detector: The spacing is ImagerPixelSpacing: not corrected for magnification.
        per_frame: One entry per frame of an enhanced image, else empty.
        is_float: Float or Double Float Pixel Data.
        sop_uid: Whose description this is.
        voi_function: What the window is a window of: linear, linear-exact or sigmoid.
        sides: PatientOrientation: what a row and a column run towards (`L`, `AF`), in a radiograph that has no
            orientation.
        palette: Of a PALETTE COLOR image, see `shown_palette`; None where it cannot be read.
    """

    rows: int
    columns: int
    samples: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    photometric: str
    planar: int
    frames: int
    number: int | None
    slope: float | None = None
    intercept: float | None = None
    window_center: float | None = None
    window_width: float | None = None
    position_mm: Position | None = None
    orientation: Orientation | None = None
    spacing_mm: Pair | None = None
    spacing_at_detector: bool = False
    slice_thickness_mm: float | None = None
    per_frame: FrameTable = field(default_factory=FrameTable)
    is_float: bool = False
    sop_uid: str = ""
    voi_function: str = "linear"
    sides: tuple[str, str] | None = None
    palette: tuple[int, str] | None = None

    @property
    def frame_bits(self) -> int:
        """Bits of one uncompressed frame as stored; YBR_FULL_422 shares its colour between two pixels."""
        samples = 2 if self.photometric == "YBR_FULL_422" and self.samples == 3 else self.samples  # noqa: PLR2004
        return self.rows * self.columns * samples * self.bits_allocated

    def plain(self) -> dict[str, Any]:
        """The same as JSON values."""
        values = {each.name: _listed(getattr(self, each.name)) for each in fields(self)}
        return {**values, "per_frame": self.per_frame.plain()}

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> Self:
        """What `plain` gave, read back."""
        read = {name: _tupled(value) for name, value in values.items()}
        return cls(**{**read, "per_frame": FrameTable.from_plain(values["per_frame"])})


def pixel_element(elements: Elements) -> tuple[int, Element] | None:
    """The element that holds pixels, with its tag."""
    for tag in (PIXEL_DATA, FLOAT_PIXEL_DATA, DOUBLE_PIXEL_DATA):
        if tag in elements:
            return tag, elements[tag]
    return None


def describe(part: Part10, tag: int, *, sop_uid: str) -> tuple[ImageDescription, list[Notice]]:
    """The image description of a data set whose pixels stand under `tag`.

    Raises:
        PixelDataMismatch: Rows, columns, bits, samples or frames cannot describe an image.
    """
    elements, notices = part.elements, list[Notice]()
    bits = _FLOAT_BITS.get(tag) or unsigned(part, elements, _BITS_ALLOCATED) or 0
    stored = bits if tag in _FLOAT_BITS else unsigned(part, elements, _BITS_STORED) or bits
    high_bit = unsigned(part, elements, _HIGH_BIT)
    if tag in _FLOAT_BITS or high_bit is None:
        high_bit = stored - 1
    spacing, at_detector = _spacing(part, elements)
    window = _window(part, elements)
    first = _NOTHING
    per_frame = _functional_groups(part, elements)
    frames = _frame_count(part, elements)
    if per_frame and len(per_frame) != frames:
        notices.append(Notice("functional-groups", f"{len(per_frame)} functional groups describe {frames} frames"))
        per_frame = FrameTable()
    elif per_frame:
        first = per_frame[0]
    window = window or first.window
    image = ImageDescription(
        rows=unsigned(part, elements, _ROWS) or 0,
        columns=unsigned(part, elements, _COLUMNS) or 0,
        samples=_or(unsigned(part, elements, _SAMPLES), 1),
        bits_allocated=bits,
        bits_stored=stored,
        high_bit=high_bit,
        signed=tag == PIXEL_DATA and unsigned(part, elements, _REPRESENTATION) == 1,
        photometric=text(part, elements, _PHOTOMETRIC) or "MONOCHROME2",
        planar=unsigned(part, elements, _PLANAR) or 0,
        frames=frames,
        number=integer(text(part, elements, _NUMBER)),
        slope=_or(_single(part, elements, _SLOPE), first.slope),
        intercept=_or(_single(part, elements, _INTERCEPT), first.intercept),
        window_center=window[0] if window else None,
        window_width=window[1] if window else None,
        position_mm=_position(part, elements) or first.position_mm,
        orientation=_orientation(part, elements) or first.orientation,
        spacing_mm=spacing or first.spacing_mm,
        spacing_at_detector=at_detector,
        slice_thickness_mm=_single(part, elements, _THICKNESS),
        per_frame=per_frame,
        is_float=tag in _FLOAT_BITS,
        sop_uid=sop_uid,
        voi_function=_VOI_FUNCTIONS.get(text(part, elements, _VOI_FUNCTION), "linear"),
        sides=_sides(part, elements),
        palette=shown_palette(part) if text(part, elements, _PHOTOMETRIC) == "PALETTE COLOR" else None,
    )
    _check(image)
    return image, notices


def _check(image: ImageDescription) -> None:
    """Refuse what describes no image at all."""
    if not (image.rows and image.columns and image.samples and image.bits_allocated):
        raise PixelDataMismatch("pixel data without rows, columns, samples or bits to read them by")
    if not 0 < image.frames <= FRAME_COUNT_LIMIT:
        raise PixelDataMismatch(f"pixel data of no frames, or of more than {FRAME_COUNT_LIMIT}")
    if not 0 < image.bits_stored <= image.bits_allocated:
        raise PixelDataMismatch(f"{image.bits_stored} bits cannot be stored in {image.bits_allocated}")
    if not image.bits_stored - 1 <= image.high_bit < image.bits_allocated:
        raise PixelDataMismatch(f"high bit {image.high_bit} lies outside the {image.bits_allocated} bits of a pixel")


def _or(value: _T | None, other: _T) -> _T:
    return other if value is None else value


def _single(part: Part10, elements: Elements, tag: int) -> float | None:
    values = decimals(part, elements, tag)
    return values[0] if values else None


def _frame_count(part: Part10, elements: Elements) -> int:
    """NumberOfFrames; 0 and empty are what some writers say of a single frame."""
    written = text(part, elements, _FRAMES)
    count = integer(written)
    if written and count is None:
        raise PixelDataMismatch("NumberOfFrames is no number")
    return count or 1


def _position(part: Part10, elements: Elements) -> Position | None:
    values = decimals(part, elements, _POSITION)
    return (values[0], values[1], values[2]) if values and len(values) == 3 else None  # noqa: PLR2004 — x, y, z


def _orientation(part: Part10, elements: Elements) -> Orientation | None:
    values = decimals(part, elements, _ORIENTATION)
    if values is None or len(values) != 6:  # noqa: PLR2004 — two directions
        return None
    return (values[0], values[1], values[2], values[3], values[4], values[5])


def _sides(part: Part10, elements: Elements) -> tuple[str, str] | None:
    """PatientOrientation of a biped (PS3.3 C.7.6.1.1.1); a row and a column cannot run along one axis."""
    element = elements.get(_PATIENT_ORIENTATION)
    values = texts(part, element, ("iso8859",)) if element and element.length <= _SIDES_BYTES else []
    if len(values) != 2 or not all(_SIDES.fullmatch(value) for value in values):  # noqa: PLR2004 — row, column
        return None
    row, column = values
    return None if _AXES[row[0]] == _AXES[column[0]] else (row, column)


def _pair(part: Part10, elements: Elements, tag: int) -> Pair | None:
    values = decimals(part, elements, tag)
    if values is None or len(values) < 2 or min(values[:2]) <= 0:  # noqa: PLR2004 — rows, columns
        return None
    return (values[0], values[1])


def _spacing(part: Part10, elements: Elements) -> tuple[Pair | None, bool]:
    """PixelSpacing, else ImagerPixelSpacing, which a radiograph has instead (PS3.3 10.7.1.3)."""
    spacing = _pair(part, elements, _SPACING)
    if spacing:
        return spacing, False
    spacing = _pair(part, elements, _IMAGER_SPACING)
    return spacing, spacing is not None


def _window(part: Part10, elements: Elements) -> Pair | None:
    center, width = _single(part, elements, _CENTER), _single(part, elements, _WIDTH)
    return (center, width) if center is not None and width is not None and width > 0 else None


def _functional_groups(part: Part10, elements: Elements) -> FrameTable:
    """What is said of each frame: by its own group where it has one, else by the shared group."""
    frames = elements.get(_FRAME_GROUPS)
    if frames is None or frames.items is None or not frames.items:
        return FrameTable()
    shared = _first_item(elements, _SHARED_GROUPS)
    said = [_said(part, tag, _first_item(shared, tag)) for tag in _GROUPS]
    reader = _GroupReader(part, said)
    columns: list[list[Any]] = [[] for _ in _GROUPS]
    for span in frames.items.spans:
        own = frames.items.wanted(span, _GROUPS) if span[0] < span[1] else None
        values = reader.values(own) if own else said
        for column, value in zip(columns, values, strict=True):
            column.append(value)
    return _table(len(frames.items), columns)


def _table(count: int, columns: list[list[Any]]) -> FrameTable:
    """The table of what the groups say, in which slope and intercept are columns of their own."""
    *place, rescale, window = FrameTable.of_columns(count, columns).columns
    return FrameTable(count, [*place, [pair[0] for pair in rescale], [pair[1] for pair in rescale], window])


class _GroupReader:
    """Reads functional groups frame after frame; remembers those that say the same in the same bytes."""

    def __init__(self, part: Part10, shared: Sequence[Any]) -> None:
        self._part = part
        self._shared = shared
        self._known: dict[tuple[int, str, bytes], Any] = {}

    def values(self, own: Elements) -> list[Any]:
        """What is said of a frame by its own groups, else by the shared ones, in the order of `_GROUPS`."""
        return [
            self._value(tag, own[tag], shared) if tag in own else shared
            for tag, shared in zip(_GROUPS, self._shared, strict=True)
        ]

    def _value(self, tag: int, element: Element, shared: Any) -> Any:
        if element.length > _REPEATED_BYTES:
            return self._read(tag, element, shared)
        key = (tag, element.vr, self._part.data[element.start : element.start + element.length])
        if key not in self._known:
            if len(self._known) >= _REPEATED:
                self._known.clear()
            self._known[key] = self._read(tag, element, shared)
        return self._known[key]

    def _read(self, tag: int, element: Element, shared: Any) -> Any:
        group = element.items[0] if element.items else None
        return _said(self._part, tag, group) if group else shared


def _said(part: Part10, tag: int, group: Elements) -> Any:
    """What a functional group of this kind says: position, orientation, spacing, slope and intercept, or window."""
    if tag == _PLANE_POSITION:
        return _position(part, group)
    if tag == _PLANE_ORIENTATION:
        return _orientation(part, group)
    if tag == _PIXEL_MEASURES:
        return _pair(part, group, _SPACING)
    if tag == _VALUE_TRANSFORMATION:
        return _single(part, group, _SLOPE), _single(part, group, _INTERCEPT)
    return _window(part, group)


def _first_item(elements: Elements, tag: int) -> Elements:
    element = elements.get(tag)
    return element.items[0] if element is not None and element.items else {}
