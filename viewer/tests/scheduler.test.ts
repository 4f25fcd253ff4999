import { describe, expect, it } from "vitest";
import type { Layer } from "../src/protocol.js";
import {
  type Holding,
  type Motion,
  plan,
  type Reader,
  type Rest,
  type Shelf,
  STILL,
  wishes,
} from "../src/scheduler.js";
import type { Item } from "../src/stream.js";
import { randomFrom } from "./chance.js";

const FULL = 100_000;
const PREVIEW = 5000;

/** A shelf that starts empty; `order` has everything wanted, one wish at a time. */
class TestShelf implements Shelf {
  readonly held = new Map<string, Holding>();
  /** Where the rest of a full frame begins. */
  readonly begun = new Map<number, number>();

  constructor(
    readonly count: number,
    readonly hasPreviews = true,
    readonly reach: Readonly<Record<Layer, number>> = { preview: count, full: count },
    readonly fullBytes = FULL,
  ) {}

  holding(index: number, layer: Layer): Holding {
    if (index < 0 || index >= this.count) throw new Error(`asked about slice ${index} of ${this.count}`);
    if (layer === "preview" && !this.hasPreviews) return "barred";
    return this.held.get(`${layer} ${index}`) ?? "missing";
  }

  lacks(layer: Layer): boolean {
    for (let index = 0; index < this.count; index++)
      if (this.holding(index, layer) === "missing") return true;
    return false;
  }

  rest(index: number, layer: Layer): Rest {
    const size = layer === "preview" ? PREVIEW : this.fullBytes;
    const from = layer === "preview" ? 0 : (this.begun.get(index) ?? 0);
    return { from, to: size, bytes: size - from };
  }

  take({ index, layer, to }: Item): void {
    if (layer === "full" && to < this.fullBytes) this.begun.set(index, to);
    else this.held.set(`${layer} ${index}`, "here");
  }

  order(reader: Reader, motion: Motion = STILL, most = 10_000): string[] {
    const names: string[] = [];
    while (names.length < most) {
      const { value: wish } = wishes(reader, this, motion).next();
      if (!wish) break;
      names.push(`${wish.layer} ${wish.index}`);
      this.held.set(names.at(-1) as string, "here");
    }
    return names;
  }
}

const resting = (current: number): Reader => ({ current, direction: 1, resting: true });
const moving = (current: number, direction: 1 | -1 = 1): Reader => ({ current, direction, resting: false });
const indices = (names: readonly string[]): number[] => names.map((name) => Number(name.split(" ")[1]));

describe("the order", () => {
  it("starts with the preview and then the full frame of the slice in view", () => {
    expect(new TestShelf(100).order(resting(40), STILL, 2)).toEqual(["preview 40", "full 40"]);
  });

  it("goes on with previews on a coarse grid before finer ones", () => {
    const previews = indices(new TestShelf(65).order(resting(32)).filter((name) => name.startsWith("p")));
    expect(previews.slice(0, 5)).toEqual([32, 48, 16, 64, 0]);
    expect(previews.slice(5, 9)).toEqual([40, 24, 56, 8]);
    expect(previews).toHaveLength(65);
    expect(new Set(previews).size).toBe(65);
  });

  it("looks more ahead than behind for a moving reader, whichever way", () => {
    expect(indices(new TestShelf(129).order(moving(64), STILL, 5))).toEqual([64, 80, 96, 112, 48]);
    expect(indices(new TestShelf(129).order(moving(64, -1), STILL, 5))).toEqual([64, 48, 32, 16, 80]);
  });

  it("asks second for the slice a moving reader will have come to", () => {
    const motion = { previewLead: 9, fullLead: null };
    expect(new TestShelf(200).order(moving(50), motion, 2)).toEqual(["preview 50", "preview 59"]);
    expect(new TestShelf(200).order(moving(195), motion, 2)).toEqual(["preview 195", "preview 199"]);
  });

  it("has no full frame for a moving reader whose link has no room for them", () => {
    expect(new TestShelf(65).order(moving(32)).filter((name) => name.startsWith("full"))).toEqual([]);
  });

  it("has full frames ahead of a reader who moves slowly enough, once all previews are here", () => {
    const names = new TestShelf(65).order(moving(32), { previewLead: 1, fullLead: 3 });
    expect(names.indexOf("full 35")).toBe(65);
    expect(names).toHaveLength(66);
  });

  it("has full frames outwards from a resting reader once all previews are here", () => {
    const full = indices(new TestShelf(20).order(resting(5)).filter((name) => name.startsWith("full")));
    expect(full.slice(0, 5)).toEqual([5, 6, 4, 7, 3]);
    expect(full).toHaveLength(20);
  });

  it("has no more full frames than may be held", () => {
    const shelf = new TestShelf(500, true, { preview: 500, full: 10 });
    expect(shelf.order(resting(250)).filter((name) => name.startsWith("full"))).toHaveLength(21);
  });

  it("has full frames close to a moving reader where there are no previews", () => {
    const order = new TestShelf(500, false).order(moving(250));
    expect(order.slice(0, 3)).toEqual(["full 250", "full 251", "full 249"]);
    expect(order).toHaveLength(7);
  });

  it("has neither what is coming nor what is barred", () => {
    const shelf = new TestShelf(1);
    shelf.held.set("preview 0", "barred");
    shelf.held.set("full 0", "coming");
    expect(shelf.order(resting(0))).toEqual([]);
  });

  it("wants each frame once, every preview within reach, and at rest the current slice first", () => {
    const random = randomFrom(1);
    const whole = (most: number): number => Math.floor(random() * most);
    for (let round = 0; round < 300; round++) {
      const count = 1 + whole(200);
      const shelf = new TestShelf(count, random() < 0.9, { preview: whole(250), full: whole(60) });
      for (let place = whole(80); place > 0; place--) {
        const layer = random() < 0.7 ? "preview" : "full";
        shelf.held.set(`${layer} ${whole(count)}`, random() < 0.5 ? "here" : "coming");
      }
      const current = whole(count);
      const reader: Reader = { current, direction: random() < 0.5 ? 1 : -1, resting: random() < 0.5 };
      const missing = (layer: Layer): boolean => shelf.holding(current, layer) === "missing";
      const first = missing("preview") && shelf.holding(current, "full") !== "here";
      const second = reader.resting && missing("full");
      const motion = { previewLead: whole(70), fullLead: random() < 0.5 ? whole(20) : null };
      const found = [...wishes(reader, shelf, motion)].map(({ layer, index }) => `${layer} ${index}`);
      expect(new Set(found).size).toBe(found.length);
      if (first) expect(found[0]).toBe(`preview ${current}`);
      if (second) expect(found[first ? 1 : 0]).toBe(`full ${current}`);
      for (let index = 0; index < count; index++) {
        const isWanted =
          shelf.holding(index, "preview") === "missing" && Math.abs(index - current) <= shelf.reach.preview;
        if (isWanted) expect(found).toContain(`preview ${index}`);
      }
    }
  });
});

