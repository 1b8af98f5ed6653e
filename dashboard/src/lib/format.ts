// Numbers as people read them: few digits, one unit, never a jumping width.

const UNITS = ["", "k", "M", "G", "T"];

/** 1234 -> 1.23k. Whole numbers below 10,000 stay whole. */
export function short(value: number | null | undefined): string {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  let rest = Math.abs(value);
  if (rest < 10_000 && Number.isInteger(value)) return value.toLocaleString("en");
  let unit = 0;
  while (rest >= 999.5 && unit < UNITS.length - 1) {
    rest /= 1_000;
    unit += 1;
  }
  const digits = rest >= 100 ? 0 : rest >= 10 ? 1 : 2;
  return `${value < 0 ? "-" : ""}${rest.toFixed(digits)}${UNITS[unit]}`;
}

export const whole = (value: number | null | undefined): string =>
  value === null || value === undefined ? "–" : Math.round(value).toLocaleString("en");

const BYTES = ["B", "KiB", "MiB", "GiB", "TiB"];

export function bytes(value: number | null | undefined): string {
  if (value === null || value === undefined) return "–";
  let rest = value;
  let unit = 0;
  while (rest >= 1_000 && unit < BYTES.length - 1) {
    rest /= 1_024;
    unit += 1;
  }
  return `${unit === 0 || rest >= 100 ? Math.round(rest) : rest.toFixed(1)} ${BYTES[unit]}`;
}

export function ms(value: number | null | undefined): string {
  if (value === null || value === undefined) return "–";
  if (value >= 10_000) return seconds(value / 1_000);
  if (value >= 100) return `${Math.round(value)} ms`;
  return `${value.toFixed(value >= 10 ? 1 : 2)} ms`;
}

export function seconds(value: number | null | undefined): string {
  if (value === null || value === undefined) return "–";
  if (value < 1) return `${Math.round(value * 1_000)} ms`;
  if (value < 60) return `${value.toFixed(value < 10 ? 1 : 0)} s`;
  if (value < 3_600) return two(Math.floor(value / 60), "min", Math.floor(value % 60), "s");
  if (value < 86_400) return two(Math.floor(value / 3_600), "h", Math.floor((value % 3_600) / 60), "min");
  return two(Math.floor(value / 86_400), "d", Math.floor((value % 86_400) / 3_600), "h");
}

const two = (large: number, unit: string, small: number, smallUnit: string): string =>
  small === 0 ? `${large} ${unit}` : `${large} ${unit} ${small} ${smallUnit}`;

const pad = (value: number, digits = 2): string => String(value).padStart(digits, "0");

/** What no calendar holds, such as a time in nanoseconds where milliseconds belong. */
const NO_TIME = "out of range";
const TIME_MS_MAX = 8.64e15;

export const isTime = (atMs: number): boolean => Math.abs(atMs) <= TIME_MS_MAX;

export function clock(atMs: number, withMs = false): string {
  if (!isTime(atMs)) return NO_TIME;
  const at = new Date(atMs);
  const time = `${pad(at.getHours())}:${pad(at.getMinutes())}:${pad(at.getSeconds())}`;
  return withMs ? `${time}.${pad(at.getMilliseconds(), 3)}` : time;
}

export function day(atMs: number): string {
  if (!isTime(atMs)) return NO_TIME;
  const at = new Date(atMs);
  return `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())}`;
}

export const moment = (atMs: number, withMs = false): string =>
  isTime(atMs) ? `${day(atMs)} ${clock(atMs, withMs)}` : NO_TIME;

/** The time zone of every clock on the page: "Europe/Berlin, UTC+01:00". */
export function zone(): string {
  const { timeZone } = Intl.DateTimeFormat().resolvedOptions();
  const minutes = -new Date().getTimezoneOffset();
  const offset = `${pad(Math.floor(Math.abs(minutes) / 60))}:${pad(Math.abs(minutes) % 60)}`;
  return minutes === 0 ? timeZone : `${timeZone}, UTC${minutes < 0 ? "−" : "+"}${offset}`;
}

export const plural = (count: number, one: string, many = `${one}s`): string =>
  `${whole(count)} ${count === 1 ? one : many}`;

/** As a shell takes it for one word. */
export const quoted = (text: string): string =>
  /^[\w.,:/@-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;

/** Without zeros that say nothing: 75.0 ms -> 75 ms. For scales, whose numbers are round. */
export const tidy = (shown: string): string =>
  shown.replace(/(\.\d*?)0+(?=\D|$)/, "$1").replace(/\.(?=\D|$)/, "");
