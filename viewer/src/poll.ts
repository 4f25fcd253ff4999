/** Ask again and again, politely: not while nobody looks, and less often while the server fails. */

const SLOWEST_MS = 60_000;

/**
 * Run `task` now and every `intervalMs()` until `signal` aborts.
 *
 * A failing task is told to `onError` and doubles the wait, up to a minute. A hidden page asks nothing; it
 * asks at once when it is seen again.
 */
export async function poll(
  task: () => Promise<void>,
  intervalMs: () => number,
  onError: (error: unknown) => void,
  signal: AbortSignal,
): Promise<void> {
  let failures = 0;
  while (!signal.aborted) {
    try {
      await task();
      failures = 0;
    } catch (error) {
      if (signal.aborted) return;
      failures++;
      onError(error);
    }
    await pause(Math.min(intervalMs() * 2 ** failures, SLOWEST_MS), signal);
    await seen(signal);
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
  });
}

function seen(signal: AbortSignal): Promise<void> {
  if (document.visibilityState === "visible") return Promise.resolve();
  return new Promise((resolve) => {
    const done = (): void => {
      if (document.visibilityState !== "visible" && !signal.aborted) return;
      document.removeEventListener("visibilitychange", done);
      signal.removeEventListener("abort", done);
      resolve();
    };
    document.addEventListener("visibilitychange", done);
    signal.addEventListener("abort", done);
  });
}