describe("a plan", () => {
  it("has about as many bytes as there is room", () => {
    const { items, bytes } = plan(moving(500), new TestShelf(1000), STILL, 40_000, true);
    expect(items).toHaveLength(8);
    expect(bytes).toBe(40_000);
  });

  it("cuts a full frame to the room, and the last part takes what little is left", () => {
    const shelf = new TestShelf(1);
    const parts: [number, number][] = [];
    for (let round = 0; round < 20; round++) {
      const { items } = plan(resting(0), shelf, STILL, 48_000, true);
      for (const item of items) {
        shelf.take(item);
        if (item.layer === "full") parts.push([item.from, item.to]);
      }
    }
    expect(parts).toEqual([
      [0, 43_000],
      [43_000, FULL],
    ]);
  });

  it("asks for a frame of unknown size as a whole", () => {
    const shelf = new TestShelf(1, false);
    shelf.rest = () => ({ from: 0, to: 0, bytes: 500_000 });
    expect(plan(resting(0), shelf, STILL, 48_000, true).items).toEqual([
      { index: 0, layer: "full", from: 0, to: 0 },
    ]);
  });

  it("has one item at least, however small the room", () => {
    expect(plan(resting(3), new TestShelf(9), STILL, 1, true).items).toHaveLength(1);
  });

  it("leaves what nobody waits for where that is not wanted", () => {
    const shelf = new TestShelf(2);
    shelf.order(resting(0), STILL, 3);
    expect(plan(resting(0), shelf, STILL, 48_000, false).items).toEqual([]);
    expect(plan(resting(0), shelf, STILL, 48_000, true).items[0]).toMatchObject({ index: 1, layer: "full" });
  });

  it("never asks for a byte twice, whatever the reader does, and asks for all in the end", () => {
    for (let seed = 1; seed <= 20; seed++) {
      const random = randomFrom(seed);
      const shelf = new TestShelf(40, true, { preview: 40, full: 40 }, 60_000 + 9000 * seed);
      const asked = new Map<string, number>();
      for (let round = 0; round < 3000; round++) {
        const late = round > 200;
        const current = late ? 7 : Math.floor(random() * 40);
        const reader: Reader = {
          current,
          direction: random() < 0.5 ? 1 : -1,
          resting: late || random() < 0.5,
        };
        const motion = { previewLead: Math.floor(random() * 9), fullLead: Math.floor(random() * 5) };
        for (const item of plan(reader, shelf, motion, 4000 + random() * 60_000, true).items) {
          const name = `${item.layer} ${item.index}`;
          expect(item.from).toBe(asked.get(name) ?? 0);
          expect(item.to).toBeGreaterThan(item.from);
          asked.set(name, item.to);
          shelf.take(item);
        }
      }
      for (let index = 0; index < 40; index++) {
        expect(asked.get(`preview ${index}`)).toBe(PREVIEW);
        expect(asked.get(`full ${index}`)).toBe(shelf.fullBytes);
      }
    }
  });
});
