/** Holds the volume and draws planes through it, away from the thread that answers fingers. */

import wasmUrl from "@cornerstonejs/codec-openjph/wasm?url";
import create, { type Codec, type HTJ2KDecoder } from "@cornerstonejs/codec-openjph/wasmjs";
import { type Fineness, project, type Slab } from "./slab.js";
import { type Plan, type Plane, shade, Volume } from "./volume.js";
import type { Ramp } from "./window.js";

export type VolumeRequest =
  | { readonly kind: "open"; readonly plan: Plan }
  | {
      readonly kind: "slice";
      readonly slot: number;
      readonly bytes: Uint8Array<ArrayBuffer>;
      readonly slope: number;
      readonly intercept: number;
    }
  | {
      readonly kind: "draw";
      readonly view: number;
      readonly plane: Plane;
      readonly slab: Slab;
      readonly fineness: Fineness;
      readonly ramp: Ramp;
      readonly invert: boolean;
    };

export type VolumeAnswer =
  /** `least` and `most`: stored values so far. `message`: why this slice could not be read. */
  | {
      readonly kind: "filled";
      readonly slot: number;
      readonly least: number;
      readonly most: number;
      readonly message: string | null;
    }
  | {
      readonly kind: "drawn";
      readonly view: number;
      readonly width: number;
      readonly height: number;
      readonly pixels: Uint8ClampedArray<ArrayBuffer>;
    }
  | { readonly kind: "failed"; readonly message: string };

interface WorkerScope {
  onmessage: ((event: MessageEvent<VolumeRequest>) => void) | null;
  postMessage(answer: VolumeAnswer, transfer: Transferable[]): void;
}

const scope = self as unknown as WorkerScope;
const starting: Promise<Codec> = create({ locateFile: () => wasmUrl });
let decoder: HTJ2KDecoder | null = null;
let volume: Volume | null = null;
let values = new Float32Array(0);

/** Where a codestream tells sign and depth of its samples (ISO/IEC 15444-1 A.5.1), signed from 0x80 on. */
const SSIZ = 42;

type Samples = Int8Array | Uint8Array | Int16Array | Uint16Array;

/** The samples of a grey frame, its rows and columns halved `level` times; a view that lasts until the next call. */
function samplesOf(codec: Codec, bytes: Uint8Array, level: number, count: number, columns: number): Samples {
  decoder ??= new codec.HTJ2KDecoder();
  const encoded = decoder.getEncodedBuffer(bytes.length);
  encoded.set(bytes);
  const depth = encoded[SSIZ] as number;
  if (depth >= 0x80 && depth < 0x88) encoded[SSIZ] = 0x8f; // the decoder cuts signed bytes at 0, wider values not
  decoder.readHeader();
  const skipped = Math.min(level, decoder.getNumDecompositions());
  decoder.decodeSubResolution(skipped);
  const { bitsPerSample, isSigned, width } = decoder.getFrameInfo();
  const decoded = decoder.getDecodedBuffer();
  const Values =
    bitsPerSample > 8 ? (isSigned ? Int16Array : Uint16Array) : isSigned ? Int8Array : Uint8Array;
  const { BYTES_PER_ELEMENT: size } = Values;
  const own = decoded.byteOffset % size ? decoded.slice() : decoded;
  const samples = new Values(own.buffer as ArrayBuffer, own.byteOffset, Math.floor(own.length / size));
  const kept =
    skipped === level
      ? samples
      : every(samples, 2 ** (level - skipped), Math.ceil(width / 2 ** skipped), columns);
  if (kept.length !== count) throw new Error("a slice is not of the size its study states");
  return kept;
}

/** Every nth sample of every nth row. */
function every(samples: Samples, n: number, width: number, columns: number): Samples {
  const rows = Math.ceil(samples.length / width / n);
  const kept = new Int32Array(columns * rows);
  for (let y = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++) kept[y * columns + x] = samples[y * n * width + x * n] as number;
  }
  return (samples instanceof Int16Array || samples instanceof Int8Array ? Int16Array : Uint16Array).from(
    kept,
  );
}

async function fill(request: VolumeRequest & { kind: "slice" }): Promise<void> {
  if (!volume) return;
  let message: string | null = null;
  try {
    const { level, grid } = volume.plan;
    const [columns, rows] = grid.size;
    const samples = samplesOf(await starting, request.bytes, level, columns * rows, columns);
    volume.fill(request.slot, samples, request.slope, request.intercept);
  } catch (error) {
    decoder = null; // its state is unknown after a fault in wasm
    message = error instanceof Error ? error.message : "a slice is damaged";
  }
  const { least, most } = volume;
  scope.postMessage({ kind: "filled", slot: request.slot, least, most, message }, []);
}

function draw({ view, plane, slab, fineness, ramp, invert }: VolumeRequest & { kind: "draw" }): void {
  if (!volume) return;
  const count = plane.width * plane.height;
  if (values.length !== count) values = new Float32Array(count);
  project(volume, plane, slab, fineness, values);
  const pixels = new Uint8ClampedArray(count * 4);
  shade(values, volume.plan, ramp, invert !== volume.plan.invert, new Uint32Array(pixels.buffer));
  const { width, height } = plane;
  scope.postMessage({ kind: "drawn", view, width, height, pixels }, [pixels.buffer]);
}

scope.onmessage = ({ data }) => {
  if (data.kind === "slice") void fill(data);
  else if (data.kind === "draw") draw(data);
  else {
    try {
      volume = new Volume(data.plan);
    } catch {
      scope.postMessage(
        { kind: "failed", message: "This device does not have enough memory for the volume." },
        [],
      );
    }
  }
};
