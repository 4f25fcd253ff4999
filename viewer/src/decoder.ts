/** A small pool of workers that decode frames. */
import type { DecodeAnswer, DecodeRequest } from "./decoder.worker.js";
import type { Pixels } from "./pixels.js";

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
  task: Task | null;
  /** It has answered once, so a fault is not one of starting up. */
  proven: boolean;
}

export class Decoder {
  #seats: Seat[];
  readonly #queue: Task[] = [];
  #lastId = 0;

  /** @param workers Each holds about 52 MB of wasm memory; two keep up with 60 slices a second. */
  constructor(workers = 2) {
    this.#seats = Array.from({ length: workers }, () => this.#seat());
  }

  /**
   * Decode one codestream.
   *
   * @param signal Aborts a task that has not reached a worker; one that has is cheaper to finish.
   * @throws DecodeError where the codestream is damaged or of a kind that cannot be shown.
   */
  decode(bytes: Uint8Array<ArrayBuffer>, photometric: string, signal: AbortSignal): Promise<Pixels> {
    return new Promise((resolve, reject) => {
      const request = { id: ++this.#lastId, bytes, photometric };
      this.#queue.push({ request, signal, resolve, reject });
      this.#serve();
    });
  }

  close(): void {
    for (const seat of this.#seats) seat.worker.terminate();
    this.#queue.length = 0;
  }

  #serve(): void {
    if (this.#seats.length === 0) {
      for (const task of this.#queue.splice(0)) {
        task.reject(new DecodeError("This browser cannot run the decoder."));
      }
    }
    for (const seat of this.#seats) {
      while (!seat.task && this.#queue.length > 0) {
        const task = this.#queue.shift() as Task;
        if (task.signal.aborted) {
          task.reject(task.signal.reason);
          continue;
        }
        seat.task = task;
        seat.worker.postMessage(task.request);
      }
    }
  }

  #seat(): Seat {
    const seat: Seat = { worker: this.#hire(() => seat), task: null, proven: false };
    return seat;
  }

  #hire(seatOf: () => Seat): Worker {
    const worker = new Worker(new URL("./decoder.worker.ts", import.meta.url), { type: "module" });
    worker.onmessage = ({ data }: MessageEvent<DecodeAnswer>) => this.#answered(seatOf(), data);
    worker.onerror = () => this.#died(seatOf());
    return worker;
  }

  #answered(seat: Seat, answer: DecodeAnswer): void {
    const task = seat.task;
    seat.task = null;
    seat.proven = true;
    if (task && "pixels" in answer) task.resolve(answer.pixels);
    else if (task && "message" in answer) task.reject(new DecodeError(answer.message));
    this.#serve();
  }

  #died(seat: Seat): void {
    seat.worker.terminate();
    seat.task?.reject(new DecodeError("The decoder stopped."));
    seat.task = null;
    if (seat.proven) seat.worker = this.#hire(() => seat);
    else this.#seats = this.#seats.filter((other) => other !== seat); // hiring again would only loop
    this.#serve();
  }
}
