/**
 * VERIFY AS GROUND TRUTH: a radiologist's finding, given only about an image seen at full quality.
 *
 * A sheet at the bottom of a phone, a panel at the side of a desktop. It never covers the image: the reader
 * scrolls on while it is open, and the button follows what is on the screen.
 */
import { button, el, replaceIfChanged, setText } from "./dom.js";
import {
  ApiError,
  type Confidence,
  type FullQuality,
  getImageSet,
  type ImageSet,
  listSites,
  listWorklist,
  type Prediction,
  predict,
  type Summary,
  verify,
} from "./protocol.js";
import type { May } from "./routes.js";
import { moment } from "./words.js";

/** What is really on the screen; verification rests on this and on nothing else. */
export interface OnScreen {
  readonly index: number;
  readonly quality: FullQuality;
}

const CONFIDENCES: readonly Confidence[] = ["low", "medium", "high"];
const CLOSING_POLL_MS = 4000;

export class VerifyPanel {
  readonly root: HTMLElement;
  readonly opener: HTMLButtonElement;
  readonly #form = el("form", { class: "verify-form", novalidate: true });
  readonly #reason = el("p", { class: "verify-reason", id: "verify-reason", role: "status" });
  readonly #result = el("div", { class: "verify-result", "data-testid": "verify-result", role: "status" });
  readonly #site = el("select", { "data-testid": "verify-site", id: "verify-site" });
  readonly #siteField: HTMLElement;
  readonly #note = el("textarea", {
    "data-testid": "verify-note",
    id: "verify-note",
    rows: 1,
    maxlength: 2000,
  });
  readonly #submit = el(
    "button",
    { type: "submit", class: "primary", "data-testid": "verify-submit", "aria-describedby": "verify-reason" },
    "VERIFY AS GROUND TRUTH",
  );
  readonly #opinion = el("div", {});
  readonly #frameCount: number;
  #set: Summary;
  #screen: OnScreen | null = null;
  #trouble: string | null = null;
  #sending = false;
  #sitesAsked = false;
  #signal: AbortSignal = new AbortController().signal;

  constructor(
    set: ImageSet,
    private readonly may: May,
  ) {
    this.#set = set;
    this.#frameCount = set.frame_list.length;
    this.#site.append(el("option", { value: "" }, "Not stated"));
    this.#siteField = el(
      "div",
      { class: "field", hidden: true },
      el("label", { for: "verify-site" }, "Site"),
      this.#site,
    );
    this.opener = button("Verify", { class: "primary", "data-testid": "verify-open" }, () => this.open());
    this.opener.setAttribute("aria-controls", "verify-panel");
    this.root = this.#layout();
  }

  start(signal: AbortSignal): void {
    this.#signal = signal;
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#send();
    });
    this.#form.addEventListener("change", () => this.#refresh());
    this.root.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.close();
    });
    this.#showState();
    if (!this.#set.closed) void this.#waitUntilClosed();
  }

  /** Tell what is on the screen: null unless the slice in view is shown at full quality. */
  looking(screen: OnScreen | null, trouble: string | null): void {
    this.#screen = screen;
    this.#trouble = trouble;
    if (!this.root.hidden) this.#refresh();
  }

  open(): void {
    if (!this.root.hidden || this.#isNothing()) return;
    this.root.hidden = false;
    this.opener.hidden = true;
    if (this.may("image.verify") && !this.#sitesAsked) void this.#fetchSites();
    this.#refresh();
    this.root.querySelector<HTMLElement>("h2")?.focus();
  }

  close(): void {
    this.root.hidden = true;
    this.opener.hidden = false;
    this.opener.focus();
  }

  #layout(): HTMLElement {
    const findings = choice("finding", "Pneumonia finding", [
      { value: "present", label: "Present", testid: "verify-finding-present" },
      { value: "absent", label: "Absent", testid: "verify-finding-absent" },
    ]);
    const confidences = choice(
      "confidence",
      "Confidence",
      CONFIDENCES.map((level) => ({ value: level, label: level, testid: `verify-confidence-${level}` })),
    );
    const note = el(
      "div",
      { class: "field" },
      el("label", { for: "verify-note" }, "Note (optional)"),
      this.#note,
    );
    const send = el("div", { class: "verify-send" }, this.#reason, this.#submit);
    const canVerify = this.may("image.verify");
    if (canVerify) this.#form.append(findings, this.#siteField, confidences, note, send);
    else
      this.#form.append(
        el("p", { class: "faint" }, "Verifying takes the role verifier, which you do not have."),
      );
    if (this.may("image.predict")) this.#form.append(this.#opinionField());
    return el(
      "aside",
      { class: "verify", id: "verify-panel", "aria-labelledby": "verify-title", hidden: true },
      el(
        "header",
        { class: "verify-head" },
        el(
          "h2",
          { id: "verify-title", tabindex: -1 },
          canVerify ? "Verify as ground truth" : "Model's opinion",
        ),
        button("✕", { class: "quiet", "aria-label": "Close" }, () => this.close()),
      ),
      this.#form,
      this.#result,
    );
  }

  /** Whether this person can do nothing here: neither verify, nor ask the model, nor read a finding. */
  #isNothing(): boolean {
    return this.#set.state === "INGESTED" && !this.may("image.verify") && !this.may("image.predict");
  }

  /** Folded away on purpose: an opinion read before the image biases the reader. */
  #opinionField(): HTMLElement {
    const details = el(
      "details",
      { class: "opinion" },
      el("summary", {}, "Model's opinion (look at the image first)"),
      this.#opinion,
    );
    details.addEventListener("toggle", () => {
      if (details.open) void this.#fetchOpinion();
    });
    return details;
  }

  #answer(name: string): string | null {
    const value = new FormData(this.#form).get(name);
    return typeof value === "string" ? value : null;
  }

  /** What still stands between the reader and the button, or null. */
  #obstacle(): string | null {
    if (this.#sending) return "Sending…";
    if (!this.#set.closed) return "The series is still arriving. It can be verified when it is complete.";
    if (this.#trouble) return this.#trouble;
    if (!this.#screen) return "Hold still: the slice in view is not yet at full quality.";
    if (!this.#answer("finding")) return "Choose whether the finding is present.";
    if (!this.#answer("confidence")) return "Choose how confident you are.";
    return null;
  }

  #refresh(): void {
    const obstacle = this.#obstacle();
    this.#siteField.hidden = this.#answer("finding") !== "present";
    this.#submit.disabled = obstacle !== null;
    this.#reason.classList.toggle("result-good", obstacle === null);
    const seen = this.#screen;
    const quality = seen?.quality === "lossless" ? "lossless" : "lossy as received";
    setText(this.#reason, obstacle ?? `Seen at full quality: slice ${(seen?.index ?? 0) + 1}, ${quality}.`);
  }

  async #send(): Promise<void> {
    const seen = this.#screen;
    const finding = this.#answer("finding");
    const confidence = this.#answer("confidence") as Confidence | null;
    if (this.#obstacle() || !seen || !confidence || (finding !== "present" && finding !== "absent")) return;
    const site = finding === "present" && this.#site.value ? this.#site.value : null;
    const body = {
      version: this.#set.version,
      finding,
      site,
      confidence,
      note: this.#note.value.trim(),
    } as const;
    this.#sending = true;
    this.#refresh();
    try {
      const seenBody = { frame: seen.index, quality: seen.quality };
      this.#set = await verify(this.#set.id, { ...body, seen: seenBody }, this.#signal);
      this.#sending = false;
      this.#showState();
      this.#result.querySelector<HTMLElement>("button, a")?.focus();
    } catch (error) {
      this.#sending = false;
      if (!this.#signal.aborted) this.#showError(error);
    }
    this.#refresh();
  }

  #showState(): void {
    const { state, finding } = this.#set;
    this.#form.hidden = state !== "INGESTED";
    const offer = this.may("image.verify") ? "Verify" : "Model's opinion";
    setText(this.opener, state === "INGESTED" ? offer : state === "VERIFIED" ? "✓ Verified" : "Rejected");
    this.opener.classList.toggle("primary", this.may("image.verify"));
    this.opener.hidden = this.#isNothing() || !this.root.hidden;
    if (state === "INGESTED") {
      this.#result.replaceChildren();
      return;
    }
    const heading = state === "VERIFIED" ? "✓ Verified as ground truth" : "This series was rejected";
    const by = finding ? `${finding.by}, ${moment(finding.at)}` : "";
    this.#result.replaceChildren(
      el("p", { class: "result-good" }, heading),
      finding ? el("p", {}, findingSentence(finding.present, finding.site, finding.confidence)) : "",
      by ? el("p", { class: "faint" }, by) : "",
      this.may("image.verify")
        ? button("Next study", { class: "primary", "data-testid": "verify-next" }, () => void this.#next())
        : "",
      el("a", { href: "#/", class: "button" }, "Back to the worklist"),
    );
  }

  #showError(error: unknown): void {
    const conflict = error instanceof ApiError && error.kind === "conflict";
    const message = error instanceof Error ? error.message : "The verification was not saved.";
    this.#result.replaceChildren(
      el("p", { class: "result-bad", role: "alert" }, `Not saved. ${message}`),
      conflict ? button("Load the current version", {}, () => void this.#reload()) : "",
    );
  }

  /** Take over the server's version, unless it has other slices than those on the screen: then open it anew. */
  async #reload(): Promise<void> {
    try {
      const set = await getImageSet(this.#set.id, this.#signal);
      if (set.frame_list.length !== this.#frameCount) {
        window.dispatchEvent(new Event("hashchange"));
        return;
      }
      this.#set = set;
      this.#showState();
      this.#refresh();
    } catch (error) {
      if (!this.#signal.aborted) this.#showError(error);
    }
  }

  async #waitUntilClosed(): Promise<void> {
    while (!this.#set.closed && !this.#signal.aborted) {
      await new Promise((resolve) => setTimeout(resolve, CLOSING_POLL_MS));
      if (!this.#signal.aborted) await this.#reload();
    }
  }

  async #next(): Promise<void> {
    try {
      const page = await listWorklist(
        { state: "INGESTED", withImages: true, limit: 2, after: null },
        this.#signal,
      );
      const next = page.items.find((item) => item.id !== this.#set.id);
      location.hash = next ? `#/view/${next.id}` : "#/";
    } catch (error) {
      if (!this.#signal.aborted)
        this.#result.append(el("p", { class: "result-bad", role: "alert" }, sentence(error)));
    }
  }

  async #fetchSites(): Promise<void> {
    this.#sitesAsked = true;
    try {
      const sites = await listSites(this.#signal);
      this.#site.append(...sites.map(({ code, name }) => el("option", { value: code }, name)));
    } catch {
      this.#sitesAsked = false; // asked again when the panel is next opened; a finding may stay without a site
    }
  }

  async #fetchOpinion(): Promise<void> {
    let text: string;
    try {
      text = opinion(this.#set.prediction ?? (await predict(this.#set.id, this.#signal)));
    } catch (error) {
      const none = error instanceof ApiError && error.code === "no-champion";
      text = none ? "No model has been approved yet." : sentence(error);
    }
    replaceIfChanged(this.#opinion, [el("p", {}, text)], text);
  }
}

interface Option {
  readonly value: string;
  readonly label: string;
  readonly testid: string;
}

function choice(name: string, legend: string, options: readonly Option[]): HTMLElement {
  const pills = options.map(({ value, label, testid }) =>
    el(
      "label",
      { class: "pill" },
      el("input", { type: "radio", name, value, "data-testid": testid }),
      el("span", {}, label),
    ),
  );
  return el("fieldset", {}, el("legend", {}, legend), el("div", { class: "pills" }, ...pills));
}

function findingSentence(present: boolean, site: string | null, confidence: Confidence): string {
  return `Finding ${present ? "present" : "absent"}${site ? `, ${site}` : ""}, ${confidence} confidence.`;
}

/** A model's number, always named as such. */
export function opinion({ probability, finding, model_version }: Prediction): string {
  return `Model v${model_version} suggests ${finding} (probability ${probability.toFixed(2)}). A model's opinion, not a finding.`;
}

function sentence(error: unknown): string {
  return error instanceof Error ? error.message : "That did not work.";
}
