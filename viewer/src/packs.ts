/**
 * The other source of records: static packs, files in which neighbours lie side by side (see docs/stream.md).
 *
 * Where everything lies follows from the index, so that any choice of frames is a few ranges of bytes. What the packs
 * cannot give is asked of the API, and nobody above this notices.
 */
import { countBytes, countRequest } from "./loads.js";
import { ApiError, askForRange, type PackLink } from "./protocol.js";
import { STRIDES } from "./scheduler.js";
import {
  type Answers,
  type Item,
  PREVIEW_BIT,
  RECORD_BYTES,
  type Source,
  type StreamIndex,
} from "./stream.js";

/** The bytes of a pack that hold one item; of a preview with the head of its record. `to` is exclusive. */
export interface Span {
  readonly item: Item;
  readonly from: number;
  readonly to: number;
}

/** Spans of one pack without a gap between them: one request. */
export interface Run {
  readonly file: string;
  readonly spans: readonly Span[];
}

/** A link so young is not over: what it is refused for is not there (S3 says 403 of what it does not have). */
const YOUNG_MS = 60_000;
/** So many times in a row the API could give what the packs could not: they are let be. */
const MOST_STRIKES = 3;
const LINK_OVER = 403;
const PARTIAL = 206;
const WHOLE = 200;

/** Where each frame and each preview lies. */
export class Layout {
  readonly #frames: StreamIndex["set"]["frame_list"];
  readonly #framesInPack: number;
  /** Of each frame the first byte in its pack. */
  readonly #full: Float64Array;
  /** Of each preview its pack, and the first byte of its record there; NaN where that is not told. */
  readonly #packs: Uint32Array;
  readonly #previews: Float64Array;

  constructor({ set: { frame_list }, count, packed, previewsInPack }: StreamIndex) {
    this.#frames = frame_list;
    this.#framesInPack = packed.frames;
    this.#full = new Float64Array(count);
    this.#packs = new Uint32Array(count);
    this.#previews = new Float64Array(count);
    let at = 0;
    for (let index = 0; index < count; index++) {
      if (index % packed.frames === 0) at = 0;
      this.#full[index] = at;
      at += frame_list[index]?.lossless_bytes ?? 0;
    }
    let place = 0;
    for (const index of byStride(count)) {
      if (place % previewsInPack === 0) at = 0;
      this.#packs[index] = Math.floor(place++ / previewsInPack);
      this.#previews[index] = at;
      const size = frame_list[index]?.preview_bytes;
      at += size ? RECORD_BYTES + size : (packed.hole ?? Number.NaN);
    }
  }

  /** The pack that an item lies in. */
  fileOf({ index, layer }: Item): string {
    return layer === "full"
      ? `frames/${Math.floor(index / this.#framesInPack)}`
      : `previews/${this.#packs[index]}`;
  }

  /** Where in it; null for what lies in none, and for parts of previews. */
  spanOf(item: Item): Span | null {
    const { index, layer, from, to } = item;
    const info = this.#frames[index];
    const size = layer === "full" ? info?.lossless_bytes : info?.preview_bytes;
    if (!size || to > size) return null;
    if (layer === "full") {
      const first = this.#full[index] as number;
      return { item, from: first + from, to: first + (to || size) };
    }
    if (from > 0 || (to > 0 && to < size)) return null;
    const first = this.#previews[index] as number;
    return Number.isNaN(first) ? null : { item, from: first, to: first + RECORD_BYTES + size };
  }
}

/** All numbers below `count` in the order of previews: every sixteenth first, then those that halve the gaps. */
export function* byStride(count: number): Generator<number> {
  for (const stride of STRIDES) {
    const isFirst = stride === STRIDES[0];
    for (let index = isFirst ? 0 : stride; index < count; index += isFirst ? stride : 2 * stride) yield index;
  }
}

/**
 * The fewest requests that bring `items`, that of the first item first; and what lies in no pack.
 *
 * @param absent Packs that are not there.
 */
