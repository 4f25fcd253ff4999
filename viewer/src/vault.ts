/**
 * Small values in IndexedDB, readable to one person's page only.
 *
 * Each value is sealed with AES-GCM under a key that the browser keeps beside it and gives out to no script. The
 * person's id is part of what is authenticated, and their key is found by a digest of it.
 */

const NAME = "radloop";
const KEYS = "keys";
const VALUES = "waiting";

export interface Sealed {
  readonly owner: string;
  readonly iv: Uint8Array<ArrayBuffer>;
  readonly data: ArrayBuffer;
}

/** Values of one person by name. */
export interface Vault {
  all(): Promise<Map<string, string>>;
  put(name: string, value: string): Promise<void>;
  remove(name: string): Promise<void>;
}

/** Whether this page may keep anything: cryptography needs HTTPS or the loopback. */
export function canKeep(): boolean {
  return globalThis.isSecureContext === true && crypto.subtle !== undefined && "indexedDB" in globalThis;
}

/** The name a person's values are found under; it does not tell who that is. */
export async function ownerOf(person: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(`radloop waiting ${person}`));
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** A key that can be used here and read nowhere. */
export function newKey(): Promise<CryptoKey> {
  return crypto.subtle.generateKey({ name: "AES-GCM", length: 256 }, false, ["encrypt", "decrypt"]);
}

export async function seal(key: CryptoKey, person: string, name: string, value: string): Promise<Sealed> {
  const iv = crypto.getRandomValues(new Uint8Array(12));
  const text = new TextEncoder().encode(value);
  const data = await crypto.subtle.encrypt(
    { name: "AES-GCM", iv, additionalData: bound(person, name) },
    key,
    text,
  );
  return { owner: await ownerOf(person), iv, data };
}

/** @throws OperationError where it was sealed for somebody else, under another name, or was changed. */
export async function open(
  key: CryptoKey,
  person: string,
  name: string,
  { iv, data }: Sealed,
): Promise<string> {
  const additionalData = bound(person, name);
  return new TextDecoder().decode(
    await crypto.subtle.decrypt({ name: "AES-GCM", iv, additionalData }, key, data),
  );
}

function bound(person: string, name: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(`${name} ${person}`);
}

/** The vault of `person` in this browser. */
export async function openVault(person: string): Promise<Vault> {
  const database = await opened();
  const owner = await ownerOf(person);
  const key = await keyOf(database, owner);
  return {
    async all() {
      const store = database.transaction(VALUES).objectStore(VALUES);
      const [names, values] = await Promise.all([
        done<IDBValidKey[]>(store.getAllKeys()),
        done<Sealed[]>(store.getAll()),
      ]);
      const found = new Map<string, string>();
      for (const [place, value] of values.entries()) {
        if (value.owner !== owner) continue;
        const name = String(names[place]);
        const text = await open(key, person, name, value).catch(() => null); // changed by whom? It stays there
        if (text !== null) found.set(name, text);
      }
      return found;
    },
    async put(name, value) {
      const sealed = await seal(key, person, name, value);
      await done(database.transaction(VALUES, "readwrite").objectStore(VALUES).put(sealed, name));
    },
    async remove(name) {
      await done(database.transaction(VALUES, "readwrite").objectStore(VALUES).delete(name));
    },
  };
}

/** The key of an owner, made at first need; of two pages that make one the first stays. */
async function keyOf(database: IDBDatabase, owner: string): Promise<CryptoKey> {
  const known = await done<CryptoKey | undefined>(database.transaction(KEYS).objectStore(KEYS).get(owner));
  if (known) return known;
  const made = await newKey();
  const store = database.transaction(KEYS, "readwrite").objectStore(KEYS);
  const meanwhile = await done<CryptoKey | undefined>(store.get(owner));
  if (meanwhile) return meanwhile;
  await done(store.put(made, owner));
  return made;
}

function opened(): Promise<IDBDatabase> {
  const request = indexedDB.open(NAME, 1);
  request.onupgradeneeded = () => {
    request.result.createObjectStore(KEYS);
    request.result.createObjectStore(VALUES);
  };
  return done(request);
}

function done<T = unknown>(request: IDBRequest): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result as T);
    request.onerror = () => reject(request.error);
  });
}
