// Bytes of an event in a line, as text, and in hex.
import type { Datum } from "../../api/types";

const LINE = 240;

export function preview(datum: Datum | null): string {
  if (datum === null) return "–";
  const text = datum.view === "json" ? JSON.stringify(datum.data) : String(datum.data);
  return text.length > LINE ? `${text.slice(0, LINE)}…` : text;
}

/** Hex digits as an old-fashioned dump: address, sixteen bytes, what is readable. */
export function dump(hex: string): string {
  const bytes = hex.match(/../g) ?? [];
  const lines: string[] = [];
  for (let at = 0; at < bytes.length; at += 16) {
    const row = bytes.slice(at, at + 16);
    const readable = row.map((byte) => {
      const code = Number.parseInt(byte, 16);
      return code >= 0x20 && code < 0x7f ? String.fromCharCode(code) : "·";
    });
    const digits = `${row.slice(0, 8).join(" ")}  ${row.slice(8).join(" ")}`;
    lines.push(`${at.toString(16).padStart(6, "0")}  ${digits.padEnd(49)}  ${readable.join("")}`);
  }
  return lines.join("\n");
}
