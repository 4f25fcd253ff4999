/**
 * Keeps a few batched requests under way: as many bytes as the link holds twice over, and no more.
 *
 * What is in flight is what the reader waits behind after a jump, so nothing ever needs to be aborted: the next
 * request, a few milliseconds away, already asks for what is wanted then. A connection that is lost costs the
 * record it was cut in; everything else is asked for where it stopped, as soon as the link is back.
 */
import { ApiError } from "./protocol.js";
import type { Answers, Early, Item, Source } from "./stream.js";

const KIB = 1024;
const MOST_REQUESTS = 4;
/** Requests that may be under way for what nobody waits for. */
const MOST_IDLE_REQUESTS = 2;
const FIRST_REQUEST = 40 * KIB;
/** However short the round trip: what the link brings in so many milliseconds delays nobody. */
const UNFELT_MS = 30;
/** A slow link has at least so many milliseconds of work before it, so that it is never idle. */
const LEAST_MS = 150;
const LEAST_WINDOW = 32 * KIB;
const USUAL_WINDOW = 128 * KIB;
const MOST_WINDOW = 1024 * KIB;
const FIRST_WAIT_MS = 300;
const LAST_WAIT_MS = 5000;
/** A request that hears nothing for so long may be dead: another one finds out. */
const SILENT_MS = 4000;
const MOST_SILENT_MS = 60_000;
const GRACE_MS = 1000;
const TICK_MS = 500;
const SAMPLE_MS = 100;
const SHARE_OF_NEWEST = 0.3;
const ROUND_TRIPS = 12;

/** How fast the link is: bytes a second, and milliseconds until an answer begins. */
export class Meter {
  #rate = 0;
  readonly #trips: number[] = [];
  #since: number | null = null;
  #got = 0;

  /** Bytes a second, 0 before anything was measured. */
  get rate(): number {
    return this.#rate;
  }

  /** The shortest of the last times to a first byte, in milliseconds: without what was queued before it. */
  get roundTrip(): number {
    return this.#trips.length ? Math.min(...this.#trips) : 0;
  }

