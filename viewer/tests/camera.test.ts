import { expect, it } from "vitest";
import { Camera } from "../src/camera.js";
import { boundsOf, CLOCKWISE, scaleOf } from "../src/viewport.js";

const image = { width: 100, height: 50 };

function cameraOn(view: { width: number; height: number }): Camera {
  const camera = new Camera(() => view);
  camera.placementFor(image, 1);
  return camera;
}

it("a fitted image stays fitted when the view changes its size or the image is turned", () => {
  const view = { width: 200, height: 400 };
  const camera = cameraOn(view);
  view.width = 50;
  expect(scaleOf(camera.placementFor(image, 1))).toBeCloseTo(0.5);
  camera.turnBy(CLOCKWISE);
  expect(boundsOf(camera.placementFor(image, 1), image)).toEqual({
    left: 0,
    top: 150,
    right: 50,
    bottom: 250,
  });
});

it("an image that was zoomed stays as it was put", () => {
  const view = { width: 200, height: 400 };
  const camera = cameraOn(view);
  camera.zoom(2, 100, 200);
  const put = camera.placementFor(image, 1);
  view.width = 50;
  expect(camera.placementFor(image, 1)).toEqual(put);
  camera.reset();
  expect(scaleOf(camera.placementFor(image, 1))).toBeCloseTo(0.5);
});

it("zooming out ends at half of what fits, and no image is lost by panning", () => {
  const camera = cameraOn({ width: 200, height: 400 });
  for (let step = 0; step < 20; step++) camera.zoom(0.5, 0, 0);
  const placement = camera.placementFor(image, 1);
  expect(scaleOf(placement)).toBeCloseTo(1);
  camera.pan(1e6, 1e6);
  expect(boundsOf(camera.placementFor(image, 1), image)).toMatchObject({ left: 100, top: 200 });
});

it("nothing can be zoomed or moved before there is an image", () => {
  const camera = new Camera(() => ({ width: 10, height: 10 }));
  camera.zoom(2, 0, 0);
  camera.pan(5, 5);
  expect(camera.placement).toBeNull();
  expect(camera.isFitted).toBe(true);
});
