/** How one image lies in its view, and stays there while the view changes its size. */
import * as viewport from "./viewport.js";

/** Zooming out ends at this share of the size at which the whole image is seen. */
const LEAST_OF_FIT = 0.5;

export class Camera {
  #turn = viewport.UPRIGHT;
  #placement: viewport.Placement | null = null;
  #isFitted = true;
  #image: viewport.Size = { width: 1, height: 1 };
  #aspect = 1;

  /** @param view Tells the size of the view in CSS pixels. */
  constructor(private readonly view: () => viewport.Size) {}

  get turn(): viewport.Turn {
    return this.#turn;
  }

  /** Null before the first image. */
  get placement(): viewport.Placement | null {
    return this.#placement;
  }

  /** The whole image is shown, and will be after the view has changed its size. */
  get isFitted(): boolean {
    return this.#isFitted;
  }

  /**
   * Where the image that is drawn next lies.
   *
   * @param image Columns and rows.
   * @param aspect Height of a pixel divided by its width.
   */
  placementFor(image: viewport.Size, aspect: number): viewport.Placement {
    this.#image = image;
    this.#aspect = aspect;
    if (this.#isFitted || !this.#placement) this.#placement = this.#fit();
    return this.#placement;
  }

  turnBy(turn: viewport.Turn): void {
    this.#turn = viewport.turned(this.#turn, turn);
    if (this.#placement) this.#placement = viewport.turnedInView(this.#placement, turn, this.view());
  }

  zoom(factor: number, x: number, y: number): void {
    if (!this.#placement) return;
    const least = viewport.scaleOf(this.#fit()) * LEAST_OF_FIT;
    this.place(viewport.zoomAbout(this.#placement, factor, x, y, least));
  }

  pan(dx: number, dy: number): void {
    if (!this.#placement) return;
    this.place(viewport.panBy(this.#placement, dx, dy, this.view(), this.#image));
  }

  /** Show the whole image, from the next drawing on. */
  fit(): void {
    this.#isFitted = true;
  }

  place(placement: viewport.Placement): void {
    this.#placement = placement;
    this.#isFitted = false;
  }

  /** Upright and whole. */
  reset(): void {
    this.#turn = viewport.UPRIGHT;
    this.fit();
  }

  #fit(): viewport.Placement {
    return viewport.fitted(this.view(), this.#image, this.#aspect, this.#turn);
  }
}
