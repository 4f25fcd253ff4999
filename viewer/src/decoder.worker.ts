/** Turns HTJ2K codestreams into pixels, away from the thread that draws. */

import wasmUrl from "@cornerstonejs/codec-openjph/wasm?url";
import create, { type Codec, type HTJ2KDecoder } from "@cornerstonejs/codec-openjph/wasmjs";
import { type Pixels, pixelsOf } from "./pixels.js";

export interface DecodeRequest {
  readonly id: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly photometric: string;
}

export type DecodeAnswer =
  | { readonly id: number; readonly pixels: Pixels }
  | { readonly id: number; readonly message: string };

interface WorkerScope {
  onmessage: ((event: MessageEvent<DecodeRequest>) => void) | null;
  postMessage(answer: DecodeAnswer, transfer: Transferable[]): void;
}

const scope = self as unknown as WorkerScope;
const starting: Promise<Codec> = create({ locateFile: () => wasmUrl });
let decoder: HTJ2KDecoder | null = null;

function decode(codec: Codec, request: DecodeRequest): Pixels {
  decoder ??= new codec.HTJ2KDecoder(); // one for all frames: a new one each time is slower
  decoder.getEncodedBuffer(request.bytes.length).set(request.bytes);
  decoder.decode();
  return pixelsOf(decoder.getFrameInfo(), decoder.getDecodedBuffer(), request.photometric);
}

scope.onmessage = async ({ data }) => {
  try {
    const pixels = decode(await starting, data);
    scope.postMessage({ id: data.id, pixels }, [pixels.data.buffer]);
  } catch (error) {
    decoder = null; // its state is unknown after a fault in wasm
    const message = error instanceof Error ? error.message : "the codestream is damaged";
    scope.postMessage({ id: data.id, message }, []);
  }
};
