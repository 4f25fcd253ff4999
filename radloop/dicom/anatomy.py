"""A chest as arithmetic: what the phantom generator renders, slice by slice, in Hounsfield units.

Patient coordinates in millimetres: x grows to the patient's left, y to the back, z to the head (PS3.3 C.7.6.2.1.1);
the origin lies between the lungs at the lower end of the scan. Every structure is a soft mask over one slice, so that
a study of 2,000 slices needs no more memory than one of 16. All randomness is drawn from the generators handed in.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.float32]
Points = npt.NDArray[np.float32]

SITES: Final = ("RUL", "RML", "RLL", "LUL", "LLL")
RIGHT: Final = -1
LEFT: Final = 1

# Centre of each lobe: side, forward (-) or back (+) as a part of the chest's depth, height as a part of the lung's.
_LOBES: Final = {
    "RUL": (RIGHT, -0.15, 0.72),
    "RML": (RIGHT, -0.42, 0.36),
    "RLL": (RIGHT, 0.40, 0.30),
    "LUL": (LEFT, -0.20, 0.68),
    "LLL": (LEFT, 0.42, 0.30),
}
_RIB_PITCH_MM: Final = 25.0
_NOISE_CELL_MM: Final = 11.0


@dataclass(frozen=True, slots=True)
class Grid:
    """Where the pixels of one slice lie.

    Attributes:
        x: float32 (1, columns), millimetres.
        y: float32 (rows, 1), millimetres.
        spacing_mm: Between neighbouring pixels, both ways.
        thickness_mm: Of one slice.
    """

    x: Image
    y: Image
    spacing_mm: float
    thickness_mm: float


@dataclass(frozen=True, slots=True)
class Ball:
    """A round thing in the lung: a nodule or an air-filled bulla."""

    centre: tuple[float, float, float]
    radius_mm: float
    hu: float


@dataclass(frozen=True, slots=True)
class Band:
    """A flat scar or plate of collapsed lung, thin and of limited extent."""

    centre: tuple[float, float, float]
    normal: tuple[float, float, float]
    half_width_mm: float
    reach_mm: float


@dataclass(frozen=True, slots=True)
class Chest:
    """One patient without pneumonia, with whatever else they bring along.

    Lengths in millimetres, densities in HU. `cage` is the inner half width and half depth of the rib cage, `domes`
    the height of the right and left diaphragm, `texture` a coarse float32 (z, y, x) noise grid in -1..1 or so.
    """

    length_mm: float
    cage: tuple[float, float]
    muscle_mm: float
    fat_mm: float
    breast_mm: float
    arms_hu: float | None
    domes: tuple[float, float]
    lung_hu: float
    gravity_hu: float
    dependent_mm: float
    effusion: tuple[int, float] | None
    heart: tuple[float, float, float]
    blood_hu: float
    bone_hu: float
    fat_hu: float
    balls: tuple[Ball, ...]
    bands: tuple[Band, ...]
    vessels: Points
    vessel_volume_mm3: float
    texture: Image

    @property
    def half_width_mm(self) -> float:
        """From the middle to the skin at the side."""
        return self.cage[0] + self.muscle_mm + self.fat_mm

    @property
    def half_depth_mm(self) -> float:
        """From the middle to the skin at front or back."""
        return self.cage[1] + self.muscle_mm + 0.8 * self.fat_mm


@dataclass(frozen=True, slots=True)
class Consolidation:
    """Lung filled with something denser than air, in one lobe, crossed by bronchi that still hold air."""

    site: str
    centre: tuple[float, float, float]
    radii: tuple[float, float, float]
    hu: float
    bronchi: Points
    bronchus_volume_mm3: float
    texture: Image


def draw_chest(rng: np.random.Generator, *, female: bool, slices: int) -> Chest:
    """A patient at random; `slices` only sets how finely the vessels are sampled."""
    size = rng.normal(0.95 if female else 1.03, 0.07)
    length = float(size * rng.uniform(255, 315))
    cage = (float(size * rng.uniform(116, 138)), float(size * rng.uniform(80, 102)))
    low = float(length * rng.uniform(0.0, 0.20))  # how deeply the patient breathed in
    domes = (low + float(rng.normal(12, 9)), low + float(rng.normal(0, 9)))
    effusion = (int(rng.choice((RIGHT, LEFT))), float(rng.uniform(10, 26))) if rng.random() < 0.15 else None  # noqa: PLR2004
    volume = min(2.0, 420.0 / slices)
    return Chest(
        length_mm=length,
        cage=cage,
        muscle_mm=float(rng.uniform(11, 26)),
        fat_mm=float(min(55.0, rng.lognormal(2.75, 0.5))),
        breast_mm=float(rng.uniform(10, 48)) if female else 0.0,
        arms_hu=float(rng.uniform(20, 60)) if rng.random() < 0.25 else None,  # noqa: PLR2004
        domes=domes,
        lung_hu=float(rng.uniform(-905, -745)),
        gravity_hu=float(rng.uniform(20, 130)),
        dependent_mm=float(rng.uniform(3, 13)) if rng.random() < 0.6 else 0.0,  # noqa: PLR2004
        effusion=effusion,
        heart=(float(size * rng.uniform(48, 66)), float(size * rng.uniform(40, 54)), float(size * rng.uniform(48, 64))),
        blood_hu=float(rng.uniform(35, 55) if rng.random() < 0.6 else rng.uniform(110, 230)),  # noqa: PLR2004
        bone_hu=float(rng.uniform(180, 520)),
        fat_hu=float(rng.uniform(-118, -88)),
        balls=_draw_balls(rng, length, cage),
        bands=_draw_bands(rng, length, cage),
        vessels=_draw_tree(rng, length, cage, generations=8, volume_mm3=volume, sides=(RIGHT, LEFT)),
        vessel_volume_mm3=volume,
        texture=_draw_texture(rng, length, cage),
    )


def draw_consolidation(rng: np.random.Generator, chest: Chest, *, slices: int) -> Consolidation:
    """A consolidation in one of the five lobes of `chest`, at random."""
    site = str(rng.choice(SITES))
    side, depth, height = _LOBES[site]
    dome = chest.domes[0 if side == RIGHT else 1]
    z = dome + 30.0 + height * (0.88 * chest.length_mm - dome - 30.0) + float(rng.normal(0, 8))
    narrowing = float(_cage_profile(z / chest.length_mm))
    centre = (
        side * chest.cage[0] * narrowing * float(rng.uniform(0.52, 0.68)),
        chest.cage[1] * narrowing * depth + float(rng.normal(0, 6)),
        z,
    )
    volume = min(1.0, 210.0 / slices)
    reach = float(rng.uniform(38, 56))
    return Consolidation(
        site=site,
        centre=centre,
        radii=(reach, reach * float(rng.uniform(0.75, 1.2)), float(rng.uniform(40, 64))),
        hu=float(rng.uniform(-50, 45)),
        bronchi=_draw_tree(rng, chest.length_mm, chest.cage, generations=6, volume_mm3=volume, sides=(side,)),
        bronchus_volume_mm3=volume,
        texture=_draw_texture(rng, chest.length_mm, chest.cage),
    )


def _draw_balls(rng: np.random.Generator, length: float, cage: tuple[float, float]) -> tuple[Ball, ...]:
    """Nodules and bullae: round and even, which a consolidation is not."""
    balls = []
    for _ in range(int(rng.poisson(1.0))):
        bulla = rng.random() < 0.3  # noqa: PLR2004
        centre = (
            float(rng.choice((RIGHT, LEFT)) * cage[0] * rng.uniform(0.35, 0.8)),
            float(cage[1] * rng.uniform(-0.6, 0.6)),
            float(length * rng.uniform(0.35, 0.85)),
        )
        radius = float(rng.uniform(6, 16) if bulla else rng.uniform(3, 11))
        balls.append(Ball(centre, radius, -980.0 if bulla else float(rng.uniform(-20, 60))))
    return tuple(balls)


def _draw_bands(rng: np.random.Generator, length: float, cage: tuple[float, float]) -> tuple[Band, ...]:
    """Linear collapse near the diaphragm and scars near the top."""
    bands = []
    for _ in range(int(rng.poisson(1.0))):
        normal = rng.normal(size=3) * (0.6, 1.0, 1.0)
        normal /= np.linalg.norm(normal)
        centre = (
            float(rng.choice((RIGHT, LEFT)) * cage[0] * rng.uniform(0.4, 0.75)),
            float(cage[1] * rng.uniform(-0.3, 0.7)),
            float(length * (rng.uniform(0.3, 0.5) if rng.random() < 0.75 else rng.uniform(0.75, 0.85))),  # noqa: PLR2004
        )
        x, y, z = (float(part) for part in normal)
        bands.append(Band(centre, (x, y, z), float(rng.uniform(1.0, 3.2)), float(rng.uniform(18, 42))))
    return tuple(bands)


def _draw_tree(
    rng: np.random.Generator,
    length: float,
    cage: tuple[float, float],
    *,
    generations: int,
    volume_mm3: float,
    sides: Sequence[int],
) -> Points:
    """Points spread evenly through branching tubes that start at the hila.

    Returns:
        float32 (points, 3) x, y, z in millimetres, ascending in z; each point stands for `volume_mm3` of tube.
    """
    trunks = [(side, depth, height) for side in sides for depth in (-0.5, 0.15, 0.6) for height in (-0.7, 0.0, 0.8)]
    start = np.array([(side * 26.0, 0.05 * cage[1], 0.55 * length) for side, _, _ in trunks])
    heading = np.array([(side * 0.8, depth, height) for side, depth, height in trunks])
    heading += rng.normal(0, 0.2, heading.shape)
    radius, reach = np.full(len(trunks), 4.2), 0.11 * length
    points = []
    for _ in range(generations):
        heading /= np.linalg.norm(heading, axis=1, keepdims=True)
        span = reach * rng.uniform(0.75, 1.25, len(start))[:, None] * heading
        count = rng.poisson(np.pi * radius**2 * np.linalg.norm(span, axis=1) / volume_mm3)
        tube = np.repeat(np.arange(len(start)), count)
        across = rng.normal(size=(len(tube), 3)) * (radius[tube] * 0.5)[:, None]
        points.append(start[tube] + rng.random((len(tube), 1)) * span[tube] + across)
        start = np.repeat(start + span, 2, axis=0)
        turn = rng.normal(0, 0.42, (len(heading), 3))
        heading = np.stack((heading + turn, heading - turn), axis=1).reshape(-1, 3)
        radius, reach = np.repeat(radius * rng.uniform(0.7, 0.82, len(radius)), 2), reach * 0.84
    cloud = np.concatenate(points).astype(np.float32)
    return cloud[np.argsort(cloud[:, 2], kind="stable")]


def _draw_texture(rng: np.random.Generator, length: float, cage: tuple[float, float]) -> Image:
    """Coarse noise over the whole chest, one value every 11 mm."""
    shape = [int(extent / _NOISE_CELL_MM) + 3 for extent in (length, 2 * cage[1], 2 * cage[0])]
    return rng.standard_normal(shape, dtype=np.float32)


def _cage_profile(height: float) -> float:
    """How much of its full width the rib cage has at a part of the scan's height; 0 above the top of the lung."""
    above = max(0.0, (height - 0.36) / 0.60)
    return float(np.sqrt(max(0.0, 1.0 - above**2.4)))


