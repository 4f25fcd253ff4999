/**
 * The three standard planes on the screen: how they lie in the patient, and where in the view a place is.
 *
 * They follow the patient and not the scanner, so that they look the same for every patient position: axial seen from
 * the feet, coronal from the front, sagittal from the left. Views are in CSS pixels, y downwards.
 */
import type { Direction } from "./protocol.js";
import type { Point, Size } from "./viewport.js";
import { corners, dot, type Grid, middle, type Plane, plus, scaled } from "./volume.js";

export type PlaneName = "axial" | "coronal" | "sagittal";

/** Unit vectors in the patient (LPS): of the screen's right and down, and where the slider leads from top to bottom. */
export interface Lie {
  readonly right: Direction;
  readonly down: Direction;
  readonly through: Direction;
}

export const LIES: Readonly<Record<PlaneName, Lie>> = {
  axial: { right: [1, 0, 0], down: [0, 1, 0], through: [0, 0, -1] },
  coronal: { right: [1, 0, 0], down: [0, 0, -1], through: [0, 1, 0] },
  sagittal: { right: [0, 1, 0], down: [0, 0, -1], through: [1, 0, 0] },
};

/** What a view looks at: the mm of its middle along right and down, and how many mm a pixel has. */
export interface Sight {
  readonly right: number;
  readonly down: number;
  readonly mmPerPx: number;
}

const FINEST = 0.02;
const COARSEST = 2; // of what shows everything

/** The sight that shows the whole volume. */
export function fittedSight(grid: Grid, lie: Lie, view: Size): Sight {
  const across = extent(grid, lie.right);
  const along = extent(grid, lie.down);
  const mmPerPx = Math.max(across / Math.max(view.width, 1), along / Math.max(view.height, 1));
  const heart = middle(grid);
  return { right: dot(heart, lie.right), down: dot(heart, lie.down), mmPerPx };
}

/** The least and the greatest mm of the volume along a direction. */
export function reach(grid: Grid, way: Direction): readonly [number, number] {
  const along = corners(grid).map((corner) => dot(corner, way));
  return [Math.min(...along), Math.max(...along)];
}

function extent(grid: Grid, way: Direction): number {
  const [least, most] = reach(grid, way);
  return most - least;
}

/** The place under a point of the view, on the plane that goes through `through`. */
export function placeUnder(
  sight: Sight,
  lie: Lie,
  view: Size,
  { x, y }: Point,
  through: Direction,
): Direction {
  const right = sight.right + (x - view.width / 2) * sight.mmPerPx;
  const down = sight.down + (y - view.height / 2) * sight.mmPerPx;
  const depth = dot(through, lie.through);
  return plus(plus(scaled(lie.right, right), scaled(lie.down, down)), scaled(lie.through, depth));
}

/** Where in the view a place lies, or what of the plane is nearest to it. */
export function pointOf(sight: Sight, lie: Lie, view: Size, place: Direction): Point {
  return {
    x: view.width / 2 + (dot(place, lie.right) - sight.right) / sight.mmPerPx,
    y: view.height / 2 + (dot(place, lie.down) - sight.down) / sight.mmPerPx,
  };
}

/** What is to be drawn: the view's plane through a place, `ratio` pixels of the drawing to one of the view. */
export function planeOf(sight: Sight, lie: Lie, view: Size, through: Direction, ratio: number): Plane {
  const width = Math.max(Math.round(view.width * ratio), 1);
  const height = Math.max(Math.round(view.height * ratio), 1);
  const first = { x: (0.5 * view.width) / width, y: (0.5 * view.height) / height };
  return {
    origin: placeUnder(sight, lie, view, first, through),
    right: scaled(lie.right, (sight.mmPerPx * view.width) / width),
    down: scaled(lie.down, (sight.mmPerPx * view.height) / height),
    width,
    height,
  };
}

/** `sight` enlarged by `factor`, what is under a point of the view staying there. */
export function zoomedAbout(sight: Sight, factor: number, { x, y }: Point, view: Size, fitted: Sight): Sight {
  const mmPerPx = Math.min(Math.max(sight.mmPerPx / factor, FINEST), fitted.mmPerPx * COARSEST);
  const change = sight.mmPerPx - mmPerPx;
  return {
    right: sight.right + (x - view.width / 2) * change,
    down: sight.down + (y - view.height / 2) * change,
    mmPerPx,
  };
}

export function pannedBy(sight: Sight, dx: number, dy: number): Sight {
  return { ...sight, right: sight.right - dx * sight.mmPerPx, down: sight.down - dy * sight.mmPerPx };
}

/** A place, or what of the volume's box is nearest to it. */
export function within(grid: Grid, place: Direction): Direction {
  const axes: readonly Direction[] = [
    [1, 0, 0],
    [0, 1, 0],
    [0, 0, 1],
  ];
  const [x, y, z] = axes.map((axis, at) => {
    const [least, most] = reach(grid, axis);
    return Math.min(Math.max(place[at] as number, least + EDGE), most - EDGE);
  });
  return [x as number, y as number, z as number];
}

const EDGE = 1e-3; // the very face of the box is outside
