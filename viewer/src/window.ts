/**
 * Windows: which stored values become which grey.
 *
 * Centre and width are in modality units (Hounsfield for CT) after slope and intercept, as PS3.3
 * C.11.2.1.2.1 defines them for the LINEAR function.
 */

import type { GreyPixels } from "./pixels.js";
import type { FrameInfo } from "./protocol.js";

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
  FULL_RANGE,
];

/** The presets of a modality, in the order of their number keys. */
export function presetsFor(modality: string | null): readonly Preset[] {
  return modality === "CT" ? CT_PRESETS : [AS_STORED, FULL_RANGE];
}

/** As the scanner meant it; without that, soft tissue for CT and everything for the rest. */
export function firstPreset(modality: string | null, info: FrameInfo): string {
  if (storedWindow(info)) return AS_STORED.name;
  return modality === "CT" ? "soft-tissue" : FULL_RANGE.name;
}

/** The window a preset stands for on one frame; where none is stored, as stored means the full range. */
export function windowOf(
  preset: Preset,
  info: FrameInfo,
  pixels: Pick<GreyPixels, "least" | "most">,
): Window {
  if (typeof preset.window === "object") return preset.window;
  const stored = preset.window === "as-stored" ? storedWindow(info) : null;
  if (stored) return stored;
  const ends = [pixels.least, pixels.most].map((value) => value * info.slope + info.intercept);
  return fullRange(Math.min(...ends), Math.max(...ends));
}

function storedWindow({ window_center: center, window_width: width }: FrameInfo): Window | null {
  return center === null || width === null ? null : { center, width: Math.max(width, 1) };
}

export type VoiFunction = FrameInfo["voi_function"];

/** The value at which black ends, and the distance from there to white; a sigmoid curve only leans on them. */
export interface Ramp {
  readonly low: number;
  readonly range: number;
  readonly curve?: "sigmoid";
}

const STEEP = 1e-6;

/**
 * The window function of PS3.3 C.11.2.1.2 as a ramp: grey = (value - low) / range, cut at 0 and 1.
 *
 * A LINEAR window of width 1 is a threshold: black up to centre - 0.5, white above.
 */
export function rampOf({ center, width }: Window, voi: VoiFunction = "linear"): Ramp {
  if (voi === "linear") {
    return width > 1 ? { low: center - width / 2, range: width - 1 } : { low: center - 0.5, range: STEEP };
  }
  const range = Math.max(width, STEEP);
  const ramp = { low: center - range / 2, range };
  return voi === "sigmoid" ? { ...ramp, curve: voi } : ramp;
}

/** Grey in 0..1 of one value in modality units. The shader does the same. */
export function grey(value: number, { low, range, curve }: Ramp): number {
  const part = (value - low) / range;
  return curve ? 1 / (1 + Math.exp(2 - 4 * part)) : Math.min(Math.max(part, 0), 1);
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