def _soft(distance: npt.NDArray[np.floating], width: float) -> Image:
    """1 inside (negative distance), 0 outside, a ramp of `width` millimetres between."""
    return np.asarray(np.clip(0.5 - distance * np.float32(1.0 / width), 0.0, 1.0), dtype=np.float32)


def _oval(grid: Grid, centre: tuple[float, float], radii: tuple[float, float]) -> Image:
    """Distance to an ellipse in millimetres, roughly; negative inside."""
    across, along = (grid.x - centre[0]) / radii[0], (grid.y - centre[1]) / radii[1]
    return np.asarray((np.sqrt(across * across + along * along) - 1.0) * min(radii), dtype=np.float32)


def _blend(image: Image, hu: float | Image, mask: Image) -> Image:
    """`image` with `hu` where the mask says so."""
    return np.asarray(image + (hu - image) * mask, dtype=np.float32)


def _texture_at(texture: Image, grid: Grid, cage: tuple[float, float], z: float) -> Image:
    """The coarse noise at one slice, linear between its cells: float32 (rows, columns)."""
    level = min(max(z / _NOISE_CELL_MM, 0.0), texture.shape[0] - 1.001)
    below, part = int(level), level - int(level)
    plane = texture[below] * (1 - part) + texture[below + 1] * part
    rows = _hat(((grid.y[:, 0] + cage[1]) / _NOISE_CELL_MM).clip(0, texture.shape[1] - 1), texture.shape[1])
    columns = _hat(((grid.x[0] + cage[0]) / _NOISE_CELL_MM).clip(0, texture.shape[2] - 1), texture.shape[2])
    return np.asarray(rows @ plane @ columns.T, dtype=np.float32)