  /** Bytes that may be in flight: two bandwidth-delay products. */
  get window(): number {
    if (this.#rate === 0) return MOST_REQUESTS * FIRST_REQUEST;
    const least = Math.min(Math.max((this.#rate * LEAST_MS) / 1000, LEAST_WINDOW), USUAL_WINDOW);
    const two = (this.#rate * Math.max(2 * this.roundTrip, UNFELT_MS)) / 1000;
    return Math.min(Math.max(two, least), MOST_WINDOW);
  }

  get requestBytes(): number {
    return Math.floor(this.window / MOST_REQUESTS);
  }

  /** The link is idle: the wait for what comes next is none of its speed. */
  pause(): void {
    this.#since = null;
  }

  answered(ms: number): void {
    this.#trips.push(ms);
    if (this.#trips.length > ROUND_TRIPS) this.#trips.shift();
  }

  heard(bytes: number, now: number): void {
    if (this.#since === null) {
      this.#since = now; // these bytes came before it
      this.#got = 0;
      return;
    }
    this.#got += bytes;
    const ms = now - this.#since;
    if (ms < SAMPLE_MS) return;
    const sample = (this.#got * 1000) / ms;
    this.#rate = this.#rate ? this.#rate + SHARE_OF_NEWEST * (sample - this.#rate) : sample;
    this.#since = now;
    this.#got = 0;
  }
}

export interface Planned {
  readonly items: readonly Item[];
  /** About how many bytes they are. */
  readonly bytes: number;
}

/** Who wants frames. Each item planned comes back by exactly one of `record`, `refused` and `lost`. */
export interface Client extends Pick<Answers, "record" | "refused"> {
  /**
   * About `room` bytes of what is wanted most; they are under way from now on.
   *
   * @param mayIdle Also what nobody waits for.
   */
  plan(room: number, mayIdle: boolean): Planned;
  /** The connection was cut before the item was whole. */
  lost(item: Item): void;
  /** Nothing will come any more. */
  ended(error: ApiError): void;
  /** The link was lost, or is back. */
  linked(isLinked: boolean): void;
}

interface Request {
  readonly open: Set<Item>;
  readonly abort: AbortController;
  readonly bytes: number;
  readonly sentAt: number;
  readonly isProbe: boolean;
  heardAt: number;
  hasBegun: boolean;
}

export class Flow {
  readonly meter = new Meter();
  readonly #running = new Set<Request>();
  #failures = 0;
  #silentMs = SILENT_MS;
  #blockedUntil = 0;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #ticking: ReturnType<typeof setInterval> | undefined;
  #closed = false;
  #lastHeard = 0;

  constructor(
    private readonly source: Source,
    private readonly client: Client,
    private readonly now: () => number = () => performance.now(),
  ) {}

  /** Take over what was asked for before; to be called once, before `kick`. */
  adopt(early: Early): void {
    this.#run(early.items, FIRST_REQUEST, true, (answers) => early.into(answers));
  }

  /** Ask for more where the link has room. */
  kick(): void {
    while (this.#mayAsk()) {
      const mayIdle = this.#running.size < MOST_IDLE_REQUESTS;
      const { items, bytes } = this.client.plan(this.meter.requestBytes, mayIdle);
      if (items.length === 0) return;
      this.#send(items, bytes, false);
    }
  }

  /** The device says that it is online again. */
  hurry(): void {
    this.#silentMs = SILENT_MS;
    if (this.#failures > 0) {
      this.#blockedUntil = 0;
      this.kick();
    } else if (this.#running.size > 0) {
      this.#probe();
    }
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#retry);
    clearInterval(this.#ticking);
    for (const request of this.#running) request.abort.abort();
    this.#running.clear();
  }

  #mayAsk(): boolean {
    if (this.#closed || this.now() < this.#blockedUntil) return false;
    if (this.#failures > 0) return this.#running.size === 0; // one finds out whether the link is back
    if (this.#running.size >= MOST_REQUESTS) return false;
    let flying = 0;
    for (const { bytes } of this.#running) flying += bytes;
    return flying + this.meter.requestBytes / 2 < this.meter.window; // plans are seldom of just the size wished for
  }

  #send(items: readonly Item[], bytes: number, isProbe: boolean): void {
    const ask = (answers: Answers, signal: AbortSignal): Promise<void> =>
      this.source.ask(items, answers, signal);
    this.#run(items, bytes, false, ask, isProbe);
  }

  #run(
    items: readonly Item[],
    bytes: number,
    hasBegun: boolean,
    ask: (answers: Answers, signal: AbortSignal) => Promise<void>,
    isProbe = false,
  ): void {
    const now = this.now();
    if (this.#running.size === 0) this.meter.pause();
    const abort = new AbortController();
    const open = new Set(items);
    const request = { open, abort, bytes, isProbe, sentAt: now, heardAt: now, hasBegun };
    this.#running.add(request);
    this.#ticking ??= setInterval(() => this.#tick(), TICK_MS);
    const answers: Answers = {
      record: (item, body) => {
        open.delete(item);
        this.client.record(item, body);
        this.#works();
      },
      refused: (item, error) => {
        open.delete(item);
        this.client.refused(item, error);
      },
      heard: (count) => this.#heard(request, count),
    };
    ask(answers, abort.signal).then(
      () => this.#ended(request, null),
      (error: unknown) => this.#ended(request, error),
    );
  }

  #heard(request: Request, bytes: number): void {
    const now = this.now();
    if (!request.hasBegun) this.meter.answered(now - request.sentAt);
    request.hasBegun = true;
    request.heardAt = now;
    this.#lastHeard = now;
    if (bytes > 0) this.meter.heard(bytes, now);
  }

  /** Something whole arrived: the link is there. */
  #works(): void {
    if (this.#failures === 0) return;
    this.#failures = 0;
    this.client.linked(true);
    this.kick();
  }

  #ended(request: Request, error: unknown): void {
    this.#running.delete(request);
    if (this.#closed) return;
    if (this.#running.size === 0) {
      clearInterval(this.#ticking);
      this.#ticking = undefined;
    }
    if (error === null) this.#works();
    else this.#failed(request, error);
    this.kick();
  }

  #failed({ open, abort }: Request, error: unknown): void {
    const known = error instanceof ApiError ? error : new ApiError("failed", "failed", String(error));
    const passes = known.kind === "offline" || known.kind === "failed" || known.kind === "too-often";
    if (abort.signal.aborted || passes) {
      for (const item of open) this.client.lost(item);
      if (!abort.signal.aborted) this.#backOff(); // else it was silent while others were not
      return;
    }
    for (const item of open) this.client.refused(item, known);
    if (known.kind === "refused") return; // this list was not understood; the next one may be
    this.close();
    this.client.ended(known);
  }

  #backOff(): void {
    const now = this.now();
    if (now < this.#blockedUntil) return; // several are cut at once: that is one failure
    const wait = Math.min(FIRST_WAIT_MS * 2 ** this.#failures, LAST_WAIT_MS);
    this.#failures++;
    this.#blockedUntil = now + wait;
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => {
      this.#blockedUntil = 0;
      this.kick();
    }, wait);
    if (this.#failures === 1) this.client.linked(false);
  }

  /** Where requests hear nothing, see with one more whether the link is gone or they are, and let go of those. */
  #tick(): void {
    const now = this.now();
    const isAlive = now - this.#lastHeard <= 2 * TICK_MS;
    let silent = 0;
    for (const request of this.#running) {
      const ms = now - request.heardAt;
      const isProbe = request.isProbe && ms >= LAST_WAIT_MS;
      if (ms >= this.#silentMs) silent++;
      if (isProbe || (isAlive && ms >= this.#silentMs + GRACE_MS)) this.#letGo(request);
    }
    if (silent > 0 && silent === this.#running.size) this.#probe();
  }

  #letGo(request: Request): void {
    if (!request.isProbe) this.#silentMs = Math.min(this.#silentMs * 2, MOST_SILENT_MS); // it may only be slow
    request.abort.abort();
  }

  /** One small request more than the link should hold; or, where nothing else is wanted, the oldest anew. */
  #probe(): void {
    let oldest: Request | null = null;
    for (const request of this.#running) {
      if (request.isProbe) return;
      if (!oldest || request.heardAt < oldest.heardAt) oldest = request;
    }
    const { items, bytes } = this.client.plan(1, true);
    if (items.length > 0) this.#send(items, bytes, true);
    else if (oldest && this.now() - oldest.heardAt >= this.#silentMs + GRACE_MS) this.#letGo(oldest);
  }
}
