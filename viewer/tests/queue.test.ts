import { beforeEach, describe, expect, it } from "vitest";
import { ApiError, type ApiErrorKind, type Summary, type Verification } from "../src/protocol.js";
import { isOurs, Queue, type QueueDoors } from "../src/queue.js";
import { newKey, open, ownerOf, seal, type Vault } from "../src/vault.js";

const BODY: Verification = {
  version: 1,
  finding: "present",
  site: "RLL",
  confidence: "high",
  note: "",
  seen: { frame: 3, quality: "lossless", slices: "n3f" },
};
const error = (kind: ApiErrorKind): ApiError => new ApiError(kind, kind, `It is ${kind}.`);

/** A browser with one vault a person, and a server that keeps findings by the rule of versions. */
class World {
  readonly vaults = new Map<string, Map<string, string>>();
  readonly verified = new Map<string, { by: string; body: Verification; times: number }>();
  readonly trouble: (ApiErrorKind | "lost-answer" | null)[] = [];
  signedIn = "anna";
  sent = 0;
  names = 0;

  queue(): Queue {
    const doors: QueueDoors = {
      vault: async (person) => this.#vault(person),
      send: async (imageSet, body) => {
        this.sent++;
        const trouble = this.trouble.shift() ?? null;
        if (trouble && trouble !== "lost-answer") throw error(trouble);
        if (this.verified.has(imageSet)) throw error("conflict");
        this.verified.set(imageSet, { by: this.signedIn, body, times: 1 });
        if (trouble === "lost-answer") throw error("offline");
        return this.look(imageSet);
      },
      look: async (imageSet) => this.look(imageSet),
      alone: (task) => task(),
      tellOthers: () => {},
      newName: () => `item-${this.names++}`,
      now: () => new Date(Date.UTC(2026, 0, 1, 0, 0, this.names)),
      pause: async () => {},
    };
    return new Queue(doors);
  }

  look(imageSet: string): Summary {
    const truth = this.verified.get(imageSet);
    const finding = truth && {
      present: truth.body.finding === "present",
      site: truth.body.site,
      confidence: truth.body.confidence,
      by: truth.by,
      at: "",
      seen: { frame: truth.body.seen.frame },
    };
    return {
      id: imageSet,
      state: truth ? "VERIFIED" : "INGESTED",
      finding: finding ?? null,
    } as unknown as Summary;
  }

  #vault(person: string): Vault {
    const values = this.vaults.get(person) ?? new Map<string, string>();
    this.vaults.set(person, values);
    return {
      all: async () => new Map(values),
      put: async (name, value) => void values.set(name, value),
      remove: async (name) => void values.delete(name),
    };
  }
}

let world: World;
let queue: Queue;

beforeEach(async () => {
  world = new World();
  queue = world.queue();
  await queue.enter("anna");
});

