/** One of a few answers, each as large as a thumb. Nothing is chosen for anybody. */
import { el } from "./dom.js";

export interface Option {
  readonly value: string;
  readonly label: string;
  readonly testid: string;
}

/** A question with its answers side by side; `name` is that of the field in the form. */
export function choice(name: string, legend: string, options: readonly Option[]): HTMLElement {
  const pills = options.map(({ value, label, testid }) =>
    el(
      "label",
      { class: "pill" },
      el("input", { type: "radio", name, value, "data-testid": testid }),
      el("span", {}, label),
    ),
  );
  return el("fieldset", {}, el("legend", {}, legend), el("div", { class: "pills" }, ...pills));
}

/** A choice among many, under a label. */
export function select(id: string, label: string, options: readonly (readonly [string, string])[]): Select {
  const input = el(
    "select",
    { id, "data-testid": id },
    ...options.map(([value, words]) => el("option", { value }, words)),
  );
  return { input, field: el("div", { class: "field" }, el("label", { for: id }, label), input) };
}

export interface Select {
  readonly input: HTMLSelectElement;
  readonly field: HTMLElement;
}
