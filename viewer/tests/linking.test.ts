import { describe, expect, it } from "vitest";
import { identityWarning, type Laid, Link, laidLike, timeBetween } from "../src/linking.js";
import type { Direction, ImageSet } from "../src/protocol.js";
import { fitted, scaleOf, toView } from "../src/viewport.js";

const AXIAL: readonly [Direction, Direction] = [
  [1, 0, 0],
  [0, 1, 0],
];
const PRONE: readonly [Direction, Direction] = [
  [-1, 0, 0],
  [0, -1, 0],
];
const FEET_FIRST: readonly [Direction, Direction] = [
  [-1, 0, 0],
  [0, 1, 0],
];
const CORONAL: readonly [Direction, Direction] = [
  [1, 0, 0],
  [0, 0, -1],
];

/** Slices at these heights, in mm. */
function stack(heights: readonly (number | null)[], [row, column] = AXIAL): ImageSet {
  return {
    frame_list: heights.map((z) => ({ position_mm: z === null ? null : [7, -3, z] })),
    geometry: { row_direction: row, column_direction: column },
  } as unknown as ImageSet;
}

function every(mm: number, count: number, from = 0): number[] {
  return Array.from({ length: count }, (_, index) => from + index * mm);
}

describe("two series", () => {
  it("of one frame of reference meet at the same millimetre, whatever their spacing", () => {
    const link = new Link(stack(every(1, 300)), stack(every(5, 60, 2)), true);
    expect(link.kind).toBe("same-frame");
    expect(link.follow(0, 102)).toBe(20); // 102 mm
    expect(link.follow(0, 104)).toBe(20);
    expect(link.follow(0, 105)).toBe(21); // 107 is nearer than 102
    expect(link.follow(1, 20)).toBe(102);
    expect(link.follow(0, 0)).toBe(0);
    expect(link.follow(1, 59)).toBe(297);
  });

  it("meet at the same millimetre where one lay prone or went in feet first", () => {
    // sorted along its own normal, feet first descends in the patient
    const feet = stack(every(2, 50).reverse(), FEET_FIRST);
    const link = new Link(stack(every(1, 100)), feet, true);
    expect(link.kind).toBe("same-frame");
    expect(link.follow(0, 30)).toBe(34); // 30 mm is the 15th from the end
    expect(link.follow(1, 0)).toBe(98);
    expect(new Link(stack(every(1, 100)), stack(every(1, 100), PRONE), true).follow(0, 30)).toBe(30);
  });

  it("of two examinations begin with their middles on each other, until the reader says better", () => {
    const link = new Link(stack(every(1, 101)), stack(every(1, 101, 1000)), false);
    expect([link.kind, link.isByHand]).toEqual(["aligned", false]);
    expect(link.follow(0, 50)).toBe(50);
    link.here(40, 55);
    expect(link.isByHand).toBe(true);
    expect(link.follow(0, 40)).toBe(55);
    expect(link.follow(0, 50)).toBe(65);
    expect(link.follow(1, 65)).toBe(50);
    expect(link.follow(1, 0)).toBe(0); // the end of the series is the end
    expect(link.follow(0, 100)).toBe(100);
  });

  it.each([
    ["lie across each other", stack(every(1, 41), CORONAL)],
    ["do not tell where they lie", stack([null, ...every(1, 40)])],
  ])("that %s are linked by their share", (_, other) => {
    const link = new Link(stack(every(1, 101)), other, true);
    expect(link.kind).toBe("fraction");
    expect([0, 25, 50, 100].map((index) => link.follow(0, index))).toEqual([0, 10, 20, 40]);
    expect(link.follow(1, 30)).toBe(75);
    link.here(50, 30);
    expect(link.follow(0, 50)).toBe(30);
    expect(link.follow(0, 100)).toBe(40);
  });

  it("one of which is a single image always shows that one", () => {
    const link = new Link(stack(every(1, 20)), stack([null]), null);
    expect([link.follow(0, 0), link.follow(0, 19), link.follow(1, 0)]).toEqual([0, 0, 0]);
  });

  it("follow each other there and back to within a slice", () => {
    const link = new Link(stack(every(1.25, 200, -80)), stack(every(2, 140, 300)), false);
    link.here(120, 77);
    for (let index = 60; index < 180; index++) {
      expect(Math.abs(link.follow(1, link.follow(0, index)) - index)).toBeLessThanOrEqual(1);
    }
  });
});

describe("a pane laid out like another", () => {
  const view = { width: 400, height: 300 };
  const theirs: Laid = {
    placement: { a: 2, b: 0, c: 0, d: 2, x: -300, y: -100 },
    view,
    image: { width: 512, height: 512 },
    spacing: 0.5,
  };

  it("has as many pixels to the millimetre, and its middle as far off", () => {
    const image = { width: 256, height: 256 };
    const mine: Laid = {
      placement: fitted({ width: 200, height: 500 }, image, 1),
      view: { width: 200, height: 500 },
      image,
      spacing: 0.8,
    };
    const laid = laidLike(theirs, mine);
    expect(scaleOf(laid) / 0.8).toBeCloseTo(scaleOf(theirs.placement) / 0.5);
    const [a, b] = [toView(theirs.placement, { x: 256, y: 256 }), toView(laid, { x: 128, y: 128 })];
    expect(b.x - 100).toBeCloseTo(a.x - 200);
    expect(b.y - 250).toBeCloseTo(a.y - 150);
  });

  it("keeps its own turn", () => {
    const image = { width: 512, height: 512 };
    const turned = fitted(view, image, 1, { a: 0, b: 1, c: -1, d: 0 });
    const laid = laidLike(theirs, { placement: turned, view, image, spacing: 0.5 });
    expect([Math.abs(laid.a), laid.b, laid.c, Math.abs(laid.d)]).toEqual([0, 2, -2, 0]);
  });
});

describe("whose images these are", () => {
  const doe = { patient_id: "1", patient_name: "Doe^Jane" };

  it.each([
    [doe, null],
    [{ patient_id: "1 ", patient_name: "DOE^JANE^^" }, null],
    [{ patient_id: "2", patient_name: "Doe^Jane" }, "two different patients"],
    [{ patient_id: "1", patient_name: "Roe^Jane" }, "names do not"],
    [{ patient_id: null, patient_name: "Doe^Jane" }, "does not tell its patient"],
    [{ patient_id: " ", patient_name: "Doe^Jane" }, "does not tell its patient"],
  ])("%o beside Jane Doe, patient 1: %s", (other, words) => {
    const warning = identityWarning(doe, other);
    if (words === null) expect(warning).toBeNull();
    else expect(warning).toContain(words);
  });
});

it.each([
  ["20240101", "20240101", "same day"],
  ["20240115", "20240114", "1 day earlier"],
  ["20240101", "20240130", "29 days later"],
  ["20240101", "20230101", "12 months earlier"],
  ["20240101", "20190101", "5 years earlier"],
  ["20240101", null, ""],
  ["2024", "20230101", ""],
])("from %s to %s it is %s", (from, to, words) => {
  expect(timeBetween(from, to)).toBe(words);
});