describe("a finding that could not be sent", () => {
  it("is sent by itself and then gone", async () => {
    expect(await queue.keeper()("set-1", BODY)).toBe(true);
    await queue.settled();
    expect(world.verified.get("set-1")?.body).toEqual(BODY);
    expect(queue.items).toEqual([]);
  });

  it("waits through everything that passes, and is tried again", async () => {
    world.trouble.push("offline", "failed", "too-often", "offline");
    await queue.keeper()("set-1", BODY);
    await queue.settled();
    expect([world.sent, world.verified.size, queue.items.length]).toEqual([5, 1, 0]);
  });

  it("survives a reload", async () => {
    world.trouble.push(...new Array<ApiErrorKind>(1000).fill("offline"));
    queue.leave();
    const keep = (await entered("anna")).keeper();
    await keep("set-1", BODY);
    world.trouble.length = 0;
    const later = await entered("anna");
    await later.settled();
    expect(world.verified.has("set-1")).toBe(true);
  });

  it("counts once although its first answer was lost", async () => {
    world.trouble.push("lost-answer");
    await queue.keeper()("set-1", BODY);
    await queue.settled();
    expect([world.sent, queue.items.length]).toEqual([2, 0]);
    expect(world.verified.get("set-1")).toMatchObject({ by: "anna", times: 1 });
  });

  it("is shown and not lost where somebody else was first", async () => {
    world.verified.set("set-1", { by: "rita", body: BODY, times: 1 });
    await queue.keeper()("set-1", BODY);
    await queue.settled();
    expect(queue.items).toMatchObject([{ imageSet: "set-1", state: "refused", why: "It is conflict." }]);
    const again = await entered("anna");
    await again.settled();
    expect([again.items[0]?.state, world.sent]).toEqual(["refused", 1]);
    await again.discard(again.items[0]?.name ?? "");
    expect([again.items.length, world.vaults.get("anna")?.size]).toEqual([0, 0]);
  });

  it("does not hold up those behind it when it is refused", async () => {
    world.trouble.push("denied");
    const keep = queue.keeper();
    await Promise.all([keep("set-1", BODY), keep("set-2", BODY)]);
    await queue.settled();
    expect(queue.items.map(({ imageSet, state }) => [imageSet, state])).toEqual([["set-1", "refused"]]);
    expect(world.verified.has("set-2")).toBe(true);
  });

  it("is kept for who gave it, also where their sign-in has just turned out to be over", async () => {
    const keep = queue.keeper();
    queue.leave();
    expect(await keep("set-1", BODY)).toBe(true);
    expect(world.sent).toBe(0);
    await queue.enter("anna");
    await queue.settled();
    expect(world.verified.has("set-1")).toBe(true);
  });

  it("is neither shown nor sent while somebody else is signed in", async () => {
    const keep = queue.keeper();
    queue.leave();
    await keep("set-1", BODY);
    await queue.enter("rita");
    await queue.settled();
    expect([queue.items, world.sent]).toEqual([[], 0]);
    expect(world.vaults.get("anna")?.size).toBe(1);
  });

  it("is not said to be kept where nothing can be", async () => {
    const doors = { vault: async () => null } as unknown as QueueDoors;
    const poor = new Queue(doors);
    await poor.enter("anna");
    expect([poor.canKeep, await poor.keeper()("set-1", BODY)]).toEqual([false, false]);
  });
});

it("only the same finding by the same person is ours", () => {
  world.verified.set("set-1", { by: "anna", body: BODY, times: 1 });
  const told = world.look("set-1");
  expect(isOurs("anna", BODY, told)).toBe(true);
  expect(isOurs("rita", BODY, told)).toBe(false);
  expect(isOurs("anna", { ...BODY, finding: "absent" }, told)).toBe(false);
  expect(isOurs("anna", { ...BODY, confidence: "low" }, told)).toBe(false);
  expect(isOurs("anna", BODY, world.look("set-2"))).toBe(false);
});

describe("what is kept", () => {
  it("is in clear nowhere, and its key can be read by no script", async () => {
    const key = await newKey();
    const sealed = await seal(key, "anna", "item", JSON.stringify(BODY));
    expect(new TextDecoder("latin1").decode(sealed.data)).not.toMatch(/present|RLL|version/);
    expect(sealed.owner).not.toContain("anna");
    await expect(crypto.subtle.exportKey("raw", key)).rejects.toThrow();
    expect(JSON.parse(await open(key, "anna", "item", sealed))).toEqual(BODY);
  });

  it("opens for nobody else, under no other name and not once it was changed", async () => {
    const key = await newKey();
    const sealed = await seal(key, "anna", "item", "x");
    await expect(open(key, "rita", "item", sealed)).rejects.toThrow();
    await expect(open(key, "anna", "other", sealed)).rejects.toThrow();
    const changed = new Uint8Array(sealed.data.slice(0));
    changed[0] = (changed[0] as number) ^ 1;
    await expect(open(key, "anna", "item", { ...sealed, data: changed.buffer })).rejects.toThrow();
    expect(await ownerOf("anna")).not.toBe(await ownerOf("rita"));
  });
});

async function entered(person: string): Promise<Queue> {
  const made = world.queue();
  await made.enter(person);
  return made;
}
