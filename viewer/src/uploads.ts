/**
 * Uploads on their way: they outlive a page of the app, a bad link and a reload.
 *
 * What is kept of an unfinished upload is its id and a digest of its files' paths, sizes and times: a browser gives
 * no file back after a reload, so that the person chooses the same folder again, and the digest tells that it is the
 * same. No file name is kept.
 */
import { Bundle, type Content, single } from "./bundle.js";
import {
  ApiError,
  createUpload,
  getUpload,
  longestPart,
  type ResumableUpload,
  removeUpload,
  sendPart,
  uploadOffset,
} from "./protocol.js";

const KEY = "radloop.uploads";
const LEAST_PART = 1 << 20;
const MOST_PART = 32 << 20;
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 20_000;
const LANDING_MS = 700;
const RATE_OVER_MS = 4000;

export interface Chosen {
  readonly path: string;
  readonly file: File;
}

/** What one upload sends: an archive that is there already, or everything else in one bundle. */
export interface Parcel {
  readonly content: Content;
  readonly digest: string;
  readonly paths: readonly string[];
  readonly isBundle: boolean;
}

export interface Unfinished {
  readonly digest: string;
  readonly id: string;
  readonly files: number;
  readonly bytes: number;
  readonly begun: string;
}

export type Phase = "idle" | "reading" | "sending" | "waiting" | "paused" | "landing" | "over";

export interface Progress {
  readonly phase: Phase;
  readonly sent: number;
  readonly total: number;
  readonly files: number;
  /** Bytes a second over the last seconds; 0 where nothing is known. */
  readonly rate: number;
  /** Files that are landed already, while the server reads them. */
  readonly landed: number;
  /** What keeps it from going on, in words. */
  readonly trouble: string | null;
}

export interface Reason {
  readonly code: string;
  readonly sentence: string;
  readonly count: number;
  readonly paths: readonly string[];
}

export interface Outcome {
  readonly ingested: number;
  readonly duplicates: number;
  readonly quarantined: number;
  readonly refused: number;
  readonly skipped: number;
  readonly reasons: readonly Reason[];
  /** Why it ended before everything was sent; null where it did not. */
  readonly trouble: string | null;
}

const NOTHING: Progress = { phase: "idle", sent: 0, total: 0, files: 0, rate: 0, landed: 0, trouble: null };

/** Every zip by itself, and everything else in one bundle, in the order of their paths. */
export async function parcelsOf(chosen: readonly Chosen[]): Promise<Parcel[]> {
  const sorted = [...chosen].sort((one, other) =>
    one.path < other.path ? -1 : one.path > other.path ? 1 : 0,
  );
  const isArchive = await Promise.all(sorted.map(({ file }) => beginsAsArchive(file)));
  const archives = sorted.filter((_, place) => isArchive[place]);
  const others = sorted.filter((_, place) => !isArchive[place]);
  const parcels = archives.map(async (one) => ({
    content: single(one.file),
    digest: await digestOf([one]),
    paths: [one.path],
    isBundle: false,
  }));
  if (others.length === 0) return Promise.all(parcels);
  const bundle = {
    content: new Bundle(others.map(({ file }) => file)),
    digest: await digestOf(others),
    paths: others.map(({ path }) => path),
    isBundle: true,
  };
  return [...(await Promise.all(parcels)), bundle];
}

