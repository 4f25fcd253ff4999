/** A cache that holds as many bytes as it may and forgets what was used longest ago. */

interface Entry<V> {
  readonly value: V;
  readonly bytes: number;
}

export class ByteLru<K, V> {
  readonly #entries = new Map<K, Entry<V>>(); // a Map keeps the order of insertion: first is oldest
  #bytes = 0;

  /**
   * @param budget Bytes that may be held. The newest entry always stays, even if it alone is larger.
   * @param onEvict Called with each key that had to go.
   */
  constructor(
    readonly budget: number,
    private readonly onEvict: (key: K) => void = () => {},
  ) {}

  get bytes(): number {
    return this.#bytes;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** The value, which becomes the most recently used. */
  get(key: K): V | undefined {
    const entry = this.#entries.get(key);
    if (!entry) return undefined;
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    return entry.value;
  }

  /** The value, leaving its age as it is. */
  peek(key: K): V | undefined {
    return this.#entries.get(key)?.value;
  }

  set(key: K, value: V, bytes: number): void {
    this.delete(key);
    this.#entries.set(key, { value, bytes });
    this.#bytes += bytes;
    for (const oldest of this.#entries.keys()) {
      if (this.#bytes <= this.budget || this.#entries.size === 1) break;
      this.delete(oldest);
      this.onEvict(oldest);
    }
  }

  /** Forget one, telling nobody. */
  delete(key: K): void {
    const entry = this.#entries.get(key);
    if (!entry) return;
    this.#entries.delete(key);
    this.#bytes -= entry.bytes;
  }

  /** Forget everything, telling nobody. */
  clear(): void {
    this.#entries.clear();
    this.#bytes = 0;
  }
}
