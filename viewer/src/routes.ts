/** What the hash of the address means. */

export type Route =
  | { readonly name: "worklist" | "upload" | "loop" | "models" }
  | { readonly name: "view"; readonly id: string };

/** Anything unknown leads to the worklist; an id is 32 characters of 0-9 and a-z. */
export function routeOf(hash: string): Route {
  const path = hash.replace(/^#\/?/, "");
  if (path === "upload" || path === "loop" || path === "models") return { name: path };
  const id = /^view\/([0-9a-z]{32})$/.exec(path)?.[1];
  return id ? { name: "view", id } : { name: "worklist" };
}
