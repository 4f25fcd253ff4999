/** Drift: whether what comes in still is what the model learned from, what changed, and what happens next. */
import { lineChart } from "./charts.js";
import { chip, el, replaceIfChanged, setText } from "./dom.js";
import { type Drift, getDrift, type Monitor } from "./learning.js";
import { poll } from "./poll.js";
import { moment, plural } from "./words.js";
import "./learning.css";

const REFRESH_MS = 30_000;
const SPARK = { width: 220, height: 44 };

/** Show the monitors in `root` until `signal` aborts. */
export function showDrift(root: HTMLElement, signal: AbortSignal): void {
  const body = el("div", {}, "Loading…");
  const trouble = el("p", { class: "result-bad", role: "alert", hidden: true });
  root.append(el("div", { class: "page" }, el("h1", { tabindex: -1 }, "Drift"), toModels(), trouble, body));
  const refresh = async (): Promise<void> => {
    const drift = await getDrift(signal);
    trouble.hidden = true;
    replaceIfChanged(body, drift ? driftParts(drift) : [none()], JSON.stringify(drift));
  };
  const complain = (error: unknown): void => {
    trouble.hidden = false;
    setText(trouble, `${error instanceof Error ? error.message : "Nothing was answered."} Trying again.`);
  };
  void poll(refresh, () => REFRESH_MS, complain, signal);
}

function toModels(): HTMLElement {
  return el("p", {}, el("a", { href: "#/models", class: "button" }, "‹ Models"));
}

function none(): HTMLElement {
  return el("p", { class: "empty" }, "This server watches no drift, or it is not for your role.");
}

const STATES: Readonly<Record<string, readonly [string, "good" | "bad" | "warn" | "plain"]>> = {
  quiet: ["✓ quiet", "good"],
  watching: ["◌ watching", "plain"],
  alarm: ["⚠ alarm", "bad"],
  "no-reference": ["○ nothing to compare with", "plain"],
  "no-model": ["○ no model in use", "plain"],
  unseen: ["○ not looked at yet", "plain"],
  waiting: ["○ too few to tell", "plain"],
};

function stateChip(state: string): HTMLElement {
  const [words, tone] = STATES[state] ?? [state.replaceAll("-", " "), "plain"];
  return chip(words, tone);
}

const CHANGED: Readonly<Record<string, string>> = {
  prevalence: "More or fewer patients have the finding than before; the images themselves look as they did.",
  scanner: "The images look different: another scanner, protocol or kind of patient.",
};

/** Where drift stands, in short, for the page of the models it is about. */
export function driftCard({ state, sentence }: Drift): HTMLElement {
  return el(
    "section",
    { class: "card", "data-testid": "drift-short", "data-state": state },
    el("div", { class: "card-head" }, el("h2", {}, "Drift"), stateChip(state)),
    sentence ? el("p", {}, sentence) : null,
    el("div", { class: "ways" }, el("a", { class: "button", href: "#/drift" }, "Monitors")),
  );
}

/** What changed, where the server says it in a word only. */
export function changedWords({ changed }: Drift): string {
  return changed ? (CHANGED[changed] ?? `What changed: ${changed.replaceAll("-", " ")}.`) : "";
}

function driftParts(drift: Drift): HTMLElement[] {
  const { state, sentence, model_version, reference, studies, reads, next, monitors } = drift;
  const compared = [
    model_version ? `model v${model_version}` : "",
    reference?.patients ? `compared with ${plural(reference.patients, "patient")} it was validated on` : "",
    studies ? `${plural(studies, "patient")} seen since` : "",
    reads ? `${plural(reads, "answer")} judged by readers` : "",
  ];
  return [
    el(
      "section",
      { class: "card", "data-testid": "drift-state", "data-state": state, role: "status" },
      el(
        "div",
        { class: "card-head" },
        stateChip(state),
        drift.changed ? chip(`changed: ${drift.changed}`, "warn") : "",
      ),
      el("p", { class: "lead" }, sentence || changedWords(drift)),
      drift.since ? el("p", {}, `Since ${moment(drift.since)}.`) : null,
      next && state !== "no-model" ? el("p", {}, el("strong", {}, "Next: "), next) : null,
      el("p", { class: "faint" }, compared.filter(Boolean).join(" · ")),
    ),
    el(
      "ul",
      { class: "cards monitors", "aria-label": "Monitors" },
      ...(state === "no-model" ? [] : (monitors ?? [])).map(monitorCard),
    ),
  ];
}

const MONITORS: Readonly<Record<string, string>> = {
  embedding: "What the network sees, piece by piece",
  discrepancy: "What the network sees, as a whole",
  statistics: "Brightness and sharpness",
  header: "Modality, scanner and view",
  scores: "What the model answers",
  labels: "What readers say of it",
};

function monitorCard(monitor: Monitor): HTMLElement {
  const { name, state, value, limit, since, sentence } = monitor;
  const figures = [
    value === null ? "" : `surprise ${Number(value.toFixed(2))}`,
    limit === null ? "" : `alarm from ${Number(limit.toFixed(2))}`,
    since ? `looked at ${moment(since)}` : "",
  ];
  return el(
    "li",
    { class: "card", "data-testid": "monitor", "data-monitor": name, "data-state": state },
    el(
      "div",
      { class: "card-head" },
      el("h2", {}, MONITORS[name] ?? name),
      stateChip(value === null ? "unseen" : state),
    ),
    sentence ? el("p", {}, sentence) : null,
    sparkline(monitor),
    el("p", { class: "faint" }, figures.filter(Boolean).join(" · ")),
  );
}

function sparkline({ name, history, limit }: Monitor): Element | null {
  const points = (history ?? []).flatMap(({ at, value }) =>
    value === null ? [] : [[Date.parse(at), value] as const],
  );
  if (points.length < 2) return null;
  const [first, last] = [points[0], points.at(-1)] as [readonly [number, number], readonly [number, number]];
  const words = `${MONITORS[name] ?? name}: from ${first[1].toFixed(3)} to ${last[1].toFixed(3)} over ${points.length} looks.`;
  const marks = limit === null ? [] : [limit];
  return lineChart([{ points, look: "main" }], words, { ...SPARK, marks });
}
