/** A question that has to be answered before anything else: the page behind it can be neither touched nor read. */
import { button, el } from "./dom.js";

export interface Answer {
  readonly label: string;
  readonly id: string;
  readonly kind?: "primary" | "danger";
  readonly act: () => void;
}

/** Ask on top of the page; Escape gives the first answer. The function that comes back takes the question away. */
export function askOnTop(title: string, words: HTMLElement, answers: readonly Answer[]): () => void {
  const close = (): void => {
    if (!dialog.isConnected) return;
    dialog.close();
    dialog.remove();
  };
  const dialog = el(
    "dialog",
    { "aria-labelledby": "dialog-title", "aria-describedby": "dialog-words" },
    el("h2", { id: "dialog-title", class: "dialog-title" }, title),
    el("div", { id: "dialog-words" }, words),
    el(
      "div",
      { class: "dialog-answers" },
      ...answers.map(({ label, id, kind, act }) =>
        button(label, { class: kind, "data-testid": id }, () => {
          close();
          act();
        }),
      ),
    ),
  );
  dialog.addEventListener("cancel", (event) => {
    event.preventDefault();
    close();
    answers[0]?.act();
  });
  document.body.append(dialog);
  dialog.showModal();
  return close;
}
