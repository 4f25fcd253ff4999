/**
 * A series as one volume: whether its slices make one, where its voxels lie, and what lies on any plane through it.
 *
 * The volume is made of previews, which are lossy, and of as many of their pixels as memory allows: it is for
 * finding one's way and never for measuring. Places are in millimetres of the patient's axes (LPS); a grid of voxels
 * may lie there at any angle, and its axes need not be perpendicular: a tilted gantry is corrected by the geometry
 * alone.
 */
import type { Direction, FrameInfo, ImageSet } from "./protocol.js";
import { grey, type Ramp, type Window } from "./window.js";
import { plural } from "./words.js";

/** What fits beside everything else a phone's browser tab holds. */
export const MOST_BYTES = 131 * 2 ** 20;
export const FEWEST_SLICES = 8;

const BYTES_PER_VOXEL = 2;
const SAME_PLACE_MM = 1e-3;
/** A gap may differ from the spacing by this share of it: what is drawn is then displaced by less than a tenth. */
const UNEVEN = 0.1;
const WORTH_TELLING = 0.01;
const TILT_DEGREES = 0.5;
const LEAST_STRAY_MM = 0.5;

/** Where voxels lie: the centre of the first, and the way from each to its neighbour, in mm. */
export interface Grid {
  readonly size: readonly [columns: number, rows: number, slices: number];
  readonly origin: Direction;
  readonly steps: readonly [column: Direction, row: Direction, slice: Direction];
}

/** How the volume of a series is made. */
export interface Plan {
  readonly grid: Grid;
  /** For each slice of the grid the frame that fills it; -1 where a slice is missing. */
  readonly frames: readonly number[];
  /** How often rows and columns are halved. */
  readonly level: number;
  /** Only every so many slices are used. */
  readonly every: number;
  readonly signed: boolean;
  /** Modality units = stored value * slope + intercept. */
  readonly slope: number;
  readonly intercept: number;
  readonly invert: boolean;
  /** Sentences for the reader. */
  readonly warnings: readonly string[];
}

/** Why a series is no volume, as a sentence for the reader. */
export interface Refusal {
  readonly refusal: string;
}

export interface Limits {
  /** Most columns or rows of a slice. */
  readonly inPlane: number;
  readonly bytes: number;
}

/** How to make a volume of a series, or why it cannot be one. */
export function planVolume(set: ImageSet, limits: Limits): Plan | Refusal {
  const refusal = notSlices(set) ?? notOneStack(set);
  if (refusal) return { refusal };
  const { row_direction: across, column_direction: down, row_spacing_mm, column_spacing_mm } = set.geometry;
  if (!across || !down || !row_spacing_mm || !column_spacing_mm) return { refusal: NO_PLACE };
  const places = set.frame_list.map(({ position_mm }) => position_mm);
  if (places.some((place) => !place)) return { refusal: NO_PLACE };
  const stack = stacked(places as Direction[], across, down, Math.max(row_spacing_mm, column_spacing_mm));
  if ("refusal" in stack) return stack;

  const first = set.frame_list[0] as FrameInfo;
  const size = [first.columns, first.rows, stack.frames.length] as const;
  const pitch = [column_spacing_mm, row_spacing_mm, length(stack.step)] as const;
  const { level, every } = reduction(size, pitch, limits);
  const factor = 2 ** level;
  const frames = stack.frames.filter((_, slot) => slot % every === 0);
  return {
    grid: {
      size: [Math.ceil(first.columns / factor), Math.ceil(first.rows / factor), frames.length],
      origin: stack.origin,
      steps: [
        scaled(across, column_spacing_mm * factor),
        scaled(down, row_spacing_mm * factor),
        scaled(stack.step, every),
      ],
    },
    frames,
    level,
    every,
    ...valuesOf(set.frame_list),
    invert: first.photometric === "MONOCHROME1",
    warnings: stack.warnings,
  };
}

const NO_PLACE =
  "The images do not tell where in the patient they lie, so no other plane can be made of them.";
const PROJECTIONS = new Set(["CR", "DX", "MG", "IO", "PX", "RG", "XA", "RF"]);

