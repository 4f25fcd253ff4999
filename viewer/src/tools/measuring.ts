/**
 * Measuring with a finger or a mouse.
 *
 * With a mouse a length is one drag, or two clicks; with a finger each point is a touch, moved under a loupe until
 * the finger leaves. What is there already can be chosen, moved by its handles or as a whole, and deleted. All of
 * it only on a slice that is drawn at full quality: a preview is wrong by tens of Hounsfield units.
 */
import type { Grip, Pointer } from "../gestures.js";
import type { Pane } from "../pane.js";
import type { Point } from "../viewport.js";
import { between, type Hit, hitOf } from "./hits.js";
import { MarkLayer, type Sketch } from "./layer.js";
import { Loupe } from "./loupe.js";
import { type Mark, Marks } from "./marks.js";
import { described, type Kind, POINTS, type Subject, spacingOf } from "./measure.js";

const REACH_PX = { mouse: 9, touch: 24 } as const;
const DRAG_PX = 4;
const DRAFT_ID = -1;
const TOUCH_HINTS: Readonly<Record<Kind, string>> = {
  length: "Touch both ends. Hold the finger down to see under it.",
  angle: "Touch three points, the corner second.",
  ellipse: "Touch two opposite corners of the region.",
  probe: "Touch the pixel.",
};
const MOUSE_HINTS: Readonly<Record<Kind, string>> = {
  length: "Drag from end to end, or click both.",
  angle: "Click three points, the corner second.",
  ellipse: "Drag from corner to corner of the region.",
  probe: "Click the pixel.",
};

/** A measurement that is being set: the last point follows the pointer. */
interface Draft {
  readonly kind: Kind;
  readonly slice: number;
  readonly points: Point[];
}

/** A measurement that is being moved. */
interface Move {
  readonly mark: Mark;
  readonly hit: Hit;
  readonly from: Point;
  points: readonly Point[];
}

export class Measuring implements Grip {
  readonly layer = new MarkLayer();
  readonly loupe = new Loupe();
  readonly marks: Marks;
  #tool: Kind | null = null;
  #draft: Draft | null = null;
  #move: Move | null = null;
  #downAt: Point | null = null;
  #refused: string | null = null;

