import { describe, expect, it } from "vitest";
import type { Direction, FrameInfo, ImageSet } from "../src/protocol.js";
import { project, slabOffsets } from "../src/slab.js";
import {
  bytesOf,
  corners,
  cross,
  dot,
  interleaved,
  type Limits,
  middle,
  minus,
  type Plan,
  type Plane,
  pitchAlong,
  planVolume,
  plus,
  resample,
  scaled,
  shade,
  ToGrid,
  Volume,
} from "../src/volume.js";
import { rampOf } from "../src/window.js";

const ROOM: Limits = { inPlane: 512, bytes: 2 ** 27 };

interface Series {
  readonly rows?: number;
  readonly columns?: number;
  readonly count?: number;
  readonly across?: Direction;
  readonly down?: Direction;
  readonly spacing?: readonly [row: number, column: number];
  /** Place of frame n. */
  readonly place?: (index: number) => Direction;
  readonly frame?: (index: number) => Partial<FrameInfo>;
  readonly set?: Partial<ImageSet>;
}

function series({
  rows = 20,
  columns = 24,
  count = 16,
  across = [1, 0, 0],
  down = [0, 1, 0],
  spacing = [1, 1],
  place = (index) => [0, 0, index * 2],
  frame = () => ({}),
  set = {},
}: Series = {}): ImageSet {
  const frames = Array.from({ length: count }, (_, index) => ({
    index,
    rows,
    columns,
    bits_stored: 16,
    signed: true,
    samples: 1 as const,
    photometric: "MONOCHROME2",
    slope: 1,
    intercept: 0,
    window_center: null,
    window_width: null,
    lossless_bytes: 1000,
    preview_bytes: 100,
    quality: "lossless" as const,
    decodable: true,
    position_mm: place(index),
    voi_function: "linear" as const,
    orientation: null,
    spacing_mm: null,
    sides: null,
    palette: null,
    ...frame(index),
  }));
  return {
    modality: "CT",
    warnings: [],
    frame_list: frames,
    geometry: {
      orientation: "axial",
      row_spacing_mm: spacing[0],
      column_spacing_mm: spacing[1],
      slice_spacing_mm: 2,
      gaps: [],
      row_direction: across,
      column_direction: down,
    },
    ...set,
  } as unknown as ImageSet;
}

function planned(set: ImageSet, limits = ROOM): Plan {
  const plan = planVolume(set, limits);
  if ("refusal" in plan) throw new Error(plan.refusal);
  return plan;
}

function refused(wish: Series): string {
  const plan = planVolume(series(wish), ROOM);
  return "refusal" in plan ? plan.refusal : "";
}

/** Where a voxel's centre is, worked out from the series and not from the plan's inverse. */
function centre(plan: Plan, i: number, j: number, k: number): Direction {
  const { origin, steps } = plan.grid;
  return [i, j, k].reduce<Direction>((at, n, axis) => plus(at, scaled(steps[axis] as Direction, n)), origin);
}

/** A volume whose value at every voxel is `value` of its place in the patient. */
function filled(plan: Plan, value: (place: Direction) => number): Volume {
  const volume = new Volume(plan);
  const [columns, rows, slices] = plan.grid.size;
  for (let k = 0; k < slices; k++) {
    if (plan.frames[k] === -1) continue;
    const values = new Float64Array(columns * rows);
    for (let j = 0; j < rows; j++) {
      for (let i = 0; i < columns; i++) values[j * columns + i] = value(centre(plan, i, j, k));
    }
    volume.fill(k, values, plan.slope, plan.intercept);
  }
  return volume;
}

const AXIAL = { right: [1, 0, 0], down: [0, 1, 0] } as const;
const CORONAL = { right: [1, 0, 0], down: [0, 0, -1] } as const;
const SAGITTAL = { right: [0, 1, 0], down: [0, 0, -1] } as const;
const VIEWS = { axial: AXIAL, coronal: CORONAL, sagittal: SAGITTAL };

/** A plane of `size` x `size` pixels of `mm` about a place. */
function planeAt(
  about: Direction,
  view: { right: Direction; down: Direction },
  size: number,
  mm: number,
): Plane {
  const right = scaled(view.right, mm);
  const down = scaled(view.down, mm);
  const half = (size - 1) / 2;
  const origin = minus(minus(about, scaled(right, half)), scaled(down, half));
  return { origin, right, down, width: size, height: size };
}

