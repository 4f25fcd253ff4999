import { describe, expect, it } from "vitest";
import { describeWindow, draggedWindow, fullRange, grey, presetsFor, rampOf } from "../src/window.js";

describe("the LINEAR function of PS3.3 C.11.2.1.2.1", () => {
  const ramp = rampOf({ center: 40, width: 400 });

  it("is black at its lower end and white at its upper", () => {
    expect(grey(40 - 0.5 - 399 / 2, ramp)).toBe(0);
    expect(grey(40 - 0.5 + 399 / 2, ramp)).toBe(1);
    expect(grey(-3000, ramp)).toBe(0);
    expect(grey(3000, ramp)).toBe(1);
  });

  it("agrees with the formula of the standard in between", () => {
    for (const value of [-150, -20, 0, 39.5, 40, 100, 220]) {
      expect(grey(value, ramp)).toBeCloseTo((value - (40 - 0.5)) / (400 - 1) + 0.5, 12);
    }
  });

  it("is a threshold for a width of one: black up to half a value below the centre", () => {
    const threshold = rampOf({ center: 100, width: 1 });
    expect(grey(99, threshold)).toBe(0);
    expect(grey(100, threshold)).toBe(1);
    expect(grey(99.5, threshold)).toBe(0);
  });
});

it("LINEAR_EXACT has its ends half a width from the centre", () => {
  const ramp = rampOf({ center: 40, width: 400 }, "linear-exact");
  expect([-160, 40, 240].map((value) => grey(value, ramp))).toEqual([0, 0.5, 1]);
});

it("SIGMOID is the curve of PS3.3 C.11.2.1.3.1", () => {
  const ramp = rampOf({ center: 40, width: 400 }, "sigmoid");
  for (const value of [-1000, -160, 0, 40, 200, 3000]) {
    expect(grey(value, ramp)).toBeCloseTo(1 / (1 + Math.exp((-4 * (value - 40)) / 400)), 12);
  }
});

it("the full range shows the least value black and the greatest white", () => {
  const ramp = rampOf(fullRange(12, 4000));
  expect(grey(12, ramp)).toBe(0);
  expect(grey(4000, ramp)).toBe(1);
  expect(grey(2006, ramp)).toBeCloseTo(0.5, 12);
});

it("a flat image does not divide by nothing", () => {
  expect(Number.isFinite(grey(7, rampOf(fullRange(7, 7))))).toBe(true);
});

it("a drag to the right widens, one downwards raises the centre", () => {
  const before = { center: 40, width: 400 };
  expect(draggedWindow(before, 50, 0).width).toBeGreaterThan(400);
  expect(draggedWindow(before, 0, 50).center).toBeGreaterThan(40);
  expect(draggedWindow(before, 0, 0)).toEqual(before);
});

it("no drag makes a window narrower than one value", () => {
  expect(draggedWindow({ center: 0, width: 2 }, -100_000, 0).width).toBe(1);
});

it("CT has the five presets of OHIF on the keys 1 to 5, then as stored and the full range", () => {
  const presets = presetsFor("CT").map(({ name, window }) => [name, window]);
  expect(presets).toEqual([
    ["soft-tissue", { center: 40, width: 400 }],
    ["lung", { center: -600, width: 1500 }],
    ["liver", { center: 90, width: 150 }],
    ["bone", { center: 480, width: 2500 }],
    ["brain", { center: 40, width: 80 }],
    ["as-stored", "as-stored"],
    ["full-range", "full-range"],
  ]);
});

it("an X-ray is shown as stored or in full", () => {
  expect(presetsFor("DX").map((preset) => preset.name)).toEqual(["as-stored", "full-range"]);
});

it("a window reads as radiologists write it", () => {
  expect(describeWindow({ center: -600, width: 1500 })).toBe("W 1500 L -600");
  expect(describeWindow({ center: -0.2, width: 400 })).toBe("W 400 L 0");
});
