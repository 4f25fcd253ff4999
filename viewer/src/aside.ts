/** What lies aside: files that could not be accepted, and jobs that were given up on. */
import { askedTwice, complaint, wordsOf } from "./confirm.js";
import { button, chip, el } from "./dom.js";
import {
  type DeadLetter,
  discardJob,
  discardQuarantined,
  listDeadLetters,
  listQuarantine,
  type Quarantined,
  quarantinedFileUrl,
  type Release,
  releaseQuarantined,
  retryJob,
} from "./protocol.js";
import type { May } from "./routes.js";
import { bytes, moment, plural } from "./words.js";

/** The most entries that are asked for; beyond that one works by reason, or with the command. */
export const MOST = 1000;
const SHOWN = 50;

/** What became of releases, in a sentence. */
export function releaseWords(done: readonly Pick<Release, "outcome" | "same_reason">[]): string {
  const landed = done.filter(({ outcome }) => outcome === "ingested").length;
  const kept = done.filter(({ outcome }) => outcome === "quarantined").length;
  const same = done.filter(({ same_reason }) => same_reason).length;
  const known = done.length - landed - kept;
  return [
    landed ? `${plural(landed, "file")} landed.` : "",
    known ? `${plural(known, "file")} known already.` : "",
    same ? `${plural(same, "file")} refused for the same reason, and kept.` : "",
    kept - same ? `${plural(kept - same, "file")} refused for another reason now, and kept.` : "",
  ]
    .filter(Boolean)
    .join(" ");
}

/** Files by the code of their reason, most first. */
export function byReason(files: readonly Quarantined[]): [string, Quarantined[]][] {
  const groups = new Map<string, Quarantined[]>();
  for (const file of files) groups.set(file.code, [...(groups.get(file.code) ?? []), file]);
  return [...groups].sort(([, a], [, b]) => b.length - a.length);
}

/** Show the quarantine in `root` until `signal` aborts; `count` is told how many files there are. */
export function showQuarantine(
  root: HTMLElement,
  may: May,
  count: (files: number) => void,
  signal: AbortSignal,
): void {
  const told = el("p", { class: "lead", role: "status", "data-testid": "quarantine-told", hidden: true });
  const list = el(
    "ul",
    { class: "cards", "aria-label": "Quarantine" },
    el("li", { class: "empty" }, "Loading…"),
  );
  const say = (words: string): void => {
    told.hidden = false;
    told.textContent = words;
  };
  const refresh = async (): Promise<void> => {
    const files = await listQuarantine(MOST, signal);
    count(files.length);
    const groups = byReason(files).map(([code, some]) => groupOf(code, some));
    list.replaceChildren(
      ...(groups.length ? groups : [el("li", { class: "empty" }, "Everything that came could be accepted.")]),
    );
  };
  const release = async (files: readonly Quarantined[]): Promise<void> => {
    const done: Release[] = [];
    try {
      for (const { id } of files) {
        done.push(await releaseQuarantined(id, signal));
        say(`${done.length} of ${files.length}…`);
      }
      say(releaseWords(done));
    } catch (error) {
      if (signal.aborted) return;
      say(`${releaseWords(done)} Then: ${wordsOf(error)}`);
    }
    await refresh();
  };
  const discard = async (files: readonly Quarantined[]): Promise<void> => {
    for (const { id } of files) await discardQuarantined(id, signal);
    say(`${plural(files.length, "file")} discarded.`);
    await refresh();
  };
  const ways = (files: readonly Quarantined[], all: string, ...more: HTMLElement[]): HTMLElement | null =>
    may("quarantine.manage")
      ? el(
          "div",
          { class: "ways" },
          releaseButton(`Release${all}`, () => release(files)),
          askedTwice(
            `Discard${all}`,
            "discard",
            {
              words: `The bytes of ${plural(files.length, "file")} are deleted for good. That you did it is kept.`,
              yes: `Yes, discard ${plural(files.length, "file")}`,
            },
            () => discard(files),
            signal,
          ),
          ...more,
        )
      : null;
  const groupOf = (code: string, files: readonly Quarantined[]): HTMLElement =>
    el(
      "li",
      { class: "card", "data-testid": "quarantine-group", "data-code": code },
      el("div", { class: "card-head" }, el("h2", {}, code), chip(plural(files.length, "file"), "warn")),
      el("p", {}, commonSentence(files)),
      files.length > 1 ? ways(files, ` all ${files.length}`) : null,
      el(
        "details",
        { open: files.length === 1 },
        el("summary", {}, "Files"),
        el("ul", { class: "events" }, ...files.slice(0, SHOWN).map(fileRow)),
        files.length > SHOWN ? el("p", { class: "faint" }, `and ${files.length - SHOWN} more`) : null,
      ),
    );
  const fileRow = (file: Quarantined): HTMLElement =>
    el(
      "li",
      { "data-testid": "quarantine-row", "data-id": file.id },
      el("strong", {}, bytes(file.size_bytes)),
      el("span", { class: "faint" }, moment(file.time)),
      el("span", { class: "detail" }, file.sentence),
      el("code", { class: "detail hash" }, `SHA-256 ${file.sha256}`),
      ways(
        [file],
        "",
        el(
          "a",
          { class: "button", href: quarantinedFileUrl(file.id), download: `${file.id}.bin` },
          "Download",
        ),
      ),
    );
  root.append(told, list);
  refresh().catch((error: unknown) => {
    if (!signal.aborted) list.replaceChildren(el("li", {}, complaint(error)));
  });
}

