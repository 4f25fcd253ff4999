import { describe, expect, it } from "vitest";
import { scaleOf } from "../src/charts.js";
import { changedWords } from "../src/drift.js";
import { figuresOf, gateWords } from "../src/gate.js";
import type { Model, Progress, Rule, Snapshot } from "../src/learning.js";
import { figureOf, intervalWords } from "../src/metrics.js";
import { afterWords, besideWords, keyFigures } from "../src/models.js";
import { epochsOf, leftWords, secondsLeft } from "../src/runs.js";
import { servingWords } from "../src/serving.js";
import { excludedWords, partsOf } from "../src/snapshot.js";

const rule = (passed: boolean, change: Partial<Rule> = {}): Rule => ({
  name: "sensitivity",
  value: 0.78123,
  limit: 0.8,
  passed,
  ...change,
});

describe("the gate", () => {
  it("counts what fails", () => {
    expect(gateWords({ approved: false, rules: [rule(false), rule(true), rule(true)] })).toBe(
      "The gate refused it: 1 of 3 rules fails.",
    );
    expect(gateWords({ approved: true, rules: [rule(true)] })).toContain("all 1 rules hold");
  });

  it("tells figures as far as they are some", () => {
    expect(figuresOf(rule(false))).toBe("0.781, limit 0.8");
    expect(figuresOf(rule(true, { value: true, limit: null }))).toBe("");
    expect(figuresOf(rule(true, { value: 62, limit: null }))).toBe("62");
  });
});

describe("training", () => {
  const progress = (change: Partial<Progress> = {}): Progress => ({
    epoch: 2,
    epochs: 6,
    train_loss: 0.5,
    validation_loss: 0.6,
    ...change,
  });

  it("says how long it takes, by the server's reckoning or by what it took so far", () => {
    expect(secondsLeft(progress({ seconds_left: 30, seconds: 100 }))).toBe(30);
    expect(secondsLeft(progress({ seconds: 100 }))).toBe(200);
    expect(secondsLeft(progress())).toBeNull();
    expect(secondsLeft(progress({ epoch: 0, seconds: 5 }))).toBeNull();
    expect(leftWords(200)).toBe("about 3 minutes of training left");
    expect(leftWords(10)).toContain("less than a minute");
    expect(leftWords(null)).toBe("");
  });

  it("shows the server's epochs, or those that went by on the page, each once", () => {
    const history = [{ epoch: 1, train_loss: 0.7, validation_loss: 0.7 }];
    expect(epochsOf("a", progress({ history }))).toEqual(history);
    epochsOf("b", progress({ epoch: 1 }));
    epochsOf("b", progress({ epoch: 1 }));
    expect(epochsOf("b", progress({ epoch: 2 })).map(({ epoch }) => epoch)).toEqual([1, 2]);
  });

  it("is drawn inside its box, a single value in the middle", () => {
    const size = { width: 100, height: 50 };
    const { x, y } = scaleOf(
      [
        [1, 0.9],
        [5, 0.1],
      ],
      { ...size, marks: [2] },
    );
    for (const value of [x(1), x(5)]) expect(value).toBeGreaterThanOrEqual(0);
    expect(x(5)).toBeLessThanOrEqual(size.width);
    expect(y(0.9)).toBeLessThan(y(0.1)); // more is higher
    expect(y(2)).toBeGreaterThanOrEqual(0); // the limit is in view too
    expect(scaleOf([[3, 3]], size).x(3)).toBe(50);
  });
});

describe("what a run learned from", () => {
  const snapshot: Snapshot = {
    counts: {
      test: { absent: 4, present: 6 },
      train: { absent: 20, present: 30 },
      external: { absent: 0, present: 0 },
    },
    patients: { train: 41, test: 9 },
    excluded: { "retired-patient": 2, "no-finding": 5, never: 0 },
  };

  it("is told part by part, without empty ones", () => {
    expect(partsOf(snapshot)).toEqual([
      { part: "train", absent: 20, present: 30, patients: 41 },
      { part: "test", absent: 4, present: 6, patients: 9 },
    ]);
    expect(partsOf({})).toEqual([]);
  });

  it("and what was left out by reason, most first", () => {
    expect(excludedWords(snapshot)).toEqual(["5 image sets: no finding", "2 image sets: retired patient"]);
  });
});

describe("figures", () => {
  it("are plain numbers or have intervals, and nothing else is one", () => {
    expect(figureOf(0.9)).toEqual({ value: 0.9 });
    expect(intervalWords({ value: 0.9, ci_low: 0.85, ci_high: 0.95 })).toBe("0.850 to 0.950");
    expect(intervalWords({ value: 0.9 })).toBe("");
    expect(figureOf([1, 2])).toBeNull();
    expect(figureOf({ curve: [] })).toBeNull();
  });

  it("come in the order they are looked at, with a sensitivity of zero too", () => {
    const found = keyFigures({ metrics: { accuracy: 0.9, odd: 1, roc_auc: { value: 0.95 }, recall: 0 } });
    expect(Object.keys(found)).toEqual(["roc_auc", "accuracy", "recall"]);
  });
});

describe("decisions", () => {
  const model = (change: Partial<Model> = {}): Model => ({
    version: 3,
    status: "PendingManualApproval",
    aliases: [],
    metrics: null,
    created_at: "",
    approved_at: null,
    decided_at: null,
    lineage: null,
    ...change,
  });

  it("are followed by what became of it", () => {
    expect(afterWords(model(), model({ status: "Approved" }))).toContain("v3 is approved");
    expect(afterWords(model(), model({ status: "Rejected" }))).toContain("rejected");
    expect(afterWords(model(), model())).toContain("takes another");
    expect(afterWords(model(), model({ version: 2, status: "Approved" }))).toContain(
      "v2 gives its opinion again",
    );
    expect(afterWords(model(), model({ notice: "Everybody is the owner here." }))).toContain("owner");
  });

  it("are told from the ledger with who, when and why", () => {
    const told = servingWords({
      version: 2,
      since: "2026-11-01T10:00:00Z",
      until: null,
      approved_by: ["rolf", "aud"],
      approved_at: "2026-11-01T09:00:00Z",
      reason: "evidence-reviewed",
    });
    expect(told).toMatch(/^Model v2: since .*approved by rolf and aud on .*\(evidence reviewed\)\.$/);
    expect(servingWords({ version: null })).toBe("No model served then.");
  });
});

it("a shadow is compared once both have judged something", () => {
  const found = { champion: 2, shadow: 3, image_sets: 40, agreement: 0.925, difference: 0.081 };
  expect(besideWords(found)).toBe(
    "Beside the champion v2: the same finding in 93 % of 40 image sets, their probabilities 0.08 apart in the mean.",
  );
  expect(besideWords({ ...found, image_sets: 0, agreement: null })).toBe("");
  expect(besideWords(null)).toBe("");
});

it("drift says whether the patients or the images changed", () => {
  expect(changedWords({ state: "alarm", changed: "scanner" })).toContain("images look different");
  expect(changedWords({ state: "alarm", changed: "prevalence" })).toContain("More or fewer patients");
  expect(changedWords({ state: "quiet" })).toBe("");
});
