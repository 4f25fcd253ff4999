/**
 * Measuring: plain arithmetic on points of the image and on stored values.
 *
 * Points are (column, row) as in `viewport.ts`. Lengths respect that rows and columns may lie apart differently;
 * where the image does not tell how far, they are pixels and say so.
 */
import type { GreyPixels, Pixels } from "../pixels.js";
import type { FrameInfo, ImageSet } from "../protocol.js";
import { type Point, spacingMm } from "../viewport.js";

export type Kind = "length" | "angle" | "ellipse" | "probe";

/** How many points make one: an angle has its corner in the middle, an ellipse lies between two corners of a box. */
export const POINTS: Readonly<Record<Kind, number>> = { length: 2, angle: 3, ellipse: 2, probe: 1 };

/** Distance of neighbouring columns and of neighbouring rows. */
export interface Spacing {
  readonly columnMm: number;
  readonly rowMm: number;
  /** In a radiograph: where the millimetres are true. */
  readonly plane: "patient" | "detector" | "not told";
}

const PROJECTIONS = new Set(["CR", "DX", "DR", "MG", "PX", "IO", "XA", "RF", "RG"]);

/** Of one frame; null where it is not told, and then everything is in pixels. */
export function spacingOf(set: Pick<ImageSet, "geometry" | "modality">, info: FrameInfo): Spacing | null {
  const mm = spacingMm(set.geometry, info);
  if (!mm) return null;
  const [rowMm, columnMm] = mm;
  if (!PROJECTIONS.has(set.modality ?? "")) return { columnMm, rowMm, plane: "patient" };
  const { spacing_at_detector: atDetector } = info;
  return {
    columnMm,
    rowMm,
    plane: atDetector === undefined ? "not told" : atDetector ? "detector" : "patient",
  };
}

/** A step in the image as a step in millimetres, or in pixels. */
function step(from: Point, to: Point, spacing: Spacing | null): Point {
  return {
    x: (to.x - from.x) * (spacing?.columnMm ?? 1),
    y: (to.y - from.y) * (spacing?.rowMm ?? 1),
  };
}

/** In millimetres, or in pixels without a spacing. */
export function lengthOf(from: Point, to: Point, spacing: Spacing | null): number {
  const { x, y } = step(from, to, spacing);
  return Math.hypot(x, y);
}

/** Between the arms that meet in `corner`, in degrees from 0 to 180; of square pixels without a spacing. */
export function angleOf(one: Point, corner: Point, other: Point, spacing: Spacing | null): number {
  const a = step(corner, one, spacing);
  const b = step(corner, other, spacing);
  const degrees = (Math.atan2(a.x * b.y - a.y * b.x, a.x * b.x + a.y * b.y) * 180) / Math.PI;
  return Math.abs(degrees);
}

/** The stored value of one pixel. */
export function storedAt({ data, width, signed }: GreyPixels, column: number, row: number): number {
  const raw = data[row * width + column] as number;
  return signed ? (raw << 16) >> 16 : raw;
}

export interface Rescale {
  readonly slope: number;
  readonly intercept: number;
}

/** Values in modality units: Hounsfield for CT. `sd` is that of the population. */
export interface Statistics {
  readonly count: number;
  readonly mean: number;
  readonly sd: number;
  readonly least: number;
  readonly most: number;
}

/** Of the pixels whose middle lies inside the ellipse between two corners of its box; null where there is none. */
export function statisticsIn(
  pixels: GreyPixels,
  one: Point,
  other: Point,
  { slope, intercept }: Rescale,
): Statistics | null {
  const x = (one.x + other.x) / 2;
  const y = (one.y + other.y) / 2;
  const wide = Math.abs(other.x - one.x) / 2;
  const high = Math.abs(other.y - one.y) / 2;
  let count = 0;
  let sum = 0;
  let squares = 0;
  let least = Number.POSITIVE_INFINITY;
  let most = Number.NEGATIVE_INFINITY;
  const origin = storedAt(pixels, clamped(x, pixels.width), clamped(y, pixels.height)); // keeps squares small
  const lastRow = Math.min(Math.floor(y + high), pixels.height - 1);
  for (let row = Math.max(Math.floor(y - high), 0); row <= lastRow; row++) {
    const up = (row + 0.5 - y) / high;
    const half = wide * Math.sqrt(Math.max(1 - up * up, 0));
    if (!(Math.abs(up) <= 1)) continue;
    const last = Math.min(Math.floor(x + half - 0.5), pixels.width - 1);
    for (let column = Math.max(Math.ceil(x - half - 0.5), 0); column <= last; column++) {
      const value = storedAt(pixels, column, row);
      count++;
      sum += value - origin;
      squares += (value - origin) ** 2;
      if (value < least) least = value;
      if (value > most) most = value;
    }
  }
  if (count === 0) return null;
  const ends = [least * slope + intercept, most * slope + intercept];
  return {
    count,
    mean: (sum / count + origin) * slope + intercept,
    sd: Math.sqrt(Math.max(squares / count - (sum / count) ** 2, 0)) * Math.abs(slope),
    least: Math.min(...ends),
    most: Math.max(...ends),
  };
}

