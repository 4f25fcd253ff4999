/**
 * The app: one page at a time, chosen by the hash of the address, which names an image set and never a patient.
 */
import "./style.css";
import { showAdmin } from "./admin.js";
import { showAudit } from "./audit.js";
import { button, el, setAttribute, setText } from "./dom.js";
import { showLoop } from "./loop.js";
import { showModels } from "./models.js";
import { ApiError, getSession, onSignedOut, type Session, signOut } from "./protocol.js";
import { type May, mayOf, PAGES, placeFor, type Route, routeOf } from "./routes.js";
import { showSignIn } from "./signin.js";
import { showStack } from "./stack.js";
import { showUpload } from "./upload.js";
import { uploads } from "./uploads.js";
import { showWorklist } from "./worklist.js";

const links = PAGES.map(({ href, label }) => el("a", { href }, label));
const main = el("main", {});
const notice = el("p", { class: "notice" }, "Not a medical device. Not for primary diagnosis.");
const leave = button(
  "Sign out",
  { class: "signout", "data-testid": "signout", hidden: true },
  () => void goOut(),
);
const who = el("span", { class: "who faint", "data-testid": "who" });
const header = el("header", { class: "top" }, el("span", { class: "brand" }, "radloop"), who, leave);
const nav = el("nav", { "aria-label": "Pages" }, ...links);
let may: May = mayOf(null);
let me: string | null = null;
let leaving = new AbortController();
let isIn = false;

/** Empty the page; what was on it asks for nothing any more. */
function clear(): void {
  leaving.abort();
  leaving = new AbortController();
  main.replaceChildren();
}

/** Show the app if somebody is signed in, or nobody has to be; else the way in. */
async function begin(): Promise<void> {
  try {
    enter(await getSession(leaving.signal));
  } catch (error) {
    if (error instanceof ApiError && error.kind === "signed-out") askIn(false);
    else enter(null); // whatever is wrong, the page itself tells it and tries again
  }
}

function enter(session: Session | null): void {
  isIn = true;
  may = mayOf(session);
  me = session?.id ?? null;
  leave.hidden = session === null || session.name === null;
  setText(who, session?.name ? `${session.name} · ${session.roles.join(", ")}` : "");
  document.body.toggleAttribute("data-signed-in", !leave.hidden);
  PAGES.forEach(({ needs }, position) => {
    setAttribute(links[position] as HTMLElement, "hidden", !may(needs));
  });
  show(routeOf(location.hash));
}

/** The address stays what it is, so that whoever comes back finds the same page. */
function askIn(wasIn: boolean): void {
  isIn = false;
  clear();
  document.body.removeAttribute("data-signed-in");
  document.body.dataset.page = "signin";
  document.title = "Sign in – radloop";
  showSignIn(main, wasIn, enter, leaving.signal);
}

async function goOut(): Promise<void> {
  try {
    await signOut(leaving.signal);
  } catch (error) {
    if (!(error instanceof ApiError && error.kind === "signed-out")) {
      window.alert("Signing out did not work. Close the browser to be safe.");
      return;
    }
  }
  location.hash = "#/";
  askIn(false);
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
  switch (route.name) {
    case "worklist":
      document.title = "Worklist – radloop";
      showWorklist(main, may, signal);
      break;
    case "upload":
      document.title = "Upload – radloop";
      showUpload(main, signal);
      break;
    case "loop":
      document.title = "Retraining – radloop";
      showLoop(main, may, signal);
      break;
    case "models":
      document.title = "Models – radloop";
      showModels(main, may, signal);
      break;
    case "audit":
      document.title = "Audit – radloop";
      showAudit(main, may, signal);
      break;
    case "admin":
      document.title = "Admin – radloop";
      showAdmin(main, may, me, signal);
      break;
    case "view":
      document.title = "Series – radloop";
      void showStack(main, route.id, may, signal).catch((error: unknown) => {
        if (signal.aborted) return;
        const words = error instanceof Error ? error.message : "The series cannot be shown.";
        complain("This series cannot be shown", words);
      });
  }
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
  if (isIn) askIn(true);
});
uploads.watch(() => {
  const { phase, sent, total } = uploads.progress;
  const link = links[PAGES.findIndex(({ name }) => name === "upload")] as HTMLElement;
  const share = uploads.isBusy && total ? Math.floor((100 * sent) / total) : null;
  setText(link, share === null || phase === "reading" ? "Upload" : `Upload ${Math.min(share, 100)} %`);
}, new AbortController().signal);
window.addEventListener("online", () => uploads.hurry());
void begin();
