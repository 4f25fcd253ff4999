/**
 * VERIFY AS GROUND TRUTH: a radiologist's read, given only about an image seen at full quality.
 *
 * A sheet at the bottom of a phone, a panel at the side of a desktop. It never covers the image: the reader
 * scrolls on while it is open, and the button follows what is on the screen. Three taps from the open series: the
 * finding, which opens the sheet, how sure the reader is, and the button. Nothing is chosen for the reader.
 *
 * Where more than one reader looks, none is told anything of the others, nor of the model, before their own read.
 * Where readers differ, the same panel is the adjudicator's, with what the readers said.
 */
import { button, el, setText } from "./dom.js";
import { historyOf } from "./labels.js";
import { adjudicate, giveRead, listReads } from "./learning.js";
import { Opinion } from "./opinion.js";
import type { Pane } from "./pane.js";
import {
  ApiError,
  getImageSet,
  type ImageSet,
  listWorklist,
  type SeenCounts,
  type Summary,
  type Verification,
} from "./protocol.js";
import { isPassing, type Waiting } from "./queue.js";
import { ReadForm } from "./read-form.js";
import { isShared, openerWords, outcomeWords, readTitle, type Stage, sendWords, stageOf } from "./reading.js";
import { readsBeside } from "./reads.js";
import type { May } from "./routes.js";
import { type SeenSlices, seenOf } from "./seen.js";
import type { FindingWord, OnScreen, Openers } from "./verify.js";
import { findingWords, waiting } from "./waiting.js";
import { moment } from "./words.js";
import { chosenOrder } from "./worklist.js";
import "./learning.css";

const CLOSING_POLL_MS = 4000;

