/**
 * A model's opinion on an image set: never a finding, never before the reader's own, and always named as AI.
 *
 * Where the model looked can be laid over the slice. The picture lies on the image as the image lies on the screen,
 * and comes only for the slice the reader rests on.
 */
import { wordsOf } from "./confirm.js";
import { button, el, setText } from "./dom.js";
import { predict, saliencyUrl } from "./learning.js";
import type { Pane } from "./pane.js";
import { ApiError, type Prediction, type Summary } from "./protocol.js";

/** A model's number, always named as such; or that it has none, and why. */
export function opinionWords({ probability, finding, model_version, threshold }: Prediction): string {
  if (probability === null || finding === null)
    return `Model v${model_version} does not know such images, and says nothing of this one.`;
  const limit = threshold === undefined ? "" : `, at or above ${threshold.toFixed(2)} it says present`;
  return `Model v${model_version} suggests ${finding} (probability ${probability.toFixed(2)}${limit}).`;
}

/** Whether it is the model that lacks an answer, and not the way to it. */
function isUnknown({ probability, refused }: Prediction): boolean {
  return probability === null || Boolean(refused);
}

export class Opinion {
  readonly root = el(
    "details",
    { class: "opinion", "data-testid": "opinion" },
    el("summary", {}, "Model's opinion (look at the image first)"),
  );
  readonly #told = el("div", { class: "opinion-told", "aria-live": "polite" });
  #overlay: SaliencyOverlay | null = null;
  #hasAsked = false;

  constructor(
    private readonly set: Summary,
    private readonly pane: Pane,
    private readonly signal: AbortSignal,
  ) {
    this.root.append(this.#told);
    this.root.addEventListener("toggle", () => {
      if (this.root.open) void this.#fetch();
      else this.#overlay?.show(false);
    });
  }

  async #fetch(): Promise<void> {
    if (this.#hasAsked) return;
    this.#hasAsked = true;
    setText(this.#told, "Asking the model…");
    try {
      const prediction = this.set.prediction ?? (await predict(this.set.id, this.signal));
      if (!this.signal.aborted) this.#tell(prediction);
    } catch (error) {
      if (this.signal.aborted) return;
      this.#hasAsked = false;
      const isNone = error instanceof ApiError && error.code === "no-champion";
      setText(this.#told, isNone ? "No model has been approved yet." : wordsOf(error));
    }
  }

  #tell(prediction: Prediction): void {
    const unknown = isUnknown(prediction);
    this.#told.replaceChildren(
      el("p", { class: "ai-badge" }, "AI, not verified"),
      ...(prediction.probability === null ? [] : [scaleOf(prediction)]),
      el("p", { class: unknown ? "result-warn" : "" }, opinionWords(prediction)),
      unknown && prediction.ood?.sentence ? el("p", { class: "faint" }, prediction.ood.sentence) : "",
      unknown ? "" : el("p", { class: "faint" }, "A model's opinion, not a finding."),
      this.#overlayPart(prediction) ?? "",
    );
  }

  #overlayPart({ frames = [], frame }: Prediction): HTMLElement | null {
    if (frames.length === 0) return null;
    const overlay = new SaliencyOverlay(this.set.id, frames, frame ?? frames[0] ?? 0, this.pane, this.signal);
    this.#overlay = overlay;
    const toggle = button("Show heat map", { "aria-pressed": false, "data-testid": "saliency" }, () => {
      overlay.show(!overlay.isShown);
      toggle.setAttribute("aria-pressed", String(overlay.isShown));
      setText(toggle, overlay.isShown ? "Hide heat map" : "Show heat map");
    });
    const many = frames.length > 1 || this.pane.count > 1;
    return el(
      "div",
      { class: "opinion-overlay" },
      toggle,
      many && button("To its slice", { "data-testid": "saliency-go" }, () => overlay.goToNext()),
    );
  }
}

/** The probability between 0 and 1, with the place from where it says present. */
function scaleOf({ probability, threshold }: Prediction): HTMLElement {
  const percent = (value: number): string => `${(100 * Math.min(Math.max(value, 0), 1)).toFixed(1)}%`;
  const bar = el("span", { class: "scale-fill" });
  bar.style.width = percent(probability ?? 0);
  const mark = el("span", { class: "scale-limit" });
  mark.hidden = threshold === undefined;
  mark.style.left = percent(threshold ?? 0);
  return el("div", { class: "probability", "aria-hidden": "true" }, bar, mark);
}

/** Where the model looked, over the slice it looked at. */
class SaliencyOverlay {
  readonly #picture = el("img", { class: "saliency", alt: "", hidden: true });
  readonly #badge = el("p", { class: "saliency-badge", role: "status", hidden: true });
  readonly #broken = new Set<number>();
  #isShown = false;
  #loaded = -1;

  constructor(
    private readonly identity: string,
    private readonly frames: readonly number[],
    private readonly strongest: number,
    private readonly pane: Pane,
    signal: AbortSignal,
  ) {
    pane.canvas.after(this.#picture);
    pane.root.append(this.#badge);
    this.#picture.addEventListener("error", () => {
      this.#broken.add(this.#loaded);
      this.#place();
    });
    const forget = pane.onChange(() => this.#place());
    signal.addEventListener("abort", forget);
  }

  get isShown(): boolean {
    return this.#isShown;
  }

  show(isShown: boolean): void {
    this.#isShown = isShown;
    if (isShown && !this.frames.includes(this.pane.index)) this.pane.goTo(this.strongest);
    this.#place();
  }

  /** To the next slice that has a picture, the first one behind the last. */
  goToNext(): void {
    const [first] = this.frames;
    const next = this.frames[(this.frames.indexOf(this.pane.index) + 1) % this.frames.length] ?? first;
    if (next !== undefined) this.pane.goTo(next);
  }

  #place(): void {
    const { index, placement } = this.pane;
    const info = this.pane.info();
    const isHere = this.frames.includes(index) && this.pane.shown()?.index === index;
    const isBroken = this.#broken.has(index);
    this.#picture.hidden = !this.#isShown || !isHere || isBroken || !placement;
    this.#badge.hidden = !this.#isShown;
    if (!this.#isShown) return;
    setText(this.#badge, this.#words(isHere, isBroken));
    if (!isHere || isBroken || !placement || !info) return;
    if (this.#loaded !== index && this.pane.isResting) {
      this.#loaded = index;
      this.#picture.src = saliencyUrl(this.identity, index);
    }
    if (this.#loaded !== index) this.#picture.hidden = true;
    const { a, b, c, d, x, y } = placement;
    const { style } = this.#picture;
    style.width = `${info.columns}px`;
    style.height = `${info.rows}px`;
    style.transform = `matrix(${a}, ${b}, ${c}, ${d}, ${x}, ${y})`;
  }

  #words(isHere: boolean, isBroken: boolean): string {
    if (isHere && !isBroken) return "AI, where the model looked: not a finding";
    return "AI: no heat map of this slice";
  }
}
