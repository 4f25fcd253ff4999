/** The way to the queue of findings that are not sent yet, which no first image waits for. */
import type { Queue } from "./queue.js";

type Loaded = typeof import("./waiting.js");

const LATER_MS = 1500;

let person: string | null = null;
let loading: Promise<Loaded> | null = null;
let loaded: Loaded | null = null;
let told: (queue: Queue) => void = () => {};

/** The queue of who is signed in, with what they left here; loaded at the first call. */
export function loadPending(): Promise<Loaded> {
  loading ??= import("./waiting.js").then(
    async (found) => {
      loaded = found;
      found.waiting.watch(() => told(found.waiting), new AbortController().signal);
      await found.waiting.enter(person);
      return found;
    },
    (error: unknown) => {
      loading = null; // the connection broke: the next call tries again
      throw error;
    },
  );
  return loading;
}

/** Have `listener` told whenever what waits is another than before. */
export function whenPending(listener: (queue: Queue) => void): void {
  told = listener;
}

/** The queue, as far as it is loaded. */
export function pendingNow(): Queue | null {
  return loaded?.waiting ?? null;
}

/** Somebody is signed in, or with null nobody is any more. What they left here is looked for in a moment. */
export function pendingOf(who: string | null): void {
  person = who;
  if (loaded) void loaded.waiting.enter(who);
  else if (who !== null) setTimeout(() => void loadPending().catch(() => {}), LATER_MS);
}
