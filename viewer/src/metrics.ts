/** A model's figures as a list of names and numbers. */
import { el } from "./dom.js";
import type { Metrics } from "./protocol.js";
import { metricName, metricValue } from "./words.js";

export function metricsList(metrics: Metrics | null): HTMLElement | null {
  const entries = Object.entries(metrics ?? {}).filter(
    ([, value]) => value === null || typeof value === "number",
  );
  if (entries.length === 0) return null;
  return el(
    "dl",
    { class: "metrics" },
    ...entries.map(([name, value]) =>
      el("div", {}, el("dt", {}, metricName(name)), el("dd", {}, metricValue(value))),
    ),
  );
}
