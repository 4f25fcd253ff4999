/** The volume of a series as the page knows it: fetches its slices, and asks the worker that holds it for planes. */
import { releaseDecoder } from "./decoder.js";
import { WASM_BYTES } from "./device.js";
import { watchHeap, watchWasm } from "./loads.js";
import { ApiError, type FrameInfo } from "./protocol.js";
import type { Fineness, Slab } from "./slab.js";
import type { Answers, Early, Item, Source } from "./stream.js";
import { bytesOf, interleaved, type Plan, type Plane } from "./volume.js";
import type { VolumeAnswer, VolumeRequest } from "./volume.worker.js";
import type { Ramp } from "./window.js";

/** Requests under way, and slices in each: the first of them shows within a round trip, and the link is never idle. */
const LANES = 3;
const MOST_ITEMS = 24;
const MOST_BYTES = 2 ** 20;
/** Slices given to the worker that it has not put in place: planes wait behind those. */
const MOST_GIVEN = 3;
/** Slices that wait for the worker before no more are asked for. */
const MOST_WAITING = 96;
const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 8000;

export interface Look {
  readonly ramp: Ramp;
  readonly invert: boolean;
}

export interface Drawn {
  readonly width: number;
  readonly height: number;
  readonly pixels: Uint8ClampedArray<ArrayBuffer>;
}

export interface VolumeListener {
  /** A plane that was asked for as `view`. */
  drawn(view: number, drawn: Drawn): void;
  /** Another slice is in its place, or never will be. */
  filled(): void;
  failed(message: string): void;
}

/** A slice that has arrived and is to be put in its place. */
type Arrived = VolumeRequest & { readonly kind: "slice" };

export class VolumeClient {
  /** Slices of the grid that the series has. */
  readonly wanted: number;
  held = 0;
  /** Slices that could not be read; their places show their neighbours. */
  lost = 0;
  /** Why nothing comes just now; null while it does. */
  trouble: string | null = null;
  /** Stored values so far. */
  least = Number.POSITIVE_INFINITY;
  most = Number.NEGATIVE_INFINITY;
  readonly #worker = new Worker(new URL("./volume.worker.ts", import.meta.url), { type: "module" });
  readonly #slots = new Map<number, number>();
  /** Frames that are still to be asked for. */
  readonly #queue: number[];
  readonly #arrived: Arrived[] = [];
  readonly #leaving = new AbortController();
  #given = 0;
  #wakeLanes: (() => void)[] = [];

  constructor(
    private readonly plan: Plan,
    private readonly infos: readonly FrameInfo[],
    private readonly source: Source,
    private readonly listener: VolumeListener,
  ) {
    plan.frames.forEach((frame, slot) => {
      if (frame >= 0) this.#slots.set(frame, slot);
    });
    this.#queue = interleaved(plan.frames.length)
      .map((slot) => plan.frames[slot] as number)
      .filter((frame) => frame >= 0);
    this.wanted = this.#queue.length;
    this.#worker.onmessage = ({ data }: MessageEvent<VolumeAnswer>) => this.#answered(data);
    this.#worker.onerror = () => listener.failed("The volume could not be put together.");
  }

