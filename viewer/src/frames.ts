/**
 * Frames on their way to the screen: fetched in the order of `scheduler.ts`, kept compressed, decoded just in
 * time, forgotten when there are too many.
 */
import type { Decoder } from "./decoder.js";
import { DecodeError } from "./decoder.js";
import { ByteLru } from "./lru.js";
import type { Pixels } from "./pixels.js";
import { ApiError, type FrameInfo, type FrameSource, type FullQuality, type Layer } from "./protocol.js";
import { type Holding, nextWish, type Reader, type Shelf, stillWanted, type Wish } from "./scheduler.js";

export interface Shown {
  readonly index: number;
  readonly layer: Layer;
  readonly pixels: Pixels;
}

export interface Budgets {
  /** Compressed full frames, previews and decoded images, each in bytes. */
  readonly full: number;
  readonly previews: number;
  readonly decoded: number;
}

/** Requests under way: the round trip, not the bandwidth, is what a preview waits for. */
const MOST_REQUESTS = 6;
/** Full frames under way, so that none of them waits long when the reader moves. */
const MOST_FULL_REQUESTS = 3;
const MOST_DECODES = 4;
/** Slices decoded ahead of the reader, where memory allows. */
const MOST_AHEAD = 4;
const FIRST_RETRY_MS = 1000;
const LAST_RETRY_MS = 30_000;

interface Compressed {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly quality: FullQuality | null;
}

interface Under {
  readonly wish: Wish;
  readonly abort: AbortController;
}

export class Frames implements Shelf {
  readonly count: number;
  readonly hasPreviews: boolean;
  readonly reach: Readonly<Record<Layer, number>>;
  readonly #ahead: number;
  #reader: Reader = { current: 0, direction: 1, resting: true };
  readonly #holdings: Record<Layer, Holding[]>;
  readonly #compressed: Record<Layer, ByteLru<number, Compressed>>;
  readonly #decoded: ByteLru<number, Shown>;
  readonly #fetching = new Map<number, Under>();
  readonly #decoding = new Set<number>();
  readonly #trouble = new Map<number, { message: string; tries: number }>();
  readonly #leaving = new AbortController();

  /**
   * @param onChange Called whenever something that may be on screen has changed.
   */
  constructor(
    private readonly infos: readonly FrameInfo[],
    private readonly source: FrameSource,
    private readonly decoder: Decoder,
    budgets: Budgets,
    private readonly onChange: () => void,
  ) {
    this.count = infos.length;
    this.hasPreviews = infos.some((info) => info.preview_bytes !== null && info.decodable);
    this.#holdings = {
      preview: infos.map((info) => (info.preview_bytes !== null && info.decodable ? "missing" : "barred")),
      full: infos.map((info) => (info.decodable ? "missing" : "barred")),
    };
    this.#compressed = {
      preview: new ByteLru(budgets.previews, (index) => this.#set(index, "preview", "missing")),
      full: new ByteLru(budgets.full, (index) => this.#set(index, "full", "missing")),
    };
    this.#decoded = new ByteLru(budgets.decoded);
    this.reach = {
      preview: reachOf(budgets.previews, infos, (info) => info.preview_bytes ?? 0),
      full: reachOf(budgets.full, infos, (info) => info.lossless_bytes ?? decodedBytes(info)),
    };
    this.#ahead = Math.min(reachOf(budgets.decoded, infos, decodedBytes), MOST_AHEAD);
  }

  holding(index: number, layer: Layer): Holding {
    return this.#holdings[layer][index] ?? "barred";
  }

  /** Tell where the reader is; fetches that no longer serve are aborted. */
  look(reader: Reader): void {
    if (reader.resting && !this.#reader.resting) this.#keepWhatIsNear(reader.current);
    this.#reader = reader;
    for (const under of this.#fetching.values()) {
      if (!stillWanted(reader, under.wish)) under.abort.abort();
    }
    this.#pump();
  }

  /** The best we can show for `index`: itself at full quality, its preview, or the nearest neighbour. */
  best(index: number): Shown | null {
    for (let step = 0; step < this.count; step++) {
      const shown = this.#at(index - step) ?? this.#at(index + step);
      if (shown) return shown;
    }
    return null;
  }

  /** The quality the server stated for a full frame we hold. */
  quality(index: number): FullQuality {
    return this.#compressed.full.peek(index)?.quality ?? this.infos[index]?.quality ?? "lossy-as-received";
  }

  /** Why the slice cannot be shown at full quality, or null. */
  trouble(index: number): string | null {
    if (this.infos[index]?.decodable === false)
      return "This frame cannot be decoded. It is stored as received.";
    return this.#trouble.get(key(index, "full"))?.message ?? null;
  }

  /** How many frames can be shown at once, at any quality. */
  get held(): number {
    let held = 0;
    for (let index = 0; index < this.count; index++) {
      if (this.holding(index, "full") === "here" || this.holding(index, "preview") === "here") held++;
    }
    return held;
  }

  close(): void {
    this.#leaving.abort();
    for (const under of this.#fetching.values()) under.abort.abort();
    this.#compressed.full.clear();
    this.#compressed.preview.clear();
    this.#decoded.clear();
  }

  /** Let what this reader will not look at grow old first: eviction would otherwise refetch its neighbours. */
  #keepWhatIsNear(current: number): void {
    for (const layer of ["preview", "full"] as const) {
      for (let step = this.reach[layer]; step >= 0; step--) {
        this.#compressed[layer].get(current - step);
        this.#compressed[layer].get(current + step);
      }
    }
  }

  #at(index: number): Shown | undefined {
    return this.#decoded.peek(key(index, "full")) ?? this.#decoded.peek(key(index, "preview"));
  }

