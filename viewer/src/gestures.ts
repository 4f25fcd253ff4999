/**
 * From pointers to intentions: one finger scrolls (or sets the window), two zoom and pan, a double tap fits.
 *
 * `Gestures` is plain state over plain numbers, so that every gesture can be tested without a screen;
 * `listen` feeds it from an element.
 */

export type DragMode = "scroll" | "window";

/** What a pointer does, in CSS pixels and milliseconds. */
export interface Pointer {
  readonly id: number;
  readonly x: number;
  readonly y: number;
  readonly t: number;
  /** 0 finger, pen or left button, 1 middle, 2 right. */
  readonly button: number;
}

export interface Intentions {
  scroll(dy: number): void;
  /** The finger left with this speed, in pixels per millisecond. */
  fling(speed: number): void;
  window(dx: number, dy: number): void;
  pan(dx: number, dy: number): void;
  zoom(factor: number, x: number, y: number): void;
  fit(): void;
}

const TAP_MS = 250;
const TAP_PX = 10;
const DOUBLE_TAP_MS = 320;
const DOUBLE_TAP_PX = 32;
/** The speed of a fling is that of the last moments, not of the whole drag. */
const SPEED_MS = 80;

interface Track {
  readonly id: number;
  readonly button: number;
  readonly startX: number;
  readonly startY: number;
  readonly startT: number;
  x: number;
  y: number;
  wandered: boolean;
}

export class Gestures {
  mode: DragMode = "scroll";
  readonly #tracks: Track[] = [];
  readonly #trail: { y: number; t: number }[] = [];
  #pinched = false;
  #lastTap = { x: 0, y: 0, t: Number.NEGATIVE_INFINITY };

  constructor(private readonly intentions: Intentions) {}

  get touching(): boolean {
    return this.#tracks.length > 0;
  }

  down({ id, x, y, t, button }: Pointer): void {
    this.#tracks.push({ id, button, startX: x, startY: y, startT: t, x, y, wandered: false });
    if (this.#tracks.length === 1) {
      this.#pinched = false;
      this.#trail.length = 0;
      this.#trail.push({ y, t });
    } else {
      this.#pinched = true;
    }
  }

  move({ id, x, y, t }: Pointer): void {
    const track = this.#tracks.find((candidate) => candidate.id === id);
    if (!track) return;
    const other = this.#tracks.find((candidate) => candidate.id !== id);
    if (other) this.#pinch(track, other, x, y);
    else if (!this.#pinched) this.#drag(track, x - track.x, y - track.y, y, t);
    track.x = x;
    track.y = y;
    if (Math.hypot(x - track.startX, y - track.startY) > TAP_PX) track.wandered = true;
  }

  up({ id, t }: Pointer): void {
    const track = this.#take(id);
    if (!track || this.#pinched) return;
    if (!track.wandered && t - track.startT < TAP_MS) this.#tap(track, t);
    else if (this.#kind(track.button) === "scroll") this.intentions.fling(this.#speed(t));
  }

  cancel(id: number): void {
    this.#take(id);
  }

  #take(id: number): Track | undefined {
    const at = this.#tracks.findIndex((track) => track.id === id);
    return at < 0 ? undefined : this.#tracks.splice(at, 1)[0];
  }

  #kind(button: number): DragMode | "pan" {
    if (button === 1) return "pan";
    if (button === 2) return this.mode === "window" ? "scroll" : "window";
    return this.mode;
  }

  #drag(track: Track, dx: number, dy: number, y: number, t: number): void {
    const kind = this.#kind(track.button);
    if (kind === "pan") this.intentions.pan(dx, dy);
    else if (kind === "window") this.intentions.window(dx, dy);
    else {
      this.#trail.push({ y, t });
      if (this.#trail.length > 16) this.#trail.shift();
      this.intentions.scroll(dy);
    }
  }

  #pinch(track: Track, other: Track, x: number, y: number): void {
    const before = Math.hypot(track.x - other.x, track.y - other.y);
    const after = Math.hypot(x - other.x, y - other.y);
    this.intentions.pan((x - track.x) / 2, (y - track.y) / 2);
    if (before > 0 && after > 0) {
      this.intentions.zoom(after / before, (x + other.x) / 2, (y + other.y) / 2);
    }
  }

  #tap(track: Track, t: number): void {
    if (track.button !== 0) return;
    const last = this.#lastTap;
    const near = Math.hypot(track.x - last.x, track.y - last.y) < DOUBLE_TAP_PX;
    const isSecond = near && t - last.t < DOUBLE_TAP_MS;
    this.#lastTap = { x: track.x, y: track.y, t: isSecond ? Number.NEGATIVE_INFINITY : t };
    if (isSecond) this.intentions.fit();
  }

  #speed(now: number): number {
    const first = this.#trail.find((point) => now - point.t <= SPEED_MS);
    const last = this.#trail.at(-1);
    if (!first || !last || last.t <= first.t) return 0;
    return (last.y - first.y) / (last.t - first.t);
  }
}

/** A fling that dies away: an exponential with this time constant, as on the phones themselves. */
const GLIDE_MS = 325;
const STANDSTILL = 0.02; // pixels per millisecond

export class Inertia {
  #speed = 0;

  get moving(): boolean {
    return this.#speed !== 0;
  }

  start(speed: number): void {
    this.#speed = Math.abs(speed) < STANDSTILL ? 0 : speed;
  }

  stop(): void {
    this.#speed = 0;
  }

  /** Pixels travelled in the next `ms` milliseconds. */
  step(ms: number): number {
    const before = this.#speed;
    const after = before * Math.exp(-ms / GLIDE_MS);
    this.#speed = Math.abs(after) < STANDSTILL ? 0 : after;
    return (before - after) * GLIDE_MS;
  }
}

/** Feed `gestures` from an element until `signal` aborts. */
export function listen(element: HTMLElement, gestures: Gestures, signal: AbortSignal): void {
  const pointer = (event: PointerEvent): Pointer => {
    const box = element.getBoundingClientRect();
    const button = Math.max(event.button, 0);
    return {
      id: event.pointerId,
      x: event.clientX - box.left,
      y: event.clientY - box.top,
      t: event.timeStamp,
      button,
    };
  };
  element.addEventListener(
    "pointerdown",
    (event) => {
      element.setPointerCapture(event.pointerId);
      gestures.down(pointer(event));
    },
    { signal },
  );
  element.addEventListener("pointermove", (event) => gestures.move(pointer(event)), { signal });
  element.addEventListener("pointerup", (event) => gestures.up(pointer(event)), { signal });
  element.addEventListener("pointercancel", (event) => gestures.cancel(event.pointerId), { signal });
  element.addEventListener("contextmenu", (event) => event.preventDefault(), { signal });
}
