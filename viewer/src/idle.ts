/**
 * Whoever leaves the page alone is signed out: a minute before they are asked, and any touch or key is an answer.
 *
 * All tabs of a browser share the sign-in, so what is done in one counts in all.
 */

const WARNING_MS = 60_000;
const BEAT_MS = 60_000;
const TICK_MS = 1_000;
const SHARED = "radloop-active";
const DOINGS = ["pointerdown", "pointermove", "keydown", "wheel", "touchstart"] as const;

export interface IdleHooks {
  /** So many milliseconds are left; told every second. */
  readonly warn: (leftMs: number) => void;
  /** Somebody is there after all. */
  readonly calm: () => void;
  readonly fire: () => void;
  /** Somebody has been doing something: once a minute, so that the server knows. */
  readonly beat: () => void;
}

/** The reckoning, without a page. Moments are milliseconds since 1970: a clock that goes on while a laptop sleeps. */
export class IdleClock {
  #last: number;
  #beaten: number;
  #warning = false;
  #fired = false;

  constructor(
    private readonly limitMs: number,
    private readonly hooks: IdleHooks,
    now: number,
  ) {
    this.#last = now;
    this.#beaten = now;
  }

  get isWarning(): boolean {
    return this.#warning;
  }

  /** Somebody did something at `at`, here or in another tab. Whoever comes too late is out already. */
  active(at: number): void {
    if (at - this.#last >= this.limitMs) this.tick(at);
    if (this.#fired || at <= this.#last) return;
    this.#last = at;
    if (this.#warning) {
      this.#warning = false;
      this.hooks.calm();
    }
    if (at - this.#beaten < BEAT_MS) return;
    this.#beaten = at;
    this.hooks.beat();
  }

  tick(now: number): void {
    if (this.#fired) return;
    const left = this.#last + this.limitMs - now;
    if (left <= 0) {
      this.#fired = true;
      this.hooks.fire();
    } else if (left <= Math.min(WARNING_MS, this.limitMs / 2)) {
      this.#warning = true;
      this.hooks.warn(left);
    }
  }
}

/** Watch the page until `signal` aborts. While the question is asked, moving over the page is no answer. */
export function watchIdle(minutes: number, hooks: IdleHooks, signal: AbortSignal): void {
  const clock = new IdleClock(minutes * 60_000, hooks, Date.now());
  let shared = 0;
  const done = (): void => {
    const now = Date.now();
    clock.active(now);
    if (now - shared < TICK_MS) return;
    shared = now;
    localStorage.setItem(SHARED, String(now));
  };
  const doing = (): void => {
    if (!clock.isWarning) done();
  };
  const tick = (): void => clock.tick(Date.now());
  for (const name of DOINGS) window.addEventListener(name, doing, { signal, passive: true, capture: true });
  for (const name of ["click", "keyup"]) window.addEventListener(name, done, { signal, capture: true });
  window.addEventListener(
    "storage",
    ({ key, newValue }) => {
      if (key === SHARED && newValue) clock.active(Number(newValue));
    },
    { signal },
  );
  for (const name of ["pageshow", "focus"]) window.addEventListener(name, tick, { signal });
  document.addEventListener("visibilitychange", tick, { signal });
  const timer = setInterval(tick, TICK_MS);
  signal.addEventListener("abort", () => clearInterval(timer));
  done();
}
