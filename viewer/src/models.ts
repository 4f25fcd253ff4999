/**
 * The models: which versions there are, how good they were, which one answers, who may decide about them, and what
 * keeps a release waiting.
 */
import { complaint } from "./confirm.js";
import { decisionOn, rollBackFrom } from "./decision.js";
import { chip, el, replaceIfChanged, setText } from "./dom.js";
import { driftCard } from "./drift.js";
import { gateList } from "./gate.js";
import {
  type Comparison,
  type Evaluation,
  getComparison,
  getDrift,
  getEvaluation,
  getPlan,
  getReasons,
  listModels,
  type Model,
  modelFileUrl,
  type Reasons,
} from "./learning.js";
import { figureOf, intervalWords, metricsList } from "./metrics.js";
import { planCard } from "./plan.js";
import { poll } from "./poll.js";
import type { May } from "./routes.js";
import { Rows } from "./rows.js";
import { servingLookup } from "./serving.js";
import { metricValue, moment, plural } from "./words.js";
import "./learning.css";

const REFRESH_MS = 15_000;
/** Whose figures are asked for at once; those of the others when they are unfolded. */
const AT_ONCE = 3;

/** Show the model versions in `root` until `signal` aborts. */
export function showModels(root: HTMLElement, may: May, signal: AbortSignal): void {
  new Models(root, may, signal).start();
}

