import { describe, expect, it } from "vitest";
import { Gestures, Inertia, type Intentions, type Pointer } from "../src/gestures.js";

type Call = [name: string, ...values: (number | boolean)[]];

function recorder(): { calls: Call[]; gestures: Gestures } {
  const calls: Call[] = [];
  const note =
    (name: string) =>
    (...values: (number | boolean)[]): void => {
      calls.push([name, ...values]);
    };
  const names = ["scroll", "fling", "window", "pan", "zoom", "fit", "held"] as const;
  const intentions = Object.fromEntries(names.map((name) => [name, note(name)])) as unknown as Intentions;
  return { calls, gestures: new Gestures(intentions) };
}

const finger = (id: number, x: number, y: number, t: number): Pointer => ({
  id,
  x,
  y,
  t,
  button: 0,
  kind: "touch",
});
const mouse = (x: number, y: number, t: number, button = 0): Pointer => ({
  id: 1,
  x,
  y,
  t,
  button,
  kind: "mouse",
});
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
    gestures.modes.touch = "window";
    gestures.down(finger(1, 0, 0, 0));
    gestures.move(finger(1, 5, -7, 16));
    gestures.up(finger(1, 5, -7, 400));
    expect(calls).toEqual([["window", 5, -7]]);
  });
});

describe("the mouse", () => {
  const drag = (gestures: Gestures, button: number): void => {
    gestures.down(mouse(0, 0, 0, button));
    gestures.move(mouse(3, 4, 16));
    gestures.up(mouse(3, 4, 400));
  };

  it("sets the window with the left button, pans with the middle one", () => {
    const { calls, gestures } = recorder();
    drag(gestures, 0);
    drag(gestures, 1);
    expect(calls).toEqual([
      ["window", 3, 4],
      ["pan", 3, 4],
    ]);
  });

  it("zooms with the right button about where it went down, closer when it goes up", () => {
    const { calls, gestures } = recorder();
    gestures.down(mouse(50, 60, 0, 2));
    gestures.move(mouse(50, 20, 16));
    const [name, factor, x, y] = calls[0] as Call;
    expect([name, x, y]).toEqual(["zoom", 50, 60]);
    expect(factor).toBeGreaterThan(1);
  });

  it("scrolls with the left button where that is asked for, and the fingers keep their own way", () => {
    const { calls, gestures } = recorder();
    gestures.modes.mouse = "scroll";
    drag(gestures, 0);
    gestures.modes.mouse = "window";
    gestures.down(finger(1, 0, 0, 500));
    gestures.move(finger(1, 0, 9, 516));
    expect(calls.map(([name]) => name)).toEqual(["scroll", "fling", "scroll"]);
  });

  it("never presses long", () => {
    const { calls, gestures } = recorder();
    const pointer = mouse(0, 0, 0);
    gestures.down(pointer);
    gestures.hold(pointer);
    expect(calls).toEqual([]);
  });
});

describe("a long press", () => {
  it("sets the window for this drag alone", () => {
    const { calls, gestures } = recorder();
    const first = finger(1, 0, 0, 0);
    gestures.down(first);
    gestures.hold(first);
    gestures.move(finger(1, 5, 7, 600));
    gestures.up(finger(1, 5, 7, 700));
    gestures.down(finger(2, 0, 0, 1000));
    gestures.move(finger(2, 0, 9, 1016));
    expect(calls).toEqual([
      ["held", true],
      ["window", 5, 7],
      ["held", false],
      ["scroll", 9],
    ]);
  });

  it("is none once the finger has wandered, a second one has come, or it was another touch", () => {
    for (const spoil of [
      (gestures: Gestures) => gestures.move(finger(1, 0, 40, 100)),
      (gestures: Gestures) => gestures.down(finger(2, 90, 90, 100)),
      (gestures: Gestures) => {
        gestures.up(finger(1, 0, 0, 100));
        gestures.down(finger(1, 0, 0, 200));
      },
    ]) {
      const { calls, gestures } = recorder();
      const first = finger(1, 0, 0, 0);
      gestures.down(first);
      spoil(gestures);
      gestures.hold(first);
      expect(names(calls)).not.toContain("held");
    }
  });
});

describe("a grip", () => {
  function gripped(takes: boolean): { calls: Call[]; gestures: Gestures; seen: string[] } {
    const { calls, gestures } = recorder();
    const seen: string[] = [];
    gestures.grip = {
      down: () => {
        seen.push("down");
        return takes;
      },
      move: () => void seen.push("move"),
      up: () => void seen.push("up"),
      cancel: () => void seen.push("cancel"),
      tap: () => {
        seen.push("tap");
        return takes;
      },
    };
    return { calls, gestures, seen };
  }

  it("that takes a pointer has it to the end", () => {
    const { calls, gestures, seen } = gripped(true);
    gestures.down(finger(1, 0, 0, 0));
    gestures.move(finger(1, 0, 50, 16));
    gestures.up(finger(1, 0, 50, 400));
    expect(seen).toEqual(["down", "move", "up"]);
    expect(calls).toEqual([]);
  });

  it("gives way to two fingers", () => {
    const { calls, gestures, seen } = gripped(true);
    gestures.down(finger(1, 100, 100, 0));
    gestures.down(finger(2, 200, 100, 5));
    gestures.move(finger(2, 300, 100, 20));
    gestures.up(finger(2, 300, 100, 30));
    gestures.up(finger(1, 100, 100, 40));
    expect(seen).toEqual(["down", "cancel"]);
    expect(calls).toContainEqual(["zoom", 2, 200, 100]);
  });

  it("that does not take it leaves the finger to scroll, and hears of taps", () => {
    const { calls, gestures, seen } = gripped(false);
    gestures.down(finger(1, 0, 0, 0));
    gestures.move(finger(1, 0, 50, 16));
    gestures.up(finger(1, 0, 50, 400));
    gestures.down(finger(2, 0, 0, 600));
    gestures.up(finger(2, 0, 0, 650));
    expect(names(calls)).toEqual(["scroll", "fling"]);
    expect(seen).toEqual(["down", "down", "tap"]);
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
    const panned = calls
      .filter(([name]) => name === "pan")
      .reduce((sum, [, , dy]) => sum + Number(dy ?? 0), 0);
    const zoomed = calls
      .filter(([name]) => name === "zoom")
      .reduce((all, [, factor]) => all * Number(factor ?? 1), 1);
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
