/** The models: which versions there are, how good they were, which one answers, and who may decide about them. */
import { button, chip, el, replaceIfChanged, setText } from "./dom.js";
import { metricsList } from "./metrics.js";
import { poll } from "./poll.js";
import { decide, listModels, type Model } from "./protocol.js";
import type { May } from "./routes.js";
import { moment } from "./words.js";

const REFRESH_MS = 15_000;

/** Show the model versions in `root` until `signal` aborts. */
export function showModels(root: HTMLElement, may: May, signal: AbortSignal): void {
  const list = el(
    "ul",
    { class: "cards", "aria-label": "Model versions" },
    el("li", { class: "empty" }, "Loading…"),
  );
  const trouble = el("p", { class: "result-bad", role: "alert", hidden: true });
  root.append(el("div", { class: "page" }, el("h1", { tabindex: -1 }, "Models"), trouble, list));
  const refresh = async (): Promise<void> => {
    const models = await listModels(signal);
    trouble.hidden = true;
    const rows = [...models].sort((a, b) => b.version - a.version).map((model) => modelRow(model, door));
    const none = el("li", { class: "empty" }, "No model has been registered yet.");
    replaceIfChanged(list, rows.length ? rows : [none], JSON.stringify(models));
  };
  const door = may("model.decide")
    ? (model: Model): HTMLElement => decisionOn(model, refresh, signal)
    : () => null;
  const complain = (error: unknown): void => {
    trouble.hidden = false;
    setText(trouble, `${error instanceof Error ? error.message : "The models did not load."} Trying again.`);
  };
  void poll(refresh, () => REFRESH_MS, complain, signal);
}

function modelRow(model: Model, door: (model: Model) => HTMLElement | null): HTMLElement {
  const { version, status, aliases, metrics, created_at, approved_at, lineage } = model;
  const dates = [`made ${moment(created_at)}`, approved_at ? `approved ${moment(approved_at)}` : ""];
  return el(
    "li",
    { class: "card", "data-testid": "model-row", "data-version": version, "data-status": status },
    el(
      "div",
      { class: "card-head" },
      el("h2", {}, `Model v${version}`),
      statusChip(status),
      ...aliases.map((alias) => chip(alias === "champion" ? "★ champion" : alias, "good")),
    ),
    el("p", { class: "faint" }, dates.filter(Boolean).join(" · ")),
    metricsList(metrics),
    lineageOf(lineage),
    status === "PendingManualApproval" ? door(model) : null,
  );
}

/** Approve or reject, each only after a second look: what is decided stays in the audit. */
function decisionOn({ version }: Model, after: () => Promise<void>, signal: AbortSignal): HTMLElement {
  const root = el("div", { class: "decision", "data-testid": "decision" });
  const rest = (): void => {
    root.replaceChildren(
      button("Approve", { class: "primary", "data-testid": "approve" }, () => confirm(true)),
      button("Reject", { "data-testid": "reject" }, () => confirm(false)),
    );
  };
  const confirm = (approved: boolean): void => {
    const send = button(
      approved ? `Yes, approve v${version}` : `Yes, reject v${version}`,
      { class: approved ? "primary" : "danger", "data-testid": "decide" },
      () => void tell(approved, send),
    );
    root.replaceChildren(
      el("p", { role: "status" }, consequence(version, approved)),
      send,
      button("Back", { "data-testid": "decide-not" }, rest),
    );
    send.focus();
  };
  const tell = async (approved: boolean, send: HTMLButtonElement): Promise<void> => {
    send.disabled = true;
    try {
      await decide(version, approved, signal);
      await after();
    } catch (error) {
      if (signal.aborted) return;
      rest();
      const words = error instanceof Error ? error.message : "That did not work.";
      root.prepend(el("p", { class: "result-bad", role: "alert" }, `Not decided. ${words}`));
    }
  };
  rest();
  return root;
}

/** What a decision brings about, in a sentence for whoever takes it. */
export function consequence(version: number, approved: boolean): string {
  return approved
    ? `Model v${version} becomes the champion and gives its opinion from now on.`
    : `Model v${version} is rejected and will not be used.`;
}

function statusChip(status: Model["status"]): HTMLElement {
  if (status === "Approved") return chip("✓ approved", "good");
  if (status === "Rejected") return chip("✕ rejected", "bad");
  return chip("○ waits for approval", "warn");
}

function lineageOf(lineage: Model["lineage"]): HTMLElement | null {
  const parts = Object.entries(lineage ?? {}).filter(([, value]) => value);
  if (parts.length === 0) return null;
  return el(
    "details",
    {},
    el("summary", {}, "Where it comes from"),
    el(
      "dl",
      { class: "lineage" },
      ...parts.map(([name, value]) =>
        el("div", {}, el("dt", {}, name.replaceAll("_", " ")), el("dd", {}, value ?? "")),
      ),
    ),
  );
}
