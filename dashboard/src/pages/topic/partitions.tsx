// All partitions of a topic: who leads, how far each replica is; leadership moves from here.
import { useState } from "react";
import { useAnswer, useDoing } from "../../api/hooks";
import { write } from "../../api/rest";
import type { PartitionState, TopicAnswer } from "../../api/types";
import { bytes, whole } from "../../lib/format";
import { useUrl } from "../../lib/url";
import { Fact, Link, NodeDot, Panel, ProblemNote } from "../../ui/parts";
import { type Column, Rows } from "../../ui/rows";

const MANY = 100;

export function Partitions({ topic }: { topic: TopicAnswer }) {
  const url = useUrl();
  const [doing, run] = useDoing();
  const [isAsked, setIsAsked] = useState<number | null>(null);
  const interval = topic.partitions > MANY ? 3_000 : 1_000;
  const { data } = useAnswer("/v1/topics/{topic}/partitions", { topic: topic.name }, { limit: 1000 }, interval);
  const rows = data?.items ?? [];
  const isThin = url.query.get("only") === "thin";
  const shown = isThin ? rows.filter((row) => row.under_replicated || row.leader === null) : rows;
  const move = (row: PartitionState, to: number) =>
    run(async () => {
      setIsAsked(row.partition);
      await write("POST /v1/leaders/transfer", {}, { topic: topic.name, partition: row.partition, to });
    });
  const balance = () => run(async () => void (await write("POST /v1/leaders/balance", {}, { topic: topic.name })));
  return (
    <Panel title="Partitions" flush note={data && data.total !== null && data.total > rows.length ? `the first ${rows.length} of ${data.total}` : undefined}
      end={
        <>
          <label className="row"><input type="checkbox" checked={isThin} onChange={(event) => url.set({ only: event.target.checked ? "thin" : null })} />only those in need</label>
          <button type="button" className="button small" disabled={doing.isBusy} onClick={() => void balance()}>Back to preferred leaders</button>
        </>
      }>
      <div className="pad"><ProblemNote problem={doing.problem} /></div>
      <Rows label="Partitions" rows={shown} keyOf={(row) => String(row.partition)} columns={columns(topic.name, move, doing.isBusy ? isAsked : null)} />
    </Panel>
  );
}

function columns(topic: string, move: (row: PartitionState, to: number) => void, busy: number | null): Column<PartitionState>[] {
  return [
    { name: "No.", width: "44px", show: (row) => <Link className="text name" to={`/log?topic=${encodeURIComponent(topic)}&partition=${row.partition}`}>{row.partition}</Link> },
    { name: "Leader", width: "56px", show: (row) => <Fact name={`partition-${row.partition}-leader`} value={row.leader}><NodeDot node={row.leader} /></Fact> },
    { name: "Term", width: "48px", isNumber: true, isWide: true, show: (row) => row.term },
    { name: "Replicas, and how far behind", width: "minmax(120px, 1.6fr)", show: (row) => <Replicas row={row} /> },
    { name: "From", width: "minmax(64px, 0.6fr)", isNumber: true, isWide: true, show: (row) => whole(row.log_start) },
    { name: "To", width: "minmax(64px, 0.7fr)", isNumber: true, show: (row) => <Fact name={`partition-${row.partition}-end`} value={row.high_watermark}>{whole(row.high_watermark)}</Fact> },
    { name: "Size", width: "82px", isNumber: true, isWide: true, show: (row) => bytes(row.size_bytes) },
    {
      name: "Hand over to", width: "132px", isWide: true,
      show: (row) => (
        <span className="row">
          {row.replicas.filter((one) => one.node_id !== row.leader).map((one) => (
            <button key={one.node_id} type="button" className="button small" disabled={one.state === "unreachable" || busy === row.partition}
              aria-label={`Hand partition ${row.partition} to node ${one.node_id}`} onClick={() => move(row, one.node_id)}>
              {one.node_id}{one.node_id === row.preferred && "*"}
            </button>
          ))}
        </span>
      ),
    },
  ];
}

const Replicas = ({ row }: { row: PartitionState }) => (
  <span className="row">
    {row.replicas.map((one) => (
      <span key={one.node_id} className={one.state === "unreachable" ? "bad" : one.lag_events ? "warn" : "dim"}>
        {one.node_id}{one.state === "unreachable" ? " away" : one.lag_events ? ` −${whole(one.lag_events)}` : " ✓"}
      </span>
    ))}
  </span>
);
