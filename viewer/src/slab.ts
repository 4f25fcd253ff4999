/** Thick slabs: what lies within some millimetres of a plane, projected onto it. */
import type { Direction } from "./protocol.js";
import { cross, type Plane, pitchAlong, resample, scaled, type Volume } from "./volume.js";

/** `plane`: no slab. `mip`, `minip`: the greatest and the least value on the way through; `mean`: their average. */
export type SlabMode = "plane" | "mip" | "minip" | "mean";

export interface Slab {
  readonly mode: SlabMode;
  readonly mm: number;
}

export const SLAB_LABELS: Readonly<Record<SlabMode, string>> = {
  plane: "Thin",
  mip: "MIP",
  minip: "MinIP",
  mean: "Mean",
};

/** Samples for each voxel passed: one is enough while the picture moves. */
export type Fineness = 1 | 2;

/**
 * Distances from the plane at which a slab is sampled: evenly from one face to the other, both included.
 *
 * @param pitch Distance of voxels along the normal, in mm.
 */
export function slabOffsets({ mode, mm }: Slab, pitch: number, fineness: Fineness): number[] {
  if (mode === "plane" || mm <= 0) return [0];
  const count = Math.ceil((mm * fineness) / pitch - 1e-9) + 1;
  return Array.from({ length: count }, (_, at) => mm * (at / (count - 1) - 0.5));
}

/**
 * A slab around a plane, projected along the plane's normal.
 *
 * @param out Receives (height, width) stored values. What is not there counts for nothing; NaN where nothing is.
 */
export function project(
  volume: Volume,
  plane: Plane,
  slab: Slab,
  fineness: Fineness,
  out: Float32Array,
): void {
  const normal = unit(cross(plane.right, plane.down));
  const offsets = slabOffsets(slab, pitchAlong(volume.plan.grid, normal), fineness);
  if (offsets.length === 1) {
    resample(volume, plane, [0, 0, 0], out);
    return;
  }
  const layer = new Float32Array(out.length);
  const counts = new Uint16Array(slab.mode === "mean" ? out.length : 0);
  out.fill(slab.mode === "mean" ? 0 : Number.NaN);
  for (const offset of offsets) {
    resample(volume, plane, scaled(normal, offset), layer);
    gather(slab.mode, layer, out, counts);
  }
  if (slab.mode !== "mean") return;
  for (let i = 0; i < out.length; i++) out[i] = (out[i] as number) / (counts[i] as number); // 0 / 0 is NaN
}

function gather(mode: SlabMode, layer: Float32Array, out: Float32Array, counts: Uint16Array): void {
  for (let i = 0; i < layer.length; i++) {
    const value = layer[i] as number;
    if (Number.isNaN(value)) continue;
    const before = out[i] as number;
    if (mode === "mean") {
      out[i] = before + value;
      counts[i] = (counts[i] as number) + 1;
    } else if (Number.isNaN(before) || (mode === "mip" ? value > before : value < before)) {
      out[i] = value;
    }
  }
}

function unit(way: Direction): Direction {
  return scaled(way, 1 / Math.hypot(...way));
}
