/** What a run learned from: how many image sets and patients in each part, and what was left out for which reason. */
import { el } from "./dom.js";
import type { Snapshot } from "./learning.js";
import { plural } from "./words.js";

const PARTS = ["train", "validation", "test", "external"];

export interface PartRow {
  readonly part: string;
  readonly absent: number;
  readonly present: number;
  readonly patients: number | null;
}

/** The parts that hold anything, in the order of their use. */
export function partsOf({ counts, patients }: Snapshot): readonly PartRow[] {
  return PARTS.flatMap((part) => {
    const { absent = 0, present = 0 } = counts?.[part] ?? {};
    if (absent + present === 0) return [];
    return [{ part, absent, present, patients: patients?.[part] ?? null }];
  });
}

/** What was left out: "12 image sets: retired patient". */
export function excludedWords({ excluded }: Snapshot): readonly string[] {
  return Object.entries(excluded ?? {})
    .filter(([, count]) => count > 0)
    .sort(([, a], [, b]) => b - a)
    .map(([reason, count]) => `${plural(count, "image set")}: ${reason.replaceAll("-", " ")}`);
}

export function snapshotFacts(sha256: string, snapshot: Snapshot): HTMLElement {
  const parts = partsOf(snapshot);
  const excluded = excludedWords(snapshot);
  const licences = Object.keys(snapshot.licences ?? {});
  const readers = Object.keys(snapshot.readers ?? {}).length;
  return el(
    "div",
    { class: "snapshot" },
    parts.length > 0 && partsTable(parts),
    el("p", {}, excluded.length ? "Left out:" : "Nothing was left out."),
    excluded.length > 0 && el("ul", { class: "reasons" }, ...excluded.map((words) => el("li", {}, words))),
    el(
      "p",
      { class: "faint" },
      [readers ? plural(readers, "reader") : "", licences.length ? `licences: ${licences.join(", ")}` : ""]
        .filter(Boolean)
        .join(" · "),
    ),
    el("code", { class: "hash" }, sha256),
  );
}

function partsTable(parts: readonly PartRow[]): HTMLElement {
  const head = ["Part", "Present", "Absent", "Patients"].map((name) => el("th", { scope: "col" }, name));
  return el(
    "table",
    { class: "figures-table" },
    el("thead", {}, el("tr", {}, ...head)),
    el(
      "tbody",
      {},
      ...parts.map(({ part, absent, present, patients }) =>
        el(
          "tr",
          {},
          el("th", { scope: "row" }, part),
          el("td", {}, String(present)),
          el("td", {}, String(absent)),
          el("td", {}, patients === null ? "–" : String(patients)),
        ),
      ),
    ),
  );
}
