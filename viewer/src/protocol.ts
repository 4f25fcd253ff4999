/**
 * What the server says and how to ask it. With `learning.ts` the only module that knows a URL.
 *
 * Names and units are those of the API (`/api/v1`). Nothing about a patient is ever put into an address:
 * image sets are named by their id alone.
 */

const BASE = "/api/v1";
const STREAM = "/stream/v1";
const SESSION = "/session";

export type State = "INGESTED" | "VERIFIED" | "REJECTED";
export type Confidence = "low" | "medium" | "high";
export type Laterality = "left" | "right" | "both";
export type FullQuality = "lossless" | "lossy-as-received";
/** `preview`: lossy, all pixels, for moving. `full`: what was received, for looking and verifying. */
export type Layer = "preview" | "full";

export interface Finding {
  readonly present: boolean;
  readonly site: string | null;
  readonly laterality?: Laterality | null;
  readonly confidence: Confidence;
  readonly by: string;
  readonly at: string;
  readonly seen: SeenCounts;
}

/** What the reader was shown; counts are null where nobody told. */
export interface SeenCounts {
  readonly frame: number;
  readonly quality: FullQuality;
  readonly full: number | null;
  readonly preview: number | null;
  readonly never: number | null;
}

/** For every frame the best it was drawn in, as runs of `n`, `p` and `f`; empty where that cannot be told. */
export interface ShownSlices {
  readonly slices?: string;
  readonly preview_ms?: number;
  readonly full_ms?: number;
}

/** What a model said; a number only where it knows such images. What is optional came with later servers. */
export interface Prediction {
  readonly probability: number | null;
  readonly finding: "present" | "absent" | null;
  readonly model_version: number;
  /** From this probability on the model says present. */
  readonly threshold?: number;
  /** Whether a probability of .8 was right eight times of ten where it was measured. */
  readonly calibrated?: boolean;
  readonly refused?: "out-of-distribution" | null;
  readonly ood?: { readonly outside: boolean; readonly sentence?: string } | null;
  /** Frames that have a picture of what the model looked at, and the one with most of it. */
  readonly frames?: readonly number[];
  readonly frame?: number | null;
}

/** How many readers look at an image set, and what happens where they differ. */
export type Policy = "single" | "double" | "double-adjudicated";

/** Where the reading of an image set stands, for who asks. */
export interface Reading {
  readonly policy: Policy;
  /** Reads so far, and how many more are planned; null where it takes as many as it takes. */
  readonly given: number;
  readonly needed: number | null;
  /** Whether one of them is theirs. */
  readonly mine: boolean;
  readonly state: "open" | "waiting" | "adjudication" | "settled";
  /** Whether findings and opinions of others are kept from them, until they have read. */
  readonly blinded: boolean;
}

export interface Summary {
  readonly id: string;
  readonly version: number;
  readonly state: State;
  readonly closed: boolean;
  readonly storage: "landed" | "folded" | "kept";
  readonly modality: string | null;
  readonly study_date: string | null;
  readonly study_uid: string;
  readonly series_description: string | null;
  readonly body_part: string | null;
  readonly patient_name: string | null;
  readonly patient_id: string | null;
  readonly patient_sex: string | null;
  /** The same for all series of one study. */
  readonly study?: string;
  readonly rows: number | null;
  readonly columns: number | null;
  readonly frames: number;
  /** A result of a model as the store keeps it: nothing to verify. */
  readonly made_by_ai?: boolean;
  readonly warnings: readonly { readonly code: string; readonly message: string }[];
  readonly finding: Finding | null;
  readonly prediction: Prediction | null;
  /** Undefined where the server knows one read only. */
  readonly reading?: Reading;
  /** Why it stands where it does, in the order of most use. */
  readonly why?: string | null;
  readonly created_at: string;
}

export type Direction = readonly [number, number, number];

export interface Geometry {
  readonly orientation: "axial" | "coronal" | "sagittal" | "oblique" | null;
  readonly row_spacing_mm: number | null;
  readonly column_spacing_mm: number | null;
  readonly slice_spacing_mm: number | null;
  readonly gaps: readonly number[];
  readonly row_direction: Direction | null;
  readonly column_direction: Direction | null;
}

