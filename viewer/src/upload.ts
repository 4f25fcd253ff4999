/** The door for files: choose them, drop them, watch them go, read what became of them. */
import { button, el, setAttribute, setText } from "./dom.js";
import { type UploadReport, uploadFiles } from "./protocol.js";
import { bytes, plural } from "./words.js";

/** Files travel in batches: a request that breaks costs one of them, not the whole study. */
const BATCH_FILES = 100;
const BATCH_BYTES = 64e6;

/** @param onDone Called when something new may stand on the worklist. */
export function uploadDoor(onDone: () => void, signal: AbortSignal): HTMLElement {
  return new UploadDoor(onDone, signal).root;
}

class UploadDoor {
  readonly root: HTMLElement;
  readonly #input = el("input", {
    type: "file",
    multiple: true,
    "data-testid": "upload-input",
    id: "upload-input",
  });
  readonly #progress = el("progress", { max: 1, value: 0, "aria-label": "Upload", hidden: true });
  readonly #words = el("p", { class: "faint", role: "status" });
  readonly #report = el("div", {
    class: "report",
    "data-testid": "upload-report",
    role: "status",
    hidden: true,
  });
  readonly #cancel: HTMLButtonElement;
  #going: AbortController | null = null;

  constructor(
    private readonly onDone: () => void,
    signal: AbortSignal,
  ) {
    const folder = el("input", { type: "file", webkitdirectory: true, id: "upload-folder", tabindex: 0 });
    this.#cancel = button("Cancel", { hidden: true }, () => this.#going?.abort());
    this.root = el(
      "section",
      { class: "upload", "aria-label": "Add images" },
      el("label", { class: "button", for: "upload-input" }, "+ Add files", this.#input),
      el("label", { class: "button desktop", for: "upload-folder" }, "Add a folder", folder),
      el("span", { class: "faint desktop" }, "or drop DICOM files here"),
      this.#cancel,
      this.#progress,
      this.#words,
      this.#report,
    );
    for (const input of [this.#input, folder]) {
      input.addEventListener("change", () => {
        const files = [...(input.files ?? [])];
        input.value = "";
        void this.#send(files);
      });
    }
    this.#listenForDrops();
    signal.addEventListener("abort", () => this.#going?.abort());
  }

  #listenForDrops(): void {
    const over = (event: DragEvent, isOver: boolean): void => {
      event.preventDefault();
      this.root.classList.toggle("dropping", isOver);
    };
    this.root.addEventListener("dragover", (event) => over(event, true));
    this.root.addEventListener("dragleave", (event) => over(event, false));
    this.root.addEventListener("drop", (event) => {
      over(event, false);
      const entries = [...(event.dataTransfer?.items ?? [])].map((item) => item.webkitGetAsEntry());
      void Promise.all(entries.map(filesIn)).then((found) => this.#send(found.flat()));
    });
  }

  async #send(files: readonly File[]): Promise<void> {
    if (files.length === 0 || this.#going) return;
    const going = new AbortController();
    this.#going = going;
    this.#show(true);
    const total = files.reduce((sum, file) => sum + file.size, 0);
    const reports: UploadReport[] = [];
    let sent = 0;
    let trouble: string | null = null;
    try {
      for (const batch of batches(files)) {
        reports.push(await uploadFiles(batch, (some) => this.#tell(sent + some, total), going.signal));
        sent += batch.reduce((sum, file) => sum + file.size, 0);
      }
    } catch (error) {
      trouble = going.signal.aborted
        ? "Cancelled."
        : error instanceof Error
          ? error.message
          : "The upload failed.";
    }
    this.#going = null;
    this.#show(false);
    this.#tellReport(sumOf(reports), files.length, trouble);
    this.onDone();
  }

  #show(isGoing: boolean): void {
    this.#progress.hidden = !isGoing;
    this.#cancel.hidden = !isGoing;
    this.#input.disabled = isGoing;
    if (isGoing) this.#report.hidden = true;
    else setText(this.#words, "");
  }

  #tell(sent: number, total: number): void {
    const share = Math.min(sent / Math.max(total, 1), 1);
    setAttribute(this.#progress, "value", share);
    setText(
      this.#words,
      share < 1 ? `${bytes(sent)} of ${bytes(total)}` : "Sent. The server is reading them…",
    );
  }

  #tellReport(report: UploadReport, offered: number, trouble: string | null): void {
    const parts = [
      `✓ ${plural(report.ingested, "image")} added`,
      report.duplicates ? `${report.duplicates} already here` : "",
      report.quarantined ? `⚠ ${report.quarantined} set aside` : "",
    ].filter(Boolean);
    const told = report.ingested + report.duplicates + report.quarantined;
    this.#report.hidden = false;
    this.#report.replaceChildren(
      trouble
        ? el(
            "p",
            { class: "result-bad", role: "alert" },
            `${trouble} ${offered - told} of ${offered} not sent.`,
          )
        : "",
      el("p", {}, parts.join(" · ")),
      el("ul", {}, ...report.reasons.map(({ sentence, count }) => el("li", {}, `${count} × ${sentence}`))),
    );
  }
}

/** `files` in their order, cut where a request would grow too large. */
export function batches<T extends { readonly size: number }>(files: readonly T[]): T[][] {
  const found: T[][] = [];
  let held = 0;
  for (const file of files) {
    const last = found.at(-1);
    if (!last || last.length >= BATCH_FILES || held + file.size > BATCH_BYTES) {
      found.push([file]);
      held = file.size;
    } else {
      last.push(file);
      held += file.size;
    }
  }
  return found;
}

/** One report for several requests; the same reason is counted once. */
export function sumOf(reports: readonly UploadReport[]): UploadReport {
  const reasons = new Map<string, { code: string; sentence: string; count: number }>();
  for (const { code, sentence, count } of reports.flatMap((report) => report.reasons)) {
    reasons.set(code, { code, sentence, count: (reasons.get(code)?.count ?? 0) + count });
  }
  const total = (pick: (report: UploadReport) => number): number =>
    reports.reduce((sum, report) => sum + pick(report), 0);
  return {
    ingested: total((report) => report.ingested),
    duplicates: total((report) => report.duplicates),
    quarantined: total((report) => report.quarantined),
    image_sets: [...new Set(reports.flatMap((report) => report.image_sets))],
    reasons: [...reasons.values()],
  };
}

/** All files under a dropped entry, folders included. */
async function filesIn(entry: FileSystemEntry | null): Promise<File[]> {
  if (entry?.isFile) {
    return [
      await new Promise<File>((resolve, reject) => (entry as FileSystemFileEntry).file(resolve, reject)),
    ];
  }
  if (!entry?.isDirectory) return [];
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  const files: File[] = [];
  for (;;) {
    // a reader gives its entries in portions and an empty one at the end
    const some = await new Promise<FileSystemEntry[]>((resolve, reject) =>
      reader.readEntries(resolve, reject),
    );
    if (some.length === 0) return files;
    for (const child of some) files.push(...(await filesIn(child)));
  }
}
