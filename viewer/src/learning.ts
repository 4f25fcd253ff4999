/**
 * What the server says of reads, runs, models and drift, and how to ask it.
 *
 * Beside `protocol.ts` the only module that knows a URL: it is loaded with the pages that need it, which no first
 * image waits for. What came with later servers is optional, and a route that an older one lacks gives null.
 */
import {
  ApiError,
  type Confidence,
  getJson,
  imageSetPath,
  type Laterality,
  type Policy,
  type Prediction,
  postJson,
  type SeenCounts,
  type Summary,
  sendJson,
  type Verification,
} from "./protocol.js";

export interface Site {
  readonly code: string;
  readonly name: string;
}

// --- reads -------------------------------------------------------------------------------------------------

/** One reader's finding. `reader` is opaque. */
export interface Read {
  readonly id: string;
  readonly reader: string;
  readonly finding: "present" | "absent";
  readonly site: string | null;
  readonly laterality: Laterality | null;
  readonly confidence: Confidence;
  readonly note: string | null;
  readonly at: string;
  /** Of who asks. */
  readonly mine?: boolean;
  /** False for a read made after seeing others': it is kept and does not count. */
  readonly blinded?: boolean;
  readonly seen?: SeenCounts | null;
}

export interface Reads {
  readonly policy: Policy;
  readonly items: readonly Read[];
}

/** An image set on which its readers differ, with what they said. */
export interface Dispute extends Summary {
  readonly reads: readonly Read[];
}

/** What an adjudicator says, and why. */
export interface Adjudication extends Verification {
  readonly reason: string;
}

/** One entry of what an image set was ever held to be. */
export interface Label {
  readonly at: string;
  readonly version: number;
  /** What made it so. */
  readonly rule: string;
  readonly by: string | null;
  readonly finding: "present" | "absent" | null;
  readonly site?: string | null;
  readonly laterality?: Laterality | null;
  readonly confidence?: Confidence | null;
  /** Probability of the finding, by all reads and the quality of their readers. */
  readonly posterior?: number | null;
  readonly reads?: number | null;
  readonly reason?: string | null;
}

const VERIFY_MS = 15_000;

export function listSites(signal: AbortSignal): Promise<readonly Site[]> {
  return getJson("/sites", signal);
}

/** Give a read. A link that swallows it is a server that cannot be reached, so that the read can be kept. */
export function giveRead(id: string, body: Verification, signal: AbortSignal): Promise<Summary> {
  return soon((limited) => postJson(`${imageSetPath(id)}/reads`, body, limited), signal);
}

/** Decide where readers differ. */
export function adjudicate(id: string, body: Adjudication, signal: AbortSignal): Promise<Summary> {
  return soon((limited) => postJson(`${imageSetPath(id)}/adjudication`, body, limited), signal);
}

async function soon<T>(task: (limited: AbortSignal) => Promise<T>, signal: AbortSignal): Promise<T> {
  const limit = AbortSignal.timeout(VERIFY_MS);
  try {
    return await task(AbortSignal.any([signal, limit]));
  } catch (error) {
    if (!limit.aborted || signal.aborted || error instanceof ApiError) throw error;
    throw new ApiError("offline", "offline", "The server cannot be reached.");
  }
}

/** The reads of an image set, as far as who asks may see them. */
export function listReads(id: string, signal: AbortSignal): Promise<Reads | null> {
  return orNull(getJson<Reads>(`${imageSetPath(id)}/reads`, signal));
}

/** What an image set was ever held to be, oldest first. */
export async function listLabels(id: string, signal: AbortSignal): Promise<readonly Label[] | null> {
  return itemsOf(getJson(`${imageSetPath(id)}/labels`, signal));
}

/** Who said what of an image set, as other systems read it. */
export function provenanceUrl(id: string, format: "sr" | "fhir"): string {
  return `/api/v1${imageSetPath(id)}/provenance?format=${format}`;
}

export async function listDisputes(signal: AbortSignal): Promise<readonly Dispute[] | null> {
  return itemsOf(getJson("/adjudication?limit=100", signal));
}

/** How well readers agree beyond chance. */
export interface Agreement {
  readonly datastore?: string;
  readonly reads: number;
  readonly all: {
    readonly kappa: number | null;
    readonly ci_low: number | null;
    readonly ci_high: number | null;
    readonly image_sets: number;
  };
  /** What each is held to be worth. */
  readonly readers?: readonly {
    readonly reader: string;
    readonly reads: number;
    readonly sensitivity: number | null;
    readonly specificity: number | null;
  }[];
}

