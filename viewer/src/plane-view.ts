/** One plane of a reformatted series: a canvas, the lines of the other two, letters, a slider, and a slab. */
import { el, setText } from "./dom.js";
import { type DragMode, Gestures, type Grip, type Intentions, listen, type Pointer } from "./gestures.js";
import { letters } from "./orientation.js";
import {
  fittedSight,
  LIES,
  type Lie,
  type PlaneName,
  pannedBy,
  placeUnder,
  planeOf,
  pointOf,
  reach,
  type Sight,
  zoomedAbout,
} from "./planes.js";
import type { Direction } from "./protocol.js";
import { type Fineness, SLAB_LABELS, type Slab, type SlabMode, slabOffsets } from "./slab.js";
import { type Point, type Size, scaleBar } from "./viewport.js";
import { dot, minus, type Plan, pitchAlong, plus, scaled } from "./volume.js";
import type { Drawn, VolumeClient } from "./volume-client.js";
import { describeWindow, rampOf, type Window } from "./window.js";

const TITLES: Readonly<Record<PlaneName, string>> = {
  axial: "Axial",
  coronal: "Coronal",
  sagittal: "Sagittal",
};
const WHEEL_PX = 40;
const GREATEST_RATIO = 2;
/** Pixels of a drawing while it moves, and samples while it moves and when it rests: some 60 and 500 ms of a worker. */
const MOST_PIXELS_MOVING = 260_000;
const MOST_SAMPLES = { moving: 1_500_000, resting: 12_000_000 };
const SLABS_MM = { least: 1, most: 100, first: 10 };
const LONGEST_BAR_PX = 100;
export const PHONE = "(max-width: 760px)";

/** What one finger, or the left button of the mouse, does. */
export type Tool = "crosshair" | DragMode;

/** What all views share. */
export interface Shared {
  readonly plan: Plan;
  readonly place: Direction;
  readonly window: Window;
  readonly invert: boolean;
  readonly isMoving: boolean;
  readonly client: VolumeClient;
}

/** What a view asks of the page. */
export interface Hands {
  chosen(): void;
  isChosen(): boolean;
  moveTo(place: Direction): void;
  window(dx: number, dy: number): void;
  /** The view itself looks at something else. */
  changed(): void;
  place(): Direction;
  tool(): Tool;
}

const SIDES = ["left", "right", "top", "bottom"] as const;

export class PlaneView implements Grip {
  readonly root: HTMLElement;
  readonly canvas: HTMLCanvasElement;
  readonly lie: Lie;
  readonly #context: CanvasRenderingContext2D;
  readonly #gestures: Gestures;
  readonly #across = el("div", { class: "mpr-line mpr-line-across" });
  readonly #upright = el("div", { class: "mpr-line mpr-line-upright" });
  readonly #where = el("span", { class: "mpr-where" });
  readonly #slabText = el("output", {});
  readonly #greys = el("span", { class: "mpr-where" });
  readonly #bar = el("div", { class: "scale-line" });
  readonly #barText = el("span", {});
  readonly #slider: HTMLInputElement;
  readonly #mode: HTMLSelectElement;
  readonly #thickness: HTMLInputElement;
  readonly #pitch: number;
  readonly #reach: readonly [number, number];
  #isChosen = false;
  #sight: Sight | null = null;
  #wheel = 0;
  #gripFrom: { readonly x: number; readonly y: number; readonly place: Direction } | null = null;
  #isDrawing = false;
  #isWanted = false;
  #drawnAs = "";

