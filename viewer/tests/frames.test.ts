import { expect, it, vi } from "vitest";
import type { Decoder } from "../src/decoder.js";
import { DecodeError } from "../src/decoder.js";
import { type Budgets, Frames } from "../src/frames.js";
import type { Pixels } from "../src/pixels.js";
import { ApiError, type FrameInfo, type FrameSource, type Layer } from "../src/protocol.js";

const ROOM: Budgets = { full: 1e6, previews: 1e6, decoded: 1e6 };

function infosOf(count: number, preview: number | null = 10): FrameInfo[] {
  return Array.from({ length: count }, (_, index) => ({
    index,
    rows: 4,
    columns: 4,
    bits_stored: 12,
    signed: false,
    samples: 1,
    photometric: "MONOCHROME2",
    slope: 1,
    intercept: 0,
    window_center: null,
    window_width: null,
    lossless_bytes: 100,
    preview_bytes: preview,
    quality: "lossless",
    decodable: true,
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

const decoder = { decode: () => Promise.resolve(pixels) } as unknown as Decoder;

/** A source that answers when told to, and remembers what was asked. */
function sourceOf(answer: (index: number, layer: Layer) => Error | null = () => null): {
  source: FrameSource;
  asked: string[];
} {
  const asked: string[] = [];
  const source: FrameSource = async (index, layer, signal) => {
    asked.push(`${layer} ${index}`);
    if (asked.length > 1000) return new Promise(() => {}); // a loop shows as a count, not as a hanging test
    await Promise.resolve();
    signal.throwIfAborted();
    const error = answer(index, layer);
    if (error) throw error;
    return {
      bytes: new Uint8Array(layer === "full" ? 100 : 10),
      quality: layer === "full" ? "lossless" : null,
    };
  };
  return { source, asked };
}

const settle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 20));

it("a resting reader ends with the slice at full quality", async () => {
  const { source } = sourceOf();
  const frames = new Frames(infosOf(5), source, decoder, ROOM, () => {});
  frames.look({ current: 2, direction: 1, resting: true });
  await settle();
  expect(frames.best(2)).toMatchObject({ index: 2, layer: "full" });
  expect(frames.quality(2)).toBe("lossless");
  expect(frames.held).toBe(5);
});

it("a slice that is not here yet is shown by its nearest neighbour", async () => {
  const { source } = sourceOf((index) => (index === 2 ? new ApiError("not-found", "x", "gone") : null));
  const frames = new Frames(infosOf(5), source, decoder, ROOM, () => {});
  frames.look({ current: 2, direction: 1, resting: true });
  await settle();
  expect([1, 3]).toContain(frames.best(2)?.index);
  expect(frames.trouble(2)).toBe("gone");
});

it("every frame is asked for once", async () => {
  const { source, asked } = sourceOf();
  const frames = new Frames(infosOf(40), source, decoder, ROOM, () => {});
  frames.look({ current: 20, direction: 1, resting: true });
  await settle();
  frames.look({ current: 5, direction: -1, resting: true });
  await settle();
  expect(asked).toHaveLength(80);
  expect(new Set(asked).size).toBe(80);
});

it("what does not fit the budget is not fetched over and over", async () => {
  const { source, asked } = sourceOf();
  const frames = new Frames(
    infosOf(200),
    source,
    decoder,
    { full: 1000, previews: 200, decoded: 200 },
    () => {},
  );
  frames.look({ current: 100, direction: 1, resting: true });
  await settle();
  const before = asked.length;
  await settle();
  expect(asked.length).toBe(before);
  expect(before).toBeLessThan(200);
  expect(frames.best(100)).toMatchObject({ index: 100, layer: "full" });
});

it("full frames are aborted when the reader moves away", async () => {
  const aborted: number[] = [];
  const source: FrameSource = (index, layer, signal) =>
    new Promise((resolve, reject) => {
      if (layer === "preview") resolve({ bytes: new Uint8Array(10), quality: null });
      signal.addEventListener("abort", () => {
        aborted.push(index);
        reject(signal.reason);
      });
    });
  const frames = new Frames(infosOf(50), source, decoder, ROOM, () => {});
  frames.look({ current: 10, direction: 1, resting: true });
  await settle();
  frames.look({ current: 40, direction: 1, resting: false });
  await settle();
  expect(aborted).toContain(10);
  expect(frames.holding(10, "full")).toBe("missing");
});

it("a server that fails is asked again, one that refuses is not", async () => {
  vi.useFakeTimers();
  let failures = 1;
  const { source, asked } = sourceOf((index) => {
    if (index === 1) return new ApiError("refused", "x", "no");
    return failures-- > 0 ? new ApiError("failed", "x", "broken") : null;
  });
  const frames = new Frames(infosOf(2, null), source, decoder, ROOM, () => {});
  frames.look({ current: 0, direction: 1, resting: true });
  await vi.advanceTimersByTimeAsync(5000);
  vi.useRealTimers();
  expect(asked.filter((name) => name === "full 0")).toHaveLength(2);
  expect(asked.filter((name) => name === "full 1")).toHaveLength(1);
  expect(frames.trouble(0)).toBeNull();
});

it("a damaged frame says so", async () => {
  const broken = { decode: () => Promise.reject(new DecodeError("damaged")) } as unknown as Decoder;
  const { source } = sourceOf();
  const frames = new Frames(infosOf(1, null), source, broken, ROOM, () => {});
  frames.look({ current: 0, direction: 1, resting: true });
  await settle();
  expect(frames.trouble(0)).toBe("damaged");
  expect(frames.best(0)).toBeNull();
});

it("a frame of another size than stated is refused", async () => {
  const wrong = { decode: () => Promise.resolve({ ...pixels, width: 5 }) } as unknown as Decoder;
  const { source } = sourceOf();
  const frames = new Frames(infosOf(1, null), source, wrong, ROOM, () => {});
  frames.look({ current: 0, direction: 1, resting: true });
  await settle();
  expect(frames.trouble(0)).toContain("size");
});

it("a frame that cannot be decoded is not asked for", async () => {
  const { source, asked } = sourceOf();
  const infos = infosOf(1).map((info) => ({ ...info, decodable: false }));
  const frames = new Frames(infos, source, decoder, ROOM, () => {});
  frames.look({ current: 0, direction: 1, resting: true });
  await settle();
  expect(asked).toEqual([]);
  expect(frames.trouble(0)).toContain("cannot be decoded");
});