export function planned(
  items: readonly Item[],
  layout: Layout,
  absent: ReadonlySet<string>,
): { readonly runs: readonly Run[]; readonly others: readonly Item[] } {
  const files = new Map<string, Span[]>();
  const others: Item[] = [];
  for (const item of items) {
    const file = layout.fileOf(item);
    const span = absent.has(file) ? null : layout.spanOf(item);
    const spans = files.get(file);
    if (!span) others.push(item);
    else if (spans) spans.push(span);
    else files.set(file, [span]);
  }
  const runs: Run[] = [];
  for (const [file, spans] of files) {
    spans.sort((one, other) => one.from - other.from);
    let run: Span[] = [];
    for (const span of spans) {
      if (run.at(-1)?.to !== span.from) {
        run = [];
        runs.push({ file, spans: run });
      }
      run.push(span);
    }
  }
  const rank = new Map(items.map((item, place) => [item, place]));
  const urgency = ({ spans }: Run): number => Math.min(...spans.map(({ item }) => rank.get(item) as number));
  return { runs: runs.sort((one, other) => urgency(one) - urgency(other)), others };
}

/** Cuts the spans of a run out of a file that arrives from byte `at` on, wherever the network cut it into chunks. */
class Cutter {
  #done = 0;
  #filled = 0;
  #bytes: Uint8Array<ArrayBuffer> | null = null;

  constructor(
    private readonly spans: readonly Span[],
    private readonly answers: Answers,
    private at: number,
  ) {
    if (at > (spans[0] as Span).from) throw malformed();
  }

  get isDone(): boolean {
    return this.#done === this.spans.length;
  }

