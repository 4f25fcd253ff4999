/**
 * Frames on their way to the screen: fetched in the order of `scheduler.ts`, kept compressed, decoded just in
 * time, forgotten when there are too many.
 */
import type { Decoder } from "./decoder.js";
import { DecodeError } from "./decoder.js";
import { type Client, Flow, type Planned } from "./flow.js";
import { watchHeap } from "./loads.js";
import { ByteLru } from "./lru.js";
import type { Pixels } from "./pixels.js";
import { ApiError, type FrameInfo, type FullQuality, type Layer } from "./protocol.js";
import { type Holding, type Motion, plan, type Reader, type Rest, type Shelf, STILL } from "./scheduler.js";
import type { Item, Source } from "./stream.js";

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

/** Slices decoded ahead of the reader, where memory allows. */
const MOST_AHEAD = 4;
/** Frames without a known size are taken to be compressed by this much. */
const GUESSED_RATIO = 3;
const FIRST_RETRY_MS = 1000;
const LAST_RETRY_MS = 30_000;
/** How often arrivals alone are told, which change no more than a count. */
const TELL_MS = 250;
/** Of the budget for full frames, the share that frames of which parts are missing have at least, and at most. */
const LEAST_FOR_PARTS = 0.25;
const MOST_FOR_PARTS = 0.75;
/** Decoding and drawing, added to what a frame needs on its way. */
const DRAW_MS = 30;
const MOST_LEAD = 60;
/** A moving reader's full frames may take so many times what the link has, as not every slice gets one. */
const SPARE = 2;
const SHARE_OF_NEWEST = 0.4;
/** A reader at rest who leaps so far has meant the slice arrived at. */
const LEAP = 3;

/** A full frame that arrives in parts. */
class Parts {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly #missing: Rest[];
  #filled = 0;

  constructor(size: number) {
    this.bytes = new Uint8Array(size);
    this.#missing = [{ from: 0, to: size, bytes: size }];
  }

  get isWhole(): boolean {
    return this.#filled === this.bytes.length;
  }

  /** The next part to ask for, null when all are under way. */
  get rest(): Rest | null {
    return this.#missing[0] ?? null;
  }

  take(to: number): void {
    const first = this.#missing.shift();
    if (first && to < first.to) this.#missing.unshift({ from: to, to: first.to, bytes: first.to - to });
  }

  put(from: number, part: Uint8Array): void {
    this.bytes.set(part, from);
    this.#filled += part.length;
  }

  lose(from: number, to: number): void {
    this.#missing.unshift({ from, to, bytes: to - from });
  }
}

export class Frames implements Shelf, Client {
  readonly count: number;
  readonly hasPreviews: boolean;
  readonly reach: Readonly<Record<Layer, number>>;
  readonly #ahead: number;
  readonly #typicalFull: number;
  readonly #flow: Flow;
  #reader: Reader = { current: 0, direction: 1, resting: true };
  #lookedAt = 0;
  #speed = 0; // slices a second
  readonly #holdings: Record<Layer, Holding[]>;
  readonly #compressed: Record<Layer, ByteLru<number, Uint8Array<ArrayBuffer>>>;
  readonly #parts: ByteLru<number, Parts>;
  readonly #partOf = new WeakMap<Item, Parts>();
  readonly #decoded: ByteLru<number, Shown>;
  readonly #decoding = new Set<number>();
  readonly #trouble = new Map<number, { message: string; tries: number }>();
  readonly #retries = new Set<ReturnType<typeof setTimeout>>();
  readonly #leaving = new AbortController();
  readonly #forgetHeap: () => void;
  readonly #missing: Record<Layer, number>;
  #held = 0;
  #isLinked = true;
  #toldAt = 0;
  #end: ApiError | null = null;

