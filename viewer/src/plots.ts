/** Lines over time, drawn by uPlot: as wide as there is room, with a legend of our own that tells the values. */
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { el, setText } from "./dom.js";
import { figure, latest, spoken } from "./figures.js";
import type { Widget } from "./learning.js";

const HEIGHT_PX = 150;
const NARROWEST_PX = 120;
/** Twelve looks: six colours, each drawn through and dashed, so that the difference is not one of colour alone. */
const COLOURS = ["#5cc8ff", "#ffcf70", "#7ddf9c", "#d3beff", "#ff9d96", "#f0f4f8"];
const DASH = [6, 4];
const AXIS = "#a9b6c4";
const GRID = "#2b3746";
const FONT = "12px system-ui, sans-serif";

/** One drawing that takes new points without being made anew. */
export class Plot {
  readonly root: HTMLElement;
  readonly #box = el("div", { class: "plot" });
  readonly #legend = el("ul", { class: "legend" });
  readonly #none = el("p", { class: "empty" }, "Nothing measured yet.");
  #widget: Widget;
  #times: readonly number[] = [];
  #drawn: uPlot | null = null;
  #names = "";

  constructor(widget: Widget, signal: AbortSignal) {
    this.#widget = widget;
    this.root = el(
      "li",
      { class: "card", "data-testid": "widget", "data-widget": widget.id, "data-metric": widget.metric },
      el(
        "div",
        { class: "card-head" },
        el("h3", {}, widget.title),
        el("span", { class: "faint" }, widget.id),
      ),
      this.#box,
      this.#none,
      this.#legend,
    );
    const observer = new ResizeObserver(() => this.#fit());
    observer.observe(this.#box);
    signal.addEventListener("abort", () => {
      observer.disconnect();
      this.#drawn?.destroy();
    });
  }

  /** Draw these points; lines that come or go make the drawing anew. */
  show(widget: Widget, times: readonly number[]): void {
    this.#widget = widget;
    this.#times = times;
    const { series, title, unit } = widget;
    const hasPoints = series.some(({ points }) => latest(points) !== null);
    this.#none.hidden = hasPoints;
    this.#box.hidden = !hasPoints;
    this.root.setAttribute("data-lines", String(hasPoints ? series.length : 0));
    const words = series.map(({ name, points }) => spoken(name ? `${title}, ${name}` : title, points, unit));
    this.#box.setAttribute("role", "img");
    this.#box.setAttribute("aria-label", words.join(". ") || `${title}: nothing measured`);
    const names = series.map(({ name }) => name).join("\n");
    const data = this.#data();
    if (this.#drawn && names === this.#names) this.#drawn.setData(data);
    else this.#make(data);
    this.#names = names;
    this.#tell(null);
  }

  #data(): uPlot.AlignedData {
    return [[...this.#times], ...this.#widget.series.map(({ points }) => [...points])];
  }

  #make(data: uPlot.AlignedData): void {
    this.#drawn?.destroy();
    this.#drawn = null;
    const { series, unit } = this.#widget;
    this.#legend.replaceChildren(...series.map(({ name }, place) => entry(name, place)));
    if (this.#box.hidden) return;
    this.#drawn = new uPlot(
      {
        width: Math.max(NARROWEST_PX, this.#box.clientWidth),
        height: HEIGHT_PX,
        legend: { show: false },
        cursor: { drag: { x: false, y: false }, points: { size: 7 } },
        scales: { y: { range: (_, low, high) => rangeOf(low, high) } },
        axes: [
          axis({ size: 26, space: 64 }),
          axis({ size: 62, space: 34, values: (_, splits) => splits.map((value) => figure(value, unit)) }),
        ],
        series: [{}, ...series.map(({ name }, place) => line(name, place))],
        hooks: { setCursor: [(plot) => this.#tell(plot.cursor.idx ?? null)] },
      },
      data,
      this.#box,
    );
  }

  /** Write the values at a place into the legend; without a place the latest. */
  #tell(place: number | null): void {
    this.#widget.series.forEach(({ points }, position) => {
      const value = place === null ? latest(points) : (points[place] ?? null);
      const told = this.#legend.children[position]?.querySelector("b");
      if (told) setText(told, value === null ? "–" : figure(value, this.#widget.unit));
    });
  }

  #fit(): void {
    const width = Math.max(NARROWEST_PX, this.#box.clientWidth);
    if (this.#drawn && this.#drawn.width !== width) this.#drawn.setSize({ width, height: HEIGHT_PX });
    else if (!this.#drawn && this.#names && !this.#box.hidden) this.#make(this.#data());
  }
}

function axis(options: uPlot.Axis): uPlot.Axis {
  const stroke = { stroke: GRID, width: 1 };
  return { stroke: AXIS, font: FONT, grid: stroke, ticks: stroke, ...options };
}

function line(name: string, place: number): uPlot.Series {
  return {
    label: name,
    stroke: COLOURS[place % COLOURS.length] as string,
    width: 2,
    ...(place >= COLOURS.length ? { dash: DASH } : {}),
    points: { size: 5 },
  };
}

function entry(name: string, place: number): HTMLElement {
  const mark = el("span", { class: place >= COLOURS.length ? "mark mark-dashed" : "mark" });
  mark.style.color = COLOURS[place % COLOURS.length] as string;
  return el("li", {}, mark, name ? `${name} ` : "latest ", el("b", {}));
}

/** Nothing is drawn below 0, and a line that stays as it is lies in the middle. */
export function rangeOf(low: number | null, high: number | null): [number, number] {
  if (low === null || high === null) return [0, 1];
  const least = low >= 0 ? 0 : low;
  return high > least ? [least, high + (high - least) * 0.1] : [least, least + 1];
}
