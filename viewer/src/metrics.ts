/** A model's figures as a list of names and numbers, with their intervals where they are known. */
import { el } from "./dom.js";
import type { Figure } from "./learning.js";
import { metricName, metricValue } from "./words.js";

type Told = Figure | number | null;

export function metricsList(metrics: Readonly<Record<string, Told>> | null | undefined): HTMLElement | null {
  const entries = Object.entries(metrics ?? {}).flatMap(([name, told]) => {
    const figure = figureOf(told);
    return figure ? [[name, figure] as const] : [];
  });
  if (entries.length === 0) return null;
  return el(
    "dl",
    { class: "metrics" },
    ...entries.map(([name, figure]) =>
      el(
        "div",
        {},
        el("dt", {}, metricName(name)),
        el("dd", {}, metricValue(figure.value), el("span", { class: "interval" }, intervalWords(figure))),
      ),
    ),
  );
}

/** A plain number is a figure without an interval; anything else is none. */
export function figureOf(told: unknown): Figure | null {
  if (told === null || typeof told === "number") return { value: told };
  if (typeof told !== "object" || !("value" in told)) return null;
  const { value } = told;
  return value === null || typeof value === "number" ? (told as Figure) : null;
}

/** "0.93 to 0.97": of the 95 % interval over patients. */
export function intervalWords({ ci_low, ci_high }: Figure): string {
  if (typeof ci_low !== "number" || typeof ci_high !== "number") return "";
  return `${metricValue(ci_low)} to ${metricValue(ci_high)}`;
}
