import { afterEach, describe, expect, it, vi } from "vitest";
import type { Decoder } from "../src/decoder.js";
import { DecodeError } from "../src/decoder.js";
import { type Budgets, Frames } from "../src/frames.js";
import { loads } from "../src/loads.js";
import type { Pixels } from "../src/pixels.js";
import { ApiError, type FrameInfo } from "../src/protocol.js";
import type { Answers, Item, Source } from "../src/stream.js";
import { KINDS } from "./wire.js";

const ROOM: Budgets = { full: 1e6, previews: 1e6, decoded: 1e6 };
const FULL = 100;
const PREVIEW = 10;

function infosOf(count: number, preview: number | null = PREVIEW, full: number | null = FULL): FrameInfo[] {
  return Array.from({ length: count }, (_, index) => ({
    ...(KINDS[0] as FrameInfo),
    index,
    lossless_bytes: full,
    preview_bytes: preview,
  }));
}

const pixels: Pixels = {
  kind: "grey",
  width: 4,
  height: 4,
  data: new Uint16Array(16),
  signed: false,
  least: 0,
  most: 0,
};

/** Decodes at once, and remembers what it was given. */
class TestDecoder implements Pick<Decoder, "decode" | "lanes"> {
  readonly lanes = 2;
  readonly given: Uint8Array[] = [];
  constructor(private readonly answer: () => Promise<Pixels> = () => Promise.resolve(pixels)) {}
  decode(bytes: Uint8Array): Promise<Pixels> {
    this.given.push(bytes);
    return this.answer();
  }
}

const nameOf = ({ index, layer }: Item): string => `${layer} ${index}`;
/** What a frame's bytes are at a place. */
const byteAt = (index: number, place: number): number => (index * 7 + place * 13) % 256;

/** A source that answers when it may, byte for byte what a server would, and remembers what was asked. */
class TestSource implements Source {
  readonly asked: Item[] = [];
  requests = 0;
  /** Bytes given of each layer of each frame. */
  readonly given = new Map<string, number>();
  /** Cut the connection in front of the item of this number, once. */
  cutBefore = -1;
  isUp = true;
  full = FULL;

  constructor(private readonly answer: (item: Item) => ApiError | null = () => null) {}

  async ask(items: readonly Item[], answers: Answers, signal: AbortSignal): Promise<void> {
    this.requests++;
    if (this.requests > 5000) return new Promise(() => {}); // a loop shows as a count, not as a hanging test
    await Promise.resolve();
    if (!this.isUp) throw new ApiError("offline", "offline", "The server cannot be reached.");
    for (const item of items) {
      signal.throwIfAborted();
      if (this.asked.length === this.cutBefore) {
        this.cutBefore = -1;
        throw new ApiError("offline", "cut", "The connection was lost.");
      }
      this.asked.push(item);
      const error = this.answer(item);
      if (error) {
        answers.refused(item, error);
        continue;
      }
      const size = item.layer === "full" ? this.full : PREVIEW;
      const to = item.to || size;
      const bytes = Uint8Array.from({ length: to - item.from }, (_, place) =>
        byteAt(item.index, item.from + place),
      );
      this.given.set(nameOf(item), (this.given.get(nameOf(item)) ?? 0) + bytes.length);
      answers.record(item, bytes);
    }
  }
}

const settle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 20));
const open: Frames[] = [];

function framesOf(
  infos: FrameInfo[],
  source: Source,
  decoder = new TestDecoder(),
  budgets = ROOM,
  onChange = () => {},
): Frames {
  const frames = new Frames(infos, source, decoder, budgets, onChange);
  open.push(frames);
  return frames;
}

afterEach(() => {
  for (const frames of open.splice(0)) frames.close();
  vi.useRealTimers();
});

describe("a reader", () => {
  it("at rest ends with the slice at full quality", async () => {
    const frames = framesOf(infosOf(5), new TestSource());
    frames.look({ current: 2, direction: 1, resting: true });
    await settle();
    expect(frames.best(2)).toMatchObject({ index: 2, layer: "full" });
    expect(frames.quality(2)).toBe("lossless");
    expect(frames.held).toBe(5);
  });

  it("sees the nearest neighbour of a slice that is not here", async () => {
    const source = new TestSource(({ index }) =>
      index === 2 ? new ApiError("refused", "not-found", "gone") : null,
    );
    const frames = framesOf(infosOf(5), source);
    frames.look({ current: 2, direction: 1, resting: true });
    await settle();
    expect([1, 3]).toContain(frames.best(2)?.index);
    expect(frames.trouble(2)).toBe("gone");
    expect(frames.held).toBe(4);
  });

  it("who leaps from rest gets the full slice without waiting to rest again", async () => {
    const source = new TestSource();
    const frames = framesOf(infosOf(400), source, new TestDecoder(), { ...ROOM, full: 1000 });
    frames.look({ current: 0, direction: 1, resting: true });
    await settle();
    source.asked.length = 0;
    frames.look({ current: 300, direction: 1, resting: false });
    await settle();
    expect(source.asked[0]).toMatchObject({ index: 300, layer: "full" });
    expect(frames.best(300)).toMatchObject({ index: 300, layer: "full" });
  });

  it("in motion gets no full frame ahead over a link that has no room for it", async () => {
    const source = new TestSource();
    const frames = framesOf(infosOf(100), source);
    for (let current = 10; current < 14; current++) frames.look({ current, direction: 1, resting: false });
    await settle();
    expect(source.asked.filter(({ layer }) => layer === "full")).toEqual([]);
    expect(frames.held).toBe(100);
  });
});

