/**
 * From pointers to intentions.
 *
 * A finger scrolls with inertia (in window mode, or after a long press, it sets the window), two zoom and pan,
 * a double tap fits. Of a mouse the left button sets the window, the right one zooms, the middle one pans.
 * A `Grip`, such as a measuring tool, is asked first and may take a single pointer for itself.
 *
 * `Gestures` is plain state over plain numbers, so that every gesture can be tested without a screen;
 * `listen` feeds it from an element.
 */

export type DragMode = "scroll" | "window";
export type PointerKind = "mouse" | "touch";

/** What a pointer does, in CSS pixels and milliseconds. */
export interface Pointer {
  readonly id: number;
  readonly x: number;
  readonly y: number;
  readonly t: number;
  /** 0 finger, pen or left button, 1 middle, 2 right. */
  readonly button: number;
  /** A pen counts as a finger. */
  readonly kind: PointerKind;
}

export interface Intentions {
  scroll(dy: number): void;
  /** The finger left with this speed, in pixels per millisecond. */
  fling(speed: number): void;
  window(dx: number, dy: number): void;
  pan(dx: number, dy: number): void;
  zoom(factor: number, x: number, y: number): void;
  fit(): void;
  /** A long press has begun: this drag sets the window. Over with `false`. */
  held(isHeld: boolean): void;
}

/** Something that may take pointers before they scroll: `down` and `tap` say whether it did. */
export interface Grip {
  down(pointer: Pointer): boolean;
  move(pointer: Pointer): void;
  up(pointer: Pointer): void;
  /** A second finger has come: what the first one began is void. */
  cancel(): void;
  /** A mouse moves with no button down. */
  hover?(pointer: Pointer): void;
  tap(pointer: Pointer): boolean;
}

const TAP_MS = 250;
const TAP_PX = 10;
const DOUBLE_TAP_MS = 320;
const DOUBLE_TAP_PX = 32;
/** A finger that stays this long means the window. */
export const LONG_PRESS_MS = 450;
/** The speed of a fling is that of the last moments, not of the whole drag. */
const SPEED_MS = 80;
const ZOOM_PX = 160; // of a right-drag, for a factor of e

interface Track {
  readonly pointer: Pointer;
  x: number;
  y: number;
  wandered: boolean;
}

type Drag = DragMode | "pan" | "zoom";

export class Gestures {
  /** What one pointer of each kind does. */
  readonly modes: Record<PointerKind, DragMode> = { mouse: "window", touch: "scroll" };
  grip: Grip | null = null;
  readonly #tracks: Track[] = [];
  readonly #trail: { y: number; t: number }[] = [];
  #pinched = false;
  #gripped = false;
  #held = false;
  #lastTap = { x: 0, y: 0, t: Number.NEGATIVE_INFINITY };

  constructor(private readonly intentions: Intentions) {}

  get touching(): boolean {
    return this.#tracks.length > 0;
  }

  down(pointer: Pointer): void {
    const { x, y, t } = pointer;
    this.#tracks.push({ pointer, x, y, wandered: false });
    if (this.#tracks.length > 1) {
      this.#pinched = true;
      this.#letGo();
      return;
    }
    this.#pinched = false;
    this.#trail.length = 0;
    this.#trail.push({ y, t });
    this.#gripped = this.grip?.down(pointer) ?? false;
  }

  move(pointer: Pointer): void {
    const { id, x, y, t } = pointer;
    const track = this.#tracks.find((candidate) => candidate.pointer.id === id);
    if (!track) {
      if (pointer.kind === "mouse") this.grip?.hover?.(pointer);
      return;
    }
    const start = track.pointer;
    if (Math.hypot(x - start.x, y - start.y) > TAP_PX) track.wandered = true;
    const other = this.#tracks.find((candidate) => candidate !== track);
    if (other) this.#pinch(track, other, x, y);
    else if (this.#gripped) this.grip?.move(pointer);
    else if (!this.#pinched) this.#drag(track, x - track.x, y - track.y, y, t);
    track.x = x;
    track.y = y;
  }

  up(pointer: Pointer): void {
    const { id, t } = pointer;
    const track = this.#take(id);
    if (!track || this.#pinched) return;
    if (this.#gripped) {
      this.#gripped = false;
      this.grip?.up(pointer);
      return;
    }
    const wasHeld = this.#held;
    this.#unhold();
    if (!track.wandered && !wasHeld && t - track.pointer.t < TAP_MS) this.#tap(track.pointer, t);
    else if (!wasHeld && this.#kind(track.pointer) === "scroll") this.intentions.fling(this.#speed(t));
  }

  cancel(id: number): void {
    if (this.#take(id)) this.#letGo();
  }

  /** To be called `LONG_PRESS_MS` after a pointer went down; does nothing where it has wandered since. */
  hold({ id, t }: Pointer): void {
    const track = this.#tracks[0];
    if (track?.pointer.id !== id || track.pointer.t !== t || this.#tracks.length > 1) return;
    if (track.wandered || this.#gripped || this.#pinched || track.pointer.kind === "mouse") return;
    this.#held = true;
    this.intentions.held(true);
  }

  #take(id: number): Track | undefined {
    const at = this.#tracks.findIndex((track) => track.pointer.id === id);
    return at < 0 ? undefined : this.#tracks.splice(at, 1)[0];
  }

  #letGo(): void {
    if (this.#gripped) this.grip?.cancel();
    this.#gripped = false;
    this.#unhold();
  }

  #unhold(): void {
    if (!this.#held) return;
    this.#held = false;
    this.intentions.held(false);
  }

  #kind({ button, kind }: Pointer): Drag {
    if (button === 1) return "pan";
    if (button === 2) return "zoom";
    return this.#held ? "window" : this.modes[kind];
  }

  #drag({ pointer }: Track, dx: number, dy: number, y: number, t: number): void {
    const kind = this.#kind(pointer);
    if (kind === "pan") this.intentions.pan(dx, dy);
    else if (kind === "zoom") this.intentions.zoom(Math.exp(-dy / ZOOM_PX), pointer.x, pointer.y);
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

  #tap(pointer: Pointer, t: number): void {
    if (pointer.button !== 0 || this.grip?.tap(pointer)) return;
    const { x, y } = pointer;
    const last = this.#lastTap;
    const near = Math.hypot(x - last.x, y - last.y) < DOUBLE_TAP_PX;
    const isSecond = near && t - last.t < DOUBLE_TAP_MS;
    this.#lastTap = { x, y, t: isSecond ? Number.NEGATIVE_INFINITY : t };
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
    return {
      id: event.pointerId,
      x: event.clientX - box.left,
      y: event.clientY - box.top,
      t: event.timeStamp,
      button: Math.max(event.button, 0),
      kind: event.pointerType === "mouse" ? "mouse" : "touch",
    };
  };
  const on = (name: "pointerdown" | "pointermove" | "pointerup", act: (event: PointerEvent) => void): void =>
    element.addEventListener(name, act, { signal });
  on("pointerdown", (event) => {
    element.setPointerCapture(event.pointerId);
    const came = pointer(event);
    gestures.down(came);
    setTimeout(() => gestures.hold(came), LONG_PRESS_MS);
  });
  on("pointermove", (event) => gestures.move(pointer(event)));
  on("pointerup", (event) => gestures.up(pointer(event)));
  element.addEventListener("pointercancel", (event) => gestures.cancel(event.pointerId), { signal });
  element.addEventListener("contextmenu", (event) => event.preventDefault(), { signal });
}
