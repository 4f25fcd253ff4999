import { describe, expect, it } from "vitest";
import { agreementWords } from "../src/adjudication.js";
import { labelWords } from "../src/labels.js";
import type { Label, Read } from "../src/learning.js";
import { opinionWords } from "../src/opinion.js";
import { errorFrom, type Reading, type Summary } from "../src/protocol.js";
import { openerWords, outcomeWords, readTitle, sendWords, sideOf, stageOf } from "../src/reading.js";
import { readerName, readWords } from "../src/reads.js";
import type { May } from "../src/routes.js";
import { findingWords } from "../src/waiting.js";

const verifier: May = (action) => action === "image.verify";
const adjudicator: May = (action) => ["image.verify", "image.adjudicate"].includes(action);
const reader: May = () => false;
const reading = (change: Partial<Reading> = {}): Reading => ({
  policy: "double-adjudicated",
  given: 0,
  needed: 2,
  mine: false,
  state: "open",
  blinded: true,
  ...change,
});
const set = (change: Partial<Reading> = {}, state: Summary["state"] = "INGESTED") => ({
  state,
  reading: reading(change),
});
const disputed = { state: "adjudication", given: 2, needed: null } as const;

describe("whose turn it is", () => {
  it.each([
    ["an unread image set waits for a verifier", set(), verifier, "read"],
    ["and for nobody who may not verify", set(), reader, "elsewhere"],
    ["who has read waits for others", set({ mine: true, state: "waiting", given: 1 }), verifier, "given"],
    ["a dispute is the adjudicator's", set(disputed), adjudicator, "adjudicate"],
    ["but not of one who has read it", set({ ...disputed, mine: true }), adjudicator, "given"],
    ["nor another verifier's", set(disputed), verifier, "elsewhere"],
    ["a settled one is nobody's", set({ state: "settled" }, "VERIFIED"), adjudicator, "done"],
    [
      "one that is asked about again is the adjudicator's",
      set(disputed, "VERIFIED"),
      adjudicator,
      "adjudicate",
    ],
    ["a rejected one is nobody's, whatever is asked", set(disputed, "REJECTED"), adjudicator, "done"],
    ["a server that knows one read only", { state: "INGESTED" } as const, verifier, "read"],
  ] as const)("%s", (_, what, may, stage) => expect(stageOf(what, may)).toBe(stage));
});

describe("a read under the double policy", () => {
  it("is numbered, and says that it is blinded", () => {
    expect(readTitle(reading())).toBe("Read 1 of 2, blinded");
    expect(readTitle(reading({ given: 1, needed: 1 }))).toBe("Read 2 of 2, blinded");
    expect(sendWords(reading())).toBe("GIVE READ 1 OF 2");
  });

  it("beyond the second tells nobody that the others differed", () => {
    const third = reading({ given: 2, needed: null, state: "waiting" });
    expect(readTitle(third)).toBe("Read 3, blinded");
    expect(`${readTitle(third)} ${openerWords({ state: "INGESTED", reading: third }, verifier)}`).not.toMatch(
      /differ|dispute|agree/i,
    );
  });

  it("is followed by what happens next", () => {
    const given = { mine: true, blinded: false };
    expect(outcomeWords(reading({ ...given, state: "waiting", given: 1, needed: 1 }))).toContain(
      "second reader",
    );
    expect(outcomeWords(reading({ ...given, state: "waiting", given: 2, needed: null }))).toContain(
      "one more",
    );
    expect(outcomeWords(reading({ ...given, ...disputed }))).toContain("adjudicator");
    expect(outcomeWords(reading({ ...given, state: "settled" }))).toBeNull();
  });
});

it("under the single policy a read is ground truth, as ever", () => {
  const single = reading({ policy: "single", needed: 1, blinded: false });
  expect(readTitle(single)).toBe("Verify as ground truth");
  expect(sendWords(undefined)).toBe("VERIFY AS GROUND TRUTH");
  expect(openerWords({ state: "INGESTED", reading: single }, verifier)).toBe("Verify");
});

it.each([
  ["RUL", "right"],
  ["RML", "right"],
  ["LLL", "left"],
  ["LINGULA", "left"],
  ["BILATERAL", "both"],
  ["DIFFUSE", null],
  ["", null],
  [null, null],
])("the side of %j is %j", (site, side) => expect(sideOf(site)).toBe(side));

it("reads stand beside one another without names", () => {
  const read = { finding: "present", site: null, laterality: "both", confidence: "low" } as Read;
  expect(readWords(read)).toEqual(["Present", "both sides", "low confidence"]);
  expect([readerName(0), readerName(1), readerName(30)]).toEqual(["Reader A", "Reader B", "Reader 31"]);
});

it("a side is told where there is no site", () => {
  const finding = { finding: "present", site: null, laterality: "left", confidence: "high" } as const;
  expect(findingWords(finding)).toBe("Finding present, left side, high confidence.");
  expect(findingWords({ ...finding, site: "LLL" })).toBe("Finding present, LLL, high confidence.");
});

it("a label tells what made it so", () => {
  const label: Label = {
    at: "",
    version: 2,
    rule: "posterior",
    by: null,
    finding: "absent",
    posterior: 0.08,
    reads: 3,
  };
  expect(labelWords(label)).toBe("Finding absent: the reads together, 3 reads, probability 0.08");
  expect(labelWords({ ...label, rule: "adjudication", reason: "other-disease" })).toContain("other disease");
});

describe("a model's opinion", () => {
  const said = { probability: 0.834, finding: "present", model_version: 3, threshold: 0.41 } as const;

  it("is told with its number and from where it says present", () => {
    const words = opinionWords(said);
    expect(words).toContain("suggests present (probability 0.83");
    expect(words).toContain("0.41");
  });

  it("says plainly that it does not know such images, and tells no number then", () => {
    const words = opinionWords({
      probability: null,
      finding: null,
      model_version: 3,
      refused: "out-of-distribution",
    });
    expect(words).toContain("does not know such images");
    expect(words).not.toMatch(/probability|present|absent/);
  });
});

it("agreement is told with its interval, and not before anything was read twice", () => {
  const all = { kappa: 0.51, ci_low: 0.4, ci_high: 0.62, image_sets: 40 };
  expect(agreementWords({ reads: 80, all })).toContain("kappa 0.51 (0.40 to 0.62), over 40 series");
  expect(agreementWords({ reads: 1, all: { ...all, kappa: null } })).toBe("");
  expect(agreementWords(null)).toBe("");
});

it("a refusal that tells its reason is shown in its own words, a plain one in ours", () => {
  const body = (code: string): string => JSON.stringify({ error: { code, message: "whoever trained it" } });
  expect(errorFrom(403, body("separation-of-duties")).message).toBe("whoever trained it");
  expect(errorFrom(403, body("denied")).message).toBe("You are not allowed to do this.");
});
