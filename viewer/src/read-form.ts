/** The questions of a read: whether it is there, how sure, where, on which side; and for an adjudicator why. */
import { choice, type Select, select } from "./choice.js";
import { el } from "./dom.js";
import { type Coded, listSites } from "./learning.js";
import type { Confidence, Laterality, Verification } from "./protocol.js";
import { sideOf } from "./reading.js";
import { FINDINGS, type FindingWord } from "./verify.js";

const CONFIDENCES: readonly Confidence[] = ["low", "medium", "high"];
const SIDES: readonly (readonly [Laterality | "", string])[] = [
  ["", "Not stated"],
  ["right", "Right"],
  ["left", "Left"],
  ["both", "Both"],
];

/** Why an adjudicator decides as they do. */
export const WHY_ADJUDICATED: readonly Coded[] = [
  { code: "finding-overlooked", sentence: "Finding overlooked" },
  { code: "artefact", sentence: "Artefact" },
  { code: "other-disease", sentence: "Another disease" },
  { code: "borderline", sentence: "Borderline" },
  { code: "technique", sentence: "Technique of the image" },
  { code: "other", sentence: "Another reason" },
];

export type Answers = Pick<Verification, "finding" | "site" | "laterality" | "confidence" | "note">;

export class ReadForm {
  readonly fields: readonly HTMLElement[];
  readonly reason: Select;
  readonly #site: Select;
  readonly #side: Select;
  readonly #where: HTMLElement;
  readonly #note = el("textarea", {
    "data-testid": "verify-note",
    id: "verify-note",
    rows: 1,
    maxlength: 2000,
  });
  #sitesAsked = false;

  /** @param form Holds the fields; whoever owns it puts them there. */
  constructor(private readonly form: HTMLFormElement) {
    this.#site = select("verify-site", "Site", [["", "Not stated"]]);
    this.#side = select("verify-side", "Side", SIDES);
    this.#where = el("div", { class: "field-row", hidden: true }, this.#site.field, this.#side.field);
    this.reason = select("verify-why", "Reason of your decision", [
      ["", "Choose a reason"],
      ...WHY_ADJUDICATED.map(({ code, sentence }) => [code, sentence] as const),
    ]);
    this.reason.field.hidden = true;
    const note = el(
      "div",
      { class: "field" },
      el("label", { for: "verify-note" }, "Note (optional)"),
      this.#note,
    );
    const confidences = CONFIDENCES.map((level) => ({
      value: level,
      label: level,
      testid: `verify-confidence-${level}`,
    }));
    const findings = FINDINGS.map(({ value, label }) => ({
      value,
      label,
      testid: `verify-finding-${value}`,
    }));
    this.fields = [
      choice("finding", "Pneumonia finding", findings),
      choice("confidence", "Confidence", confidences),
      this.reason.field,
      this.#where,
      note,
    ];
  }

  choose(finding: FindingWord): boolean {
    const input = this.form.querySelector<HTMLInputElement>(`input[value="${finding}"]`);
    if (input) input.checked = true;
    return input !== null;
  }

  /** The question that is still to be answered, or null. */
  missing(): string | null {
    if (!this.#answer("finding")) return "Choose whether the finding is present.";
    if (!this.#answer("confidence")) return "Choose how confident you are.";
    if (!this.reason.field.hidden && !this.reason.input.value) return "Choose a reason of your decision.";
    return null;
  }

  /** Null while a question is open. */
  answers(): Answers | null {
    const finding = this.#answer("finding");
    const confidence = this.#answer("confidence") as Confidence | null;
    if (this.missing() || !confidence || (finding !== "present" && finding !== "absent")) return null;
    const isThere = finding === "present";
    const side = isThere ? this.#side.input.value : "";
    return {
      finding,
      site: isThere && this.#site.input.value ? this.#site.input.value : null,
      ...(side ? { laterality: side as Laterality } : {}),
      confidence,
      note: this.#note.value.trim(),
    };
  }

  /** Show what follows from the answers: a place for what is present only, and the side of a site by itself. */
  refresh(): void {
    this.#where.hidden = this.#answer("finding") !== "present";
    const side = sideOf(this.#site.input.value);
    this.#side.input.disabled = side !== null;
    if (side) this.#side.input.value = side;
  }

  async fetchSites(signal: AbortSignal): Promise<void> {
    if (this.#sitesAsked) return;
    this.#sitesAsked = true;
    try {
      const sites = await listSites(signal);
      this.#site.input.append(...sites.map(({ code, name }) => el("option", { value: code }, name)));
    } catch {
      this.#sitesAsked = false; // asked again when the panel is next opened; a finding may stay without a site
    }
  }

  #answer(name: string): string | null {
    const value = new FormData(this.form).get(name);
    return typeof value === "string" ? value : null;
  }
}
