/**
 * Draws one decoded frame: by WebGL2 on a GPU, on a 2D canvas elsewhere.
 *
 * WebGL2 done in software draws 13 images a second where the 2D canvas draws 60 (412x700 px, two busy cores),
 * so a browser without a GPU gets the canvas. `?renderer=webgl2` in the address overrules that, for tests on
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
  const isForced = new URLSearchParams(location.search).get("renderer") === "webgl2";
  const gl = isForced || hasGpu() ? canvas.getContext("webgl2", WISHES) : null;
  if (gl) return new WebglRenderer(canvas, gl, onRestored);
  const context = canvas.getContext("2d", { alpha: false });
  if (!context) throw new Error("This browser can draw neither with WebGL2 nor on a 2D canvas.");
  return new CanvasRenderer(canvas, context);
}

const WISHES: WebGLContextAttributes = { alpha: false, antialias: false, depth: false };
const SOFTWARE = /swiftshader|llvmpipe|softpipe|software|basic render/i;

let gpu: boolean | null = null;

/** Asked once, for it costs a context, and phones allow few. */
function hasGpu(): boolean {
  gpu ??= findGpu();
  return gpu;
}

/** Asked on a canvas of its own, because one that has given a WebGL context never gives a 2D one. */
function findGpu(): boolean {
  const attributes = { ...WISHES, failIfMajorPerformanceCaveat: true };
  const gl: WebGL2RenderingContext | null = document.createElement("canvas").getContext("webgl2", attributes);
  if (!gl) return false;
  const names = gl.getExtension("WEBGL_debug_renderer_info"); // not every browser heeds the caveat
  const name: unknown = gl.getParameter(names ? names.UNMASKED_RENDERER_WEBGL : gl.RENDERER);
  gl.getExtension("WEBGL_lose_context")?.loseContext();
  return !SOFTWARE.test(String(name));
}
