/** The worklist: what has come in, what is verified, what a model thinks, and the door for more. */

import { button, el, replaceIfChanged, setText } from "./dom.js";
import { dropTarget } from "./drop.js";
import { loadPending, pendingNow } from "./pending.js";
import { poll } from "./poll.js";
import { listWorklist, type State, type Summary, type WorklistPage } from "./protocol.js";
import type { May } from "./routes.js";
import { studyDate } from "./words.js";
import { labelOf, rowOf } from "./worklist-rows.js";

const PAGE_SIZE = 50;
const REFRESH_MS = 15_000;
/** Beyond this many loaded pages a refresh asks for the first ones only. */
const REFRESHED_PAGES = 4;

/** Newest first, or what the next read is worth most for. */
export type Order = "newest" | "value";

interface Filter {
  readonly state: State | null;
  readonly label: string;
  /** Only what waits for the person at the screen. */
  readonly mine?: boolean;
}

const FILTERS: readonly Filter[] = [
  { state: "INGESTED", label: "To verify" },
  { state: "INGESTED", label: "For me", mine: true },
  { state: "VERIFIED", label: "Verified" },
  { state: "REJECTED", label: "Rejected" },
  { state: null, label: "All" },
];

let lastFilter = FILTERS[0] as Filter; // who comes back from a series finds the list as it was
let lastOrder: Order = "newest";

/** The order that was last chosen on this page. */
export function chosenOrder(): Order {
  return lastOrder;
}

/** Show the worklist in `root` until `signal` aborts. */
export function showWorklist(root: HTMLElement, may: May, signal: AbortSignal): void {
  new Worklist(root, may, signal).start();
}

