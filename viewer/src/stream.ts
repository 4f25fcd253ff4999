/**
 * The stream of one image set: its index, and frames in batches of the API (see docs/stream.md).
 *
 * An answer is read while it arrives: every record that came whole counts, whatever becomes of the connection.
 */
import { countBytes, countRequest } from "./loads.js";
import { ApiError, type Direction, type FrameInfo, type ImageSet, type Layer } from "./protocol.js";

/** A part of a frame to be asked for; `to` is exclusive, 0 is the end. */
export interface Item {
  readonly index: number;
  readonly layer: Layer;
  readonly from: number;
  readonly to: number;
}

export interface Answers {
  record(item: Item, bytes: Uint8Array<ArrayBuffer>): void;
  /** The server has said that it cannot give the item. */
  refused(item: Item, error: ApiError): void;
  /** Something of the answer arrived: its head (0 bytes) or `bytes` of its body. */
  heard?(bytes: number): void;
}

/** Where frames come from; one image set, already chosen. */
export interface Source {
  /** Ask for `items`; resolves when each was given or refused, and throws when the connection is cut before. */
  ask(items: readonly Item[], answers: Answers, signal: AbortSignal): Promise<void>;
  /** What was asked for before anybody could take it, once. */
  takeEarly?(): Early | null;
}

export interface Early {
  readonly items: readonly Item[];
  /** Hand over what has arrived and what will; settles as `Source.ask` does. */
  into(answers: Answers): Promise<void>;
}

export interface StreamHead {
  readonly count: number;
  readonly version: number;
  readonly previewsInPack: number;
  readonly mostEnds: number;
  readonly jsonBytes: number;
}

/** How static packs are laid out, where there are any. */
export interface Packed {
  /** Frames in a pack of them. */
  readonly frames: number;
  /** Bytes of the record of a frame without a preview, its head included, where that is told. */
  readonly hole?: number;
}

export interface StreamIndex extends StreamHead {
  readonly set: ImageSet;
  readonly packed: Packed;
  /** Row of `mostEnds` a frame: bytes after which one more resolution is whole, ascending, 0 where unused. */
  readonly ends: Uint32Array;
}

const MAGIC = 0x49534c52; // "RLSI", little endian
export const HEAD_BYTES = 32;
const FORMAT = 1;
/** Of the head of a record. */
export const RECORD_BYTES = 12;
/** Set in the number of a frame where a record is of its preview. */
export const PREVIEW_BIT = 0x8000_0000;
const REFUSED = 0xffff_ffff;
const MOST_RECORD_BYTES = 2 ** 28;
const MOST_REFUSAL_BYTES = 65_536;
const USUAL_IN_PACK = 64;

/** An answer that is not of the agreed form. */
function malformed(what: string): ApiError {
  return new ApiError("failed", "malformed-stream", `The server's answer cannot be read: ${what}.`);
}

/** The first 32 bytes of an index. */
export function readHead(bytes: Uint8Array): StreamHead {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < HEAD_BYTES || view.getUint32(0, true) !== MAGIC) throw malformed("no index");
  if (view.getUint16(4, true) !== FORMAT || view.getUint16(6, true) !== HEAD_BYTES) {
    throw malformed("an index of another format");
  }
  return {
    count: view.getUint32(8, true),
    version: view.getUint32(12, true),
    previewsInPack: view.getUint32(16, true),
    mostEnds: view.getUint8(24),
    jsonBytes: view.getUint32(28, true),
  };
}

/** A whole index, its frames made into what `GET /api/v1/image-sets/{id}` lists. */
export function readIndex(bytes: Uint8Array<ArrayBuffer>): StreamIndex {
  const head = readHead(bytes);
  const { count, mostEnds, jsonBytes } = head;
  const columns = HEAD_BYTES + jsonBytes;
  if (columns % 4 !== 0 || bytes.length < columns + count * (4 + 4 + 4 * mostEnds + 2 + 1)) {
    throw malformed("an index that ends early");
  }
  const text = new TextDecoder().decode(bytes.subarray(HEAD_BYTES, columns));
  const { set, kinds, static: packed = { frames: USUAL_IN_PACK } } = JSON.parse(text) as Told;
  const { buffer } = bytes.byteOffset === 0 ? bytes : bytes.slice(); // columns of words lie on places of words
  const full = new Uint32Array(buffer, columns, count);
  const preview = new Uint32Array(buffer, columns + 4 * count, count);
  const ends = new Uint32Array(buffer, columns + 8 * count, count * mostEnds);
  const kind = new Uint16Array(buffer, columns + (8 + 4 * mostEnds) * count, count);
  const place = placesOf(buffer, columns + (8 + 4 * mostEnds + 3) * count, count);
  const frame_list = Array.from({ length: count }, (_, index) => {
    const common = kinds[kind[index] as number];
    if (!common) throw malformed("a frame of no kind");
    const own = { lossless_bytes: full[index] || null, preview_bytes: preview[index] || null };
    return { ...common, index, ...own, position_mm: place(index) };
  });
  return { ...head, set: { ...set, frame_list }, packed, ends };
}

