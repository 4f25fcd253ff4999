import { expect, it } from "vitest";
import { verdictWords } from "../src/audit.js";
import { consequence } from "../src/decision.js";
import type { Action, Session, State } from "../src/protocol.js";
import { mayOf, PAGES, placeFor, routeOf } from "../src/routes.js";
import { countOf } from "../src/worklist.js";
import { stateWords } from "../src/worklist-rows.js";

const id = "0123456789abcdefghijklmnopqrstuv";

function may(...actions: Action[]): ReturnType<typeof mayOf> {
  const session: Session = { id: "u", name: "anna", roles: [], actions, is_open: false, idle_minutes: 15 };
  return mayOf(session);
}

function pagesOf(...actions: Action[]): string[] {
  const allowed = may(...actions);
  return PAGES.filter(({ needs, isWithin }) => !isWithin && allowed(needs)).map(({ name }) => name);
}

it("each role sees its pages and no other", () => {
  expect(pagesOf("model.read", "event.read")).toEqual(["loop", "models"]);
  expect(pagesOf("image.search", "image.read", "image.write", "model.read")).toEqual([
    "worklist",
    "upload",
    "loop",
    "models",
  ]);
  expect(pagesOf("audit.read", "model.read")).toEqual(["loop", "models", "audit"]);
});

it("whoever has no images begins with their own work, whatever the address says", () => {
  expect(placeFor(routeOf("#/"), may("model.read"))).toEqual({ name: "loop" });
  expect(placeFor(routeOf("#/upload"), may("audit.read", "model.read"))).toEqual({ name: "audit" });
  expect(placeFor(routeOf(`#/view/${id}`), may("model.read", "model.decide"))).toEqual({ name: "models" });
  expect(placeFor(routeOf("#/audit"), may("image.search"))).toEqual({ name: "worklist" });
  expect(placeFor(routeOf(`#/view/${id}`), may("image.read"))).toEqual({ name: "view", id });
});

it("whoever may do nothing is shown no page", () => {
  expect(placeFor(routeOf("#/"), may())).toBeNull();
});

it("while nobody could be asked everything is offered, and the server refuses", () => {
  expect(mayOf(null)("image.verify")).toBe(true);
});

it("what has no frames is a report, and nobody is asked to verify it", () => {
  const report = { state: "INGESTED", finding: null, frames: 0 } as const;
  expect(stateWords(report, may("image.verify"))[0]).toBe("Report");
  expect(stateWords({ ...report, frames: 3 }, may("image.verify"))[0]).toContain("To verify");
  expect(stateWords({ ...report, frames: 3 }, may("image.read"))[0]).toContain("Unverified");
  expect(stateWords({ ...report, state: "REJECTED" }, may())[0]).toContain("Rejected");
});

it("a report is counted among all and not among what is to be verified", () => {
  const page = { counts: { INGESTED: 5, VERIFIED: 2, REJECTED: 1 }, reports: 2 };
  expect(["INGESTED", "VERIFIED", "REJECTED"].map((state) => countOf(page, state as State))).toEqual([
    3, 2, 1,
  ]);
  expect(countOf(page, null)).toBe(8);
});

it("a decision about a model is told with what it brings about", () => {
  expect(consequence(3, true)).toContain("v3 becomes the champion");
  expect(consequence(3, false)).toContain("v3 is rejected");
});

it("a chain that is broken says where", () => {
  const verdict = { whole: true, entries: 1, head: "a", broken_at: null, holds_head: true };
  expect(verdictWords(verdict)).toBe("The chain is whole: 1 entry.");
  expect(verdictWords({ ...verdict, whole: false, broken_at: 7 })).toContain("entry 7");
  expect(verdictWords({ ...verdict, whole: false, holds_head: false })).toContain("does not hold");
});
