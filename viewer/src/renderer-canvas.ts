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

  constructor(
    private readonly canvas: HTMLCanvasElement,
    private readonly context: CanvasRenderingContext2D,
  ) {}

  draw(pixels: Pixels, look: Look, placement: Placement, ratio: number): void {
    const image = this.#imageFor(pixels);
    if (pixels.kind === "grey") this.#shade(pixels, look, new Uint32Array(image.data.buffer));
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

function copyColours(from: Uint8ClampedArray, to: Uint8ClampedArray, invert: boolean): void {
  for (let i = 0; i < from.length; i++) {
    const value = from[i] as number;
    to[i] = invert && i % 4 !== 3 ? 255 - value : value;
  }
}