/** The JSON of an index. */
interface Told {
  readonly set: Omit<ImageSet, "frame_list">;
  readonly kinds: readonly FrameInfo[];
  readonly static?: Packed;
}

/** Where each frame lies in millimetres, where the index ends with that: not a number stands for not known. */
function placesOf(
  buffer: ArrayBuffer,
  columnsEnd: number,
  count: number,
): (index: number) => Direction | null {
  const start = Math.ceil(columnsEnd / 8) * 8;
  if (buffer.byteLength < start + count * 24) return () => null;
  const values = new Float64Array(buffer, start, count * 3);
  return (index) => {
    const [x, y, z] = values.subarray(index * 3, index * 3 + 3) as unknown as Direction;
    return Number.isNaN(x) ? null : [x, y, z];
  };
}

/** Cuts an answer into records, wherever the network cut it into chunks. */
export class RecordReader {
  readonly #head = new Uint8Array(RECORD_BYTES);
  readonly #view = new DataView(this.#head.buffer);
  #headFilled = 0;
  #body: Uint8Array<ArrayBuffer> | null = null;
  #filled = 0;
  #done = 0;

  constructor(
    private readonly items: readonly Item[],
    private readonly answers: Answers,
  ) {}

  /** How many items have been answered. */
  get done(): number {
    return this.#done;
  }

  push(chunk: Uint8Array): void {
    let place = 0;
    while (place < chunk.length) {
      if (!this.#body) {
        const taken = Math.min(RECORD_BYTES - this.#headFilled, chunk.length - place);
        this.#head.set(chunk.subarray(place, place + taken), this.#headFilled);
        this.#headFilled += taken;
        place += taken;
        if (this.#headFilled < RECORD_BYTES) return;
        this.#body = this.#begun();
        this.#filled = 0;
      }
      const taken = Math.min(this.#body.length - this.#filled, chunk.length - place);
      this.#body.set(chunk.subarray(place, place + taken), this.#filled);
      this.#filled += taken;
      place += taken;
      if (this.#filled === this.#body.length) this.#end(this.#body);
    }
  }

  #begun(): Uint8Array<ArrayBuffer> {
    const item = this.items[this.#done];
    if (!item) throw malformed("more than was asked for");
    const name = this.#view.getUint32(0, true);
    const from = this.#view.getUint32(4, true);
    const length = this.#view.getUint32(8, true);
    if (name !== nameOf(item)) throw malformed("not what was asked for");
    const most = from === REFUSED ? MOST_REFUSAL_BYTES : item.to ? item.to - item.from : MOST_RECORD_BYTES;
    if ((from !== item.from && from !== REFUSED) || length > most) throw malformed("not the part asked for");
    return new Uint8Array(length);
  }

  #end(body: Uint8Array<ArrayBuffer>): void {
    const item = this.items[this.#done++] as Item;
    this.#body = null;
    this.#headFilled = 0;
    if (this.#view.getUint32(4, true) === REFUSED) this.answers.refused(item, refusalOf(body));
    else this.answers.record(item, body);
  }
}

function nameOf({ index, layer }: Item): number {
  return layer === "preview" ? (index | PREVIEW_BIT) >>> 0 : index;
}

/** What the server said instead of a frame; `failed` where asking again may help. */
function refusalOf(body: Uint8Array): ApiError {
  let code = "failed";
  let message = "The server cannot give this frame.";
  try {
    const said = JSON.parse(new TextDecoder().decode(body)) as { code?: unknown; message?: unknown };
    if (typeof said.code === "string") code = said.code;
    if (typeof said.message === "string" && said.message) message = said.message;
  } catch {
    // a refusal without words is one all the same
  }
  const passes = code === "unavailable" || code === "throttled" || code === "internal";
  return new ApiError(passes ? "failed" : "refused", code, message);
}

/** The body of a request: `3:0:0,p7:0:0`. */
export function listOf(items: readonly Item[]): string {
  return items
    .map(({ index, layer, from, to }) => `${layer === "preview" ? "p" : ""}${index}:${from}:${to}`)
    .join(",");
}

/** Sends a list of items and gives the answer, whose status is known to be good. */
export type Post = (list: string, signal: AbortSignal) => Promise<Response>;

export class Stream implements Source {
  constructor(private readonly post: Post) {}

  /** See `Source.ask`. */
  async ask(items: readonly Item[], answers: Answers, signal: AbortSignal): Promise<void> {
    countRequest();
    const response = await this.post(listOf(items), signal);
    const records = new RecordReader(items, answers);
    answers.heard?.(0);
    const body = response.body?.getReader();
    try {
      for (let part = await body?.read(); part && !part.done; part = await body?.read()) {
        countBytes(part.value.length);
        answers.heard?.(part.value.length);
        records.push(part.value);
      }
    } catch (error) {
      body?.cancel().catch(() => {});
      if (signal.aborted || error instanceof ApiError) throw error;
      throw new ApiError("offline", "cut", "The connection was lost.");
    }
    if (records.done < items.length) throw new ApiError("offline", "cut", "The connection was lost.");
  }
}