export interface FrameInfo {
  readonly index: number;
  readonly rows: number;
  readonly columns: number;
  readonly bits_stored: number;
  readonly signed: boolean;
  readonly samples: 1 | 3;
  readonly photometric: string;
  readonly slope: number;
  readonly intercept: number;
  readonly window_center: number | null;
  readonly window_width: number | null;
  readonly lossless_bytes: number | null;
  readonly preview_bytes: number | null;
  readonly quality: FullQuality;
  readonly decodable: boolean;
  /** Centre of the first pixel in the patient (LPS), where the image tells it. */
  readonly position_mm: Direction | null;
  /** What centre and width are those of (PS3.3 C.11.2.1.2 and C.11.2.1.3). */
  readonly voi_function: "linear" | "linear-exact" | "sigmoid";
  /** Unit vectors along a row, then along a column, of this very frame (LPS). */
  readonly orientation: readonly number[] | null;
  /** Distance of neighbouring rows, then of neighbouring columns, of this very frame. */
  readonly spacing_mm: readonly [number, number] | null;
  /** Its millimetres are true at the detector, not in the patient; undefined where the server does not tell. */
  readonly spacing_at_detector?: boolean;
  /** PatientOrientation of a radiograph, which has no `orientation`: what a row and a column run towards. */
  readonly sides: readonly [string, string] | null;
  /** Of PALETTE COLOR: RGB in 8 bits as base64, from the stored value `first` on. */
  readonly palette: { readonly first: number; readonly colours: string } | null;
}

export interface ImageSet extends Summary {
  readonly geometry: Geometry;
  readonly frame_list: readonly FrameInfo[];
}

export interface WorklistPage {
  readonly items: readonly Summary[];
  readonly next: string | null;
  readonly counts: Readonly<Record<State, number>>;
  /** Of those ingested, how many have no images. */
  readonly reports: number;
}

/** Another image set of the same patient. */
export interface Prior extends Summary {
  /** Whether millimetres are of one frame of reference; null where that is not told. */
  readonly same_frame_of_reference: boolean | null;
}

export interface Verification {
  readonly version: number;
  readonly finding: "present" | "absent";
  readonly site: string | null;
  readonly laterality?: Laterality | null;
  readonly confidence: Confidence;
  readonly note: string;
  readonly seen: { readonly frame: number; readonly quality: FullQuality } & ShownSlices;
}

export interface AuditEntry {
  readonly seq: number;
  readonly time: string;
  readonly principal: string;
  readonly action: string;
  readonly subject: string;
  readonly outcome: string;
  readonly count: number;
  readonly hash: string;
}

/** Whether the chain of the audit is whole; `head` is to be kept elsewhere. */
export interface AuditVerdict {
  readonly whole: boolean;
  readonly entries: number;
  readonly head: string;
  readonly broken_at: number | null;
  readonly holds_head: boolean;
}

export interface User {
  readonly id: string;
  readonly name: string;
  readonly roles: readonly string[];
  /** PatientIDs of the only patients they may know of; null for all. */
  readonly patients: readonly string[] | null;
  readonly disabled: boolean;
  readonly created_at: string;
}

export interface NewUser {
  readonly name: string;
  readonly password: string;
  readonly roles: readonly string[];
  readonly patients: readonly string[] | null;
}

export interface UserChange {
  readonly password?: string;
  readonly roles?: readonly string[];
  readonly disabled?: boolean;
}

export interface Credential {
  readonly access_key_id: string;
  readonly roles: readonly string[];
  readonly patients: readonly string[] | null;
  readonly note: string;
  readonly created_by: string;
  readonly created_at: string;
  readonly expires_at: string | null;
  readonly revoked_at: string | null;
}

/** With what is told this once. */
export interface NewCredential extends Credential {
  readonly secret_access_key: string;
  readonly token: string;
}

export interface CredentialWish {
  readonly roles: readonly string[];
  readonly patients: readonly string[] | null;
  readonly note: string;
  readonly days: number | null;
}