  constructor(
    readonly name: PlaneName,
    private readonly number: number,
    private readonly plan: Plan,
    private readonly hands: Hands,
  ) {
    this.lie = LIES[name];
    this.#pitch = pitchAlong(plan.grid, this.lie.through);
    this.#reach = reach(plan.grid, this.lie.through);
    this.canvas = el("canvas", {
      class: "mpr-canvas",
      tabindex: 0,
      role: "img",
      "data-testid": `mpr-canvas-${name}`,
    });
    this.#context = this.canvas.getContext("2d", { alpha: false }) as CanvasRenderingContext2D;
    this.#gestures = new Gestures(this.#intentions());
    this.#gestures.grip = this;
    const [least, most] = this.#reach;
    this.#slider = el("input", {
      type: "range",
      class: "slider",
      min: 0,
      max: Math.max(Math.round((most - least) / this.#pitch) - 1, 0),
      step: 1,
      "aria-label": `${TITLES[name]} plane`,
      "data-testid": `mpr-slider-${name}`,
    });
    this.#mode = el("select", { class: "mpr-slab", "aria-label": "Slab", "data-testid": `slab-${name}` });
    for (const [value, label] of Object.entries(SLAB_LABELS))
      this.#mode.append(el("option", { value }, label));
    this.#thickness = el("input", {
      type: "range",
      class: "mpr-thickness",
      min: SLABS_MM.least,
      max: SLABS_MM.most,
      step: 1,
      value: SLABS_MM.first,
      "aria-label": "Thickness of the slab in millimetres",
      "data-testid": `thickness-${name}`,
    });
    this.root = this.#layout();
    this.#tellSlab();
  }

  start(signal: AbortSignal, redraw: () => void): void {
    listen(this.canvas, this.#gestures, signal);
    const { canvas } = this;
    canvas.addEventListener("wheel", (event) => this.#wheeled(event), { signal, passive: false });
    canvas.addEventListener("focus", () => this.#focused(), { signal });
    this.#slider.addEventListener("input", () => this.#slid(), { signal });
    for (const control of [this.#mode, this.#thickness]) {
      control.addEventListener("input", () => this.#slabbed(), { signal });
    }
    const observer = new ResizeObserver(redraw);
    observer.observe(canvas);
    signal.addEventListener("abort", () => observer.disconnect());
  }

  get isChosen(): boolean {
    return this.#isChosen;
  }

  set isChosen(is: boolean) {
    this.#isChosen = is;
    this.root.classList.toggle("chosen", is);
  }

  #layout(): HTMLElement {
    const { right, down } = this.lie;
    const sides = {
      left: letters(minus([0, 0, 0], right)),
      right: letters(right),
      top: letters(minus([0, 0, 0], down)),
      bottom: letters(down),
    };
    return el(
      "div",
      { class: "mpr-view", "data-plane": this.name, "data-testid": `mpr-${this.name}` },
      this.canvas,
      el(
        "div",
        { class: "overlays" },
        this.#across,
        this.#upright,
        el(
          "div",
          { class: "corner top-left" },
          el("strong", { class: "mpr-name" }, TITLES[this.name]),
          this.#where,
          this.#greys,
          this.#slabText,
        ),
        ...SIDES.map((side) =>
          el(
            "span",
            { class: `edge edge-${side}`, "data-testid": `edge-${side}`, "aria-hidden": "true" },
            sides[side],
          ),
        ),
        el("div", { class: "scale" }, this.#bar, this.#barText),
      ),
      this.#slider,
      el("div", { class: "mpr-controls" }, this.#mode, this.#thickness),
    );
  }

  use(tool: Tool): void {
    const mode: DragMode = tool === "window" ? "window" : "scroll";
    this.#gestures.modes.mouse = mode;
    this.#gestures.modes.touch = mode;
    this.root.classList.toggle("crosshairing", tool === "crosshair");
  }

  reset(): void {
    this.#sight = null;
    this.#mode.value = "plane";
    this.#tellSlab();
  }

  /** Move the plane by so many voxels, down the slider. */
  step(voxels: number): void {
    this.hands.moveTo(plus(this.hands.place(), scaled(this.lie.through, voxels * this.#pitch)));
  }

  get #view(): Size {
    return { width: this.canvas.clientWidth, height: this.canvas.clientHeight };
  }

  get #fitted(): Sight {
    return fittedSight(this.plan.grid, this.lie, this.#view);
  }

  get #slab(): Slab {
    return { mode: this.#mode.value as SlabMode, mm: this.#thickness.valueAsNumber };
  }

  // --- drawing -------------------------------------------------------------------------------------------

  /** Move the lines now, and ask for a drawing; one at a time, the newest wish wins. */
  draw(shared: Shared): void {
    const view = this.#view;
    if (view.width === 0) return;
    const sight = this.#sight ?? this.#fitted;
    this.#tell(sight, view, shared.place);
    setText(this.#greys, describeWindow(shared.window));
    if (this.#isDrawing) {
      this.#isWanted = true;
      return;
    }
    const slab = this.#slab;
    const fineness = shared.isMoving ? 1 : 2;
    const ratio = this.#ratio(view, shared.isMoving, fineness);
    const plane = planeOf(sight, this.lie, view, shared.place, ratio);
    const { window, invert, client } = shared;
    const wish = JSON.stringify([plane, slab, fineness, window, invert, client.held]);
    if (wish === this.#drawnAs) return;
    this.#drawnAs = wish;
    this.#isDrawing = true;
    client.draw(this.number, plane, slab, fineness, { ramp: rampOf(window), invert });
  }

  show({ width, height, pixels }: Drawn, sharing: () => Shared): void {
    if (this.canvas.width !== width) this.canvas.width = width;
    if (this.canvas.height !== height) this.canvas.height = height;
    this.#context.putImageData(new ImageData(pixels, width, height), 0, 0);
    this.#isDrawing = false;
    this.root.dataset.drawn = String(Number(this.root.dataset.drawn ?? 0) + 1);
    if (!this.#isWanted) return;
    this.#isWanted = false;
    this.draw(sharing());
  }

  /** Pixels drawn for one of the view: fewer where a thick slab or a moving hand leaves no time for more. */
  #ratio({ width, height }: Size, isMoving: boolean, fineness: Fineness): number {
    const depth = slabOffsets(this.#slab, this.#pitch, fineness).length;
    const samples = isMoving ? MOST_SAMPLES.moving : MOST_SAMPLES.resting;
    const most = Math.min(samples / depth, isMoving ? MOST_PIXELS_MOVING : Number.POSITIVE_INFINITY);
    const full = Math.min(window.devicePixelRatio || 1, GREATEST_RATIO);
    return Math.min(full, Math.sqrt(most / (width * height)));
  }

  #tell(sight: Sight, view: Size, place: Direction): void {
    const { x, y } = pointOf(sight, this.lie, view, place);
    const { style } = this.root;
    style.setProperty("--x", `${x.toFixed(1)}px`);
    style.setProperty("--y", `${y.toFixed(1)}px`);
    this.#across.style.transform = `translateY(${y.toFixed(1)}px)`;
    this.#upright.style.transform = `translateX(${x.toFixed(1)}px)`;
    const depth = dot(place, this.lie.through);
    const [least] = this.#reach;
    const slice = Math.floor((depth - least) / this.#pitch);
    this.#slider.value = String(slice);
    const along = dot(place, this.lie.through);
    const side = letters(scaled(this.lie.through, Math.sign(along) || 1));
    const where = `${side} ${Math.abs(along).toFixed(1)} mm`;
    setText(this.#where, where);
    this.#slider.setAttribute("aria-valuetext", where);
    this.canvas.setAttribute("aria-label", `${TITLES[this.name]} plane at ${where}, preview`);
    this.root.dataset.mmPerPx = sight.mmPerPx.toFixed(6);
    const { mm, px } = scaleBar(sight.mmPerPx, LONGEST_BAR_PX);
    this.#bar.style.width = `${px}px`;
    setText(this.#barText, mm >= 10 ? `${mm / 10} cm` : `${mm} mm`);
  }

  #tellSlab(): void {
    const { mode, mm } = this.#slab;
    const isThin = mode === "plane";
    this.#thickness.hidden = isThin;
    setText(this.#slabText, isThin ? "" : `${SLAB_LABELS[mode]} ${mm} mm`);
    this.root.dataset.slab = mode;
  }

  // --- hands ---------------------------------------------------------------------------------------------

  #intentions(): Intentions {
    return {
      scroll: (dy) => this.#scrollPx(dy),
      fling: () => {},
      window: (dx, dy) => this.hands.window(dx, dy),
      pan: (dx, dy) => this.#look(pannedBy(this.#sight ?? this.#fitted, dx, dy)),
      zoom: (factor, x, y) => this.#zoom(factor, { x, y }),
      fit: () => {
        this.#sight = null;
        this.hands.changed();
      },
      held: () => {},
    };
  }

  #scrollPx(dy: number): void {
    const [least, most] = this.#reach;
    const pxPerVoxel = Math.min(Math.max((this.#view.height * this.#pitch) / (most - least), 1), 12);
    this.step(dy / pxPerVoxel);
  }

  #zoom(factor: number, at: Point): void {
    this.#look(zoomedAbout(this.#sight ?? this.#fitted, factor, at, this.#view, this.#fitted));
  }

  #look(sight: Sight): void {
    this.#sight = sight;
    this.hands.changed();
  }

  #focused(): void {
    if (!matchMedia(PHONE).matches) this.hands.chosen(); // on a phone that would swap views under the finger
  }

  /** A small view of a phone becomes the large one; else the crosshair is taken where that is the tool. */
  down(pointer: Pointer): boolean {
    const { x, y } = pointer;
    if (!this.hands.isChosen()) {
      this.hands.chosen();
      if (matchMedia(PHONE).matches) return true;
    }
    if (this.hands.tool() !== "crosshair" || pointer.button !== 0) return false;
    this.#gripFrom = { x, y, place: this.hands.place() };
    if (pointer.kind === "mouse") this.#put({ x, y });
    return true;
  }

  /** The mouse carries the point; a finger, which hides what is under it, moves it from where it is. */
  move({ x, y, kind }: Pointer): void {
    const from = this.#gripFrom;
    if (!from) return;
    if (kind === "mouse") {
      this.#put({ x, y });
      return;
    }
    const { mmPerPx } = this.#sight ?? this.#fitted;
    const right = scaled(this.lie.right, (x - from.x) * mmPerPx);
    this.hands.moveTo(plus(plus(from.place, right), scaled(this.lie.down, (y - from.y) * mmPerPx)));
  }

  up({ x, y, kind }: Pointer): void {
    const from = this.#gripFrom;
    this.#gripFrom = null;
    const isTap = from !== null && Math.hypot(x - from.x, y - from.y) < 8;
    if (isTap && kind === "touch") this.#put({ x, y });
  }

  cancel(): void {
    this.#gripFrom = null;
  }

  tap(): boolean {
    return false;
  }

  #put(at: Point): void {
    const sight = this.#sight ?? this.#fitted;
    this.hands.moveTo(placeUnder(sight, this.lie, this.#view, at, this.hands.place()));
  }

  #slid(): void {
    const [least] = this.#reach;
    const depth = least + (this.#slider.valueAsNumber + 0.5) * this.#pitch;
    const place = this.hands.place();
    this.hands.moveTo(plus(place, scaled(this.lie.through, depth - dot(place, this.lie.through))));
  }

  #slabbed(): void {
    this.#tellSlab();
    this.hands.changed();
  }

  #wheeled(event: WheelEvent): void {
    event.preventDefault();
    if (event.ctrlKey) {
      this.#zoom(Math.exp(-event.deltaY / 200), { x: event.offsetX, y: event.offsetY });
      return;
    }
    const isPixels = event.deltaMode === WheelEvent.DOM_DELTA_PIXEL;
    const travel = isPixels ? event.deltaY : Math.sign(event.deltaY) * WHEEL_PX;
    this.#wheel += Math.min(Math.max(travel, -WHEEL_PX), WHEEL_PX);
    const voxels = Math.trunc(this.#wheel / WHEEL_PX);
    this.#wheel -= voxels * WHEEL_PX;
    if (voxels) this.step(voxels);
  }
}
