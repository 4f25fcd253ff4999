/** Access keys and tokens for programs: made, shown once, revoked. */
import { askedTwice, complaint } from "./confirm.js";
import { chip, el } from "./dom.js";
import { field, grantChips, PatientChoice, RoleChoice, secretsCard, textInput } from "./grants.js";
import {
  type Credential,
  createCredential,
  listCredentials,
  listUsers,
  type NewCredential,
  revokeCredential,
} from "./protocol.js";
import { moment, plural } from "./words.js";

const MOST_DAYS = 3650;

/** Show the access keys in `root` until `signal` aborts. */
export function showKeys(root: HTMLElement, signal: AbortSignal): void {
  const told = el("div", {});
  const list = el(
    "ul",
    { class: "cards", "aria-label": "Access keys" },
    el("li", { class: "empty" }, "Loading…"),
  );
  const ended = el("details", { hidden: true });
  const refresh = async (): Promise<void> => {
    const [keys, users] = await Promise.all([listCredentials(signal), listUsers(signal)]);
    const names = new Map(users.map(({ id, name }) => [id, name]));
    const now = new Date();
    const live = keys.filter((key) => isLive(key, now));
    const rows = live.map((key) => keyRow(key, names, refresh, signal));
    list.replaceChildren(...(rows.length ? rows : [el("li", { class: "empty" }, "No program has a key.")]));
    ended.hidden = live.length === keys.length;
    ended.replaceChildren(
      el("summary", {}, `${plural(keys.length - live.length, "key")} revoked or expired`),
      el(
        "ul",
        { class: "cards" },
        ...keys.filter((key) => !live.includes(key)).map((key) => keyRow(key, names, refresh, signal)),
      ),
    );
  };
  const tell = (made: NewCredential): void => {
    const secrets = {
      "Access key id": made.access_key_id,
      "Secret access key": made.secret_access_key,
      Token: made.token,
    };
    const card = secretsCard("A new access key", secrets, () => root.querySelector("summary")?.focus());
    told.replaceChildren(card);
    card.querySelector("h2")?.focus();
    card.scrollIntoView({ block: "center" });
  };
  root.append(told, additionOf(tell, refresh, signal), list, ended);
  refresh().catch((error: unknown) => {
    if (!signal.aborted) list.replaceChildren(el("li", {}, complaint(error)));
  });
}

/** Whether a program can still come in with it. */
export function isLive(
  { revoked_at, expires_at }: Pick<Credential, "revoked_at" | "expires_at">,
  now: Date,
): boolean {
  return revoked_at === null && (expires_at === null || Date.parse(expires_at) > now.getTime());
}

/** Days as they are typed; nothing means for ever. */
export function daysOf(text: string): number | null {
  if (!text.trim()) return null;
  const days = Number(text);
  if (!Number.isInteger(days) || days < 1 || days > MOST_DAYS) {
    throw new Error(`Days are a whole number from 1 to ${MOST_DAYS}, or nothing.`);
  }
  return days;
}

function additionOf(
  tell: (made: NewCredential) => void,
  refresh: () => Promise<void>,
  signal: AbortSignal,
): HTMLElement {
  const part = el("details", { class: "card addition", "data-testid": "key-add" });
  const fill = (): void => {
    const note = textInput({ maxlength: 64, "data-testid": "key-note" });
    const days = textInput({ inputmode: "numeric", maxlength: 4, "data-testid": "key-days" });
    const roles = new RoleChoice(["reader"]);
    const patients = new PatientChoice();
    const trouble = el("div", {});
    const submit = el(
      "button",
      { type: "submit", class: "primary", "data-testid": "key-create" },
      "Make a key",
    );
    const form = el(
      "form",
      { class: "admin-form", novalidate: true },
      field("What it is for", note),
      field("Days until it expires", days, "Empty: never."),
      roles.element,
      patients.element,
      trouble,
      submit,
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      void send();
    });
    const send = async (): Promise<void> => {
      submit.disabled = true;
      trouble.replaceChildren();
      try {
        if (roles.chosen.length === 0) throw new Error("Choose at least one role.");
        const wish = {
          roles: roles.chosen,
          patients: patients.chosen,
          note: note.value,
          days: daysOf(days.value),
        };
        tell(await createCredential(wish, signal));
        part.open = false;
        fill();
        await refresh();
      } catch (error) {
        if (!signal.aborted) trouble.replaceChildren(complaint(error));
      } finally {
        submit.disabled = false;
      }
    };
    part.replaceChildren(el("summary", {}, "Make an access key"), form);
  };
  fill();
  return part;
}

function keyRow(
  key: Credential,
  names: ReadonlyMap<string, string>,
  refresh: () => Promise<void>,
  signal: AbortSignal,
): HTMLElement {
  const { access_key_id, roles, patients, note, created_by, created_at, expires_at, revoked_at } = key;
  const live = isLive(key, new Date());
  const facts = [
    `made ${moment(created_at)} by ${names.get(created_by) ?? created_by}`,
    expires_at ? `${live ? "expires" : "ended"} ${moment(expires_at)}` : "",
    revoked_at ? `revoked ${moment(revoked_at)}` : "",
  ];
  const question = {
    words: "Programs that use it are refused from now on. It cannot be brought back.",
    yes: "Yes, revoke it",
  };
  const revoke = async (): Promise<void> => {
    await revokeCredential(access_key_id, signal);
    await refresh();
  };
  return el(
    "li",
    { class: "card", "data-testid": "key-row", "data-id": access_key_id, "data-live": live },
    el("div", { class: "card-head" }, el("h2", {}, note || "No note"), ...grantChips(roles, patients)),
    el("code", { class: "hash" }, access_key_id),
    el("p", { class: "faint" }, facts.filter(Boolean).join(" · ")),
    live
      ? askedTwice("Revoke", "key-revoke", question, revoke, signal)
      : chip(revoked_at ? "revoked" : "expired", "bad"),
  );
}
