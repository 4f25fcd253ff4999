/**
 * A pane: one series on one canvas, from the finger to the pixels.
 *
 * The stack view has one, a comparison has two. Whoever owns a pane puts `root` on the page, calls `start`, then
 * moves it by its methods and hears of everything that changed by `onChange`, which is called after each drawing;
 * what lies over the image (measurements, crosshairs) is drawn there too, by `viewPoint` and `imagePoint`.
 */
import { Camera } from "./camera.js";
import { sharedDecoder } from "./decoder.js";
import { device, shareOf } from "./device.js";
import { el } from "./dom.js";
import { Frames, type Shown } from "./frames.js";
import { type DragMode, Gestures, type Grip, type Intentions, listen } from "./gestures.js";
import { Overlays, type Quality } from "./overlays.js";
import type { FrameInfo, ImageSet } from "./protocol.js";
import { type Renderer, rendererFor } from "./renderer.js";
import { drawnAs, type SeenSlices, seenOf } from "./seen.js";
import type { Series } from "./series.js";
import { EdgeSlider } from "./slider.js";
import { countDrawing } from "./stats.js";
import { Travel } from "./travel.js";
import * as viewport from "./viewport.js";
import { describeWindow, draggedWindow, type Preset, type Window } from "./window.js";
import { Windowing } from "./windowing.js";

const GREATEST_RATIO = 3;

export class Pane {
  readonly set: ImageSet;
  readonly root = el("div", { class: "stage" });
  readonly overlays: Overlays;
  readonly canvas = el("canvas", { "data-testid": "stack-canvas", tabindex: 0, role: "img" });
  readonly #slider: EdgeSlider;
  readonly #windowing: Windowing;
  readonly #camera = new Camera(() => this.viewSize());
  readonly #gestures: Gestures;
  readonly #travel: Travel;
  readonly #frames: Frames;
  readonly #seen: SeenSlices;
  readonly #still = matchMedia("(prefers-reduced-motion: reduce)");
  readonly #listeners = new Set<(pane: Pane) => void>();
  readonly #leaving = new AbortController();
  #renderer: Renderer | null = null;
  #ratio = 1;
  #shown: Shown | null = null;
  #drawRequest = 0;

