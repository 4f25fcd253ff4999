/** The other series of the study: where the reader goes next without a way back to the worklist. */
import { el } from "../dom.js";
import { type ImageSet, listPriors, type Summary, thumbnailUrl } from "../protocol.js";
import { plural } from "../words.js";

export class SeriesList {
  readonly content = el("div", {
    class: "series-list",
    role: "navigation",
    "aria-label": "Series of the study",
  });
  #series: readonly Summary[];

  constructor(
    private readonly set: ImageSet,
    private readonly onLoaded: (count: number) => void,
  ) {
    this.#series = [set];
    this.#render();
  }

  /** Ask for the others. That there are none is said as well as that they cannot be had. */
  async load(signal: AbortSignal): Promise<void> {
    try {
      const others = await listPriors(this.set.id, signal);
      this.#series = seriesOf(this.set, others);
      this.#render();
      this.onLoaded(this.#series.length);
    } catch (error) {
      if (signal.aborted) return;
      const words = error instanceof Error ? error.message : "The other series did not load.";
      this.content.append(el("p", { class: "result-bad" }, `The other series are not known. ${words}`));
    }
  }

  /** Go to the series after or before this one; false where there is none. */
  go(by: 1 | -1): boolean {
    const place = this.#series.findIndex(({ id }) => id === this.set.id);
    const wanted = this.#series[place + by];
    if (wanted) location.hash = `#/view/${wanted.id}`;
    return wanted !== undefined;
  }

  get count(): number {
    return this.#series.length;
  }

  #render(): void {
    const rows = this.#series.map((series) => el("li", {}, this.#row(series)));
    this.content.replaceChildren(el("ul", {}, ...rows));
  }

  #row({ id, modality, series_description, body_part, frames }: Summary): HTMLElement {
    const thumbnail = el("img", {
      src: thumbnailUrl(id),
      alt: "",
      loading: "lazy",
      decoding: "async",
      width: 64,
      height: 64,
    });
    thumbnail.addEventListener("error", () => thumbnail.classList.add("missing"));
    return el(
      "a",
      {
        href: `#/view/${id}`,
        class: "series-row",
        "data-testid": "series-row",
        "aria-current": id === this.set.id ? "true" : null,
      },
      thumbnail,
      el(
        "span",
        {},
        el("strong", {}, series_description || body_part || "Series"),
        el("span", { class: "faint" }, `${modality ?? "?"} · ${plural(frames, "image")}`),
      ),
    );
  }
}

/** This series and those of the same study that have images, in one order wherever one looks from. */
export function seriesOf(set: Summary, others: readonly Summary[]): readonly Summary[] {
  const sameStudy = others.filter(
    ({ study, frames, id }) => study === set.study && frames > 0 && id !== set.id,
  );
  return [set, ...(set.study === undefined ? [] : sameStudy)].sort(
    (one, other) => one.created_at.localeCompare(other.created_at) || one.id.localeCompare(other.id),
  );
}
