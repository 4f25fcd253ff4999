/** The help sheet: every key and every gesture on one page. */
import { button, el } from "../dom.js";
import { HOTKEYS } from "./hotkeys.js";

type Row = readonly [what: string, does: string];

const GESTURES: readonly (readonly [title: string, rows: readonly Row[]])[] = [
  [
    "Fingers",
    [
      ["One finger up or down", "Scroll; a flick glides on"],
      ["Slider at the right edge", "Any slice at once"],
      ["Two fingers", "Zoom and move"],
      ["Double tap", "Fit"],
      ["Long press, then drag", "Window, for this drag"],
      ["Window: drag sets window", "Window, until it is switched off"],
      ["With a measuring tool", "Each touch a point, under a loupe"],
    ],
  ],
  [
    "Mouse",
    [
      ["Left drag", "Window; right is wider, down is darker"],
      ["Wheel", "Scroll; with Ctrl zoom"],
      ["Right drag", "Zoom; up is closer"],
      ["Middle drag", "Move"],
      ["Double click", "Fit"],
      ["On a measurement", "Choose it, drag it or one of its ends"],
    ],
  ],
];

const NAMES: Readonly<Record<string, string>> = {
  ArrowDown: "↓",
  ArrowUp: "↑",
  ArrowLeft: "←",
  ArrowRight: "→",
  PageDown: "Page down",
  PageUp: "Page up",
  Escape: "Esc",
};

export class HelpSheet {
  readonly root: HTMLDialogElement;

  constructor() {
    this.root = el("dialog", { class: "help", "aria-labelledby": "help-title", "data-testid": "help" });
    const close = button("✕", { class: "quiet", "aria-label": "Close" }, () => this.root.close());
    this.root.append(
      el("header", { class: "sheet-head" }, el("h2", { id: "help-title" }, "Keys and gestures"), close),
      el(
        "div",
        { class: "help-body" },
        ...GESTURES.map(([title, rows]) => table(title, rows)),
        ...keyTables(),
      ),
    );
    this.root.addEventListener("click", (event) => {
      if (event.target === this.root) this.root.close(); // beside the sheet
    });
  }

  toggle(): void {
    if (this.root.open) this.root.close();
    else this.root.showModal();
  }
}

function keyTables(): HTMLElement[] {
  return HOTKEYS.map(({ title, hotkeys }) =>
    table(
      title,
      hotkeys.map(({ keys, label }) => [keys.map(spelled).join(" or "), label] as const),
    ),
  );
}

function spelled(key: string): string {
  return key
    .split(/\+(?=.)/)
    .map((part) => NAMES[part] ?? part)
    .join(" + ");
}

function table(title: string, rows: readonly Row[]): HTMLElement {
  return el(
    "section",
    {},
    el("h3", {}, title),
    el("dl", {}, ...rows.flatMap(([what, does]) => [el("dt", {}, what), el("dd", {}, does)])),
  );
}
