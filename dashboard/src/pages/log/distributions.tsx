// How sync times and batch sizes are distributed, over the last minute.
import { useAnswer } from "../../api/hooks";
import type { NodeHistogram } from "../../api/types";
import { bytes, ms, short } from "../../lib/format";
import { Bars } from "../../ui/bars";
import { Panel } from "../../ui/parts";

const SHOWN = [
  ["fsync_ms", "Journal sync times", ms],
  ["round_events", "Events in a round", (value: number | null) => short(value)],
  ["round_bytes", "Bytes in a round", bytes],
] as const;

export function Distributions({ node }: { node: string }) {
  const { data } = useAnswer("/v1/metrics/histograms", {}, { node, window: 60 }, 2_000);
  return (
    <div className="grid thirds">
      {SHOWN.map(([name, title, format]) => {
        const rows = (data?.items ?? []).filter((row) => row.name === name);
        const sum = added(rows);
        return (
          <Panel key={name} title={title} className="third" note={sum ? `${short(sum.count)} in the last minute, mean ${format(sum.count ? sum.sum / sum.count : null)}` : undefined}>
            <Bars name={name} bounds={sum?.bounds ?? []} counts={sum?.counts ?? []} format={format} />
          </Panel>
        );
      })}
    </div>
  );
}

/** Several nodes' histograms of the same bounds as one. */
function added(rows: NodeHistogram[]): NodeHistogram | null {
  const [first, ...others] = rows;
  if (!first) return null;
  return others.reduce(
    (sum, row) => ({
      ...sum,
      counts: sum.counts.map((count, at) => count + (row.counts[at] ?? 0)),
      count: sum.count + row.count,
      sum: sum.sum + row.sum,
    }),
    first,
  );
}
