/** The measurements over the image, drawn anew wherever the image lies. */
import { setText } from "../dom.js";
import type { Pane } from "../pane.js";
import type { Point } from "../viewport.js";
import type { Drawn } from "./hits.js";
import type { Kind } from "./measure.js";

/** A measurement to draw: a kept one, or one that is being set. */
export interface Sketch {
  readonly id: number;
  readonly kind: Kind;
  readonly points: readonly Point[];
  readonly lines: readonly string[];
  readonly isSelected: boolean;
}

const SVG = "http://www.w3.org/2000/svg";
const HANDLE_PX = 5;
const LINE_PX = 16;
const APART_PX = 10;
const SLIDER_PX = 54; // along the right edge, over which a finger goes
const LETTER_PX = 8; // as wide as the letters of the label are in the mean, and a little more

function svg<K extends keyof SVGElementTagNameMap>(
  tag: K,
  attributes: Readonly<Record<string, string | number>>,
): SVGElementTagNameMap[K] {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  return element;
}

export class MarkLayer {
  readonly root = svg("svg", { class: "marks", "aria-hidden": "true" });
  #drawn: readonly Drawn[] = [];

  /** What was drawn last, in CSS pixels of the view. */
  get drawn(): readonly Drawn[] {
    return this.#drawn;
  }

  draw(sketches: readonly Sketch[], pane: Pane): void {
    if (sketches.length === 0 && this.#drawn.length === 0) return;
    const view = pane.viewSize();
    const placed = sketches.map((sketch) => ({
      sketch,
      points: sketch.points.map(({ x, y }) => pane.viewPoint(x, y) ?? { x: 0, y: 0 }),
    }));
    this.#drawn = placed.map(({ sketch: { id, kind }, points }) => ({ id, kind, points }));
    this.root.replaceChildren(...placed.map(({ sketch, points }) => groupOf(sketch, points, view)));
  }
}

function groupOf(
  { id, kind, lines, isSelected }: Sketch,
  points: readonly Point[],
  view: { width: number; height: number },
): SVGGElement {
  const group = svg("g", {
    class: isSelected ? "mark selected" : "mark",
    "data-mark": id,
    "data-kind": kind,
  });
  const outline = outlineOf(kind, points);
  // A dark line under the bright one is seen on bone and on air.
  if (outline) group.append(withClass(outline, "halo"), withClass(outline.cloneNode() as SVGElement, "line"));
  for (const { x, y } of points) {
    group.append(svg("circle", { class: "handle", cx: x, cy: y, r: isSelected ? HANDLE_PX + 1 : HANDLE_PX }));
  }
  if (lines.length > 0) group.append(labelOf(lines, points, view));
  return group;
}

function outlineOf(kind: Kind, points: readonly Point[]): SVGElement | null {
  const [one, other] = points;
  if (!one || !other) return null;
  if (kind !== "ellipse") return svg("polyline", { points: points.map(({ x, y }) => `${x},${y}`).join(" ") });
  return svg("ellipse", {
    cx: (one.x + other.x) / 2,
    cy: (one.y + other.y) / 2,
    rx: Math.abs(one.x - other.x) / 2,
    ry: Math.abs(one.y - other.y) / 2,
  });
}

function withClass(element: SVGElement, name: string): SVGElement {
  element.setAttribute("class", name);
  return element;
}

/** To the right of everything, or as near to that as the view allows. */
function labelOf(
  lines: readonly string[],
  points: readonly Point[],
  view: { width: number; height: number },
): SVGTextElement {
  const wide = Math.max(...lines.map((line) => line.length)) * LETTER_PX;
  const right = Math.max(...points.map(({ x }) => x)) + APART_PX;
  const low = Math.max(...points.map(({ y }) => y)) + APART_PX + LINE_PX;
  const most = view.width - SLIDER_PX;
  const fits = right + wide < most;
  const x = Math.max(fits ? right : Math.min(right, most - wide), 4);
  const middle = points.reduce((sum, { y }) => sum + y, 0) / points.length;
  const top = fits ? middle : low; // beside it, or below
  const y = Math.min(
    Math.max(top, LINE_PX),
    Math.max(view.height - (lines.length - 1) * LINE_PX - 6, LINE_PX),
  );
  const label = svg("text", { x, y });
  lines.forEach((line, at) => {
    const part = svg("tspan", { x, y: y + at * LINE_PX });
    setText(part, line);
    label.append(part);
  });
  return label;
}
