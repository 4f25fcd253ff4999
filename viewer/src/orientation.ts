/**
 * Which way the patient lies on the screen.
 *
 * DICOM's patient axes are LPS (PS3.3 C.7.6.2.1.1): x grows towards the patient's left, y towards the back
 * (posterior), z towards the head.
 */
import type { Direction, FrameInfo, Geometry } from "./protocol.js";
import { type Turn, UPRIGHT } from "./viewport.js";

const TOWARDS = ["L", "P", "H"] as const;
const AWAY = ["R", "A", "F"] as const;
/** A component below this (about 11 degrees) does not earn a letter. */
const LEAST = 0.2;

/**
 * The letters of a direction, the strongest first: `[1, 0, 0]` is "L", `[0, 0.8, -0.6]` is "PF".
 *
 * @param direction Direction cosines in LPS; need not be of length one.
 */
export function letters(direction: Direction): string {
  const length = Math.hypot(...direction);
  if (length === 0) return "";
  return direction
    .map((component, axis) => ({ axis, share: component / length }))
    .filter(({ share }) => Math.abs(share) >= LEAST)
    .sort((a, b) => Math.abs(b.share) - Math.abs(a.share))
    .map(({ axis, share }) => (share > 0 ? TOWARDS : AWAY)[axis])
    .join("");
}

export interface EdgeLetters {
  readonly left: string;
  readonly right: string;
  readonly top: string;
  readonly bottom: string;
}

/** What rows and columns of a frame run towards; empty where it does not say. A localizer lies across its series. */
export function sidesOf(
  { orientation, sides }: Pick<FrameInfo, "orientation" | "sides">,
  { row_direction, column_direction }: Pick<Geometry, "row_direction" | "column_direction">,
): readonly [row: string, column: string] {
  if (orientation?.length === 6) {
    const [a, b, c, d, e, f] = orientation as [number, number, number, number, number, number];
    return [letters([a, b, c]), letters([d, e, f])];
  }
  if (sides) return sides;
  if (orientation === null || !row_direction || !column_direction) return ["", ""];
  return [letters(row_direction), letters(column_direction)];
}

/**
 * What each edge of the view faces.
 *
 * @param row What a row runs towards, in which columns are counted; `column` the other way. Letters, or none.
 * @param turn How the image is laid down in the view.
 */
export function edgeLetters(row: string, column: string, turn: Turn = UPRIGHT): EdgeLetters {
  const right = turn.a ? along(row, turn.a) : along(column, turn.c);
  const bottom = turn.b ? along(row, turn.b) : along(column, turn.d);
  return { left: along(right, -1), right, top: along(bottom, -1), bottom };
}

const OPPOSITE: Readonly<Record<string, string>> = { L: "R", R: "L", P: "A", A: "P", H: "F", F: "H" };

function along(word: string, sign: number): string {
  return sign > 0 ? word : [...word].map((letter) => OPPOSITE[letter] ?? letter).join("");
}
