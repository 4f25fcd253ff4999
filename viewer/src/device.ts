/**
 * What this device can do: how many workers and how many bytes the viewer may take, and what to say where
 * something is missing.
 *
 * A tab on a phone is thrown away near 250 MB, so that everything together stays under 210: the previews of a
 * whole series, some full frames as they came, some decoded, and the decoders' own memory.
 */
import type { Budgets } from "./frames.js";

/** What a browser tells; undefined where it does not. */
export interface Facts {
  readonly cores: number | undefined;
  /** In GB, rounded down to a power of two; at most 8 is told. */
  readonly memoryGb: number | undefined;
  /** Fingers are the way to point. */
  readonly isCoarse: boolean;
  readonly savesData: boolean;
  readonly hasWorkers: boolean;
  readonly hasWasm: boolean;
  readonly hasSimd: boolean;
  readonly hasWebgl2: boolean;
  readonly hasCanvas: boolean;
  readonly hasStorage: boolean;
  readonly hasStreams: boolean;
  /** What the address asks for by `?workers=`. */
  readonly askedWorkers: number | undefined;
}

export interface Device {
  readonly workers: number;
  readonly budgets: Budgets;
  /** One plain sentence about what will not work, or null. */
  readonly warning: string | null;
  /** Images can be shown at all. */
  readonly canShow: boolean;
}

const MIB = 2 ** 20;
/** The decoder's memory when it starts; it grows only with images larger than a CT's. */
export const WASM_BYTES = 50 * MIB;
const PREVIEWS = 24 * MIB;
const PHONE = 200 * MIB;
const PHONE_DECODED = 32 * MIB;
const DESK_DECODED = 64 * MIB;
const DESK_FULL = 96 * MIB;
const SAVED_FULL = 8 * MIB;
const MOST_WORKERS = 4;
const MOST_PHONE_WORKERS = 2;
const SMALL_GB = 4;

/** Judge a device by what its browser tells. */
export function judge(facts: Facts): Device {
  const isSmall = facts.isCoarse || (facts.memoryGb ?? SMALL_GB) <= SMALL_GB;
  const most = isSmall ? MOST_PHONE_WORKERS : MOST_WORKERS;
  const workers = facts.askedWorkers ?? Math.max(Math.min(most, (facts.cores ?? most + 1) - 1), 1);
  const decoded = isSmall ? PHONE_DECODED : DESK_DECODED;
  const room = isSmall ? PHONE - workers * WASM_BYTES - PREVIEWS - decoded : DESK_FULL;
  const full = facts.savesData ? SAVED_FULL : Math.max(room, SAVED_FULL);
  const missing = lacking(facts);
  return {
    workers,
    budgets: { full, previews: PREVIEWS, decoded },
    warning: missing ?? slightly(facts),
    canShow: missing === null,
  };
}

/** What keeps images from being shown. */
function lacking(facts: Facts): string | null {
  if (!facts.hasWasm || !facts.hasSimd) {
    return "This browser cannot run the image decoder (WebAssembly with SIMD). Use a browser of 2023 or later.";
  }
  if (!facts.hasWorkers) return "This browser has no workers, which decode the images. Use another browser.";
  if (!facts.hasStreams) return "This browser cannot read an answer while it arrives. Use a newer browser.";
  if (!facts.hasWebgl2 && !facts.hasCanvas) return "This browser cannot draw images. Use another browser.";
  return null;
}

/** What works, but not as well. */
function slightly(facts: Facts): string | null {
  if (!facts.hasStorage) {
    return "This browser keeps nothing: a finding given without a connection is lost when the page is closed.";
  }
  if ((facts.memoryGb ?? SMALL_GB) < 2) {
    return "This device has little memory: images may take a moment to come back when you scroll.";
  }
  return null;
}

/** Budgets for one of `panes` views on one page. */
export function shareOf({ full, previews, decoded }: Budgets, panes: number): Budgets {
  return {
    full: Math.floor(full / panes),
    previews: Math.floor(previews / panes),
    decoded: Math.floor(decoded / panes),
  };
}

/** A module of one function that uses a SIMD instruction. */
const SIMD = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98,
  11,
]);

function facts(): Facts {
  const { hardwareConcurrency, deviceMemory, connection } = navigator as Navigator & {
    deviceMemory?: number;
    connection?: { saveData?: boolean };
  };
  const asked = Number.parseInt(new URLSearchParams(location.search).get("workers") ?? "", 10);
  return {
    cores: hardwareConcurrency || undefined,
    memoryGb: deviceMemory,
    isCoarse: matchMedia("(pointer: coarse)").matches,
    savesData: connection?.saveData ?? false,
    hasWorkers: typeof Worker === "function",
    hasWasm: typeof WebAssembly === "object",
    hasSimd: typeof WebAssembly === "object" && WebAssembly.validate(SIMD),
    hasWebgl2: typeof WebGL2RenderingContext === "function",
    hasCanvas: typeof CanvasRenderingContext2D === "function",
    hasStorage: hasStorage(),
    hasStreams: typeof ReadableStream === "function" && "body" in Response.prototype,
    askedWorkers: asked >= 1 && asked <= MOST_WORKERS ? asked : undefined,
  };
}

function hasStorage(): boolean {
  try {
    return Boolean(window.localStorage && window.indexedDB);
  } catch {
    return false; // some browsers throw where storage is forbidden
  }
}

let judged: Device | null = null;

/** This device; looked at once. */
export function device(): Device {
  judged ??= judge(facts());
  return judged;
}
