/** Small charts: lines in a box, as SVG of our own, each with its figures in words for who does not see it. */

export interface Line {
  /** Known values with their places; a gap is left out. */
  readonly points: readonly (readonly [number, number])[];
  /** `main` is drawn through, `second` dashed: the difference is not one of colour alone. */
  readonly look: "main" | "second";
}

export interface ChartSize {
  readonly width: number;
  readonly height: number;
  /** Values that are always in view, such as a limit. */
  readonly marks?: readonly number[];
  /** Whether the greatest and the least value stand at the left edge. */
  readonly isScaled?: boolean;
}

const SVG = "http://www.w3.org/2000/svg";
const PAD = 4;
const TEXT_PX = 11;

export interface Scale {
  readonly x: (value: number) => number;
  readonly y: (value: number) => number;
  readonly low: number;
  readonly high: number;
}

/** Where values lie in a box: everything in view, one single value in the middle. */
export function scaleOf(
  points: readonly (readonly [number, number])[],
  { width, height, marks = [] }: ChartSize,
): Scale {
  const xs = points.map(([x]) => x);
  const ys = [...points.map(([, y]) => y), ...marks].filter(Number.isFinite);
  const [left, right] = [Math.min(...xs), Math.max(...xs)];
  const [low, high] = [Math.min(...ys), Math.max(...ys)];
  const along = (value: number, from: number, to: number, length: number): number =>
    to > from ? PAD + ((value - from) / (to - from)) * (length - 2 * PAD) : length / 2;
  return {
    x: (value) => along(value, left, right, width),
    y: (value) => height - along(value, low, high, height),
    low,
    high,
  };
}

function svg(name: string, attributes: Readonly<Record<string, string | number>>, text = ""): SVGElement {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
  element.textContent = text;
  return element;
}

/** Lines over one another. `words` is what is told of it; without any point there is no chart. */
export function lineChart(lines: readonly Line[], words: string, size: ChartSize): Element | null {
  const known = lines.map((line) => ({
    ...line,
    points: line.points.filter(([, value]) => Number.isFinite(value)),
  }));
  const all = known.flatMap(({ points }) => points);
  if (all.length === 0) return null;
  const { width, height, marks = [], isScaled = false } = size;
  const { x, y, low, high } = scaleOf(all, size);
  const box = `0 0 ${width} ${height}`;
  const root = svg("svg", { class: "chart", viewBox: box, role: "img", "aria-label": words });
  for (const value of marks) {
    root.append(svg("line", { class: "chart-mark", x1: 0, x2: width, y1: y(value), y2: y(value) }));
  }
  for (const { points, look } of known) {
    const path = points.map(([at, value]) => `${x(at).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
    root.append(svg("polyline", { class: `chart-line chart-${look}`, points: path }));
    const last = points.at(-1);
    if (last)
      root.append(svg("circle", { class: `chart-dot chart-${look}`, cx: x(last[0]), cy: y(last[1]), r: 3 }));
  }
  if (isScaled) {
    root.append(svg("text", { class: "chart-text", x: 0, y: TEXT_PX }, high.toPrecision(2)));
    root.append(svg("text", { class: "chart-text", x: 0, y: height - PAD }, low.toPrecision(2)));
  }
  return root;
}
