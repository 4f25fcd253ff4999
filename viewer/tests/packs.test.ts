import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { byStride, Layout, Packs, planned } from "../src/packs.js";
import { ApiError, type PackLink, packLinkOf } from "../src/protocol.js";
import { openSeries, startOf } from "../src/series.js";
import { type Answers, type Item, readIndex, type Source, type StreamIndex } from "../src/stream.js";
import { randomFrom, repeat } from "./chance.js";
import {
  answerOf,
  full,
  Heard,
  indexOf,
  preview,
  type Row,
  recordOf,
  refusalOf,
  responseOf,
} from "./wire.js";

const IN_PACK = 64;
const never = new AbortController().signal;

/** What a frame's bytes are at a place. */
const byteAt = ({ index, layer }: Item, place: number): number =>
  (index * 7 + place * 13 + (layer === "preview" ? 101 : 0)) % 256;
const bytesOf = (item: Item, size: number): number[] =>
  Array.from({ length: (item.to || size) - item.from }, (_, place) => byteAt(item, item.from + place));

/** A series and its packs as `radloop packs write` lays them down. */
class Laid {
  readonly files = new Map<string, Uint8Array<ArrayBuffer>>();
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly index: StreamIndex;

  constructor(
    readonly rows: readonly Row[],
    more: object = { static: { frames: IN_PACK, hole: refusalOf(preview(0), "not-found", "no").length } },
  ) {
    this.bytes = indexOf(rows, more);
    this.index = readIndex(this.bytes);
    const { frames } = this.index.packed;
    for (let from = 0; from < rows.length; from += frames) {
      const pack = rows.slice(from, from + frames).flatMap((_, at) => this.of(full(from + at)));
      this.files.set(`frames/${from / frames}`, Uint8Array.from(pack));
    }
    const order = [...byStride(rows.length)];
    for (let from = 0; from < order.length; from += IN_PACK) {
      const records = order.slice(from, from + IN_PACK).map((index) => {
        const item = preview(index);
        const body = this.of(item);
        return body.length > 0 ? recordOf(item, body) : refusalOf(item, "not-found", "no");
      });
      this.files.set(`previews/${from / IN_PACK}`, answerOf(...records));
    }
  }

  of(item: Item): number[] {
    const row = this.rows[item.index] as Row;
    return bytesOf(item, item.layer === "full" ? row.full : row.preview);
  }
}

function rowsOf(count: number, random: () => number): Row[] {
  const size = (most: number, none: number): number =>
    random() < none ? 0 : 1 + Math.floor(random() * most);
  return Array.from({ length: count }, () => ({
    kind: 0,
    full: size(300, 0.03),
    preview: size(40, 0.03),
    ends: [],
  }));
}

/** Some of what a viewer may ask for: each frame and each preview once at most, frames in parts too. */
function someItems(rows: readonly Row[], random: () => number): Item[] {
  const items: Item[] = [];
  const [from, to] = [random() * rows.length, random() * rows.length].sort((a, b) => a - b) as [
    number,
    number,
  ];
  const share = random();
  for (let index = Math.floor(from); index < to; index++) {
    const { full: size, preview: small } = rows[index] as Row;
    if (random() < share && small)
      items.push(random() < 0.5 ? preview(index) : { ...preview(index), to: small });
    if (random() > share || (!size && random() < 0.5)) continue;
    const start = random() < 0.7 ? 0 : Math.floor(random() * size);
    const end = random() < 0.5 ? 0 : start + 1 + Math.floor(random() * (size - start));
    items.push(full(index, size ? start : 0, size ? end : 0));
  }
  return items.sort(() => random() - 0.5);
}

const nameOf = ({ index, layer, from, to }: Item): string => `${layer} ${index} ${from}:${to}`;

describe("the order of previews", () => {
  it("is every sixteenth, then those that halve the gaps", () => {
    expect([...byStride(10)]).toEqual([0, 8, 4, 2, 6, 1, 3, 5, 7, 9]);
    expect([...byStride(1)]).toEqual([0]);
    expect([...byStride(0)]).toEqual([]);
  });

  it("has each slice once, however many there are", () => {
    for (let count = 0; count < 200; count++) {
      expect([...byStride(count)].sort((a, b) => a - b)).toEqual(
        Array.from({ length: count }, (_, at) => at),
      );
    }
  });
});