def _hat(at: Image, cells: int) -> Image:
    """Linear interpolation weights, float32 (places, cells)."""
    return np.clip(1.0 - np.abs(at[:, None] - np.arange(cells, dtype=np.float32)), 0.0, 1.0).astype(np.float32)


def _deposit(points: Points, volume_mm3: float, grid: Grid, z: float) -> Image:
    """The share of every voxel that the points fill, float32 (rows, columns) in 0..1."""
    rows, columns = grid.y.shape[0], grid.x.shape[1]
    half = grid.thickness_mm / 2
    first, last = np.searchsorted(points[:, 2], (z - half, z + half))
    column = (points[first:last, 0] - grid.x[0, 0]) / grid.spacing_mm
    row = (points[first:last, 1] - grid.y[0, 0]) / grid.spacing_mm
    inside = (column > 0) & (column < columns - 1) & (row > 0) & (row < rows - 1)
    column, row = column[inside], row[inside]
    left, top = column.astype(np.int64), row.astype(np.int64)
    right, down = column - left, row - top
    at = np.concatenate((k := top * columns + left, k + 1, k + columns, k + columns + 1))
    weight = np.concatenate(
        ((1 - right) * (1 - down), right * (1 - down), (1 - right) * down, right * down),
    )
    filled = np.bincount(at, weight, minlength=rows * columns).reshape(rows, columns)
    share = np.clip(filled * (volume_mm3 / (grid.spacing_mm**2 * grid.thickness_mm)), 0, 1)
    return np.asarray(share, dtype=np.float32)