function notSlices({ modality, frame_list: frames }: ImageSet): string | null {
  if (modality && PROJECTIONS.has(modality)) {
    return "This is an X-ray projection: it shows everything in its way at once and has no slices.";
  }
  if (frames.some(({ samples }) => samples !== 1)) {
    return "Colour images cannot be put together to a volume.";
  }
  if (frames.length < FEWEST_SLICES) {
    return `This series has ${plural(frames.length, "image")}; a volume needs at least ${FEWEST_SLICES} slices.`;
  }
  const broken = frames.filter(({ decodable }) => !decodable).length;
  return broken ? `${broken} of ${frames.length} slices cannot be decoded.` : null;
}

const REFUSED: Readonly<Record<string, string>> = {
  "no-position": NO_PLACE,
  localizer:
    "The series holds images of another direction, such as a localizer: it is not one stack of slices.",
  "mixed-orientation": "The slices of this series lie in several directions: it is not one stack.",
  "doubled-slices":
    "Several slices stand at one place, as with phases or echoes: one volume cannot hold them.",
  "mixed-size": "The slices do not have one number of rows and columns.",
  "mixed-pixel-spacing": "The slices do not have one pixel spacing.",
};

function notOneStack({ frame_list: frames, warnings }: ImageSet): string | null {
  const told = warnings.find(({ code }) => code in REFUSED);
  if (told) return REFUSED[told.code] as string;
  const { rows, columns } = frames[0] as FrameInfo;
  const isMixed = frames.some((info) => info.rows !== rows || info.columns !== columns);
  return isMixed ? (REFUSED["mixed-size"] as string) : null;
}

interface Stack {
  readonly frames: readonly number[];
  readonly origin: Direction;
  readonly step: Direction;
  readonly warnings: readonly string[];
}

/**
 * Slices at even distances, with -1 for those that are missing.
 *
 * @param places Centre of the first pixel of each frame, in mm.
 * @param pixel Distance of pixels in mm: slices may lie beside their place by one.
 */
function stacked(
  places: readonly Direction[],
  across: Direction,
  down: Direction,
  pixel: number,
): Stack | Refusal {
  const normal = cross(across, down);
  const along = places.map((place) => dot(place, normal));
  const order = [...along.keys()].sort((a, b) => (along[a] as number) - (along[b] as number));
  const gaps = order
    .slice(1)
    .map((frame, at) => (along[frame] as number) - (along[order[at] as number] as number));
  const spacing = [...gaps].sort((a, b) => a - b)[Math.floor((gaps.length - 1) / 2)] as number;
  if (gaps.some((gap) => gap <= SAME_PLACE_MM)) return { refusal: REFUSED["doubled-slices"] as string };
  const counts = gaps.map((gap) => Math.max(Math.round(gap / spacing), 1));
  const off = Math.max(...gaps.map((gap, at) => Math.abs(gap / spacing - (counts[at] as number))));
  if (off > UNEVEN) {
    return {
      refusal: `The slices stand at uneven distances, from ${mm(Math.min(...gaps))} to ${mm(Math.max(...gaps))}.`,
    };
  }
  const frames: number[] = [order[0] as number];
  counts.forEach((count, at) => {
    for (let missing = 1; missing < count; missing++) frames.push(-1);
    frames.push(order[at + 1] as number);
  });
  const origin = places[order[0] as number] as Direction;
  const end = places[order.at(-1) as number] as Direction;
  const step = scaled(minus(end, origin), 1 / (frames.length - 1));
  const strays = frames.flatMap((frame, slot) => {
    if (frame < 0) return [];
    const stray = minus(places[frame] as Direction, plus(origin, scaled(step, slot)));
    return [length(minus(stray, scaled(normal, dot(stray, normal))))];
  });
  if (strays.some((stray) => stray > Math.max(pixel, LEAST_STRAY_MM))) {
    return {
      refusal: "The slices are displaced sideways against each other: they do not stand in one line.",
    };
  }
  return { frames, origin, step, warnings: stackWarnings(frames, step, normal, off) };
}

