import { expect, it } from "vitest";
import contract from "../../contracts/roles.json";
import { labelWith } from "../src/admin.js";
import { byReason, MOST, releaseWords } from "../src/aside.js";
import { newPassword, ROLES } from "../src/grants.js";
import { daysOf, isLive } from "../src/keys.js";
import type { Quarantined } from "../src/protocol.js";
import { requireUser } from "../src/users.js";
import { patientIds, scopeWords } from "../src/words.js";

it("every role that can be given is offered, and no other", () => {
  const given = Object.keys(contract.roles).filter((role) => role !== "system");
  expect(Object.keys(ROLES).sort()).toEqual(given.sort());
});

it("passwords are long, differ, and hold no letters that look alike", () => {
  const made = Array.from({ length: 200 }, newPassword);
  expect(new Set(made).size).toBe(200);
  for (const password of made)
    expect(password).toMatch(/^([a-km-np-zA-HJ-NP-Z2-9]{4}-){4}[a-km-np-zA-HJ-NP-Z2-9]{4}$/);
});

it("patients are typed with commas, semicolons or lines between them, and nothing means all", () => {
  expect(patientIds(" A-1, B 2;C\n\n")).toEqual(["A-1", "B 2", "C"]);
  expect(patientIds(" , ;\n")).toBeNull();
  expect(scopeWords(null)).toBe("all patients");
  expect(scopeWords(["A"])).toBe("only 1 patient: A");
  expect(scopeWords([..."ABCDEF"])).toBe("only 6 patients: A, B, C, D, E, …");
});

it("what is missing of a user is said before the server has to", () => {
  expect(() => requireUser(" ", "long enough here", ["reader"])).toThrow("name");
  expect(() => requireUser("anna", "short", ["reader"])).toThrow("12");
  expect(() => requireUser("anna", "long enough here", [])).toThrow("role");
  requireUser("anna", "long enough here", ["reader"]);
});

it("days are a whole number, and nothing means for ever", () => {
  expect(daysOf("  ")).toBeNull();
  expect(daysOf("90")).toBe(90);
  for (const wrong of ["0", "-1", "1.5", "3651", "soon"]) expect(() => daysOf(wrong)).toThrow("whole number");
});

it("a key lives until it is revoked or expires", () => {
  const now = new Date("2026-01-02T00:00:00Z");
  expect(isLive({ revoked_at: null, expires_at: null }, now)).toBe(true);
  expect(isLive({ revoked_at: null, expires_at: "2026-01-03T00:00:00Z" }, now)).toBe(true);
  expect(isLive({ revoked_at: null, expires_at: "2026-01-01T00:00:00Z" }, now)).toBe(false);
  expect(isLive({ revoked_at: "2026-01-01T00:00:00Z", expires_at: null }, now)).toBe(false);
});

it("files in quarantine stand together by reason, the most frequent first", () => {
  const file = (id: string, code: string): Quarantined => ({
    id,
    code,
    sentence: "",
    size_bytes: 1,
    sha256: "",
    time: "",
  });
  const groups = byReason([file("1", "a"), file("2", "b"), file("3", "b")]);
  expect(groups.map(([code, files]) => [code, files.length])).toEqual([
    ["b", 2],
    ["a", 1],
  ]);
});

it("what became of releases is told by number", () => {
  const done = (outcome: "ingested" | "duplicate" | "quarantined", same_reason = false) => ({
    outcome,
    same_reason,
  });
  expect(releaseWords([done("ingested"), done("ingested"), done("duplicate")])).toBe(
    "2 files landed. 1 file known already.",
  );
  expect(releaseWords([done("quarantined", true), done("quarantined")])).toBe(
    "1 file refused for the same reason, and kept. 1 file refused for another reason now, and kept.",
  );
});

it("a tab tells how many there are, if there are any", () => {
  expect(labelWith("Jobs", 0)).toBe("Jobs");
  expect(labelWith("Jobs", 3)).toBe("Jobs 3");
  expect(labelWith("Quarantine", MOST)).toBe(`Quarantine ${MOST}+`);
});
