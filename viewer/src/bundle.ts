/**
 * Many files as one zip archive that is never in memory: any part of it can be made at any time, always the same.
 *
 * Files are stored, not packed, under neutral names in the order they are given, because a file name often holds the
 * patient's. So the length is known before a byte is read, and an upload that broke off goes on anywhere in it. A
 * part is a Blob of slices, which the browser reads from the disk only while it sends.
 */

const NAME_BYTES = 8;
const LOCAL_BYTES = 30;
const ENTRY_BYTES = 46;
const END_BYTES = 22;
const LONG_END_BYTES = 56 + 20;
const MOST_16 = 0xffff;
const MOST_32 = 0xffffffff;
/** The first of January 1980: the archive tells no dates. */
const DATE = 33;
const PORTION = 1 << 20;

export interface Content {
  readonly length: number;
  /** Bytes from `start` up to and without `end`. */
  part(start: number, end: number, signal: AbortSignal): Promise<Blob>;
}

/** A file that changed or went while it was sent. */
export class FileChanged extends Error {
  constructor() {
    super("A file changed or cannot be read any more. Choose the files again.");
    this.name = "FileChanged";
  }
}

/** One file as it is. */
export function single(file: File): Content {
  return { length: file.size, part: async (start, end) => file.slice(start, end) };
}

export class Bundle implements Content {
  readonly length: number;
  readonly #begins: number[] = [0];
  readonly #checksums = new Map<number, number>();
  readonly #directoryBytes: number;
  readonly #needsLongEnd: boolean;