  /** What has not come whole. */
  get left(): readonly Item[] {
    return this.spans.slice(this.#done).map(({ item }) => item);
  }

  push(chunk: Uint8Array): void {
    const end = this.at + chunk.length;
    for (let span = this.spans[this.#done]; span && span.from < end; span = this.spans[this.#done]) {
      this.#bytes ??= new Uint8Array(span.to - span.from);
      const start = span.from + this.#filled - this.at;
      const part = chunk.subarray(start, Math.min(span.to - this.at, chunk.length));
      this.#bytes.set(part, this.#filled);
      this.#filled += part.length;
      if (this.#filled < this.#bytes.length) break;
      const body = bodyOf(span, this.#bytes);
      this.#done++;
      this.#filled = 0;
      this.#bytes = null;
      this.answers.record(span.item, body);
    }
    this.at = end;
  }
}

/** Where the bytes of an answer begin; a page of another origin may not be told, and has what it asked for. */
function startOf({ headers }: Response, from: number): number {
  const told = /^bytes (\d+)-/.exec(headers.get("Content-Range") ?? "");
  return told ? Number(told[1]) : from;
}

/** What a span holds, without the head of a record. */
function bodyOf({ item }: Span, bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  if (item.layer === "full") return bytes;
  const head = new DataView(bytes.buffer, 0, RECORD_BYTES);
  const body = bytes.slice(RECORD_BYTES);
  const name = (item.index | PREVIEW_BIT) >>> 0;
  if (head.getUint32(0, true) !== name || head.getUint32(8, true) !== body.length) {
    throw malformed();
  }
  return body;
}

function malformed(): ApiError {
  return new ApiError("failed", "malformed-pack", "A pack is not as the index tells.");
}

/** The same, but that a preview which the API has not got may come yet: it lies in a pack that could not be had now. */
function patient(answers: Answers): Answers {
  return {
    record: (item, bytes) => answers.record(item, bytes),
    refused: (item, error) => {
      const { code, message } = error;
      answers.refused(item, item.layer === "preview" ? new ApiError("failed", code, message) : error);
    },
    heard: (bytes) => answers.heard?.(bytes),
  };
}

export class Packs implements Source {
  readonly #layout: Layout;
  readonly #absent = new Set<string>();
  #link: PackLink | null;
  #renewedAt = Number.NEGATIVE_INFINITY;
  #renewing: Promise<void> | null = null;
  #strikes = 0;

  /**
   * @param renew Asks for another link to the same packs; null where there is none.
   * @param api Gives what the packs cannot.
   */
  constructor(
    index: StreamIndex,
    link: PackLink,
    private readonly renew: () => Promise<PackLink | null>,
    private readonly api: Source,
  ) {
    this.#layout = new Layout(index);
    this.#link = link;
  }

  /** See `Source.ask`. */
  async ask(items: readonly Item[], answers: Answers, signal: AbortSignal): Promise<void> {
    if (!this.#link) return this.api.ask(items, answers, signal);
    const { runs, others } = planned(items, this.#layout, this.#absent);
    const asking = runs.map((run) => this.#take(run, answers, signal));
    if (others.length > 0) asking.push(this.api.ask(others, answers, signal).then(() => []));
    const left: Item[] = [];
    for (const end of await Promise.allSettled(asking)) {
      if (end.status === "rejected") throw end.reason;
      left.push(...end.value);
    }
    if (left.length === 0) return;
    const strikes = this.#strikes;
    await this.api.ask(left, patient(answers), signal);
    if (this.#strikes === strikes) this.#struck(); // no pack has come meanwhile, and the link is there
  }

  /** Give what a run brings; what it does not is returned. */
  async #take({ file, spans }: Run, answers: Answers, signal: AbortSignal): Promise<readonly Item[]> {
    const from = spans[0]?.from as number;
    const to = spans.at(-1)?.to as number;
    const none = spans.map(({ item }) => item);
    const response = await this.#answer(file, from, to, signal);
    if (!response) return none;
    const { status } = response;
    if (status !== PARTIAL && status !== WHOLE) {
      response.body?.cancel().catch(() => {});
      if (status < 500) this.#absent.add(file);
      return none;
    }
    answers.heard?.(0);
    const body = response.body?.getReader();
    let cutter: Cutter | null = null;
    try {
      cutter = new Cutter(spans, answers, status === PARTIAL ? startOf(response, from) : 0);
      for (let part = await body?.read(); part && !part.done; part = await body?.read()) {
        countBytes(part.value.length);
        answers.heard?.(part.value.length);
        cutter.push(part.value);
        if (status === WHOLE && cutter.isDone) break; // any other is read to its end, and its connection kept
      }
    } catch (error) {
      if (signal.aborted) throw error;
      if (error instanceof ApiError) this.#absent.add(file);
    }
    body?.cancel().catch(() => {});
    const left = cutter?.left ?? none;
    if (status === WHOLE) this.#struck(); // far more came than was wanted
    if (status === PARTIAL && left.length < none.length) this.#strikes = 0;
    return left;
  }

  /** The answer for a range, under a new link where the old one is over; null where the server is out of reach. */
  async #answer(file: string, from: number, to: number, signal: AbortSignal): Promise<Response | null> {
    const ask = async (link: PackLink | null): Promise<Response | null> => {
      if (!link) return null;
      countRequest();
      try {
        return await askForRange(link, file, from, to, signal);
      } catch (error) {
        if (signal.aborted) throw error;
        return null;
      }
    };
    const link = this.#link;
    const response = await ask(link);
    if (!link || response?.status !== LINK_OVER || !(await this.#hasAnother(link))) return response;
    return ask(this.#link);
  }

  /** Whether there is a link other than the one that was refused; asks for one unless that was new. */
  async #hasAnother(refused: PackLink): Promise<boolean> {
    if (this.#link === refused && performance.now() - this.#renewedAt >= YOUNG_MS) {
      this.#renewing ??= this.renew()
        .then((link) => {
          this.#link = link;
          this.#renewedAt = performance.now();
        })
        .finally(() => {
          this.#renewing = null;
        });
      await this.#renewing;
    }
    return this.#link !== refused;
  }

  #struck(): void {
    if (++this.#strikes >= MOST_STRIKES) this.#link = null;
  }
}
