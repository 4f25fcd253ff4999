"""A map lies where its tile was cut from, whatever was cropped, padded or left out."""

import numpy as np
import pytest

from radloop.core.errors import NotFound
from radloop.dicom.tiles import CT, TileSpec, located_planes, lung_box, planes_of
from radloop.serving.predict import Predictor
from radloop.serving.saliency import overlay, saliency_of
from tests.serving.small_model import model_package


def spot(rows: int, columns: int, down: int, across: int) -> np.ndarray:
    volume = np.zeros((1, rows, columns), np.uint16)
    volume[0, down - 4 : down + 4, across - 4 : across + 4] = 65535
    return volume


@pytest.mark.parametrize(("rows", "columns"), [(64, 64), (96, 48), (48, 96)])
@pytest.mark.parametrize("corner", [(12, 12), (12, -12), (-12, 12), (-12, -12)])
def test_a_bright_spot_is_hot_where_it_is_in_the_frame(rows: int, columns: int, corner: tuple[int, int]) -> None:
    down, across = corner[0] % rows, corner[1] % columns
    said = Predictor(model_package(bias=0.0, has_maps=True)).predict(spot(rows, columns, down, across), "DX")
    assert said.saliency is not None
    heat = said.saliency.heat(0, rows, columns)
    assert heat.shape == (rows, columns)
    found = np.unravel_index(int(heat.argmax()), heat.shape)
    assert abs(int(found[0]) - down) <= 4
    assert abs(int(found[1]) - across) <= 4
    assert 0 <= heat.min() <= heat.max() <= 1.001


def test_nothing_is_hot_outside_the_box_that_the_network_saw() -> None:
    rng = np.random.default_rng(1)
    volume = np.full((6, 60, 60), 40, np.int16)
    volume[1:5, 20:40, 10:50] = -850 + rng.integers(-40, 40, (4, 20, 40))
    slices, rows, columns = lung_box(volume)
    assert (rows.start, columns.stop) != (0, 60), "it is cropped"
    said = Predictor(model_package(bias=0.0, has_maps=True)).predict(volume, CT)
    assert said.saliency is not None
    assert set(said.saliency.frames) <= set(range(slices.start, slices.stop))
    heat = said.saliency.heat(said.saliency.strongest, 60, 60)
    assert heat[: rows.start].max() == heat[rows.stop :].max() == heat[:, : columns.start].max() == 0
    assert heat.max() > 0


def test_planes_are_the_same_whether_their_place_is_asked_for_or_not() -> None:
    volume = np.random.default_rng(2).integers(-1000, 400, (5, 40, 50)).astype(np.int16)
    planes, _ = located_planes(volume, CT, TileSpec(size=16))
    assert np.array_equal(planes, planes_of(volume, CT, TileSpec(size=16)))


def test_a_frame_that_the_network_did_not_see_has_no_map_and_those_that_have_are_named() -> None:
    volume = np.random.default_rng(3).integers(0, 65535, (9, 32, 32)).astype(np.uint16)
    said = Predictor(model_package(bias=0.0, has_maps=True)).predict(volume, "DX")
    assert said.saliency is not None
    assert said.saliency.frames == (1, 3, 5, 7)
    with pytest.raises(NotFound, match="1, 3, 5, 7"):
        said.saliency.heat(2, 8, 8)


def test_what_is_kept_is_what_was_seen() -> None:
    said = Predictor(model_package(bias=0.0, has_maps=True)).predict(spot(64, 48, 20, 20), "DX")
    assert said.saliency is not None
    again = saliency_of(said.saliency.plain())
    assert np.array_equal(again.heat(0, 64, 48), said.saliency.heat(0, 64, 48))
    assert (again.frames, again.extent, again.strongest) == (said.saliency.frames, said.saliency.extent, 0)


def test_the_overlay_is_clear_where_nothing_was_seen_and_never_hides_the_image() -> None:
    heat = np.array([[0, 0.1, 0.5, 1]], np.float32)
    alpha = overlay(heat)[0, :, 3]
    assert alpha[0] == alpha[1] == 0
    assert 0 < alpha[2] < alpha[3] < 200


def test_a_package_without_maps_says_so() -> None:
    said = Predictor(model_package(bias=0.0)).predict(np.zeros((1, 32, 32), np.uint16), "DX")
    assert said.saliency is None