  /** Fetch every slice, coarsely at first, until `signal` aborts. */
  start(signal: AbortSignal): void {
    signal.addEventListener("abort", () => this.close(), { signal: this.#leaving.signal });
    releaseDecoder(); // a phone has no room for its workers beside a volume
    watchWasm(() => WASM_BYTES);
    const held = { compressed: 0, decoded: bytesOf(this.plan) };
    this.#leaving.signal.addEventListener(
      "abort",
      watchHeap(() => held),
    );
    this.#post({ kind: "open", plan: this.plan });
    const early = this.source.takeEarly?.();
    if (early) void this.#early(early);
    for (let lane = 0; lane < LANES; lane++) void this.#lane();
  }

  close(): void {
    this.#leaving.abort();
    this.#worker.terminate();
  }

  /** Have a plane drawn; `drawn` of the listener gets it. */
  draw(view: number, plane: Plane, slab: Slab, fineness: Fineness, { ramp, invert }: Look): void {
    this.#post({ kind: "draw", view, plane, slab, fineness, ramp, invert });
  }

  // --- fetching ------------------------------------------------------------------------------------------

  /** What was asked for before the page knew what to do with it. */
  async #early(early: Early): Promise<void> {
    const frames = early.items
      .filter(({ layer }) => layer === "preview")
      .map(({ index }) => index)
      .filter((frame) => this.#queue.includes(frame));
    for (const frame of frames) this.#queue.splice(this.#queue.indexOf(frame), 1);
    const missing = new Set(frames);
    await early.into(this.#answers(missing)).catch(() => {});
    this.#queue.unshift(...missing);
    if (missing.size) await this.#lane();
  }

  async #lane(): Promise<void> {
    const { signal } = this.#leaving;
    let wait = FIRST_RETRY_MS;
    for (;;) {
      if (this.#arrived.length > MOST_WAITING) await new Promise<void>((wake) => this.#wakeLanes.push(wake));
      const items = this.#next();
      if (items.length === 0 || signal.aborted) return;
      const missing = new Set(items.map(({ index }) => index));
      try {
        await this.source.ask(items, this.#answers(missing), signal);
        wait = FIRST_RETRY_MS;
      } catch (error) {
        if (signal.aborted) return;
        if (!mayPass(error)) {
          this.listener.failed(error instanceof Error ? error.message : "The slices cannot be fetched.");
          return;
        }
        if (missing.size < items.length) wait = FIRST_RETRY_MS;
        this.#queue.unshift(...missing); // only what has not come
        this.trouble = `${(error as Error).message} Trying again.`;
        this.listener.filled();
        await pause(wait, signal);
        wait = Math.min(wait * 2, LAST_RETRY_MS);
      }
    }
  }

  #next(): Item[] {
    const items: Item[] = [];
    let bytes = 0;
    while (items.length < MOST_ITEMS && bytes < MOST_BYTES) {
      const index = this.#queue.shift();
      if (index === undefined) break;
      const { preview_bytes, lossless_bytes, rows, columns } = this.infos[index] as FrameInfo;
      items.push({ index, layer: preview_bytes === null ? "full" : "preview", from: 0, to: 0 });
      bytes += preview_bytes ?? lossless_bytes ?? rows * columns * 2;
    }
    return items;
  }

  #answers(missing: Set<number>): Answers {
    return {
      record: ({ index }, bytes) => {
        const slot = this.#slots.get(index);
        if (slot === undefined || !missing.delete(index)) return;
        const { slope, intercept } = this.infos[index] as FrameInfo;
        this.trouble = null;
        this.#arrived.push({ kind: "slice", slot, bytes, slope, intercept });
        this.#give();
      },
      refused: ({ index }) => {
        if (!missing.delete(index)) return;
        this.lost++;
        this.listener.filled();
      },
    };
  }

  // --- the worker ----------------------------------------------------------------------------------------

  #give(): void {
    while (this.#given < MOST_GIVEN) {
      const slice = this.#arrived.shift();
      if (!slice) return;
      this.#given++;
      this.#post(slice, [slice.bytes.buffer]);
    }
  }

  #answered(answer: VolumeAnswer): void {
    if (answer.kind === "drawn") this.listener.drawn(answer.view, answer);
    else if (answer.kind === "failed") this.listener.failed(answer.message);
    else {
      this.least = Math.min(this.least, answer.least);
      this.most = Math.max(this.most, answer.most);
      if (answer.message === null) this.held++;
      else this.lost++;
      this.#given--;
      this.#give();
      if (this.#arrived.length <= MOST_WAITING) for (const wake of this.#wakeLanes.splice(0)) wake();
      this.listener.filled();
    }
  }

  #post(request: VolumeRequest, transfer: Transferable[] = []): void {
    if (!this.#leaving.signal.aborted) this.#worker.postMessage(request, transfer);
  }
}

/** Whether asking again can help. */
function mayPass(error: unknown): boolean {
  return (
    error instanceof ApiError &&
    (error.kind === "offline" || error.kind === "failed" || error.kind === "too-often")
  );
}

function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const over = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", over);
      resolve();
    };
    const timer = setTimeout(over, milliseconds);
    signal.addEventListener("abort", over);
  });
}
