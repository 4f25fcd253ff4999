import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { ApiError, type FrameInfo } from "../src/protocol.js";
import type { Answers, Item, Source } from "../src/stream.js";
import type { Plan } from "../src/volume.js";
import type { VolumeAnswer, VolumeRequest } from "../src/volume.worker.js";
import { VolumeClient } from "../src/volume-client.js";

/** What a worker is to the page; it puts every slice in its place at once. */
class FakeWorker {
  static slots: number[] = [];
  onmessage: ((event: { data: VolumeAnswer }) => void) | null = null;

  postMessage(request: VolumeRequest): void {
    if (request.kind !== "slice") return;
    FakeWorker.slots.push(request.slot);
    const answer = { kind: "filled", slot: request.slot, least: 0, most: 9, message: null } as const;
    queueMicrotask(() => this.onmessage?.({ data: answer }));
  }

  terminate(): void {}
}

const COUNT = 100;
const MISSING = 40; // a slice the series does not have

const plan = {
  grid: {
    size: [2, 2, COUNT],
    origin: [0, 0, 0],
    steps: [
      [1, 0, 0],
      [0, 1, 0],
      [0, 0, 1],
    ],
  },
  // slot n holds frame COUNT - n, so that nobody takes the one for the other
  frames: Array.from({ length: COUNT }, (_, slot) => (slot === MISSING ? -1 : COUNT - slot)),
} as unknown as Plan;

const infos = Array.from({ length: COUNT + 1 }, (_, index) => ({
  preview_bytes: index === 7 ? null : 6000,
  lossless_bytes: 200_000,
  slope: 1,
  intercept: 0,
})) as unknown as FrameInfo[];

/** A link that is cut behind `whole` records of each of the first `cuts` requests. */
class BadLink implements Source {
  readonly asked: Item[] = [];
  requests = 0;

  constructor(
    private readonly cuts: number,
    private readonly whole: number,
    private readonly refuses: number | null = null,
  ) {}

  async ask(items: readonly Item[], answers: Answers): Promise<void> {
    const isCut = this.requests++ < this.cuts;
    for (const item of isCut ? items.slice(0, this.whole) : items) {
      this.asked.push(item);
      if (item.index === this.refuses) answers.refused(item, new ApiError("refused", "gone", "It is gone."));
      else answers.record(item, new Uint8Array(4));
    }
    if (isCut) throw new ApiError("offline", "cut", "The connection was lost.");
  }
}

async function filledBy(source: Source): Promise<{ client: VolumeClient; failures: string[] }> {
  const failures: string[] = [];
  const leaving = new AbortController();
  const listener = {
    drawn: () => {},
    filled: () => {},
    failed: (words: string) => void failures.push(words),
  };
  const client = new VolumeClient(plan, infos, source, listener);
  client.start(leaving.signal);
  await vi.advanceTimersByTimeAsync(60_000);
  leaving.abort();
  return { client, failures };
}

beforeEach(() => {
  FakeWorker.slots = [];
  vi.useFakeTimers();
  vi.stubGlobal("Worker", FakeWorker);
});

afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

it("puts every slice of the series in its place, once, coarsely first", async () => {
  const source = new BadLink(0, 0);
  const { client } = await filledBy(source);
  expect([client.held, client.wanted, client.lost]).toEqual([COUNT - 1, COUNT - 1, 0]);
  expect([...FakeWorker.slots].sort((a, b) => a - b)).toEqual(
    [...Array(COUNT).keys()].filter((n) => n !== MISSING),
  );
  expect(source.asked.slice(0, 3).map(({ index }) => index)).toEqual([100, 84, 68]);
  expect([client.least, client.most]).toEqual([0, 9]);
});

it("asks for a frame without a preview in full, and for nothing else of the others", async () => {
  const source = new BadLink(0, 0);
  await filledBy(source);
  expect(source.asked.filter(({ layer }) => layer === "full").map(({ index }) => index)).toEqual([7]);
  expect(source.asked.every(({ from, to }) => from === 0 && to === 0)).toBe(true);
});

it("asks again for what a cut connection did not bring, and for that alone", async () => {
  const source = new BadLink(5, 3);
  const { client } = await filledBy(source);
  expect(client.held).toBe(COUNT - 1);
  expect(client.trouble).toBeNull();
  expect(new Set(source.asked.map(({ index }) => index)).size).toBe(source.asked.length);
});

it("tells that nothing comes while the link is down", async () => {
  const { client } = await filledBy(new BadLink(1e9, 0));
  expect(client.held).toBe(0);
  expect(client.trouble).toBe("The connection was lost. Trying again.");
});

it("goes on without a slice that the server cannot give", async () => {
  const { client, failures } = await filledBy(new BadLink(0, 0, 33));
  expect([client.held, client.lost]).toEqual([COUNT - 2, 1]);
  expect(failures).toEqual([]);
});

it("says what will not pass by itself", async () => {
  const source: Source = {
    ask: () => Promise.reject(new ApiError("denied", "denied", "You are not allowed to do this.")),
  };
  const { failures } = await filledBy(source);
  expect(failures[0]).toBe("You are not allowed to do this.");
});

it("uses what was asked for early and does not ask for it again", async () => {
  const source = new BadLink(0, 0);
  const item: Item = { index: 50, layer: "preview", from: 0, to: 0 };
  const early: Source = {
    ask: (items, answers) => source.ask(items, answers),
    takeEarly: () => ({
      items: [item],
      into: async (answers) => answers.record(item, new Uint8Array(4)),
    }),
  };
  const { client } = await filledBy(early);
  expect(client.held).toBe(COUNT - 1);
  expect(source.asked.some(({ index }) => index === 50)).toBe(false);
});