/** How the image sets of a data store are read. */
export interface Project {
  readonly datastore: string;
  readonly policy: Policy;
}

export function getAgreement(signal: AbortSignal): Promise<Agreement | null> {
  return orNull(getJson<Agreement>("/agreement", signal));
}

export function getProject(datastore: string, signal: AbortSignal): Promise<Project | null> {
  return orNull(getJson<Project>(`/projects/${encodeURIComponent(datastore)}`, signal));
}

export function setProject(datastore: string, policy: Policy, signal: AbortSignal): Promise<Project> {
  return sendJson("PUT", `/projects/${encodeURIComponent(datastore)}`, { policy }, signal);
}

// --- a model's opinion ---------------------------------------------------------------------------------------

export function predict(id: string, signal: AbortSignal): Promise<Prediction> {
  return postJson("/predictions", { image_set: id }, signal);
}

/** What the model looked at on a frame, a picture to be stretched over it. */
export function saliencyUrl(id: string, frame: number): string {
  return `/api/v1${imageSetPath(id)}/saliency/${frame}.png`;
}

// --- runs ----------------------------------------------------------------------------------------------------

export type Metrics = Readonly<Record<string, number | null>>;

export interface Step {
  readonly name: string;
  readonly type: string;
  readonly state: "Waiting" | "Executing" | "Succeeded" | "Failed" | "Skipped";
  readonly started_at: string | null;
  readonly ended_at: string | null;
  readonly reason: string | null;
}

export interface Epoch {
  readonly epoch: number;
  readonly train_loss: number | null;
  readonly validation_loss: number | null;
}

export interface Progress {
  /** Null once training is over. */
  readonly epoch: number | null;
  readonly epochs: number | null;
  readonly train_loss: number | null;
  readonly validation_loss: number | null;
  /** Since training began. */
  readonly seconds?: number | null;
  readonly seconds_left?: number | null;
  /** All epochs so far. */
  readonly history?: readonly Epoch[] | null;
}

/** One rule of the gate: what was measured, what it takes, and both in a sentence. */
export interface Rule {
  readonly name: string;
  readonly value: number | string | boolean | null;
  readonly limit: number | string | boolean | null;
  readonly passed: boolean;
  readonly sentence?: string | null;
}

export interface Gate {
  readonly approved: boolean;
  readonly rules: readonly Rule[];
}

export interface Execution {
  readonly id: string;
  readonly state: "Executing" | "Succeeded" | "Failed" | "Stopped";
  readonly started_at: string;
  readonly ended_at: string | null;
  readonly reason: string | null;
  readonly studies: number | null;
  readonly steps: readonly Step[];
  readonly progress: Progress | null;
  readonly metrics: Metrics | null;
  readonly model_version: number | null;
  readonly gate?: Gate | null;
  /** SHA-256 of the list of what it learns from. */
  readonly snapshot?: string | null;
}

export interface Retraining {
  readonly state: "idle" | "collecting" | "running";
  readonly sentence: string;
  readonly verified: number;
  readonly new_since_last: number;
  readonly needed: number;
}

/** How many image sets there are in each part, absent and present. */
export type Counts = Readonly<Record<string, Readonly<Record<string, number>>>>;

/** What a run learned from. Nothing in it names a patient. */
export interface Snapshot {
  readonly counts?: Counts | null;
  /** Patients in each part. */
  readonly patients?: Readonly<Record<string, number>> | null;
  /** How many were left out, by reason. */
  readonly excluded?: Readonly<Record<string, number>> | null;
  readonly licences?: Readonly<Record<string, number>> | null;
  readonly retired_patients?: readonly string[] | null;
  readonly readers?: Readonly<Record<string, unknown>> | null;
}

export interface LoopEvent {
  readonly seq: number;
  readonly id: string;
  readonly time: string;
  readonly source: string;
  readonly detail_type: string;
  readonly detail: Readonly<Record<string, unknown>>;
}

export async function listExecutions(limit: number, signal: AbortSignal): Promise<readonly Execution[]> {
  const page = await getJson<{ items: readonly Execution[] }>(`/executions?limit=${limit}`, signal);
  return page.items;
}

