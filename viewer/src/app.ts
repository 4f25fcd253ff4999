/**
 * The app: one page at a time, chosen by the hash of the address, which names an image set and never a patient.
 */
import "./style.css";
import { device } from "./device.js";
import { button, el, setAttribute, setText } from "./dom.js";
import { loads, watchTasks } from "./loads.js";
import { loadPending, pendingNow, pendingOf, whenPending } from "./pending.js";
import { ApiError, getSession, onSignedOut, type Session, signOut } from "./protocol.js";
import { comeBack, keepGoing, leaveBy, sessionAgain, takeReturned, takeWhy } from "./redirect.js";
import { type May, mayOf, PAGES, placeFor, type Route, routeOf } from "./routes.js";
import { forgetSeen, watchHiding } from "./seen.js";
import { prepareSeries } from "./series.js";
import { showSignIn, type WhyOut } from "./signin.js";
import { showStack } from "./stack.js";
import { tellStats } from "./stats.js";
import type { uploads } from "./uploads.js";
import { plural } from "./words.js";
import { showWorklist } from "./worklist.js";

const links = PAGES.map(({ href, label }) => el("a", { href }, label));
const main = el("main", {});
const notice = el(
  "p",
  { class: "notice" },
  "Not a medical device. Not for primary diagnosis.",
  device().warning && el("strong", { class: "device-warning", role: "status" }, ` ${device().warning}`),
);
const leave = button(
  "Sign out",
  { class: "signout", "data-testid": "signout", hidden: true },
  () => void askOut(),
);
const who = el("span", { class: "who faint", "data-testid": "who" });
const header = el("header", { class: "top" }, el("span", { class: "brand" }, "radloop"), who, leave);
const nav = el("nav", { "aria-label": "Pages" }, ...links);
let may: May = mayOf(null);
let me: string | null = null;
let leaving = new AbortController();
let isIn = false;
let watching = new AbortController();

/** Set while somebody is signed out here of whom the server has not heard yet: coming back must not bring them in. */
const LOCKED = "radloop-locked";

/** Empty the page; what was on it asks for nothing any more. */
function clear(): void {
  leaving.abort();
  leaving = new AbortController();
  main.replaceChildren();
}

/** Show the app if somebody is signed in, or nobody has to be; else the way in. */
async function begin(): Promise<void> {
  const returned = takeReturned(); // before anything else: a code stands in the address
  try {
    if (localStorage.getItem(LOCKED)) await leaveServer();
    if (localStorage.getItem(LOCKED)) return askIn("idle");
    if (returned) return enter(await comeBack(returned, leaving.signal));
    const route = routeOf(location.hash);
    if (route.name === "view") prepareSeries(route.id); // beside the question who is signed in, not behind it
    enter(await getSession(leaving.signal));
  } catch (error) {
    if (returned) askIn(null, error);
    else if (error instanceof ApiError && error.kind === "signed-out") await beginAgain();
    else enter(null); // whatever is wrong, the page itself tells it and tries again
  }
}

/** Nobody is in, or nobody yet: a session that ended may be one to renew. */
async function beginAgain(): Promise<void> {
  const session = await sessionAgain(leaving.signal).catch(() => null);
  if (session) enter(session);
  else askIn(takeWhy() === "idle" ? "idle" : null);
}

function enter(session: Session | null): void {
  isIn = true;
  watching.abort();
  watching = new AbortController();
  localStorage.removeItem(LOCKED);
  may = mayOf(session);
  if (me !== (session?.id ?? null)) forgetSeen();
  me = session?.id ?? null;
  leave.hidden = session === null || session.name === null;
  setText(who, session?.name ? `${session.name} · ${session.roles.join(", ")}` : "");
  document.body.toggleAttribute("data-signed-in", !leave.hidden);
  PAGES.forEach(({ needs, isWithin }, position) => {
    setAttribute(links[position] as HTMLElement, "hidden", isWithin || !may(needs));
  });
  pendingOf(me);
  const { signal } = watching;
  if (session?.renewal_s) keepGoing(session.renewal_s, () => askIn("over"), signal);
  if (session?.idle_minutes) void watchOver(session.idle_minutes, signal).catch(() => {});
  show(routeOf(location.hash));
}

