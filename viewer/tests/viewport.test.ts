import { describe, expect, it } from "vitest";
import {
  boundsOf,
  CLOCKWISE,
  COUNTERCLOCKWISE,
  fitted,
  inverse,
  LEFT_RIGHT,
  type Placement,
  panBy,
  scaleBar,
  scaleOf,
  type Turn,
  toImage,
  toView,
  turned,
  turnedInView,
  UPRIGHT,
  UPSIDE_DOWN,
  zoomAbout,
} from "../src/viewport.js";
import { anyOf, repeat } from "./chance.js";

const view = { width: 400, height: 800 };
const image = { width: 512, height: 512 };
const STEPS: readonly Turn[] = [CLOCKWISE, COUNTERCLOCKWISE, LEFT_RIGHT, UPSIDE_DOWN];

/** Every way to lay an image down: four quarter turns, mirrored or not. */
const TURNS: readonly Turn[] = [UPRIGHT, LEFT_RIGHT].flatMap((first) => {
  const right = turned(first, CLOCKWISE);
  const half = turned(right, CLOCKWISE);
  return [first, right, half, turned(half, CLOCKWISE)];
});

describe("turns", () => {
  it("are eight", () => {
    expect(new Set(TURNS.map((turn) => JSON.stringify(turn))).size).toBe(8);
  });

  it("a quarter clockwise puts the left edge on top", () => {
    const placement = turnedInView(fitted(view, image, 1), CLOCKWISE, view);
    const corner = toView(placement, { x: 0, y: 512 });
    expect(corner.x).toBeCloseTo(boundsOf(placement, image).left);
    expect(corner.y).toBeCloseTo(boundsOf(placement, image).top);
  });

  it("undo themselves: both ways round, four quarters, two flips", () => {
    for (const turn of TURNS) {
      expect(turned(turned(turn, CLOCKWISE), COUNTERCLOCKWISE)).toEqual(turn);
      expect(turned(turned(turn, LEFT_RIGHT), LEFT_RIGHT)).toEqual(turn);
      expect(turned(turned(turn, UPSIDE_DOWN), UPSIDE_DOWN)).toEqual(turn);
      expect([1, 2, 3, 4].reduce((before) => turned(before, CLOCKWISE), turn)).toEqual(turn);
    }
  });

  it("leave what is in the middle of the view in the middle", () => {
    repeat(100, (random) => {
      const before = anyPlacement(random);
      const middle = toImage(before, { x: 200, y: 400 });
      const after = turnedInView(before, anyOf(STEPS, random), view);
      const { x, y } = toView(after, middle);
      expect(x).toBeCloseTo(200, 6);
      expect(y).toBeCloseTo(400, 6);
    });
  });

  it("and fitting come to the same in either order", () => {
    for (const turn of TURNS) {
      for (const step of STEPS) {
        const one = fitted(view, { width: 512, height: 300 }, 2, turned(turn, step));
        const other = turnedInView(fitted(view, { width: 512, height: 300 }, 2, turn), step, view);
        const scale = scaleOf(one) / scaleOf(other);
        for (const part of ["a", "b", "c", "d"] as const) {
          expect(one[part]).toBeCloseTo(other[part] * scale, 9);
        }
      }
    }
  });
});

function anyPlacement(random: () => number): Placement {
  const base = fitted(
    view,
    { width: 100 + random() * 900, height: 512 },
    0.5 + random() * 3,
    anyOf(TURNS, random),
  );
  return zoomAbout(base, 0.5 + random() * 8, random() * 400, random() * 800, 0.01);
}

describe("the way there and back", () => {
  it("ends where it began, whatever the placement", () => {
    repeat(200, (random) => {
      const placement = anyPlacement(random);
      const start = { x: random() * 900, y: random() * 900 };
      const end = toImage(placement, toView(placement, start));
      expect(end.x).toBeCloseTo(start.x, 6);
      expect(end.y).toBeCloseTo(start.y, 6);
      const twice = inverse(inverse(placement));
      for (const part of ["a", "b", "c", "d", "x", "y"] as const) {
        expect(twice[part]).toBeCloseTo(placement[part], 6);
      }
    });
  });

  it("keeps the ratio of two lengths under every turn and zoom", () => {
    repeat(200, (random) => {
      const aspect = 0.5 + random() * 3;
      const placement = zoomAbout(
        fitted(view, image, aspect, anyOf(TURNS, random)),
        1 + random() * 5,
        9,
        9,
        0.01,
      );
      const length = (columns: number, rows: number): number => {
        const from = toView(placement, { x: 100, y: 100 });
        const to = toView(placement, { x: 100 + columns, y: 100 + rows });
        return Math.hypot(to.x - from.x, to.y - from.y) / scaleOf(placement);
      };
      expect(length(30, 0)).toBeCloseTo(30, 6);
      expect(length(0, 30)).toBeCloseTo(30 * aspect, 6);
      expect(length(30, 40)).toBeCloseTo(Math.hypot(30, 40 * aspect), 6);
    });
  });
});

it("a fitted image fills the shorter side and is centred", () => {
  expect(boundsOf(fitted(view, image, 1), image)).toEqual({ left: 0, top: 200, right: 400, bottom: 600 });
});

it("a fitted image lies within the view and touches it, however it is turned", () => {
  for (const turn of TURNS) {
    const wide = { width: 600, height: 200 };
    const { left, top, right, bottom } = boundsOf(fitted(view, wide, 1.5, turn), wide);
    expect(left).toBeGreaterThanOrEqual(-1e-9);
    expect(top).toBeGreaterThanOrEqual(-1e-9);
    expect(left + right).toBeCloseTo(400);
    expect(top + bottom).toBeCloseTo(800);
    expect(Math.max((right - left) / 400, (bottom - top) / 800)).toBeCloseTo(1);
  }
});

it("pixels that are not square keep their shape", () => {
  const { a, d } = fitted(view, { width: 100, height: 50 }, 3);
  expect(d / a).toBeCloseTo(3);
});

it("zooming leaves the point under the fingers where it is", () => {
  repeat(100, (random) => {
    const before = anyPlacement(random);
    const under = toImage(before, { x: 130, y: 310 });
    const after = zoomAbout(before, 0.5 + random() * 2, 130, 310, 0.1);
    expect(toView(after, under).x).toBeCloseTo(130, 6);
    expect(toView(after, under).y).toBeCloseTo(310, 6);
  });
});

it("zooming out ends at the least scale", () => {
  expect(scaleOf(zoomAbout(fitted(view, image, 1), 0.001, 0, 0, 0.4))).toBeCloseTo(0.4);
});

it("the image cannot be lost by panning, however it is turned", () => {
  for (const turn of TURNS) {
    const far = boundsOf(panBy(fitted(view, image, 1, turn), 1e6, -1e6, view, image), image);
    expect(far.left).toBeCloseTo(200);
    expect(far.bottom).toBeCloseTo(400);
  }
});

it("the scale bar has a round length that fits", () => {
  for (const mmPerPx of [0.01, 0.37, 1.048, 7]) {
    const { mm, px } = scaleBar(mmPerPx, 120);
    expect(px).toBeLessThanOrEqual(120 + 1e-9);
    expect(px).toBeGreaterThan(40);
    expect([1, 2, 5]).toContain(Number((mm / 10 ** Math.floor(Math.log10(mm) + 1e-9)).toFixed(6)));
  }
});
