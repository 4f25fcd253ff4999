import { afterEach, expect, it, vi } from "vitest";
import { listModels } from "../src/learning.js";
import { ApiError, getSession, onSignedOut, signIn } from "../src/protocol.js";
import { refusalText } from "../src/signin.js";

const signal = new AbortController().signal;

function answer(status: number, body: unknown): void {
  vi.stubGlobal("fetch", () => Promise.resolve(new Response(JSON.stringify(body), { status })));
}

afterEach(() => {
  vi.unstubAllGlobals();
  onSignedOut(() => {});
});

it("a refusal while working leads back to the sign-in, a wrong password does not", async () => {
  const told = vi.fn();
  onSignedOut(told);
  answer(401, { error: { code: "unauthenticated", message: "sign in" } });
  await expect(signIn("anna", "wrong", signal)).rejects.toMatchObject({ kind: "signed-out" });
  await expect(getSession(signal)).rejects.toBeInstanceOf(ApiError);
  expect(told).not.toHaveBeenCalled();
  await expect(listModels(signal)).rejects.toMatchObject({ kind: "signed-out", code: "unauthenticated" });
  expect(told).toHaveBeenCalledOnce();
});

it("being denied something is not being signed out", async () => {
  const told = vi.fn();
  onSignedOut(told);
  answer(403, { error: { code: "denied", message: "no" } });
  await expect(listModels(signal)).rejects.toMatchObject({ kind: "denied" });
  expect(told).not.toHaveBeenCalled();
});

it("whoever cannot get in is told why, and nothing that helps to guess", async () => {
  answer(429, { error: { code: "throttled", message: "wait" } });
  const often = await signIn("anna", "x", signal).catch((error: unknown) => error);
  expect(refusalText(often)).toContain("Too many tries");
  expect(refusalText(new ApiError("signed-out", "unauthenticated", "x"))).toContain("name or the password");
  expect(refusalText(new ApiError("offline", "offline", "The server cannot be reached."))).toContain(
    "reached",
  );
  expect(refusalText(new Error("boom"))).not.toContain("boom");
});
