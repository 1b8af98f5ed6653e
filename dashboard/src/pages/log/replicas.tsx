// One partition: where each replica's log ends, what is committed, and the terms behind it.
import { useEffect, useMemo, useRef, useState } from "react";
import { useFeed } from "../../api/hooks";
import { ApiError, read } from "../../api/rest";
import type { PartitionNews, PartitionState } from "../../api/types";
import { bytes, short, whole } from "../../lib/format";
import { Fact, NodeDot, Panel } from "../../ui/parts";
import { type Band, type Line, Plot } from "../../ui/plot";

const SECONDS = 300;
const INTERVAL_MS = 500;
const WIDER_PX = 1.75;

/** A moment: by node its log end, and what all know to be committed. */
type Look = { at: number; ends: Record<number, number | null>; committed: number | null; term: number | null };

export function Replicas({ topic, partition }: { topic: string; partition: number }) {
  const { data } = useFeed<PartitionNews>({ feed: "partition", topic, partition, interval_ms: INTERVAL_MS });
  const looks = useLooks(topic, partition, data);
  const state = data?.state ?? null;
  const x = useMemo(() => looks.map((look) => look.at), [looks]);
  const nodes = useMemo(() => (state?.replicas ?? []).map((row) => row.node_id).sort((a, b) => a - b), [state]);
  const ends = useMemo<Line[]>(
    () => [
      ...nodes.map((node, at) => ({
        label: `node ${node}${node === state?.leader ? " (leader)" : ""}`,
        colour: `--node-${((node - 1) % 9) + 1}`,
        width: widthOf(at, nodes.length),
        values: looks.map((look) => look.ends[node] ?? null),
      })),
      { label: "committed", colour: "--ink", values: looks.map((look) => look.committed), dash: [4, 4], width: 1.25 },
    ],
    [looks, nodes, state?.leader],
  );
  const behind = useMemo<Line[]>(
    () =>
      nodes.map((node, at) => ({
        label: `node ${node}`,
        colour: `--node-${((node - 1) % 9) + 1}`,
        width: widthOf(at, nodes.length),
        values: looks.map((look) => distance(look, node)),
      })),
    [looks, nodes],
  );
  const bands = useMemo(() => bandsOf(looks), [looks]);
  return (
    <div className="grid">
      <Panel title="Log end of each replica, and what is committed" className="wide" note="terms as bands">
        <Plot name="log ends" x={x} lines={ends} bands={bands} format={short} height={230} min={-1} />
      </Panel>
      <Panel title="Behind the longest log" className="slim" note="events">
        <Plot name="behind" x={x} lines={behind} format={(value) => short(value)} height={230} />
      </Panel>
      {state && <ReplicaTable state={state} />}
    </div>
  );
}

/** Replicas are in step most of the time: the lines below are wider, so that each is seen. */
const widthOf = (at: number, lines: number): number => 1.75 + (lines - 1 - at) * WIDER_PX;

function ReplicaTable({ state }: { state: PartitionState }) {
  return (
    <Panel title="Replicas" flush note={`${state.topic}-${state.partition}, term ${state.term}`}>
      <div className="scroll" role="region" aria-label="Replicas table" tabIndex={0}>
        <table className="table">
          <thead>
            <tr>
              <th>Node</th><th>Role</th><th className="num">Term</th><th className="num">Log start</th><th className="num">Log end</th>
              <th className="num">Committed</th><th className="num">Lag</th><th className="num">Last index</th>
              <th className="num">Synced index</th><th className="num">Commit index</th><th className="num">Size</th>
            </tr>
          </thead>
          <tbody>
            {state.replicas.map((row) => (
              <tr key={row.node_id} data-replica={row.node_id}>
                <td><NodeDot node={row.node_id} /></td>
                <td className={row.state === "unreachable" ? "bad" : ""}>
                  <Fact name={`replica-${row.node_id}-state`} value={row.state}>{row.state}</Fact>
                </td>
                <td className="num"><Fact name={`replica-${row.node_id}-term`} value={row.term}>{row.term ?? "–"}</Fact></td>
                <td className="num">{whole(row.log_start)}</td>
                <td className="num"><Fact name={`replica-${row.node_id}-end`} value={row.log_end}>{whole(row.log_end)}</Fact></td>
                <td className="num">{whole(row.high_watermark)}</td>
                <td className="num">{whole(row.lag_events)}</td>
                <td className="num">{whole(row.last_index)}</td>
                <td className="num">{whole(row.synced_index)}</td>
                <td className="num">{whole(row.commit_index)}</td>
                <td className="num">{bytes(row.size_bytes)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Panel>
  );
}

/** The nodes' memory of the last minutes, where they have one, and from then on what is told live. */
function useLooks(topic: string, partition: number, news: PartitionNews | null): Look[] {
  const [looks, setLooks] = useState<Look[]>([]);
  const isLoaded = useRef(false);
  useEffect(() => {
    let isOver = false;
    void history(topic, partition).then((found) => {
      isLoaded.current = true;
      if (!isOver) setLooks((now) => [...found.filter((look) => look.at < (now[0]?.at ?? Infinity)), ...now]);
    });
    return () => {
      isOver = true;
    };
  }, [topic, partition]);
  useEffect(() => {
    if (!news) return;
    const { state } = news;
    const look: Look = {
      at: news.at_ms / 1000,
      ends: Object.fromEntries(state.replicas.map((row) => [row.node_id, row.log_end])),
      committed: state.high_watermark,
      term: state.term,
    };
    setLooks((now) => [...now.filter((one) => one.at > look.at - SECONDS && one.at < look.at), look]);
  }, [news]);
  return looks;
}

async function history(topic: string, partition: number): Promise<Look[]> {
  const name = (of: string): string => `partition/${topic}/${partition}/${of}`;
  const series = ["log_end", "high_watermark", "term"].map(name).join(",");
  try {
    const found = await read("/v1/metrics/history", {}, { series, seconds: SECONDS });
    const nodes = Object.entries(found.nodes).filter(([, rows]) => rows[name("log_end")]);
    const length = nodes[0]?.[1][name("log_end")]?.length ?? 0;
    const told = (of: string, at: number): number[] =>
      nodes.map(([, rows]) => rows[name(of)]?.[at]).filter((value) => typeof value === "number");
    return Array.from({ length }, (_, at) => ({
      at: (found.begin_ms + at * found.step_ms) / 1000,
      ends: Object.fromEntries(nodes.map(([node, rows]) => [Number(node), rows[name("log_end")]?.[at] ?? null])),
      committed: maximum(told("high_watermark", at)),
      term: maximum(told("term", at)),
    })).filter((look) => look.term !== null);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    return [];
  }
}

const maximum = (values: number[]): number | null => (values.length ? Math.max(...values) : null);

function distance(look: Look, node: number): number | null {
  const end = look.ends[node];
  const ends = Object.values(look.ends).filter((value) => value !== null);
  return end === null || end === undefined ? null : Math.max(...ends) - end;
}

function bandsOf(looks: Look[]): Band[] {
  const bands: Band[] = [];
  for (const look of looks) {
    if (look.term === null) continue;
    const label = `term ${look.term}`;
    const last = bands.at(-1);
    if (last?.label === label) last.to = look.at;
    else {
      if (last) last.to = look.at;
      bands.push({ from: look.at, to: look.at, label, strong: look.term % 2 === 1 });
    }
  }
  return bands;
}
