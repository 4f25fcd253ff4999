/** The buttons for measuring, and the list of what was measured. */
import { button, el, replaceIfChanged } from "../dom.js";
import type { Pane } from "../pane.js";
import type { Action, Actions } from "./hotkeys.js";
import type { Mark } from "./marks.js";
import type { Kind } from "./measure.js";
import { Measuring } from "./measuring.js";
import { press, toolButton } from "./toolbar.js";

const KINDS: readonly (readonly [Kind, string])[] = [
  ["length", "Length"],
  ["angle", "Angle"],
  ["ellipse", "Region"],
  ["probe", "Value"],
];
const NAMES = new Map<Kind, string>(KINDS);

export class MeasureTools {
  readonly content: HTMLElement;
  readonly actions: Actions;
  readonly measuring: Measuring;
  readonly #buttons = new Map<Kind, HTMLButtonElement>();
  readonly #undo: HTMLButtonElement;
  readonly #redo: HTMLButtonElement;
  readonly #delete: HTMLButtonElement;
  readonly #list = el("ul", { class: "mark-list", "aria-label": "Measurements", "data-testid": "marks" });

  /**
   * @param onChange Called when there is another hint to show.
   * @param onUse Called when a tool is taken up by its button.
   */
  constructor(
    private readonly pane: Pane,
    private readonly onChange: () => void,
    onUse: () => void,
  ) {
    this.measuring = new Measuring(pane, () => this.refresh());
    const { measuring } = this;
    const { marks } = measuring;
    for (const [kind, label] of KINDS) {
      const use = (): void => {
        measuring.use(kind);
        onUse();
      };
      this.#buttons.set(kind, toolButton(kind, kind, label, use));
    }
    this.#undo = toolButton("undo", "undo", "Undo", () => marks.undo());
    this.#redo = toolButton("redo", "redo", "Redo", () => marks.redo());
    this.#delete = toolButton("delete", "delete", "Delete", () => measuring.removeSelected());
    this.content = el(
      "div",
      { class: "measure" },
      el("div", { class: "tool-grid" }, ...this.#buttons.values(), this.#undo, this.#redo, this.#delete),
      el(
        "div",
        { class: "measure-more" },
        this.#list,
        el(
          "p",
          { class: "faint hint" },
          "Measurements live in this page only: they are never stored, and gone when you leave it.",
        ),
      ),
    );
    this.actions = {
      ...Object.fromEntries(KINDS.map(([kind]) => [kind satisfies Action, () => measuring.use(kind)])),
      undo: () => marks.undo(),
      redo: () => marks.redo(),
      delete: () => measuring.removeSelected(),
    };
  }

  refresh(): void {
    if (!this.measuring) return; // told of its first change while it is being made
    const { tool, marks } = this.measuring;
    for (const [kind, made] of this.#buttons) press(made, kind === tool);
    this.#undo.disabled = !marks.canUndo;
    this.#redo.disabled = !marks.canRedo;
    this.#delete.disabled = marks.selected === null;
    this.pane.root.classList.toggle("measuring", tool !== null);
    this.#tellList(marks.all, marks.selected);
    this.onChange();
  }

  #tellList(marks: readonly Mark[], selected: Mark | null): void {
    const rows = marks.map((mark) => {
      const words = `Slice ${mark.slice + 1} · ${NAMES.get(mark.kind)} · ${mark.lines.join(" · ")}`;
      const row = button(words, { class: "mark-row", "aria-pressed": mark === selected }, () => {
        this.pane.goTo(mark.slice);
        this.measuring.marks.select(mark.id);
      });
      return el("li", {}, row);
    });
    replaceIfChanged(this.#list, rows, JSON.stringify([marks, selected?.id]));
  }
}
