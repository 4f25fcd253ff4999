/** The buttons that change how the image looks and moves: windows, turns, cine. */
import { button, el, setText } from "../dom.js";
import type { Pane } from "../pane.js";
import { Cine, LEAST_FPS, MOST_FPS, playsItself } from "./cine.js";
import type { Action, Actions } from "./hotkeys.js";
import { changeIcon, type IconName } from "./icons.js";
import { press, toolButton } from "./toolbar.js";

/** The windows, and what one finger does. */
export class WindowTools {
  readonly content: HTMLElement;
  readonly #presets = new Map<string, HTMLButtonElement>();
  readonly #mode: HTMLButtonElement;
  readonly #now = el("p", { class: "faint now" });

  constructor(
    private readonly pane: Pane,
    onMode: () => void,
  ) {
    this.#mode = toolButton("window-mode", "window", "Drag sets window", onMode);
    this.content = el("div", { class: "tool-grid presets" }, this.#mode);
    pane.presets.forEach((preset, place) => {
      const made = button(preset.label, { class: "tool preset" }, () => pane.applyPreset(preset));
      made.dataset.testid = `preset-${preset.name}`;
      made.title = `${preset.label} (${place + 1})`;
      if (typeof preset.window === "object") {
        const { width, center } = preset.window;
        made.append(el("span", { class: "tool-name faint", "aria-hidden": "true" }, `${width} / ${center}`));
      }
      this.#presets.set(preset.name, made);
      this.content.append(made);
    });
    if (pane.presets.length === 0) this.content.replaceChildren(this.#now);
    setText(this.#now, "A colour image has no window.");
  }

  refresh(): void {
    press(this.#mode, this.pane.mode === "window");
    for (const [name, made] of this.#presets) press(made, name === this.pane.preset);
  }
}

/** Invert, turns, flips, fit, what is written, and the film. */
export class ViewTools {
  readonly content: HTMLElement;
  readonly actions: Actions;
  readonly #invert: HTMLButtonElement;
  readonly #overlays: HTMLButtonElement;
  readonly #play: HTMLButtonElement;
  readonly #cine = new Cine();
  readonly #fps: HTMLInputElement;
  readonly #rate = el("output", { class: "rate", for: "fps" });

  constructor(
    private readonly pane: Pane,
    actions: Actions,
    ...more: HTMLElement[]
  ) {
    const tool = (action: Action, drawing: IconName, label: string): HTMLButtonElement =>
      toolButton(action, drawing, label, () => actions[action]?.());
    this.#invert = tool("invert", "invert", "Invert");
    this.#overlays = toolButton("overlays", "overlays", "Text", () => this.#toggleOverlays());
    this.#play = toolButton("cine", "play", "Cine", () => this.toggle());
    this.#fps = el("input", {
      class: "fps",
      id: "fps",
      type: "range",
      min: LEAST_FPS,
      max: MOST_FPS,
      step: 1,
      value: this.#cine.fps,
      "aria-label": "Slices a second",
      "data-testid": "fps",
    });
    this.#fps.addEventListener("input", () => this.#setRate(this.#fps.valueAsNumber));
    this.#setRate(this.#cine.fps);
    this.#tell();
    const film = el("div", { class: "film", hidden: pane.count < 2 }, this.#play, this.#fps, this.#rate);
    this.content = el(
      "div",
      { class: "tool-grid" },
      this.#invert,
      tool("rotate-left", "rotate-left", "Rotate left"),
      tool("rotate-right", "rotate-right", "Rotate right"),
      tool("flip-horizontal", "flip-horizontal", "Flip left–right"),
      tool("flip-vertical", "flip-vertical", "Flip top–bottom"),
      tool("fit", "fit", "Fit"),
      tool("reset", "reset", "Reset"),
      this.#overlays,
      ...more,
      film,
    );
    this.actions = {
      cine: () => this.toggle(),
      slower: () => this.#setRate(this.#cine.fps - 5),
      faster: () => this.#setRate(this.#cine.fps + 5),
      overlays: () => this.#toggleOverlays(),
    };
  }

  /** Let touching the image stop the film, and begin it where the series is one. */
  start(signal: AbortSignal): void {
    for (const name of ["pointerdown", "wheel"] as const) {
      this.pane.root.addEventListener(name, () => this.#stop(), { signal, passive: true });
    }
    signal.addEventListener("abort", () => this.#cine.pause());
    const wantsStillness = matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (playsItself(this.pane.set.modality, this.pane.count, wantsStillness)) this.toggle();
  }

  refresh(): void {
    press(this.#invert, this.pane.isInverted);
    press(this.#overlays, this.pane.overlays.areShown);
  }

  toggle(): void {
    if (this.#cine.isPlaying) {
      this.#stop();
      return;
    }
    if (this.pane.count < 2) return;
    this.#cine.play(performance.now());
    this.#tell();
    requestAnimationFrame((now) => this.#turn(now));
  }

  #turn(now: number): void {
    if (!this.#cine.isPlaying) return;
    const slices = this.#cine.due(now);
    if (slices > 0) this.pane.goTo((this.pane.index + slices) % this.pane.count);
    requestAnimationFrame((next) => this.#turn(next));
  }

  #stop(): void {
    if (!this.#cine.isPlaying) return;
    this.#cine.pause();
    this.#tell();
  }

  #tell(): void {
    const { isPlaying } = this.#cine;
    press(this.#play, isPlaying);
    const drawing = this.#play.querySelector("svg");
    if (drawing) changeIcon(drawing, isPlaying ? "pause" : "play");
  }

  #setRate(fps: number): void {
    this.#cine.fps = fps;
    this.#fps.value = String(this.#cine.fps);
    setText(this.#rate, `${this.#cine.fps}/s`);
  }

  #toggleOverlays(): void {
    this.pane.overlays.toggle();
    this.refresh();
  }
}
