// A distribution as bars; a logarithm of the counts would hide what is common.

import { tidy } from "../lib/format";

type BarsProps = {
  name: string;
  /** Upper bounds; one more count follows for what lies above. */
  bounds: number[];
  counts: number[];
  format: (value: number | null) => string;
};

export function Bars({ name, bounds, counts, format }: BarsProps) {
  const used = counts.map((count, at) => (count > 0 ? at : -1)).filter((at) => at >= 0);
  if (used.length === 0) return <p className="dim bars-empty">Nothing in the last minute.</p>;
  const first = Math.max(0, (used[0] ?? 0) - 1);
  const last = Math.min(counts.length - 1, (used.at(-1) ?? 0) + 1);
  const high = Math.max(...counts);
  const all = counts.reduce((sum, count) => sum + count, 0);
  const label = (at: number): string =>
    at < bounds.length ? `up to ${format(bounds[at] ?? null)}` : `above ${format(bounds.at(-1) ?? null)}`;
  const rows = counts.slice(first, last + 1).map((count, step) => ({ count, at: first + step }));
  return (
    <ol className="bars" data-bars={name} aria-label={name}>
      {rows.map(({ count, at }) => (
        <li key={at} title={`${label(at)}: ${count}`} aria-label={`${label(at)}: ${count}`}>
          <span className="bar-label">{at < bounds.length ? `≤ ${tidy(format(bounds[at] ?? null))}` : `> ${tidy(format(bounds.at(-1) ?? null))}`}</span>
          <span className="bar-track"><i style={{ width: `${(count / high) * 100}%` }} data-count={count} /></span>
          <span className="bar-share">{count === 0 ? "" : share(count / all)}</span>
        </li>
      ))}
    </ol>
  );
}

const share = (part: number): string => (part < 0.001 ? "<0.1 %" : `${(part * 100).toFixed(part < 0.1 ? 1 : 0)} %`);
