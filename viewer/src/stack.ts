/** The stack view: one series, one slice at a time, from the finger to the pixels. */
import { Decoder } from "./decoder.js";
import { button, el, setText } from "./dom.js";
import { type Budgets, Frames, type Shown } from "./frames.js";
import { Gestures, Inertia, type Intentions, listen } from "./gestures.js";
import { Overlays, type Quality } from "./overlays.js";
import { type FrameInfo, frameSource, getImageSet, type ImageSet } from "./protocol.js";
import { type Renderer, rendererFor } from "./renderer.js";
import type { May } from "./routes.js";
import { REST_MS } from "./scheduler.js";
import { type OnScreen, VerifyPanel } from "./verify.js";
import { fitted, type Placement, panBy, zoomAbout } from "./viewport.js";
import {
  describeWindow,
  draggedWindow,
  fullRange,
  type Preset,
  presetsFor,
  type Ramp,
  rampOf,
  type Window,
} from "./window.js";
import { personName, studyDate } from "./words.js";

const MIB = 2 ** 20;
const PAGE = 10;
const WHEEL_PX = 40;
const GREATEST_RATIO = 3;

/** Small devices have a tab limit near 250 MB; those who save data do not want a whole series fetched. */
function budgets(): Budgets {
  const { deviceMemory, connection } = navigator as {
    deviceMemory?: number;
    connection?: { saveData?: boolean };
  };
  const small = (deviceMemory ?? 4) <= 4 || matchMedia("(pointer: coarse)").matches;
  const full = connection?.saveData ? 8 : small ? 64 : 192;
  return { full: full * MIB, previews: 24 * MIB, decoded: (small ? 40 : 96) * MIB };
}

/** Show the series `id` in `root` until `signal` aborts. */
export async function showStack(root: HTMLElement, id: string, may: May, signal: AbortSignal): Promise<void> {
  root.append(el("p", { class: "empty", role: "status" }, "Opening the series…"));
  const set = await getImageSet(id, signal);
  if (signal.aborted) return;
  root.replaceChildren();
  if (set.frame_list.length === 0) {
    root.append(withoutImages(set));
    return;
  }
  const view = new StackView(set, may);
  root.append(view.root);
  view.start(signal);
}

/** A report, say: it is kept whole and can be exported, and there is nothing to look at and nothing to verify. */
function withoutImages({ modality, patient_name, series_description, study_date }: ImageSet): HTMLElement {
  const what = [modality, series_description, studyDate(study_date)].filter(Boolean).join(" · ");
  return el(
    "div",
    { class: "page", "data-testid": "report" },
    el("h1", { tabindex: -1 }, "Report"),
    el("p", {}, personName(patient_name)),
    el("p", { class: "faint" }, what),
    el("p", {}, "This series has no images: there is nothing to look at and nothing to verify here."),
    el("p", { class: "faint" }, "Its files are kept as they came. Export or DICOMweb gives them back."),
    el("a", { href: "#/", class: "button" }, "Back to the worklist"),
  );
}

class StackView {
  readonly root: HTMLElement;
  readonly #canvas = el("canvas", { "data-testid": "stack-canvas", tabindex: 0, role: "img" });
  readonly #stage = el("div", { class: "stage" });
  readonly #slider: HTMLInputElement;
  readonly #bubble = el("output", { class: "bubble", "aria-hidden": "true", hidden: true });
  readonly #overlays: Overlays;
  readonly #isColour: boolean;
  readonly #presets: readonly Preset[];
  readonly #presetButtons = new Map<string, HTMLButtonElement>();
  readonly #modeButton: HTMLButtonElement;
  readonly #invertButton: HTMLButtonElement;
  readonly #verify: VerifyPanel;
  readonly #gestures: Gestures;
  readonly #inertia = new Inertia();
  readonly #decoder = new Decoder();
  readonly #frames: Frames;
  readonly #still = matchMedia("(prefers-reduced-motion: reduce)");
  #renderer: Renderer | null = null;

