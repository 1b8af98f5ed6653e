// JSON as the API sends it, with all digits of the large whole numbers in people's own events.

type Raw = { rawJSON: string };
type Source = { source?: string };

/** What browsers have beyond the TypeScript library's knowledge of them; older ones round. */
const raw = JSON as unknown as { rawJSON?: (text: string) => Raw; isRawJSON?: (value: unknown) => boolean };
const LONG = /[:[,\s]-?\d{16,}/;

/** The API's own fields are numbers, however large; only `Datum.data`, which is people's, keeps digits. */
export function parse(text: string): unknown {
  const { rawJSON } = raw;
  if (!rawJSON || !LONG.test(text)) return JSON.parse(text);
  const found: unknown = JSON.parse(text, (_key, value: unknown, from?: Source) =>
    Number.isInteger(value) && !Number.isSafeInteger(value) && from?.source ? rawJSON(from.source) : value,
  );
  return settled(found);
}

/** Whether a value is a number that had to be kept as its digits. */
export const isLong = (value: unknown): boolean => raw.isRawJSON?.(value) ?? false;

/** With plain numbers everywhere but in the data of events. */
function settled(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (isLong(value)) return Number((value as Raw).rawJSON);
  const fields = value as Record<string, unknown>;
  const isDatum = "view" in fields && "data" in fields && "truncated" in fields;
  for (const name of Object.keys(fields))
    if (!(isDatum && name === "data")) fields[name] = settled(fields[name]);
  return fields;
}
