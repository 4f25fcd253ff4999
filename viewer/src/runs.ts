/** Training runs: their steps, how training comes along, what the gate said, and what they learned from. */
import { lineChart } from "./charts.js";
import { complaint } from "./confirm.js";
import { chip, el } from "./dom.js";
import { gateList } from "./gate.js";
import {
  type Epoch,
  type Execution,
  getSnapshot,
  type Progress,
  runReportUrl,
  type Step,
} from "./learning.js";
import { metricsList } from "./metrics.js";
import { snapshotFacts } from "./snapshot.js";
import { duration, moment, plural } from "./words.js";

const MARKS = {
  Waiting: { mark: "○", tone: "plain" },
  Executing: { mark: "▶", tone: "busy" },
  Succeeded: { mark: "✓", tone: "good" },
  Failed: { mark: "✕", tone: "bad" },
  Skipped: { mark: "–", tone: "plain" },
  Stopped: { mark: "■", tone: "warn" },
} as const;
const CHART = { width: 320, height: 110, isScaled: true };
const MINUTE_S = 60;

/** Epochs of runs as this page saw them go by, for servers that tell the last one only. */
const seenEpochs = new Map<string, Epoch[]>();

/** One run. */
export function runCard(execution: Execution, signal: AbortSignal): HTMLElement {
  const { id, state, started_at, ended_at, reason, studies, steps, model_version, gate } = execution;
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
    reason && !isToldByGate(execution)
      ? el("p", { class: state === "Failed" ? "result-bad" : "faint" }, reason)
      : null,
    gate ? gateList(gate) : null,
    metricsList(execution.metrics),
    waysOf(execution),
    snapshotPart(execution, signal),
  );
}

/** A refusal by the gate ends a run; its rules say more than the sentence it ends with. */
function isToldByGate({ gate, state, steps }: Execution): boolean {
  const isRefused = gate?.approved === false && state === "Failed";
  return isRefused && steps.some(({ name, state: of }) => name === "Evaluate" && of === "Succeeded");
}

function waysOf({ id, gate }: Execution): HTMLElement | null {
  if (!gate) return null;
  return el(
    "div",
    { class: "ways" },
    el("a", { class: "button", href: runReportUrl(id), target: "_blank", rel: "noopener" }, "Report ↗"),
  );
}

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

function progressOf({ id, progress, state }: Execution): HTMLElement | null {
  if (!progress) return null;
  const epochs = epochsOf(id, progress);
  const { epoch, epochs: all } = progress;
  const isTraining = state === "Executing" && epoch !== null;
  if (!isTraining && epochs.length < 2) return null;
  const { train_loss = null, validation_loss = null } = epochs.at(-1) ?? {};
  const left = isTraining ? leftWords(secondsLeft(progress)) : "";
  const place = isTraining ? `Epoch ${epoch} of ${all}` : plural(epochs.length, "epoch");
  const losses = [
    train_loss === null ? "" : `training loss ${train_loss.toFixed(3)}`,
    validation_loss === null ? "" : `validation loss ${validation_loss.toFixed(3)}`,
  ];
  return el(
    "div",
    { class: "progress" },
    isTraining && el("progress", { max: all, value: epoch, "aria-label": "Epochs" }),
    el(
      "p",
      { class: "faint", "data-testid": "progress-words" },
      [place, ...losses, left].filter(Boolean).join(" · "),
    ),
    lossChart(epochs),
  );
}

/** All epochs so far: the server's, or those that went by on this page. */
export function epochsOf(
  id: string,
  { history, epoch, train_loss, validation_loss }: Progress,
): readonly Epoch[] {
  if (history?.length) return history;
  const seen = seenEpochs.get(id) ?? [];
  if (epoch !== null && seen.at(-1)?.epoch !== epoch) seen.push({ epoch, train_loss, validation_loss });
  seenEpochs.set(id, seen);
  return seen;
}

/** The server's own reckoning, or what the epochs so far took a piece; null while nobody can tell. */
export function secondsLeft({ seconds_left, seconds, epoch, epochs }: Progress): number | null {
  if (typeof seconds_left === "number") return seconds_left;
  return typeof seconds === "number" && epoch && epochs ? (seconds / epoch) * (epochs - epoch) : null;
}

export function leftWords(seconds: number | null): string {
  if (seconds === null) return "";
  if (seconds < MINUTE_S) return "less than a minute of training left";
  return `about ${plural(Math.round(seconds / MINUTE_S), "minute")} of training left`;
}

function lossChart(epochs: readonly Epoch[]): HTMLElement | null {
  if (epochs.length < 2) return null;
  const line = (name: "train_loss" | "validation_loss") =>
    epochs.flatMap((each) => {
      const value = each[name];
      return value === null ? [] : [[each.epoch, value] as const];
    });
  const [first, last] = [epochs[0], epochs.at(-1)] as [Epoch, Epoch];
  const words = `Loss by epoch: training from ${told(first.train_loss)} to ${told(last.train_loss)}, validation from ${told(first.validation_loss)} to ${told(last.validation_loss)}.`;
  const chart = lineChart(
    [
      { points: line("train_loss"), look: "main" },
      { points: line("validation_loss"), look: "second" },
    ],
    words,
    CHART,
  );
  if (!chart) return null;
  return el(
    "figure",
    { class: "chart-place", "data-testid": "loss-chart" },
    chart,
    el(
      "figcaption",
      { class: "faint" },
      el("span", { class: "key key-main" }, "training loss"),
      el("span", { class: "key key-second" }, "validation loss"),
    ),
  );
}

function told(value: number | null): string {
  return value === null ? "unknown" : value.toFixed(3);
}

/** What the run learned from, once somebody wants to know. */
function snapshotPart({ snapshot }: Execution, signal: AbortSignal): HTMLElement | null {
  if (!snapshot) return null;
  const place = el("div", {}, "Loading…");
  const root = el(
    "details",
    { "data-fold": "snapshot", "data-testid": "snapshot" },
    el("summary", {}, "What it learned from"),
    place,
  );
  root.addEventListener("toggle", async () => {
    if (!root.open || place.childElementCount) return;
    try {
      const found = await getSnapshot(snapshot, signal);
      place.replaceChildren(found ? snapshotFacts(snapshot, found) : "This server does not tell.");
    } catch (error) {
      if (!signal.aborted) place.replaceChildren(complaint(error));
    }
  });
  return root;
}