function stackWarnings(frames: readonly number[], step: Direction, normal: Direction, off: number): string[] {
  const warnings: string[] = [];
  const missing = frames.filter((frame) => frame < 0).length;
  if (missing) {
    warnings.push(
      `${plural(missing, "slice is", "slices are")} missing; ${missing === 1 ? "its place stays" : "their places stay"} black.`,
    );
  }
  if (off > WORTH_TELLING) {
    warnings.push(
      `The distances of the slices differ by up to ${Math.round(off * 100)} %; they are drawn as even.`,
    );
  }
  const tilt = (Math.acos(Math.min(dot(step, normal) / length(step), 1)) * 180) / Math.PI;
  if (tilt > TILT_DEGREES) {
    warnings.push(`The gantry was tilted by ${tilt.toFixed(1)}°; the planes shown here are straightened.`);
  }
  return warnings;
}

/** Halve or leave out whatever is finest until the volume fits. */
function reduction(
  [columns, rows, slices]: readonly [number, number, number],
  [column, row, slice]: readonly [number, number, number],
  limits: Limits,
): { readonly level: number; readonly every: number } {
  let level = 0;
  let every = 1;
  while (Math.ceil(Math.max(columns, rows) / 2 ** level) > limits.inPlane) level++;
  for (;;) {
    const pixels = Math.ceil(columns / 2 ** level) * Math.ceil(rows / 2 ** level);
    if (pixels * Math.ceil(slices / every) * BYTES_PER_VOXEL <= limits.bytes) return { level, every };
    if (slice * every <= Math.min(column, row) * 2 ** level) every++;
    else level++;
  }
}

/** The scale of stored values: that of the frames where they have one, else one that holds all of theirs. */
function valuesOf(frames: readonly FrameInfo[]): { signed: boolean; slope: number; intercept: number } {
  const { slope, intercept, signed } = frames[0] as FrameInfo;
  const isOne = frames.every(
    (info) => info.slope === slope && info.intercept === intercept && info.signed === signed,
  );
  if (isOne) return { signed, slope, intercept };
  const ends = frames.flatMap((info) => {
    const most = 2 ** info.bits_stored;
    const raw = info.signed ? [-most / 2, most / 2 - 1] : [0, most - 1];
    return raw.map((value) => value * info.slope + info.intercept);
  });
  const least = ends.reduce((a, b) => Math.min(a, b));
  const most = ends.reduce((a, b) => Math.max(a, b));
  return { signed: false, slope: (most - least) / 65535, intercept: least };
}

/** How many bytes the voxels of a plan take. */
export function bytesOf({ grid: { size } }: Plan): number {
  return size[0] * size[1] * size[2] * BYTES_PER_VOXEL;
}

/**
 * The order in which slices are fetched: every 16th first, then those half way between, and so on, so that the
 * whole volume is there coarsely from the beginning.
 */
export function interleaved(count: number): number[] {
  const order: number[] = [];
  for (let slot = 0; slot < count; slot += 16) order.push(slot);
  for (let stride = 16; stride > 1; stride /= 2) {
    for (let slot = stride / 2; slot < count; slot += stride) order.push(slot);
  }
  return order;
}

/** Voxels as they arrive. A slice that is still on its way is shown as its nearest neighbour. */
export class Volume {
  readonly data: Int16Array<ArrayBuffer> | Uint16Array<ArrayBuffer>;
  /** For each slice the one that stands for it; -1 for what is missing. */
  readonly source: Int32Array<ArrayBuffer>;
  least = Number.POSITIVE_INFINITY;
  most = Number.NEGATIVE_INFINITY;
  readonly #held: Uint8Array<ArrayBuffer>;

  /** @throws RangeError where the browser does not give so much memory. */
  constructor(readonly plan: Plan) {
    const [columns, rows, slices] = plan.grid.size;
    const Values = plan.signed ? Int16Array : Uint16Array;
    this.data = new Values(columns * rows * slices);
    this.source = new Int32Array(slices).fill(-1);
    this.#held = new Uint8Array(slices);
  }

