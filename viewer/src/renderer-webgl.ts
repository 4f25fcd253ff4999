/**
 * The window in a shader.
 *
 * Stored values travel as R16UI, signed ones reinterpreted in the shader. Integer textures cannot be filtered
 * and norm16 and float filtering are not everywhere, so the four neighbours are fetched and mixed by hand;
 * where several pixels fall on one, up to 4x4 such samples are averaged.
 */
import type { Pixels } from "./pixels.js";
import type { Look, Renderer } from "./renderer.js";
import { inverse, type Placement } from "./viewport.js";

const VERTEX = `#version 300 es
void main() {
  vec2 corner = vec2(float((gl_VertexID << 1) & 2), float(gl_VertexID & 2));
  gl_Position = vec4(corner * 2.0 - 1.0, 0.0, 1.0);
}`;

const FRAGMENT = `#version 300 es
precision highp float;
precision highp int;
precision highp usampler2D;
uniform usampler2D values;
uniform highp sampler2D colours;
uniform bool colour;
uniform bool isSigned;
uniform bool invert;
uniform vec2 size;      // columns, rows
uniform vec4 linear;    // image pixels per device pixel: how far a step to the right and one down go
uniform vec2 origin;    // where the view's corner is in the image
uniform float viewHeight;
uniform vec2 rescale;   // slope, intercept
uniform vec2 ramp;      // low, 1 / range
uniform bool sigmoid;
out vec4 result;

float valueAt(ivec2 at) {
  uint raw = texelFetch(values, clamp(at, ivec2(0), ivec2(size) - 1), 0).r;
  return isSigned ? float(int(raw << 16u) >> 16) : float(raw);
}

vec3 pixelAt(ivec2 at) {
  if (colour) return texelFetch(colours, clamp(at, ivec2(0), ivec2(size) - 1), 0).rgb;
  return vec3(valueAt(at) * rescale.x + rescale.y);
}

vec3 mixed(vec2 at) {
  vec2 corner = floor(at - 0.5);
  vec2 part = at - 0.5 - corner;
  ivec2 base = ivec2(corner);
  vec3 upper = mix(pixelAt(base), pixelAt(base + ivec2(1, 0)), part.x);
  vec3 lower = mix(pixelAt(base + ivec2(0, 1)), pixelAt(base + ivec2(1, 1)), part.x);
  return mix(upper, lower, part.y);
}

void main() {
  vec2 screen = vec2(gl_FragCoord.x, viewHeight - gl_FragCoord.y);
  mat2 back = mat2(linear.xy, linear.zw);
  vec2 at = back * screen + origin;
  if (any(lessThan(at, vec2(0.0))) || any(greaterThan(at, size))) {
    result = vec4(0.0, 0.0, 0.0, 1.0);
    return;
  }
  vec2 pace = vec2(length(back[0]), length(back[1]));
  ivec2 taps = clamp(ivec2(ceil(pace - 0.5)), ivec2(1), ivec2(4));
  vec3 sum = vec3(0.0);
  for (int y = 0; y < taps.y; y++) {
    for (int x = 0; x < taps.x; x++) {
      vec2 offset = (vec2(float(x), float(y)) + 0.5) / vec2(taps) - 0.5;
      sum += mixed(at + back * offset);
    }
  }
  vec3 shade = sum / float(taps.x * taps.y);
  if (!colour) {
    vec3 part = (shade - ramp.x) * ramp.y;
    shade = sigmoid ? 1.0 / (1.0 + exp(2.0 - 4.0 * part)) : clamp(part, 0.0, 1.0);
  }
  result = vec4(invert ? 1.0 - shade : shade, 1.0);
}`;

const UNIFORMS = [
  "values",
  "colours",
  "colour",
  "isSigned",
  "invert",
  "size",
  "linear",
  "origin",
  "viewHeight",
  "rescale",
  "ramp",
  "sigmoid",
] as const;
type Uniforms = Record<(typeof UNIFORMS)[number], WebGLUniformLocation | null>;