describe("asking", () => {
  it("is for every byte once", async () => {
    const source = new TestSource();
    const frames = framesOf(infosOf(40), source);
    frames.look({ current: 20, direction: 1, resting: true });
    await settle();
    frames.look({ current: 5, direction: -1, resting: true });
    await settle();
    expect(source.given.size).toBe(80);
    for (const [name, bytes] of source.given) expect(bytes).toBe(name.startsWith("full") ? FULL : PREVIEW);
  });

  it("is for many frames at a time", async () => {
    const source = new TestSource();
    framesOf(infosOf(100), source).look({ current: 20, direction: 1, resting: true });
    await settle();
    expect(source.requests).toBeLessThan(8);
  });

  it("takes what was asked for early, and does not ask again", async () => {
    const source = new TestSource();
    const items: Item[] = [{ index: 2, layer: "preview", from: 0, to: 0 }];
    const early: Source = {
      ask: (...rest) => source.ask(...rest),
      takeEarly: () => ({
        items,
        into: (answers) => source.ask(items, answers, new AbortController().signal),
      }),
    };
    framesOf(infosOf(5), early).look({ current: 2, direction: 1, resting: true });
    await settle();
    expect(source.asked.filter(({ index, layer }) => index === 2 && layer === "preview")).toHaveLength(1);
  });

  it("for what does not fit the budget does not go round in circles", async () => {
    const source = new TestSource();
    const budgets = { full: 1000, previews: 200, decoded: 200 };
    const frames = framesOf(infosOf(200), source, new TestDecoder(), budgets);
    frames.look({ current: 100, direction: 1, resting: true });
    await settle();
    const before = source.asked.length;
    await settle();
    expect(source.asked.length).toBe(before);
    expect(before).toBeLessThan(200);
    expect(frames.best(100)).toMatchObject({ index: 100, layer: "full" });
  });

  it("in parts puts a large frame together as it was", async () => {
    const size = 500_000;
    const source = new TestSource();
    source.full = size;
    const decoder = new TestDecoder();
    const frames = framesOf(infosOf(1, null, size), source, decoder, { ...ROOM, full: 1e7 });
    frames.look({ current: 0, direction: 1, resting: true });
    await settle();
    expect(source.asked.length).toBeGreaterThan(3);
    const given = decoder.given[0] as Uint8Array;
    expect(given.length).toBe(size);
    expect(given.every((byte, place) => byte === byteAt(0, place))).toBe(true);
  });

  it("in parts does not take what was asked before the frame had to go for what was asked after", async () => {
    const half = 40 * 1024; // what one request has room for
    const waiting: { item: Item; answers: Answers; done: () => void }[] = [];
    const source: Source = {
      ask: ([item], answers) =>
        new Promise((done) => waiting.push({ item: item as Item, answers, done: () => done() })),
    };
    const give = async (place: number): Promise<void> => {
      const [{ item, answers, done }] = waiting.splice(place, 1) as [(typeof waiting)[0]];
      const { index, from, to } = item;
      answers.record(
        item,
        Uint8Array.from({ length: to - from }, (_, at) => byteAt(index, from + at)),
      );
      done();
      await settle();
    };
    const decoder = new TestDecoder();
    const budgets = { full: 1, previews: 1, decoded: 1e6 }; // room for one frame, as one always stays
    const frames = framesOf(infosOf(2, null, 2 * half), source, decoder, budgets);
    frames.look({ current: 0, direction: 1, resting: true });
    expect(waiting.map(({ item }) => nameOf(item))).toEqual(["full 0", "full 0"]);
    frames.look({ current: 1, direction: 1, resting: true }); // its parts let those of the other go
    frames.look({ current: 0, direction: -1, resting: true });
    await give(1); // the old second half
    while (waiting.length > 0) await give(0);
    expect(decoder.given.length).toBeGreaterThan(0);
    for (const bytes of decoder.given) {
      const index = [0, 1].find((at) => bytes[0] === byteAt(at, 0)) as number;
      expect(bytes.every((byte, place) => byte === byteAt(index, place))).toBe(true);
    }
    expect(frames.best(0)).toMatchObject({ index: 0, layer: "full" });
  });

  it("for a frame of unknown size is for all of it", async () => {
    const source = new TestSource();
    const frames = framesOf(infosOf(1, null, null), source);
    frames.look({ current: 0, direction: 1, resting: true });
    await settle();
    expect(source.asked).toEqual([{ index: 0, layer: "full", from: 0, to: 0 }]);
    expect(frames.best(0)).toMatchObject({ layer: "full" });
  });
});

