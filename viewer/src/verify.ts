/**
 * The way to the verification: its buttons are there at once, its panel once there is something to see.
 *
 * What a panel is and does stands in `verify-panel.ts`.
 */
import { button, el } from "./dom.js";
import type { Pane } from "./pane.js";
import { loadPending } from "./pending.js";
import type { FullQuality, ImageSet, Verification } from "./protocol.js";
import { openerWords, stageOf } from "./reading.js";
import type { May } from "./routes.js";
import type { FindingPanel } from "./verify-panel.js";

/** What is really on the screen; verification rests on this and on nothing else. */
export interface OnScreen {
  readonly index: number;
  readonly quality: FullQuality;
}

export type FindingWord = Verification["finding"];

export const FINDINGS: readonly { readonly value: FindingWord; readonly label: string }[] = [
  { value: "present", label: "Present" },
  { value: "absent", label: "Absent" },
];

/** The buttons that open the panel: one, and on a phone one for each finding beside it. */
export interface Openers {
  readonly root: HTMLElement;
  readonly open: HTMLButtonElement;
  readonly shortcuts: readonly HTMLButtonElement[];
}

const AGAIN_MS = 3000;

export class VerifyPanel {
  readonly root = el("div", { class: "verify-place" });
  readonly opener = el("div", { class: "verify-openers" });
  readonly #openers: Openers;
  #panel: FindingPanel | null = null;
  #loading: Promise<void> | null = null;
  #screen: OnScreen | null = null;
  #trouble: string | null = null;
  #signal: AbortSignal | null = null;

  constructor(
    private readonly set: ImageSet,
    private readonly may: May,
    private readonly pane: Pane,
  ) {
    const words = openerWords(set, may);
    const attributes = { "data-testid": "verify-open", "aria-controls": "verify-panel" };
    const open = button(words, attributes, () => this.open());
    open.classList.toggle("primary", may("image.verify"));
    const shortcuts = FINDINGS.map(({ value, label }) => {
      const how = { class: "phone", "data-testid": `verify-quick-${value}`, "aria-controls": "verify-panel" };
      return button(label, how, () => this.open(value));
    });
    for (const shortcut of shortcuts) shortcut.hidden = stageOf(set, may) !== "read";
    this.#openers = { root: this.opener, open, shortcuts };
    this.opener.append(open, ...shortcuts);
  }

  start(signal: AbortSignal): void {
    this.#signal = signal;
  }

  /** Tell what is on the screen: null unless the slice in view is shown at full quality. */
  looking(screen: OnScreen | null, trouble: string | null): void {
    this.#screen = screen;
    this.#trouble = trouble;
    if (this.#panel) this.#panel.looking(screen, trouble);
    else void this.#load();
  }

  /** Open the panel, with `finding` chosen if it was by the reader. */
  open(finding?: FindingWord): void {
    void this.#load().then(() => this.#panel?.open(finding));
  }

  #load(): Promise<void> {
    this.#loading ??= this.#put().catch(() => {
      setTimeout(() => {
        this.#loading = null; // the connection broke: the next drawing or touch tries again
      }, AGAIN_MS);
    });
    return this.#loading;
  }

  async #put(): Promise<void> {
    const [{ FindingPanel }] = await Promise.all([import("./verify-panel.js"), loadPending()]);
    const signal = this.#signal;
    if (!signal || signal.aborted) return;
    this.#panel = new FindingPanel(this.set, this.may, this.#openers, this.pane);
    this.root.append(this.#panel.root);
    this.#panel.looking(this.#screen, this.#trouble);
    this.#panel.start(signal);
  }
}
