/**
 * Two series that are scrolled as one, and whether they are of one patient.
 *
 * Slices are matched by their place in millimetres where the two lie alike in the patient, else by how far through
 * the series they are. Numbers alone prove no anatomy: two examinations seldom share a frame of reference, so the
 * reader can say which two slices belong together, and the rest follows.
 */
import type { Direction, ImageSet, Summary } from "./protocol.js";
import { type Placement, type Point, type Size, scaleOf, toView } from "./viewport.js";
import { cross, dot } from "./volume.js";

/** Directions closer than this (10 degrees) count as one. */
const ALIKE = Math.cos((10 * Math.PI) / 180);

export type LinkKind = "same-frame" | "aligned" | "fraction";
/** Which of the two panes. */
export type Which = 0 | 1;

type Places = readonly [readonly number[], readonly number[]];

/** Which slice of the other series belongs to one of this. */
export class Link {
  readonly kind: LinkKind;
  /** Of each slice: mm along the first series' normal, or how far through the series it is, 0 to 1. */
  readonly #places: Places;
  /** What is added to a place of the first to find that of the second. */
  #offset = 0;
  #isByHand = false;

  /** @param isSameFrame What the server knows of their frames of reference; null where it knows nothing. */
  constructor(first: ImageSet, second: ImageSet, isSameFrame: boolean | null) {
    const inMm = commonPlaces(first, second);
    this.kind = inMm ? (isSameFrame ? "same-frame" : "aligned") : "fraction";
    this.#places = inMm ?? [fractions(first.frame_list.length), fractions(second.frame_list.length)];
    // Without a common frame of reference the middles are the best first guess.
    if (this.kind === "aligned") this.#offset = middleOf(this.#places[1]) - middleOf(this.#places[0]);
  }

  /** The reader has said where they belong together. */
  get isByHand(): boolean {
    return this.#isByHand;
  }

  /** The slice of the other series that is nearest to slice `index` of series `which`. */
  follow(which: Which, index: number): number {
    const place = this.#places[which][index] ?? 0;
    const wanted = place + (which === 0 ? this.#offset : -this.#offset);
    return nearest(this.#places[which === 0 ? 1 : 0], wanted);
  }

  /** These two slices belong together. */
  here(first: number, second: number): void {
    this.#offset = (this.#places[1][second] ?? 0) - (this.#places[0][first] ?? 0);
    this.#isByHand = true;
  }
}

/** Where the slices of both stand along the first one's normal; null where they do not lie alike or do not tell. */
function commonPlaces(first: ImageSet, second: ImageSet): Places | null {
  const normal = normalOf(first);
  const other = normalOf(second);
  if (!normal || !other || Math.abs(dot(normal, other)) < ALIKE) return null;
  const ours = placesAlong(first, normal);
  const theirs = placesAlong(second, normal);
  return ours && theirs ? [ours, theirs] : null;
}

function normalOf({ geometry: { row_direction, column_direction } }: ImageSet): Direction | null {
  return row_direction && column_direction ? cross(row_direction, column_direction) : null;
}

function placesAlong({ frame_list }: ImageSet, normal: Direction): number[] | null {
  const places = frame_list.map(({ position_mm }) => (position_mm ? dot(position_mm, normal) : Number.NaN));
  return places.some(Number.isNaN) ? null : places;
}

function fractions(count: number): number[] {
  return Array.from({ length: count }, (_, index) => (count > 1 ? index / (count - 1) : 0));
}

function middleOf(places: readonly number[]): number {
  const least = places.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY);
  return (least + places.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY)) / 2;
}

function nearest(places: readonly number[], wanted: number): number {
  let best = 0;
  places.forEach((place, index) => {
    if (Math.abs(place - wanted) < Math.abs((places[best] as number) - wanted)) best = index;
  });
  return best;
}

/** What a pane shows, as far as laying out another one alike needs it. */
export interface Laid {
  readonly placement: Placement;
  readonly view: Size;
  readonly image: Size;
  /** Millimetres of a column; null where the image does not tell. */
  readonly spacing: number | null;
}

/** `mine` enlarged and moved as `theirs` is: as many pixels to the millimetre, its middle as far off the view's. */
export function laidLike(theirs: Laid, mine: Laid): Placement {
  const perMm = scaleOf(theirs.placement) / (theirs.spacing ?? 1);
  const by = (perMm * (mine.spacing ?? 1)) / scaleOf(mine.placement);
  const { a, b, c, d } = mine.placement;
  const linear = { a: a * by, b: b * by, c: c * by, d: d * by, x: 0, y: 0 };
  const off = offCentre(theirs);
  const heart = toView(linear, centre(mine.image));
  return {
    ...linear,
    x: mine.view.width / 2 + off.x - heart.x,
    y: mine.view.height / 2 + off.y - heart.y,
  };
}

function offCentre({ placement, view, image }: Laid): Point {
  const at = toView(placement, centre(image));
  return { x: at.x - view.width / 2, y: at.y - view.height / 2 };
}

function centre({ width, height }: Size): Point {
  return { x: width / 2, y: height / 2 };
}

type Person = Pick<Summary, "patient_id" | "patient_name">;

/** What is wrong with looking at these two side by side, as a sentence; null where nothing is. */
export function identityWarning(first: Person, second: Person): string | null {
  const ids = [first, second].map(({ patient_id }) => patient_id?.trim() ?? "");
  if (!ids[0] || !ids[1]) {
    return "One of these does not tell its patient: nothing shows that both are of the same one.";
  }
  if (ids[0] !== ids[1]) return "These are images of two different patients.";
  const names = [first, second].map(({ patient_name }) =>
    (patient_name ?? "").toUpperCase().replace(/[\^\s=]+$/, ""),
  );
  return names[0] === names[1]
    ? null
    : "The patient IDs agree and the names do not: check that it is one patient.";
}

/** "2 years", "5 months", "12 days" or "same day" between two dates written YYYYMMDD; "" where one is missing. */
export function timeBetween(first: string | null, second: string | null): string {
  const [from, to] = [first, second].map((date) =>
    date && /^\d{8}$/.test(date)
      ? Date.UTC(+date.slice(0, 4), +date.slice(4, 6) - 1, +date.slice(6))
      : Number.NaN,
  ) as [number, number];
  const days = Math.round(Math.abs(to - from) / 86_400_000);
  if (Number.isNaN(days)) return "";
  if (days === 0) return "same day";
  const told =
    days < 60
      ? [days, "day"]
      : days < 730
        ? [Math.round(days / 30.44), "month"]
        : [Math.round(days / 365.25), "year"];
  const [count, unit] = told as [number, string];
  return `${count} ${unit}${count === 1 ? "" : "s"} ${to < from ? "earlier" : "later"}`;
}
