"""Order, spacing and faults of a stack, wherever it lies in the patient."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radloop.core.errors import IrregularVolume
from radloop.dicom.geometry import Gap, Geometry, slice_spacing, volume_geometry
from radloop.dicom.image import FrameDescription, FrameTable, ImageDescription, Orientation, Position
from radloop.dicom.parse import parse
from tests.dicom.files import real_files

AXIAL: Orientation = (1, 0, 0, 0, 1, 0)
CORONAL: Orientation = (1, 0, 0, 0, 0, -1)
SAGITTAL: Orientation = (0, 1, 0, 0, 0, -1)


def image(
    position: Position | None,
    orientation: Orientation | None = AXIAL,
    *,
    number: int | None = None,
    uid: str = "",
    per_frame: tuple[FrameDescription, ...] = (),
    frames: int = 1,
    spacing: tuple[float, float] | None = (0.5, 0.75),
    rows: int = 4,
) -> ImageDescription:
    return ImageDescription(
        rows=rows,
        columns=6,
        samples=1,
        bits_allocated=16,
        bits_stored=16,
        high_bit=15,
        signed=False,
        photometric="MONOCHROME2",
        planar=0,
        frames=frames,
        number=number,
        position_mm=position,
        orientation=orientation,
        spacing_mm=spacing,
        per_frame=FrameTable.of(per_frame),
        sop_uid=uid,
    )


def stack(places: list[float], orientation: Orientation = AXIAL) -> list[ImageDescription]:
    return [image((0, 0, z), orientation, number=number) for number, z in enumerate(places)]


def codes(geometry: Geometry) -> list[str]:
    return [notice.code for notice in geometry.warnings]


# slice_spacing


@given(start=st.floats(-2000, 2000), spacing=st.floats(0.1, 10), count=st.integers(2, 600))
def test_spacing_of_an_even_stack_is_found_wherever_it_lies(start: float, spacing: float, count: int) -> None:
    assert slice_spacing([start + spacing * i for i in range(count)]) == pytest.approx(spacing)


@given(count=st.integers(3, 60), spacing=st.floats(0.1, 10), data=st.data())
def test_a_slice_taken_out_is_always_missed(count: int, spacing: float, data: st.DataObject) -> None:
    gone = data.draw(st.integers(1, count - 1), label="gone")
    places = [spacing * i for i in range(count + 1) if i != gone]
    if count == 3 and gone == 2:
        return  # 0 1 _ 3: which of two gaps is the fault cannot be told from the far side
    with pytest.raises(IrregularVolume, match=f"gap after slice {gone - 1}"):
        slice_spacing(places)


def test_a_missing_slice_is_reported_with_its_place() -> None:
    with pytest.raises(IrregularVolume, match="gap after slice 1"):
        slice_spacing([0.0, 2.5, 7.5, 10.0])


def test_a_doubled_slice_is_reported_with_its_place() -> None:
    with pytest.raises(IrregularVolume, match="slice 2 stands where slice 1 stands"):
        slice_spacing([0.0, 2.5, 2.5, 5.0, 7.5])


def test_slices_that_all_stand_in_one_place_are_no_volume() -> None:
    with pytest.raises(IrregularVolume, match="slice 1 stands where slice 0"):
        slice_spacing([3.0, 3.0, 3.0])


def test_a_displaced_slice_is_reported_with_its_place() -> None:
    with pytest.raises(IrregularVolume, match="slice 2 is displaced"):
        slice_spacing([0.0, 2.5, 5.3, 7.8, 10.3])


@pytest.mark.parametrize("places", [[], [1.0]])
def test_less_than_two_slices_are_no_volume(places: list[float]) -> None:
    with pytest.raises(IrregularVolume):
        slice_spacing(places)


# volume_geometry


def turned(yaw: float, pitch: float, roll: float) -> tuple[Position, Position, Position]:
    """Row, column and normal of a frame turned by three angles."""
    cy, sy, cp, sp, cr, sr = (f(a) for a in (yaw, pitch, roll) for f in (math.cos, math.sin))
    row = (cy * cp, sy * cp, -sp)
    column = (cy * sp * sr - sy * cr, sy * sp * sr + cy * cr, cp * sr)
    normal = (cy * sp * cr + sy * sr, sy * sp * cr - cy * sr, cp * cr)
    return row, column, normal


@settings(max_examples=200)
@given(
    angles=st.tuples(*[st.floats(-3.1, 3.1)] * 3),
    corner=st.tuples(*[st.floats(-500, 500)] * 3),
    spacing=st.floats(0.3, 12),
    count=st.integers(2, 40),
    seed=st.integers(0, 1 << 16),
)
def test_an_even_stack_is_even_in_every_direction_and_order(
    angles: tuple[float, float, float], corner: Position, spacing: float, count: int, seed: int
) -> None:
    row, column, normal = turned(*angles)
    places = list(range(count))
    random.Random(seed).shuffle(places)
    images = [
        image(tuple(c + n * spacing * place for c, n in zip(corner, normal, strict=True)), row + column)  # type: ignore[arg-type]
        for place in places
    ]
    geometry = volume_geometry(images)
    assert [places[index] for index in geometry.order] == list(range(count))
    assert geometry.slice_spacing_mm == pytest.approx(spacing, rel=1e-6)
    assert geometry.is_even
    assert geometry.warnings == ()
    assert (geometry.row_spacing_mm, geometry.column_spacing_mm) == (0.5, 0.75)
    assert geometry.row_direction == pytest.approx(row)
    assert geometry.column_direction == pytest.approx(column)


@pytest.mark.parametrize(
    ("orientation", "plane"),
    [
        (AXIAL, "axial"),
        ((-1, 0, 0, 0, -1, 0), "axial"),
        (CORONAL, "coronal"),
        (SAGITTAL, "sagittal"),
        ((1, 0, 0, 0, math.cos(0.5), math.sin(0.5)), "axial"),
        ((1, 0, 0, 0, math.sqrt(0.5), math.sqrt(0.5)), "oblique"),
    ],
)
def test_a_plane_has_the_name_radiologists_give_it(orientation: Orientation, plane: str) -> None:
    assert volume_geometry([image((0, 0, 0), orientation)]).plane == plane


def test_missing_slices_are_told_with_place_and_number() -> None:
    geometry = volume_geometry(stack([0, 2, 4, 10, 12]))
    assert geometry.gaps == (Gap(after=2, missing=2),)
    assert geometry.slice_spacing_mm == 2
    assert codes(geometry) == ["missing-slices"]
    assert not geometry.is_even


def test_a_doubled_slice_does_not_hide_the_spacing() -> None:
    geometry = volume_geometry(stack([4, 0, 2, 2, 6]))
    assert geometry.order == (1, 2, 3, 0, 4)
    assert geometry.doubled == (2,)
    assert geometry.slice_spacing_mm == 2
    assert codes(geometry) == ["doubled-slices"]


def test_phases_of_one_place_stay_in_their_order() -> None:
    images = [
        image((0, 0, z + 1e-7 * phase * (-1) ** phase), number=phase * 3 + z) for phase in range(4) for z in range(3)
    ]
    geometry = volume_geometry(images)
    assert geometry.order == (0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11)
    assert geometry.slice_spacing_mm == pytest.approx(1)


def test_uneven_distances_are_told() -> None:
    geometry = volume_geometry(stack([0, 2, 4, 6.3, 8.3, 10.3]))
    assert codes(geometry) == ["irregular-spacing"]


def test_a_localizer_is_put_aside() -> None:
    images = [image((0, 0, 0), CORONAL, number=0), *stack([float(z) for z in range(20)])]
    geometry = volume_geometry(images)
    assert geometry.order == (*range(1, 21), 0)
    assert geometry.plane == "axial"
    assert codes(geometry) == ["localizer"]


def test_two_stacks_in_one_series_are_told() -> None:
    geometry = volume_geometry([*stack([0, 1, 2, 3]), *stack([0, 1, 2], SAGITTAL)])
    assert "mixed-orientation" in codes(geometry)
    assert geometry.order[:4] == (0, 1, 2, 3)


def test_without_places_the_numbers_count_and_then_the_uids() -> None:
    images = [
        image(None, None, number=3, uid="1.3"),
        image(None, None, number=None, uid="1.1"),
        image(None, None, number=1, uid="1.9"),
        image(None, None, number=3, uid="1.2"),
    ]
    geometry = volume_geometry(images)
    assert geometry.order == (2, 3, 0, 1)
    assert (geometry.plane, geometry.slice_spacing_mm, geometry.row_spacing_mm) == ("unknown", None, 0.5)
    assert codes(geometry) == ["no-position"]


def test_what_has_no_place_comes_last() -> None:
    images = [image(None, number=1), *stack([5.0, 3.0])]
    geometry = volume_geometry(images)
    assert geometry.order == (2, 1, 0)
    assert codes(geometry) == ["no-position"]


def test_a_tilted_gantry_is_told() -> None:
    geometry = volume_geometry([image((0, 0.3 * z, z)) for z in range(10)])
    assert geometry.slice_spacing_mm == pytest.approx(1)
    assert codes(geometry) == ["sheared"]


def test_frames_of_several_sizes_or_spacings_are_told() -> None:
    images = [image((0, 0, 0)), image((0, 0, 1), rows=5), image((0, 0, 2), spacing=(0.4, 0.4))]
    assert codes(volume_geometry(images)) == ["mixed-size", "mixed-pixel-spacing"]


def test_frames_of_an_enhanced_image_are_ordered_by_their_own_places() -> None:
    groups = tuple(FrameDescription((0, 0, -2.0 * frame), AXIAL, (0.5, 0.5), None, None, None) for frame in range(5))
    geometry = volume_geometry([image((0, 0, 0), per_frame=groups, frames=5)])
    assert geometry.order == (0,)
    assert geometry.frames == tuple((0, frame) for frame in (4, 3, 2, 1, 0))
    assert geometry.slice_spacing_mm == 2
    assert geometry.is_even


def test_a_cine_run_keeps_the_order_of_its_frames() -> None:
    geometry = volume_geometry([image((0, 0, 0), frames=4)])
    assert geometry.frames == ((0, 0), (0, 1), (0, 2), (0, 3))
    assert geometry.slice_spacing_mm is None


def test_one_slice_and_none_are_geometries_too() -> None:
    assert volume_geometry([image((0, 0, 0))]).slice_spacing_mm is None
    nothing = volume_geometry([])
    assert (nothing.order, nothing.frames, nothing.plane) == ((), (), "unknown")


def test_plain_values_hold_everything() -> None:
    plain = volume_geometry(stack([0, 2, 2, 6])).plain()
    assert plain["order"] == [0, 1, 2, 3]
    assert plain["doubled"] == [2]
    assert plain["warnings"][0]["code"] == "doubled-slices"
    assert plain["row_direction"] == [1, 0, 0]


NUMBERS = st.one_of(st.floats(), st.floats(-5, 5), st.sampled_from([0.0, 1.0, -1.0]))


@settings(max_examples=500)
@given(
    st.lists(
        st.builds(
            image,
            st.none() | st.tuples(NUMBERS, NUMBERS, NUMBERS),
            st.sampled_from([AXIAL, CORONAL, None]) | st.tuples(*[NUMBERS] * 6),
            number=st.none() | st.integers(-5, 5),
            frames=st.integers(1, 3),
            spacing=st.none() | st.tuples(st.floats(0.1, 3), st.floats(0.1, 3)),
        ),
        max_size=8,
    )
)
def test_no_geometry_however_odd_raises_or_loses_a_frame(images: list[ImageDescription]) -> None:
    geometry = volume_geometry(images)
    assert sorted(geometry.order) == list(range(len(images)))
    wanted = [(index, frame) for index, one in enumerate(images) for frame in range(one.frames)]
    assert sorted(geometry.frames) == wanted
    assert geometry.slice_spacing_mm is None or geometry.slice_spacing_mm > 0


@pytest.mark.data
@pytest.mark.parametrize(
    ("folder", "spacing_mm", "count"), [("ct-chest-philips", 5.0, 64), ("ct-chest-siemens", 8.0, 30)]
)
def test_real_series_are_even(folder: str, spacing_mm: float, count: int) -> None:
    images = [parse(path.read_bytes()).image for path in real_files(folder)]
    geometry = volume_geometry([one for one in images if one])
    assert len(geometry.order) == count
    assert (geometry.plane, geometry.slice_spacing_mm) == ("axial", pytest.approx(spacing_mm))
    assert geometry.is_even
