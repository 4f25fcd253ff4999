/**
 * Two series side by side, as a rule an examination and a prior one of the same patient.
 *
 * Each pane tells for itself whose and when it is and how good its picture is. They scroll as one, by millimetres
 * where that has a meaning; windows and zoom are shared on demand. Verifying is done on the series itself.
 */
import { button, el, setText } from "./dom.js";
import { identityWarning, type Laid, Link, laidLike, timeBetween, type Which } from "./linking.js";
import { Pane } from "./pane.js";
import { type ImageSet, listPriors, type Prior } from "./protocol.js";
import { openSeries, type Series } from "./series.js";
import type { Preset, Window } from "./window.js";
import { personName, plural, studyDate } from "./words.js";

const PAGE = 10;
const PANES = 2;

/** Show `id` beside `other` in `root`, or ask beside which one, until `signal` aborts. */
export async function showCompare(
  root: HTMLElement,
  id: string,
  other: string | null,
  signal: AbortSignal,
): Promise<void> {
  root.append(el("p", { class: "empty", role: "status" }, "Looking for other examinations…"));
  const [series, priors, against] = await Promise.all([
    openSeries(id, signal),
    listPriors(id, signal),
    other ? openSeries(other, signal) : null,
  ]);
  if (signal.aborted) return;
  root.replaceChildren();
  const blank = [series, against].find((each) => each?.set.frame_list.length === 0);
  if (blank) {
    root.append(
      page(id, el("p", { role: "alert" }, "One of these has no images: there is nothing to compare.")),
    );
    return;
  }
  if (!against) {
    root.append(page(id, ...choice(series.set, priors)));
    return;
  }
  const view = new CompareView(series, against, priors);
  root.append(view.root);
  view.start(signal);
}

function page(id: string, ...children: readonly Node[]): HTMLElement {
  return el(
    "div",
    { class: "page compare-choice", "data-testid": "compare-choice" },
    el("h1", { tabindex: -1 }, "Compare"),
    ...children,
    el("a", { href: `#/view/${id}`, class: "button" }, "Back to the series"),
  );
}

function choice(set: ImageSet, priors: readonly Prior[]): Node[] {
  const who = `${personName(set.patient_name)} · ${set.modality ?? "?"} · ${studyDate(set.study_date)}`;
  if (priors.length === 0) {
    return [el("p", {}, who), el("p", {}, "There are no other images of this patient.")];
  }
  const items = priors.map((prior) =>
    el(
      "li",
      {},
      el(
        "a",
        { href: `#/compare/${set.id}/${prior.id}`, class: "compare-prior", "data-testid": "prior" },
        el("strong", {}, studyDate(prior.study_date)),
        ` ${aboutPrior(set, prior)}`,
      ),
    ),
  );
  return [
    el("p", {}, who),
    el("p", { class: "faint" }, "Beside which of these?"),
    el("ul", { class: "cards" }, ...items),
  ];
}

function aboutPrior(set: ImageSet, prior: Prior): string {
  const between =
    prior.study_uid === set.study_uid ? "same study" : timeBetween(set.study_date, prior.study_date);
  return [prior.modality, prior.series_description, plural(prior.frames, "image"), between]
    .filter(Boolean)
    .join(" · ");
}

const LINKED_BY = {
  "same-frame": "Linked by mm",
  aligned: "Linked by mm from the middle; check, and link where they match",
  fraction: "Linked by share of the series; the two do not lie alike",
} as const;

class CompareView {
  readonly root: HTMLElement;
  readonly #sets: readonly [ImageSet, ImageSet];
  readonly #panes: readonly [Pane, Pane];
  readonly #link: Link;
  readonly #presetButtons = new Map<string, HTMLButtonElement>();
  readonly #state = el("p", { class: "mpr-state", role: "status", "data-testid": "link-state" });
  readonly #frames: readonly [HTMLElement, HTMLElement];
  readonly #seen: [number, number];
  readonly #windows: [Window | null, Window | null] = [null, null];
  readonly #toggles: Readonly<Record<"scroll" | "window" | "zoom", Toggle>>;
  readonly #modeButton: HTMLButtonElement;
  #active: Which = 0;
  readonly #placed: [unknown, unknown] = [null, null];

