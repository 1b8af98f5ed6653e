// Samples of the last minutes: the node's own history first, then one more each second.
import { useEffect, useMemo, useRef, useState } from "react";
import { ApiError, read } from "../api/rest";
import { live } from "../api/socket";

export type Series = {
  /** Seconds since the epoch, one step apart. */
  x: number[];
  /** By node, then by series; of the length of `x`. */
  nodes: Record<string, Record<string, (number | null)[]>>;
};

const NOTHING: Series = { x: [], nodes: {} };
const GAP_S = 3;
const RELOAD_MS = 1_000;

/** Follow series of all nodes over the last `seconds`. */
export function useSeries(names: readonly string[], seconds = 300): Series {
  const key = names.join(",");
  const [series, setSeries] = useState<Series & { key: string }>({ ...NOTHING, key });
  const state = useRef<Series>(NOTHING);
  useEffect(() => {
    let isOver = false;
    let loadedAt = 0;
    let isLoading = false;
    let isNew = false; // no node has a history: the first sample begins it
    state.current = NOTHING;
    if (key === "") return;
    const show = (next: Series) => {
      if (isOver) return;
      state.current = next;
      setSeries({ ...next, key });
    };
    const load = async () => {
      if (isLoading) return;
      isLoading = true;
      loadedAt = performance.now();
      try {
        const found = await read("/v1/metrics/history", {}, { series: key, seconds });
        const lengths = Object.values(found.nodes).flatMap((rows) => Object.values(rows).map((row) => row.length));
        const known = Math.max(0, ...lengths);
        isNew = known === 0;
        const length = known || seconds;
        const first = Math.round(found.begin_ms / 1000);
        show({ x: Array.from({ length }, (_, at) => first + at), nodes: found.nodes });
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
      } finally {
        isLoading = false;
      }
    };
    void load();
    const leave = live.subscribe({ feed: "metrics", series: key.split(","), interval_ms: 1_000 }, (message) => {
      if (message.type !== "metrics") return;
      const at = Math.round(message.at_ms / 1000);
      const last = state.current.x.at(-1);
      const isMissing = last === undefined || (at - last > GAP_S && !isNew);
      if (isMissing && performance.now() - loadedAt > RELOAD_MS) void load();
      else if (last !== undefined) {
        show(extended(state.current, at, message.nodes, key.split(","), seconds));
        isNew = false;
      }
    });
    return () => {
      isOver = true;
      leave();
    };
  }, [key, seconds]);
  return series.key === key ? series : NOTHING;
}

/** The same with one more second at its end; what is older than `seconds` goes. */
export function extended(
  before: Series,
  at: number,
  samples: Record<string, Record<string, number>>,
  names: readonly string[],
  seconds: number,
): Series {
  const last = before.x.at(-1) ?? at;
  if (at < last) return before;
  // After a long silence, or where nothing was known before, all of it is new.
  const length = Math.min(at - last, seconds);
  const fresh = Array.from({ length }, (_, step) => at - length + 1 + step);
  const x = [...before.x, ...fresh].slice(-seconds);
  const nodes: Series["nodes"] = {};
  for (const node of new Set([...Object.keys(before.nodes), ...Object.keys(samples)])) {
    const rows: Record<string, (number | null)[]> = {};
    for (const name of names) {
      const old = before.nodes[node]?.[name] ?? before.x.map(() => null);
      const value = samples[node]?.[name];
      // A sample a second, now and then one second late: it stands for the one before too.
      const values = [...old, ...fresh.map(() => (fresh.length <= 2 ? (value ?? null) : null))];
      if (value !== undefined) values[values.length - 1] = value;
      rows[name] = values.slice(-seconds);
    }
    nodes[node] = rows;
  }
  return { x, nodes };
}

/** One series of each node added up; null where no node told anything. */
export function total(series: Series, name: string): (number | null)[] {
  const rows = Object.values(series.nodes).map((node) => node[name] ?? []);
  return series.x.map((_, at) => {
    const told = rows.map((row) => row[at]).filter((value) => value !== null && value !== undefined);
    return told.length ? told.reduce((sum, value) => sum + value, 0) : null;
  });
}

/** The highest of all nodes' values at each moment. */
export function highest(series: Series, name: string): (number | null)[] {
  const rows = Object.values(series.nodes).map((node) => node[name] ?? []);
  return series.x.map((_, at) => {
    const told = rows.map((row) => row[at]).filter((value) => value !== null && value !== undefined);
    return told.length ? Math.max(...told) : null;
  });
}

/** The newest value that is one, of the last few seconds. */
export function newest(values: (number | null)[], within = 5): number | null {
  return values.slice(-within).findLast((value) => value !== null && value !== undefined) ?? null;
}

export function usePerNode(series: Series, name: string): { node: number; values: (number | null)[] }[] {
  return useMemo(
    () =>
      Object.keys(series.nodes)
        .map(Number)
        .sort((one, other) => one - other)
        .map((node) => ({ node, values: series.nodes[String(node)]?.[name] ?? [] })),
    [series, name],
  );
}
