/**
 * All the tools of the stack view. They are loaded after the first drawing, for nobody measures before there is
 * something to see; the keys that move the image work before.
 */
import { el } from "../dom.js";
import type { Pane } from "../pane.js";
import type { ImageSet } from "../protocol.js";
import { HelpSheet } from "./help.js";
import { type Actions, paneActions } from "./hotkeys.js";
import { MeasureTools } from "./measure-tools.js";
import { ViewTools, WindowTools } from "./picture-tools.js";
import { SeriesList } from "./series-list.js";
import { Toolbar, type ToolGroup, toolButton, toolLink } from "./toolbar.js";

const FEWEST_SLICES = 8;
const TEN = 10;

export class StackTools {
  /** The row of tools, or what opens their sheets. */
  readonly root: HTMLElement;
  /** What lies beside the image on a desktop. */
  readonly side: HTMLElement;
  readonly actions: Actions;
  readonly #toolbar = new Toolbar();
  readonly #help = new HelpSheet();
  readonly #window: WindowTools;
  readonly #view: ViewTools;
  readonly #measure: MeasureTools;
  readonly #series: SeriesList;
  readonly #seriesGroup: ToolGroup;

  constructor(
    private readonly pane: Pane,
    set: ImageSet,
  ) {
    const help = toolButton("help", "help", "Keys, gestures", () => this.#help.toggle());
    this.#window = new WindowTools(pane, () => this.#toggleMode());
    const planes = toolLink("mpr", "Three planes", `#/mpr/${set.id}`);
    const compare = toolLink("compare", "Compare", `#/compare/${set.id}`);
    planes.hidden = !mayBeVolume(set);
    this.#view = new ViewTools(pane, paneActions(pane), planes, compare, help);
    this.#measure = new MeasureTools(
      pane,
      () => this.#tellHint(),
      () => this.#uncover(),
    );
    this.#series = new SeriesList(set, (count) => this.#seriesLoaded(count));
    this.#toolbar.add("window", "Window", "window", this.#window.content);
    this.#toolbar.add("measure", "Measure", "length", this.#measure.content);
    this.#toolbar.add("view", "View", "more", this.#view.content);
    this.#seriesGroup = this.#toolbar.add("series", "Series", "series", this.#series.content);
    this.root = el("div", { class: "tools-all" }, this.#toolbar.root, this.#help.root);
    this.side = this.#seriesGroup.sheet;
    this.actions = { ...this.#view.actions, ...this.#measure.actions, ...this.#ownActions() };
    this.#measure.refresh();
  }

  start(signal: AbortSignal): void {
    this.#view.start(signal);
    void this.#series.load(signal);
    this.pane.onChange(() => this.#refresh());
    this.#refresh();
  }

  #ownActions(): Actions {
    return {
      "window-mode": () => this.#toggleMode(),
      "next-series": () => this.#goSeries(1),
      "previous-series": () => this.#goSeries(-1),
      series: () => this.#toolbar.toggle(this.#seriesGroup),
      help: () => this.#help.toggle(),
      cancel: () => void (this.#measure.measuring.escape() || this.#toolbar.close()),
    };
  }

  #refresh(): void {
    this.#window.refresh();
    this.#view.refresh();
    this.#tellHint();
  }

  #tellHint(): void {
    this.#toolbar.hint(this.#measure?.measuring.hint() ?? ""); // told of its first change while it is being made
  }

  /** To the next series of the study; through this one where it is the only one. */
  #goSeries(by: 1 | -1): void {
    if (this.#series.count === 1) this.pane.step(by * TEN);
    else this.#series.go(by);
  }

  /** On a phone the sheet would lie over what is to be measured. */
  #uncover(): void {
    if (!matchMedia("(min-width: 800px) and (min-height: 521px)").matches) this.#toolbar.close();
  }

  #toggleMode(): void {
    if (this.pane.presets.length === 0) return;
    this.pane.mode = this.pane.mode === "window" ? "scroll" : "window";
  }

  /** With more than one series a wide screen shows them at once. */
  #seriesLoaded(count: number): void {
    if (count > 1 && matchMedia("(min-width: 1100px) and (min-height: 521px)").matches)
      this.#seriesGroup.isOpen = true;
  }
}

/** Whether it is worth asking for other planes; the page that draws them says what is in the way. */
function mayBeVolume({ frame_list, geometry }: ImageSet): boolean {
  const isGrey = frame_list.every(({ samples }) => samples === 1);
  return isGrey && frame_list.length >= FEWEST_SLICES && geometry.row_direction !== null;
}