  constructor(private readonly files: readonly File[]) {
    let begin = 0;
    let directory = 0;
    for (const { size } of files) {
      directory += ENTRY_BYTES + NAME_BYTES + longBytes(longFields(size, begin).length);
      begin += headBytes(size) + size;
      this.#begins.push(begin);
    }
    this.#directoryBytes = directory;
    this.#needsLongEnd = files.length >= MOST_16 || begin >= MOST_32 || directory >= MOST_32;
    this.length = begin + directory + END_BYTES + (this.#needsLongEnd ? LONG_END_BYTES : 0);
  }

  async part(start: number, end: number, signal: AbortSignal): Promise<Blob> {
    const pieces: BlobPart[] = [];
    let at = start;
    for (let place = this.#placeOf(start); place < this.files.length && at < end; place++) {
      const file = this.files[place] as File;
      const begin = this.#begins[place] as number;
      const dataBegin = begin + headBytes(file.size);
      if (at < dataBegin) {
        const head = await this.#head(place, signal);
        pieces.push(head.subarray(at - begin, end - begin));
        at = Math.min(end, dataBegin);
      }
      const dataEnd = Math.min(end, dataBegin + file.size);
      if (at < dataEnd) pieces.push(file.slice(at - dataBegin, dataEnd - dataBegin));
      at = Math.max(at, dataEnd);
    }
    const tailBegin = this.#begins.at(-1) as number;
    if (at < end) pieces.push((await this.#tail(signal)).subarray(at - tailBegin, end - tailBegin));
    const blob = new Blob(pieces);
    if (blob.size !== end - start) throw new FileChanged();
    return blob;
  }

  /** The file in whose part of the archive `offset` lies; behind the last one for the directory. */
  #placeOf(offset: number): number {
    let low = 0;
    let high = this.files.length;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((this.#begins[middle] as number) <= offset) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  async #head(place: number, signal: AbortSignal): Promise<Uint8Array<ArrayBuffer>> {
    const { size } = this.files[place] as File;
    const head = new Record(headBytes(size));
    const isLong = size >= MOST_32;
    head.u32(0x04034b50).u16(isLong ? 45 : 20, 0, 0, 0, DATE);
    head.u32(await this.#checksum(place, signal), Math.min(size, MOST_32), Math.min(size, MOST_32));
    head.u16(NAME_BYTES, isLong ? 20 : 0).text(nameOf(place));
    if (isLong) head.u16(1, 16).u64(size, size);
    return head.bytes;
  }

  async #tail(signal: AbortSignal): Promise<Uint8Array<ArrayBuffer>> {
    const tail = new Record(this.length - (this.#begins.at(-1) as number));
    for (const [place, { size }] of this.files.entries()) {
      const begin = this.#begins[place] as number;
      const long = longFields(size, begin);
      tail.u32(0x02014b50).u16(long.length ? 45 : 20, long.length ? 45 : 20, 0, 0, 0, DATE);
      tail.u32(await this.#checksum(place, signal), Math.min(size, MOST_32), Math.min(size, MOST_32));
      tail
        .u16(NAME_BYTES, longBytes(long.length), 0, 0, 0)
        .u32(0, Math.min(begin, MOST_32))
        .text(nameOf(place));
      if (long.length) tail.u16(1, 8 * long.length).u64(...long);
    }
    this.#end(tail);
    return tail.bytes;
  }

  #end(tail: Record): void {
    const count = this.files.length;
    const begin = this.#begins.at(-1) as number;
    if (this.#needsLongEnd) {
      tail.u32(0x06064b50).u64(44).u16(45, 45).u32(0, 0).u64(count, count, this.#directoryBytes, begin);
      tail
        .u32(0x07064b50, 0)
        .u64(begin + this.#directoryBytes)
        .u32(1);
    }
    const short = Math.min(count, MOST_16);
    tail.u32(0x06054b50).u16(0, 0, short, short);
    tail.u32(Math.min(this.#directoryBytes, MOST_32), Math.min(begin, MOST_32)).u16(0);
  }

  async #checksum(place: number, signal: AbortSignal): Promise<number> {
    const known = this.#checksums.get(place);
    if (known !== undefined) return known;
    const file = this.files[place] as File;
    let value = 0;
    for (let begin = 0; begin < file.size; begin += PORTION) {
      signal.throwIfAborted();
      try {
        value = crc32(new Uint8Array(await file.slice(begin, begin + PORTION).arrayBuffer()), value);
      } catch {
        throw new FileChanged();
      }
    }
    this.#checksums.set(place, value);
    return value;
  }
}

/** Little-endian fields, one behind the other. */
class Record {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly #view: DataView;
  #at = 0;

  constructor(length: number) {
    this.bytes = new Uint8Array(length);
    this.#view = new DataView(this.bytes.buffer);
  }

  u16(...values: readonly number[]): this {
    for (const value of values) {
      this.#view.setUint16(this.#at, value, true);
      this.#at += 2;
    }
    return this;
  }

  u32(...values: readonly number[]): this {
    for (const value of values) {
      this.#view.setUint32(this.#at, value, true);
      this.#at += 4;
    }
    return this;
  }

  u64(...values: readonly number[]): this {
    for (const value of values) {
      this.#view.setBigUint64(this.#at, BigInt(value), true);
      this.#at += 8;
    }
    return this;
  }

  text(value: string): this {
    for (const letter of value) this.bytes[this.#at++] = letter.charCodeAt(0);
    return this;
  }
}

function nameOf(place: number): string {
  return String(place + 1).padStart(NAME_BYTES, "0");
}

function headBytes(size: number): number {
  return LOCAL_BYTES + NAME_BYTES + (size >= MOST_32 ? 20 : 0);
}

/** Values that do not fit their fields, in the order the extra field holds them. */
function longFields(size: number, begin: number): number[] {
  return [...(size >= MOST_32 ? [size, size] : []), ...(begin >= MOST_32 ? [begin] : [])];
}

function longBytes(count: number): number {
  return count ? 4 + 8 * count : 0;
}

let table: Uint32Array | null = null;

/** CRC-32 as zip has it; `before` goes on from an earlier part. */
export function crc32(bytes: Uint8Array, before = 0): number {
  table ??= Uint32Array.from({ length: 256 }, (_, byte) => {
    let value = byte;
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
    return value;
  });
  let value = ~before;
  for (let place = 0; place < bytes.length; place++) {
    value = (table[(value ^ (bytes[place] as number)) & 0xff] as number) ^ (value >>> 8);
  }
  return ~value >>> 0;
}
