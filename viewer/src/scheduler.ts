/**
 * What to ask for next.
 *
 * The reader's slice comes first: its preview, and at rest its full quality. Then previews of the whole series,
 * coarse steps before fine ones, so that any place the finger may jump to has a neighbour to show. Full quality
 * is for a reader at rest: the neighbours in scroll direction, then outwards while there is room; or for a
 * reader so slow that a full frame arrives before its slice does.
 *
 * Pure: the caller says what is on the shelf, and asks for what the plan names.
 */
import type { Layer } from "./protocol.js";
import type { Item } from "./stream.js";

export interface Reader {
  readonly current: number;
  /** Where the reader was scrolling to last. */
  readonly direction: 1 | -1;
  /** No slice has changed for `REST_MS`. */
  readonly resting: boolean;
}

/** How far a moving reader will have come, in slices. */
export interface Motion {
  /** When a preview asked for now can be on screen. */
  readonly previewLead: number;
  /** When a full frame asked for now can be on screen; null where the link has no room for full frames. */
  readonly fullLead: number | null;
}

export const STILL: Motion = { previewLead: 0, fullLead: null };

/** `here`: we hold the bytes. `coming`: asked for. `barred`: there is none, or it failed a moment ago. */
export type Holding = "missing" | "coming" | "here" | "barred";

/** The part of a missing frame that is still to be asked for; `to` is 0 where the end is not known. */
export interface Rest {
  readonly from: number;
  readonly to: number;
  /** As known, or as guessed. */
  readonly bytes: number;
}

export interface Shelf {
  readonly count: number;
  /** Some frame of this series has a preview layer. */
  readonly hasPreviews: boolean;
  /** How many frames to either side of the reader may be held at once. */
  readonly reach: Readonly<Record<Layer, number>>;
  holding(index: number, layer: Layer): Holding;
  /** Whether any frame at all is missing in this layer. */
  lacks(layer: Layer): boolean;
  rest(index: number, layer: Layer): Rest;
}

export interface Wish {
  readonly index: number;
  readonly layer: Layer;
  /** Nobody waits for it. */
  readonly isIdle: boolean;
}

/** A slice is at rest after this long without a change. */
export const REST_MS = 120;
/** Full frames this close to a moving reader are fetched where there are no previews. */
const CLOSE = 3;
/** Distances of the grids that previews are fetched on. */
export const STRIDES = [16, 8, 4, 2, 1] as const;
/** Of so many steps of a moving reader's search one also looks back. */
const LOOK_BACK = 3;
/** What the server takes at once. */
const MOST_ITEMS = 512;
/** Less than this of a frame is not worth a record of its own. */
const LEAST_PART = 8192;
/** How far beyond its room a request may go to finish a frame. */
const STRETCH = 1.25;

/** All that is missing, most useful first, each frame once. */
export function* wishes(reader: Reader, shelf: Shelf, motion: Motion = STILL): Generator<Wish> {
  const { current, resting, direction } = reader;
  const missing = (index: number, layer: Layer): boolean =>
    index >= 0 && index < shelf.count && shelf.holding(index, layer) === "missing";

  const lead = resting ? current : clamped(current + direction * motion.previewLead, shelf.count);
  const isBetterHere = shelf.holding(current, "full") === "here";
  if (!isBetterHere) {
    if (missing(current, "preview")) yield { index: current, layer: "preview", isIdle: false };
    const only = shelf.holding(current, "preview") === "barred";
    if ((resting || only) && missing(current, "full")) yield { index: current, layer: "full", isIdle: false };
  }
  if (lead !== current && missing(lead, "preview")) yield { index: lead, layer: "preview", isIdle: false };
  for (const index of shelf.lacks("preview") ? onGrids(reader, shelf) : []) {
    const isAsked = index === lead ? lead !== current || !isBetterHere : index === current && !isBetterHere;
    if (!isAsked && missing(index, "preview")) yield { index, layer: "preview", isIdle: false };
  }
  yield* fullAround(reader, shelf, motion);
}

