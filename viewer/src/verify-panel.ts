/**
 * VERIFY AS GROUND TRUTH: a radiologist's finding, given only about an image seen at full quality.
 *
 * A sheet at the bottom of a phone, a panel at the side of a desktop. It never covers the image: the reader
 * scrolls on while it is open, and the button follows what is on the screen. Three taps from the open series: the
 * finding, which opens the sheet, how sure the reader is, and the button. Nothing is chosen for the reader.
 */
import { button, el, replaceIfChanged, setText } from "./dom.js";
import {
  ApiError,
  type Confidence,
  getImageSet,
  type ImageSet,
  listSites,
  listWorklist,
  type Prediction,
  predict,
  type SeenCounts,
  type Summary,
  type Verification,
  verify,
} from "./protocol.js";
import { isPassing, type Waiting } from "./queue.js";
import type { May } from "./routes.js";
import { type SeenSlices, seenOf } from "./seen.js";
import { FINDINGS, type FindingWord, type OnScreen, type Openers } from "./verify.js";
import { findingWords, waiting } from "./waiting.js";
import { moment } from "./words.js";

const CONFIDENCES: readonly Confidence[] = ["low", "medium", "high"];
const CLOSING_POLL_MS = 4000;

export class FindingPanel {
  readonly root: HTMLElement;
  readonly #form = el("form", { class: "verify-form", novalidate: true });
  readonly #reason = el("p", { class: "verify-reason", id: "verify-reason", role: "status" });
  readonly #shown = el("p", { class: "verify-seen faint", id: "verify-seen", "data-testid": "verify-seen" });
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
    {
      type: "submit",
      class: "primary",
      "data-testid": "verify-submit",
      "aria-describedby": "verify-reason verify-seen",
    },
    "VERIFY AS GROUND TRUTH",
  );
  readonly #opinion = el("div", {});
  readonly #frameCount: number;
  readonly #seen: SeenSlices;
  #waited = false;
  #set: Summary;
  #screen: OnScreen | null = null;
  #trouble: string | null = null;
  #sending = false;
  #sitesAsked = false;
  #signal: AbortSignal = new AbortController().signal;

  constructor(
    set: ImageSet,
    private readonly may: May,
    private readonly openers: Openers,
  ) {
    this.#set = set;
    this.#frameCount = set.frame_list.length;
    this.#seen = seenOf(set);
    this.#site.append(el("option", { value: "" }, "Not stated"));
    this.#siteField = el(
      "div",
      { class: "field", hidden: true },
      el("label", { for: "verify-site" }, "Site"),
      this.#site,
    );
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
    this.#waited = waiting.of(this.#set.id) !== undefined;
    waiting.watch(() => this.#queueChanged(), signal);
    this.#showState();
    if (!this.#set.closed) void this.#waitUntilClosed();
  }

  /** Tell what is on the screen: null unless the slice in view is shown at full quality. */
  looking(screen: OnScreen | null, trouble: string | null): void {
    this.#screen = screen;
    this.#trouble = trouble;
    if (!this.root.hidden) this.#refresh();
  }

  /** Open the panel, with `finding` chosen if it was by the reader. */
  open(finding?: FindingWord): void {
    if (!this.root.hidden || this.#isNothing()) return;
    this.root.hidden = false;
    this.openers.root.hidden = true;
    if (this.may("image.verify") && !this.#sitesAsked) void this.#fetchSites();
    const chosen = finding && this.#form.querySelector<HTMLInputElement>(`input[value="${finding}"]`);
    if (chosen) chosen.checked = true;
    this.#refresh();
    const next = chosen ? 'input[name="confidence"]' : "h2";
    this.root.querySelector<HTMLElement>(next)?.focus();
  }

  close(): void {
    this.root.hidden = true;
    this.openers.root.hidden = false;
    this.openers.open.focus();
  }

  #layout(): HTMLElement {
    const findings = choice(
      "finding",
      "Pneumonia finding",
      FINDINGS.map(({ value, label }) => ({ value, label, testid: `verify-finding-${value}` })),
    );
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
    const send = el("div", { class: "verify-send" }, this.#shown, this.#reason, this.#submit);
    const canVerify = this.may("image.verify");
    if (canVerify) this.#form.append(findings, confidences, this.#siteField, note, send);
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
    setText(this.#shown, this.#seen.sentence());
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
    const shown = { frame: seen.index, quality: seen.quality, ...this.#seen.told(performance.now()) };
    const given: Verification = { ...body, seen: shown };
    const keep = waiting.keeper(); // of who gives it, also if their sign-in turns out to be over
    try {
      this.#set = await verify(this.#set.id, given, this.#signal);
      this.#told();
    } catch (error) {
      const isKept = isPassing(error) && (await keep(this.#set.id, given));
      if (this.#signal.aborted) return;
      if (isKept) this.#told();
      else this.#showError(error);
    }
    this.#sending = false;
    this.#refresh();
  }

  #told(): void {
    this.#waited = waiting.of(this.#set.id) !== undefined;
    this.#showState();
    this.#result.querySelector<HTMLElement>("button, a")?.focus();
  }

  /** What waited was sent, refused or discarded, here or in another tab. */
  #queueChanged(): void {
    const isWaiting = waiting.of(this.#set.id) !== undefined;
    if (this.#waited && !isWaiting && this.#set.state === "INGESTED") void this.#reload();
    this.#waited = isWaiting;
    if (!this.#sending) this.#showState();
  }

  #showState(): void {
    const { state, finding } = this.#set;
    const kept = state === "INGESTED" ? waiting.of(this.#set.id) : undefined;
    const canGive = state === "INGESTED" && !kept;
    this.#form.hidden = !canGive;
    const offer = this.may("image.verify") ? "Verify" : "Model's opinion";
    const told = state === "VERIFIED" ? "✓ Verified" : state === "REJECTED" ? "✕ Rejected" : offer;
    setText(
      this.openers.open,
      kept ? (kept.state === "waiting" ? "… Waiting to be sent" : "✕ Not accepted") : told,
    );
    this.openers.open.classList.toggle("primary", this.may("image.verify"));
    for (const shortcut of this.openers.shortcuts) shortcut.hidden = !canGive || !this.may("image.verify");
    this.openers.root.hidden = this.#isNothing() || !this.root.hidden;
    if (kept) {
      this.#showKept(kept);
      return;
    }
    if (state === "INGESTED") {
      this.#result.replaceChildren();
      return;
    }
    const heading = state === "VERIFIED" ? "✓ Verified as ground truth" : "This series was rejected";
    const by = finding ? `${finding.by}, ${moment(finding.at)}` : "";
    this.#result.replaceChildren(
      el("p", { class: "result-good" }, heading),
      finding
        ? el("p", {}, findingWords({ ...finding, finding: finding.present ? "present" : "absent" }))
        : "",
      by ? el("p", { class: "faint" }, by) : "",
      finding ? el("p", { class: "faint", "data-testid": "verified-seen" }, seenWords(finding.seen)) : "",
      ...this.#waysOn(),
    );
  }

  #waysOn(): HTMLElement[] {
    const back = el("a", { href: "#/", class: "button" }, "Back to the worklist");
    if (!this.may("image.verify")) return [back];
    const attributes = { class: "primary", "data-testid": "verify-next" };
    return [button("Next study", attributes, () => void this.#next()), back];
  }

  /** What was found waits in this browser, or came back. */
  #showKept({ body, state, why }: Waiting): void {
    const isWaiting = state === "waiting";
    const words = isWaiting
      ? "Kept on this device, encrypted. It is sent by itself when the server is back, also if you close the page and sign in again here."
      : `The server did not accept it. ${why} It stays in the list on the worklist until you discard it.`;
    this.#result.replaceChildren(
      el(
        "p",
        { class: isWaiting ? "result-warn" : "result-bad" },
        isWaiting ? "… Waiting to be sent" : "✕ Not accepted",
      ),
      el("p", {}, findingWords(body)),
      el("p", { class: "faint" }, words),
      ...this.#waysOn(),
    );
  }

  #showError(error: unknown): void {
    const conflict = error instanceof ApiError && error.kind === "conflict";
    const message = error instanceof Error ? error.message : "The verification was not saved.";
    const isOff = isPassing(error) && !waiting.canKeep;
    const off = "Verifying without a connection is off here: it takes a page over HTTPS or on this machine.";
    this.#result.replaceChildren(
      el("p", { class: "result-bad", role: "alert" }, `Not saved. ${message} ${isOff ? off : ""}`.trim()),
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
        { state: "INGESTED", withImages: true, limit: Math.min(2 + waiting.items.length, 100), after: null },
        this.#signal,
      );
      const next = page.items.find(({ id }) => id !== this.#set.id && !waiting.of(id));
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

/** What the reader of a finding had been shown. */
export function seenWords({ frame, full, preview, never }: SeenCounts): string {
  if (full === null) return `Given on slice ${frame + 1}; what was shown of the others is not known.`;
  return `Shown at full quality: ${full}, as a preview only: ${preview}, not at all: ${never}.`;
}

/** A model's number, always named as such. */
export function opinion({ probability, finding, model_version }: Prediction): string {
  return `Model v${model_version} suggests ${finding} (probability ${probability.toFixed(2)}). A model's opinion, not a finding.`;
}

function sentence(error: unknown): string {
  return error instanceof Error ? error.message : "That did not work.";
}