describe("a plan of ranges", () => {
  it("has every item once: in the pack that holds just its bytes, or beside", () => {
    repeat(100, (random) => {
      const laid = new Laid(rowsOf(1 + Math.floor(random() * 300), random));
      const items = someItems(laid.rows, random);
      const { runs, others } = planned(items, new Layout(laid.index), new Set());
      const seen = [...runs.flatMap(({ spans }) => spans.map(({ item }) => item)), ...others];
      expect(seen.map(nameOf).sort()).toEqual(items.map(nameOf).sort());
      for (const { file, spans } of runs) {
        const pack = laid.files.get(file) as Uint8Array;
        for (const { item, from, to } of spans) {
          const bytes = [...pack.slice(from, to)];
          expect(item.layer === "full" ? bytes : bytes.slice(12)).toEqual(laid.of(item));
        }
      }
      for (const { index } of others) expect(laid.rows[index]?.full).toBe(0);
    });
  });

  it("has no two requests that could be one, and none with a byte that nobody asked for", () => {
    repeat(100, (random) => {
      const laid = new Laid(rowsOf(1 + Math.floor(random() * 300), random));
      const { runs } = planned(someItems(laid.rows, random), new Layout(laid.index), new Set());
      const ends = new Set(runs.map(({ file, spans }) => `${file} ${spans.at(-1)?.to}`));
      for (const { file, spans } of runs) {
        expect(ends.has(`${file} ${spans[0]?.from}`)).toBe(false);
        for (let at = 1; at < spans.length; at++) expect(spans[at]?.from).toBe(spans[at - 1]?.to);
      }
    });
  });

  it("asks for what is wanted most first", () => {
    repeat(100, (random) => {
      const laid = new Laid(rowsOf(200, random));
      const items = someItems(laid.rows, random);
      const { runs } = planned(items, new Layout(laid.index), new Set());
      const first = runs.map(({ spans }) => Math.min(...spans.map(({ item }) => items.indexOf(item))));
      expect(first).toEqual([...first].sort((a, b) => a - b));
    });
  });

  it("takes neighbours for one request, and those of two packs for two", () => {
    const rows = Array.from({ length: 200 }, () => ({ kind: 0, full: 100, preview: 10, ends: [] }));
    const layout = new Layout(new Laid(rows).index);
    const told = (items: Item[]): [string, number, number][] =>
      planned(items, layout, new Set()).runs.map(({ file, spans }) => [
        file,
        spans[0]?.from as number,
        spans.at(-1)?.to as number,
      ]);
    expect(told([full(62), full(64), full(63), full(65), full(61)])).toEqual([
      ["frames/0", 6100, 6400],
      ["frames/1", 0, 200],
    ]);
    expect(told([full(3, 40, 100), full(4, 0, 30), full(9, 10, 20)])).toEqual([
      ["frames/0", 340, 430],
      ["frames/0", 910, 920],
    ]);
    expect(told([preview(32), preview(16), preview(48), preview(8)])).toEqual([
      ["previews/0", 22, 88],
      ["previews/0", 13 * 22, 14 * 22],
    ]);
  });

  it("leaves what lies in no pack, or in one that is not there, to others", () => {
    const rows = Array.from({ length: 130 }, (_, index) => ({
      kind: 0,
      full: index === 5 ? 0 : 100,
      preview: index === 16 ? 0 : 10,
      ends: [],
    }));
    const items = [
      full(4),
      full(5),
      full(6),
      full(70),
      preview(0),
      preview(16),
      preview(32),
      full(7, 0, 101),
    ];
    const otherOf = (more: object): string[] =>
      planned(items, new Layout(new Laid(rows, more).index), new Set(["frames/1"])).others.map(nameOf);
    const without = [full(5), full(70), preview(16), full(7, 0, 101)];
    expect(otherOf({ static: { frames: 64, hole: 53 } })).toEqual(without.map(nameOf));
    // nobody knows where the previews behind one lie that is not there, unless its length is told
    without.splice(3, 0, preview(32));
    expect(otherOf({})).toEqual(without.map(nameOf));
  });
});