function* fullAround(reader: Reader, shelf: Shelf, { fullLead }: Motion): Generator<Wish> {
  const { current, resting, direction } = reader;
  const { full } = shelf.reach;
  const isIdle = shelf.hasPreviews;
  if (resting || !shelf.hasPreviews) {
    const reach = resting ? full : Math.min(full, CLOSE);
    for (const index of around(current, direction, reach, shelf.count, 1, 1)) {
      if (index !== current && shelf.holding(index, "full") === "missing")
        yield { index, layer: "full", isIdle };
    }
  } else if (fullLead !== null && fullLead <= full) {
    const index = current + direction * fullLead;
    if (index >= 0 && index < shelf.count && shelf.holding(index, "full") === "missing") {
      yield { index, layer: "full", isIdle };
    }
  }
}

/** Every index within reach of a preview once: on the grid of 16 outwards from the reader, then on that of 8, … */
function* onGrids({ current, direction, resting }: Reader, shelf: Shelf): Generator<number> {
  for (const stride of STRIDES) {
    const everyBack = resting ? 1 : LOOK_BACK;
    for (const index of around(current, direction, shelf.reach.preview, shelf.count, stride, everyBack)) {
      if (stride === STRIDES[0] || index % (2 * stride) !== 0) yield index;
    }
  }
}

/** Multiples of `stride` at most `reach` from `current`, nearest first; one step back after `everyBack` ahead. */
function* around(
  current: number,
  direction: 1 | -1,
  reach: number,
  count: number,
  stride: number,
  everyBack: number,
): Generator<number> {
  const least = Math.max(current - reach, 0);
  const most = Math.min(current + reach, count - 1);
  const down = Math.floor(current / stride) * stride;
  const up = Math.ceil(current / stride) * stride;
  let ahead = direction === 1 ? up : down;
  let behind = direction === 1 ? down : up;
  const inside = (index: number): boolean => index >= least && index <= most;
  if (behind === ahead) {
    yield ahead;
    ahead += direction * stride;
    behind -= direction * stride;
  }
  while (inside(ahead) || inside(behind)) {
    for (let step = 0; step < everyBack && inside(ahead); step++) {
      yield ahead;
      ahead += direction * stride;
    }
    if (inside(behind)) {
      yield behind;
      behind -= direction * stride;
    }
  }
}

export interface Plan {
  readonly items: readonly Item[];
  /** About how many bytes they are. */
  readonly bytes: number;
}

/**
 * The next request: about `room` bytes of what is wanted most, at least one item where anything is wanted.
 *
 * A full frame is cut to the room, so that a reader who moves waits for a part and not for a whole.
 *
 * @param mayIdle Also what nobody waits for.
 */
export function plan(reader: Reader, shelf: Shelf, motion: Motion, room: number, mayIdle: boolean): Plan {
  const items: Item[] = [];
  let bytes = 0;
  for (const { index, layer, isIdle } of wishes(reader, shelf, motion)) {
    if (isIdle && !mayIdle) break;
    const rest = shelf.rest(index, layer);
    const left = Math.max(room - bytes, 0);
    const isWhole =
      layer === "preview" || rest.to === 0 || rest.bytes <= Math.max(left * STRETCH, LEAST_PART);
    if (items.length > 0 && (isWhole ? rest.bytes > left * STRETCH : left < LEAST_PART)) break;
    const part = isWhole ? rest.bytes : Math.max(left, LEAST_PART);
    items.push({ index, layer, from: rest.from, to: isWhole ? rest.to : rest.from + part });
    bytes += part;
    if (bytes >= room || items.length >= MOST_ITEMS) break;
  }
  return { items, bytes };
}

function clamped(index: number, count: number): number {
  return Math.min(Math.max(index, 0), count - 1);
}
