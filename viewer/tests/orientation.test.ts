import { describe, expect, it } from "vitest";
import { edgeLetters, letters, sidesOf } from "../src/orientation.js";
import type { Direction } from "../src/protocol.js";
import {
  CLOCKWISE,
  COUNTERCLOCKWISE,
  LEFT_RIGHT,
  type Turn,
  turned,
  UPRIGHT,
  UPSIDE_DOWN,
} from "../src/viewport.js";
import { anyOf, repeat } from "./chance.js";

const NOWHERE = { row_direction: null, column_direction: null };
const of = (row: Direction, column: Direction): readonly [string, string] =>
  sidesOf({ orientation: [...row, ...column], sides: null }, NOWHERE);

it("puts the patient's right on the left of an axial image", () => {
  const edges = edgeLetters(...of([1, 0, 0], [0, 1, 0]));
  expect(edges).toEqual({ left: "R", right: "L", top: "A", bottom: "P" });
});

it("puts the head on top of a coronal image", () => {
  const edges = edgeLetters(...of([1, 0, 0], [0, 0, -1]));
  expect(edges).toEqual({ left: "R", right: "L", top: "H", bottom: "F" });
});

it("puts the face on the left of a sagittal image", () => {
  const edges = edgeLetters(...of([0, 1, 0], [0, 0, -1]));
  expect(edges).toEqual({ left: "A", right: "P", top: "H", bottom: "F" });
});

describe("turned on the screen", () => {
  const axial = of([1, 0, 0], [0, 1, 0]);

  it("a quarter clockwise takes the top to the right", () => {
    expect(edgeLetters(...axial, CLOCKWISE)).toEqual({ left: "P", right: "A", top: "R", bottom: "L" });
  });

  it("a quarter counterclockwise takes the top to the left", () => {
    expect(edgeLetters(...axial, COUNTERCLOCKWISE)).toEqual({ left: "A", right: "P", top: "L", bottom: "R" });
  });

  it("a flip changes two sides and leaves the others", () => {
    expect(edgeLetters(...axial, LEFT_RIGHT)).toEqual({ left: "L", right: "R", top: "A", bottom: "P" });
    expect(edgeLetters(...axial, UPSIDE_DOWN)).toEqual({ left: "R", right: "L", top: "P", bottom: "A" });
  });

  it("the letter at an edge is where that side of the patient went, whatever was done", () => {
    repeat(300, (random) => {
      const steps = [CLOCKWISE, COUNTERCLOCKWISE, LEFT_RIGHT, UPSIDE_DOWN] as const;
      let turn: Turn = UPRIGHT;
      for (let done = Math.floor(random() * 6); done > 0; done--) turn = turned(turn, anyOf(steps, random));
      const edges = edgeLetters(...axial, turn);
      // L is where columns grow: that way of the image as the screen has it.
      const towards = turn.a > 0 ? "right" : turn.a < 0 ? "left" : turn.b > 0 ? "bottom" : "top";
      expect(edges[towards]).toBe("L");
      const back = turn.c > 0 ? "right" : turn.c < 0 ? "left" : turn.d > 0 ? "bottom" : "top";
      expect(edges[back]).toBe("P");
    });
  });
});

describe("the sides of a frame", () => {
  const set = { row_direction: [1, 0, 0] as Direction, column_direction: [0, 1, 0] as Direction };

  it("are its own, though its series lies otherwise", () => {
    expect(sidesOf({ orientation: [0, 1, 0, 0, 0, -1], sides: null }, set)).toEqual(["P", "F"]);
  });

  it("are the words of a radiograph", () => {
    expect(sidesOf({ orientation: null, sides: ["L", "F"] }, NOWHERE)).toEqual(["L", "F"]);
    expect(edgeLetters("L", "FR")).toEqual({ left: "R", right: "L", top: "HL", bottom: "FR" });
  });

  it("are not guessed from the others of the series", () => {
    expect(sidesOf({ orientation: null, sides: null }, set)).toEqual(["", ""]);
  });
});

it("names an oblique direction by its strongest part first", () => {
  expect(letters([0, 0.8, -0.6])).toBe("PF");
  expect(letters([-0.6, 0, 0.8])).toBe("HR");
});

it("gives no letter for a slight tilt", () => {
  expect(letters([0.995, 0.1, 0])).toBe("L");
});

it("says nothing where the image says nothing", () => {
  expect(edgeLetters("", "")).toEqual({ left: "", right: "", top: "", bottom: "" });
  expect(letters([0, 0, 0])).toBe("");
});
