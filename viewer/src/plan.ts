/** The change control plan: what may change without a person, and who has put their name under that. */
import { chip, el } from "./dom.js";
import type { Plan } from "./learning.js";
import { moment } from "./words.js";

const CHIPS = {
  valid: ["✓ valid", "good"],
  unsigned: ["○ not signed", "warn"],
  void: ["✕ void", "bad"],
  expired: ["✕ expired", "bad"],
  invalid: ["✕ invalid", "bad"],
  missing: ["○ none", "warn"],
} as const;

const RELEASES = {
  plan: "A model is released by itself only inside a valid signed plan.",
  automatic: "A model that passes the gate is released by itself, without a plan.",
  manual: "A person releases every model.",
} as const;

export function planCard(plan: Plan): HTMLElement {
  const { state, sentence, release, sha256, signatures, missing, problems } = plan;
  const more = problems.filter((each) => each.sentence !== sentence);
  const [words, tone] = CHIPS[state] ?? [state, "plain"];
  return el(
    "section",
    { class: "card", "data-testid": "plan", "data-state": state },
    el("div", { class: "card-head" }, el("h2", {}, "Change control plan"), chip(words, tone)),
    el("p", {}, sentence),
    el("p", { class: "faint" }, RELEASES[release] ?? ""),
    missing.length > 0 &&
      el(
        "p",
        { class: "result-warn" },
        `Still to be signed by: ${missing.join(", ")}. \`radloop pccp sign\` does it.`,
      ),
    more.length > 0 &&
      el("ul", { class: "reasons" }, ...more.map(({ sentence: words }) => el("li", {}, words))),
    signatures.length > 0 &&
      el(
        "ul",
        { class: "signatures", "aria-label": "Signatures" },
        ...signatures.map(({ role, by, at, holds }) =>
          el(
            "li",
            {},
            el("span", { "aria-hidden": "true" }, holds ? "✓ " : "✕ "),
            `${role}: ${by}`,
            el(
              "span",
              { class: "faint" },
              [moment(at), holds ? "" : "does not hold"].filter(Boolean).join(" · "),
            ),
          ),
        ),
      ),
    sha256 && el("code", { class: "hash" }, `SHA-256 ${sha256}`),
  );
}
