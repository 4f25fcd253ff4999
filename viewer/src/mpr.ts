/**
 * Reformatting: the volume of a series on three planes through one point, thin or as thick slabs.
 *
 * It is made of previews and says so: there is nothing to measure and nothing to verify here. Whatever is dragged in
 * one view moves the others. Planes are drawn by a worker; this thread answers fingers and moves lines.
 */
import { button, el, setText } from "./dom.js";
import { badgeText } from "./overlays.js";
import { type Hands, PHONE, PlaneView, type Shared, type Tool } from "./plane-view.js";
import { type PlaneName, within } from "./planes.js";
import type { Direction, FrameInfo, ImageSet } from "./protocol.js";
import { openSeries } from "./series.js";
import type { Source } from "./stream.js";
import {
  type Limits,
  MOST_BYTES,
  middle,
  type Plan,
  pitchAlong,
  planVolume,
  plus,
  scaled,
} from "./volume.js";
import { VolumeClient } from "./volume-client.js";
import { draggedWindow, firstPreset, type Preset, presetsFor, type Window, windowOf } from "./window.js";
import { personName, plural, studyDate } from "./words.js";

const NAMES = ["axial", "coronal", "sagittal"] as const;
const REST_MS = 150;
const FILL_MS = 250; // a volume that fills is drawn anew this often

/** Show the planes of the series `id` in `root` until `signal` aborts. */
export async function showMpr(root: HTMLElement, id: string, signal: AbortSignal): Promise<void> {
  root.append(el("p", { class: "empty", role: "status" }, "Opening the series…"));
  const { set, source } = await openSeries(id, signal);
  if (signal.aborted) return;
  const plan = planVolume(set, limits());
  root.replaceChildren();
  if ("refusal" in plan) {
    root.append(refused(set, plan.refusal));
    return;
  }
  const view = new MprView(set, plan, source);
  root.append(view.root);
  view.start(signal);
}

/** Phones get a quarter of the pixels: their screens do not show more, and their tabs do not hold more. */
function limits(): Limits {
  const isSmall = matchMedia("(pointer: coarse)").matches || matchMedia(PHONE).matches;
  return { inPlane: isSmall ? 256 : 512, bytes: MOST_BYTES };
}

function refused(set: ImageSet, why: string): HTMLElement {
  return el(
    "div",
    { class: "page", "data-testid": "mpr-refused" },
    el("h1", { tabindex: -1 }, "No reformatting here"),
    el("p", { role: "alert" }, why),
    el("p", { class: "faint" }, [set.modality, set.series_description].filter(Boolean).join(" · ")),
    el("a", { href: `#/view/${set.id}`, class: "button" }, "Back to the series"),
  );
}

class MprView {
  readonly root: HTMLElement;
  readonly #views: readonly PlaneView[];
  readonly #stage = el("div", { class: "mpr-views" });
  readonly #presetButtons = new Map<string, HTMLButtonElement>();
  readonly #toolButtons = new Map<Tool, HTMLButtonElement>();
  readonly #invertButton: HTMLButtonElement;
  readonly #progress = el("progress", { "aria-label": "Slices arrived" });
  readonly #state = el("p", { class: "mpr-state", role: "status", "data-testid": "mpr-state" });
  readonly #client: VolumeClient;
  readonly #middleFrame: FrameInfo;
  #place: Direction;
  #window: Window = { center: 0, width: 1 };
  #preset: Preset | null = null;
  #invert = false;
  #tool: Tool = "crosshair";
  #isMoving = false;
  #restTimer = 0;
  #drawRequest = 0;
  #fillTimer = 0;

