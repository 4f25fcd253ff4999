/** The window by a table of 65,536 greys, for browsers without WebGL2. */
import type { GreyPixels, Pixels } from "./pixels.js";
import type { Look, Renderer } from "./renderer.js";
import type { Placement } from "./viewport.js";
import { grey } from "./window.js";

const OPAQUE = 0xff000000;

export class CanvasRenderer implements Renderer {
  readonly kind = "canvas2d";
  readonly #table = new Uint32Array(65536); // whole RGBA pixels: one write each instead of four
  readonly #sheet = document.createElement("canvas");
  #image: ImageData | null = null;
  #shaded: { readonly pixels: Pixels; readonly look: Look } | null = null;

  constructor(
    private readonly canvas: HTMLCanvasElement,
    private readonly context: CanvasRenderingContext2D,
  ) {}

  draw(pixels: Pixels, look: Look, placement: Placement, ratio: number): void {
    this.#shadeAnew(pixels, look);
    const { context } = this;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = "#000";
    context.fillRect(0, 0, this.canvas.width, this.canvas.height);
    const { a, b, c, d, x, y } = placement;
    context.setTransform(a * ratio, b * ratio, c * ratio, d * ratio, x * ratio, y * ratio);
    // "high" softens what it enlarges: middles of pixels were up to 53 greys off. "low" mixes neighbours, as WebGL does.
    const isShrunk = Math.min(Math.hypot(a, b), Math.hypot(c, d)) * ratio < 1;
    context.imageSmoothingQuality = isShrunk ? "high" : "low";
    context.drawImage(this.#sheet, 0, 0);
  }

  close(): void {
    this.#image = null;
    this.#shaded = null;
    this.#sheet.width = 0;
  }

  /** A pan or a zoom draws the same greys in another place: nine million of them are better not made again. */
  #shadeAnew(pixels: Pixels, look: Look): void {
    if (this.#shaded?.pixels === pixels && isSame(this.#shaded.look, look)) return;
    const image = this.#imageFor(pixels);
    if (pixels.kind === "grey") this.#shade(pixels, look, new Uint32Array(image.data.buffer));
    else copyColours(pixels.data, image.data, look.invert);
    this.#sheet.getContext("2d")?.putImageData(image, 0, 0);
    this.#shaded = { pixels, look };
  }

  #imageFor({ width, height }: Pixels): ImageData {
    if (this.#image?.width !== width || this.#image.height !== height) {
      this.#sheet.width = width;
      this.#sheet.height = height;
      this.#image = new ImageData(width, height);
    }
    return this.#image;
  }

  #shade(pixels: GreyPixels, look: Look, out: Uint32Array): void {
    const offset = pixels.signed ? 65536 : 0;
    for (let raw = pixels.least; raw <= pixels.most; raw++) {
      const part = grey(raw * look.slope + look.intercept, look.ramp);
      const shade = Math.round((look.invert ? 1 - part : part) * 255);
      this.#table[raw < 0 ? raw + offset : raw] = OPAQUE + shade * 0x010101;
    }
    const { data } = pixels;
    for (let i = 0; i < data.length; i++) out[i] = this.#table[data[i] as number] as number;
  }
}

function isSame(one: Look, other: Look): boolean {
  return (
    one.slope === other.slope &&
    one.intercept === other.intercept &&
    one.invert === other.invert &&
    one.ramp.low === other.ramp.low &&
    one.ramp.range === other.ramp.range &&
    one.ramp.curve === other.ramp.curve
  );
}

function copyColours(from: Uint8ClampedArray, to: Uint8ClampedArray, invert: boolean): void {
  for (let i = 0; i < from.length; i++) {
    const value = from[i] as number;
    to[i] = invert && i % 4 !== 3 ? 255 - value : value;
  }
}
