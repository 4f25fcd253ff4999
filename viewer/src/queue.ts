/**
 * Verifications that could not be sent, kept until they are: over reloads, and until the same person signs in again.
 *
 * The server takes one read of a reader for one version of an image set, and the same read again is that one: a
 * finding that is sent twice, because the answer to the first got lost, counts once. An older server tells of a
 * conflict then, and who is told to have verified tells whether that was us.
 */
import { ApiError, type Summary, type Verification } from "./protocol.js";
import type { Vault } from "./vault.js";

export interface Waiting {
  readonly name: string;
  readonly imageSet: string;
  readonly body: Verification;
  /** When the finding was given. */
  readonly at: string;
  /** `waiting` for the server; `refused` by it for good, with the reason in `why`. */
  readonly state: "waiting" | "refused";
  readonly why: string;
}

/** What the queue needs of the rest. */
export interface QueueDoors {
  /** The vault of a person; null where this browser can keep nothing. */
  readonly vault: (person: string) => Promise<Vault | null>;
  readonly send: (imageSet: string, body: Verification) => Promise<Summary>;
  readonly look: (imageSet: string) => Promise<Summary>;
  /** Run `task` while no other page of this browser does. */
  readonly alone: (task: () => Promise<void>) => Promise<void>;
  /** Tell other pages of this browser that something changed. */
  readonly tellOthers: () => void;
  readonly newName: () => string;
  readonly now: () => Date;
  readonly pause: (ms: number, wake: AbortSignal) => Promise<void>;
}

const FIRST_WAIT_MS = 3_000;
const LONGEST_WAIT_MS = 60_000;

/** Whether trying again later may help. */
export function isPassing(error: unknown): boolean {
  return error instanceof ApiError && ["offline", "failed", "too-often", "signed-out"].includes(error.kind);
}

/** Whether the verification that an image set carries is the very one that was sent. */
export function isOurs(person: string, body: Verification, { state, finding }: Summary): boolean {
  return (
    state === "VERIFIED" &&
    finding !== null &&
    finding.by === person &&
    finding.present === (body.finding === "present") &&
    finding.site === body.site &&
    finding.confidence === body.confidence &&
    finding.seen.frame === body.seen.frame
  );
}

export class Queue {
  readonly #listeners = new Set<() => void>();
  #person: string | null = null;
  #vault: Vault | null = null;
  #items: readonly Waiting[] = [];
  #sending: Promise<void> | null = null;
  #wake = new AbortController();

  constructor(private readonly doors: QueueDoors) {}

  /** What waits for the person who is signed in, oldest first; nobody else's. */
  get items(): readonly Waiting[] {
    return this.#items;
  }

  /** Whether a finding can be kept here at all. */
  get canKeep(): boolean {
    return this.#vault !== null;
  }

  of(imageSet: string): Waiting | undefined {
    return this.#items.find((item) => item.imageSet === imageSet);
  }