/** A digest of what files are called, how long they are and when they were written; not of what is in them. */
export async function digestOf(chosen: readonly Chosen[]): Promise<string> {
  const text = chosen.map(({ path, file }) => `${path}\0${file.size}\0${file.lastModified}\n`).join("");
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function beginsAsArchive(file: File): Promise<boolean> {
  if (!/\.zip$/i.test(file.name)) return false;
  const [first, second] = new Uint8Array(await file.slice(0, 2).arrayBuffer());
  return first === 0x50 && second === 0x4b;
}

/** Unfinished uploads that this browser knows of. */
export function unfinished(): Unfinished[] {
  try {
    const held: unknown = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    return Array.isArray(held) ? (held as Unfinished[]) : [];
  } catch {
    return [];
  }
}

function remember(one: Unfinished): void {
  keep([...unfinished().filter(({ digest }) => digest !== one.digest), one]);
}

export function forget(digest: string): void {
  keep(unfinished().filter((one) => one.digest !== digest));
}

function keep(held: readonly Unfinished[]): void {
  try {
    localStorage.setItem(KEY, JSON.stringify(held));
  } catch {
    // a browser that keeps nothing sends all the same; only a reload begins anew
  }
}

/** Whether trying again can help. */
export function isPassing(error: unknown): boolean {
  if (!(error instanceof ApiError)) return false;
  return (
    ["offline", "failed", "conflict", "too-often"].includes(error.kind) ||
    /^http-4(08|23|60)$/.test(error.code)
  );
}

export class Uploads {
  progress: Progress = NOTHING;
  outcome: Outcome | null = null;
  readonly #listeners = new Set<() => void>();
  #going: AbortController | null = null;
  #trying: AbortController | null = null;
  #wake: (() => void) | null = null;
  #samples: { readonly at: number; readonly sent: number }[] = [];

  get isBusy(): boolean {
    return this.#going !== null;
  }

  /** Have `listener` called whenever something changes, until `signal` aborts. */
  watch(listener: () => void, signal: AbortSignal): void {
    this.#listeners.add(listener);
    signal.addEventListener("abort", () => this.#listeners.delete(listener));
  }

  /** Send files; what is being sent already goes first and this is dropped. */
  async add(chosen: readonly Chosen[]): Promise<void> {
    if (this.#going || chosen.length === 0) return;
    const going = new AbortController();
    this.#going = going;
    this.outcome = null;
    this.#tell({ ...NOTHING, phase: "reading", files: chosen.length });
    const letGo = holdAwake(going.signal);
    const told: ResumableUpload[] = [];
    const reasons: Reason[] = [];
    let trouble: string | null = null;
    try {
      const parcels = await parcelsOf(chosen);
      let done = 0;
      this.#tell({ total: parcels.reduce((sum, { content }) => sum + content.length, 0) });
      for (const parcel of parcels) {
        const report = await this.#send(parcel, done, going.signal);
        done += parcel.content.length;
        told.push(report);
        reasons.push(...reasonsOf(parcel, report));
      }
    } catch (error) {
      trouble = going.signal.aborted
        ? "Cancelled. What had landed before stays."
        : error instanceof Error
          ? error.message
          : "The upload failed.";
    }
    letGo();
    this.#going = null;
    this.outcome = { ...sumOf(told), reasons, trouble };
    this.#tell({ phase: "over", rate: 0, trouble: null });
  }

  pause(): void {
    if (this.progress.phase !== "sending" && this.progress.phase !== "waiting") return;
    this.#tell({ phase: "paused", rate: 0, trouble: null });
    this.#trying?.abort();
    this.#wake?.();
  }

  resume(): void {
    if (this.progress.phase !== "paused") return;
    this.#samples = [];
    this.#tell({ phase: "sending", trouble: null });
    this.#wake?.();
  }

  /** Try now instead of waiting on. */
  hurry(): void {
    if (this.progress.phase === "waiting") this.#wake?.();
  }

  cancel(): void {
    this.#going?.abort();
    this.#wake?.();
  }

  async #send(parcel: Parcel, before: number, signal: AbortSignal): Promise<ResumableUpload> {
    const known = unfinished().find(({ digest }) => digest === parcel.digest);
    let id = known?.id ?? null;
    let offset = id === null ? null : await this.#patiently(() => uploadOffset(id as string, signal), signal);
    if (id === null || offset === null) {
      id = await this.#patiently(() => createUpload(parcel.content.length, signal), signal);
      offset = 0;
      const files = parcel.paths.length;
      remember({
        digest: parcel.digest,
        id,
        files,
        bytes: parcel.content.length,
        begun: new Date().toISOString(),
      });
    }
    try {
      await this.#sendFrom(parcel.content, id, offset, before, signal);
      const report = await this.#landed(id, signal);
      forget(parcel.digest);
      return report;
    } catch (error) {
      if (signal.aborted) {
        forget(parcel.digest);
        await removeUpload(id).catch(() => {}); // it expires by itself otherwise
      }
      throw error;
    }
  }

  async #sendFrom(
    content: Content,
    id: string,
    begin: number,
    before: number,
    signal: AbortSignal,
  ): Promise<void> {
    let offset: number | null = begin;
    let size = LEAST_PART;
    while (offset === null || offset < content.length) {
      if (this.progress.phase !== "paused") this.#tell({ phase: "sending" });
      offset = await this.#patiently(async (): Promise<number | null> => {
        const from = offset ?? (await uploadOffset(id, signal));
        if (from === null) throw new ApiError("not-found", "gone", "The server has forgotten this upload.");
        offset = null; // after whatever goes wrong now, only the server knows
        if (from === content.length) return from;
        this.#sample(before + from);
        const trying = new AbortController();
        this.#trying = trying;
        const most = Math.min(size, longestPart());
        const part = await content.part(from, Math.min(from + most, content.length), signal);
        const started = performance.now();
        size = LEAST_PART;
        const both = AbortSignal.any([signal, trying.signal]);
        const after = await sendPart(id, from, part, (some) => this.#sample(before + from + some), both);
        // parts of some seconds: long enough for a slow answer not to matter, short enough to be told of
        const seconds = Math.max((performance.now() - started) / 1000, 0.05);
        size = Math.round(Math.min(MOST_PART, Math.max(LEAST_PART, (part.size / seconds) * 4)));
        return after;
      }, signal);
      if (offset !== null) this.#sample(before + offset);
    }
  }

  async #landed(id: string, signal: AbortSignal): Promise<ResumableUpload> {
    for (;;) {
      const report = await this.#patiently(() => getUpload(id, signal), signal);
      if (report.state === "done" || report.state === "failed") return report;
      this.#tell({ phase: "landing", landed: report.files, rate: 0 });
      await this.#rest(LANDING_MS, signal);
    }
  }

  /** Try until it works or cannot, waiting longer each time, and for as long as it is paused. */
  async #patiently<T>(task: () => Promise<T>, signal: AbortSignal): Promise<T> {
    let wait = FIRST_WAIT_MS;
    for (;;) {
      while (this.progress.phase === "paused" && !signal.aborted) {
        await this.#rest(Number.POSITIVE_INFINITY, signal);
      }
      signal.throwIfAborted();
      try {
        const value = await task();
        if (this.progress.phase === "waiting") this.#tell({ phase: "sending", trouble: null });
        return value;
      } catch (error) {
        signal.throwIfAborted();
        if (this.progress.phase === "paused") continue;
        if (error instanceof ApiError && error.kind === "signed-out") {
          this.#tell({ phase: "paused", rate: 0, trouble: "You were signed out. Sign in, then go on." });
          continue;
        }
        if (!isPassing(error)) throw error;
        const words = error instanceof Error ? error.message : "";
        this.#samples = [];
        this.#tell({ phase: "waiting", rate: 0, trouble: `${words} Trying again…` });
        await this.#rest(wait, signal);
        wait = Math.min(wait * 2, LONGEST_WAIT_MS);
      }
    }
  }

  #rest(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const timer = Number.isFinite(ms) ? setTimeout(() => done(), ms) : undefined;
      const done = (): void => {
        clearTimeout(timer);
        signal.removeEventListener("abort", done);
        this.#wake = null;
        resolve();
      };
      this.#wake = done;
      signal.addEventListener("abort", done);
    });
  }

  #sample(sent: number): void {
    const at = performance.now();
    this.#samples = [
      ...this.#samples.filter((one) => at - one.at < RATE_OVER_MS && one.sent <= sent),
      { at, sent },
    ];
    const first = this.#samples[0] as { at: number; sent: number };
    const rate = at - first.at > 300 ? ((sent - first.sent) * 1000) / (at - first.at) : this.progress.rate;
    this.#tell({ sent, rate });
  }

  #tell(change: Partial<Progress>): void {
    this.progress = { ...this.progress, ...change };
    for (const listener of this.#listeners) listener();
  }
}

