"""The way from pixels to the network's input, which training and serving share."""

import dataclasses
import os
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st

from radloop.core.errors import InvalidInput
from radloop.dicom.tiles import TileSpec, bag_of, lung_box, planes_of, spread

WHOLE = TileSpec(size=8, tiles_per_bag=3, tiles_in_evaluation=4, crop="none")


def chest(slices: int = 6, side: int = 100, table: bool = False) -> np.ndarray:
    """A body of water around two lungs of air in the middle slices, in a room of air."""
    volume = np.full((slices, side, side), -1000, dtype=np.int16)
    volume[:, 20:80, 10:90] = 40
    volume[1 : slices - 1, 35:65, 20:45] = -850
    volume[1 : slices - 1, 35:65, 55:80] = -850
    if table:
        volume[:, 88:90, 5:95] = 0
    return volume


def test_the_window_maps_its_ends_to_black_and_white() -> None:
    volume = np.full((3, 8, 8), -600, dtype=np.int16)
    volume[0], volume[2] = -2000, 500
    planes = planes_of(volume, "CT", WHOLE)
    assert planes.dtype == np.uint8
    assert (planes[0] == 0).all()
    assert (planes[1] == 128).all()
    assert (planes[2] == 255).all()


def test_x_rays_use_their_full_range_and_are_never_cropped() -> None:
    view = np.linspace(0, 65535, 64).astype(np.uint16).reshape(1, 8, 8)
    planes = planes_of(view, "DX", dataclasses.replace(WHOLE, crop="lungs"))
    assert planes.shape == (1, 8, 8)
    assert (planes.min(), planes.max()) == (0, 255)


@given(
    rows=st.integers(2, 40),
    columns=st.integers(2, 40),
    size=st.integers(1, 48),
    value=st.integers(0, 65535),
)
def test_resizing_keeps_an_even_image_even(rows: int, columns: int, size: int, value: int) -> None:
    plane = planes_of(np.full((1, rows, columns), value, np.uint16), "CR", TileSpec(size=size))[0]
    seen = np.unique(plane)
    assert set(seen.tolist()) <= {0, round(value / 65535 * 255)}
    assert (plane == round(value / 65535 * 255)).sum() >= size


def test_shrinking_averages_by_area() -> None:
    checks = (np.indices((16, 16)).sum(axis=0) % 2 * 65535).astype(np.uint16)
    assert (planes_of(checks[None], "DX", TileSpec(size=8)) == 128).all()
    assert abs(int(planes_of(checks[None], "DX", TileSpec(size=7)).mean()) - 127) <= 1


def test_a_wide_image_is_padded_with_black_and_keeps_its_shape() -> None:
    plane = planes_of(np.full((1, 10, 20), 65535, np.uint16), "DX", TileSpec(size=8))[0]
    assert (plane[2:6] == 255).all()
    assert (plane[:2] == 0).all()
    assert (plane[6:] == 0).all()


def test_the_lungs_are_found_whatever_the_patient_lies_on() -> None:
    for table in (False, True):
        slices, rows, columns = lung_box(chest(table=table))
        assert (slices.start, slices.stop) == (1, 5)
        assert 30 <= rows.start <= 35
        assert 65 <= rows.stop <= 70
        assert 15 <= columns.start <= 20
        assert 80 <= columns.stop <= 85


def test_a_volume_without_lung_is_kept_whole() -> None:
    water = np.full((4, 32, 32), 30, dtype=np.int16)
    assert lung_box(water) == (slice(0, 4), slice(0, 32), slice(0, 32))


def test_cropping_does_not_depend_on_the_room_around_the_patient() -> None:
    spec = TileSpec(size=32)
    near = chest()
    far = np.pad(near, ((0, 0), (10, 10), (10, 10)), constant_values=-1000)
    near_planes, far_planes = planes_of(near, "CT", spec), planes_of(far, "CT", spec)
    assert near_planes.shape == far_planes.shape
    assert np.abs(near_planes.astype(int) - far_planes).mean() < 8