  /**
   * @param onChange Called whenever something that may be on screen has changed.
   */
  constructor(
    private readonly infos: readonly FrameInfo[],
    source: Source,
    private readonly decoder: Pick<Decoder, "decode" | "lanes">,
    budgets: Budgets,
    private readonly onChange: () => void,
  ) {
    this.count = infos.length;
    this.hasPreviews = infos.some((info) => info.preview_bytes !== null && info.decodable);
    this.#holdings = {
      preview: infos.map((info) => (info.preview_bytes !== null && info.decodable ? "missing" : "barred")),
      full: infos.map((info) => (info.decodable ? "missing" : "barred")),
    };
    const full = budgets.full - forParts(budgets.full, infos);
    const missing = (layer: Layer): number =>
      this.#holdings[layer].filter((holding) => holding === "missing").length;
    this.#missing = { preview: missing("preview"), full: missing("full") };
    this.#compressed = {
      preview: new ByteLru(budgets.previews, (index) => this.#set(index, "preview", "missing")),
      full: new ByteLru(full, (index) => this.#set(index, "full", "missing")),
    };
    this.#parts = new ByteLru(budgets.full - full, (index) => this.#abandon(index));
    this.#decoded = new ByteLru(budgets.decoded);
    this.reach = {
      preview: reachOf(budgets.previews, infos, (info) => info.preview_bytes ?? 0),
      full: reachOf(full, infos, fullBytes),
    };
    this.#ahead = Math.min(reachOf(budgets.decoded, infos, decodedBytes), MOST_AHEAD);
    this.#typicalFull = infos.reduce((sum, info) => sum + fullBytes(info), 0) / Math.max(infos.length, 1);
    this.#flow = new Flow(source, this);
    this.#forgetHeap = watchHeap(() => this.heap);
    const early = source.takeEarly?.();
    for (const { index, layer } of early?.items ?? []) {
      if (this.holding(index, layer) === "missing") this.#set(index, layer, "coming");
    }
    if (early) this.#flow.adopt(early);
    globalThis.addEventListener?.("online", () => this.#flow.hurry(), { signal: this.#leaving.signal });
  }

  /** What is held, in bytes. */
  get heap(): { readonly compressed: number; readonly decoded: number } {
    const { preview, full } = this.#compressed;
    return { compressed: preview.bytes + full.bytes + this.#parts.bytes, decoded: this.#decoded.bytes };
  }

  /** How many frames can be shown at once, at any quality. */
  get held(): number {
    return this.#held;
  }

  holding(index: number, layer: Layer): Holding {
    return this.#holdings[layer][index] ?? "barred";
  }

  /** See `Shelf.lacks`. */
  lacks(layer: Layer): boolean {
    return this.#missing[layer] > 0;
  }

  /** See `Shelf.rest`. */
  rest(index: number, layer: Layer): Rest {
    const info = this.infos[index] as FrameInfo;
    const size = layer === "preview" ? info.preview_bytes : info.lossless_bytes;
    if (size === null) return { from: 0, to: 0, bytes: fullBytes(info) };
    const parts = layer === "full" ? this.#parts.peek(index) : undefined;
    return parts?.rest ?? { from: 0, to: size, bytes: size };
  }

  /** Tell where the reader is; the next request asks for what is wanted there. */
  look(reader: Reader): void {
    const before = this.#reader;
    const slices = Math.abs(reader.current - before.current);
    const isLeap = before.resting && slices >= LEAP && this.#lookedAt > 0;
    if (reader.resting && !before.resting) this.#keepWhatIsNear(reader.current);
    this.#measure(slices, reader.resting || isLeap);
    this.#reader = isLeap ? { ...reader, resting: true } : reader;
    this.#flow.kick();
    this.#decodeWhatIsNear();
  }

  /** The best we can show for `index`: itself at full quality, its preview, or the nearest neighbour. */
  best(index: number): Shown | null {
    for (let step = 0; step < this.count; step++) {
      const shown = this.#at(index - step) ?? this.#at(index + step);
      if (shown) return shown;
    }
    return null;
  }

  /** The quality the server states for a full frame. */
  quality(index: number): FullQuality {
    return this.infos[index]?.quality ?? "lossy-as-received";
  }

  /** Why the slice cannot be shown at full quality, or null. */
  trouble(index: number): string | null {
    if (this.infos[index]?.decodable === false)
      return "This frame cannot be decoded. It is stored as received.";
    const own = this.#trouble.get(key(index, "full"))?.message;
    if (own || this.holding(index, "full") === "here") return own ?? null;
    if (this.#end) return this.#end.message;
    return this.#isLinked ? null : "No connection. Going on as soon as it is back.";
  }

  close(): void {
    this.#leaving.abort();
    this.#flow.close();
    for (const retry of this.#retries) clearTimeout(retry);
    this.#compressed.full.clear();
    this.#compressed.preview.clear();
    this.#parts.clear();
    this.#decoded.clear();
    this.#forgetHeap();
  }

  // --- what the flow asks and tells ----------------------------------------------------------------------

  /** See `Client.plan`. */
  plan(room: number, mayIdle: boolean): Planned {
    const planned = plan(this.#reader, this, this.#motion(), room, mayIdle);
    for (const item of planned.items) this.#asked(item);
    return planned;
  }

  /** See `Client.record`. */
  record(item: Item, bytes: Uint8Array<ArrayBuffer>): void {
    const { index, layer } = item;
    const whole = this.#wholeOf(item, bytes);
    if (whole === null) return;
    if (whole.length === 0) {
      this.#failed(index, layer, new DecodeError("The frame is empty."));
      return;
    }
    this.#compressed[layer].set(index, whole, whole.length);
    this.#set(index, layer, "here");
    this.#trouble.delete(key(index, layer));
    this.#decodeWhatIsNear();
    this.#tellNowAndThen();
  }

  /** See `Client.refused`. */
  refused({ index, layer }: Item, error: ApiError): void {
    if (layer === "full") this.#parts.delete(index);
    if (this.holding(index, layer) !== "here") this.#failed(index, layer, error);
  }

  /** See `Client.lost`. */
  lost(item: Item): void {
    const { index, layer, from, to } = item;
    if (this.holding(index, layer) === "here") return;
    if (layer === "full" && to > 0) {
      const parts = this.#partsFor(item);
      if (!parts) return; // let go of meanwhile
      parts.lose(from, to);
    }
    if (this.holding(index, layer) === "coming") this.#set(index, layer, "missing");
  }

  /** See `Client.ended`. */
  ended(error: ApiError): void {
    this.#end = error;
    this.onChange();
  }

  /** See `Client.linked`. */
  linked(isLinked: boolean): void {
    this.#isLinked = isLinked;
    this.onChange();
  }

  #asked(item: Item): void {
    const { index, layer, to } = item;
    const size = this.infos[index]?.lossless_bytes ?? null;
    if (layer === "full" && to > 0 && size !== null) {
      let parts = this.#parts.get(index);
      if (!parts) {
        parts = new Parts(size);
        this.#parts.set(index, parts, size);
      }
      parts.take(to);
      this.#partOf.set(item, parts);
      if (parts.rest) return;
    }
    this.#set(index, layer, "coming");
  }

  /** The whole frame once `bytes` complete it, else null. */
  #wholeOf(item: Item, bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> | null {
    const { index, layer, from, to } = item;
    if (this.holding(index, layer) === "here") return null;
    if (layer === "preview" || to === 0) return bytes;
    const parts = this.#partsFor(item);
    if (!parts) return null; // let go of meanwhile
    if (bytes.length !== to - from) {
      this.#parts.delete(index);
      this.#failed(index, layer, new DecodeError("The frame is shorter than its study states."));
      return null;
    }
    parts.put(from, bytes);
    if (!parts.isWhole) return null;
    this.#parts.delete(index);
    return parts.bytes;
  }

  /** The parts that an item was asked for; a frame begun anew has others, which must not take its bytes. */
  #partsFor(item: Item): Parts | null {
    const parts = this.#parts.peek(item.index);
    return parts && this.#partOf.get(item) === parts ? parts : null;
  }

  /** Parts had to go: what is under way of them will find nobody. */
  #abandon(index: number): void {
    if (this.holding(index, "full") === "coming") this.#set(index, "full", "missing");
  }

  // --- where the reader is going -------------------------------------------------------------------------

  #measure(slices: number, resting: boolean): void {
    const now = performance.now();
    const ms = Math.max(now - this.#lookedAt, 1);
    this.#lookedAt = now;
    if (resting) this.#speed = 0;
    else if (slices > 0)
      this.#speed += SHARE_OF_NEWEST * (Math.min((slices * 1000) / ms, 1000) - this.#speed);
  }

  #motion(): Motion {
    const { rate, roundTrip } = this.#flow.meter;
    if (this.#reader.resting || rate === 0) return STILL;
    const slicesIn = (ms: number): number => Math.ceil((this.#speed * ms) / 1000);
    const arrival = roundTrip + DRAW_MS;
    const isSpare = this.#speed * this.#typicalFull <= SPARE * rate;
    return {
      previewLead: Math.min(slicesIn(arrival), MOST_LEAD),
      fullLead: isSpare ? Math.max(slicesIn(arrival + (this.#typicalFull * 1000) / rate), 1) : null,
    };
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

  // --- what is held --------------------------------------------------------------------------------------

  #at(index: number): Shown | undefined {
    return this.#decoded.peek(key(index, "full")) ?? this.#decoded.peek(key(index, "preview"));
  }

  #set(index: number, layer: Layer, holding: Holding): void {
    const before = this.#isHeld(index);
    this.#missing[layer] += Number(holding === "missing") - Number(this.holding(index, layer) === "missing");
    this.#holdings[layer][index] = holding;
    this.#held += Number(this.#isHeld(index)) - Number(before);
  }

  #isHeld(index: number): boolean {
    return this.holding(index, "full") === "here" || this.holding(index, "preview") === "here";
  }

  #tellNowAndThen(): void {
    const now = performance.now();
    if (now - this.#toldAt < TELL_MS && this.#held < this.count) return;
    this.#toldAt = now;
    this.onChange();
  }

  /** Bar the frame, and lift the bar after a while unless trying again cannot help. */
  #failed(index: number, layer: Layer, error: unknown): void {
    this.#set(index, layer, "barred");
    const hopeless =
      error instanceof DecodeError ||
      (error instanceof ApiError && error.kind !== "offline" && error.kind !== "failed");
    const tries = (this.#trouble.get(key(index, layer))?.tries ?? 0) + 1;
    const what = error instanceof Error ? error.message : "The frame did not arrive.";
    this.#trouble.set(key(index, layer), { tries, message: hopeless ? what : `${what} Trying again.` });
    this.onChange();
    if (hopeless) return;
    const retry = setTimeout(
      () => {
        this.#retries.delete(retry);
        const isHere = this.#compressed[layer].peek(index) !== undefined; // only the decoder failed
        this.#set(index, layer, isHere ? "here" : "missing");
        if (isHere) this.#decodeWhatIsNear();
        else this.#flow.kick();
      },
      Math.min(FIRST_RETRY_MS * 2 ** (tries - 1), LAST_RETRY_MS),
    );
    this.#retries.add(retry);
  }

  // --- decoding ------------------------------------------------------------------------------------------

  #decodeWhatIsNear(): void {
    if (this.#leaving.signal.aborted) return;
    const { current, direction, resting } = this.#reader;
    if (!this.#tryDecode(current) && !this.#at(current)) this.#decodeNearest(current);
    const stride = Math.max(Math.round(this.#speed / 60), 1) * direction; // slices between two pictures
    for (let step = 1; step <= this.#ahead; step++) this.#tryDecode(current + stride * step);
    if (resting && this.#ahead > 0) this.#tryDecode(current - direction);
  }

  /** Start decoding the best layer of a slice that we hold; true when its best is decoded or on its way. */
  #tryDecode(index: number): boolean {
    const layer: Layer = this.holding(index, "full") === "here" ? "full" : "preview";
    if (this.holding(index, layer) !== "here") return false;
    const name = key(index, layer);
    if (this.#decoded.get(name) || this.#decoding.has(name)) return true;
    if (this.#decoding.size < 2 * this.decoder.lanes) void this.#decode(index, layer);
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
      const pixels = await this.decoder.decode(compressed, this.#leaving.signal, info.palette);
      if (pixels.width !== info.columns || pixels.height !== info.rows) {
        throw new DecodeError("The frame is not of the size its study states.");
      }
      if (this.#leaving.signal.aborted) return;
      if (layer === "full") this.#decoded.delete(key(index, "preview"));
      this.#decoded.set(key(index, layer), { index, layer, pixels }, pixels.data.byteLength);
    } catch (error) {
      if (!this.#leaving.signal.aborted) this.#failed(index, layer, error);
    } finally {
      this.#decoding.delete(key(index, layer));
    }
    if (this.#leaving.signal.aborted) return;
    this.onChange();
    this.#decodeWhatIsNear();
  }
}

/** How many frames to either side fit a budget, so that what is fetched for a reader never evicts itself. */
function reachOf(budget: number, infos: readonly FrameInfo[], size: (info: FrameInfo) => number): number {
  let largest = 1;
  let all = 0;
  for (const info of infos) {
    largest = Math.max(largest, size(info));
    all += size(info);
  }
  if (all <= budget) return infos.length;
  return Math.max(Math.min(Math.floor((budget / largest - 1) / 2), infos.length), 0);
}

/** Bytes for frames that are arriving: two fit, as one begins while the one before it ends. */
function forParts(budget: number, infos: readonly FrameInfo[]): number {
  const largest = infos.reduce((most, info) => Math.max(most, fullBytes(info)), 0);
  return Math.min(Math.max(budget * LEAST_FOR_PARTS, 2 * largest), budget * MOST_FOR_PARTS);
}

function decodedBytes({ rows, columns, samples }: FrameInfo): number {
  return rows * columns * (samples === 3 ? 4 : 2);
}

/** Bytes of the full frame, as stated or guessed. */
function fullBytes(info: FrameInfo): number {
  return info.lossless_bytes ?? Math.ceil(decodedBytes(info) / GUESSED_RATIO);
}

/** One number for a slice and a layer, so that looking one up allocates nothing. */
function key(index: number, layer: Layer): number {
  return index * 2 + (layer === "full" ? 1 : 0);
}
