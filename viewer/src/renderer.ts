/**
 * Draws one decoded frame: by WebGL2 on a GPU, on a 2D canvas elsewhere.
 *
 * WebGL2 done in software draws 13 images a second where the 2D canvas draws 60 (412x700 px, two busy cores),
 * so a browser that warns of it gets the canvas. `?renderer=webgl2` in the address overrules that, for tests on
 * machines without a GPU. Both get the same numbers; nothing is allocated per frame.
 */

import type { Pixels } from "./pixels.js";
import { CanvasRenderer } from "./renderer-canvas.js";
import { WebglRenderer } from "./renderer-webgl.js";
import type { Placement } from "./viewport.js";
import type { Ramp } from "./window.js";

/** How stored values become grey: value * slope + intercept, then the ramp, then perhaps inverted. */
export interface Look {
  readonly slope: number;
  readonly intercept: number;
  readonly ramp: Ramp;
  readonly invert: boolean;
}

export interface Renderer {
  readonly kind: "webgl2" | "canvas2d";
  /**
   * @param placement In CSS pixels.
   * @param ratio Device pixels in one CSS pixel; the canvas already has its size in device pixels.
   */
  draw(pixels: Pixels, look: Look, placement: Placement, ratio: number): void;
  close(): void;
}

/**
 * @param onRestored Called when a lost graphics context has come back and everything must be drawn again.
 */
export function rendererFor(canvas: HTMLCanvasElement, onRestored: () => void): Renderer {
  const failIfMajorPerformanceCaveat = new URLSearchParams(location.search).get("renderer") !== "webgl2";
  const wishes: WebGLContextAttributes = {
    alpha: false,
    antialias: false,
    depth: false,
    failIfMajorPerformanceCaveat,
  };
  const gl = canvas.getContext("webgl2", wishes);
  if (gl) return new WebglRenderer(canvas, gl, onRestored);
  const context = canvas.getContext("2d", { alpha: false });
  if (!context) throw new Error("This browser can draw neither with WebGL2 nor on a 2D canvas.");
  return new CanvasRenderer(canvas, context);
}