/** A file that could not be accepted. */
export interface Quarantined {
  readonly id: string;
  readonly code: string;
  readonly sentence: string;
  readonly size_bytes: number;
  readonly sha256: string;
  readonly time: string;
}

export interface Release {
  readonly outcome: "ingested" | "duplicate" | "quarantined" | "released";
  readonly same_reason: boolean;
  readonly code: string;
  readonly sentence: string;
}

/** A job that was given up on. */
export interface DeadLetter {
  readonly id: string;
  readonly lane: string;
  readonly kind: string;
  readonly tries: number;
  readonly error: string;
  readonly trace: string;
}

export interface ResumableUpload {
  readonly id: string;
  readonly state: "receiving" | "landing" | "done" | "failed";
  readonly offset: number;
  readonly length: number;
  readonly files: number;
  readonly ingested: number;
  readonly duplicates: number;
  readonly quarantined: number;
  readonly refused: number;
  readonly skipped: number;
  readonly image_sets: readonly string[];
  readonly reasons: readonly {
    readonly code: string;
    readonly sentence: string;
    readonly count: number;
    readonly places: readonly number[];
  }[];
}

/** What a role may allow; those the page asks about. */
export type Action =
  | "image.search"
  | "image.read"
  | "image.write"
  | "image.verify"
  | "image.adjudicate"
  | "image.predict"
  | "event.read"
  | "model.read"
  | "model.decide"
  | "model.rollback"
  | "model.evidence"
  | "agreement.read"
  | "reading.read"
  | "project.manage"
  | "audit.read"
  | "credential.manage"
  | "quarantine.read"
  | "quarantine.manage"
  | "metrics.read"
  | "alarm.test"
  | "job.read"
  | "job.replay";

/** Who is signed in, and what they may do: actions such as `image.read`. */
export interface Session {
  readonly id: string;
  readonly name: string | null;
  readonly roles: readonly string[];
  readonly actions: readonly string[];
  /** Nobody signs in here: every caller is the owner. */
  readonly is_open: boolean;
  /** Idle minutes after which a person is to be signed out; 0 for never, null for a program. */
  readonly idle_minutes: number | null;
  /** Seconds until it ends unless it is renewed; null or undefined where it need not be. */
  readonly renewal_s?: number | null;
}

/** How one signs in: here by a password, or at the page of `address`, which `leave` signs out of. */
export interface SignInWay {
  readonly kind: "password" | "redirect";
  readonly address: string | null;
  readonly leave: string | null;
}

export type ApiErrorKind =
  | "offline"
  | "signed-out"
  | "too-often"
  | "denied"
  | "not-found"
  | "conflict"
  | "refused"
  | "failed";

/** The server's refusal, or its absence. `code` is the server's own stable word, `kind` is what we do about it. */
export class ApiError extends Error {
  constructor(
    readonly kind: ApiErrorKind,
    readonly code: string,
    message: string,
  ) {
    super(message);
    this.name = "ApiError";
  }
}

const KINDS: Readonly<Record<number, ApiErrorKind>> = {
  401: "signed-out",
  403: "denied",
  404: "not-found",
  409: "conflict",
  429: "too-often",
};

const OWN_WORDS: Readonly<Partial<Record<ApiErrorKind, string>>> = {
  "signed-out": "You are signed out; sign in again.",
  denied: "You are not allowed to do this.",
};

/** Our error for an answer that is not a 2xx; tolerates bodies that are not the server's JSON. */
export function errorFrom(status: number, body: string): ApiError {
  const kind = KINDS[status] ?? (status >= 500 ? "failed" : "refused");
  let code = `http-${status}`;
  let message = OWN_WORDS[kind] ?? `The server answered ${status}.`;
  try {
    const { error } = JSON.parse(body) as { error?: { code?: unknown; message?: unknown } };
    if (typeof error?.code === "string") code = error.code;
    const isPlain = kind !== "denied" || code === kind; // another code tells a reason worth reading
    if (typeof error?.message === "string" && error.message && !(isPlain && OWN_WORDS[kind]))
      message = error.message;
  } catch {
    // a proxy's own error page: the status says enough
  }
  return new ApiError(kind, code, message);
}

