/** The audit: who did what, newest first, and whether the chain that tells it is whole. */
import { button, chip, el, setText } from "./dom.js";
import { type AuditEntry, type AuditVerdict, listAudit, listUsers, verifyAudit } from "./protocol.js";
import type { May } from "./routes.js";
import { moment, plural } from "./words.js";

const PAGE_SIZE = 100;

/** Show the audit in `root` until `signal` aborts. */
export function showAudit(root: HTMLElement, may: May, signal: AbortSignal): void {
  const state = el("section", { class: "card", "data-testid": "audit-state", role: "status" });
  const list = el("ol", { class: "events", "aria-label": "Entries, newest first" });
  const trouble = el("p", { class: "result-bad", role: "alert", hidden: true });
  const more = button("Load more", { class: "more", hidden: true }, () => void load());
  const again = button("Check again", { "data-testid": "audit-again" }, () => begin());
  root.append(
    el(
      "div",
      { class: "page" },
      el("h1", { tabindex: -1 }, "Audit"),
      trouble,
      state,
      again,
      el("h2", {}, "Entries"),
      list,
      more,
    ),
  );
  let names: ReadonlyMap<string, string> = new Map();
  let last: number | null = null;

  const guarded = async (task: () => Promise<void>): Promise<void> => {
    try {
      trouble.hidden = true;
      await task();
    } catch (error) {
      if (signal.aborted) return;
      trouble.hidden = false;
      setText(trouble, error instanceof Error ? error.message : "The audit did not load.");
    }
  };
  const load = (): Promise<void> =>
    guarded(async () => {
      more.disabled = true;
      try {
        const entries = await listAudit(PAGE_SIZE, last, signal);
        list.append(...entries.map((entry) => entryRow(entry, names)));
        last = entries.at(-1)?.seq ?? last;
        more.hidden = entries.length < PAGE_SIZE;
      } finally {
        more.disabled = false;
      }
    });
  const check = (): Promise<void> =>
    guarded(async () => {
      state.replaceChildren("Walking the chain…");
      again.disabled = true;
      try {
        state.replaceChildren(...verdictOf(await verifyAudit(signal)));
      } catch (error) {
        state.replaceChildren(chip("not checked", "warn"));
        throw error;
      } finally {
        again.disabled = false;
      }
    });
  const begin = (): void => {
    list.replaceChildren();
    last = null;
    void guarded(async () => {
      if (may("credential.manage")) names = namesOf(await listUsers(signal));
    })
      .then(load)
      .then(check);
  };
  begin();
}

function namesOf(users: readonly { readonly id: string; readonly name: string }[]): Map<string, string> {
  return new Map(users.map(({ id, name }) => [id, name]));
}

/** What walking the chain found, in a sentence. */
export function verdictWords({ whole, entries, broken_at }: AuditVerdict): string {
  if (whole) return `The chain is whole: ${plural(entries, "entry", "entries")}.`;
  if (broken_at === null) return "The chain does not hold the head that was kept.";
  return `The chain is broken at entry ${broken_at}: it or one before was changed or taken out.`;
}

function verdictOf(verdict: AuditVerdict): Node[] {
  return [
    chip(verdict.whole ? "✓ whole" : "✕ broken", verdict.whole ? "good" : "bad"),
    el("p", { class: "lead" }, verdictWords(verdict)),
    el(
      "p",
      { class: "faint" },
      "Keep this head elsewhere: only with it can one see that the end was cut off (radloop audit verify --head).",
    ),
    el("code", { class: "hash", "data-testid": "audit-head" }, verdict.head),
  ];
}

function entryRow(entry: AuditEntry, names: ReadonlyMap<string, string>): HTMLElement {
  const { seq, time, principal, action, subject, outcome, count } = entry;
  const times = count > 1 ? ` × ${count}` : "";
  return el(
    "li",
    { "data-testid": "audit-row", "data-seq": seq },
    el("strong", {}, `${action}${times}`),
    el("span", { class: "faint" }, `${seq} · ${moment(time)}`),
    outcome === "success" ? null : chip(outcome, "bad"),
    el("span", { class: "detail" }, `by ${names.get(principal) ?? principal}`),
    subject ? el("span", { class: "detail" }, `on ${names.get(subject) ?? subject}`) : null,
  );
}
