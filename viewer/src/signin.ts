/** The way in: a name and a password, or a button to where one signs in. Nothing else of the app is shown before. */
import { button, el, setText } from "./dom.js";
import { ApiError, getSignInWay, renewSession, type Session, type SignInWay, signIn } from "./protocol.js";
import { goTo, mayGoUnasked } from "./redirect.js";

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

/** What to tell a person whom the other page let in, or not, and who is not in here. */
export function returnText(error: unknown): string {
  if (!(error instanceof ApiError)) return "Signing in did not work.";
  if (error.kind === "signed-out")
    return "That sign-in does not count: it took too long, was used before, or was begun in another window.";
  if (error.kind === "too-often") return "Too many sign-ins at this moment. Wait a little, then try again.";
  return error.message;
}

/** What the server said last; one that cannot be reached is taken for what it was. */
let known: SignInWay["kind"] = "password";

async function wayHere(signal: AbortSignal): Promise<SignInWay> {
  try {
    const way = await getSignInWay(signal);
    known = way.kind;
    return way;
  } catch (error) {
    if (signal.aborted) throw error;
    return { kind: known, address: null, leave: null };
  }
}

/**
 * Show the sign-in in `root` until somebody is in or `signal` aborts.
 *
 * @param failed What went wrong when somebody came back from another page, or null.
 */
export function showSignIn(
  root: HTMLElement,
  why: WhyOut | null,
  onSession: (session: Session) => void,
  signal: AbortSignal,
  failed: unknown = null,
): void {
  const words = why && REASONS[why];
  const page = el(
    "div",
    { class: "page page-signin" },
    el("h1", { tabindex: -1 }, "Sign in to radloop"),
    words ? el("p", { class: "faint", role: "status" }, words) : null,
  );
  root.append(page);
  wayHere(signal).then(
    async (way) => {
      if (signal.aborted) return;
      if (way.kind === "password") return showForm(page, onSession, signal);
      const session = why === "over" ? await renewSession(signal).catch(() => null) : null;
      if (signal.aborted) return;
      if (session) onSession(session);
      else showButton(page, failed === null ? null : returnText(failed), way, why === "over", signal);
    },
    () => {}, // the page has been left
  );
}

/** Where the button leads, so that whoever presses it knows the page that asks for a password. */
export function whereText({ address }: SignInWay): string {
  const where = address === null ? "another page" : new URL(address).host;
  return `You sign in at ${where} and come back here.`;
}

/** The button to the other page; where `isPressed`, it is as if somebody had pressed it already. */
function showButton(
  page: HTMLElement,
  complaint: string | null,
  way: SignInWay,
  isPressed: boolean,
  signal: AbortSignal,
): void {
  const trouble = el(
    "p",
    { class: "result-bad", role: "alert", hidden: complaint === null },
    complaint ?? "",
  );
  const go = button("Sign in", { class: "primary", "data-testid": "signin-go" }, () => void ask());
  const where = el("p", { class: "faint", id: "signin-where" }, whereText(way));
  go.setAttribute("aria-describedby", where.id);
  page.append(el("div", { class: "signin card" }, trouble, where, go));
  const ask = async (): Promise<void> => {
    go.disabled = true;
    const way = await wayHere(signal).catch(() => null); // anew: an address is good for one sign-in
    if (signal.aborted || way === null) return;
    go.disabled = false;
    trouble.hidden = way.address !== null;
    if (way.address === null) setText(trouble, "The server cannot be reached. Try again.");
    goTo(way);
  };
  if (isPressed && mayGoUnasked(Date.now())) goTo(way);
  else go.focus({ preventScroll: true });
}

function showForm(page: HTMLElement, onSession: (session: Session) => void, signal: AbortSignal): void {
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
  page.append(form);

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
