import { expect, it } from "vitest";
import { actionOf, type Chord, HOTKEYS, keysOf } from "../../src/tools/hotkeys.js";

const chord = (key: string, more: Partial<Chord> = {}): Chord => ({
  key,
  ctrlKey: false,
  metaKey: false,
  shiftKey: false,
  altKey: false,
  ...more,
});

it("the keys of OHIF mean what they mean there", () => {
  const ohif = {
    ArrowUp: "previous",
    ArrowDown: "next",
    PageDown: "next-series",
    PageUp: "previous-series",
    Home: "first",
    End: "last",
    "+": "zoom-in",
    "-": "zoom-out",
    "=": "fit",
    " ": "reset",
    i: "invert",
    r: "rotate-right",
    l: "rotate-left",
    h: "flip-horizontal",
    v: "flip-vertical",
    c: "cine",
    Escape: "cancel",
    "1": "preset-1",
    "5": "preset-5",
  } as const;
  for (const [key, action] of Object.entries(ohif)) expect(actionOf(chord(key))).toBe(action);
  expect(actionOf(chord("z", { ctrlKey: true }))).toBe("undo");
  expect(actionOf(chord("y", { ctrlKey: true }))).toBe("redo");
});

it("a sign that takes the shift key is that sign, a letter is one in capitals too", () => {
  expect(actionOf(chord("+", { shiftKey: true }))).toBe("zoom-in");
  expect(actionOf(chord("?", { shiftKey: true }))).toBe("help");
  expect(actionOf(chord("R", { shiftKey: true }))).toBe("rotate-right");
});

it("shift and control make other keys of arrows and letters", () => {
  expect(actionOf(chord("ArrowDown", { shiftKey: true }))).toBe("next-ten");
  expect(actionOf(chord("Z", { ctrlKey: true, shiftKey: true }))).toBe("redo");
  expect(actionOf(chord("z", { metaKey: true }))).toBe("undo");
});

it("what the browser does with control or alt stays the browser's", () => {
  for (const key of ["r", "f", "p", "l", "c", "d"])
    expect(actionOf(chord(key, { ctrlKey: true }))).toBeNull();
  expect(actionOf(chord("ArrowLeft", { altKey: true }))).toBeNull();
});

it("no key means two things, and every action has one", () => {
  const keys = HOTKEYS.flatMap(({ hotkeys }) => hotkeys.flatMap((hotkey) => hotkey.keys));
  expect(new Set(keys).size).toBe(keys.length);
  for (const { action } of HOTKEYS.flatMap(({ hotkeys }) => hotkeys)) expect(keysOf(action)).not.toEqual([]);
});
