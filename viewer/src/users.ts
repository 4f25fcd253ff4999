/** Users: who may sign in, and as what. */
import { askedTwice, complaint } from "./confirm.js";
import { button, chip, el } from "./dom.js";
import {
  field,
  grantChips,
  newPassword,
  PatientChoice,
  RoleChoice,
  secretsCard,
  textInput,
} from "./grants.js";
import { changeUser, createUser, listUsers, type User, type UserChange } from "./protocol.js";
import { moment } from "./words.js";

const LEAST_PASSWORD = 12;

/** Show the users in `root` until `signal` aborts; `me` is the id of whoever looks. */
export function showUsers(root: HTMLElement, me: string | null, signal: AbortSignal): void {
  const told = el("div", {});
  const list = el("ul", { class: "cards", "aria-label": "Users" }, el("li", { class: "empty" }, "Loading…"));
  const tell = (title: string, name: string, password: string): void => {
    const card = secretsCard(title, { Name: name, Password: password }, () =>
      root.querySelector("summary")?.focus(),
    );
    told.replaceChildren(card);
    card.querySelector("h2")?.focus();
    card.scrollIntoView({ block: "center" });
  };
  const refresh = async (): Promise<void> => {
    const users = await listUsers(signal);
    list.replaceChildren(...users.map((user) => userRow(user, user.id === me, change, signal)));
  };
  const change = async (user: User, wanted: UserChange): Promise<void> => {
    await changeUser(user.id, wanted, signal);
    if (wanted.password) tell(`New password of ${user.name}`, user.name, wanted.password);
    await refresh();
  };
  root.append(told, additionOf(tell, refresh, signal), list);
  refresh().catch((error: unknown) => {
    if (!signal.aborted) list.replaceChildren(el("li", {}, complaint(error)));
  });
}

function additionOf(
  tell: (title: string, name: string, password: string) => void,
  refresh: () => Promise<void>,
  signal: AbortSignal,
): HTMLElement {
  const part = el("details", { class: "card addition", "data-testid": "user-add" });
  const fill = (): void => {
    const name = textInput({ maxlength: 64, "data-testid": "user-name" });
    const password = textInput({ maxlength: 1024, "data-testid": "user-password" });
    const roles = new RoleChoice(["reader"]);
    const patients = new PatientChoice();
    const trouble = el("div", {});
    const submit = el(
      "button",
      { type: "submit", class: "primary", "data-testid": "user-create" },
      "Add user",
    );
    const form = el(
      "form",
      { class: "admin-form", novalidate: true },
      field("Name", name, "Letters, digits and . _ @ -"),
      field(
        "Password",
        password,
        `At least ${LEAST_PASSWORD} characters. Empty: one is made up and shown once.`,
      ),
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
      const wanted = password.value || newPassword();
      try {
        requireUser(name.value, wanted, roles.chosen);
        const body = {
          name: name.value.trim(),
          password: wanted,
          roles: roles.chosen,
          patients: patients.chosen,
        };
        const made = await createUser(body, signal);
        if (!password.value) tell(`Password of ${made.name}`, made.name, wanted);
        part.open = false;
        fill();
        await refresh();
      } catch (error) {
        if (!signal.aborted) trouble.replaceChildren(complaint(error));
      } finally {
        submit.disabled = false;
      }
    };
    part.replaceChildren(el("summary", {}, "Add a user"), form);
  };
  fill();
  return part;
}

/** Say what is missing before the server has to. */
export function requireUser(name: string, password: string, roles: readonly string[]): void {
  if (!name.trim()) throw new Error("Enter a name.");
  if (password.length < LEAST_PASSWORD)
    throw new Error(`A password has at least ${LEAST_PASSWORD} characters.`);
  if (roles.length === 0) throw new Error("Choose at least one role.");
}

function userRow(
  user: User,
  isMe: boolean,
  change: (user: User, wanted: UserChange) => Promise<void>,
  signal: AbortSignal,
): HTMLElement {
  const { name, roles, patients, disabled, created_at } = user;
  return el(
    "li",
    { class: "card", "data-testid": "user-row", "data-name": name, "data-locked": disabled },
    el(
      "div",
      { class: "card-head" },
      el("h2", {}, name),
      isMe ? chip("you", "good") : null,
      disabled ? chip("✕ locked", "bad") : null,
      ...grantChips(roles, patients),
    ),
    el("p", { class: "faint" }, `made ${moment(created_at)}`),
    el(
      "details",
      { "data-testid": "user-change" },
      el("summary", {}, "Change"),
      rolesForm(user, isMe, (chosen) => change(user, { roles: chosen }), signal),
      el(
        "div",
        { class: "ways" },
        passwordForm(user, isMe, (password) => change(user, { password }), signal),
        isMe ? null : lockOf(user, () => change(user, { disabled: !disabled }), signal),
      ),
    ),
  );
}

function rolesForm(
  { name, roles }: User,
  isMe: boolean,
  save: (roles: readonly string[]) => Promise<void>,
  signal: AbortSignal,
): HTMLElement {
  const choice = new RoleChoice(roles, isMe ? ["admin"] : []); // nobody shuts themselves out
  const whom = isMe ? "You are signed out and sign in again." : `${name} is signed out and signs in again.`;
  const task = async (): Promise<void> => {
    if (choice.chosen.length === 0)
      throw new Error("Choose at least one role; lock the user to keep them out.");
    await save(choice.chosen);
  };
  const question = { words: whom, yes: "Yes, save the roles" };
  return el(
    "div",
    { class: "admin-form" },
    choice.element,
    askedTwice("Save roles", "user-roles", question, task, signal),
  );
}

function passwordForm(
  { name }: User,
  isMe: boolean,
  save: (password: string) => Promise<void>,
  signal: AbortSignal,
): HTMLElement {
  if (isMe)
    return el(
      "p",
      { class: "faint" },
      "Another admin, or radloop users password, gives you another password.",
    );
  const question = {
    words: `The old password of ${name} ends, and so do all their sign-ins. The new one is shown once.`,
    yes: "Yes, make a new password",
  };
  return askedTwice("New password", "user-reset", question, () => save(newPassword()), signal);
}

function lockOf({ name, disabled }: User, act: () => Promise<void>, signal: AbortSignal): HTMLElement {
  if (disabled) {
    const part = el("div", { class: "asked" });
    const unlock = button("Unlock", { "data-testid": "user-unlock" }, () => {
      act().catch((error: unknown) => {
        if (!signal.aborted) part.prepend(complaint(error));
      });
    });
    part.append(unlock);
    return part;
  }
  const question = {
    words: `${name} is signed out and cannot sign in until unlocked.`,
    yes: `Yes, lock ${name}`,
  };
  return askedTwice("Lock", "user-lock", question, act, signal);
}