export class WebglRenderer implements Renderer {
  readonly kind = "webgl2";
  #uniforms: Uniforms | null = null;
  #uploaded: Pixels | null = null;
  readonly #listeners = new AbortController();

  constructor(
    private readonly canvas: HTMLCanvasElement,
    private readonly gl: WebGL2RenderingContext,
    onRestored: () => void,
  ) {
    this.#prepare();
    const { signal } = this.#listeners;
    canvas.addEventListener("webglcontextlost", (event) => event.preventDefault(), { signal });
    canvas.addEventListener(
      "webglcontextrestored",
      () => {
        this.#prepare();
        onRestored();
      },
      { signal },
    );
  }

  draw(pixels: Pixels, look: Look, placement: Placement, ratio: number): void {
    const { gl } = this;
    const uniforms = this.#uniforms;
    if (!uniforms || gl.isContextLost()) return;
    if (pixels !== this.#uploaded) this.#upload(pixels);
    gl.viewport(0, 0, this.canvas.width, this.canvas.height);
    gl.uniform1i(uniforms.colour, pixels.kind === "colour" ? 1 : 0);
    gl.uniform1i(uniforms.isSigned, pixels.kind === "grey" && pixels.signed ? 1 : 0);
    gl.uniform1i(uniforms.invert, look.invert ? 1 : 0);
    gl.uniform2f(uniforms.size, pixels.width, pixels.height);
    const { a, b, c, d, x, y } = inverse(placement);
    gl.uniform4f(uniforms.linear, a / ratio, b / ratio, c / ratio, d / ratio);
    gl.uniform2f(uniforms.origin, x, y);
    gl.uniform1f(uniforms.viewHeight, this.canvas.height);
    gl.uniform2f(uniforms.rescale, look.slope, look.intercept);
    gl.uniform2f(uniforms.ramp, look.ramp.low, 1 / look.ramp.range);
    gl.uniform1i(uniforms.sigmoid, look.ramp.curve === "sigmoid" ? 1 : 0);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }

  close(): void {
    this.#listeners.abort();
    this.gl.getExtension("WEBGL_lose_context")?.loseContext(); // phones allow few contexts at once
  }

  #prepare(): void {
    const { gl } = this;
    const program = link(gl);
    if (!program) return; // lost again already: the next restoration prepares anew
    gl.useProgram(program);
    const entries = UNIFORMS.map((name) => [name, gl.getUniformLocation(program, name)]);
    this.#uniforms = Object.fromEntries(entries) as Uniforms;
    this.#uploaded = null;
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    gl.uniform1i(this.#uniforms.values, 0);
    gl.uniform1i(this.#uniforms.colours, 1);
    for (const unit of [gl.TEXTURE0, gl.TEXTURE1]) {
      gl.activeTexture(unit);
      gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
      for (const filter of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) {
        gl.texParameteri(gl.TEXTURE_2D, filter, gl.NEAREST);
      }
    }
  }

  #upload(pixels: Pixels): void {
    const { gl } = this;
    const { width, height, data } = pixels;
    if (pixels.kind === "grey") {
      gl.activeTexture(gl.TEXTURE0);
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.R16UI, width, height, 0, gl.RED_INTEGER, gl.UNSIGNED_SHORT, data);
    } else {
      gl.activeTexture(gl.TEXTURE1);
      const bytes = new Uint8Array(data.buffer);
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, width, height, 0, gl.RGBA, gl.UNSIGNED_BYTE, bytes);
    }
    this.#uploaded = pixels;
  }
}

function link(gl: WebGL2RenderingContext): WebGLProgram | null {
  const program = gl.createProgram();
  for (const [type, source] of [
    [gl.VERTEX_SHADER, VERTEX],
    [gl.FRAGMENT_SHADER, FRAGMENT],
  ] as const) {
    const shader = gl.createShader(type);
    if (!shader) return null;
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (gl.getProgramParameter(program, gl.LINK_STATUS)) return program;
  if (gl.isContextLost()) return null;
  throw new Error(`The shader does not link: ${gl.getProgramInfoLog(program)}`);
}
