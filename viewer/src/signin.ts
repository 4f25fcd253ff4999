/** The way in: a name and a password. Nothing else of the app is shown before. */
import { el, setText } from "./dom.js";
import { ApiError, type Session, signIn } from "./protocol.js";

/** Why somebody who was in is asked again: the sign-in was `over`, they left the page alone, or the server is `unheard`. */
export type WhyOut = "over" | "idle" | "unheard";

const REASONS: Readonly<Record<WhyOut, string>> = {
  over: "You were signed out. Sign in to go on where you were.",
  idle: "You were signed out because nothing was done here for a while. Sign in to go on where you were.",
  unheard:
    "You are signed out here. The server could not be told; it is when it is back, or ends the sign-in by itself.",
};

/** What to tell a person who could not get in. */
export function refusalText(error: unknown): string {
  if (!(error instanceof ApiError)) return "Signing in did not work.";
  if (error.kind === "signed-out") return "The name or the password is wrong, or the user is disabled.";
  if (error.kind === "too-often") return "Too many tries. Wait half a minute, then try again.";
  return error.message;
}

/** Show the sign-in in `root` until somebody is in or `signal` aborts. */
export function showSignIn(
  root: HTMLElement,
  why: WhyOut | null,
  onSession: (session: Session) => void,
  signal: AbortSignal,
): void {
  const name = el("input", {
    id: "signin-name",
    "data-testid": "signin-name",
    type: "text",
    autocomplete: "username",
    autocapitalize: "none",
    spellcheck: "false",
    required: true,
    maxlength: 64,
  });
  const password = el("input", {
    id: "signin-password",
    "data-testid": "signin-password",
    type: "password",
    autocomplete: "current-password",
    required: true,
    "aria-describedby": "signin-trouble",
  });
  const trouble = el("p", { class: "result-bad", id: "signin-trouble", role: "alert", hidden: true });
  const submit = el(
    "button",
    { type: "submit", class: "primary", "data-testid": "signin-submit" },
    "Sign in",
  );
  const form = el(
    "form",
    { class: "signin card", novalidate: true },
    el("div", { class: "field" }, el("label", { for: "signin-name" }, "Name"), name),
    el("div", { class: "field" }, el("label", { for: "signin-password" }, "Password"), password),
    trouble,
    submit,
  );
  const words = why && REASONS[why];
  root.append(
    el(
      "div",
      { class: "page page-signin" },
      el("h1", { tabindex: -1 }, "Sign in to radloop"),
      words ? el("p", { class: "faint", role: "status" }, words) : null,
      form,
    ),
  );

  const send = async (): Promise<void> => {
    if (!name.value || !password.value) {
      complain("Enter your name and your password.");
      (name.value ? password : name).focus();
      return;
    }
    submit.disabled = true;
    trouble.hidden = true;
    try {
      onSession(await signIn(name.value, password.value, signal));
    } catch (error) {
      if (signal.aborted) return;
      complain(refusalText(error));
      password.value = "";
      password.focus();
    } finally {
      submit.disabled = false;
    }
  };
  const complain = (text: string): void => {
    trouble.hidden = false;
    setText(trouble, text);
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void send();
  });
  name.focus({ preventScroll: true });
}
