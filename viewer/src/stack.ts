/** The stack view: one series, one slice at a time, with everything that is done to it. */
import { button, el } from "./dom.js";
import { Pane } from "./pane.js";
import type { ImageSet } from "./protocol.js";
import type { May } from "./routes.js";
import { openSeries, type Series } from "./series.js";
import { type Actions, listenToKeys, paneActions } from "./tools/hotkeys.js";
import { VerifyPanel } from "./verify.js";
import { personName, studyDate } from "./words.js";

/** Show the series `id` in `root` until `signal` aborts. */
export async function showStack(root: HTMLElement, id: string, may: May, signal: AbortSignal): Promise<void> {
  root.append(el("p", { class: "empty", role: "status" }, "Opening the series…"));
  const series = await openSeries(id, signal);
  const { set } = series;
  if (signal.aborted) return;
  root.replaceChildren();
  if (set.frame_list.length === 0) {
    root.append(withoutImages(set));
    return;
  }
  const view = new StackView(series, may);
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
  private readonly set: ImageSet;
  readonly #pane: Pane;
  readonly #body: HTMLElement;
  readonly #tools = el("div", { class: "tools-place" });
  readonly #verify: VerifyPanel;
  readonly #actions: Actions;
  #hasTools = false;

  constructor(series: Series, may: May) {
    this.set = series.set;
    this.#pane = new Pane(series);
    this.#verify = new VerifyPanel(this.set, may, this.#pane);
    this.#actions = { ...paneActions(this.#pane), verify: () => this.#verify.open() };
    this.#body = el("div", { class: "stack-body" }, this.#pane.root, this.#verify.root);
    this.root = this.#layout();
  }

  start(signal: AbortSignal): void {
    this.#pane.onChange(() => this.#changed(signal));
    this.#pane.start(signal);
    listenToKeys(this.#actions, signal);
    this.#verify.start(signal);
    this.#pane.canvas.focus({ preventScroll: true });
  }

  #layout(): HTMLElement {
    const title = this.set.series_description || this.set.body_part || this.set.modality || "Series";
    return el(
      "section",
      { class: "stack", "aria-label": "Series" },
      el(
        "header",
        { class: "stack-bar" },
        el("a", { href: "#/", class: "back", "aria-label": "Back to the worklist" }, "‹ Worklist"),
        el("h1", { tabindex: -1 }, title),
        this.#pane.overlays.badge,
      ),
      this.#body,
      el("footer", { class: "stack-foot" }, this.#tools, this.#verify.opener),
    );
  }

  #changed(signal: AbortSignal): void {
    const pane = this.#pane;
    const quality = pane.quality();
    const isFull = quality === "lossless" || quality === "lossy-as-received";
    this.#verify.looking(isFull ? { index: pane.index, quality } : null, pane.trouble());
    if (!this.#hasTools && quality !== "none") void this.#addTools(signal);
  }

  /** The tools, once there is something to see: the first image does not wait for them. */
  async #addTools(signal: AbortSignal): Promise<void> {
    this.#hasTools = true;
    try {
      const { StackTools } = await import("./tools/stack-tools.js");
      if (signal.aborted) return;
      const tools = new StackTools(this.#pane, this.set);
      this.#tools.replaceChildren(tools.root);
      this.#body.append(tools.side);
      Object.assign(this.#actions, tools.actions);
      tools.start(signal);
    } catch {
      const again = button("The tools did not load. Try again", {}, () => void this.#addTools(signal));
      this.#tools.replaceChildren(again);
    }
  }
}
