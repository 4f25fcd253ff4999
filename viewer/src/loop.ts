/** The state of the loop: where it stands, whether it trains, how each run went, what happened last. */
import { chip, el, replaceIfChanged, setText } from "./dom.js";
import {
  type Execution,
  getRetraining,
  type LoopEvent,
  listEvents,
  listExecutions,
  type Retraining,
} from "./learning.js";
import { poll } from "./poll.js";
import type { May } from "./routes.js";
import { Rows } from "./rows.js";
import { runCard } from "./runs.js";
import { moment } from "./words.js";
import "./learning.css";

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
      may("metrics.read") &&
        el("p", {}, el("a", { href: "#/dashboards", class: "button" }, "Dashboards and alarms")),
      trouble,
      state,
      el("h2", {}, "Training runs"),
      executions,
      eventsPart,
    ),
  );
  const runs = new Rows<Execution>(
    executions,
    ({ id }) => id,
    (run) => runCard(run, signal),
    el("li", { class: "empty" }, "No model has been trained yet."),
  );
  let isBusy = false;
  const refresh = async (): Promise<void> => {
    const [retraining, found, happened] = await Promise.all([
      getRetraining(signal),
      listExecutions(EXECUTIONS, signal),
      may("event.read") ? listEvents(EVENTS, signal) : null, // the rest of the page is theirs all the same
    ]);
    isBusy = retraining.state === "running" || found.some((run) => run.state === "Executing");
    trouble.hidden = true;
    renderState(state, retraining);
    runs.show(found);
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