class Models {
  readonly #plan = el("div", {});
  readonly #drift = el("div", {});
  readonly #told = el("p", { class: "lead", role: "status", "data-testid": "models-told", hidden: true });
  readonly #trouble = el("p", { class: "result-bad", role: "alert", hidden: true });
  readonly #list = el(
    "ul",
    { class: "cards", "aria-label": "Model versions" },
    el("li", { class: "empty" }, "Loading…"),
  );
  readonly #rows: Rows<Model>;
  readonly #evaluations = new Map<number, Promise<Evaluation | null>>();
  #reasons: Reasons | null = null;
  #newest = 0;
  #beside = "";

  constructor(
    private readonly root: HTMLElement,
    private readonly may: May,
    private readonly signal: AbortSignal,
  ) {
    this.#rows = new Rows<Model>(
      this.#list,
      ({ version }) => String(version),
      (model) => this.#card(model),
      el("li", { class: "empty" }, "No model has been registered yet."),
    );
  }

  start(): void {
    this.root.append(
      el(
        "div",
        { class: "page" },
        el("h1", { tabindex: -1 }, "Models"),
        this.#trouble,
        this.#told,
        this.#drift,
        this.#list,
        this.#plan,
        servingLookup(this.signal),
      ),
    );
    void poll(
      () => this.#refresh(),
      () => REFRESH_MS,
      (error) => {
        const words = error instanceof Error ? error.message : "The models did not load.";
        this.#trouble.hidden = false;
        setText(this.#trouble, `${words} Trying again.`);
      },
      this.signal,
    );
  }

  async #refresh(): Promise<void> {
    const [models, plan, drift, beside, reasons] = await Promise.all([
      listModels(this.signal),
      getPlan(this.signal),
      getDrift(this.signal),
      getComparison(this.signal),
      this.#reasons ?? (this.may("model.decide") ? getReasons(this.signal) : null),
    ]);
    this.#reasons = reasons;
    this.#beside = besideWords(beside);
    this.#trouble.hidden = true;
    replaceIfChanged(this.#plan, plan ? [planCard(plan)] : [], JSON.stringify(plan));
    replaceIfChanged(this.#drift, drift ? [driftCard(drift)] : [], JSON.stringify(drift));
    const newestFirst = [...models].sort((a, b) => b.version - a.version);
    this.#newest = newestFirst[0]?.version ?? 0;
    this.#rows.show(newestFirst);
  }

  #card(model: Model): HTMLElement {
    const { version, status, aliases, lineage, held = [] } = model;
    const ways = waysTo(version, this.may);
    return el(
      "li",
      { class: "card", "data-testid": "model-row", "data-version": version, "data-status": status },
      el(
        "div",
        { class: "card-head" },
        el("h2", {}, `Model v${version}`),
        statusChip(status),
        ...aliases.map(aliasChip),
      ),
      el("p", { class: "faint" }, factsOf(model)),
      held.length > 0 && heldPart(held),
      aliases.includes("shadow") && this.#beside !== "" && el("p", { "data-testid": "beside" }, this.#beside),
      this.#figures(model, ways),
      ways,
      lineageOf(lineage),
      this.#door(model),
    );
  }

  /** What may be done about it, by who may. */
  #door(model: Model): HTMLElement | null {
    const after = async (told: Model): Promise<void> => {
      this.#told.hidden = false;
      setText(this.#told, afterWords(model, told));
      await this.#refresh();
    };
    if (model.status === "PendingManualApproval")
      return this.may("model.decide") ? decisionOn(model, this.#reasons, after, this.signal) : null;
    if (!this.may("model.rollback")) return null;
    const isChampion = model.aliases.includes("champion");
    return isChampion ? rollBackFrom(model, this.#reasons, after, this.signal) : null;
  }

  /** Figures with their intervals, the gate's rules and the comparison: at once where somebody is likely to look. */
  #figures(model: Model, ways: HTMLElement): HTMLElement {
    const { version, metrics, aliases } = model;
    const plain = metricsList(metrics);
    const place = el("div", { class: "model-figures" }, plain ?? "");
    const load = async (): Promise<void> => {
      const found = await this.#evaluation(version);
      if (this.signal.aborted) return;
      ways.hidden = found === null; // nothing lies beside a version of before
      if (!found) return;
      place.replaceChildren(
        metricsList(keyFigures(found)) ?? plain ?? "",
        comparisonOf(found) ?? "",
        found.gate ? gateList(found.gate) : "",
      );
    };
    const isAtOnce = version > this.#newest - AT_ONCE || aliases.length > 0;
    if (isAtOnce) {
      load().catch(() => {}); // the plain figures stay
      return place;
    }
    const more = el(
      "details",
      { "data-fold": "figures" },
      el("summary", {}, "Intervals and rules"),
      el("p", { class: "faint" }, "Loading…"),
    );
    more.addEventListener("toggle", () => {
      load()
        .then(() => more.remove())
        .catch((error: unknown) => more.append(complaint(error)));
    });
    place.append(more);
    return place;
  }

  /** An evaluation never changes once it is written. */
  #evaluation(version: number): Promise<Evaluation | null> {
    const known = this.#evaluations.get(version);
    if (known) return known;
    const asked = getEvaluation(version, this.signal);
    this.#evaluations.set(version, asked);
    asked.catch(() => this.#evaluations.delete(version));
    return asked;
  }
}

const KEY_FIGURES = [
  "roc_auc",
  "accuracy",
  "recall",
  "specificity",
  "precision",
  "f1",
  "pr_auc",
  "brier",
  "ece",
];

/** Those a decision rests on, in the order they are looked at. */
export function keyFigures({ metrics }: Evaluation): Record<string, ReturnType<typeof figureOf>> {
  const entries = KEY_FIGURES.flatMap((name) => {
    const figure = figureOf(metrics?.[name]);
    return metrics && name in metrics && figure ? [[name, figure] as const] : [];
  });
  return Object.fromEntries(entries);
}

function comparisonOf({ champion, external }: Evaluation): HTMLElement | null {
  const parts = [];
  const delta = figureOf(champion?.delta);
  if (champion && delta?.value != null) {
    const sign = delta.value >= 0 ? "+" : "";
    parts.push(
      `Against the champion v${champion.version} on the same patients: ROC AUC ${sign}${metricValue(delta.value)} (${intervalWords(delta)}).`,
    );
  }
  const outside = figureOf(external?.metrics?.roc_auc);
  if (outside?.value != null)
    parts.push(
      `On images from elsewhere: ROC AUC ${metricValue(outside.value)} (${intervalWords(outside)}).`,
    );
  return parts.length ? el("p", { class: "comparison" }, parts.join(" ")) : null;
}

/** How a shadow does beside the champion. */
export function besideWords(comparison: Comparison | null): string {
  const {
    champion = null,
    shadow = null,
    image_sets = 0,
    agreement = null,
    difference = null,
  } = comparison ?? {};
  if (champion === null || shadow === null || agreement === null || image_sets === 0) return "";
  const apart = difference === null ? "" : `, their probabilities ${difference.toFixed(2)} apart in the mean`;
  return `Beside the champion v${champion}: the same finding in ${Math.round(100 * agreement)} % of ${plural(image_sets, "image set")}${apart}.`;
}

/** What has become of a model, for who just decided about it. */
export function afterWords(before: Model, told: Model): string {
  if (told.notice) return told.notice;
  if (told.version !== before.version) return `Model v${told.version} gives its opinion again.`;
  if (told.status === "Rejected") return `Model v${told.version} is rejected.`;
  if (told.status === "PendingManualApproval")
    return `Your approval of v${told.version} is noted; it takes another.`;
  return `Model v${told.version} is approved.`;
}

function factsOf(model: Model): string {
  const {
    created_at,
    approved_at,
    decided_at,
    decided_by,
    reason,
    rolled_back_at,
    approvals = [],
    status,
  } = model;
  const decided = approved_at
    ? `approved ${moment(approved_at)}`
    : decided_at
      ? `decided ${moment(decided_at)}`
      : "";
  return [
    `made ${moment(created_at)}`,
    decided && decided_by ? `${decided} by ${decided_by}` : decided,
    reason ? reason.replaceAll("-", " ") : "",
    status === "PendingManualApproval" && approvals.length
      ? `${plural(approvals.length, "approval")} so far`
      : "",
    rolled_back_at ? `taken out of use ${moment(rolled_back_at)}` : "",
  ]
    .filter(Boolean)
    .join(" · ");
}

function heldPart(held: NonNullable<Model["held"]>): HTMLElement {
  return el(
    "div",
    { class: "held", "data-testid": "held" },
    el("p", { class: "result-warn" }, "Its release waits:"),
    el(
      "ul",
      { class: "reasons" },
      ...held.map(({ code, sentence }) => el("li", { "data-code": code }, sentence)),
    ),
  );
}

function waysTo(version: number, may: May): HTMLElement {
  const open = { class: "button", target: "_blank", rel: "noopener" };
  return el(
    "div",
    { class: "ways" },
    el("a", { ...open, href: modelFileUrl(version, "report") }, "Report ↗"),
    el("a", { ...open, href: modelFileUrl(version, "card") }, "Model card ↗"),
    may("model.evidence") &&
      el(
        "a",
        { class: "button", href: modelFileUrl(version, "evidence"), download: `evidence-v${version}.zip` },
        "Evidence ↓",
      ),
  );
}

function aliasChip(alias: string): HTMLElement {
  if (alias === "champion") return chip("★ champion", "good");
  return chip(alias === "shadow" ? "◌ shadow: asked beside it, shown to nobody" : alias, "plain");
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
    { "data-fold": "lineage" },
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
