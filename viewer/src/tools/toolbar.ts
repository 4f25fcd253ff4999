/**
 * The tools: on a desktop one row of buttons, on a phone a few that open a sheet within reach of the thumb.
 *
 * The same elements do both: a group is a sheet where the screen is narrow and a part of the row where it is not.
 */
import "../tools.css";
import { button, el, setText } from "../dom.js";
import { type Action, keysOf } from "./hotkeys.js";
import { type IconName, icon } from "./icons.js";

/** A tool's button: a drawing, a name, and the key that does the same. */
export function toolButton(
  action: Action,
  name: IconName,
  label: string,
  act: () => void,
): HTMLButtonElement {
  const key = keysOf(action)[0];
  const made = button("", { class: "tool", "data-testid": `tool-${action}`, "aria-label": label }, act);
  made.title = key ? `${label} (${key})` : label;
  made.append(icon(name), el("span", { class: "tool-name", "aria-hidden": "true" }, label));
  return made;
}

/** A way to another page, among the tools. */
export function toolLink(name: IconName, label: string, href: string): HTMLAnchorElement {
  const attributes = {
    class: "tool button",
    href,
    "data-testid": `open-${name}`,
    "aria-label": label,
    title: label,
  };
  const made = el("a", attributes, el("span", { class: "tool-name", "aria-hidden": "true" }, label));
  made.prepend(icon(name));
  return made;
}

/** Say on a button that it is on, where that is something to say. */
export function press(made: HTMLElement, isOn: boolean): void {
  if (made.getAttribute("aria-pressed") !== String(isOn)) made.setAttribute("aria-pressed", String(isOn));
}

export class ToolGroup {
  readonly opener: HTMLButtonElement;
  readonly sheet: HTMLElement;

  /**
   * @param onToggle Called with this group when its opener is pressed.
   */
  constructor(
    readonly name: string,
    title: string,
    drawing: IconName,
    onToggle: (group: ToolGroup) => void,
    ...content: HTMLElement[]
  ) {
    const id = `tools-${name}`;
    this.opener = button("", { class: "opener", "data-testid": `open-${name}`, "aria-controls": id }, () =>
      onToggle(this),
    );
    this.opener.append(icon(drawing), el("span", {}, title));
    const close = button("✕", { class: "quiet sheet-close", "aria-label": "Close" }, () => onToggle(this));
    const head = el("header", { class: "sheet-head" }, el("h2", {}, title), close);
    this.sheet = el("div", { class: "sheet", id, role: "group", "aria-label": title }, head, ...content);
    this.isOpen = false;
  }

  get isOpen(): boolean {
    return this.sheet.classList.contains("open");
  }

  set isOpen(isOpen: boolean) {
    this.sheet.classList.toggle("open", isOpen);
    this.opener.setAttribute("aria-expanded", String(isOpen));
  }
}

/** Groups of which one at most is open. */
export class Toolbar {
  readonly root = el("div", { class: "tools", role: "toolbar", "aria-label": "Image tools" });
  readonly #groups: ToolGroup[] = [];
  readonly #hint = el("p", { class: "tool-hint", role: "status", "data-testid": "tool-hint", hidden: true });

  constructor() {
    this.root.append(this.#hint);
  }

  add(name: string, title: string, drawing: IconName, ...content: HTMLElement[]): ToolGroup {
    const group = new ToolGroup(name, title, drawing, (toggled) => this.toggle(toggled), ...content);
    this.#groups.push(group);
    this.root.append(group.opener, group.sheet);
    return group;
  }

  toggle(wanted: ToolGroup): void {
    const isOpen = !wanted.isOpen;
    for (const group of this.#groups) group.isOpen = group === wanted && isOpen;
    if (!isOpen) wanted.opener.focus({ preventScroll: true });
  }

  /** False where none was open. */
  close(): boolean {
    const open = this.#groups.find((group) => group.isOpen);
    if (open) this.toggle(open);
    return open !== undefined;
  }

  /** A sentence above the tools; none where it is empty. */
  hint(words: string): void {
    this.#hint.hidden = words === "";
    setText(this.#hint, words);
  }
}