describe("a lost connection", () => {
  it("costs the record it was cut in and no other, wherever that is", async () => {
    vi.useFakeTimers();
    for (let cut = 0; cut < 42; cut++) {
      const source = new TestSource();
      source.cutBefore = cut;
      const frames = framesOf(infosOf(20), source);
      frames.look({ current: 10, direction: 1, resting: true });
      await vi.advanceTimersByTimeAsync(3000);
      expect(frames.held).toBe(20);
      expect(source.given.size).toBe(40);
      for (const [name, bytes] of source.given) expect(bytes).toBe(name.startsWith("full") ? FULL : PREVIEW);
      frames.close();
    }
  });

  it("is tried again more and more slowly, by one request at a time, and at once when the device is online", async () => {
    vi.useFakeTimers();
    const online = new EventTarget();
    vi.stubGlobal("addEventListener", online.addEventListener.bind(online));
    const source = new TestSource();
    source.isUp = false;
    const frames = framesOf(infosOf(20), source);
    vi.unstubAllGlobals();
    frames.look({ current: 10, direction: 1, resting: true });
    await vi.advanceTimersByTimeAsync(250);
    const begun = source.requests;
    expect(frames.trouble(10)).toContain("No connection");
    await vi.advanceTimersByTimeAsync(100);
    expect(source.requests).toBe(begun + 1);
    await vi.advanceTimersByTimeAsync(20_000);
    const slow = source.requests - begun;
    expect(slow).toBeGreaterThanOrEqual(6); // 0.3, 0.6, 1.2, 2.4, 4.8, then every 5 s
    expect(slow).toBeLessThanOrEqual(8);
    source.isUp = true;
    online.dispatchEvent(new Event("online"));
    await vi.advanceTimersByTimeAsync(10);
    expect(frames.held).toBe(20);
    expect(frames.trouble(10)).toBeNull();
  });

  it("that says nothing is found out by another request, and the silent one is let go once that is answered", async () => {
    vi.useFakeTimers();
    const source = new TestSource();
    let isSilent = true;
    let aborted = 0;
    const quiet: Source = {
      ask: (items, answers, signal) => {
        if (!isSilent) return source.ask(items, answers, signal);
        return new Promise((_, reject) => {
          signal.addEventListener("abort", () => {
            aborted++;
            reject(signal.reason);
          });
        });
      },
    };
    const frames = framesOf(infosOf(20), quiet);
    frames.look({ current: 10, direction: 1, resting: true });
    await vi.advanceTimersByTimeAsync(3000);
    expect(aborted).toBe(0);
    isSilent = false;
    await vi.advanceTimersByTimeAsync(30_000);
    expect(aborted).toBeGreaterThan(0);
    expect(frames.held).toBe(20);
    for (const [name, bytes] of source.given) expect(bytes).toBe(name.startsWith("full") ? FULL : PREVIEW);
  });
});