class Worklist {
  readonly #list = el("ul", { class: "worklist", "aria-label": "Studies" });
  readonly #rows = new Map<string, HTMLElement>();
  readonly #status = el("p", { class: "empty", role: "status" }, "Loading the worklist…");
  readonly #more: HTMLButtonElement;
  readonly #filters: readonly Filter[];
  readonly #tabs: readonly HTMLButtonElement[];
  readonly #order: HTMLButtonElement;
  readonly #search = el("input", {
    type: "search",
    class: "search",
    "data-testid": "worklist-search",
    "aria-label": "Search the studies loaded, by name, number, date or kind",
    placeholder: "Name, number, date, kind",
    autocomplete: "off",
    spellcheck: "false",
  });
  readonly #waiting = el("div", {});
  #filter: Filter;
  #pages: WorklistPage[] = [];
  #turn = 0; // answers to an older question are dropped

  constructor(
    private readonly root: HTMLElement,
    private readonly may: May,
    private readonly signal: AbortSignal,
  ) {
    this.#more = button("Load more", { class: "more", hidden: true }, () => void this.#loadMore());
    this.#filters = FILTERS.filter(({ mine }) => !mine || may("image.verify"));
    this.#filter = this.#filters.includes(lastFilter) ? lastFilter : (this.#filters[0] as Filter);
    this.#order = button("", { class: "order", "data-testid": "worklist-order" }, () => this.#turnOrder());
    this.#tabs = this.#filters.map((filter) =>
      button(labelOf(filter.label, may), { class: "tab", "aria-pressed": filter === this.#filter }, () =>
        this.#choose(filter),
      ),
    );
  }

  start(): void {
    this.root.append(
      el(
        "div",
        { class: "page page-worklist" },
        el("h1", { tabindex: -1 }, "Worklist"),
        this.#waiting,
        this.may("image.write") &&
          dropTarget(
            el(
              "section",
              { class: "upload", "aria-label": "Add images" },
              el("a", { class: "button", href: "#/upload", "data-testid": "upload-open" }, "+ Add images"),
              el("span", { class: "faint desktop" }, "or drop a folder, DICOM files or a zip here"),
            ),
          ),
        el(
          "div",
          { class: "worklist-bar" },
          el(
            "div",
            { class: "tabs", role: "group", "aria-label": "Show" },
            this.may("image.adjudicate") &&
              el("a", { class: "button tab", href: "#/adjudication" }, "Adjudicate"),
            ...this.#tabs,
          ),
          el("div", { class: "worklist-find", role: "search" }, this.#search, this.#order),
        ),
        this.#status,
        this.#list,
        this.#more,
      ),
    );
    this.#search.addEventListener("input", () => this.#render());
    this.#showOrder();
    void this.#showWaiting();
    void poll(
      () => this.#refresh(),
      () => REFRESH_MS,
      (error) => this.#complain(error),
      this.signal,
    );
  }

  /** What this reader found and could not send. */
  async #showWaiting(): Promise<void> {
    const found = await loadPending().catch(() => null);
    if (!found || this.signal.aborted) return;
    this.#waiting.append(found.listWaiting(this.signal));
    found.waiting.watch(() => this.#render(), this.signal);
    this.#render();
  }

  /** Rows that wait for a read can come in the order of what it is worth; the others have none but time. */
  #turnOrder(): void {
    lastOrder = lastOrder === "newest" ? "value" : "newest";
    this.#choose(this.#filter);
  }

  #showOrder(): void {
    this.#order.hidden = this.#filter.state !== "INGESTED" || this.#filter.mine === true;
    const words = lastOrder === "value" ? "Most useful" : "Newest";
    setText(this.#order, `⇅ ${words}`);
    this.#order.setAttribute("aria-label", `${words} first. Change the order`);
  }

  #choose(filter: Filter): void {
    lastFilter = filter;
    this.#filter = filter;
    this.#showOrder();
    this.#pages = [];
    this.#rows.clear();
    this.#list.replaceChildren();
    this.#more.hidden = true;
    this.#status.hidden = false;
    setText(this.#status, "Loading the worklist…");
    this.#filters.forEach((candidate, position) => {
      this.#tabs[position]?.setAttribute("aria-pressed", String(candidate === filter));
    });
    void this.#refreshNow();
  }

  async #refreshNow(): Promise<void> {
    try {
      await this.#refresh();
    } catch (error) {
      this.#complain(error);
    }
  }

  /** Ask again for the pages on the screen, so that rows leave as well as arrive. */
  async #refresh(): Promise<void> {
    const turn = ++this.#turn;
    const depth = Math.min(Math.max(this.#pages.length, 1), REFRESHED_PAGES);
    const pages: WorklistPage[] = [];
    let after: string | null = null;
    for (let page = 0; page < depth; page++) {
      const answer: WorklistPage = await this.#ask(after);
      pages.push(answer);
      after = answer.next;
      if (!after) break;
    }
    if (turn !== this.#turn) return;
    this.#pages = after ? [...pages, ...this.#pages.slice(depth)] : pages;
    this.#render();
  }

  async #loadMore(): Promise<void> {
    const after = this.#pages.at(-1)?.next;
    if (!after) return;
    this.#more.disabled = true;
    const turn = ++this.#turn;
    try {
      const answer = await this.#ask(after);
      if (turn !== this.#turn) return;
      this.#pages.push(answer);
      this.#render();
    } catch (error) {
      this.#complain(error);
    } finally {
      this.#more.disabled = false;
    }
  }

  #ask(after: string | null): Promise<WorklistPage> {
    const { state, mine = false } = this.#filter;
    const byValue = mine || (state === "INGESTED" && lastOrder === "value");
    const withImages = state === "INGESTED"; // a report is nothing to verify; it is among all
    return listWorklist({ state, withImages, limit: PAGE_SIZE, after, byValue, mine }, this.signal);
  }

  #complain(error: unknown): void {
    if (this.signal.aborted) return;
    this.#status.hidden = false;
    setText(
      this.#status,
      `${error instanceof Error ? error.message : "The worklist did not load."} Trying again.`,
    );
  }

  #render(): void {
    const items = new Map(this.#pages.flatMap((page) => page.items.map((item) => [item.id, item] as const)));
    for (const [id, row] of this.#rows) {
      if (items.has(id)) continue;
      row.remove();
      this.#rows.delete(id);
    }
    let place: Element | null = this.#list.firstElementChild;
    for (const item of items.values()) {
      const row = this.#row(item);
      if (row === place) place = place.nextElementSibling;
      else this.#list.insertBefore(row, place);
    }
    this.#more.hidden = !this.#pages.at(-1)?.next;
    this.#find([...items.values()]);
    this.#count();
  }

  /** Show what the reader looks for among what is loaded; patients' names never go into an address. */
  #find(items: readonly Summary[]): void {
    const wanted = this.#search.value;
    let found = 0;
    for (const item of items) {
      const isFound = isMatch(item, wanted);
      if (isFound) found++;
      const row = this.#rows.get(item.id);
      if (row) row.hidden = !isFound;
    }
    const isSearching = wanted.trim() !== "";
    this.#status.hidden = items.length > 0 && !isSearching;
    this.#status.classList.toggle("found", isSearching && items.length > 0);
    if (this.#pages.length === 0) return;
    if (items.length === 0) setText(this.#status, emptyWords(this.#filter));
    else if (isSearching) {
      const beyond = this.#more.hidden ? "" : " Load more to look further.";
      setText(
        this.#status,
        `${found || "None"} of the ${items.length} newest here ${found === 1 ? "fits" : "fit"}.${beyond}`,
      );
    }
  }

  #row(item: Summary): HTMLElement {
    const row = this.#rows.get(item.id) ?? el("li", {});
    this.#rows.set(item.id, row);
    const signature = JSON.stringify([item, pendingNow()?.of(item.id)?.state]);
    if (row.getAttribute("data-signature") !== signature) {
      const hadFocus = row.contains(document.activeElement);
      replaceIfChanged(row, [rowOf(item, this.may)], signature);
      if (hadFocus) row.querySelector("a")?.focus();
    }
    return row;
  }

  #count(): void {
    const page = this.#pages[0];
    if (!page) return;
    this.#filters.forEach(({ state, label, mine }, position) => {
      const tab = this.#tabs[position];
      if (tab && !mine) setText(tab, `${labelOf(label, this.may)} ${countOf(page, state)}`);
    });
  }
}

