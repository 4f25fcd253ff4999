/** The greys of one series: which window, by which preset, inverted or not. */
import type { Shown } from "./frames.js";
import type { FrameInfo, ImageSet } from "./protocol.js";
import type { Look } from "./renderer.js";
import { firstPreset, type Preset, presetsFor, type Ramp, rampOf, type Window, windowOf } from "./window.js";

const NO_RAMP: Ramp = { low: 0, range: 1 };

export class Windowing {
  /** None for colour, which has no window. */
  readonly presets: readonly Preset[];
  isInverted = false;
  #window: Window | null = null;
  #preset: Preset | null = null;
  #wasRough = false;

  constructor(private readonly series: ImageSet) {
    const isColour = series.frame_list.every((info) => info.samples === 3);
    this.presets = isColour ? [] : presetsFor(series.modality);
  }

  get window(): Window | null {
    return this.#window;
  }

  /** The name of the preset in use. */
  get preset(): string | null {
    return this.#preset?.name ?? null;
  }

  /** A window of the reader's own. */
  set(window: Window): void {
    this.#use(window, null);
  }

  apply(preset: Preset, info: FrameInfo | undefined, shown: Shown | null): void {
    if (!info || shown?.pixels.kind !== "grey") return;
    this.#use(windowOf(preset, info, shown.pixels), preset);
    this.#wasRough = preset.window === "full-range" && shown.layer === "preview";
  }

  /** As it was opened. */
  reset(): void {
    this.isInverted = false;
    this.#window = null;
  }

  /** How the stored values of a frame become grey now. */
  look(info: FrameInfo, shown: Shown): Look {
    this.#follow(info, shown);
    const { slope, intercept } = info;
    // The frame's own curve belongs to its own window and to what a reader makes of it, not to a preset's numbers.
    const voi = this.#preset && this.#preset.window !== "as-stored" ? "linear" : info.voi_function;
    return {
      slope,
      intercept,
      ramp: this.#window ? rampOf(this.#window, voi) : NO_RAMP,
      invert: this.isInverted !== (info.photometric === "MONOCHROME1"),
    };
  }

  /** The first window, the window that a frame has of its own, and the range that a preview only guessed. */
  #follow(info: FrameInfo, shown: Shown): void {
    if (!this.#window) {
      const first = firstPreset(this.series.modality, info);
      const preset = this.presets.find(({ name }) => name === first);
      if (preset) this.apply(preset, info, shown);
    } else if (this.#preset?.window === "as-stored" && info.window_center !== null) {
      this.apply(this.#preset, info, shown);
    } else if (this.#preset && this.#wasRough && shown.layer === "full") {
      this.apply(this.#preset, info, shown);
    }
  }

  #use(window: Window, preset: Preset | null): void {
    this.#window = window;
    this.#preset = preset;
  }
}