describe("a fault", () => {
  it("of the server is tried again, a refusal is not", async () => {
    vi.useFakeTimers();
    let failures = 1;
    const source = new TestSource(({ index }) => {
      if (index === 1) return new ApiError("refused", "x", "no");
      return failures-- > 0 ? new ApiError("failed", "unavailable", "broken") : null;
    });
    const frames = framesOf(infosOf(2, null), source);
    frames.look({ current: 0, direction: 1, resting: true });
    await vi.advanceTimersByTimeAsync(5000);
    expect(source.asked.map(nameOf).filter((name) => name === "full 0")).toHaveLength(2);
    expect(source.asked.map(nameOf).filter((name) => name === "full 1")).toHaveLength(1);
    expect(frames.trouble(0)).toBeNull();
    expect(frames.trouble(1)).toBe("no");
  });

  it("of a preview, asked for before it was known that there is none, does not lose the full frame", async () => {
    let refuse: () => void = () => {};
    const source = Object.assign(new TestSource(), {
      takeEarly: () => {
        const item: Item = { index: 0, layer: "preview", from: 0, to: 0 };
        const into = async (answers: Answers): Promise<void> => {
          await new Promise<void>((resolve) => {
            refuse = resolve;
          });
          answers.refused(item, new ApiError("refused", "not-found", "no preview"));
        };
        return { items: [item], into };
      },
    });
    const asked = source.ask.bind(source);
    source.ask = async (...wanted) => {
      refuse(); // while the full frame is under way
      await settle();
      return asked(...wanted);
    };
    const frames = framesOf(infosOf(1, null), source);
    frames.look({ current: 0, direction: 1, resting: true });
    await settle();
    await settle();
    await settle();
    expect(frames.best(0)).toMatchObject({ index: 0, layer: "full" });
  });

  it("that ends everything is told, and nothing more is asked", async () => {
    let requests = 0;
    const source: Source = {
      ask: async () => {
        requests++;
        throw new ApiError("signed-out", "unauthenticated", "You are signed out; sign in again.");
      },
    };
    const frames = framesOf(infosOf(50), source);
    frames.look({ current: 0, direction: 1, resting: true });
    await settle();
    const before = requests;
    frames.look({ current: 30, direction: 1, resting: true });
    await settle();
    expect(requests).toBe(before);
    expect(frames.trouble(30)).toContain("signed out");
  });

  it("of a damaged frame says so", async () => {
    const decoder = new TestDecoder(() => Promise.reject(new DecodeError("damaged")));
    const frames = framesOf(infosOf(1, null), new TestSource(), decoder);
    frames.look({ current: 0, direction: 1, resting: true });
    await settle();
    expect(frames.trouble(0)).toBe("damaged");
    expect(frames.best(0)).toBeNull();
  });

  it("of a frame of another size than stated is told", async () => {
    const decoder = new TestDecoder(() => Promise.resolve({ ...pixels, width: 5 }));
    const frames = framesOf(infosOf(1, null), new TestSource(), decoder);
    frames.look({ current: 0, direction: 1, resting: true });
    await settle();
    expect(frames.trouble(0)).toContain("size");
  });

  it("of the decoder's own does not fetch the frame again", async () => {
    vi.useFakeTimers();
    let tries = 0;
    const decoder = new TestDecoder(() =>
      tries++ === 0
        ? Promise.reject(new ApiError("offline", "offline", "The decoder did not load."))
        : Promise.resolve(pixels),
    );
    const source = new TestSource();
    const frames = framesOf(infosOf(1, null), source, decoder);
    frames.look({ current: 0, direction: 1, resting: true });
    await vi.advanceTimersByTimeAsync(5000);
    expect(frames.best(0)).toMatchObject({ layer: "full" });
    expect(source.asked).toHaveLength(1);
  });

  it("of a frame that cannot be decoded is no reason to ask for it", async () => {
    const source = new TestSource();
    const infos = infosOf(1).map((info) => ({ ...info, decodable: false }));
    const frames = framesOf(infos, source);
    frames.look({ current: 0, direction: 1, resting: true });
    await settle();
    expect(source.asked).toEqual([]);
    expect(frames.trouble(0)).toContain("cannot be decoded");
  });

  it("of a preview that was asked for before anybody knew there is none leaves the full frame alone", async () => {
    const source = new TestSource();
    const items: Item[] = [{ index: 0, layer: "preview", from: 0, to: 0 }];
    let refuse = (): void => {};
    const early: Source = {
      ask: (...rest) => source.ask(...rest),
      takeEarly: () => ({
        items,
        into: (answers) =>
          new Promise((resolve) => {
            refuse = () => {
              answers.refused(items[0] as Item, new ApiError("refused", "not-found", "it has no preview"));
              resolve();
            };
          }),
      }),
    };
    const frames = framesOf(infosOf(1, null), early);
    frames.look({ current: 0, direction: 1, resting: true });
    refuse(); // while the full frame is under way
    await settle();
    expect(frames.best(0)).toMatchObject({ layer: "full" });
    expect(frames.trouble(0)).toBeNull();
  });
});

describe("memory", () => {
  it("holds no more than the budgets, told by `radloopStats`", async () => {
    const budgets = { full: 2000, previews: 300, decoded: 640 };
    const frames = framesOf(infosOf(300), new TestSource(), new TestDecoder(), budgets);
    for (const current of [10, 150, 290, 40, 200]) {
      frames.look({ current, direction: 1, resting: true });
      await settle();
      const { heap } = loads.read();
      expect(heap.compressed).toBeLessThanOrEqual(budgets.full + budgets.previews);
      expect(heap.decoded).toBeLessThanOrEqual(budgets.decoded);
      expect(heap.compressed).toBeGreaterThan(0);
      expect(heap.decoded).toBeGreaterThan(0);
    }
    frames.close();
    expect(loads.read().heap).toMatchObject({ compressed: 0, decoded: 0 });
  });
});