def _lung_mask(chest: Chest, grid: Grid, z: float, edge: float) -> tuple[Image, Image]:
    """Share of lung in every pixel, and the distance to the rib cage (negative inside), both (rows, columns)."""
    profile = _cage_profile(z / chest.length_mm)
    width, depth = (max(1.0, half * profile) for half in chest.cage)
    wall = _oval(grid, (0.0, 0.0), (width, depth))
    if profile <= 0.05:  # noqa: PLR2004 — above the lungs
        return np.zeros_like(wall), wall
    along = grid.y / chest.cage[1]
    middle = 20.0 + 14.0 * np.exp(-(((along - 0.1) / 0.5) ** 2)) + 8.0 * np.clip(along, 0, 1)
    lung = _soft(wall, edge) * _soft(middle - np.abs(grid.x), edge)
    hx, hy, hz = chest.heart
    rise = (z - (max(chest.domes) + 0.55 * hz)) / hz
    if abs(rise) < 1:
        shrink = float(np.sqrt(1 - rise * rise))
        lung *= 1 - _soft(_oval(grid, (0.34 * hx, -0.32 * chest.cage[1]), (hx * shrink, hy * shrink)), edge)
    for side, dome in zip((RIGHT, LEFT), chest.domes, strict=True):
        fall = ((grid.x - side * 0.5 * width) / (0.62 * width)) ** 2 + ((grid.y + 0.1 * depth) / depth) ** 2
        surface = dome + 42.0 * (0.8 - fall)
        air = np.clip((z - surface) / max(grid.thickness_mm, 4.0) + 0.5, 0, 1)
        lung *= np.where(np.sign(grid.x) == side, air, 1.0)
    return np.asarray(lung, dtype=np.float32), wall


