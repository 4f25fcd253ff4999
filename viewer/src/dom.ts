/** Elements made in code: text stays text, so nothing a scanner wrote can become markup. */

type Child = Node | string | null | false;
type Attribute = string | number | boolean | null | undefined;

/** An element with attributes and children. */
export function el<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Readonly<Record<string, Attribute>> = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) setAttribute(element, name, value);
  element.append(...children.filter((child): child is Node | string => child !== null && child !== false));
  return element;
}

/** Set an attribute: `true` is an empty one, `false` and `null` are none; only ARIA spells its booleans out. */
export function setAttribute(element: Element, name: string, value: Attribute): void {
  if (typeof value === "boolean" && name.startsWith("aria-")) element.setAttribute(name, String(value));
  else if (value === null || value === undefined || value === false) element.removeAttribute(name);
  else element.setAttribute(name, value === true ? "" : String(value));
}

/** A button that does one thing. */
export function button(
  label: string,
  attributes: Readonly<Record<string, Attribute>>,
  onClick: () => void,
): HTMLButtonElement {
  const element = el("button", { type: "button", ...attributes }, label);
  element.addEventListener("click", onClick);
  return element;
}

/** Write only what changed: layout is not free at 60 frames a second. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** A short labelled state: the word carries the meaning, the colour only helps. */
export function chip(text: string, tone: "plain" | "good" | "bad" | "busy" | "warn" | "model"): HTMLElement {
  return el("span", { class: `chip chip-${tone}` }, text);
}

/** Replace what `parent` holds, unless it would be the same. */
export function replaceIfChanged(parent: Element, children: readonly Node[], signature: string): void {
  if (parent.getAttribute("data-signature") === signature) return;
  parent.setAttribute("data-signature", signature);
  parent.replaceChildren(...children);
}