type Behaviour = (request: Asked, whole: Uint8Array<ArrayBuffer>) => Response | Promise<Response> | null;

interface Asked {
  readonly file: string;
  readonly query: string;
  readonly from: number;
  readonly to: number;
}

/** A server of static files below `/packs/`, which `behaves`; null lets it answer a range as it should. */
class Shelf {
  readonly asked: Asked[] = [];
  queries = new Set(["Signature=one"]);
  behaves: Behaviour = () => null;

  constructor(
    readonly laid: Laid,
    private readonly random: () => number = () => 1,
  ) {}

  async fetch(url: string, init: RequestInit): Promise<Response> {
    const [path = "", query = ""] = url.split("?");
    const [, from, last] = /^bytes=(\d+)-(\d+)$/.exec((init.headers as { Range: string }).Range) as string[];
    const file = path.replace("/packs/a/7/", "");
    const request = { file, query, from: Number(from), to: Number(last) + 1 };
    this.asked.push(request);
    if (!this.queries.has(query)) return new Response("over", { status: 403 });
    const whole = this.laid.files.get(file);
    if (!whole) return new Response("", { status: 404 });
    return this.behaves(request, whole) ?? this.partial(whole.slice(request.from, request.to));
  }

  /** An answer in chunks of any length. */
  partial(bytes: Uint8Array<ArrayBuffer>, status = 206, breaks = false): Response {
    const chunks: Uint8Array<ArrayBuffer>[] = [];
    for (let at = 0; at < bytes.length; ) {
      const size = 1 + Math.floor(this.random() * bytes.length);
      chunks.push(bytes.slice(at, at + size));
      at += size;
    }
    return new Response(responseOf(chunks, breaks).body, { status });
  }
}

/** The API, which gives everything, while it is up. */
class Api implements Source {
  readonly asked: Item[] = [];
  isUp = true;
  hasPreviews = true;
  constructor(private readonly laid: Laid) {}
  async ask(items: readonly Item[], answers: Answers): Promise<void> {
    if (!this.isUp) throw new ApiError("offline", "offline", "The server cannot be reached.");
    this.asked.push(...items);
    for (const item of items) {
      const isThere = this.hasPreviews || item.layer === "full";
      if (isThere) answers.record(item, Uint8Array.from(this.laid.of(item)));
      else answers.refused(item, new ApiError("refused", "not-found", "the frame has no preview"));
    }
  }
}

const link = (query: string): PackLink => ({ base: "/packs/a/7/", query });

