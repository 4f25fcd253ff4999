/** The page for sending files in: choose or drop them, watch them go, go on after a break, read what became of them. */
import { button, el, setAttribute, setText } from "./dom.js";
import { dropTarget, isWanted } from "./drop.js";
import { ApiError, removeUpload, uploadOffset } from "./protocol.js";
import { forget, type Outcome, type Reason, type Unfinished, unfinished, uploads } from "./uploads.js";
import { bytes, plural } from "./words.js";

const NAMES_SHOWN = 5;

/** What a person can do about a reason, by its code. */
const ADVICE: Readonly<Record<string, string>> = {
  "not-dicom": "Nothing to do if these are no images. Else have them written as DICOM Part 10 files.",
  "truncated-file": "Cut on their way here or at their source: export them again.",
  "missing-attribute": "Have the source mended, then send them again.",
  "invalid-identity": "Have the source mended, then send them again.",
  "pixel-data-mismatch": "Export them again; if it comes back, have the source mended.",
  "broken-member": "Take them out of the archive yourself, or have it made again without a password.",
  "broken-archive": "Have the archive made again, or send the folder instead.",
  "too-large": "Send the files in smaller parts.",
  "gave-up": "Ask whoever runs this server to look at its dead letters.",
};

/** Show the page in `root` until `signal` aborts; what is being sent goes on. */
export function showUpload(root: HTMLElement, signal: AbortSignal): void {
  new UploadPage(root, signal).start();
}

