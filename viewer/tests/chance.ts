/** Random numbers that are the same in every run, for rules that hold for all of them. */

/** Try `rule` so many times, each with numbers of its own; the number of a failing try is in its error. */
export function repeat(times: number, rule: (random: () => number) => void): void {
  for (let seed = 1; seed <= times; seed++) {
    try {
      rule(randomFrom(seed));
    } catch (error) {
      throw new Error(`try ${seed}: ${error instanceof Error ? error.message : error}`, { cause: error });
    }
  }
}

/** Mulberry32: from 0 to below 1. */
export function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function anyOf<T>(choices: readonly T[], random: () => number): T {
  return choices[Math.floor(random() * choices.length)] as T;
}
