/** The state of the loop: whether it trains, how each run went, what happened last. */
import { chip, el, replaceIfChanged, setText } from "./dom.js";
import { metricsList } from "./metrics.js";
import { poll } from "./poll.js";
import {
  type Execution,
  getRetraining,
  type LoopEvent,
  listEvents,
  listExecutions,
  type Retraining,
  type Step,
} from "./protocol.js";
import type { May } from "./routes.js";
import { duration, moment, plural } from "./words.js";

const BUSY_MS = 2500;
const IDLE_MS = 10_000;
const EXECUTIONS = 20;
const EVENTS = 50;

/** Show the loop in `root` until `signal` aborts. */
export function showLoop(root: HTMLElement, may: May, signal: AbortSignal): void {
  const state = el("section", { class: "card", "data-testid": "loop-state", role: "status" }, "Loading…");
  const executions = el("ul", { class: "cards", "aria-label": "Training runs" });
  const events = el("ol", { class: "events", "aria-label": "Last events" });
  const eventsPart = el("section", {}, el("h2", {}, "Last events"), events);
  const trouble = el("p", { class: "result-bad", role: "alert", hidden: true });
  root.append(
    el(
      "div",
      { class: "page" },
      el("h1", { tabindex: -1 }, "Retraining"),
      trouble,
      state,
      el("h2", {}, "Training runs"),
      executions,
      eventsPart,
    ),
  );
  let isBusy = false;
  const refresh = async (): Promise<void> => {
    const [retraining, runs, happened] = await Promise.all([
      getRetraining(signal),
      listExecutions(EXECUTIONS, signal),
      may("event.read") ? listEvents(EVENTS, signal) : null, // the rest of the page is theirs all the same
    ]);
    isBusy = retraining.state === "running" || runs.some((run) => run.state === "Executing");
    trouble.hidden = true;
    renderState(state, retraining);
    renderExecutions(executions, runs);
    eventsPart.hidden = happened === null;
    if (happened) renderEvents(events, happened);
  };
  const complain = (error: unknown): void => {
    trouble.hidden = false;
    setText(trouble, `${error instanceof Error ? error.message : "The loop did not answer."} Trying again.`);
  };
  void poll(refresh, () => (isBusy ? BUSY_MS : IDLE_MS), complain, signal);
}

function renderState(root: HTMLElement, retraining: Retraining): void {
  const { state, sentence, verified, new_since_last: fresh, needed } = retraining;
  const tone = state === "running" ? "busy" : "plain";
  const share = Math.min(fresh / Math.max(needed, 1), 1);
  const words = needed
    ? `${fresh} of ${needed} new verified studies; ${verified} in all`
    : `${verified} verified in all`;
  replaceIfChanged(
    root,
    [
      chip(state === "running" ? "▶ running" : state, tone),
      el("p", { class: "lead" }, sentence),
      ...(needed
        ? [el("progress", { max: 1, value: share, "aria-label": "Verified since the last training" })]
        : []),
      el("p", { class: "faint" }, words),
    ],
    JSON.stringify(retraining),
  );
}

function renderExecutions(root: HTMLElement, executions: readonly Execution[]): void {
  const rows = executions.map((execution) => executionRow(execution));
  const none = el("li", { class: "empty" }, "No model has been trained yet.");
  replaceIfChanged(root, rows.length ? rows : [none], JSON.stringify(executions));
}

function executionRow(execution: Execution): HTMLElement {
  const { id, state, started_at, ended_at, reason, studies, steps, model_version } = execution;
  const facts = [
    moment(started_at),
    duration(started_at, ended_at),
    studies === null ? "" : plural(studies, "study", "studies"),
    model_version === null ? "" : `model v${model_version}`,
  ];
  return el(
    "li",
    { class: "card", "data-testid": "execution-row", "data-id": id, "data-state": state },
    el(
      "div",
      { class: "card-head" },
      stateChip(state),
      el("span", { class: "faint" }, facts.filter(Boolean).join(" · ")),
    ),
    el("ol", { class: "steps", "aria-label": "Steps" }, ...steps.map((step) => el("li", {}, stepChip(step)))),
    progressOf(execution),
    reason ? el("p", { class: state === "Failed" ? "result-bad" : "faint" }, reason) : null,
    metricsList(execution.metrics),
  );
}

const MARKS = {
  Waiting: { mark: "○", tone: "plain" },
  Executing: { mark: "▶", tone: "busy" },
  Succeeded: { mark: "✓", tone: "good" },
  Failed: { mark: "✕", tone: "bad" },
  Skipped: { mark: "–", tone: "plain" },
  Stopped: { mark: "■", tone: "warn" },
} as const;

function stateChip(state: Execution["state"]): HTMLElement {
  return chip(`${MARKS[state].mark} ${state}`, MARKS[state].tone);
}

function stepChip({ name, state, reason, started_at, ended_at }: Step): HTMLElement {
  const step = chip(`${MARKS[state].mark} ${name}`, MARKS[state].tone);
  const took = duration(started_at, ended_at);
  step.append(el("span", { class: "chip-note" }, took || state.toLowerCase()));
  if (reason) step.title = reason;
  return step;
}

function progressOf({ progress, state }: Execution): HTMLElement | null {
  if (!progress || state !== "Executing") return null;
  const { epoch, epochs, train_loss, validation_loss } = progress;
  const losses = [
    train_loss === null ? "" : `training loss ${train_loss.toFixed(3)}`,
    validation_loss === null ? "" : `validation loss ${validation_loss.toFixed(3)}`,
  ];
  return el(
    "div",
    { class: "progress" },
    el("progress", { max: epochs, value: epoch, "aria-label": "Epochs" }),
    el("span", { class: "faint" }, [`Epoch ${epoch} of ${epochs}`, ...losses].filter(Boolean).join(" · ")),
  );
}

function renderEvents(root: HTMLElement, events: readonly LoopEvent[]): void {
  const latest = [...events].sort((a, b) => b.seq - a.seq);
  const rows = latest.map(({ time, source, detail_type, detail }) =>
    el(
      "li",
      {},
      el("strong", {}, detail_type),
      el("span", { class: "faint" }, `${moment(time)} · ${source}`),
      el("span", { class: "detail" }, describe(detail)),
    ),
  );
  const none = el("li", { class: "empty" }, "Nothing has happened yet.");
  replaceIfChanged(root, rows.length ? rows : [none], String(latest[0]?.seq ?? "none"));
}

/** The plain values of an event's detail; nested ones are left to the API. */
export function describe(detail: Readonly<Record<string, unknown>>): string {
  return Object.entries(detail)
    .filter(([, value]) => ["string", "number", "boolean"].includes(typeof value))
    .slice(0, 5)
    .map(([name, value]) => `${name.replaceAll("_", " ")} ${value}`)
    .join(" · ");
}
