/** How image sets are read: by one reader or more, and who decides where they differ; and how readers agree. */
import { agreementWords } from "./adjudication.js";
import { choice } from "./choice.js";
import { complaint } from "./confirm.js";
import { el, setText } from "./dom.js";
import { type Agreement, getAgreement, getProject, type Project, setProject } from "./learning.js";
import type { Policy } from "./protocol.js";
import { plural } from "./words.js";
import "./learning.css";

const POLICIES: readonly { readonly value: Policy; readonly label: string; readonly words: string }[] = [
  { value: "single", label: "One reader", words: "The first read is ground truth." },
  {
    value: "double",
    label: "Two or more",
    words:
      "Two blinded reads that agree are ground truth; else as many more as it takes until it is probable enough.",
  },
  {
    value: "double-adjudicated",
    label: "Two, adjudicated",
    words: "Two blinded reads that agree are ground truth; where they differ an adjudicator decides.",
  },
];

/** Show the policy in `root` and let it be changed, until `signal` aborts. */
export function showReadingRules(root: HTMLElement, signal: AbortSignal): void {
  root.append(el("p", { class: "empty" }, "Loading…"));
  load(signal).then(
    (found) => {
      if (signal.aborted) return;
      root.replaceChildren(
        ...(found
          ? [policyForm(found.project, signal), readersPart(found.agreement)]
          : [el("p", { class: "empty" }, "This server knows one read only.")]),
      );
    },
    (error: unknown) => {
      if (!signal.aborted) root.replaceChildren(complaint(error));
    },
  );
}

async function load(signal: AbortSignal): Promise<{ project: Project; agreement: Agreement } | null> {
  const agreement = await getAgreement(signal);
  const project = agreement?.datastore ? await getProject(agreement.datastore, signal) : null;
  return agreement && project ? { project, agreement } : null;
}

function policyForm({ datastore, policy }: Project, signal: AbortSignal): HTMLElement {
  const words = el("p", { class: "faint" });
  const told = el("p", { role: "status", "data-testid": "policy-told" });
  const options = POLICIES.map(({ value, label }) => ({ value, label, testid: `policy-${value}` }));
  const send = el(
    "button",
    { type: "submit", class: "primary", "data-testid": "policy-set" },
    "Read like this",
  );
  const form = el(
    "form",
    { class: "card admin-form", "data-testid": "policy" },
    choice("policy", "Who reads an image set", options),
    words,
    send,
    told,
  );
  const chosen = (): Policy => new FormData(form).get("policy") as Policy;
  const explain = (): void => {
    setText(words, POLICIES.find(({ value }) => value === chosen())?.words ?? "");
    send.disabled = chosen() === policy;
  };
  const input = form.querySelector<HTMLInputElement>(`input[value="${policy}"]`);
  if (input) input.checked = true;
  form.addEventListener("change", explain);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    send.disabled = true;
    try {
      const after = await setProject(datastore, chosen(), signal);
      form.replaceWith(policyForm(after, signal));
    } catch (error) {
      if (signal.aborted) return;
      send.disabled = false;
      told.replaceChildren(complaint(error));
    }
  });
  explain();
  return form;
}

function readersPart(agreement: Agreement): HTMLElement {
  const { reads, readers = [] } = agreement;
  const head = ["Reader", "Reads", "Sensitivity", "Specificity"].map((name) =>
    el("th", { scope: "col" }, name),
  );
  const rows = readers.map((each) =>
    el(
      "tr",
      {},
      el("th", { scope: "row", class: "hash" }, each.reader),
      el("td", {}, String(each.reads)),
      el("td", {}, share(each.sensitivity)),
      el("td", {}, share(each.specificity)),
    ),
  );
  return el(
    "section",
    { class: "card", "data-testid": "readers" },
    el("h2", {}, "Readers"),
    el(
      "p",
      { class: "faint" },
      `${plural(reads, "read")} that count so far. ${agreementWords(agreement)}`.trim(),
    ),
    rows.length > 0 &&
      el(
        "table",
        { class: "figures-table" },
        el("thead", {}, el("tr", {}, ...head)),
        el("tbody", {}, ...rows),
      ),
    rows.length > 0 &&
      el("p", { class: "faint" }, "Reckoned from all reads together; no reader is told of it while reading."),
  );
}

function share(value: number | null): string {
  return value === null ? "–" : value.toFixed(2);
}
