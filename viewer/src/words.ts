/** How values read to a person. */

/** "20260131" becomes "2026-01-31"; anything else stays as the scanner wrote it. */
export function studyDate(value: string | null): string {
  if (!value) return "no date";
  return /^\d{8}$/.test(value) ? `${value.slice(0, 4)}-${value.slice(4, 6)}-${value.slice(6)}` : value;
}

/** "Doe^Jane^^Dr" becomes "Doe, Jane" (PS3.5 6.2.1: family, given, middle, prefix, suffix). */
export function personName(value: string | null): string {
  const [family = "", given = ""] = (value ?? "").split("=")[0]?.split("^") ?? [];
  return (
    [family, given]
      .map((part) => part.trim())
      .filter(Boolean)
      .join(", ") || "Unnamed"
  );
}

const MOMENT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

export function moment(value: string | null): string {
  const time = value ? new Date(value) : null;
  return time && !Number.isNaN(time.getTime()) ? MOMENT.format(time) : "";
}

export function duration(from: string | null, to: string | null): string {
  if (!from || !to) return "";
  const seconds = Math.round((Date.parse(to) - Date.parse(from)) / 1000);
  if (!Number.isFinite(seconds) || seconds < 0) return "";
  return seconds < 90 ? `${seconds} s` : `${Math.round(seconds / 60)} min`;
}

export function plural(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}

/** "roc_auc" becomes "ROC AUC", "accuracy" becomes "Accuracy". */
export function metricName(name: string): string {
  const text = name
    .replaceAll("_", " ")
    .replace(/\b(roc|auc|pr|f1|ece|npv|ppv|ci)\b/gi, (word) => word.toUpperCase());
  return text.charAt(0).toUpperCase() + text.slice(1);
}

export function metricValue(value: number | null): string {
  if (value === null) return "not known";
  return Number.isInteger(value) && Math.abs(value) > 1 ? String(value) : value.toFixed(3);
}

export function bytes(count: number): string {
  return count < 1e6 ? `${Math.ceil(count / 1e3)} kB` : `${(count / 1e6).toFixed(1)} MB`;
}

/** "A, B;C" becomes A, B and C; nothing at all means everybody. */
export function patientIds(text: string): string[] | null {
  const found = text
    .split(/[,;\n]/)
    .map((part) => part.trim())
    .filter(Boolean);
  return found.length ? found : null;
}

/** Whose images somebody may know of. */
export function scopeWords(patients: readonly string[] | null): string {
  if (patients === null) return "all patients";
  return `only ${plural(patients.length, "patient")}: ${patients.slice(0, 5).join(", ")}${patients.length > 5 ? ", …" : ""}`;
}
