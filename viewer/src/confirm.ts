/** What cannot be taken back is asked twice; what fails says why, where it was asked for. */
import { button, el } from "./dom.js";

export interface Question {
  /** What comes of it, for whoever takes the decision. */
  readonly words: string;
  readonly yes: string;
}

/** A button that asks once more before it does its task. */
export function askedTwice(
  label: string,
  id: string,
  question: Question,
  task: () => Promise<void>,
  signal: AbortSignal,
): HTMLElement {
  const root = el("div", { class: "asked" });
  const rest = (): void => root.replaceChildren(button(label, { "data-testid": id }, ask));
  const ask = (): void => {
    const yes = button(question.yes, { class: "danger", "data-testid": `${id}-yes` }, () => void tell(yes));
    root.replaceChildren(
      el("p", { role: "status" }, question.words),
      yes,
      button("Back", { "data-testid": `${id}-no` }, rest),
    );
    yes.focus();
  };
  const tell = async (yes: HTMLButtonElement): Promise<void> => {
    yes.disabled = true;
    try {
      await task();
    } catch (error) {
      if (signal.aborted) return;
      rest();
      root.prepend(complaint(error));
    }
  };
  rest();
  return root;
}

/** What went wrong, to be heard too. */
export function complaint(error: unknown): HTMLElement {
  return el("p", { class: "result-bad", role: "alert" }, wordsOf(error));
}

export function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : "That did not work.";
}