  constructor(
    series: Series,
    against: Series,
    private readonly priors: readonly Prior[],
  ) {
    const { set } = series;
    const other = against.set;
    this.#sets = [set, other];
    this.#panes = [new Pane(series, true, PANES), new Pane(against, false, PANES)];
    const known = priors.find(({ id }) => id === other.id);
    this.#link = new Link(set, other, known?.same_frame_of_reference ?? null);
    this.#seen = [this.#panes[0].index, this.#panes[1].index];
    const isOneKind = set.modality === other.modality;
    const hasWindows = this.#panes.every((pane) => pane.presets.length > 0);
    this.#toggles = {
      scroll: new Toggle("Link scroll", "Both move together (S)", true, () => this.#relink()),
      window: new Toggle("Link window", "Both have one window", isOneKind && hasWindows, () =>
        this.#rewindow(),
      ),
      zoom: new Toggle("Link zoom", "Both have one size and place", false, () => this.#rezoom(this.#active)),
    };
    this.#toggles.window.root.disabled = !hasWindows;
    this.#modeButton = button("W/L", { class: "tool", "aria-pressed": false }, () => this.#toggleMode());
    this.#modeButton.hidden = !hasWindows;
    this.#frames = [this.#frame(0), this.#frame(1)];
    this.root = this.#layout();
    for (const which of [0, 1] as const) this.#panes[which].onChange(() => this.#changed(which));
    this.#activate(0);
  }

  start(signal: AbortSignal): void {
    for (const pane of this.#panes) pane.start(signal);
    document.addEventListener("keydown", (event) => this.#keyed(event), { signal });
    this.#frames.forEach((frame, which) => {
      for (const name of ["pointerdown", "focusin"]) {
        frame.addEventListener(name, () => this.#activate(which as Which), { signal });
      }
    });
    this.#relink();
    this.#panes[0].canvas.focus({ preventScroll: true });
  }

  #layout(): HTMLElement {
    const [set, other] = this.#sets;
    const warning = identityWarning(set, other);
    const tools = el("div", { class: "tools", role: "toolbar", "aria-label": "Image tools" });
    const here = button("Link here", { class: "tool", "data-testid": "link-here" }, () => this.#linkHere());
    here.title = "These two slices belong together";
    tools.append(
      this.#toggles.scroll.root,
      here,
      this.#toggles.window.root,
      this.#toggles.zoom.root,
      this.#modeButton,
    );
    for (const preset of this.#panes[0].presets) {
      const press = button(preset.label, { class: "tool", "aria-pressed": false }, () => this.#apply(preset));
      press.dataset.testid = `preset-${preset.name}`;
      this.#presetButtons.set(preset.name, press);
      tools.append(press);
    }
    tools.append(
      button("Invert", { class: "tool" }, () => this.#both((pane) => pane.invert())),
      button("Reset", { class: "tool", title: "As they were opened (space)" }, () => this.#reset()),
    );
    return el(
      "section",
      { class: "stack compare", "aria-label": "Comparison", "data-testid": "compare" },
      el(
        "header",
        { class: "stack-bar" },
        el("a", { href: `#/view/${set.id}`, class: "back", "aria-label": "Back to the series" }, "‹ Series"),
        el("h1", { tabindex: -1 }, "Compare"),
        this.#choose(),
      ),
      warning &&
        el(
          "p",
          { class: "compare-warning", role: "alert", "data-testid": "identity-warning" },
          `⚠ ${warning}`,
        ),
      el("div", { class: "compare-panes" }, ...this.#frames),
      el("footer", { class: "stack-foot" }, this.#state, tools),
    );
  }

  /** Another prior, without going back. */
  #choose(): HTMLElement {
    const [set, other] = this.#sets;
    const select = el("select", { "aria-label": "Compare with", "data-testid": "prior-select" });
    const isListed = this.priors.some(({ id }) => id === other.id);
    for (const prior of isListed
      ? this.priors
      : [{ ...other, same_frame_of_reference: null }, ...this.priors]) {
      const label = `${studyDate(prior.study_date)} ${aboutPrior(set, prior)}`;
      select.append(el("option", { value: prior.id, selected: prior.id === other.id }, label));
    }
    select.addEventListener("input", () => location.replace(`#/compare/${set.id}/${select.value}`));
    return select;
  }

  /** A pane with what it shows written above it, large enough never to be mistaken for the other. */
  #frame(which: Which): HTMLElement {
    const set = this.#sets[which];
    const pane = this.#panes[which];
    const between = which === 1 ? timeBetween(this.#sets[0].study_date, set.study_date) : "";
    return el(
      "section",
      {
        class: "compare-pane",
        "aria-label": which === 0 ? "This examination" : "The other examination",
        "data-testid": `compare-${which}`,
      },
      el(
        "header",
        { class: "compare-head" },
        el("strong", { class: "compare-date" }, studyDate(set.study_date)),
        el(
          "span",
          { class: "compare-which" },
          [which === 0 ? "this one" : "other", between].filter(Boolean).join(" · "),
        ),
        pane.overlays.badge,
        el(
          "span",
          { class: "compare-who" },
          `${personName(set.patient_name)} · ${set.patient_id ?? "no patient ID"}`,
        ),
      ),
      pane.root,
    );
  }

  // --- what the panes do ---------------------------------------------------------------------------------

  /** A pane has been drawn; whatever the reader changed in it goes over to the other. */
  #changed(which: Which): void {
    const pane = this.#panes[which];
    if (pane.index !== this.#seen[which]) {
      this.#seen[which] = pane.index;
      if (this.#toggles.scroll.isOn) this.#scrollOther(which);
    }
    if (pane.window !== this.#windows[which]) {
      const isFirst = this.#windows[which] === null;
      this.#windows[which] = pane.window;
      const isOwn = !isFirst && pane.preset === null; // what presets do, they do to both
      if (isOwn && pane.window && this.#toggles.window.isOn) this.#windowOther(which, pane.window);
    }
    if (this.#toggles.zoom.isOn && pane.placement !== this.#placed[which]) {
      this.#placed[which] = pane.placement;
      if (which === this.#active) this.#rezoom(which);
    }
    this.#tell();
  }

  #scrollOther(which: Which): void {
    const other = which === 0 ? 1 : 0;
    const wanted = this.#link.follow(which, this.#panes[which].index);
    this.#seen[other] = wanted;
    this.#panes[other].goTo(wanted);
  }

  #windowOther(which: Which, window: Window): void {
    const other = which === 0 ? 1 : 0;
    this.#windows[other] = window;
    this.#panes[other].setWindow(window);
  }

  #rezoom(which: Which): void {
    if (!this.#toggles.zoom.isOn) return;
    const other = which === 0 ? 1 : 0;
    const [theirs, mine] = [this.#laid(which), this.#laid(other)];
    if (theirs && mine) this.#panes[other].place(laidLike(theirs, mine));
  }

  #laid(which: Which): Laid | null {
    const pane = this.#panes[which];
    const info = pane.info();
    if (!pane.placement || !info) return null;
    const image = { width: info.columns, height: info.rows };
    const spacing = this.#sets[which].geometry.column_spacing_mm;
    return { placement: pane.placement, view: pane.viewSize(), image, spacing };
  }

  #relink(): void {
    if (this.#toggles.scroll.isOn) this.#scrollOther(this.#active);
    this.#tell();
  }

  #rewindow(): void {
    const { window } = this.#panes[this.#active];
    if (this.#toggles.window.isOn && window) this.#windowOther(this.#active, window);
  }

  #linkHere(): void {
    this.#link.here(this.#panes[0].index, this.#panes[1].index);
    this.#toggles.scroll.set(true);
    this.#tell();
  }

  // --- what the reader does ------------------------------------------------------------------------------

  #activate(which: Which): void {
    this.#active = which;
    for (const at of [0, 1] as const) this.#frames[at].classList.toggle("active", at === which);
  }

  #both(act: (pane: Pane) => void): void {
    for (const pane of this.#panes) act(pane);
  }

  #apply(preset: Preset): void {
    if (this.#toggles.window.isOn) this.#both((pane) => pane.applyPreset(preset));
    else this.#panes[this.#active].applyPreset(preset);
    this.#panes.forEach((pane, which) => {
      this.#windows[which] = pane.window; // each its own, also where it is read from the image
    });
  }

  #toggleMode(): void {
    const mode = this.#panes[0].mode === "window" ? "scroll" : "window";
    this.#both((pane) => {
      pane.mode = mode;
    });
  }

  #reset(): void {
    this.#windows.fill(null);
    this.#both((pane) => pane.reset());
  }

  #tell(): void {
    const { kind, isByHand } = this.#link;
    const words = isByHand ? "Linked where you said" : LINKED_BY[kind];
    setText(this.#state, this.#toggles.scroll.isOn ? `${words}.` : "Scrolled apart.");
    this.root.dataset.link = this.#toggles.scroll.isOn ? kind : "off";
    const active = this.#panes[this.#active];
    for (const [name, press] of this.#presetButtons) {
      press.setAttribute("aria-pressed", String(name === active.preset));
    }
    this.#modeButton.setAttribute("aria-pressed", String(active.mode === "window"));
    this.#panes.forEach((pane, which) => {
      const { dataset } = this.#frames[which as Which];
      dataset.index = String(pane.index);
      dataset.quality = pane.quality();
    });
  }

  #keyed(event: KeyboardEvent): void {
    const target = event.target as HTMLElement;
    const isTyping = target.closest("textarea, select, input:not([type=range])") !== null;
    if (isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
    if (this.#act(event.key)) event.preventDefault();
  }

  #act(key: string): boolean {
    const pane = this.#panes[this.#active];
    const preset = /^[1-9]$/.test(key) ? pane.presets[Number(key) - 1] : undefined;
    if (preset) {
      this.#apply(preset);
      return true;
    }
    const actions: Readonly<Record<string, () => void>> = {
      ArrowDown: () => pane.step(1),
      ArrowRight: () => pane.step(1),
      ArrowUp: () => pane.step(-1),
      ArrowLeft: () => pane.step(-1),
      PageDown: () => pane.step(PAGE),
      PageUp: () => pane.step(-PAGE),
      Home: () => pane.goTo(0),
      End: () => pane.goTo(pane.count - 1),
      "+": () => pane.zoom(1.25),
      "-": () => pane.zoom(0.8),
      "0": () => pane.fit(),
      " ": () => this.#reset(),
      i: () => this.#both((each) => each.invert()),
      w: () => this.#toggleMode(),
      s: () => this.#toggles.scroll.root.click(),
    };
    const action = actions[key];
    action?.();
    return action !== undefined;
  }
}

/** A button that stays pressed. */
class Toggle {
  readonly root: HTMLButtonElement;

  constructor(
    label: string,
    title: string,
    private on: boolean,
    private readonly onToggle: () => void,
  ) {
    this.root = button(label, { class: "tool", title, "aria-pressed": on }, () => this.#flip());
  }

  get isOn(): boolean {
    return this.on;
  }

  set(on: boolean): void {
    this.on = on;
    this.root.setAttribute("aria-pressed", String(on));
  }

  #flip(): void {
    this.set(!this.on);
    this.onToggle();
  }
}
