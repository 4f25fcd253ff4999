/** Figures of dashboards in words: short, with their unit, the same number of digits whatever the size. */

const DIGITS = 3;
const STEPS: Readonly<Record<string, readonly (readonly [number, string])[]>> = {
  seconds: [
    [86_400, "d"],
    [3600, "h"],
    [60, "min"],
    [1, "s"],
    [0.001, "ms"],
    [0, "µs"],
  ],
  bytes: [
    [1e12, "TB"],
    [1e9, "GB"],
    [1e6, "MB"],
    [1e3, "KB"],
    [0, "B"],
  ],
};
const SIZES: Readonly<Record<string, number>> = { B: 1, µs: 1e-6 };

/** "38.6 ms", "1.08 GB", "90 %", "$0.5"; other units stand in the title of what is drawn. */
export function figure(value: number, unit: string): string {
  const step = STEPS[unit]?.find(([least]) => Math.abs(value) >= least);
  if (step) {
    const [size, name] = step;
    return `${short(value / (size || (SIZES[name] ?? 1)))} ${name}`;
  }
  if (unit === "gigabytes") return `${short(value)} GB`;
  if (unit === "percent") return `${short(value)} %`;
  if (unit === "dollars") return `$${short(value)}`;
  if (unit === "minutes") return `${short(value)} min`;
  if (unit === "hours") return `${short(value)} h`;
  return short(value);
}

function short(value: number): string {
  if (!Number.isFinite(value)) return "–";
  if (Math.abs(value) >= 1e6) return `${short(value / 1e6)} M`;
  if (Math.abs(value) >= 10 ** DIGITS) return Math.round(value).toLocaleString("en");
  return String(Number(value.toPrecision(DIGITS)));
}

/** The last value that is known; null where none is. */
export function latest(points: readonly (number | null)[]): number | null {
  for (let place = points.length - 1; place >= 0; place--) {
    const value = points[place];
    if (typeof value === "number") return value;
  }
  return null;
}

/** What is told of a drawing to whoever does not see it. */
export function spoken(title: string, points: readonly (number | null)[], unit: string): string {
  const known = points.filter((value) => value !== null);
  const last = latest(points);
  if (last === null) return `${title}: nothing measured`;
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const between = low === high ? "" : `, between ${figure(low, unit)} and ${figure(high, unit)}`;
  return `${title}: latest ${figure(last, unit)}${between}`;
}