  /** @param onChange Called when there is something new to tell: a tool, a measurement, a refusal. */
  constructor(
    private readonly pane: Pane,
    private readonly onChange: () => void,
  ) {
    this.marks = new Marks(() => this.#changed());
    pane.root.append(this.layer.root, this.loupe.root);
    pane.grip = this;
    pane.onChange(() => this.#draw());
  }

  get tool(): Kind | null {
    return this.#tool;
  }

  /** Take up a tool, or put it down. */
  use(tool: Kind | null): void {
    this.#tool = tool === this.#tool ? null : tool;
    this.#draft = null;
    this.#changed();
  }

  /** One step back: the point that is being set, the tool, the choice. False where there is none. */
  escape(): boolean {
    if (this.#draft || this.#move) this.#forget();
    else if (this.#tool) this.use(null);
    else if (this.marks.selected) this.marks.select(null);
    else return false;
    return true;
  }

  removeSelected(): void {
    const { selected } = this.marks;
    if (selected) this.marks.remove(selected.id);
  }

  /** Why nothing can be measured now, or null. */
  obstacle(): string | null {
    const { pane } = this;
    if (pane.isFull()) return null;
    const trouble = pane.trouble();
    if (trouble && pane.quality() === "failed") return `Nothing to measure: ${trouble}`;
    const what = pane.quality() === "preview" ? "is a lossy preview" : "is not here yet";
    return `Measuring waits for full quality: slice ${pane.index + 1} ${what}. ${trouble ?? ""}`.trim();
  }

  /** What to do next, or why not, in a sentence; empty where there is nothing to say. */
  hint(): string {
    if (this.#refused) return this.#refused;
    if (!this.#tool) return "";
    const hints = matchMedia("(pointer: coarse)").matches ? TOUCH_HINTS : MOUSE_HINTS;
    return this.obstacle() ?? hints[this.#tool];
  }

  // --- pointers ------------------------------------------------------------------------------------------

  down(pointer: Pointer): boolean {
    if (pointer.button !== 0) return false;
    this.#refused = null;
    this.#downAt = pointer;
    const hit = this.#draft ? null : this.#hitAt(pointer);
    const mark = hit && this.marks.all.find(({ id }) => id === hit.id);
    // A finger scrolls over what is there, unless it was chosen before; a mouse aims.
    if (hit && mark && (pointer.kind === "mouse" || mark === this.marks.selected))
      return this.#lift(mark, hit);
    if (!this.#tool) return false;
    if (this.#isRefused()) return true;
    const at = this.#imagePoint(pointer);
    this.#draft ??= { kind: this.#tool, slice: this.pane.index, points: [] };
    if (this.#draft.points.length === 0 || pointer.kind === "touch") this.#draft.points.push(at);
    else this.#draft.points[this.#draft.points.length - 1] = at;
    this.#show(pointer);
    return true;
  }

  move(pointer: Pointer): void {
    const at = this.#imagePoint(pointer);
    if (this.#move) {
      this.#move.points = movedPoints(this.#move, at);
      this.#show(pointer);
    } else if (this.#draft) {
      this.#follow(this.#draft, pointer, at);
      this.#show(pointer);
    }
  }

  up(pointer: Pointer): void {
    this.loupe.hide();
    if (this.#move) this.#drop(pointer);
    else if (this.#draft) this.#fix(this.#draft, pointer);
    this.#changed();
  }

  /** The mouse moves with no button down. */
  hover(pointer: Pointer): void {
    const { points, kind } = this.#draft ?? {};
    if (points && points.length > 0 && points.length <= POINTS[kind as Kind] && !this.#downAt) {
      points[points.length - 1] = this.#imagePoint(pointer);
      this.pane.redraw();
    } else if (!this.#draft) this.pane.root.classList.toggle("over-mark", this.#hitAt(pointer) !== null);
  }

  cancel(): void {
    const { points } = this.#draft ?? {};
    if (points && this.#downAt) points.pop(); // those before it stay: two fingers zoom in to set the next one
    if (points?.length) {
      this.loupe.hide();
      this.#downAt = null;
      this.#changed();
    } else this.#forget();
  }

  #forget(): void {
    this.loupe.hide();
    this.#draft = null;
    this.#move = null;
    this.#downAt = null;
    this.#changed();
  }

  tap(pointer: Pointer): boolean {
    const hit = this.#hitAt(pointer);
    const before = this.marks.selected;
    this.marks.select(hit?.id ?? null);
    return hit !== null || before !== null;
  }

  #lift(mark: Mark, hit: Hit): boolean {
    this.marks.select(mark.id);
    if (this.#isRefused()) return true;
    this.#move = { mark, hit, from: this.#imagePoint(this.#downAt as Point), points: mark.points };
    return true;
  }

  #drop(pointer: Pointer): void {
    const move = this.#move as Move;
    const hasMoved = this.#downAt !== null && between(this.#downAt, pointer) > DRAG_PX / 2;
    this.#move = null;
    this.#downAt = null;
    if (hasMoved && !this.#isRefused()) {
      this.marks.change(move.mark.id, move.points, this.#linesOf(move.mark.kind, move.points));
    }
  }

  /** The point under the pointer; a mouse that leaves the first point drags the second one out of it. */
  #follow(draft: Draft, pointer: Pointer, at: Point): void {
    const start = this.#downAt;
    const isDrag = pointer.kind === "mouse" && start !== null && between(start, pointer) > DRAG_PX;
    if (isDrag && draft.points.length === 1 && POINTS[draft.kind] > 1) draft.points.push(at);
    else if (draft.points.length > 0) draft.points[draft.points.length - 1] = at;
  }

  #fix(draft: Draft, pointer: Pointer): void {
    this.#downAt = null;
    if (draft.points.length === POINTS[draft.kind]) this.#keep(draft, pointer.kind);
    else if (pointer.kind === "mouse") draft.points.push(this.#imagePoint(pointer)); // and it follows the mouse
  }

  #keep({ kind, slice, points }: Draft, by: Pointer["kind"]): void {
    this.#draft = null;
    if (slice !== this.pane.index || this.#isRefused()) return;
    if (by === "touch") this.#tool = null; // the finger scrolls again, which is what fingers mostly do
    this.marks.add({ kind, slice, points, lines: this.#linesOf(kind, points) });
  }

  #isRefused(): boolean {
    this.#refused = this.obstacle();
    if (this.#refused) this.onChange();
    return this.#refused !== null;
  }

  #hitAt({ x, y, kind }: Pointer): Hit | null {
    const drawn = this.layer.drawn.filter(({ id }) => id !== DRAFT_ID);
    return hitOf(drawn, { x, y }, REACH_PX[kind]);
  }

  #imagePoint({ x, y }: Point): Point {
    return this.pane.imagePoint(x, y) ?? { x: 0, y: 0 };
  }

  #show(pointer: Pointer): void {
    if (pointer.kind === "touch") this.loupe.show(pointer, this.pane);
    this.pane.redraw();
  }

  // --- drawing -------------------------------------------------------------------------------------------

  #changed(): void {
    this.onChange();
    this.pane.redraw();
  }

  #draw(): void {
    const { pane } = this;
    if (this.#draft && this.#draft.slice !== pane.index) this.#draft = null;
    if (this.#refused && pane.isFull()) {
      this.#refused = null;
      this.onChange();
    }
    this.loupe.draw(pane);
    const isThere = pane.shown()?.index === pane.index; // a neighbour's picture does not carry this slice's marks
    this.layer.draw(isThere ? this.#sketches() : [], pane);
  }

  #sketches(): readonly Sketch[] {
    const marks = this.marks.on(this.pane.index).map((mark) => this.#sketchOf(mark));
    if (!this.#draft) return marks;
    const { kind, points } = this.#draft;
    return [...marks, { id: DRAFT_ID, kind, points, lines: this.#linesOf(kind, points), isSelected: true }];
  }

  #sketchOf(mark: Mark): Sketch {
    const { id, kind } = mark;
    const isSelected = mark === this.marks.selected;
    if (this.#move?.mark !== mark) return { id, kind, points: mark.points, lines: mark.lines, isSelected };
    const { points } = this.#move;
    return { id, kind, points, lines: this.#linesOf(kind, points), isSelected };
  }

  #linesOf(kind: Kind, points: readonly Point[]): readonly string[] {
    const subject = this.#subject();
    return subject && points.length === POINTS[kind] ? described(kind, points, subject) : [];
  }

  /** Null unless the slice in view is drawn at full quality: nothing else is measured. */
  #subject(): Subject | null {
    const { pane } = this;
    const shown = pane.shown();
    const info = pane.info();
    if (!shown || !info || !pane.isFull()) return null;
    const { set } = pane;
    return {
      pixels: shown.pixels,
      rescale: info,
      spacing: spacingOf(set, info),
      modality: set.modality,
      isLossy: pane.quality() === "lossy-as-received",
    };
  }
}

/** One point moved to `at`, or all of them by as much as the pointer has moved. */
function movedPoints({ mark, hit, from }: Move, at: Point): readonly Point[] {
  return mark.points.map((point, place) => {
    if (hit.point === -1) return { x: point.x + at.x - from.x, y: point.y + at.y - from.y };
    return place === hit.point ? at : point;
  });
}