/** In square millimetres, or in pixels without a spacing. */
export function ellipseArea(one: Point, other: Point, spacing: Spacing | null): number {
  const { x, y } = step(one, other, spacing);
  return (Math.PI * Math.abs(x * y)) / 4;
}

function clamped(at: number, extent: number): number {
  return Math.min(Math.max(Math.floor(at), 0), extent - 1);
}

/** What a measurement is of: everything that is needed to put numbers on points. */
export interface Subject {
  readonly pixels: Pixels;
  readonly rescale: Rescale;
  readonly spacing: Spacing | null;
  readonly modality: string | null;
  /** Received lossy: values are what a lossy codec left of them. */
  readonly isLossy: boolean;
}

/** What is written beside a measurement, a line each. */
export function described(kind: Kind, points: readonly Point[], subject: Subject): readonly string[] {
  const [a, b, c] = points;
  if (!a) return [];
  switch (kind) {
    case "length":
      return b ? [lengthWords(lengthOf(a, b, subject.spacing), subject.spacing)] : [];
    case "angle":
      return b && c ? [`${angleOf(a, b, c, subject.spacing).toFixed(1)}°`] : [];
    case "ellipse":
      return b ? ellipseWords(a, b, subject) : [];
    case "probe":
      return probeWords(a, subject);
  }
}

const PLANES: Readonly<Record<Spacing["plane"], string>> = {
  patient: "",
  detector: " at the detector",
  "not told": " (calibration not told)",
};

export function lengthWords(length: number, spacing: Spacing | null): string {
  if (!spacing) return `${length.toFixed(1)} px (no spacing)`;
  return `${length.toFixed(length < 10 ? 2 : 1)} mm${PLANES[spacing.plane]}`;
}

function areaWords(area: number, spacing: Spacing | null): string {
  if (!spacing) return `Area ${Math.round(area)} px (no spacing)`;
  const words = area >= 1000 ? `${(area / 100).toFixed(1)} cm²` : `${area.toFixed(area < 10 ? 2 : 1)} mm²`;
  return `Area ${words}${PLANES[spacing.plane]}`;
}

function ellipseWords(one: Point, other: Point, subject: Subject): string[] {
  const area = areaWords(ellipseArea(one, other, subject.spacing), subject.spacing);
  if (subject.pixels.kind !== "grey") return [area, "No values: the image is in colour"];
  const found = statisticsIn(subject.pixels, one, other, subject.rescale);
  if (!found) return [area, "No pixel inside"];
  const unit = unitOf(subject);
  const digits = Math.abs(subject.rescale.slope) < 0.1 ? 3 : 1;
  return [
    `Mean ${found.mean.toFixed(digits)}${unit} · SD ${found.sd.toFixed(digits)}`,
    `${valueWords(found.least, subject)} to ${valueWords(found.most, subject)}${unit}`,
    area,
    ...(subject.isLossy ? ["Of pixels received lossy"] : []),
  ];
}

function probeWords(at: Point, subject: Subject): string[] {
  const { pixels, rescale } = subject;
  const column = Math.floor(at.x);
  const row = Math.floor(at.y);
  if (column < 0 || row < 0 || column >= pixels.width || row >= pixels.height) return ["Outside the image"];
  if (pixels.kind === "colour") {
    const [red, green, blue] = pixels.data.subarray((row * pixels.width + column) * 4);
    return [`R ${red} G ${green} B ${blue}`];
  }
  const value = storedAt(pixels, column, row) * rescale.slope + rescale.intercept;
  return [`${valueWords(value, subject)}${unitOf(subject)}`, `column ${column + 1}, row ${row + 1}`];
}

function valueWords(value: number, { rescale }: Subject): string {
  return Number.isInteger(value) ? String(value) : value.toFixed(Math.abs(rescale.slope) < 0.1 ? 3 : 1);
}

function unitOf({ modality }: Subject): string {
  return modality === "CT" ? " HU" : "";
}