export function getRetraining(signal: AbortSignal): Promise<Retraining> {
  return getJson("/retraining", signal);
}

export function getSnapshot(sha256: string, signal: AbortSignal): Promise<Snapshot | null> {
  return orNull(getJson<Snapshot>(`/snapshots/${encodeURIComponent(sha256)}`, signal));
}

export async function listEvents(limit: number, signal: AbortSignal): Promise<readonly LoopEvent[]> {
  return (await getJson<{ items: readonly LoopEvent[] }>(`/events?limit=${limit}`, signal)).items;
}

// --- models --------------------------------------------------------------------------------------------------

/** A stable word and what it means. */
export interface Coded {
  readonly code: string;
  readonly sentence: string;
}

export interface Model {
  readonly version: number;
  readonly status: "PendingManualApproval" | "Approved" | "Rejected";
  readonly aliases: readonly string[];
  readonly metrics: Metrics | null;
  readonly created_at: string;
  readonly approved_at: string | null;
  readonly decided_at: string | null;
  readonly decided_by?: string | null;
  readonly lineage: Readonly<Record<string, string | null>> | null;
  /** Why its release waits. */
  readonly held?: readonly Coded[];
  readonly reason?: string | null;
  /** Who has approved it so far, where it takes more than one. */
  readonly approvals?: readonly string[];
  readonly rolled_back_at?: string | null;
  readonly notice?: string | null;
}

/** A figure with its 95 % interval, bootstrapped over patients. */
export interface Figure {
  readonly value: number | null;
  readonly ci_low?: number | null;
  readonly ci_high?: number | null;
}

/** What Evaluate wrote of a candidate; the report tells the rest. */
export interface Evaluation {
  readonly metrics?: Readonly<Record<string, Figure | number | null>> | null;
  readonly gate?: Gate | null;
  readonly champion?: { readonly version: number; readonly delta?: Figure | null } | null;
  readonly external?: { readonly metrics?: Readonly<Record<string, Figure | number | null>> } | null;
}

/** The codes a decision takes. */
export interface Reasons {
  readonly approve: readonly Coded[];
  readonly reject: readonly Coded[];
  readonly rollback: readonly Coded[];
}

export interface Serving {
  readonly at: string;
  readonly version: number | null;
  readonly since?: string | null;
  readonly until?: string | null;
  readonly approved_by?: readonly string[];
  readonly approved_at?: string | null;
  readonly moved_by?: string | null;
  readonly reason?: string | null;
  readonly rollback_reason?: string | null;
  readonly evidence?: Readonly<Record<string, unknown>> | null;
  /** All that served on that day. */
  readonly items?: readonly Omit<Serving, "at" | "items">[];
}

/** What may change without a person, and who has signed that. */
export interface Plan {
  readonly state: "valid" | "unsigned" | "void" | "expired" | "invalid" | "missing";
  readonly sentence: string;
  readonly release: "plan" | "automatic" | "manual";
  readonly sha256: string | null;
  readonly signatures: readonly {
    readonly role: string;
    readonly by: string;
    readonly at: string | null;
    readonly holds: boolean;
  }[];
  readonly missing: readonly string[];
  readonly problems: readonly Coded[];
}

export async function listModels(signal: AbortSignal): Promise<readonly Model[]> {
  return (await getJson<{ items: readonly Model[] }>("/models", signal)).items;
}

/** `reason` is a code of `Reasons`; without one where the server knows none. */
export function decide(
  version: number,
  approved: boolean,
  reason: string | null,
  signal: AbortSignal,
): Promise<Model> {
  return postJson(`/models/${version}/decision`, reason ? { approved, reason } : { approved }, signal);
}

/** Put the version before the champion back to work; `from` is the champion that was on the screen. */
export function rollBack(reason: string | null, from: number, signal: AbortSignal): Promise<Model> {
  return postJson("/models/rollback", { reason, from }, signal);
}

export function getReasons(signal: AbortSignal): Promise<Reasons | null> {
  return orNull(getJson<Reasons>("/models/reasons", signal));
}

export function getEvaluation(version: number, signal: AbortSignal): Promise<Evaluation | null> {
  return orNull(getJson<Evaluation>(`/models/${version}/evaluation`, signal));
}

/** A document of a model version, to be opened or kept. */
export function modelFileUrl(version: number, file: "report" | "card" | "evidence"): string {
  return `/api/v1/models/${version}/${file}`;
}

