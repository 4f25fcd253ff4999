import { expect, it } from "vitest";
import { Cine, playsItself } from "../../src/tools/cine.js";

/** Slices gone on by in so many milliseconds of a screen that draws 60 times a second. */
function played(cine: Cine, ms: number): number {
  let slices = 0;
  cine.play(0);
  for (let now = 0; now <= ms; now += 1000 / 60) slices += cine.due(now);
  return slices;
}

it("plays as many slices a second as it was told", () => {
  for (const fps of [1, 7, 15, 24, 60]) {
    const cine = new Cine();
    cine.fps = fps;
    expect(Math.abs(played(cine, 10_000) - fps * 10)).toBeLessThanOrEqual(1);
  }
});

it("takes from 1 to 60 slices a second and nothing else", () => {
  const cine = new Cine();
  cine.fps = 0;
  expect(cine.fps).toBe(1);
  cine.fps = 400;
  expect(cine.fps).toBe(60);
});

it("stands still once it is stopped", () => {
  const cine = new Cine();
  cine.play(0);
  cine.pause();
  expect(cine.due(5000)).toBe(0);
});

it("goes on after a stall and does not race", () => {
  const cine = new Cine();
  cine.play(0);
  expect(cine.due(60_000)).toBeLessThanOrEqual(2);
});

it("begins by itself with films alone, and never for whoever wants stillness", () => {
  expect(playsItself("US", 30, false)).toBe(true);
  expect(playsItself("US", 30, true)).toBe(false);
  expect(playsItself("US", 1, false)).toBe(false);
  expect(playsItself("CT", 300, false)).toBe(false);
});
