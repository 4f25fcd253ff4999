import { expect, it } from "vitest";
import { ByteLru } from "../src/lru.js";
import { randomFrom } from "./chance.js";

it("forgets what was used longest ago when the bytes run out", () => {
  const gone: string[] = [];
  const cache = new ByteLru<string, number>(30, (key) => gone.push(key));
  cache.set("a", 1, 10);
  cache.set("b", 2, 10);
  cache.set("c", 3, 10);
  cache.get("a");
  cache.set("d", 4, 10);
  expect(gone).toEqual(["b"]);
  expect(cache.peek("a")).toBe(1);
  expect(cache.bytes).toBe(30);
});

it("looks without making young", () => {
  const cache = new ByteLru<string, number>(20);
  cache.set("a", 1, 10);
  cache.set("b", 2, 10);
  cache.peek("a");
  cache.set("c", 3, 10);
  expect(cache.peek("a")).toBeUndefined();
});

it("keeps the newest even if it alone is larger than the budget", () => {
  const cache = new ByteLru<string, number>(5);
  cache.set("a", 1, 3);
  cache.set("b", 2, 50);
  expect(cache.size).toBe(1);
  expect(cache.get("b")).toBe(2);
});

it("counts a replaced value once", () => {
  const cache = new ByteLru<string, number>(100);
  cache.set("a", 1, 60);
  cache.set("a", 2, 70);
  expect(cache.bytes).toBe(70);
  expect(cache.get("a")).toBe(2);
});

it("forgets one without telling", () => {
  const gone: string[] = [];
  const cache = new ByteLru<string, number>(100, (key) => gone.push(key));
  cache.set("a", 1, 60);
  cache.delete("a");
  cache.delete("b");
  expect([cache.bytes, cache.size, gone]).toEqual([0, 0, []]);
});

it("never holds more than its budget, except for one that is larger by itself", () => {
  const random = randomFrom(5);
  const cache = new ByteLru<number, number>(1000);
  for (let round = 0; round < 5000; round++) {
    const key = Math.floor(random() * 50);
    if (random() < 0.2) cache.delete(key);
    else cache.set(key, round, Math.floor(random() * 400));
    let sum = 0;
    for (let other = 0; other < 50; other++) if (cache.peek(other) !== undefined) sum++;
    expect(cache.size).toBe(sum);
    expect(cache.bytes).toBeLessThanOrEqual(1000);
  }
});
