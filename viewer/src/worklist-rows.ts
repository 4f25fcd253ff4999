/** A row of the worklist: who, what, how far it has come, and what there is to do about it. */
import { chip, el } from "./dom.js";
import { pendingNow } from "./pending.js";
import { type Prediction, type Summary, thumbnailUrl } from "./protocol.js";
import { stageOf, WHY_WORDS } from "./reading.js";
import type { May } from "./routes.js";
import { personName, plural, studyDate } from "./words.js";

/** Who may not verify is not told to. */
export function labelOf(label: string, may: May): string {
  return label === "To verify" && !may("image.verify") ? "Unverified" : label;
}

function thumbnailOf({ id, frames, modality }: Summary): HTMLElement {
  if (frames === 0) return el("span", { class: "row-sheet", "aria-hidden": "true" }, modality ?? "");
  const thumbnail = el("img", {
    src: thumbnailUrl(id),
    alt: "",
    loading: "lazy",
    decoding: "async",
    width: 72,
    height: 72,
  });
  thumbnail.addEventListener("error", () => thumbnail.classList.add("missing"));
  return thumbnail;
}

export function rowOf(item: Summary, may: May): HTMLElement {
  const what = [item.modality ?? "?", item.body_part, item.series_description].filter(Boolean).join(" · ");
  const who = [item.patient_id, item.patient_sex].filter(Boolean).join(" · ");
  return el(
    "a",
    { href: `#/view/${item.id}`, class: "row", "data-testid": "worklist-row", "data-id": item.id },
    thumbnailOf(item),
    el(
      "span",
      { class: "row-text" },
      el("strong", { class: "row-name" }, personName(item.patient_name), el("span", { class: "faint" }, who)),
      el("span", {}, what),
      el(
        "span",
        { class: "faint" },
        `${studyDate(item.study_date)} · ${item.frames ? plural(item.frames, "image") : "no images"}`,
      ),
    ),
    el("span", { class: "row-chips" }, ...chipsOf(item, may)),
  );
}

function chipsOf(item: Summary, may: May): HTMLElement[] {
  const [words, tone] = stateWords(item, may);
  const chips = [chip(words, tone)];
  if (item.why) chips.push(chip(WHY_WORDS[item.why] ?? item.why, "plain"));
  const kept = pendingNow()?.of(item.id);
  if (kept)
    chips.push(kept.state === "waiting" ? chip("… Not yet sent", "busy") : chip("✕ Not accepted", "bad"));
  if (!item.closed) chips.push(chip("… arriving", "busy"));
  if (item.prediction) chips.push(aiChip(item.prediction));
  for (const { message } of item.warnings.slice(0, 2)) chips.push(chip(`⚠ ${message}`, "warn"));
  if (item.warnings.length > 2) chips.push(chip(`⚠ ${item.warnings.length - 2} more`, "warn"));
  return chips;
}

/** A model's opinion in a few letters; where it knows no such images, that. */
function aiChip({ probability, finding, model_version }: Prediction): HTMLElement {
  const words = probability === null ? "unknown kind of image" : `${probability.toFixed(2)} ${finding}`;
  const mark = chip(`AI ${words}`, "model");
  mark.title = `The opinion of model v${model_version}, not a finding`;
  mark.append(el("span", { class: "chip-note" }, `not verified, model v${model_version}`));
  return mark;
}

/** What there is to do about an image set, and its tone. Without frames there is nothing to look at, nor to verify. */
export function stateWords(
  set: Pick<Summary, "state" | "finding" | "frames" | "reading" | "made_by_ai">,
  may: May,
): readonly [string, "good" | "bad" | "plain"] {
  const { state, finding, frames, reading } = set;
  if (state === "REJECTED") return ["✕ Rejected", "bad"];
  if (set.made_by_ai) return ["AI result, not verified", "plain"];
  if (frames === 0) return ["Report", "plain"];
  if (reading?.state === "adjudication")
    return [may("image.adjudicate") ? "⚖ To adjudicate" : "⚖ Readers differ", "plain"];
  if (state === "INGESTED" && stageOf(set, may) === "given") return ["◐ Your read is in", "plain"];
  if (state === "INGESTED") return [`○ ${labelOf("To verify", may)}`, "plain"];
  const verdict = finding
    ? `: ${finding.present ? "present" : "absent"}${finding.site ? `, ${finding.site}` : ""}`
    : "";
  return [`✓ Verified${verdict}`, "good"];
}
