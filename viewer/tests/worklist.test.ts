import { expect, it } from "vitest";
import type { Summary } from "../src/protocol.js";
import { isMatch } from "../src/worklist.js";

const item = {
  patient_name: "Müller^Anna",
  patient_id: "PH-0042",
  modality: "CT",
  body_part: "CHEST",
  series_description: "Thorax 1.0 B70f",
  study_date: "20260131",
} as Summary;

it.each([
  "",
  "  ",
  "mül",
  "muller",
  "anna müller",
  "Anna, CT",
  "ph-0042",
  "2026-01",
  "20260131",
  "thorax chest",
])("%j finds the row", (wanted) => expect(isMatch(item, wanted)).toBe(true));

it.each(["x", "anna x", "ler", "0042", "mr"])("%j does not", (wanted) =>
  expect(isMatch(item, wanted)).toBe(false),
);
