import { describe, expect, it } from "vitest";
import { letters } from "../src/orientation.js";
import {
  fittedSight,
  LIES,
  pannedBy,
  placeUnder,
  planeOf,
  pointOf,
  reach,
  within,
  zoomedAbout,
} from "../src/planes.js";
import type { Direction } from "../src/protocol.js";
import { cross, type Grid, middle, scaled } from "../src/volume.js";

const VIEW = { width: 300, height: 200 };
const GRID: Grid = {
  size: [100, 80, 60],
  origin: [-50, -40, 10],
  steps: [
    [1, 0, 0],
    [0, 1, 0],
    [0, 0, 2],
  ],
};

function opposite(way: Direction): string {
  return letters(scaled(way, -1));
}

describe("a plane on the screen", () => {
  it.each([
    ["axial", "RLAP"],
    ["coronal", "RLHF"],
    ["sagittal", "APHF"],
  ] as const)("%s has these sides: %s", (name, sides) => {
    const { right, down } = LIES[name];
    expect([opposite(right), letters(right), opposite(down), letters(down)].join("")).toBe(sides);
  });

  it.each(["axial", "coronal", "sagittal"] as const)("%s is perpendicular to the way through it", (name) => {
    const { right, down, through } = LIES[name];
    expect(cross(cross(right, down), through).map(Math.abs)).toEqual([0, 0, 0]);
  });

  it.each(["axial", "coronal", "sagittal"] as const)(
    "%s shows the whole volume, and places lie where they are drawn",
    (name) => {
      const lie = LIES[name];
      const sight = fittedSight(GRID, lie, VIEW);
      const [least, most] = reach(GRID, lie.down);
      expect((most - least) / sight.mmPerPx).toBeLessThanOrEqual(VIEW.height + 1e-9);
      expect(pointOf(sight, lie, VIEW, middle(GRID))).toEqual({ x: 150, y: 100 });
      const place: Direction = [12, -7, 44];
      const back = placeUnder(sight, lie, VIEW, pointOf(sight, lie, VIEW, place), place);
      for (const axis of [0, 1, 2] as const) expect(back[axis]).toBeCloseTo(place[axis]);
    },
  );

  it("is drawn with square millimetres at any ratio of pixels", () => {
    const sight = fittedSight(GRID, LIES.coronal, VIEW);
    for (const ratio of [0.37, 1, 2.6]) {
      const plane = planeOf(sight, LIES.coronal, VIEW, [1, 2, 3], ratio);
      expect(Math.hypot(...plane.right) * plane.width).toBeCloseTo(VIEW.width * sight.mmPerPx);
      expect(Math.hypot(...plane.down) * plane.height).toBeCloseTo(VIEW.height * sight.mmPerPx);
      expect(Math.hypot(...plane.right) / Math.hypot(...plane.down)).toBeCloseTo(1, 1);
      expect(plane.origin[1]).toBeCloseTo(2);
    }
  });

  it("keeps what is under the finger when it is enlarged, within limits", () => {
    const lie = LIES.axial;
    const fitted = fittedSight(GRID, lie, VIEW);
    const at = { x: 40, y: 170 };
    const before = placeUnder(fitted, lie, VIEW, at, [0, 0, 50]);
    const near = zoomedAbout(fitted, 3, at, VIEW, fitted);
    const after = placeUnder(near, lie, VIEW, at, [0, 0, 50]);
    for (const axis of [0, 1, 2] as const) expect(after[axis]).toBeCloseTo(before[axis]);
    expect(near.mmPerPx).toBeCloseTo(fitted.mmPerPx / 3);
    expect(zoomedAbout(fitted, 1e-6, at, VIEW, fitted).mmPerPx).toBeCloseTo(fitted.mmPerPx * 2);
    const moved = pannedBy(near, 30, -10);
    const { x, y } = pointOf(moved, lie, VIEW, before);
    expect([x, y].map(Math.round)).toEqual([70, 160]);
  });

  it("goes through no place outside the volume", () => {
    expect(within(GRID, [0, 0, 50])).toEqual([0, 0, 50]);
    const [x, y, z] = within(GRID, [500, -500, 500]);
    expect(x).toBeCloseTo(49.5, 2);
    expect(y).toBeCloseTo(-40.5, 2);
    expect(z).toBeCloseTo(129, 2);
  });
});