let toldSignedOut: () => void = () => {};

/** Have `listener` told when the server no longer knows who asks. */
export function onSignedOut(listener: () => void): void {
  toldSignedOut = listener;
}

export async function ask(path: string, init: RequestInit, base = BASE): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(base + path, { credentials: "same-origin", ...init });
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new ApiError("offline", "offline", "The server cannot be reached.");
  }
  if (!response.ok) {
    const error = errorFrom(response.status, await response.text());
    if (error.kind === "signed-out" && !path.startsWith(SESSION)) toldSignedOut();
    throw error;
  }
  return response;
}

/** Ask for JSON. */
export async function getJson<T>(path: string, signal: AbortSignal): Promise<T> {
  const response = await ask(path, { signal, headers: { Accept: "application/json" } });
  return (await response.json()) as T;
}

export function postJson<T>(path: string, body: unknown, signal: AbortSignal): Promise<T> {
  return sendJson("POST", path, body, signal);
}

export async function sendJson<T>(
  method: string,
  path: string,
  body: unknown,
  signal: AbortSignal,
): Promise<T> {
  const headers = { "Content-Type": "application/json", Accept: "application/json" };
  const response = await ask(path, { method, signal, headers, body: JSON.stringify(body) });
  return (await response.json()) as T;
}

export function getSession(signal: AbortSignal): Promise<Session> {
  return getJson(SESSION, signal);
}

/** Sign in; the session itself travels in a cookie that no script can read. */
export function signIn(name: string, password: string, signal: AbortSignal): Promise<Session> {
  return postJson(SESSION, { name, password }, signal);
}

export function getSignInWay(signal: AbortSignal): Promise<SignInWay> {
  return getJson("/sign-in", signal);
}

/** Sign in by what another page gave; tokens travel in cookies that no script can read. */
export function signInByCode(code: string, state: string, signal: AbortSignal): Promise<Session> {
  return postJson(SESSION, { code, state }, signal);
}

/** The same session for longer. */
export function renewSession(signal: AbortSignal): Promise<Session> {
  return postJson(`${SESSION}/renewal`, {}, signal);
}

/** Sign out; `keepalive` lets it outlive the page. Tells where to go to be signed out of another page too. */
export async function signOut(signal: AbortSignal): Promise<string | null> {
  const response = await ask(SESSION, { method: "DELETE", signal, keepalive: true });
  return ((await response.json()) as { address?: string | null }).address ?? null;
}

export interface WorklistQuery {
  readonly state: State | null;
  /** Of those ingested, only such as have images. */
  readonly withImages: boolean;
  /** Most valuable next read first, instead of newest first. */
  readonly byValue?: boolean;
  /** Only such as wait for a read of who asks. */
  readonly mine?: boolean;
  readonly limit: number;
  readonly after: string | null;
}

export function listWorklist(query: WorklistQuery, signal: AbortSignal): Promise<WorklistPage> {
  const parameters = new URLSearchParams({ limit: String(query.limit) });
  if (query.state) parameters.set("state", query.state);
  if (query.withImages) parameters.set("images", "1");
  if (query.byValue) parameters.set("order", "value");
  if (query.mine) parameters.set("mine", "1");
  if (query.after) parameters.set("after", query.after);
  return getJson(`/worklist?${parameters}`, signal);
}

export function getImageSet(id: string, signal: AbortSignal): Promise<ImageSet> {
  return getJson(imageSetPath(id), signal);
}

/** Other image sets of the patient of this one, newest study first. */
export async function listPriors(id: string, signal: AbortSignal): Promise<readonly Prior[]> {
  return (await getJson<{ items: readonly Prior[] }>(`${imageSetPath(id)}/priors?limit=200`, signal)).items;
}

/** The index of all frames of an image set, to be read while it arrives. It names a patient: nothing keeps it. */
export function askForIndex(id: string, signal: AbortSignal): Promise<Response> {
  return ask(`/${encodeURIComponent(id)}/index`, { signal, cache: "no-store" }, STREAM);
}

