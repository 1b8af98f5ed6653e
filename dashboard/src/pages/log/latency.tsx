// Where an acknowledgement's time goes, second by second.
import { useMemo } from "react";
import { ms, short } from "../../lib/format";
import { type Series, useSeries } from "../../lib/series";
import { Panel } from "../../ui/parts";
import { type Line, Plot } from "../../ui/plot";

const STAGES = [
  ["ack_queue_ms", "queue", "--phase-1"],
  ["ack_disk_ms", "disk", "--phase-3"],
  ["ack_network_ms", "network", "--phase-5"],
  ["ack_answer_ms", "answer", "--phase-2"],
] as const;
const TAILS = [
  ["fsync_p50_ms", "p50", "--phase-3"],
  ["fsync_p99_ms", "p99", "--bad"],
] as const;
const NAMES = [...STAGES, ...TAILS].map(([name]) => name);
const BATCHES = [["batch_events_mean", "events a round", "--accent"]] as const;

export function Latency({ node }: { node: string }) {
  const series = useSeries([...NAMES, "batch_events_mean"]);
  const stages = useLines(series, node, STAGES, 0.3);
  const tails = useLines(series, node, TAILS);
  const batches = useLines(series, node, BATCHES, 0.15);
  return (
    <div className="grid">
      <Panel title="Where an acknowledgement's time goes" className="wide" note="mean of a batch a round, proposal to socket">
        <Plot name="latency stages" x={series.x} lines={stages} format={ms} stacked height={190} />
      </Panel>
      <Panel title="Journal sync" className="slim" note="write and fdatasync">
        <Plot name="fsync" x={series.x} lines={tails} format={ms} height={190} />
      </Panel>
      <Panel title="Batching" note="events proposed for one journal round, mean">
        <Plot name="batching" x={series.x} lines={batches} format={(value) => short(value)} height={110} />
      </Panel>
    </div>
  );
}

type Rows = readonly (readonly [string, string, string])[];

function useLines(series: Series, node: string, rows: Rows, fill?: number): Line[] {
  return useMemo(
    () =>
      rows.map(([name, label, colour]) => ({
        label,
        colour,
        values: node === "all" ? mean(series, name) : (series.nodes[node]?.[name] ?? []),
        width: 1.5,
        ...(fill !== undefined && { fill }),
      })),
    [series, node, rows, fill],
  );
}

/** The mean over the nodes in which something happened. */
function mean(series: Series, name: string): (number | null)[] {
  const rows = Object.values(series.nodes).map((node) => node[name] ?? []);
  return series.x.map((_, at) => {
    const told = rows.map((row) => row[at]).filter((value) => typeof value === "number");
    return told.length ? told.reduce((sum, value) => sum + value, 0) / told.length : null;
  });
}