describe("packs", () => {
  const rows = Array.from({ length: 150 }, () => ({ kind: 0, full: 90, preview: 10, ends: [] }));
  let shelf: Shelf;
  let api: Api;
  let renewals: number;
  let next: PackLink | null;
  let packs: Packs;

  function begin(laid = new Laid(rows), random?: () => number): void {
    shelf = new Shelf(laid, random);
    api = new Api(laid);
    renewals = 0;
    next = link("Signature=two");
    const renew = async (): Promise<PackLink | null> => {
      renewals++;
      return next;
    };
    packs = new Packs(laid.index, link("Signature=one"), renew, api);
    vi.stubGlobal("fetch", (url: string, init: RequestInit) => shelf.fetch(url, init));
  }

  beforeEach(() => begin());
  afterEach(() => {
    vi.unstubAllGlobals();
    vi.restoreAllMocks();
  });

  /** Ask, and see that everything came once and right. */
  async function asks(...items: Item[]): Promise<void> {
    const heard = new Heard();
    await packs.ask(items, heard, never);
    const told = heard.records.map(([name, bytes]) => `${name} ${bytes}`).sort();
    const wanted = items.map((item) => {
      const name = `${item.layer === "preview" ? "p" : ""}${item.index}:${item.from}:${item.to}`;
      return `${name} ${shelf.laid.of(item)}`;
    });
    expect(told).toEqual(wanted.sort());
    expect(heard.refusals).toEqual([]);
  }

  it("give everything that is asked for, byte for byte, however it is cut into chunks", async () => {
    for (let seed = 1; seed <= 40; seed++) {
      const random = randomFrom(seed);
      begin(new Laid(rowsOf(1 + Math.floor(random() * 200), random)), random);
      const items = someItems(shelf.laid.rows, random);
      await asks(...items);
      expect(api.asked.every(({ index, layer }) => layer === "full" && !shelf.laid.rows[index]?.full)).toBe(
        true,
      );
    }
  });

  it("ask the API for nothing that they hold", async () => {
    await asks(preview(0), preview(16), preview(3), full(10), full(11, 20, 50), full(64));
    expect(api.asked).toEqual([]);
    expect(shelf.asked.map(({ file, from, to }) => [file, to - from])).toEqual([
      ["previews/0", 44],
      ["previews/1", 22],
      ["frames/0", 90],
      ["frames/0", 30],
      ["frames/1", 90],
    ]);
  });

  it("go on under a new link where the old one is over, and ask for one only once", async () => {
    await asks(full(1));
    shelf.queries = new Set(["Signature=two"]);
    await asks(full(2), full(80), preview(0), preview(1));
    expect(renewals).toBe(1);
    expect(api.asked).toEqual([]);
    await asks(full(3));
    expect(shelf.asked.at(-1)?.query).toBe("Signature=two");
  });

  it("renew again when the second link is over, an hour later", async () => {
    shelf.queries = new Set(["Signature=two"]);
    await asks(full(2));
    shelf.queries = new Set(["Signature=three"]);
    next = link("Signature=three");
    vi.spyOn(performance, "now").mockReturnValue(performance.now() + 3_600_000);
    await asks(full(3));
    expect(renewals).toBe(2);
    expect(api.asked).toEqual([]);
  });

  it("take a refusal under a new link for a pack that is not there", async () => {
    shelf.queries = new Set(["Signature=two"]);
    shelf.behaves = ({ file }) => (file === "frames/1" ? new Response("", { status: 403 }) : null);
    await asks(full(2), full(70));
    await asks(full(71), full(72));
    await asks(full(73), full(4));
    expect(renewals).toBe(1);
    expect(api.asked.map(({ index }) => index)).toEqual([70, 71, 72, 73]);
    expect(shelf.asked.filter(({ file }) => file === "frames/1")).toHaveLength(2);
  });

  it("ask for no other link so soon after one", async () => {
    shelf.queries = new Set(["Signature=two"]);
    await asks(full(2));
    shelf.behaves = ({ file }) => (file === "frames/1" ? new Response("", { status: 403 }) : null);
    await asks(full(70));
    expect(renewals).toBe(1);
    expect(api.asked).toEqual([full(70)]);
  });

  it("leave everything to the API where there is no new link", async () => {
    shelf.queries.clear();
    next = null;
    await asks(full(2), full(80));
    const asked = shelf.asked.length;
    await asks(full(3));
    expect(shelf.asked).toHaveLength(asked);
    expect(api.asked).toHaveLength(3);
  });

  it("tell why where the right itself is gone", async () => {
    shelf.queries.clear();
    const renew = async (): Promise<never> => {
      throw new ApiError("denied", "denied", "You are not allowed to do this.");
    };
    packs = new Packs(shelf.laid.index, link("Signature=one"), renew, api);
    const asking = packs.ask([full(2)], new Heard(), never);
    await expect(asking).rejects.toMatchObject({ kind: "denied" });
    expect(api.asked).toEqual([]);
  });

  it("that are not there are asked for once", async () => {
    shelf.laid.files.delete("frames/0");
    await asks(full(2), full(70), preview(5));
    await asks(full(3), full(71));
    expect(shelf.asked.filter(({ file }) => file === "frames/0")).toHaveLength(1);
    expect(api.asked.map(({ index }) => index)).toEqual([2, 3]);
  });

  it("cut what they want out of a whole file where the server knows no ranges, and stop at its end", async () => {
    let cancelled = 0;
    shelf.behaves = (_, whole) => {
      const chunks = Array.from({ length: whole.length / 30 }, (_, at) => whole.slice(at * 30, at * 30 + 30));
      const body = new ReadableStream({
        pull: (controller) => {
          const chunk = chunks.shift();
          if (chunk) controller.enqueue(chunk);
          else controller.close();
        },
        cancel: () => {
          cancelled++;
        },
      });
      return new Response(body, { status: 200 });
    };
    await asks(full(10), full(11), full(12));
    expect(cancelled).toBe(1);
    expect(api.asked).toEqual([]);
    for (const index of [20, 30]) await asks(full(index));
    await asks(full(40)); // three times far too much is enough
    expect(shelf.asked).toHaveLength(3);
    expect(api.asked).toEqual([full(40)]);
  });

  it("leave to the API what a broken answer did not bring", async () => {
    shelf.behaves = ({ from }, whole) => shelf.partial(whole.slice(from, from + 200), 206, true);
    await asks(full(10), full(11), full(12), full(13));
    expect(api.asked).toEqual([full(12), full(13)]);
  });

  it("leave to the API what a server in trouble does not give, and ask it again next time", async () => {
    shelf.behaves = () => new Response("", { status: 503 });
    await asks(full(10));
    shelf.behaves = () => null;
    await asks(full(11));
    expect(api.asked).toEqual([full(10)]);
  });

  it("are let be where three times only the API could give anything", async () => {
    shelf.behaves = () => Promise.reject(new TypeError("network error"));
    for (const index of [1, 2, 3, 4, 5]) await asks(full(index));
    expect(shelf.asked).toHaveLength(3);
    expect(api.asked).toHaveLength(5);
  });

  it("are not let be for a link that is gone: then the API is out of reach as well", async () => {
    shelf.behaves = () => Promise.reject(new TypeError("network error"));
    api.isUp = false;
    for (let times = 0; times < 10; times++) {
      await expect(packs.ask([full(1)], new Heard(), never)).rejects.toMatchObject({ kind: "offline" });
    }
    shelf.behaves = () => null;
    api.isUp = true;
    await asks(full(1));
    expect(api.asked).toEqual([]);
  });

  it("have a preview asked for again that only they have", async () => {
    api.hasPreviews = false;
    shelf.behaves = () => new Response("", { status: 503 });
    const heard = new Heard();
    await packs.ask([preview(3), full(3)], heard, never);
    expect(heard.records).toHaveLength(1);
    expect(heard.refusals).toMatchObject([["p3:0:0", { kind: "failed" }]]);
  });

  it.each([
    ["of another frame", (bytes: Uint8Array) => bytes.fill(9, 0, 4)],
    ["of another length", (bytes: Uint8Array) => bytes.fill(9, 8, 12)],
  ])("give no preview from a record %s", async (_, spoil) => {
    const pack = shelf.laid.files.get("previews/0") as Uint8Array<ArrayBuffer>;
    spoil(pack);
    await asks(preview(0));
    expect(api.asked).toEqual([preview(0)]);
  });

  it("take bytes for those that the answer says they are", async () => {
    begin(new Laid(rows), () => 0.05);
    shelf.behaves = ({ from, to }, whole) => {
      const answer = shelf.partial(whole.slice(from - 10, to));
      answer.headers.set("Content-Range", `bytes ${from - 10}-${to - 1}/${whole.length}`);
      return answer;
    };
    await asks(full(3), full(4));
    shelf.behaves = ({ from, to }, whole) => {
      const answer = shelf.partial(whole.slice(from + 10, to + 50));
      answer.headers.set("Content-Range", `bytes ${from + 10}-${to - 1}/${whole.length}`);
      return answer;
    };
    expect(api.asked).toEqual([]);
    await asks(full(5));
    expect(api.asked).toEqual([full(5)]);
  });

  it("abort what is under way, and ask the API for none of it", async () => {
    const abort = new AbortController();
    shelf.behaves = () => new Promise(() => {});
    vi.stubGlobal("fetch", (_url: string, { signal }: RequestInit) => {
      const ended = new Promise<Response>((_, reject) => {
        signal?.addEventListener("abort", () => reject(signal.reason));
      });
      return ended;
    });
    const asking = packs.ask([full(1)], new Heard(), abort.signal);
    abort.abort();
    await expect(asking).rejects.toMatchObject({ name: "AbortError" });
    expect(api.asked).toEqual([]);
  });
});

