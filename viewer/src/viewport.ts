/**
 * Where the image lies in the view: plain affine geometry in CSS pixels, y downwards.
 *
 * Image coordinates are (column, row); the first pixel covers 0 to 1 in both, its middle is (0.5, 0.5).
 */

import type { FrameInfo, Geometry } from "./protocol.js";

export interface Size {
  readonly width: number;
  readonly height: number;
}

export interface Point {
  readonly x: number;
  readonly y: number;
}

/**
 * From the image to the view: x' = a·column + c·row + x and y' = b·column + d·row + y, as a canvas has it.
 *
 * Rotated, mirrored and stretched, but never sheared: columns and rows stay at right angles.
 */
export interface Placement {
  readonly a: number;
  readonly b: number;
  readonly c: number;
  readonly d: number;
  readonly x: number;
  readonly y: number;
}

/** One of the eight ways to lay down a rectangle: the linear part of a placement, of -1, 0 and 1 alone. */
export type Turn = Pick<Placement, "a" | "b" | "c" | "d">;

export const UPRIGHT: Turn = { a: 1, b: 0, c: 0, d: 1 };
/** A quarter clockwise, a quarter counterclockwise, left and right changed, top and bottom changed. */
export const CLOCKWISE: Turn = { a: 0, b: 1, c: -1, d: 0 };
export const COUNTERCLOCKWISE: Turn = { a: 0, b: -1, c: 1, d: 0 };
export const LEFT_RIGHT: Turn = { a: -1, b: 0, c: 0, d: 1 };
export const UPSIDE_DOWN: Turn = { a: 1, b: 0, c: 0, d: -1 };

const GREATEST_ZOOM = 32; // CSS pixels per image column

/** `first`, and then `after`, as seen on the screen. */
export function turned<T extends Turn>(first: T, after: Turn): T {
  return {
    ...first,
    a: after.a * first.a + after.c * first.b + 0, // + 0 makes a plain zero of a negative one
    b: after.b * first.a + after.d * first.b + 0,
    c: after.a * first.c + after.c * first.d + 0,
    d: after.b * first.c + after.d * first.d + 0,
  };
}

/** `placement` turned about the middle of the view. */
export function turnedInView(placement: Placement, after: Turn, view: Size): Placement {
  const x = placement.x - view.width / 2;
  const y = placement.y - view.height / 2;
  return {
    ...turned(placement, after),
    x: after.a * x + after.c * y + view.width / 2,
    y: after.b * x + after.d * y + view.height / 2,
  };
}

/**
 * The placement that shows the whole image, centred.
 *
 * @param image Columns and rows.
 * @param aspect Height of a pixel divided by its width (row spacing / column spacing).
 */
export function fitted(view: Size, image: Size, aspect: number, turn: Turn = UPRIGHT): Placement {
  const tall = image.height * aspect;
  const lies = turn.a === 0;
  const scale = Math.min(view.width / (lies ? tall : image.width), view.height / (lies ? image.width : tall));
  const linear = {
    a: turn.a * scale,
    b: turn.b * scale,
    c: turn.c * scale * aspect,
    d: turn.d * scale * aspect,
  };
  return {
    ...linear,
    x: (view.width - linear.a * image.width - linear.c * image.height) / 2,
    y: (view.height - linear.b * image.width - linear.d * image.height) / 2,
  };
}

/** CSS pixels that one column takes. */
export function scaleOf({ a, b }: Placement): number {
  return Math.hypot(a, b);
}

/** Where a point of the image is in the view. */
export function toView({ a, b, c, d, x, y }: Placement, at: Point): Point {
  return { x: a * at.x + c * at.y + x, y: b * at.x + d * at.y + y };
}

/** Which point of the image, in columns and rows, is under a point of the view. */
export function toImage(placement: Placement, at: Point): Point {
  return toView(inverse(placement), at);
}

/** From the view back to the image. */
export function inverse({ a, b, c, d, x, y }: Placement): Placement {
  const area = a * d - b * c;
  const back = { a: d / area, b: -b / area, c: -c / area, d: a / area };
  return { ...back, x: -(back.a * x + back.c * y), y: -(back.b * x + back.d * y) };
}

/** `placement` enlarged by `factor`, the point under (`x`, `y`) staying where it is. */
export function zoomAbout(
  placement: Placement,
  factor: number,
  x: number,
  y: number,
  least: number,
): Placement {
  const before = scaleOf(placement);
  const by = Math.min(Math.max(before * factor, least), Math.max(GREATEST_ZOOM, least)) / before;
  const { a, b, c, d } = placement;
  return {
    a: a * by,
    b: b * by,
    c: c * by,
    d: d * by,
    x: x - (x - placement.x) * by,
    y: y - (y - placement.y) * by,
  };
}

/** `placement` moved, but never so far that the image's edge leaves the middle of the view. */
export function panBy(placement: Placement, dx: number, dy: number, view: Size, image: Size): Placement {
  const box = boundsOf(placement, image);
  return {
    ...placement,
    x: placement.x + kept(dx, box.left, box.right, view.width / 2),
    y: placement.y + kept(dy, box.top, box.bottom, view.height / 2),
  };
}

/** As much of a move as leaves `middle` between the two ends. */
function kept(move: number, least: number, most: number, middle: number): number {
  return Math.min(Math.max(move, middle - most), middle - least);
}

export interface Box {
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
}

/** The part of the view that the image covers. */
export function boundsOf(placement: Placement, image: Size): Box {
  const near = toView(placement, { x: 0, y: 0 });
  const far = toView(placement, { x: image.width, y: image.height });
  return {
    left: Math.min(near.x, far.x),
    top: Math.min(near.y, far.y),
    right: Math.max(near.x, far.x),
    bottom: Math.max(near.y, far.y),
  };
}

/** Distance of neighbouring rows and columns of a frame: its own, since a localizer lies among others. */
export function spacingMm(
  geometry: Pick<Geometry, "row_spacing_mm" | "column_spacing_mm">,
  info: Pick<FrameInfo, "spacing_mm">,
): readonly [row: number, column: number] | null {
  const { row_spacing_mm: row, column_spacing_mm: column } = geometry;
  const ofSet = row && column ? ([row, column] as const) : null;
  return info.spacing_mm === undefined ? ofSet : info.spacing_mm;
}

/**
 * A round length for the scale bar.
 *
 * @param mmPerPx Millimetres in one CSS pixel.
 * @param longest Greatest length of the bar in CSS pixels.
 * @returns Length in millimetres (1, 2 or 5 times a power of ten) and in CSS pixels.
 */
export function scaleBar(mmPerPx: number, longest: number): { readonly mm: number; readonly px: number } {
  const most = mmPerPx * longest;
  const power = 10 ** Math.floor(Math.log10(most));
  const mm = power * (most / power >= 5 ? 5 : most / power >= 2 ? 2 : 1);
  return { mm, px: mm / mmPerPx };
}
