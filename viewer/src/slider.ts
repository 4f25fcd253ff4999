/** The slider at the edge: any slice is one touch away, and a bubble beside the finger tells which. */
import { el, setText } from "./dom.js";

export class EdgeSlider {
  readonly input: HTMLInputElement;
  readonly bubble = el("output", { class: "bubble", "aria-hidden": "true", hidden: true });

  /** @param onGo Called with the index of the slice that is wanted. */
  constructor(
    private readonly count: number,
    private readonly onGo: (index: number) => void,
  ) {
    this.input = el("input", {
      type: "range",
      class: "slider",
      min: 1,
      max: count,
      step: 1,
      value: 1,
      "aria-label": "Slice",
      hidden: count < 2,
    });
  }

  listen(signal: AbortSignal): void {
    this.input.addEventListener("input", () => this.onGo(this.input.valueAsNumber - 1), { signal });
  }

  /** Stand at `index`; the bubble is there while the reader moves. */
  tell(index: number, isResting: boolean): void {
    this.input.value = String(index + 1);
    this.input.setAttribute("aria-valuetext", `Slice ${index + 1} of ${this.count}`);
    this.bubble.hidden = isResting || this.count < 2;
    if (this.bubble.hidden) return;
    setText(this.bubble, String(index + 1));
    this.bubble.style.top = `${(index / (this.count - 1)) * 100}%`;
  }
}