/** Sign out whoever leaves the page alone. No first image waits for it. */
async function watchOver(minutes: number, signal: AbortSignal): Promise<void> {
  const [{ watchIdle }, { askOnTop }] = await insistently(
    () => Promise.all([import("./idle.js"), import("./dialog.js")]),
    signal,
  );
  if (signal.aborted) return;
  const left = el("strong", { "data-testid": "idle-left" });
  const words = el("p", {}, "Nothing was done here for a while. You will be signed out in ", left, ".");
  let takeAway: (() => void) | null = null;
  const calm = (): void => {
    takeAway?.();
    takeAway = null;
  };
  signal.addEventListener("abort", calm);
  watchIdle(
    minutes,
    {
      warn: (ms) => {
        setText(left, plural(Math.ceil(ms / 1000), "second"));
        takeAway ??= askOnTop("Are you still there?", words, [
          { label: "Stay", id: "idle-stay", kind: "primary", act: () => {} },
          { label: "Sign out", id: "idle-leave", act: () => void goOut() },
        ]);
      },
      calm,
      fire: () => {
        localStorage.setItem(LOCKED, "1"); // other tabs hear of it too
        askIn("idle"); // nothing stays on the screen, whatever the server says
        void leaveServer();
      },
      beat: () => {
        getSession(signal).catch((error: unknown) => {
          if (!signal.aborted && error instanceof ApiError && error.kind === "signed-out") askIn("over");
        });
      },
    },
    signal,
  );
}

/** Load a script although the connection breaks now and then. */
async function insistently<T>(load: () => Promise<T>, signal: AbortSignal): Promise<T> {
  for (;;) {
    try {
      return await load();
    } catch (error) {
      if (signal.aborted) throw error;
      await new Promise((resolve) => setTimeout(resolve, 3000));
    }
  }
}

/** End the session on the server; what cannot be reached is told at the next start of the page. */
async function leaveServer(): Promise<void> {
  let address: string | null;
  try {
    address = await signOutWhole(new AbortController().signal);
  } catch {
    return;
  }
  localStorage.removeItem(LOCKED);
  if (address) leaveBy(address, "idle");
}

/** Sign out, though the access has ended and the sign-in has not; tells where to go to be signed out there too. */
async function signOutWhole(signal: AbortSignal): Promise<string | null> {
  try {
    return await signOut(signal);
  } catch (error) {
    if (!(error instanceof ApiError && error.kind === "signed-out")) throw error;
  }
  return (await sessionAgain(signal)) && signOut(signal);
}

/** The address stays what it is, so that whoever comes back finds the same page. */
function askIn(why: WhyOut | null, failed: unknown = null): void {
  isIn = false;
  clear();
  watching.abort();
  pendingOf(null);
  document.body.removeAttribute("data-signed-in");
  document.body.dataset.page = "signin";
  document.title = "Sign in – radloop";
  showSignIn(main, why, enter, leaving.signal, failed);
}

/** Sign out; who leaves findings behind that are not sent is asked first. */
async function askOut(): Promise<void> {
  const found = await loadPending().catch(() => null);
  const count = found?.waiting.items.filter(({ state }) => state === "waiting").length ?? 0;
  if (!count) return goOut();
  const { askOnTop } = await import("./dialog.js");
  const them = count === 1 ? "It stays" : "They stay";
  const words = `${plural(count, "finding")} could not be sent yet. ${them} on this device, encrypted, until you sign in here again.`;
  askOnTop("Findings wait to be sent", el("p", {}, words), [
    { label: "Stay", id: "signout-stay", kind: "primary", act: () => found?.waiting.hurry() },
    { label: "Sign out", id: "signout-anyway", act: () => void goOut() },
  ]);
}

async function goOut(): Promise<void> {
  let address: string | null;
  try {
    address = await signOutWhole(leaving.signal);
  } catch {
    localStorage.setItem(LOCKED, "1");
    askIn("unheard");
    return;
  }
  location.hash = "#/";
  askIn(null);
  if (address) leaveBy(address, null);
}

function show(wanted: Route): void {
  clear();
  const route = placeFor(wanted, may);
  if (route === null) {
    complain("Nothing is here for your role", "Ask an administrator for another role.");
    return;
  }
  document.body.dataset.page = route.name;
  PAGES.forEach(({ name }, position) => {
    setAttribute(links[position] as HTMLElement, "aria-current", name === route.name ? "page" : null);
  });
  open(route, leaving.signal);
  main.querySelector("h1")?.focus({ preventScroll: true }); // a screen reader hears where it is
}

