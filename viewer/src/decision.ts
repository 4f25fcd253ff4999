/** What a person decides about a model: each only after a second look and for a reason, for it stays in the ledger. */
import { wordsOf } from "./confirm.js";
import { button, el } from "./dom.js";
import { type Coded, decide, type Model, type Reasons, rollBack } from "./learning.js";
import { ApiError } from "./protocol.js";

interface Choice {
  readonly label: string;
  readonly id: string;
  readonly yes: string;
  readonly words: string;
  readonly kind: "primary" | "danger";
  readonly reasons: readonly Coded[];
  readonly act: (reason: string | null) => Promise<Model>;
}

/** What a decision brings about, in a sentence for whoever takes it. */
export function consequence(version: number, approved: boolean): string {
  return approved
    ? `Model v${version} becomes the champion and gives its opinion from now on.`
    : `Model v${version} is rejected and will not be used.`;
}

/** Approve or reject. */
export function decisionOn(
  { version }: Model,
  reasons: Reasons | null,
  after: (told: Model) => Promise<void>,
  signal: AbortSignal,
): HTMLElement {
  const offer = (approved: boolean): Choice => ({
    label: approved ? "Approve" : "Reject",
    id: approved ? "approve" : "reject",
    yes: `Yes, ${approved ? "approve" : "reject"} v${version}`,
    words: consequence(version, approved),
    kind: approved ? "primary" : "danger",
    reasons: (approved ? reasons?.approve : reasons?.reject) ?? [],
    act: (reason) => decide(version, approved, reason, signal),
  });
  return asked("decision", [offer(true), offer(false)], after, signal);
}

/** Put the version before the champion back to work. */
export function rollBackFrom(
  { version }: Model,
  reasons: Reasons | null,
  after: (told: Model) => Promise<void>,
  signal: AbortSignal,
): HTMLElement {
  const offer: Choice = {
    label: "Roll back",
    id: "rollback",
    yes: `Yes, take v${version} out of use`,
    words: `Model v${version} gives no opinion any more, and the version that served before it does again. Nothing is deleted.`,
    kind: "danger",
    reasons: reasons?.rollback ?? [],
    act: (reason) => rollBack(reason, version, signal),
  };
  return asked("rolling-back", [offer], after, signal);
}

function asked(
  id: string,
  choices: readonly Choice[],
  after: (told: Model) => Promise<void>,
  signal: AbortSignal,
): HTMLElement {
  const root = el("div", { class: "decision", "data-testid": id });
  const rest = (): void => {
    root.replaceChildren(
      ...choices.map((choice, place) =>
        button(choice.label, { class: place === 0 ? choice.kind : null, "data-testid": choice.id }, () =>
          confirm(choice),
        ),
      ),
    );
  };
  const confirm = (choice: Choice): void => {
    const select = reasonSelect(choice.reasons);
    const send = button(choice.yes, { class: choice.kind, "data-testid": "decide" }, () => {
      void tell(choice, select?.value || null, send);
    });
    send.disabled = select !== null;
    select?.addEventListener("change", () => {
      send.disabled = select.value === "";
    });
    root.replaceChildren(
      el("p", { role: "status" }, choice.words),
      select ? el("label", { class: "field reason" }, el("span", {}, "Reason"), select) : "",
      send,
      button("Back", { "data-testid": "decide-not" }, rest),
    );
    (select ?? send).focus();
  };
  const tell = async (choice: Choice, reason: string | null, send: HTMLButtonElement): Promise<void> => {
    send.disabled = true;
    try {
      const told = await choice.act(reason);
      rest();
      await after(told);
    } catch (error) {
      if (signal.aborted) return;
      rest();
      root.prepend(refusal(error));
    }
  };
  rest();
  return root;
}

function reasonSelect(reasons: readonly Coded[]): HTMLSelectElement | null {
  if (reasons.length === 0) return null;
  return el(
    "select",
    { "data-testid": "decide-reason" },
    el("option", { value: "" }, "Choose a reason"),
    ...reasons.map(({ code, sentence }) => el("option", { value: code }, sentence)),
  );
}

/** Who made a model is not to let it through: no fault of theirs, so it is said what to do. */
function refusal(error: unknown): HTMLElement {
  const isTheirs = error instanceof ApiError && error.code === "separation-of-duties";
  const words = isTheirs
    ? `Somebody else has to decide here. ${error.message}`
    : `Not decided. ${wordsOf(error)}`;
  return el("p", { class: isTheirs ? "result-warn" : "result-bad", role: "alert" }, words);
}