def render(chest: Chest, grid: Grid, z: float, consolidation: Consolidation | None = None) -> Image:
    """One slice without noise.

    Args:
        chest: Who lies in the scanner.
        grid: Where the pixels lie.
        z: Height of the slice's middle in millimetres.
        consolidation: What is wrong, if anything is.

    Returns:
        float32 (rows, columns), HU.
    """
    edge = 1.3 * grid.spacing_mm
    lung, wall = _lung_mask(chest, grid, z, edge)
    image = _soft_tissue(chest, grid, z, edge)
    image = _bones(image, chest, grid, z, wall=wall, edge=edge)
    image = _middle(image, chest, grid, z, edge)
    return _blend(image, _lung_tissue(chest, grid, z, lung, consolidation), lung)


def _soft_tissue(chest: Chest, grid: Grid, z: float, edge: float) -> Image:
    """Air, table, arms, fat and muscle."""
    height = z / chest.length_mm
    image = np.full((grid.y.shape[0], grid.x.shape[1]), -1000.0, dtype=np.float32)
    table = chest.half_depth_mm + 14.0 + (grid.x / 150.0) ** 2 * -12.0
    image = _blend(image, -120.0, _soft(np.abs(grid.y - table) - 5.0, edge) * _soft(np.abs(grid.x) - 190.0, edge))
    if chest.arms_hu is not None:
        for side in (RIGHT, LEFT):
            arm = _oval(grid, (side * (chest.half_width_mm + 38.0), 15.0), (32.0, 40.0))
            image = _blend(image, chest.arms_hu, _soft(arm, edge))
            image = _blend(image, 600.0, _soft(arm + 22.0, edge))
    taper = 1.0 - 0.25 * max(0.0, (height - 0.72) / 0.28) ** 2
    skin = _soft(_oval(grid, (0, 0), (chest.half_width_mm, chest.half_depth_mm * taper)), edge)
    if chest.breast_mm:
        rise = np.exp(-(((height - 0.48) / 0.14) ** 2))
        for side in (RIGHT, LEFT):
            place = (side * 0.5 * chest.cage[0], -chest.half_depth_mm + 12.0)
            breast = _oval(grid, place, (58.0, 12.0 + chest.breast_mm * float(rise)))
            skin = np.maximum(skin, _soft(breast, edge))
    image = _blend(image, chest.fat_hu, skin)
    flesh = (chest.cage[0] + chest.muscle_mm, chest.cage[1] + chest.muscle_mm)
    return _blend(image, 45.0, _soft(_oval(grid, (0, 0), (flesh[0], flesh[1] * taper)), edge))


def _bones(image: Image, chest: Chest, grid: Grid, z: float, *, wall: Image, edge: float) -> Image:
    """Ribs that slope forward and down, breastbone, shoulder blades, spine with its canal."""
    depth = chest.cage[1]
    forward = np.clip(0.5 - 0.5 * grid.y / depth, 0, 1)
    phase = np.cos(2 * np.pi / _RIB_PITCH_MM * (z + 55.0 * forward)) - np.float32(0.15)
    ribs = _soft(np.abs(wall - 5.0) - 4.0, edge) * np.clip(phase * 4.0, 0, 1)
    image = _blend(image, chest.bone_hu, np.asarray(ribs, dtype=np.float32))
    if z < 0.8 * chest.length_mm:
        image = _blend(image, 0.6 * chest.bone_hu, _soft(_oval(grid, (0, -depth - 5.0), (19.0, 7.0)), edge))
    if z > 0.55 * chest.length_mm:
        for side in (RIGHT, LEFT):
            blade = _oval(grid, (side * 0.72 * chest.cage[0], depth + 3.0), (36.0, 5.0))
            image = _blend(image, chest.bone_hu, _soft(blade, edge))
    disc = 0.75 + 0.25 * float(np.cos(2 * np.pi * z / _RIB_PITCH_MM))
    spine = (0.0, 0.72 * depth)
    image = _blend(image, chest.bone_hu * disc, _soft(_oval(grid, spine, (20.0, 16.0)), edge))
    image = _blend(image, chest.bone_hu, _soft(_oval(grid, (0.0, spine[1] + 27.0), (5.0, 14.0)), edge))
    return _blend(image, 25.0, _soft(_oval(grid, (0.0, spine[1] + 21.0), (9.0, 7.0)), edge))