  watch(listener: () => void, signal: AbortSignal): void {
    this.#listeners.add(listener);
    signal.addEventListener("abort", () => this.#listeners.delete(listener));
  }

  /** `person` is signed in: what they left here is shown and sent. */
  async enter(person: string | null): Promise<void> {
    this.leave();
    this.#person = person;
    if (person === null) return;
    const vault = await this.doors.vault(person).catch(() => null);
    if (this.#person !== person) return;
    this.#vault = vault;
    await this.reload();
    this.hurry();
  }

  /** Nobody is signed in: nothing is shown or sent any more, and everything stays kept. */
  leave(): void {
    this.#person = null;
    this.#vault = null;
    this.#items = [];
    this.#wake.abort();
    this.#tell();
  }

  /**
   * A way to keep findings of the person who is signed in now, also once they are signed out.
   *
   * It gives back false where nothing can be kept.
   */
  keeper(): (imageSet: string, body: Verification) => Promise<boolean> {
    const [person, vault] = [this.#person, this.#vault];
    return async (imageSet, body) => {
      if (!vault || person === null) return false;
      const name = this.doors.newName();
      const at = this.doors.now().toISOString();
      try {
        await keep(vault, { name, imageSet, body, at, state: "waiting", why: "" });
      } catch {
        return false; // the disk is full, say: the reader is told that nothing was saved
      }
      this.doors.tellOthers();
      if (this.#person === person) {
        await this.reload();
        this.#begin(FIRST_WAIT_MS); // it has just failed
      }
      return true;
    };
  }

  async discard(name: string): Promise<void> {
    await this.#vault?.remove(name);
    this.doors.tellOthers();
    await this.reload();
  }

  /** Look again at what is kept; another page may have sent or kept something. */
  async reload(): Promise<void> {
    const vault = this.#vault;
    const found = vault ? await vault.all() : new Map<string, string>();
    if (vault !== this.#vault) return;
    const items = [...found].map(([name, text]) => ({ ...(JSON.parse(text) as Waiting), name }));
    this.#items = items.sort((one, other) => one.at.localeCompare(other.at));
    this.#tell();
  }

  /** Try now; the connection is back, say. */
  hurry(): void {
    this.#wake.abort();
    this.#begin(0);
  }

  /** Resolves when nothing is being sent. */
  async settled(): Promise<void> {
    await this.#sending;
  }

  #begin(waitFirst: number): void {
    if (this.#sending || this.#person === null || !this.#hasWaiting()) return;
    const person = this.#person;
    this.#sending = this.#sendAll(waitFirst)
      .catch(() => {}) // the browser's store failed: what it holds stays, and is tried again when we are hurried
      .finally(() => {
        this.#sending = null;
        if (this.#person !== person) this.#begin(0);
      });
  }

  #hasWaiting(): boolean {
    return this.#items.some(({ state }) => state === "waiting");
  }

  async #sendAll(waitFirst: number): Promise<void> {
    const person = this.#person;
    let wait = waitFirst;
    while (this.#person === person && this.#hasWaiting()) {
      if (wait) {
        this.#wake = new AbortController();
        await this.doors.pause(wait, this.#wake.signal);
        if (this.#person !== person) return;
      }
      let isThrough = true;
      await this.doors.alone(async () => {
        await this.reload(); // what another page has sent meanwhile is gone
        for (const item of this.#items.filter(({ state }) => state === "waiting")) {
          if (this.#person !== person) return;
          isThrough = await this.#sendOne(item);
          if (!isThrough) return;
        }
      });
      wait = isThrough ? 0 : Math.min(Math.max(wait * 2, FIRST_WAIT_MS), LONGEST_WAIT_MS);
    }
  }

  /** Send one; false where the server could not be asked. */
  async #sendOne(item: Waiting): Promise<boolean> {
    const [person, vault] = [this.#person, this.#vault];
    if (person === null || vault === null) return false;
    try {
      await this.doors.send(item.imageSet, item.body);
      await vault.remove(item.name);
    } catch (error) {
      if (isPassing(error)) return false;
      const why = await this.#whyNot(person, item, error);
      if (why === undefined) return false;
      if (why === null) await vault.remove(item.name);
      else await keep(vault, { ...item, state: "refused", why });
    }
    this.doors.tellOthers();
    await this.reload();
    return true;
  }

  /** Why the server refused for good; null where it has the finding already, undefined where it could not be asked. */
  async #whyNot(person: string, item: Waiting, error: unknown): Promise<string | null | undefined> {
    const words = error instanceof Error ? error.message : "The server refused it.";
    if (!(error instanceof ApiError) || error.kind !== "conflict") return words;
    try {
      return isOurs(person, item.body, await this.doors.look(item.imageSet)) ? null : words;
    } catch (later) {
      return isPassing(later) ? undefined : words;
    }
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }
}

function keep(vault: Vault, item: Waiting): Promise<void> {
  return vault.put(item.name, JSON.stringify(item));
}
