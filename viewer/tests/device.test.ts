import { describe, expect, it } from "vitest";
import { type Facts, judge, shareOf, WASM_BYTES } from "../src/device.js";

const DESK: Facts = {
  cores: 8,
  memoryGb: 8,
  isCoarse: false,
  savesData: false,
  hasWorkers: true,
  hasWasm: true,
  hasSimd: true,
  hasWebgl2: true,
  hasCanvas: true,
  hasStorage: true,
  hasStreams: true,
  askedWorkers: undefined,
};
const PHONE: Facts = { ...DESK, isCoarse: true, memoryGb: 4 };

function total(facts: Facts): number {
  const { workers, budgets } = judge(facts);
  return workers * WASM_BYTES + budgets.full + budgets.previews + budgets.decoded;
}

describe("a phone", () => {
  it("gives at most two workers and 210 MB in all", () => {
    expect(judge(PHONE).workers).toBe(2);
    expect(total(PHONE)).toBeLessThanOrEqual(210e6);
    expect(total({ ...PHONE, cores: 2 })).toBeLessThanOrEqual(210e6);
    expect(total({ ...PHONE, memoryGb: undefined, cores: undefined })).toBeLessThanOrEqual(210e6);
  });

  it("holds the previews of 4,000 slices", () => {
    expect(judge(PHONE).budgets.previews).toBeGreaterThan(4000 * 6000);
  });

  it("is also a desk with little memory", () => {
    expect(judge({ ...DESK, memoryGb: 4 })).toEqual(judge(PHONE));
  });
});

describe("workers", () => {
  it("are one fewer than cores, from one to four", () => {
    const of = (cores: number): number => judge({ ...DESK, cores }).workers;
    expect([1, 2, 3, 5, 32].map(of)).toEqual([1, 1, 2, 4, 4]);
  });

  it("are as many as the address asks for", () => {
    expect(judge({ ...DESK, askedWorkers: 1 }).workers).toBe(1);
  });
});

describe("what is missing", () => {
  it("is told in a sentence where nothing can be shown", () => {
    for (const lack of ["hasWorkers", "hasWasm", "hasSimd", "hasStreams"] as const) {
      const { warning, canShow } = judge({ ...DESK, [lack]: false });
      expect(canShow).toBe(false);
      expect(warning).toMatch(/^This browser .*\.$/);
    }
    expect(judge({ ...DESK, hasWebgl2: false, hasCanvas: false }).canShow).toBe(false);
  });

  it("is a warning where images are shown all the same", () => {
    const { warning, canShow } = judge({ ...DESK, hasStorage: false });
    expect([canShow, warning]).toEqual([true, expect.stringContaining("keeps nothing")]);
    expect(judge({ ...PHONE, memoryGb: 1 })).toMatchObject({ canShow: true, warning: expect.any(String) });
  });

  it("is nothing on a canvas without WebGL2", () => {
    expect(judge({ ...DESK, hasWebgl2: false })).toMatchObject({ canShow: true, warning: null });
  });
});

it("who saves data fetches few full frames ahead", () => {
  expect(judge({ ...DESK, savesData: true }).budgets.full).toBeLessThan(10e6);
});

it("two panes share what one may have", () => {
  const { budgets } = judge(PHONE);
  const half = shareOf(budgets, 2);
  expect(2 * (half.full + half.previews + half.decoded)).toBeLessThanOrEqual(
    budgets.full + budgets.previews + budgets.decoded,
  );
});
