/** Decoded pixels in the two forms the renderers draw: 16-bit stored values, or 8-bit colour. */

export interface GreyPixels {
  readonly kind: "grey";
  readonly width: number;
  readonly height: number;
  /** Stored values, row by row; two's complement where `signed`. */
  readonly data: Uint16Array<ArrayBuffer>;
  readonly signed: boolean;
  /** Least and greatest stored value. */
  readonly least: number;
  readonly most: number;
}

export interface ColourPixels {
  readonly kind: "colour";
  readonly width: number;
  readonly height: number;
  /** RGBA, row by row. */
  readonly data: Uint8ClampedArray<ArrayBuffer>;
}

export type Pixels = GreyPixels | ColourPixels;

export interface SampleFormat {
  readonly width: number;
  readonly height: number;
  readonly bitsPerSample: number;
  readonly componentCount: number;
  readonly isSigned: boolean;
}

/**
 * Copy decoded samples out of the decoder's memory.
 *
 * @param bytes Samples interleaved, one byte each up to 8 bits, two bytes (little endian) up to 16. Three of a
 *   pixel are RGB: the server has turned YBR into that.
 * @param palette Of a PALETTE COLOR image, whose samples are places in it.
 * @throws Error where samples have more than 16 bits or are neither 1 nor 3 per pixel.
 */
export function pixelsOf(format: SampleFormat, bytes: Uint8Array, palette: Palette | null = null): Pixels {
  const { width, height, bitsPerSample, componentCount } = format;
  if (bitsPerSample > 16) throw new Error(`${bitsPerSample} bits a sample, at most 16 can be shown`);
  const count = width * height * componentCount;
  const samples = readSamples(bytes, count, bitsPerSample, format.isSigned);
  if (componentCount === 1 && palette) return lookedUp(samples, width, height, palette);
  if (componentCount === 1) return greyOf(samples, width, height, format.isSigned);
  if (componentCount !== 3) throw new Error(`${componentCount} samples a pixel, only 1 or 3 can be shown`);
  return colourOf(samples, width, height, bitsPerSample);
}

/** Colours in 8 bits, R, G and B one behind the other; `first` is the sample that stands for the first of them. */
export interface Palette {
  readonly first: number;
  /** As base64. */
  readonly colours: string;
}

type Samples = Int8Array | Uint8Array | Int16Array | Uint16Array;

function readSamples(bytes: Uint8Array, count: number, bits: number, signed: boolean): Samples {
  const size = bits > 8 ? 2 : 1;
  if (bytes.length < count * size) throw new Error("fewer samples than rows and columns promise");
  const own = bytes.slice(0, count * size).buffer;
  if (size === 2) return signed ? new Int16Array(own) : new Uint16Array(own);
  return signed ? new Int8Array(own) : new Uint8Array(own);
}

function greyOf(samples: Samples, width: number, height: number, signed: boolean): GreyPixels {
  let least = Number.POSITIVE_INFINITY;
  let most = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < samples.length; i++) {
    const value = samples[i] as number;
    if (value < least) least = value;
    if (value > most) most = value;
  }
  const sixteen = samples.BYTES_PER_ELEMENT === 2;
  const data = sixteen ? new Uint16Array(samples.buffer as ArrayBuffer) : Uint16Array.from(samples);
  return { kind: "grey", width, height, data, signed, least, most };
}

/** Samples below the table show its first colour, those above its last (PS3.3 C.7.6.3.1.5). */
function lookedUp(
  samples: Samples,
  width: number,
  height: number,
  { first, colours }: Palette,
): ColourPixels {
  const table = Uint8Array.from(atob(colours), (letter) => letter.charCodeAt(0));
  const last = table.length / 3 - 1;
  const data = new Uint8ClampedArray(width * height * 4);
  for (let i = 0, to = 0; i < samples.length; i++, to += 4) {
    const from = 3 * Math.min(Math.max((samples[i] as number) - first, 0), last);
    data[to] = table[from] as number;
    data[to + 1] = table[from + 1] as number;
    data[to + 2] = table[from + 2] as number;
    data[to + 3] = 255;
  }
  return { kind: "colour", width, height, data };
}

function colourOf(samples: Samples, width: number, height: number, bits: number): ColourPixels {
  const data = new Uint8ClampedArray(width * height * 4);
  const scale = 255 / (2 ** bits - 1);
  for (let from = 0, to = 0; to < data.length; from += 3, to += 4) {
    data[to] = (samples[from] as number) * scale;
    data[to + 1] = (samples[from + 1] as number) * scale;
    data[to + 2] = (samples[from + 2] as number) * scale;
    data[to + 3] = 255;
  }
  return { kind: "colour", width, height, data };
}
