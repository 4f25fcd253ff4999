/** Which key means what: those of OHIF where it has one, and ours. The help sheet is made from this table. */
import type { Pane } from "../pane.js";

export type Action =
  | "next"
  | "previous"
  | "next-ten"
  | "previous-ten"
  | "next-series"
  | "previous-series"
  | "first"
  | "last"
  | "zoom-in"
  | "zoom-out"
  | "fit"
  | "reset"
  | "invert"
  | "rotate-right"
  | "rotate-left"
  | "flip-horizontal"
  | "flip-vertical"
  | "cine"
  | "slower"
  | "faster"
  | "window-mode"
  | "overlays"
  | "length"
  | "angle"
  | "ellipse"
  | "probe"
  | "delete"
  | "undo"
  | "redo"
  | "cancel"
  | "series"
  | "verify"
  | "help"
  | `preset-${number}`;

export interface Hotkey {
  readonly keys: readonly string[];
  readonly action: Action;
  readonly label: string;
}

export interface HotkeyGroup {
  readonly title: string;
  readonly hotkeys: readonly Hotkey[];
}

const key = (action: Action, label: string, ...keys: string[]): Hotkey => ({ keys, action, label });

/** Of CT; other images have their first and second window there: as stored, full range. */
const PRESETS = [
  "soft tissue, or as stored",
  "lung, or full range",
  "liver",
  "bone",
  "brain",
  "as stored",
  "full range",
];

export const HOTKEYS: readonly HotkeyGroup[] = [
  {
    title: "Move",
    hotkeys: [
      key("next", "Next slice", "ArrowDown", "ArrowRight"),
      key("previous", "Previous slice", "ArrowUp", "ArrowLeft"),
      key("next-ten", "Ten slices on", "Shift+ArrowDown"),
      key("previous-ten", "Ten slices back", "Shift+ArrowUp"),
      key("first", "First slice", "Home"),
      key("last", "Last slice", "End"),
      key("next-series", "Next series of the study; ten slices on where there is one series", "PageDown"),
      key("previous-series", "Previous series; ten slices back where there is one", "PageUp"),
      key("cine", "Cine: play or pause", "c"),
      key("slower", "Cine slower", ","),
      key("faster", "Cine faster", "."),
    ],
  },
  {
    title: "Picture",
    hotkeys: [
      key("zoom-in", "Closer", "+"),
      key("zoom-out", "Farther", "-"),
      key("fit", "Fit", "=", "0"),
      key("reset", "Reset everything", "Space"),
      key("invert", "Invert", "i"),
      key("rotate-right", "Rotate right", "r"),
      key("rotate-left", "Rotate left", "l"),
      key("flip-horizontal", "Flip left and right", "h"),
      key("flip-vertical", "Flip top and bottom", "v"),
      key("overlays", "Show or hide what is written", "o"),
      key("window-mode", "Drag sets the window, or scrolls", "w"),
      ...PRESETS.map((name, at) => key(`preset-${at + 1}`, `Window: ${name}`, String(at + 1))),
    ],
  },
  {
    title: "Measure",
    hotkeys: [
      key("length", "Length", "d"),
      key("angle", "Angle", "a"),
      key("ellipse", "Region: mean and SD", "e"),
      key("probe", "Value of one pixel", "p"),
      key("delete", "Delete the chosen measurement", "Delete", "Backspace"),
      key("undo", "Undo", "Ctrl+z"),
      key("redo", "Redo", "Ctrl+y", "Ctrl+Shift+z"),
    ],
  },
  {
    title: "Page",
    hotkeys: [
      key("verify", "Give a finding", "f"),
      key("series", "Series of the study", "s"),
      key("help", "This help", "?"),
      key("cancel", "Cancel, close", "Escape"),
    ],
  },
];

const ACTIONS: ReadonlyMap<string, Action> = new Map(
  HOTKEYS.flatMap(({ hotkeys }) =>
    hotkeys.flatMap(({ keys, action }) => keys.map((name) => [name, action] as const)),
  ),
);

export type Chord = Pick<KeyboardEvent, "key" | "ctrlKey" | "metaKey" | "shiftKey" | "altKey">;

/** The name of what is pressed, as the table has it: "Ctrl+z", "Shift+ArrowDown", "+". */
export function nameOf({ key: pressed, ctrlKey, metaKey, shiftKey }: Chord): string {
  const isControl = ctrlKey || metaKey;
  const name = pressed === " " ? "Space" : pressed.length === 1 ? pressed.toLowerCase() : pressed;
  const isNamed = pressed.length > 1 || isControl; // a shifted sign is a sign of its own
  return `${isControl ? "Ctrl+" : ""}${shiftKey && isNamed ? "Shift+" : ""}${name}`;
}

/** What a key means, or null: then it is the browser's. */
export function actionOf(chord: Chord): Action | null {
  return chord.altKey ? null : (ACTIONS.get(nameOf(chord)) ?? null);
}

/** The keys of an action, for tooltips. */
export function keysOf(action: Action): readonly string[] {
  return HOTKEYS.flatMap(({ hotkeys }) => hotkeys).find((hotkey) => hotkey.action === action)?.keys ?? [];
}

const TEN = 10;
const STEP_OF_ZOOM = 1.25;

export type Actions = Partial<Record<Action, () => void>>;

/** What a pane alone can do; the stack view and the comparison add their own. */
export function paneActions(pane: Pane): Actions {
  const presets = pane.presets.map(
    (preset, place) => [`preset-${place + 1}`, () => pane.applyPreset(preset)] as const,
  );
  return {
    ...Object.fromEntries(presets),
    next: () => pane.step(1),
    previous: () => pane.step(-1),
    "next-ten": () => pane.step(TEN),
    "previous-ten": () => pane.step(-TEN),
    "next-series": () => pane.step(TEN),
    "previous-series": () => pane.step(-TEN),
    first: () => pane.goTo(0),
    last: () => pane.goTo(pane.count - 1),
    "zoom-in": () => pane.zoom(STEP_OF_ZOOM),
    "zoom-out": () => pane.zoom(1 / STEP_OF_ZOOM),
    fit: () => pane.fit(),
    reset: () => pane.reset(),
    invert: () => pane.invert(),
    "rotate-right": () => pane.rotate(true),
    "rotate-left": () => pane.rotate(false),
    "flip-horizontal": () => pane.flip("left-right"),
    "flip-vertical": () => pane.flip("upside-down"),
    overlays: () => pane.overlays.toggle(),
  };
}

/** Call `act` for keys that are meant for the page and not for a field or a button, until `signal` aborts. */
export function listenToKeys(actions: Actions, signal: AbortSignal): void {
  document.addEventListener(
    "keydown",
    (event) => {
      const action = actionOf(event);
      if (!action || event.defaultPrevented || isMeantFor(event)) return;
      const act = actions[action];
      if (!act) return;
      event.preventDefault();
      act();
    },
    { signal },
  );
}

/** Whether the key belongs to what has the focus: a dialog, text, a choice, a button that the space bar presses. */
function isMeantFor({ key: pressed, target }: KeyboardEvent): boolean {
  if (document.querySelector("dialog[open]")) return pressed !== "?";
  if (!(target instanceof Element)) return false;
  if (target.closest("textarea, select, input:not([type=range]), .fps")) return pressed !== "Escape";
  return pressed === " " && target.closest("button, a, summary, [role=button]") !== null;
}