function placeOf(plane: Plane, x: number, y: number): Direction {
  return plus(plane.origin, plus(scaled(plane.right, x), scaled(plane.down, y)));
}

function sampled(volume: Volume, plane: Plane): Float32Array {
  const out = new Float32Array(plane.width * plane.height);
  resample(volume, plane, [0, 0, 0], out);
  return out;
}

function unit(way: Direction): Direction {
  return scaled(way, 1 / Math.hypot(...way));
}

/** ImageOrientationPatient of axial slices in the six patient positions, and two that are oblique. */
const POSITIONS: Readonly<Record<string, readonly [Direction, Direction]>> = {
  HFS: [
    [1, 0, 0],
    [0, 1, 0],
  ],
  HFP: [
    [-1, 0, 0],
    [0, -1, 0],
  ],
  FFS: [
    [-1, 0, 0],
    [0, 1, 0],
  ],
  FFP: [
    [1, 0, 0],
    [0, -1, 0],
  ],
  HFDR: [
    [0, 1, 0],
    [-1, 0, 0],
  ],
  FFDL: [
    [0, 1, 0],
    [1, 0, 0],
  ],
  coronal: [
    [1, 0, 0],
    [0, 0, -1],
  ],
  sagittal: [
    [0, 1, 0],
    [0, 0, -1],
  ],
  oblique: [
    unit([0.9, 0.3, -0.2]),
    unit(cross(unit(cross([0.9, 0.3, -0.2], [0, 1, 0.4])), unit([0.9, 0.3, -0.2]))),
  ],
};

function lying([across, down]: readonly [Direction, Direction], more: Series = {}): ImageSet {
  const normal = cross(across, down);
  return series({
    across,
    down,
    spacing: [0.8, 1.2],
    place: (index) => plus([-10, 20, 30], scaled(normal, index * 1.7)),
    ...more,
  });
}

/** A ramp along all three axes; linear interpolation gives it back exactly, whatever lies between. */
const ramp = ([x, y, z]: Direction): number => 3 * x - 5 * y + 7 * z;

