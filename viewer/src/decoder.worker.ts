/** Turns HTJ2K codestreams into pixels, away from the thread that draws. */

import create, { type Codec, type HTJ2KDecoder } from "@cornerstonejs/codec-openjph/wasmjs";
import { type Palette, type Pixels, pixelsOf } from "./pixels.js";

/** The first message: the compiled decoder, which all workers share. */
export interface DecoderStart {
  readonly module: WebAssembly.Module;
}

export interface DecodeRequest {
  readonly id: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly palette: Palette | null;
}

export type DecodeAnswer = { readonly id: number; readonly wasmBytes: number } & (
  | { readonly pixels: Pixels }
  | { readonly message: string }
);

interface WorkerScope {
  onmessage: ((event: MessageEvent<DecoderStart | DecodeRequest>) => void) | null;
  postMessage(answer: DecodeAnswer, transfer: Transferable[]): void;
}

const scope = self as unknown as WorkerScope;
let starting: Promise<Codec> | null = null;
let memory: WebAssembly.Memory | null = null;
let decoder: HTJ2KDecoder | null = null;

/** Place of the first Ssiz of a codestream: SOC, then SIZ, which comes first (ISO/IEC 15444-1 A.5.1). */
const SSIZ = 42;
const SIGNED_8 = 0x87;
const SIGNED_16 = 0x8f;

function start(module: WebAssembly.Module): Promise<Codec> {
  return create({
    instantiateWasm: (imports, receive) => {
      WebAssembly.instantiate(module, imports).then((instance) => {
        memory = Object.values(instance.exports).find((part) => part instanceof WebAssembly.Memory) ?? null;
        receive(instance, module);
      });
      return {};
    },
  });
}

function decode(codec: Codec, { bytes, palette }: DecodeRequest): Pixels {
  decoder ??= new codec.HTJ2KDecoder(); // one for all frames: a new one each time is slower
  const encoded = decoder.getEncodedBuffer(bytes.length);
  encoded.set(bytes);
  const precision = encoded[SSIZ] as number;
  // The decoder shows negative 8-bit samples as 0; told of 16 bits it gives them as they are.
  if (precision >= 0x80 && precision <= SIGNED_8) encoded[SSIZ] = SIGNED_16;
  decoder.decode();
  return pixelsOf(decoder.getFrameInfo(), decoder.getDecodedBuffer(), palette);
}

scope.onmessage = async ({ data }) => {
  if ("module" in data) {
    starting = start(data.module);
    return;
  }
  const { id } = data;
  try {
    const pixels = decode(await (starting as Promise<Codec>), data);
    scope.postMessage({ id, pixels, wasmBytes: memory?.buffer.byteLength ?? 0 }, [pixels.data.buffer]);
  } catch (error) {
    decoder = null; // its state is unknown after a fault in wasm
    const message = error instanceof Error ? error.message : "the codestream is damaged";
    scope.postMessage({ id, message, wasmBytes: memory?.buffer.byteLength ?? 0 }, []);
  }
};
