import { describe, expect, it } from "vitest";
import { hitOf, toLine } from "../../src/tools/hits.js";
import { type Mark, Marks } from "../../src/tools/marks.js";
import { repeat } from "../chance.js";

const line = (slice: number, x = 0): Omit<Mark, "id"> => ({
  kind: "length",
  slice,
  points: [
    { x, y: 0 },
    { x: x + 10, y: 0 },
  ],
  lines: ["10.0 mm"],
});

describe("measurements", () => {
  it("are kept by slice, the new one chosen", () => {
    const marks = new Marks();
    marks.add(line(3));
    marks.add(line(4));
    expect(marks.on(3)).toHaveLength(1);
    expect(marks.on(5)).toEqual([]);
    expect(marks.selected?.slice).toBe(4);
  });

  it("come back when deleting them is undone, and go again when that is done again", () => {
    const marks = new Marks();
    marks.add(line(0));
    const { id } = marks.all[0] as Mark;
    marks.remove(id);
    expect([marks.all.length, marks.canUndo, marks.canRedo]).toEqual([0, true, false]);
    marks.undo();
    expect(marks.all[0]?.id).toBe(id);
    marks.redo();
    expect(marks.all).toEqual([]);
  });

  it("forget what could be done again once something else is done", () => {
    const marks = new Marks();
    marks.add(line(0));
    marks.undo();
    marks.add(line(1));
    expect(marks.canRedo).toBe(false);
    expect(marks.all.map(({ slice }) => slice)).toEqual([1]);
  });

  it("have nothing chosen that is not there", () => {
    const marks = new Marks();
    marks.add(line(0));
    marks.undo();
    expect(marks.selected).toBeNull();
    marks.remove(99);
    expect(marks.canRedo).toBe(true);
  });

  it("undone to the beginning and done again are what they were, whatever was done", () => {
    repeat(100, (random) => {
      const marks = new Marks();
      const states = [marks.all];
      for (let step = 0; step < 20; step++) {
        const any = marks.all[Math.floor(random() * marks.all.length)];
        if (!any || random() < 0.5) marks.add(line(Math.floor(random() * 5), random()));
        else if (random() < 0.7) marks.change(any.id, [{ x: random(), y: 1 }], ["moved"]);
        else marks.remove(any.id);
        states.push(marks.all);
      }
      for (const state of [...states].reverse().slice(1)) {
        marks.undo();
        expect(marks.all).toEqual(state);
      }
      marks.undo();
      expect(marks.all).toEqual([]);
      for (const state of states.slice(1)) {
        marks.redo();
        expect(marks.all).toEqual(state);
      }
    });
  });
});

describe("what is under a pointer", () => {
  const drawn = [
    { id: 1, kind: "length", points: [at(0, 0), at(100, 0)] },
    { id: 2, kind: "ellipse", points: [at(200, 0), at(300, 60)] },
  ] as const;

  it("is a handle before a line", () => {
    expect(hitOf(drawn, at(3, 3), 9)).toEqual({ id: 1, point: 0 });
    expect(hitOf(drawn, at(50, 4), 9)).toEqual({ id: 1, point: -1 });
  });

  it("is the outline of an ellipse and not its inside", () => {
    expect(hitOf(drawn, at(250, 2), 9)).toEqual({ id: 2, point: -1 });
    expect(hitOf(drawn, at(297, 30), 9)).toEqual({ id: 2, point: -1 });
    expect(hitOf(drawn, at(250, 30), 9)).toBeNull();
  });

  it("is nothing out of reach", () => {
    expect(hitOf(drawn, at(50, 30), 9)).toBeNull();
    expect(hitOf([], at(0, 0), 99)).toBeNull();
  });

  it("is measured to the end of a line and not to where it would go on", () => {
    expect(toLine(at(0, 0), at(10, 0), at(13, 4))).toBeCloseTo(5);
    expect(toLine(at(5, 5), at(5, 5), at(8, 9))).toBeCloseTo(5);
  });
});

function at(x: number, y: number): { x: number; y: number } {
  return { x, y };
}