def _middle(image: Image, chest: Chest, grid: Grid, z: float, edge: float) -> Image:
    """Heart, great vessels, windpipe, and what lies under the diaphragm."""
    depth, height = chest.cage[1], z / chest.length_mm
    hx, hy, hz = chest.heart
    rise = (z - (max(chest.domes) + 0.55 * hz)) / hz
    if abs(rise) < 1:
        shrink = float(np.sqrt(1 - rise * rise)) * 0.92
        image = _blend(
            image, chest.blood_hu, _soft(_oval(grid, (0.34 * hx, -0.32 * depth), (hx * shrink, hy * shrink)), edge)
        )
    image = _blend(image, chest.blood_hu, _soft(_oval(grid, (17.0, 0.52 * depth), (12.0, 12.0)), edge))
    if 0.5 < height < 0.75:  # noqa: PLR2004
        image = _blend(image, chest.blood_hu, _soft(_oval(grid, (-14.0, -0.25 * depth), (15.0, 15.0)), edge))
    if height > 0.58:  # noqa: PLR2004
        return _blend(image, -990.0, _soft(_oval(grid, (0.0, 0.12 * depth), (8.5, 8.5)), edge))
    if height > 0.46:  # noqa: PLR2004
        apart = 10.0 + (0.58 - height) * 260.0
        for side in (RIGHT, LEFT):
            image = _blend(image, -985.0, _soft(_oval(grid, (side * apart, 0.12 * depth), (7.0, 6.0)), edge))
    if z < chest.domes[1] + 15.0:
        image = _blend(image, -850.0, _soft(_oval(grid, (0.5 * chest.cage[0], -0.35 * depth), (20.0, 12.0)), edge))
    return image


def _lung_tissue(chest: Chest, grid: Grid, z: float, lung: Image, consolidation: Consolidation | None) -> Image:
    """HU of the lung, everywhere; the caller cuts it out."""
    grain = _texture_at(chest.texture, grid, chest.cage, z)
    sag = grid.y * np.float32(chest.gravity_hu / (2 * chest.cage[1]))
    image = np.asarray(chest.lung_hu + sag + 22.0 * grain, dtype=np.float32)
    image = _blend(image, chest.blood_hu, _deposit(chest.vessels, chest.vessel_volume_mm3, grid, z))
    for ball in chest.balls:
        across = (z - ball.centre[2]) / ball.radius_mm
        if abs(across) < 1:
            radius = ball.radius_mm * float(np.sqrt(1 - across * across))
            place = (ball.centre[0], ball.centre[1])
            image = _blend(image, ball.hu, _soft(_oval(grid, place, (radius, radius)), 1.5 * grid.spacing_mm))
    for band in chest.bands:
        image = _blend(image, -120.0, _band_mask(band, grid, z))
    image = _blend(image, -420.0, _dependent_mask(chest, grid, z))
    if consolidation is not None:
        image = _consolidate(image, chest, grid, z, consolidation)
    if chest.effusion is not None:
        side, level = chest.effusion
        dome = chest.domes[0 if side == RIGHT else 1]
        deep = level * float(np.clip((dome + 75.0 - z) / 60.0, 0, 1))
        fluid = _soft(np.float32(0.86 * chest.cage[1] - deep) - grid.y, 3.0) * (np.sign(grid.x) == side) * (deep > 0)
        image = _blend(image, 12.0, np.asarray(fluid, dtype=np.float32))
    return np.where(lung > 0, image, np.float32(0.0))