class UploadPage {
  readonly #door: HTMLElement;
  readonly #unfinished = el("div", { "data-testid": "upload-unfinished" });
  readonly #going = el("section", { class: "card going", "aria-label": "Upload", hidden: true });
  readonly #headline = el("h2", {});
  readonly #progress = el("progress", {
    max: 1,
    value: 0,
    "aria-label": "Sent",
    "data-testid": "upload-progress",
  });
  readonly #figures = el("p", { class: "figures", "data-testid": "upload-figures" });
  readonly #trouble = el("p", { class: "result-warn", hidden: true });
  readonly #spoken = el("p", { class: "spoken", role: "status", "aria-live": "polite" });
  readonly #pause: HTMLButtonElement;
  readonly #cancel: HTMLButtonElement;
  readonly #report = el("section", { class: "card", "data-testid": "upload-report", hidden: true });
  #shown: Outcome | null = null;

  constructor(
    private readonly root: HTMLElement,
    private readonly signal: AbortSignal,
  ) {
    this.#pause = button("Pause", { "data-testid": "upload-pause" }, () => {
      if (uploads.progress.phase === "paused") uploads.resume();
      else uploads.pause();
    });
    this.#cancel = button("Cancel", { "data-testid": "upload-cancel" }, () => uploads.cancel());
    this.#door = this.#makeDoor();
  }

  start(): void {
    this.#going.append(
      this.#headline,
      this.#progress,
      this.#figures,
      this.#trouble,
      el("div", { class: "upload-buttons" }, this.#pause, this.#cancel),
    );
    this.root.append(
      el(
        "div",
        { class: "page" },
        el("h1", { tabindex: -1 }, "Upload"),
        this.#unfinished,
        this.#door,
        this.#going,
        this.#report,
        this.#spoken,
      ),
    );
    uploads.watch(() => this.#render(), this.signal);
    this.#render();
    void this.#showUnfinished();
  }

  #makeDoor(): HTMLElement {
    const files = el("input", {
      type: "file",
      multiple: true,
      id: "upload-input",
      "data-testid": "upload-input",
    });
    const folder = el("input", {
      type: "file",
      webkitdirectory: true,
      id: "upload-folder",
      "data-testid": "upload-folder",
    });
    for (const input of [files, folder]) {
      input.addEventListener("change", () => {
        const chosen = [...(input.files ?? [])].map((file) => ({
          path: file.webkitRelativePath || file.name,
          file,
        }));
        input.value = "";
        void uploads.add(chosen.filter(isWanted));
      });
    }
    return dropTarget(
      el(
        "section",
        { class: "upload upload-door", "aria-label": "Add images" },
        el("p", { class: "lead desktop" }, "Drop a folder, DICOM files or a zip here"),
        el("p", { class: "lead phone" }, "A folder, DICOM files or a zip"),
        el(
          "div",
          { class: "upload-buttons" },
          el("label", { class: "button primary", for: "upload-folder" }, "Choose a folder", folder),
          el("label", { class: "button", for: "upload-input" }, "Choose files", files),
        ),
        el(
          "p",
          { class: "faint" },
          "A broken connection is no harm: the upload goes on where it stopped, even after this page was closed.",
        ),
      ),
    );
  }

  #render(): void {
    const { progress, outcome, isBusy } = uploads;
    this.#door.hidden = isBusy;
    this.#going.hidden = !isBusy;
    if (isBusy) this.#unfinished.replaceChildren();
    const share = progress.total ? Math.min(progress.sent / progress.total, 1) : 0;
    setText(this.#headline, headlineOf());
    setAttribute(this.#progress, "value", progress.phase === "reading" ? null : share);
    setAttribute(this.#progress, "aria-valuetext", `${Math.floor(share * 100)} percent sent`);
    setText(this.#figures, figuresOf());
    this.#trouble.hidden = progress.trouble === null;
    setText(this.#trouble, progress.trouble ?? "");
    this.#pause.hidden = !["sending", "waiting", "paused"].includes(progress.phase);
    setText(this.#pause, progress.phase === "paused" ? "Go on" : "Pause");
    this.#cancel.hidden = progress.phase === "landing";
    // what is read aloud changes with every tenth only
    const tenth = progress.phase === "sending" ? `, ${Math.floor(share * 10) * 10} percent` : "";
    setText(this.#spoken, isBusy ? `${headlineOf()}${tenth}` : outcome ? summaryOf(outcome) : "");
    if (outcome !== this.#shown) this.#showOutcome(outcome);
  }

  #showOutcome(outcome: Outcome | null): void {
    this.#shown = outcome;
    this.#report.hidden = outcome === null;
    if (!outcome) return;
    const isGood = outcome.trouble === null && outcome.quarantined + outcome.refused === 0;
    this.#report.replaceChildren(
      el("h2", { class: isGood ? "result-good" : "" }, outcome.trouble ? "Not everything was sent" : "Sent"),
      outcome.trouble ? el("p", { class: "result-bad", role: "alert" }, outcome.trouble) : "",
      el("p", { class: "lead" }, summaryOf(outcome)),
      outcome.skipped
        ? el("p", { class: "faint" }, `${outcome.skipped} left out: DICOMDIR and the like.`)
        : "",
      el("ul", { class: "reasons" }, ...outcome.reasons.map(reasonRow)),
      el("a", { class: "button", href: "#/" }, "Go to the worklist"),
    );
    void this.#showUnfinished();
  }

  /** Uploads that a reload or a closed page interrupted, with how much of each is there. */
  async #showUnfinished(): Promise<void> {
    if (uploads.isBusy) return;
    const rows = await Promise.all(unfinished().map((one) => this.#unfinishedRow(one)));
    if (uploads.isBusy || this.signal.aborted) return;
    this.#unfinished.replaceChildren(...rows.filter((row) => row !== null));
  }

  async #unfinishedRow(one: Unfinished): Promise<HTMLElement | null> {
    let words = "";
    try {
      const offset = await uploadOffset(one.id, this.signal);
      if (offset === null) {
        forget(one.digest);
        return null;
      }
      words = `${Math.floor((100 * offset) / Math.max(one.bytes, 1))} % is here already. `;
    } catch (error) {
      if (!(error instanceof ApiError)) return null;
    }
    const row = el(
      "section",
      { class: "card unfinished" },
      el("h2", {}, "An upload is unfinished"),
      el("p", {}, `${plural(one.files, "file")}, ${bytes(one.bytes)}. ${words}`),
      el("p", { class: "lead" }, "Choose the same files or folder again, and it goes on where it stopped."),
      button("Forget it", {}, () => {
        forget(one.digest);
        void removeUpload(one.id).catch(() => {}); // it expires by itself otherwise
        row.remove();
      }),
    );
    return row;
  }
}

function headlineOf(): string {
  const { phase, landed } = uploads.progress;
  switch (phase) {
    case "reading":
      return "Looking at the files";
    case "waiting":
      return "No connection";
    case "paused":
      return "Paused";
    case "landing":
      return landed
        ? `Sent. The server has read ${plural(landed, "file")}`
        : "Sent. The server is reading them";
    default:
      return "Sending";
  }
}

function figuresOf(): string {
  const { sent, total, files, rate } = uploads.progress;
  return [
    `${bytes(sent)} of ${bytes(total)}`,
    plural(files, "file"),
    rate ? `${bytes(rate)}/s` : "",
    rate && total > sent ? `${timeLeft((total - sent) / rate)} left` : "",
  ]
    .filter(Boolean)
    .join(" · ");
}

/** Seconds as a person estimates them. */
export function timeLeft(seconds: number): string {
  if (seconds < 10) return "a few seconds";
  if (seconds < 90) return `${Math.round(seconds / 10) * 10} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

function summaryOf(outcome: Outcome): string {
  return [
    `✓ ${plural(outcome.ingested, "image")} added`,
    outcome.duplicates ? `${outcome.duplicates} already here` : "",
    outcome.quarantined ? `⚠ ${outcome.quarantined} set aside` : "",
    outcome.refused ? `⚠ ${outcome.refused} could not be read` : "",
  ]
    .filter(Boolean)
    .join(" · ");
}

function reasonRow({ code, sentence, count, paths }: Reason): HTMLElement {
  const advice = ADVICE[code];
  const more = count - Math.min(paths.length, NAMES_SHOWN);
  return el(
    "li",
    {},
    el("strong", {}, `${count} × ${sentence}`),
    advice ? el("p", {}, advice) : null,
    paths.length
      ? el(
          "p",
          { class: "faint paths" },
          paths.slice(0, NAMES_SHOWN).join(", ") + (more > 0 ? ` and ${more} more` : ""),
        )
      : null,
  );
}
