/** A small pool of workers that decode frames; one for the whole app, as each holds some 52 MB. */
import wasmUrl from "@cornerstonejs/codec-openjph/wasm?url";
import type { DecodeAnswer, DecodeRequest, DecoderStart } from "./decoder.worker.js";
import { device } from "./device.js";
import { watchWasm } from "./loads.js";
import type { Palette, Pixels } from "./pixels.js";
import { ApiError } from "./protocol.js";

/** A frame's bytes arrived and cannot be turned into an image. */
export class DecodeError extends Error {
  readonly kind = "decode";
}

interface Task {
  readonly request: DecodeRequest;
  readonly signal: AbortSignal;
  readonly resolve: (pixels: Pixels) => void;
  readonly reject: (reason: unknown) => void;
}

interface Seat {
  worker: Worker;
  /** What its worker has got and not answered, oldest first. */
  readonly tasks: Task[];
  /** It has its wasm and may be given tasks. */
  isReady: boolean;
  /** It has answered once, so a fault is not one of starting up. */
  isProven: boolean;
  wasmBytes: number;
}

/** A worker with one task more than it works on never waits for the page. */
const TASKS_A_SEAT = 2;
/** A worker whose memory one huge image has made grow beyond this is replaced: wasm memory never shrinks. */
const MOST_WASM_BYTES = 192 * 2 ** 20;

export class Decoder {
  #seats: Seat[];
  readonly #queue: Task[] = [];
  #lastId = 0;
  #module: Promise<WebAssembly.Module> | null = null;

  /** @param workers How many decode at once. */
  constructor(workers: number) {
    this.#seats = Array.from({ length: workers }, () => this.#seat());
  }

  /** How many frames are worth being decoded at once. */
  get lanes(): number {
    return Math.max(this.#seats.length, 1);
  }

  /** Memory of all its workers. */
  get wasmBytes(): number {
    return this.#seats.reduce((sum, seat) => sum + seat.wasmBytes, 0);
  }

  /**
   * Decode one codestream.
   *
   * @param signal Aborts a task that has not reached a worker; one that has is cheaper to finish.
   * @param palette Of a PALETTE COLOR image.
   * @throws DecodeError where the codestream is damaged or of a kind that cannot be shown; ApiError where the
   *   decoder itself did not arrive.
   */
  decode(
    bytes: Uint8Array<ArrayBuffer>,
    signal: AbortSignal,
    palette: Palette | null = null,
  ): Promise<Pixels> {
    return new Promise((resolve, reject) => {
      const request = { id: ++this.#lastId, bytes, palette };
      this.#queue.push({ request, signal, resolve, reject });
      this.#serve();
    });
  }

  close(): void {
    for (const seat of this.#seats) seat.worker.terminate();
    this.#seats = [];
    this.#queue.length = 0;
  }

  #serve(): void {
    if (this.#seats.length === 0) {
      for (const task of this.#queue.splice(0)) {
        task.reject(new DecodeError("This browser cannot run the decoder."));
      }
    }
    for (let depth = 0; depth < TASKS_A_SEAT; depth++) {
      if (this.#seats.some(({ tasks }) => tasks.length < depth)) return; // nobody has two while another has none
      for (const seat of this.#seats) if (seat.tasks.length === depth) this.#give(seat);
    }
  }

  #give(seat: Seat): void {
    if (!seat.isReady) return;
    for (let task = this.#queue.shift(); task; task = this.#queue.shift()) {
      if (task.signal.aborted) {
        task.reject(task.signal.reason);
        continue;
      }
      seat.tasks.push(task);
      seat.worker.postMessage(task.request);
      return;
    }
  }

  #seat(): Seat {
    const seat = { tasks: [], wasmBytes: 0 } as unknown as Seat;
    this.#hire(seat);
    return seat;
  }

  #hire(seat: Seat): void {
    const worker = new Worker(new URL("./decoder.worker.ts", import.meta.url), { type: "module" });
    worker.onmessage = ({ data }: MessageEvent<DecodeAnswer>) => this.#answered(seat, data);
    worker.onerror = () => this.#died(seat);
    seat.worker = worker;
    seat.isReady = false;
    seat.isProven = false;
    void this.#start(seat, worker);
  }

  /** Compiled once, used by every worker. */
  async #start(seat: Seat, worker: Worker): Promise<void> {
    try {
      this.#module ??= compiled();
      const start: DecoderStart = { module: await this.#module };
      worker.postMessage(start);
    } catch {
      this.#module = null; // the next one tries again
      const gone = new ApiError("offline", "offline", "The decoder did not load.");
      for (const task of this.#queue.splice(0)) task.reject(gone);
      if (seat.worker === worker) setTimeout(() => void this.#start(seat, worker), 1000);
      return;
    }
    seat.isReady = true;
    this.#serve();
  }

  #answered(seat: Seat, answer: DecodeAnswer): void {
    const place = seat.tasks.findIndex(({ request }) => request.id === answer.id);
    const [task] = place < 0 ? [] : seat.tasks.splice(place, 1);
    seat.isProven = true;
    seat.wasmBytes = answer.wasmBytes;
    if ("pixels" in answer) task?.resolve(answer.pixels);
    else task?.reject(new DecodeError(answer.message));
    if (seat.wasmBytes > MOST_WASM_BYTES && seat.tasks.length === 0) this.#replace(seat);
    this.#serve();
  }

  #died(seat: Seat): void {
    for (const task of seat.tasks.splice(0)) task.reject(new DecodeError("The decoder stopped."));
    if (seat.isProven) {
      this.#replace(seat);
    } else {
      seat.worker.terminate();
      this.#seats = this.#seats.filter((other) => other !== seat); // hiring again would only loop
    }
    this.#serve();
  }

  #replace(seat: Seat): void {
    seat.worker.terminate();
    seat.wasmBytes = 0;
    this.#hire(seat);
  }
}

async function compiled(): Promise<WebAssembly.Module> {
  const response = await fetch(wasmUrl);
  if (!response.ok) throw new Error(`The decoder was answered with ${response.status}.`);
  const isWasm = response.headers.get("Content-Type")?.startsWith("application/wasm");
  if (isWasm && WebAssembly.compileStreaming) return WebAssembly.compileStreaming(response);
  return WebAssembly.compile(await response.arrayBuffer());
}

let shared: Decoder | null = null;

/** The pool of the app, begun with its first use; it stays for the next series. */
export function sharedDecoder(): Decoder {
  if (!shared) {
    const pool = new Decoder(device().workers);
    watchWasm(() => pool.wasmBytes);
    shared = pool;
  }
  return shared;
}

/** Give the pool's memory back, for a page that decodes by itself; the next use begins another pool. */
export function releaseDecoder(): void {
  shared?.close();
  shared = null;
}