  /**
   * Put a slice in its place.
   *
   * @param values Stored values (rows, columns) of the frame, already at the size of the grid.
   * @param slope Of this frame, with `intercept`.
   */
  fill(slot: number, values: ArrayLike<number>, slope: number, intercept: number): void {
    const { data, plan } = this;
    const [columns, rows] = plan.grid.size;
    const at = slot * columns * rows;
    const isSame = slope === plan.slope && intercept === plan.intercept;
    const factor = isSame ? 1 : slope / plan.slope;
    const shift = isSame ? 0 : (intercept - plan.intercept) / plan.slope;
    let { least, most } = this;
    for (let i = 0; i < columns * rows; i++) {
      const raw = values[i] as number;
      const value = isSame ? raw : Math.min(Math.max(Math.round(raw * factor + shift), 0), 65535);
      data[at + i] = value;
      if (value < least) least = value;
      if (value > most) most = value;
    }
    this.least = least;
    this.most = most;
    this.#held[slot] = 1;
    this.#stand(slot);
  }

  /** Slices around a new one that have nothing nearer are shown as it. */
  #stand(slot: number): void {
    const { frames } = this.plan;
    this.source[slot] = slot;
    for (const way of [-1, 1]) {
      for (let at = slot + way; at >= 0 && at < frames.length && !this.#held[at]; at += way) {
        if (frames[at] === -1) continue;
        const before = this.source[at] as number;
        if (before >= 0 && Math.abs(before - at) <= Math.abs(slot - at)) break;
        this.source[at] = slot;
      }
    }
  }
}

/** A plane to be drawn: the centre of its first pixel, and the way to the next one to the right and down, in mm. */
export interface Plane {
  readonly origin: Direction;
  readonly right: Direction;
  readonly down: Direction;
  readonly width: number;
  readonly height: number;
}

/** From places and ways in mm to those in the grid. */
export class ToGrid {
  readonly #rows: readonly [Direction, Direction, Direction];
  readonly #origin: Direction;