describe("a plane through a volume", () => {
  for (const [position, directions] of Object.entries(POSITIONS)) {
    for (const [name, view] of Object.entries(VIEWS)) {
      it(`shows what lies there: ${name}, ${position}`, () => {
        const plan = planned(lying(directions));
        // stored values are whole: a fine scale keeps the ramp's rounding below what is asked for
        const fine = { ...plan, slope: 1 / 64 };
        const volume = filled(fine, (place) => ramp(place) * 64);
        const plane = planeAt(middle(plan.grid), view, 9, 0.9);
        const values = sampled(volume, plane);
        let inside = 0;
        for (let y = 0; y < 9; y++) {
          for (let x = 0; x < 9; x++) {
            const value = values[y * 9 + x] as number;
            if (Number.isNaN(value)) continue;
            inside++;
            expect(value / 64).toBeCloseTo(ramp(placeOf(plane, x, y)), 1);
          }
        }
        expect(inside).toBe(81);
      });

      it(`shows a ball as a disc of its size: ${name}, ${position}`, () => {
        const plan = planned(lying(directions, { rows: 48, columns: 40, count: 26 }));
        const heart = middle(plan.grid);
        const ball = ([x, y, z]: Direction): number =>
          Math.hypot(x - heart[0], y - heart[1], z - heart[2]) < 12 ? 1000 : 0;
        const pixel = 0.5;
        const values = sampled(filled(plan, ball), planeAt(heart, view, 81, pixel));
        const bright = values.reduce((count, value) => count + (value > 500 ? 1 : 0), 0);
        expect(bright * pixel * pixel).toBeGreaterThan(Math.PI * 144 * 0.94);
        expect(bright * pixel * pixel).toBeLessThan(Math.PI * 144 * 1.06);
      });
    }
  }

  it("is black outside and reaches half a voxel beyond the centres", () => {
    const volume = filled(planned(series()), () => 100);
    const line = (z: number): number =>
      sampled(volume, {
        origin: [5, 5, z],
        right: [1, 0, 0],
        down: [0, 1, 0],
        width: 1,
        height: 1,
      })[0] as number;
    expect(line(-0.99)).toBe(100);
    expect(line(-1.01)).toBeNaN();
    expect(line(30.99)).toBe(100);
    expect(line(31.01)).toBeNaN();
  });

  it("goes straight through a stack that a tilted gantry has sheared", () => {
    const tilted = series({ place: (index) => [0, index * 0.6, index * 2] });
    const plan = planned(tilted);
    expect(plan.warnings.join()).toContain("tilted by 16.7°");
    const values = sampled(filled(plan, ramp), planeAt([10, 14, 16], SAGITTAL, 5, 1));
    expect(values[0]).toBeCloseTo(ramp([10, 12, 18]), 3);
    expect(values[24]).toBeCloseTo(ramp([10, 16, 14]), 3);
  });

  it("leaves the place of a missing slice black and says so", () => {
    const gap = series({ place: (index) => [0, 0, (index < 8 ? index : index + 2) * 2] });
    const plan = planned(gap);
    expect(plan.frames.slice(7, 11)).toEqual([7, -1, -1, 8]);
    expect(plan.warnings.join()).toContain("2 slices are missing");
    const volume = filled(plan, () => 50);
    const at = (z: number): number => sampled(volume, planeAt([5, 5, z], AXIAL, 1, 1))[0] as number;
    expect(at(14.9)).toBe(50);
    expect(at(17)).toBeNaN();
    expect(at(19.1)).toBe(50);
  });

  it("shows the nearest slice until the right one has come", () => {
    const plan = planned(series());
    const volume = new Volume(plan);
    const slice = (value: number): Float64Array => new Float64Array(480).fill(value);
    expect(sampled(volume, planeAt([5, 5, 8], AXIAL, 1, 1))[0]).toBeNaN();
    volume.fill(0, slice(10), 1, 0);
    expect([...volume.source]).toEqual(new Array(16).fill(0));
    volume.fill(12, slice(20), 1, 0);
    expect([...volume.source]).toEqual([0, 0, 0, 0, 0, 0, 0, 12, 12, 12, 12, 12, 12, 12, 12, 12]);
    volume.fill(4, slice(30), 1, 0);
    expect([...volume.source]).toEqual([0, 0, 0, 4, 4, 4, 4, 4, 12, 12, 12, 12, 12, 12, 12, 12]);
    expect(sampled(volume, planeAt([5, 5, 8], AXIAL, 1, 1))[0]).toBe(30);
    expect([volume.least, volume.most]).toEqual([10, 30]);
  });
});

