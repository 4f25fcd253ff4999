/** The adjudication queue: image sets on which readers differ, with what each of them said. */
import { complaint } from "./confirm.js";
import { chip, el, replaceIfChanged } from "./dom.js";
import { type Agreement, type Dispute, getAgreement, listDisputes } from "./learning.js";
import { poll } from "./poll.js";
import { thumbnailUrl } from "./protocol.js";
import { readsBeside } from "./reads.js";
import type { May } from "./routes.js";
import { personName, plural, studyDate } from "./words.js";
import "./learning.css";

const REFRESH_MS = 15_000;
/** Agreement over fewer series than that tells nothing. */
const FEWEST = 10;

/** Show what waits for an adjudicator in `root` until `signal` aborts. */
export function showAdjudication(root: HTMLElement, may: May, signal: AbortSignal): void {
  const told = el("p", { class: "faint", role: "status" }, "Loading…");
  const list = el("ul", { class: "cards", "aria-label": "To adjudicate" });
  const agreed = el("p", { class: "faint", "data-testid": "agreement" });
  const trouble = el("div", {});
  root.append(
    el(
      "div",
      { class: "page" },
      el("h1", { tabindex: -1 }, "To adjudicate"),
      el("p", {}, el("a", { href: "#/", class: "button" }, "‹ Worklist")),
      trouble,
      told,
      list,
      agreed,
    ),
  );
  const refresh = async (): Promise<void> => {
    const disputes = await listDisputes(signal);
    trouble.replaceChildren();
    told.textContent = toldWords(disputes);
    replaceIfChanged(list, (disputes ?? []).map(disputeCard), JSON.stringify(disputes));
    if (may("agreement.read")) agreed.textContent = agreementWords(await getAgreement(signal));
  };
  void poll(
    refresh,
    () => REFRESH_MS,
    (error) => trouble.replaceChildren(complaint(error)),
    signal,
  );
}

/** Agreement beyond chance, with its interval. */
export function agreementWords(agreement: Agreement | null): string {
  const { kappa = null, ci_low = null, ci_high = null, image_sets = 0 } = agreement?.all ?? {};
  if (kappa === null || image_sets < FEWEST) return "";
  const interval =
    ci_low === null || ci_high === null ? "" : ` (${ci_low.toFixed(2)} to ${ci_high.toFixed(2)})`;
  return `Readers agree beyond chance by kappa ${kappa.toFixed(2)}${interval}, over ${plural(image_sets, "series", "series")} read more than once.`;
}

function toldWords(disputes: readonly Dispute[] | null): string {
  if (disputes === null) return "This server has no adjudication, or it is not for your role.";
  if (disputes.length === 0)
    return "Readers differ about nothing. What they differ about appears here by itself.";
  return `${plural(disputes.length, "series", "series")} on which readers differ. Open one to look and decide.`;
}

function disputeCard(dispute: Dispute): HTMLElement {
  const { id, patient_name, patient_id, modality, body_part, series_description, study_date, reads } =
    dispute;
  const what = [modality ?? "?", body_part, series_description, studyDate(study_date)];
  return el(
    "li",
    { class: "card dispute", "data-testid": "dispute", "data-id": id },
    el(
      "div",
      { class: "card-head" },
      el("img", { src: thumbnailUrl(id), alt: "", width: 56, height: 56, loading: "lazy" }),
      el(
        "div",
        { class: "row-text" },
        el("h2", {}, personName(patient_name), el("span", { class: "faint" }, ` ${patient_id ?? ""}`)),
        el("span", { class: "faint" }, what.filter(Boolean).join(" · ")),
      ),
      chip(plural(reads.length, "read"), "plain"),
    ),
    readsBeside(reads),
    el(
      "a",
      { class: "button primary", href: `#/view/${id}`, "data-testid": "dispute-open" },
      "Look and decide",
    ),
  );
}
