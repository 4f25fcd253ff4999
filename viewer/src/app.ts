/**
 * The app: one page at a time, chosen by the hash of the address, which names an image set and never a patient.
 */
import "./style.css";
import { el, setAttribute } from "./dom.js";
import { showLoop } from "./loop.js";
import { showModels } from "./models.js";
import { type Route, routeOf } from "./routes.js";
import { showStack } from "./stack.js";
import { showWorklist } from "./worklist.js";

const PAGES: readonly { readonly name: Route["name"]; readonly href: string; readonly label: string }[] = [
  { name: "worklist", href: "#/", label: "Worklist" },
  { name: "loop", href: "#/loop", label: "Retraining" },
  { name: "models", href: "#/models", label: "Models" },
];

const links = PAGES.map(({ href, label }) => el("a", { href }, label));
const main = el("main", {});
const notice = el("p", { class: "notice" }, "Not a medical device. Not for primary diagnosis.");
const nav = el("nav", { "aria-label": "Pages" }, el("span", { class: "brand" }, "radloop"), ...links);
let leaving = new AbortController();

function show(route: Route): void {
  leaving.abort();
  leaving = new AbortController();
  main.replaceChildren();
  window.scrollTo(0, 0);
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
      showWorklist(main, signal);
      break;
    case "loop":
      document.title = "Retraining – radloop";
      showLoop(main, signal);
      break;
    case "models":
      document.title = "Models – radloop";
      showModels(main, signal);
      break;
    case "view":
      document.title = "Series – radloop";
      void showStack(main, route.id, signal).catch((error: unknown) => {
        if (!signal.aborted) complain(error);
      });
  }
}

function complain(error: unknown): void {
  const words = error instanceof Error ? error.message : "The series cannot be shown.";
  main.replaceChildren(
    el(
      "div",
      { class: "page" },
      el("h1", { tabindex: -1 }, "This series cannot be shown"),
      el("p", { class: "result-bad", role: "alert" }, words),
      el("a", { href: "#/", class: "button" }, "Back to the worklist"),
    ),
  );
}

document.body.append(nav, main, notice);
window.addEventListener("hashchange", () => show(routeOf(location.hash)));
show(routeOf(location.hash));
