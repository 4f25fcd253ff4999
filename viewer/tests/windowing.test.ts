import { expect, it } from "vitest";
import type { Shown } from "../src/frames.js";
import type { Pixels } from "../src/pixels.js";
import type { FrameInfo, ImageSet, Layer } from "../src/protocol.js";
import { Windowing } from "../src/windowing.js";

function info(changes: Partial<FrameInfo> = {}): FrameInfo {
  const usual = { samples: 1, slope: 1, intercept: 0, photometric: "MONOCHROME2", voi_function: "linear" };
  return { ...usual, window_center: null, window_width: null, ...changes } as FrameInfo;
}

function shown(least: number, most: number, layer: Layer = "full"): Shown {
  return { index: 0, layer, pixels: { kind: "grey", least, most } as Pixels };
}

const setOf = (modality: string, ...frame_list: FrameInfo[]): ImageSet =>
  ({ modality, frame_list }) as unknown as ImageSet;

it("begins as stored, and follows the window that each frame has of its own", () => {
  const windowing = new Windowing(setOf("MR", info()));
  windowing.look(info({ window_center: 50, window_width: 100 }), shown(0, 999));
  expect([windowing.preset, windowing.window]).toEqual(["as-stored", { center: 50, width: 100 }]);
  windowing.look(info({ window_center: 70, window_width: 10 }), shown(0, 999));
  expect(windowing.window).toEqual({ center: 70, width: 10 });
});

it("keeps a window of the reader's own from frame to frame", () => {
  const windowing = new Windowing(setOf("MR", info()));
  windowing.look(info({ window_center: 50, window_width: 100 }), shown(0, 999));
  windowing.set({ center: 1, width: 2 });
  windowing.look(info({ window_center: 70, window_width: 10 }), shown(0, 999));
  expect([windowing.preset, windowing.window]).toEqual([null, { center: 1, width: 2 }]);
});

it("takes the full range of what was received, once a preview has only guessed it", () => {
  const windowing = new Windowing(setOf("DX", info()));
  windowing.look(info(), shown(-40, 4200, "preview"));
  expect(windowing.window?.width).toBe(4241);
  windowing.look(info(), shown(0, 4095));
  expect(windowing.window?.width).toBe(4096);
  windowing.look(info(), shown(0, 10)); // another frame of the series: the window stays
  expect(windowing.window?.width).toBe(4096);
});

it("bends only what the file says is bent: its own window and what a reader makes of it", () => {
  const bent = info({ window_center: 50, window_width: 100, voi_function: "sigmoid" });
  const windowing = new Windowing(setOf("DX", bent));
  expect(windowing.look(bent, shown(0, 999)).ramp.curve).toBe("sigmoid");
  const range = windowing.presets.find(({ name }) => name === "full-range");
  if (range) windowing.apply(range, bent, shown(0, 999));
  expect(windowing.look(bent, shown(0, 999)).ramp.curve).toBeUndefined();
});

it("shows MONOCHROME1 with its least values white, and the other way round where the reader inverts", () => {
  const windowing = new Windowing(setOf("DX", info()));
  const film = info({ photometric: "MONOCHROME1" });
  expect(windowing.look(film, shown(0, 9)).invert).toBe(true);
  windowing.isInverted = true;
  expect(windowing.look(film, shown(0, 9)).invert).toBe(false);
  windowing.reset();
  expect(windowing.look(film, shown(0, 9)).invert).toBe(true);
});

it("has no window for colour", () => {
  expect(new Windowing(setOf("US", info({ samples: 3 }))).presets).toEqual([]);
});