/** The one that the pages of the app share. */
export const uploads = new Uploads();

function reasonsOf(parcel: Parcel, report: ResumableUpload): Reason[] {
  return report.reasons.map(({ code, sentence, count, places }) => ({
    code,
    sentence,
    count,
    paths: parcel.isBundle ? places.map((place) => parcel.paths[place - 1] ?? "") : [],
  }));
}

/** The counts of several reports in one. */
export function sumOf(reports: readonly ResumableUpload[]): Omit<Outcome, "reasons" | "trouble"> {
  const total = (pick: (report: ResumableUpload) => number): number =>
    reports.reduce((sum, report) => sum + pick(report), 0);
  return {
    ingested: total((report) => report.ingested),
    duplicates: total((report) => report.duplicates),
    quarantined: total((report) => report.quarantined),
    refused: total((report) => report.refused + (report.state === "failed" ? 1 : 0)),
    skipped: total((report) => report.skipped),
  };
}

/** Keep a phone from falling asleep, where it lets us; the function that is returned lets go. */
function holdAwake(signal: AbortSignal): () => void {
  let lock: WakeLockSentinel | null = null;
  let isOver = false;
  const ask = (): void => {
    if (isOver || document.visibilityState !== "visible" || !("wakeLock" in navigator)) return;
    navigator.wakeLock.request("screen").then(
      (given) => {
        if (isOver) void given.release();
        else lock = given;
      },
      () => {}, // a low battery says no
    );
  };
  const warn = (event: BeforeUnloadEvent): void => event.preventDefault();
  const letGo = (): void => {
    isOver = true;
    void lock?.release();
    document.removeEventListener("visibilitychange", ask);
    window.removeEventListener("beforeunload", warn);
  };
  ask();
  document.addEventListener("visibilitychange", ask);
  window.addEventListener("beforeunload", warn);
  signal.addEventListener("abort", letGo);
  return letGo;
}
