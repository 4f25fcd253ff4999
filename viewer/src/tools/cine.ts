/**
 * Cine: the series as a film, from its end to its beginning again. It stops as soon as the image is touched.
 *
 * `Cine` counts time and knows no clock of its own, so that it can be tested without a screen.
 */

export const LEAST_FPS = 1;
export const MOST_FPS = 60;
const FIRST_FPS = 15;
/** Films by nature, and they play when they are opened, unless the reader wants nothing to move. */
const FILMS = new Set(["US", "IVUS", "XA", "RF", "ES"]);
const LEAST_FRAMES = 8;

export class Cine {
  #fps = FIRST_FPS;
  #playing = false;
  #before = 0;
  #owed = 0;

  get fps(): number {
    return this.#fps;
  }

  set fps(fps: number) {
    this.#fps = Math.min(Math.max(Math.round(fps), LEAST_FPS), MOST_FPS);
  }

  get isPlaying(): boolean {
    return this.#playing;
  }

  play(now: number): void {
    this.#playing = true;
    this.#before = now;
    this.#owed = 0;
  }

  pause(): void {
    this.#playing = false;
  }

  /** How many slices to go on by at `now`; the rest is owed. After a stall it goes on, it does not race. */
  due(now: number): number {
    if (!this.#playing) return 0;
    this.#owed = Math.min(this.#owed + ((now - this.#before) * this.#fps) / 1000, 2);
    this.#before = now;
    const slices = Math.floor(this.#owed + 1e-6);
    this.#owed -= slices;
    return slices;
  }
}

/** Whether a series plays when it is opened. */
export function playsItself(modality: string | null, frames: number, wantsStillness: boolean): boolean {
  return !wantsStillness && frames >= LEAST_FRAMES && FILMS.has(modality ?? "");
}