describe("the word about packs", () => {
  const told = (headers: HeadersInit): PackLink | null => packLinkOf(new Response("", { headers }));

  it("is an address and a query, which is handed on as it is", () => {
    const query = "for=anna&Policy=eyJ~_-&Signature=c~_-&Key-Pair-Id=K1";
    for (const base of ["/packs/a/1/", "https://cdn.example.org/packs/a/1/"]) {
      expect(told({ "X-Radloop-Packs": `${base}?${query}` })).toEqual({ base, query });
    }
  });

  it("is missing as a rule", () => {
    expect(told({})).toBeNull();
    expect(told({ "X-Radloop-Packs": "" })).toBeNull();
  });
});

describe("opening a series that has packs", () => {
  afterEach(() => void vi.unstubAllGlobals());
  const rows = Array.from({ length: 90 }, () => ({ kind: 0, full: 90, preview: 10, ends: [] }));

  /** A server whose second index is another one; remembers what was asked. */
  function serve(shelf: Shelf, second: Laid): string[] {
    const asked: string[] = [];
    const links = ["/packs/a/7/?Signature=one", "/packs/a/7/?Signature=two"];
    const indexes = [shelf.laid.bytes, second.bytes];
    vi.stubGlobal("fetch", async (url: string, init: RequestInit) => {
      asked.push(`${init.method ?? "GET"} ${url.split("?")[0]}`);
      if (url.startsWith("/packs/")) return shelf.fetch(url, init);
      if (url.endsWith("/index")) {
        const headers = { "X-Radloop-Packs": links.shift() as string };
        return new Response(indexes.shift(), { headers });
      }
      return responseOf([recordOf(full(3), [1, 2])]);
    });
    return asked;
  }

  it("asks for the start slice's preview as soon as it is known where it lies, and never for frames", async () => {
    const shelf = new Shelf(new Laid(rows));
    const asked = serve(shelf, shelf.laid);
    const { source } = await openSeries("a", never);
    expect(asked).toEqual(["GET /stream/v1/a/index", "GET /packs/a/7/previews/0"]);
    const heard = new Heard();
    const early = source.takeEarly?.();
    expect(source.takeEarly?.()).toBeNull();
    await early?.into(heard);
    expect(heard.records).toEqual([[`p${startOf(90)}:0:0`, shelf.laid.of(preview(startOf(90)))]]);
    await source.ask([full(3)], heard, never);
    expect(asked.at(-1)).toBe("GET /packs/a/7/frames/0");
  });

  it("renews its link by the index", async () => {
    const shelf = new Shelf(new Laid(rows));
    const asked = serve(shelf, shelf.laid);
    const { source } = await openSeries("a", never);
    shelf.queries = new Set(["Signature=two"]);
    const heard = new Heard();
    await source.ask([full(3)], heard, never);
    expect(asked.slice(2)).toEqual([
      "GET /packs/a/7/frames/0",
      "GET /stream/v1/a/index",
      "GET /packs/a/7/frames/0",
    ]);
    expect(heard.records).toEqual([["3:0:0", shelf.laid.of(full(3))]]);
  });

  it("takes no packs that are laid out otherwise than those it opened", async () => {
    const shelf = new Shelf(new Laid(rows));
    const asked = serve(shelf, new Laid(rows.map((row) => ({ ...row, full: 91 }))));
    const { source } = await openSeries("a", never);
    shelf.queries = new Set(["Signature=two"]);
    await source.ask([full(3)], new Heard(), never);
    expect(asked.at(-1)).toBe("POST /stream/v1/a/frames");
  });
});
