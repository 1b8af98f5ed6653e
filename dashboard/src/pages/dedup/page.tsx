// Event ids that are stored once: how often that mattered, how full the windows are, what came again.
import { useMemo } from "react";
import { useAnswer } from "../../api/hooks";
import type { PartitionWindow, TopicDedup } from "../../api/types";
import { bytes, clock, day, seconds, short, whole } from "../../lib/format";
import { total, useSeries } from "../../lib/series";
import { useUrl } from "../../lib/url";
import { Chip, Empty, Fact, Figure, Figures, Link, NodeDot, Panel } from "../../ui/parts";
import { type Line, Plot } from "../../ui/plot";
import { type Column, Rows } from "../../ui/rows";

const SERIES = ["dedup_hits_per_s"] as const;

export function DedupPage() {
  const url = useUrl();
  const { data: list } = useAnswer("/v1/topics", {}, { limit: 1000 }, 4_000);
  const topics = (list?.items ?? []).filter((topic) => topic.dedup).map((topic) => topic.name);
  const wanted = url.query.get("topic");
  const topic = wanted !== null && topics.includes(wanted) ? wanted : topics[0];
  const { data } = useAnswer(topic === undefined ? null : "/v1/topics/{topic}/dedup", { topic: topic ?? "" });
  const series = useSeries(SERIES);
  const lines = useMemo<Line[]>(() => [{ label: "duplicates a second", colour: "--accent", values: total(series, SERIES[0]), fill: 0.14 }], [series]);
  return (
    <>
      <div className="head">
        <h1>Dedup</h1>
        <span className="sub">events that were sent again and not stored again</span>
        {topics.length > 1 && (
          <div className="end">
            <select className="input" aria-label="Topic" value={topic} onChange={(event) => url.set({ topic: event.target.value })}>{topics.map((name) => <option key={name}>{name}</option>)}</select>
          </div>
        )}
      </div>
      {list && topic === undefined && (
        <section className="panel">
          <Empty title="No topic stores event ids once" command="trimaran topic create payments --config event.dedup.enable=true">
            With the setting, an event whose id is known is not stored again, whoever sends it.
          </Empty>
        </section>
      )}
      {data && topic !== undefined && (
        <>
          <Overview data={data} />
          <div className="grid">
            <Panel title="Duplicates a second" className="wide" note="all topics"><Plot name="duplicates" x={series.x} lines={lines} format={(value) => short(value)} /></Panel>
            <Window data={data} />
            <Panel title="Windows by partition" flush className="wide">
              <Rows label="Windows by partition" rows={data.partitions} keyOf={(row) => String(row.partition)} columns={COLUMNS} maxHeight={380} />
            </Panel>
            <Last data={data} />
          </div>
        </>
      )}
    </>
  );
}

function Overview({ data }: { data: TopicDedup }) {
  return (
    <Figures>
      <Figure label="duplicates" fact="hits" value={data.hits} shown={short(data.hits)} />
      <Figure label="of all that was sent" fact="hit-rate" value={data.hit_rate} shown={data.hit_rate === null ? "–" : `${(data.hit_rate * 100).toFixed(data.hit_rate < 0.1 ? 2 : 1)} %`} />
      <Figure label="ids known" fact="ids" value={data.ids} shown={short(data.ids)} />
      <Figure label="memory of ids" shown={bytes(data.memory_bytes)} />
      <Figure label="window cut short" shown={data.partitions.filter((row) => row.cut_short).length} small={`of ${data.partitions.length}`}
        tone={data.partitions.some((row) => row.cut_short) ? "warn" : undefined} />
    </Figures>
  );
}

function Window({ data }: { data: TopicDedup }) {
  return (
    <Panel title="What is remembered" className="slim">
      <dl className="pairs">
        <div><dt>topic</dt><dd><Link className="text" to={`/topics/${encodeURIComponent(data.topic)}?tab=config`}>{data.topic}</Link></dd></div>
        <div><dt>id from header</dt><dd><code>{data.header}</code></dd></div>
        <div><dt>for</dt><dd>{seconds(data.window_ms / 1000)} of log time</dd></div>
        <div><dt>at most</dt><dd>{whole(data.max_ids)} ids a partition</dd></div>
        <div><dt>reaches back</dt><dd>{seconds(Math.min(...data.partitions.map((row) => row.effective_window_ms)) / 1000)}</dd></div>
      </dl>
    </Panel>
  );
}

const COLUMNS: Column<PartitionWindow>[] = [
  { name: "No.", width: "28px", show: (row) => row.partition },
  { name: "Leader", width: "46px", show: (row) => <NodeDot node={row.node_id} /> },
  { name: "Window fill", width: "minmax(80px, 2fr)", show: (row) => <Fill row={row} /> },
  { name: "Ids", width: "54px", isNumber: true, show: (row) => <Fact name={`ids-${row.partition}`} value={row.ids}>{short(row.ids)}</Fact> },
  { name: "Reaches back", width: "96px", isNumber: true, isWide: true, show: (row) => <span className={row.cut_short ? "warn" : ""}>{seconds(row.effective_window_ms / 1000)}</span> },
  { name: "Duplicates", width: "70px", isNumber: true, show: (row) => whole(row.hits) },
  { name: "Forgotten early", width: "104px", isNumber: true, isWide: true, show: (row) => whole(row.evicted) },
];

function Fill({ row }: { row: PartitionWindow }) {
  const part = row.ids / Math.max(1, row.ids_max);
  return (
    <span className="row" title={`${whole(row.ids)} of ${whole(row.ids_max)} ids`}>
      <span className="meter"><i style={{ width: `${Math.max(0.5, part * 100)}%`, background: part > 0.9 ? "var(--warn)" : "var(--accent)" }} /></span>
      <small className="dim">{(part * 100).toFixed(part < 0.1 ? 1 : 0)} %</small>
    </span>
  );
}

function Last({ data }: { data: TopicDedup }) {
  return (
    <Panel title="Last duplicates" className="slim" flush>
      {data.last_duplicates.length === 0 ? (
        <Empty title="None is remembered">
          <>Send one twice on <Link className="text" to={`/topics/${encodeURIComponent(data.topic)}?tab=publish`}>the publish form</Link>.</>
        </Empty>
      ) : (
        <table className="table">
          <thead><tr><th>When</th><th>Id</th><th className="num">Original</th></tr></thead>
          <tbody>
            {data.last_duplicates.map((row) => (
              <tr key={`${row.partition}/${row.id_hash}/${row.at_ms}`} data-duplicate={row.original_offset}>
                <td className="mono dim" title={day(row.at_ms)}>{clock(row.at_ms)}</td>
                <td><code title={row.id_hash}>{row.id_hash.slice(0, 8)}</code></td>
                <td className="num">
                  <Link className="text" to={`/topics/${encodeURIComponent(data.topic)}?partition=${row.partition}&offset=${row.original_offset}&event=${row.partition}:${row.original_offset}`}>{row.partition}:{row.original_offset}</Link>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {!data.enabled && <Chip tone="warn">switched off now</Chip>}
    </Panel>
  );
}
