/**
 * What a reader was really shown of every slice: fed by what is drawn, sent with the finding.
 *
 * Kept as long as the page lives and the same person is signed in, so that whoever goes to the worklist and comes
 * back has still seen what they saw.
 */
import type { ImageSet, ShownSlices } from "./protocol.js";

/** `never` drawn; `preview`: drawn as a preview, or a neighbour in its place; `full`: as it was received. */
export type Drawn = "never" | "preview" | "full";

const LETTERS = "npf"; // places are the ranks below
const RANK: Readonly<Record<Drawn, number>> = { never: 0, preview: 1, full: 2 };
/** The server takes no longer runs. */
const LONGEST_RUNS = 48 * 1024;

export class SeenSlices {
  readonly #best: Uint8Array;
  readonly #counts: [number, number, number];
  readonly #ms: [number, number, number] = [0, 0, 0];
  #drawn = 0;
  #since: number | null = null;
  #isHidden = false;

  constructor(readonly count: number) {
    this.#best = new Uint8Array(count);
    this.#counts = [count, 0, 0];
  }

  /** The slice `index` is in view since `now` (milliseconds of any steady clock), drawn like this. */
  drew(index: number, drawn: Drawn, now: number): void {
    this.#pass(now);
    const rank = RANK[drawn];
    this.#drawn = rank;
    this.#since = now;
    const before = this.#best[index];
    if (before === undefined || rank <= before) return;
    this.#best[index] = rank;
    (this.#counts[before] as number)--;
    (this.#counts[rank] as number)++;
  }

  /** Nothing is in view any more; the next drawing counts from then. */
  rest(now: number): void {
    this.#pass(now);
    this.#since = null;
  }

  /** The page is hidden behind another, or seen again. */
  hidden(isHidden: boolean, now: number): void {
    if (isHidden && this.#since !== null) {
      this.rest(now);
      this.#isHidden = true;
    } else if (!isHidden && this.#isHidden) {
      this.#since = now;
      this.#isHidden = false;
    }
  }

  get full(): number {
    return this.#counts[RANK.full] as number;
  }

  get preview(): number {
    return this.#counts[RANK.preview] as number;
  }

  get never(): number {
    return this.#counts[RANK.never] as number;
  }

  /** As it is sent; without `slices` where the server would take no text so long. */
  told(now: number): ShownSlices {
    this.#pass(now);
    const slices = runsOf(this.#best);
    if (slices.length > LONGEST_RUNS) return {};
    const [, preview, full] = this.#ms.map(Math.round) as [number, number, number];
    return { slices, preview_ms: preview, full_ms: full };
  }

  /** For the reader: what of the series will be told to have been seen. */
  sentence(): string {
    if (this.count === 1)
      return this.full ? "You saw this image at full quality." : "Not yet seen at full quality.";
    const rest = [
      this.preview ? `${this.preview} as a preview only` : "",
      this.never ? `${this.never} not at all` : "",
    ].filter(Boolean);
    const more = rest.length ? `, ${rest.join(", ")}` : "";
    return `You saw ${this.full} of ${this.count} slices at full quality${more}.`;
  }

  #pass(now: number): void {
    if (this.#since === null) return;
    (this.#ms[this.#drawn] as number) += Math.max(now - this.#since, 0);
    this.#since = now;
  }
}

/** Ranks as runs of a letter and how often it stands, 1 left out: 0 0 1 2 2 2 becomes "n2pf3". */
export function runsOf(ranks: Uint8Array): string {
  let text = "";
  for (let start = 0, end = 0; start < ranks.length; start = end) {
    while (end < ranks.length && ranks[end] === ranks[start]) end++;
    text += (LETTERS[ranks[start] as number] as string) + (end - start > 1 ? end - start : "");
  }
  return text;
}

const kept = new Map<string, SeenSlices>();

/** What was seen of an image set so far; another version of it may have other slices and begins anew. */
export function seenOf({
  id,
  version,
  frame_list,
}: Pick<ImageSet, "id" | "version" | "frame_list">): SeenSlices {
  const key = `${id} ${version} ${frame_list.length}`;
  const seen = kept.get(key) ?? new SeenSlices(frame_list.length);
  kept.set(key, seen);
  return seen;
}

/** How a drawing counts, by the quality that the badge tells of it. */
export function drawnAs(quality: string): Drawn {
  if (quality === "lossless" || quality === "lossy-as-received") return "full";
  return quality === "preview" || quality === "neighbour" ? "preview" : "never";
}

/** Nothing is seen of a page behind another. */
export function watchHiding(): void {
  document.addEventListener("visibilitychange", () => {
    for (const seen of kept.values()) seen.hidden(document.visibilityState === "hidden", performance.now());
  });
}

/** The next person has seen nothing yet. */
export function forgetSeen(): void {
  kept.clear();
}
