import { afterEach, expect, it, vi } from "vitest";
import { Bundle, crc32 } from "../src/bundle.js";
import { isWanted } from "../src/drop.js";
import { ApiError, longestPartOf } from "../src/protocol.js";
import { timeLeft } from "../src/upload.js";
import { digestOf, isPassing, parcelsOf, Uploads } from "../src/uploads.js";

const NEVER = new AbortController().signal;

function file(name: string, content: Uint8Array<ArrayBuffer> | string, lastModified = 5): File {
  return new File([content], name, { lastModified });
}

function noise(length: number, seed: number): Uint8Array<ArrayBuffer> {
  let state = seed;
  return Uint8Array.from({ length }, () => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return state >>> 24;
  });
}

async function bytesOf(blob: Blob): Promise<Uint8Array> {
  return new Uint8Array(await blob.arrayBuffer());
}

function textOf(bytes: Uint8Array): string {
  return new TextDecoder("latin1").decode(bytes);
}

it("a checksum is that of zip, in one go and in parts", () => {
  const text = new TextEncoder().encode("123456789");
  expect(crc32(text)).toBe(0xcbf43926);
  expect(crc32(text.subarray(4), crc32(text.subarray(0, 4)))).toBe(0xcbf43926);
});

it("a bundle is a zip, and any part of it is that part of the whole", async () => {
  const files = [file("a", noise(300, 1)), file("b", ""), file("DOE^JANE", noise(70_000, 2)), file("d", "x")];
  const bundle = new Bundle(files);
  const whole = await bytesOf(await bundle.part(0, bundle.length, NEVER));
  expect(whole.length).toBe(bundle.length);
  expect(textOf(whole)).not.toContain("DOE");
  const places = [0, 1, 29, 38, 100, 337, 338, 339, 376, 377, 5000, bundle.length - 30, bundle.length];
  for (const start of places) {
    for (const end of places) {
      if (end < start) continue;
      const part = await bytesOf(await new Bundle(files).part(start, end, NEVER));
      expect(textOf(part) === textOf(whole.subarray(start, end))).toBe(true);
    }
  }
});

it("a file longer than four gigabytes is written with long fields", () => {
  const long = { size: 5_000_000_000, slice: () => new Blob([]) } as unknown as File;
  expect(new Bundle([long]).length).toBe(30 + 8 + 20 + 5_000_000_000 + 46 + 8 + 20 + 22 + 76);
});

it("the same files have the same digest, in whatever order they were found", async () => {
  const one = { path: "s/a", file: file("a", "x") };
  const other = { path: "s/b", file: file("b", "y") };
  const [there] = await parcelsOf([one, other]);
  const [back] = await parcelsOf([other, one]);
  expect(there?.digest).toBe(back?.digest);
  expect(there?.digest).not.toContain("a/");
  const later = { path: "s/b", file: file("b", "y", 6) };
  expect(await digestOf([one, later])).not.toBe(await digestOf([one, other]));
});

it("a zip goes by itself, everything else together", async () => {
  const chosen = [
    { path: "cd.zip", file: file("cd.zip", "PK\u0003\u0004rest") },
    { path: "no.zip", file: file("no.zip", "no zip") },
    { path: "1.dcm", file: file("1.dcm", "x") },
  ];
  const parcels = await parcelsOf(chosen);
  expect(parcels.map(({ paths, isBundle }) => [isBundle, ...paths])).toEqual([
    [false, "cd.zip"],
    [true, "1.dcm", "no.zip"],
  ]);
});

it("what comes by itself is tried again, what is refused is not", () => {
  expect(isPassing(new ApiError("offline", "offline", ""))).toBe(true);
  expect(isPassing(new ApiError("failed", "unavailable", ""))).toBe(true);
  expect(isPassing(new ApiError("conflict", "conflict", ""))).toBe(true);
  expect(isPassing(new ApiError("refused", "too-large", ""))).toBe(false);
  expect(isPassing(new ApiError("denied", "denied", ""))).toBe(false);
  expect(isPassing(new Error("x"))).toBe(false);
});

it("junk stays where it is", () => {
  const wanted = ["a/1.dcm", "IM0001", "a/DICOMDIR", "a/.DS_Store", "Thumbs.db", ".hidden/ok"].filter(
    (path) => isWanted({ path }),
  );
  expect(wanted).toEqual(["a/1.dcm", "IM0001", ".hidden/ok"]);
});

it("the time that is left is an estimate and reads as one", () => {
  expect([3, 44, 600, 7200].map(timeLeft)).toEqual(["a few seconds", "40 s", "10 min", "2.0 h"]);
});

it("what a server says of its longest part is read, and nothing else is", () => {
  expect(longestPartOf("max-append-size=4194304")).toBe(4194304);
  expect(longestPartOf("max-size=9, max-append-size=7;q=1")).toBe(7);
  expect(longestPartOf("max-append-size=0")).toBe(1);
  for (const header of [null, "", "max-size=9", "xmax-append-size=9", "max-append-size=x"]) {
    expect(longestPartOf(header)).toBe(null);
  }
});

afterEach(() => vi.unstubAllGlobals());

it("no part is longer than the server lets through, however fast the line is", async () => {
  const most = 1_500_000;
  const sent: number[] = [];
  let offset = 0;
  vi.stubGlobal("localStorage", { getItem: () => null, setItem: () => {} });
  vi.stubGlobal("navigator", {});
  vi.stubGlobal("document", { visibilityState: "visible", addEventListener() {}, removeEventListener() {} });
  vi.stubGlobal("window", { addEventListener() {}, removeEventListener() {} });
  vi.stubGlobal("fetch", async (_: string, { method }: RequestInit) => {
    if (method === "POST") {
      const headers = { Location: "/api/v1/resumable/abc", "Upload-Limit": `max-append-size=${most}` };
      return new Response(null, { status: 201, headers });
    }
    const report = { state: "done", files: 1, ingested: 1, duplicates: 0, quarantined: 0, refused: 0 };
    return Response.json({ ...report, skipped: 0, reasons: [], image_sets: [] });
  });
  vi.stubGlobal(
    "XMLHttpRequest",
    class {
      status = 204;
      upload = {};
      onload = (): void => {};
      onloadend = (): void => {};
      open(): void {}
      setRequestHeader(): void {}
      getResponseHeader = (): string => String(offset);
      send(part: Blob): void {
        sent.push(part.size);
        offset += part.size;
        this.onload();
        this.onloadend();
      }
    },
  );
  const uploads = new Uploads();
  await uploads.add([{ path: "a.dcm", file: file("a.dcm", noise(5_000_000, 4)) }]);
  expect(uploads.outcome?.ingested).toBe(1);
  expect(Math.max(...sent)).toBe(most);
  expect(sent.reduce((sum, size) => sum + size, 0)).toBeGreaterThan(5_000_000);
});
