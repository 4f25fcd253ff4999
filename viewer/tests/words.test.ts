import { expect, it } from "vitest";
import { describe as describeDetail } from "../src/loop.js";
import { badgeText } from "../src/overlays.js";
import { errorFrom } from "../src/protocol.js";
import { routeOf } from "../src/routes.js";
import { duration, metricName, personName, studyDate } from "../src/words.js";

it("a study date is read as a date, and an odd one stays as it is", () => {
  expect(studyDate("20260131")).toBe("2026-01-31");
  expect(studyDate("2026")).toBe("2026");
  expect(studyDate(null)).toBe("no date");
});

it("a name shows family and given name of its first group", () => {
  expect(personName("Doe^Jane^^Dr")).toBe("Doe, Jane");
  expect(personName("Yamada^Tarou=山田^太郎")).toBe("Yamada, Tarou");
  expect(personName(null)).toBe("Unnamed");
});

it("a metric has a readable name", () => {
  expect(metricName("roc_auc")).toBe("ROC AUC");
  expect(metricName("accuracy")).toBe("Accuracy");
});

it("a step that has not ended has no duration", () => {
  expect(duration("2026-01-01T00:00:00Z", null)).toBe("");
  expect(duration("2026-01-01T00:00:00Z", "2026-01-01T00:00:42Z")).toBe("42 s");
});

it("an address names an image set or nothing", () => {
  const id = "0123456789abcdefghijklmnopqrstuv";
  expect(routeOf(`#/view/${id}`)).toEqual({ name: "view", id });
  expect(routeOf("#/view/Doe^Jane")).toEqual({ name: "worklist" });
  expect(routeOf("#/loop")).toEqual({ name: "loop" });
  expect(routeOf("")).toEqual({ name: "worklist" });
});

it("the server's own words and code reach the reader", () => {
  const error = errorFrom(409, '{"error": {"code": "conflict", "message": "Already verified."}}');
  expect(error).toMatchObject({ kind: "conflict", code: "conflict", message: "Already verified." });
});

it("a proxy's error page is not shown to the reader", () => {
  expect(errorFrom(502, "<html>")).toMatchObject({ kind: "failed", message: "The server answered 502." });
});

it("someone signed out is told how to come back", () => {
  expect(errorFrom(401, '{"error": {"code": "denied", "message": "x"}}').message).toContain("sign in");
});

it("a neighbour is never passed off as the slice itself", () => {
  expect(badgeText("neighbour", 11)).toBe("◌ preview (lossy) of slice 12");
  expect(badgeText("preview", 11)).toContain("preview (lossy)");
  expect(badgeText("lossless", 0)).toBe("✓ lossless");
});

it("an event's plain values are told and nested ones are not", () => {
  expect(describeDetail({ image_set: "a", nested: { secret: 1 }, version: 2 })).toBe(
    "image set a · version 2",
  );
});