  #set(index: number, layer: Layer, holding: Holding): void {
    this.#holdings[layer][index] = holding;
  }

  #pump(): void {
    if (this.#leaving.signal.aborted) return;
    this.#decodeWhatIsNear();
    while (this.#fetching.size < MOST_REQUESTS) {
      const wish = nextWish(this.#reader, this);
      if (!wish) return;
      const isCurrent = wish.index === this.#reader.current;
      if (!isCurrent && this.#fetching.size >= MOST_REQUESTS - 1) return; // one way stays free for the slice in view
      if (!isCurrent && wish.layer === "full" && this.#fullRequests() >= MOST_FULL_REQUESTS) return;
      void this.#fetch(wish);
    }
  }

  #fullRequests(): number {
    let count = 0;
    for (const under of this.#fetching.values()) if (under.wish.layer === "full") count++;
    return count;
  }

  async #fetch(wish: Wish): Promise<void> {
    const { index, layer } = wish;
    const abort = new AbortController();
    this.#fetching.set(key(index, layer), { wish, abort });
    this.#set(index, layer, "coming");
    try {
      const { bytes, quality } = await this.source(index, layer, abort.signal);
      this.#compressed[layer].set(index, { bytes, quality }, bytes.length);
      this.#set(index, layer, "here");
      this.#trouble.delete(key(index, layer));
    } catch (error) {
      if (abort.signal.aborted) this.#set(index, layer, "missing");
      else this.#failed(wish, error);
    } finally {
      this.#fetching.delete(key(index, layer));
    }
    this.#pump();
  }

  /** Bar the frame, and lift the bar after a while unless trying again cannot help. */
  #failed({ index, layer }: Wish, error: unknown): void {
    this.#set(index, layer, "barred");
    const hopeless =
      error instanceof DecodeError ||
      (error instanceof ApiError && error.kind !== "offline" && error.kind !== "failed");
    const tries = (this.#trouble.get(key(index, layer))?.tries ?? 0) + 1;
    const what = error instanceof Error ? error.message : "The frame did not arrive.";
    this.#trouble.set(key(index, layer), { tries, message: hopeless ? what : `${what} Trying again.` });
    this.onChange();
    if (hopeless) return;
    const wait = Math.min(FIRST_RETRY_MS * 2 ** (tries - 1), LAST_RETRY_MS);
    setTimeout(() => {
      this.#set(index, layer, "missing");
      this.#pump();
    }, wait);
  }

  #decodeWhatIsNear(): void {
    const { current, direction, resting } = this.#reader;
    if (!this.#tryDecode(current) && !this.#at(current)) this.#decodeNearest(current);
    for (let step = 1; step <= this.#ahead; step++) this.#tryDecode(current + direction * step);
    if (resting && this.#ahead > 0) this.#tryDecode(current - direction);
  }

  /** Start decoding the best layer of a slice that we hold; true when its best is decoded or on its way. */
  #tryDecode(index: number): boolean {
    const layer: Layer = this.holding(index, "full") === "here" ? "full" : "preview";
    if (this.holding(index, layer) !== "here") return false;
    const name = key(index, layer);
    if (this.#decoded.get(name) || this.#decoding.has(name)) return true;
    if (this.#decoding.size < MOST_DECODES) void this.#decode(index, layer);
    return true;
  }

  #decodeNearest(current: number): void {
    for (let step = 1; step < this.count; step++) {
      if (this.#at(current - step) || this.#at(current + step)) return;
      if (this.#tryDecode(current + step) || this.#tryDecode(current - step)) return;
    }
  }

  async #decode(index: number, layer: Layer): Promise<void> {
    const compressed = this.#compressed[layer].get(index);
    const info = this.infos[index];
    if (!compressed || !info) return;
    this.#decoding.add(key(index, layer));
    try {
      const pixels = await this.decoder.decode(compressed.bytes, info.photometric, this.#leaving.signal);
      if (pixels.width !== info.columns || pixels.height !== info.rows) {
        throw new DecodeError("The frame is not of the size its study states.");
      }
      this.#decoded.set(key(index, layer), { index, layer, pixels }, pixels.data.byteLength);
    } catch (error) {
      if (!this.#leaving.signal.aborted) this.#failed({ index, layer }, error);
    } finally {
      this.#decoding.delete(key(index, layer));
    }
    if (this.#leaving.signal.aborted) return;
    this.onChange();
    this.#pump();
  }
}

/** How many frames to either side fit a budget, so that what is fetched for a reader never evicts itself. */
function reachOf(budget: number, infos: readonly FrameInfo[], size: (info: FrameInfo) => number): number {
  const largest = infos.reduce((most, info) => Math.max(most, size(info)), 1);
  return Math.min(Math.floor((budget / largest - 1) / 2), infos.length);
}

function decodedBytes({ rows, columns, samples }: FrameInfo): number {
  return rows * columns * (samples === 3 ? 4 : 2);
}

/** One number for a slice and a layer, so that looking one up allocates nothing. */
function key(index: number, layer: Layer): number {
  return index * 2 + (layer === "full" ? 1 : 0);
}
