/**
 * What was drawn, counted for tests and benchmarks: `window.radloopStats()` tells, `radloopStats(true)` begins anew.
 *
 * Whoever fetches or decodes adds its own figures by `tellStats`.
 */

/** How many drawings showed nothing, another slice, the preview and the full frame of the slice in view. */
export interface DrawnStats {
  drawn: number;
  blank: number;
  neighbour: number;
  preview: number;
  full: number;
}

const NOTHING: DrawnStats = { drawn: 0, blank: 0, neighbour: 0, preview: 0, full: 0 };
const drawn: DrawnStats = { ...NOTHING };

type Part = { read(): object; reset(): void };
const parts: Part[] = [
  {
    read: () => drawn,
    reset: () => {
      Object.assign(drawn, NOTHING);
    },
  },
];

export function countDrawing(kind: Exclude<keyof DrawnStats, "drawn">): void {
  drawn.drawn++;
  drawn[kind]++;
}

/** Have more told by `radloopStats()`, until the function that is given back is called. */
export function tellStats(part: Part): () => void {
  parts.push(part);
  return () => parts.splice(parts.indexOf(part), 1);
}

declare global {
  interface Window {
    radloopStats(reset?: boolean): object;
  }
}

window.radloopStats = (reset = false) => {
  const told = Object.assign({}, ...parts.map((part) => part.read())) as object;
  if (reset) for (const part of parts) part.reset();
  return told;
};
