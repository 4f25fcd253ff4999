import { describe, expect, it } from "vitest";
import type { GreyPixels } from "../../src/pixels.js";
import type { FrameInfo, ImageSet } from "../../src/protocol.js";
import {
  angleOf,
  described,
  ellipseArea,
  lengthOf,
  type Spacing,
  type Subject,
  spacingOf,
  statisticsIn,
  storedAt,
} from "../../src/tools/measure.js";
import {
  CLOCKWISE,
  fitted,
  LEFT_RIGHT,
  type Point,
  scaleOf,
  toImage,
  toView,
  turnedInView,
  UPSIDE_DOWN,
  zoomAbout,
} from "../../src/viewport.js";
import { anyOf, repeat } from "../chance.js";

const spacing: Spacing = { columnMm: 0.75, rowMm: 0.5, plane: "patient" };
const at = (x: number, y: number): Point => ({ x, y });

function greys(width: number, height: number, value: (column: number, row: number) => number): GreyPixels {
  const values = Array.from({ length: width * height }, (_, i) => value(i % width, Math.floor(i / width)));
  const least = Math.min(...values);
  return {
    kind: "grey",
    width,
    height,
    data: Uint16Array.from(values, (one) => one & 0xffff),
    signed: least < 0,
    least,
    most: Math.max(...values),
  };
}

describe("a length", () => {
  it("respects that columns and rows lie apart differently", () => {
    expect(lengthOf(at(10, 10), at(14, 10), spacing)).toBeCloseTo(3, 12);
    expect(lengthOf(at(10, 10), at(10, 16), spacing)).toBeCloseTo(3, 12);
    expect(lengthOf(at(10, 10), at(14, 16), spacing)).toBeCloseTo(Math.hypot(3, 3), 12);
  });

  it("is in pixels, and says so, where there is no spacing", () => {
    expect(described("length", [at(0, 0), at(3, 4)], subject({ spacing: null }))).toEqual([
      "5.0 px (no spacing)",
    ]);
  });

  it("is the same however the image was zoomed, turned and moved when its ends were set", () => {
    repeat(200, (random) => {
      const view = { width: 400, height: 800 };
      let placement = fitted(view, { width: 512, height: 300 }, spacing.rowMm / spacing.columnMm);
      for (let steps = 0; steps < 4; steps++) {
        placement = turnedInView(placement, anyOf([CLOCKWISE, LEFT_RIGHT, UPSIDE_DOWN], random), view);
        placement = zoomAbout(placement, 0.6 + random() * 2, random() * 400, random() * 800, 0.1);
      }
      const [one, other] = [at(20, 30), at(400, 250)];
      const ends = [one, other].map((point) => toImage(placement, toView(placement, point))) as [
        Point,
        Point,
      ];
      expect(lengthOf(...ends, spacing)).toBeCloseTo(lengthOf(one, other, spacing), 6);
      const onScreen = lengthOf(toView(placement, one), toView(placement, other), null);
      const mmPerPx = spacing.columnMm / scaleOf(placement); // what the scale bar says
      expect(onScreen * mmPerPx).toBeCloseTo(lengthOf(one, other, spacing), 6);
    });
  });
});

describe("an angle", () => {
  it("is measured at its second point, in millimetres and not in pixels", () => {
    expect(angleOf(at(1, 0), at(0, 0), at(0, 1), null)).toBeCloseTo(90);
    expect(angleOf(at(4, 0), at(0, 0), at(4, 4), null)).toBeCloseTo(45);
    expect(angleOf(at(4, 0), at(0, 0), at(4, 6), spacing)).toBeCloseTo(45);
    expect(angleOf(at(-1, 0), at(0, 0), at(1, 0), null)).toBeCloseTo(180);
  });

  it("is the same whichever arm was set first, and lies from 0 to 180", () => {
    repeat(100, (random) => {
      const [a, b, c] = [1, 2, 3].map(() => at(random() * 100, random() * 100)) as [Point, Point, Point];
      const angle = angleOf(a, b, c, spacing);
      expect(angle).toBeGreaterThanOrEqual(0);
      expect(angle).toBeLessThanOrEqual(180);
      expect(angleOf(c, b, a, spacing)).toBeCloseTo(angle, 9);
    });
  });
});

