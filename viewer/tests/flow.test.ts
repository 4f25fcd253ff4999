import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type Client, Flow, Meter, type Planned } from "../src/flow.js";
import { ApiError } from "../src/protocol.js";
import type { Answers, Item, Source } from "../src/stream.js";

/** A link of so many bytes a second and such a round trip, shared by all requests, as it is measured by `meter`. */
function measured(bytesPerSecond: number, roundTripMs: number): Meter {
  const meter = new Meter();
  meter.answered(roundTripMs);
  meter.answered(roundTripMs * 3); // behind others
  for (let ms = 10; ms <= 5000; ms += 10) meter.heard(bytesPerSecond / 100, ms);
  return meter;
}

describe("what is in flight", () => {
  it("is four requests of 40 KB before anything is measured", () => {
    const meter = new Meter();
    expect([meter.window / meter.requestBytes, meter.requestBytes]).toEqual([4, 40 * 1024]);
  });

  it.each([
    ["12 Mbit/s and 70 ms", 1.5e6, 70],
    ["30 Mbit/s and 50 ms", 3.75e6, 50],
  ])("is two bandwidth-delay products over %s", (_, rate, ms) => {
    const { window, rate: found } = measured(rate, ms);
    expect(found / rate).toBeCloseTo(1, 2);
    expect(window / ((rate * ms) / 1000)).toBeCloseTo(2, 1);
  });

  it("does not take the wait for the first answer for slowness", () => {
    const meter = new Meter();
    meter.answered(70);
    for (let ms = 70; ms <= 180; ms += 10) meter.heard(15_000, ms);
    expect(meter.rate / 1.5e6).toBeCloseTo(1, 2);
    meter.pause(); // nothing was wanted for a second
    for (let ms = 1180; ms <= 1290; ms += 10) meter.heard(15_000, ms);
    expect(meter.rate / 1.5e6).toBeCloseTo(1, 2);
  });

  it("is little over a slow link, and never more than a megabyte", () => {
    expect(measured(60_000, 200).window).toBeLessThan(40_000);
    expect(measured(1e9, 300).window).toBe(2 ** 20);
  });

  it("is more than two products where the round trip is next to nothing, but nothing that anybody feels", () => {
    const { window, rate } = measured(20e6, 1);
    expect(window / rate).toBeLessThan(0.031);
    expect(window).toBeGreaterThan(500_000);
  });
});

/** Wants frames without end, 5 KB each; remembers what became of them. */
class Endless implements Client {
  next = 0;
  flying = 0;
  readonly lostItems: Item[] = [];
  end: ApiError | null = null;
  plan(room: number): Planned {
    const items: Item[] = [];
    for (let bytes = 0; bytes < room; bytes += 5000) {
      items.push(this.lostItems.shift() ?? { index: this.next++, layer: "preview", from: 0, to: 5000 });
    }
    this.flying += items.length;
    return { items, bytes: items.length * 5000 };
  }
  record(): void {
    this.flying--;
  }
  refused(): void {
    this.flying--;
  }
  lost(item: Item): void {
    this.flying--;
    this.lostItems.push(item);
  }
  ended(error: ApiError): void {
    this.end = error;
  }
  linked(): void {}
}

/** A link with one queue, as a phone's: requests wait behind each other, and a round trip for their first byte. */
class Link implements Source {
  busyUntil = 0;
  requests = 0;
  most = 0;
  bytes = 0;
  #flying = 0;
  constructor(
    readonly bytesPerSecond: number,
    readonly roundTripMs: number,
  ) {}

  async ask(items: readonly Item[], answers: Answers): Promise<void> {
    this.requests++;
    this.#flying += items.length * 5000;
    this.most = Math.max(this.most, this.#flying);
    await wait(this.roundTripMs);
    answers.heard?.(0);
    for (const item of items) {
      const now = performance.now();
      this.busyUntil = Math.max(this.busyUntil, now) + (5000 * 1000) / this.bytesPerSecond;
      await wait(this.busyUntil - now);
      this.#flying -= 5000;
      this.bytes += 5000;
      answers.heard?.(5000);
      answers.record(item, new Uint8Array(0));
    }
  }
}

const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

describe("a flow", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it.each([
    ["12 Mbit/s and 70 ms", 1.5e6, 70],
    ["30 Mbit/s and 50 ms", 3.75e6, 50],
    ["1 Mbit/s and 200 ms", 125_000, 200],
  ])("keeps a link of %s busy without filling it up", async (_, rate, ms) => {
    const link = new Link(rate, ms);
    const flow = new Flow(link, new Endless());
    flow.kick();
    await vi.advanceTimersByTimeAsync(3000);
    link.most = 0;
    const before = link.bytes;
    await vi.advanceTimersByTimeAsync(10_000);
    flow.close();
    expect((link.bytes - before) / (rate * 10)).toBeGreaterThan(0.93);
    expect(link.most / rate).toBeLessThan(Math.max((3 * ms) / 1000, 0.45)); // what a reader waits behind
  });

  it("stops for good at what no repetition mends", async () => {
    const client = new Endless();
    let requests = 0;
    const source: Source = {
      ask: async () => {
        requests++;
        throw new ApiError("denied", "denied", "You are not allowed to do this.");
      },
    };
    const flow = new Flow(source, client);
    flow.kick();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(client.end?.kind).toBe("denied");
    expect(requests).toBeLessThanOrEqual(4);
  });

  it("asks nothing after it was closed, and aborts what is under way", async () => {
    const signals: AbortSignal[] = [];
    const source: Source = {
      ask: (_items, _answers, signal) => {
        signals.push(signal);
        return new Promise(() => {});
      },
    };
    const flow = new Flow(source, new Endless());
    flow.kick();
    const begun = signals.length;
    flow.close();
    flow.kick();
    flow.hurry();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(signals).toHaveLength(begun);
    expect(signals.every((signal) => signal.aborted)).toBe(true);
  });
});
