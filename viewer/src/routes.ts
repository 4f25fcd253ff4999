/** What the hash of the address means, and whose pages there are. */
import type { Action, Session } from "./protocol.js";

export type PageName =
  | "worklist"
  | "adjudication"
  | "upload"
  | "loop"
  | "models"
  | "drift"
  | "dashboards"
  | "audit"
  | "admin";

export type Route =
  | { readonly name: PageName }
  | { readonly name: "view" | "mpr"; readonly id: string }
  | { readonly name: "compare"; readonly id: string; readonly other: string | null };

/** Whether the person at the screen may do something. The server decides; this keeps us from offering in vain. */
export type May = (action: Action) => boolean;

export interface PageLink {
  readonly name: PageName;
  readonly href: string;
  readonly label: string;
  readonly needs: Action;
  /** Reached from another page, so that there is room for the others below a thumb. */
  readonly isWithin?: boolean;
}

export const PAGES: readonly PageLink[] = [
  { name: "worklist", href: "#/", label: "Worklist", needs: "image.search" },
  {
    name: "adjudication",
    href: "#/adjudication",
    label: "Adjudication",
    needs: "image.adjudicate",
    isWithin: true,
  },
  { name: "upload", href: "#/upload", label: "Upload", needs: "image.write" },
  { name: "loop", href: "#/loop", label: "Retraining", needs: "model.read" },
  { name: "models", href: "#/models", label: "Models", needs: "model.read" },
  { name: "drift", href: "#/drift", label: "Drift", needs: "model.read", isWithin: true },
  {
    name: "dashboards",
    href: "#/dashboards",
    label: "Dashboards",
    needs: "metrics.read",
    isWithin: true,
  },
  { name: "audit", href: "#/audit", label: "Audit", needs: "audit.read" },
  { name: "admin", href: "#/admin", label: "Admin", needs: "credential.manage" },
];

/** Anything unknown leads to the worklist; an id is 32 characters of 0-9 and a-z. */
export function routeOf(hash: string): Route {
  const path = hash.replace(/^#\/?/, "");
  const page = PAGES.find(({ name }) => name === path);
  if (page) return { name: page.name };
  const [, name, id, other = null] =
    /^(view|mpr|compare)\/([0-9a-z]{32})(?:\/([0-9a-z]{32}))?$/.exec(path) ?? [];
  if (id && name === "compare") return { name, id, other };
  return id && !other && (name === "view" || name === "mpr") ? { name, id } : { name: "worklist" };
}

/** What a session allows; everything while nobody could be asked, for the server refuses what it must. */
export function mayOf(session: Session | null): May {
  if (session === null) return () => true;
  const allowed = new Set(session.actions);
  return (action) => allowed.has(action);
}

/** Where each of us begins: with images whoever may see them, else with what is their work. */
const BEGINNINGS: readonly (readonly [Action, PageName])[] = [
  ["image.search", "worklist"],
  ["audit.read", "audit"],
  ["model.decide", "models"],
  ["model.read", "loop"],
];

/** The page that is shown for a route: itself, or where this person begins; null where nothing is theirs. */
export function placeFor(route: Route, may: May): Route | null {
  const needed = "id" in route ? "image.read" : PAGES.find(({ name }) => name === route.name)?.needs;
  if (needed && may(needed)) return route;
  const beginning = BEGINNINGS.find(([action]) => may(action));
  return beginning ? { name: beginning[1] } : null;
}
