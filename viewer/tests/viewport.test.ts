import { expect, it } from "vitest";
import { fitted, panBy, scaleBar, zoomAbout } from "../src/viewport.js";

const view = { width: 400, height: 800 };
const image = { width: 512, height: 512 };

it("a fitted image fills the shorter side and is centred", () => {
  const placement = fitted(view, image, 1);
  expect(placement.columnPx * 512).toBeCloseTo(400);
  expect(placement.x).toBeCloseTo(0);
  expect(placement.y).toBeCloseTo(200);
});

it("pixels that are not square keep their shape", () => {
  const placement = fitted(view, { width: 100, height: 50 }, 3);
  expect(placement.rowPx / placement.columnPx).toBeCloseTo(3);
});

it("zooming leaves the point under the fingers where it is", () => {
  const before = fitted(view, image, 1);
  const after = zoomAbout(before, 2, 130, 310, 0.1);
  const column = (130 - before.x) / before.columnPx;
  expect(after.x + column * after.columnPx).toBeCloseTo(130);
  expect(after.columnPx).toBeCloseTo(before.columnPx * 2);
});

it("zooming out ends at the least scale", () => {
  expect(zoomAbout(fitted(view, image, 1), 0.001, 0, 0, 0.4).columnPx).toBeCloseTo(0.4);
});

it("the image cannot be lost by panning", () => {
  const far = panBy(fitted(view, image, 1), 1e6, -1e6, view, image);
  expect(far.x).toBe(200);
  expect(far.y + 400).toBeCloseTo(400);
});

it("the scale bar has a round length that fits", () => {
  for (const mmPerPx of [0.01, 0.37, 1.048, 7]) {
    const { mm, px } = scaleBar(mmPerPx, 120);
    expect(px).toBeLessThanOrEqual(120 + 1e-9);
    expect(px).toBeGreaterThan(40);
    expect([1, 2, 5]).toContain(Number((mm / 10 ** Math.floor(Math.log10(mm) + 1e-9)).toFixed(6)));
  }
});
