import { describe, expect, it } from "vitest";
import { askEarly } from "../src/series.js";
import { type Item, RecordReader, readHead, readIndex, Stream } from "../src/stream.js";
import { answerOf, full, Heard, indexOf, preview, recordOf, refusalOf, responseOf } from "./wire.js";

describe("the index", () => {
  const bytes = indexOf([
    { kind: 0, full: 900, preview: 60, ends: [100, 400], place: [1, 2, 3] },
    { kind: 1, full: 0, preview: 0, ends: [] },
    { kind: 0, full: 800, preview: 50, ends: [90, 300], place: [1, 2, 5.5] },
  ]);

  it("tells every frame with what its kind has in common", () => {
    const { set, version, ends } = readIndex(bytes);
    expect(set.id).toBe("an-image-set");
    expect(version).toBe(7);
    expect(set.frame_list.map(({ index, rows, decodable }) => [index, rows, decodable])).toEqual([
      [0, 4, true],
      [1, 8, false],
      [2, 4, true],
    ]);
    expect(set.frame_list.map((info) => info.lossless_bytes)).toEqual([900, null, 800]);
    expect(set.frame_list.map((info) => info.preview_bytes)).toEqual([60, null, 50]);
    expect(set.frame_list.map((info) => info.position_mm)).toEqual([[1, 2, 3], null, [1, 2, 5.5]]);
    expect([...ends]).toEqual([100, 400, 0, 0, 90, 300]);
  });

  it("tells how many frames there are in its first 32 bytes", () => {
    expect(readHead(bytes.subarray(0, 32)).count).toBe(3);
  });

  it("may lie anywhere in memory", () => {
    const moved = new Uint8Array(bytes.length + 3);
    moved.set(bytes, 3);
    expect(readIndex(moved.subarray(3)).set.frame_list[2]?.lossless_bytes).toBe(800);
  });

  it("may be of a series without frames", () => {
    expect(readIndex(indexOf([])).set.frame_list).toEqual([]);
  });

  it("that is cut short, of another format or no index is refused", () => {
    expect(() => readIndex(bytes.slice(0, bytes.length - 100))).toThrow("ends early");
    const other = bytes.slice();
    other[4] = 2;
    expect(() => readIndex(other)).toThrow("another format");
    expect(() => readHead(new Uint8Array(40))).toThrow("no index");
    expect(() => readHead(bytes.subarray(0, 31))).toThrow("no index");
  });
});

describe("records", () => {
  const items = [preview(3), full(3, 0, 5), preview(4), full(70_000, 5, 9)];
  const bytes = answerOf(
    recordOf(items[0] as Item, [1, 2, 3]),
    recordOf(items[1] as Item, [9, 8, 7, 6, 5]),
    refusalOf(items[2] as Item, "not-found", "it has no preview"),
    recordOf(items[3] as Item, []),
  );
  const told: [string, number[]][] = [
    ["p3:0:0", [1, 2, 3]],
    ["3:0:5", [9, 8, 7, 6, 5]],
    ["70000:5:9", []],
  ];

  it("are the same wherever an answer is cut in two", () => {
    for (let cut = 0; cut <= bytes.length; cut++) {
      const heard = new Heard();
      const reader = new RecordReader(items, heard);
      reader.push(bytes.subarray(0, cut));
      reader.push(bytes.subarray(cut));
      expect(heard.records).toEqual(told);
      expect(heard.refusals).toHaveLength(1);
      expect(reader.done).toBe(4);
    }
  });

  it("are the same byte by byte", () => {
    const heard = new Heard();
    const reader = new RecordReader(items, heard);
    for (const byte of bytes) reader.push(Uint8Array.of(byte));
    expect(heard.records).toEqual(told);
  });

  it("that came whole before a cut are told, and no other", () => {
    const ends = [
      15,
      32,
      32 + 12 + refusalOf(items[2] as Item, "not-found", "it has no preview").length - 12,
    ];
    for (let cut = 0; cut < bytes.length; cut++) {
      const reader = new RecordReader(items, new Heard());
      reader.push(bytes.subarray(0, cut));
      expect(reader.done).toBe(ends.filter((end) => end <= cut).length);
    }
  });

  it("tell in the server's words why a frame cannot be given, and whether to ask again", () => {
    const heard = new Heard();
    const pair = [preview(1), preview(2)];
    new RecordReader(pair, heard).push(
      answerOf(
        refusalOf(pair[0] as Item, "not-found", "it has no preview"),
        refusalOf(pair[1] as Item, "unavailable", "the disk is full"),
      ),
    );
    expect(heard.refusals.map(([, { kind, code, message }]) => [kind, code, message])).toEqual([
      ["refused", "not-found", "it has no preview"],
      ["failed", "unavailable", "the disk is full"],
    ]);
  });

  it.each([
    ["another frame", recordOf(preview(4), [1])],
    ["another layer", recordOf(full(3), [1])],
    ["another part", recordOf({ ...preview(3), from: 1 }, [1])],
    ["one more", answerOf(recordOf(preview(3), [1]), recordOf(preview(3), [1]))],
  ])("of %s than asked for are refused", (_, wrong) => {
    expect(() => new RecordReader([preview(3)], new Heard()).push(wrong)).toThrow("cannot be read");
  });

  it("longer than the part asked for are refused before memory is taken for them", () => {
    const wrong = recordOf(full(3, 0, 2), [1, 2, 3]);
    expect(() => new RecordReader([full(3, 0, 2)], new Heard()).push(wrong)).toThrow("not the part");
    const huge = recordOf(preview(3), []);
    new DataView(huge.buffer).setUint32(8, 0xffff_fff0, true);
    expect(() => new RecordReader([preview(3)], new Heard()).push(huge)).toThrow("not the part");
  });
});

describe("asking", () => {
  const never = new AbortController().signal;
  const pair = [preview(1), full(2, 10, 20)];
  const first = recordOf(preview(1), [1]);

  it("sends one list and gives each record", async () => {
    const lists: string[] = [];
    const stream = new Stream(async (list) => {
      lists.push(list);
      return responseOf([answerOf(first, recordOf(full(2, 10, 20), [2, 3]))]);
    });
    const heard = new Heard();
    await stream.ask(pair, heard, never);
    expect(lists).toEqual(["p1:0:0,2:10:20"]);
    expect(heard.records).toHaveLength(2);
  });

  it.each([
    ["breaks", true],
    ["ends early", false],
  ])("of an answer that %s gives what came whole and tells of the cut", async (_, breaks) => {
    const stream = new Stream(async () =>
      responseOf([first, recordOf(full(2, 10, 20), [2]).slice(0, 12)], breaks),
    );
    const heard = new Heard();
    await expect(stream.ask(pair, heard, never)).rejects.toMatchObject({ kind: "offline", code: "cut" });
    expect(heard.records).toEqual([["p1:0:0", [1]]]);
  });

  it("early gives what came before anybody took it, and what comes after", async () => {
    let more: ReadableStreamDefaultController<Uint8Array> | undefined;
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        more = controller;
        controller.enqueue(first);
      },
    });
    const stream = new Stream(async () => new Response(body));
    const early = askEarly(stream, pair, never);
    await new Promise((resolve) => setTimeout(resolve, 5));
    const heard = new Heard();
    const done = early.into(heard);
    expect(heard.records).toHaveLength(1);
    more?.enqueue(recordOf(full(2, 10, 20), [5]));
    more?.close();
    await done;
    expect(heard.records).toHaveLength(2);
  });
});
