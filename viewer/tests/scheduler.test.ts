import { describe, expect, it } from "vitest";
import type { Layer } from "../src/protocol.js";
import { type Holding, nextWish, type Reader, type Shelf, stillWanted } from "../src/scheduler.js";

/** A shelf that starts empty; `order` fetches everything wanted, one wish at a time. */
class TestShelf implements Shelf {
  readonly held = new Map<string, Holding>();

  constructor(
    readonly count: number,
    readonly hasPreviews = true,
    readonly reach: Readonly<Record<Layer, number>> = { preview: count, full: count },
  ) {}

  holding(index: number, layer: Layer): Holding {
    if (layer === "preview" && !this.hasPreviews) return "barred";
    return this.held.get(`${layer} ${index}`) ?? "missing";
  }

  order(reader: Reader, most = 10_000): string[] {
    const names: string[] = [];
    for (let wish = nextWish(reader, this); wish && names.length < most; wish = nextWish(reader, this)) {
      names.push(`${wish.layer} ${wish.index}`);
      this.held.set(names.at(-1) as string, "here");
    }
    return names;
  }
}

const resting = (current: number): Reader => ({ current, direction: 1, resting: true });
const moving = (current: number, direction: 1 | -1 = 1): Reader => ({ current, direction, resting: false });

describe("the order of fetching", () => {
  it("starts with the preview and then the full frame of the slice in view", () => {
    expect(new TestShelf(100).order(resting(40), 2)).toEqual(["preview 40", "full 40"]);
  });

  it("goes on with previews on a coarse grid before finer ones", () => {
    const previews = new TestShelf(65).order(moving(32)).map((name) => Number(name.split(" ")[1]));
    expect(previews.slice(0, 5)).toEqual([32, 48, 16, 64, 0]);
    expect(previews.slice(5, 9)).toEqual([40, 24, 56, 8]);
    expect(previews).toHaveLength(65);
    expect(new Set(previews).size).toBe(65);
  });

  it("looks ahead before behind, whichever way the reader scrolls", () => {
    expect(new TestShelf(65).order(moving(32, -1), 3)).toEqual(["preview 32", "preview 16", "preview 48"]);
  });

  it("fetches no full frame for a moving reader while there are previews", () => {
    expect(new TestShelf(65).order(moving(32)).filter((name) => name.startsWith("full"))).toEqual([]);
  });

  it("fetches full frames outwards from a resting reader once all previews are here", () => {
    const full = new TestShelf(20).order(resting(5)).filter((name) => name.startsWith("full"));
    expect(full.slice(0, 5)).toEqual(["full 5", "full 6", "full 4", "full 7", "full 3"]);
    expect(full).toHaveLength(20);
  });

  it("fetches no more full frames than may be held", () => {
    const shelf = new TestShelf(500, true, { preview: 500, full: 10 });
    expect(shelf.order(resting(250)).filter((name) => name.startsWith("full"))).toHaveLength(21);
  });

  it("fetches full frames close to a moving reader where there are no previews", () => {
    const order = new TestShelf(500, false).order(moving(250));
    expect(order.slice(0, 3)).toEqual(["full 250", "full 251", "full 249"]);
    expect(order).toHaveLength(7);
  });

  it("wants nothing more when everything is here", () => {
    const shelf = new TestShelf(30);
    expect(shelf.order(resting(3))).toHaveLength(60);
    expect(nextWish(resting(20), shelf)).toBeNull();
  });

  it("asks neither for what is coming nor for what is barred", () => {
    const shelf = new TestShelf(1);
    shelf.held.set("preview 0", "barred");
    shelf.held.set("full 0", "coming");
    expect(nextWish(resting(0), shelf)).toBeNull();
  });
});

describe("what is aborted", () => {
  it("is a full frame far from a moving reader", () => {
    expect(stillWanted(moving(50), { index: 20, layer: "full" })).toBe(false);
    expect(stillWanted(moving(50), { index: 51, layer: "full" })).toBe(true);
  });

  it("is never a preview", () => {
    expect(stillWanted(moving(50), { index: 900, layer: "preview" })).toBe(true);
  });
});
