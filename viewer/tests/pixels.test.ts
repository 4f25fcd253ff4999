import { describe, expect, it } from "vitest";
import { pixelsOf } from "../src/pixels.js";

const format = { width: 2, height: 1, bitsPerSample: 16, componentCount: 1, isSigned: false };
const bytesOf = (values: Int16Array | Uint16Array): Uint8Array => new Uint8Array(values.buffer);

describe("grey", () => {
  it("keeps unsigned values and their ends", () => {
    const pixels = pixelsOf(format, bytesOf(new Uint16Array([7, 65535])));
    expect(pixels).toMatchObject({ kind: "grey", least: 7, most: 65535, signed: false });
    expect([...pixels.data]).toEqual([7, 65535]);
  });

  it("keeps signed values as two's complement", () => {
    const signed = { ...format, isSigned: true };
    const pixels = pixelsOf(signed, bytesOf(new Int16Array([-1024, 5])));
    expect(pixels).toMatchObject({ least: -1024, most: 5, signed: true });
    expect([...new Int16Array(pixels.data.buffer)]).toEqual([-1024, 5]);
  });

  it("widens eight bits to sixteen, with their sign", () => {
    const narrow = { ...format, bitsPerSample: 8, isSigned: true };
    const pixels = pixelsOf(narrow, new Uint8Array([255, 3]));
    expect([...new Int16Array(pixels.data.buffer)]).toEqual([-1, 3]);
  });

  it("does not share memory with the decoder", () => {
    const memory = bytesOf(new Uint16Array([1, 2]));
    const pixels = pixelsOf(format, memory);
    memory.fill(0);
    expect([...pixels.data]).toEqual([1, 2]);
  });

  it("refuses fewer samples than promised", () => {
    expect(() => pixelsOf(format, new Uint8Array(3))).toThrow("fewer samples");
  });

  it("refuses more bits than can be shown", () => {
    expect(() => pixelsOf({ ...format, bitsPerSample: 20 }, new Uint8Array(99))).toThrow("20 bits");
  });
});

describe("colour", () => {
  const colour = { ...format, width: 1, bitsPerSample: 8, componentCount: 3 };

  it("is RGB with full opacity", () => {
    expect([...pixelsOf(colour, new Uint8Array([10, 20, 30])).data]).toEqual([10, 20, 30, 255]);
  });

  it("is looked up in a palette, whose ends stand for what lies beyond them", () => {
    const narrow = { ...format, width: 4, bitsPerSample: 8 };
    const palette = { first: 10, colours: btoa(String.fromCharCode(1, 2, 3, 4, 5, 6)) };
    const pixels = pixelsOf(narrow, new Uint8Array([10, 11, 3, 200]), palette);
    expect(pixels.kind).toBe("colour");
    expect([...pixels.data]).toEqual([1, 2, 3, 255, 4, 5, 6, 255, 1, 2, 3, 255, 4, 5, 6, 255]);
  });
});
