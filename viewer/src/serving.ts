/** What was serving on a day, approved by whom: asked of the ledger, which only grows. */
import { complaint } from "./confirm.js";
import { el } from "./dom.js";
import { type Serving, servingOn } from "./learning.js";
import { moment } from "./words.js";

type Period = Omit<Serving, "at" | "items">;

/** A period in words. */
export function servingWords(period: Period): string {
  const { version, since, until, approved_by = [], approved_at, reason, rollback_reason } = period;
  if (version === null) return "No model served then.";
  const when = [since ? `since ${moment(since)}` : "", until ? `until ${moment(until)}` : ""];
  const on = approved_at ? ` on ${moment(approved_at)}` : "";
  const by = approved_by.length ? `approved by ${approved_by.join(" and ")}${on}` : "";
  const why = reason ? `(${reason.replaceAll("-", " ")})` : "";
  const back = rollback_reason ? `put back to work: ${rollback_reason.replaceAll("-", " ")}` : "";
  const facts = [when.filter(Boolean).join(" "), [by, why].filter(Boolean).join(" "), back];
  return `Model v${version}: ${facts.filter(Boolean).join(", ")}.`;
}

export function servingLookup(signal: AbortSignal): HTMLElement {
  const day = el("input", {
    type: "date",
    id: "serving-day",
    "data-testid": "serving-day",
    value: new Date().toISOString().slice(0, 10),
  });
  const answer = el("div", { class: "serving-answer", role: "status", "data-testid": "serving-answer" });
  const form = el(
    "form",
    { class: "serving" },
    el("label", { for: "serving-day" }, "Which model served on this day (UTC)?"),
    el("div", { class: "serving-ask" }, day, el("button", { type: "submit" }, "Look it up")),
    answer,
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (!day.value) return;
    try {
      const found = await servingOn(day.value, signal);
      const periods: readonly Period[] = found.items?.length ? found.items : [found];
      answer.replaceChildren(...periods.map((period) => el("p", {}, servingWords(period))));
    } catch (error) {
      if (!signal.aborted) answer.replaceChildren(complaint(error));
    }
  });
  return el("section", { class: "card" }, el("h2", {}, "The ledger"), form);
}
