import { describe, expect, it } from "vitest";
import { Gestures, Inertia, type Intentions } from "../src/gestures.js";

type Call = [name: string, ...values: number[]];

function recorder(): { calls: Call[]; gestures: Gestures } {
  const calls: Call[] = [];
  const note =
    (name: string) =>
    (...values: number[]): void => {
      calls.push([name, ...values]);
    };
  const names = ["scroll", "fling", "window", "pan", "zoom", "fit"] as const;
  const intentions = Object.fromEntries(names.map((name) => [name, note(name)])) as unknown as Intentions;
  return { calls, gestures: new Gestures(intentions) };
}

const finger = (id: number, x: number, y: number, t: number, button = 0) => ({ id, x, y, t, button });
const names = (calls: Call[]): string[] => [...new Set(calls.map(([name]) => name))];

describe("one finger", () => {
  it("scrolls by how far it moves", () => {
    const { calls, gestures } = recorder();
    gestures.down(finger(1, 0, 100, 0));
    gestures.move(finger(1, 0, 130, 16));
    gestures.move(finger(1, 0, 120, 32));
    expect(calls).toEqual([
      ["scroll", 30],
      ["scroll", -10],
    ]);
  });

  it("flings with the speed of its last moments", () => {
    const { calls, gestures } = recorder();
    gestures.down(finger(1, 0, 0, 0));
    gestures.move(finger(1, 0, 10, 400));
    for (let i = 1; i <= 5; i++) gestures.move(finger(1, 0, 10 + i * 20, 400 + i * 10));
    gestures.up(finger(1, 0, 110, 450));
    const [name, speed] = calls.at(-1) as Call;
    expect(name).toBe("fling");
    expect(speed).toBeCloseTo(2, 5);
  });

  it("does not fling when it rested before it left", () => {
    const { calls, gestures } = recorder();
    gestures.down(finger(1, 0, 0, 0));
    gestures.move(finger(1, 0, 200, 50));
    gestures.up(finger(1, 0, 200, 600));
    expect(calls.at(-1)).toEqual(["fling", 0]);
  });

  it("sets the window in window mode, and never scrolls there", () => {
    const { calls, gestures } = recorder();
    gestures.mode = "window";
    gestures.down(finger(1, 0, 0, 0));
    gestures.move(finger(1, 5, -7, 16));
    gestures.up(finger(1, 5, -7, 400));
    expect(calls).toEqual([["window", 5, -7]]);
  });
});

describe("the mouse", () => {
  it("sets the window with the right button and pans with the middle one", () => {
    const { calls, gestures } = recorder();
    gestures.down(finger(1, 0, 0, 0, 2));
    gestures.move(finger(1, 3, 4, 16, 2));
    gestures.up(finger(1, 3, 4, 400, 2));
    gestures.down(finger(1, 0, 0, 500, 1));
    gestures.move(finger(1, 6, 8, 516, 1));
    gestures.up(finger(1, 6, 8, 900, 1));
    expect(calls).toEqual([
      ["window", 3, 4],
      ["pan", 6, 8],
    ]);
  });
});

describe("two fingers", () => {
  it("zoom by their distance about their middle", () => {
    const { calls, gestures } = recorder();
    gestures.down(finger(1, 100, 100, 0));
    gestures.down(finger(2, 200, 100, 5));
    gestures.move(finger(2, 300, 100, 20));
    expect(calls).toContainEqual(["zoom", 2, 200, 100]);
    expect(calls).toContainEqual(["pan", 50, 0]);
  });

  it("pan when they move together", () => {
    const { calls, gestures } = recorder();
    gestures.down(finger(1, 100, 100, 0));
    gestures.down(finger(2, 200, 100, 5));
    gestures.move(finger(1, 100, 140, 20));
    gestures.move(finger(2, 200, 140, 20));
    const panned = calls.filter(([name]) => name === "pan").reduce((sum, [, , dy]) => sum + (dy ?? 0), 0);
    const zoomed = calls
      .filter(([name]) => name === "zoom")
      .reduce((all, [, factor]) => all * (factor ?? 1), 1);
    expect(panned).toBe(40);
    expect(zoomed).toBeCloseTo(1, 10);
  });

  it("leave no scroll behind when one lifts before the other", () => {
    const { calls, gestures } = recorder();
    gestures.down(finger(1, 100, 100, 0));
    gestures.down(finger(2, 200, 100, 5));
    gestures.up(finger(2, 200, 100, 50));
    gestures.move(finger(1, 100, 300, 60));
    gestures.up(finger(1, 100, 300, 70));
    expect(names(calls)).toEqual([]);
  });
});

describe("taps", () => {
  const tap = (gestures: Gestures, x: number, t: number): void => {
    gestures.down(finger(1, x, 50, t));
    gestures.up(finger(1, x, 50, t + 60));
  };

  it("fit when there are two in quick succession", () => {
    const { calls, gestures } = recorder();
    tap(gestures, 50, 0);
    tap(gestures, 55, 200);
    expect(calls).toEqual([["fit"]]);
  });

  it("do nothing when they are far apart in place or time", () => {
    const { calls, gestures } = recorder();
    tap(gestures, 50, 0);
    tap(gestures, 250, 200);
    tap(gestures, 250, 2000);
    expect(calls).toEqual([]);
  });

  it("count a third one as the first of a new pair", () => {
    const { calls, gestures } = recorder();
    for (const t of [0, 150, 300]) tap(gestures, 50, t);
    expect(calls).toEqual([["fit"]]);
  });
});

describe("inertia", () => {
  it("travels the same way however often it is asked", () => {
    const travelled = (ms: number): number => {
      const inertia = new Inertia();
      inertia.start(2);
      let sum = 0;
      while (inertia.moving) sum += inertia.step(ms);
      return sum;
    };
    expect(travelled(8)).toBeCloseTo(travelled(33), -1);
    expect(travelled(16)).toBeGreaterThan(600);
  });

  it("ends", () => {
    const inertia = new Inertia();
    inertia.start(-5);
    for (let i = 0; i < 400; i++) inertia.step(16);
    expect(inertia.moving).toBe(false);
    expect(inertia.step(16)).toBeCloseTo(0);
  });

  it("does not start from a standstill", () => {
    const inertia = new Inertia();
    inertia.start(0.001);
    expect(inertia.moving).toBe(false);
  });
});
