import { expect, it } from "vitest";
import { edgeLetters, letters } from "../src/orientation.js";

it("puts the patient's right on the left of an axial image", () => {
  expect(edgeLetters([1, 0, 0], [0, 1, 0])).toEqual({ left: "R", right: "L", top: "A", bottom: "P" });
});

it("puts the head on top of a coronal image", () => {
  expect(edgeLetters([1, 0, 0], [0, 0, -1])).toEqual({ left: "R", right: "L", top: "H", bottom: "F" });
});

it("puts the face on the left of a sagittal image", () => {
  expect(edgeLetters([0, 1, 0], [0, 0, -1])).toEqual({ left: "A", right: "P", top: "H", bottom: "F" });
});

it("names an oblique direction by its strongest part first", () => {
  expect(letters([0, 0.8, -0.6])).toBe("PF");
  expect(letters([-0.6, 0, 0.8])).toBe("HR");
});

it("gives no letter for a slight tilt", () => {
  expect(letters([0.995, 0.1, 0])).toBe("L");
});

it("says nothing where the image says nothing", () => {
  expect(edgeLetters(null, null)).toEqual({ left: "", right: "", top: "", bottom: "" });
  expect(letters([0, 0, 0])).toBe("");
});