function releaseButton(label: string, task: () => Promise<void>): HTMLButtonElement {
  const made = button(label, { "data-testid": "release" }, () => {
    made.disabled = true;
    void task().finally(() => {
      made.disabled = false;
    });
  });
  return made;
}

function commonSentence(files: readonly Quarantined[]): string {
  const sentences = new Set(files.map(({ sentence }) => sentence));
  return sentences.size === 1
    ? ([...sentences][0] ?? "")
    : `${sentences.size} different sentences; see the files.`;
}

/** Show the jobs that were given up on in `root` until `signal` aborts; `count` is told how many there are. */
export function showJobs(
  root: HTMLElement,
  may: May,
  count: (jobs: number) => void,
  signal: AbortSignal,
): void {
  const told = el("p", { class: "lead", role: "status", "data-testid": "jobs-told", hidden: true });
  const list = el("ul", { class: "cards", "aria-label": "Jobs" }, el("li", { class: "empty" }, "Loading…"));
  const refresh = async (): Promise<void> => {
    const jobs = await listDeadLetters(signal);
    count(jobs.length);
    const rows = jobs.map((job) => jobRow(job, may, after, signal));
    list.replaceChildren(...(rows.length ? rows : [el("li", { class: "empty" }, "No job was given up on.")]));
  };
  const after = async (words: string): Promise<void> => {
    told.hidden = false;
    told.textContent = words;
    await refresh();
  };
  root.append(told, list);
  refresh().catch((error: unknown) => {
    if (!signal.aborted) list.replaceChildren(el("li", {}, complaint(error)));
  });
}

function jobRow(
  { id, lane, kind, tries, error, trace }: DeadLetter,
  may: May,
  after: (words: string) => Promise<void>,
  signal: AbortSignal,
): HTMLElement {
  const part = el("div", { class: "ways" });
  if (may("job.replay")) {
    const retry = button("Try again", { "data-testid": "job-retry" }, () => {
      retry.disabled = true;
      retryJob(id, signal)
        .then(() => after("Tried again from the start. If it fails again, it comes back here."))
        .catch((failure: unknown) => {
          if (signal.aborted) return;
          retry.disabled = false;
          part.prepend(complaint(failure));
        });
    });
    const question = { words: "What it was for stays undone, for good.", yes: "Yes, forget the job" };
    const forget = async (): Promise<void> => {
      await discardJob(id, signal);
      await after("The job is forgotten.");
    };
    part.append(retry, askedTwice("Discard", "job-discard", question, forget, signal));
  }
  return el(
    "li",
    { class: "card", "data-testid": "job-row", "data-id": id },
    el("div", { class: "card-head" }, el("h2", {}, kind), chip(error || "no code", "bad")),
    el(
      "p",
      { class: "faint" },
      [`lane ${lane}`, plural(tries, "try", "tries"), trace].filter(Boolean).join(" · "),
    ),
    el("code", { class: "hash" }, id),
    part,
  );
}
