import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { ApiError } from "../src/protocol.js";
import { comeBack, keepGoing, mayGoUnasked, returnedOf, sessionAgain } from "../src/redirect.js";
import { returnText, whereText } from "../src/signin.js";

const SESSION = { id: "a", name: "anna", roles: [], actions: [], is_open: false, idle_minutes: 15 };
const signal = new AbortController().signal;
let asked: string[];
let answers: Map<string, [number, unknown]>;

beforeEach(() => {
  vi.useFakeTimers();
  asked = [];
  answers = new Map();
  vi.stubGlobal("fetch", (path: string) => {
    asked.push(path);
    const [status, body] = answers.get(path) ?? [503, {}];
    return Promise.resolve(new Response(JSON.stringify(body), { status }));
  });
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

it("a return has a state and a code, or an error", () => {
  expect(returnedOf("?code=c&state=s")).toEqual({ code: "c", state: "s" });
  expect(returnedOf("?error=access_denied&state=s")).toEqual({ code: null, state: "s" });
  for (const other of ["", "?workers=2", "?code=c", "?state=s"]) expect(returnedOf(other)).toBeNull();
});

it("a refusal of the other page is not sent to the server", async () => {
  await expect(comeBack({ code: null, state: "s" }, signal)).rejects.toMatchObject({ code: "refused" });
  expect(asked).toEqual([]);
});

it("only where one signs in elsewhere a session is asked for again", async () => {
  answers.set("/api/v1/sign-in", [200, { kind: "password", address: null, leave: null }]);
  expect(await sessionAgain(signal)).toBeNull();
  expect(asked).toEqual(["/api/v1/sign-in"]);
  answers.set("/api/v1/sign-in", [
    200,
    { kind: "redirect", address: "https://pool", leave: "https://pool/out" },
  ]);
  answers.set("/api/v1/session/renewal", [401, {}]);
  expect(await sessionAgain(signal)).toBeNull();
  answers.set("/api/v1/session/renewal", [200, SESSION]);
  expect(await sessionAgain(signal)).toMatchObject({ name: "anna" });
});

it("a session is renewed a minute before it ends, until somebody leaves", async () => {
  answers.set("/api/v1/session/renewal", [200, { ...SESSION, renewal_s: 900 }]);
  const leaving = new AbortController();
  const over = vi.fn();
  keepGoing(900, over, leaving.signal);
  await vi.advanceTimersByTimeAsync(839_000);
  expect(asked).toHaveLength(0);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(asked).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(840_000);
  expect(asked).toHaveLength(2);
  leaving.abort();
  await vi.advanceTimersByTimeAsync(3_600_000);
  expect(asked).toHaveLength(2);
  expect(over).not.toHaveBeenCalled();
});

it("a server that fails is asked again, a sign-in that is over ends it", async () => {
  const over = vi.fn();
  keepGoing(900, over, signal);
  await vi.advanceTimersByTimeAsync(850_000);
  expect(asked).toHaveLength(2);
  answers.set("/api/v1/session/renewal", [401, {}]);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(over).toHaveBeenCalledOnce();
  await vi.advanceTimersByTimeAsync(900_000);
  expect(asked).toHaveLength(3);
});

it("nobody is sent round in circles", () => {
  const kept = new Map([["radloop-went", "1000000"]]);
  vi.stubGlobal("sessionStorage", { getItem: (key: string) => kept.get(key) ?? null });
  expect(mayGoUnasked(1_059_999)).toBe(false);
  expect(mayGoUnasked(1_060_000)).toBe(true);
});

it("whoever was let in there and not here is told why in words", () => {
  expect(returnText(new ApiError("signed-out", "unauthenticated", "x"))).toContain("does not count");
  expect(returnText(new ApiError("failed", "unavailable", "the user pool does not answer"))).toContain(
    "pool",
  );
  expect(returnText(new Error("boom"))).not.toContain("boom");
});

it("who signs in elsewhere is told where before they go", () => {
  const address = "https://radloop-dev.auth.eu-west-1.amazoncognito.com/oauth2/authorize?client_id=viewer";
  const told = whereText({ kind: "redirect", address, leave: null });
  expect(told).toBe("You sign in at radloop-dev.auth.eu-west-1.amazoncognito.com and come back here.");
  expect(whereText({ kind: "redirect", address: null, leave: null })).toContain("another page");
});
