/**
 * Which way the patient lies on the screen.
 *
 * DICOM's patient axes are LPS (PS3.3 C.7.6.2.1.1): x grows towards the patient's left, y towards the back
 * (posterior), z towards the head.
 */
import type { Direction } from "./protocol.js";

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

/** What each edge of the image faces; empty where the image does not say how it lies. */
export function edgeLetters(row: Direction | null, column: Direction | null): EdgeLetters {
  return {
    left: row ? letters(opposite(row)) : "",
    right: row ? letters(row) : "",
    top: column ? letters(opposite(column)) : "",
    bottom: column ? letters(column) : "",
  };
}

function opposite([x, y, z]: Direction): Direction {
  return [-x, -y, -z];
}
