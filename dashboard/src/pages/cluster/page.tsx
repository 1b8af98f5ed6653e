// The cluster: who leads, what flows, how each node is; and what happened.
import { useMemo } from "react";
import { useAnswer, useFeed } from "../../api/hooks";
import type { ClusterNews } from "../../api/types";
import { ms, plural, short } from "../../lib/format";
import { highest, newest, type Series, total, usePerNode, useSeries } from "../../lib/series";
import { Empty, Figure, Figures, Panel } from "../../ui/parts";
import { type Line, Plot } from "../../ui/plot";
import { Leaders } from "./leaders";
import { News } from "./news";
import { Nodes } from "./nodes";
import { Picture } from "./picture";

const SERIES = ["events_in_per_s", "events_out_per_s", "produce_p50_ms", "produce_p99_ms", "fsync_p99_ms"] as const;

const WORST = "of the node where it is highest, from proposal to answer";

export function ClusterPage() {
  const { data: news } = useFeed<ClusterNews>({ feed: "cluster", interval_ms: 500 });
  const { data: local } = useAnswer("/v1/local", {}, {}, 500);
  const { data: incidents } = useAnswer("/v1/incidents", {}, { limit: 100 });
  const series = useSeries(SERIES);
  if (!news) return <Empty title="Looking for the cluster…" />;
  const { health } = news;
  const last = incidents?.items.find((row) => row.total_ms !== null) ?? null;
  return (
    <>
      <div className="head">
        <h1>Cluster</h1>
        <span className="sub">
          {plural(health.nodes_total, "node")}, {plural(health.partitions_total, "partition")}
        </span>
      </div>
      <Problems news={news} />
      <Figures>
        <Figure label="events in" {...rate(series, "events_in_per_s")} />
        <Figure label="events out" title="that clients read" {...rate(series, "events_out_per_s")} />
        <Figure label="produce p50 max" title={WORST} shown={ms(newest(highest(series, "produce_p50_ms")))} />
        <Figure label="produce p99 max" title={WORST} shown={ms(newest(highest(series, "produce_p99_ms")))} />
        <Figure label="nodes up" fact="nodes-up" value={health.nodes_up} shown={health.nodes_up} small={`of ${health.nodes_total}`}
          tone={health.nodes_up < health.nodes_total ? "bad" : undefined} />
        <Figure label="without leader" fact="without-leader" value={health.partitions_without_leader}
          shown={health.partitions_without_leader} tone={health.partitions_without_leader ? "bad" : undefined} />
        <Figure label="under-replicated" fact="under-replicated" value={health.partitions_under_replicated}
          shown={health.partitions_under_replicated} tone={health.partitions_under_replicated ? "warn" : undefined} />
        <Figure label="last failover" fact="last-failover" value={last?.total_ms} shown={last ? ms(last.total_ms) : "none"}
          tone={last?.over_limit ? "bad" : last ? undefined : "dim"} />
      </Figures>
      <div className="grid">
        <Panel title="Who leads, and what flows" className="wide"
          note="arcs: share of leaderships; lanes: events replicated a second, round trip">
          <Picture news={news} local={local} />
        </Panel>
        <Nodes news={news} local={local} />
        <Leaders nodes={news.nodes} />
        <Panel title="Events in, by leader" className="half" note="last 5 minutes">
          <PerNode name="events in by leader" series={series} of="events_in_per_s" format={(value) => short(value)} stacked />
        </Panel>
        <Panel title="Produce p99, by leader" className="half" note="from proposal to answer">
          <PerNode name="produce p99 by leader" series={series} of="produce_p99_ms" format={ms} />
        </Panel>
        <News />
      </div>
    </>
  );
}

function Problems({ news }: { news: ClusterNews }) {
  if (news.health.problems.length === 0) return null;
  return (
    <ul className="problems" aria-label="Problems">
      {news.health.problems.map((row) => {
        const where = row.node_id !== null ? `node ${row.node_id}: ` : row.topic !== null ? `${row.topic}-${row.partition}: ` : "";
        return (
          <li key={where + row.what} className={row.severity === "error" ? "bad" : "warn"}>
            <span className="dot" />
            <span>
              {where}
              {row.what}; <span className="dim">{row.advice}</span>
            </span>
          </li>
        );
      })}
    </ul>
  );
}

function rate(series: Series, name: string) {
  const value = newest(total(series, name));
  return { shown: short(value), small: "/s", value };
}

type PerNodeProps = { name: string; series: Series; of: string; format: (value: number | null) => string; stacked?: boolean };

function PerNode({ name, series, of, format, stacked = false }: PerNodeProps) {
  const rows = usePerNode(series, of);
  const lines = useMemo<Line[]>(
    () =>
      rows.map(({ node, values }) => ({
        label: `node ${node}`,
        colour: `--node-${((node - 1) % 9) + 1}`,
        values,
        ...(stacked && { fill: 0.25, width: 1 }),
      })),
    [rows, stacked],
  );
  return <Plot name={name} x={series.x} lines={lines} format={format} stacked={stacked} />;
}
