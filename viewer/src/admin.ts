/** The administrator's page: users, access keys, quarantine, jobs. */
import { MOST, showJobs, showQuarantine } from "./aside.js";
import { button, el, setText } from "./dom.js";
import { showKeys } from "./keys.js";
import { type Action, listDeadLetters, listQuarantine } from "./protocol.js";
import { showReadingRules } from "./reading-rules.js";
import type { May } from "./routes.js";
import { showUsers } from "./users.js";

type Place = "users" | "keys" | "reading" | "quarantine" | "jobs";

interface Tab {
  readonly name: Place;
  readonly label: string;
  readonly needs: Action;
}

const TABS: readonly Tab[] = [
  { name: "users", label: "Users", needs: "credential.manage" },
  { name: "keys", label: "Access keys", needs: "credential.manage" },
  { name: "reading", label: "Reading", needs: "project.manage" },
  { name: "quarantine", label: "Quarantine", needs: "quarantine.read" },
  { name: "jobs", label: "Jobs", needs: "job.read" },
];

let last: Place = "users"; // who comes back finds the page as it was

/** Show the page in `root` until `signal` aborts; `me` is the id of whoever looks. */
export function showAdmin(root: HTMLElement, may: May, me: string | null, signal: AbortSignal): void {
  const part = el("div", {});
  const tabs = TABS.filter(({ needs }) => may(needs)).map((tab) => ({
    ...tab,
    door: button(tab.label, { class: "tab", "data-testid": `admin-${tab.name}` }, () => choose(tab.name)),
  }));
  let leaving = new AbortController();
  signal.addEventListener("abort", () => leaving.abort());
  const count =
    (name: Place) =>
    (number: number): void => {
      const tab = tabs.find((one) => one.name === name);
      if (tab) setText(tab.door, labelWith(tab.label, number));
    };
  const choose = (name: Place): void => {
    last = name;
    leaving.abort();
    leaving = new AbortController();
    part.replaceChildren();
    for (const { name: each, door } of tabs) door.setAttribute("aria-pressed", String(each === name));
    if (name === "users") showUsers(part, me, leaving.signal);
    else if (name === "keys") showKeys(part, leaving.signal);
    else if (name === "reading") showReadingRules(part, leaving.signal);
    else if (name === "quarantine") showQuarantine(part, may, count("quarantine"), leaving.signal);
    else showJobs(part, may, count("jobs"), leaving.signal);
  };
  root.append(
    el(
      "div",
      { class: "page" },
      el("h1", { tabindex: -1 }, "Admin"),
      el("div", { class: "tabs", role: "group", "aria-label": "Show" }, ...tabs.map(({ door }) => door)),
      part,
    ),
  );
  choose(last);
  const quietly = (): void => {}; // the tab itself tells what is wrong, when it is opened
  if (may("quarantine.read")) {
    listQuarantine(MOST, signal).then((files) => count("quarantine")(files.length), quietly);
  }
  if (may("job.read")) listDeadLetters(signal).then((jobs) => count("jobs")(jobs.length), quietly);
}

/** "Jobs" and "Jobs 3"; where there may be more than were asked for, "Quarantine 1000+". */
export function labelWith(label: string, count: number): string {
  if (count === 0) return label;
  return `${label} ${count}${count >= MOST ? "+" : ""}`;
}
