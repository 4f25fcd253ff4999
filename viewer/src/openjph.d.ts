/** What we use of `@cornerstonejs/codec-openjph`, which ships no types of its own. */
declare module "@cornerstonejs/codec-openjph/wasmjs" {
  export interface FrameInfo {
    readonly width: number;
    readonly height: number;
    readonly bitsPerSample: number;
    readonly componentCount: number;
    readonly isSigned: boolean;
  }
  export interface HTJ2KDecoder {
    /** A view into wasm memory of `size` bytes, to be filled before `decode`. */
    getEncodedBuffer(size: number): Uint8Array;
    decode(): void;
    /** Read the main header; `getNumDecompositions` knows after it. */
    readHeader(): void;
    /** Decode with rows and columns halved `level` times; more than the codestream holds fails without a throw. */
    decodeSubResolution(level: number): void;
    getNumDecompositions(): number;
    getFrameInfo(): FrameInfo;
    /** A view into wasm memory, samples interleaved; valid until the next call. */
    getDecodedBuffer(): Uint8Array;
    delete(): void;
  }
  export interface Codec {
    readonly HTJ2KDecoder: new () => HTJ2KDecoder;
  }
  export default function create(options: {
    readonly locateFile?: () => string;
    /** Instantiate it oneself and hand it over; gives back what is to be taken for its exports until then. */
    readonly instantiateWasm?: (
      imports: WebAssembly.Imports,
      receive: (instance: WebAssembly.Instance, module: WebAssembly.Module) => void,
    ) => object;
  }): Promise<Codec>;
}

declare module "*.wasm?url" {
  const url: string;
  export default url;
}

declare module "@cornerstonejs/codec-openjph/wasm?url" {
  const url: string;
  export default url;
}

declare module "*.css";
