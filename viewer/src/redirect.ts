/**
 * The way in by somebody else's page: there and back by navigation, and the session kept going while it is used.
 *
 * The code that comes back is of use to the server alone, which keeps its tokens in cookies that no script can read.
 */
import {
  ApiError,
  getSignInWay,
  renewSession,
  type Session,
  type SignInWay,
  signInByCode,
} from "./protocol.js";

const ROUTE = "radloop-route";
const WHY = "radloop-why";
const WENT = "radloop-went";
/** Not oftener than so do we go to the page unasked: what turns us away at once would do so for ever. */
const WENT_MS = 60_000;
const BEFORE_END_S = 60;
const RETRY_MS = 10_000;

/** What the page sent along with whoever came back from it. */
export interface Returned {
  readonly code: string | null;
  readonly state: string;
}

/** What an address says of a return from the page, or null; a refusal has no code. */
export function returnedOf(search: string): Returned | null {
  const told = new URLSearchParams(search);
  const state = told.get("state");
  if (state === null || !(told.has("code") || told.has("error"))) return null;
  return { code: told.get("code"), state };
}

/** Take what came back out of the address, and go to where one was before. */
export function takeReturned(): Returned | null {
  const returned = returnedOf(location.search);
  if (returned) history.replaceState(null, "", location.pathname + location.hash);
  const route = takeOut(ROUTE);
  if (route && location.hash.length < 2) history.replaceState(null, "", location.pathname + route);
  return returned;
}

/** The session of whoever came back. */
export async function comeBack({ code, state }: Returned, signal: AbortSignal): Promise<Session> {
  if (code === null) throw new ApiError("refused", "refused", "The sign-in page did not let you in.");
  return signInByCode(code, state, signal);
}

/** The session of somebody whose access ended and whose sign-in did not; null where there is nobody. */
export async function sessionAgain(signal: AbortSignal): Promise<Session | null> {
  try {
    if ((await getSignInWay(signal)).kind !== "redirect") return null;
    return await renewSession(signal);
  } catch (error) {
    if (error instanceof ApiError && error.kind !== "offline") return null;
    throw error;
  }
}

/** Go to the page; whoever comes back is where they are now. */
export function goTo({ address }: SignInWay): void {
  if (address === null) return;
  sessionStorage.setItem(ROUTE, location.hash);
  sessionStorage.setItem(WENT, String(Date.now()));
  location.assign(address);
}

/** Whether going there unasked would not be going round in circles. */
export function mayGoUnasked(now: number): boolean {
  return now - Number(sessionStorage.getItem(WENT) ?? 0) >= WENT_MS;
}

/** Sign out at the page too, and tell there and back `why`. */
export function leaveBy(address: string, why: string | null): void {
  if (why) {
    sessionStorage.setItem(WHY, why);
    sessionStorage.setItem(ROUTE, location.hash);
  }
  location.assign(address);
}

/** Why one was signed out, once. */
export function takeWhy(): string | null {
  return takeOut(WHY);
}

/** Renew the session a minute before it ends, until `signal` aborts: somebody is at work so long. */
export function keepGoing(leftS: number, onOver: () => void, signal: AbortSignal): void {
  const wait = (ms: number): void => {
    const timer = setTimeout(() => void renew(), ms);
    signal.addEventListener("abort", () => clearTimeout(timer), { once: true });
  };
  const waitFor = (seconds: number): void => wait(Math.max(seconds - BEFORE_END_S, seconds / 2, 1) * 1000);
  const renew = async (): Promise<void> => {
    try {
      const { renewal_s } = await renewSession(signal);
      if (renewal_s && !signal.aborted) waitFor(renewal_s);
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof ApiError && error.kind === "signed-out") onOver();
      else wait(RETRY_MS);
    }
  };
  waitFor(leftS);
}

function takeOut(key: string): string | null {
  const value = sessionStorage.getItem(key);
  sessionStorage.removeItem(key);
  return value;
}
