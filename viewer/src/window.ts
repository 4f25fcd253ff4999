/**
 * Windows: which stored values become which grey.
 *
 * Centre and width are in modality units (Hounsfield for CT) after slope and intercept, as PS3.3
 * C.11.2.1.2.1 defines them for the LINEAR function.
 */

export interface Window {
  readonly center: number;
  readonly width: number;
}

export interface Preset {
  readonly name: string;
  readonly label: string;
  readonly window: Window | "as-stored" | "full-range";
}

const AS_STORED: Preset = { name: "as-stored", label: "As stored", window: "as-stored" };
const FULL_RANGE: Preset = { name: "full-range", label: "Full range", window: "full-range" };

const CT_PRESETS: readonly Preset[] = [
  { name: "soft-tissue", label: "Soft tissue", window: { center: 40, width: 400 } },
  { name: "lung", label: "Lung", window: { center: -600, width: 1500 } },
  { name: "liver", label: "Liver", window: { center: 90, width: 150 } },
  { name: "bone", label: "Bone", window: { center: 480, width: 2500 } },
  { name: "brain", label: "Brain", window: { center: 40, width: 80 } },
  AS_STORED,
];

/** The presets of a modality, in the order of their number keys. */
export function presetsFor(modality: string | null): readonly Preset[] {
  return modality === "CT" ? CT_PRESETS : [AS_STORED, FULL_RANGE];
}

/** The least value that is not black, and the distance from there to white. */
export interface Ramp {
  readonly low: number;
  readonly range: number;
}

/** The LINEAR window function as a ramp: grey = (value - low) / range, cut at 0 and 1. */
export function rampOf({ center, width }: Window): Ramp {
  const range = Math.max(width - 1, 1e-6); // a width of 1 is a threshold
  return { low: center - 0.5 - range / 2, range };
}

/** Grey in 0..1 of one value in modality units. The shader does the same. */
export function grey(value: number, ramp: Ramp): number {
  return Math.min(Math.max((value - ramp.low) / ramp.range, 0), 1);
}

/** The window that shows exactly the values from `least` to `most`. */
export function fullRange(least: number, most: number): Window {
  const width = Math.max(most - least, 0) + 1;
  return { center: (least + most) / 2 + 0.5, width };
}

/**
 * The window after a drag of `dx`, `dy` screen pixels: right widens, down raises the centre (darker).
 *
 * Steps are relative to the width, so that a narrow window is set as finely as a wide one is coarsely.
 */
export function draggedWindow({ center, width }: Window, dx: number, dy: number): Window {
  return {
    center: center + (dy * Math.max(width, 1)) / 300,
    width: Math.min(Math.max(width * Math.exp(dx / 250), 1), 131072),
  };
}

/** "W 1500 L -600", with decimals only where the numbers are small. */
export function describeWindow({ center, width }: Window): string {
  const digits = width < 10 ? 2 : 0;
  return `W ${width.toFixed(digits)} L ${center.toFixed(digits).replace(/^-0$/, "0")}`;
}