export class FindingPanel {
  readonly root: HTMLElement;
  readonly #form = el("form", { class: "verify-form", novalidate: true });
  readonly #read = new ReadForm(this.#form);
  readonly #title = el("h2", { id: "verify-title", tabindex: -1 });
  readonly #others = el("div", { class: "verify-others", hidden: true });
  readonly #reason = el("p", { class: "verify-reason", id: "verify-reason", role: "status" });
  readonly #shown = el("p", { class: "verify-seen faint", id: "verify-seen", "data-testid": "verify-seen" });
  readonly #result = el("div", { class: "verify-result", "data-testid": "verify-result", role: "status" });
  readonly #submit = el("button", {
    type: "submit",
    class: "primary",
    "data-testid": "verify-submit",
    "aria-describedby": "verify-reason verify-seen",
  });
  readonly #beside = el("div", { class: "verify-beside" });
  readonly #frameCount: number;
  readonly #seen: SeenSlices;
  #waited = false;
  #set: Summary;
  #screen: OnScreen | null = null;
  #trouble: string | null = null;
  #sending = false;
  #hasOpinion = false;
  #signal: AbortSignal = new AbortController().signal;

  constructor(
    set: ImageSet,
    private readonly may: May,
    private readonly openers: Openers,
    private readonly pane: Pane,
  ) {
    this.#set = set;
    this.#frameCount = set.frame_list.length;
    this.#seen = seenOf(set);
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
    if (this.#mayGive()) void this.#read.fetchSites(this.#signal);
    const isChosen = finding !== undefined && this.#read.choose(finding);
    this.#refresh();
    const next = isChosen ? 'input[name="confidence"]' : "h2";
    this.root.querySelector<HTMLElement>(next)?.focus();
  }

  close(): void {
    this.root.hidden = true;
    this.openers.root.hidden = false;
    this.openers.open.focus();
  }

  #layout(): HTMLElement {
    const send = el("div", { class: "verify-send" }, this.#shown, this.#reason, this.#submit);
    if (this.may("image.verify")) this.#form.append(...this.#read.fields, send);
    return el(
      "aside",
      { class: "verify", id: "verify-panel", "aria-labelledby": "verify-title", hidden: true },
      el(
        "header",
        { class: "verify-head" },
        this.#title,
        button("✕", { class: "quiet", "aria-label": "Close" }, () => this.close()),
      ),
      this.#others,
      this.#form,
      this.#result,
      this.#beside,
    );
  }

  #stage(): Stage {
    return stageOf(this.#set, this.may);
  }

  #mayGive(): boolean {
    return ["read", "adjudicate"].includes(this.#stage());
  }

  /** Whether this person can do nothing here: neither read, nor ask the model, nor learn what was found. */
  #isNothing(): boolean {
    return this.#stage() === "elsewhere" && !this.may("image.predict") && !this.may("image.verify");
  }

  /** What still stands between the reader and the button, or null. */
  #obstacle(): string | null {
    if (this.#sending) return "Sending…";
    if (!this.#set.closed) return "The series is still arriving. It can be verified when it is complete.";
    if (this.#trouble) return this.#trouble;
    if (!this.#screen) return "Hold still: the slice in view is not yet at full quality.";
    return this.#read.missing();
  }

  #refresh(): void {
    const obstacle = this.#obstacle();
    this.#read.refresh();
    this.#submit.disabled = obstacle !== null;
    this.#reason.classList.toggle("result-good", obstacle === null);
    const seen = this.#screen;
    const quality = seen?.quality === "lossless" ? "lossless" : "lossy as received";
    setText(this.#shown, this.#seen.sentence());
    setText(this.#reason, obstacle ?? `Seen at full quality: slice ${(seen?.index ?? 0) + 1}, ${quality}.`);
  }

  async #send(): Promise<void> {
    const seen = this.#screen;
    const answers = this.#read.answers();
    if (this.#obstacle() || !seen || !answers) return;
    const isAdjudicating = this.#stage() === "adjudicate";
    this.#sending = true;
    this.#refresh();
    const shown = { frame: seen.index, quality: seen.quality, ...this.#seen.told(performance.now()) };
    const given: Verification = { version: this.#set.version, ...answers, seen: shown };
    const keep = waiting.keeper(); // of who gives it, also if their sign-in turns out to be over
    try {
      this.#set = isAdjudicating
        ? await adjudicate(this.#set.id, { ...given, reason: this.#read.reason.input.value }, this.#signal)
        : await giveRead(this.#set.id, given, this.#signal);
      this.#told();
    } catch (error) {
      // A decision between readers is not kept: by the time it is sent they may have settled it.
      const isKept = !isAdjudicating && isPassing(error) && (await keep(this.#set.id, given));
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
    const stage = this.#stage();
    const kept = stage === "read" ? waiting.of(this.#set.id) : undefined;
    const canGive = this.#mayGive() && !kept;
    this.#form.hidden = !canGive;
    this.#showOpeners(stage, kept, canGive);
    this.#showHeading(stage);
    this.#showBeside(stage);
    if (kept) this.#showKept(kept);
    else if (stage === "done") this.#showTruth();
    else if (stage === "given") this.#showGiven();
    else if (stage === "elsewhere") this.#showElsewhere();
    else this.#result.replaceChildren();
  }

  #showOpeners(stage: Stage, kept: Waiting | undefined, canGive: boolean): void {
    const waits = kept?.state === "waiting" ? "… Waiting to be sent" : "✕ Not accepted";
    setText(this.openers.open, kept ? waits : openerWords(this.#set, this.may));
    this.openers.open.classList.toggle("primary", this.may("image.verify"));
    for (const shortcut of this.openers.shortcuts) shortcut.hidden = !canGive || stage !== "read";
    this.openers.root.hidden = this.#isNothing() || !this.root.hidden;
  }

  #showHeading(stage: Stage): void {
    const { reading, state } = this.#set;
    const offer = this.may("image.verify") ? readTitle(reading) : "Model's opinion";
    const titles: Record<Stage, string> = {
      read: offer,
      adjudicate: "Adjudicate",
      given: "Your read",
      elsewhere: this.may("image.verify") ? "Finding" : "Model's opinion",
      done: state === "REJECTED" ? "Rejected" : "Finding",
    };
    setText(this.#title, titles[stage]);
    setText(this.#submit, stage === "adjudicate" ? "DECIDE AS GROUND TRUTH" : sendWords(reading));
    this.#read.reason.field.hidden = stage !== "adjudicate";
    this.#others.hidden = stage !== "adjudicate";
    if (stage === "adjudicate" && !this.#others.hasChildNodes()) void this.#fetchOthers();
  }

  /** What the readers said, for who decides between them. */
  async #fetchOthers(): Promise<void> {
    setText(this.#others, "Fetching the reads…");
    try {
      const reads = await listReads(this.#set.id, this.#signal);
      this.#others.replaceChildren(
        reads ? readsBeside(reads.items) : el("p", { class: "faint" }, "The reads cannot be shown."),
      );
    } catch (error) {
      if (!this.#signal.aborted)
        this.#others.replaceChildren(el("p", { class: "result-bad" }, sentence(error)));
    }
  }

  /** The model's opinion and the history of labels: both only for eyes that are not to be kept blind. */
  #showBeside(stage: Stage): void {
    const isBlind = this.#set.reading?.blinded ?? false;
    if (isBlind) {
      this.#hasOpinion = false;
      const words = this.may("image.verify")
        ? "You read blinded: what others and the model say is shown after your own read."
        : "What readers and the model say is shown once the series is settled.";
      this.#beside.replaceChildren(el("p", { class: "faint", "data-testid": "blinded" }, words));
      return;
    }
    if (!this.#hasOpinion) {
      this.#hasOpinion = true;
      const offers = [
        this.may("image.predict") ? new Opinion(this.#set, this.pane, this.#signal).root : "",
        this.#set.reading ? historyOf(this.#set.id, this.#signal) : "",
      ];
      this.#beside.replaceChildren(...offers);
    }
    this.#beside.dataset.stage = stage;
  }

  #showTruth(): void {
    const { state, finding } = this.#set;
    const heading = state === "REJECTED" ? "This series was rejected" : "✓ Verified as ground truth";
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

  /** Theirs is in, and it takes others. */
  #showGiven(): void {
    const { reading } = this.#set;
    const next = reading ? outcomeWords(reading) : null;
    this.#result.replaceChildren(
      el("p", { class: "result-good" }, "✓ Your read is in"),
      next ? el("p", { "data-testid": "read-outcome" }, next) : "",
      ...this.#waysOn(),
    );
  }

  #showElsewhere(): void {
    const isDisputed = this.#set.reading?.state === "adjudication";
    const words = this.may("image.verify")
      ? "The readers differ. An adjudicator decides about this series."
      : "Verifying takes the role verifier, which you do not have.";
    this.#result.replaceChildren(
      isDisputed || !this.may("image.verify") ? el("p", { class: "faint" }, words) : "",
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
    const byValue = isShared(this.#set.reading) || chosenOrder() === "value"; // else one's own reads come again
    const limit = Math.min(2 + waiting.items.length, 100);
    try {
      const page = await listWorklist(
        { state: "INGESTED", withImages: true, limit, after: null, byValue, mine: byValue },
        this.#signal,
      );
      const next = page.items.find(({ id }) => id !== this.#set.id && !waiting.of(id));
      location.hash = next ? `#/view/${next.id}` : "#/";
    } catch (error) {
      if (!this.#signal.aborted)
        this.#result.append(el("p", { class: "result-bad", role: "alert" }, sentence(error)));
    }
  }
}

/** What the reader of a finding had been shown. */
export function seenWords({ frame, full, preview, never }: SeenCounts): string {
  if (full === null) return `Given on slice ${frame + 1}; what was shown of the others is not known.`;
  return `Shown at full quality: ${full}, as a preview only: ${preview}, not at all: ${never}.`;
}

function sentence(error: unknown): string {
  return error instanceof Error ? error.message : "That did not work.";
}
