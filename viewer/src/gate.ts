/** What the gate said of a model: each rule with its figures, the refusals first. */
import { el } from "./dom.js";
import type { Gate, Rule } from "./learning.js";
import { metricName, plural } from "./words.js";

/** The verdict in a sentence: "Refused: 2 of 14 rules." */
export function gateWords({ approved, rules }: Gate): string {
  const failed = rules.filter(({ passed }) => !passed).length;
  if (approved) return `The gate let it through: all ${rules.length} rules hold.`;
  return `The gate refused it: ${failed} of ${plural(rules.length, "rule")} ${failed === 1 ? "fails" : "fail"}.`;
}

/** What was measured and what it takes, as far as both are figures. */
export function figuresOf({ value, limit }: Rule): string {
  const told = (figure: Rule["value"]): string =>
    typeof figure === "number" ? String(Number(figure.toFixed(3))) : String(figure);
  if (value === null || typeof value === "boolean") return "";
  return limit === null || typeof limit === "boolean" ? told(value) : `${told(value)}, limit ${told(limit)}`;
}

export function gateList(gate: Gate): HTMLElement {
  const failed = gate.rules.filter(({ passed }) => !passed);
  const passed = gate.rules.filter((rule) => rule.passed);
  return el(
    "section",
    { class: "gate", "data-testid": "gate", "data-approved": gate.approved },
    el("p", { class: gate.approved ? "result-good" : "result-bad" }, gateWords(gate)),
    failed.length > 0 &&
      el("ul", { class: "rules", "aria-label": "Rules that fail" }, ...failed.map(ruleRow)),
    passed.length > 0 &&
      el(
        "details",
        { "data-fold": "rules" },
        el("summary", {}, `${plural(passed.length, "rule")} that ${passed.length === 1 ? "holds" : "hold"}`),
        el("ul", { class: "rules", "aria-label": "Rules that hold" }, ...passed.map(ruleRow)),
      ),
  );
}

function ruleRow(rule: Rule): HTMLElement {
  const { name, passed, sentence } = rule;
  return el(
    "li",
    { class: passed ? "rule rule-holds" : "rule rule-fails", "data-rule": name },
    el("span", { class: "rule-mark", "aria-hidden": "true" }, passed ? "✓" : "✕"),
    el("strong", {}, metricName(name.replaceAll("-", "_"))),
    el("span", { class: "rule-figures" }, figuresOf(rule)),
    sentence ? el("span", { class: "rule-words" }, sentence) : null,
  );
}
