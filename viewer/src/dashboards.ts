/** What is measured and what is wrong: the alarms, and three dashboards with the lines of the last hours. */
import "./learning.css";
import "./dashboards.css";
import { button, chip, el, replaceIfChanged, setText } from "./dom.js";
import { figure } from "./figures.js";
import {
  type Alarm,
  type Dashboards,
  getDashboards,
  listAlarms,
  type Tried,
  testNotifications,
} from "./learning.js";
import { Plot } from "./plots.js";
import { poll } from "./poll.js";
import type { May } from "./routes.js";
import { moment, plural } from "./words.js";

const REFRESH_MS = 30_000;
const HOURS = [1, 6, 24] as const;

/** Show alarms and dashboards in `root` until `signal` aborts. */
export function showDashboards(root: HTMLElement, may: May, signal: AbortSignal): void {
  const state = el("section", { class: "card", "data-testid": "alarm-state", role: "status" }, "Loading…");
  const alarms = el("ul", { class: "cards", "aria-label": "Alarms" });
  const trouble = el("p", { class: "result-bad", role: "alert", hidden: true });
  const drawings = new Drawings(signal);
  let hours: number = 6;
  const choices = HOURS.map((each) =>
    button(
      each === 1 ? "1 hour" : `${each} hours`,
      { class: "choice", "aria-pressed": each === hours },
      () => {
        hours = each;
        HOURS.forEach((one, place) => {
          choices[place]?.setAttribute("aria-pressed", String(one === hours));
        });
        refresh().catch(complain);
      },
    ),
  );
  root.append(
    el(
      "div",
      { class: "page dashboards" },
      el("h1", { tabindex: -1 }, "Dashboards"),
      trouble,
      state,
      el("details", { class: "card" }, el("summary", {}, "All alarms"), alarms),
      may("alarm.test") ? testPart(signal) : null,
      el("div", { class: "ways", role: "group", "aria-label": "How far back" }, ...choices),
      drawings.root,
    ),
  );
  const refresh = async (): Promise<void> => {
    const asked = hours;
    const [standing, drawn] = await Promise.all([listAlarms(signal), getDashboards(asked, signal)]);
    if (asked !== hours) return;
    trouble.hidden = true;
    renderState(state, standing);
    const rows = (standing ?? []).map(alarmRow);
    replaceIfChanged(alarms, rows, JSON.stringify(standing));
    if (drawn) drawings.show(drawn);
  };
  const complain = (error: unknown): void => {
    if (signal.aborted) return;
    trouble.hidden = false;
    setText(trouble, `${error instanceof Error ? error.message : "Nothing was answered."} Trying again.`);
  };
  void poll(refresh, () => REFRESH_MS, complain, signal);
}

function renderState(root: HTMLElement, alarms: readonly Alarm[] | null): void {
  const on = (alarms ?? []).filter(({ state }) => state === "ALARM");
  const isWatched = (alarms ?? []).some(({ state }) => state !== null);
  const parts =
    on.length > 0
      ? [chip(`⚠ ${plural(on.length, "alarm")}`, "bad"), ...on.map(alarmTold)]
      : isWatched
        ? [chip("✓ no alarm", "good"), el("p", { class: "lead" }, "Nothing is wrong that is watched.")]
        : [chip("○ not watched", "plain"), el("p", {}, "Alarms are looked at while the worker runs.")];
  root.setAttribute("data-alarms", String(on.length));
  replaceIfChanged(root, parts, JSON.stringify([on, isWatched]));
}

function alarmTold(alarm: Alarm): HTMLElement {
  const { description, since } = alarm;
  return el(
    "div",
    { "data-testid": "alarm-on", "data-alarm": alarm.name },
    el("p", { class: "lead" }, description),
    el(
      "p",
      { class: "faint" },
      [since ? `Since ${moment(since)}` : "", measured(alarm)].filter(Boolean).join(" · "),
    ),
  );
}

function measured({ statistic, value, unit, comparison, threshold }: Alarm): string {
  const limit = `${comparison === ">" ? "above" : "below"} ${figure(threshold, unit)}`;
  const isBeyond = value !== null && (comparison === ">" ? value > threshold : value < threshold);
  const found = isBeyond ? `${statistic} ${figure(value, unit)}, ` : "";
  return `${found}alarm ${limit}`;
}

function alarmRow(alarm: Alarm): HTMLElement {
  const { id, name, description, state, since } = alarm;
  const shown =
    state === "ALARM" ? chip("⚠ on", "bad") : state === "OK" ? chip("✓ off", "good") : chip("○", "plain");
  return el(
    "li",
    { class: "alarm", "data-testid": "alarm", "data-alarm": name, "data-state": state },
    el("div", { class: "card-head" }, el("strong", {}, `${id} ${name.replaceAll("-", " ")}`), shown),
    el("p", {}, description),
    el(
      "p",
      { class: "faint" },
      [measured(alarm), since ? `since ${moment(since)}` : ""].filter(Boolean).join(" · "),
    ),
  );
}

/** Ask whether messages arrive. */
function testPart(signal: AbortSignal): HTMLElement {
  const said = el("div", { role: "status", "data-testid": "notify-said" });
  const ask = button("Test the notifications", { "data-testid": "notify-test" }, () => {
    ask.disabled = true;
    said.replaceChildren("Sending…");
    testNotifications(signal)
      .then((tried) => said.replaceChildren(...triedWords(tried)))
      .catch((error: unknown) => {
        said.replaceChildren(error instanceof Error ? error.message : "Nothing was answered.");
      })
      .finally(() => {
        ask.disabled = false;
      });
  });
  return el("div", { class: "ways" }, ask, said);
}

function triedWords(tried: readonly Tried[]): HTMLElement[] {
  if (tried.length === 0) return [el("p", {}, "The setting notify names nobody.")];
  return tried.map(({ place, service, sent, error }) =>
    el(
      "p",
      { class: sent ? "result-good" : "result-bad" },
      sent ? `${place}. ${service} took the message.` : `${place}. ${error ?? `${service} did not take it.`}`,
    ),
  );
}

/** The dashboards; a drawing stays while its line of the list stays. */
class Drawings {
  readonly root = el("div", {});
  readonly #signal: AbortSignal;
  readonly #plots = new Map<string, Plot>();

  constructor(signal: AbortSignal) {
    this.#signal = signal;
  }

  show({ dashboards, times }: Dashboards): void {
    for (const { id, title, widgets } of dashboards) {
      const list = this.#list(id, title);
      for (const widget of widgets) {
        const key = `${id} ${widget.id} ${widget.metric} ${widget.title}`;
        let plot = this.#plots.get(key);
        if (!plot) {
          plot = new Plot(widget, this.#signal);
          this.#plots.set(key, plot);
          list.append(plot.root);
        }
        plot.show(widget, times);
      }
    }
  }

  #list(id: string, title: string): HTMLElement {
    const found = this.root.querySelector<HTMLElement>(`ul[data-dashboard="${id}"]`);
    if (found) return found;
    const list = el("ul", { class: "cards plots", "data-dashboard": id, "aria-label": title });
    this.root.append(el("h2", {}, title), list);
    return list;
  }
}