def _band_mask(band: Band, grid: Grid, z: float) -> Image:
    """Share of every pixel that a thin plate fills."""
    dx, dy, dz = grid.x - band.centre[0], grid.y - band.centre[1], z - band.centre[2]
    off = np.abs(dx * band.normal[0] + dy * band.normal[1] + dz * band.normal[2])
    far = np.sqrt(dx * dx + dy * dy + dz * dz)
    return _soft(off - band.half_width_mm, 2.0 * grid.spacing_mm) * _soft(far - band.reach_mm, 8.0)


def _dependent_mask(chest: Chest, grid: Grid, z: float) -> Image:
    """The rim of poorly aired lung along the back of a patient who lies on it."""
    profile = max(0.05, _cage_profile(z / chest.length_mm))
    inner = tuple(max(5.0, half * profile - chest.dependent_mm) for half in chest.cage)
    rim = 1 - _soft(_oval(grid, (0.0, 0.0), (inner[0], inner[1])), 4.0)
    return np.asarray(rim * np.clip(grid.y / (0.5 * chest.cage[1]), 0, 1) * (chest.dependent_mm > 0), dtype=np.float32)


def _consolidate(image: Image, chest: Chest, grid: Grid, z: float, filled: Consolidation) -> Image:
    """The lung with the consolidation in it: ragged edge, patchy inside, air left in the bronchi."""
    far = _depth(chest, grid, z, filled)
    if far is None:
        return image
    dense = np.clip((1.0 - far) * 5.0, 0, 1)
    hazy = np.clip((1.3 - far) * 3.0, 0, 1)
    image = _blend(image, -560.0, np.asarray(hazy * (image < -560.0), dtype=np.float32))  # noqa: PLR2004
    inside = filled.hu + 70.0 * _texture_at(chest.texture, grid, chest.cage, z)
    image = _blend(image, inside, np.asarray(dense, dtype=np.float32))
    open_bronchi = _deposit(filled.bronchi, filled.bronchus_volume_mm3, grid, z)
    return _blend(image, -880.0, np.asarray(open_bronchi * dense, dtype=np.float32))


def _depth(chest: Chest, grid: Grid, z: float, filled: Consolidation) -> Image | None:
    """How far out of a consolidation every pixel lies: below 1 inside, its edge ragged; None for slices far off."""
    dx, dy, dz = (grid.x - filled.centre[0], grid.y - filled.centre[1], z - filled.centre[2])
    rx, ry, rz = filled.radii
    if abs(dz) > 1.9 * rz:
        return None
    ragged = _texture_at(filled.texture, grid, chest.cage, z)
    return np.asarray(np.sqrt((dx / rx) ** 2 + (dy / ry) ** 2 + (dz / rz) ** 2) + 0.28 * ragged, dtype=np.float32)


def consolidated_share(chest: Chest, grid: Grid, z: float, filled: Consolidation) -> Image:
    """The share of every pixel that is dense consolidated lung at one slice: float32 (rows, columns) in 0..1.

    The haze around it does not count, nor does what of it would lie outside the lung.
    """
    far = _depth(chest, grid, z, filled)
    lung, wall = _lung_mask(chest, grid, z, 1.3 * grid.spacing_mm)
    if far is None:
        return np.zeros_like(wall)
    return np.asarray(np.clip((1.0 - far) * 5.0, 0, 1) * lung, dtype=np.float32)


def lung_share(chest: Chest, filled: Consolidation) -> float:
    """The part of a consolidation's core that lies in aired lung, 0..1, measured on a coarse grid."""
    cx, cy, cz = filled.centre
    rx, ry, rz = filled.radii
    steps = np.linspace(-0.8, 0.8, 9, dtype=np.float32)
    grid = Grid(x=cx + rx * steps[None, :], y=cy + ry * steps[:, None], spacing_mm=6.0, thickness_mm=6.0)
    lungs = [_lung_mask(chest, grid, cz + rz * float(step), 6.0)[0] for step in steps[::2]]
    return float(np.mean([np.mean(lung) for lung in lungs]))
