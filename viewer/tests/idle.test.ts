import { beforeEach, expect, it } from "vitest";
import { IdleClock } from "../src/idle.js";

const MINUTE = 60_000;
let told: string[];
let clock: IdleClock;

beforeEach(() => {
  told = [];
  const hooks = {
    warn: (left: number) => void told.push(`warn ${left / 1000}`),
    calm: () => void told.push("calm"),
    fire: () => void told.push("fire"),
    beat: () => void told.push("beat"),
  };
  clock = new IdleClock(15 * MINUTE, hooks, 0);
});

it("who does nothing is warned for a minute, then signed out once", () => {
  clock.tick(14 * MINUTE - 1);
  expect(told).toEqual([]);
  clock.tick(14 * MINUTE);
  clock.tick(15 * MINUTE - 1000);
  clock.tick(15 * MINUTE);
  clock.tick(16 * MINUTE);
  expect(told).toEqual(["warn 60", "warn 1", "fire"]);
});

it("who answers the warning has the whole time again", () => {
  clock.tick(14.5 * MINUTE);
  clock.active(14.6 * MINUTE);
  clock.tick(28 * MINUTE);
  expect(told).toEqual(["warn 30", "calm", "beat"]);
});

it("a laptop that slept through its time is locked at once, whatever is touched first", () => {
  clock.active(40 * MINUTE);
  expect(told).toEqual(["fire"]);
  clock.active(41 * MINUTE);
  expect(told).toEqual(["fire"]);
});

it("the server hears of a busy reader once a minute and not of each movement", () => {
  for (let second = 1; second <= 180; second++) clock.active(second * 1000);
  expect(told).toEqual(["beat", "beat", "beat"]);
});

it("what another tab did before is no news", () => {
  clock.active(5 * MINUTE);
  clock.active(4 * MINUTE);
  clock.tick(19 * MINUTE);
  expect(told).toEqual(["beat", "warn 60"]);
});

it("with a short time the warning takes half of it", () => {
  const hooks = {
    warn: () => void told.push("warn"),
    calm: () => {},
    fire: () => void told.push("fire"),
    beat: () => {},
  };
  const short = new IdleClock(6000, hooks, 0);
  short.tick(2999);
  short.tick(3000);
  short.tick(6000);
  expect(told).toEqual(["warn", "fire"]);
});
