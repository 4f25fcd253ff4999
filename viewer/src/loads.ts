/** What was fetched and is held, as `radloopStats()` tells it. */

export interface Heap {
  /** Frames as they came, and as they are drawn; bytes. */
  readonly compressed: number;
  readonly decoded: number;
}

export interface LoadStats {
  /** Bytes of frames received and requests sent for them, those that were cut included. */
  readonly bytes: number;
  readonly requests: number;
  /** `wasm`: the memory of the decoders. */
  readonly heap: Heap & { readonly wasm: number };
  /** The longest task of the page's own thread in milliseconds, 0 where none took over 50. */
  readonly longest: number;
}

const NOTHING = { bytes: 0, requests: 0, longest: 0 };
const counted = { ...NOTHING };
const heaps = new Set<() => Heap>();
let wasmBytes: () => number = () => 0;

export function countRequest(): void {
  counted.requests++;
}

export function countBytes(bytes: number): void {
  counted.bytes += bytes;
}

/** Have `read` asked for what it holds, until the function that is given back is called. */
export function watchHeap(read: () => Heap): () => void {
  heaps.add(read);
  return () => {
    heaps.delete(read);
  };
}

/** Have `read` asked for the memory of the decoders. */
export function watchWasm(read: () => number): void {
  wasmBytes = read;
}

/** See `tellStats`. */
export const loads = {
  read(): LoadStats {
    let compressed = 0;
    let decoded = 0;
    for (const read of heaps) {
      const heap = read();
      compressed += heap.compressed;
      decoded += heap.decoded;
    }
    return { ...counted, heap: { compressed, decoded, wasm: wasmBytes() } };
  },
  reset(): void {
    Object.assign(counted, NOTHING);
  },
};

/** Note how long tasks of the page's own thread take, where the browser tells. */
export function watchTasks(): void {
  if (!PerformanceObserver.supportedEntryTypes?.includes("longtask")) return;
  new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries()) counted.longest = Math.max(counted.longest, duration);
  }).observe({ type: "longtask" });
}
