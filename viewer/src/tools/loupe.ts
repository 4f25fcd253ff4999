/** What a finger hides: a round piece of the image above it, enlarged, with a cross where the point will be. */
import { el } from "../dom.js";
import type { Pane } from "../pane.js";
import type { Point } from "../viewport.js";

const SIZE_PX = 124;
const TIMES = 2.5;
const ABOVE_PX = 96;

export class Loupe {
  readonly root = el("canvas", { class: "loupe", hidden: true, "aria-hidden": "true" });
  #at: Point | null = null;

  /** Show what is under `at`, in CSS pixels of the view, with the next drawing. */
  show(at: Point, pane: Pane): void {
    this.#at = at;
    pane.redraw();
  }

  hide(): void {
    this.#at = null;
    this.root.hidden = true;
  }

  /** To be called right after a drawing: a WebGL canvas has nothing to copy later on. */
  draw(pane: Pane): void {
    const at = this.#at;
    const context = at && this.root.getContext("2d");
    if (!at || !context) return;
    const view = pane.viewSize();
    const ratio = pane.canvas.width / view.width;
    const side = Math.round(SIZE_PX * ratio);
    if (this.root.width !== side) {
      this.root.width = side;
      this.root.height = side;
    }
    const seen = side / TIMES;
    context.fillStyle = "#000";
    context.fillRect(0, 0, side, side);
    context.imageSmoothingEnabled = false;
    const from = { x: at.x * ratio - seen / 2, y: at.y * ratio - seen / 2 };
    context.drawImage(pane.canvas, from.x, from.y, seen, seen, 0, 0, side, side);
    cross(context, side, ratio);
    const isHigh = at.y - ABOVE_PX - SIZE_PX / 2 > 0;
    const x = Math.min(Math.max(at.x, SIZE_PX / 2), view.width - SIZE_PX / 2);
    this.root.style.transform = `translate(${x - SIZE_PX / 2}px, ${at.y + (isHigh ? -ABOVE_PX : ABOVE_PX) - SIZE_PX / 2}px)`;
    this.root.hidden = false;
  }
}

function cross(context: CanvasRenderingContext2D, side: number, ratio: number): void {
  const middle = side / 2;
  const gap = 5 * ratio;
  const arm = 22 * ratio;
  for (const [colour, width] of [
    ["#000", 4],
    ["#5cc8ff", 2],
  ] as const) {
    context.strokeStyle = colour;
    context.lineWidth = width * ratio;
    context.beginPath();
    for (const [x, y] of [
      [1, 0],
      [-1, 0],
      [0, 1],
      [0, -1],
    ] as const) {
      context.moveTo(middle + x * gap, middle + y * gap);
      context.lineTo(middle + x * arm, middle + y * arm);
    }
    context.stroke();
  }
}