/**
 * Parts of frames as a list of `frame:from:to`, to be read while they arrive.
 *
 * @param version The image set's: a late slice would move the others to other places.
 */
export function askForFrames(
  id: string,
  list: string,
  version: number,
  signal: AbortSignal,
): Promise<Response> {
  const path = `/${encodeURIComponent(id)}/frames?v=${version}`;
  const headers = { "Content-Type": "text/plain" };
  return ask(path, { method: "POST", signal, headers, body: list }, STREAM);
}

/** Where static packs of a series lie, and the query that opens them for a while: as good as a key, and shown nowhere. */
export interface PackLink {
  readonly base: string;
  readonly query: string;
}

/** What the answer with the index says of static packs; null where there are none. */
export function packLinkOf({ headers }: Response): PackLink | null {
  const [base, query = ""] = headers.get("X-Radloop-Packs")?.split("?", 2) ?? [];
  return base ? { base, query } : null;
}

/**
 * Bytes `from` up to and without `to` of a static pack, whatever the answer's status.
 *
 * Not cached: a browser keeps its cache in clear, and has ranges of one address wait for each other there.
 */
export function askForRange(
  { base, query }: PackLink,
  file: string,
  from: number,
  to: number,
  signal: AbortSignal,
): Promise<Response> {
  const headers = { Range: `bytes=${from}-${to - 1}` };
  return fetch(`${base}${file}?${query}`, { signal, headers, cache: "no-store", credentials: "same-origin" });
}

export function thumbnailUrl(id: string): string {
  return `${BASE}${imageSetPath(id)}/thumbnail`;
}

/** Entries of the audit, newest first; `before` asks for those before that number. */
export async function listAudit(
  limit: number,
  before: number | null,
  signal: AbortSignal,
): Promise<readonly AuditEntry[]> {
  const parameters = new URLSearchParams({ limit: String(limit) });
  if (before !== null) parameters.set("before", String(before));
  return (await getJson<{ items: readonly AuditEntry[] }>(`/audit?${parameters}`, signal)).items;
}

export function verifyAudit(signal: AbortSignal): Promise<AuditVerdict> {
  return getJson("/audit/verification", signal);
}

export async function listUsers(signal: AbortSignal): Promise<readonly User[]> {
  return (await getJson<{ items: readonly User[] }>("/users", signal)).items;
}

export function createUser(user: NewUser, signal: AbortSignal): Promise<User> {
  return postJson("/users", user, signal);
}

/** Change what is given of a user; ends all their sign-ins. */
export function changeUser(id: string, change: UserChange, signal: AbortSignal): Promise<User> {
  return sendJson("PATCH", `/users/${encodeURIComponent(id)}`, change, signal);
}

export async function listCredentials(signal: AbortSignal): Promise<readonly Credential[]> {
  return (await getJson<{ items: readonly Credential[] }>("/credentials", signal)).items;
}

export function createCredential(wish: CredentialWish, signal: AbortSignal): Promise<NewCredential> {
  return postJson("/credentials", wish, signal);
}

export async function revokeCredential(id: string, signal: AbortSignal): Promise<void> {
  await ask(`/credentials/${encodeURIComponent(id)}`, { method: "DELETE", signal });
}

/** What could not be accepted, newest first. */
export function listQuarantine(limit: number, signal: AbortSignal): Promise<readonly Quarantined[]> {
  return getJson(`/quarantine?limit=${limit}`, signal);
}

export function quarantinedFileUrl(id: string): string {
  return `${BASE}${quarantinePath(id)}/file`;
}

/** Land a file again; what is refused again stays. */
export async function releaseQuarantined(id: string, signal: AbortSignal): Promise<Release> {
  const response = await ask(`${quarantinePath(id)}/release`, { method: "POST", signal });
  return (await response.json()) as Release;
}

export async function discardQuarantined(id: string, signal: AbortSignal): Promise<void> {
  await ask(quarantinePath(id), { method: "DELETE", signal });
}

export async function listDeadLetters(signal: AbortSignal): Promise<readonly DeadLetter[]> {
  return (await getJson<{ items: readonly DeadLetter[] }>("/jobs/dead-letters", signal)).items;
}