  constructor(
    private readonly set: ImageSet,
    private readonly plan: Plan,
    source: Source,
  ) {
    const frames = set.frame_list;
    this.#middleFrame = frames[frames.length >> 1] as FrameInfo;
    this.#client = new VolumeClient(plan, frames, source, {
      drawn: (view, drawn) => this.#views[view]?.show(drawn, () => this.#sharing()),
      filled: () => this.#filled(),
      failed: (message) => this.#complain(message),
    });
    this.#place = middle(plan.grid);
    this.#views = NAMES.map((name, number) => new PlaneView(name, number, plan, this.#hands(name)));
    this.#invertButton = button("Invert", { class: "tool", "aria-pressed": false }, () =>
      this.#toggleInvert(),
    );
    this.root = this.#layout();
    this.#choose("axial");
    this.#use("crosshair");
    const first = firstPreset(set.modality, this.#middleFrame);
    this.#apply(presetsFor(set.modality).find(({ name }) => name === first) as Preset);
  }

  start(signal: AbortSignal): void {
    this.#client.start(signal);
    for (const view of this.#views) view.start(signal, () => this.#redraw());
    document.addEventListener("keydown", (event) => this.#keyed(event), { signal });
    document.body.dataset.quality = "preview";
    this.#tell();
    signal.addEventListener("abort", () => {
      cancelAnimationFrame(this.#drawRequest);
      clearTimeout(this.#restTimer);
      clearTimeout(this.#fillTimer);
      delete document.body.dataset.quality;
    });
    this.#views[0]?.canvas.focus({ preventScroll: true });
  }

  #layout(): HTMLElement {
    const { patient_name, patient_id, patient_sex, modality, study_date, series_description } = this.set;
    const tools = el("div", { class: "tools", role: "toolbar", "aria-label": "Image tools" });
    const add = (tool: Tool, label: string, title: string): void => {
      const press = button(label, { class: "tool", "aria-pressed": false, title }, () => this.#use(tool));
      this.#toolButtons.set(tool, press);
      tools.append(press);
    };
    add("crosshair", "Crosshair", "Drag moves the point all views go through");
    add("scroll", "Scroll", "Drag moves the plane");
    add("window", "W/L", "Drag sets the window (W)");
    for (const preset of presetsFor(this.set.modality)) {
      const press = button(preset.label, { class: "tool", "aria-pressed": false }, () => this.#apply(preset));
      press.dataset.testid = `preset-${preset.name}`;
      this.#presetButtons.set(preset.name, press);
      tools.append(press);
    }
    tools.append(
      this.#invertButton,
      button("Reset", { class: "tool", title: "Middle, whole, thin (0)" }, () => this.#reset()),
    );
    const who = [patient_id, patient_sex, modality, studyDate(study_date), series_description];
    const badge = el("span", { class: "badge", "data-testid": "quality-badge", "data-quality": "preview" });
    setText(badge, badgeText("preview", 0));
    this.#stage.append(...this.#views.map((view) => view.root));
    return el(
      "section",
      { class: "stack mpr", "aria-label": "Reformatted series", "data-testid": "mpr" },
      el(
        "header",
        { class: "stack-bar" },
        el(
          "a",
          { href: `#/view/${this.set.id}`, class: "back", "aria-label": "Back to the series" },
          "‹ Series",
        ),
        el("h1", { tabindex: -1 }, "MPR"),
        badge,
      ),
      el(
        "p",
        { class: "mpr-who" },
        el("strong", {}, personName(patient_name)),
        ` ${who.filter(Boolean).join(" · ")}`,
      ),
      this.#stage,
      el("footer", { class: "stack-foot" }, this.#state, this.#progress, tools),
    );
  }

  /** What the views let fingers do. */
  #hands(name: PlaneName): Hands {
    return {
      chosen: () => this.#choose(name),
      isChosen: () => this.#stage.dataset.large === name,
      moveTo: (place) => this.#moveTo(place),
      window: (dx, dy) => this.#useWindow(draggedWindow(this.#window, dx, dy), null),
      changed: () => this.#moved(),
      place: () => this.#place,
      tool: () => this.#tool,
    };
  }

  // --- what is looked at ---------------------------------------------------------------------------------

  #moveTo(place: Direction): void {
    this.#place = within(this.plan.grid, place);
    this.#moved();
  }

  /** Something is being changed by hand: coarse drawings at once, a fine one when it rests. */
  #moved(): void {
    this.#isMoving = true;
    clearTimeout(this.#restTimer);
    this.#restTimer = window.setTimeout(() => {
      this.#isMoving = false;
      this.#redraw();
    }, REST_MS);
    this.#redraw();
  }

  /** The large view of a phone, and the one that keys mean. */
  #choose(name: PlaneName): void {
    this.#stage.dataset.large = name;
    for (const view of this.#views) view.isChosen = view.name === name;
    this.#redraw();
  }

  get #chosen(): PlaneView {
    return this.#views.find((view) => view.isChosen) as PlaneView;
  }

  #use(tool: Tool): void {
    this.#tool = tool;
    for (const [name, press] of this.#toolButtons) press.setAttribute("aria-pressed", String(name === tool));
    for (const view of this.#views) view.use(tool);
  }

  #apply(preset: Preset): void {
    const { least, most } = this.#client;
    const range = least <= most ? { least, most } : { least: 0, most: 0 };
    const { slope, intercept } = this.plan;
    this.#useWindow(windowOf(preset, { ...this.#middleFrame, slope, intercept }, range), preset);
  }

  #useWindow(next: Window, preset: Preset | null): void {
    this.#window = next;
    this.#preset = preset;
    for (const [name, press] of this.#presetButtons) {
      press.setAttribute("aria-pressed", String(name === preset?.name));
    }
    this.#moved();
  }

  #toggleInvert(): void {
    this.#invert = !this.#invert;
    this.#invertButton.setAttribute("aria-pressed", String(this.#invert));
    this.#redraw();
  }

  #reset(): void {
    this.#place = middle(this.plan.grid);
    for (const view of this.#views) view.reset();
    this.#redraw();
  }

  // --- what arrives --------------------------------------------------------------------------------------

  #filled(): void {
    if (this.#fillTimer) return;
    this.#fillTimer = window.setTimeout(() => {
      this.#fillTimer = 0;
      this.#tell();
      if (this.#preset && typeof this.#preset.window === "string") this.#follow(this.#preset);
      this.#redraw();
    }, FILL_MS);
  }

  /** The range of values is only known once all of them are here. */
  #follow(preset: Preset): void {
    const { center, width } = this.#window;
    this.#apply(preset);
    if (this.#window.center === center && this.#window.width === width) clearTimeout(this.#restTimer);
    this.#isMoving = false;
  }

  #tell(): void {
    const { held, lost, wanted, trouble } = this.#client;
    const isWhole = held + lost >= wanted;
    this.#progress.hidden = isWhole;
    this.#progress.max = wanted;
    this.#progress.value = held;
    const parts = [
      isWhole ? voxels(this.plan) : `${held} of ${plural(wanted, "slice")} here`,
      ...this.plan.warnings,
    ];
    if (trouble && !isWhole) parts.unshift(trouble);
    if (lost) parts.push(`${plural(lost, "slice")} could not be read; neighbours stand in for them.`);
    parts.push("For finding the way only: measure and verify on the slices themselves.");
    setText(this.#state, parts.join(" · "));
    this.root.dataset.held = String(held);
    this.root.dataset.whole = String(isWhole);
  }

  #complain(message: string): void {
    setText(this.#state, message);
    this.#state.setAttribute("role", "alert");
    this.#progress.hidden = true;
  }

  // --- drawing -------------------------------------------------------------------------------------------

  #redraw(): void {
    if (this.#drawRequest) return;
    this.#drawRequest = requestAnimationFrame(() => {
      this.#drawRequest = 0;
      const shared = this.#sharing();
      const chosen = this.#chosen;
      chosen.draw(shared);
      for (const view of this.#views) if (view !== chosen) view.draw(shared);
      this.root.dataset.place = this.#place.map((mm) => mm.toFixed(2)).join(" ");
    });
  }

  #sharing(): Shared {
    return {
      plan: this.plan,
      place: this.#place,
      window: this.#window,
      invert: this.#invert,
      isMoving: this.#isMoving,
      client: this.#client,
    };
  }

  // --- keys ----------------------------------------------------------------------------------------------

  #keyed(event: KeyboardEvent): void {
    const target = event.target as HTMLElement;
    const isTyping = target.closest("select, textarea, input") !== null;
    if (isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
    if (this.#act(event.key, event.shiftKey)) event.preventDefault();
  }

  #act(key: string, isShifted: boolean): boolean {
    const preset = /^[1-9]$/.test(key) ? presetsFor(this.set.modality)[Number(key) - 1] : undefined;
    if (preset) {
      this.#apply(preset);
      return true;
    }
    const view = this.#chosen;
    const { right, down } = view.lie;
    const nudge = (way: Direction, sign: number): void =>
      this.#moveTo(plus(this.#place, scaled(way, sign * pitchAlong(this.plan.grid, way))));
    const actions: Readonly<Record<string, () => void>> = {
      ArrowDown: () => (isShifted ? nudge(down, 1) : view.step(1)),
      ArrowUp: () => (isShifted ? nudge(down, -1) : view.step(-1)),
      ArrowRight: () => (isShifted ? nudge(right, 1) : view.step(1)),
      ArrowLeft: () => (isShifted ? nudge(right, -1) : view.step(-1)),
      PageDown: () => view.step(10),
      PageUp: () => view.step(-10),
      "0": () => this.#reset(),
      i: () => this.#toggleInvert(),
      w: () => this.#use(this.#tool === "window" ? "crosshair" : "window"),
      m: () => this.#choose(NAMES[(NAMES.indexOf(view.name) + 1) % NAMES.length] as PlaneName),
    };
    const action = actions[key];
    action?.();
    return action !== undefined;
  }
}

/** How large the voxels are, and what was left out. */
function voxels({ grid, every }: Plan): string {
  const [across, down, through] = grid.steps.map((step) => Math.hypot(...step).toFixed(2));
  const left = every > 1 ? `, every ${every}. slice` : "";
  return `Voxels ${across} × ${down} × ${through} mm${left}`;
}
