/**
 * Where the reading of an image set stands, and whose turn it is.
 *
 * How many readers look at an image set, and what happens where they differ, is the policy of its data store. The
 * server keeps to it; this tells what follows from it for the person at the screen.
 */
import type { Laterality, Reading, Summary } from "./protocol.js";
import type { May } from "./routes.js";

/**
 * `read`: a finding of theirs is wanted. `adjudicate`: readers differ, and they may decide. `given`: theirs is in,
 * and others are awaited. `elsewhere`: not theirs to read. `done`: settled, or rejected.
 */
export type Stage = "read" | "adjudicate" | "given" | "elsewhere" | "done";

export function stageOf({ state, reading }: Pick<Summary, "state" | "reading">, may: May): Stage {
  const isAsked = reading?.state === "adjudication" && state !== "REJECTED";
  if (isAsked && !reading.mine && may("image.adjudicate")) return "adjudicate";
  if (state !== "INGESTED" || reading?.state === "settled") return "done";
  if (reading?.mine) return "given";
  return may("image.verify") && reading?.state !== "adjudication" ? "read" : "elsewhere";
}

/** Whether more than one person is to look, and none may know what the others said. */
export function isShared(reading: Reading | undefined): reading is Reading {
  return reading !== undefined && reading.policy !== "single";
}

/** What the panel is called: "Read 1 of 2, blinded". */
export function readTitle(reading: Reading | undefined): string {
  if (!isShared(reading)) return "Verify as ground truth";
  return `Read ${numberOf(reading)}, blinded`;
}

/** What the button is called that sends a read. */
export function sendWords(reading: Reading | undefined): string {
  return isShared(reading) ? `GIVE READ ${numberOf(reading).toUpperCase()}` : "VERIFY AS GROUND TRUTH";
}

/** Nobody is told that others differed: behind the last one that was planned, only the number goes on. */
function numberOf({ given, needed }: Reading): string {
  return needed === null ? String(given + 1) : `${given + 1} of ${given + needed}`;
}

/** What became of the own read, for who gave it and waits; null once it is settled. */
export function outcomeWords({ state, given, needed }: Reading): string | null {
  if (state === "settled") return null;
  if (state === "adjudication") return "The readers differ. An adjudicator looks at it next and decides.";
  const missing = needed ?? 1;
  if (given <= 1 && missing === 1) return "It waits for a second reader.";
  return missing === 1 ? "It waits for one more reader." : `It waits for ${missing} more readers.`;
}

/** The side of a site; null where a site lies on neither or on any. */
export function sideOf(site: string | null): Laterality | null {
  if (!site) return null;
  if (site === "BILATERAL") return "both";
  if (site === "LINGULA" || /^L[UL]L$/.test(site)) return "left";
  return /^R[UML]L$/.test(site) ? "right" : null;
}

/** Why an image set stands where it does in the order of most use, in a word. */
export const WHY_WORDS: Readonly<Record<string, string>> = {
  disagreement: "disputed",
  drifted: "drifted",
  uncertain: "uncertain",
  "second-read": "second read",
  waiting: "unread",
};

/** What the button says that opens the panel. */
export function openerWords(set: Pick<Summary, "state" | "reading">, may: May): string {
  switch (stageOf(set, may)) {
    case "adjudicate":
      return "Adjudicate";
    case "given":
      return "✓ Your read is in";
    case "done":
      return set.state === "REJECTED" ? "✕ Rejected" : "✓ Verified";
    case "elsewhere":
      return may("image.verify") ? "Finding" : "Model's opinion";
    case "read":
      return isShared(set.reading) ? "Read" : "Verify";
  }
}