function open(route: Route, signal: AbortSignal): void {
  if ("id" in route && !device().canShow) {
    complain("This device cannot show images", device().warning ?? "");
    return;
  }
  switch (route.name) {
    case "worklist":
      document.title = "Worklist – radloop";
      showWorklist(main, may, signal);
      break;
    case "adjudication":
      document.title = "Adjudication – radloop";
      lazily(import("./adjudication.js"), signal, ({ showAdjudication }) =>
        showAdjudication(main, may, signal),
      );
      break;
    case "upload":
      document.title = "Upload – radloop";
      lazily(Promise.all([import("./upload.js"), watchUploads()]), signal, ([page]) =>
        page.showUpload(main, signal),
      );
      break;
    case "loop":
      document.title = "Retraining – radloop";
      lazily(import("./loop.js"), signal, ({ showLoop }) => showLoop(main, may, signal));
      break;
    case "models":
      document.title = "Models – radloop";
      lazily(import("./models.js"), signal, ({ showModels }) => showModels(main, may, signal));
      break;
    case "drift":
      document.title = "Drift – radloop";
      lazily(import("./drift.js"), signal, ({ showDrift }) => showDrift(main, signal));
      break;
    case "dashboards":
      document.title = "Dashboards – radloop";
      lazily(import("./dashboards.js"), signal, ({ showDashboards }) => showDashboards(main, may, signal));
      break;
    case "audit":
      document.title = "Audit – radloop";
      lazily(import("./audit.js"), signal, ({ showAudit }) => showAudit(main, may, signal));
      break;
    case "admin":
      document.title = "Admin – radloop";
      lazily(import("./admin.js"), signal, ({ showAdmin }) => showAdmin(main, may, me, signal));
      break;
    case "view":
      document.title = "Series – radloop";
      orComplain(showStack(main, route.id, may, signal), signal);
      break;
    case "mpr":
      document.title = "MPR – radloop";
      orComplain(
        import("./mpr.js").then(({ showMpr }) => showMpr(main, route.id, signal)),
        signal,
      );
      break;
    case "compare":
      document.title = "Compare – radloop";
      orComplain(
        import("./compare.js").then(({ showCompare }) => showCompare(main, route.id, route.other, signal)),
        signal,
      );
  }
}

/** Show a page whose script is fetched when it is first wanted. */
function lazily<T>(script: Promise<T>, signal: AbortSignal, show: (loaded: T) => void): void {
  script.then(
    (loaded) => {
      if (signal.aborted) return;
      show(loaded);
      main.querySelector("h1")?.focus({ preventScroll: true });
    },
    () => {
      if (!signal.aborted) complain("This page did not load", "Reload it when the server can be reached.");
    },
  );
}

let uploading: typeof uploads | null = null;

/** From the first visit of its page on, tell everywhere how far an upload has come. */
async function watchUploads(): Promise<void> {
  const { uploads } = await import("./uploads.js");
  if (uploading) return;
  uploading = uploads;
  uploads.watch(() => {
    const { phase, sent, total } = uploads.progress;
    const link = links[PAGES.findIndex(({ name }) => name === "upload")] as HTMLElement;
    const share = uploads.isBusy && total ? Math.floor((100 * sent) / total) : null;
    setText(link, share === null || phase === "reading" ? "Upload" : `Upload ${Math.min(share, 100)} %`);
  }, new AbortController().signal);
}

/** Tell why a series could not be opened, unless its page has been left meanwhile. */
function orComplain(opening: Promise<void>, signal: AbortSignal): void {
  opening.catch((error: unknown) => {
    if (signal.aborted) return;
    const words = error instanceof Error ? error.message : "The series cannot be shown.";
    complain("This series cannot be shown", words);
  });
}

function complain(title: string, words: string): void {
  main.replaceChildren(
    el(
      "div",
      { class: "page" },
      el("h1", { tabindex: -1 }, title),
      el("p", { class: "result-bad", role: "alert" }, words),
      may("image.search") && el("a", { href: "#/", class: "button" }, "Back to the worklist"),
    ),
  );
}

document.body.append(header, nav, main, notice);
window.addEventListener("hashchange", () => {
  if (isIn) show(routeOf(location.hash));
});
onSignedOut(() => {
  if (isIn) askIn("over");
});
window.addEventListener("online", () => {
  uploading?.hurry();
  pendingNow()?.hurry();
});
window.addEventListener("storage", ({ key, newValue }) => {
  if (key === LOCKED && newValue && isIn) askIn("idle");
});
whenPending(({ items }) => {
  const link = links[PAGES.findIndex(({ name }) => name === "worklist")] as HTMLElement;
  setText(link, items.length ? `Worklist · ${items.length}` : "Worklist");
  setAttribute(
    link,
    "aria-label",
    items.length ? `Worklist, ${plural(items.length, "finding")} not sent` : null,
  );
});
watchHiding();
tellStats(loads);
watchTasks();
void begin();
