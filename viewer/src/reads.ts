/** Reads beside one another, with no name on any: who decides between them is to weigh words, not persons. */
import { el } from "./dom.js";
import type { Read } from "./learning.js";
import { moment } from "./words.js";

const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

/** A reader's place among those of one image set, and no more. */
export function readerName(place: number): string {
  return `Reader ${LETTERS[place] ?? place + 1}`;
}

/** What a read says, in words. */
export function readWords({ finding, site, laterality, confidence }: Omit<Read, "id">): readonly string[] {
  const where = [site, laterality && !site ? `${laterality} side${laterality === "both" ? "s" : ""}` : ""];
  return [
    finding === "present" ? "Present" : "Absent",
    where.filter(Boolean).join(", "),
    `${confidence} confidence`,
  ];
}

export function readsBeside(reads: readonly Read[]): HTMLElement {
  return el(
    "ul",
    { class: "reads", "aria-label": "Reads", "data-testid": "reads" },
    ...reads.map((read, place) => readCard(read, place)),
  );
}

function readCard(read: Read, place: number): HTMLElement {
  const [verdict = "", where = "", sure = ""] = readWords(read);
  const notCounted = read.blinded === false ? "Made after seeing others: not counted." : "";
  return el(
    "li",
    { class: "read", "data-finding": read.finding },
    el("span", { class: "faint" }, read.mine ? "You" : readerName(place)),
    el("strong", {}, `${read.finding === "present" ? "● " : "○ "}${verdict}`),
    where && el("span", {}, where),
    el("span", {}, sure),
    read.note && el("q", {}, read.note),
    el("span", { class: "faint" }, [moment(read.at), notCounted].filter(Boolean).join(" · ")),
  );
}
