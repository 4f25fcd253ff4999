/** Where a reader is in a series: the slice, the way it moves, and when it comes to rest. */
import { Inertia } from "./gestures.js";
import { REST_MS, type Reader } from "./scheduler.js";

/** The height of a wheel's notch, which is one slice however far it reaches. */
const NOTCH_PX = 40;
const LONGEST_STEP_MS = 50; // a glide goes on where a busy moment stopped it, it does not jump

export class Travel {
  readonly #inertia = new Inertia();
  #position: number; // in slices, with the fraction a slow finger needs
  #current: number;
  #direction: 1 | -1 = 1;
  #resting = true;
  #restTimer = 0;
  #lastStep = 0;
  #wheel = 0;

  /**
   * @param count Slices there are; the reader begins at the middle one.
   * @param onMove Called when the slice has changed, and when the reader has come to rest.
   */
  constructor(
    readonly count: number,
    private readonly onMove: () => void,
  ) {
    this.#current = Math.floor((count - 1) / 2);
    this.#position = this.#current;
  }

  get reader(): Reader {
    return { current: this.#current, direction: this.#direction, resting: this.#resting };
  }

  /** A glide is under way: `glide` wants to be called with each frame of the screen. */
  get gliding(): boolean {
    return this.#inertia.moving;
  }

  goTo(index: number): void {
    this.stop();
    this.#moveTo(index);
  }

  /** A finger has moved by `dy` pixels over a view of this height. */
  scroll(dy: number, viewHeight: number): void {
    // A small series moves by the thickness of a finger; a large one passes in one and a half views.
    const pxPerSlice = Math.min(Math.max((viewHeight * 1.5) / this.count, 2.5), 18);
    this.#moveTo(this.#position + dy / pxPerSlice);
  }

  /** A finger has left with this speed, in pixels per millisecond. */
  fling(speed: number): void {
    this.#inertia.start(speed);
    this.#lastStep = performance.now();
  }

  glide(now: number, viewHeight: number): void {
    this.scroll(this.#inertia.step(Math.min(now - this.#lastStep, LONGEST_STEP_MS)), viewHeight);
    this.#lastStep = now;
  }

  /** A wheel, or two fingers on a touchpad. */
  wheel({ deltaY, deltaMode }: WheelEvent): void {
    const travel = deltaMode === WheelEvent.DOM_DELTA_PIXEL ? deltaY : Math.sign(deltaY) * NOTCH_PX;
    this.#wheel += Math.min(Math.max(travel, -NOTCH_PX), NOTCH_PX);
    const slices = Math.trunc(this.#wheel / NOTCH_PX);
    this.#wheel -= slices * NOTCH_PX;
    if (slices) this.goTo(this.#current + slices);
  }

  /** End a glide. */
  stop(): void {
    this.#inertia.stop();
  }

  close(): void {
    this.stop();
    clearTimeout(this.#restTimer);
  }

  #moveTo(position: number): void {
    this.#position = Math.min(Math.max(position, 0), this.count - 1);
    if (position !== this.#position) this.stop();
    const index = Math.round(this.#position);
    if (index === this.#current) return;
    this.#direction = index > this.#current ? 1 : -1;
    this.#current = index;
    this.#resting = false;
    clearTimeout(this.#restTimer);
    this.#restTimer = window.setTimeout(() => this.#rest(), REST_MS);
    this.onMove();
  }

  #rest(): void {
    this.#resting = true;
    this.onMove();
  }
}
