/** What of the measurements is under a pointer: plain geometry in CSS pixels of the view. */
import type { Point } from "../viewport.js";
import type { Kind } from "./measure.js";

/** A measurement as it lies on the screen. */
export interface Drawn {
  readonly id: number;
  readonly kind: Kind;
  readonly points: readonly Point[];
}

/** Which measurement, and which of its points; -1 for all of it. */
export interface Hit {
  readonly id: number;
  readonly point: number;
}

/** The nearest handle within `reach` pixels, else the nearest line; the newest where two are even. */
export function hitOf(drawn: readonly Drawn[], at: Point, reach: number): Hit | null {
  return nearest(handlesOf(drawn), at, reach) ?? nearest(linesOf(drawn), at, reach);
}

interface Candidate {
  readonly hit: Hit;
  readonly distance: (at: Point) => number;
}

function nearest(candidates: readonly Candidate[], at: Point, reach: number): Hit | null {
  let best: Hit | null = null;
  let least = reach;
  for (const { hit, distance } of candidates) {
    const found = distance(at);
    if (found > least) continue;
    least = found;
    best = hit;
  }
  return best;
}

function handlesOf(drawn: readonly Drawn[]): Candidate[] {
  return drawn.flatMap(({ id, points }) =>
    points.map((place, point) => ({ hit: { id, point }, distance: (at: Point) => between(place, at) })),
  );
}

function linesOf(drawn: readonly Drawn[]): Candidate[] {
  return drawn.map(({ id, kind, points }) => ({
    hit: { id, point: -1 },
    distance: (at: Point) =>
      kind === "ellipse" ? toEllipse(points, at) : Math.min(...legs(points).map((leg) => toLine(...leg, at))),
  }));
}

function legs(points: readonly Point[]): (readonly [Point, Point])[] {
  return points.slice(1).map((end, at) => [points[at] as Point, end] as const);
}

export function between(one: Point, other: Point): number {
  return Math.hypot(one.x - other.x, one.y - other.y);
}

/** From `at` to the line that ends in both points. */
export function toLine(from: Point, to: Point, at: Point): number {
  const length = (to.x - from.x) ** 2 + (to.y - from.y) ** 2;
  const along =
    length === 0 ? 0 : ((at.x - from.x) * (to.x - from.x) + (at.y - from.y) * (to.y - from.y)) / length;
  const part = Math.min(Math.max(along, 0), 1);
  return between({ x: from.x + part * (to.x - from.x), y: from.y + part * (to.y - from.y) }, at);
}

/** From `at` to the outline, near enough for a finger: along the ray from the middle. */
function toEllipse([one, other]: readonly Point[], at: Point): number {
  if (!one || !other) return Number.POSITIVE_INFINITY;
  const x = at.x - (one.x + other.x) / 2;
  const y = at.y - (one.y + other.y) / 2;
  const share = Math.hypot((2 * x) / (other.x - one.x), (2 * y) / (other.y - one.y));
  return share === 0 ? Number.POSITIVE_INFINITY : Math.abs(1 - 1 / share) * Math.hypot(x, y);
}
