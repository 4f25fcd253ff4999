import { expect, it } from "vitest";
import type { Summary } from "../../src/protocol.js";
import { seriesOf } from "../../src/tools/series-list.js";

const series = (id: string, study: string | undefined, created_at: string, frames = 3): Summary =>
  ({ id, created_at, frames, ...(study === undefined ? {} : { study }) }) as Summary;

const mine = series("b", "s1", "2026-01-02");

it("are those of the same study with images, in the order they came, this one among them", () => {
  const others = [
    series("c", "s1", "2026-01-03"),
    series("a", "s1", "2026-01-01"),
    series("x", "s2", "2026-01-01"),
    series("report", "s1", "2026-01-01", 0),
    mine,
  ];
  expect(seriesOf(mine, others).map(({ id }) => id)).toEqual(["a", "b", "c"]);
});

it("are in the same order from each of them", () => {
  const [a, c] = [series("a", "s1", "2026-01-02"), series("c", "s1", "2026-01-02")];
  const order = (from: Summary): string[] => seriesOf(from, [a, mine, c]).map(({ id }) => id);
  expect([order(a), order(mine), order(c)]).toEqual(Array(3).fill(["a", "b", "c"]));
});

it("are this one alone where no study is told", () => {
  const alone = series("b", undefined, "2026-01-02");
  expect(seriesOf(alone, [series("a", undefined, "2026-01-01")])).toEqual([alone]);
});