  /**
   * @param isMain It tells tests by `document.body.dataset` what it shows; one pane of a page does.
   * @param panes How many there are on the page: they share what memory may be taken.
   */
  constructor(
    { set, source }: Series,
    private readonly isMain = true,
    panes = 1,
  ) {
    const infos = set.frame_list;
    this.set = set;
    this.#seen = seenOf(set);
    this.#travel = new Travel(infos.length, () => this.#moved());
    this.#frames = new Frames(infos, source, sharedDecoder(), shareOf(device().budgets, panes), () =>
      this.redraw(),
    );
    this.overlays = new Overlays(set);
    this.#windowing = new Windowing(set);
    this.#gestures = new Gestures(this.#intentions());
    if (this.#windowing.presets.length === 0) this.#gestures.modes.mouse = "scroll";
    this.#slider = new EdgeSlider(infos.length, (index) => this.goTo(index));
    this.root.append(this.canvas, this.overlays.root, this.#slider.input, this.#slider.bubble);
  }

  /** Fetch and draw until `close`, or until `signal` aborts. */
  start(signal: AbortSignal): void {
    const leaving = this.#leaving.signal;
    this.#frames.look(this.#travel.reader); // the first bytes travel while the graphics context starts
    this.#renderer = rendererFor(this.canvas, () => this.redraw());
    if (this.isMain) document.body.dataset.renderer = this.#renderer.kind;
    listen(this.canvas, this.#gestures, leaving);
    this.#slider.listen(leaving);
    const options = { signal: leaving, passive: false };
    this.canvas.addEventListener("wheel", (event) => this.#wheeled(event), options);
    this.canvas.addEventListener("pointerdown", () => this.#travel.stop(), options);
    const observer = new ResizeObserver(() => this.#resized());
    observer.observe(this.root);
    leaving.addEventListener("abort", () => observer.disconnect());
    signal.addEventListener("abort", () => this.close(), { signal: leaving });
  }

  close(): void {
    this.#leaving.abort();
    cancelAnimationFrame(this.#drawRequest);
    this.#travel.close();
    this.#frames.close();
    this.#renderer?.close();
    this.#renderer = null;
    this.#seen.rest(performance.now());
    if (!this.isMain) return;
    for (const name of ["frameShown", "frameWanted", "quality", "renderer"])
      delete document.body.dataset[name];
  }

  /** Have `listener` called after each drawing; the function given back ends it. */
  onChange(listener: (pane: Pane) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  // --- where the reader is -------------------------------------------------------------------------------

  get count(): number {
    return this.#frames.count;
  }

  /** The slice that is wanted; what is drawn may still be another one, see `shown`. */
  get index(): number {
    return this.#travel.reader.current;
  }

  get isResting(): boolean {
    return this.#travel.reader.resting;
  }

  goTo(index: number): void {
    this.#travel.goTo(index);
  }

  step(slices: number): void {
    this.#travel.goTo(this.index + slices);
  }

  #moved(): void {
    this.#frames.look(this.#travel.reader);
    this.redraw();
  }

  // --- what is on the screen -----------------------------------------------------------------------------

  /** What is really drawn: pixels, layer and index, or null before anything is. */
  shown(): Shown | null {
    return this.#shown;
  }

  /** The description of the frame that is drawn. */
  info(): FrameInfo | undefined {
    return this.set.frame_list[this.#shown?.index ?? this.index];
  }

  /** How good the drawing of the slice in view is. */
  quality(): Quality {
    const shown = this.#shown;
    if (!shown) return this.trouble() ? "failed" : "none";
    if (shown.index !== this.index) return "neighbour";
    return shown.layer === "full" ? this.#frames.quality(shown.index) : "preview";
  }

  /** Whether the slice in view is drawn as good as it was received. Measuring and verifying rest on this. */
  isFull(): boolean {
    const quality = this.quality();
    return quality === "lossless" || quality === "lossy-as-received";
  }

  /** Why the slice in view cannot be shown at full quality, or null. */
  trouble(): string | null {
    return this.#frames.trouble(this.index);
  }

  /** The point of the image, in columns and rows, under a point of the view in CSS pixels; null before any drawing. */
  imagePoint(x: number, y: number): viewport.Point | null {
    const { placement } = this.#camera;
    return placement && viewport.toImage(placement, { x, y });
  }

  /** Where a point of the image, in columns and rows, is in the view. */
  viewPoint(column: number, row: number): viewport.Point | null {
    const { placement } = this.#camera;
    return placement && viewport.toView(placement, { x: column, y: row });
  }

  get placement(): viewport.Placement | null {
    return this.#camera.placement;
  }

  get turn(): viewport.Turn {
    return this.#camera.turn;
  }

  viewSize(): viewport.Size {
    return { width: this.root.clientWidth, height: this.root.clientHeight };
  }

  // --- greys ---------------------------------------------------------------------------------------------

  /** None for colour, which has no window. */
  get presets(): readonly Preset[] {
    return this.#windowing.presets;
  }

  /** The name of the preset in use; null after a drag. */
  get preset(): string | null {
    return this.#windowing.preset;
  }

  get window(): Window | null {
    return this.#windowing.window;
  }

  setWindow(window: Window): void {
    this.#windowing.set(window);
    this.redraw();
  }

  applyPreset(preset: Preset): void {
    this.#windowing.apply(preset, this.info(), this.#shown);
    this.redraw();
  }

  get isInverted(): boolean {
    return this.#windowing.isInverted;
  }

  invert(): void {
    this.#windowing.isInverted = !this.#windowing.isInverted;
    this.redraw();
  }

  // --- placement -----------------------------------------------------------------------------------------

  /** A quarter turn, clockwise or back. */
  rotate(isClockwise: boolean): void {
    this.#camera.turnBy(isClockwise ? viewport.CLOCKWISE : viewport.COUNTERCLOCKWISE);
    this.redraw();
  }

  flip(axis: "left-right" | "upside-down"): void {
    this.#camera.turnBy(axis === "left-right" ? viewport.LEFT_RIGHT : viewport.UPSIDE_DOWN);
    this.redraw();
  }

  /** @param x The point of the view that stays where it is, in CSS pixels; its middle unless told. */
  zoom(factor: number, x = this.viewSize().width / 2, y = this.viewSize().height / 2): void {
    this.#camera.zoom(factor, x, y);
    this.redraw();
  }

  pan(dx: number, dy: number): void {
    this.#camera.pan(dx, dy);
    this.redraw();
  }

  /** Show the whole image. */
  fit(): void {
    this.#camera.fit();
    this.redraw();
  }

  get isFitted(): boolean {
    return this.#camera.isFitted;
  }

  /** Lay the image down exactly there. Its turn must be that of `turn`. */
  place(placement: viewport.Placement): void {
    this.#camera.place(placement);
    this.redraw();
  }

  /** As it was opened: upright, whole, with its first window. */
  reset(): void {
    this.#camera.reset();
    this.#windowing.reset();
    this.redraw();
  }

  #resized(): void {
    this.#ratio = Math.min(window.devicePixelRatio || 1, GREATEST_RATIO);
    const { width, height } = this.viewSize();
    this.canvas.width = Math.max(Math.round(width * this.#ratio), 1);
    this.canvas.height = Math.max(Math.round(height * this.#ratio), 1);
    this.#draw(); // at once: a resized canvas is blank until it is drawn
  }

  // --- drawing -------------------------------------------------------------------------------------------

  /** Draw with the next frame of the screen. */
  redraw(): void {
    if (this.#drawRequest || !this.#renderer) return;
    this.#drawRequest = requestAnimationFrame((now) => {
      this.#drawRequest = 0;
      if (this.#travel.gliding) {
        this.#travel.glide(now, this.root.clientHeight);
        this.redraw();
      }
      this.#draw();
    });
  }

  #draw(): void {
    this.#shown = this.#frames.best(this.index);
    const info = this.info();
    if (this.#shown && info && this.#renderer) {
      const image = { width: info.columns, height: info.rows };
      const [row, column] = viewport.spacingMm(this.set.geometry, info) ?? [1, 1];
      const placement = this.#camera.placementFor(image, row / column);
      const look = this.#windowing.look(info, this.#shown);
      this.#renderer.draw(this.#shown.pixels, look, placement, this.#ratio);
    }
    if (this.#renderer) this.#seen.drew(this.index, drawnAs(this.quality()), performance.now());
    this.#tell();
    for (const listener of this.#listeners) listener(this);
  }

  #tell(): void {
    const { overlays, count } = this;
    const shown = this.#shown;
    const quality = this.quality();
    overlays.slice(this.index, count, this.set.geometry.slice_spacing_mm);
    overlays.quality(quality, shown?.index ?? 0);
    overlays.window(this.window ? describeWindow(this.window) : "");
    overlays.held(this.#frames.held, count);
    overlays.message(this.trouble() ?? (shown ? null : "Loading…"));
    const info = this.info();
    if (info) {
      overlays.sides(info, this.turn);
      const [, spacing] = viewport.spacingMm(this.set.geometry, info) ?? [];
      overlays.scale(spacing && this.placement ? spacing / viewport.scaleOf(this.placement) : null);
    }
    this.#slider.tell(this.index, this.isResting);
    this.canvas.setAttribute("aria-label", `Slice ${this.index + 1} of ${count}`);
    if (this.isMain) tellTests(this.index, shown, quality);
  }

  // --- gestures ------------------------------------------------------------------------------------------

  /** What one finger, or the left button of the mouse, does. */
  get mode(): DragMode {
    return this.#gestures.modes[this.#kind()];
  }

  set mode(mode: DragMode) {
    this.#gestures.modes[this.#kind()] = mode;
    this.redraw();
  }

  /** Have `grip` asked before a pointer scrolls: a measuring tool, say. */
  set grip(grip: Grip | null) {
    this.#gestures.grip = grip;
  }

  #kind(): "mouse" | "touch" {
    return matchMedia("(pointer: coarse)").matches ? "touch" : "mouse";
  }

  #intentions(): Intentions {
    return {
      scroll: (dy) => this.#travel.scroll(dy, this.root.clientHeight),
      fling: (speed) => {
        if (this.#still.matches) return;
        this.#travel.fling(speed);
        this.redraw();
      },
      window: (dx, dy) => {
        if (this.window) this.setWindow(draggedWindow(this.window, dx, dy));
      },
      pan: (dx, dy) => this.pan(dx, dy),
      zoom: (factor, x, y) => this.zoom(factor, x, y),
      fit: () => this.fit(),
      held: (isHeld) => {
        this.root.classList.toggle("windowing", isHeld);
        if (isHeld) navigator.vibrate?.(10);
      },
    };
  }

  #wheeled(event: WheelEvent): void {
    event.preventDefault();
    if (event.ctrlKey) this.zoom(Math.exp(-event.deltaY / 200), event.offsetX, event.offsetY);
    else this.#travel.wheel(event);
  }
}

/** For tests and benchmarks: what is wanted, what is drawn, and how well. */
function tellTests(wanted: number, shown: Shown | null, quality: Quality): void {
  const { dataset } = document.body;
  dataset.frameWanted = String(wanted);
  if (shown) dataset.frameShown = String(shown.index);
  dataset.quality = quality;
  if (!shown) countDrawing("blank");
  else if (quality === "neighbour") countDrawing("neighbour");
  else countDrawing(shown.layer);
}
