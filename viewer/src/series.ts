/**
 * A series being opened: one request, and what is asked for before anybody can show it.
 *
 * Its frames come from static packs where the server has made some, else from the API; see `Source`.
 */
import { Packs } from "./packs.js";
import {
  ApiError,
  askForFrames,
  askForIndex,
  type FrameInfo,
  type ImageSet,
  type PackLink,
  packLinkOf,
} from "./protocol.js";
import {
  type Answers,
  type Early,
  HEAD_BYTES,
  type Item,
  type Post,
  readHead,
  readIndex,
  type Source,
  Stream,
  type StreamIndex,
} from "./stream.js";

const PREPARED_MS = 10_000;

/** Ask `source` for something now; whoever takes it gets it, whenever it came. */
export function askEarly(source: Source, items: readonly Item[], signal: AbortSignal): Early {
  const kept: ((answers: Answers) => void)[] = [];
  let taker: Answers | null = null;
  const tell = (word: (answers: Answers) => void): void => {
    if (taker) word(taker);
    else kept.push(word);
  };
  const answers: Answers = {
    record: (item, bytes) => tell((to) => to.record(item, bytes)),
    refused: (item, error) => tell((to) => to.refused(item, error)),
    heard: (bytes) => tell((to) => to.heard?.(bytes)),
  };
  const asking = source.ask(items, answers, signal);
  asking.catch(() => {}); // whoever takes it hears of it
  const into = (to: Answers): Promise<void> => {
    taker = to;
    for (const word of kept.splice(0)) word(to);
    return asking;
  };
  return { items, into };
}

/** A source of which something was asked already. */
class Begun implements Source {
  constructor(
    private readonly source: Source,
    private early: Early | null,
  ) {}

  /** See `Source.ask`. */
  ask(items: readonly Item[], answers: Answers, signal: AbortSignal): Promise<void> {
    return this.source.ask(items, answers, signal);
  }

  /** See `Source.takeEarly`. */
  takeEarly(): Early | null {
    const { early } = this;
    this.early = null;
    return early;
  }
}

export interface Series {
  readonly set: ImageSet;
  readonly source: Source;
}

/** The slice a series opens at. */
export function startOf(count: number): number {
  return Math.max(Math.floor((count - 1) / 2), 0);
}

let prepared: { readonly id: string; readonly at: number; readonly series: Promise<Series> } | null = null;

/** Begin to open a series before anybody can show it, as while it is asked who is signed in. */
export function prepareSeries(id: string): void {
  const series = open(id, new AbortController().signal);
  series.catch(() => {}); // told to whoever opens it
  prepared = { id, at: Date.now(), series };
}

/**
 * Open the series `id`: one request, and the preview of its start slice is asked for before the answer has ended.
 *
 * @throws ApiError where it cannot be opened.
 */
export async function openSeries(id: string, signal: AbortSignal): Promise<Series> {
  const early = prepared?.id === id && Date.now() - prepared.at < PREPARED_MS ? prepared.series : null;
  prepared = null;
  return (await early?.catch(() => null)) ?? open(id, signal);
}

async function open(id: string, signal: AbortSignal): Promise<Series> {
  const response = await askForIndex(id, signal);
  const link = packLinkOf(response);
  let version = 0;
  let set: ImageSet | null = null;
  let renewing: Promise<number> | null = null;
  const post: Post = async (list, stop) => {
    try {
      return await askForFrames(id, list, version, stop);
    } catch (error) {
      if (!(error instanceof ApiError && error.kind === "conflict")) throw error;
      if (!set) throw new ApiError("failed", error.code, error.message); // asked again when the index has come
      renewing ??= versionNow(id, set).finally(() => {
        renewing = null;
      });
      version = await renewing;
      return askForFrames(id, list, version, stop);
    }
  };
  const api = new Stream(post);
  let early: Early | null = null;
  const begin = (source: Source, count: number): void => {
    const first: Item = { index: startOf(count), layer: "preview", from: 0, to: 0 };
    early = count > 0 ? askEarly(source, [first], signal) : null;
  };
  const bytes = await readAll(response, (start) => {
    const head = readHead(start);
    version = head.version;
    if (!link) begin(api, head.count);
  });
  const index = readIndex(bytes);
  set = index.set;
  if (!link) return { set, source: new Begun(api, early) };
  const packs = new Packs(index, link, () => linkNow(id, index), api);
  begin(packs, index.count); // where it lies, only a whole index tells
  return { set, source: new Begun(packs, early) };
}

/**
 * The present version of a series that has changed since it was opened, by a finding, say.
 *
 * @throws ApiError where its slices are no longer those of `before`.
 */
async function versionNow(id: string, before: ImageSet): Promise<number> {
  const response = await askForIndex(id, new AbortController().signal);
  const { set, version } = readIndex(await readAll(response, () => {}));
  if (told(set, ["position_mm"]) === told(before, ["position_mm"])) return version;
  throw new ApiError("conflict", "series-changed", "The slices of this series have changed. Open it again.");
}

/** A new link to the packs of a series; null where there is none to packs that are as those of `before`. */
async function linkNow(id: string, before: StreamIndex): Promise<PackLink | null> {
  const response = await askForIndex(id, new AbortController().signal);
  const { set, packed } = readIndex(await readAll(response, () => {}));
  const isAsBefore =
    told(set, LAID_BY) === told(before.set, LAID_BY) && packed.frames === before.packed.frames;
  return isAsBefore ? packLinkOf(response) : null;
}

/** By what frames are laid into packs. */
const LAID_BY = ["position_mm", "lossless_bytes", "preview_bytes"] as const;

/** These members of all frames, to be compared. */
function told({ frame_list }: ImageSet, members: readonly (keyof FrameInfo)[]): string {
  return JSON.stringify(frame_list.map((info) => members.map((member) => info[member])));
}

/** The whole body; `onHead` is told its start as soon as there are 32 bytes. */
async function readAll(
  response: Response,
  onHead: (start: Uint8Array) => void,
): Promise<Uint8Array<ArrayBuffer>> {
  const parts: Uint8Array[] = [];
  let length = 0;
  const body = response.body?.getReader();
  for (let part = await body?.read(); part && !part.done; part = await body?.read()) {
    parts.push(part.value);
    const had = length;
    length += part.value.length;
    if (had < HEAD_BYTES && length >= HEAD_BYTES) onHead(joined(parts, length));
  }
  return joined(parts, length);
}

function joined(parts: readonly Uint8Array[], length: number): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(length);
  let place = 0;
  for (const part of parts) {
    whole.set(part, place);
    place += part.length;
  }
  return whole;
}