@given(count=st.integers(1, 300), tiles=st.integers(1, 64), seed=st.integers(0, 9))
def test_tiles_are_spread_over_the_whole_stack(count: int, tiles: int, seed: int) -> None:
    for rng in (None, np.random.default_rng(seed)):
        at = spread(count, tiles, rng)
        assert len(at) == tiles
        assert (np.diff(at) >= 0).all()
        assert at.min() >= 0
        assert at.max() < count
        stretch = count / tiles
        assert (np.abs(at + 0.5 - (np.arange(tiles) + 0.5) * stretch) <= stretch / 2 + 0.5 + 1e-9).all()


def test_evaluation_takes_every_plane_where_there_are_few() -> None:
    planes = np.arange(4, dtype=np.uint8)[:, None, None] * np.ones((1, 8, 8), np.uint8)
    bag = bag_of(planes, "CT", WHOLE)
    assert bag.shape == (4, 3, 8, 8)
    assert bag.dtype == np.float32
    assert (bag[:, 1, 0, 0] * 255).round().tolist() == [0, 1, 2, 3]
    assert (bag[2, :, 0, 0] * 255).round().tolist() == [1, 2, 3], "a slice stands between its neighbours"
    assert (bag[0, :, 0, 0] * 255).round().tolist() == [0, 0, 1], "the first one is its own neighbour"


def test_evaluation_is_the_same_every_time_and_training_is_not() -> None:
    planes = np.random.default_rng(1).integers(0, 255, (40, 8, 8)).astype(np.uint8)
    assert np.array_equal(bag_of(planes, "CT", WHOLE), bag_of(planes, "CT", WHOLE))
    rng = np.random.default_rng(2)
    first, second = bag_of(planes, "CT", WHOLE, rng), bag_of(planes, "CT", WHOLE, rng)
    assert first.shape == second.shape == (3, 3, 8, 8)
    assert not np.array_equal(first, second)


def test_an_x_ray_is_its_own_three_channels() -> None:
    planes = np.random.default_rng(1).integers(0, 255, (2, 8, 8)).astype(np.uint8)
    bag = bag_of(planes, "DX", WHOLE)
    assert bag.shape == (2, 3, 8, 8)
    assert np.array_equal(bag[:, 0], bag[:, 2])


@pytest.mark.parametrize(
    ("volume", "modality"),
    [
        (np.zeros((4, 4), np.int16), "CT"),
        (np.zeros((0, 4, 4), np.int16), "CT"),
        (np.zeros((1, 4, 4), np.uint16), "CT"),
        (np.zeros((1, 4, 4), np.int16), "DX"),
        (np.zeros((1, 4, 4), np.uint16), "MR"),
    ],
)
def test_pixels_of_another_kind_are_refused(volume: np.ndarray, modality: str) -> None:
    with pytest.raises(InvalidInput):
        planes_of(volume, modality, WHOLE)


def test_a_spec_survives_json_and_a_broken_one_is_refused() -> None:
    spec = TileSpec(size=96, tiles_per_bag=5, channels="same", crop="none")
    assert TileSpec.from_json(spec.to_json()) == spec
    with pytest.raises(InvalidInput):
        TileSpec.from_json({"size": 96})
    for wrong in ({"size": 0}, {"window_width": 0.0}, {"channels": "rgb"}, {"crop": "heart"}):
        with pytest.raises(InvalidInput):
            TileSpec(**wrong)


@pytest.mark.data
def test_the_lungs_of_a_real_chest_fill_the_box() -> None:
    folder = Path(os.environ.get("RADLOOP_TEST_DATA", "")) / "ct-chest-philips"
    if "RADLOOP_TEST_DATA" not in os.environ or not folder.is_dir():
        pytest.skip("RADLOOP_TEST_DATA does not hold ct-chest-philips")
    headers = [pydicom.dcmread(path) for path in sorted(folder.rglob("*.dcm"))]
    headers.sort(key=lambda header: float(header.ImagePositionPatient[2]))
    volume = np.stack([(h.pixel_array * h.RescaleSlope + h.RescaleIntercept).astype(np.int16) for h in headers])
    slices, rows, columns = lung_box(volume)
    inside = volume[slices, rows, columns]
    assert inside.size < 0.35 * volume.size
    assert (inside < -400).mean() > 0.35, "mostly lung"
    seen = ((11, 55), (156, 416), (86, 422))  # looked at: apex to diaphragm, ribs on all sides
    for found, (first, last) in zip((slices, rows, columns), seen, strict=True):
        assert abs(found.start - first) <= 8
        assert abs(found.stop - last) <= 8