  constructor({ steps: [a, b, c], origin }: Grid) {
    const volume = dot(a, cross(b, c));
    this.#rows = [
      scaled(cross(b, c), 1 / volume),
      scaled(cross(c, a), 1 / volume),
      scaled(cross(a, b), 1 / volume),
    ];
    this.#origin = origin;
  }

  place(mm: Direction): Direction {
    return this.way(minus(mm, this.#origin));
  }

  way(mm: Direction): Direction {
    const [i, j, k] = this.#rows;
    return [dot(i, mm), dot(j, mm), dot(k, mm)];
  }
}

/** How far one may go along a direction of length one without passing a voxel, in mm. */
export function pitchAlong(grid: Grid, way: Direction): number {
  return 1 / Math.max(...new ToGrid(grid).way(way).map(Math.abs));
}

/** The eight corners of the box of voxels, to their outer edges, in mm. */
export function corners({ origin, steps, size }: Grid): Direction[] {
  const found: Direction[] = [];
  for (const i of [-0.5, size[0] - 0.5]) {
    for (const j of [-0.5, size[1] - 0.5]) {
      for (const k of [-0.5, size[2] - 0.5]) {
        const ways = [scaled(steps[0], i), scaled(steps[1], j), scaled(steps[2], k)] as const;
        found.push(ways.reduce(plus, origin));
      }
    }
  }
  return found;
}

/** The middle of the box of voxels, in mm. */
export function middle({ origin, steps, size }: Grid): Direction {
  return steps.reduce((at, step, axis) => plus(at, scaled(step, ((size[axis] as number) - 1) / 2)), origin);
}

/**
 * Stored values on a plane, interpolated linearly between the eight voxels around each pixel.
 *
 * @param shift Added to the plane's origin, in mm.
 * @param out Receives (height, width) values; NaN outside the volume, where a slice is missing, and before anything
 *   has arrived.
 */
export function resample(volume: Volume, plane: Plane, shift: Direction, out: Float32Array): void {
  const { data, source, plan } = volume;
  const [columns, rows, slices] = plan.grid.size;
  const area = columns * rows;
  const toGrid = new ToGrid(plan.grid);
  const start = toGrid.place(plus(plane.origin, shift));
  const [ri, rj, rk] = toGrid.way(plane.right);
  const [di, dj, dk] = toGrid.way(plane.down);
  let at = 0;
  for (let y = 0; y < plane.height; y++) {
    for (let x = 0; x < plane.width; x++, at++) {
      const i = start[0] + x * ri + y * di;
      const j = start[1] + x * rj + y * dj;
      const k = start[2] + x * rk + y * dk;
      const isInside =
        i >= -0.5 && j >= -0.5 && k >= -0.5 && i < columns - 0.5 && j < rows - 0.5 && k < slices - 0.5;
      if (!isInside) {
        out[at] = Number.NaN;
        continue;
      }
      const i0 = i <= 0 ? 0 : Math.floor(i);
      const j0 = j <= 0 ? 0 : Math.floor(j);
      const k0 = k <= 0 ? 0 : Math.floor(k);
      const fi = i <= 0 ? 0 : i - i0;
      const fj = j <= 0 ? 0 : j - j0;
      let fk = k <= 0 ? 0 : k - k0;
      const i1 = i0 + 1 < columns ? 1 : 0;
      const j1 = j0 + 1 < rows ? columns : 0;
      let near = source[k0] as number;
      let far = k0 + 1 < slices ? (source[k0 + 1] as number) : near;
      if (near < 0 || far < 0) {
        // beside a missing slice its neighbour reaches half way
        if (fk < 0.5) far = near;
        else near = far;
        fk = 0;
        if (near < 0) {
          out[at] = Number.NaN;
          continue;
        }
      }
      const corner = j0 * columns + i0;
      const n = near * area + corner;
      const n00 = data[n] as number;
      const n01 = data[n + j1] as number;
      const near0 = n00 + fi * ((data[n + i1] as number) - n00);
      const near1 = n01 + fi * ((data[n + j1 + i1] as number) - n01);
      let value = near0 + fj * (near1 - near0);
      if (fk > 0 && far !== near) {
        const f = far * area + corner;
        const f00 = data[f] as number;
        const f01 = data[f + j1] as number;
        const far0 = f00 + fi * ((data[f + i1] as number) - f00);
        const far1 = f01 + fi * ((data[f + j1 + i1] as number) - f01);
        value += fk * (far0 + fj * (far1 - far0) - value);
      }
      out[at] = value;
    }
  }
}

/** Grey pixels of stored values; what is not there stays black. */
export function shade(
  values: Float32Array,
  { slope, intercept }: Pick<Plan, "slope" | "intercept">,
  ramp: Ramp,
  invert: boolean,
  out: Uint32Array,
): void {
  for (let i = 0; i < values.length; i++) {
    const value = values[i] as number;
    if (Number.isNaN(value)) {
      out[i] = 0xff000000;
      continue;
    }
    const part = grey(value * slope + intercept, ramp);
    out[i] = 0xff000000 + Math.round((invert ? 1 - part : part) * 255) * 0x010101;
  }
}

/** The window of the frame in the middle, as the scanner meant it. */
export function storedWindow(set: ImageSet): Window | null {
  const { window_center: center, window_width: width } = set.frame_list[
    set.frame_list.length >> 1
  ] as FrameInfo;
  return center === null || width === null ? null : { center, width: Math.max(width, 1) };
}

export function dot(a: Direction, b: Direction): number {
  return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

export function cross(a: Direction, b: Direction): Direction {
  return [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
}

export function plus(a: Direction, b: Direction): Direction {
  return [a[0] + b[0], a[1] + b[1], a[2] + b[2]];
}

export function minus(a: Direction, b: Direction): Direction {
  return [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
}

export function scaled(a: Direction, factor: number): Direction {
  return [a[0] * factor, a[1] * factor, a[2] * factor];
}

function length(a: Direction): number {
  return Math.hypot(...a);
}

function mm(value: number): string {
  return `${value.toFixed(value < 10 ? 2 : 1)} mm`;
}
