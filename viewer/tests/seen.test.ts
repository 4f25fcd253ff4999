import { expect, it } from "vitest";
import { drawnAs, forgetSeen, runsOf, SeenSlices, seenOf } from "../src/seen.js";

it("the best that was drawn of a slice counts, whatever comes after", () => {
  const seen = new SeenSlices(4);
  seen.drew(1, "preview", 0);
  seen.drew(1, "full", 10);
  seen.drew(1, "preview", 20);
  seen.drew(2, "preview", 30);
  expect([seen.full, seen.preview, seen.never]).toEqual([1, 1, 2]);
  expect(seen.told(30).slices).toBe("nfpn");
});

it("what was fetched and never drawn was not seen", () => {
  const seen = new SeenSlices(120);
  expect(seen.told(0).slices).toBe("n120");
  seen.drew(7, "never", 0);
  expect(seen.never).toBe(120);
});

it("the time in view counts for the quality that was drawn, until something else is", () => {
  const seen = new SeenSlices(3);
  seen.drew(0, "preview", 100);
  seen.drew(0, "full", 350);
  seen.drew(1, "never", 1350);
  seen.drew(1, "preview", 1400);
  expect(seen.told(1500)).toMatchObject({ preview_ms: 350, full_ms: 1000 });
});

it("nothing is in view behind another page, nor on another page of ours", () => {
  const seen = new SeenSlices(3);
  seen.drew(0, "full", 0);
  seen.hidden(true, 1000);
  seen.hidden(false, 61_000);
  expect(seen.told(62_000).full_ms).toBe(2000);
  seen.rest(63_000);
  seen.hidden(true, 64_000);
  seen.hidden(false, 65_000);
  expect(seen.told(99_000).full_ms).toBe(3000);
});

it("runs say each frame once", () => {
  expect(runsOf(new Uint8Array([0, 0, 1, 2, 2, 2]))).toBe("n2pf3");
  expect(runsOf(new Uint8Array([2]))).toBe("f");
  const ranks = Uint8Array.from({ length: 1907 }, (_, place) => (place * place) % 3);
  const back = [...runsOf(ranks).matchAll(/([npf])(\d*)/g)].flatMap(([, letter, times]) =>
    Array.from({ length: Number(times || 1) }, () => "npf".indexOf(letter as string)),
  );
  expect(back).toEqual([...ranks]);
});

it("more runs than the server takes are left out instead of being refused", () => {
  const seen = new SeenSlices(60_000);
  for (let index = 0; index < 60_000; index += 2) seen.drew(index, "full", index);
  expect(seen.told(0)).toEqual({});
});

it("the reader is told what will be told of them", () => {
  const seen = new SeenSlices(120);
  for (let index = 0; index < 115; index++) seen.drew(index, index < 35 ? "full" : "preview", index);
  expect(seen.sentence()).toBe(
    "You saw 35 of 120 slices at full quality, 80 as a preview only, 5 not at all.",
  );
});

it("only what the badge calls lossless, or lossy as received, is full quality", () => {
  expect(["lossless", "lossy-as-received"].map(drawnAs)).toEqual(["full", "full"]);
  expect(["preview", "neighbour"].map(drawnAs)).toEqual(["preview", "preview"]);
  expect(["none", "failed"].map(drawnAs)).toEqual(["never", "never"]);
});

it("whoever comes back to a series has seen what they saw; another version or person begins anew", () => {
  const set = { id: "a", version: 1, frame_list: new Array(5).fill(null) };
  seenOf(set).drew(2, "full", 0);
  expect(seenOf({ ...set }).full).toBe(1);
  expect(seenOf({ ...set, version: 2 }).full).toBe(0);
  forgetSeen();
  expect(seenOf(set).full).toBe(0);
});
