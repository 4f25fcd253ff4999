/** The measurements of one series, by slice, with undo and redo: values, no screen. They live as long as the page. */
import type { Point } from "../viewport.js";
import type { Kind } from "./measure.js";

export interface Mark {
  readonly id: number;
  readonly kind: Kind;
  readonly slice: number;
  readonly points: readonly Point[];
  /** What it says, found when its points were set on pixels of full quality. */
  readonly lines: readonly string[];
}

type State = readonly Mark[];

export class Marks {
  #state: State = [];
  readonly #past: State[] = [];
  #future: State[] = [];
  #selected: number | null = null;
  #lastId = 0;

  /** @param onChange Called after every change. */
  constructor(private readonly onChange: () => void = () => {}) {}

  get all(): readonly Mark[] {
    return this.#state;
  }

  get canUndo(): boolean {
    return this.#past.length > 0;
  }

  get canRedo(): boolean {
    return this.#future.length > 0;
  }

  get selected(): Mark | null {
    return this.#state.find(({ id }) => id === this.#selected) ?? null;
  }

  on(slice: number): readonly Mark[] {
    return this.#state.filter((mark) => mark.slice === slice);
  }

  select(id: number | null): void {
    if (id === this.#selected) return;
    this.#selected = id;
    this.onChange();
  }

  add(mark: Omit<Mark, "id">): void {
    const id = ++this.#lastId;
    this.#selected = id;
    this.#become([...this.#state, { ...mark, id }]);
  }

  /** Other points for a measurement, and what it says there. */
  change(id: number, points: readonly Point[], lines: readonly string[]): void {
    this.#become(this.#state.map((mark) => (mark.id === id ? { ...mark, points, lines } : mark)));
  }

  remove(id: number): void {
    if (!this.#state.some((mark) => mark.id === id)) return;
    this.#become(this.#state.filter((mark) => mark.id !== id));
  }

  undo(): void {
    this.#go(this.#past, this.#future);
  }

  redo(): void {
    this.#go(this.#future, this.#past);
  }

  #become(state: State): void {
    this.#past.push(this.#state);
    this.#future = [];
    this.#state = state;
    this.onChange();
  }

  #go(from: State[], to: State[]): void {
    const state = from.pop();
    if (!state) return;
    to.push(this.#state);
    this.#state = state;
    this.onChange();
  }
}
