// JSON whose large whole numbers keep all their digits: people's events hold 64-bit ids.

type Raw = { rawJSON: string };
type Source = { source?: string };

/** What browsers have beyond the TypeScript library's knowledge of them; older ones round. */
const raw = JSON as unknown as { rawJSON?: (text: string) => Raw; isRawJSON?: (value: unknown) => boolean };
const LONG = /[:[,\s]-?\d{16,}/;

export function parse(text: string): unknown {
  const { rawJSON } = raw;
  if (!rawJSON || !LONG.test(text)) return JSON.parse(text);
  return JSON.parse(text, (_key, value: unknown, found?: Source) =>
    Number.isInteger(value) && !Number.isSafeInteger(value) && found?.source ? rawJSON(found.source) : value,
  );
}

/** Whether a value is a number that had to be kept as its digits. */
export const isLong = (value: unknown): boolean => raw.isRawJSON?.(value) ?? false;