/** The report of a run, also of one whose model was refused. */
export function runReportUrl(execution: string): string {
  return `/api/v1/executions/${encodeURIComponent(execution)}/report`;
}

/** What served at a moment, or on a whole day (`2026-11-23`). */
export function servingOn(at: string, signal: AbortSignal): Promise<Serving> {
  return getJson(`/models/serving?${new URLSearchParams({ at })}`, signal);
}

/** The champion beside its shadow, on what both have judged. */
export interface Comparison {
  readonly champion: number | null;
  readonly shadow: number | null;
  readonly image_sets: number;
  /** Share with the same finding. */
  readonly agreement: number | null;
  /** Mean absolute difference of their probabilities. */
  readonly difference: number | null;
}

export function getComparison(signal: AbortSignal): Promise<Comparison | null> {
  return orNull(getJson<Comparison>("/models/comparison", signal));
}

export function getPlan(signal: AbortSignal): Promise<Plan | null> {
  return orNull(getJson<Plan>("/plan", signal));
}

// --- drift ---------------------------------------------------------------------------------------------------

export interface Monitor {
  readonly name: string;
  readonly state: string;
  readonly value: number | null;
  readonly limit: number | null;
  readonly since?: string | null;
  readonly sentence?: string | null;
  readonly history?: readonly { readonly at: string; readonly value: number | null }[] | null;
}

/** Whether what comes in still is what the model learned from. */
export interface Drift {
  readonly state: string;
  readonly model_version?: number | null;
  readonly sentence?: string | null;
  readonly changed?: string | null;
  readonly since?: string | null;
  readonly next?: string | null;
  /** Of what it is compared with. */
  readonly reference?: { readonly image_sets?: number; readonly patients?: number } | null;
  /** Patients looked at so far, and of them those that readers have judged. */
  readonly studies?: number | null;
  readonly reads?: number | null;
  readonly monitors?: readonly Monitor[] | null;
}

export function getDrift(signal: AbortSignal): Promise<Drift | null> {
  return orNull(getJson<Drift>("/drift", signal));
}

// --- alarms and dashboards -----------------------------------------------------------------------------------

export interface Alarm {
  readonly id: string;
  readonly name: string;
  readonly description: string;
  readonly severity: "critical" | "warning";
  /** Null while nobody has looked yet. */
  readonly state: "OK" | "ALARM" | null;
  readonly since: string | null;
  readonly value: number | null;
  readonly statistic: string;
  readonly comparison: ">" | "<";
  readonly threshold: number;
  readonly unit: string;
}

export interface Series {
  /** What tells this line from the others; empty for the only one. */
  readonly name: string;
  /** One for each of the times; null where nothing is known. */
  readonly points: readonly (number | null)[];
}

export interface Widget {
  readonly id: string;
  readonly title: string;
  readonly unit: string;
  readonly metric: string;
  readonly series: readonly Series[];
}

export interface Dashboards {
  readonly step_s: number;
  /** Seconds since 1970. */
  readonly times: readonly number[];
  readonly dashboards: readonly {
    readonly id: string;
    readonly title: string;
    readonly widgets: readonly Widget[];
  }[];
}

/** Whether one of those who are told of alarms took a message. */
export interface Tried {
  readonly place: number;
  readonly service: string;
  readonly sent: boolean;
  readonly error: string | null;
}

export function listAlarms(signal: AbortSignal): Promise<readonly Alarm[] | null> {
  return itemsOf(getJson("/alarms", signal));
}

export function getDashboards(hours: number, signal: AbortSignal): Promise<Dashboards | null> {
  return orNull(getJson<Dashboards>(`/dashboards?hours=${hours}`, signal));
}

export async function testNotifications(signal: AbortSignal): Promise<readonly Tried[]> {
  return (await postJson<{ items: readonly Tried[] }>("/alarms/test", undefined, signal)).items;
}

// --- what an older server lacks, or a role may not see -------------------------------------------------------

/** Null where there is no such route, or it is not for this person. */
export async function orNull<T>(asked: Promise<T>): Promise<T | null> {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof ApiError && (error.kind === "not-found" || error.kind === "denied")) return null;
    throw error;
  }
}

async function itemsOf<T>(asked: Promise<{ items: readonly T[] }>): Promise<readonly T[] | null> {
  return (await orNull(asked))?.items ?? null;
}
