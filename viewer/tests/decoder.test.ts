import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Decoder } from "../src/decoder.js";
import type { DecodeAnswer, DecodeRequest, DecoderStart } from "../src/decoder.worker.js";
import type { Pixels } from "../src/pixels.js";

const EMPTY_MODULE = new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0]);
const pixels = { kind: "grey" } as Pixels;
const never = new AbortController().signal;

/** A worker that answers when told to. */
class TestWorker {
  static all: TestWorker[] = [];
  onmessage: ((event: { data: DecodeAnswer }) => void) | null = null;
  onerror: (() => void) | null = null;
  readonly given: (DecoderStart | DecodeRequest)[] = [];
  isGone = false;

  constructor() {
    TestWorker.all.push(this);
  }
  postMessage(message: DecoderStart | DecodeRequest): void {
    this.given.push(message);
  }
  terminate(): void {
    this.isGone = true;
  }

  get tasks(): DecodeRequest[] {
    return this.given.filter((message): message is DecodeRequest => "id" in message);
  }
  answer(place: number, wasmBytes = 1000): void {
    this.onmessage?.({ data: { id: (this.tasks[place] as DecodeRequest).id, pixels, wasmBytes } });
  }
}

/** Every worker has got its decoder. */
const settle = (): Promise<void> =>
  vi.waitFor(() => expect(workers().every(({ given }) => given.length > 0)).toBe(true));
const bytes = (): Uint8Array<ArrayBuffer> => new Uint8Array(4);
const workers = (): TestWorker[] => TestWorker.all.filter(({ isGone }) => !isGone);

let fetched = 0;
let isUp = true;

beforeEach(() => {
  TestWorker.all = [];
  fetched = 0;
  isUp = true;
  vi.stubGlobal("Worker", TestWorker);
  vi.stubGlobal("fetch", async () => {
    fetched++;
    if (!isUp) throw new TypeError("network error");
    return new Response(EMPTY_MODULE, { headers: { "Content-Type": "application/wasm" } });
  });
});

afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

describe("the pool", () => {
  it("fetches and compiles the decoder once for all workers, and gives it before any task", async () => {
    const pool = new Decoder(3);
    for (let task = 0; task < 3; task++) void pool.decode(bytes(), never);
    await settle();
    expect(fetched).toBe(1);
    expect(pool.lanes).toBe(3);
    for (const { given } of workers()) {
      expect("module" in (given[0] as object)).toBe(true);
      expect(given).toHaveLength(2);
    }
  });

  it("gives a worker two tasks, the one it works on and the next", async () => {
    const pool = new Decoder(1);
    const done = [1, 2, 3].map(() => pool.decode(bytes(), never));
    await settle();
    const [worker] = workers() as [TestWorker];
    expect(worker.tasks).toHaveLength(2);
    worker.answer(1); // in whatever order
    worker.answer(0);
    expect(worker.tasks).toHaveLength(3);
    worker.answer(2);
    expect(await Promise.all(done)).toEqual([pixels, pixels, pixels]);
    expect(pool.wasmBytes).toBe(1000);
  });

  it("drops a task that was aborted before a worker had it", async () => {
    const pool = new Decoder(1);
    const abort = new AbortController();
    const dropped = pool.decode(bytes(), abort.signal);
    abort.abort(new Error("left"));
    await expect(dropped).rejects.toThrow("left");
    expect(workers()[0]?.tasks).toEqual([]);
  });

  it("replaces a worker that died, and goes on without one that never worked", async () => {
    const pool = new Decoder(2);
    const [first, second] = [pool.decode(bytes(), never), pool.decode(bytes(), never)];
    await settle();
    const [one, other] = workers() as [TestWorker, TestWorker];
    one.answer(0);
    await first;
    one.onerror?.();
    expect(one.isGone).toBe(true);
    expect(workers()).toHaveLength(2);
    other.onerror?.();
    await expect(second).rejects.toMatchObject({ kind: "decode" });
    expect([pool.lanes, workers().length]).toEqual([1, 1]);
    workers()[0]?.onerror?.();
    await expect(pool.decode(bytes(), never)).rejects.toThrow("cannot run the decoder");
  });

  it("replaces a worker whose memory one huge image has made grow", async () => {
    const pool = new Decoder(1);
    void pool.decode(bytes(), never);
    await settle();
    const [worker] = workers() as [TestWorker];
    worker.answer(0, 2 ** 30);
    expect(worker.isGone).toBe(true);
    expect([workers().length, pool.wasmBytes]).toEqual([1, 0]);
  });

  it("whose decoder does not load says that this passes, and tries again", async () => {
    vi.useFakeTimers();
    isUp = false;
    const pool = new Decoder(1);
    const gone = expect(pool.decode(bytes(), never)).rejects.toMatchObject({ kind: "offline" });
    await vi.advanceTimersByTimeAsync(1);
    await gone;
    isUp = true;
    await vi.advanceTimersByTimeAsync(1500);
    vi.useRealTimers();
    await settle();
    void pool.decode(bytes(), never);
    await settle();
    expect(workers()[0]?.tasks).toHaveLength(1);
  });
});
