/** What is written over the image: who, which slice, which window, which side, how large, how good. */
import { el, setText } from "./dom.js";
import { edgeLetters, sidesOf } from "./orientation.js";
import type { FrameInfo, FullQuality, ImageSet } from "./protocol.js";
import { scaleBar, type Turn } from "./viewport.js";
import { personName, studyDate } from "./words.js";

/** `neighbour`: not this slice at all but the nearest one we have. `none`: nothing yet; `failed`: nor ever. */
export type Quality = FullQuality | "preview" | "neighbour" | "none" | "failed";

const LONGEST_BAR_PX = 120;
const SIDES = ["left", "right", "top", "bottom"] as const;

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
  readonly #sides = SIDES.map((side) =>
    el("span", { class: `edge edge-${side}`, "aria-hidden": "true", "data-testid": `edge-${side}` }),
  );

  constructor(private readonly set: ImageSet) {
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
      ...this.#sides,
      this.#scale,
      this.#message,
    );
  }

  /** Hide or show what is written; the message stays, for it tells what is wrong. */
  toggle(): void {
    this.root.classList.toggle("bare");
  }

  get areShown(): boolean {
    return !this.root.classList.contains("bare");
  }

  /** Which side of the patient each edge faces, now that this frame lies like this. */
  sides(info: FrameInfo, turn: Turn): void {
    const letters = edgeLetters(...sidesOf(info, this.set.geometry), turn);
    SIDES.forEach((side, at) => {
      setText(this.#sides[at] as HTMLElement, letters[side]);
    });
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
