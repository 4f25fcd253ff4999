/** What an image set was ever held to be: entries are added and never changed. */
import { complaint } from "./confirm.js";
import { el } from "./dom.js";
import { type Label, listLabels, provenanceUrl } from "./learning.js";
import { moment, plural } from "./words.js";

const RULES: Readonly<Record<string, string>> = {
  single: "one read",
  agreement: "readers agree",
  posterior: "the reads together",
  adjudication: "an adjudicator decided",
  revision: "revised",
};

/** An entry in words: what, and what made it so. */
export function labelWords({ finding, site, laterality, rule, posterior, reads, reason }: Label): string {
  const where = site ?? (laterality ? `${laterality}` : "");
  const facts = [
    RULES[rule] ?? rule,
    reads && reads > 1 ? plural(reads, "read") : "",
    posterior === null || posterior === undefined ? "" : `probability ${posterior.toFixed(2)}`,
    reason ? reason.replaceAll("-", " ") : "",
  ];
  const what = finding === null ? "No label" : `Finding ${finding}${where ? `, ${where}` : ""}`;
  return `${what}: ${facts.filter(Boolean).join(", ")}`;
}

/** Folded away until it is asked for; silent where the server keeps none. */
export function historyOf(id: string, signal: AbortSignal): HTMLElement {
  const list = el("ol", { class: "events", "aria-label": "Label history" });
  const root = el(
    "details",
    { class: "labels", "data-testid": "labels" },
    el("summary", {}, "Label history"),
    list,
    waysOut(id),
  );
  const say = (words: string): void => list.replaceChildren(el("li", { class: "faint" }, words));
  root.addEventListener("toggle", async () => {
    if (!root.open) return;
    try {
      const labels = await listLabels(id, signal);
      if (labels === null) say("The history cannot be shown.");
      else if (labels.length === 0) say("Nobody has said anything yet.");
      else list.replaceChildren(...[...labels].reverse().map(labelRow));
    } catch (error) {
      if (!signal.aborted) list.replaceChildren(el("li", {}, complaint(error)));
    }
  });
  return root;
}

/** The same for other systems: a DICOM report, or FHIR resources. */
function waysOut(id: string): HTMLElement {
  return el(
    "div",
    { class: "ways" },
    el("a", { class: "button", href: provenanceUrl(id, "sr"), download: "" }, "DICOM SR ↓"),
    el("a", { class: "button", href: provenanceUrl(id, "fhir"), download: "" }, "FHIR ↓"),
  );
}

function labelRow(label: Label): HTMLElement {
  const by = [moment(label.at), label.by ? `by ${label.by}` : "", `version ${label.version}`];
  return el(
    "li",
    { "data-testid": "label-row" },
    el("span", {}, labelWords(label)),
    el("span", { class: "detail" }, by.filter(Boolean).join(" · ")),
  );
}
