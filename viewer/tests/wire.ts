/** `/stream/v1` as the server writes it, made by hand. */
import type { ApiError, FrameInfo } from "../src/protocol.js";
import { type Answers, type Item, listOf } from "../src/stream.js";

export const KINDS = [
  {
    rows: 4,
    columns: 4,
    bits_stored: 12,
    signed: false,
    samples: 1,
    photometric: "MONOCHROME2",
    slope: 1,
    intercept: 0,
    window_center: null,
    window_width: null,
    voi_function: "LINEAR",
    orientation: null,
    spacing_mm: null,
    sides: null,
    palette: null,
    quality: "lossless",
    decodable: true,
    position_mm: null,
  },
] as unknown as readonly FrameInfo[];

export interface Row {
  readonly kind: number;
  readonly full: number;
  readonly preview: number;
  readonly ends: readonly number[];
  readonly place?: readonly [number, number, number];
}

/** An index of frames of two kinds: 4 × 4 pixels, and 8 × 8 that cannot be decoded. */
export function indexOf(rows: readonly Row[], more: object = {}): Uint8Array<ArrayBuffer> {
  const kinds = [KINDS[0], { ...KINDS[0], rows: 8, columns: 8, decodable: false }];
  const json = new TextEncoder().encode(JSON.stringify({ set: { id: "an-image-set" }, kinds, ...more }));
  const mostEnds = Math.max(...rows.map(({ ends }) => ends.length), 0);
  const jsonBytes = Math.ceil(json.length / 4) * 4;
  const columns = 32 + jsonBytes;
  const places = Math.ceil((columns + rows.length * (8 + 4 * mostEnds + 3)) / 8) * 8;
  const bytes = new Uint8Array(places + rows.length * 24);
  const view = new DataView(bytes.buffer);
  bytes.set(new TextEncoder().encode("RLSI"));
  view.setUint16(4, 1, true);
  view.setUint16(6, 32, true);
  [rows.length, 7, 64, 1].forEach((value, place) => {
    view.setUint32(8 + 4 * place, value, true);
  });
  view.setUint8(24, mostEnds);
  view.setUint32(28, jsonBytes, true);
  bytes.fill(32, 32, columns);
  bytes.set(json, 32);
  const count = rows.length;
  rows.forEach(({ kind, full, preview, ends, place = [Number.NaN, Number.NaN, Number.NaN] }, index) => {
    view.setUint32(columns + 4 * index, full, true);
    view.setUint32(columns + 4 * (count + index), preview, true);
    ends.forEach((end, level) => {
      view.setUint32(columns + 4 * (2 * count + index * mostEnds + level), end, true);
    });
    view.setUint16(columns + (8 + 4 * mostEnds) * count + 2 * index, kind, true);
    view.setUint8(columns + (8 + 4 * mostEnds + 2) * count + index, 1);
    place.forEach((value, axis) => {
      view.setFloat64(places + 24 * index + 8 * axis, value, true);
    });
  });
  return bytes;
}

export function recordOf(item: Item, body: readonly number[]): Uint8Array<ArrayBuffer> {
  return record(item, item.from, Uint8Array.from(body));
}

export function refusalOf(item: Item, code: string, message: string): Uint8Array<ArrayBuffer> {
  return record(item, 0xffff_ffff, new TextEncoder().encode(JSON.stringify({ code, message })));
}

function record({ index, layer }: Item, from: number, body: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(12 + body.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, layer === "preview" ? (index | 0x8000_0000) >>> 0 : index, true);
  view.setUint32(4, from, true);
  view.setUint32(8, body.length, true);
  bytes.set(body, 12);
  return bytes;
}

export function answerOf(...records: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(records.flatMap((bytes) => [...bytes]));
}

export const preview = (index: number): Item => ({ index, layer: "preview", from: 0, to: 0 });
export const full = (index: number, from = 0, to = 0): Item => ({ index, layer: "full", from, to });

/** Remembers what it was told. */
export class Heard implements Answers {
  readonly records: [string, number[]][] = [];
  readonly refusals: [string, ApiError][] = [];
  record(item: Item, bytes: Uint8Array): void {
    this.records.push([listOf([item]), [...bytes]]);
  }
  refused(item: Item, error: ApiError): void {
    this.refusals.push([listOf([item]), error]);
  }
}

/** An answer whose body is `parts`, and then ends or breaks. */
export function responseOf(parts: Uint8Array<ArrayBuffer>[], breaks = false): Response {
  const body = new ReadableStream({
    start(controller) {
      for (const part of parts) controller.enqueue(part);
      if (breaks) setTimeout(() => controller.error(new TypeError("network error")), 1);
      else controller.close();
    },
  });
  return new Response(body);
}
