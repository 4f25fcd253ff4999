/** The models: which versions there are, how good they were, which one answers. */
import { chip, el, replaceIfChanged, setText } from "./dom.js";
import { metricsList } from "./metrics.js";
import { poll } from "./poll.js";
import { listModels, type Model } from "./protocol.js";
import { moment } from "./words.js";

const REFRESH_MS = 15_000;

/** Show the model versions in `root` until `signal` aborts. */
export function showModels(root: HTMLElement, signal: AbortSignal): void {
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
    const rows = [...models].sort((a, b) => b.version - a.version).map(modelRow);
    const none = el("li", { class: "empty" }, "No model has been registered yet.");
    replaceIfChanged(list, rows.length ? rows : [none], JSON.stringify(models));
  };
  const complain = (error: unknown): void => {
    trouble.hidden = false;
    setText(trouble, `${error instanceof Error ? error.message : "The models did not load."} Trying again.`);
  };
  void poll(refresh, () => REFRESH_MS, complain, signal);
}

function modelRow({
  version,
  status,
  aliases,
  metrics,
  created_at,
  approved_at,
  lineage,
}: Model): HTMLElement {
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
  );
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
