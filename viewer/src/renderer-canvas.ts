/** The window by a table of 65,536 greys, for browsers without WebGL2. */
import type { GreyPixels, Pixels } from "./pixels.js";
import type { Look, Renderer } from "./renderer.js";
import type { Placement } from "./viewport.js";
import { grey } from "./window.js";

export class CanvasRenderer implements Renderer {
  readonly kind = "canvas2d";
  readonly #table = new Uint8ClampedArray(65536);
  readonly #sheet = document.createElement("canvas");
  #image: ImageData | null = null;

  constructor(
    private readonly canvas: HTMLCanvasElement,
    private readonly context: CanvasRenderingContext2D,
  ) {}

  draw(pixels: Pixels, look: Look, placement: Placement, ratio: number): void {
    const image = this.#imageFor(pixels);
    if (pixels.kind === "grey") this.#shade(pixels, look, image.data);
    else copyColours(pixels.data, image.data, look.invert);
    this.#sheet.getContext("2d")?.putImageData(image, 0, 0);
    const { x, y, columnPx, rowPx } = placement;
    this.context.fillStyle = "#000";
    this.context.fillRect(0, 0, this.canvas.width, this.canvas.height);
    this.context.imageSmoothingQuality = "high";
    const width = pixels.width * columnPx * ratio;
    this.context.drawImage(this.#sheet, x * ratio, y * ratio, width, pixels.height * rowPx * ratio);
  }

  close(): void {
    this.#image = null;
  }

  #imageFor({ width, height }: Pixels): ImageData {
    if (this.#image?.width !== width || this.#image.height !== height) {
      this.#sheet.width = width;
      this.#sheet.height = height;
      this.#image = new ImageData(width, height);
    }
    return this.#image;
  }

  #shade(pixels: GreyPixels, look: Look, out: Uint8ClampedArray): void {
    const offset = pixels.signed ? 65536 : 0;
    for (let raw = pixels.least; raw <= pixels.most; raw++) {
      const shade = grey(raw * look.slope + look.intercept, look.ramp) * 255;
      this.#table[raw < 0 ? raw + offset : raw] = look.invert ? 255 - shade : shade;
    }
    const { data } = pixels;
    for (let from = 0, to = 0; from < data.length; from++, to += 4) {
      const shade = this.#table[data[from] as number] as number;
      out[to] = shade;
      out[to + 1] = shade;
      out[to + 2] = shade;
      out[to + 3] = 255;
    }
  }
}

function copyColours(from: Uint8ClampedArray, to: Uint8ClampedArray, invert: boolean): void {
  for (let i = 0; i < from.length; i++) {
    const value = from[i] as number;
    to[i] = invert && i % 4 !== 3 ? 255 - value : value;
  }
}