describe("a plan", () => {
  it("sorts slices by where they stand, whatever their order", () => {
    const shuffled = [5, 0, 9, 3, 7, 1, 8, 2, 6, 4];
    const plan = planned(series({ count: 10, place: (index) => [0, 0, (shuffled[index] as number) * 3] }));
    expect(plan.frames).toEqual([1, 5, 7, 3, 9, 0, 8, 4, 6, 2]);
    expect(plan.grid.steps[2]).toEqual([0, 0, 3]);
  });

  it("halves rows and columns and keeps their places", () => {
    const plan = planned(series({ rows: 512, columns: 512, spacing: [0.7, 0.7], count: 40 }), {
      inPlane: 256,
      bytes: 2 ** 27,
    });
    expect([plan.level, plan.every, plan.grid.size]).toEqual([1, 1, [256, 256, 40]]);
    expect(plan.grid.steps[0][0]).toBeCloseTo(1.4);
    expect(plan.grid.origin).toEqual([0, 0, 0]); // the wavelet's low band keeps every second place, from the first on
  });

  it.each([
    [2000, 0.5],
    [1907, 1],
    [4000, 0.4],
  ])("of %i slices at %f mm fits a phone", (count, spacing) => {
    const wish = { rows: 512, columns: 512, spacing: [0.7, 0.7] as const, count };
    const plan = planned(series({ ...wish, place: (index) => [0, 0, index * spacing] }), {
      inPlane: 256,
      bytes: 131 * 2 ** 20,
    });
    expect(bytesOf(plan)).toBeLessThanOrEqual(131 * 2 ** 20);
    expect(plan.frames.length).toBe(Math.ceil(count / plan.every));
    const pitches = plan.grid.steps.map((step) => Math.hypot(...step));
    expect(Math.max(...pitches)).toBeLessThan(3);
  });

  it("holds values of frames that have scales of their own", () => {
    const plan = planned(
      series({ frame: (index) => ({ slope: index + 1, intercept: 0, signed: false, bits_stored: 12 }) }),
    );
    const volume = new Volume(plan);
    volume.fill(3, new Float64Array(480).fill(1000), 4, 0);
    const stored = volume.data[3 * 480] as number;
    expect(stored * plan.slope + plan.intercept).toBeCloseTo(4000, -1);
  });

  it.each<[string, Series]>([
    ["X-ray projection", { count: 1, set: { modality: "DX" } }],
    ["Colour", { frame: () => ({ samples: 3 }) }],
    ["has 7 images", { count: 7 }],
    ["has 1 image;", { count: 1 }],
    ["1 of 16 slices cannot be decoded", { frame: (index) => ({ decodable: index !== 3 }) }],
    ["do not tell where", { frame: (index) => ({ position_mm: index === 3 ? null : [0, 0, index * 2] }) }],
    ["one number of rows", { frame: (index) => ({ rows: index === 3 ? 21 : 20 }) }],
    ["stand at one place", { place: (index) => [0, 0, Math.floor(index / 2) * 2] }],
    [
      "uneven distances, from 2.00 mm to 5.00 mm",
      { place: (index) => [0, 0, index < 8 ? index * 2 : index * 5 - 24] },
    ],
    ["displaced sideways", { place: (index) => [index % 2 ? 3 : 0, 0, index * 2] }],
    ["several directions", { set: { warnings: [{ code: "mixed-orientation", message: "" }] } }],
    ["localizer", { set: { warnings: [{ code: "localizer", message: "" }] } }],
  ])("is refused in a sentence: %s", (words, wish) => {
    expect(refused(wish)).toContain(words);
    expect(refused(wish)).toMatch(/^[A-Z0-9].*\.$/);
  });

  it("tells distances that are nearly even", () => {
    const plan = planned(series({ place: (index) => [0, 0, index * 2 + (index % 2) * 0.1] }));
    expect(plan.warnings.join()).toContain("differ by up to");
  });

  it("has its corners half a voxel outside its centres", () => {
    const grid = planned(series()).grid;
    const xs = corners(grid).map(([x]) => x);
    expect([Math.min(...xs), Math.max(...xs)]).toEqual([-0.5, 23.5]);
    expect(middle(grid)).toEqual([11.5, 9.5, 15]);
    expect(new ToGrid(grid).place([11.5, 9.5, 15])).toEqual([11.5, 9.5, 7.5]);
    expect(pitchAlong(grid, [0, 0, 1])).toBe(2);
    expect(pitchAlong(grid, [0, 1, 0])).toBe(1);
  });
});

describe("slices on their way", () => {
  it.each([1, 8, 16, 17, 100])("are asked for once each, coarsely first: %i", (count) => {
    const order = interleaved(count);
    expect([...order].sort((a, b) => a - b)).toEqual([...Array(count).keys()]);
    expect(order.slice(0, Math.ceil(count / 16)).every((slot) => slot % 16 === 0)).toBe(true);
  });
});