/** How many rows there are under a tab. */
export function countOf(
  { counts, reports }: Pick<WorklistPage, "counts" | "reports">,
  state: State | null,
): number {
  if (state === null) return Object.values(counts).reduce((sum, one) => sum + one, 0);
  return counts[state] - (state === "INGESTED" ? reports : 0);
}

/** Whether every word of `wanted` begins a word of what a row tells; case and accents do not count. */
export function isMatch(item: Summary, wanted: string): boolean {
  const { patient_name, patient_id, modality, body_part, series_description, study_date } = item;
  const told = [
    patient_name,
    patient_id,
    modality,
    body_part,
    series_description,
    study_date,
    studyDate(study_date),
  ];
  const text = ` ${plain(told.join(" ").replaceAll("^", " "))}`;
  return plain(wanted)
    .split(/[\s,]+/)
    .every((word) => text.includes(` ${word}`));
}

function plain(text: string): string {
  return text
    .normalize("NFKD")
    .replace(/\p{Mn}/gu, "")
    .toLowerCase()
    .trim();
}

function emptyWords({ state, mine }: Filter): string {
  if (mine) return "Nothing waits for a read of yours. What comes in appears here by itself.";
  if (state === "INGESTED") return "Nothing waits to be verified. What comes in appears here by itself.";
  if (state === "VERIFIED") return "Nothing has been verified yet. Open a study under To verify.";
  if (state === "REJECTED") return "Nothing has been rejected.";
  return "Nothing has come in yet. Add DICOM files above, or send them from a scanner.";
}
