/** Lists that are asked for again and again: a row that tells the same stays as it is, unfolded parts stay unfolded. */

export class Rows<T> {
  readonly #rows = new Map<string, HTMLElement>();

  /**
   * @param list Holds the rows.
   * @param row A row that is new or tells something new; `none` stands where there is none.
   */
  constructor(
    private readonly list: HTMLElement,
    private readonly nameOf: (item: T) => string,
    private readonly row: (item: T) => HTMLElement,
    private readonly none: HTMLElement,
  ) {}

  show(items: readonly T[]): void {
    const wanted = new Set(items.map(this.nameOf));
    for (const name of this.#rows.keys()) if (!wanted.has(name)) this.#rows.delete(name);
    const rows = items.map((item) => this.#fresh(item));
    const shown = rows.length ? rows : [this.none];
    const same = this.list.children.length === shown.length;
    if (same && shown.every((row, place) => this.list.children[place] === row)) return;
    this.list.replaceChildren(...shown);
  }

  #fresh(item: T): HTMLElement {
    const name = this.nameOf(item);
    const signature = JSON.stringify(item);
    const before = this.#rows.get(name);
    if (before?.getAttribute("data-signature") === signature) return before;
    const row = this.row(item);
    row.setAttribute("data-signature", signature);
    if (before) keepUnfolded(before, row);
    this.#rows.set(name, row);
    return row;
  }
}

/** What was unfolded by name stays so in what takes its place. */
export function keepUnfolded(before: Element, after: Element): void {
  for (const open of before.querySelectorAll<HTMLDetailsElement>("details[open][data-fold]")) {
    const same = after.querySelector<HTMLDetailsElement>(`details[data-fold="${open.dataset.fold}"]`);
    if (same) same.open = true;
  }
}