  #position = 0; // in slices, with the fraction a slow finger needs
  #current = 0;
  #direction: 1 | -1 = 1;
  #resting = true;
  #restTimer = 0;
  #wheel = 0;
  #window: Window | null = null;
  #ramp: Ramp = { low: 0, range: 1 };
  #invert = false;
  #placement: Placement | null = null;
  #fitted = true;
  #ratio = 1;
  #shown: Shown | null = null;
  #drawRequest = 0;
  #lastStep = 0;

  constructor(
    private readonly set: ImageSet,
    may: May,
  ) {
    const infos = set.frame_list;
    this.#frames = new Frames(infos, frameSource(set.id), this.#decoder, budgets(), () => this.#redraw());
    this.#overlays = new Overlays(set);
    this.#isColour = infos.every((info) => info.samples === 3);
    this.#presets = this.#isColour ? [] : presetsFor(set.modality);
    this.#gestures = new Gestures(this.#intentions());
    this.#slider = el("input", {
      type: "range",
      class: "slider",
      min: 1,
      max: infos.length,
      step: 1,
      value: 1,
      "aria-label": "Slice",
      hidden: infos.length < 2,
    });
    this.#modeButton = button("W/L", { class: "tool", "aria-pressed": false }, () => this.#toggleMode());
    this.#modeButton.hidden = this.#isColour;
    this.#modeButton.title = "Drag sets the window (W)";
    this.#invertButton = button("Invert", { class: "tool", "aria-pressed": false }, () =>
      this.#toggleInvert(),
    );
    this.#verify = new VerifyPanel(set, may);
    this.root = this.#layout();
    this.#current = Math.floor((infos.length - 1) / 2);
    this.#position = this.#current;
  }

  start(signal: AbortSignal): void {
    this.#frames.look(this.#reader()); // the first bytes travel while the graphics context starts
    this.#renderer = rendererFor(this.#canvas, () => this.#redraw());
    document.body.dataset.renderer = this.#renderer.kind;
    listen(this.#canvas, this.#gestures, signal);
    this.#listen(signal);
    this.#verify.start(signal);
    const observer = new ResizeObserver(() => this.#resized());
    observer.observe(this.#stage);
    signal.addEventListener("abort", () => {
      observer.disconnect();
      this.#close();
    });
    this.#canvas.focus({ preventScroll: true });
  }

  #close(): void {
    cancelAnimationFrame(this.#drawRequest);
    clearTimeout(this.#restTimer);
    this.#frames.close();
    this.#decoder.close();
    this.#renderer?.close();
    this.#renderer = null;
    delete document.body.dataset.frameShown;
    delete document.body.dataset.quality;
    delete document.body.dataset.renderer;
  }

  #layout(): HTMLElement {
    const title = this.set.series_description || this.set.body_part || this.set.modality || "Series";
    const tools = el(
      "div",
      { class: "tools", role: "toolbar", "aria-label": "Image tools" },
      this.#modeButton,
    );
    this.#presets.forEach((preset, position) => {
      const press = button(preset.label, { class: "tool", "aria-pressed": false }, () => this.#apply(preset));
      press.dataset.testid = `preset-${preset.name}`;
      press.title = `${preset.label} (${position + 1})`;
      this.#presetButtons.set(preset.name, press);
      tools.append(press);
    });
    tools.append(
      this.#invertButton,
      button("Fit", { class: "tool", title: "Fit (0)" }, () => this.#fit()),
    );
    this.#stage.append(this.#canvas, this.#overlays.root, this.#slider, this.#bubble);
    return el(
      "section",
      { class: "stack", "aria-label": "Series" },
      el(
        "header",
        { class: "stack-bar" },
        el("a", { href: "#/", class: "back", "aria-label": "Back to the worklist" }, "‹ Worklist"),
        el("h1", { tabindex: -1 }, title),
        this.#overlays.badge,
      ),
      el("div", { class: "stack-body" }, this.#stage, this.#verify.root),
      el("footer", { class: "stack-foot" }, tools, this.#verify.opener),
    );
  }

  #listen(signal: AbortSignal): void {
    this.#slider.addEventListener("input", () => this.#goTo(this.#slider.valueAsNumber - 1), { signal });
    this.#canvas.addEventListener("wheel", (event) => this.#wheeled(event), { signal, passive: false });
    this.#canvas.addEventListener("pointerdown", () => this.#inertia.stop(), { signal });
    document.addEventListener("keydown", (event) => this.#keyed(event), { signal });
  }

  #intentions(): Intentions {
    return {
      scroll: (dy) => this.#scrollPx(dy),
      fling: (speed) => {
        if (this.#still.matches) return;
        this.#inertia.start(speed);
        this.#lastStep = performance.now();
        this.#redraw();
      },
      window: (dx, dy) => {
        if (!this.#window) return;
        this.#useWindow(draggedWindow(this.#window, dx, dy), null);
      },
      pan: (dx, dy) => {
        const info = this.#shownInfo();
        if (!this.#placement || !info) return;
        const image = { width: info.columns, height: info.rows };
        this.#place(panBy(this.#placement, dx, dy, this.#viewSize(), image));
      },
      zoom: (factor, x, y) => this.#zoom(factor, x, y),
      fit: () => this.#fit(),
    };
  }

  // --- where the reader is -------------------------------------------------------------------------------

  #scrollPx(dy: number): void {
    // A small series moves by the thickness of a finger; a large one passes in one and a half views.
    const pxPerSlice = Math.min(Math.max((this.#viewSize().height * 1.5) / this.#frames.count, 2.5), 18);
    this.#moveTo(this.#position + dy / pxPerSlice);
  }

  #step(slices: number): void {
    this.#goTo(this.#current + slices);
  }

  #goTo(index: number): void {
    this.#inertia.stop();
    this.#moveTo(index);
  }

  #moveTo(position: number): void {
    const last = this.#frames.count - 1;
    this.#position = Math.min(Math.max(position, 0), last);
    if (position !== this.#position) this.#inertia.stop();
    const index = Math.round(this.#position);
    if (index === this.#current) return;
    this.#direction = index > this.#current ? 1 : -1;
    this.#current = index;
    this.#resting = false;
    this.#frames.look(this.#reader());
    clearTimeout(this.#restTimer);
    this.#restTimer = window.setTimeout(() => this.#rest(), REST_MS);
    this.#redraw();
  }

  #rest(): void {
    this.#resting = true;
    this.#frames.look(this.#reader());
    this.#redraw();
  }

  #reader(): { current: number; direction: 1 | -1; resting: boolean } {
    return { current: this.#current, direction: this.#direction, resting: this.#resting };
  }

  // --- how it is shown -----------------------------------------------------------------------------------

  #apply(preset: Preset): void {
    const found = this.#windowOf(preset);
    if (found) this.#useWindow(found, preset.name);
  }

  #windowOf(preset: Preset): Window | null {
    if (typeof preset.window === "object") return preset.window;
    const info = this.#shownInfo();
    const pixels = this.#shown?.pixels;
    if (!info || pixels?.kind !== "grey") return null;
    const stored = preset.window === "as-stored";
    if (stored && info.window_center !== null && info.window_width !== null) {
      return { center: info.window_center, width: Math.max(info.window_width, 1) };
    }
    const ends = [pixels.least, pixels.most].map((value) => value * info.slope + info.intercept);
    return fullRange(Math.min(...ends), Math.max(...ends));
  }

  #useWindow(next: Window, preset: string | null): void {
    this.#window = next;
    this.#ramp = rampOf(next);
    for (const [name, press] of this.#presetButtons)
      press.setAttribute("aria-pressed", String(name === preset));
    this.#redraw();
  }

  #toggleMode(): void {
    const isWindow = this.#gestures.mode === "scroll";
    this.#gestures.mode = isWindow ? "window" : "scroll";
    this.#modeButton.setAttribute("aria-pressed", String(isWindow));
    this.#stage.classList.toggle("windowing", isWindow);
  }

  #toggleInvert(): void {
    this.#invert = !this.#invert;
    this.#invertButton.setAttribute("aria-pressed", String(this.#invert));
    this.#redraw();
  }

  #zoom(factor: number, x: number, y: number): void {
    const info = this.#shownInfo();
    if (!this.#placement || !info) return;
    const least = this.#fitOf(info).columnPx * 0.5;
    this.#place(zoomAbout(this.#placement, factor, x, y, least));
  }

  #fit(): void {
    this.#fitted = true;
    this.#redraw();
  }

  #place(placement: Placement): void {
    this.#placement = placement;
    this.#fitted = false;
    this.#redraw();
  }

  #fitOf(info: FrameInfo): Placement {
    const { row_spacing_mm: row, column_spacing_mm: column } = this.set.geometry;
    return fitted(
      this.#viewSize(),
      { width: info.columns, height: info.rows },
      row && column ? row / column : 1,
    );
  }

  #viewSize(): { width: number; height: number } {
    return { width: this.#stage.clientWidth, height: this.#stage.clientHeight };
  }

  #shownInfo(): FrameInfo | undefined {
    return this.set.frame_list[this.#shown?.index ?? this.#current];
  }

  #resized(): void {
    this.#ratio = Math.min(window.devicePixelRatio || 1, GREATEST_RATIO);
    const { width, height } = this.#viewSize();
    this.#canvas.width = Math.max(Math.round(width * this.#ratio), 1);
    this.#canvas.height = Math.max(Math.round(height * this.#ratio), 1);
    this.#draw(); // at once: a resized canvas is blank until it is drawn
  }

  // --- drawing -------------------------------------------------------------------------------------------

  #redraw(): void {
    if (this.#drawRequest || !this.#renderer) return;
    this.#drawRequest = requestAnimationFrame((now) => {
      this.#drawRequest = 0;
      this.#glide(now);
      this.#draw();
    });
  }

  #glide(now: number): void {
    if (!this.#inertia.moving) return;
    this.#scrollPx(this.#inertia.step(Math.min(now - this.#lastStep, 50)));
    this.#lastStep = now;
    this.#redraw();
  }

  #draw(): void {
    const shown = this.#frames.best(this.#current);
    this.#shown = shown;
    const info = this.#shownInfo();
    if (shown && info && this.#renderer) {
      if (!this.#window) this.#firstWindow();
      if (this.#fitted || !this.#placement) this.#placement = this.#fitOf(info);
      const invert = this.#invert !== (info.photometric === "MONOCHROME1");
      const look = { slope: info.slope, intercept: info.intercept, ramp: this.#ramp, invert };
      this.#renderer.draw(shown.pixels, look, this.#placement, this.#ratio);
    }
    this.#tell(shown);
  }

  /** As the scanner meant it; without that, soft tissue for CT and everything for the rest. */
  #firstWindow(): void {
    const info = this.#shownInfo();
    const stored = info?.window_center !== null && info?.window_width !== null;
    const name = stored ? "as-stored" : this.set.modality === "CT" ? "soft-tissue" : "full-range";
    const preset = this.#presets.find((candidate) => candidate.name === name);
    if (preset) this.#apply(preset);
  }

  #tell(shown: Shown | null): void {
    const { count } = this.#frames;
    const quality = this.#qualityOf(shown);
    const trouble = this.#frames.trouble(this.#current);
    this.#overlays.slice(this.#current, count, this.set.geometry.slice_spacing_mm);
    this.#overlays.quality(quality, shown?.index ?? 0);
    this.#overlays.window(this.#window ? describeWindow(this.#window) : "");
    this.#overlays.held(this.#frames.held, count);
    this.#overlays.message(trouble ?? (shown ? null : "Loading…"));
    const spacing = this.set.geometry.column_spacing_mm;
    this.#overlays.scale(spacing && this.#placement ? spacing / this.#placement.columnPx : null);
    this.#slider.value = String(this.#current + 1);
    this.#slider.setAttribute("aria-valuetext", `Slice ${this.#current + 1} of ${count}`);
    this.#tellBubble();
    this.#canvas.setAttribute("aria-label", `Slice ${this.#current + 1} of ${count}`);
    const { dataset } = document.body;
    if (shown) dataset.frameShown = String(shown.index);
    dataset.quality = quality === "neighbour" ? "preview" : quality;
    this.#verify.looking(this.#gate(quality), trouble);
  }

  #tellBubble(): void {
    const { count } = this.#frames;
    this.#bubble.hidden = this.#resting || count < 2;
    if (this.#bubble.hidden) return;
    setText(this.#bubble, String(this.#current + 1));
    this.#bubble.style.top = `${(this.#current / (count - 1)) * 100}%`;
  }

  #qualityOf(shown: Shown | null): Quality {
    if (!shown) return this.#frames.trouble(this.#current) ? "failed" : "none";
    if (shown.index !== this.#current) return "neighbour";
    return shown.layer === "full" ? this.#frames.quality(shown.index) : "preview";
  }

  #gate(quality: Quality): OnScreen | null {
    const isFull = quality === "lossless" || quality === "lossy-as-received";
    return isFull ? { index: this.#current, quality } : null;
  }

  // --- wheel and keys ------------------------------------------------------------------------------------

  #wheeled(event: WheelEvent): void {
    event.preventDefault();
    if (event.ctrlKey) {
      this.#zoom(Math.exp(-event.deltaY / 200), event.offsetX, event.offsetY);
      return;
    }
    const isPixels = event.deltaMode === WheelEvent.DOM_DELTA_PIXEL;
    const travel = isPixels ? event.deltaY : Math.sign(event.deltaY) * WHEEL_PX;
    this.#wheel += Math.min(Math.max(travel, -WHEEL_PX), WHEEL_PX); // a notch is one slice, however long
    const slices = Math.trunc(this.#wheel / WHEEL_PX);
    this.#wheel -= slices * WHEEL_PX;
    if (slices) this.#step(slices);
  }

  #keyed(event: KeyboardEvent): void {
    const target = event.target as HTMLElement;
    const isTyping = target.closest("textarea, select, input:not([type=range])") !== null;
    if (isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
    if (this.#act(event.key)) event.preventDefault();
  }

  /** Do what the key stands for; false when it stands for nothing here. */
  #act(key: string): boolean {
    const preset = /^[1-9]$/.test(key) ? this.#presets[Number(key) - 1] : undefined;
    if (preset) {
      this.#apply(preset);
      return true;
    }
    const { width, height } = this.#viewSize();
    const actions: Readonly<Record<string, () => void>> = {
      ArrowDown: () => this.#step(1),
      ArrowRight: () => this.#step(1),
      ArrowUp: () => this.#step(-1),
      ArrowLeft: () => this.#step(-1),
      PageDown: () => this.#step(PAGE),
      PageUp: () => this.#step(-PAGE),
      Home: () => this.#goTo(0),
      End: () => this.#goTo(this.#frames.count - 1),
      "+": () => this.#zoom(1.25, width / 2, height / 2),
      "-": () => this.#zoom(0.8, width / 2, height / 2),
      "0": () => this.#fit(),
      i: () => this.#toggleInvert(),
      w: () => this.#toggleMode(),
      v: () => this.#verify.open(),
    };
    const action = actions[key];
    action?.();
    return action !== undefined;
  }
}
