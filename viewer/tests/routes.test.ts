import { expect, it } from "vitest";
import { mayOf, placeFor, routeOf } from "../src/routes.js";

const ID = "0123456789abcdefghijklmnopqrstuv";
const OTHER = "vutsrqponmlkjihgfedcba9876543210";

it.each([
  [`#/view/${ID}`, { name: "view", id: ID }],
  [`#/mpr/${ID}`, { name: "mpr", id: ID }],
  [`#/compare/${ID}`, { name: "compare", id: ID, other: null }],
  [`#/compare/${ID}/${OTHER}`, { name: "compare", id: ID, other: OTHER }],
  [`#/mpr/${ID}/${OTHER}`, { name: "worklist" }],
  [`#/compare/${ID}/x`, { name: "worklist" }],
  [`#/mpr/${ID}0`, { name: "worklist" }],
  ["#/mpr/", { name: "worklist" }],
  ["#/elsewhere", { name: "worklist" }],
])("%s leads to its page", (hash, route) => {
  expect(routeOf(hash)).toEqual(route);
});

it("planes and comparisons are for whoever may see images", () => {
  const session = { id: "u", name: "u", roles: [], actions: ["model.read"], is_open: false, idle_minutes: 0 };
  const may = mayOf(session as Parameters<typeof mayOf>[0]);
  for (const hash of [`#/mpr/${ID}`, `#/compare/${ID}`]) {
    expect(placeFor(routeOf(hash), may)).toEqual({ name: "loop" });
    expect(placeFor(routeOf(hash), mayOf(null))).toEqual(routeOf(hash));
  }
});