describe("a thick slab", () => {
  const plan = planned(lying(POSITIONS.oblique as readonly [Direction, Direction], { count: 20 }));
  // no two values alike, without any order: a generator by Lehmer
  let seed = 1;
  const volume = filled(plan, () => {
    seed = (seed * 48271) % 2147483647;
    return (seed % 4001) - 2000;
  });

  /** The value at a place, by the definition: eight voxels weighted by their distances. */
  function value(place: Direction): number | null {
    const at = new ToGrid(plan.grid).place(place);
    const [columns, rows, slices] = plan.grid.size;
    const outside = at.some((n, axis) => n < -0.5 || n >= (plan.grid.size[axis] as number) - 0.5);
    if (outside) return null;
    const [i, j, k] = at.map((n, axis) => Math.min(Math.max(n, 0), (plan.grid.size[axis] as number) - 1)) as [
      number,
      number,
      number,
    ];
    let sum = 0;
    for (let c = 0; c < slices; c++) {
      for (let b = 0; b < rows; b++) {
        for (let a = 0; a < columns; a++) {
          const weight = [i - a, j - b, k - c].reduce((all, n) => all * Math.max(1 - Math.abs(n), 0), 1);
          if (weight > 0) sum += weight * (volume.data[(c * rows + b) * columns + a] as number);
        }
      }
    }
    return sum;
  }

  for (const [name, view] of Object.entries(VIEWS)) {
    for (const mode of ["mip", "minip", "mean"] as const) {
      it(`is what one finds by looking everywhere: ${mode}, ${name}`, () => {
        const slab = { mode, mm: 6 };
        const plane = planeAt(middle(plan.grid), view, 7, 2.3);
        const out = new Float32Array(49);
        project(volume, plane, slab, 1, out);
        const normal = cross(view.right, view.down);
        const offsets = slabOffsets(slab, pitchAlong(plan.grid, normal), 1);
        expect(offsets[0]).toBeCloseTo(-3);
        expect(offsets.at(-1)).toBeCloseTo(3);
        for (const [x, y] of [
          [0, 0],
          [3, 3],
          [6, 2],
          [1, 5],
        ] as const) {
          const found = offsets
            .map((offset) => value(plus(placeOf(plane, x, y), scaled(normal, offset))))
            .filter((each) => each !== null);
          const meant = {
            mip: Math.max(...found),
            minip: Math.min(...found),
            mean: found.reduce((a, b) => a + b, 0) / found.length,
          }[mode];
          expect(out[y * 7 + x]).toBeCloseTo(meant, 1);
        }
      });
    }
  }

  it("finds a bright voxel within its thickness and not beyond", () => {
    const dot = planned(series());
    const lonely = filled(dot, ([x, y, z]) => (x === 10 && y === 10 && z === 16 ? 1000 : 0));
    const brightest = (z: number, mm: number): number => {
      const out = new Float32Array(25);
      project(lonely, planeAt([10, 10, z], AXIAL, 5, 1), { mode: "mip", mm }, 2, out);
      return out[12] as number;
    };
    expect(brightest(16, 4)).toBe(1000);
    expect(brightest(12, 8)).toBe(1000);
    expect(brightest(12, 3)).toBe(0);
  });

  it("counts nothing for what lies outside the volume", () => {
    const flat = filled(planned(series()), () => 80);
    for (const mode of ["mip", "minip", "mean"] as const) {
      const out = new Float32Array(1);
      project(flat, planeAt([5, 5, 0], AXIAL, 1, 1), { mode, mm: 40 }, 1, out);
      expect(out[0]).toBe(80);
      project(flat, planeAt([5, 5, 90], AXIAL, 1, 1), { mode, mm: 40 }, 1, out);
      expect(out[0]).toBeNaN();
    }
  });

  it("is sampled at least once a voxel, and is a plane where it has no thickness", () => {
    expect(slabOffsets({ mode: "plane", mm: 20 }, 1, 1)).toEqual([0]);
    expect(slabOffsets({ mode: "mip", mm: 0 }, 1, 1)).toEqual([0]);
    expect(slabOffsets({ mode: "mip", mm: 4 }, 1, 1)).toEqual([-2, -1, 0, 1, 2]);
    expect(slabOffsets({ mode: "mip", mm: 2.5 }, 1, 2)).toHaveLength(6);
  });
});

describe("shading", () => {
  it("is the window function, inverted on demand, and black where nothing is", () => {
    const values = Float32Array.of(-1000, 0, 1000, Number.NaN);
    const out = new Uint32Array(4);
    const look = rampOf({ center: 0.5, width: 2001 });
    shade(values, { slope: 1, intercept: 0 }, look, false, out);
    expect([...out].map((pixel) => pixel & 0xff)).toEqual([0, 128, 255, 0]);
    shade(values, { slope: 1, intercept: 0 }, look, true, out);
    expect([...out].map((pixel) => pixel & 0xff)).toEqual([255, 128, 0, 0]);
    expect([...out].every((pixel) => pixel >>> 24 === 255)).toBe(true);
  });
});

it("directions have lengths and products as usual", () => {
  expect(cross([1, 0, 0], [0, 1, 0])).toEqual([0, 0, 1]);
  expect(dot([1, 2, 3], [4, 5, 6])).toBe(32);
});
