/**
 * Which frame to fetch next.
 *
 * The reader's slice comes first. Then previews of the whole series, coarse steps before fine ones, so that
 * any place the finger may jump to has a neighbour to show. Full quality is for a reader at rest: the slice
 * in view, then its neighbours in scroll direction, then outwards while there is room.
 *
 * Pure: the caller says what is on the shelf, asks for one wish at a time, and fetches it.
 */
import type { Layer } from "./protocol.js";

export interface Reader {
  readonly current: number;
  /** Where the reader was scrolling to last. */
  readonly direction: 1 | -1;
  /** No slice has changed for `REST_MS`. */
  readonly resting: boolean;
}

/** `here`: we hold the bytes. `coming`: asked for. `barred`: there is none, or it failed a moment ago. */
export type Holding = "missing" | "coming" | "here" | "barred";

export interface Shelf {
  readonly count: number;
  /** Some frame of this series has a preview layer. */
  readonly hasPreviews: boolean;
  /** How many frames to either side of the reader may be held at once. */
  readonly reach: Readonly<Record<Layer, number>>;
  holding(index: number, layer: Layer): Holding;
}

export interface Wish {
  readonly index: number;
  readonly layer: Layer;
}

/** A slice is at rest after this long without a change. */
export const REST_MS = 120;
/** Full frames this close to a moving reader are fetched where there are no previews, and never aborted. */
const CLOSE = 3;
const STRIDES = [16, 8, 4, 2, 1] as const;

/** The most useful frame that is neither here nor coming, or null when nothing is wanted. */
export function nextWish(reader: Reader, shelf: Shelf): Wish | null {
  const { current, resting } = reader;
  const wanted = (index: number, layer: Layer): boolean => shelf.holding(index, layer) === "missing";

  if (shelf.holding(current, "full") !== "here") {
    if (wanted(current, "preview")) return { index: current, layer: "preview" };
    const only = shelf.holding(current, "preview") === "barred";
    if ((resting || only) && wanted(current, "full")) return { index: current, layer: "full" };
  }
  const { full, preview } = shelf.reach;
  if (!shelf.hasPreviews) return outwards(reader, shelf, "full", resting ? full : Math.min(full, CLOSE), 1);

  for (const stride of STRIDES) {
    const wish = outwards(reader, shelf, "preview", preview, stride);
    if (wish) return wish;
  }
  return resting ? outwards(reader, shelf, "full", full, 1) : null;
}

/** Whether a fetch under way still serves this reader; the others are aborted. */
export function stillWanted(reader: Reader, wish: Wish): boolean {
  if (wish.layer === "preview") return true; // a few kilobytes that every reader will want
  return reader.resting || Math.abs(wish.index - reader.current) <= CLOSE;
}

/** The nearest missing frame on the grid of `stride`, ahead before behind, at most `reach` away. */
function outwards(reader: Reader, shelf: Shelf, layer: Layer, reach: number, stride: number): Wish | null {
  const { current, direction } = reader;
  for (let step = 0; step <= reach; step++) {
    const ahead = current + direction * step;
    if (isMissing(shelf, ahead, layer, stride)) return { index: ahead, layer };
    const behind = current - direction * step;
    if (isMissing(shelf, behind, layer, stride)) return { index: behind, layer };
  }
  return null;
}

function isMissing(shelf: Shelf, index: number, layer: Layer, stride: number): boolean {
  if (index < 0 || index >= shelf.count || index % stride !== 0) return false;
  return shelf.holding(index, layer) === "missing";
}
