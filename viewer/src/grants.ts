/** What users and access keys have in common: roles, patients, and secrets that are shown once. */
import { button, chip, el } from "./dom.js";
import { patientIds, scopeWords } from "./words.js";

/** The roles that can be given, and what for; `contracts/roles.json` says what each allows. */
export const ROLES: Readonly<Record<string, string>> = {
  reader: "looks, uploads, exports",
  verifier: "reads, and makes findings ground truth",
  adjudicator: "verifies, and decides where readers disagree",
  ml: "models and their training; no images",
  "release-approver": "decides about models; no images",
  auditor: "the audit; no images",
  admin: "users, keys, quarantine, jobs, images",
};

/** Roles to tick; `fixed` ones cannot be taken away. */
export class RoleChoice {
  readonly element: HTMLFieldSetElement;
  readonly #boxes: readonly HTMLInputElement[];

  constructor(chosen: readonly string[], fixed: readonly string[] = []) {
    this.#boxes = Object.keys(ROLES).map((role) =>
      el("input", {
        type: "checkbox",
        value: role,
        checked: chosen.includes(role),
        disabled: fixed.includes(role) && chosen.includes(role),
        "aria-label": `${role}: ${ROLES[role]}`,
      }),
    );
    this.element = el(
      "fieldset",
      {},
      el("legend", {}, "Roles"),
      el("div", { class: "pills roles" }, ...this.#boxes.map((box) => roleLabel(box))),
    );
  }

  get chosen(): string[] {
    return this.#boxes.filter(({ checked }) => checked).map(({ value }) => value);
  }
}

function roleLabel(box: HTMLInputElement): HTMLLabelElement {
  return el("label", { class: "pill", title: ROLES[box.value] ?? "" }, box, el("span", {}, box.value));
}

let fields = 0;

/** A labelled field; the label and what describes it are tied to it. */
export function field(
  label: string,
  input: HTMLInputElement | HTMLTextAreaElement,
  hint: string | null = null,
): HTMLElement {
  const id = `field-${++fields}`;
  input.id = id;
  if (hint) input.setAttribute("aria-describedby", `${id}-hint`);
  return el(
    "div",
    { class: "field" },
    el("label", { for: id }, label),
    input,
    hint ? el("p", { class: "faint hint", id: `${id}-hint` }, hint) : null,
  );
}

export function textInput(attributes: Readonly<Record<string, string | number | boolean>>): HTMLInputElement {
  return el("input", {
    type: "text",
    autocomplete: "off",
    spellcheck: "false",
    autocapitalize: "none",
    ...attributes,
  });
}

/** The patients somebody is limited to, as they are typed. */
export class PatientChoice {
  readonly #input = textInput({ "data-testid": "patients" });
  readonly element = field(
    "Only these patients",
    this.#input,
    "PatientIDs with commas between them. Empty: all patients. This cannot be changed later.",
  );

  get chosen(): string[] | null {
    return patientIds(this.#input.value);
  }
}

/** Roles and patients as they are shown. */
export function grantChips(roles: readonly string[], patients: readonly string[] | null): HTMLElement[] {
  return [
    ...roles.map((role) => chip(role, "plain")),
    chip(scopeWords(patients), patients ? "warn" : "plain"),
  ];
}

/** Secrets that are told this once, each to be copied. */
export function secretsCard(
  title: string,
  secrets: Readonly<Record<string, string>>,
  done: () => void,
): HTMLElement {
  const card = el(
    "section",
    { class: "card secrets", "data-testid": "secrets", role: "status" },
    el("h2", { tabindex: -1 }, title),
    el("p", { class: "result-warn" }, "Shown this once. Hand it over by a way that nobody else reads."),
    ...Object.entries(secrets).map(([name, value]) => secretRow(name, value)),
    button("I have it", { class: "primary", "data-testid": "secrets-done" }, () => {
      card.remove();
      done();
    }),
  );
  return card;
}

function secretRow(name: string, value: string): HTMLElement {
  const copy = button("Copy", {}, () => {
    void navigator.clipboard?.writeText(value).then(() => {
      copy.textContent = "Copied";
    });
  });
  copy.hidden = !navigator.clipboard; // browsers give it to secure pages only
  return el(
    "div",
    { class: "secret" },
    el("span", { class: "faint" }, name),
    el("code", { "data-testid": `secret-${name.replaceAll(" ", "-").toLowerCase()}` }, value),
    copy,
  );
}

const LETTERS = "abcdefghjkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";
const GROUPS = 5;
const GROUP = 4;

/** A password for somebody: 116 bits, without letters that look alike. */
export function newPassword(): string {
  const most = 256 - (256 % LETTERS.length); // left out above, so that every letter is as likely as any other
  let letters = "";
  while (letters.length < GROUPS * GROUP) {
    for (const byte of crypto.getRandomValues(new Uint8Array(64))) {
      if (byte < most && letters.length < GROUPS * GROUP) letters += LETTERS[byte % LETTERS.length];
    }
  }
  return letters.match(new RegExp(`.{${GROUP}}`, "g"))?.join("-") ?? letters;
}
