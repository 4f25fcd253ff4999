/** What is written over the image: who, which slice, which window, which side, how large, how good. */
import { el, setText } from "./dom.js";
import { edgeLetters } from "./orientation.js";
import type { FullQuality, ImageSet } from "./protocol.js";
import { scaleBar } from "./viewport.js";
import { personName, studyDate } from "./words.js";

/** `neighbour`: not this slice at all but the nearest one we have. `none`: nothing yet; `failed`: nor ever. */
export type Quality = FullQuality | "preview" | "neighbour" | "none" | "failed";

const LONGEST_BAR_PX = 120;

export class Overlays {
  readonly root: HTMLElement;
  readonly badge = el("span", { class: "badge", "data-testid": "quality-badge", role: "status" });
  readonly #slice = el("span", { "data-testid": "slice-number" });
  readonly #window = el("span", {});
  readonly #held = el("span", { class: "faint" });
  readonly #message = el("p", { class: "stage-message", role: "status", hidden: true });
  readonly #bar = el("div", { class: "scale-line" });
  readonly #barText = el("span", {});
  readonly #scale: HTMLElement;

  constructor(set: ImageSet) {
    const { geometry } = set;
    const edges = edgeLetters(geometry.row_direction, geometry.column_direction);
    this.#scale = el("div", { class: "scale" }, this.#bar, this.#barText);
    this.root = el(
      "div",
      { class: "overlays" },
      el(
        "div",
        { class: "corner top-left" },
        el("strong", {}, personName(set.patient_name)),
        el("span", {}, [set.patient_id, set.patient_sex].filter(Boolean).join(" · ")),
        el("span", {}, `${set.modality ?? "?"} · ${studyDate(set.study_date)}`),
        el("span", {}, set.series_description ?? ""),
      ),
      el("div", { class: "corner bottom-left" }, this.#slice, this.#window, this.#held),
      ...(["left", "right", "top", "bottom"] as const).map((side) =>
        el("span", { class: `edge edge-${side}`, "aria-hidden": "true" }, edges[side]),
      ),
      this.#scale,
      this.#message,
    );
  }

  slice(index: number, count: number, spacing: number | null): void {
    const place = spacing === null ? "" : ` · ${(index * spacing).toFixed(1)} mm`;
    setText(this.#slice, `${index + 1}/${count}${place}`);
  }

  window(text: string): void {
    setText(this.#window, text);
  }

  quality(quality: Quality, shownIndex: number): void {
    this.badge.dataset.quality = quality;
    setText(this.badge, badgeText(quality, shownIndex));
  }

  /** How much of the series has arrived; silent once all of it has. */
  held(held: number, count: number): void {
    setText(this.#held, count > 1 && held < count ? `${held} of ${count} loaded` : "");
  }

  message(text: string | null): void {
    this.#message.hidden = text === null;
    setText(this.#message, text ?? "");
  }

  /** @param mmPerPx Millimetres in one CSS pixel, or null where the image does not tell its spacing. */
  scale(mmPerPx: number | null): void {
    this.#scale.hidden = mmPerPx === null;
    if (mmPerPx === null) return;
    const { mm, px } = scaleBar(mmPerPx, LONGEST_BAR_PX);
    this.#bar.style.width = `${px}px`;
    setText(this.#barText, mm >= 10 ? `${mm / 10} cm` : `${mm} mm`);
  }
}

export function badgeText(quality: Quality, shownIndex: number): string {
  switch (quality) {
    case "lossless":
      return "✓ lossless";
    case "lossy-as-received":
      return "✓ lossy as received";
    case "preview":
      return "◌ preview (lossy)";
    case "neighbour":
      return `◌ preview (lossy) of slice ${shownIndex + 1}`;
    case "none":
      return "loading";
    case "failed":
      return "✕ no image";
  }
}
