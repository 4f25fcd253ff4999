/** The queue of this page, and how what waits in it is shown. */
import { askedTwice } from "./confirm.js";
import { button, chip, el } from "./dom.js";
import { giveRead } from "./learning.js";
import { getImageSet, type Verification } from "./protocol.js";
import { Queue, type Waiting } from "./queue.js";
import { canKeep, openVault } from "./vault.js";
import { moment, plural } from "./words.js";

const OTHERS = "radloop-waiting";
const never = new AbortController().signal;
const others = "BroadcastChannel" in globalThis ? new BroadcastChannel(OTHERS) : null;

export const waiting = new Queue({
  vault: async (person) => (canKeep() ? openVault(person) : null),
  send: (imageSet, body) => giveRead(imageSet, body, never),
  look: (imageSet) => getImageSet(imageSet, never),
  alone: async (task) => {
    if (navigator.locks) await navigator.locks.request(OTHERS, task);
    else await task();
  },
  tellOthers: () => others?.postMessage(null),
  newName: () => crypto.randomUUID(),
  now: () => new Date(),
  pause: (ms, wake) =>
    new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      wake.addEventListener("abort", () => {
        clearTimeout(timer);
        resolve();
      });
    }),
});
others?.addEventListener("message", () => void waiting.reload());

/** What was found, in words. */
export function findingWords({
  finding,
  site,
  laterality,
  confidence,
}: Pick<Verification, "finding" | "site" | "laterality" | "confidence">): string {
  const where = site ?? (laterality ? `${laterality} side${laterality === "both" ? "s" : ""}` : "");
  return `Finding ${finding}${where ? `, ${where}` : ""}, ${confidence} confidence.`;
}

/** The list of what waits; hidden while nothing does. */
export function listWaiting(signal: AbortSignal): HTMLElement {
  const heading = el("h2", { id: "waiting-title", class: "waiting-title" });
  const list = el("ul", { class: "cards" });
  const root = el(
    "section",
    { class: "waiting", "aria-labelledby": "waiting-title", "data-testid": "waiting", hidden: true },
    heading,
    list,
  );
  const show = (): void => {
    const { items } = waiting;
    root.hidden = items.length === 0;
    heading.textContent = `${plural(items.length, "finding")} not yet with the server`;
    list.replaceChildren(...items.map((item) => entryOf(item, signal)));
  };
  waiting.watch(show, signal);
  show();
  return root;
}

function entryOf(item: Waiting, signal: AbortSignal): HTMLElement {
  const isWaiting = item.state === "waiting";
  return el(
    "li",
    { class: "card", "data-testid": "waiting-item", "data-state": item.state },
    el(
      "div",
      { class: "card-head" },
      chip(isWaiting ? "… Waiting to be sent" : "✕ Not accepted", isWaiting ? "busy" : "bad"),
      el("span", { class: "faint" }, moment(item.at)),
    ),
    el("p", {}, findingWords(item.body)),
    isWaiting ? null : el("p", { class: "result-bad" }, item.why),
    el(
      "div",
      { class: "ways" },
      el("a", { class: "button", href: `#/view/${item.imageSet}` }, "Open the series"),
      isWaiting && button("Send now", { "data-testid": "waiting-send" }, () => waiting.hurry()),
      askedTwice(
        "Discard",
        "waiting-discard",
        { words: "The finding is gone then. The series stays unverified by it.", yes: "Discard the finding" },
        () => waiting.discard(item.name),
        signal,
      ),
    ),
  );
}