describe("a region", () => {
  const rescale = { slope: 2, intercept: -1000 };

  it("has the mean, SD and ends of exactly the pixels whose middle lies inside", () => {
    repeat(60, (random) => {
      const pixels = greys(40, 30, () => Math.floor(random() * 4000));
      const one = at(random() * 50 - 5, random() * 40 - 5);
      const other = at(random() * 50 - 5, random() * 40 - 5);
      const middle = at((one.x + other.x) / 2, (one.y + other.y) / 2);
      const inside: number[] = [];
      for (let row = 0; row < 30; row++) {
        for (let column = 0; column < 40; column++) {
          const x = (column + 0.5 - middle.x) / ((other.x - one.x) / 2);
          const y = (row + 0.5 - middle.y) / ((other.y - one.y) / 2);
          if (x * x + y * y <= 1)
            inside.push(storedAt(pixels, column, row) * rescale.slope + rescale.intercept);
        }
      }
      const found = statisticsIn(pixels, one, other, rescale);
      if (inside.length === 0) {
        expect(found).toBeNull();
        return;
      }
      const mean = inside.reduce((sum, value) => sum + value, 0) / inside.length;
      const sd = Math.sqrt(inside.reduce((sum, value) => sum + (value - mean) ** 2, 0) / inside.length);
      expect(found?.count).toBe(inside.length);
      expect(found?.mean).toBeCloseTo(mean, 6);
      expect(found?.sd).toBeCloseTo(sd, 6);
      expect([found?.least, found?.most]).toEqual([Math.min(...inside), Math.max(...inside)]);
    });
  });

  it("of one value has no spread, however large the value", () => {
    const found = statisticsIn(
      greys(40, 40, () => 65535),
      at(5, 5),
      at(35, 35),
      { slope: 1, intercept: 0 },
    );
    expect(found).toMatchObject({ mean: 65535, sd: 0, least: 65535, most: 65535 });
  });

  it("reads negative stored values, and turns the ends round where the slope is negative", () => {
    const pixels = greys(4, 4, (column) => column - 2);
    expect(storedAt(pixels, 0, 0)).toBe(-2);
    const found = statisticsIn(pixels, at(-9, -9), at(13, 13), { slope: -3, intercept: 1 });
    expect([found?.least, found?.most]).toEqual([-2, 7]);
  });

  it("has an area in square millimetres, or in pixels where there is no spacing", () => {
    expect(ellipseArea(at(0, 0), at(40, 20), spacing)).toBeCloseTo((Math.PI * 30 * 10) / 4, 9);
    expect(ellipseArea(at(40, 20), at(0, 0), null)).toBeCloseTo((Math.PI * 40 * 20) / 4, 9);
  });

  it("outside the image says so", () => {
    const lines = described("ellipse", [at(-30, -30), at(-10, -10)], subject({}));
    expect(lines.at(-1)).toBe("No pixel inside");
  });
});

function subject(changes: Partial<Subject>): Subject {
  return {
    pixels: greys(8, 8, (column, row) => 1000 + column + 10 * row),
    rescale: { slope: 1, intercept: -1024 },
    spacing,
    modality: "CT",
    isLossy: false,
    ...changes,
  };
}

describe("what is written", () => {
  it("is Hounsfield units for CT and no unit elsewhere", () => {
    expect(described("probe", [at(2.9, 1.2)], subject({}))).toEqual(["-12 HU", "column 3, row 2"]);
    expect(described("probe", [at(2.9, 1.2)], subject({ modality: "MR" }))[0]).toBe("-12");
  });

  it("of a pixel outside the image is that it is outside", () => {
    expect(described("probe", [at(8, 0)], subject({}))).toEqual(["Outside the image"]);
    expect(described("probe", [at(-0.1, 0)], subject({}))).toEqual(["Outside the image"]);
  });

  it("tells that values came from a lossy codec", () => {
    expect(described("ellipse", [at(0, 0), at(8, 8)], subject({ isLossy: true })).at(-1)).toMatch(/lossy/);
  });

  it("of a colour image is red, green and blue, and of its region the area alone", () => {
    const data = new Uint8ClampedArray(4 * 4 * 4).map((_, i) => i);
    const pixels = { kind: "colour", width: 4, height: 4, data } as const;
    expect(described("probe", [at(1, 0)], subject({ pixels }))).toEqual(["R 4 G 5 B 6"]);
    expect(described("ellipse", [at(0, 0), at(4, 4)], subject({ pixels }))).toHaveLength(2);
  });

  it("names where the millimetres of a radiograph are true", () => {
    const geometry = { row_spacing_mm: 0.1, column_spacing_mm: 0.1 } as ImageSet["geometry"];
    const words = (modality: string, atDetector?: boolean): string | undefined => {
      const info = (atDetector === undefined ? {} : { spacing_at_detector: atDetector }) as FrameInfo;
      const found = spacingOf({ geometry, modality }, info);
      return described("length", [at(0, 0), at(1000, 0)], subject({ spacing: found }))[0];
    };
    expect(words("DX", true)).toBe("100.0 mm at the detector");
    expect(words("DX", false)).toBe("100.0 mm");
    expect(words("DX")).toBe("100.0 mm (calibration not told)");
    expect(words("CT")).toBe("100.0 mm");
  });

  it("takes a frame's own spacing before that of its series, and none where the frame has none", () => {
    const geometry = { row_spacing_mm: 1, column_spacing_mm: 1 } as ImageSet["geometry"];
    const own = spacingOf({ geometry, modality: "CT" }, { spacing_mm: [2, 3] as const } as FrameInfo);
    expect(own).toEqual({ rowMm: 2, columnMm: 3, plane: "patient" });
    expect(spacingOf({ geometry, modality: "CT" }, { spacing_mm: null } as FrameInfo)).toBeNull();
  });
});