export async function retryJob(id: string, signal: AbortSignal): Promise<void> {
  await ask(`/jobs/${encodeURIComponent(id)}/replay`, { method: "POST", signal });
}

export async function discardJob(id: string, signal: AbortSignal): Promise<void> {
  await ask(`/jobs/dead-letters/${encodeURIComponent(id)}`, { method: "DELETE", signal });
}

const TUS = { "Tus-Resumable": "1.0.0" };

let mostAtOnce = Number.POSITIVE_INFINITY;

/** Bytes of an upload that one request may bring, as the server last said of itself; infinite where it says nothing. */
export function longestPart(): number {
  return mostAtOnce;
}

/** What `Upload-Limit` says of the longest part; null where it says nothing of it. */
export function longestPartOf(header: string | null): number | null {
  const found = /(?:^|,)\s*max-append-size=(\d{1,15})(?:\s*[,;]|$)/.exec(header ?? "");
  return found ? Math.max(Number(found[1]), 1) : null;
}

function heedLimit(response: Response): void {
  mostAtOnce = longestPartOf(response.headers.get("Upload-Limit")) ?? Number.POSITIVE_INFINITY;
}

/** Begin a resumable upload of `length` bytes (tus 1.0.0); returns its id. */
export async function createUpload(length: number, signal: AbortSignal): Promise<string> {
  const headers = { ...TUS, "Upload-Length": String(length) };
  const response = await ask("/resumable", { method: "POST", signal, headers });
  heedLimit(response);
  return response.headers.get("Location")?.split("/").at(-1) ?? "";
}

/** How many bytes of an upload are durable; null where the server does not know it any more. */
export async function uploadOffset(id: string, signal: AbortSignal): Promise<number | null> {
  try {
    const response = await ask(uploadPath(id), { method: "HEAD", signal, headers: TUS, cache: "no-store" });
    heedLimit(response);
    return Number(response.headers.get("Upload-Offset"));
  } catch (error) {
    if (error instanceof ApiError && error.kind === "not-found") return null;
    throw error;
  }
}

export function getUpload(id: string, signal: AbortSignal): Promise<ResumableUpload> {
  return getJson(uploadPath(id), signal);
}

export async function removeUpload(id: string): Promise<void> {
  await ask(uploadPath(id), { method: "DELETE", headers: TUS, keepalive: true });
}

/**
 * Send the bytes behind `offset`, telling how many of them have left; returns the new offset.
 *
 * XMLHttpRequest, because fetch cannot report the progress of an upload.
 */
export function sendPart(
  id: string,
  offset: number,
  part: Blob,
  onSent: (bytes: number) => void,
  signal: AbortSignal,
): Promise<number> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const request = new XMLHttpRequest();
    const abort = (): void => request.abort();
    signal.addEventListener("abort", abort, { once: true });
    request.upload.onprogress = (event) => onSent(event.loaded);
    request.onload = () => {
      if (request.status === 204) {
        resolve(Number(request.getResponseHeader("Upload-Offset")));
        return;
      }
      const error = errorFrom(request.status, request.responseText);
      if (error.kind === "signed-out") toldSignedOut();
      reject(error);
    };
    request.onerror = () => reject(new ApiError("offline", "offline", "The server cannot be reached."));
    request.onabort = () => reject(signal.reason);
    request.onloadend = () => signal.removeEventListener("abort", abort);
    request.open("PATCH", BASE + uploadPath(id));
    for (const [name, value] of Object.entries(TUS)) request.setRequestHeader(name, value);
    request.setRequestHeader("Content-Type", "application/offset+octet-stream");
    request.setRequestHeader("Upload-Offset", String(offset));
    request.send(part);
  });
}

function uploadPath(id: string): string {
  return `/resumable/${encodeURIComponent(id)}`;
}

function quarantinePath(id: string): string {
  return `/quarantine/${encodeURIComponent(id)}`;
}

export function imageSetPath(id: string): string {
  return `/image-sets/${encodeURIComponent(id)}`;
}
